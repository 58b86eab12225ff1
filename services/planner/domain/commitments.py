"""What the patient was told, and what of it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from services.planner.domain.calendar import Calendar
from services.planner.domain.medication import Medication
from services.planner.domain.model import (
    Commitments,
    ConditionKind,
    FillKind,
    Prescription,
    PromisedItem,
    PromisedVisit,
    Rules,
    VisitKind,
)
from services.planner.domain.payment import Payment


@dataclass(frozen=True, slots=True)
class FixedVisit:
    """A visit that stays on its day: it may lose fills, and gains only what is asked about at the pickup."""

    visit: PromisedVisit
    items: tuple[PromisedItem, ...]  # that may still be filled
    drugs: Mapping[str, str]  # by rx_id: the one that takes part, where a renewal took its place
    payable_from: Mapping[str, date | None]  # by rx_id
    after_short: frozenset[str]  # the rx_ids whose fill follows a short one
    codes: Mapping[str, tuple[str, ...]]  # by rx_id: the opening codes of its fill
    lacks: Mapping[str, ConditionKind]  # by rx_id: what a conditional fill still waits for
    in_place_of: Mapping[str, str]  # by rx_id of a renewal: the one that was told
    at_counter: frozenset[str] = frozenset()  # the rx_ids that nobody confirmed: asked about at the pickup


def fixed_visits(
    commitments: Commitments, calendar: Calendar, rules: Rules, today: date
) -> list[PromisedVisit]:
    """The visits that are confirmed, or so near that nothing else can be arranged, and what comes before a pickup that
    stands, for it carries the drugs to it. None that is past, closed or asked to be moved."""
    possible = [
        visit
        for visit in commitments.visits
        if visit.on >= today and visit.on != commitments.instead_of and calendar.is_open(visit.on)
    ]
    workable = today + timedelta(days=rules.lead_days)
    fixed = [visit for visit in possible if visit.confirmed or (commitments.agreed and visit.on < workable)]
    pickup = max((visit.on for visit in fixed if visit.kind is VisitKind.synchronized), default=date.min)
    return [visit for visit in possible if visit in fixed or (commitments.agreed and visit.on < pickup)]


def apply_promised_visits(
    medications: Sequence[Medication],
    visits: Sequence[PromisedVisit],
    renewed: Mapping[str, tuple[Prescription, str]],
    joins: Mapping[str, date] | None,
    today: date,
) -> tuple[list[Medication], list[FixedVisit]]:
    """The drugs as they are once the visits that stand have taken place, and those visits with what they keep.

    `joins` holds, by rx_id, from when on drugs keep the rhythm, where that was told. `renewed` holds, by rx_id,
    prescriptions whose place a renewal took, with the renewal's rx_id: what was told of them is still filled from them,
    and counts for the renewal.
    """
    by_rx = {medication.rx_id: medication for medication in medications}
    standing = []
    for visit in sorted(visits, key=lambda visit: visit.on):
        kept, drugs, payable, after_short, codes = [], {}, {}, set(), {}
        lacks: dict[str, ConditionKind] = {}
        in_place_of: dict[str, str] = {}
        for promised in visit.items:
            item, rx_id = _filled_from(promised, renewed, visit)
            medication = by_rx.get(rx_id)
            if medication is None or not medication.payment.allows(
                visit.on.toordinal(), joining=_joins_at(visit, item, medication, joins)
            ):
                continue
            kept.append(item)
            drugs[item.rx_id], payable[item.rx_id] = rx_id, medication.payment.payable_from
            codes[item.rx_id] = medication.opening_codes(visit.on.toordinal())
            if told := promised.in_place_of or (promised.rx_id if item.rx_id != promised.rx_id else None):
                in_place_of[item.rx_id] = told
            waits_for = medication.lacks(visit.on.toordinal(), item.quantity, medication.quantity_left)
            if item.rx_id == rx_id and waits_for:
                lacks[item.rx_id] = waits_for
            if medication.after_short:
                after_short.add(item.rx_id)
            joined = _joins_at(visit, item, medication, joins)
            by_rx[rx_id] = filled_at(visit, item, medication, joined=joined, today=today)
        if kept:
            details = (drugs, payable, frozenset(after_short), codes, lacks, in_place_of)
            standing.append(FixedVisit(visit, tuple(kept), *details))
    return [by_rx[medication.rx_id] for medication in medications], standing


def _filled_from(
    promised: PromisedItem, renewed: Mapping[str, tuple[Prescription, str]], visit: PromisedVisit
) -> tuple[PromisedItem, str]:
    """The item, and the prescription that takes part: what was told of one that a renewal replaces is filled from it
    as long as it can be, then from the renewal."""
    if promised.rx_id not in renewed:
        return promised, promised.rx_id
    old, rx_id = renewed[promised.rx_id]
    can_be = visit.on <= old.expires_on and promised.quantity <= old.quantity_left
    return (promised if can_be else replace(promised, rx_id=rx_id)), rx_id


def _joins_at(
    visit: PromisedVisit, item: PromisedItem, medication: Medication, joins: Mapping[str, date] | None
) -> bool:
    """Is it the synchronized pickup, and the fill one with which the drug keeps the rhythm?"""
    if visit.kind is not VisitKind.synchronized:
        return False
    if joins is not None:
        return joins.get(medication.rx_id, joins.get(item.rx_id, date.max)) <= visit.on
    return item.kind is not FillKind.bridge or medication.fixed_quantity is not None


def filled_at(
    visit: PromisedVisit, item: PromisedItem, medication: Medication, *, joined: bool, today: date
) -> Medication:
    """The drug after that fill of it. `joined`: with it, it keeps the rhythm."""
    day, payment = visit.on.toordinal(), medication.payment
    payer, paid_until = medication.next_paid(day, item.days_supply, medication.paid_until)
    still_settled = payment.override if payment.staff_settled and not joined else None
    return replace(
        medication,
        run_out=max(medication.run_out, day) + item.days_supply,
        payment=Payment(payer, override=still_settled),
        spent=payment.exception_for(day) or medication.spent,
        after_change=False,
        paid_until=paid_until,
        after_short=item.kind is FillKind.bridge,
        quantity_left=max(
            Decimal(0),
            medication.quantity_left - (item.quantity if item.rx_id == medication.rx_id else 0),
        ),
        unavoidable=medication.unavoidable + max(0, day - max(medication.run_out, today.toordinal())),
        days_left_at_fixed_visit=max(0, medication.run_out - day) if joined else None,
    )
