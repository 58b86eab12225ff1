"""Enrollment's tables against the topics: who takes part, what was taken home, what patients said."""

from __future__ import annotations

from collections.abc import Iterator

from cli.proof.contract import (
    CHANGE_REPORTED,
    CONSENT_CHANGED,
    CONTACT_OPTED_IN,
    CONTACT_OPTED_OUT,
    PACKAGE_PICKED_UP,
    PATIENT_DISENROLLED,
    PATIENT_ENROLLED,
    PROFILE_CHANGED,
)
from cli.proof.record import Event, Item, Record
from cli.proof.result import Found, check

FILLED = "filled"


@check("I2 who takes part is as published", reads="enrollment", whole=True)
def standing_is_published(record: Record) -> Found:
    """Each patient's status and revision are those of the last event about it."""
    held = record.enrollment.patients
    told = record.of(PATIENT_ENROLLED, CONSENT_CHANGED, PROFILE_CHANGED, PATIENT_DISENROLLED)
    last = {event.key: event for event in told}

    def found() -> Iterator[str]:
        for key, event in last.items():
            status = "disenrolled" if event.type == PATIENT_DISENROLLED else "enrolled"
            standing = held.get(key)
            if standing is None or standing.status != status:
                yield f"{key} was last published as {status} (event {event.id}), and is not"
            elif status == "enrolled" and standing.revision != event.says.revision:
                yield f"{key} has revision {standing.revision}; {event.says.revision} was published last"
        for key, standing in held.items():
            if standing.status == "enrolled" and key not in last:
                yield f"{key} is enrolled, and that was never published"

    return Found(len(last), found())


def fills_in(event: Event) -> Iterator[tuple[str, Item]]:
    """The fills that a hand-over adds to the history, by id."""
    for item in event.says.items:
        if item.state == FILLED and item.quantity > 0:
            yield item.fill_id or f"{event.says.package_id}.{item.rx_id}", item


@check("I5 what was picked up is in the history", reads="enrollment")
def taken_home_is_history(record: Record) -> Found:
    """What a patient took home is a fill of the history, as it was handed over; the feed may correct it later."""
    looked_at, found = 0, []
    for event in record.took("enrollment", PACKAGE_PICKED_UP):
        for fill_id, item in fills_in(event):
            looked_at += 1
            held = record.enrollment.fills.get(fill_id)
            if held is None:
                found.append(
                    f"fill {fill_id} of package {event.says.package_id} (event {event.id}) is missing"
                )
            elif not held.fed and held[:4] != (item.rx_id, item.quantity, item.days_supply, event.says.on):
                found.append(f"fill {fill_id} is not as it was handed over (event {event.id})")
    return Found(looked_at, found)


@check("I5 what is in the history was picked up", reads="enrollment", whole=True)
def history_was_taken_home(record: Record) -> Found:
    """No fill comes from a package that was not picked up."""
    own = sorted(fill_id for fill_id, fill in record.enrollment.fills.items() if not fill.fed)
    taken = {fill_id for event in record.of(PACKAGE_PICKED_UP) for fill_id, _ in fills_in(event)}
    return Found(len(own), (f"fill {each} was never picked up" for each in own if each not in taken))


@check("I5 what patients said is on record", reads="enrollment", whole=True)
def words_are_kept(record: Record) -> Found:
    """A stop that stands, or a change of a drug, that a patient told outreach is on record in enrollment; nothing else
    is."""
    kept = record.enrollment
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for event in record.took("enrollment", CONTACT_OPTED_OUT, CONTACT_OPTED_IN):
        about = event.key, event.says.detail
        newest[about] = max(newest.get(about, (0, "")), (event.sequence, event.type))
    stops = {about for about, (_, said) in newest.items() if said == CONTACT_OPTED_OUT}
    changes = {
        (event.says.rx_id, event.says.detail, event.says.on)
        for event in record.took("enrollment", CHANGE_REPORTED)
    }

    def found() -> Iterator[str]:
        for patient, channel in sorted(stops - kept.opt_outs):
            yield f"{patient} said stop ({channel}), and that is not on record"
        for patient, channel in sorted(kept.opt_outs - stops):
            yield f"a stop of {patient} ({channel}) is on record, and was never said"
        for rx_id, change, day in sorted(changes - kept.changes, key=str):
            yield f"prescription {rx_id} was reported {change} on {day}, and that is not on record"
        for rx_id, change, day in sorted(kept.changes - changes, key=str):
            yield f"prescription {rx_id}: {change} of {day} is on record, and was never said"

    return Found(len(stops) + len(changes), found())


ENROLLMENT = (standing_is_published, taken_home_is_history, history_was_taken_home, words_are_kept)
