"""Every plan answers what staff and patients ask: why this day and no other, what it costs, what must happen before."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest

from services.planner.domain import explain
from services.planner.domain.anchor import CRITERIA
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import NOTHING_TOLD, Plan, Profile, Reason, Rejection, Rules
from services.planner.domain.plan import plan_cycle
from services.planner.translation import event_of
from services.planner.translation import said as said_of
from shared.events.planner import PlanComputed
from shared.words import explain as in_words
from shared.words.plans import of_drug
from tests.unit.planner.cases import (
    COMMERCIAL,
    EVERY_DAY,
    TODAY,
    fill,
    in_days,
    patient,
    prescription,
    random_patient,
    taking,
)


def planned(profile: Profile, calendar: Calendar = EVERY_DAY, rules: Rules = COMMERCIAL) -> Plan:
    plan = plan_cycle(profile, calendar, rules, TODAY, NOTHING_TOLD, 1)
    assert isinstance(plan, Plan)
    return plan


def said(profile: Profile) -> list[str]:
    outcome = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, NOTHING_TOLD, 1)
    return in_words(event_of(said_of(outcome, "p", "s", 1, 1)))


def published_as(plan: Plan) -> PlanComputed:
    event = event_of(said_of(plan, "p", "s", 1, 1))
    assert isinstance(event, PlanComputed)
    return event


def against(plan: Plan) -> dict[object, Reason]:
    return {
        each.params["on"]: each
        for each in plan.reasons
        if each.code.startswith("other_day") and "on" in each.params
    }


def test_each_criterion_has_its_way_to_be_said() -> None:
    assert set(explain.NOT_INSTEAD) == set(CRITERIA)


@pytest.mark.parametrize("seed", range(40))
def test_a_proposal_says_of_each_other_offered_day_why_it_is_not_the_one(seed: int) -> None:
    plan = planned(random_patient(Random(seed)))
    _, *others = plan.offered
    assert list(against(plan)) == [offer.on.isoformat() for offer in others]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_said_of_another_day_is_true_of_it(seed: int) -> None:
    plan = planned(random_patient(Random(seed)))
    first, *others = plan.offered
    for offer in others:
        reason = against(plan)[offer.on.isoformat()]
        match reason.code:
            case "other_day_uncovered":
                assert reason.params["days"] > reason.params["here"]  # type: ignore[operator]
                assert offer.uncovered_days > first.uncovered_days
            case "other_day_visits":
                assert (reason.params["visits"], reason.params["here"]) == (
                    offer.visits_before,
                    first.visits_before,
                )
                assert offer.visits_before > first.visits_before
            case "other_day_short_fills":
                assert offer.short_fills > first.short_fills
            case "other_day_later":
                assert offer.on > first.on
            case _:
                assert reason.code in ("other_day_run_dry", "other_day_cushion", "other_day_below_minimum")


def test_the_preferred_weekday_is_named_where_it_decided() -> None:
    plan = planned(taking({"a": 20}, preferred_weekday=2))
    assert plan.anchor_on.weekday() == 2
    assert "other_day_not_preferred" in {reason.code for reason in against(plan).values()}


def test_a_fuller_or_a_later_day_is_named_where_nothing_else_decided() -> None:
    rules = replace(COMMERCIAL, criteria=("avoidable_uncovered_days",))
    free = planned(taking({"a": 20}), rules=rules)
    assert {reason.code for reason in against(free).values()} == {"other_day_later"}
    load = {in_days(days): 1 for days in range(60)} | {in_days(15): 0}
    plan = planned(taking({"a": 20}), Calendar(load=load), rules)
    assert plan.anchor_on == in_days(15)
    assert {reason.code for reason in against(plan).values()} == {"other_day_fuller"}


def test_a_renewal_and_an_authorization_are_asked_for_with_their_day() -> None:
    profile = patient(
        [prescription("a"), prescription("b", quantity_left=Decimal(0)), prescription("c")],
        [fill("a", in_days(-10)), fill("b", in_days(-20)), fill("c", in_days(-18))],
        rejections=(Rejection("rx-c", "75", TODAY),),
    )
    sentences = said(profile)
    [b] = [each for each in sentences if each.startswith("b: ")]
    [c] = [each for each in sentences if each.startswith("c: ")]
    assert "A renewal from the prescriber is needed by Thu 12 Mar 2026." in b
    assert "The payer wants a prior authorization: needed by Sat 14 Mar 2026" in c


def test_what_is_overdue_is_said_without_a_day_so_the_plan_stays_the_same_tomorrow() -> None:
    profile = patient([prescription("a", quantity_left=Decimal(0))], [fill("a", in_days(-60))])
    assert any("A renewal from the prescriber is needed now." in each for each in said(profile))


def test_the_payers_day_is_said_once_of_each_drug_that_is_filled() -> None:
    plan = planned(taking({"a": 12, "b": 15, "c": -3}))
    published = published_as(plan)
    for drug in published.drugs:
        assert sum("payer pays from" in words.casefold() for words in of_drug(drug, published)) == 1


def test_an_unknown_cost_is_said_to_be_unknown_and_a_known_one_with_its_amount() -> None:
    published = published_as(planned(taking({"a": 12, "b": 15})))
    assert any("is not known" in words for words in in_words(published))
    known = published.model_copy(update={"extra_cost": Decimal("4.50"), "reasons": ()})
    assert "The patient pays 4.50 more than usual." in in_words(known)
