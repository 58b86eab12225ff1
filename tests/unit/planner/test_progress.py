"""How answers, and days that pass, move a patient along the path."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.planner.domain import progress
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


def planned(at: Progress, profile: Profile = PROFILE, today: date = TODAY) -> tuple[Progress, Any]:
    return progress.plan_anew(at, profile, EVERY_DAY, COMMERCIAL, today)


@pytest.fixture
def proposed() -> Progress:
    """The first plan, not agreed yet."""
    at, plan = planned(Progress("patient-1"))
    assert isinstance(plan, Plan) and not plan.agreed and len(plan.offered) == 3
    return at


@pytest.fixture
def agreed(proposed: Progress) -> Progress:
    """The agreed plan: a bridge on the 9th day, the pickup on the 18th."""
    at = replace(proposed, offered=(*proposed.offered, in_days(PINNED)))
    after = progress.alignment_agreed(at, _id(at), in_days(PINNED))
    assert after is not None
    at, plan = planned(after)
    assert isinstance(plan, Plan) and plan.agreed and plan.anchor_on == in_days(PINNED)
    assert [visit.kind for visit in at.visits] == [VisitKind.bridge, VisitKind.synchronized]
    return at


def _id(at: Progress) -> str:
    assert at.plan_id
    return at.plan_id


def bridge(at: Progress) -> OpenVisit:
    return at.visits[0]


def pickup(at: Progress) -> OpenVisit:
    return next(visit for visit in at.visits if visit.kind is VisitKind.synchronized)


def confirmed(at: Progress, visit: OpenVisit, *without: str) -> Progress:
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    after = progress.pickup_confirmed(at, visit.visit_id, wanted, without)
    assert after is not None
    return after


def test_only_an_offered_day_of_the_plan_that_stands_is_agreed(proposed: Progress) -> None:
    plan_id = _id(proposed)
    assert progress.alignment_agreed(proposed, "another plan", proposed.offered[0]) is None
    assert progress.alignment_agreed(proposed, plan_id, in_days(60)) is None
    agreed = progress.alignment_agreed(proposed, plan_id, proposed.offered[2])
    assert agreed and agreed.anchor_on == proposed.offered[2]
    assert progress.alignment_agreed(agreed, plan_id, proposed.offered[0]) is None, "agreed already"


def test_a_day_that_nobody_was_told_binds_nothing(agreed: Progress) -> None:
    """The pickup was not reached, the next cycle was planned, and before any call the profile changed."""
    missed = progress.unreached(agreed, _id(agreed), pickup(agreed).visit_id)
    assert missed is not None
    untold, plan = planned(missed, today=in_days(10))
    assert isinstance(plan, Plan) and plan.agreed
    profile = taking({"a": 20, "b": 29})
    _, again = planned(untold, profile, in_days(11))
    _, fresh = planned(missed, profile, in_days(11))
    assert isinstance(again, Plan) and isinstance(fresh, Plan)
    assert fresh.anchor_on != plan.anchor_on, "the case says something"
    assert again == fresh


def test_a_visit_that_comes_near_before_anybody_was_told_of_it_is_not_held_fast(agreed: Progress) -> None:
    missed = progress.unreached(agreed, _id(agreed), pickup(agreed).visit_id)
    assert missed is not None
    untold, plan = planned(missed, today=in_days(10))
    assert isinstance(plan, Plan)
    first = min(visit.on for visit in plan.visits)
    today, profile = first - timedelta(days=2), taking({"a": 24, "b": 29})
    _, again = planned(untold, profile, today)
    _, fresh = planned(missed, profile, today)
    assert isinstance(again, Plan)
    assert again == fresh
    told = progress.visit_announced(untold, untold.visits[0].visit_id)
    assert told is not None
    _, kept = planned(told, today=today)
    assert isinstance(kept, Plan)
    assert kept.visits[0].on == first


def test_the_day_that_was_promised_comes_true_once_nothing_stands_against_it(agreed: Progress) -> None:
    """A plan that moved it was never told: once the store is open after all, the patient comes as agreed."""
    closed = replace(EVERY_DAY, closed_on=frozenset({in_days(PINNED)}))
    moved, plan = progress.plan_anew(agreed, PROFILE, closed, COMMERCIAL, TODAY)
    assert isinstance(plan, Plan) and plan.anchor_on != in_days(PINNED)
    _, again = planned(moved)
    assert isinstance(again, Plan)
    assert again.anchor_on == in_days(PINNED)


def test_of_a_plan_made_after_it_was_read_out_the_day_alone_is_promised(proposed: Progress) -> None:
    own = proposed.offered[0]
    assert own == proposed.anchor_on
    read = progress.alignment_agreed(proposed, _id(proposed), own)
    older = progress.alignment_agreed(proposed, _id(proposed), own, read_out=False)
    assert read is not None and older is not None
    told, by_older = progress.commitments_of(read), progress.commitments_of(older)
    assert told.anchor_on == by_older.anchor_on == own
    assert told.visits and not by_older.visits
    assert (told.next_anchor_on, by_older.next_anchor_on) == (proposed.next_anchor_on, None)


def test_a_confirmation_without_a_call_promises_no_day_after_it(agreed: Progress) -> None:
    visit = pickup(agreed)
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    for called, after in ((True, agreed.next_anchor_on), (False, None)):
        at = progress.pickup_confirmed(agreed, visit.visit_id, wanted, (), read_out=called)
        assert at is not None
        promised = progress.commitments_of(progress.close_visit(at, visit.visit_id))
        assert promised.anchor_on == after


def test_a_proposal_binds_nothing(proposed: Progress) -> None:
    profile = taking({"a": 15, "b": 17})
    _, again = planned(proposed, profile)
    _, fresh = planned(Progress("patient-1"), profile)
    assert again == fresh


def test_visits_of_the_agreed_proposal_stay_although_the_patient_answered_late(proposed: Progress) -> None:
    profile = taking({"a": 4, "b": 25})
    at, _ = planned(Progress("patient-1"), profile)
    assert bridge(at).on == in_days(4)
    after = progress.alignment_agreed(at, _id(at), at.offered[0])
    assert after is not None
    later, plan = planned(after, profile, in_days(2))
    assert isinstance(plan, Plan)
    assert [visit.visit_id for visit in later.visits] == [visit.visit_id for visit in at.visits]


def test_a_confirmed_visit_stands_and_what_was_declined_waits_for_the_next_pickup(agreed: Progress) -> None:
    at = confirmed(agreed, pickup(agreed), "rx-b")
    assert at.declined_until == {"rx-b": agreed.next_anchor_on}
    at, plan = planned(at, today=in_days(11))
    assert isinstance(plan, Plan)
    [at_pickup] = [visit for visit in plan.visits if visit.on == plan.anchor_on]
    assert [item.rx_id for item in at_pickup.items] == ["rx-a"]
    assert pickup(at).confirmed
    decision = next(drug for drug in plan.drugs if drug.rx_id == "rx-b")
    assert decision.action is Action.join_later


def test_what_was_declined_comes_along_with_the_next_pickup_that_was_told(agreed: Progress) -> None:
    _, plan = planned(confirmed(agreed, pickup(agreed), "rx-b"), today=in_days(11))
    assert isinstance(plan, Plan)
    assert plan.next_anchor_on == agreed.next_anchor_on


def test_the_bridge_to_a_pickup_stays_where_the_pickup_is_confirmed_before_it(agreed: Progress) -> None:
    at, plan = planned(confirmed(agreed, pickup(agreed)))
    assert isinstance(plan, Plan)
    assert [(visit.on, visit.kind) for visit in plan.visits] == [
        (in_days(8), VisitKind.bridge),
        (in_days(PINNED), VisitKind.synchronized),
    ]
    assert plan.uncovered_days == 0
    assert not bridge(at).confirmed and pickup(at).confirmed


def test_what_was_put_into_a_visit_after_the_patient_was_asked_is_not_declined(agreed: Progress) -> None:
    visit = pickup(agreed)
    [promised, added] = visit.items
    after = progress.pickup_confirmed(
        agreed, visit.visit_id, {promised.rx_id: (promised.quantity, promised.days_supply)}, ()
    )
    assert after is not None
    assert [item.rx_id for item in pickup(after).items] == [promised.rx_id]
    assert not after.declined_until
    at, plan = planned(after)
    assert isinstance(plan, Plan)
    [asked] = [visit for visit in plan.visits if added.rx_id in {item.rx_id for item in visit.items}]
    assert asked.visit_id == visit.visit_id
    assert [item.rx_id for item in asked.items if item.at_counter] == [added.rx_id]
    assert [item.rx_id for item in pickup(at).items] == [promised.rx_id], "nobody confirmed the other one"
    assert progress.commitments_of(at).visits[-1].items == pickup(after).items


def test_a_confirmation_of_drugs_that_the_visit_no_longer_has_says_nothing_of_those_it_has(
    agreed: Progress,
) -> None:
    assert progress.pickup_confirmed(agreed, pickup(agreed).visit_id, {"rx-z": (Decimal(30), 30)}, ()) is None


def test_a_confirmed_quantity_is_kept_as_it_was_confirmed(agreed: Progress) -> None:
    visit = bridge(agreed)
    after = progress.pickup_confirmed(agreed, visit.visit_id, {"rx-a": (Decimal(9), 9)}, ())
    assert after is not None
    _, plan = planned(after)
    assert isinstance(plan, Plan)
    assert [(item.quantity, item.days_supply) for item in plan.visits[0].items] == [(9, 9)]


def test_a_declined_bridge_is_not_offered_again(agreed: Progress) -> None:
    after = progress.pickup_declined(agreed, bridge(agreed).visit_id)
    assert after is not None
    at, plan = planned(after)
    assert isinstance(plan, Plan)
    assert [visit.on for visit in plan.visits] == [in_days(PINNED)]
    assert (at.cycle, at.misses) == (1, 0)
    assert progress.pickup_declined(at, bridge(agreed).visit_id) is None, "stale"


def test_confirming_nothing_is_declining(agreed: Progress) -> None:
    visit = pickup(agreed)
    assert progress.pickup_confirmed(
        agreed, visit.visit_id, {}, ["rx-a", "rx-b"]
    ) == progress.pickup_declined(agreed, visit.visit_id)


@pytest.mark.parametrize("how", ["declined", "unreached", "passed"])
def test_without_the_pickup_the_next_cycle_is_planned_agreed_and_unpinned(agreed: Progress, how: str) -> None:
    visit_id, plan_id, today = pickup(agreed).visit_id, _id(agreed), in_days(10)
    after = {
        "declined": lambda: progress.pickup_declined(agreed, visit_id),
        "unreached": lambda: progress.unreached(agreed, plan_id, visit_id),
        "passed": lambda: agreed,
    }[how]()
    assert after is not None
    today = in_days(PINNED + 1) if how == "passed" else today
    at, plan = planned(after, today=today)
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.agreed, at.misses) == (2, True, 1)
    assert plan.plan_id != plan_id
    assert plan.reasons[0].code == "anchor_best_of_year"


def test_after_two_cycles_in_vain_staff_act_until_the_patient_is_in_touch(agreed: Progress) -> None:
    after = progress.unreached(agreed, _id(agreed), pickup(agreed).visit_id)
    assert after is not None
    second, _ = planned(after, today=in_days(14))
    after = progress.pickup_declined(second, pickup(second).visit_id)
    assert after is not None
    at, blocked = planned(after, today=in_days(15))
    assert isinstance(blocked, Blocked)
    assert [reason.code for reason in blocked.reasons] == ["not_reached"]
    assert (at.status, at.look_again_on) == (Status.blocked, None)
    assert progress.unreached(at, _id(agreed), None) is None
    again, plan = planned(progress.reset_missed_cycles(at), today=in_days(16))
    assert isinstance(plan, Plan)
    assert again.status is Status.planned


def test_an_unanswered_proposal_is_proposed_again_and_counts_once_given_up(proposed: Progress) -> None:
    later, plan = planned(proposed, today=in_days(26))
    assert isinstance(plan, Plan)
    assert (later.cycle, later.misses, plan.agreed) == (1, 0, False)
    assert plan.visits[0].urgent and plan.visits[0].on == in_days(26), "by now both drugs are out"
    after = progress.unreached(proposed, _id(proposed), None)
    assert after is not None
    given_up, plan = planned(after)
    assert isinstance(plan, Plan)
    assert (given_up.cycle, given_up.misses, plan.agreed) == (2, 1, False)


def test_who_can_only_be_written_to_is_planned_for_days_that_the_post_can_confirm(proposed: Progress) -> None:
    """That is no miss; it is one where the next plan leaves the post no time for all that."""
    reachable_on = in_days(10)
    assert proposed.visits[0].on < reachable_on
    after = progress.unreached(proposed, _id(proposed), None, reachable_on, too_late=True)
    assert after is not None
    later, plan = planned(after)
    assert isinstance(plan, Plan)
    assert (later.misses, later.not_before, plan.agreed) == (0, reachable_on, False)
    assert min(visit.on for visit in plan.visits) == reachable_on
    assert "by_letter" in {reason.code for reason in plan.reasons}

    for days, misses in ((10, 1), (11, 1), (12, 0)):
        again = progress.unreached(later, _id(later), None, in_days(days), too_late=True)
        assert again is not None
        assert again.misses == misses


def test_a_letter_without_an_answer_is_a_miss_and_the_next_plan_leaves_the_post_its_time(
    agreed: Progress,
) -> None:
    after = progress.unreached(agreed, _id(agreed), pickup(agreed).visit_id, in_days(25))
    assert after is not None
    later, plan = planned(after, today=in_days(15))
    assert isinstance(plan, Plan)
    assert later.misses == 1
    assert min(visit.on for visit in plan.visits) == in_days(25)


@pytest.mark.parametrize(("how", "waits"), [("nothing", True), ("consent anew", False), ("given up", False)])
def test_the_post_needs_its_time_until_its_day_unless_it_is_needed_no_longer(
    proposed: Progress, how: str, waits: bool
) -> None:
    after = progress.unreached(proposed, _id(proposed), None, in_days(10), too_late=True)
    assert after is not None
    later, plan = planned(after)
    assert isinstance(plan, Plan)
    then = {
        "nothing": lambda: later,
        "consent anew": lambda: progress.enrolled(later),
        "given up": lambda: progress.unreached(later, _id(later), None),
    }[how]()
    assert then is not None
    assert (then.not_before is not None) is waits
    _, plan = planned(then, today=in_days(10))
    assert "by_letter" not in {reason.code for reason in plan.reasons}


@pytest.mark.parametrize("how", ["agreed", "confirmed", "declined", "moved", "came"])
def test_the_wait_for_a_letter_ends_when_the_patient_comes_or_answers(proposed: Progress, how: str) -> None:
    after = progress.unreached(proposed, _id(proposed), None, in_days(12), too_late=True)
    assert after is not None
    waiting, plan = planned(after)
    assert isinstance(plan, Plan) and waiting.not_before == in_days(12)
    visit = waiting.visits[0]
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    then = {
        "agreed": lambda: progress.alignment_agreed(waiting, _id(waiting), plan.anchor_on),
        "confirmed": lambda: progress.pickup_confirmed(waiting, visit.visit_id, wanted, ()),
        "declined": lambda: progress.pickup_declined(waiting, visit.visit_id),
        "moved": lambda: progress.reschedule_requested(waiting, visit.visit_id, in_days(20)),
        "came": lambda: progress.answered(waiting),
    }[how]()
    assert then is not None and then.not_before is None
    _, plan = planned(then, today=in_days(1))
    assert isinstance(plan, Plan)
    assert "by_letter" not in {reason.code for reason in plan.reasons}


def test_a_standing_instruction_is_no_answer_to_a_letter(agreed: Progress) -> None:
    waiting = replace(agreed, not_before=in_days(12))
    visit = pickup(agreed)
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    for by_patient, not_before in ((True, None), (False, in_days(12))):
        at = progress.pickup_confirmed(waiting, visit.visit_id, wanted, (), by_patient=by_patient)
        assert at is not None and at.not_before == not_before


def test_what_was_planned_too_late_for_any_call_is_no_miss(agreed: Progress) -> None:
    for planned_late, misses in ((True, 0), (False, 1)):
        after = progress.unreached(agreed, _id(agreed), pickup(agreed).visit_id, planned_late=planned_late)
        assert after is not None and after.misses == misses
        again, plan = planned(after, today=in_days(PINNED))
        assert isinstance(plan, Plan) and again.cycle == 2
        assert all(visit.on > in_days(PINNED) for visit in plan.visits), "not for today again"


def test_the_next_cycle_begins_when_the_pickup_was_handed_over(agreed: Progress) -> None:
    at = confirmed(confirmed(agreed, bridge(agreed)), pickup(agreed))
    taken = replace(PROFILE, fills=(*PROFILE.fills, fill("a", in_days(9), 9)))
    at = progress.close_visit(at, bridge(agreed).visit_id)
    at, plan = planned(at, taken, in_days(9))
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.anchor_on) == (1, in_days(PINNED))
    assert [visit.on for visit in plan.visits] == [in_days(PINNED)]

    all_taken = replace(taken, fills=(*taken.fills, fill("a", in_days(18)), fill("b", in_days(18))))
    at = progress.close_visit(at, pickup(agreed).visit_id)
    at, plan = planned(at, all_taken, in_days(18))
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.agreed, at.misses) == (2, True, 0)
    assert in_days(18 + 23) <= plan.anchor_on <= in_days(18 + 30)


def test_while_a_confirmed_visit_is_open_nothing_is_planned_until_it_is_given_up(agreed: Progress) -> None:
    at = confirmed(agreed, pickup(agreed))
    at = replace(at, visits=(pickup(at),))
    for days in (1, 11):
        waiting, outcome = planned(at, today=in_days(PINNED + days))
        assert outcome is None
        assert waiting.look_again_on == in_days(PINNED + 12)
    given_up, plan = planned(at, today=in_days(PINNED + 12))
    assert isinstance(plan, Plan)
    assert (plan.cycle, given_up.misses) == (2, 0)


def test_a_moved_visit_needs_a_new_confirmation(agreed: Progress) -> None:
    at = confirmed(agreed, pickup(agreed))
    after = progress.reschedule_requested(at, pickup(agreed).visit_id, in_days(19))
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
    gone = progress.disenrolled(agreed)
    assert (gone.status, gone.visits, gone.plan_id) == (Status.gone, (), None)
    back, plan = planned(progress.enrolled(gone))
    assert isinstance(plan, Plan)
    assert (plan.cycle, plan.agreed) == (2, False)
    assert back.plan_id != agreed.plan_id


def test_without_a_calendar_the_patient_waits_for_the_store() -> None:
    at, outcome = progress.plan_anew(Progress("patient-1"), PROFILE, None, COMMERCIAL, TODAY)
    assert outcome is None
    assert (at.status, at.look_again_on) == (Status.waiting, in_days(1))


Walked = tuple[Progress, Profile, date]


def random_walk(seed: int) -> None:
    """Anything that can happen to a patient, in any order, on any day: planning never fails, and keeps its word."""
    rng = Random(seed)
    profile, today = random_patient(rng), TODAY
    at, _ = planned(Progress("patient-1"), profile)
    for _ in range(25):
        happens = rng.choice(
            [_confirm, _confirm, _decline, _miss, _move, _come, _agree, _wait, _report, _hold]
        )
        at, profile, today = happens(rng, at, profile, today)
        stood = progress.as_of(at, today, COMMERCIAL)
        at, plan = planned(at, profile, today)
        assert at.look_again_on is None or at.look_again_on > today, f"seed {seed}"
        if isinstance(plan, Plan):
            assert all(visit.items and visit.on >= today for visit in plan.visits), f"seed {seed}"
            assert len({visit.on for visit in plan.visits}) == len(plan.visits), f"seed {seed}"
            assert plan.next_anchor_on > plan.anchor_on, f"seed {seed}"
            if happens is _wait and _is_promised(stood) and plan.cycle == stood.cycle:
                assert plan.anchor_on == stood.anchor_on, f"seed {seed}: a promised day moved by itself"


def _is_promised(at: Progress) -> bool:
    """Whether the day of the pickup was said, and the plan still has it."""
    return at.agreed and at.anchor_on is not None and at.promised_on == at.anchor_on


def _confirm(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    near = [visit for visit in at.visits if visit.on <= today + timedelta(days=7)]
    if not near:
        return at, profile, today
    visit = rng.choice(near)
    unwanted = [item.rx_id for item in visit.items if rng.random() < 0.2]
    wanted = {item.rx_id: (item.quantity, item.days_supply) for item in visit.items}
    return progress.pickup_confirmed(at, visit.visit_id, wanted, unwanted) or at, profile, today


def _decline(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    visit_id = rng.choice([visit.visit_id for visit in at.visits] or ["none"])
    return progress.pickup_declined(at, visit_id) or at, profile, today


def _miss(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    visit_id = rng.choice([None, *(visit.visit_id for visit in at.visits)])
    by_letter_on = today + timedelta(days=10) if rng.random() < 0.5 else None
    too_late = by_letter_on is not None and rng.random() < 0.5
    after = progress.unreached(at, at.plan_id or "none", visit_id, by_letter_on, too_late=too_late)
    after = after or at
    return progress.reset_missed_cycles(after), profile, today


def _move(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    visit_id = rng.choice([visit.visit_id for visit in at.visits] or ["none"])
    wanted_on = today + timedelta(days=rng.randint(-3, 45))
    return progress.reschedule_requested(at, visit_id, wanted_on) or at, profile, today


def _come(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    visit = next((visit for visit in at.visits if visit.confirmed), None)
    if visit is None:
        return at, profile, today
    today = max(today, visit.on)
    fills = tuple(Fill(item.rx_id, visit.on, today, item.days_supply) for item in visit.items)
    profile = replace(profile, fills=profile.fills + fills)
    return progress.close_visit(at, visit.visit_id), profile, today


def _agree(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    day = rng.choice(at.offered or (today,))
    return progress.alignment_agreed(at, at.plan_id or "none", day) or at, profile, today


def _wait(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    return at, profile, today + timedelta(days=rng.randint(0, 9))


def _report(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    rx_id = rng.choice(profile.prescriptions).rx_id
    report = StockReport(rx_id, today, rng.choice([0, 2, 10, 40, 90]))
    return at, replace(profile, stock_reports=(*profile.stock_reports, report)), today


def _hold(rng: Random, at: Progress, profile: Profile, today: date) -> Walked:
    held = rng.randrange(len(profile.prescriptions))
    changed = [
        replace(each, status=rng.choice(["active", "on_hold"])) if number == held else each
        for number, each in enumerate(profile.prescriptions)
    ]
    return at, replace(profile, prescriptions=tuple(changed)), today


@pytest.mark.slow
def test_whatever_happens_planning_never_fails_and_keeps_its_word() -> None:
    for seed in range(80):
        random_walk(seed)


def test_after_each_look_the_next_lies_ahead(agreed: Progress) -> None:
    """A year in which nobody ever answers or comes: due work never stands still, and staff are asked to act."""
    at, today = agreed, TODAY
    for _ in range(50):
        at, _ = planned(at, today=today)
        if at.look_again_on is None:
            break
        assert at.look_again_on > today
        today = at.look_again_on
    assert at.status is Status.blocked
    assert today < TODAY + timedelta(days=120)
    assert Rules().missed_cycles == at.misses


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
    at, plan = planned(Progress("patient-1"), used_up)
    assert plan.visits[0].on == TODAY and all(item.condition for item in plan.visits[0].items)
    after = progress.alignment_agreed(at, _id(at), plan.anchor_on)
    assert after is not None
    at, plan = planned(after, used_up)
    at = confirmed(at, at.visits[0])

    at, plan = planned(at, renewed(used_up, "a"))

    assert isinstance(plan, Plan), "the visit of today was waited for to its end"
    assert plan.visits[0].visit_id == at.visits[0].visit_id and at.visits[0].confirmed
    unmet = {item.rx_id: item.condition is not None for item in plan.visits[0].items}
    assert unmet == {"rx-a-2": False, "rx-b": True}
    _, plan = planned(at, renewed(used_up, "a", "b"))
    assert isinstance(plan, Plan)
    assert not any(item.condition for item in plan.visits[0].items)


def test_a_renewal_takes_the_place_of_what_was_confirmed_in_every_plan_until_the_visit_is_over(
    agreed: Progress,
) -> None:
    used_up = replace(
        PROFILE,
        prescriptions=tuple(replace(each, quantity_left=Decimal(0)) for each in PROFILE.prescriptions),
    )
    at, _ = planned(confirmed(agreed, pickup(agreed)), used_up)
    at, first = planned(at, renewed(used_up, "a"))
    _, second = planned(at, renewed(used_up, "a"))
    for plan in (first, second):
        [visit] = [visit for visit in plan.visits if visit.kind is VisitKind.synchronized]
        assert [(item.rx_id, item.in_place_of) for item in visit.items] == [
            ("rx-a-2", "rx-a"),
            ("rx-b", None),
        ]
