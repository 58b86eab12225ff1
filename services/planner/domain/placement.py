"""On which days, besides the slots, the patient comes until every drug has joined (R4).

Once the days are given, each drug finds its lightest way over them by itself: what is searched for are the days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.planner.domain.calendar import NEVER, PickupDays
from services.planner.domain.paths import FillPath, FillWindow


@dataclass(frozen=True, slots=True)
class Setting:
    """What placing depends on beside the fills themselves. Days are ordinals."""

    pickup: PickupDays
    today: int
    made_ahead: int  # days before a visit on which the store makes its claims
    urgent_days: frozenset[int]  # inside the lead time: for what cannot wait, and whoever comes along
    trip: int  # what a trip weighs
    blemish: int  # what a late claim weighs, or a fill of a drug with nothing left

    def is_late(self, payable: int, day: int) -> bool:
        """Is it paid only after the day on which the store makes the claim?"""
        return payable > max(self.today, day - self.made_ahead)


class Way(NamedTuple):
    """One way of one drug into the rhythm; once its days are chosen, what it weighs with them."""

    path: FillPath
    weight: int
    late: int
    dry: int
    broken: int  # promises
    cost: Decimal
    days: tuple[int, ...] = ()  # of the fills before

    @property
    def order(self) -> tuple[object, ...]:
        """The lightest first; of equals the cheapest, the one that joins first, the latest days."""
        return (
            self.path.uncovered,
            self.broken,
            self.weight,
            self.cost,
            self.path.joins or NEVER,
            [-day for day in self.days],
        )


class Placement(NamedTuple):
    """The trips besides the slots, and the way of each drug."""

    trips: tuple[int, ...]
    ways: tuple[Way, ...]
    weight: int


class Choice(NamedTuple):
    """All ways of one drug, and from when to when its first fill must be if it takes one before it joins."""

    ways: Sequence[Way]
    first: int
    covered: int

    @property
    def least(self) -> int:
        """What it weighs at least."""
        return min(way.weight for way in self.ways)


def place(
    choices: Sequence[Choice], free: Sequence[int], told: Sequence[int], setting: Setting, most: int
) -> Placement | None:
    """The trips and ways that weigh least together; on `free` days the patient comes anyway, `told` are trips that the
    patient was told of. None where all weigh more than `most`."""
    search = _Search(choices, free, setting, most)
    search.go(tuple(told))
    return search.best


def trips_at_least(spans: Sequence[tuple[int, int]], anyway: Sequence[int]) -> int:
    """Trips that fills, each with its last and its first day, take beside the days on which the patient comes anyway.

    In the order of their last days: whatever no earlier trip meets is met on its last day.
    """
    trips, latest = 0, -1
    for last, first in sorted(spans):
        if latest < first and not any(first <= day <= last for day in anyway):
            trips += 1
            latest = last
    return trips


class _Search:
    """Days are added one by one: first for the drug that can wait least, then as long as one more may be worth it."""

    def __init__(self, choices: Sequence[Choice], free: Sequence[int], setting: Setting, most: int) -> None:
        self.choices, self.free, self.setting, self.most = choices, free, setting, most
        self.least = sum(choice.least for choice in choices)
        self.days = self._worth_coming_on()
        self.singly = [[way for way in choice.ways if len(way.path.windows) == 1] for choice in choices]
        self.chained = [[way for way in choice.ways if len(way.path.windows) > 1] for choice in choices]
        self.anyway = [self._best(choice.ways, free) for choice in choices]
        self.on: dict[tuple[int, int], Way | None] = {}
        self.seen: set[tuple[int, ...]] = set()
        self.best: Placement | None = None

    def go(self, trips: tuple[int, ...]) -> None:
        """With these trips, and with more."""
        if trips in self.seen:
            return
        self.seen.add(trips)
        trip = self.setting.trip
        if len(trips) * trip + self.least > self._limit():
            return
        ways = [self._lightest(number, trips) for number in range(len(self.choices))]
        unmet = [number for number, way in enumerate(ways) if way is None]
        if unmet:
            spans = [(self.choices[number].covered, self.choices[number].first) for number in unmet]
            if (len(trips) + trips_at_least(spans, trips)) * trip + self.least > self._limit():
                return
            for day in self._days_for(self.choices[min(unmet, key=lambda at: self.choices[at].covered)], trips):
                self.go(_with(trips, day))
            return
        found = [way for way in ways if way]
        weight = sum(way.weight for way in found)
        self._keep(trips, found, weight)
        if weight - self.least > trip:
            for day in self.days:
                if day not in trips and self._gain(found, day) > trip:
                    self.go(_with(trips, day))

    def _limit(self) -> int:
        return self.most if self.best is None else min(self.most, self.best.weight - 1)

    def _keep(self, trips: tuple[int, ...], ways: Sequence[Way], weight: int) -> None:
        """Trips on which nothing is dispensed are none; on urgent days something must be that cannot wait."""
        comes = {day for way in ways if way.path.joins is not None for day in way.days}
        taken = tuple(day for day in trips if day in comes)
        for day in self.setting.urgent_days & {*taken, *self.free[:1]}:
            if not any(
                way.path.medication.urgent_from is not None and (day in way.days or day == way.path.joins)
                for way in ways
            ):
                return
        total = weight + len(taken) * self.setting.trip
        if total <= self._limit():
            self.best = Placement(taken, tuple(ways), total)

    def _days_for(self, choice: Choice, trips: Sequence[int]) -> list[int]:
        """The days for its first fill; where the patient comes in time for that, for those after it."""
        comes_first = any(choice.first <= day <= choice.covered for day in (*trips, *self.free))
        spans = [(choice.first, choice.covered)]
        if comes_first:
            spans = [(window.first, window.last) for way in choice.ways for window in way.path.windows[1:]]
        return [
            day
            for day in self.days
            if day not in trips and any(first <= day <= last for first, last in spans)
        ]

    def _gain(self, ways: Sequence[Way], day: int) -> int:
        """By how much less the drugs could weigh if the patient came on that day, too: each that could be filled on it
        by its lightest such way. No further trip makes it more."""
        gain = 0
        for number, way in enumerate(ways):
            on_day = self._on(number, day)
            least = on_day.weight if on_day else way.weight
            for chained in self.chained[number]:
                if any(window.first <= day <= window.last for window in chained.path.windows):
                    least = min(least, chained.weight)
            gain += max(0, way.weight - least)
        return gain

    # --- the lightest way of one drug over given days ---

    def _lightest(self, number: int, trips: tuple[int, ...]) -> Way | None:
        found = [self.anyway[number], *(self._on(number, day) for day in trips)]
        if trips and self.chained[number]:
            found.append(self._best(self.chained[number], sorted({*trips, *self.free})))
        return min((way for way in found if way), key=lambda way: way.order, default=None)

    def _on(self, number: int, day: int) -> Way | None:
        """The lightest way with one fill before, on that day."""
        key = number, day
        if key not in self.on:
            self.on[key] = self._best(self.singly[number], (day,))
        return self.on[key]

    def _best(self, ways: Sequence[Way], days: Sequence[int]) -> Way | None:
        over = (found for way in ways for found in self._over(way, days))
        return min(over, key=lambda way: way.order, default=None)

    def _over(self, way: Way, days: Sequence[int]) -> Iterator[Way]:
        """The way with each choice of days for its fills."""
        at = len(way.days)
        if at == len(way.path.windows):
            yield way
            return
        if way.path.joins is None:  # it comes by itself: its days are found afterwards
            yield way
            return
        window = way.path.windows[at]
        payable = way.days[-1] + way.path.windows[at - 1].wait if at else window.ready
        for day in days:
            if day <= window.last and (day >= max(window.first, payable) or self._comes_along(way, window, payable, day)):
                late, dry = self._blemishes(way.path, at, payable, day)
                yield from self._over(
                    way._replace(
                        days=(*way.days, day),
                        late=way.late + late,
                        dry=way.dry + dry,
                        weight=way.weight + (late + dry) * self.setting.blemish,
                    ),
                    days,
                )

    def _comes_along(self, way: Way, window: FillWindow, payable: int, day: int) -> bool:
        """On an urgent day also what is payable, in stock, and spares a later trip."""
        return day in self.setting.urgent_days and max(payable, way.path.medication.available_from) <= day

    def _blemishes(self, path: FillPath, at: int, payable: int, day: int) -> tuple[int, int]:
        """Late claims, that of the joining fill included where this is the last before it; and whether nothing is
        left."""
        window = path.windows[at]
        late = int(self.setting.is_late(payable, day))
        if at + 1 == len(path.windows) and path.joins is not None:
            late += self.setting.is_late(day + window.wait, path.joins)
        return late, int(day >= window.due)

    def _worth_coming_on(self) -> list[int]:
        """The days among which the best trips are, the latest first.

        The later a trip, the more fills can share it and the more claims are in time; so it is on the last day of a
        fill, on the last morning with something left, or on the last day that makes the drug's next claim in time.
        """
        ahead = self.setting.made_ahead
        edges: set[int] = set()
        first = {window.first for choice in self.choices for way in choice.ways for window in way.path.windows}
        for choice in self.choices:
            for way in choice.ways:
                path = way.path
                for window in path.windows if path.joins is not None else ():
                    edges |= {window.last, window.first}
                    if self.setting.blemish and path.joins is not None:
                        edges |= {window.due - 1, path.joins - ahead - window.wait}
                if len(path.windows) > 1:
                    edges |= {
                        day - window.wait
                        for window in path.windows
                        for day in (*self.free, *(each.last for each in path.windows))
                    }
        pickup = self.setting.pickup
        days = {pickup.on_or_before(day) for day in edges}
        return sorted((day for day in days if day >= min(first, default=0)), reverse=True)


def _with(trips: tuple[int, ...], day: int) -> tuple[int, ...]:
    return tuple(sorted({*trips, day}))
