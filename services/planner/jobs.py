"""Work that falls due: days that pass, and stores whose days changed."""

from __future__ import annotations

from collections.abc import Sequence

from services.planner import store
from services.planner.planning import replan
from shared.messaging import Jobs, Unit

due = Jobs()


@due("due_looks")
async def look_again(patients: Sequence[str], unit: Unit) -> None:
    """Plan anew where a visit's day passed unconfirmed, where nobody reported on a confirmed visit for twelve days,
    and where time may have removed what blocked a plan."""
    due_now = await store.due_looks(unit.db, patients, unit.now)
    records = await store.load_records(unit.db, due_now, unit.now)
    await replan(unit, list(records.values()))


@due("due_replans")
async def plan_with_store(patients: Sequence[str], unit: Unit) -> None:
    """Plan anew the patients of a store whose days changed, and those who waited for it."""
    asked = await store.take_replans(unit.db, patients, unit.now)
    records = await store.load_records(unit.db, asked, unit.now)
    await replan(unit, [record for record in records.values() if record.enrolled])
