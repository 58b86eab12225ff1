"""What a confirmed visit gains: what became fillable after the patient confirmed it, and is due by the pickup after.

Nobody agreed to it, so it is asked about at the counter; but a patient who stands there is not sent home without it.
The plan counts it as filled there, and has no other trip for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from services.planner.domain.commitments import FixedVisit, filled_at
from services.planner.domain.layout import kind_of
from services.planner.domain.medication import Medication
from services.planner.domain.model import Commitments, PromisedItem, PromisedVisit, VisitKind


def ask_at_counter(
    medications: Sequence[Medication],
    standing: Sequence[FixedVisit],
    commitments: Commitments,
    today: date,
) -> tuple[list[Medication], list[FixedVisit]]:
    """The drugs as they are if the patient agrees to all, and the visits that stand with what each confirmed one gains.

    Never what another visit that stands has, nor what was declined or is held until a later day: those are not paid on
    the day. What the prescriber or the payer still has to allow is no question for the patient.
    """
    by_rx = {medication.rx_id: medication for medication in medications}
    planned = {rx_id for each in standing for rx_id in each.drugs.values()}
    visits = []
    for each in standing:
        if each.visit.confirmed:
            until = _pickup_after(each.visit, standing, commitments)
            for medication in [by_rx[rx_id] for rx_id in by_rx if rx_id not in planned]:
                item = _also_due(medication, each.visit, until)
                if item is not None:
                    planned.add(item.rx_id)
                    by_rx[item.rx_id] = _filled(medication, item, each.visit, today)
                    each = _with(each, item, medication)
        visits.append(each)
    return list(by_rx.values()), visits


def _pickup_after(visit: PromisedVisit, standing: Sequence[FixedVisit], commitments: Commitments) -> date:
    """When the patient comes again, as far as they were told; else after a cycle."""
    told = [*(each.visit.on for each in standing), commitments.anchor_on, commitments.next_anchor_on]
    again = min((on for on in told if on and on > visit.on), default=None)
    if again is not None:
        return again
    rhythm = commitments.rhythm
    days = rhythm.cycle_days if rhythm else max(item.days_supply for item in visit.items)
    return visit.on + timedelta(days=days)


def _also_due(medication: Medication, visit: PromisedVisit, until: date) -> PromisedItem | None:
    """The fill to ask about; none where it is not due, not paid, or lacks something.

    None of what takes longer to get either: nothing is ordered before the patient agrees.
    """
    day = visit.on.toordinal()
    is_due = medication.run_out < until.toordinal()
    if (
        not is_due
        or medication.prescription.drug.lead_days
        or not medication.payment.allows(day, joining=False)
    ):
        return None
    quantity, days = _fill(medication, visit, until.toordinal())
    if days <= 0 or medication.lacks(day, quantity, medication.quantity_left):
        return None
    return PromisedItem(medication.rx_id, kind_of(days, medication.usual_days), quantity, days)


def _fill(medication: Medication, visit: PromisedVisit, until: int) -> tuple[Decimal, int]:
    """The usual fill; before the pickup a short one, where the usual one would not be paid again at it."""
    day, left = visit.on.toordinal(), medication.quantity_left
    usual = medication.usual_fill(left)
    if visit.kind is VisitKind.synchronized or medication.packs or day + medication.wait(usual[1]) <= until:
        return usual
    quantity, days, _ = medication.bridge(until - max(medication.run_out, day), left)
    return (quantity, days) if day + medication.wait(days) <= until else usual


def _filled(medication: Medication, item: PromisedItem, visit: PromisedVisit, today: date) -> Medication:
    joined = visit.kind is VisitKind.synchronized and item.days_supply >= medication.usual_days
    return filled_at(visit, item, medication, joined=joined, today=today)


def _with(each: FixedVisit, item: PromisedItem, medication: Medication) -> FixedVisit:
    """The visit with what it gains."""
    rx_id = item.rx_id
    return replace(
        each,
        items=(*each.items, item),
        drugs={**each.drugs, rx_id: rx_id},
        payable_from={**each.payable_from, rx_id: medication.payment.payable_from},
        codes={**each.codes, rx_id: medication.opening_codes(each.visit.on.toordinal())},
        after_short=each.after_short | {rx_id} if medication.after_short else each.after_short,
        at_counter=each.at_counter | {rx_id},
    )
