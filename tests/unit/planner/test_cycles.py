"""From pickup to pickup: rolling cycles, the day of the month, thirty and ninety days together, a whole year."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar, PickupDays
from services.planner.domain.model import Action, Commitments, Fill, Plan, Profile, PromisedRhythm, Rules
from services.planner.domain.payers import PayerRule
from services.planner.domain.rhythm import Rhythm, month_days, slot_days
from services.planner.domain.stock import days_on_hand, run_out_day
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import codes, of, pinned, planned, trips

FIRST = date(2026, 1, 15)
ANY_DAY = PickupDays(Calendar(), 0, 0, date(2031, 1, 1).toordinal())


# --- drift (TV16) ---


def test_a_pickup_on_every_15th_with_thirty_days_leaves_five_days_uncovered_a_year() -> None:
    """The pickups follow the calendar alone, as no plan of ours would have it."""
    days = [date(2026 + (month > 11), month % 12 + 1, 15) for month in range(13)]
    assert [(later - day).days for day, later in pairwise(days)] == [
        *(31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    ]
    fills, balances, uncovered = [fill("a", days[0])], [], []
    for day in days[1:]:
        run_out = run_out_day(fills)
        assert run_out
        balances.append(days_on_hand(run_out, day))
        uncovered += [run_out + timedelta(days=n) for n in range((day - run_out).days)]
        fills.append(fill("a", day))
    assert balances == [0, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert uncovered == [
        date(2026, 2, 14),
        date(2026, 8, 14),
        date(2026, 9, 14),
        date(2026, 11, 14),
        date(2027, 1, 14),
    ]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (30, {1: date(2026, 2, 14), 2: date(2026, 3, 16), 3: date(2026, 4, 15), 12: date(2027, 1, 10)}),
        (28, {1: date(2026, 2, 12), 13: date(2027, 1, 14)}),
        (84, {1: date(2026, 4, 9), 2: date(2026, 7, 2), 3: date(2026, 9, 24), 4: date(2026, 12, 17)}),
        (90, {1: date(2026, 4, 15), 4: date(2027, 1, 10)}),
    ],
)
def test_rolling_cycles(days: int, expected: dict[int, date]) -> None:
    slots = slot_days(Rhythm(days), FIRST.toordinal(), 14, ANY_DAY, 1, None)
    for number, day in enumerate(slots):
        on = date.fromordinal(day)
        assert expected.get(number, on) == on
        assert days % 7 or on.weekday() == FIRST.weekday()


def test_the_last_days_of_a_month_would_have_to_move() -> None:
    """Why they are refused: the 31st would be the 28th, the 31st, the 30th."""
    days = month_days(31, date(2026, 2, 1).toordinal(), date(2026, 4, 30).toordinal())
    assert [date.fromordinal(day) for day in days] == [
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
    ]


def a_year_of(profile: Profile, rules: Rules) -> tuple[list[Plan], Profile]:
    """Twelve synchronized pickups, each planned a week ahead and every visit kept; and the profile after them."""
    plans: list[Plan] = []
    today = profile.fills[-1].handed_over_on
    for cycle in range(12):
        plan = planned(profile, today=today, rules=rules, cycle=cycle + 1)
        fills = [
            Fill(item.rx_id, visit.on, visit.on, item.days_supply)
            for visit in plan.visits
            if visit.on <= plan.anchor_on
            for item in visit.items
        ]
        profile = replace(profile, fills=(*profile.fills, *fills))
        plans.append(plan)
        today = plan.anchor_on
    return plans, profile


def since(first: date, **wishes: Any) -> Profile:
    """Two drugs, filled on that day."""
    usual = {"written_on": first, "expires_on": first + timedelta(days=800), "quantity_left": Decimal(900)}
    return patient(
        [prescription("a", **usual), prescription("b", **usual)],
        [fill("a", first), fill("b", first)],
        **wishes,
    )


def uncovered(profile: Profile, until: date) -> int:
    """Days without a drug from the first fill to a day, by the fills alone."""
    days = 0
    for rx_id in {each.rx_id for each in profile.fills}:
        covered: set[date] = set()
        fills = [each for each in profile.fills if each.rx_id == rx_id]
        start = fills[0].handed_over_on
        for each in fills:
            start = max(start, each.handed_over_on)
            covered |= {start + timedelta(days=n) for n in range(each.days_supply)}
            start += timedelta(days=each.days_supply)
        days += sum(
            fills[0].handed_over_on + timedelta(days=n) not in covered
            for n in range((until - fills[0].handed_over_on).days)
        )
    return days


def monthly(sizes: range | None = None) -> Rules:
    allowed = frozenset(sizes or ())
    return replace(COMMERCIAL, payers=(PayerRule("commercial", refill_percent=75, days_supplies=allowed),))


def test_a_year_on_the_15th_without_an_uncovered_day_takes_one_bridge() -> None:
    """Policy: 75 %, 30 days at most, a bridge lasts 5 days past the pickup: what a year of thirty days is short of."""
    plans, profile = a_year_of(since(FIRST, cycle_policy="day_of_month", day_of_month=15), monthly())
    assert {plan.anchor_on.day for plan in plans} == {15}
    assert {(later.anchor_on - plan.anchor_on).days for plan, later in pairwise(plans)} == {28, 30, 31}
    assert uncovered(profile, plans[-1].anchor_on) == 0
    assert [plan.uncovered_days for plan in plans] == [0] * 12
    assert sum(plan.short_fills for plan in plans) == 2  # one of each drug
    assert [item.days_supply for item in plans[0].visits[0].items] == [6, 30]
    assert "bridge_cushion" in codes(of(plans[0], "a").reasons)


def test_a_year_on_the_15th_takes_no_bridge_where_the_plan_pays_31_days() -> None:
    """Policy: 75 %, 1 to 34 days. A month of 31 days gets a fill of as many, where none are left over."""
    profile = since(FIRST, cycle_policy="day_of_month", day_of_month=15)
    plans, profile = a_year_of(profile, monthly(range(1, 35)))
    assert {plan.anchor_on.day for plan in plans} == {15}
    assert sum(plan.short_fills for plan in plans[1:]) == 0
    assert uncovered(profile, plans[-1].anchor_on) == 0


@pytest.mark.parametrize("days", [28, 30])
def test_a_year_of_rolling_cycles_takes_no_bridge_and_leaves_no_day_uncovered(days: int) -> None:
    plans, profile = a_year_of(since(FIRST, cycle_policy=f"rolling_{days}"), monthly())
    assert sum(plan.short_fills for plan in plans) == 0
    assert uncovered(profile, plans[-1].anchor_on) == 0


# --- the day of the month ---


def test_the_day_of_the_month_is_kept_and_a_closed_one_moves_earlier() -> None:
    profile = taking({"a": 12, "b": 15}, cycle_policy="day_of_month", day_of_month=14)
    plan = planned(profile)
    assert (plan.anchor_on, plan.next_anchor_on) == (date(2026, 3, 14), date(2026, 4, 14))
    assert {offer.on.day for offer in plan.offered} == {14}
    closed = Calendar(closed_on=frozenset({date(2026, 3, 14), date(2026, 4, 14), date(2026, 4, 13)}))
    plan = planned(profile, calendar=closed)
    assert (plan.anchor_on, plan.next_anchor_on) == (date(2026, 3, 13), date(2026, 4, 12))


def test_the_first_of_the_month_moved_into_the_month_before_has_its_next_a_month_later() -> None:
    first = date(2026, 2, 27).toordinal()
    slots = slot_days(Rhythm(31, day_of_month=1), first, 3, ANY_DAY, 1, None)
    assert [date.fromordinal(day) for day in slots[1:]] == [date(2026, 4, 1), date(2026, 5, 1)]


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"cycle_policy": "day_of_month", "day_of_month": 29}, "day_of_month_too_late"),
        ({"cycle_policy": "day_of_month", "day_of_month": 0}, "day_of_month_too_late"),
        ({"cycle_policy": "day_of_month"}, "day_of_month_unknown"),
        ({"cycle_policy": "when the moon is full"}, "cycle_policy_unknown"),
    ],
)
def test_where_a_cycle_cannot_be_the_best_is_taken_and_said(wishes: dict[str, Any], code: str) -> None:
    plan = planned(taking({"a": 12, "b": 15}, **wishes))
    assert plan.rhythm
    assert plan.rhythm.cycle_days == 30
    assert code in codes(plan.reasons)


# --- thirty and ninety days ---


def ninety(name: str, ago: int) -> tuple[Any, Fill]:
    return prescription(name, usual_days=90, usual_quantity=Decimal(90)), fill(name, in_days(-ago), 90)


def test_ninety_day_drugs_roll_by_84_or_90_days() -> None:
    a, fill_of_a = ninety("a", 80)
    b, fill_of_b = ninety("b", 75)
    for policy, days in (("rolling_84", 84), ("rolling_90", 90)):
        plan = planned(patient([a, b], [fill_of_a, fill_of_b], cycle_policy=policy))
        assert plan.next_anchor_on == plan.anchor_on + timedelta(days=days)
        assert plan.short_fills == 0


def test_where_thirty_and_ninety_days_are_mixed_the_long_supply_is_due_at_every_third_pickup() -> None:
    """Policy: the planner chooses. b was filled ten days ago, for ninety days."""
    b, fill_of_b = ninety("b", 10)
    plan = planned(patient([prescription("a"), b], [fill("a", in_days(-20)), fill_of_b]))
    assert plan.rhythm
    assert plan.rhythm.cycle_days == 30
    assert of(plan, "b").action is Action.not_due
    assert [names for _, _, names in trips(plan)] == [["a"]]
    assert plan.uncovered_days == 0


def test_a_stated_cycle_stands_and_what_fits_no_slot_of_it_comes_by_itself() -> None:
    """Policy: rolling 90, with a drug of thirty days; thirty would be seven trips a year fewer."""
    b, fill_of_b = ninety("b", 80)
    profile = patient([prescription("a"), b], [fill("a", in_days(-20)), fill_of_b], cycle_policy="rolling_90")
    plan = planned(profile)
    assert plan.rhythm
    assert plan.rhythm.cycle_days == 90
    assert "never_joins" in codes(of(plan, "a").reasons)
    assert of(plan, "a").joins_on is None
    [proposed] = [reason for reason in plan.reasons if reason.code == "rhythm_proposed"]
    assert (proposed.params["days"], proposed.params["here"], proposed.params["trips"]) == (30, 16, 12)


def test_a_rhythm_once_agreed_is_kept_and_a_better_one_is_proposed() -> None:
    """Two drugs in step every thirty days, and a new pack of 28 days that fits no slot of it."""
    pack = prescription("p", drug=drug("p", unbreakable=True), usual_days=28, usual_quantity=Decimal(28))
    profile = patient(
        [prescription("a"), prescription("b"), pack],
        [fill("a", in_days(-16)), fill("b", in_days(-16)), fill("p", in_days(-3), 28)],
    )
    commitments = Commitments(agreed=True, anchor_on=in_days(12), rhythm=PromisedRhythm(30))
    plan = planned(profile, commitments)
    assert plan.rhythm
    assert (plan.anchor_on, plan.rhythm.cycle_days) == (in_days(12), 30)
    assert "never_joins" in codes(of(plan, "p").reasons)
    [proposed] = [reason for reason in plan.reasons if reason.code == "rhythm_proposed"]
    assert (proposed.params["days"], proposed.params["here"], proposed.params["trips"]) == (28, 25, 13)


def test_the_next_pickup_comes_a_day_sooner_where_nothing_would_be_left_on_its_morning() -> None:
    """Two drugs with nothing left at the pickup: one day is lacking to one."""
    plan = planned(taking({"a": 12, "b": 12}, cycle_policy="rolling_30"), pinned(12))
    assert (plan.next_anchor_on - plan.anchor_on).days == 29


def test_a_cycle_that_no_drug_lasts_is_not_the_one_that_is_planned_and_that_is_said() -> None:
    plan = planned(taking({"a": 12, "b": 15}, cycle_policy="rolling_90"))
    assert plan.rhythm and plan.rhythm.cycle_days == 30
    assert "cycle_fits_no_drug" in codes(plan.reasons)


def test_who_takes_nothing_that_lasts_a_cycle_is_planned_by_what_lasts_longest() -> None:
    short = prescription("a", usual_days=14, usual_quantity=Decimal(14))
    plan = planned(patient([short], [fill("a", in_days(-5), 14)]))
    assert plan.rhythm and plan.rhythm.cycle_days == 14
    assert of(plan, "a").joins_on == plan.anchor_on


@pytest.mark.parametrize(("cushion", "days"), [(0, 8), (1, 9), (2, 10)])
def test_a_bridge_may_last_a_few_days_past_the_pickup(cushion: int, days: int) -> None:
    """Policy: one day, unless the chain says otherwise."""
    rules = replace(COMMERCIAL, bridge_cushion_days=cushion)
    assert Rules().bridge_cushion_days == 1
    plan = planned(taking({"a": 12, "b": 20}), pinned(20), rules=rules)
    assert [item.days_supply for item in plan.visits[0].items] == [days]
    assert of(plan, "a").days_left_at_anchor == cushion
    assert (plan.anchor_on - TODAY).days == 20
