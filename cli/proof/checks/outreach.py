"""Outreach's ledger of contacts against the topics: what was said comes from an attempt, and what was heard is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from cli.proof.contract import (
    ALIGNMENT_AGREED,
    CHANGE_REPORTED,
    CONTACT_OPTED_OUT,
    PICKUP_CONFIRMED,
    PICKUP_DECLINED,
    QUESTION_RAISED,
    RENEWAL_NEEDED,
    RENEWAL_REQUESTED,
    RESCHEDULE_REQUESTED,
    name,
)
from cli.proof.record import Record
from cli.proof.result import Found, check


@check("I2 what an attempt led to is published", reads="outreach", whole=True)
def attempts_are_told(record: Record) -> Found:
    """Each report of an attempt notes the types of its events: they are on the topic, at that business time."""
    published = Counter((event.key, event.type, event.at) for event in record.events)
    led_to = Counter(
        (attempt.patient_id, event_type, attempt.reported_at)
        for attempt in record.outreach.attempts
        for event_type in attempt.led_to
    )
    return Found(
        led_to.total(),
        (
            f"attempts to reach {patient} at {at} led to {count} {name(event_type)}, "
            f"{published[patient, event_type, at]} are published"
            for (patient, event_type, at), count in led_to.items()
            if published[patient, event_type, at] < count
        ),
    )


@check("I2 every answer comes from an attempt", reads="outreach")
def answers_were_given(record: Record) -> Found:
    """An attempt, or a call of the patient's own, at the same business time; or earlier where a visit was promised."""
    attempts = record.outreach.attempts
    led = {(each.patient_id, kind, each.reported_at) for each in attempts for kind in each.led_to}
    asked = {(each.patient_id, each.at) for each in attempts if each.kind == "renewal"}
    agreed: dict[str, datetime] = {}
    for each in attempts:
        if ALIGNMENT_AGREED in each.led_to and each.reported_at:
            agreed[each.patient_id] = min(each.reported_at, agreed.get(each.patient_id, each.reported_at))

    looked_at, found = 0, []
    for event in record.of(
        ALIGNMENT_AGREED,
        PICKUP_CONFIRMED,
        PICKUP_DECLINED,
        RESCHEDULE_REQUESTED,
        CHANGE_REPORTED,
        QUESTION_RAISED,
        RENEWAL_REQUESTED,
    ):
        looked_at += 1
        known = (event.key, event.type, event.at) in led
        if event.type in (PICKUP_CONFIRMED, PICKUP_DECLINED) and event.at:
            known |= event.says.standing or (event.key in agreed and agreed[event.key] <= event.at)
        if event.type == RENEWAL_REQUESTED:
            known = (event.key, event.at) in asked
        if not known:
            found.append(f"{name(event.type)} {event.id} of {event.key} at {event.at} comes from no attempt")
    return Found(looked_at, found)


@check("I2 every stop, and every renewal needed, is in hand", reads="outreach", whole=True)
def stops_and_renewals(record: Record) -> Found:
    """Who said stop is who is not called; the renewals that are asked for are those that the planner needs."""
    kept = record.outreach
    stops = {event.key for event in record.of(CONTACT_OPTED_OUT)}
    needed = {(event.key, event.says.rx_id) for event in record.took("outreach", RENEWAL_NEEDED)}

    def found() -> Iterator[str]:
        for patient in sorted(stops ^ kept.opt_outs):
            where = "published, and not kept" if patient in stops else "kept, and not published"
            yield f"a stop of {patient} is {where}"
        for patient, rx_id in sorted(needed - kept.renewals):
            yield f"the renewal of {rx_id} of {patient} is needed, and nobody asks for it"
        for patient, rx_id in sorted(kept.renewals - needed):
            yield f"the renewal of {rx_id} of {patient} is asked for, and was never needed"

    return Found(len(stops) + len(needed), found())


OUTREACH = (attempts_are_told, answers_were_given, stops_and_renewals)
