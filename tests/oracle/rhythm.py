"""Rhythms: their slots, which of them are due, and where a drug can join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import gcd, lcm

from tests.oracle.burden import YEAR
from tests.oracle.question import HORIZON, Medication, Question


@dataclass(frozen=True)
class Rhythm:
    """A cycle, the days of its slots, and the numbers of those that are due once their drugs have joined."""

    cycle: int
    slots: tuple[int, ...]
    due: frozenset[int]
    per_year: Fraction

    def without(self, slot: int) -> Rhythm:
        """The same where this slot is not due."""
        return replace(self, due=self.due - {slot})


@dataclass(frozen=True)
class Target:
    """A slot at which a drug can join."""

    slot: int  # its number
    day: int
    reach: int  # the stock must last to this day, so that nothing is lacking at a later slot


def slot_days(question: Question, members: Sequence[Medication], cycle: int, first: int) -> tuple[int, ...]:
    """Where the slots fall, for a year and the last drug's share beyond it.

    On the last open day on or before first + k * cycle on which every drug can be paid, if it was filled one share
    before; else on the first such day after. (Whether a drug is paid at its own joining, and whether the stock lasts
    to a later day, is asked of each drug.)
    """
    shares = [drug.share(cycle) for drug in members]
    count = HORIZON // cycle + 2 + max(shares)
    if not question.closed:
        return tuple(first + number * cycle for number in range(count))
    days: list[int] = []
    for number in range(count):
        nominal = first + number * cycle
        paid = [
            days[number - share] + drug.wait(drug.rhythm_fill(cycle))
            for drug, share in zip(members, shares, strict=True)
            if number >= share
        ]
        before = question.on_or_before(nominal)
        days.append(before if before >= max(paid, default=0) else question.on_or_after(max(nominal, *paid)))
    return tuple(days)


def targets(question: Question, drug: Medication, rhythm: Rhythm) -> list[Target]:
    """The slots at which this drug can join: it is paid at every slot of its share from then on."""
    share, fill = drug.share(rhythm.cycle), drug.rhythm_fill(rhythm.cycle)
    found = []
    for slot, day in enumerate(rhythm.slots):
        own = range(slot, len(rhythm.slots), share)
        if day > question.join_by or not rhythm.due.issuperset(own):
            continue
        days = [rhythm.slots[number] for number in own]
        if all(after - before >= drug.wait(fill) for before, after in pairwise(days)):
            lacking = max(each - day - place * fill for place, each in enumerate(days))
            found.append(Target(slot, day, day + max(0, lacking)))
    return found


def patterns(
    question: Question, members: Sequence[Medication], cycle: int
) -> list[tuple[frozenset[int], int]]:
    """Which slots of a period can be due, the first among them, with the period; each as residues.

    Each drug makes every slot of one residue of its share due. A pattern whose slots are all a multiple apart is left
    to the longer cycle where that is tried with the same slots for every drug.
    """
    shares = [drug.share(cycle) for drug in members]
    period = lcm(*shares)
    found = {frozenset[int]()}
    for share in shares:
        classes = [frozenset(range(first, period, share)) for first in range(share)]
        found = {each | one for each in found for one in classes}
    kept = []
    for due in found:
        apart = gcd(period, *due)
        longer = apart * cycle
        same = longer in question.cycles_to_try() and all(
            drug.rhythm_fill(longer) == drug.rhythm_fill(cycle)
            and drug.share(longer) * apart == drug.share(cycle)
            for drug in members
        )
        if 0 in due and not (apart > 1 and same):
            kept.append((due, period))
    return sorted(kept, key=lambda each: (len(each[0]), sorted(each[0])))


def rhythms(question: Question, members: Sequence[Medication], cycle: int) -> Iterator[Rhythm]:
    """Every rhythm of a cycle: its patterns, from each candidate for the first slot on."""
    for residues, period in patterns(question, members, cycle):
        per_year = Fraction(YEAR * len(residues), period * cycle)
        for first in first_days(question, members, cycle):
            days = slot_days(question, members, cycle, first)
            due = frozenset(number for number in range(len(days)) if number % period in residues)
            yield Rhythm(cycle, days, due, per_year)


def first_days(question: Question, members: Sequence[Medication], cycle: int) -> Iterator[int]:
    """Candidates for the first slot: every open day to one cycle after the last drug can be paid."""
    last = max(max(question.served_from(drug) for drug in members), question.first_day) + cycle
    return (day for day in range(question.first_day, last + 1) if question.is_open(day))
