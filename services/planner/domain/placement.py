"""On which days, besides the slots, the patient comes until every drug has joined (R4).

Once the days are given, each drug finds its lightest way over them by itself: what is searched for are the days.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.planner.domain.calendar import NEVER, PickupDays
from services.planner.domain.medication import Medication
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


class Span(NamedTuple):
    """Days on which a fill of a way weighs the same."""

    first: int
    last: int
    weight: int


class Way(NamedTuple):
    """One way of one drug into the rhythm; once its days are chosen, what it weighs with them."""

    path: FillPath
    weight: int
    late: int
    dry: int
    broken: int  # promises of when it joins
    cost: Decimal
    penalty: int = 0  # part of the weight: what each broken promise outweighs
    spans: tuple[Span, ...] = ()  # of its one fill before, or, as little as it may weigh, of its several
    days: tuple[int, ...] = ()  # of the fills before

    @property
    def order(self) -> tuple[object, ...]:
        """The lightest first; of equals the cheapest, the one that joins first, the latest days."""
        return (
            *self.at_least,
            self.cost,
            self.path.joins or NEVER,
            [-day for day in self.days],
        )

    @property
    def at_least(self) -> tuple[int, int, int]:
        """No choice of days orders before this."""
        return self.path.uncovered, self.broken, self.weight

    @property
    def is_chained(self) -> bool:
        """Does it take several fills before?"""
        return self.path.joins is not None and len(self.path.windows) > 1


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
        """No choice of ways and days weighs less, trips aside."""
        return min(min([span.weight for span in way.spans], default=way.weight) for way in self.ways)


def spans_of(path: FillPath, weight: int, setting: Setting) -> tuple[Span, ...]:
    """What a way of that weight weighs with its fills before, by day."""
    if path.joins is None or not path.windows:
        return ()
    if len(path.windows) > 1:
        return tuple(Span(each.first, each.last, weight) for each in path.windows)
    [window], ahead = path.windows, setting.made_ahead
    first = window.first
    if setting.urgent_days:  # others may come along with what cannot wait
        first = min(
            [
                first,
                *(
                    day
                    for day in setting.urgent_days
                    if day >= max(window.ready, path.medication.available_from)
                ),
            ]
        )
    cuts = {window.ready + ahead, path.joins - ahead - window.wait + 1, window.due, setting.today + ahead + 1}
    spans, end = [], window.last
    for begin in sorted({first, *(cut for cut in cuts if first < cut <= end)}, reverse=True):
        late, dry = blemishes(path, 0, window.ready, begin, setting)
        spans.append(Span(begin, end, weight + (late + dry) * setting.blemish))
        end = begin - 1
    return tuple(spans)


def blemishes(path: FillPath, at: int, payable: int, day: int, setting: Setting) -> tuple[int, int]:
    """Late claims, that of the joining fill included where this is the last before it; and whether nothing is left."""
    window = path.windows[at]
    late = int(setting.is_late(payable, day))
    if at + 1 == len(path.windows) and path.joins is not None:
        late += setting.is_late(day + window.wait, path.joins)
    return late, int(day >= window.due)


def place(
    choices: Sequence[Choice],
    free: Sequence[int],
    promised: Sequence[int],
    setting: Setting,
    most: int,
    *,
    patiently: bool = False,
) -> tuple[Placement | None, int, bool]:
    """The trips and ways that weigh least together, None where all weigh more than `most`; how many sets of trips were
    tried, and whether all were. `patiently`: more of them where drugs take several fills.

    On `free` days the patient comes anyway, `promised` are trips that the patient was told of.
    """
    search = _Search(choices, free, setting, most)
    if patiently and search.chains:
        search.most_tried = MOST_TRIED_PATIENTLY
    if search.bound() <= most or promised:
        if search.chains:
            search.go(search.one_by_one(promised))
        search.go(tuple(promised))
    tried = len(search.seen)
    return search.best, tried, tried < search.most_tried


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


MOST_TRIED = 600
"""Sets of trips that are tried for one first slot."""

MOST_TRIED_CHAINED, MOST_TRIED_PATIENTLY = 40, 120
"""The same where a drug takes several fills before it joins: each set takes ten times as long; and where the first look
left somebody without a drug."""


class _Search:
    """Days are added one by one: first for the drug that can wait least, then as long as one more may be worth it.

    The later a trip, the more fills can share it and the more claims are in time: the best are at the ends of spans.
    """

    def __init__(self, choices: Sequence[Choice], free: Sequence[int], setting: Setting, most: int) -> None:
        self.choices, self.free, self.setting, self.most = choices, free, setting, most
        self.never = NEVER * setting.trip
        self.chains = [
            number for number, choice in enumerate(choices) if any(way.is_chained for way in choice.ways)
        ]
        self.most_tried = MOST_TRIED_CHAINED if self.chains else MOST_TRIED
        self.anyway = [self._anyway(choice) for choice in choices]
        self.days, self.on = self._worth_coming_on()
        columns = [self.anyway, *self.on.values()]
        self.least = sum(map(min, *columns, self.anyway))
        self.within: dict[int, frozenset[int]] = {}
        self.over_chain: dict[tuple[int, tuple[int, ...]], Way | None] = {}
        self.seen: set[tuple[int, ...]] = set()
        self.best: Placement | None = None

    def _anyway(self, choice: Choice) -> int:
        """What a drug weighs over the days on which the patient comes anyway."""
        least = self.never
        for way in choice.ways:
            if not way.spans:
                least = min(least, way.weight)
            elif not way.is_chained:
                for first, last, weight in way.spans:
                    if weight < least and bisect_left(self.free, first) < bisect_right(self.free, last):
                        least = weight
        return least

    def _worth_coming_on(self) -> tuple[list[int], dict[int, list[int]]]:
        """The days among which the best trips are, with what each drug weighs on each at least."""
        pickup = self.setting.pickup
        ends = {span.last for choice in self.choices for way in choice.ways for span in way.spans}
        for number in self.chains:
            ends |= self._links(self.choices[number])
        lighter_spans = {
            (number, *span)
            for number, choice in enumerate(self.choices)
            for way in choice.ways
            for span in way.spans
            if span.weight < self.anyway[number]
        }
        on: dict[int, list[int]] = {}
        for day in sorted({pickup.on_or_before(end) for end in ends}, reverse=True):
            weights = [self.never] * len(self.choices)
            for number, first, last, weight in lighter_spans:
                if first <= day <= last and weight < weights[number]:
                    weights[number] = weight
            lighter = [number for number, weight in enumerate(weights) if weight < self.never]
            if lighter and (
                self.chains
                or not any(
                    all(theirs[number] <= weights[number] for number in lighter) for theirs in on.values()
                )
            ):
                on[day] = weights
        return list(on), on

    def _links(self, choice: Choice) -> set[int]:
        """Days on which one fill brings the next one to a day on which somebody comes, or to its last."""
        ways = {way.path.windows for way in choice.ways}
        links = {window.first for windows in ways for window in windows}
        waits = {window.wait for windows in ways for window in windows}
        links |= {day - wait for day in self.free for wait in waits}
        links |= {later.last - window.wait for windows in ways for window in windows for later in windows}
        return {day for day in links if day >= choice.first}

    def bound(self) -> int:
        """No trips and ways weigh less: what each drug can be made to pay until the days that serve it are paid for."""
        trip, paid, total = self.setting.trip, dict.fromkeys(self.days, 0), 0
        for number, limit in enumerate(self.anyway):
            costs = sorted((self.on[day][number], day) for day in self.days if self.on[day][number] < limit)
            pays = min(limit, costs[0][0]) if costs else limit
            while pays < limit:
                room = min(trip - paid[day] - (pays - cost) for cost, day in costs if cost <= pays)
                following = min((cost for cost, _ in costs if cost > pays), default=limit)
                step = min(room, following - pays)
                if step <= 0:
                    break
                pays += step
            if pays < self.never:
                total += pays
            for cost, day in costs:
                if cost < pays:
                    paid[day] += pays - cost
        return total

    def one_by_one(self, promised: Sequence[int]) -> tuple[int, ...]:
        """Trips with which every drug that may take several fills has its lightest way, given those of the drugs before
        it: a first answer, which others have to beat."""
        trips = {*promised}
        for number in sorted(self.chains, key=lambda each: self.choices[each].covered):
            added = [(way, self._added(way, trips)) for way in self.choices[number].ways]
            _, more = min(added, key=lambda each: each[0].weight + len(each[1]) * self.setting.trip)
            trips |= more
        return tuple(sorted(trips))

    def _added(self, way: Way, trips: Collection[int]) -> set[int]:
        """The trips that a way takes besides: each fill with others where it can be, else as late as it can be."""
        added: set[int] = set()
        payable = 0
        for window in way.path.windows if way.path.joins is not None else ():
            first = max(window.first, payable)
            shared = [day for day in (*self.free, *trips) if first <= day <= window.last]
            day = max(shared, default=window.last)
            payable = day + window.wait
            if not shared:
                added.add(day)
        return added

    def go(self, trips: tuple[int, ...]) -> None:
        """With these trips, and with more."""
        trip, limit = self.setting.trip, self._limit()
        if trips in self.seen or len(trips) * trip + self.least > limit or len(self.seen) >= self.most_tried:
            return
        self.seen.add(trips)
        weights = list(map(min, self.anyway, *(self.on[day] for day in trips if day in self.on), self.anyway))
        for number in self.chains:
            way = self._lightest(number, trips)
            weights[number] = way.weight if way else self.never
        unmet = [number for number, weight in enumerate(weights) if weight >= self.never]
        if unmet:
            spans = [(self.choices[number].covered, self.choices[number].first) for number in unmet]
            more = 1 if self.setting.urgent_days else trips_at_least(spans, trips)  # others may come along
            if (len(trips) + more) * trip + self.least > limit:
                return
            days = self._days_for(self.choices[min(unmet, key=lambda at: self.choices[at].covered)], trips)
            for day in sorted(days, key=lambda day: sum(map(min, weights, self.on[day]))):
                self.go(_with(trips, day))
            return
        weight = sum(weights)
        if weight + len(trips) * trip <= limit or self.setting.urgent_days:
            self._keep(trips)
        if weight - self.least > trip:
            for day in self.days:
                if len(self.seen) >= self.most_tried or (len(trips) + 1) * trip + self.least > self._limit():
                    return
                gain = sum(max(0, mine - theirs) for mine, theirs in zip(weights, self.on[day], strict=True))
                if gain > trip and day not in trips:
                    self.go(_with(trips, day))

    def _limit(self) -> int:
        return self.most if self.best is None else min(self.most, self.best.weight - 1)

    def _days_for(self, choice: Choice, trips: Sequence[int]) -> list[int]:
        """The days for its first fill; where the patient comes in time for that, for those after it."""
        spans = [(choice.first, choice.covered)]
        firsts = [way.path.windows[0] for way in choice.ways if way.path.windows]
        later = [(window.first, window.last) for way in choice.ways for window in way.path.windows[1:]]
        if later and any(each.first <= day <= each.last for each in firsts for day in (*trips, *self.free)):
            spans = later
        return [
            day
            for day in self.days
            if day not in trips and any(first <= day <= last for first, last in spans)
        ]

    def _keep(self, trips: tuple[int, ...]) -> None:
        """Trips on which nothing is dispensed are none; on urgent days something must be that cannot wait."""
        ways = [way for number in range(len(self.choices)) if (way := self._lightest(number, trips))]
        comes = {day for way in ways if way.path.joins is not None for day in way.days}
        taken = tuple(day for day in trips if day in comes)
        for day in self.setting.urgent_days & {*taken, *self.free[:1]}:
            if not any(
                way.path.medication.urgent_from is not None and (day in way.days or day == way.path.joins)
                for way in ways
            ):
                return
        total = sum(way.weight for way in ways) + len(taken) * self.setting.trip
        if total <= self._limit() and len(ways) == len(self.choices):
            self.best = Placement(taken, tuple(ways), total)

    # --- the lightest way of one drug over given days ---

    def _lightest(self, number: int, trips: Sequence[int]) -> Way | None:
        near = tuple(trips)
        if not self.setting.urgent_days:
            within = self._within(number)
            near = tuple(day for day in trips if day in within)
        key = number, near
        if key not in self.over_chain:
            days = sorted({*near, *self.free})
            lightest: Way | None = None
            for way in sorted(self.choices[number].ways, key=lambda way: way.at_least):
                if lightest and way.at_least > lightest.at_least:
                    break
                found = self._over(way, days)
                if found and (lightest is None or found.order < lightest.order):
                    lightest = found
            self.over_chain[key] = lightest
        return self.over_chain[key]

    def _within(self, number: int) -> frozenset[int]:
        """The days on which a fill of that drug can be."""
        if number not in self.within:
            windows = {window[:2] for way in self.choices[number].ways for window in way.path.windows}
            self.within[number] = frozenset(day for first, last in windows for day in range(first, last + 1))
        return self.within[number]

    def _over(self, way: Way, days: Sequence[int]) -> Way | None:
        """The way on its lightest days; of one that comes by itself they are found afterwards.

        Fill by fill: what comes after depends on the day of the last fill alone, so of those with the same one the
        lightest is kept, then the one with later days before.
        """
        windows = way.path.windows
        if way.path.joins is None or not windows:
            return way
        payables: list[tuple[int, _Filled]] = [(windows[0].ready, (0, (), 0, 0))]
        for at, window in enumerate(windows):
            lightest: dict[int, _Filled] = {}
            for payable, (blemished, before, late, dry) in payables:
                for day in self._can_be(window, way.path.medication, payable, days):
                    more_late, more_dry = blemishes(way.path, at, payable, day, self.setting)
                    found = (
                        blemished + more_late + more_dry,
                        (*before, -day),
                        late + more_late,
                        dry + more_dry,
                    )
                    if day not in lightest or found < lightest[day]:
                        lightest[day] = found
            if not lightest:
                return None
            payables = [(day + window.wait, found) for day, found in lightest.items()]
        blemished, placed, late, dry = min(lightest.values())
        return way._replace(
            days=tuple(-day for day in placed),
            late=way.late + late,
            dry=way.dry + dry,
            weight=way.weight + blemished * self.setting.blemish,
        )

    def _can_be(
        self, window: FillWindow, medication: Medication, payable: int, days: Sequence[int]
    ) -> Iterable[int]:
        """The days on which it may be filled; on an urgent one it may come along once it is paid and can be had."""
        first, last = max(window.first, payable), window.last
        if not self.setting.urgent_days:
            return days[bisect_left(days, first) : bisect_right(days, last)]
        had, urgent = max(payable, medication.available_from), self.setting.urgent_days
        return [day for day in days if day <= last and (day >= first or (day in urgent and had <= day))]


_Filled = tuple[int, tuple[int, ...], int, int]
"""Blemishes, the days of the fills (negative: of equals the later is less), late claims, fills with nothing left."""


def _with(trips: tuple[int, ...], day: int) -> tuple[int, ...]:
    return tuple(sorted({*trips, day}))
