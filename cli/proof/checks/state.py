"""I8: what a service holds of another's state is the newest that was published, as if rebuilt from the topics."""

from __future__ import annotations

from collections.abc import Iterator

from cli.proof.contract import CONTACT_DETAILS_CHANGED, HOLDS, SEALED_HELD, name
from cli.proof.record import Event, Record
from cli.proof.result import Found, check
from cli.proof.topics import fingerprint


@check("I8 each service holds the newest state published")
def newest_is_held(record: Record) -> Found:
    """Profiles, plans and stores, by revision. Whoever waits for a person, or waited in vain, is left out."""
    looked_at, found = 0, []
    for (service, table), held in record.held.items():
        if (service, table) not in HOLDS:
            continue
        excused = _excused(record, service)
        newest = newest_of(record, *HOLDS[service, table])
        looked_at += len(newest)
        found += [
            f"{service} holds revision {held.get(key, 'none')} of {key} in {table}; {name(event.type)} {event.id} "
            f"has {event.says.revision}"
            for key, event in newest.items()
            if held.get(key) != event.says.revision and key not in excused
        ]
        if not record.gone:
            found += [
                f"{service} holds {key} in {table}, which was never published"
                for key in sorted(held.keys() - newest.keys())
            ]
    return Found(looked_at, found)


TOMBSTONE = fingerprint(b"")
"""Of a record that takes away what is held of its key."""


@check("I8 contact details reached their readers")
def details_are_held(record: Record) -> Found:
    """Names and numbers are sealed: the proof looks at who has some, and whether all hold the same revision."""
    readers = {place: record.held[place] for place in SEALED_HELD.items() if place in record.held}
    last = {event.key: event for event in record.of(CONTACT_DETAILS_CHANGED)}
    told = {key for key, event in last.items() if event.payload != TOMBSTONE}

    def found() -> Iterator[str]:
        for (service, table), held in readers.items():
            for key in sorted(told - held.keys() - _excused(record, service)):
                yield f"{service} holds nothing of {key} in {table}"
        excused = set().union(*(_excused(record, service) for service, _ in readers))
        for key in sorted(told - excused):
            revisions = {held[key] for held in readers.values() if key in held}
            if len(revisions) > 1:
                yield f"{key}: {' and '.join(s for s, _ in readers)} hold different revisions of the details"

    return Found(len(told) * len(readers), found())


def newest_of(record: Record, *types: str) -> dict[str, Event]:
    """By key, the first event with the highest revision."""
    newest: dict[str, Event] = {}
    for event in record.of(*types):
        if event.key not in newest or event.says.revision > newest[event.key].says.revision:
            newest[event.key] = event
    return newest


def _excused(record: Record, service: str) -> set[str]:
    """Patients and stores of whom the service may know less: parked, or with an event that had no effect."""
    fabric = record.fabrics[service]
    parked = {key.partition(":")[2] for key in fabric.parked}
    return parked | {record.by_id[id_].key for id_ in fabric.withheld if id_ in record.by_id}


STATE = (newest_is_held, details_are_held)
