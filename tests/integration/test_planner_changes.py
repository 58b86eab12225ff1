"""The planner against a real PostgreSQL: a household, closures, stays, and what is said when a patient leaves."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.events.enrollment import (
    Channel,
    DisenrolmentReason,
    Drug,
    PatientDisenrolled,
    PatientEnrolled,
    Prescription,
    Span,
)
from shared.events.outreach import PatientUnreached, VisitAnnounced
from shared.events.planner import PlanBlocked, PlanCancelled, PlanComputed
from shared.words import explain
from tests.integration.test_planner import (
    NOW,
    Service,
    agreed,
    changed,
    confirmed,
    enrolled,
    fill,
    in_days,
    only,
    pickup,
    prescription,
    proposed,
    service,
    store_changed,
)

__all__ = ["proposed", "service"]  # fixtures


async def agree(service: Service, plan: PlanComputed) -> PlanComputed:
    """The patient accepts the plan's own day."""
    return only(await service.handle(agreed(plan, patient_id=plan.patient_id)), PlanComputed)


async def a_minute_later(service: Service) -> list[Any]:
    service.clock.set(NOW + timedelta(minutes=1))
    return await service.do_due()


def later(patient_id: str, **changes: Any) -> PatientEnrolled:
    """Somebody whose own best day is another: the same two drugs run out closer together."""
    event = enrolled(patient_id, prescriptions=(prescription("c"), prescription("d")), **changes)
    profile = event.profile.model_copy(update={"fills": (fill("c", -16), fill("d", -14))})
    return event.model_copy(update={"profile": profile})


# --- the rhythm ---


def in_step(**changes: Any) -> dict[str, Any]:
    """a and b run out in 8 days: both on the 7th, every 30 days."""
    return {"fills": (fill("a", -22), fill("b", -22))} | changes


def pack() -> Prescription:
    drug = Drug(code="2", name="p", ingredient="p", strength="1 mg", form="tablet", unbreakable=True)
    return prescription("p", drug=drug, usual_quantity=Decimal(28), usual_days=28)


async def agreed_in_step(service: Service) -> PlanComputed:
    await service.handle(store_changed())
    return await agree(service, only(await service.handle(enrolled(**in_step())), PlanComputed))


async def picked_up(service: Service, plan: PlanComputed, revision: int) -> PlanComputed:
    """The synchronized pickup is confirmed and handed over on its day; the plan after it."""
    sync, days = pickup(plan), (plan.anchor_on - in_days(0)).days
    await service.handle(confirmed(plan, sync))
    await service.on_day(days)
    handed_over = changed(
        revision,
        changes=("handed_over",),
        visit_id=sync.visit_id,
        fills=(fill("a", -22), fill("b", -22), fill("a", days), fill("b", days)),
    )
    return only(await service.handle(handed_over), PlanComputed)


async def test_the_next_pickup_is_on_the_day_that_was_told_and_the_rhythm_is_kept(service: Service) -> None:
    first = await agreed_in_step(service)
    second = await picked_up(service, first, 2)
    assert (second.cycle, second.anchor_on) == (2, first.next_anchor_on)
    assert second.rhythm and second.rhythm.cycle_days == 30
    assert second.next_anchor_on == second.anchor_on + timedelta(days=30)


async def test_an_agreed_rhythm_is_kept_where_a_new_drug_suits_another_and_that_is_proposed(
    service: Service,
) -> None:
    plan = await agreed_in_step(service)
    drugs = (prescription("a"), prescription("b"), pack())
    fills = (fill("a", -22), fill("b", -22), fill("p", -15, 28))
    wider = only(await service.handle(changed(2, prescriptions=drugs, fills=fills)), PlanComputed)
    assert wider.rhythm and wider.rhythm.cycle_days == 30
    assert (wider.anchor_on, wider.next_anchor_on) == (plan.anchor_on, plan.next_anchor_on)
    [proposed] = [reason for reason in wider.reasons if reason.code == "rhythm_proposed"]
    assert (proposed.params["days"], proposed.params["fewer"]) == (28, 12)

    stated = changed(3, prescriptions=drugs, fills=fills, cycle_policy="rolling_28")
    other = only(await service.handle(stated), PlanComputed)
    assert other.rhythm and other.rhythm.cycle_days == 28
    assert other.anchor_on == plan.anchor_on
    assert await service.handle(changed(4, prescriptions=drugs, fills=fills)) == [], "it is agreed now"


async def test_after_a_missed_pickup_the_day_is_free_and_the_rhythm_is_not(service: Service) -> None:
    first = await agreed_in_step(service)
    await service.on_day((first.anchor_on - in_days(0)).days)
    second = only(await service.on_day((first.anchor_on - in_days(0)).days + 1), PlanComputed)
    assert (second.cycle, second.agreed) == (2, True)
    assert first.anchor_on < second.anchor_on < first.next_anchor_on
    assert second.reasons[0].code == "anchor_best_of_year"
    assert second.rhythm and second.rhythm.cycle_days == 30


async def test_a_day_that_passes_is_no_news_although_the_counts_of_the_year_move(service: Service) -> None:
    await service.handle(store_changed())
    plan = only(await service.handle(enrolled(**in_step())), PlanComputed)
    await agree(service, plan)
    for day in range(1, 4):
        assert await service.on_day(day) == []
        assert await service.handle(changed(1 + day, **in_step())) == []
    held = (await service.get("/plans/p1"))["plan"]
    assert held["computed_on"] == in_days(0).isoformat()


async def test_a_cycle_that_no_drug_lasts_is_said_and_the_best_one_is_planned(service: Service) -> None:
    await service.handle(store_changed())
    plan = only(await service.handle(enrolled(**in_step(cycle_policy="rolling_90"))), PlanComputed)
    assert plan.rhythm and plan.rhythm.cycle_days == 30
    assert any(
        "No drug lasts from pickup to pickup in the cycle of 90 days" in each for each in explain(plan)
    )
    agreed_plan = await agree(service, plan)
    packs = changed(2, prescriptions=(pack(),), fills=(fill("p", -20, 28),))
    other = only(await service.handle(packs), PlanComputed)
    assert other.rhythm and other.rhythm.cycle_days == 28
    assert other.anchor_on == agreed_plan.anchor_on
    short = changed(3, prescriptions=(prescription("a", usual_quantity=Decimal(14), usual_days=14),))
    fortnightly = only(await service.handle(short), PlanComputed)
    assert fortnightly.rhythm and fortnightly.rhythm.cycle_days == 14


# --- what cannot wait ---


async def test_who_is_not_reached_about_an_urgent_visit_of_today_is_planned_for_tomorrow(
    service: Service,
) -> None:
    await service.handle(store_changed())
    out_today = {"prescriptions": (prescription("a"),), "fills": (fill("a", -30),)}
    plan = only(await service.handle(enrolled(**out_today)), PlanComputed)
    assert [(visit.on, visit.urgent) for visit in plan.visits] == [(in_days(0), True)]
    plan = await agree(service, plan)
    unreached = PatientUnreached(
        patient_id="p1",
        plan_id=plan.plan_id,
        plan_revision=plan.revision,
        visit_id=plan.visits[0].visit_id,
        attempts=3,
    )
    again = only(await service.handle(unreached), PlanComputed)
    assert [(visit.on, visit.urgent) for visit in again.visits] == [(in_days(1), True)]
    assert await service.on_day(1) == [], "the plan of the evening stands in the morning"


# --- a household ---


async def test_once_one_of_a_household_agreed_the_others_are_offered_the_same_day(service: Service) -> None:
    await service.handle(store_changed())
    first = only(await service.handle(enrolled("p1", household_id="h")), PlanComputed)
    other = only(await service.handle(later("p2", household_id="h")), PlanComputed)
    stranger = only(await service.handle(later("p3")), PlanComputed)
    assert other.anchor_on == stranger.anchor_on != first.anchor_on
    await agree(service, first)
    moved = only(await a_minute_later(service), PlanComputed)
    assert (moved.patient_id, moved.anchor_on) == ("p2", first.anchor_on)
    assert moved.reasons[0].code == "household_day"
    assert moved.uncovered_days == 0


async def test_the_household_follows_when_the_day_of_one_moves(service: Service) -> None:
    await service.handle(store_changed())
    first = only(await service.handle(enrolled("p1", household_id="h")), PlanComputed)
    await service.handle(later("p2", household_id="h"))
    await agree(service, first)
    await a_minute_later(service)
    service.clock.set(NOW + timedelta(minutes=2))
    await service.handle(store_changed(2, closed_on=(first.anchor_on,)))
    moved = [event for event in await service.do_due() if event.patient_id == "p1"]
    service.clock.set(NOW + timedelta(minutes=3))
    followed = only(await service.do_due(), PlanComputed)
    assert (followed.patient_id, followed.anchor_on) == ("p2", only(moved, PlanComputed).anchor_on)


async def test_who_of_a_household_was_told_a_day_keeps_it(service: Service) -> None:
    await service.handle(store_changed())
    first = only(await service.handle(enrolled("p1", household_id="h")), PlanComputed)
    other = only(await service.handle(later("p2", household_id="h")), PlanComputed)
    await agree(service, other)
    await agree(service, first)
    assert await a_minute_later(service) == []


# --- a closure ---


async def test_a_day_that_closes_moves_its_agreed_visits_earlier_and_leaves_the_others(
    service: Service,
) -> None:
    await service.handle(store_changed())
    plan = await agree(service, only(await service.handle(enrolled()), PlanComputed))
    await service.handle(confirmed(plan, pickup(plan)))
    bridges = [visit.visit_id for visit in plan.visits if visit.on < plan.anchor_on]
    await service.handle(store_changed(2, closed_on=(plan.anchor_on,)))
    moved = only(await service.do_due(), PlanComputed)
    assert moved.anchor_on == plan.anchor_on - timedelta(days=1)
    assert moved.reasons[0].code == "anchor_moved_closed"
    assert [visit.visit_id for visit in moved.visits if visit.on < moved.anchor_on] == bridges


async def test_an_agreed_day_comes_true_once_the_store_is_open_again_for_nobody_was_told_another(
    service: Service,
) -> None:
    await service.handle(store_changed())
    plan = await agree(service, only(await service.handle(enrolled()), PlanComputed))
    await service.handle(store_changed(2, closed_on=(plan.anchor_on,)))
    assert only(await service.do_due(), PlanComputed).anchor_on != plan.anchor_on
    await service.handle(store_changed(3))
    assert only(await service.do_due(), PlanComputed).anchor_on == plan.anchor_on


@pytest.mark.parametrize("told", [False, True])
async def test_a_day_planned_after_a_miss_binds_nothing_until_it_is_told(
    service: Service, told: bool
) -> None:
    """The day that was chosen closes before any call: another is chosen, and nothing moved that anybody knew of."""
    first = await agreed_in_step(service)
    missed = PatientUnreached(
        patient_id="p1",
        plan_id=first.plan_id,
        plan_revision=first.revision,
        visit_id=pickup(first).visit_id,
        attempts=3,
    )
    second = only(await service.handle(missed), PlanComputed)
    if told:
        announced = VisitAnnounced(
            patient_id="p1",
            plan_id=second.plan_id,
            plan_revision=second.revision,
            visit_id=pickup(second).visit_id,
            on=second.anchor_on,
            channel=Channel.text,
        )
        [kept] = await service.handle(announced)
        assert isinstance(kept, PlanComputed) and kept.anchor_on == second.anchor_on
    await service.handle(store_changed(2, closed_on=(second.anchor_on,)))
    third = only(await service.do_due(), PlanComputed)
    assert ("anchor_moved_closed" in {reason.code for reason in third.reasons}) is told


async def test_a_store_whose_packages_take_longer_has_its_patients_planned_anew(proposed: Service) -> None:
    await proposed.handle(store_changed(2, lead_days=6, delivery_weekdays=(1,)))
    plan = only(await proposed.do_due(), PlanComputed)
    assert all(visit.on >= in_days(10) for visit in plan.visits)


# --- a stay in hospital ---


async def test_a_stay_withdraws_the_plan_and_a_reconciled_discharge_brings_it_back(proposed: Service) -> None:
    plan = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    told = await agree(proposed, plan)
    admitted = (Span(begins_on=in_days(0)),)
    cancelled, blocked = await proposed.handle(changed(2, changes=("circumstances",), stays=admitted))
    assert isinstance(cancelled, PlanCancelled)
    assert isinstance(blocked, PlanBlocked)
    assert [reason.code for reason in blocked.reasons] == ["in_hospital"]
    assert "In the hospital" in " ".join(explain(blocked))

    proposed.clock.set(NOW + timedelta(days=2))
    home = (Span(begins_on=in_days(0), ends_on=in_days(2)),)
    waits = only(await proposed.handle(changed(3, changes=("circumstances",), stays=home)), PlanBlocked)
    assert [reason.code for reason in waits.reasons] == ["stay_to_reconcile"]
    reconciled = changed(4, changes=("circumstances",), stays=home, reconciled_on=in_days(2))
    after = only(await proposed.handle(reconciled), PlanComputed)
    assert (after.agreed, after.cycle, after.anchor_on) == (True, told.cycle, told.anchor_on)
    run_outs = {drug.rx_id: drug.run_out_on for drug in after.drugs}
    before = {drug.rx_id: drug.run_out_on for drug in told.drugs}
    assert all(run_outs[rx_id] == on + timedelta(days=3) for rx_id, on in before.items() if on)


async def test_a_stay_that_was_announced_halts_on_the_day_of_admission(proposed: Service) -> None:
    planned_stay = (Span(begins_on=in_days(3), ends_on=in_days(5)),)
    await proposed.handle(changed(2, changes=("circumstances",), stays=planned_stay))
    published = await proposed.on_day(3)
    assert [type(event) for event in published] == [PlanCancelled, PlanBlocked]


# --- leaving ---


async def test_who_leaves_is_told_when_each_drug_runs_out(proposed: Service) -> None:
    plan = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    left = PatientDisenrolled(patient_id="p1", revision=2, reason=DisenrolmentReason.revoked)
    cancelled = only(await proposed.handle(left), PlanCancelled)
    assert {each.rx_id: each.run_out_on for each in cancelled.run_outs} == {
        drug.rx_id: drug.run_out_on for drug in plan.drugs
    }
    assert len(cancelled.run_outs) == 2
