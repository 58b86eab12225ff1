"""What a year is worth: criterion 1, the avoidable days without a drug, and criterion 4, the burden."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from tests.oracle.question import MADE_BEFORE, Medication, Question

YEAR = 365
SURPLUS = 14
"""Days left at a joining that are no surplus, and of each step of it beyond."""


@dataclass(frozen=True)
class Fill:
    """One fill of one drug before or at its joining."""

    day: int
    days: int


@dataclass(frozen=True)
class Course:
    """One drug's way into the rhythm: the fills before, then the slot at which it joins; none: it comes by itself."""

    drug: Medication
    before: tuple[Fill, ...]
    joins: int | None  # the number of the slot


def per_year(cycle: int, joined: Iterable[tuple[int, int]], alone: Iterable[Medication]) -> Fraction:
    """Trips a year of the rhythm; `joined` are joining slots with shares.

    The slots at which any drug is due, of as many as it takes until all repeats; and the trips of drugs by themselves.
    """
    joined = list(joined)
    period = lcm(*(share for _, share in joined))
    due = {slot for slot in range(period) for joins, share in joined if (slot - joins) % share == 0}
    by_themselves = sum((Fraction(YEAR, drug.usual) for drug in alone), Fraction(0))
    return by_themselves + (Fraction(YEAR * len(due), period * cycle) if joined else 0)


def one_time_trips(courses: Collection[Course], cycle: int, slots: Sequence[int]) -> set[int]:
    """Days of fills before joining on which no drug that has joined is due. Drugs by themselves count in the rate."""
    members = [course for course in courses if course.joins is not None]
    due = {
        day
        for number, day in enumerate(slots)
        for course in members
        if number >= (course.joins or 0) and (number - (course.joins or 0)) % course.drug.share(cycle) == 0
    }
    return {fill.day for course in members for fill in course.before} - due


def short_fills(courses: Iterable[Course]) -> int:
    """Fills of less than the usual days."""
    return sum(fill.days < course.drug.usual for course in courses for fill in course.before)


def is_late(day: int, payable: int) -> bool:
    """Does the payer pay only after the day on which the store makes the fill?"""
    return payable > day - MADE_BEFORE


def is_dry(day: int, run_out: int) -> bool:
    """Is nothing left on the morning of the fill?"""
    return run_out <= day


def surplus_steps(left: int) -> int:
    """Each started 14 days beyond 14 that are left at a joining."""
    return max(0, -(-(left - SURPLUS) // SURPLUS))


def blemishes(question: Question, course: Course, cycle: int, slots: Sequence[int]) -> Fraction:
    """What v weighs, for one drug: late claims, fills with nothing left, surplus at the joining.

    Once for each fill before the joining. What holds at the fill after the joining is taken to hold at all: it counts
    as often as the drug is due in a year, the joining among them; what holds at the joining alone counts once. A drug
    by itself is filled when it suits, and has none.
    """
    if course.joins is None:
        return Fraction(0)
    drug, count = course.drug, Fraction(0)
    payable, run_out = drug.payable, max(drug.run_out, 0)
    for fill in course.before:
        count += is_late(fill.day, payable) + is_dry(fill.day, run_out)
        payable, run_out = fill.day + drug.wait(fill.days), max(run_out, fill.day) + fill.days
    day = slots[course.joins]
    return count + at_joining(drug, cycle, day, payable, run_out)


def at_joining(drug: Medication, cycle: int, day: int, payable: int, run_out: int) -> Fraction:
    """The same for the joining and all that follows it."""
    fill, share = drug.rhythm_fill(cycle), drug.share(cycle)
    after = day + share * cycle
    a_year = Fraction(YEAR, share * cycle)
    late, dry = is_late(day, payable), is_dry(day, run_out)
    late_after = is_late(after, day + drug.wait(fill))
    dry_after = is_dry(after, max(run_out, day) + fill)
    return (
        (a_year if late_after else Fraction(late))
        + (a_year if dry_after else Fraction(dry))
        + surplus_steps(run_out - day)
    )


def burden(question: Question, cycle: int, slots: Sequence[int], courses: Collection[Course]) -> Fraction:
    """Criterion 4, from the fills as they are laid out."""
    joined = [(course.joins, course.drug.share(cycle)) for course in courses if course.joins is not None]
    alone = [course.drug for course in courses if course.joins is None]
    return (
        per_year(cycle, joined, alone)
        + len(one_time_trips(courses, cycle, slots))
        + question.w * short_fills(courses)
        + question.v * sum(blemishes(question, course, cycle, slots) for course in courses)
    )


def days_without(question: Question, course: Course, slots: Sequence[int]) -> int:
    """Days without the drug up to its joining; a drug by itself lacks only what nothing could cover."""
    if course.joins is None:
        return question.unavoidable(course.drug)
    run_out, lacking = max(course.drug.run_out, 0), 0
    for day, days in [*((fill.day, fill.days) for fill in course.before), (slots[course.joins], 0)]:
        lacking += max(0, day - run_out)
        run_out = max(run_out, day) + days
    return lacking


def avoidable(question: Question, courses: Iterable[Course], slots: Sequence[int]) -> int:
    """Criterion 1: days without a drug that a fill in time would have covered."""
    return sum(
        days_without(question, course, slots) - question.unavoidable(course.drug) for course in courses
    )
