"""What the patient was told, and what of it stands (how the events interplay: the plan)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from services.planner.domain.calendar import Calendar
from services.planner.domain.course import Supply
from services.planner.domain.model import FillKind, Prescription, Rules, Told, ToldItem, ToldVisit, VisitKind
from services.planner.domain.payment import Payment


@dataclass(frozen=True, slots=True)
class Standing:
    """A visit that stays on its day: it may lose fills, and gains none."""

    visit: ToldVisit
    items: tuple[ToldItem, ...]  # that may still be filled
    drugs: Mapping[str, str]  # by rx_id: the one that takes part, where a renewal took its place
    payable_from: Mapping[str, date | None]  # by rx_id
    after_short: frozenset[str]  # the rx_ids whose fill follows a short one
    codes: Mapping[str, tuple[str, ...]]  # by rx_id: the opening codes of its fill


def that_stand(told: Told, calendar: Calendar, rules: Rules, today: date) -> list[ToldVisit]:
    """The visits that are confirmed, or so near that nothing else can be arranged, and what comes before a pickup that
    stands, for it carries the drugs to it. None that is past, closed or asked to be moved."""
    possible = [
        visit
        for visit in told.visits
        if visit.on >= today and visit.on != told.instead_of and calendar.is_open(visit.on)
    ]
    workable = today + timedelta(days=rules.lead_days)
    fixed = [visit for visit in possible if visit.confirmed or (told.agreed and visit.on < workable)]
    pickup = max((visit.on for visit in fixed if visit.kind is VisitKind.synchronized), default=date.min)
    return [visit for visit in possible if visit in fixed or (told.agreed and visit.on < pickup)]


def commit(
    supplies: Sequence[Supply],
    visits: Sequence[ToldVisit],
    renewed: Mapping[str, tuple[Prescription, str]],
    today: date,
) -> tuple[list[Supply], list[Standing]]:
    """The supplies as they are once the visits that stand have taken place, and those visits with what they keep.

    `renewed` holds, by rx_id, prescriptions whose place a renewal took, with the renewal's rx_id: what was told of
    them is still filled from them, and counts for the renewal.
    """
    by_rx = {supply.rx_id: supply for supply in supplies}
    standing = []
    for visit in sorted(visits, key=lambda visit: visit.on):
        kept, drugs, payable, after_short, codes = [], {}, {}, set(), {}
        for item in visit.items:
            old, rx_id = renewed.get(item.rx_id, (None, item.rx_id))
            supply = by_rx.get(rx_id)
            if supply and _may_be_filled(item, supply, old, visit):
                kept.append(item)
                drugs[item.rx_id], payable[item.rx_id] = rx_id, supply.payment.payable_from
                codes[item.rx_id] = supply.opening_codes(visit.on.toordinal())
                if supply.after_short:
                    after_short.add(item.rx_id)
                by_rx[rx_id] = _filled(supply, item, visit, today)
        if kept:
            standing.append(Standing(visit, tuple(kept), drugs, payable, frozenset(after_short), codes))
    return [by_rx[supply.rx_id] for supply in supplies], standing


def _may_be_filled(item: ToldItem, supply: Supply, old: Prescription | None, visit: ToldVisit) -> bool:
    """Payable, authorised and valid on that day."""
    day, joining = visit.on.toordinal(), _joins_at(visit, supply)
    left = old.quantity_left if old else supply.quantity_left
    expires = old.expires_on.toordinal() if old else supply.expires
    return supply.payment.allows(day, joining=joining) and day <= expires and item.quantity <= left


def _joins_at(visit: ToldVisit, supply: Supply) -> bool:
    """Is it the synchronized pickup, and the drug one that joins there?"""
    return visit.kind is VisitKind.synchronized and not supply.ride_along


def _filled(supply: Supply, item: ToldItem, visit: ToldVisit, today: date) -> Supply:
    day = visit.on.toordinal()
    payment, joins = supply.payment, _joins_at(visit, supply)
    payer, paid_until = supply.next_paid(day, item.days_supply, supply.paid_until)
    still_settled = payment.override if payment.forced and not joins else None
    return replace(
        supply,
        run_out=max(supply.run_out, day) + item.days_supply,
        payment=Payment(payer, override=still_settled),
        spent=payment.leave_of(day) or supply.spent,
        after_change=False,
        paid_until=paid_until,
        after_short=item.kind is FillKind.bridge,
        quantity_left=supply.quantity_left - (item.quantity if item.rx_id == supply.rx_id else 0),
        unavoidable=supply.unavoidable + max(0, day - max(supply.run_out, today.toordinal())),
        joined_with=max(0, supply.run_out - day) if joins else None,
    )
