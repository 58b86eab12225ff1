"""The ledger of contacts: leases, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from services.outreach.domain.model import By, Plan
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys, hexed
from shared.events.enrollment import Channel
from shared.upsert import upsert


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the ledger."""

    lease_id: UUID
    contact_id: UUID
    patient_id: str
    kind: str
    made_by: By
    actor: str
    at: datetime
    channel: Channel | None = None
    until: datetime | None = None
    told: Plan | None = None
    outcome: str | None = None
    answer: Any = None
    reported_at: datetime | None = None
    reply: Any = None
    taken_by: str | None = (
        None  # the caller who leased; none: the patient called in, or it was before this was kept
    )


ATTEMPTS = TypeAdapter(list[Attempt])


async def add_attempts(db: Db, attempts: Sequence[Attempt]) -> None:
    await db.execute(
        """
        insert into attempts
        select *
        from jsonb_populate_recordset(null::attempts, $1)
        """,
        to_jsonable_python(attempts),
    )


async def load_attempt(db: Db, lease_id: UUID) -> Attempt | None:
    rows = await db.fetch("select * from attempts where lease_id = $1", lease_id)
    return next(iter(ATTEMPTS.validate_python(map(dict, rows))), None)


async def report_attempt(
    db: Db, lease_id: UUID, outcome: str, answer: Any, reply: Any, now: datetime
) -> None:
    """Keep what came of a lease, and what its reporter was told; the number that went out with it is forgotten."""
    await db.execute(
        """
        with forgotten as (
            delete from lent_numbers where lease_id = $1
        )
        update attempts
        set outcome = $2, answer = $3, reply = $4, reported_at = $5, told = null
        where lease_id = $1
        """,
        lease_id,
        outcome,
        answer,
        reply,
        now,
    )


_keep_leased_numbers = upsert("lent_numbers", "patient_id", "lease_id number sealed")


async def save_leased_numbers(db: Db, keys: DataKeys, numbers: Mapping[str, tuple[UUID, str]]) -> None:
    """Keep which number went out with which lease (patient to lease and number), sealed."""
    sealed = await keys.seal(db, {patient_id: number for patient_id, (_, number) in numbers.items()})
    await _keep_leased_numbers(
        db,
        [
            {
                "patient_id": patient_id,
                "lease_id": lease_id,
                "number": None,
                "sealed": hexed(sealed[patient_id]),
            }
            for patient_id, (lease_id, _) in numbers.items()
        ],
    )


async def leased_number(db: Db, keys: DataKeys, lease_id: UUID) -> str | None:
    """The number that went out with a lease which is not reported yet."""
    row = await db.fetchrow(
        f"""
        select patient_id, n.sealed, {DATA_KEY}
        from lent_numbers n
        left join fabric.data_keys k using (patient_id)
        where lease_id = $1
          and n.sealed is not null
        """,
        lease_id,
    )
    return str(keys.open(row)) if row else None
