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


def owner_of(name: str) -> str:
    """The service that alone publishes events of a type, or on a topic.

    >>> owner_of("medsync.planner.demand")
    'planner'
    """
    return name.split(".")[1]


def events_of(service: str) -> list[type[Event]]:
    """What a service publishes."""
    return [event for event in EVENTS.values() if owner_of(event.TYPE) == service]


def topics_of(service: str) -> list[str]:
    """What a service alone publishes on."""
    return sorted({event.TOPIC for event in events_of(service)})


COMPACTED_TOPICS: frozenset[str] = frozenset(
    {enrollment.CONTACTS_TOPIC, enrollment.STORES_TOPIC, planner.DEMAND_TOPIC}
)
"""Topics of one type of pure state: the newest record per key is kept for ever."""

__all__ = [
    "COMPACTED_TOPICS",
    "EVENTS",
    "MODULES",
    "TOPICS",
    "Event",
    "Fields",
    "Reason",
    "events_of",
    "owner_of",
    "topics_of",
]
