"""What is written about a plan is what its event says: the contract holds, although no event was built to check it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from services.planner.domain.model import NO_COMMITMENTS, Blocked, Plan
from services.planner.domain.plan import plan_cycle
from services.planner.publishing import Payload, event_of, payload_of, serialized, unchanged
from shared.events.planner import PlanBlocked, PlanComputed
from tests.unit.planner.population import POLICY, TODAY, chain_patient, chain_store, odd_patient


@cache
def outcomes(seed: int) -> tuple[Plan | Blocked, ...]:
    rng = Random(seed)
    store = chain_store(rng)
    usual = [
        plan_cycle(chain_patient(rng, number), store, POLICY, TODAY, NO_COMMITMENTS, 1)
        for number in range(20)
    ]
    odd = [odd_patient(rng, number) for number in range(20)]
    return (
        *usual,
        *(plan_cycle(each.profile, each.calendar, each.rules, TODAY, each.commitments, 1) for each in odd),
        Blocked(()),
    )


def payload(outcome: Plan | Blocked) -> Payload:
    return payload_of(outcome, "p1", "s1", 3, 2)


def as_held(json_text: str) -> str:
    """As PostgreSQL gives it back: other spaces, the names in another order."""
    return json.dumps(json.loads(json_text), sort_keys=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_text_is_the_event_field_by_field(seed: int) -> None:
    found = outcomes(seed)
    assert {type(outcome) for outcome in found} == {Plan, Blocked}
    for outcome in found:
        text = serialized(payload(outcome))
        event = text.of.model_validate_json(text.json)
        assert json.loads(text.json) == event.model_dump(mode="json")
        assert event == event_of(payload(outcome))
        assert (text.TYPE, text.TOPIC, text.key) == (event.TYPE, event.TOPIC, event.key)


@pytest.mark.slow
def test_a_plan_and_why_there_is_none_are_events_of_their_own() -> None:
    plan = next(outcome for outcome in outcomes(0) if isinstance(outcome, Plan))
    assert isinstance(event_of(payload(plan)), PlanComputed)
    assert isinstance(event_of(payload(Blocked(()))), PlanBlocked)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_plan_stands_where_only_revisions_and_the_day_of_planning_differ(seed: int) -> None:
    for outcome in outcomes(seed):
        published = as_held(serialized(payload(outcome)).json)
        later = (
            replace(outcome, computed_on=outcome.anchor_on, look_again_on=TODAY)
            if isinstance(outcome, Plan)
            else replace(outcome, look_again_on=TODAY)
        )
        assert unchanged(published, payload_of(later, "p1", "s1", 9, 8))


@pytest.mark.slow
def test_a_plan_does_not_stand_where_anything_else_differs_or_nothing_was_published() -> None:
    plan = next(outcome for outcome in outcomes(0) if isinstance(outcome, Plan))
    published = as_held(serialized(payload(plan)).json)
    for other in (
        replace(plan, agreed=True),
        replace(plan, visits=plan.visits[:-1]),
        replace(plan, drugs=(replace(plan.drugs[0], reasons=()), *plan.drugs[1:])),
        replace(plan, visits=(replace(plan.visits[0], steps=()), *plan.visits[1:])),
    ):
        assert not unchanged(published, payload(other))
    assert not unchanged(None, payload(plan))
