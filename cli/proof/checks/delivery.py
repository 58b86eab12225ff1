"""Nothing lost, nothing twice, nothing out of order, nothing from nowhere: the promises of the messaging."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from cli.proof.contract import (
    CONSENT_CHANGED,
    COUNTED_APART,
    OVERTAKING,
    PATIENT_DISENROLLED,
    PATIENT_ENROLLED,
    PLAN_BLOCKED,
    PLAN_CANCELLED,
    PLAN_COMPUTED,
    PROFILE_CHANGED,
    TAKES,
    TOPICS,
    name,
    owner,
)
from cli.proof.record import Event, Record
from cli.proof.result import NOT_RECORDED, Found, check

# ---- at rest ----------------------------------------------------------------------------------------------------


@check("I10 outboxes are empty, and topics stand still")
def nothing_waits(record: Record) -> Found:
    """When all is done, nothing is on its way any more."""

    def found() -> Iterator[str]:
        for topic in sorted(record.grew):
            yield f"{topic} moved on while it was read: wait until the system is at rest"
        for service, fabric in record.fabrics.items():
            for row in fabric.outbox:
                how = "is held: the broker refused it" if row.held else "was not published"
                yield f"{service}: outbox row {row.sequence} (event {row.event_id}) {how}"

    return Found(len(record.fabrics), found())


@check("I5 nobody is parked, and no dead letter is open")
def nobody_waits(record: Record) -> Found:
    """Nothing waits for a person. Where that is allowed, it is told of and does not count."""
    found = []
    for service, fabric in record.fabrics.items():
        found += [f"{service}: {key} is parked: {reason}" for key, reason in fabric.parked.items()]
        found += [
            f"{service}: dead letter {letter.number} is open: {letter.reason} (event {letter.event_id or 'unknown'}, "
            f"{letter.place})"
            for letter in fabric.dead_letters
            if letter.status == "open"
        ]
    if record.allow_parked and found:
        return Found(len(record.fabrics), (), f"{len(found)} accepted as accounted for")
    return Found(len(record.fabrics), found)


# ---- the envelope -----------------------------------------------------------------------------------------------


@check("I7 one id, one payload")
def one_id_one_payload(record: Record) -> Found:
    """A copy of an event is the same to the byte, on the same partition."""

    def found() -> Iterator[str]:
        for copy in record.copies:
            first = record.by_id[copy.id]
            if (copy.whole, copy.topic, copy.partition) != (first.whole, first.topic, first.partition):
                yield f"event {copy.id} at {copy.place} is not what it was at {first.place}"

    return Found(len(record.events), found(), f"{len(record.copies)} records are copies")


@check("I7 one place in its service's sequence per event")
def one_sequence(record: Record) -> Found:
    """No number stands for two events."""

    def found() -> Iterator[str]:
        taken: dict[tuple[str, int], str] = {}
        for event in record.events:
            first = taken.setdefault((event.source, event.sequence), event.id)
            if first != event.id:
                yield f"{event.source}: number {event.sequence} belongs to events {first} and {event.id}"
        for copy in record.copies:
            if copy.sequence != (first_seen := record.by_id[copy.id]).sequence:
                yield f"event {copy.id} has the numbers {first_seen.sequence} and {copy.sequence}"

    return Found(len(record.events), found())


@check("I4 only its owner writes on a topic")
def only_the_owner_writes(record: Record) -> Found:
    """Each record is of its topic's owner, of a type that belongs there, with all that an envelope needs."""

    def found() -> Iterator[str]:
        for event in record.events:
            at = f"{event.place} (event {event.id})"
            if event.source != f"medsync/{owner(event.topic)}":
                yield f"{at} is from {event.source or 'nobody'}, who does not own the topic"
            if event.type not in TOPICS[event.topic]:
                yield f"{at} is of type {event.type or 'none'}, which does not belong on the topic"
            yield from (f"{at}: {flaw}" for flaw in event.flaws)

    return Found(len(record.events), found())


# ---- from the command over the outbox to the topic --------------------------------------------------------------


@check("I1 an accepted command has its row, a refused one none")
def commands_answered(record: Record) -> Found:
    """An accepted command left its answer, and one that was refused left nothing."""
    logs = {s: fabric for s, fabric in record.fabrics.items() if fabric.commands is not None}
    if not logs:
        return Found(NOT_RECORDED, note="no log of the commands was kept")
    caused = {event.cause for event in record.events if event.cause.startswith("command:")}

    def found() -> Iterator[str]:
        for service, fabric in logs.items():
            for key, status in (fabric.commands or {}).items():
                if 200 <= status < 300 and key not in fabric.answers:
                    yield f"{service}: command {key} was answered {status} and is not there"
                elif 400 <= status < 500 and (key in fabric.answers or f"command:{key}" in caused):
                    yield f"{service}: command {key} was refused with {status} and had an effect"

    return Found(sum(len(fabric.commands or ()) for fabric in logs.values()), found())


@check("I3 every outbox row is on its topic")
def written_and_published(record: Record) -> Found:
    """What was written to an outbox is on its topic, as it was written."""
    if all(fabric.copies is None for fabric in record.fabrics.values()):
        return Found(NOT_RECORDED, note="no copy of the outbox was kept")

    def found() -> Iterator[str]:
        for service, fabric in record.fabrics.items():
            waiting = {row.event_id for row in fabric.outbox}
            for row in fabric.copies or ():
                event = record.by_id.get(row.event_id)
                if event is None:
                    if row.event_id not in waiting and not record.gone.get(row.topic):
                        yield f"{service}: outbox row {row.sequence} (event {row.event_id}) is on no topic"
                elif row != (event.sequence, event.id, event.topic, event.key, event.payload):
                    yield f"{service}: event {row.event_id} at {event.place} is not what its outbox row was"

    return Found(sum(len(fabric.copies or ()) for fabric in record.fabrics.values()), found())


@check("I4 nothing is on a topic without its outbox row")
def published_and_written(record: Record) -> Found:
    """Nothing is on a topic but what a committed transaction wrote to its owner's outbox."""
    written = {
        service: {row.event_id for row in fabric.copies}
        for service, fabric in record.fabrics.items()
        if fabric.copies is not None
    }
    if not written:
        return Found(NOT_RECORDED, note="no copy of the outbox was kept")
    judged = [event for event in record.events if owner(event.topic) in written]
    return Found(
        len(judged),
        (
            f"event {event.id} at {event.place} was never in the outbox of {owner(event.topic)}"
            for event in judged
            if event.id not in written[owner(event.topic)]
        ),
    )


# ---- from the topic to the consumer -----------------------------------------------------------------------------


@check("I5 every service took every event that it handles")
def taken_once(record: Record) -> Found:
    """Each event is in the inbox of every service that takes its type, or a dead letter there, once."""
    looked_at, found = 0, []
    for service, fabric in record.fabrics.items():
        letters = Counter(letter.event_id for letter in fabric.dead_letters if letter.event_id)
        buried = {letter.place for letter in fabric.dead_letters}
        for event in record.of(*TAKES[service]):
            looked_at += 1
            if event.id not in fabric.inbox and event.place not in buried:
                found.append(f"{service} never took {name(event.type)} {event.id} at {event.place}")
        found += [f"{service} has {n} dead letters of event {id_}" for id_, n in letters.items() if n > 1]
    return Found(looked_at, found)


@check("I5 no service took what is on no topic")
def nothing_taken_from_nowhere(record: Record) -> Found:
    """What a service took in stands on a topic, and is of a type that it handles."""
    looked_at, found, forgotten = 0, [], 0
    for service, fabric in record.fabrics.items():
        types = TAKES[service]
        looked_at += len(fabric.inbox)
        missing = sorted(id_ for id_ in fabric.inbox if id_ not in record.by_id)
        gone = sum(count for topic, count in record.gone.items() if TOPICS[topic] & types)
        if len(missing) > gone:
            found += [f"{service} took event {id_}, which is on no topic" for id_ in missing]
        else:
            forgotten += len(missing)
        found += [
            f"{service} took {name(event.type)} {event.id}, which it does not handle"
            for id_ in fabric.inbox
            if (event := record.by_id.get(id_)) and event.type not in types
        ]
    return Found(looked_at, found, f"{forgotten} are too old for their topics" if forgotten else "")


@check("I4 every cause is known")
def causes_are_known(record: Record) -> Found:
    """An event that follows from another follows from one that stands on a topic and that its service handles."""
    looked_at, found = 0, []
    for event in record.events:
        if not event.cause or ":" in event.cause:
            continue  # a command, due work or a redrive
        looked_at += 1
        cause = record.by_id.get(event.cause)
        if cause is None and not record.gone:
            found.append(f"{name(event.type)} {event.id} follows from {event.cause}, which is on no topic")
        elif cause and cause.type not in TAKES.get(event.service, frozenset()):
            found.append(
                f"{name(event.type)} {event.id} follows from {name(cause.type)} {cause.id}, which {event.service} "
                "does not handle"
            )
    return Found(looked_at, found)


@check("I5 one effect per cause")
def one_effect_per_cause(record: Record) -> Found:
    """An event, however often delivered, never makes a service say the same thing twice about the same thing."""
    first: dict[tuple[str, ...], str] = {}
    looked_at, found = 0, []
    for event in record.events:
        if event.cause not in record.by_id:
            continue
        looked_at += 1
        about = (event.key, event.says.visit_id, event.says.package_id, event.says.rx_id)
        said = first.setdefault((event.cause, event.type, *about), event.id)
        if said != event.id:
            found.append(
                f"{event.key}: {name(event.type)} {said} and {event.id} both follow from event {event.cause}"
            )
    return Found(looked_at, found)


# ---- order ------------------------------------------------------------------------------------------------------


@check("I6 per patient, the order of the commits")
def order_of_commits(record: Record) -> Found:
    """Of each patient, a service's events stand on a topic in the order of its commits, on one partition.

    What was held stands behind what overtook it.
    """

    def found() -> Iterator[str]:
        last: dict[tuple[str, str], Event] = {}
        for event in record.events:
            before = last.get((event.topic, event.key))
            if before and before.partition != event.partition:
                yield f"{event.key} is on partitions {before.partition} and {event.partition} of {event.topic}"
            elif before and before.source == event.source and before.sequence >= event.sequence:
                yield (
                    f"{event.key}: event {event.id} (number {event.sequence}) comes after {before.id} "
                    f"(number {before.sequence}) on {event.topic}"
                )
            if event.type not in OVERTAKING:
                last[event.topic, event.key] = event

    return Found(len(record.events), found())


@check("I6 per patient, revisions only grow")
def revisions_grow(record: Record) -> Found:
    """A revision seen again is a state that someone had sent again; an older one may be what a departure overtook."""
    looked_at, found = 0, []
    newest: defaultdict[str, dict[str, Event]] = defaultdict(dict)
    for event in record.events:
        if not event.says.revision:
            continue
        looked_at += 1
        series = newest[event.type if event.type in COUNTED_APART else event.topic]
        before = series.get(event.key)
        if event.type not in OVERTAKING:
            series[event.key] = event
        if before and event.says.revision <= before.says.revision and not _sent_again(event, before):
            found.append(
                f"{event.key}: {name(event.type)} {event.id} has revision {event.says.revision}, after "
                f"{name(before.type)} {before.id} with {before.says.revision}"
            )
    return Found(looked_at, found)


def _sent_again(event: Event, before: Event) -> bool:
    """Whether a person may have had the state sent again: an enrollment carries the newest profile, others repeat."""
    return (
        event.says.revision == before.says.revision
        and event.cause.startswith("command:")
        and (event.type == PATIENT_ENROLLED or event.payload == before.payload)
    )


@check("I6 no revision is missing", whole=True)
def no_revision_missing(record: Record) -> Found:
    """Of a patient's plans, revisions go up by one; of the profile, between an enrollment and its end."""
    counted = {
        PATIENT_ENROLLED,
        CONSENT_CHANGED,
        PROFILE_CHANGED,
        PATIENT_DISENROLLED,
        PLAN_COMPUTED,
        PLAN_BLOCKED,
        PLAN_CANCELLED,
    }
    looked_at, found = 0, []
    newest: dict[tuple[str, str], int] = {}
    for event in record.of(*counted):
        looked_at += 1
        before = newest.get((event.topic, event.key), 0)
        newest[event.topic, event.key] = event.says.revision
        if event.says.revision > before + 1 and event.type != PATIENT_ENROLLED:
            found.append(
                f"{event.key}: {name(event.type)} {event.id} has revision {event.says.revision}, the one before "
                f"{before or 'none'}"
            )
    return Found(looked_at, found)


DELIVERY = (
    nothing_waits,
    nobody_waits,
    commands_answered,
    written_and_published,
    published_and_written,
    only_the_owner_writes,
    causes_are_known,
    taken_once,
    nothing_taken_from_nowhere,
    one_effect_per_cause,
    order_of_commits,
    revisions_grow,
    no_revision_missing,
    one_id_one_payload,
    one_sequence,
)
