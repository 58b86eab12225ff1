"""What staff decide about plans."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from services.planner.domain.model import (
    StaffDecision,
)
from shared.database import Db


async def add_ruling(
    db: Db, ruling_id: UUID, patient_id: str, ruling: StaffDecision, made_by: str, now: datetime
) -> None:
    """Note what a member of staff decided."""
    await db.execute(
        """
        insert into rulings (
            ruling_id, patient_id, kind, made_by, made_as, why, made_at, made_on, rx_id, on_day, quantity, cycle
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        ruling_id,
        patient_id,
        ruling.kind,
        made_by,
        ruling.by,
        ruling.why,
        now,
        ruling.made_on,
        ruling.rx_id,
        ruling.on,
        ruling.quantity,
        ruling.cycle,
    )


async def take_back_ruling(db: Db, patient_id: str, ruling_id: UUID, by: str, now: datetime) -> bool:
    """End a ruling; says whether there is such a one of this patient. Taken back twice is taken back once."""
    row = await db.fetchrow(
        """
        update rulings
        set taken_back_at = coalesce(taken_back_at, $4),
            taken_back_by = coalesce(taken_back_by, $3)
        where ruling_id = $2
          and patient_id = $1
        returning ruling_id
        """,
        patient_id,
        ruling_id,
        by,
        now,
    )
    return row is not None


async def list_rulings(db: Db, patient_id: str) -> list[dict[str, Any]]:
    """All that staff decided about one patient's plans, the oldest first."""
    rows = await db.fetch(
        """
        select
            ruling_id, kind, made_by, made_as, why, made_at, rx_id, on_day as on, quantity, cycle,
            taken_back_at, taken_back_by
        from rulings
        where patient_id = $1
        order by made_at, ruling_id
        """,
        patient_id,
    )
    return [dict(row) for row in rows]
