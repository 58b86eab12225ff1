"""What is claimed after a disaster: all that `history` claims, where nothing was lost; where a database was set back,
what can still be kept; and that whatever does not heal is said.

A disaster that loses commits of a database leaves events on the topics of which that database knows nothing. Nobody
can bring those commits back. What is left to claim: all others are whole, nothing is done twice, no number is given
twice, and the system itself counts what was lost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from cli.proof.result import Result
from tests.faults import history as claims
from tests.faults.history import TAKES, History, Published, place


@dataclass
class Lost:
    """Told by the disaster itself, from the databases before and after: what nobody can bring back."""

    events: set[str] = field(
        default_factory=set
    )  # ids of outbox rows that the database knew, and knows no longer
    commands: set[str] = field(default_factory=set)  # keys of commands whose rows are gone

    def __bool__(self) -> bool:
        return bool(self.events or self.commands)


@dataclass(frozen=True)
class Claims:
    """Which claims a disaster leaves standing."""

    ordered: bool = True  # events of a patient keep their order, though some are sent again
    once: bool = (
        False  # nobody sends anything again on purpose: readers of committed records see each event once
    )


STRICT = Claims()
ORDER = ("I6",)


def judge(history: History, lost: Lost, kept: Claims) -> list[Result]:
    """Every claim that stands."""
    results = _after_a_loss(history, lost) if lost else claims.decide(history)
    if kept.once:
        results += [once_for_readers(history), newest_is_last(history.published)]
    if not kept.ordered:
        results = [result for result in results if not result.name.startswith(ORDER)]
    return results


def _after_a_loss(history: History, lost: Lost) -> list[Result]:
    kept = replace(
        history,
        commands=[command for command in history.commands if command.key not in lost.commands],
        published=[record for record in history.published if record.event_id not in lost.events],
    )
    return [
        claims.commands_have_rows(kept),
        claims.changes_have_outbox_rows(kept),
        claims.rows_are_published(kept),
        claims.records_were_written(kept),
        effects_are_events(history),
        claims.due_work_once(kept),
        first_effects_in_order(history),
        numbers_are_given_once(history),
        claims.topics_in_order(history),
        claims.copies_are_alike(history),
        claims.all_at_rest(history),
        claims.no_canaries(history),
    ]


def once_for_readers(history: History) -> Result:
    """Of the topics as a reader of committed records sees them; what was sent again on purpose is marked."""
    times = Counter(record.event_id for record in history.published if not record.replayed)
    found = [f"event {event_id} is there {n} times" for event_id, n in times.items() if n > 1]
    return Result("I13 a reader of committed records sees each event once", len(times), tuple(found))


def newest_is_last(published: Sequence[Published]) -> Result:
    """Of all records, not of the first occurrences: after compaction the last one is all that there is."""

    def found() -> Iterator[str]:
        newest: dict[tuple[str, str], Published] = {}
        for record in published:
            before = newest.get((record.topic, record.key))
            if before and record.sequence < before.sequence and not record.replayed:
                yield (
                    f"{record.key}: number {record.sequence} stands at {place(record)}, behind {before.sequence} "
                    f"at {place(before)}"
                )
            else:
                newest[record.topic, record.key] = record

    return Result("I14 the last record of a key is its newest", len(published), tuple(found()))


def effects_are_events(history: History) -> Result:
    """As often as events say a thing, it was taken in: by each id once."""
    found, looked_at = [], 0
    for service, kinds in TAKES.items():
        events = {r.event_id: (r.kind, r.key, r.number) for r in history.published if r.kind in kinds}
        withheld = {
            letter.event_id for letter in history.letters.get(service, ()) if letter.status != "redriven"
        }
        withheld |= history.stored.get(service, frozenset())
        said = Counter(what for event_id, what in events.items() if event_id not in withheld)
        done = Counter((e.kind, e.patient_id, e.number) for e in history.effects[service] if e.kind in kinds)
        looked_at += said.total()
        found += [f"{service}: {n} × {what} has no effect" for what, n in (said - done).items()]
        found += [f"{service}: {n} × {what} done, and no event says so" for what, n in (done - said).items()]
    return Result(
        "I5 per consumer and event one effect, also of events that were lost at home", looked_at, tuple(found)
    )


def first_effects_in_order(history: History) -> Result:
    found, looked_at = [], 0
    for service, effects in history.effects.items():
        order: dict[tuple[str, str], list[int]] = defaultdict(list)
        for effect in effects:
            if effect.number not in order[effect.kind, effect.patient_id]:
                order[effect.kind, effect.patient_id].append(effect.number)
        looked_at += len(effects)
        found += [
            f"{service}: {kind} of {patient} out of order: {numbers}"
            for (kind, patient), numbers in order.items()
            if numbers != sorted(numbers)
        ]
    return Result("I6 per patient, first effects in order", looked_at, tuple(found))


def numbers_are_given_once(history: History) -> Result:
    """A number is a revision: readers take the second event of one for old news."""
    events = {r.event_id: (r.key, r.number) for r in history.published if r.kind == "counted"}
    times = Counter(events.values())
    found = [f"number {number} of {key} was given {n} times" for (key, number), n in times.items() if n > 1]
    return Result("R1 no revision is given twice", len(events), tuple(found))


@dataclass
class Sayings:
    """What the system had to say, and what it did say; what the cure's commands answered."""

    looked_for: int = 0
    missing: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    commands: int = 0
    refused: list[str] = field(default_factory=list)
    measured: int = 0
    too_slow: list[str] = field(default_factory=list)

    def results(self) -> list[Result]:
        return [
            Result("S1 what does not heal by itself is said", self.looked_for, tuple(self.missing)),
            Result("S2 the cure that is written down can be carried out", self.commands, tuple(self.refused)),
            Result("S3 whoever is not struck goes on", self.measured, tuple(self.too_slow)),
        ]
