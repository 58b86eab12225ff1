"""What staff decide about plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.planner.domain.model import StaffDecision, StaffDecisionKind
from shared.database import Db
from shared.events.planner import ExclusionsChanged


async def add_staff_decision(
    db: Db, decision_id: UUID, patient_id: str, decision: StaffDecision, made_by: str, now: datetime
) -> None:
    """Note what a member of staff decided."""
    await db.execute(
        """
        insert into rulings (
            ruling_id, patient_id, kind, made_by, made_as, why, made_at, made_on, rx_id, on_day, quantity, cycle
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        decision_id,
        patient_id,
        decision.kind,
        made_by,
        decision.by,
        decision.why,
        now,
        decision.made_on,
        decision.rx_id,
        decision.on,
        decision.quantity,
        decision.cycle,
    )


async def load_staff_decision(db: Db, patient_id: str, decision_id: UUID) -> StaffDecision | None:
    """One decision about this patient's plans, revoked or not."""
    row = await db.fetchrow(
        """
        select kind, made_as, why, made_on, rx_id, on_day, quantity, cycle
        from rulings
        where ruling_id = $2
          and patient_id = $1
        """,
        patient_id,
        decision_id,
    )
    return decision_of(row) if row else None


def decision_of(row: Any) -> StaffDecision:
    """The decision that a row of rulings holds."""
    return StaffDecision(
        StaffDecisionKind(row["kind"]),
        row["made_as"],
        row["why"],
        row["made_on"],
        row["rx_id"],
        row["on_day"],
        row["quantity"],
        row["cycle"],
    )


async def revoke_staff_decision(db: Db, patient_id: str, decision_id: UUID, by: str, now: datetime) -> None:
    """Revoke a decision. Revoked twice is revoked once."""
    await db.execute(
        """
        update rulings
        set taken_back_at = coalesce(taken_back_at, $4),
            taken_back_by = coalesce(taken_back_by, $3)
        where ruling_id = $2
          and patient_id = $1
        """,
        patient_id,
        decision_id,
        by,
        now,
    )


async def list_staff_decisions(db: Db, patient_id: str) -> list[dict[str, Any]]:
    """All that staff decided about one patient's plans, the oldest first."""
    rows = await db.fetch(
        """
        select
            ruling_id, kind, made_by, made_as, why, made_at, rx_id, on_day as on, quantity, cycle,
            taken_back_at, taken_back_by
        from rulings
        where patient_id = $1
        order by made_at, entered
        """,
        patient_id,
    )
    return [dict(row) for row in rows]


async def save_exclusions(db: Db, lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Keep what is kept out, by patient, as `{rx_id, reason}`; the revision of each list that is news."""
    rows = await db.fetch(
        """
        insert into exclusions as held (patient_id, revision, kept_out)
        select patient_id, (select fabric.first_revision()) + 1, kept_out
        from jsonb_to_recordset($1) as given (patient_id text, kept_out jsonb)
        where kept_out <> '[]'
           or exists (select from exclusions e where e.patient_id = given.patient_id)
        on conflict (patient_id) do update
        set revision = held.revision + 1,
            kept_out = excluded.kept_out
        where held.kept_out <> excluded.kept_out
        returning patient_id, revision
        """,
        [{"patient_id": patient_id, "kept_out": kept_out} for patient_id, kept_out in lists.items()],
    )
    return {row["patient_id"]: row["revision"] for row in rows}


async def load_exclusions(db: Db, patient_ids: Collection[str]) -> list[ExclusionsChanged]:
    """What these patients' lists are, as they were last published."""
    rows = await db.fetch(
        "select patient_id, revision, kept_out from exclusions where patient_id = any($1)", list(patient_ids)
    )
    return [
        ExclusionsChanged.model_validate(
            {"patient_id": row["patient_id"], "revision": row["revision"], "excluded": row["kept_out"]}
        )
        for row in rows
    ]
