"""Is an answer as good as the best? Its figures are not believed: the burden is worked out from its visits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations

from tests.oracle.burden import Course, Fill, avoidable, burden
from tests.oracle.exact import Best, best
from tests.oracle.question import Medication, Question
from tests.oracle.rhythm import Rhythm, slot_days, targets


@dataclass(frozen=True)
class Answer:
    """What is said to be the best, as plain values; visits up to one at which, or after which, all have joined."""

    avoidable: int
    burden: Fraction
    cycle: int
    visits: Sequence[tuple[int, Sequence[tuple[str, int]]]]  # day, (rx_id, days)


@dataclass(frozen=True)
class Verdict:
    """What an answer is worth."""

    best: Best
    avoidable: int | None  # worked out from the visits; none where they make no rhythm
    burden: Fraction | None
    faults: tuple[str, ...]

    @property
    def is_optimal(self) -> bool:
        """Does the answer come to what the best does, and say so?"""
        if self.avoidable is None or self.burden is None:
            return False
        return not self.faults and (self.avoidable, self.burden) <= (self.best.avoidable, self.best.burden)


def compare(question: Question, answer: Answer, optimum: Best | None = None, settling: int = 0) -> Verdict:
    """Judge an answer: can its fills be made, what do they come to, is that what it says, and is it the least?

    The optimum is searched for, unless it is known already. It is one with slots a whole cycle apart; an answer whose
    slots may be up to `settling` days earlier, until every drug has its cushion left, can come to a little less.
    """
    optimum = optimum or best(question)
    faults = list(impossible(question, answer))
    found = min(
        readings(question, answer.cycle, answer.visits, settling), default=None, key=lambda each: each[:2]
    )
    if found is None:
        return Verdict(optimum, None, None, (*faults, f"the visits make no rhythm of {answer.cycle} days"))
    lacking, weight, _ = found
    if (lacking, weight) != (answer.avoidable, answer.burden):
        said = f"{answer.avoidable} days without and a burden of {answer.burden}"
        faults.append(f"said to be {said}, its visits come to {lacking} and {weight}")
    if (lacking, weight) > (optimum.avoidable, optimum.burden):
        faults.append(f"not the least: {optimum.avoidable} days without and {optimum.burden} can be had")
    return Verdict(optimum, lacking, weight, tuple(faults))


def fills_of(drug: Medication, visits: Sequence[tuple[int, Sequence[tuple[str, int]]]]) -> list[Fill]:
    """This drug's fills, in the order of their days."""
    return sorted(
        (Fill(day, days) for day, items in visits for rx_id, days in items if rx_id == drug.rx_id),
        key=lambda fill: fill.day,
    )


def impossible(question: Question, answer: Answer) -> Iterator[str]:
    """Fills that cannot be: on closed days, too early, too soon for the payer, of no size that is paid."""
    for drug in question.medications:
        payable = max(drug.payable, 0)
        for fill in fills_of(drug, answer.visits):
            where = f"{drug.rx_id} on day {fill.day}"
            if not question.is_open(fill.day) or fill.day < question.first_day:
                yield f"{where}: no visit can be on this day"
            if fill.day < payable:
                yield f"{where}: paid from day {payable} on"
            if fill.days != drug.usual and fill.days not in drug.shorter and fill.days not in drug.larger:
                yield f"{where}: {fill.days} days cannot be filled"
            payable = fill.day + drug.wait(fill.days)


def readings(
    question: Question,
    cycle: int,
    visits: Sequence[tuple[int, Sequence[tuple[str, int]]]],
    settling: int = 0,
) -> Iterator[tuple[int, Fraction, tuple[Course, ...]]]:
    """What the visits come to, with each of them in turn taken for the first slot, where that makes a rhythm.

    Where the store has closed days, slots fall where the drugs that join can be paid: up to two drugs that fit the
    cycle are also taken not to be among them.
    """
    fitting = [drug for drug in question.medications if drug.share(cycle)]
    days = sorted(day for day, _ in visits)
    for alone in chain.from_iterable(
        combinations(fitting, count) for count in range(3 if question.closed else 1)
    ):
        members = [drug for drug in fitting if drug not in alone]
        for first in days if members else []:
            slots = _on_visits(slot_days(question, members, cycle, first), days, settling)
            courses = tuple(course_of(question, drug, cycle, slots, visits) for drug in question.medications)
            if any(course.joins == 0 for course in courses):
                yield avoidable(question, courses, slots), burden(question, cycle, slots, courses), courses


def _on_visits(slots: Sequence[int], days: Sequence[int], settling: int) -> tuple[int, ...]:
    """The slots, each on the visit that takes its place: that day, or the nearest up to so many days before."""
    taken, earlier = [], 0
    for slot in slots:
        near = [day for day in days if slot - settling <= day <= slot]
        earlier = slot - max(near) if near else earlier
        taken.append(slot - earlier)
    return tuple(taken)


def course_of(
    question: Question,
    drug: Medication,
    cycle: int,
    slots: tuple[int, ...],
    visits: Sequence[tuple[int, Sequence[tuple[str, int]]]],
) -> Course:
    """The drug's fills before the first slot from which on it keeps the rhythm, as far as visits are laid out."""
    fills, last = fills_of(drug, visits), max(day for day, _ in visits)
    share, alone = drug.share(cycle), Course(drug, (), None)
    if not share:
        return alone
    every = Rhythm(cycle, slots, frozenset(range(len(slots))), Fraction(0))
    for target in targets(question, drug, every):
        rest = [Fill(slots[slot], drug.rhythm_fill(cycle)) for slot in range(target.slot, len(slots), share)]
        before = [fill for fill in fills if fill.day < target.day]
        if [fill for fill in fills if fill.day >= target.day] == [fill for fill in rest if fill.day <= last]:
            return Course(drug, tuple(before), target.slot) if target.day <= last else alone
    return alone
