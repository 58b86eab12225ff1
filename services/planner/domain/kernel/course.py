"""`course` in columns: how each drug reaches each candidate day, a row for each of the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from services.planner.domain.calendar import LONG_AGO, NEVER
from services.planner.domain.kernel.columns import (
    LONGEST,
    NARROW,
    Bools,
    Columns,
    Drug,
    Ints,
    as_ride_alongs,
)

MOST_NEEDS = 8
"""Fills before an anchor that there is room for; a patient with more is judged by the readable form."""

NEITHER = -1
"""Joins at neither pickup."""


class Rows:
    """One drug on one candidate day, each. What is asked for is looked up then, once."""

    def __init__(self, columns: Columns, drugs: Drug, option: Ints, drug: Ints) -> None:
        self.columns, self.drugs, self.option, self.drug_number = columns, drugs, option, drug
        self.drug = Looked(drugs, drug)

    def __len__(self) -> int:
        return len(self.option)

    @cached_property
    def anchor(self) -> Ints:
        return self.columns.anchor.take(self.option)

    @cached_property
    def second(self) -> Ints:
        return self.columns.second.take(self.option)

    @cached_property
    def patient(self) -> Ints:
        return self.columns.of.take(self.option)

    @cached_property
    def earliest(self) -> Ints:
        return self.columns.patient.earliest.astype(NARROW).take(self.patient)

    def take(self, rows: Ints) -> Rows:
        """Some of these rows."""
        return self.of(self.drugs, rows)

    def of(self, drugs: Drug, rows: Ints) -> Rows:
        """Some of these rows, with these columns of drugs."""
        return Rows(self.columns, drugs, self.option.take(rows), self.drug_number.take(rows))

    def on_or_before(self, day: Ints) -> Ints:
        """See `PickupDays.on_or_before`."""
        return self.columns.pickups.on_or_before(day, self._pickups_at)

    def on_or_after(self, day: Ints) -> Ints:
        """See `PickupDays.on_or_after`."""
        return self.columns.pickups.on_or_after(day, self._pickups_at)

    @cached_property
    def _pickups_at(self) -> Ints:
        return self.columns.pickups.at.take(self.patient)

    def allows(self, days: Ints) -> Bools:
        """See `PayerRule.allows`."""
        return self.columns.tables.allowed[self.drug.sizes, np.minimum(days, LONGEST - 1)]

    def short_days(self, days: Ints) -> Ints:
        """See `Supply.short_days`."""
        bound = np.flatnonzero(self.drug.short_sizes)
        days = days.copy()
        sizes, wanted = self.drug.short_sizes[bound], np.minimum(days[bound], LONGEST - 1)
        days[bound] = self.columns.tables.short_days[sizes, wanted]
        return days

    def dearer_at_once(self, days: Ints) -> Bools:
        """See `Supply.dearer_at_once`."""
        return self.columns.tables.dearer[self.drug.costs, np.minimum(days, LONGEST - 1)]

    def cost(self, days: Ints) -> Ints:
        """What a fill of so many days costs beyond its share, in cents."""
        return self.columns.tables.costs.take(self.drug.costs * LONGEST + days)


class Looked:
    """Rows of the columns of drugs: not to be written to."""

    def __init__(self, drug: Drug, rows: Ints) -> None:
        self._drug, self._rows = drug, rows

    def __getattr__(self, name: str) -> Ints:
        column: Ints = getattr(self._drug, name).take(self._rows)
        setattr(self, name, column)
        return column


@dataclass(slots=True)
class Needs:
    """The fills before the anchor. See `course.Need`.

    `values` has their first and last days, and so on: all rows' first fills, then all rows' second fills; beyond the
    count anything.
    """

    count: Ints  # by row
    values: Ints

    @staticmethod
    def none(rows: int) -> Needs:
        return Needs(np.zeros(rows, dtype=NARROW), np.empty((5, MOST_NEEDS * rows), dtype=NARROW))

    @property
    def most(self) -> int:
        """As many as any row has, and there is room for; at least 1."""
        return min(int(self.count.max(initial=1)), MOST_NEEDS)

    @property
    def first(self) -> Ints:
        return self.values[0]

    @property
    def last(self) -> Ints:
        return self.values[1]

    @property
    def due(self) -> Ints:
        return self.values[2]

    @property
    def wait(self) -> Ints:
        return self.values[3]

    @property
    def days(self) -> Ints:
        return self.values[4]

    def place(self, number: Ints | int, rows: Ints) -> Ints:
        """Where these rows' fills of that number stand."""
        return rows + number * len(self.count)

    def each(self) -> Iterator[tuple[Ints, Ints]]:
        """For each number the rows that have such a fill, and where it stands; the last number first."""
        for number in reversed(range(self.most)):
            rows = np.flatnonzero(self.count > number)
            yield rows, self.place(number, rows)

    def add(self, rows: Ints, *values: Ints) -> None:
        """One more for each of these rows, unless there is no room."""
        number = np.minimum(self.count.take(rows), MOST_NEEDS - 1)
        place = self.place(number, rows)
        for mine, value in zip(self.values, values, strict=True):
            mine[place] = value
        self.count[rows] += 1

    def put(self, rows: Ints, other: Needs, others: Ints) -> None:
        """What these rows needed is what those of others need."""
        self.count[rows] = other.count[others]
        for number in range(other.most):
            self.values[:, self.place(number, rows)] = other.values[:, other.place(number, others)]


@dataclass(slots=True)
class Courses:
    """What happens to each drug for each candidate day. See `course.Course`."""

    joins: Ints
    needs: Needs
    at_anchor: Ints  # days of the joining fill; 0: none
    left_at_anchor: Ints  # where it is dispensed
    uncovered: Ints
    padding: Ints
    override: Bools
    dispensed: Bools  # joins at the anchor, or has joined there

    @property
    def fills(self) -> Sequence[Ints]:
        """The days of each row's first fill, of its second, and so on, and of the joining one; 0: none."""
        count = self.needs.count
        days = self.needs.days.reshape(MOST_NEEDS, -1)
        return [*(days[number] * (number < count) for number in range(self.needs.most)), self.at_anchor]

    def fills_below(self, least: Ints) -> Ints:
        """How many fills each row has for fewer days."""
        return np.add.reduce([(days > 0) & (days < least) for days in self.fills], dtype=NARROW)


@dataclass(slots=True)
class Gap:
    """Where a drug stands after each fill."""

    needs: Needs
    covered: Ints
    ready: Ints
    left: Ints
    paid_until: Ints
    uncovered: Ints
    padding: Ints

    @staticmethod
    def of(rows: Rows) -> Gap:
        drug = rows.drug
        return Gap(
            needs=Needs.none(len(rows)),
            covered=np.maximum(drug.lacks_from, rows.earliest),
            ready=drug.ready.copy(),
            left=drug.quantity_left.copy(),
            paid_until=drug.paid_until.copy(),
            uncovered=np.zeros_like(rows.anchor),
            padding=np.zeros_like(rows.anchor),
        )


def rows_of(columns: Columns) -> Rows:
    """Every drug of a patient beside each of their candidate days, in the columns' layers."""
    drugs, layers = columns.patient.drugs, columns.layers
    option = layers.spread(np.arange(len(columns.of)))
    number = np.repeat(np.arange(len(layers.days)), layers.days)
    return Rows(columns, columns.drug, option, layers.spread((np.cumsum(drugs) - drugs)[columns.of]) + number)


def courses_of(rows: Rows) -> Courses:
    """See `course.course_of` and `anchor.arrange`."""
    drug, anchor = rows.drug, rows.anchor
    ride_along = drug.ride_along > 0
    joined = ~ride_along & (drug.joined_with >= 0)
    due = ~ride_along & ~joined & ((drug.lacks_from < rows.second) | (drug.forced > 0))
    paid = drug.joining <= anchor
    joins = np.where(paid, anchor, rows.second)
    until = np.where(due, joins, np.where(ride_along, rows.second, LONG_AGO))
    gap = _bridge_gap(rows, until, np.where(ride_along, NEVER, joins))
    courses = Courses(
        joins=np.where(due, joins, NEITHER),
        needs=gap.needs,
        at_anchor=np.zeros_like(anchor),
        left_at_anchor=np.maximum(0, gap.covered - anchor),
        uncovered=gap.uncovered,
        padding=gap.padding,
        override=np.zeros(len(rows), dtype=bool),
        dispensed=np.zeros(len(rows), dtype=bool),
    )
    _joined(courses, rows, np.flatnonzero(joined))
    _joining(courses, rows, gap, np.flatnonzero(due & paid))
    _as_ride_alongs(courses, rows, np.flatnonzero(due & (drug.short_sizes > 0)))
    _with_long_fills(courses, rows)
    return courses


def _joined(courses: Courses, rows: Rows, these: Ints) -> None:
    """Its anchor visit stands and holds it."""
    at = rows.take(these)
    drug = at.drug
    courses.joins[these], courses.dispensed[these] = at.anchor, True
    courses.left_at_anchor[these] = drug.joined_with
    uncovered = np.maximum(0, at.second - drug.lacks_from)
    courses.uncovered[these] = uncovered * _any_left(drug, drug.quantity_left)


def _joining(courses: Courses, rows: Rows, gap: Gap, these: Ints) -> None:
    """What joins at the anchor. See `course._synchronized`."""
    at = rows.take(these)
    drug, covered, left = at.drug, gap.covered.take(these), gap.left.take(these)
    begins = np.maximum(covered, at.anchor)
    quantity, days = _joining_fill(at, at.second - begins, left)
    filled = (days > 0) & (at.anchor <= drug.expires)
    days *= filled
    after = begins + days
    bridged = filled & (drug.bridge_cushion > 0) & (at.anchor + _wait(drug, days) <= after)
    open_ = _any_left(drug, left - quantity * filled) & ~bridged
    courses.at_anchor[these], courses.dispensed[these] = days, filled
    courses.uncovered[these] += np.maximum(0, at.second - after) * open_
    courses.override[these] = filled & (drug.ready > at.anchor)


def _bridge_gap(rows: Rows, until: Ints, limit: Ints) -> Gap:
    """The fills up to the day `until`; the one after them must be payable by `limit`. See `course._bridge_gap`, and of
    ride-alongs `course._ride_along`."""
    gap = Gap.of(rows)
    live = np.flatnonzero(gap.covered < until)
    while live.size:
        at, end = rows.take(live), until.take(live)
        drug = at.drug
        day = at.on_or_after(np.maximum(gap.ready.take(live), at.earliest))
        covered, left = gap.covered.take(live), gap.left.take(live)
        begins = np.maximum(covered, day)
        wanted, latest = np.maximum(end - begins, 0) + drug.bridge_cushion, limit.take(live)
        paid_until = np.maximum(gap.paid_until.take(live), day)
        quantity, days = _bridging_fill(at, wanted, wanted, left)
        going = (begins < end) & (day <= drug.expires)
        tiny = np.flatnonzero(wanted < drug.least_bridge)
        if tiny.size:
            few = at.take(tiny)
            least, most = _bridging_fill(few, few.drug.least_bridge, wanted[tiny], left[tiny])
            fits = going[tiny] & (most >= np.minimum(few.drug.least_bridge, few.drug.usual_days))
            fits &= _next_paid(few.drug, day[tiny], most, paid_until[tiny])[1] <= latest[tiny]
            padded = tiny[fits]
            padding = np.where(most < few.drug.usual_days, most - days[tiny], 0)
            gap.padding[live[padded]] = padding[fits]
            quantity[padded], days[padded] = least[fits], most[fits]
        wait, ready = _next_paid(drug, day, days, paid_until)
        going &= days > 0
        now = going & (ready <= latest)  # no fill may put off the one after the gap
        gap.ready[live] = np.where(now, ready, day + 1)
        gap.covered[live] = np.where(now, begins + days, covered)
        gap.left[live] = left - quantity * now
        gap.uncovered[live] += (begins - covered) * now
        filled = np.flatnonzero(now)
        gap.paid_until[live.take(filled)] = (paid_until + days).take(filled)
        gap.needs.add(live.take(filled), *(each.take(filled) for each in (day, begins, covered, wait, days)))
        live = live[going & (gap.covered.take(live) < end)]
    gap.uncovered += np.maximum(0, until - gap.covered) * _any_left(rows.drug, gap.left)
    _narrow(gap.needs, rows, limit)
    return gap


def _as_ride_alongs(courses: Courses, rows: Rows, these: Ints) -> None:
    """See `course.course_of`: whole fills where no short one is paid, and that leaves fewer days uncovered."""
    drug = rows.take(these).drug
    these = these[(courses.uncovered[these] > 0) & (drug.forced == 0) & (drug.fixed_quantity < 0)]
    if not these.size:
        return
    at = rows.of(as_ride_alongs(rows.drugs, np.ones(len(rows.drugs.ready), dtype=bool)), these)
    gap = _bridge_gap(at, at.second, np.full_like(at.second, NEVER))
    fewer = np.flatnonzero((gap.needs.count > 0) & (gap.uncovered < courses.uncovered[these]))
    these = these.take(fewer)
    courses.joins[these], courses.at_anchor[these], courses.dispensed[these] = NEITHER, 0, False
    courses.uncovered[these], courses.override[these] = gap.uncovered.take(fewer), False
    courses.padding[these] = 0
    courses.needs.put(these, gap.needs, fewer)


def _with_long_fills(courses: Courses, rows: Rows) -> None:
    """See `anchor._with_long_fills` and `course.long_course_of`."""
    needs, drug = courses.needs, rows.drug
    candidates = np.flatnonzero(
        (needs.count > 0)
        & (courses.joins == rows.anchor)
        & (drug.forced == 0)
        & (drug.fixed_quantity < 0)
        & rows.columns.tables.any_allowed[drug.sizes]
    )
    if not candidates.size:
        return
    at = rows.take(candidates)
    whole = at.second - np.maximum(needs.due[candidates], needs.first[candidates])
    final = needs.days[needs.place(np.minimum(needs.count[candidates], MOST_NEEDS) - 1, candidates)]
    _, _, possible = _long_fill(at, whole, at.drug.quantity_left)
    possible &= (whole > at.drug.usual_days) & (final < at.drug.usual_days)
    candidates, at = candidates[possible], at.take(np.flatnonzero(possible))
    gap = _bridge_gap(at, at.second, at.second)
    better = (
        (gap.needs.count == 1)
        & (gap.needs.days[: len(at)] > at.drug.usual_days)
        & (gap.uncovered <= courses.uncovered[candidates])
    )
    better &= _still_dispensed(courses, rows, candidates[better])[at.option]
    these = candidates[better]
    courses.joins[these], courses.at_anchor[these], courses.dispensed[these] = NEITHER, 0, False
    courses.uncovered[these], courses.override[these] = gap.uncovered[better], False
    courses.padding[these] = 0
    needs.put(these, gap.needs, np.flatnonzero(better))


def _still_dispensed(courses: Courses, rows: Rows, longer: Ints) -> Bools:
    """By candidate day: is anything dispensed on it, if these rows get long fills?"""
    dispensed = courses.dispensed.copy()
    dispensed[longer] = False
    return rows.columns.layers.total(dispensed) > 0


# --- fills: quantities in ten-thousandths, and days ---


def _bridging_fill(rows: Rows, least: Ints, wanted: Ints, left: Ints) -> tuple[Ints, Ints]:
    """See `course._bridging_fills`: the one of `least` days at least, where so many are wanted."""
    drug, gap = rows.drug, wanted - rows.drug.bridge_cushion
    fill = _fill(drug, np.minimum(rows.short_days(least), drug.usual_days), left)
    return _or_long(rows, gap > drug.usual_days, gap, left, fill, at_any_cost=False)


def _joining_fill(rows: Rows, needed: Ints, left: Ints) -> tuple[Ints, Ints]:
    """See `course._joining_fill`."""
    drug = rows.drug
    may = (drug.usual_days < needed) & (needed < 2 * drug.usual_days)
    quantity, days = _or_long(rows, may, needed, left, _fill(drug, drug.usual_days, left), at_any_cost=True)
    fixed = np.flatnonzero(drug.fixed_quantity >= 0)
    quantity[fixed] = np.minimum(drug.fixed_quantity, left)[fixed]
    days[fixed] = _whole(quantity[fixed], drug.per_day[fixed])
    return quantity, days


def _or_long(
    rows: Rows, may: Bools, needed: Ints, left: Ints, fill: tuple[Ints, Ints], *, at_any_cost: bool
) -> tuple[Ints, Ints]:
    """The fill, or a long one where there may be one and the plan allows it."""
    these = np.flatnonzero(may & rows.columns.tables.any_allowed[rows.drug.sizes])
    at = rows.take(these)
    quantity, days, long = _long_fill(at, needed[these], left[these])
    long &= at_any_cost | ~at.dearer_at_once(days)
    these = these[long]
    fill[0][these], fill[1][these] = quantity[long], days[long]
    return fill


def _long_fill(rows: Rows, needed: Ints, left: Ints) -> tuple[Ints, Ints, Bools]:
    """See `course._long_fill`; the last says whether there is one."""
    needed = np.maximum(needed, 0)
    quantity, days = _short_fill(rows.drug, needed, left)
    return quantity, days, (days >= needed) & rows.allows(days)


def _fill(drug: Looked, days: Ints, left: Ints) -> tuple[Ints, Ints]:
    """For at most the usual days; of fewer it is below the usual quantity. See `course._short_fill`, `_usual_fill`."""
    quantity, lasts = _short_fill(drug, days, left)
    whole = (left >= drug.usual_quantity) & ((days == drug.usual_days) | (quantity >= drug.usual_quantity))
    return np.where(whole, drug.usual_quantity, quantity), np.where(whole, drug.usual_days, lasts)


def _any_left(drug: Looked, left: Ints) -> Bools:
    """Is anything left to fill? The usual quantity, or whole units for a day."""
    return (left >= drug.usual_quantity) | (left // drug.whole_units * drug.whole_units >= drug.per_day)


def _short_fill(drug: Looked, days: Ints, left: Ints) -> tuple[Ints, Ints]:
    """See `stock.short_fill`. Quotients tell whole numbers from others: all are below 2**31."""
    whole = drug.whole_units
    wanted = np.ceil(days * drug.per_day / whole)
    quantity = (np.minimum(wanted, np.floor(left / whole)) * whole).astype(NARROW)
    return quantity, _whole(quantity, drug.per_day)


def _whole(quantity: Ints, per_day: Ints) -> Ints:
    """Whole days: exact, for both are whole numbers below 2**52."""
    return (quantity / per_day).astype(NARROW)


def _next_paid(drug: Looked, day: Ints, days: Ints, paid_until: Ints) -> tuple[Ints, Ints]:
    """After a fill of so many days: the wait for the next, and the day from which it is paid."""
    wait = _wait(drug, days)
    return wait, np.maximum(day + wait, paid_until + days - drug.most_surplus)


def _wait(drug: Looked, days: Ints) -> Ints:
    """See `Supply.wait`."""
    return np.maximum((drug.percent * days + 99) // 100, days - drug.most_surplus)


def _narrow(needs: Needs, rows: Rows, limit: Ints) -> None:
    """See `course._narrowed`."""
    limit = limit.copy()
    for these, place in needs.each():
        at = rows.take(these)
        latest = np.minimum(needs.last[place], at.drug.expires)
        latest = np.minimum(latest, limit[these] - needs.wait[place])
        last = np.maximum(needs.first[place], at.on_or_before(latest))
        needs.last[place] = limit[these] = last
