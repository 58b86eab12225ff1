"""Two stories at the end: an ordinary patient, and one with trouble that shows what was done about it.

Who is chosen depends on histories and events alone, so a run that is repeated tells the same stories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from textwrap import wrap
from typing import Any

from cli.demo.history import History, ingredients
from cli.demo.moments import Moment
from cli.demo.telling import LINES, Attempt, tell
from cli.demo.troubles import Drugs, Kind, Trouble, troubles, upsets
from shared.events.enrollment import PatientDisenrolled

WIDTH = 80
STRIP = 76
"""Marks in a line, at most."""

WEEK = 7
MOST_UPSETS = 5
"""Of a patient with trouble whose story can still be followed."""

LEGEND = "one mark a day: S sync pickup, | other pickup, ! trouble, · none"

TITLES = {
    Kind.returned: "a missed pickup",
    Kind.stopped: "a stopped drug",
    Kind.rejected: "a rejected claim",
    Kind.late: "a late pickup",
}


@dataclass(frozen=True)
class Tale:
    """One patient, as far as the story goes."""

    history: History
    moments: Sequence[Moment]  # in order
    drug: Drugs

    @property
    def patient_id(self) -> str:
        return self.history.patient_id


@dataclass(frozen=True)
class Chosen:
    """A story to be told."""

    title: str
    tale: Tale
    trouble: Trouble | None = None


def tales_of(
    histories: Sequence[History],
    moments: Mapping[str, Sequence[Moment]],
    patients: Sequence[Mapping[str, Any]],
) -> list[Tale]:
    """Of those whose moments were kept. `patients` is what enrollment says of them."""
    drug = {patient["patient_id"]: ingredients(patient) for patient in patients}
    return [
        Tale(each, sorted(moments[each.patient_id], key=lambda moment: moment.place), drug[each.patient_id])
        for each in histories
        if each.patient_id in moments
    ]


# ---- choosing ---------------------------------------------------------------------------------------------------


def choose(tales: Sequence[Tale]) -> list[Chosen]:
    """The ordinary patient and the one with trouble, as far as there are such."""
    usual = ordinary(tales)
    found = troubled(tales, usual)
    return [
        *([Chosen("An ordinary patient", usual)] if usual else []),
        *([Chosen(f"A patient with trouble ({TITLES[found[1].kind]})", *found)] if found else []),
    ]


def ordinary(tales: Sequence[Tale]) -> Tale | None:
    """Who stayed, without trouble, and the nearest to the average in trips before and since; an upset counts as one.

    Three drugs or more, and in sync: two synchronized pickups, or one where nobody has had two yet.
    """
    several = [tale for tale in tales if len(tale.history.drugs) >= 3 and tale.history.synchronized_on]
    settled = [tale for tale in several if len(tale.history.synchronized_on) > 1]

    def order(tale: Tale) -> tuple[bool, bool, float, str]:
        left = any(moment.kind is PatientDisenrolled for moment in tale.moments)
        in_trouble = any(troubles(tale.moments, tale.drug))
        return left, in_trouble, _from_average(tale, tales) + upsets(tale.moments), tale.patient_id

    return min(settled or several, key=order, default=None)


def troubled(tales: Sequence[Tale], besides: Tale | None) -> tuple[Tale, Trouble] | None:
    """Someone whose trouble was settled, whose story can be followed, who was no longer without a drug than before.

    Of these the kind of trouble that shows most; then who had the fewest other upsets, and is nearest to the average.
    """
    found = [
        (tale, trouble)
        for tale in tales
        if tale is not besides and tale.history.synchronized_on
        for trouble in troubles(tale.moments, tale.drug)
    ]

    def order(one: tuple[Tale, Trouble]) -> tuple[bool, bool, bool, Kind, int, float, str]:
        tale, trouble = one
        many = upsets(tale.moments)
        return (
            trouble.settled is None,
            many > MOST_UPSETS,
            tale.history.since.without > tale.history.before.without,
            trouble.kind,
            many,
            _from_average(tale, tales),
            tale.patient_id,
        )

    return min(found, key=order, default=None)


def _from_average(tale: Tale, tales: Sequence[Tale]) -> float:
    """How many trips a patient is off from what all make in as many days, before and since."""
    histories, own = [each.history for each in tales], tale.history
    before = _pace(sum(len(h.came_before) for h in histories), sum(h.days_before for h in histories))
    since = _pace(sum(len(h.came_since) for h in histories), sum(h.days for h in histories))
    return abs(len(own.came_before) - before * own.days_before) + abs(len(own.came_since) - since * own.days)


def _pace(trips: int, days: int) -> float:
    return trips / days


# ---- drawing ----------------------------------------------------------------------------------------------------


def strip(marks: Mapping[date, str], first: date, end: date) -> str:
    """The days of [first, end) as marks, one a day; a longer span as the number of marked days in a week or more.

    >>> strip({date(2009, 10, 2): "S"}, date(2009, 10, 1), date(2009, 10, 5))
    '·S··'
    """
    days = [first + timedelta(days=number) for number in range((end - first).days)]
    step = days_a_mark(len(days))
    if step == 1:
        return "".join(marks.get(day, "·") for day in days)
    counts = (sum(day in marks for day in days[at : at + step]) for at in range(0, len(days), step))
    return "".join("·" if not count else str(count) if count < 10 else "+" for count in counts)


def days_a_mark(days: int) -> int:
    return 1 if days <= STRIP else max(WEEK, ceil(days / STRIP))


def strips(history: History, trouble: Trouble | None) -> list[str]:
    """Before and since enrollment, one above the other, with the legend."""
    step = days_a_mark(history.days)
    pickups = {day: "S" if day in history.synchronized_on else "|" for day in history.came_since}
    bad = {trouble.began.at.date(): "!"} if trouble and step == 1 else {}
    legend = LEGEND if trouble else LEGEND.replace(" ! trouble,", "")
    start = history.enrolled_on
    return [
        f"  {_pickup_days(len(history.came_before))} in the {history.days_before} days before enrollment",
        "  " + strip(dict.fromkeys(history.came_before, "|"), start - timedelta(history.days_before), start),
        f"  {_pickup_days(len(pickups))} in the {history.days} days since",
        "  " + strip(bad | pickups, start, history.until),
        f"  ({legend if step == 1 else f'one mark for {step} days: the number of pickup days'})",
    ]


def _pickup_days(number: int) -> str:
    return f"{number} pickup day{'' if number == 1 else 's'}"


# ---- telling ----------------------------------------------------------------------------------------------------


def story(
    chosen: Chosen, year: str | None, calls: Sequence[Attempt] = (), *, lines: int = LINES
) -> Iterator[str]:
    """A whole story in lines of 80 columns. `year` is the plan's sentence on the year to come."""
    tale, history = chosen.tale, chosen.tale.history
    yield f"{chosen.title}: {history.patient_id[:8]}, {len(history.drugs)} drugs"
    yield from strips(history, chosen.trouble)
    yield (
        f"  Days without a drug, over all drugs: {history.before.without} before, {history.since.without} since"
    )
    yield ""
    for line in tell(tale.moments, tale.drug, chosen.trouble, calls, lines=lines):
        yield from wrap(line, WIDTH, initial_indent="  ", subsequent_indent=" " * 19)
    if year:
        yield from wrap(year, WIDTH, initial_indent="  ", subsequent_indent="  ")
