"""How answers, and days that pass, move a patient along the path."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.planner.domain import progress as path
from services.planner.domain.model import (
    Action,
    Blocked,
    Fill,
    Plan,
    Profile,
    Rules,
    StockReport,
    VisitKind,
)
from services.planner.domain.progress import OpenVisit, Progress, Status
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, fill, in_days, random_patient, taking

PROFILE = taking({"a": 9, "b": 25})
PINNED = 18  # the day agreed on in these tests, with a bridge for a before it


def planned(progress: Progress, profile: Profile = PROFILE, today: date = TODAY) -> tuple[Progress, Any]:
    return path.plan_anew(progress, profile, EVERY_DAY, COMMERCIAL, today)


@pytest.fixture
def proposed() -> Progress:
    """The first plan, not agreed yet."""
    progress, plan = planned(Progress("patient-1"))
    assert isinstance(plan, Plan) and not plan.agreed and len(plan.offered) == 3
    return progress


@pytest.fixture
def agreed(proposed: Progress) -> Progress:
    """The agreed plan: a bridge on the 9th day, the pickup on the 18th."""
    progress = replace(proposed, offered=(*proposed.offered, in_days(PINNED)))
    after = path.alignment_agreed(progress, _id(progress), in_days(PINNED))
    assert after is not None
    progress, plan = planned(after)
    assert isinstance(plan, Plan) and plan.agreed and plan.anchor_on == in_days(PINNED)
    assert [visit.kind for visit in progress.visits] == [VisitKind.bridge, VisitKind.synchronized]
    return progress


def _id(progress: Progress) -> str:
    assert progress.plan_id
    return progress.plan_id


def bridge(progress: Progress) -> OpenVisit:
    return progress.visits[0]


def pickup(progress: Progress) -> OpenVisit:
    return next(visit for visit in progress.visits if visit.kind is VisitKind.synchronized)


def confirmed(progress: Progress, visit: OpenVisit, *without: str) -> Progress:
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    after = path.pickup_confirmed(progress, visit.visit_id, wanted, without)
    assert after is not None
    return after


def test_only_an_offered_day_of_the_plan_that_stands_is_agreed(proposed: Progress) -> None:
    plan_id = _id(proposed)
    assert path.alignment_agreed(proposed, "another plan", proposed.offered[0]) is None
    assert path.alignment_agreed(proposed, plan_id, in_days(60)) is None
    agreed = path.alignment_agreed(proposed, plan_id, proposed.offered[2])
    assert agreed and agreed.anchor_on == proposed.offered[2]
    assert path.alignment_agreed(agreed, plan_id, proposed.offered[0]) is None, "agreed already"


def test_a_proposal_binds_nothing(proposed: Progress) -> None:
    profile = taking({"a": 15, "b": 17})
    _, again = planned(proposed, profile)
    _, fresh = planned(Progress("patient-1"), profile)
    assert again == fresh


def test_visits_of_the_agreed_proposal_stay_although_the_patient_answered_late(proposed: Progress) -> None:
    profile = taking({"a": 4, "b": 25})
    progress, _ = planned(Progress("patient-1"), profile)
    assert bridge(progress).on == in_days(4)
    after = path.alignment_agreed(progress, _id(progress), progress.offered[0])
    assert after is not None
    later, plan = planned(after, profile, in_days(2))
    assert isinstance(plan, Plan)
    assert [visit.visit_id for visit in later.visits] == [visit.visit_id for visit in progress.visits]


def test_a_confirmed_visit_stands_and_what_was_declined_waits_for_the_next_pickup(agreed: Progress) -> None:
    progress = confirmed(agreed, pickup(agreed), "rx-b")
    assert progress.declined_until == {"rx-b": agreed.next_anchor_on}
    progress, plan = planned(progress, today=in_days(11))
    assert isinstance(plan, Plan)
    [at_pickup] = [visit for visit in plan.visits if visit.on == plan.anchor_on]
    assert [item.rx_id for item in at_pickup.items] == ["rx-a"]
    assert pickup(progress).confirmed
    decision = next(drug for drug in plan.drugs if drug.rx_id == "rx-b")
    assert decision.action is Action.join_later


def test_what_was_declined_comes_along_with_the_next_pickup_that_was_told(agreed: Progress) -> None:
    _, plan = planned(confirmed(agreed, pickup(agreed), "rx-b"), today=in_days(11))
    assert isinstance(plan, Plan)
    assert plan.next_anchor_on == agreed.next_anchor_on


def test_the_bridge_to_a_pickup_stays_where_the_pickup_is_confirmed_before_it(agreed: Progress) -> None:
    progress, plan = planned(confirmed(agreed, pickup(agreed)))
    assert isinstance(plan, Plan)
    assert [(visit.on, visit.kind) for visit in plan.visits] == [
        (in_days(8), VisitKind.bridge),
        (in_days(PINNED), VisitKind.synchronized),
    ]
    assert plan.uncovered_days == 0
    assert not bridge(progress).confirmed and pickup(progress).confirmed


def test_what_was_put_into_a_visit_after_the_patient_was_asked_is_not_declined(agreed: Progress) -> None:
    visit = pickup(agreed)
    [told, added] = visit.items
    after = path.pickup_confirmed(agreed, visit.visit_id, {told.rx_id: (told.quantity, told.days_supply)}, ())
    assert after is not None
    assert [item.rx_id for item in pickup(after).items] == [told.rx_id]
    assert not after.declined_until
    _, plan = planned(after)
    assert isinstance(plan, Plan)
    [bridged] = [visit for visit in plan.visits if added.rx_id in {item.rx_id for item in visit.items}]
    assert bridged.on == in_days(21), "early enough to be paid, without a late claim, at the pickup after"
    assert plan.next_anchor_on == in_days(47)


def test_a_confirmation_of_drugs_that_the_visit_no_longer_has_says_nothing_of_those_it_has(
    agreed: Progress,
) -> None:
    assert path.pickup_confirmed(agreed, pickup(agreed).visit_id, {"rx-z": (Decimal(30), 30)}, ()) is None


def test_a_confirmed_quantity_is_kept_as_it_was_confirmed(agreed: Progress) -> None:
    visit = bridge(agreed)
    after = path.pickup_confirmed(agreed, visit.visit_id, {"rx-a": (Decimal(9), 9)}, ())
    assert after is not None
    _, plan = planned(after)
    assert isinstance(plan, Plan)
    assert [(item.quantity, item.days_supply) for item in plan.visits[0].items] == [(9, 9)]


def test_a_declined_bridge_is_not_offered_again(agreed: Progress) -> None:
    after = path.pickup_declined(agreed, bridge(agreed).visit_id)
    assert after is not None
    progress, plan = planned(after)
    assert isinstance(plan, Plan)
    assert [visit.on for visit in plan.visits] == [in_days(PINNED)]
    assert (progress.cycle, progress.misses) == (1, 0)
    assert path.pickup_declined(progress, bridge(agreed).visit_id) is None, "stale"


def test_confirming_nothing_is_declining(agreed: Progress) -> None:
    visit = pickup(agreed)
    assert path.pickup_confirmed(agreed, visit.visit_id, {}, ["rx-a", "rx-b"]) == path.pickup_declined(
        agreed, visit.visit_id
    )


@pytest.mark.parametrize("how", ["declined", "unreached", "passed"])
def test_without_the_pickup_the_next_cycle_is_planned_agreed_and_unpinned(agreed: Progress, how: str) -> None:
    visit_id, plan_id, today = pickup(agreed).visit_id, _id(agreed), in_days(10)
    after = {
        "declined": lambda: path.pickup_declined(agreed, visit_id),
        "unreached": lambda: path.unreached(agreed, plan_id, visit_id),
        "passed": lambda: agreed,
    }[how]()
    assert after is not None
    today = in_days(PINNED + 1) if how == "passed" else today
    progress, plan = planned(after, today=today)
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.agreed, progress.misses) == (2, True, 1)
    assert plan.plan_id != plan_id
    assert plan.reasons[0].code == "anchor_best_of_year"


def test_after_two_cycles_in_vain_staff_act_until_the_patient_is_in_touch(agreed: Progress) -> None:
    after = path.unreached(agreed, _id(agreed), pickup(agreed).visit_id)
    assert after is not None
    second, _ = planned(after, today=in_days(14))
    after = path.pickup_declined(second, pickup(second).visit_id)
    assert after is not None
    progress, blocked = planned(after, today=in_days(15))
    assert isinstance(blocked, Blocked)
    assert [reason.code for reason in blocked.reasons] == ["not_reached"]
    assert (progress.status, progress.look_again_on) == (Status.blocked, None)
    assert path.unreached(progress, _id(agreed), None) is None
    again, plan = planned(path.reset_missed_cycles(progress), today=in_days(16))
    assert isinstance(plan, Plan)
    assert again.status is Status.planned


def test_an_unanswered_proposal_is_proposed_again_and_counts_once_given_up(proposed: Progress) -> None:
    later, plan = planned(proposed, today=in_days(26))
    assert isinstance(plan, Plan)
    assert (later.cycle, later.misses, plan.agreed) == (1, 0, False)
    assert plan.visits[0].urgent and plan.visits[0].on == in_days(26), "by now both drugs are out"
    after = path.unreached(proposed, _id(proposed), None)
    assert after is not None
    given_up, plan = planned(after)
    assert isinstance(plan, Plan)
    assert (given_up.cycle, given_up.misses, plan.agreed) == (2, 1, False)


def test_who_can_only_be_written_to_is_planned_for_days_that_the_post_can_confirm(proposed: Progress) -> None:
    """That is no miss; it is one where the next plan leaves the post no time for all that."""
    reachable_on = in_days(10)
    assert proposed.visits[0].on < reachable_on
    after = path.unreached(proposed, _id(proposed), None, reachable_on, too_late=True)
    assert after is not None
    later, plan = planned(after)
    assert isinstance(plan, Plan)
    assert (later.misses, later.not_before, plan.agreed) == (0, reachable_on, False)
    assert min(visit.on for visit in plan.visits) == reachable_on
    assert "by_letter" in {reason.code for reason in plan.reasons}

    for days, misses in ((10, 1), (11, 1), (12, 0)):
        again = path.unreached(later, _id(later), None, in_days(days), too_late=True)
        assert again is not None
        assert again.misses == misses


def test_a_letter_without_an_answer_is_a_miss_and_the_next_plan_leaves_the_post_its_time(
    agreed: Progress,
) -> None:
    after = path.unreached(agreed, _id(agreed), pickup(agreed).visit_id, in_days(25))
    assert after is not None
    later, plan = planned(after, today=in_days(15))
    assert isinstance(plan, Plan)
    assert later.misses == 1
    assert min(visit.on for visit in plan.visits) == in_days(25)


@pytest.mark.parametrize(("how", "waits"), [("agreed", True), ("consent anew", False), ("given up", False)])
def test_the_post_needs_its_time_until_its_day_unless_it_is_needed_no_longer(
    proposed: Progress, how: str, waits: bool
) -> None:
    after = path.unreached(proposed, _id(proposed), None, in_days(10), too_late=True)
    assert after is not None
    later, plan = planned(after)
    assert isinstance(plan, Plan)
    then = {
        "agreed": lambda: path.alignment_agreed(later, _id(later), plan.anchor_on),
        "consent anew": lambda: path.enrolled(later),
        "given up": lambda: path.unreached(later, _id(later), None),
    }[how]()
    assert then is not None
    assert (then.not_before is not None) is waits
    _, plan = planned(then, today=in_days(10))
    assert "by_letter" not in {reason.code for reason in plan.reasons}


def test_the_next_cycle_begins_when_the_pickup_was_handed_over(agreed: Progress) -> None:
    progress = confirmed(confirmed(agreed, bridge(agreed)), pickup(agreed))
    taken = replace(PROFILE, fills=(*PROFILE.fills, fill("a", in_days(9), 9)))
    progress = path.close_visit(progress, bridge(agreed).visit_id)
    progress, plan = planned(progress, taken, in_days(9))
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.anchor_on) == (1, in_days(PINNED))
    assert [visit.on for visit in plan.visits] == [in_days(PINNED)]

    all_taken = replace(taken, fills=(*taken.fills, fill("a", in_days(18)), fill("b", in_days(18))))
    progress = path.close_visit(progress, pickup(agreed).visit_id)
    progress, plan = planned(progress, all_taken, in_days(18))
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.agreed, progress.misses) == (2, True, 0)
    assert in_days(18 + 23) <= plan.anchor_on <= in_days(18 + 30)


def test_while_a_confirmed_visit_is_open_nothing_is_planned_until_it_is_given_up(agreed: Progress) -> None:
    progress = confirmed(agreed, pickup(agreed))
    progress = replace(progress, visits=(pickup(progress),))
    for days in (0, 11):
        waiting, outcome = planned(progress, today=in_days(PINNED + days))
        assert outcome is None
        assert waiting.look_again_on == in_days(PINNED + 12)
    given_up, plan = planned(progress, today=in_days(PINNED + 12))
    assert isinstance(plan, Plan)
    assert (plan.cycle, given_up.misses) == (2, 0)


def test_a_moved_visit_needs_a_new_confirmation(agreed: Progress) -> None:
    progress = confirmed(agreed, pickup(agreed))
    after = path.reschedule_requested(progress, pickup(agreed).visit_id, in_days(19))
    assert after is not None
    moved, plan = planned(after)
    assert isinstance(plan, Plan)
    assert plan.anchor_on == in_days(19)
    assert not pickup(moved).confirmed
    assert pickup(moved).visit_id != pickup(agreed).visit_id
    assert (moved.wanted_on, moved.cycle) == (None, 1)
    _, again = planned(moved)
    assert isinstance(again, Plan)
    assert again.anchor_on == in_days(19)


def test_who_leaves_has_no_plan_and_who_comes_back_begins_a_cycle_of_their_own(agreed: Progress) -> None:
    gone = path.disenrolled(agreed)
    assert (gone.status, gone.visits, gone.plan_id) == (Status.gone, (), None)
    back, plan = planned(path.enrolled(gone))
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.agreed) == (2, False)
    assert back.plan_id != agreed.plan_id


def test_without_a_calendar_the_patient_waits_for_the_store() -> None:
    progress, outcome = path.plan_anew(Progress("patient-1"), PROFILE, None, COMMERCIAL, TODAY)
    assert outcome is None
    assert (progress.status, progress.look_again_on) == (Status.waiting, in_days(1))


Walked = tuple[Progress, Profile, date]


def random_walk(seed: int) -> None:
    """Anything that can happen to a patient, in any order, on any day: planning never fails, and keeps its word."""
    rng = Random(seed)
    profile, today = random_patient(rng), TODAY
    progress, _ = planned(Progress("patient-1"), profile)
    for _ in range(25):
        happens = rng.choice(
            [_confirm, _confirm, _decline, _miss, _move, _come, _agree, _wait, _report, _hold]
        )
        progress, profile, today = happens(rng, progress, profile, today)
        stood = path.as_of(progress, today, COMMERCIAL)
        progress, plan = planned(progress, profile, today)
        assert progress.look_again_on is None or progress.look_again_on > today, f"seed {seed}"
        if isinstance(plan, Plan):
            assert all(visit.items and visit.on >= today for visit in plan.visits), f"seed {seed}"
            assert len({visit.on for visit in plan.visits}) == len(plan.visits), f"seed {seed}"
            assert plan.next_anchor_on > plan.anchor_on, f"seed {seed}"
            if happens is _wait and stood.agreed and stood.anchor_on and plan.cycle == stood.cycle:
                assert plan.anchor_on == stood.anchor_on, f"seed {seed}: an agreed day moved by itself"


def _confirm(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    near = [visit for visit in progress.visits if visit.on <= today + timedelta(days=7)]
    if not near:
        return progress, profile, today
    visit = rng.choice(near)
    unwanted = [item.rx_id for item in visit.items if rng.random() < 0.2]
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    return path.pickup_confirmed(progress, visit.visit_id, wanted, unwanted) or progress, profile, today


def _decline(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    visit_id = rng.choice([visit.visit_id for visit in progress.visits] or ["none"])
    return path.pickup_declined(progress, visit_id) or progress, profile, today


def _miss(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    visit_id = rng.choice([None, *(visit.visit_id for visit in progress.visits)])
    by_letter_on = today + timedelta(days=10) if rng.random() < 0.5 else None
    too_late = by_letter_on is not None and rng.random() < 0.5
    after = path.unreached(progress, progress.plan_id or "none", visit_id, by_letter_on, too_late=too_late)
    after = after or progress
    return path.reset_missed_cycles(after), profile, today


def _move(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    visit_id = rng.choice([visit.visit_id for visit in progress.visits] or ["none"])
    wanted_on = today + timedelta(days=rng.randint(-3, 45))
    return path.reschedule_requested(progress, visit_id, wanted_on) or progress, profile, today


def _come(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    visit = next((visit for visit in progress.visits if visit.confirmed), None)
    if visit is None:
        return progress, profile, today
    today = max(today, visit.on)
    fills = tuple(Fill(item.rx_id, visit.on, today, item.days_supply) for item in visit.items)
    profile = replace(profile, fills=profile.fills + fills)
    return path.close_visit(progress, visit.visit_id), profile, today


def _agree(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    day = rng.choice(progress.offered or (today,))
    return path.alignment_agreed(progress, progress.plan_id or "none", day) or progress, profile, today


def _wait(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    return progress, profile, today + timedelta(days=rng.randint(0, 9))


def _report(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    rx_id = rng.choice(profile.prescriptions).rx_id
    report = StockReport(rx_id, today, rng.choice([0, 2, 10, 40, 90]))
    return progress, replace(profile, stock_reports=(*profile.stock_reports, report)), today


def _hold(rng: Random, progress: Progress, profile: Profile, today: date) -> Walked:
    at = rng.randrange(len(profile.prescriptions))
    changed = [
        replace(each, status=rng.choice(["active", "on_hold"])) if number == at else each
        for number, each in enumerate(profile.prescriptions)
    ]
    return progress, replace(profile, prescriptions=tuple(changed)), today


def test_whatever_happens_planning_never_fails_and_keeps_its_word() -> None:
    for seed in range(80):
        random_walk(seed)


def test_after_each_look_the_next_lies_ahead(agreed: Progress) -> None:
    """A year in which nobody ever answers or comes: due work never stands still, and staff are asked to act."""
    progress, today = agreed, TODAY
    for _ in range(50):
        progress, _ = planned(progress, today=today)
        if progress.look_again_on is None:
            break
        assert progress.look_again_on > today
        today = progress.look_again_on
    assert progress.status is Status.blocked
    assert today < TODAY + timedelta(days=120)
    assert Rules().missed_cycles == progress.misses


def renewed(profile: Profile, *names: str) -> Profile:
    """The prescriber renewed these, used-up prescriptions: what comes is a new one in each one's place."""
    renewals = [
        replace(each, rx_id=f"{each.rx_id}-2", quantity_left=Decimal(360), renews=each.rx_id)
        for each in profile.prescriptions
        if each.drug.name in names
    ]
    return replace(profile, prescriptions=(*profile.prescriptions, *renewals))


def test_what_was_confirmed_for_today_is_filled_today_when_its_renewal_comes_today() -> None:
    """Out of the drugs and of refills: urgent today, confirmed with its condition, renewed an hour later."""
    out = taking({"a": -2, "b": -1})
    used_up = replace(
        out, prescriptions=tuple(replace(each, quantity_left=Decimal(0)) for each in out.prescriptions)
    )
    progress, plan = planned(Progress("patient-1"), used_up)
    assert plan.visits[0].on == TODAY and all(item.condition for item in plan.visits[0].items)
    after = path.alignment_agreed(progress, _id(progress), plan.anchor_on)
    assert after is not None
    progress, plan = planned(after, used_up)
    progress = confirmed(progress, progress.visits[0])

    progress, plan = planned(progress, renewed(used_up, "a"))

    assert isinstance(plan, Plan), "the visit of today was waited for to its end"
    assert plan.visits[0].visit_id == progress.visits[0].visit_id and progress.visits[0].confirmed
    unmet = {item.rx_id: item.condition is not None for item in plan.visits[0].items}
    assert unmet == {"rx-a-2": False, "rx-b": True}
    _, plan = planned(progress, renewed(used_up, "a", "b"))
    assert isinstance(plan, Plan)
    assert not any(item.condition for item in plan.visits[0].items)
    progress, _ = planned(progress, renewed(used_up, "a", "b"))
    assert planned(progress, renewed(used_up, "a", "b"))[1] is None, (
        "nothing waits any more but the patient's coming"
    )
