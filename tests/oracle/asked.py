"""The judge's question in the planner's own values, put to its search: the second module that asks the planner."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from services.planner.domain.calendar import Calendar, PickupDays
from services.planner.domain.medication import Medication as Drug
from services.planner.domain.model import Drug as Facts
from services.planner.domain.model import Prescription, Rules
from services.planner.domain.payers import PayerRule, RefillRule
from services.planner.domain.payment import Payment
from services.planner.domain.rhythm import Rhythm
from services.planner.domain.search import Question as Asked
from services.planner.domain.search import Verdict, choose
from services.planner.domain.urgent import urgent_days, with_urgency
from tests.oracle.question import Medication, Question

TODAY = date(2026, 6, 10).toordinal()
AMPLE = Decimal(99999)
HORIZON = 700


def verdict_of(question: Question) -> Verdict | None:
    """What the planner's search says."""
    rules = replace(
        Rules(),
        blemishes_a_trip=int(1 / question.v) if question.v else 0,
        minimum_short_fill_days=1,
        lead_days=question.lead,
    )
    cushion = int(question.v > 0)
    closed = frozenset(date.fromordinal(TODAY + day) for day in question.closed)
    calendar, lead = Calendar(closed_on=closed), TODAY + question.lead
    drugs = [_drug(each, cushion) for each in question.medications]
    pickup = PickupDays(calendar, TODAY, lead, TODAY + HORIZON)
    workable = pickup.on_or_after(lead)
    soon = {day for day in range(TODAY, lead) if day - TODAY not in question.closed}
    drugs = with_urgency(drugs, pickup, workable, soon, rules, TODAY) if soon else drugs
    if urgent := urgent_days(drugs, soon):
        pickup = PickupDays(calendar, TODAY, lead, TODAY + HORIZON, extra=urgent)
    rhythms = tuple(Rhythm(days, bridge_cushion=cushion) for days in question.cycles)
    return choose(
        Asked(tuple(drugs), pickup, TODAY, workable, rhythms, rules, urgent_days=urgent), pickup.days
    )


def _drug(each: Medication, cushion: int) -> Drug:
    prescription = Prescription(
        each.rx_id,
        Facts(each.rx_id, each.rx_id, critical=each.critical),
        usual_quantity=Decimal(each.usual),
        usual_days=each.usual,
        quantity_left=AMPLE,
        written_on=date(2026, 1, 1),
        expires_on=date(2030, 1, 1),
        units_per_day=Decimal(1),
    )
    rule = PayerRule("p", refill_percent=each.percent, days_supplies=each.sizes or frozenset())
    short = frozenset(each.shorter) if each.whole or each.sizes is not None else None
    return Drug(
        prescription,
        packs=each.whole,
        payer=rule,
        refill=RefillRule(each.percent),
        run_out=TODAY + each.run_out,
        payment=Payment(TODAY + each.payable),
        quantity_left=AMPLE,
        expires=prescription.expires_on.toordinal(),
        short_sizes=short,
        bridge_cushion=cushion,
    )
