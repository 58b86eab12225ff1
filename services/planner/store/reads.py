"""What the HTTP interface asks, and the current state for a new subscriber."""

from __future__ import annotations

from typing import Any

from services.planner.domain.progress import Status
from services.planner.store.staff import load_exclusions
from shared.access import Stores
from shared.database import Db
from shared.events import Event
from shared.events.planner import DemandForecast, PlanBlocked, PlanCancelled, PlanComputed


async def load_plan(db: Db, patient_id: str) -> dict[str, Any] | None:
    """Status, revision and the newest published event of one patient."""
    row = await db.fetchrow(
        """
        select status, revision, cycle, agreed, published || jsonb_build_object('revision', revision) as published
        from plans
        where patient_id = $1
        """,
        patient_id,
    )
    return dict(row) if row else None


async def list_plans(
    db: Db, *, stores: Stores, status: str | None, after: str, limit: int
) -> list[dict[str, Any]]:
    """One line per patient, by patient id."""
    rows = await db.fetch(
        """
        select
            patient_id, store_id, status, revision, cycle, agreed, anchor_on, next_anchor_on,
            published -> 'reasons' -> 0 ->> 'code' as why
        from plans
        where patient_id > $3
          and ($1::text[] is null or store_id = any($1))
          and ($2::text is null or status = $2)
        order by patient_id
        limit $4
        """,
        stores,
        status,
        after,
        limit,
    )
    return [dict(row) for row in rows]


PUBLISHED: dict[str, type[Event]] = {
    Status.planned: PlanComputed,
    Status.blocked: PlanBlocked,
    Status.gone: PlanCancelled,
    "forecast": DemandForecast,
}


async def current_state(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """The newest published event of each patient, and of each store, under the revision that stands; and after a
    patient's plan what pharmacists keep out of it.

    `limit` counts keys (stores and patients).
    """
    rows = await db.fetch(
        """
        select key, kind, published || jsonb_build_object('revision', revision) as published
        from (
            select store_id collate "C" as key, store_id, 'forecast' as kind, revision, published
            from forecasts
            where $1::text is null
            union all
            select patient_id collate "C", store_id, status, revision, published
            from plans
            where ($1::text is null or patient_id = $1)
              and published is not null
        ) said
        where key > $3
          and ($2::text is null or store_id = $2)
        order by key
        limit $4
        """,
        patient,
        store,
        after,
        limit,
    )
    events = [PUBLISHED[row["kind"]].model_validate(row["published"]) for row in rows]
    events += await load_exclusions(db, [row["key"] for row in rows])
    return sorted(events, key=lambda event: event.key)
