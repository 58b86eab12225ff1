"""An independent answer to small cases, by brute force: every day, every way to fill, every set of trips.

It shares no code with the planner and knows none of its shortcuts: no windows, no greedy choice, no search order.
Days are whole numbers; day 0 is today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor


@dataclass(frozen=True)
class Pill:
    """One drug of a small case."""

    run_out: int
    ready: int  # payable from
    usual_days: int
    per_day: Fraction = Fraction(1)
    left: int = 10_000  # units authorised
    expires: int = 10_000
    percent: int = 75
    ride_along: bool = False
    critical: bool = False

    @property
    def filled_ago(self) -> int:
        return ceil(Fraction(self.percent, 100) * self.usual_days) - self.ready

    @property
    def usual_units(self) -> int:
        return ceil(self.usual_days * self.per_day)


@dataclass(frozen=True)
class Small:
    """A small case."""

    pills: tuple[Pill, ...]
    open_days: frozenset[int]  # for a long way ahead
    lead: int
    cycle: int
    weekday_of_day_0: int = 0
    preferred: int | None = None
    minimum: int = 3
    cushion: int = 3


@dataclass(frozen=True)
class Way:
    """One way for one drug: the fills before it joins, with their days, and what that leaves."""

    fills: tuple[tuple[int, int], ...]  # day, days' supply
    uncovered: int
    dispensed_at_anchor: bool
    left_at_anchor: int
    padding: int = 0  # days of a short fill beyond its gap, only for the minimum


@dataclass(frozen=True)
class Answer:
    """The best of one day."""

    rank: tuple[object, ...]
    anchor: int
    days: tuple[int, ...]
    ways: tuple[Way, ...]


def best(case: Small) -> Answer | None:
    """The best answer; none where no day dispenses anything."""
    answers = [answer for day in days_to_try(case) if (answer := answer_for(case, day))]
    return min(answers, key=lambda answer: answer.rank, default=None)


def days_to_try(case: Small) -> list[int]:
    """Every open day from the first workable one to a cycle after the earliest run-out, or after today."""
    earliest = min(pill.run_out for pill in case.pills if not pill.ride_along)
    return [
        day for day in sorted(case.open_days) if first_workable(case) <= day <= max(earliest, 0) + case.cycle
    ]


def first_workable(case: Small) -> int:
    return min(day for day in case.open_days if day >= case.lead)


def answer_for(case: Small, anchor: int) -> Answer | None:
    """All combinations of all ways of all drugs for one day; the best by the criteria."""
    second = max(day for day in case.open_days if anchor < day <= anchor + case.cycle)
    joins = [joining_day(pill, anchor, second) for pill in case.pills]
    ways = [fewest_uncovered(case, pill, anchor, second) for pill in case.pills]
    if not any(
        way[0].dispensed_at_anchor for pill, way in zip(case.pills, ways, strict=True) if not pill.ride_along
    ):
        return None
    aligned = second if second in joins else anchor
    trips = {frozenset[int]()}
    for of_pill in ways:
        trips = {trip | {day for day, _ in way.fills if day != anchor} for trip in trips for way in of_pill}
    days = min(trips, key=lambda trip: trip_rank(trip, aligned))
    chosen = tuple(latest(of_pill, days | {anchor}) for of_pill in ways)
    return Answer(rank_of(case, anchor, aligned, days, chosen), anchor, tuple(sorted(days)), chosen)


def trip_rank(trip: frozenset[int], aligned: int) -> tuple[object, ...]:
    """Fewest before alignment, fewest, then the first as late as can be, then the second, and so on."""
    return sum(day < aligned for day in trip), len(trip), tuple(-day for day in sorted(trip))


def rank_of(
    case: Small, anchor: int, aligned: int, days: frozenset[int], ways: tuple[Way, ...]
) -> tuple[object, ...]:
    """The criteria in their default order, then the earliest day."""
    shorts = [
        supply
        for pill, way in zip(case.pills, ways, strict=True)
        for _, supply in (*way.fills, *anchor_fill(pill, way))
        if supply < pill.usual_days
    ]
    left = [way.left_at_anchor - way.padding for way in ways if way.dispensed_at_anchor]
    weekday = (case.weekday_of_day_0 + anchor) % 7
    apart = (
        0 if case.preferred is None else min((weekday - case.preferred) % 7, (case.preferred - weekday) % 7)
    )
    return (
        sum(way.uncovered for pill, way in zip(case.pills, ways, strict=True) if pill.critical),
        sum(way.uncovered for pill, way in zip(case.pills, ways, strict=True) if not pill.critical),
        sum(day < aligned for day in days) + (aligned > anchor),
        len(shorts),
        sum(supply < case.minimum for supply in shorts) + sum(way.padding > 0 for way in ways),
        sum(each == 0 for each in left),
        apart,
        sum(abs(each - case.cushion) for each in left),
        anchor,
    )


def anchor_fill(pill: Pill, way: Way) -> list[tuple[int, int]]:
    """A synchronized drug's fill at the anchor, which `fills` leaves out."""
    if pill.ride_along or not way.dispensed_at_anchor:
        return []
    used = sum(units_for(pill, days) for _, days in way.fills)
    return [(0, min(pill.usual_days, floor((pill.left - used) / pill.per_day)))]


def units_for(pill: Pill, days: int) -> int:
    return pill.usual_units if days == pill.usual_days else ceil(days * pill.per_day)


def days_of(pill: Pill, wanted: int, left: int) -> int:
    """How long a fill of so many days lasts, in whole units of what is left."""
    units = min(units_for(pill, wanted), left)
    return pill.usual_days if units == pill.usual_units else floor(units / pill.per_day)


def joining_day(pill: Pill, anchor: int, second: int) -> int | None:
    if pill.ride_along or pill.run_out >= second:
        return None
    return anchor if pill.ready <= anchor else second


def fewest_uncovered(case: Small, pill: Pill, anchor: int, second: int) -> list[Way]:
    """Of every way to fill this drug, those that leave the fewest days uncovered; drugs do not compete for days."""
    if pill.ride_along:
        ways = list(ride_along_ways(case, pill, anchor, second))
    elif pill.run_out >= second:
        return [Way((), 0, False, pill.run_out - anchor)]
    else:
        ways = list(synchronized_ways(case, pill, anchor, second))

    def rank(way: Way) -> tuple[int, int, int]:
        return way.uncovered, put_off(case, pill, way), tiny_fills(case, pill, way)

    fewest = min(map(rank, ways))
    return [way for way in ways if rank(way) == fewest]


def tiny_fills(case: Small, pill: Pill, way: Way) -> int:
    """Fills below the chain's minimum; a usual fill is none."""
    return sum(days < min(case.minimum, pill.usual_days) for _, days in way.fills)


def put_off(case: Small, pill: Pill, way: Way) -> int:
    """Fills that came too late although they could have come sooner."""
    count, covered, ready = 0, max(pill.run_out, first_workable(case)), max(pill.ready, first_workable(case))
    for day, days in way.fills:
        first = min(open_day for open_day in case.open_days if open_day >= ready)
        count += day > covered and day > first
        covered, ready = max(covered, day) + days, day + ceil(Fraction(pill.percent, 100) * days)
    return count


def synchronized_ways(case: Small, pill: Pill, anchor: int, second: int) -> Iterator[Way]:
    join = joining_day(pill, anchor, second)
    assert join is not None
    start = first_workable(case)

    def go(
        covered: int, ready: int, left: int, uncovered: int, fills: tuple[tuple[int, int], ...], padding: int
    ) -> Iterator[Way]:
        if ready <= join or not fills:  # stop here: no fill may put off the one on the joining day
            gap = max(0, join - covered) if floor(left / pill.per_day) else 0
            yield close(covered, left, uncovered + gap, fills, padding)
        for day in sorted(case.open_days):
            begins = max(covered, day)
            if day < max(ready, start) or begins >= join or day > pill.expires:
                continue
            gap = join - begins  # of the minimum where that is authorised and the joining fill is not put off
            without = days_of(pill, min(pill.usual_days, gap), left)
            for wanted in (min(pill.usual_days, max(gap, case.minimum)), min(pill.usual_days, gap)):
                units = min(units_for(pill, wanted), left)
                days = days_of(pill, wanted, left)
                wait = ceil(Fraction(pill.percent, 100) * days)
                if day + wait <= join and days >= min(case.minimum, pill.usual_days):
                    break
            if days:
                yield from go(
                    begins + days,
                    day + wait,
                    left - units,
                    uncovered + begins - covered,
                    (*fills, (day, days)),
                    days - without if days < pill.usual_days else 0,
                )

    def close(
        covered: int, left: int, uncovered: int, fills: tuple[tuple[int, int], ...], padding: int
    ) -> Way:
        if join == second:
            return Way(fills, uncovered, False, 0, padding)
        at_anchor = max(0, covered - anchor)
        units = min(pill.usual_units, left)
        days = pill.usual_days if units == pill.usual_units else floor(units / pill.per_day)
        dispensed = days > 0 and anchor <= pill.expires
        if dispensed:
            covered, left = max(covered, anchor) + days, left - units
        if floor(left / pill.per_day):
            uncovered += max(0, second - max(covered, anchor))
        return Way(fills, uncovered, dispensed, at_anchor, padding)

    yield from go(max(pill.run_out, start), pill.ready, pill.left, 0, (), 0)


def ride_along_ways(case: Small, pill: Pill, anchor: int, second: int) -> Iterator[Way]:
    start = first_workable(case)

    def go(
        covered: int,
        ready: int,
        left: int,
        uncovered: int,
        fills: tuple[tuple[int, int], ...],
        at: int | None,
    ) -> Iterator[Way]:
        gap = max(0, second - covered) if left >= pill.usual_units else 0
        yield Way(fills, uncovered + gap, at is not None, at or 0)
        for day in sorted(case.open_days):
            begins = max(covered, day)
            if day < max(ready, start) or begins >= second or day > pill.expires or left < pill.usual_units:
                continue
            wait = ceil(Fraction(pill.percent, 100) * pill.usual_days)
            yield from go(
                begins + pill.usual_days,
                day + wait,
                left - pill.usual_units,
                uncovered + begins - covered,
                (*fills, (day, pill.usual_days)),
                max(0, covered - day) if day == anchor else at,
            )

    yield from go(max(pill.run_out, start), pill.ready, pill.left, 0, (), None)


def latest(ways: list[Way], days: frozenset[int]) -> Way:
    """The way that uses only these days, its fills as late as can be, the last one first."""
    possible = [way for way in ways if all(day in days for day, _ in way.fills)]
    return max(possible, key=lambda way: tuple(day for day, _ in reversed(way.fills)))
