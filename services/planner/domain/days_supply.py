"""How many days a quantity lasts: usable quantity by the most that is taken a day (R2.1).

Two figures are kept apart: the true days, which the patient's stock runs on, and the days that were billed, which
the payer's clock runs on.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from services.planner.domain.model import Fill, Prescription, Rules
from services.planner.domain.payers import PayerRule
from shared.directions import COUNTED, Basis, DailyUse, Refusal, exact, units_a_day

DOSES = frozenset({"drop", "puff", "spray", "unit", "mL"})
"""What directions count where the drug's facts say how many of them a unit of quantity holds."""


NEAR = Fraction(1, 100)
"""A difference that rounding explains."""


def contradict(days: int, counted: int) -> bool:
    """Do days on file and those counted from quantity and daily use differ by more than rounding and habit explain?

    By more than three days and more than a tenth: a slip of the pen, or another daily use than the one on file.
    """
    apart = abs(days - counted)
    return apart > 3 and apart * 10 > counted


def true_days(quantity: Decimal, each: Prescription) -> int | None:
    """The days that so much of a drug lasts, rounded down; none where its facts do not tell.

    Containers are opened one after the other, and each is discarded so many days after it was; at every use some
    doses may be lost to priming a pen.
    """
    if quantity <= 0:
        return None
    if each.units_per_day and not (
        each.drug.doses_per_unit or each.drug.in_use_days
    ):  # tablets: no pen, no vial
        return int(quantity // exact(each.units_per_day))
    container = Fraction(each.drug.container_quantity or quantity)
    full, rest = divmod(Fraction(quantity), container)
    of_full = _container_days(container, each)
    of_rest = _container_days(rest, each) if rest else Fraction(0)
    return None if of_full is None or of_rest is None else int(full * of_full + of_rest)


def _container_days(quantity: Fraction, each: Prescription) -> Fraction | None:
    drug, a_day = each.drug, _doses_a_day(each)
    most = Fraction(drug.in_use_days) if drug.in_use_days else None
    if not a_day:
        return most
    days = quantity * Fraction(drug.doses_per_unit or 1) / a_day
    return min(days, most) if most else days


def _doses_a_day(each: Prescription) -> Fraction | None:
    """The most that is taken, with what is lost at each use."""
    use = each.said.use
    times = use.times if isinstance(use, DailyUse) else Fraction(1)
    lost = Fraction(each.drug.priming_doses or 0) * times
    if each.units_per_day:
        return Fraction(exact(each.units_per_day)) * Fraction(each.drug.doses_per_unit or 1) + lost
    if each.drug.doses_per_unit and isinstance(use, DailyUse) and use.unit in DOSES:
        most = use.most * Fraction(each.drug.doses_per_unit) if use.unit == "mL" else use.most
        return most + lost
    return None


def is_certain(each: Prescription) -> bool:
    """Is what is used a day beyond doubt? By the drug's facts, or by the directions and the file alike."""
    if each.drug.doses_per_unit or each.drug.in_use_days:
        return True
    use = each.said.use
    stated = isinstance(use, DailyUse) and use.basis is Basis.explicit and use.unit in COUNTED
    return stated and each.units_per_day is not None and agree(use, each.units_per_day)


def is_counted(each: Prescription, rules: Rules) -> bool:
    """Are quantity and daily use counted in the same units? Of an inhaler the one is in packs, the other in puffs."""
    return bool(each.units_per_day) and each.drug.form.casefold() in rules.divisible_forms


def agree(use: DailyUse | Refusal, units_per_day: Decimal) -> bool:
    """Do directions and file say the same, but for rounding?"""
    return isinstance(use, DailyUse) and abs(use.most - Fraction(units_per_day)) <= NEAR * use.most


@lru_cache(maxsize=10_000)
def whole_units(use: DailyUse | Refusal, units_per_day: Decimal | None) -> int:
    """Units of which a short or long fill is a multiple, for no dose is dispensed in part: 6 where 6 tablets are taken
    once a week.

    A dose of what is not taken every day, where directions and file agree; else all of a week, where the file alone
    says that fewer than one a day are taken by the week.
    """
    if units_per_day is None:
        return 1
    if isinstance(use, DailyUse) and agree(use, units_per_day):
        return (use.most / use.times).numerator if use.times < 1 else 1
    a_week = int((units_per_day * 7).to_integral_value())
    by_week = 0 < a_week < 7 and units_a_day(Fraction(a_week, 7)) == exact(units_per_day)
    return a_week if by_week else 1


def discarded_early(quantity: Decimal, each: Prescription) -> bool:
    """Is it the limit after opening that ends it, rather than the use?"""
    kept = replace(each, drug=replace(each.drug, in_use_days=None))
    return each.drug.in_use_days is not None and true_days(quantity, each) != true_days(quantity, kept)


def lasting(fill: Fill, each: Prescription) -> int:
    """The true days of a fill: as it was recorded, or less where the drug is certainly discarded or used up before."""
    days = true_days(fill.quantity, each)
    return fill.days_supply if days is None else min(fill.days_supply, days)


def billed_days(days: int, rule: PayerRule) -> int:
    """What the payer is told of a pack that cannot be split: the most that the plan pays, up to its true days."""
    if not rule.days_supplies or days in rule.days_supplies:
        return days
    return max((each for each in rule.days_supplies if each <= days), default=days)
