"""The ways of one drug into a rhythm: every sequence of fills on given days, and what it weighs.

Of sizes only those are tried that can be best. Larger is never worse for what is covered, so that a short fill before
another fill or the joining is the largest after which that is paid; where surplus weighs something, also the least
that lasts to it, and the least after which usual or large short fills reach a slot at which the drug can join.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from tests.oracle.burden import Fill, at_joining, is_dry, is_late
from tests.oracle.question import MADE_BEFORE, Medication, Question
from tests.oracle.rhythm import Rhythm, Target, targets

MOST_FILLS = 9
"""Fills of one drug before it joins."""


@dataclass(frozen=True)
class Scale:
    """Weights as whole numbers: so many to a trip, a short fill, a blemish; a day without a drug outweighs all."""

    trip: int
    short: int
    blemish: int

    @property
    def lacking(self) -> int:
        return self.trip * 10_000


@dataclass(frozen=True)
class State:
    """After some fills: the payer's day, the first day on which it can be filled, the day to which the stock lasts."""

    paid: int
    ready: int
    lasts: int
    weight: int = 0
    fills: tuple[Fill, ...] = ()
    has_long: bool = False
    slot: int = -1  # the last fill keeps the rhythm from this slot on


@dataclass
class Ways:
    """What one drug can do with the days it is given."""

    least: dict[int, State] = field(default_factory=dict)
    """The best arrival, by the number of the joining slot."""
    joining: dict[int, int] = field(default_factory=dict)
    """Its whole weight."""
    ready: set[int] = field(default_factory=set)
    """Days at which a next fill becomes possible, or no late claim."""
    lasts: int = -1
    """The latest day to which the stock can be made to last."""


class Walk:
    """One drug in one rhythm."""

    def __init__(self, question: Question, drug: Medication, rhythm: Rhythm, scale: Scale) -> None:
        self.question, self.drug, self.rhythm, self.scale = question, drug, rhythm, scale
        self.targets = targets(question, drug, rhythm)
        self.share, self.fill = drug.share(rhythm.cycle), drug.rhythm_fill(rhythm.cycle)
        self.at = {target.day: target for target in self.targets}
        self.free = tuple(rhythm.slots[number] for number in sorted(rhythm.due))
        self.waits = [drug.wait(days) for days in drug.shorter]
        ready = question.served_from(drug)
        self.start = State(drug.payable, ready, max(drug.run_out, ready, 0))
        self.known: dict[tuple[int, ...], tuple[int, Ways]] = {}
        self.blemishes: dict[tuple[bool, int], int] = {}
        self.alone_known: dict[int, tuple[int | None, int]] = {}

    # --- with given days ---

    def ways(self, days: tuple[int, ...], limit: int) -> Ways:
        """All that can be done with these days besides the slots that are due, for a weight up to `limit`."""
        if days not in self.known or self.known[days][0] < limit:
            self.known[days] = limit, self._ways(days, limit)
        return self.known[days][1]

    def _ways(self, days: tuple[int, ...], limit: int) -> Ways:
        ways, states = Ways(), [self.start]
        self._arrive(self.start, ways)
        usable = sorted({*days, *self.free})
        for place, day in enumerate(usable):
            states = [state for state in states if state.lasts >= day]
            if not states:
                break
            for state in [each for each in states if each.ready <= day and len(each.fills) < MOST_FILLS]:
                for size in self._sizes(state, day, usable[place + 1 :]):
                    after = self._filled(state, day, size)
                    if after.weight <= limit and not any(self._as_good(each, after) for each in states):
                        states = [each for each in states if not self._as_good(after, each)]
                        states.append(after)
                        self._arrive(after, ways)
        return ways

    def _as_good(self, one: State, other: State) -> bool:
        """Is the first as good as the second, whatever comes?"""
        return one.weight <= other.weight and self._as_far(one, other)

    def _as_far(self, one: State, other: State) -> bool:
        """The same but for the weight. More stock is better only where surplus weighs nothing."""
        return (
            one.ready <= other.ready
            and one.paid <= other.paid
            and (one.lasts == other.lasts or (one.lasts > other.lasts and not self.scale.blemish))
            and one.has_long <= other.has_long
            and one.slot in (-1, other.slot)
        )

    def _arrive(self, state: State, ways: Ways) -> None:
        ways.lasts = max(ways.lasts, state.lasts)
        ways.ready.add(self.question.on_or_after(state.ready))
        if self.scale.blemish:
            ways.ready.add(self.question.on_or_after(max(state.ready, state.paid + MADE_BEFORE)))
        for target in self.targets:
            if target.day > state.lasts:
                break
            if state.slot == target.slot - self.share >= 0:
                continue  # it joined with its last fill
            if state.ready <= target.day and target.reach <= state.lasts:
                weight = state.weight + self._joining(target, state)
                if weight < ways.joining.get(target.slot, weight + 1):
                    ways.joining[target.slot], ways.least[target.slot] = weight, state

    def _joining(self, target: Target, state: State) -> int:
        if not self.scale.blemish:
            return 0
        key = is_late(target.day, state.paid), state.lasts - target.day
        if key not in self.blemishes:
            count = at_joining(self.drug, self.rhythm.cycle, target.day, state.paid, state.lasts)
            self.blemishes[key] = int(self.scale.blemish * count)
        return self.blemishes[key]

    def _filled(self, state: State, day: int, size: int) -> State:
        weight = state.weight + self.scale.short * (size < self.drug.usual)
        if self.scale.blemish:
            weight += self.scale.blemish * (is_late(day, state.paid) + is_dry(day, state.lasts))
        paid, lasts = day + self.drug.wait(size), max(state.lasts, day) + size
        if self.question.closed and (ready := self.question.on_or_after(paid)) > lasts:
            weight, lasts = weight + self.scale.lacking * (ready - lasts), ready
        has_long = state.has_long or size > self.drug.usual
        slot = self.at[day].slot if self._keeps_from(day, state, size) else -1
        return State(paid, paid, lasts, weight, (*state.fills, Fill(day, size)), has_long, slot)

    def _keeps_from(self, day: int, state: State, size: int) -> bool:
        """Is this fill one with which the drug could join?"""
        target = self.at.get(day)
        return size == self.fill and target is not None and target.reach <= state.lasts

    # --- sizes ---

    def _sizes(self, state: State, day: int, later: Sequence[int]) -> Iterator[int]:
        drug = self.drug
        if self.scale.blemish or not self._keeps_from(day, state, drug.usual):
            yield drug.usual
        if not state.has_long:
            yield from sorted(drug.larger)
        if drug.shorter:
            yield from self._short_sizes(state, day, later)

    def _short_sizes(self, state: State, day: int, later: Sequence[int]) -> set[int]:
        drug, found = self.drug, set[int]()
        usual_waits, most = drug.wait(drug.usual), drug.shorter[-1]
        for after in {*later, *(target.day for target in self.targets)}:
            if day < after <= state.lasts + most:
                place = bisect_left(self.waits, after - day + 1)
                if place and (self.scale.blemish or usual_waits > after - day):
                    found.add(drug.shorter[place - 1])
        for target in self.targets:
            gap = target.reach - state.lasts
            for more in (0, drug.usual, 2 * drug.usual, most):
                for margin in (0, 1) if self.scale.blemish else (0,):
                    if 0 < gap - more + margin <= most:
                        found.add(drug.shorter[bisect_left(drug.shorter, gap - more + margin)])
            if gap > 2 * drug.usual + most:
                break
        return found

    # --- alone ---

    def alone(self, trip: int, limit: int) -> int | None:
        """The least weight of this drug, were it the only one, with so much for a day that is no slot that is due.

        A trip is not later than the first day on which it is paid, or is no late claim: an earlier day is never worse.
        None where it joins nowhere for a weight up to `limit`.
        """
        least, asked = self.alone_known.get(trip, (None, -1))
        if least is None and asked < limit:
            least = self._alone(trip, limit)
            self.alone_known[trip] = least, limit
        return least if least is not None and least <= limit else None

    def _alone(self, trip: int, limit: int) -> int | None:
        seen, number = list[State](), count()
        nearest: list[tuple[int, int, bool, State]] = [(0, next(number), False, self.start)]
        while nearest:
            weight, _, joined, state = heappop(nearest)
            if joined or weight > limit:
                return weight if joined and weight <= limit else None
            if any(self._as_far(each, state) for each in seen):
                continue
            seen.append(state)
            ways = Ways()
            self._arrive(state, ways)
            for each in ways.joining.values():
                heappush(nearest, (weight + each - state.weight, next(number), True, state))
            for day in sorted(ways.ready.union(self.free)):
                if state.ready <= day <= state.lasts and len(state.fills) < MOST_FILLS:
                    added = weight - state.weight + (0 if day in self.free else trip)
                    for size in self._sizes(state, day, self.free):
                        after = self._filled(state, day, size)
                        heappush(nearest, (after.weight + added, next(number), False, after))
        return None
