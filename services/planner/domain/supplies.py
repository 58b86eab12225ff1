"""What the search starts from: each drug's stock, the payer's clock, what is authorized and what a law grants."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from services.planner.domain.calendar import NEVER
from services.planner.domain.days_supply import is_certain, true_days, whole_units
from services.planner.domain.eligibility import Eligibility
from services.planner.domain.grants import Grant
from services.planner.domain.medication import Medication
from services.planner.domain.model import Commitments, Fill, Participation, Prescription, Rules, because
from services.planner.domain.payers import CASH, PayerRule, insulin_copay, rule_on
from services.planner.domain.payment import Override, Payment
from services.planner.domain.stock import paid_until, payable_from, short_fill


def medication_of(
    part: Eligibility,
    rules: Rules,
    commitments: Commitments,
    grant: Grant | None,
    today: date,
    billed_ahead: int = 0,
) -> Medication:
    """A drug's stock, the payer's clock and what is authorized; the payer's own date overrides our rule and any law."""
    each, stock = part.prescription, part.stock
    run_out = stock.run_out_on
    if run_out is None:
        raise ValueError(f"prescription {each.rx_id} was never taken: participation lets none of it pass")
    packs = part.participation is Participation.ride_along
    rule, _ = rule_on(each.payer, today, rules.payers, rules.unknown_payer)
    refill = rule.refill_for(each.drug.schedule, each.drug.form)
    of_dose = _of_dose(part)
    payable = date.min if rule is CASH else payable_from(stock.fills, refill, rule, of_dose)
    override = None
    if part.payer_says and part.payer_says.next_fill_on:
        payable = part.payer_says.next_fill_on
    elif grant and grant.overrides_until(payable):
        override = Override(max(payable_from(stock.fills, 0, rule, of_dose), grant.begins_on).toordinal())
    law = grant.law if grant and grant.begins_on <= today else None
    last = stock.last_fill
    paid = _smallest_pack(each, rule) if packs else _within_plan(each, rule)
    return Medication(
        prescription=paid,
        packs=packs,
        payer=rule,
        refill=refill,
        run_out=run_out.toordinal(),
        payment=Payment(
            payable.toordinal(),
            waits=commitments.declined_until.get(each.rx_id, date.min).toordinal(),
            billed_ahead=billed_ahead,
            override=override,
        ),
        quantity_left=each.quantity_left,
        expires=each.expires_on.toordinal(),
        authorized_until=(each.prior_authorization_until or date.max).toordinal(),
        waits_for=part.waits_for,
        max_on_hand=rule.most_surplus_days if rule.look_back_days else NEVER,
        paid_until=(paid_until(of_dose, rule, payable) or date.min).toordinal(),
        prorated=not packs
        and (
            rule.prorates_fill(each.drug.form, antibiotic=each.drug.antibiotic) or bool(law and law.prorates)
        ),
        monthly_copay=_monthly_copay(each, rule),
        granted_by=grant.law.name if grant else "",
        consents=grant.law.consents if grant else (),
        whole_units=1 if packs else whole_units(each.said.use, each.units_per_day),
        least_bridge=rules.minimum_short_fill_days,
        short_sizes=None if packs else rule.short_sizes(paid.usual_days, law),
        after_change=rule is not CASH
        and (part.in_place_of is not None or (last is not None and last not in of_dose)),
        after_short=rule is not CASH
        and last is not None
        and last.rx_id == each.rx_id
        and last.days_supply < each.usual_days,
    )


def as_high_cost(medication: Medication, rules: Rules, today: date) -> Medication:
    """Never short-filled where a month of it costs so much that the chain wants staff's consent (R4.16)."""
    price = medication.prescription.month_price
    limit = next((each for each in rules.high_cost if each.begins_on <= today <= each.ends_on), None)
    if medication.packs or price is None or limit is None or price < limit.month_price:
        return medication
    why = because("high_cost", limit=limit.month_price)
    return replace(medication, short_sizes=frozenset(), whole_because=why)


def not_before(medication: Medication) -> Medication:
    """No law, no staff and no vacation has it filled before the day that the prescriber wrote (21 CFR 1306.12(b))."""
    from_day = medication.prescription.fill_from
    if from_day is None:
        return medication
    return replace(
        medication, payment=medication.payment.later(from_day.toordinal() + medication.payment.billed_ahead)
    )


def not_by_billed_days(medication: Medication, part: Eligibility) -> Medication:
    """What was billed as fewer days than it lasts brings no fill earlier, by law or otherwise: audits look for that
    (R2.5). Staff may still have it filled."""
    from_day = by_true_days(part, medication)
    if from_day is None or medication.payment.staff_settled:
        return medication
    day = from_day.toordinal()
    return replace(medication, payment=medication.payment.later(day))


def by_true_days(part: Eligibility, medication: Medication) -> date | None:
    """The first day on which the next fill would be paid, had the last been billed as it lasts; none where it was."""
    last = part.stock.last_fill
    if last is None or last.days_supply <= last.billed:
        return None
    by_last_fill = replace(medication.payer, look_back_days=0)
    return payable_from([replace(last, days_supply_billed=None)], medication.refill, by_last_fill)


def _of_dose(part: Eligibility) -> list[Fill]:
    """The fills of the present dose: those of prescriptions with another daily use are left out."""
    other = {rx for rx, per_day in part.stock.doses.items() if per_day != part.prescription.units_per_day}
    return [fill for fill in part.stock.fills if fill.rx_id not in other]


def _within_plan(each: Prescription, rule: PayerRule) -> Prescription:
    """The usual fill as the plan pays it: at most the largest days' supply that it allows (R7.10)."""
    if not rule.days_supplies or each.usual_days in rule.days_supplies or each.units_per_day is None:
        return each
    sizes = [days for days in rule.days_supplies if days <= each.usual_days]
    if not sizes:
        return each
    most, doses = max(sizes), whole_units(each.said.use, each.units_per_day)
    quantity, days = short_fill(most, each.units_per_day, each.usual_quantity, doses)
    if days > most and quantity > doses:  # rounded up
        quantity -= doses
        days = int(quantity // each.units_per_day)
    return replace(each, usual_quantity=quantity, usual_days=days)


def _smallest_pack(each: Prescription, rule: PayerRule) -> Prescription:
    """As many unbroken packs as the plan pays for, and one where that lasts longer than it does (R2.4)."""
    most, pack = max(rule.days_supplies, default=NEVER), each.drug.pack_quantity
    if not pack or each.usual_days <= most:
        return each
    packs = int(each.usual_quantity // pack)
    while packs > 1 and _days_of(packs * pack, each) > most:
        packs -= 1
    if packs < 1 or packs * pack == each.usual_quantity:
        return each
    return replace(each, usual_quantity=packs * pack, usual_days=_days_of(packs * pack, each))


def _days_of(quantity: Decimal, each: Prescription) -> int:
    """By the drug's facts, else its share of the usual days."""
    by_share = int(each.usual_days * quantity // each.usual_quantity)
    return true_days(quantity, each) or by_share if is_certain(each) else by_share


def _monthly_copay(each: Prescription, rule: PayerRule) -> Decimal | None:
    if each.monthly_copay is None or "insulin" not in each.drug.ingredient.casefold():
        return each.monthly_copay
    return insulin_copay(each.monthly_copay, rule, each.fair_price, each.negotiated_price)
