"""A prescription as the rules take it: what its directions, its drug's facts and the law say, beside the feed.

Nothing that was given is overridden by something that was read: where the two contradict each other, the plan says so
and a pharmacist checks. What shortens a supply or a validity is kept to: a pen that is discarded, a law.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from services.planner.domain.days_supply import (
    agree,
    contradict,
    discarded_early,
    is_certain,
    is_counted,
    true_days,
)
from services.planner.domain.evidence import believed_fills, use_by_fills
from services.planner.domain.forms import form_of
from services.planner.domain.limits import last_day, limits_on, quantity_by_law, schedule_in
from services.planner.domain.model import Fill, Prescription, Profile, Reason, Rules, because
from services.planner.domain.payers import is_cash, rule_on
from services.planner.domain.stock import stock_key
from shared.directions import COUNTED, Basis, DailyUse, exact, units_a_day

Said = list[Reason]
Remarks = Mapping[str, tuple[Reason, ...]]
"""What there is to say about each prescription, by rx_id."""


def as_read(profile: Profile, rules: Rules, state: str, today: date) -> tuple[Profile, Remarks]:
    """The profile with its prescriptions as the rules take them, and what there is to say about each active one.

    Of what is taken no more the daily use alone matters: fills of another dose are told apart by it.
    """
    said: dict[str, Said] = {}
    prescriptions = []
    for each in profile.prescriptions:
        remarks: Said = []
        each = _daily_use(_formed(each), profile, rules, remarks)
        if each.status == "active":
            if each.fill_from and each.fill_from > today:
                remarks.append(because("fill_from", on=each.fill_from))
            each = _scheduled(each, rules, state, today, remarks)
            each = _days_supply(each, rules, remarks)
            each = _by_payer(each, rules, today, remarks)
            each = _by_law(each, profile.fills, rules, state, today, remarks)
            said[each.rx_id] = remarks
        prescriptions.append(each)
    fills, asked = believed_fills(profile, prescriptions, rules, today)
    for each in prescriptions:
        if each.rx_id in said and stock_key(each.drug) in asked:
            said[each.rx_id].append(asked[stock_key(each.drug)])
    as_taken = replace(profile, prescriptions=tuple(prescriptions), fills=fills)
    return as_taken, {rx_id: tuple(remarks) for rx_id, remarks in said.items()}


def _formed(each: Prescription) -> Prescription:
    """With the one word for its form."""
    form = form_of(each.drug.form)
    return each if form == each.drug.form else replace(each, drug=replace(each.drug, form=form))


# --- how much a day ---


def _daily_use(each: Prescription, profile: Profile, rules: Rules, remarks: Said) -> Prescription:
    """The daily use as given, else as the directions say, else as three fills do; of what is counted in tablets or
    capsules."""
    use = each.said.use
    if each.drug.form.casefold() not in rules.divisible_forms:
        return each
    counted = use if isinstance(use, DailyUse) and use.unit in COUNTED else None
    if each.units_per_day is None:
        if counted is None or counted.basis is Basis.as_needed:
            return _by_fills(each, use_by_fills(each, profile), remarks)
        units = units_a_day(counted.most)
        remarks.append(_as_stated(units) if counted.basis is Basis.explicit else _as_directed(units))
        return replace(each, units_per_day=units)
    given = exact(each.units_per_day)
    if counted and not agree(counted, given):
        remarks.append(
            because("directions_differ", read=_short(units_a_day(counted.most)), given=_short(given))
        )
    if given == each.units_per_day:
        return each
    if not (counted and agree(counted, given)):
        remarks.append(because("daily_use_rounded", given=_short(each.units_per_day), units=_short(given)))
    return replace(each, units_per_day=given)


def _by_fills(each: Prescription, use: Fraction | None, remarks: Said) -> Prescription:
    if use is None:
        return each
    units, quantity, days = units_a_day(use), each.usual_quantity, each.usual_days
    remarks.append(because("daily_use_by_fills", quantity=quantity, days=days, units=_short(units)))
    return replace(each, units_per_day=units)


def _as_stated(units: Decimal) -> Reason:
    return because("daily_use_read", units=_short(units))


def _as_directed(units: Decimal) -> Reason:
    return because("daily_use_as_directed", units=_short(units))


def _short(units: Decimal) -> Decimal:
    return round(units, 4)


# --- how long it lasts ---


def _days_supply(each: Prescription, rules: Rules, remarks: Said) -> Prescription:
    """The usual days as given, or less where it lasts shorter: certainly (R2.2), or by so much that one of
    the figures is wrong."""
    days, usual = true_days(each.usual_quantity, each), each.usual_days
    if days is None or days == usual:
        return each
    if usual <= 0:
        remarks.append(because("days_supply_counted", days=days))
        return replace(each, usual_days=days)
    if days < usual and is_counted(each, rules) and contradict(usual, days):
        days = max(1, days)
        remarks.append(because("usual_days_differ", quantity=each.usual_quantity, days=days, usual=usual))
        return replace(each, usual_days=days)
    if not is_certain(each) or days > usual:
        remarks.append(because("days_supply_differs", days=days, usual=usual))
        return each
    if discarded_early(each.usual_quantity, each):
        opened = each.drug.in_use_days or 0
        remarks.append(because("days_supply_in_use", days=days, usual=usual, opened=opened))
    else:
        remarks.append(because("days_supply_by_use", days=days, usual=usual))
    return replace(each, usual_days=days)


# --- how long, and how much of it, may be dispensed ---


def _scheduled(each: Prescription, rules: Rules, state: str, today: date, remarks: Said) -> Prescription:
    """States schedule some drugs that federal law does not."""
    drug = each.drug
    schedule = schedule_in(state, drug.ingredient, drug.schedule, today, rules.schedules)
    if schedule == drug.schedule:
        return each
    remarks.append(because("scheduled_by_state", state=state, schedule=schedule))
    return replace(each, drug=replace(drug, schedule=schedule))


def _by_payer(each: Prescription, rules: Rules, today: date, remarks: Said) -> Prescription:
    """Some programs take a prescription for a shorter time than the law; for cash nobody authorizes anything."""
    if each.second_payer:
        remarks.append(because("second_payer", payer=each.second_payer))
    if each.coupon:
        remarks.append(because("coupon"))
    if is_cash(each.payer):
        return replace(each, prior_authorization_until=None) if each.prior_authorization_until else each
    rule, _ = rule_on(each.payer, today, rules.payers, rules.unknown_payer)
    ends = last_day(each.written_on, rule.prescription_months) if rule.prescription_months else date.max
    if ends >= each.expires_on:
        return each
    remarks.append(because("valid_by_payer", months=rule.prescription_months, until=ends))
    return replace(each, expires_on=ends)


def _by_law(
    each: Prescription, fills: Sequence[Fill], rules: Rules, state: str, today: date, remarks: Said
) -> Prescription:
    """A controlled drug for so many refills and months as the strictest law allows, counted by quantity."""
    for limit in limits_on(each.drug.schedule, state, today, rules.limits):
        ends = last_day(each.written_on, limit.months) if limit.months else date.max
        if ends < each.expires_on:
            remarks.append(because("valid_by_law", law=limit.name, months=limit.months or 0, until=ends))
            each = replace(each, expires_on=ends)
        if limit.refills is not None:
            left = quantity_by_law(each.usual_quantity, limit.refills, _dispensed(each, fills))
            if left < each.quantity_left:
                remarks.append(because("refills_by_law", law=limit.name, refills=limit.refills, left=left))
                each = replace(each, quantity_left=left)
    return each


def _dispensed(each: Prescription, fills: Sequence[Fill]) -> Decimal:
    """Units filled from this very prescription; where the quantity is not known, its share by days."""
    return sum(
        (
            fill.quantity or each.usual_quantity * fill.days_supply / max(1, each.usual_days)
            for fill in fills
            if fill.rx_id == each.rx_id
        ),
        Decimal(0),
    )
