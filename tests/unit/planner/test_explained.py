"""Every plan answers what staff and patients ask: why this day and no other, what it costs, what must happen before."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest

from services.planner.domain import explain_day
from services.planner.domain.calendar import Calendar
from services.planner.domain.criteria import CRITERIA, avoidable_uncovered_days, store_is_full
from services.planner.domain.model import NO_COMMITMENTS, Commitments, Plan, Profile, Reason, Rejection, Rules
from services.planner.domain.plan import plan_cycle
from services.planner.publishing import event_of, payload_of
from shared.events.planner import PlanComputed
from shared.words import explain as in_words
from shared.words.plans import of_drug
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


def planned(profile: Profile, calendar: Calendar = EVERY_DAY, rules: Rules = COMMERCIAL) -> Plan:
    plan = plan_cycle(profile, calendar, rules, TODAY, NO_COMMITMENTS, 1)
    assert isinstance(plan, Plan)
    return plan


def said(profile: Profile) -> list[str]:
    outcome = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, NO_COMMITMENTS, 1)
    return in_words(event_of(payload_of(outcome, "p", "s", 1, 1)))


def published_as(plan: Plan) -> PlanComputed:
    event = event_of(payload_of(plan, "p", "s", 1, 1))
    assert isinstance(event, PlanComputed)
    return event


def against(plan: Plan) -> dict[object, Reason]:
    return {
        each.params["on"]: each
        for each in plan.reasons
        if each.code.startswith("other_day") and "on" in each.params
    }


def test_each_criterion_has_its_way_to_be_said() -> None:
    assert set(explain_day.NOT_INSTEAD) | {avoidable_uncovered_days} == {*CRITERIA, store_is_full}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_proposal_says_of_each_other_offered_day_why_it_is_not_the_one(seed: int) -> None:
    plan = planned(random_patient(Random(seed)))
    _, *others = plan.offered
    usual = [each.params["on"] for each in plan.reasons if each.code == "instead_of_latest_due"]
    assert set(against(plan)) == {*usual, *(offer.on.isoformat() for offer in others)}


@pytest.mark.slow
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
            case (
                "other_day_late_claims" | "other_day_run_dry" | "other_day_trips_a_year" | "other_day_cushion"
            ):
                counts = ("fills", "drugs", "trips", "days")
                other = next(reason.params[name] for name in counts if name in reason.params)
                assert other > reason.params["here"]  # type: ignore[operator]
            case "other_day_joined_later" | "other_day_later":
                assert offer.on > first.on or reason.code == "other_day_joined_later"
            case _:
                assert reason.code == "other_day_surplus"


def test_the_preferred_weekday_is_named_where_it_decided() -> None:
    plan = planned(taking({"a": 20}, preferred_weekday=2))
    assert plan.anchor_on.weekday() == 2
    assert "other_day_not_preferred" in {reason.code for reason in against(plan).values()}


def test_a_day_on_which_all_join_later_is_named_where_nothing_else_decided() -> None:
    rules = replace(COMMERCIAL, criteria=("avoidable_uncovered_days",))
    plan = planned(taking({"a": 20}, cycle_policy="rolling_30"), rules=rules)
    assert {reason.code for reason in against(plan).values()} == {"other_day_joined_later"}


def test_a_renewal_and_an_authorization_are_asked_for_with_their_day() -> None:
    profile = patient(
        [prescription("a"), prescription("b", quantity_left=Decimal(0)), prescription("c")],
        [fill("a", in_days(-10)), fill("b", in_days(-20)), fill("c", in_days(-18))],
        rejections=(Rejection("rx-c", "75", TODAY),),
    )
    sentences = said(profile)
    [b] = [each for each in sentences if each.startswith("b: ")]
    [c] = [each for each in sentences if each.startswith("c: ")]
    assert "A renewal from the prescriber is needed by Sat Mar 7, 2026." in b
    assert "Insurance requires prior authorization: needed by Sat Mar 14, 2026" in c


def test_what_is_overdue_is_said_without_a_day_so_the_plan_stays_the_same_tomorrow() -> None:
    profile = patient([prescription("a", quantity_left=Decimal(0))], [fill("a", in_days(-60))])
    assert any("A renewal from the prescriber is needed now." in each for each in said(profile))


def test_the_payers_day_is_said_once_of_each_drug_that_is_filled() -> None:
    plan = planned(taking({"a": 12, "b": 15, "c": -3}))
    published = published_as(plan)
    for each in published.drugs:
        assert (
            sum("insurance pays on or after" in words.casefold() for words in of_drug(each, published)) == 1
        )


def test_an_unknown_cost_is_said_to_be_unknown_and_a_known_one_with_its_amount() -> None:
    published = published_as(planned(taking({"a": 12, "b": 15})))
    assert any("What the patient pays is unknown" in words for words in in_words(published))
    known = published.model_copy(update={"extra_cost": Decimal("4.50"), "reasons": ()})
    assert "The patient pays $4.50 more than usual." in in_words(known)


def test_a_question_about_a_drug_that_is_left_out_has_the_day_by_which_it_is_answered() -> None:
    names = ("levothyroxine 100", "levothyroxine 12.5")
    doses = [
        prescription(name, drug=drug(name, ingredient="levothyroxine", strength=name.split()[1]))
        for name in names
    ]
    fills = [fill("a", in_days(-10)), fill(names[0], in_days(-10)), fill(names[1], in_days(-40))]
    sentences = said(patient([prescription("a"), *doses], fills))
    [asked] = [each for each in sentences if each.startswith("levothyroxine 100: ")]
    assert "An answer is needed by Sun Mar 22, 2026, when it runs out." in asked
    [overdue] = [each for each in sentences if each.startswith("levothyroxine 12.5: ")]
    assert "An answer is needed now: none left." in overdue
    assert "By the fills on file, none left as of Fri Feb 20, 2026." in overdue


def test_a_renewal_says_why_it_is_needed() -> None:
    profile = patient([prescription("a", quantity_left=Decimal(40))], [fill("a", in_days(-20))])
    [a] = [each for each in said(profile) if each.startswith("a: ")]
    assert "A renewal from the prescriber is needed by" in a
    assert "10 units will be left on the prescription: not enough for the next usual fill." in a


def test_a_bridge_of_all_that_is_left_lasts_no_longer_than_it_does() -> None:
    scarce = prescription("a", quantity_left=Decimal(3))
    profile = patient([scarce, prescription("b")], [fill("a", in_days(-22)), fill("b", in_days(-14))])
    [a] = [each for each in said(profile) if each.startswith("a: ")]
    assert "On Tue Mar 10, 2026, 3 units: the last 3 days still authorized" in a
    assert "A renewal from the prescriber is needed by Mon Mar 9, 2026." in a


def test_a_bridge_of_all_that_is_left_says_that_it_falls_short_and_what_the_rest_waits_for() -> None:
    scarce = prescription("a", quantity_left=Decimal(3))
    profile = patient([scarce, prescription("b")], [fill("a", in_days(-22)), fill("b", in_days(-14))])
    plan = plan_cycle(
        profile, EVERY_DAY, COMMERCIAL, TODAY, Commitments(agreed=True, anchor_on=in_days(13)), 1
    )
    assert isinstance(plan, Plan)
    [a] = [each for each in in_words(published_as(plan)) if each.startswith("a: ")]
    assert (
        "Short fill of 3 days on Sun Mar 8, 2026, all that can be filled before then; "
        "the supply lasts only through Thu Mar 12" in a
    )
    assert "On Sun Mar 15, 2026, 30 units: the usual 30-day fill, only if the prescriber renews it by" in a


def test_a_date_that_accumulation_sets_is_said_to_be_set_by_it() -> None:
    piling = replace(COMMERCIAL.payers[0], look_back_days=180, most_surplus_days=7)
    profile = patient([prescription("a")], [fill("a", in_days(days)) for days in (-60, -40, -15)])
    plan = planned(profile, rules=replace(COMMERCIAL, payers=(piling,)))
    [a] = [" ".join(of_drug(each, published_as(plan))) for each in published_as(plan).drugs]
    assert "By its last fill alone insurance would pay on or after Tue Mar 10, 2026, but it also counts" in a
    usual = planned(profile)
    assert not any(each.code == "payable_by_surplus" for each in usual.drugs[0].reasons)


def test_codes_of_a_changed_dose_go_with_one_of_a_short_fill() -> None:
    of_short = Reason("item_bridge", {"days": 5, "until": TODAY.isoformat()})
    plan = planned(taking({"a": 12, "b": 30}))
    [visit, *_] = plan.visits
    item = replace(visit.items[0], reason=of_short, clarification_codes=("05", "61", "47"))
    changed = replace(plan.drugs[0], reasons=(*plan.drugs[0].reasons, Reason("dose_changed", {"code": "05"})))
    published = published_as(
        replace(plan, visits=(replace(visit, items=(item,)),), drugs=(changed, *plan.drugs[1:]))
    )
    assert of_drug(published.drugs[0], published)[-1].endswith("with clarification code 05 and 61, else 47.")


def test_a_plan_of_before_codes_of_an_override_reads_as_it_did() -> None:
    plan = planned(taking({"a": 12, "b": 30}))
    earlier = Reason("override_by_law", {"law": "The law", "payable_from": "2026-03-17"})
    drug = replace(plan.drugs[0], reasons=(earlier,))
    published = published_as(replace(plan, drugs=(drug, *plan.drugs[1:])))
    assert of_drug(published.drugs[0], published)[0] == (
        "Insurance pays on or after Tue Mar 17, 2026; "
        "The law grants an override of refill too soon to synchronize it sooner."
    )


def test_who_has_no_prescription_on_file_is_said_to_have_none() -> None:
    assert said(patient([])) == ["There is no plan.", "No prescription is on file."]
