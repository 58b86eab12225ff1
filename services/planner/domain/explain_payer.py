"""What the payer has to do with the fills of one drug, as reasons (see `explain`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from services.planner.domain.eligibility import Eligibility
from services.planner.domain.medication import Medication
from services.planner.domain.model import Item, Reason, because
from services.planner.domain.paths import FillPath
from services.planner.domain.payers import CASH
from services.planner.domain.search import Question
from services.planner.domain.stock import payable_from
from services.planner.domain.supplies import by_true_days

Fills = Sequence[tuple[date, Item]]


def explain_payer(part: Eligibility, path: FillPath, fills: Fills, question: Question) -> list[Reason]:
    """What there is to say about its payer: whose word counts, what is paid too soon or in another size, and how it is
    billed."""
    remarks = []
    medication, said = path.medication, part.payer_says
    if medication.payer is CASH:
        return [because("cash_price"), *([medication.whole_because] if medication.whole_because else [])]
    given = (part.prescription.payer or "").strip()
    if not given:
        remarks.append(because("payer_missing"))
    if said and said.next_fill_on:
        remarks.append(because("payer_says", code=said.code, on=said.next_fill_on))
    elif given and medication.payer is question.rules.unknown_payer:
        drug = part.prescription.drug
        refill = medication.payer.refill_for(drug.schedule, drug.form)
        remarks.append(because("payer_rule_assumed", percent=refill.percent))
    remarks.extend(_by_surplus(part, medication, fills))
    remarks.extend(_by_true_days(part, medication))
    if medication.whole_because:
        remarks.append(medication.whole_because)
    early = medication.payment.early or (medication.spent and medication.spent.early)
    if early:
        remarks.append(early.why)
    overridden = medication.payment if path.override else medication.spent
    by_law = overridden is not None and overridden.override is not None and not overridden.staff_settled
    if overridden and overridden.override:
        payable, code = date.fromordinal(overridden.payer), medication.payer.override_code
        remarks.append(
            because("override_by_law", law=medication.granted_by, payable_from=payable, code=code)
            if by_law
            else because("override_by_staff", payable_from=payable, code=code)
        )
    sizes = _sizes(medication, fills, question)
    if medication.consents and (by_law or any(each.code == "short_fill_by_law" for each in sizes)):
        remarks.append(because("override_needs_consent", who=", ".join(medication.consents)))
    remarks.extend(sizes)
    change = medication.payer.therapy_change_code
    if any(change in item.clarification_codes for _, item in fills):
        remarks.append(because("dose_changed", code=change))
    usual, most = part.prescription.usual_days, medication.prescription.usual_days
    if most < usual and medication.packs:
        remarks.append(because("fewer_packs", days=usual, most=most))
    elif most < usual:
        remarks.append(because("days_supply_capped", days=usual, most=most))
    return [*remarks, *_billing(fills)]


def _by_surplus(part: Eligibility, medication: Medication, fills: Fills) -> list[Reason]:
    """Where it is accumulation, not the days of the last fill, that sets the payer's date (R7.4)."""
    rule, payable = medication.payer, fills[0][1].payable_from if fills else None
    if part.payer_says or payable is None or not rule.look_back_days:
        return []
    by_last_fill = payable_from(part.stock.fills, medication.refill, replace(rule, look_back_days=0))
    if payable <= by_last_fill:
        return []
    return [
        because(
            "payable_by_surplus",
            on=by_last_fill,
            look_back=rule.look_back_days,
            most=rule.most_surplus_days,
            payable_from=payable,
        )
    ]


def _by_true_days(part: Eligibility, medication: Medication) -> list[Reason]:
    """The payer would pay sooner, for it was told fewer days."""
    last, on = part.stock.last_fill, by_true_days(part, medication)
    if last is None or on is None or medication.payment.staff_settled:
        return []
    return [because("billed_fewer", billed=last.billed, days=last.days_supply, on=on)]


def _sizes(medication: Medication, fills: Fills, question: Question) -> list[Reason]:
    """What pays for days' supplies that are none of the plan's sizes, and what is only hoped for."""
    rule, usual = medication.payer, medication.prescription.usual_days
    days = [item.days_supply for _, item in fills if item.days_supply_billed is None]
    if rule is question.rules.unknown_payer:
        return [because("short_fill_assumed", days=each) for each in days if each < usual][:1]
    other = [each for each in days if rule.days_supplies and each not in rule.days_supplies]
    if not other:
        return []
    if medication.packs or medication.short_sizes is not None or max(other) >= usual:
        return [because("payer_may_reject", days=other[0])]
    if rule.pays_short_fills:
        return [because("short_fill_by_code", days=other[0], code=rule.short_fill_codes[0])]
    return [because("short_fill_by_law", days=other[0], law=medication.granted_by)]


def _billing(fills: Fills) -> list[Reason]:
    """What the payer is told of a pack that lasts longer than the plan pays."""
    billed_otherwise = [item for _, item in fills if item.days_supply_billed is not None]
    return [
        because(
            "billed_as",
            days=item.days_supply,
            billed=item.days_supply_billed or 0,
            code=item.clarification_codes[0],
        )
        for item in billed_otherwise[:1]
    ]
