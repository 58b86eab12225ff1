"""The published language: one module per owning service, fields and constants only."""

from __future__ import annotations

from shared.events import enrollment, fulfillment, outreach, planner
from shared.events.base import Event, Fields, Reason

MODULES = (enrollment, planner, outreach, fulfillment)

EVENTS: dict[str, type[Event]] = {
    event.TYPE: event
    for module in MODULES
    for event in vars(module).values()
    if isinstance(event, type) and issubclass(event, Event) and event is not Event
}
"""Every event by its CloudEvents type."""

TOPICS: tuple[str, ...] = tuple(sorted({event.TOPIC for event in EVENTS.values()}))

COMPACTED_TOPICS: frozenset[str] = frozenset(
    {enrollment.CONTACTS_TOPIC, enrollment.STORES_TOPIC, planner.DEMAND_TOPIC}
)
"""Topics of one type of pure state: the newest record per key is kept for ever."""

__all__ = ["COMPACTED_TOPICS", "EVENTS", "MODULES", "TOPICS", "Event", "Fields", "Reason"]
