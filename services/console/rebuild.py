"""The read model built anew from the topics, beside nothing but itself: one transaction that ends as if it never was,
or in place of the old model.

Meanwhile everyone reads the old model, and the handlers wait for their turn, as in an outage of the database. What is
applied is what this console has applied already: dead letters stay dead, and what was never taken comes by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import structlog

from services.console.handlers import on
from services.console.settings import Settings
from services.console.store import rebuilding
from shared.messaging import Unit, Work
from shared.messaging.envelope import Delivery, read
from shared.messaging.intake import run_handlers
from shared.messaging.tail import tail
from shared.messaging.unit import Cause

EVENTS_AT_ONCE = 500

log = structlog.get_logger()


class _Undo(Exception):
    """Ends the transaction without effect."""


async def rebuild(
    work: Work, settings: Settings, *, keep: bool, even_if_missing: bool = False
) -> dict[str, Any]:
    """Clear the model, apply every event that had its effect, compare with what was.

    Answers the events applied and the differences by table. With `keep` the new model takes the place of the old one,
    unless rows are missing from it: those are older than the topics, and `even_if_missing` says that they may go.
    """
    report: dict[str, Any] = {}
    try:
        async with work.begin((), cause=Cause("rebuild", "rebuild")) as unit:
            await rebuilding.prepare_rebuild(unit.db)
            await rebuilding.digest(unit.db, "live")
            await rebuilding.clear_model(unit.db)
            applied = await _apply(work, unit, settings)
            await rebuilding.number_anew(unit.db)
            await rebuilding.digest(unit.db, "rebuilt")
            found = await rebuilding.differences(unit.db)
            keep = keep and (even_if_missing or not any(each.missing for each in found))
            report = {
                "events": applied,
                "equal": all(each.equal for each in found),
                "kept": keep,
                "tables": {
                    each.table: {
                        "rows": each.rows,
                        "missing": each.missing,
                        "added": each.added,
                        "changed": each.changed,
                    }
                    for each in found
                },
            }
            if not keep:
                raise _Undo
    except _Undo:
        pass
    log.info("model.rebuilt", events=report["events"], equal=report["equal"], kept=keep)
    return report


async def _apply(work: Work, unit: Unit, settings: Settings) -> int:
    applied = 0
    async for deliveries in _batches(work, settings):
        mine = await rebuilding.took_effect(unit.db, [each.event_id for each in deliveries])
        once = {each.event_id: each for each in reversed(deliveries) if each.event_id in mine}
        again = [each for each in deliveries if once.get(each.event_id) is each]
        await run_handlers(unit, on, again)
        applied += len(again)
    return applied


async def _batches(work: Work, settings: Settings) -> AsyncIterator[list[Delivery]]:
    """Everything on the topics up to their present ends, some hundred events at a time."""
    batch: list[Delivery] = []
    stream = tail(settings.broker, from_beginning=True, prefix=settings.topic_prefix, follow=False)
    async for seen in stream:
        found = read(seen.record, on.events, work.sealer)
        if isinstance(found, Delivery):
            batch.append(found)
        if len(batch) >= EVENTS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
