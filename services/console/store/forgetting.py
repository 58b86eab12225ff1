"""What the console holds of who patients are."""

from __future__ import annotations

from collections.abc import Collection

from shared.database import Db
from shared.messaging.forgetting import Personal


async def _reword(db: Db, patient_ids: Collection[str]) -> None:
    """Who looked stays; why, in their own words, goes."""
    await db.execute("update actions set because = '' where patient_id = any($1)", list(patient_ids))


PERSONAL = Personal(
    rows=("sealed_details",),
    kept=("patients", "stream", "plans", "visits", "fills", "renewals", "actions"),
    reword=_reword,
)
