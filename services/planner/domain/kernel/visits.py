"""`visits` in columns: the trips of each candidate day, and which of its fills they put on the anchor day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.planner.domain.calendar import NEVER
from services.planner.domain.kernel.columns import NARROW, Bools, Ints
from services.planner.domain.kernel.course import Needs, Rows


@dataclass(frozen=True, slots=True)
class Trips:
    """The first way that the search tries, for each candidate day."""

    stops: list[Ints]  # days in their order, the anchor among them; 0: none any more
    before: (
        Ints  # visits before the day on which all have joined; the least that can be, where it is not proven
    )
    proven: Bools  # no way takes fewer trips, or none that could make a difference
    may_take_any: Bools  # by row: is the anchor in the window of any fill?


def trips_of(rows: Rows, needs: Needs, aligned: Ints) -> Trips:
    """See `visits.visit_days`: its search stops at the first way that it tries, if the windows alone need as many."""
    anchor, layers = rows.columns.anchor, rows.columns.layers
    any_need = needs.count > 0
    first = np.where(any_need, needs.first[: len(rows)], NEVER)
    last = np.where(any_need, needs.last[: len(rows)], NEVER)
    number = np.zeros_like(needs.count)
    ahead = np.ones(len(anchor), dtype=bool)
    before, total, stops = np.zeros_like(anchor), np.zeros_like(anchor), []
    while (going := (day := layers.least(last)) < NEVER).any():
        is_anchor = going & ahead & (anchor <= day)
        day = np.where(is_anchor, anchor, day) * going
        ahead &= ~is_anchor
        visited = going & ~is_anchor
        total += visited
        before += visited & (day < aligned)
        stops.append(day)
        here = layers.spread(day)
        met = np.flatnonzero((first <= here) & (here <= last))
        first[met] = last[met] = NEVER
        number[met] += 1
        met = met[number[met] < needs.count[met]]
        next_ = needs.place(number[met], met)
        payable = rows.take(met).on_or_after(here[met] + needs.wait[next_ - len(rows)])
        first[met], last[met] = np.maximum(needs.first[next_], payable), needs.last[next_]
    long = layers.total(needs.count > 1) > 0
    least_before, least = _as_if_independent(rows, needs, long, aligned)
    may_take_any = _may_take_any(rows, needs)
    alike = (least == total) | (layers.total(may_take_any) == 0)
    proven = ~long | ((least_before == before) & alike)
    return Trips(stops, np.where(long, least_before, before), proven, may_take_any)


def _as_if_independent(rows: Rows, needs: Needs, these: Bools, aligned: Ints) -> tuple[Ints, Ints]:
    """Trips of these candidate days before all have joined, and all, if every need were alone. See
    `visits._as_if_independent`."""
    of, first, last = [], [], []
    for those, place in needs.each():
        begins, ends, anchor = needs.first[place], needs.last[place], rows.anchor[those]
        alone = np.flatnonzero(these[rows.option[those]] & ((anchor < begins) | (ends < anchor)))
        of.append(rows.option[those].take(alone))  # what the anchor can take needs no other day
        first.append(begins.take(alone))
        last.append(ends.take(alone))
    option, begins, ends = np.concatenate(of), np.concatenate(first), np.concatenate(last)
    least_before, least = np.zeros_like(aligned), np.zeros_like(aligned)
    while option.size:
        day = np.full(len(aligned), NEVER, dtype=NARROW)
        np.minimum.at(day, option, ends)
        least += day < NEVER
        least_before += day < aligned
        still = np.flatnonzero(day[option] < begins)
        option, begins, ends = option.take(still), begins.take(still), ends.take(still)
    return least_before, least


def _may_take_any(rows: Rows, needs: Needs) -> Bools:
    """By row: is the anchor in the window of any fill?"""
    may = np.zeros(len(rows), dtype=bool)
    for these, place in needs.each():
        anchor = rows.anchor[these]
        may[these] |= (needs.first[place] <= anchor) & (anchor <= needs.last[place])
    return may


def left_on_anchor_day(rows: Rows, needs: Needs, trips: Trips) -> tuple[Ints, Ints]:
    """Of each fill that falls on the anchor day, where the trips are proven: its candidate day, and the days left then.
    See `visits.assign`."""
    options, left = [], []
    may = trips.may_take_any & rows.columns.layers.spread(trips.proven)
    limit = np.full(len(rows), NEVER)
    for those, place in needs.each():
        open_ = np.flatnonzero(may[those])
        these, place = those.take(open_), place.take(open_)
        anchor, option = rows.anchor[these], rows.option[these]
        first, last = needs.first[place], np.minimum(needs.last[place], limit[these] - needs.wait[place])
        day = np.where((first <= anchor) & (anchor <= last), anchor, -1)
        for stop in trips.stops:
            here = stop.take(option)
            day = np.where((first <= here) & (here <= last), np.maximum(day, here), day)
        limit[these] = day
        on_anchor = np.flatnonzero(day == anchor)
        options.append(option.take(on_anchor))
        left.append(np.maximum(0, needs.due[place] - anchor).take(on_anchor))
    return np.concatenate(options), np.concatenate(left)
