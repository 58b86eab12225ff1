"""When a drug can be handed over, beside stock and payer: what takes longer to get, and what is paid although it is too
soon, before a vacation and after a discharge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.course import Early, Supply
from services.planner.domain.model import Profile, Rules, Span, Told, because
from services.planner.domain.participation import Part


def timed(
    supply: Supply, part: Part, profile: Profile, told: Told, rules: Rules, today: date, store_lead: int
) -> Supply:
    """The drug with its own lead time, and payable early where that is granted.

    `store_lead`: days that everything takes longer at this store, which the first workable day holds already: it is
    billed so many days sooner.
    """
    if profile.away or profile.stays:
        supply = paid_early(supply, part, profile, today)
    if store_lead:
        supply = replace(supply, ready=supply.ready + store_lead)
    if not supply.prescription.drug.lead_days:
        return supply
    return _not_before(_first_had(supply, told, rules, today), supply, today)


def _first_had(supply: Supply, told: Told, rules: Rules, today: date) -> int:
    """The first day on which the store can have it; for a visit that the patient was told of it is ordered already."""
    first = today.toordinal() + rules.lead_days + supply.prescription.drug.lead_days
    days = [
        visit.on.toordinal()
        for visit in told.visits
        if told.agreed and visit.on >= today and any(item.rx_id == supply.rx_id for item in visit.items)
    ]
    return min([first, *days])


def _not_before(first: int, supply: Supply, today: date) -> Supply:
    """What passes until the first day on which it can be had is lost, and nobody's fault."""
    return replace(
        supply,
        ready=max(supply.ready, first),
        override_from=max(supply.override_from, first),
        run_out=max(supply.run_out, first),
        unavoidable=supply.unavoidable + max(0, first - max(supply.run_out, today.toordinal())),
    )


def paid_early(supply: Supply, part: Part, profile: Profile, today: date, grace_days: int = 0) -> Supply:
    """Payable although it is too soon, where it would run out before: before a vacation, or after a discharge.

    No controlled drug, none against a date that the payer itself gave, none that is held or declined until a later day,
    and once. `grace_days`: for a fill that was planned so long ago.
    """
    if supply.early:
        without = supply.early.paid_without
        supply = replace(supply, ready=without, payable=without, early=None)
    is_declined = supply.ready > supply.payable
    controlled = part.prescription.drug.schedule != "none"
    if part.payer_says or controlled or is_declined or supply.early_spent:
        return supply
    early = _after_discharge(supply, profile, today - timedelta(days=grace_days)) or _before_vacation(
        supply, profile, today
    )
    return replace(supply, ready=early.begins, payable=early.begins, early=early) if early else supply


def _after_discharge(supply: Supply, profile: Profile, today: date) -> Early | None:
    """From the discharge on, for as long as the payer's dated rule says (domain rules 2.11: code 57)."""
    discharged_on = max((stay.ends_on for stay in profile.stays if stay.ends_on), default=None)
    if discharged_on is None or not supply.payer.discharge_days:
        return None
    begins, until = discharged_on.toordinal(), discharged_on.toordinal() + supply.payer.discharge_days
    if today.toordinal() > until or supply.run_out > until or supply.run_out >= supply.payable:
        return None
    code, paid = supply.payer.discharge_code, supply.payable
    why = because(
        "discharge_fill", discharged_on=discharged_on, payable_from=date.fromordinal(paid), code=code
    )
    return Early(code, begins, paid, why)


def _before_vacation(supply: Supply, profile: Profile, today: date) -> Early | None:
    """From some days before the departure on, where it would run out while the patient is away (domain rules 2.11:
    early fill, code 03; plans pay it once or twice a year)."""
    rule, paid = supply.payer, supply.payable
    for away in allowed(profile.away, rule.vacation_fills_a_year):
        leaves = away.begins_on.toordinal()
        if away.begins_on > today and paid >= leaves and supply.run_out < _back(away):
            why = because(
                "vacation_fill",
                leaves_on=away.begins_on,
                payable_from=date.fromordinal(paid),
                code=rule.vacation_code,
            )
            return Early(rule.vacation_code, leaves - rule.vacation_days, paid, why)
    return None


def _back(away: Span) -> int:
    return (away.ends_on or date.max - timedelta(days=1)).toordinal() + 1


def allowed(spans: Iterable[Span], fills_a_year: int) -> list[Span]:
    """The vacations before which payers pay early: the first ones of each calendar year."""
    taken: dict[int, int] = {}
    found = []
    for span in sorted(spans, key=lambda span: span.begins_on):
        year = span.begins_on.year
        taken[year] = taken.get(year, 0) + 1
        if taken[year] <= fills_a_year:
            found.append(span)
    return found
