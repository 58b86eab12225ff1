"""Legal holds, what a patient's records are as old as, and what goes with a patient who is forgotten."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from services.enrollment.domain.erasure import Record
from shared.database import Db
from shared.messaging.forgetting import Personal


async def hold_of(db: Db, patient_id: str) -> str | None:
    """Why nothing of this patient may be destroyed; None where it may."""
    why: str | None = await db.fetchval(
        "select because from legal_holds where patient_id = $1 and lifted_at is null", patient_id
    )
    return why


async def hold(db: Db, patient_id: str, because: str, *, now: datetime, by: str) -> None:
    """Put a legal hold on a patient's records; one that is there stays as it is."""
    await db.execute(
        """
        insert into legal_holds (patient_id, because, held_at, held_by)
        values ($1, $2, $3, $4)
        on conflict (patient_id) where lifted_at is null do nothing
        """,
        patient_id,
        because,
        now,
        by,
    )


async def lift(db: Db, patient_id: str, because: str, *, now: datetime, by: str) -> bool:
    """Lift the hold; says whether there was one."""
    lifted = await db.fetchval(
        """
        update legal_holds
        set lifted_at = $3, lifted_by = $4, lifted_because = $2
        where patient_id = $1 and lifted_at is null
        returning patient_id
        """,
        patient_id,
        because,
        now,
        by,
    )
    return lifted is not None


async def record(db: Db, patient_ids: Collection[str], because: str, *, now: datetime, by: str) -> None:
    """Keep who had these patients forgotten, and why."""
    await db.execute(
        """
        insert into erasures (patient_id, because, erased_at, erased_by)
        select unnest($1::text[]), $2, $3, $4
        """,
        list(patient_ids),
        because,
        now,
        by,
    )


async def merged_into(db: Db, patient_id: str) -> list[str]:
    """The records that are this patient's too: those merged into it."""
    rows = await db.fetch(
        "select patient_id from patients where survivor_id = $1 order by patient_id", patient_id
    )
    return [row["patient_id"] for row in rows]


async def newest_records(db: Db, patient_ids: Collection[str]) -> dict[Record, date]:
    """The day of the newest record of each kind that there is of these patients."""
    row = await db.fetchrow(
        """
        select
            (
                select max(f.handed_over_on)
                from fills f
                join prescriptions p using (rx_id)
                where f.patient_id = any($1)
                  and coalesce(p.drug ->> 'schedule', 'none') <> 'none'
                  and f.elsewhere is not true
            ) as controlled_substances,
            (
                select max(handed_over_on) from fills where patient_id = any($1) and elsewhere is not true
            ) as dispensing,
            (
                select max(coalesce(ended_at, given_at))::date from consents where patient_id = any($1)
            ) as consent
        """,
        list(patient_ids),
    )
    return {record: row[record] for record in Record if row[record]}


async def _reword(db: Db, patient_ids: Collection[str]) -> None:
    """What the feed said of their days, and a fingerprint of it; the words of their directions."""
    await db.execute(
        "update patients set circumstances = null, fed_digest = null where patient_id = any($1)",
        list(patient_ids),
    )
    await db.execute(
        "update prescriptions set directions = '', fed_digest = null where patient_id = any($1)",
        list(patient_ids),
    )


PERSONAL = Personal(
    rows=(
        "blind_indexes",
        "people",
        "statements",
        "candidates",
        "candidate_checks",
        "tellings",
        "caregivers",
    ),
    kept=(
        "patients",
        "consents",
        "consent_history",
        "opt_outs",
        "candidate_answers",
        "prescriptions",
        "fills",
        "reported_changes",
        "legal_holds",
        "erasures",
    ),
    reword=_reword,
)
