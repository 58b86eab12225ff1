"""What an answer means: events, and where it leaves the contact."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from services.outreach.domain.answers import (
    Answer,
    Change,
    Outcome,
    Unfit,
    asked,
    called_in,
    confirmable,
    effect_of,
    understood,
)
from services.outreach.domain.model import Case, Contact, Kind, Plan, Status
from services.outreach.domain.review import review
from services.outreach.domain.texts import Meaning
from shared.events import Event
from shared.events.outreach import (
    AlignmentAgreed,
    ChangeReported,
    PickupConfirmed,
    PickupDeclined,
    QuestionRaised,
    ReportedChange,
    RescheduleRequested,
)
from shared.events.planner import VisitKind
from tests.unit.outreach.given import PATIENT, at, case, contact, plan, visit

BRIDGE = visit(date(2026, 10, 6), VisitKind.bridge, ["a"])
VISIT = visit(date(2026, 10, 9))
LATER = visit(date(2026, 10, 29), VisitKind.ride_along, ["c"])
AGREED = plan(BRIDGE, VISIT, LATER)
PROPOSED = plan(BRIDGE, VISIT, LATER, agreed=False, offered=[VISIT.on, date(2026, 10, 12)])
NOW = at(2)

CONFIRMING = contact(Kind.confirmation, VISIT.on, at(1), VISIT.visit_id)
OF_BRIDGE = contact(Kind.confirmation, BRIDGE.on, at(1), BRIDGE.visit_id)
OF_LATER = contact(Kind.confirmation, LATER.on, at(1), LATER.visit_id)
ALIGNING = contact(Kind.alignment, BRIDGE.on, at(1))


def answered(
    about: Contact, answer: Answer, told: Plan, known: Case
) -> tuple[Contact, tuple[Event, ...], bool]:
    effect = effect_of(about, Outcome.answered, answer, told, known, NOW)
    return effect.contacts[0], effect.events, effect.stale


def test_a_confirmed_visit_carries_every_item_wanted() -> None:
    known = case(CONFIRMING, plan=AGREED)
    after, [event], _ = answered(CONFIRMING, Answer(confirm=True, declined_rx_ids=("b",)), AGREED, known)
    assert isinstance(event, PickupConfirmed)
    assert [each.rx_id for each in event.items] == ["a"]
    assert (event.declined_rx_ids, event.plan_revision, event.visit_id) == (("b",), 1, VISIT.visit_id)
    assert (after.status, after.attempts, after.last_attempt_at) == (Status.answered, 1, NOW)


def test_what_the_payer_is_told_goes_with_the_confirmation() -> None:
    pack, *rest = VISIT.items
    billed = pack.model_copy(update={"days_supply_billed": 28, "clarification_codes": ("10",)})
    told = plan(BRIDGE, VISIT.model_copy(update={"items": (billed, *rest)}), LATER)
    _, [event], _ = answered(CONFIRMING, Answer(confirm=True), told, case(CONFIRMING, plan=told))
    assert isinstance(event, PickupConfirmed)
    said = {each.rx_id: (each.days_supply_billed, each.clarification_codes) for each in event.items}
    assert said[pack.rx_id] == (28, ("10",))
    assert all(said[each.rx_id] == (None, ()) for each in rest)


def test_a_drug_that_was_stopped_or_changed_is_held_back() -> None:
    answer = Answer(confirm=True, changes=(Change("a", ReportedChange.stopped),))
    _, [reported, confirmed], _ = answered(CONFIRMING, answer, AGREED, case(CONFIRMING, plan=AGREED))
    assert isinstance(reported, ChangeReported)
    assert (reported.rx_id, reported.change, reported.reported_on) == ("a", "stopped", date(2026, 10, 2))
    assert isinstance(confirmed, PickupConfirmed)
    assert confirmed.declined_rx_ids == ("a",)


def test_wanting_nothing_is_a_decline() -> None:
    answer = Answer(confirm=True, declined_rx_ids=("a", "b"))
    _, [event], _ = answered(CONFIRMING, answer, AGREED, case(CONFIRMING, plan=AGREED))
    assert isinstance(event, PickupDeclined)


@pytest.mark.parametrize(
    ("about", "told", "answer", "event_type", "status"),
    [
        (CONFIRMING, AGREED, Answer(decline=True), PickupDeclined, Status.declined),
        (
            CONFIRMING,
            AGREED,
            Answer(reschedule_to=date(2026, 10, 12)),
            RescheduleRequested,
            Status.rescheduled,
        ),
        (ALIGNING, PROPOSED, Answer(anchor_on=VISIT.on), AlignmentAgreed, Status.answered),
        (ALIGNING, PROPOSED, Answer(anchor_on=date(2026, 10, 12)), AlignmentAgreed, Status.answered),
        (ALIGNING, PROPOSED, Answer(decline=True), PickupDeclined, Status.declined),
        (
            ALIGNING,
            PROPOSED,
            Answer(reschedule_to=date(2026, 10, 15)),
            RescheduleRequested,
            Status.rescheduled,
        ),
    ],
)
def test_a_decision_is_an_event(
    about: Contact, told: Plan, answer: Answer, event_type: type[Event], status: Status
) -> None:
    after, events, stale = answered(about, answer, told, case(about, plan=told))
    assert [type(event) for event in events] == [event_type]
    assert (after.status, stale) == (status, False)


def test_a_question_is_raised_and_a_pharmacist_is_to_call_back() -> None:
    effect = effect_of(CONFIRMING, Outcome.answered, Answer(question=True), AGREED, case(plan=AGREED), NOW)
    assert effect.events == (QuestionRaised(patient_id=PATIENT, visit_id=VISIT.visit_id),)
    assert [(each.kind, each.status) for each in effect.contacts] == [
        (Kind.confirmation, Status.open),
        (Kind.question, Status.open),
    ]


@pytest.mark.parametrize(
    ("about", "answer", "code"),
    [
        (CONFIRMING, Answer(confirm=True, decline=True), "several_decisions"),
        (CONFIRMING, Answer(anchor_on=VISIT.on), "wrong_decision"),
        (ALIGNING, Answer(confirm=True), "wrong_decision"),
        (ALIGNING, Answer(anchor_on=date(2026, 10, 20)), "day_not_offered"),
        (CONFIRMING, Answer(reschedule_to=date(2026, 10, 2)), "day_passed"),
        (CONFIRMING, Answer(confirm=True, confirm_visits=("another",)), "no_such_visit"),
        (contact(Kind.ready, VISIT.on, at(1)), Answer(confirm=True), "wrong_decision"),
        (CONFIRMING, Answer(changes=(Change("x", ReportedChange.stopped),)), "no_such_prescription"),
        (CONFIRMING, Answer(changes=(Change("a", ReportedChange.on_hand),)), "days_left_missing"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(about: Contact, answer: Answer, code: str) -> None:
    told = PROPOSED if about is ALIGNING else AGREED
    with pytest.raises(Unfit) as refused:
        answered(about, answer, told, case(about, plan=told))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("about", "told", "answer", "newest"),
    [
        pytest.param(
            CONFIRMING, AGREED, Answer(confirm=True), plan(visit(date(2026, 10, 12)), revision=2), id="moved"
        ),
        pytest.param(CONFIRMING, AGREED, Answer(confirm=True), None, id="no plan any more"),
        pytest.param(
            ALIGNING,
            PROPOSED,
            Answer(anchor_on=date(2026, 10, 12)),
            plan(BRIDGE, VISIT, agreed=False, revision=2),
            id="the day is offered no longer",
        ),
        pytest.param(ALIGNING, PROPOSED, Answer(anchor_on=VISIT.on), AGREED, id="agreed meanwhile"),
    ],
)
def test_a_decision_about_what_the_plan_no_longer_holds_is_stale(
    about: Contact, told: Plan, answer: Answer, newest: Plan | None
) -> None:
    after, events, stale = answered(about, answer, told, case(about, plan=newest))
    assert (events, stale) == ((), True)
    assert (after.status, after.attempts) == (Status.open, 1)


def test_an_answer_names_the_revision_that_was_read_out() -> None:
    newest = plan(BRIDGE, VISIT, revision=7)
    _, [event], _ = answered(CONFIRMING, Answer(confirm=True), AGREED, case(CONFIRMING, plan=newest))
    assert isinstance(event, PickupConfirmed)
    assert event.plan_revision == 1


def test_who_takes_part_no_longer_has_nothing_to_confirm() -> None:
    known = case(CONFIRMING, plan=AGREED, enrolled=False)
    _, events, stale = answered(CONFIRMING, Answer(confirm=True, question=True), AGREED, known)
    assert (events, stale) == ((), True)


def test_one_call_confirms_the_other_near_visits_and_leaves_the_later_ones() -> None:
    known = case(CONFIRMING, OF_BRIDGE, OF_LATER, plan=AGREED)
    answer = Answer(confirm=True, confirm_visits=(BRIDGE.visit_id, LATER.visit_id))
    effect = effect_of(CONFIRMING, Outcome.answered, answer, AGREED, known, NOW)
    assert [event.visit_id for event in effect.events if isinstance(event, PickupConfirmed)] == [
        VISIT.visit_id,
        BRIDGE.visit_id,
    ]
    assert [each.status for each in effect.contacts] == [Status.answered, Status.answered]


def test_only_visits_of_the_next_seven_days_may_be_confirmed_beside() -> None:
    assert confirmable(AGREED, date(2026, 10, 2)) == [BRIDGE, VISIT]
    assert confirmable(AGREED, date(2026, 10, 6)) == [VISIT]


@pytest.mark.parametrize(
    ("agreed_visits", "confirmed"),
    [
        pytest.param((BRIDGE, VISIT), [BRIDGE.visit_id, VISIT.visit_id], id="the plan's own day"),
        pytest.param(
            (BRIDGE, visit(date(2026, 10, 12))), [BRIDGE.visit_id], id="another day: the bridge survives"
        ),
    ],
)
def test_visits_confirmed_with_the_alignment_count_once_the_agreed_plan_has_them(
    agreed_visits: tuple[object, ...], confirmed: list[str]
) -> None:
    answer = Answer(
        anchor_on=VISIT.on, confirm_visits=(BRIDGE.visit_id, VISIT.visit_id), declined_rx_ids=("b",)
    )
    effect = effect_of(ALIGNING, Outcome.answered, answer, PROPOSED, case(ALIGNING, plan=PROPOSED), NOW)
    assert [type(event) for event in effect.events] == [AlignmentAgreed]
    promised = effect.contacts[1:]
    assert {each.status for each in promised} == {Status.promised}

    before = review(case(*promised, plan=PROPOSED), NOW)
    assert before.events == ()
    agreed = plan(*agreed_visits, revision=2)  # type: ignore[arg-type]
    after = review(case(*promised, plan=agreed), NOW)
    assert [event.visit_id for event in after.events if isinstance(event, PickupConfirmed)] == confirmed
    assert all(event.plan_revision == 2 for event in after.events if isinstance(event, PickupConfirmed))


@pytest.mark.parametrize(
    ("kind", "outcome", "status"),
    [
        (Kind.confirmation, Outcome.no_answer, Status.open),
        (Kind.confirmation, Outcome.voicemail, Status.open),
        (Kind.confirmation, Outcome.wrong_number, Status.open),
        (Kind.confirmation, Outcome.stop, Status.open),
        (Kind.confirmation, Outcome.answered, Status.open),
        (Kind.ready, Outcome.answered, Status.done),
        (Kind.reminder, Outcome.voicemail, Status.done),
        (Kind.missed, Outcome.no_answer, Status.open),
        (Kind.question, Outcome.voicemail, Status.open),
        (Kind.question, Outcome.answered, Status.done),
    ],
)
def test_what_an_attempt_without_a_decision_leaves(kind: Kind, outcome: Outcome, status: Status) -> None:
    about = contact(kind, VISIT.on, at(1), VISIT.visit_id)
    effect = effect_of(about, outcome, Answer(), AGREED, case(about, plan=AGREED), NOW)
    assert effect.events == ()
    assert [(each.status, each.attempts, each.lease_id) for each in effect.contacts] == [(status, 1, None)]


def test_a_patient_who_calls_in_closes_the_open_attempts() -> None:
    lent = replace(OF_BRIDGE, lease_id=OF_BRIDGE.contact_id, lease_until=NOW + timedelta(minutes=5))
    ready = contact(Kind.ready, date(2026, 10, 2), at(1), "v-ready")
    effect = called_in(case(lent, CONFIRMING, ready, plan=AGREED), None, Answer(confirm=True), NOW)
    assert {
        each.kind: (each.status, each.lease_id) for each in effect.contacts if each.visit_id != VISIT.visit_id
    } == {
        Kind.confirmation: (Status.answered, None),
        Kind.ready: (Status.done, None),
    }
    [event] = effect.events
    assert isinstance(event, PickupConfirmed)
    assert event.visit_id == BRIDGE.visit_id


def test_a_patient_who_calls_in_may_change_an_answer() -> None:
    effect = called_in(case(OF_BRIDGE, plan=AGREED), VISIT.visit_id, Answer(decline=True), NOW)
    assert effect.contacts[0].status is Status.declined
    assert [type(event) for event in effect.events] == [PickupDeclined]


def test_a_patient_who_calls_in_without_a_decision_is_not_called_again_that_day() -> None:
    due = replace(OF_BRIDGE, due_at=at(2, "09:00"))
    effect = called_in(case(due, plan=AGREED), None, Answer(question=True), NOW)
    about = next(each for each in effect.contacts if each.kind is Kind.confirmation)
    [planned] = [
        each for each in review(case(about, plan=AGREED), NOW).contacts if each.kind is Kind.confirmation
    ]
    assert planned.due_at == at(3, "13:30")


def test_a_question_asked_twice_at_the_same_moment_is_one_contact() -> None:
    first = called_in(case(), None, Answer(question=True), NOW)
    again = called_in(case(*first.contacts), None, Answer(question=True), NOW)
    assert [each.kind for each in again.contacts] == [Kind.question]


def test_a_decision_without_a_plan_is_refused() -> None:
    with pytest.raises(Unfit, match="nothing_to_answer"):
        called_in(case(), None, Answer(confirm=True), NOW)


ASKED = replace(OF_BRIDGE, attempts=1)


@pytest.mark.parametrize(
    ("meaning", "questions", "confirms", "for_a_person"),
    [
        (Meaning.yes, [ASKED], True, False),
        (Meaning.yes, [], False, False),
        (Meaning.yes, [ASKED, ASKED], False, True),
        (Meaning.yes, [replace(ALIGNING, attempts=1)], False, True),
        (Meaning.another_day, [ASKED], False, True),
        (Meaning.unclear, [], False, True),
        (Meaning.thanks, [ASKED], False, False),
        (Meaning.help, [ASKED], False, False),
        (Meaning.stop, [ASKED], False, False),
    ],
)
def test_what_words_add_to_an_answer(
    meaning: Meaning, questions: list[Contact], confirms: bool, for_a_person: bool
) -> None:
    said = understood(Answer(text="…"), meaning, questions)
    assert (said.answer.confirm, said.for_a_person) == (confirms, for_a_person)
    assert said.visit_id == (ASKED.visit_id if confirms else None)


def test_a_yes_is_about_what_was_asked() -> None:
    known = case(OF_BRIDGE, ASKED, replace(ASKED, status=Status.answered), plan=AGREED)
    assert asked(known, None) == [ASKED]
    assert asked(known, ASKED.visit_id) == [ASKED]
    assert asked(known, "another") == []


def test_words_do_not_overrule_the_decision_beside_them() -> None:
    assert understood(Answer(decline=True), Meaning.yes, [ASKED]).answer == Answer(decline=True)


def test_who_decided_and_then_only_asks_is_not_asked_again() -> None:
    later = called_in(case(plan=plan(VISIT)), None, Answer(question=True), NOW)
    assert [(each.kind, each.visit_id) for each in later.contacts] == [(Kind.question, VISIT.visit_id)]
    again = called_in(case(plan=plan(VISIT)), None, Answer(decline=True), NOW)
    assert [each.kind for each in again.contacts] == [Kind.confirmation], (
        "what was decided may be decided anew"
    )
    nothing = called_in(case(plan=plan(VISIT)), None, Answer(question=True), NOW, at_counter=True)
    assert nothing.contacts == ()
