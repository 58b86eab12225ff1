"""When a drug can be handed over, beside stock and payer: what takes longer to get, and what is paid although it is too
soon, before a vacation and after a discharge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.course import Supply
from services.planner.domain.model import Profile, Rules, Span, Told, because
from services.planner.domain.participation import Part
from services.planner.domain.payment import Early


def timed(supply: Supply, part: Part, profile: Profile, told: Told, rules: Rules, today: date) -> Supply:
    """The drug with its own lead time, and payable early where that is granted."""
    if profile.away or profile.stays:
        supply = paid_early(supply, part, profile, today)
    if not supply.prescription.drug.lead_days:
        return supply
    first = _first_had(supply, told, rules, today)
    return replace(supply, had_from=first, payment=supply.payment.later(first))


def _first_had(supply: Supply, told: Told, rules: Rules, today: date) -> int:
    """The first day on which the store can have it; for a visit that the patient was told of it is ordered already."""
    first = today.toordinal() + rules.lead_days + supply.prescription.drug.lead_days
    days = [
        visit.on.toordinal()
        for visit in told.visits
        if told.agreed and visit.on >= today and any(item.rx_id == supply.rx_id for item in visit.items)
    ]
    return min([first, *days])


def paid_early(supply: Supply, part: Part, profile: Profile, today: date, grace_days: int = 0) -> Supply:
    """Payable although it is too soon, where it would run out before: before a vacation, or after a discharge.

    No controlled drug, none against a date that the payer itself gave, none that is held or declined until a later day,
    and once. `grace_days`: for a fill that was planned so long ago.
    """
    payment = supply.payment
    is_spent = supply.spent is not None and supply.spent.early is not None
    is_declined = payment.waits > payment.payer
    controlled = part.prescription.drug.schedule != "none"
    early = None
    if not (part.payer_says or controlled or is_declined or is_spent):
        discharged_since = today - timedelta(days=grace_days)
        early = _after_discharge(supply, profile, discharged_since) or _before_vacation(
            supply, profile, today
        )
    return supply if early == payment.early else replace(supply, payment=replace(payment, early=early))


def _after_discharge(supply: Supply, profile: Profile, today: date) -> Early | None:
    """From the discharge on, for as long as the payer's dated rule says (R11.6: code 57)."""
    discharged_on = max((stay.ends_on for stay in profile.stays if stay.ends_on), default=None)
    if discharged_on is None or not supply.payer.discharge_days:
        return None
    begins, until = discharged_on.toordinal(), discharged_on.toordinal() + supply.payer.discharge_days
    if today.toordinal() > until or supply.run_out > until or supply.run_out >= supply.payment.payer:
        return None
    code, paid_on = supply.payer.discharge_code, date.fromordinal(supply.payment.payer)
    why = because("discharge_fill", discharged_on=discharged_on, payable_from=paid_on, code=code)
    return Early(code, begins, why)


def _before_vacation(supply: Supply, profile: Profile, today: date) -> Early | None:
    """From some days before the departure on, where it would run out while the patient is away (R11.7: early
    fill, code 03; plans pay it once or twice a year)."""
    rule, paid = supply.payer, supply.payment.payer
    for away in allowed(profile.away, rule.vacation_fills_a_year):
        leaves = away.begins_on.toordinal()
        if away.begins_on > today and paid >= leaves and supply.run_out < _back(away):
            why = because(
                "vacation_fill",
                leaves_on=away.begins_on,
                payable_from=date.fromordinal(paid),
                code=rule.vacation_code,
            )
            return Early(rule.vacation_code, leaves - rule.vacation_days, why)
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
