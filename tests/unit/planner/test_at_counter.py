"""What a confirmed visit gains, to be asked about when the patient stands at the counter."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.planner import publishing
from services.planner.domain.model import (
    Commitments,
    Plan,
    Profile,
    Rejection,
    StaffDecision,
    StaffDecisionKind,
    VisitKind,
)
from shared.events.planner import PlanComputed
from shared.words.plans import of_fill
from tests.unit.planner.cases import TODAY, drug, in_days, prescription, taking
from tests.unit.planner.test_plan import BRIDGE, RIDE_ALONG, SYNCHRONIZED, pinned, planned, told_visit

TOLD = {"a": 7, "b": 8, "c": 9}  # when each runs out; the visit is told of the first two
NEXT = 29


def told(kind: VisitKind = SYNCHRONIZED, *, confirmed: bool = True, **facts: Any) -> Commitments:
    visit = told_visit(kind, 5, "a", "b", confirmed=confirmed)
    return pinned(5, visit, next_anchor_on=in_days(NEXT), **facts)


def with_c(**facts: Any) -> Profile:
    """The third drug is another than usual."""
    profile = taking(TOLD)
    return replace(profile, prescriptions=(*profile.prescriptions[:2], prescription("c", **facts)))


def asked(plan: Plan) -> dict[int, dict[str, int]]:
    """By days from today the drugs that are asked about at the counter, with their days."""
    return {
        (visit.on - TODAY).days: found
        for visit in plan.visits
        if (found := {item.drug_name: item.days_supply for item in visit.items if item.at_counter})
    }


def others(plan: Plan) -> list[tuple[int, list[str]]]:
    """Days from today and drugs of what is planned and not asked about at the counter."""
    return [
        ((visit.on - TODAY).days, names)
        for visit in plan.visits
        if (names := [item.drug_name for item in visit.items if not item.at_counter])
    ]


def test_what_is_due_by_the_pickup_after_is_asked_about_and_takes_no_trip_of_its_own() -> None:
    plan = planned(taking(TOLD), told())
    assert asked(plan) == {5: {"c": 30}}
    assert others(plan) == [(5, ["a", "b"])]


@pytest.mark.parametrize("run_out, due", [(-2, True), (5, True), (NEXT - 1, True), (NEXT, False)])
def test_it_is_due_if_nothing_is_left_before_the_pickup_after(run_out: int, due: bool) -> None:
    profile = taking({**TOLD, "c": run_out})
    profile = replace(profile, prescriptions=(*profile.prescriptions[:2], prescription("c", payer="none")))
    fills = tuple(
        replace(each, filled_on=in_days(-90)) if each.rx_id == "rx-c" else each for each in profile.fills
    )
    assert bool(asked(planned(replace(profile, fills=fills), told()))) is due


REFUSED = Rejection("rx-c", "79", TODAY, in_days(6))
HELD = StaffDecision(StaffDecisionKind.hold, "pharmacist", "labs", TODAY, "rx-c", on=in_days(6))
EXCLUDED = StaffDecision(StaffDecisionKind.exclude, "pharmacist", "doubled", TODAY, "rx-c")


@pytest.mark.parametrize(
    "profile, commitments",
    [
        pytest.param(taking(TOLD), told(confirmed=False), id="nobody confirmed the visit"),
        pytest.param(taking(TOLD), told(declined_until={"rx-c": in_days(NEXT)}), id="declined on the call"),
        pytest.param(taking({**TOLD, "c": 20}), told(), id="too soon for the payer"),
        pytest.param(replace(taking(TOLD), rejections=(REFUSED,)), told(), id="refused until later"),
        pytest.param(replace(taking(TOLD), rulings=(HELD,)), told(), id="held by staff"),
        pytest.param(replace(taking(TOLD), rulings=(EXCLUDED,)), told(), id="excluded by a pharmacist"),
        pytest.param(with_c(quantity_left=Decimal(0)), told(), id="no refill left"),
        pytest.param(with_c(expires_on=in_days(4)), told(), id="expired by then"),
        pytest.param(with_c(prior_authorization_until=in_days(4)), told(), id="not authorized any more"),
        pytest.param(with_c(status="on_hold"), told(), id="on hold"),
        pytest.param(with_c(drug=drug("c", lead_days=1)), told(), id="not in the store: it takes longer to get"),
        pytest.param(with_c(drug=drug("c", schedule="c2")), told(), id="not planned at all"),
    ],
)  # fmt: skip
def test_what_the_patient_the_payer_or_the_prescriber_did_not_allow_is_not_asked_about(
    profile: Profile, commitments: Commitments
) -> None:
    assert asked(planned(profile, commitments)) == {}


def test_what_another_confirmed_visit_has_is_not_asked_about() -> None:
    first = told_visit(RIDE_ALONG, 5, "a", confirmed=True)
    pickup = told_visit(SYNCHRONIZED, 7, "b", "c", confirmed=True)
    plan = planned(taking(TOLD), pinned(7, first, pickup, next_anchor_on=in_days(NEXT)))
    assert asked(plan) == {}


def test_each_drug_is_asked_about_at_the_first_visit_after_which_it_would_not_last() -> None:
    first = told_visit(BRIDGE, 5, "a", confirmed=True, supply=15)
    pickup = told_visit(SYNCHRONIZED, 10, "b", confirmed=True)
    profile = taking({"a": 6, "b": 10, "c": 9, "d": 14})
    plan = planned(profile, pinned(10, first, pickup, next_anchor_on=in_days(40)))
    assert {on: set(found) for on, found in asked(plan).items()} == {5: {"c"}, 10: {"d"}}


def test_before_the_pickup_it_is_a_short_fill_where_a_usual_one_is_not_paid_again_by_then() -> None:
    first = told_visit(BRIDGE, 5, "a", confirmed=True, supply=15)
    profile = taking({"a": 6, "b": 20, "c": 7})
    plan = planned(profile, pinned(20, first, next_anchor_on=in_days(50)))
    assert asked(plan) == {5: {"c": 13}}
    assert others(plan)[1][1] == ["a", "b", "c"], "it joins at the pickup"
    assert plan.uncovered_days == 0


def test_what_the_plan_asks_about_is_decided_anew_each_time() -> None:
    commitments = told()
    assert asked(planned(taking(TOLD), commitments)) == {5: {"c": 30}}
    refused = replace(taking(TOLD), rejections=(Rejection("rx-c", "75", TODAY),))
    assert asked(planned(refused, commitments)) == {}


def test_no_step_is_taken_for_it_before_the_patient_agreed() -> None:
    plan = planned(taking(TOLD), told())
    without = planned(taking({"a": 7, "b": 8}), told())
    assert plan.visits[0].steps == without.visits[0].steps


def test_it_is_said_in_words_and_published_so() -> None:
    plan = planned(taking(TOLD), told())
    event = publishing.event_of(publishing.payload_of(plan, "patient-1", "store-1", 1, 1))
    assert isinstance(event, PlanComputed)
    said = [of_fill(event.visits[0], item, (), dated=False) for item in event.visits[0].items]
    assert [words.startswith("Ask at pickup: also due now") for words in said] == [False, False, True]


def test_a_plan_that_asks_nothing_says_the_same_as_one_from_before_there_was_the_field() -> None:
    payload = publishing.payload_of(planned(taking({"a": 7, "b": 8}), told()), "patient-1", "store-1", 1, 1)
    before = publishing.serialized(payload).json
    assert '"at_counter":false' in before
    assert publishing.unchanged(before.replace(',"at_counter":false', ""), payload)
    asking = publishing.payload_of(planned(taking(TOLD), told()), "patient-1", "store-1", 1, 1)
    silent = publishing.serialized(asking).json.replace('"at_counter":true', '"at_counter":false')
    assert not publishing.unchanged(silent, asking)
