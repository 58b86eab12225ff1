"""What fulfillment holds of who patients are."""

from __future__ import annotations

from collections.abc import Collection

from shared.database import Db
from shared.messaging.forgetting import Personal


async def _reword(db: Db, patient_ids: Collection[str]) -> None:
    """The reasons that staff gave in their own words, and the numbers of prior authorizations."""
    await db.execute(
        """
        update actions
        set detail = detail - '{reason,release_reason}'::text[]
        where visit_id in (select visit_id from work_orders where patient_id = any($1))
          and detail ?| '{reason,release_reason}'
        """,
        list(patient_ids),
    )
    await db.execute(
        """
        update items
        set resolution = resolution - 'authorization'
        where patient_id = any($1)
          and resolution ->> 'authorization' is not null
        """,
        list(patient_ids),
    )


async def _waits(db: Db, patient_id: str) -> str | None:
    """Whoever collects a package is asked for their name."""
    number = await db.fetchval(
        "select count(*) from work_orders where patient_id = $1 and status in ('filling', 'to_verify', 'ready')",
        patient_id,
    )
    return "a package is not handed over yet: hand it over, or cancel it" if number else None


PERSONAL = Personal(
    rows=("contacts", "counter_notes", "caregivers"),
    kept=("patients", "plans", "confirmations", "work_orders", "items", "exclusions"),
    reword=_reword,
    waits=_waits,
)
