"""When a drug can be handed over, beside stock and payer: what takes longer to get, and what is filled before a
vacation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.course import Supply
from services.planner.domain.model import Profile, Rules, Span, Told
from services.planner.domain.participation import Part


def timed(
    supply: Supply, part: Part, profile: Profile, told: Told, rules: Rules, today: date, store_lead: int
) -> Supply:
    """The drug with its own lead time, and payable before a vacation: no controlled one, and none against a date that
    the payer itself gave.

    `store_lead`: days that everything takes longer at this store, which the first workable day holds already: it is
    billed so many days sooner.
    """
    if profile.away and part.payer_says is None and part.prescription.drug.schedule == "none":
        supply = _before_vacation(supply, profile, rules, today)
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


def _before_vacation(supply: Supply, profile: Profile, rules: Rules, today: date) -> Supply:
    """Payable from some days before the departure where it would run out while the patient is away (domain rules 2.11:
    early fill, code 03; plans pay it once or twice a year)."""
    is_declined = supply.ready > supply.payable
    for away in allowed(profile.away, rules):
        leaves = away.begins_on.toordinal()
        too_soon = supply.payable >= leaves and supply.run_out < _back(away)
        if away.begins_on > today and too_soon and not is_declined:
            early = leaves - rules.vacation_window_days
            return replace(
                supply, ready=early, payable=early, vacation_from=leaves, paid_without=supply.payable
            )
    return supply


def _back(away: Span) -> int:
    return (away.ends_on or date.max - timedelta(days=1)).toordinal() + 1


def allowed(spans: Iterable[Span], rules: Rules) -> list[Span]:
    """The vacations before which payers pay early: the first ones of each calendar year."""
    taken: dict[int, int] = {}
    found = []
    for span in sorted(spans, key=lambda span: span.begins_on):
        year = span.begins_on.year
        taken[year] = taken.get(year, 0) + 1
        if taken[year] <= rules.vacation_fills_a_year:
            found.append(span)
    return found
