"""Changes in mid-cycle: a stay in hospital, no insurance; planning halts, and goes on with the fewest changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest

from services.planner.domain import progress
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    NO_COMMITMENTS,
    Blocked,
    Commitments,
    Plan,
    Profile,
    PromisedItem,
    PromisedVisit,
    Rejection,
    Span,
    StockReport,
)
from services.planner.domain.payers import PayerRule
from services.planner.domain.plan import plan_cycle
from services.planner.domain.progress import Progress, Status
from services.planner.domain.stock import run_out_day
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, fill, in_days, taking
from tests.unit.planner.test_plan import codes, of
from tests.unit.planner.test_plan import planned as planned_now
from tests.unit.planner.test_progress import PROFILE, agreed, confirmed, pickup, planned, proposed

__all__ = ["agreed", "proposed"]  # fixtures


def span(first: int, last: int | None = None) -> Span:
    return Span(in_days(first), None if last is None else in_days(last))


# --- stock ---


@pytest.mark.parametrize(
    ("stays", "run_out"),
    [
        ([], 30),
        ([span(9, 13)], 35),  # the day of admission and that of the discharge count
        ([span(9, 9)], 31),
        ([span(-5, -1)], 30),
        ([span(40, 45)], 30),  # nothing is left by then
        ([span(9, 13), span(13, 20)], 42),  # from the hospital to a nursing home: the 13th counts once
        ([span(20, 22), span(9, 13)], 38),
        ([span(-5, 4)], 35),
        ([span(28, 60)], 63),
    ],
)
def test_what_is_at_home_lasts_longer_by_the_days_of_a_stay(stays: list[Span], run_out: int) -> None:
    assert run_out_day([fill("a", in_days(0))], stays=stays) == in_days(run_out)


def test_a_count_after_the_discharge_replaces_what_was_reckoned() -> None:
    report = StockReport("rx-a", in_days(14), 9)
    assert run_out_day([fill("a", in_days(0))], [report], [span(9, 13)]) == in_days(23)


# --- a fill that comes too soon after a discharge ---

DISCHARGE = PayerRule("commercial", refill_percent=75, discharge_days=7)


def home(left: int, discharged: int = -1, **facts: Any) -> Profile:
    """Filled six days ago, then in hospital; so much of a is left at home by the patient's own count of today."""
    usual: dict[str, Any] = {
        "stays": (span(discharged - 3, discharged),),
        "reconciled_on": TODAY,
        "stock_reports": (StockReport("rx-a", TODAY, left),),
    }
    return replace(taking({"a": 24, "b": 20}), **{**usual, **facts})


@pytest.mark.parametrize(
    ("left", "facts", "rule", "early"),
    [
        (5, {}, DISCHARGE, True),
        (0, {}, DISCHARGE, True),
        (6, {}, DISCHARGE, True),
        (7, {}, DISCHARGE, False),
        (5, {"discharged": -8}, DISCHARGE, False),
        (5, {}, replace(DISCHARGE, discharge_days=0), False),
        (5, {"stays": ()}, DISCHARGE, False),
        (5, {"rejections": (Rejection("rx-a", "79", TODAY, in_days(17)),)}, DISCHARGE, False),
    ],
    ids=[
        "in the week after it",
        "nothing left",
        "to its last day",
        "it lasts longer",
        "the discharge is long ago",
        "the payer grants none",
        "no stay",
        "the payer gave a date of its own",
    ],
)
def test_what_runs_out_after_a_discharge_before_its_payer_pays_is_filled_with_the_code_for_it(
    left: int, facts: dict[str, Any], rule: PayerRule, early: bool
) -> None:
    """Policy: 75 %, 7 days from the discharge. a was filled six days ago: the payer pays from day 17 on."""
    plan = planned_now(home(left, **facts), rules=replace(COMMERCIAL, payers=(rule,)))
    first = next((visit.on, item) for visit in plan.visits for item in visit.items if item.rx_id == "rx-a")
    assert ("57" in first[1].clarification_codes) == early
    assert (first[0] < in_days(17)) == early
    assert ("discharge_fill" in codes(of(plan, "a").reasons)) == early


def test_a_controlled_drug_is_filled_no_sooner_for_a_discharge() -> None:
    a, b = taking({"a": 24, "b": 20}).prescriptions
    profile = home(5, prescriptions=(replace(a, drug=replace(a.drug, schedule="c4")), b))
    open_to_c4 = replace(COMMERCIAL, payers=(DISCHARGE,), synchronized_schedules=frozenset({"none", "c4"}))
    plan = planned_now(profile, rules=open_to_c4)
    assert "discharge_fill" not in codes(of(plan, "a").reasons)


@pytest.mark.parametrize("today", [0, 3])
def test_a_confirmed_visit_that_rests_on_it_stands_with_its_code(today: int) -> None:
    """The week after the discharge is over on the day of the pickup; what was confirmed in it is filled."""
    rules = replace(COMMERCIAL, payers=(replace(DISCHARGE, discharge_days=3),), urgent_from_days=9)
    first = planned_now(home(2), rules=rules)
    visit = next(visit for visit in first.visits if any(item.rx_id == "rx-a" for item in visit.items))
    items = tuple(
        PromisedItem(each.rx_id, each.kind, each.quantity, each.days_supply) for each in visit.items
    )
    commitments = Commitments(
        agreed=True, anchor_on=first.anchor_on, visits=(PromisedVisit(visit.kind, visit.on, items, True),)
    )
    again = planned_now(home(2), commitments, rules=rules, today=in_days(today))
    assert again.visits[0].visit_id == visit.visit_id
    assert [(item.rx_id, item.clarification_codes) for item in again.visits[0].items] == [
        (item.rx_id, item.clarification_codes) for item in visit.items
    ]
    assert "discharge_fill" in codes(of(again, "a").reasons)
    assert planned_now(home(2), rules=rules, today=in_days(3)).visits[0].items[0].clarification_codes == ()


# --- what halts planning ---


def outcome(today: int = 0, **facts: Any) -> Plan | Blocked:
    profile = taking({"a": 12, "b": 15}, **facts)
    return plan_cycle(profile, EVERY_DAY, COMMERCIAL, in_days(today), NO_COMMITMENTS, 1)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"stays": (span(-3),)}, "in_hospital"),
        ({"stays": (span(-3, 4),)}, "in_hospital"),
        ({"stays": (span(-3, 0),)}, "stay_to_reconcile"),
        ({"stays": (span(-9, -3),), "reconciled_on": in_days(-4)}, "stay_to_reconcile"),
        ({"stays": (span(-9, -3),), "reconciled_on": in_days(-2)}, None),
        ({"stays": (span(3, 5),)}, None),
        ({"stays": (span(-60, -50), span(-3)), "reconciled_on": in_days(-49)}, "in_hospital"),
        ({"uninsured": (span(-3),)}, "coverage_lapsed"),
        ({"uninsured": (span(-3, 0),)}, "coverage_lapsed"),
        ({"uninsured": (span(-3, -1),)}, None),
        ({"uninsured": (span(1),)}, None),
    ],
)
def test_a_stay_until_it_is_reconciled_and_a_lapse_of_insurance_halt_planning(
    facts: dict[str, Any], code: str | None
) -> None:
    said = outcome(**facts)
    if code is None:
        assert isinstance(said, Plan)
    else:
        assert isinstance(said, Blocked)
        assert codes(said.reasons) == [code]


@pytest.mark.parametrize(
    ("facts", "again"),
    [
        ({"stays": (span(-3),)}, None),
        ({"stays": (span(-3, 4),)}, 4),
        ({"uninsured": (span(-3, 4),)}, 5),
        ({"uninsured": (span(-3),)}, None),
    ],
)
def test_a_halt_is_looked_at_again_when_time_alone_ends_it(facts: dict[str, Any], again: int | None) -> None:
    said = outcome(**facts)
    assert isinstance(said, Blocked)
    assert said.look_again_on == (None if again is None else in_days(again))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(150))
def test_whatever_is_said_of_the_days_there_is_an_answer(seed: int) -> None:
    rng = Random(seed)

    def day() -> date:
        return rng.choice(
            [date.min, date.max, in_days(0), *(in_days(rng.randint(-400, 400)) for _ in range(6))]
        )

    def spans() -> tuple[Span, ...]:
        begins = [day() for _ in range(rng.randint(0, 3))]
        return tuple(Span(on, rng.choice([None, max(on, day())])) for on in begins)

    profile = taking(
        {"a": rng.randint(-9, 30), "b": rng.randint(-9, 30)},
        payday=rng.choice([None, 1, 31]),
        paydays=tuple(day() for _ in range(rng.randint(0, 3))),
        rides=tuple(day() for _ in range(rng.randint(0, 3))),
        household_on=tuple(day() for _ in range(rng.randint(0, 2))),
        household_must=rng.random() < 0.5,
        delivered=rng.random() < 0.5,
        packaged=rng.random() < 0.5,
        away=spans(),
        stays=rng.choice([(), spans()]),
        reconciled_on=rng.choice([None, date.max]),
        uninsured=rng.choice([(), spans()]),
    )
    calendar = Calendar(delivery_weekdays=frozenset({1, 4}), lead_days=rng.choice([0, 60]))
    after, said = progress.plan_anew(Progress("patient-1"), profile, calendar, COMMERCIAL, TODAY)
    assert after.status in (Status.planned, Status.blocked)
    assert isinstance(said, Plan | Blocked)
    assert said.reasons


# --- on the path ---


def halted(at: Progress, today: int = 1, **facts: Any) -> Progress:
    after, said = planned(at, replace(PROFILE, **facts), in_days(today))
    assert isinstance(said, Blocked)
    assert after.status is Status.blocked
    return after


def test_after_a_short_stay_the_plan_goes_on_as_it_was_told_and_is_confirmed_anew(agreed: Progress) -> None:
    in_hospital = halted(confirmed(agreed, pickup(agreed)), stays=(span(1),))
    home = replace(PROFILE, stays=(span(1, 3),), reconciled_on=in_days(4))
    after, plan = planned(in_hospital, home, in_days(4))
    assert isinstance(plan, Plan)
    assert plan.agreed
    assert (after.anchor_on, after.cycle) == (agreed.anchor_on, agreed.cycle)
    assert pickup(after).on == pickup(agreed).on
    assert not any(visit.confirmed for visit in after.visits)


def test_a_pickup_that_passed_in_hospital_is_nobodys_miss(agreed: Progress) -> None:
    in_hospital = halted(agreed, stays=(span(1),))
    home = replace(PROFILE, stays=(span(1, 40),), reconciled_on=in_days(41))
    after, plan = planned(in_hospital, home, in_days(41))
    assert isinstance(plan, Plan)
    assert (after.misses, after.cycle) == (0, agreed.cycle + 1)


def test_a_confirmed_pickup_of_today_does_not_keep_an_admission_waiting(agreed: Progress) -> None:
    kept = confirmed(agreed, pickup(agreed))
    assert kept.anchor_on
    day = (kept.anchor_on - TODAY).days
    after, said = planned(kept, replace(PROFILE, stays=(span(day),)), kept.anchor_on)
    assert isinstance(said, Blocked)
    assert not any(visit.confirmed for visit in after.visits)


def test_a_package_collected_during_the_stay_ends_its_visit(agreed: Progress) -> None:
    in_hospital = halted(confirmed(agreed, pickup(agreed)), stays=(span(1),))
    after = progress.close_visit(in_hospital, pickup(in_hospital).visit_id)
    assert after.cycle == agreed.cycle + 1


def test_an_announced_stay_is_looked_at_on_the_day_of_admission(agreed: Progress) -> None:
    after, plan = planned(agreed, replace(PROFILE, stays=(span(5, 7),)), in_days(1))
    assert isinstance(plan, Plan)
    assert after.look_again_on == in_days(5)


def test_insurance_that_lapses_holds_claims_and_what_was_told_stays(agreed: Progress) -> None:
    held = halted(agreed, uninsured=(span(1, 6),))
    assert held.look_again_on == in_days(7)
    after, plan = planned(held, replace(PROFILE, uninsured=(span(1, 6),)), in_days(7))
    assert isinstance(plan, Plan)
    assert after.anchor_on == agreed.anchor_on
