"""What the planner holds of who patients are: who acts for them, and what staff may have written in their own words."""

from __future__ import annotations

from collections.abc import Collection

from shared.database import Db
from shared.messaging.forgetting import Personal


async def _reword(db: Db, patient_ids: Collection[str]) -> None:
    await db.execute("update rulings set why = '' where patient_id = any($1)", list(patient_ids))


PERSONAL = Personal(
    rows=("caregivers",),
    kept=(
        "patients",
        "plans",
        "visits",
        "answers",
        "rejections",
        "renewals",
        "replans",
        "rulings",
        "exclusions",
    ),
    reword=_reword,
)
