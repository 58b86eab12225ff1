"""One patient's days before enrollment and since: pickups, and days without a drug."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

from shared.events.enrollment import Profile
from shared.events.planner import Participation, PlanComputed

A_YEAR = timedelta(days=365)
KNOWN = timedelta(days=180)
"""The trips of the year before are counted where fills of so many days are on file."""

TAKES_PART = frozenset({Participation.sync, Participation.ride_along})


class Supply(NamedTuple):
    """One fill, as far as days are counted by it."""

    fill_id: str
    rx_id: str
    on: date  # handed over
    days: int


class Days(NamedTuple):
    """Drug days of a span, and those of them without supply."""

    all: int = 0
    without: int = 0


NO_DAYS = Days()


@dataclass(frozen=True)
class History:
    """One patient, over as many days before enrollment as since; of the drugs that the plan takes care of alone.

    What else was fetched before (a course of an antibiotic, say) is no trip that a plan could spare.
    """

    patient_id: str
    enrolled_on: date
    until: date  # exclusive: the end of the run, or the day of leaving
    drugs: frozenset[str]  # ingredients that are in the plan
    came_before: frozenset[date]
    came_since: frozenset[date]
    synchronized_on: frozenset[date]
    before: Days = NO_DAYS
    since: Days = NO_DAYS
    in_sync: Days = NO_DAYS  # from the first synchronized pickup on
    trips_of_the_year_before: int | None = None  # None if not known

    @property
    def days(self) -> int:
        """Since enrollment."""
        return (self.until - self.enrolled_on).days

    @property
    def days_before(self) -> int:
        """As many as since, but a year at most: of more there is no history."""
        return min(self.days, A_YEAR.days)


class Span(NamedTuple):
    """The days for which a patient takes part; the last is exclusive."""

    first: date
    end: date


def supplies_of(profile: Profile) -> tuple[Supply, ...]:
    """What the chain handed over, as the profile has it."""
    return tuple(
        Supply(fill.fill_id, fill.rx_id, fill.handed_over_on, fill.days_supply)
        for fill in profile.fills
        if not fill.elsewhere
    )


def ingredients(patient: Mapping[str, Any]) -> dict[str, str]:
    """By prescription: a renewal is the same drug. `patient` is as enrollment answers."""
    return {each["rx_id"]: each["drug"]["ingredient"] for each in patient["profile"]["prescriptions"]}


def look_back(
    patient: Mapping[str, Any],
    on_file: Iterable[Supply],
    plan: PlanComputed,
    span: Span,
    came: Collection[date],
    synchronized: Collection[date],
) -> History:
    """What enrollment answers for a patient, together with the fills that were on file at enrollment.

    Some of those are too old by now to be told. `came` are the days of pickups since, `synchronized` those among them.
    """
    drug = ingredients(patient)
    taking_part = _taking_part(plan, drug, TAKES_PART)
    start, end = span
    day_before = start - min(end - start, A_YEAR)
    fills = [each for each in _all(patient, on_file) if drug.get(each.rx_id) in taking_part]
    of_drug = [
        [(each.on, each.days) for each in fills if drug[each.rx_id] == name]
        for name in sorted(_taking_part(plan, drug, {Participation.sync}))
    ]
    fetched = {each.on for each in fills}
    known = fetched and start - min(fetched) >= KNOWN
    return History(
        patient_id=patient["patient_id"],
        enrolled_on=start,
        until=end,
        drugs=taking_part,
        came_before=frozenset(on for on in fetched if day_before <= on < start),
        came_since=frozenset(came),
        synchronized_on=frozenset(synchronized),
        before=_days(of_drug, day_before, start),
        since=_days(of_drug, start, end),
        in_sync=_days(of_drug, min(synchronized, default=end), end),
        trips_of_the_year_before=sum(start - A_YEAR <= on < start for on in fetched) if known else None,
    )


def _all(patient: Mapping[str, Any], on_file: Iterable[Supply]) -> list[Supply]:
    """Each fill once."""
    told = [
        Supply(
            fill["fill_id"], fill["rx_id"], date.fromisoformat(fill["handed_over_on"]), fill["days_supply"]
        )
        for fill in patient["profile"]["fills"]
        if not fill["elsewhere"]
    ]
    return list({each.fill_id: each for each in (*on_file, *told)}.values())


def _taking_part(
    plan: PlanComputed, drug: Mapping[str, str], how: Collection[Participation]
) -> frozenset[str]:
    return frozenset(
        drug[each.rx_id] for each in plan.drugs if each.participation in how and each.rx_id in drug
    )


def _days(of_drug: Sequence[Sequence[tuple[date, int]]], start: date, end: date) -> Days:
    length = max(0, (end - start).days)
    return Days(length * len(of_drug), sum(uncovered(fills, start, end) for fills in of_drug))


def uncovered(fills: Iterable[tuple[date, int]], start: date, end: date) -> int:
    """Days in [start, end) without stock: each fill's supply begins when the one before is used up.

    >>> uncovered([(date(2026, 1, 1), 30), (date(2026, 3, 1), 30)], date(2026, 1, 1), date(2026, 4, 1))
    30
    """
    covered_until, missing, at = date.min, 0, start
    for day, supply in sorted(fills):
        if day >= end:
            break
        missing += max(0, (day - max(at, covered_until)).days) if day > at else 0
        at = max(at, day)
        covered_until = max(covered_until, day) + timedelta(days=supply)
    return missing + max(0, (end - max(at, covered_until)).days)
