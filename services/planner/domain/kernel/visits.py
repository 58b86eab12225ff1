"""`visits` in columns: the trips of each candidate day, and which of its fills they put on the anchor day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.planner.domain.calendar import NEVER
from services.planner.domain.kernel.columns import Bools, Ints
from services.planner.domain.kernel.course import Needs, Rows


@dataclass(frozen=True, slots=True)
class Chains:
    """The drugs that need fills, row by row, of candidate days in their order."""

    rows: Rows
    needs: Needs
    option: Ints  # of the days that have any, numbered from 0
    starts: Ints  # the first row of each of those days
    days: Ints  # those days, by their own numbers


@dataclass(frozen=True, slots=True)
class Trips:
    """The first way that the search tries, for each candidate day with fills before the anchor."""

    chains: Chains
    stops: list[Ints]  # days in their order, the anchor among them; 0: none any more
    before: (
        Ints  # visits before the day on which all have joined; the least that can be, where it is not proven
    )
    proven: Bools  # no way takes fewer trips


def chains_of(rows: Rows, needs: Needs) -> Chains:
    """Those with any need."""
    these = np.flatnonzero(needs.count)
    at = rows.take(these)
    begins = np.diff(at.option, prepend=-1) > 0
    starts, option = np.flatnonzero(begins), np.cumsum(begins) - 1
    return Chains(at, needs.take(these), option, starts, at.option[starts])


def trips_of(chains: Chains, aligned: Ints) -> Trips:
    """See `visits.visit_days`: its search stops at the first way that it tries, if the windows alone need as many.

    `aligned` is by candidate day of the chains.
    """
    rows, needs = chains.rows, chains.needs
    anchor = rows.anchor[chains.starts]
    at, first = np.zeros_like(needs.count), needs.first[0].copy()
    every, deep = np.arange(len(at)), needs.most - 1
    ahead = np.ones(len(anchor), dtype=bool)
    before, total, stops = np.zeros_like(anchor), np.zeros_like(anchor), []
    while (at < needs.count).any():
        open_ = at < needs.count
        last = np.where(open_, needs.last[np.minimum(at, deep), every], NEVER)
        day = np.minimum.reduceat(last, chains.starts)
        going = day < NEVER
        is_anchor = going & ahead & (anchor <= day)
        day = np.where(is_anchor, anchor, np.where(going, day, 0))
        ahead &= ~is_anchor
        visited = going & ~is_anchor
        total += visited
        before += visited & (day < aligned)
        stops.append(day)
        here = day[chains.option]
        met = np.flatnonzero(open_ & (first <= here) & (here <= last))
        payable = rows.take(met).on_or_after(here[met] + needs.wait[at[met], met])
        at[met] += 1
        first[met] = np.maximum(needs.first[np.minimum(at[met], deep), met], payable)
    long = np.maximum.reduceat(needs.count, chains.starts) > 1
    least_before, least = _as_if_independent(chains, long, aligned[long])
    proven = ~long
    proven[long] = (least_before == before[long]) & (least == total[long])
    before[long] = least_before
    return Trips(chains, stops, before, proven)


def _as_if_independent(chains: Chains, these: Bools, aligned: Ints) -> tuple[Ints, Ints]:
    """Trips of these candidate days before all have joined, and all, if every need were alone. See
    `visits._as_if_independent`."""
    number = np.cumsum(these) - 1
    needs, anchor = chains.needs, chains.rows.anchor
    of, first, last = [], [], []
    for place in range(needs.most):
        rows = np.flatnonzero((place < needs.count) & these[chains.option])
        on_its_own = (anchor[rows] < needs.first[place, rows]) | (needs.last[place, rows] < anchor[rows])
        rows = rows[on_its_own]  # what the anchor can take needs no other day
        of.append(number[chains.option[rows]])
        first.append(needs.first[place, rows])
        last.append(needs.last[place, rows])
    option, begins, ends = np.concatenate(of), np.concatenate(first), np.concatenate(last)
    order = np.lexsort((ends, option))
    option, begins, ends = option[order], begins[order], ends[order]
    turns = np.arange(len(option)) - np.searchsorted(option, option)
    least_before, least = np.zeros_like(aligned), np.zeros_like(aligned)
    latest = np.full(len(least), -1)
    for turn in range(int(turns.max(initial=-1)) + 1):
        rows = np.flatnonzero(turns == turn)
        rows = rows[latest[option[rows]] < begins[rows]]
        latest[option[rows]] = ends[rows]
        least[option[rows]] += 1
        least_before[option[rows]] += ends[rows] < aligned[option[rows]]
    return least_before, least


def left_on_anchor_day(trips: Trips) -> tuple[Ints, Ints]:
    """Of each fill that falls on the anchor day, where the trips are proven: its candidate day, and the days left then.
    See `visits.assign`."""
    chains, needs, anchor = trips.chains, trips.chains.needs, trips.chains.rows.anchor
    there = (needs.first <= anchor) & (anchor <= needs.last)
    there &= (np.arange(needs.most)[:, np.newaxis] < needs.count) & trips.proven[chains.option]
    rows = np.flatnonzero(there.any(axis=0))
    anchor, option = anchor[rows], chains.option[rows]
    limit = np.full(len(rows), NEVER)
    options, left = [], []
    for number in reversed(range(needs.most)):
        first, last = (
            needs.first[number, rows],
            np.minimum(needs.last[number, rows], limit - needs.wait[number, rows]),
        )
        day = np.where((first <= anchor) & (anchor <= last), anchor, -1)
        for stop in trips.stops:
            here = stop[option]
            day = np.where((first <= here) & (here <= last), np.maximum(day, here), day)
        there_ = number < needs.count[rows]
        limit = np.where(there_, day, limit)
        on_anchor = there_ & (day == anchor)
        options.append(chains.days[option[on_anchor]])
        left.append(np.maximum(0, needs.due[number, rows] - anchor)[on_anchor])
    return np.concatenate(options), np.concatenate(left)
