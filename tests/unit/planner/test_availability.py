"""On which days a patient can be served: weekdays, payday, a ride, delivery, household, absence; what it costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest

from services.planner.domain.availability import can_come_on, is_limited, without_limits
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import NO_COMMITMENTS, Blocked, Plan, Profile, Rejection, Span, VisitKind
from services.planner.domain.payers import PayerRule
from services.planner.domain.plan import plan_cycle
from tests.unit.planner.cases import (
    COMMERCIAL,
    EVERY_DAY,
    TODAY,
    drug,
    fill,
    in_days,
    patient,
    prescription,
    random_patient,
    taking,
)
from tests.unit.planner.test_plan import codes, of, pinned, planned, told_visit, trips

MONDAYS, WEDNESDAYS = frozenset({0}), frozenset({2})


def span(first: int, last: int | None = None) -> Span:
    return Span(in_days(first), None if last is None else in_days(last))


# --- which days suit ---


@pytest.mark.parametrize(
    ("wishes", "suiting", "not_suiting"),
    [
        ({"payday": 10}, [date(2026, 3, 10), date(2026, 3, 31)], [date(2026, 3, 9), date(2026, 4, 1)]),
        ({"payday": 31}, [date(2026, 2, 28), date(2026, 4, 30)], [date(2026, 4, 29)]),
        (
            {"paydays": (date(2026, 3, 5), date(2026, 3, 19))},
            [date(2026, 3, 5), date(2026, 3, 18), date(2026, 4, 1)],  # nothing is known of April
            [date(2026, 3, 4)],
        ),
        (
            {"rides": (date(2026, 3, 5), date(2026, 3, 19))},
            [date(2026, 3, 5), date(2026, 3, 19), date(2026, 3, 20)],  # nothing is known after the last
            [date(2026, 3, 4), date(2026, 3, 18)],
        ),
        (
            {"rides": (date(2026, 3, 5),), "ride_weekdays": MONDAYS},
            [date(2026, 3, 5), date(2026, 3, 9)],
            [date(2026, 3, 6), date(2026, 3, 10)],
        ),
        ({"must_weekdays": WEDNESDAYS, "payday": 10}, [date(2026, 3, 11)], [date(2026, 3, 4)]),
        ({}, [date(2026, 3, 4)], []),
    ],
    ids=lambda given: ", ".join(given) if isinstance(given, dict) else "",
)
def test_which_days_suit(wishes: dict[str, Any], suiting: list[date], not_suiting: list[date]) -> None:
    profile = taking({"a": 12}, **wishes)
    assert all(can_come_on(day, profile) for day in suiting)
    assert not any(can_come_on(day, profile) for day in not_suiting)


def random_musts(rng: Random) -> dict[str, Any]:
    return {
        "must_weekdays": rng.choice([frozenset(), frozenset(rng.sample(range(7), 4))]),
        "payday": rng.choice([None, 3, 15]),
        "ride_weekdays": rng.choice([frozenset(), frozenset(rng.sample(range(7), 3))]),
        "rides": rng.choice([(), tuple(in_days(rng.randint(4, 40)) for _ in range(4))]),
        "away": rng.choice([(), (span(first := rng.randint(3, 20), first + rng.randint(0, 9)),)]),
        "delivered": rng.random() < 0.3,
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(80))
def test_no_visit_is_on_a_day_that_does_not_suit(seed: int) -> None:
    rng = Random(seed)
    profile = replace(random_patient(rng), **random_musts(rng))
    calendar = Calendar(weekdays=frozenset(range(6)), delivery_weekdays=frozenset({1, 3, 4}))
    plan = plan_cycle(profile, calendar, COMMERCIAL, TODAY, NO_COMMITMENTS, 1)
    days = [visit.on for visit in plan.visits] if isinstance(plan, Plan) else []
    for day in days:
        assert calendar.is_open(day)
        assert can_come_on(day, profile)
        assert not any(each.holds(day) for each in profile.away)
        assert not profile.delivered or day.weekday() in calendar.delivery_weekdays


def test_each_limit_is_said() -> None:
    profile = taking(
        {"a": 12, "b": 15},
        must_weekdays=frozenset(range(6)),
        payday=1,
        ride_weekdays=frozenset(range(5)),
        rides=(in_days(9),),
        delivered=True,
        packaged=True,
        away=(span(20, 22),),
    )
    assert codes(planned(profile, calendar=Calendar(delivery_weekdays=frozenset({1}))).reasons)[-5:] == [
        "must_weekdays",
        "must_payday",
        "must_ride_also",
        "must_delivery",
        "away",
    ]


def test_who_is_paid_late_in_the_month_comes_once_a_month() -> None:
    """The last suiting day before a cycle has passed would be the 31st, six days after the 25th."""
    plan = planned(taking({"a": 25, "b": 26}, payday=25))
    assert (plan.anchor_on, plan.next_anchor_on) == (date(2026, 3, 25), date(2026, 4, 25))


def test_after_a_long_absence_the_next_pickup_is_the_first_day_back() -> None:
    plan = planned(taking({"a": 9, "b": 10}, away=(span(11, 45),)))
    assert plan.anchor_on < in_days(11)
    assert plan.next_anchor_on == in_days(46)


@pytest.mark.parametrize("seed", range(30))
def test_who_is_limited_is_who_would_be_another_patient_without_limits(seed: int) -> None:
    rng = Random(seed)
    given = random_musts(rng) | {"household_must": rng.random() < 0.1}
    name = rng.choice(list(given))
    profile = taking({"a": 12}, **rng.choice([given, {}, {name: given[name]}]))
    assert is_limited(profile) == (without_limits(profile) != profile)


# --- what cannot be met is said, with the nearest way out ---


def test_a_must_that_leaves_a_drug_uncovered_says_how_long_and_which_day_would_do() -> None:
    """Everything runs out by the 12th; the patient is paid on the 20th."""
    plan = planned(taking({"a": 8, "b": 10}, payday=20))
    assert all(visit.on.day >= 20 for visit in plan.visits)
    limits_cost = next(each for each in plan.reasons if each.code == "limits_cost")
    unavailable_days = next(each for each in plan.reasons if each.code == "barred_payday")
    assert limits_cost.params == {"days": plan.uncovered_days, "fewer": 0}
    freed = planned(taking({"a": 8, "b": 10}))
    assert unavailable_days.params == {"on": freed.visits[0].on.isoformat()}


def test_a_must_that_costs_nothing_says_nothing_of_it() -> None:
    plan = planned(taking({"a": 12, "b": 15}, must_weekdays=frozenset({0, 2, 4})))
    assert not {"limits_cost", "barred_weekday"} & set(codes(plan.reasons))


def test_days_without_a_drug_that_no_other_day_spares_are_not_laid_to_the_patients_days() -> None:
    """A drug of which one day will be lacking waits for the first workable day, a Friday; the patient can come on
    Fridays."""
    profile = taking({"a": 3, "b": 12}, must_weekdays=frozenset({4}))
    plan, free = planned(profile), planned(replace(profile, must_weekdays=frozenset()))
    assert plan.uncovered_days == free.uncovered_days == 1
    assert any(visit.on.weekday() != 4 for visit in free.visits)
    assert "limits_cost" not in codes(plan.reasons)


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"must_weekdays": frozenset({6})}, "barred_weekday"),
        ({"ride_weekdays": frozenset({6})}, "barred_ride"),
        ({"away": (span(0, 70),)}, "barred_away"),
        ({"rides": (in_days(-1), in_days(70))}, "barred_ride"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_where_no_day_suits_there_is_no_plan_but_a_way_out(wishes: dict[str, Any], code: str) -> None:
    weekdays_only = Calendar(weekdays=frozenset(range(5)))
    blocked = plan_cycle(
        taking({"a": 12, "b": 15}, **wishes), weekdays_only, COMMERCIAL, TODAY, NO_COMMITMENTS, 1
    )
    assert isinstance(blocked, Blocked)
    assert codes(blocked.reasons) == ["no_pickup_day", code]


# --- what the patient was told ---


@pytest.mark.parametrize(
    "wishes",
    [{"must_weekdays": MONDAYS}, {"payday": 25}, {"ride_weekdays": MONDAYS}, {"rides": (in_days(14),)}],
)
def test_a_day_that_was_agreed_stands_above_the_patients_musts(wishes: dict[str, Any]) -> None:
    plan = planned(taking({"a": 12, "b": 15}, **wishes), pinned(11))  # a Friday
    assert plan.anchor_on == in_days(11)


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"away": (span(10, 13),)}, "anchor_moved_away"),
        ({"stays": (span(10, 13),)}, "anchor_moved_stay"),
        ({"delivered": True}, "anchor_moved_delivery"),
    ],
)
def test_a_day_on_which_nobody_can_serve_them_moves_and_says_why(wishes: dict[str, Any], code: str) -> None:
    calendar = Calendar(delivery_weekdays=frozenset({0, 1, 2}))  # the pinned day is a Friday
    plan = planned(taking({"a": 12, "b": 15}, **wishes), pinned(11), calendar=calendar)
    assert plan.anchor_on != in_days(11)
    assert codes(plan.reasons)[0] == code
    assert plan.reasons[0].params == {"told": in_days(11).isoformat(), "on": plan.anchor_on.isoformat()}


def test_while_away_a_bridge_moves_and_the_agreed_day_stays() -> None:
    """Fewest changes: only what cannot be is planned anew."""
    profile = taking({"a": 9, "b": 20})
    first = planned(profile, pinned(18))
    assert trips(first)[0][1] == 8
    bridge = told_visit(first.visits[0].kind, 8, "a", supply=9)
    after = planned(replace(profile, away=(span(8, 12),)), pinned(18, bridge))
    assert after.anchor_on == in_days(18)
    assert trips(after)[0][1] == 7
    assert after.uncovered_days == 0


# --- the household ---


def test_the_day_of_the_household_is_taken_where_it_leaves_nothing_uncovered() -> None:
    alone = planned(taking({"a": 12, "b": 15, "c": 18}))
    assert alone.anchor_on == in_days(11)
    together = planned(taking({"a": 12, "b": 15, "c": 18}, household_on=(in_days(9),)))
    assert together.anchor_on == in_days(9)
    assert codes(together.reasons)[0] == "household_day"
    assert together.uncovered_days == 0


@pytest.mark.parametrize("must", [False, True])
def test_a_household_day_that_would_leave_a_drug_uncovered_is_not_taken(must: bool) -> None:
    """A pack that runs out on the eighth day, and that no payer pays on the twentieth if it was filled before."""
    pack = prescription("a", drug=drug("a", unbreakable=True))
    wishes = {"household_on": (in_days(20),), "household_must": must}
    plan = planned(patient([pack], [fill("a", in_days(-22))], **wishes))
    assert codes(plan.reasons)[0] == "household_not_possible"
    assert (plan.anchor_on <= in_days(8), plan.uncovered_days) == (True, 0)


def test_where_the_household_comes_when_nothing_can_be_dispensed_another_day_is_planned() -> None:
    plan = planned(taking({"a": 28, "b": 29}, household_on=(in_days(4),), household_must=True))
    assert codes(plan.reasons)[0] == "household_not_possible"


# --- a vacation ---


def away_for_weeks(**facts: Any) -> Profile:
    """Two drugs that run out while the patient is away, and that no payer pays before they leave."""
    return taking({"a": 20, "b": 21}, away=(span(9, 25),), **facts)


def test_before_a_vacation_it_is_filled_early_with_the_code_for_it() -> None:
    plan = planned(away_for_weeks())
    (visit,) = [each for each in plan.visits if each.on < in_days(9)]
    assert visit.on >= in_days(9 - 7)
    assert [item.clarification_codes for item in visit.items] == [("03",), ("03",)]
    assert plan.uncovered_days == 0
    assert "vacation_fill" in codes(of(plan, "a").reasons)


@pytest.mark.parametrize(
    ("facts", "first", "code"),
    [
        ({}, 4, "03"),
        ({"vacation_days": 3}, 6, "03"),
        ({"vacation_code": "7"}, 4, "7"),
        ({"vacation_fills_a_year": 0}, None, None),
    ],
)
def test_each_payer_says_for_how_long_and_with_which_code(
    facts: dict[str, Any], first: int | None, code: str | None
) -> None:
    rules = replace(
        COMMERCIAL, payers=(PayerRule("commercial", refill_percent=75, **facts),), offered_days=99
    )
    plan = planned(away_for_weeks(), rules=rules)
    before = [each.on for each in plan.offered if each.on < in_days(9)]
    assert min(before, default=None) == (in_days(first) if first else None)
    said = [
        item.clarification_codes for visit in plan.visits for item in visit.items if visit.on < in_days(9)
    ]
    assert said == ([(code,), (code,)] if code else [])


def test_payers_pay_early_in_the_week_before_the_departure_alone() -> None:
    plan = planned(taking({"a": 28, "b": 29}, away=(span(14, 35),)))
    assert {item.payable_from for item in plan.visits[0].items} == {in_days(21), in_days(22)}, (
        "the payer's own"
    )
    assert min(step.on for step in plan.visits[0].steps if step.code == "fill") >= in_days(14 - 7)
    assert all(in_days(7) <= offer.on < in_days(14) for offer in plan.offered)


def test_without_a_vacation_nothing_is_filled_too_soon() -> None:
    plan = planned(replace(away_for_weeks(), away=()))
    assert all(visit.on >= in_days(12) for visit in plan.visits)
    assert "vacation_fill" not in codes(of(plan, "a").reasons)


@pytest.mark.parametrize(
    "changed",
    [
        {
            "rejections": (
                Rejection("rx-a", "79", TODAY, in_days(12)),
                Rejection("rx-b", "79", TODAY, in_days(12)),
            )
        },
        {"away": (span(-40, -30), span(9, 25))},  # the one of this year that payers pay for is over
    ],
    ids=["the payer gave a date of its own", "the second vacation of the year"],
)
def test_a_vacation_is_no_override_where_payers_give_none(changed: dict[str, Any]) -> None:
    plan = planned(replace(away_for_weeks(), **changed))
    assert all(visit.on > in_days(25) for visit in plan.visits)
    assert plan.uncovered_days > 0
    assert {"limits_cost", "barred_away"} <= set(codes(plan.reasons))


def test_a_confirmed_pickup_before_a_vacation_stands_and_keeps_its_code() -> None:
    """It was moved to the seventh day, which is not the best one: only because it is confirmed does it stay."""
    profile = away_for_weeks()
    asked = pinned(8, wanted_on=in_days(7), instead_of=in_days(8))
    first = planned(profile, asked)
    assert first.anchor_on == in_days(7)
    confirmed = told_visit(VisitKind.synchronized, 7, "a", "b", confirmed=True)
    again = planned(profile, pinned(7, confirmed))
    assert codes(again.reasons)[0] == "anchor_agreed"
    assert [(visit.on, [item.clarification_codes for item in visit.items]) for visit in again.visits] == [
        (in_days(7), [("03",), ("03",)])
    ]
    assert "vacation_fill" in codes(of(again, "a").reasons)


# --- what takes longer ---


@pytest.mark.parametrize(
    ("profile", "calendar", "first"),
    [
        (taking({"a": 9}), EVERY_DAY, 4),
        (taking({"a": 9}, delivered=True), EVERY_DAY, 5),
        (taking({"a": 9}, packaged=True), EVERY_DAY, 5),
        (taking({"a": 9}), Calendar(lead_days=3), 7),
        (taking({"a": 9}, delivered=True, packaged=True), Calendar(lead_days=3), 9),
    ],
    ids=["usual", "delivery", "packaging", "central fill", "all of it"],
)
def test_the_first_day_waits_for_what_takes_longer(profile: Profile, calendar: Calendar, first: int) -> None:
    plan = planned(profile, calendar=calendar, rules=replace(COMMERCIAL, offered_days=99))
    assert min(offer.on for offer in plan.offered) == in_days(first)


@pytest.mark.parametrize(("lead_days", "first"), [(0, 13), (3, 16)])
def test_what_takes_longer_is_billed_sooner_so_its_payer_has_to_pay_sooner(
    lead_days: int, first: int
) -> None:
    profile = taking({"a": 20})  # payable from the thirteenth day on
    offered = planned(
        profile, calendar=Calendar(lead_days=lead_days), rules=replace(COMMERCIAL, offered_days=99)
    )
    assert min(offer.on for offer in offered.offered) == in_days(first)


def test_a_drug_that_the_store_gets_later_waits_alone_and_is_ordered_sooner() -> None:
    special = prescription("special", drug=drug("special", lead_days=5))
    profile = patient([special, prescription("b")], [fill("special", in_days(-31)), fill("b", in_days(-31))])
    plan = planned(profile)
    first = {item.drug_name: visit.on for visit in reversed(plan.visits) for item in visit.items}
    assert first == {"b": TODAY, "special": in_days(9)}, (
        "what is out is fetched today; the other cannot be had"
    )
    assert plan.unavoidable_days == plan.uncovered_days == 9
    (visit,) = [each for each in plan.visits if each.on == in_days(9)]
    assert next(step.on for step in visit.steps if step.code == "order_stock") == in_days(9 - 5 - 5)


def test_a_drug_that_the_store_gets_later_stays_in_the_visit_that_was_told() -> None:
    """Nearer than its lead time, and not confirmed yet: it was ordered in time."""
    special = prescription("special", drug=drug("special", lead_days=5))
    profile = patient([special, prescription("b")], [fill("special", in_days(-23)), fill("b", in_days(-23))])
    plan = planned(profile, pinned(7, told_visit(VisitKind.synchronized, 7, "special", "b")))
    assert trips(plan) == [(VisitKind.synchronized, 7, ["special", "b"])]


def test_a_plan_before_a_vacation_stands_while_days_pass() -> None:
    first = planned(away_for_weeks())
    later = planned(away_for_weeks(), pinned((first.anchor_on - TODAY).days), today=in_days(3))
    assert later.visits == first.visits
