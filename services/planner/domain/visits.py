"""The fewest trips that serve every need; of equals, the latest days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.planner.domain.calendar import NEVER, PickupDays
from services.planner.domain.course import Need

Chain = Sequence[Need]
"""The needs of one drug in their order: each makes the next payable only some days later."""

Cost = tuple[int, int]
"""Visits before alignment, visits."""


def visit_days(chains: Sequence[Chain], anchor: int, aligned: int, pickup: PickupDays) -> list[int]:
    """Pickup days, besides the anchor, on which every need of every chain can be dispensed, in their order.

    Fewest before the day `aligned`, then fewest, then the latest. The anchor is a pickup anyway: what it can take
    needs no other.
    """
    windows = [need for chain in chains for need in chain]
    days = _as_if_independent(windows, anchor)
    if all(len(chain) < 2 for chain in chains):
        return days
    search = _Search(anchor, aligned, pickup, least=_cost(days, aligned))
    needs = [_Open(number, chain, 0, chain[0].first) for number, chain in enumerate(chains) if chain]
    search.go(needs, [], anchor_ahead=True)
    return search.best


def assign(chain: Chain, days: Sequence[int]) -> list[int]:
    """The day of each need of the chain, the latest among pickup days that serve the chain."""
    chosen: list[int] = []
    limit = NEVER
    for need in reversed(chain):
        limit = max(day for day in days if need.first <= day <= min(need.last, limit - need.wait))
        chosen.append(limit)
    return chosen[::-1]


def _as_if_independent(windows: Sequence[Need], anchor: int | None) -> list[int]:
    """The fewest days that meet every window, each as late as can be; exact where no chain is longer than one.

    In the order of their last days: whatever no earlier visit meets is met on its last day.
    """
    days: list[int] = []
    latest = -1
    for need in sorted(windows, key=lambda need: need.last):
        if latest < need.first and (anchor is None or not need.first <= anchor <= need.last):
            latest = need.last
            days.append(latest)
    return days


def _cost(days: Sequence[int], aligned: int) -> Cost:
    return sum(day < aligned for day in days), len(days)


class _Open(NamedTuple):
    """The next need of a chain, and its first day, given when the need before it was met."""

    number: int
    chain: Chain
    at: int
    first: int

    @property
    def last(self) -> int:
        return self.chain[self.at].last


class _Search:
    """Visits in the order of time, depth first, later days first, never further than can still be better.

    Each visit waits for the last day of the need that can wait least, and meets all that is open by then. Where a
    drug needs another fill later, an earlier day is tried as well: its next fill is then payable sooner. What is open
    decides all that follows: where it was the same before, at no higher cost, nothing better can come of it.
    """

    def __init__(self, anchor: int, aligned: int, pickup: PickupDays, least: Cost) -> None:
        self.anchor, self.aligned, self.pickup, self.least = anchor, aligned, pickup, least
        self.best: list[int] = []
        self.cost: Cost = (NEVER, NEVER)
        self.seen: dict[object, Cost] = {}  # the least cost at which this was open

    def go(self, needs: list[_Open], days: list[int], *, anchor_ahead: bool) -> None:
        """Meet the open needs after visits on `days`; keep the result where it is better."""
        open_ = (anchor_ahead, *((need.number, need.at, need.first) for need in needs))
        so_far = _cost(days, self.aligned)
        if (
            self.seen.get(open_, self.cost) <= so_far
            or self._at_least(needs, so_far, anchor_ahead) >= self.cost
        ):
            return
        self.seen[open_] = so_far
        if not needs:
            self.best, self.cost = days, so_far
            return
        latest = min(need.last for need in needs)
        if anchor_ahead and self.anchor <= latest:
            latest = self.anchor
            self.go(self._after(latest, needs), days, anchor_ahead=False)
        else:
            self.go(self._after(latest, needs), [*days, latest], anchor_ahead=anchor_ahead)
        soonest = min((need.first for need in needs if need.at + 1 < len(need.chain)), default=NEVER)
        day = self.pickup.on_or_before(latest - 1)
        while day >= soonest and self.cost > self.least:
            self.go(self._after(day, needs), [*days, day], anchor_ahead=anchor_ahead)
            day = self.pickup.on_or_before(day - 1)

    def _after(self, day: int, needs: list[_Open]) -> list[_Open]:
        """What is open once a visit on `day` has met all it can."""
        still = []
        for need in needs:
            number, chain, at, first = need
            if not first <= day <= need.last:
                still.append(need)
            elif at + 1 < len(chain):
                payable = self.pickup.on_or_after(day + chain[at].wait)
                still.append(_Open(number, chain, at + 1, max(chain[at + 1].first, payable)))
        return still

    def _at_least(self, needs: list[_Open], so_far: Cost, anchor_ahead: bool) -> Cost:
        """No way from here costs less."""
        windows = [need.chain[need.at]._replace(first=need.first) for need in needs]
        windows += [later for need in needs for later in need.chain[need.at + 1 :]]
        further = _cost(_as_if_independent(windows, self.anchor if anchor_ahead else None), self.aligned)
        return so_far[0] + further[0], so_far[1] + further[1]
