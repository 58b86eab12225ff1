"""What cannot wait for the store's lead time: when a visit is urgent, who is served on it, and what the store does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Commitments, Plan, Profile, Rules, Visit
from services.planner.domain.payers import PayerRule
from tests.unit.planner.cases import TODAY, drug, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import codes, of, planned

USUAL = Rules(payers=(PayerRule("commercial", refill_percent=75),))
"""Four days of lead; a visit is urgent from a day without a critical drug on, from two without another."""


def critical(run_outs: dict[str, int], *names: str) -> Profile:
    """These drugs of thirty days must not be missed."""
    profile = taking(run_outs)
    return replace(
        profile,
        prescriptions=tuple(
            replace(each, drug=replace(each.drug, critical=each.drug.name in names))
            for each in profile.prescriptions
        ),
    )


def urgent(plan: Plan) -> list[Visit]:
    return [visit for visit in plan.visits if visit.urgent]


def days_of(visits: Sequence[Visit]) -> list[int]:
    return [(visit.on - TODAY).days for visit in visits]


@pytest.mark.parametrize(
    ("run_out", "is_critical", "is_urgent", "lost"),
    [
        (4, True, False, 0),
        (4, False, False, 0),
        (3, True, True, 0),
        (3, False, False, 1),
        (2, True, True, 0),
        (2, False, True, 0),
        (-5, False, True, 0),
    ],
)
def test_a_critical_drug_is_urgent_from_one_day_without_it_another_from_two(
    run_out: int, is_critical: bool, is_urgent: bool, lost: int
) -> None:
    """The first workable day is day 4."""
    plan = planned(critical({"a": run_out, "b": 20}, *(["a"] if is_critical else [])), rules=USUAL)
    assert bool(urgent(plan)) is is_urgent
    assert plan.uncovered_days == plan.unavoidable_days == lost
    assert ("unavoidable" in codes(of(plan, "a").reasons)) == (lost > 0)
    assert all(day < 4 for day in days_of(urgent(plan)))


def test_the_chain_says_from_how_many_days_on_it_is_urgent() -> None:
    profile = taking({"a": 1, "b": 20})
    assert urgent(planned(profile, rules=replace(USUAL, urgent_from_days=3)))
    assert not urgent(planned(profile, rules=replace(USUAL, urgent_from_days=4)))


def test_what_no_payer_pays_before_the_first_workable_day_is_not_urgent() -> None:
    """a is out on day 1, and paid from day 5 on."""
    lost = replace(taking({"b": 20}), prescriptions=(prescription("b"), prescription("a")))
    lost = replace(lost, fills=(*lost.fills, fill("a", in_days(-18))))
    plan = planned(lost, rules=USUAL)
    assert not urgent(plan)


def test_only_what_cannot_wait_is_filled_on_an_urgent_visit() -> None:
    """b is paid, and lasts for weeks."""
    plan = planned(taking({"a": 0, "b": 20, "c": 21}), rules=USUAL)
    [visit] = urgent(plan)
    assert [item.drug_name for item in visit.items] == ["a"]


def test_another_comes_along_where_that_spares_a_trip() -> None:
    """b would need a trip of its own on one of the days after."""
    plan = planned(taking({"a": 1, "b": 5}), rules=USUAL)
    [visit] = urgent(plan)
    assert {item.drug_name for item in visit.items} == {"a", "b"}
    assert plan.uncovered_days == 0


def test_what_the_store_has_to_order_does_not_come_along() -> None:
    ordered = prescription("b", drug=drug("b", lead_days=3))
    profile = patient([prescription("a"), ordered], [fill("a", in_days(-29)), fill("b", in_days(-22))])
    plan = planned(profile, rules=USUAL)
    [visit] = urgent(plan)
    assert [item.drug_name for item in visit.items] == ["a"]
    assert all(
        visit.on >= in_days(7) for visit in plan.visits for item in visit.items if item.drug_name == "b"
    )


def test_an_urgent_visit_may_be_the_first_slot() -> None:
    plan = planned(taking({"a": 1, "b": 1}), rules=USUAL)
    assert plan.visits[0].urgent
    assert plan.anchor_on == plan.visits[0].on


def test_the_eve_of_a_closure_is_urgent_for_what_is_out_before_the_store_opens_again() -> None:
    """Closed from day 3 to day 16; a is paid from day 2 on, and out on day 9."""
    closed = Calendar(closed_on=frozenset(in_days(day) for day in range(3, 17)))
    plan = planned(taking({"a": 9, "b": 17}), rules=USUAL, calendar=closed)
    [visit] = urgent(plan)
    assert days_of([visit]) == [2]
    assert "a" in [item.drug_name for item in visit.items]
    assert plan.uncovered_days == 0


@pytest.mark.parametrize("closure", [range(0), range(3, 17)])
def test_no_step_before_an_urgent_visit_lies_in_the_past_or_after_it(closure: range) -> None:
    closed = Calendar(closed_on=frozenset(in_days(day) for day in closure))
    plan = planned(critical({"a": 1, "b": 15}, "a"), rules=USUAL, calendar=closed)
    [visit] = urgent(plan)
    before = [step for step in visit.steps if step.code in ("call", "order_stock", "fill", "verify")]
    assert {step.code for step in before} >= {"call", "fill"}
    assert all(TODAY <= step.on <= visit.on for step in before)
    assert min(step.on for step in before) == TODAY, "the store acts today"


def test_who_can_only_be_written_to_has_no_urgent_visit() -> None:

    plan = planned(taking({"a": 1, "b": 20}), Commitments(not_before=in_days(9)), rules=USUAL)
    assert not urgent(plan)
    assert min(visit.on for visit in plan.visits) >= in_days(9)


def test_an_urgent_fill_lasts_to_the_pickup_and_leaves_no_avoidable_day() -> None:
    for run_out in range(-3, 4):
        plan = planned(critical({"a": run_out, "b": 22}, "a"), rules=USUAL)
        assert plan.uncovered_days == 0, run_out
        assert days_of(plan.visits)[0] <= max(run_out, 0)


def test_the_first_day_of_an_urgent_visit_is_one_that_suits_the_patient() -> None:
    """The patient comes on Wednesdays; today is a Monday."""
    plan = planned(replace(taking({"a": -5, "b": 22}), must_weekdays=frozenset({2})), rules=USUAL)
    assert {visit.on.weekday() for visit in plan.visits} == {2}
    assert plan.visits[0].on == date(2026, 3, 4) and plan.visits[0].urgent
    assert plan.visits[0].on == TODAY + timedelta(days=2)
