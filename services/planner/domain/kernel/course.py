"""`course` in columns: how each drug reaches each candidate day, a row for each of the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.planner.domain.calendar import NEVER
from services.planner.domain.kernel.columns import LONGEST, NARROW, Bools, Columns, Drug, Ints

MOST_NEEDS = 8
"""Fills before an anchor that there is room for; a patient with more is judged by the readable form."""

NEITHER = -1
"""Joins at neither pickup."""


class Rows:
    """One drug on one candidate day, each. What is asked for is looked up then."""

    def __init__(self, columns: Columns, option: Ints, drug: Ints) -> None:
        self.columns, self.option, self.drug_number = columns, option, drug
        self.drug = Looked(columns.drug, drug)
        self.anchor = columns.anchor[option]
        self.second = columns.second[option]

    def __len__(self) -> int:
        return len(self.option)

    @property
    def patient(self) -> Ints:
        return self.columns.of[self.option]

    @property
    def earliest(self) -> Ints:
        return self.columns.patient.earliest[self.patient].astype(NARROW)

    def take(self, rows: Ints | Bools) -> Rows:
        """Some of these rows."""
        return Rows(self.columns, self.option[rows], self.drug_number[rows])

    def on_or_before(self, day: Ints) -> Ints:
        """See `PickupDays.on_or_before`."""
        return self.columns.pickups.on_or_before(day, self.patient)

    def on_or_after(self, day: Ints) -> Ints:
        """See `PickupDays.on_or_after`."""
        return self.columns.pickups.on_or_after(day, self.patient)

    def allows(self, days: Ints) -> Bools:
        """See `PayerRule.allows`."""
        return self.columns.tables.allowed[self.drug.sizes, np.minimum(days, LONGEST - 1)]

    def short_days(self, days: Ints) -> Ints:
        """See `Supply.short_days`."""
        return self.columns.tables.short_days[self.drug.short_sizes, np.minimum(days, LONGEST - 1)]

    def dearer_at_once(self, days: Ints) -> Bools:
        """See `Supply.dearer_at_once`."""
        return self.columns.tables.dearer[self.drug.costs, np.minimum(days, LONGEST - 1)]

    def cost(self, days: Ints) -> Ints:
        """What a fill of so many days costs beyond its share, in cents."""
        return self.columns.tables.costs[self.drug.costs, days]


class Looked:
    """Rows of the columns of drugs."""

    def __init__(self, drug: Drug[Ints], rows: Ints) -> None:
        self._drug, self._rows = drug, rows

    def __getattr__(self, name: str) -> Ints:
        column: Ints = getattr(self._drug, name)
        return column[self._rows]


@dataclass(slots=True)
class Needs:
    """The fills before the anchor. See `course.Need`."""

    count: Ints  # by row
    values: Ints  # of each of the five below, by its number, by row; 0 beyond the count

    @staticmethod
    def none(rows: int) -> Needs:
        return Needs(np.zeros(rows, dtype=NARROW), np.zeros((5, 0, rows), dtype=NARROW))

    @property
    def most(self) -> int:
        """As many as any row has room for."""
        return self.values.shape[1]

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

    def add(self, rows: Ints, *values: Ints) -> None:
        """One more for each of these rows, unless there is no room."""
        number = np.minimum(self.count[rows], MOST_NEEDS - 1)
        self._make_room(int(number.max(initial=-1)) + 1)
        for mine, value in zip(self.values, values, strict=True):
            mine[number, rows] = value
        self.count[rows] += 1

    def put(self, rows: Ints, other: Needs) -> None:
        """Take the place of what these rows needed."""
        self._make_room(other.most)
        self.count[rows] = other.count
        self.values[:, : other.most, rows] = other.values
        self.values[:, other.most :, rows] = 0

    def take(self, rows: Ints | Bools) -> Needs:
        """Those of some rows."""
        return Needs(self.count[rows], self.values[:, :, rows])

    def _make_room(self, most: int) -> None:
        if most > self.most:
            more = np.zeros((5, most - self.most, len(self.count)), dtype=NARROW)
            self.values = np.concatenate([self.values, more], axis=1)


@dataclass(slots=True)
class Courses:
    """What happens to each drug for each candidate day. See `course.Course`."""

    joins: Ints
    needs: Needs
    at_anchor: Ints  # days of the joining fill; 0: none
    left_at_anchor: Ints
    uncovered: Ints
    padding: Ints
    override: Bools
    dispensed: Bools  # joins at the anchor, or has joined there


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
            covered=np.maximum(drug.run_out, rows.earliest),
            ready=drug.ready,
            left=drug.quantity_left,
            paid_until=drug.paid_until,
            uncovered=np.zeros_like(rows.anchor),
            padding=np.zeros_like(rows.anchor),
        )

    def fill(self, live: Ints, day: Ints, begins: Ints, wait: Ints, days: Ints, ready: Ints) -> None:
        """One more fill of these rows; what is left is the caller's to take away."""
        self.needs.add(live, day, begins, self.covered[live], wait, days)
        self.uncovered[live] += begins - self.covered[live]
        self.paid_until[live] = np.maximum(self.paid_until[live], day) + days
        self.covered[live], self.ready[live] = begins + days, ready


def rows_of(columns: Columns) -> Rows:
    """Every drug of a patient beside each of their candidate days."""
    drugs_of = columns.drugs_of[columns.of]
    option = np.repeat(np.arange(len(columns.of)), drugs_of)
    first_drug = (np.cumsum(columns.drugs_of) - columns.drugs_of)[columns.of]
    first_row = np.cumsum(drugs_of) - drugs_of
    number = np.arange(len(option)) - first_row[option]
    return Rows(columns, option, first_drug[option] + number)


def courses_of(rows: Rows) -> Courses:
    """See `course.course_of` and `anchor.arrange`."""
    drug = rows.drug
    courses = Courses(
        joins=np.full_like(rows.anchor, NEITHER),
        needs=Needs.none(len(rows)),
        at_anchor=np.zeros_like(rows.anchor),
        left_at_anchor=drug.run_out - rows.anchor,
        uncovered=np.zeros_like(rows.anchor),
        padding=np.zeros_like(rows.anchor),
        override=np.zeros(len(rows), dtype=bool),
        dispensed=np.zeros(len(rows), dtype=bool),
    )
    ride_along = drug.ride_along > 0
    joined = ~ride_along & (drug.joined_with >= 0)
    due = ~ride_along & ~joined & ((drug.run_out < rows.second) | (drug.forced > 0))
    _ride_along(courses, rows, np.flatnonzero(ride_along))
    _joined(courses, rows, np.flatnonzero(joined))
    _synchronized(courses, rows, np.flatnonzero(due))
    _as_ride_alongs(courses, rows, np.flatnonzero(due))
    _with_long_fills(courses, rows)
    return courses


def _joined(courses: Courses, rows: Rows, these: Ints) -> None:
    """Its anchor visit stands and holds it."""
    at = rows.take(these)
    drug = at.drug
    courses.joins[these], courses.dispensed[these] = at.anchor, True
    courses.left_at_anchor[these] = drug.joined_with
    uncovered = np.maximum(0, at.second - drug.run_out)
    courses.uncovered[these] = np.where(_any_left(drug, drug.quantity_left), uncovered, 0)


def _synchronized(courses: Courses, rows: Rows, these: Ints) -> None:
    """See `course._synchronized`."""
    at = rows.take(these)
    drug = at.drug
    paid = np.minimum(drug.ready, drug.override_from) <= at.anchor
    joins = np.where(paid, at.anchor, at.second)
    gap = _bridge_gap(at, joins)
    covered, uncovered, left = gap.covered, gap.uncovered, gap.left

    quantity, days = _joining_fill(at, at.second - np.maximum(covered, at.anchor), left)
    filled = paid & (days > 0) & (at.anchor <= drug.expires)
    days = np.where(filled, days, 0)
    after = np.where(filled, np.maximum(covered, at.anchor) + days, covered)
    left = np.where(filled, left - quantity, left)
    bridged = filled & (drug.bridge_cushion > 0) & (at.anchor + _wait(drug, days) <= after)
    open_ = paid & _any_left(drug, left) & ~bridged
    uncovered = uncovered + np.where(open_, np.maximum(0, at.second - np.maximum(after, at.anchor)), 0)

    courses.joins[these], courses.at_anchor[these], courses.dispensed[these] = joins, days, filled
    courses.left_at_anchor[these] = np.maximum(0, covered - at.anchor)
    courses.uncovered[these], courses.padding[these] = uncovered, gap.padding
    courses.override[these] = filled & (drug.ready > at.anchor)
    courses.needs.put(these, gap.needs)


def _bridge_gap(rows: Rows, joins: Ints) -> Gap:
    """See `course._bridge_gap`."""
    gap = Gap.of(rows)
    live = np.flatnonzero(gap.covered < joins)
    while live.size:
        at, until = rows.take(live), joins[live]
        drug = at.drug
        day = at.on_or_after(np.maximum(gap.ready[live], at.earliest))
        begins = np.maximum(gap.covered[live], day)
        going = (begins < until) & (day <= drug.expires)
        wanted, left = np.maximum(until - begins, 0) + drug.bridge_cushion, gap.left[live]
        quantity, days = _bridging_fill(at, wanted, wanted, left)
        tiny = np.flatnonzero(wanted < drug.least_bridge)
        if tiny.size:
            few, paid_until = at.take(tiny), gap.paid_until[live[tiny]]
            least, most = _bridging_fill(few, few.drug.least_bridge, wanted[tiny], left[tiny])
            fits = going[tiny] & (most >= np.minimum(few.drug.least_bridge, few.drug.usual_days))
            fits &= _next_paid(few.drug, day[tiny], most, paid_until)[1] <= until[tiny]
            padded = tiny[fits]
            padding = np.where(most < few.drug.usual_days, most - days[tiny], 0)
            gap.padding[live[padded]] = padding[fits]
            quantity[padded], days[padded] = least[fits], most[fits]
        wait, ready = _next_paid(drug, day, days, gap.paid_until[live])
        going &= days > 0
        put_off = going & (ready > until)  # no fill may put off the one at the joining day
        gap.ready[live[put_off]] = day[put_off] + 1
        now = going & ~put_off
        gap.fill(live[now], day[now], begins[now], wait[now], days[now], ready[now])
        gap.left[live[now]] -= quantity[now]
        live = live[going]
        live = live[gap.covered[live] < joins[live]]
    drug = rows.drug
    gap.uncovered += np.where(_any_left(drug, gap.left), np.maximum(0, joins - gap.covered), 0)
    _narrow(gap.needs, rows, joins)
    return gap


def _ride_along(courses: Courses, rows: Rows, these: Ints) -> None:
    gap = _whole_fills(rows.take(these))
    courses.left_at_anchor[these], courses.uncovered[these] = 0, gap.uncovered
    courses.needs.put(these, gap.needs)


def _as_ride_alongs(courses: Courses, rows: Rows, these: Ints) -> None:
    """See `course.course_of`: whole fills where no short one is paid, and that leaves fewer days uncovered."""
    drug = rows.take(these).drug
    bound = (drug.short_sizes > 0) & (courses.uncovered[these] > 0)
    these = these[bound & (drug.forced == 0) & (drug.fixed_quantity < 0)]
    if not these.size:
        return
    gap = _whole_fills(rows.take(these))
    fewer = gap.uncovered < courses.uncovered[these]
    these = these[fewer]
    courses.joins[these], courses.at_anchor[these], courses.dispensed[these] = NEITHER, 0, False
    courses.left_at_anchor[these], courses.override[these] = 0, False
    courses.padding[these] = 0
    courses.uncovered[these] = gap.uncovered[fewer]
    courses.needs.put(these, gap.needs.take(fewer))


def _whole_fills(at: Rows) -> Gap:
    """See `course._whole_fills`."""
    gap = Gap.of(at)
    live = np.flatnonzero((gap.covered < at.second) & (gap.left >= at.drug.usual_quantity))
    while live.size:
        here = at.take(live)
        drug = here.drug
        day = here.on_or_after(np.maximum(gap.ready[live], here.earliest))
        begins = np.maximum(gap.covered[live], day)
        going = (begins < here.second) & (day <= drug.expires)
        over = live[~going]
        gap.uncovered[over] += at.second[over] - gap.covered[over]
        wait, ready = _next_paid(drug, day, drug.usual_days, gap.paid_until[live])
        gap.fill(live[going], day[going], begins[going], wait[going], drug.usual_days[going], ready[going])
        gap.left[live[going]] -= drug.usual_quantity[going]
        live = live[going]
        live = live[(gap.covered[live] < at.second[live]) & (gap.left[live] >= at.drug.usual_quantity[live])]
    _narrow(gap.needs, at, np.full_like(at.anchor, NEVER))
    return gap


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
    whole = at.second - np.maximum(needs.due[0, candidates], needs.first[0, candidates])
    final = needs.days[np.minimum(needs.count[candidates], MOST_NEEDS) - 1, candidates]
    _, _, possible = _long_fill(at, whole, at.drug.quantity_left)
    possible &= (whole > at.drug.usual_days) & (final < at.drug.usual_days)
    candidates, at = candidates[possible], at.take(possible)
    gap = _bridge_gap(at, at.second)
    better = (
        (gap.needs.count == 1)
        & (gap.needs.days.sum(axis=0) > at.drug.usual_days)
        & (gap.uncovered <= courses.uncovered[candidates])
    )
    better &= _still_dispensed(courses, rows, candidates[better])[at.option]
    these = candidates[better]
    courses.joins[these], courses.at_anchor[these], courses.dispensed[these] = NEITHER, 0, False
    courses.left_at_anchor[these] = np.maximum(0, gap.covered - at.anchor)[better]
    courses.uncovered[these], courses.override[these] = gap.uncovered[better], False
    courses.padding[these] = 0
    needs.put(these, gap.needs.take(better))


def _still_dispensed(courses: Courses, rows: Rows, longer: Ints) -> Bools:
    """By candidate day: is anything dispensed on it, if these rows get long fills?"""
    dispensed = courses.dispensed.copy()
    dispensed[longer] = False
    return np.bincount(rows.option, dispensed) > 0


# --- fills: quantities in ten-thousandths, and days ---


def _bridging_fill(rows: Rows, least: Ints, wanted: Ints, left: Ints) -> tuple[Ints, Ints]:
    """See `course._bridging_fills`: the one of `least` days at least, where so many are wanted."""
    drug, gap = rows.drug, wanted - rows.drug.bridge_cushion
    least = rows.short_days(least)
    short = (wanted < drug.usual_days) & (least < drug.usual_days)
    quantity, days = _short_fill(drug, least, left)
    short &= quantity < drug.usual_quantity
    usual_quantity, usual_days = _usual_fill(drug, left)
    long_quantity, long_days, long = _long_fill(rows, gap, left)
    long &= (gap > drug.usual_days) & ~rows.dearer_at_once(long_days)
    return (
        np.where(short, quantity, np.where(long, long_quantity, usual_quantity)),
        np.where(short, days, np.where(long, long_days, usual_days)),
    )


def _joining_fill(rows: Rows, needed: Ints, left: Ints) -> tuple[Ints, Ints]:
    """See `course._joining_fill`."""
    drug = rows.drug
    quantity, days = _usual_fill(drug, left)
    long_quantity, long_days, long = _long_fill(rows, needed, left)
    long &= (drug.usual_days < needed) & (needed < 2 * drug.usual_days)
    fixed = drug.fixed_quantity >= 0
    fixed_quantity = np.minimum(drug.fixed_quantity, left)
    return (
        np.where(fixed, fixed_quantity, np.where(long, long_quantity, quantity)),
        np.where(fixed, _whole(fixed_quantity, drug.per_day), np.where(long, long_days, days)),
    )


def _long_fill(rows: Rows, needed: Ints, left: Ints) -> tuple[Ints, Ints, Bools]:
    """See `course._long_fill`; the last says whether there is one."""
    needed = np.maximum(needed, 0)
    quantity, days = _short_fill(rows.drug, needed, left)
    return quantity, days, (days >= needed) & rows.allows(days)


def _usual_fill(drug: Looked, left: Ints) -> tuple[Ints, Ints]:
    """See `stock.usual_fill`."""
    quantity, days = _short_fill(drug, drug.usual_days, left)
    whole = left >= drug.usual_quantity
    return np.where(whole, drug.usual_quantity, quantity), np.where(whole, drug.usual_days, days)


def _any_left(drug: Looked, left: Ints) -> Bools:
    """Is anything left to fill?"""
    return _usual_fill(drug, left)[1] > 0


def _short_fill(drug: Looked, days: Ints, left: Ints) -> tuple[Ints, Ints]:
    """See `stock.short_fill`."""
    whole = drug.whole_units
    wanted = -(-days * drug.per_day // whole)
    quantity = np.minimum(wanted, left // whole) * whole
    return quantity, _whole(quantity, drug.per_day)


def _whole(quantity: Ints, per_day: Ints) -> Ints:
    """Whole days: exact, for both are whole numbers below 2**52."""
    return (quantity / per_day).astype(NARROW)


def _next_paid(drug: Looked, day: Ints, days: Ints, paid_until: Ints) -> tuple[Ints, Ints]:
    """After a fill of so many days: the wait for the next, and the day from which it is paid."""
    wait = _wait(drug, days)
    return wait, np.maximum(day + wait, np.maximum(paid_until, day) + days - drug.most_surplus)


def _wait(drug: Looked, days: Ints) -> Ints:
    """See `Supply.wait`."""
    return np.maximum((drug.percent * days + 99) // 100, days - drug.most_surplus)


def _narrow(needs: Needs, rows: Rows, limit: Ints) -> None:
    """See `course._narrowed`."""
    limit = limit.copy()
    for number in reversed(range(needs.most)):
        there = np.flatnonzero(number < needs.count)
        if there.size:
            at = rows.take(there)
            latest = np.minimum(needs.last[number, there], at.drug.expires)
            latest = np.minimum(latest, limit[there] - needs.wait[number, there])
            last = np.maximum(needs.first[number, there], at.on_or_before(latest))
            needs.last[number, there] = limit[there] = last
