"""What was agreed or confirmed is what is filled, on its day, whoever pays it and by what leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest

from services.planner.domain import progress
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    Commitments,
    FillKind,
    Plan,
    Prescription,
    PromisedItem,
    PromisedVisit,
    StaffDecision,
    StaffDecisionKind,
    VisitKind,
)
from services.planner.domain.plan import plan_cycle
from services.planner.domain.progress import Progress
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, fill, in_days, patient, prescription, taking
from tests.unit.planner.population import POLICY, TODAY, Odd, odd_patient

Fill = tuple[str, Decimal, int, tuple[str, ...], date | None]
Visits = list[tuple[VisitKind, date, list[Fill]]]


def leaves(rng: Random, number: int) -> Odd:
    """A patient with much by whose leave a fill comes too soon or late: laws, staff, the store, special orders."""
    each = odd_patient(rng, number)
    profile = each.profile
    rulings = (
        ruling
        for ruling in profile.rulings
        if ruling.kind in (StaffDecisionKind.fill, StaffDecisionKind.quantity)
    )
    profile = replace(
        profile,
        prescriptions=tuple(_lasting(rng, each) for each in profile.prescriptions),
        fills=tuple(fill for fill in profile.fills if fill.handed_over_on <= TODAY),
        rulings=tuple(rulings),
    )
    calendar = replace(
        each.calendar,
        state=rng.choice(("OK", "NY", "ME", "NM", "CA")),
        lead_days=rng.choice((0, 0, 1)),
        daily_cap=0,
    )
    return replace(each, profile=profile, calendar=calendar)


def _lasting(rng: Random, each: Prescription) -> Prescription:
    """Expiring late; now and then a special order."""
    lead = rng.choice((0, 0, 0, 0, 5, 12))
    return replace(each, drug=replace(each.drug, lead_days=lead), expires_on=TODAY + timedelta(days=200))


def fills(plan: Plan) -> Visits:
    """Every fill up to the synchronized pickup, with its codes and the day from which the payer pays it."""
    return [
        (
            visit.kind,
            visit.on,
            [
                (each.rx_id, each.quantity, each.days_supply, each.clarification_codes, each.payable_from)
                for each in visit.items
            ],
        )
        for visit in plan.visits
        if visit.on <= plan.anchor_on
    ]


def days_to_the_first_visit(plan: Plan) -> Iterator[date]:
    day = TODAY
    while day < plan.visits[0].on:
        yield day
        day += timedelta(days=1)


def agreed(at: Progress, plan: Plan) -> Progress:
    found = progress.alignment_agreed(at, plan.plan_id, plan.anchor_on)
    assert found
    return found


def confirmed(at: Progress, plan: Plan) -> Progress:
    for visit in plan.visits:
        wanted = {each.rx_id: (each.quantity, each.days_supply) for each in visit.items}
        found = progress.pickup_confirmed(at, visit.visit_id, wanted, ())
        assert found
        at = found
    return at


def _is_long_before_the_pickup(plan: Plan) -> bool:
    """A known limit: such a fill is planned only while the bridge in whose place it is, and which may have to come
    sooner, is still possible."""
    before = [visit for visit in plan.visits if visit.on < plan.anchor_on]
    return any(item.kind is FillKind.long for visit in before for item in visit.items)


def _was_cut_off(plan: Plan) -> bool:
    """A known limit, that the plan says: a search that was cut off may find better trips once a visit stands."""
    return any(reason.code == "search_cut_off" for reason in plan.reasons)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_agrees_to_or_confirms_a_proposal_gets_it_though_it_is_planned_anew_every_day() -> None:
    kept = 0
    for number in range(150):
        each = leaves(Random(number), number)
        at, plan = progress.plan_anew(Progress("p"), each.profile, each.calendar, each.rules, TODAY)
        if not isinstance(plan, Plan) or _is_long_before_the_pickup(plan) or _was_cut_off(plan):
            continue
        for now in (agreed(at, plan), confirmed(at, plan)):
            for day in days_to_the_first_visit(plan):
                now, again = progress.plan_anew(now, each.profile, each.calendar, each.rules, day)
                assert isinstance(again, Plan), f"patient {number}, {day}"
                assert fills(again) == fills(plan), f"patient {number}, {day}"
                kept += 1
    assert kept > 1000


def what_is_filled(plan: Plan) -> set[tuple[date, str]]:
    return {(visit.on, item.rx_id) for visit in plan.visits for item in visit.items}


@pytest.mark.slow
@pytest.mark.parametrize(
    "count", [150, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_no_confirmed_visit_is_lost(count: int) -> None:
    """Whatever else may become better: also those after the pickup, and where the first search was cut off."""
    kept = 0
    for number in range(count):
        each = leaves(Random(number), number)
        at, plan = progress.plan_anew(Progress("p"), each.profile, each.calendar, each.rules, TODAY)
        if not isinstance(plan, Plan):
            continue
        now = confirmed(at, plan)
        for day in {*list(days_to_the_first_visit(plan))[:1], *list(days_to_the_first_visit(plan))[-1:]}:
            now, again = progress.plan_anew(now, each.profile, each.calendar, each.rules, day)
            assert isinstance(again, Plan)
            assert what_is_filled(plan) <= what_is_filled(again), f"patient {number}, {day}"
            kept += 1
    assert kept > count


# --- by whose leave ---

FILLED_LATER = taking({"a": 8, "b": 22})  # the payer pays b from day 15 on
PICKUP = in_days(5)


def told_of_both(*, confirmed: bool) -> Commitments:
    items = tuple(PromisedItem(rx_id, FillKind.full, Decimal(30), 30) for rx_id in ("rx-a", "rx-b"))
    visit = PromisedVisit(VisitKind.synchronized, PICKUP, items, confirmed=confirmed)
    return Commitments(agreed=True, anchor_on=PICKUP, visits=(visit,))


def by_staff(kind: StaffDecisionKind, rx_id: str, quantity: Decimal | None = None) -> StaffDecision:
    return StaffDecision(kind, "pharmacist", "settled", TODAY, rx_id=rx_id, quantity=quantity)


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize(
    ("state", "rulings", "kept"),
    [
        ("OK", (), True),
        ("NY", (), False),
        ("CA", (), False),
        ("CA", (by_staff(StaffDecisionKind.fill, "rx-b"),), True),
        ("CA", (by_staff(StaffDecisionKind.fill, "rx-a"),), False),
    ],
    ids=[
        "law of Oklahoma",
        "law of New York, about short fills",
        "no law",
        "staff",
        "staff, about another drug",
    ],
)
def test_a_visit_that_stands_keeps_the_fill_that_is_paid_by_an_override(
    state: str, rulings: tuple[StaffDecision, ...], kept: bool, confirmed: bool
) -> None:
    """By a law (R9.2): 75 % of thirty days have not passed on the day of the pickup."""
    profile = replace(FILLED_LATER, rulings=rulings)
    today = TODAY if confirmed else in_days(2)  # within the lead time it stands unconfirmed
    plan = plan_cycle(profile, Calendar(state=state), POLICY, today, told_of_both(confirmed=confirmed), 1)
    assert isinstance(plan, Plan)
    [first, *later] = plan.visits
    assert first.on == PICKUP
    assert [item.rx_id for item in first.items] == (["rx-a", "rx-b"] if kept else ["rx-a"])
    assert any(item.rx_id == "rx-b" for visit in later for item in visit.items) != kept
    [b] = [each for each in plan.drugs if each.rx_id == "rx-b"]
    assert ("override_by_law" in {reason.code for reason in b.reasons}) == (state == "OK")


def test_an_override_is_for_the_synchronized_pickup_alone() -> None:
    commitments = told_of_both(confirmed=True)
    bridge = replace(
        commitments, visits=(replace(commitments.visits[0], kind=VisitKind.bridge),), anchor_on=in_days(12)
    )
    plan = plan_cycle(FILLED_LATER, Calendar(state="OK"), POLICY, TODAY, bridge, 1)
    assert isinstance(plan, Plan)
    assert [item.rx_id for item in plan.visits[0].items] == ["rx-a"]


@pytest.mark.parametrize(("expires", "renewal_by"), [(200, None), (49, 53)])
def test_what_lasts_from_before_one_pickup_to_before_another_is_filled_between_them(
    expires: int, renewal_by: int | None
) -> None:
    """Policy: 75 % of ninety days pass on day 39, after the pickup of day 35; the stock ends on day 61, before that of
    day 65. One usual fill between the two is lighter than a short one: it joins three cycles later."""
    ninety = prescription("b", usual_days=90, usual_quantity=Decimal(90), expires_on=in_days(expires))
    profile = patient(
        [prescription("a"), ninety],
        [fill("a", in_days(-22)), fill("b", in_days(-29), 90)],
        cycle_policy="rolling_30",
    )
    pinned = Commitments(agreed=True, anchor_on=PICKUP)
    plan = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, pinned, 1)
    assert isinstance(plan, Plan)
    assert plan.next_anchor_on == in_days(35)
    assert plan.drugs[1].joins_on == in_days(125)
    asked = [each.needed_by for each in plan.renewals if each.rx_id == "rx-b"]
    assert asked == ([in_days(renewal_by)] if renewal_by else [])


@pytest.mark.parametrize(("quantity", "said"), [(30, "staff_quantity"), (15, "staff_idle")])
def test_a_quantity_that_staff_set_after_the_confirmation_is_said_to_be_without_effect(
    quantity: int, said: str
) -> None:
    ruling = by_staff(StaffDecisionKind.quantity, "rx-a", Decimal(quantity))
    profile = replace(FILLED_LATER, rulings=(ruling,))
    plan = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, told_of_both(confirmed=True), 1)
    assert isinstance(plan, Plan)
    assert plan.visits[0].items[0].quantity == 30
    codes = {reason.code for reason in plan.drugs[0].reasons}
    assert codes & {"staff_quantity", "staff_idle"} == {said}
