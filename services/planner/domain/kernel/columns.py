"""Patients, their drugs and their candidate days as columns of whole numbers: quantities in ten-thousandths of a unit,
money in cents, days as ordinals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import cache, lru_cache
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.planner.domain.anchor import Case, Question
from services.planner.domain.calendar import LONG_AGO, NEVER, PickupDays
from services.planner.domain.course import Supply
from services.planner.domain.cycles import next_anchor
from services.planner.domain.payers import dearer_at_once, extra_cost_of

Ints: TypeAlias = NDArray[np.integer[Any]]
Bools: TypeAlias = NDArray[np.bool_]
N = TypeVar("N", int, Ints, list[int])
V = TypeVar("V", Ints, Bools)
K = TypeVar("K")
Numbers: TypeAlias = dict[K, int]
"""Tables by the order in which they were first asked for."""

UNIT = 10_000
"""Ten-thousandths: the finest quantity that events carry."""

LONGEST = 512
"""Days' supply up to which there are tables of what is allowed and what it costs; no fill is longer."""

LONGEST_USUAL, LONGEST_CYCLE = 366, 120
LEAST_A_DAY, MOST_A_DAY = UNIT // 10, 400 * UNIT
MOST_UNITS = 200_000

NARROW = np.int32
"""Of rows of drugs, of which there are many: days, and quantities up to the most units, have room in it."""


class Drug(NamedTuple):
    """A column of each value of the supplies. See `Supply` and `Payment`."""

    ride_along: Ints
    critical: Ints
    percent: Ints
    lacks_from: Ints
    ready: Ints
    expires: Ints
    most_surplus: Ints
    paid_until: Ints
    joining: Ints
    forced: Ints
    least_bridge: Ints
    usual_days: Ints
    bridge_cushion: Ints
    joined_with: Ints  # none: -1
    usual_quantity: Ints
    per_day: Ints
    whole_units: Ints
    quantity_left: Ints
    fixed_quantity: Ints  # none: -1
    sizes: Ints  # the row of the payer's days' supplies
    short_sizes: Ints  # the row of those below the usual; 0: any
    costs: Ints  # the table of what so many days cost


AS_THEY_ARE: Mapping[str, str] = {
    "ride_along": "ride_along",
    "critical": "prescription.drug.critical",
    "percent": "percent",
    "lacks_from": "lacks_from",
    "ready": "payment.ready",
    "expires": "expires",
    "most_surplus": "most_surplus",
    "paid_until": "paid_until",
    "joining": "payment.joining",
    "forced": "payment.forced",
    "bridge_cushion": "bridge_cushion",
    "least_bridge": "least_bridge",
    "usual_days": "prescription.usual_days",
}
"""Values of a drug that its supply has in the same form, and where."""


class Patient(NamedTuple, Generic[N]):
    """One case, or a column of each of its values. See `Case` and `Rules`."""

    drugs: N  # how many there are
    earliest: N
    cycle_days: N
    preferred_weekday: N  # none: -1
    daily_cap: N
    told_anchor: N  # none: -1
    extra_cost_limit: N  # whole cents
    minimum_short_fill_days: N
    cushion_days: N


@dataclass(frozen=True, slots=True)
class Pickups:
    """Pickup days of all patients with their neighbours, as many days for each, end to end. See `PickupDays`."""

    before: Ints
    after: Ints
    first: int
    last: int
    at: Ints  # of each patient: where day 0 would stand

    def on_or_before(self, day: Ints, at: Ints) -> Ints:
        return self.before.take(at + np.minimum(np.maximum(day, self.first), self.last))

    def on_or_after(self, day: Ints, at: Ints) -> Ints:
        return self.after.take(at + np.minimum(np.maximum(day, self.first), self.last))


@dataclass(frozen=True, slots=True)
class Tables:
    """By days' supply: is a long fill of so many days allowed, and what does a fill cost beyond its share?"""

    allowed: Bools
    any_allowed: Bools
    short_days: (
        Ints  # the fewest days, so many at least, of which a short fill is paid; see `Supply.short_days`
    )
    costs: Ints  # cents; the tables end to end
    dearer: Bools  # is one long fill of so many days? See `payers.dearer_at_once`


@dataclass(frozen=True, slots=True)
class Layers:
    """How rows lie: all first drugs, all second drugs, and so on.

    Patients with more drugs come first, so that a layer holds the first of all candidate days.
    """

    days: Sequence[int]  # so many in each

    def spread(self, by_day: V) -> V:
        """What holds of a candidate day, for each of its rows."""
        return np.concatenate([by_day[:days] for days in self.days])

    def total(self, values: Ints | Bools) -> Ints:
        """The sum of each candidate day's rows."""
        return self._over(np.add, values.astype(np.int64))

    def least(self, values: Ints) -> Ints:
        """The least value of each candidate day's rows."""
        return self._over(np.minimum, values)

    def _over(self, combine: np.ufunc, values: Ints) -> Ints:
        begin = self.days[0]
        found = values[:begin].copy()
        for days in self.days[1:]:
            combine(found[:days], values[begin : begin + days], out=found[:days])
            begin += days
        return found


@dataclass(frozen=True, slots=True)
class Columns:
    """Some patients, those with more drugs first: their drugs, and their candidate days in order."""

    questions: Sequence[Question]
    patient: Patient[Ints]
    drug: Drug
    costs_known: Bools
    latest_due: Ints  # by patient
    of: Ints  # the patient of each candidate day
    anchor: Ints
    second: Ints
    load: Ints
    layers: Layers
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
    each, fixed = supply.prescription, supply.fixed_quantity
    a_day = each.units_per_day
    if not supply.ride_along and (a_day is None or not LEAST_A_DAY <= units_of(a_day) <= MOST_A_DAY):
        return False
    if fixed is not None and (a_day is None or fixed > a_day * LONGEST_USUAL or units_of(fixed) < 0):
        return False
    return (
        0 < each.usual_days <= LONGEST_USUAL
        and supply.percent <= 100
        and _longest(supply.payer.days_supplies) < LONGEST - 1
        and units_of(each.usual_quantity) >= 0
        and units_of(supply.quantity_left) >= 0
    )


@lru_cache(maxsize=4096)
def units_of(quantity: Decimal) -> int:
    """A quantity in ten-thousandths of a unit; -1 where it is finer than that or out of range."""
    return int(quantity * UNIT) if 0 <= quantity <= MOST_UNITS and quantity * UNIT % 1 == 0 else -1


def columns_of(questions: Sequence[Question]) -> Columns:
    """The columns of patients that fit, those with more drugs first."""
    supplies = [supply for question in questions for supply in question.case.supplies]
    sizes: Numbers[frozenset[int]] = {NO_SIZES: 0}
    short_sizes: Numbers[frozenset[int] | None] = {None: 0}
    costs: Numbers[Costs | None] = {}
    drug = _drugs(supplies, sizes, short_sizes, costs)
    drug = as_ride_alongs(drug, drug.ride_along > 0)
    patient = Patient(*_transposed([_patient(question.case) for question in questions], np.int64))
    of = np.repeat(np.arange(len(questions)), [len(question.days) for question in questions])
    anchor = _end_to_end(question.days for question in questions)
    pickups = _pickups([question.case.pickup for question in questions])
    return Columns(
        questions=questions,
        patient=patient,
        drug=drug,
        costs_known=np.array([costs_known(question.case) for question in questions]),
        latest_due=_latest_due(drug, patient, pickups),
        of=of,
        anchor=anchor,
        second=_seconds(questions, of, anchor, patient, pickups),
        load=_end_to_end(map(question.case.load.get, question.days, repeat(0)) for question in questions),
        layers=_layers(patient.drugs[of]),
        pickups=pickups,
        tables=Tables(
            allowed=np.stack([_allowed(each) for each in sizes]),
            any_allowed=np.array([bool(each) for each in sizes]),
            short_days=np.stack([_short_days(each) for each in short_sizes]),
            costs=np.concatenate([_table(each) for each in costs]),
            dearer=np.stack([_dearer(each) for each in costs]),
        ),
    )


def _transposed(rows: Sequence[tuple[int, ...]], dtype: type[np.integer[Any]]) -> Ints:
    values = np.fromiter(chain.from_iterable(rows), dtype, len(rows) * len(rows[0]))
    return np.ascontiguousarray(values.reshape(len(rows), -1).T)


def _end_to_end(days: Iterable[Iterable[int]]) -> Ints:
    return _column(chain.from_iterable(days))


def _column(values: Iterable[int]) -> Ints:
    return np.fromiter(values, NARROW)


def _drugs(
    supplies: Sequence[Supply],
    sizes: Numbers[frozenset[int]],
    short_sizes: Numbers[frozenset[int] | None],
    costs: Numbers[Costs | None],
) -> Drug:
    as_they_are = _transposed(list(map(attrgetter(*AS_THEY_ARE.values()), supplies)), NARROW)
    fixed = (each.fixed_quantity for each in supplies)
    a_day = (None if each.ride_along else each.prescription.units_per_day for each in supplies)
    return Drug(
        **dict(zip(AS_THEY_ARE, as_they_are, strict=True)),
        joined_with=_column(-1 if each.joined_with is None else each.joined_with for each in supplies),
        usual_quantity=_column(units_of(each.prescription.usual_quantity) for each in supplies),
        per_day=_column(UNIT if each is None else units_of(each) for each in a_day),
        whole_units=_column(each.whole_units * UNIT for each in supplies),
        quantity_left=_column(units_of(each.quantity_left) for each in supplies),
        fixed_quantity=_column(-1 if each is None else units_of(each) for each in fixed),
        sizes=_column(sizes.setdefault(each.payer.days_supplies, len(sizes)) for each in supplies),
        short_sizes=_column(short_sizes.setdefault(each.short_sizes, len(short_sizes)) for each in supplies),
        costs=_column(costs.setdefault(_costs_of(each), len(costs)) for each in supplies),
    )


def as_ride_alongs(drug: Drug, these: Bools) -> Drug:
    """Of these only whole packs are filled, and no fill ends at the synchronized pickup. See `course._whole_fills`."""
    beyond_packs = drug.quantity_left % np.maximum(drug.usual_quantity, 1)
    return drug._replace(
        bridge_cushion=np.where(these, NEVER, drug.bridge_cushion),
        quantity_left=drug.quantity_left - np.where(these, beyond_packs, 0),
        sizes=np.where(these, 0, drug.sizes),
        short_sizes=np.where(these, 0, drug.short_sizes),
    )


def _patient(case: Case) -> Patient[int]:
    rules = case.rules
    return Patient(
        len(case.supplies),
        case.earliest,
        case.cycle.days,
        -1 if case.preferred_weekday is None else case.preferred_weekday,
        case.daily_cap,
        -1 if case.told_anchor is None else case.told_anchor,
        _whole_cents(case.extra_cost_limit),
        rules.minimum_short_fill_days,
        rules.cushion_days,
    )


@lru_cache
def _whole_cents(limit: Decimal) -> int:
    """A cent above it is above the limit."""
    return int((limit * 100).to_integral_value(ROUND_FLOOR))


def _layers(drugs: Ints) -> Layers:
    """The layers of candidate days with so many drugs each."""
    return Layers([int((drugs > layer).sum()) for layer in range(drugs[0])])


def costs_known(case: Case) -> bool:
    """Is every drug's copay known?"""
    return all(supply.monthly_copay is not None for supply in case.supplies)


# --- days ---


def _pickups(all_days: Sequence[PickupDays]) -> Pickups:
    """Days that patients share are laid out once. One day more at both ends: before it and after it there is none."""
    number = {days: number for number, days in enumerate(dict.fromkeys(all_days))}
    first = min(days.first for days in number) - 1
    last = max(days.last for days in number) + 1
    before = np.full((len(number), last - first + 1), LONG_AGO, dtype=NARROW)
    after = np.full_like(before, NEVER)
    for days, row in number.items():
        begin, end = days.first - first, days.last - first + 1
        before[row, begin:end], after[row, begin:end] = _before_and_after(days)
        before[row, end:], after[row, :begin] = before[row, end - 1], after[row, begin]
    at = [number[days] * before.shape[1] - first for days in all_days]
    return Pickups(before.ravel(), after.ravel(), first, last, np.array(at))


@lru_cache(maxsize=1024)
def _before_and_after(days: PickupDays) -> tuple[Ints, Ints]:
    return np.array(days.before, dtype=NARROW), np.array(days.after, dtype=NARROW)


def _latest_due(drug: Drug, patient: Patient[Ints], pickups: Pickups) -> Ints:
    """See `anchor.latest_due`."""
    lacks_from = np.where(drug.ride_along > 0, LONG_AGO, drug.lacks_from)
    latest = np.maximum.reduceat(lacks_from, np.cumsum(patient.drugs) - patient.drugs)
    return pickups.on_or_before(latest, pickups.at)


def _seconds(
    questions: Sequence[Question], of: Ints, anchor: Ints, patient: Patient[Ints], pickups: Pickups
) -> Ints:
    """The synchronized pickup after each candidate day. See `next_anchor`."""
    cycle_days, at = patient.cycle_days[of], pickups.at[of]
    wanted = anchor + cycle_days
    before, after = pickups.on_or_before(wanted, at), pickups.on_or_after(wanted, at)
    limited = np.array([question.case.pickup.limited for question in questions])[of]
    later = limited & (before - anchor < cycle_days // 2) & (after < NEVER)
    seconds = np.where(later, after, np.where(before > anchor, before, wanted)).astype(NARROW)
    for place, (case, days) in enumerate(questions):
        if case.cycle.day_of_month is not None:
            seconds[of == place] = [next_anchor(each, case.cycle, case.pickup) for each in days]
    return seconds


# --- tables ---

NO_SIZES: frozenset[int] = frozenset()
"""Of plans that pay any days' supply up to the usual one."""

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
