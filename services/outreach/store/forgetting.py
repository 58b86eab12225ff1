"""What outreach holds of who patients are. A stop of a number stays, by its blind index: it binds everybody."""

from __future__ import annotations

from collections.abc import Collection

from shared.database import Db
from shared.messaging.forgetting import Personal


async def _reword(db: Db, patient_ids: Collection[str]) -> None:
    await db.execute(
        "update contacts set closed_because = null where patient_id = any($1)", list(patient_ids)
    )


PERSONAL = Personal(
    rows=("details", "phones", "lent_numbers", "texts", "questions", "stops_to_spread", "caregivers"),
    kept=("patients", "opt_outs", "plans", "contacts", "attempts", "short_items", "renewals"),
    reword=_reword,
)
