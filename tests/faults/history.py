"""The history checker: the complete record of a run as values, and one pure function for each invariant.

Nothing here trusts a counter of the code under test: commands are those that were sent, outbox rows were copied by a
trigger in their own transaction, topics were read from offset 0, effects are rows that nothing keeps from being there
twice. `collect` reads all that; `decide` judges it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cli.proof.result import Result


class Command(NamedTuple):
    """What was sent, and the number given to each patient; none where no answer ever came."""

    key: str
    patients: tuple[str, ...]
    answer: Mapping[str, int] | None


class Effect(NamedTuple):
    """One row that a service wrote, in the order in which it did."""

    patient_id: str
    kind: str  # sent, counted, applied
    number: int
    cause: str = ""


class Copied(NamedTuple):
    """One outbox row as it was written."""

    sequence: int
    event_id: str
    key: str
    payload: bytes


class Published(NamedTuple):
    """One record of a topic; `headers` are those of the envelope, all of them."""

    topic: str
    partition: int
    offset: int
    key: str
    event_id: str
    sequence: int
    kind: str  # counted, applied
    number: int
    payload: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    replayed: bool = False  # sent again on purpose, and marked so


class Letter(NamedTuple):
    """One dead letter."""

    key: str
    event_id: str
    status: str
    reason: str


SAYS = {"sender": ("sent", "counted"), "ledger": ("counted", "applied")}
"""What each service writes down in the transaction in which it emits, and the kind of the event."""

TAKES = {"sender": ("applied",), "ledger": ("counted",), "reader": ("counted", "applied")}
"""The kinds of events whose effects each service writes down."""

MOST_TRIES = 8
"""A process tries a batch again after 0.2 s at the earliest, and its successor may do so within the same second."""

STRANGER = "x-"
"""What the ids of patients begin with for whom the suite itself put malformed records on a topic."""


@dataclass(frozen=True)
class History:
    """Everything that was read after a run."""

    commands: Sequence[Command] = ()
    effects: Mapping[str, Sequence[Effect]] = field(default_factory=dict)  # by service
    copies: Mapping[str, Sequence[Copied]] = field(default_factory=dict)  # by service
    published: Sequence[Published] = ()  # by topic, partition and offset; without those of strangers
    letters: Mapping[str, Sequence[Letter]] = field(default_factory=dict)
    stored: Mapping[str, frozenset[str]] = field(default_factory=dict)  # ids that wait behind a letter
    rebuilt: Sequence[Effect] | None = None  # of a reader that began with an empty database
    things: int = 0  # pieces of due work, all due
    waiting: Mapping[str, int] = field(default_factory=dict)  # what had not come to rest, and how much
    attempts: Mapping[str, int] = field(default_factory=dict)
    """Of each process, the most often that it tried a batch in vain within one second."""
    searched: int = 0  # lines of logs, headers and letters searched for the canary
    canaries: Sequence[str] = ()  # where it was found


def decide(history: History) -> list[Result]:
    """Judge every invariant."""
    return [check(history) for check in CHECKS]


Found = tuple[int, Iterable[str]]
CHECKS: list[Callable[[History], Result]] = []


def invariant(claim: str) -> Callable[[Callable[[History], Found]], Callable[[History], Result]]:
    def make(look: Callable[[History], Found]) -> Callable[[History], Result]:
        def judge(history: History) -> Result:
            looked_at, violations = look(history)
            return Result(claim, looked_at, tuple(violations))

        CHECKS.append(judge)
        return judge

    return make


@invariant("I1 every accepted command has its rows, once")
def commands_have_rows(history: History) -> Found:
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for effect in history.effects.get("sender", ()):
        if effect.cause.startswith("command:"):
            rows[effect.cause, effect.patient_id].append(effect.number)

    def found() -> Iterator[str]:
        for key, patients, answer in history.commands:
            for patient in patients:
                numbers = rows.pop((f"command:{key}", patient), [])
                if answer is not None and numbers != [answer[patient]]:
                    yield f"command {key} was answered {answer[patient]} for {patient}; its rows are {numbers}"
                elif len(numbers) > 1:
                    yield f"command {key} was never answered and has {len(numbers)} rows for {patient}"
        for (cause, patient), numbers in rows.items():
            yield f"{cause} was never sent and has rows {numbers} for {patient}"

    return len(history.commands), found()


@invariant("I2 every change has its outbox row, every outbox row its change")
def changes_have_outbox_rows(history: History) -> Found:
    found, looked_at = [], 0
    for service, (kind, emitted) in SAYS.items():
        changes = Counter((e.patient_id, e.number) for e in history.effects[service] if e.kind == kind)
        rows = Counter((c.key, number_in(c.payload)) for c in history.copies[service])
        looked_at += changes.total()
        found += [
            f"{service}: {n} × {what} changed without {emitted}" for what, n in (changes - rows).items()
        ]
        found += [
            f"{service}: {n} × {emitted} {what} without a change" for what, n in (rows - changes).items()
        ]
    return looked_at, found


@invariant("I3 every outbox row is on its topic")
def rows_are_published(history: History) -> Found:
    there = {record.event_id: record for record in history.published}

    def found() -> Iterator[str]:
        for service, rows in history.copies.items():
            for row in rows:
                record = there.get(row.event_id)
                if record is None:
                    yield f"{service}: outbox row {row.sequence} (event {row.event_id}) is on no topic"
                elif (record.key, record.payload) != (row.key, row.payload):
                    yield f"{service}: event {row.event_id} is not on its topic as it was in the outbox"

    return sum(map(len, history.copies.values())), found()


@invariant("I4 nothing is on a topic without its outbox row")
def records_were_written(history: History) -> Found:
    written = {row.event_id for rows in history.copies.values() for row in rows}
    return len(history.published), (
        f"event {record.event_id} at {place(record)} was in no outbox"
        for record in history.published
        if record.event_id not in written
    )


@invariant("I5 per consumer and event one effect, or one dead letter, or one stored behind")
def one_effect_each(history: History) -> Found:
    found, looked_at = [], 0
    for service, kinds in TAKES.items():
        effects = Counter(
            (e.kind, e.patient_id, e.number) for e in history.effects[service] if e.kind in kinds
        )
        withheld = Counter(
            letter.event_id for letter in history.letters.get(service, ()) if letter.status != "redriven"
        ) + Counter(history.stored.get(service, ()))
        events = {r.event_id: (r.kind, r.key, r.number) for r in history.published if r.kind in kinds}
        looked_at += len(events)
        for event_id, what in events.items():
            if effects[what] + withheld[event_id] != 1:
                found.append(
                    f"{service}: event {event_id} {what} has {effects[what]} effects and {withheld[event_id]} letters"
                )
        known = set(events.values())
        found += [f"{service}: effect {what} of no event" for what in effects if what not in known]
    return looked_at, found


@invariant("I5 due work is done once")
def due_work_once(history: History) -> Found:
    done = Counter(e.cause for e in history.effects["sender"] if e.cause.startswith("thing:"))
    found = [f"{cause} was done {n} times" for cause, n in done.items() if n != 1]
    if len(done) != history.things:
        found.append(f"{len(done)} of {history.things} pieces of due work were done")
    return history.things, found


@invariant("I6 per patient, effects in order and without a gap")
def effects_in_order(history: History) -> Found:
    found, looked_at = [], 0
    for service, effects in history.effects.items():
        order: dict[tuple[str, str], list[int]] = defaultdict(list)
        for effect in effects:
            order[effect.kind, effect.patient_id].append(effect.number)
        looked_at += len(effects)
        for (kind, patient), numbers in order.items():
            expected = list(range(1, len(numbers) + 1))
            if numbers != expected:
                at = next(i for i, n in enumerate(numbers) if n != expected[i])
                found.append(
                    f"{service}: {kind} of {patient}: after {numbers[:at][-2:]} came {numbers[at:][:3]}"
                )
    return looked_at, found


@invariant("I6 per patient, topics in the order of the commits, on one partition")
def topics_in_order(history: History) -> Found:
    def found() -> Iterator[str]:
        seen: set[str] = set()
        last: dict[tuple[str, str], Published] = {}
        for record in history.published:
            if record.event_id in seen:
                continue
            seen.add(record.event_id)
            before = last.get((record.topic, record.key))
            if before and before.partition != record.partition:
                yield f"{record.key} is on partitions {before.partition} and {record.partition} of {record.topic}"
            elif before and before.sequence >= record.sequence:
                yield f"{record.key}: number {record.sequence} comes after {before.sequence} at {place(record)}"
            last[record.topic, record.key] = record

    return len(history.published), found()


@invariant("I7 one id, one payload")
def copies_are_alike(history: History) -> Found:
    def found() -> Iterator[str]:
        first: dict[str, Published] = {}
        for record in history.published:
            was = first.setdefault(record.event_id, record)
            if (was.key, was.payload, was.headers) != (record.key, record.payload, record.headers):
                yield f"event {record.event_id} at {place(record)} is not what it was at {place(was)}"

    return len(history.published), found()


@invariant("I8 a read model rebuilt from the topics equals the live one")
def rebuilt_is_live(history: History) -> Found:
    if history.rebuilt is None:
        return 0, ()
    live, rebuilt = (
        Counter(e[:3] for e in effects) for effects in (history.effects["reader"], history.rebuilt)
    )
    found = [f"{n} × {what} in the live model alone" for what, n in (live - rebuilt).items()]
    found += [f"{n} × {what} in the rebuilt model alone" for what, n in (rebuilt - live).items()]
    return live.total(), found


@invariant("I10 after the faults, all comes to rest")
def all_at_rest(history: History) -> Found:
    return len(history.waiting), (f"{n} left in {what}" for what, n in history.waiting.items() if n)


@invariant("I12 an outage is waited out, not hammered at")
def outages_are_waited_out(history: History) -> Found:
    return len(history.attempts), (
        f"{member} tried {n} times within a second"
        for member, n in history.attempts.items()
        if n > MOST_TRIES
    )


@invariant("I11 no personal data in logs, headers or reasons")
def no_canaries(history: History) -> Found:
    return history.searched, history.canaries


def number_in(payload: bytes) -> int:
    """The number that an event of the chain carries; without a parser, as this runs over every row."""
    text = payload[payload.index(b'"number":') + 9 :]
    return int(text[: next(i for i, c in enumerate(text) if c not in b"0123456789")])


def place(record: Published) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
