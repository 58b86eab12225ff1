"""Patients, their drugs and their candidate days as columns of whole numbers: quantities in ten-thousandths of a unit,
money in cents, days as ordinals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import cache
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.planner.domain.anchor import Case, Question, latest_due
from services.planner.domain.calendar import LONG_AGO, NEVER, PickupDays
from services.planner.domain.course import Supply
from services.planner.domain.cycles import next_anchor
from services.planner.domain.payers import dearer_at_once, extra_cost_of

Ints: TypeAlias = NDArray[np.integer[Any]]
Bools: TypeAlias = NDArray[np.bool_]
N = TypeVar("N", int, Ints)

UNIT = 10_000
"""Ten-thousandths: the finest quantity that events carry."""

LONGEST = 512
"""Days' supply up to which there are tables of what is allowed and what it costs; no fill is longer."""

LONGEST_USUAL, LONGEST_CYCLE = 366, 120
LEAST_UNITS_A_DAY = Decimal("0.1")
MOST_UNITS, MOST_UNITS_A_DAY = 200_000, 400

NARROW = np.int32
"""Of rows of drugs, of which there are many: days, and quantities up to the most units, have room in it."""


class Drug(NamedTuple, Generic[N]):
    """One supply, or a column of each of its values. See `Supply`."""

    ride_along: N
    critical: N
    percent: N
    run_out: N
    ready: N
    expires: N
    joined_with: N  # none: -1
    most_surplus: N
    paid_until: N
    override_from: N
    forced: N
    bridge_cushion: N
    least_bridge: N
    usual_days: N
    usual_quantity: N
    per_day: N
    whole_units: N
    quantity_left: N
    fixed_quantity: N  # none: -1
    sizes: N  # the row of the payer's days' supplies
    short_sizes: N  # the row of those below the usual; 0: any
    costs: N  # the row of what so many days cost


class Patient(NamedTuple, Generic[N]):
    """One case, or a column of each of its values. See `Case` and `Rules`."""

    earliest: N
    cycle_days: N
    preferred_weekday: N  # none: -1
    daily_cap: N
    told_anchor: N  # none: -1
    extra_cost_limit: N  # whole cents
    minimum_short_fill_days: N
    cushion_days: N
    latest_due: N


@dataclass(frozen=True, slots=True)
class Pickups:
    """Pickup days of all patients, end to end, with their neighbours. See `PickupDays`."""

    before: Ints
    after: Ints
    first: Ints  # of each patient
    last: Ints
    start: Ints  # where the patient's days begin

    def on_or_before(self, day: Ints, patient: Ints) -> Ints:
        first = self.first[patient]
        at = np.maximum(np.minimum(day, self.last[patient]), first) - first
        return np.where(day >= first, self.before[self.start[patient] + at], LONG_AGO)

    def on_or_after(self, day: Ints, patient: Ints) -> Ints:
        first, last = self.first[patient], self.last[patient]
        at = np.minimum(np.maximum(day, first), last) - first
        return np.where(day <= last, self.after[self.start[patient] + at], NEVER)


@dataclass(frozen=True, slots=True)
class Tables:
    """By days' supply: is a long fill of so many days allowed, and what does a fill cost beyond its share?"""

    allowed: Bools
    any_allowed: Bools
    short_days: (
        Ints  # the fewest days, so many at least, of which a short fill is paid; see `Supply.short_days`
    )
    costs: Ints  # cents
    dearer: Bools  # is one long fill of so many days? See `payers.dearer_at_once`


@dataclass(frozen=True, slots=True)
class Columns:
    """Some patients: their drugs, and their candidate days in order."""

    questions: Sequence[Question]
    patient: Patient[Ints]
    drug: Drug[Ints]
    drugs_of: Ints  # how many each patient has
    costs_known: Bools
    of: Ints  # the patient of each candidate day
    anchor: Ints
    second: Ints
    load: Ints
    pickups: Pickups  # by patient
    tables: Tables


def fit(question: Question) -> bool:
    """Nothing rare: see the package."""
    case = question.case
    return (
        not case.told_days
        and case.moved is None
        and case.cycle.days <= LONGEST_CYCLE
        and bool(question.days)
        and question.days[0] >= case.earliest
        and all(_fit(supply) for supply in case.supplies)
    )


def _fit(supply: Supply) -> bool:
    each = supply.prescription
    per_day = each.units_per_day
    quantities = [each.usual_quantity, supply.quantity_left]
    if not supply.ride_along:
        if per_day is None or not LEAST_UNITS_A_DAY <= per_day <= MOST_UNITS_A_DAY:
            return False
        quantities.append(per_day)
    if supply.fixed_quantity is not None:
        if per_day is None or supply.fixed_quantity > per_day * LONGEST_USUAL:
            return False
        quantities.append(supply.fixed_quantity)
    return (
        0 < each.usual_days <= LONGEST_USUAL
        and supply.percent <= 100
        and _longest(supply.payer.days_supplies) < LONGEST - 1
        and all(0 <= quantity <= MOST_UNITS and quantity * UNIT % 1 == 0 for quantity in quantities)
    )


def columns_of(questions: Sequence[Question]) -> Columns:
    """The columns of patients that fit."""
    rows: list[Drug[int]] = []
    sizes: dict[frozenset[int], int] = {}
    short_sizes: dict[frozenset[int] | None, int] = {None: 0}
    costs: dict[Costs | None, int] = {}
    for question in questions:
        for supply in question.case.supplies:
            size = sizes.setdefault(supply.payer.days_supplies, len(sizes))
            short = short_sizes.setdefault(supply.short_sizes, len(short_sizes))
            cost = costs.setdefault(_costs_of(supply), len(costs))
            rows.append(_drug(supply, size, short, cost))
    days = np.array([len(question.days) for question in questions])
    of = np.repeat(np.arange(len(questions)), days)
    anchor = np.array([day for question in questions for day in question.days], dtype=NARROW)
    patient = Patient(*_transposed([_patient(question.case) for question in questions], np.int64))
    pickups = _pickups([question.case.pickup for question in questions])
    return Columns(
        questions=questions,
        patient=patient,
        drug=Drug(*_transposed(rows, NARROW)),
        drugs_of=np.array([len(question.case.supplies) for question in questions]),
        costs_known=np.array([costs_known(question.case) for question in questions]),
        of=of,
        anchor=anchor,
        second=_seconds(questions, of, anchor, patient, pickups),
        load=np.array([load for question in questions for load in _loads(question)]),
        pickups=pickups,
        tables=Tables(
            allowed=np.stack([_allowed(each) for each in sizes]),
            any_allowed=np.array([bool(each) for each in sizes]),
            short_days=np.stack([_short_days(each) for each in short_sizes]),
            costs=np.stack([_table(each) for each in costs]),
            dearer=np.stack([_dearer(each) for each in costs]),
        ),
    )


def _transposed(rows: Sequence[tuple[int, ...]], dtype: type[np.integer[Any]]) -> Ints:
    return np.ascontiguousarray(np.array(rows, dtype=dtype).T)


def _drug(supply: Supply, sizes: int, short_sizes: int, costs: int) -> Drug[int]:
    each = supply.prescription
    fixed = supply.fixed_quantity
    return Drug(
        supply.ride_along,
        each.drug.critical,
        supply.percent,
        supply.run_out,
        supply.ready,
        supply.expires,
        -1 if supply.joined_with is None else supply.joined_with,
        supply.most_surplus,
        supply.paid_until,
        supply.override_from,
        supply.forced,
        supply.bridge_cushion,
        supply.least_bridge,
        each.usual_days,
        int(each.usual_quantity * UNIT),
        UNIT if supply.ride_along or each.units_per_day is None else int(each.units_per_day * UNIT),
        UNIT * supply.whole_units,
        int(supply.quantity_left * UNIT),
        -1 if fixed is None else int(fixed * UNIT),
        sizes,
        short_sizes,
        costs,
    )


def _patient(case: Case) -> Patient[int]:
    rules = case.rules
    return Patient(
        case.earliest,
        case.cycle.days,
        -1 if case.preferred_weekday is None else case.preferred_weekday,
        case.daily_cap,
        -1 if case.told_anchor is None else case.told_anchor,
        int((case.extra_cost_limit * 100).to_integral_value(ROUND_FLOOR)),  # a cent above it is above it
        rules.minimum_short_fill_days,
        rules.cushion_days,
        latest_due(case),
    )


def _loads(question: Question) -> Iterable[int]:
    load: Mapping[int, int] = question.case.load
    return (load.get(day, 0) for day in question.days)


def costs_known(case: Case) -> bool:
    """Is every drug's copay known?"""
    return all(supply.monthly_copay is not None for supply in case.supplies)


# --- days ---


def _pickups(all_days: Sequence[PickupDays]) -> Pickups:
    """Days that patients share are laid out once."""
    starts: dict[int, int] = {}
    before: list[Ints] = []
    after: list[Ints] = []
    length = 0
    for days in all_days:
        if id(days) not in starts:
            starts[id(days)] = length
            length += days.last - days.first + 1
            before.append(np.array(days.before, dtype=NARROW))
            after.append(np.array(days.after, dtype=NARROW))
    return Pickups(
        np.concatenate(before),
        np.concatenate(after),
        np.array([days.first for days in all_days]),
        np.array([days.last for days in all_days]),
        np.array([starts[id(days)] for days in all_days]),
    )


def _seconds(
    questions: Sequence[Question], of: Ints, anchor: Ints, patient: Patient[Ints], pickups: Pickups
) -> Ints:
    """The synchronized pickup after each candidate day. See `next_anchor`."""
    wanted = anchor + patient.cycle_days[of]
    day = pickups.on_or_before(wanted, of)
    seconds = np.where(day > anchor, day, wanted).astype(NARROW)
    for place, (case, days) in enumerate(questions):
        if case.cycle.day_of_month is not None or case.pickup.limited:
            seconds[of == place] = [next_anchor(each, case.cycle, case.pickup) for each in days]
    return seconds


# --- tables ---

Costs: TypeAlias = tuple[int, Decimal, int, bool]
"""Usual days, copay of a month, days of a month, prorated."""


def _costs_of(supply: Supply) -> Costs | None:
    if supply.monthly_copay is None:
        return None
    return supply.prescription.usual_days, supply.monthly_copay, supply.payer.month_days, supply.prorated


@cache
def _table(costs: Costs | None) -> Ints:
    """What a fill of so many days costs beyond its share, in cents; nothing where it is not known."""
    if costs is None:
        return np.zeros(LONGEST, dtype=np.int64)
    usual, copay, month, prorated = costs
    extra = (extra_cost_of(days, usual, copay, month, prorated=prorated) for days in range(LONGEST))
    return np.array([int(each * 100) for each in extra])


@cache
def _dearer(costs: Costs | None) -> Bools:
    """See `payers.dearer_at_once`."""
    if costs is None:
        return np.zeros(LONGEST, dtype=bool)
    usual, copay, month, prorated = costs
    return np.array([dearer_at_once(days, usual, copay, month, prorated=prorated) for days in range(LONGEST)])


@cache
def _longest(days_supplies: frozenset[int]) -> int:
    return max(days_supplies, default=0)


@cache
def _allowed(days_supplies: frozenset[int]) -> Bools:
    """Is a fill of so many days, more than the usual, paid? See `PayerRule.allows`."""
    return np.array([days in days_supplies for days in range(LONGEST)])


@cache
def _short_days(short_sizes: frozenset[int] | None) -> Ints:
    """See `Supply.short_days`; the most that there is room for where no such short fill is paid."""
    days = np.arange(LONGEST, dtype=NARROW)
    if short_sizes is None:
        return days
    paid = np.array([*sorted(short_sizes), LONGEST - 1], dtype=NARROW)
    return paid[np.searchsorted(paid, days)]
