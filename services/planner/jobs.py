"""Work that falls due: days that pass, stores whose days changed, and the demand of each day, to be published."""

from __future__ import annotations

from collections.abc import Sequence

from services.planner import store
from services.planner.forecasts import DAYS, forecast, next_telling
from services.planner.recompute import recompute
from shared.messaging import Jobs, Unit

due = Jobs()


@due("due_looks")
async def look_again(patients: Sequence[str], unit: Unit) -> None:
    """Plan anew where a visit's day passed unconfirmed, where nobody reported on a confirmed visit for twelve days,
    and where time may have removed what blocked a plan."""
    due_now = await store.due_looks(unit.db, patients, unit.now)
    records = await store.load_records(unit.db, due_now, unit.now)
    await recompute(unit, list(records.values()))


@due("due_replans")
async def plan_with_store(patients: Sequence[str], unit: Unit) -> None:
    """Plan anew the patients of a store whose days changed, and those who waited for it."""
    asked = await store.take_replans(unit.db, patients, unit.now)
    records = await store.load_records(unit.db, asked, unit.now)
    await recompute(unit, [record for record in records.values() if record.enrolled])


STORES_A_TURN = 5
"""Each takes all of its patients' plans to be read: the others stay due."""


@due("due_forecasts", of="store")
async def publish_demand(stores: Sequence[str], unit: Unit) -> None:
    """Publish, once a store's day, what its shelf has to hold in the next fortnight, where that changed."""
    zones = await store.due_forecasts(unit.db, stores[:STORES_A_TURN], unit.now)
    today = {store_id: unit.today(zone) for store_id, zone in zones.items()}
    rows = await store.demand_of_drugs(unit.db, today, DAYS)
    held = await store.load_forecasts(unit.db, zones)
    first_revision = await store.first_revision(unit.db)
    news = [
        changed
        for each, first_on in today.items()
        if (
            changed := forecast(
                each,
                first_on,
                [row for row in rows if row["store_id"] == each],
                held.get(each),
                first_revision,
            )
        )
    ]
    next_at = {each: next_telling(unit.now, zone) for each, zone in zones.items()}
    await store.save_forecasts(unit.db, news, next_at)
    unit.emit(news)
