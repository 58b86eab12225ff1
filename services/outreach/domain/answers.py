"""What an answer means: which events follow, and where it leaves the contact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, StrictBool

from services.outreach.domain.model import (
    ASKS,
    SPOKEN,
    Case,
    Contact,
    Kind,
    Plan,
    Status,
    called_for,
    confirmation,
    contact_id,
)
from services.outreach.domain.review import declined, pickup
from services.outreach.domain.texts import Meaning
from shared.events import Event
from shared.events.enrollment import Channel
from shared.events.outreach import (
    AlignmentAgreed,
    ChangeReported,
    QuestionRaised,
    ReportedChange,
    RescheduleRequested,
    VisitAnnounced,
)
from shared.events.planner import Visit
from shared.problems import Invalid
from shared.values import WHOLE, WORD, Day, Message

CONFIRM_AHEAD = timedelta(days=7)
"""Visits as near as this may be confirmed in any call (R13.9)."""

HELD_BACK = frozenset({ReportedChange.stopped, ReportedChange.dose_changed})
"""Changes after which the drug is not filled until a pharmacist has decided (R11.4)."""


DAYS_LEFT = range(3661)
"""What a patient may count of one drug: the contract's limits."""

MOST_DAYS = 1_000_000
"""Beyond it a count is no number that anybody meant."""


MOST = 200
"""Prescriptions, visits or changes in one answer."""

Name = Annotated[str, Field(max_length=200)]
"""The id of a prescription or a visit, as it was given out."""

Names = Annotated[tuple[Name, ...], Field(max_length=MOST)]


class Outcome(StrEnum):
    """How an attempt ended. A message that needs no answer is reported as answered or voicemail once it is out."""

    answered = "answered"
    no_answer = "no_answer"
    voicemail = "voicemail"
    wrong_number = "wrong_number"
    stop = "stop"


@dataclass(frozen=True, slots=True)
class Change:
    """What the patient reported about one drug; `days_left` with `on_hand`."""

    rx_id: Name
    change: Annotated[ReportedChange, WORD]
    days_left: Annotated[int, Field(strict=True, ge=-MOST_DAYS, le=MOST_DAYS), WHOLE] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the patient said: at most one decision, and anything beside it."""

    anchor_on: Day | None = None
    confirm: StrictBool = False
    decline: StrictBool = False
    reschedule_to: Day | None = None
    declined_rx_ids: Names = ()
    confirm_visits: Names = ()
    changes: Annotated[tuple[Change, ...], Field(max_length=MOST)] = ()
    question: StrictBool = False
    asked: Message = ""  # the question in words, for the pharmacist; kept sealed
    text: Message = ""  # as the patient wrote it: `texts` says what it means

    @property
    def decisions(self) -> list[str]:
        """The decisions given, by the name of their field."""
        given = {
            "anchor_on": self.anchor_on,
            "confirm": self.confirm,
            "decline": self.decline,
            "reschedule_to": self.reschedule_to,
        }
        return [name for name, value in given.items() if value]

    @property
    def says_more(self) -> bool:
        """Whether it holds anything beside the patient's own words."""
        return replace(self, text="") != Answer()


class Unfit(Invalid):
    """An answer that does not fit its contact."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an attempt leads to: contacts as they stand afterwards (the one at hand first), and events."""

    contacts: tuple[Contact, ...]
    events: tuple[Event, ...] = ()
    stale: bool = False  # the plan changed under the answer: recorded, and no decision follows


@dataclass(slots=True)
class _Draft:
    """An effect in the making."""

    contact: Contact
    others: list[Contact]
    events: list[Event]
    stale: bool = False

    def effect(self) -> Effect:
        return Effect((self.contact, *self.others), tuple(self.events), self.stale)


@dataclass(frozen=True, slots=True)
class Understood:
    """An answer with what the patient's own words add to it, and whether a person has to read them."""

    answer: Answer
    visit_id: str | None = None  # that it is about, where the words say so
    for_a_person: bool = False


def asked(case: Case, visit_id: str | None) -> list[Contact]:
    """The open questions that the patient was asked already; those about this visit, where one is named."""
    return [
        contact
        for contact in case.contacts
        if contact.status is Status.open
        and contact.kind in ASKS
        and contact.attempts
        and visit_id in (None, contact.visit_id)
    ]


def understood(answer: Answer, meaning: Meaning, questions: Sequence[Contact]) -> Understood:
    """What the words add to an answer. A plain yes confirms the one visit that was asked about.

    Yes to several questions, or to a proposal with its days and visits, is for a person; where nothing was asked it
    asks for nothing.
    """
    if meaning in (Meaning.unclear, Meaning.another_day):
        return Understood(answer, for_a_person=True)
    if meaning is not Meaning.yes or answer.decisions or not questions:
        return Understood(answer)
    if len(questions) > 1 or questions[0].kind is not Kind.confirmation:
        return Understood(answer, for_a_person=True)
    return Understood(replace(answer, confirm=True), questions[0].visit_id)


def effect_of(
    contact: Contact, outcome: Outcome, answer: Answer, told: Plan | None, case: Case, now: datetime
) -> Effect:
    """What a reported attempt means.

    `told` is the plan as it was read out; `case` is what is known now. A decision about what the plan no longer holds
    is stale: it is recorded and leads to nothing.

    Raises:
        Unfit: the answer does not belong to this kind of contact, or names what was not offered.
    """
    contact = replace(
        contact, attempts=contact.attempts + 1, last_attempt_at=now, lease_id=None, lease_until=None
    )
    if outcome is Outcome.answered:
        return heard(contact, answer, told, case, now)
    delivered = outcome is Outcome.voicemail and contact.kind not in ASKS | SPOKEN
    if delivered and contact.status is Status.open:
        contact = replace(contact, status=Status.done)
    return Effect((contact,))


def announced(
    contact: Contact, outcome: Outcome, channel: Channel | None, told: Plan | None
) -> VisitAnnounced | None:
    """What an attempt to have a visit confirmed told the patient, where nothing was decided: its day, if it was read
    out, or a text or a letter that names it is out. A message on a machine names no day."""
    written = channel in (Channel.text, Channel.letter) and outcome is Outcome.voicemail
    visit = told.visit(contact.visit_id) if told else None
    if contact.kind is not Kind.confirmation or visit is None or told is None or channel is None:
        return None
    if contact.status is not Status.open or not (written or outcome is Outcome.answered):
        return None
    return VisitAnnounced(
        patient_id=told.patient_id,
        plan_id=told.plan_id,
        plan_revision=told.revision,
        visit_id=visit.visit_id,
        on=visit.on,
        channel=channel,
    )


def heard(
    contact: Contact,
    answer: Answer,
    told: Plan | None,
    case: Case,
    now: datetime,
    *,
    at_counter: bool = False,
) -> Effect:
    """What the patient's own words mean, on a call of ours or of theirs, or at the counter. Raises `Unfit`."""
    _check(contact, answer, told, case, now)
    _check_changes(answer, told or case.plan)
    events, call_backs = beside(answer, case, contact.visit_id, now, at_counter=at_counter)
    draft = _Draft(contact, call_backs, events)
    if contact.kind not in ASKS:
        if contact.status is Status.open:
            draft.contact = replace(contact, status=Status.done)
    elif answer.decisions:
        _decide(draft, answer, told, case, now)
    return draft.effect()


def called_in(
    case: Case, visit_id: str | None, answer: Answer, now: datetime, *, at_counter: bool = False
) -> Effect:
    """The patient called or walked in: hear the answer, and close the attempts that are open.

    Without a `visit_id` the answer is about the proposal, or about the nearest visit still to be confirmed. What waits
    to be told counts as told; what waits for a decision is not tried again on the same day.

    Raises:
        Unfit: there is nothing that the decision could belong to.
    """
    closed = [_interrupted(contact, now) for contact in case.contacts if contact.status is Status.open]
    contact = _asked_about(case, closed, visit_id, now)
    if contact is None and answer.decisions:
        raise Unfit("nothing_to_answer", "the patient has no such visit to decide on")
    if contact is None or not (answer.decisions or contact in closed):
        # What was decided stays so where nothing is decided anew: it is not asked again.
        visit_id = contact.visit_id if contact else visit_id
        _check_changes(answer, case.plan)
        events, call_backs = beside(answer, case, visit_id, now, at_counter=at_counter)
        effect = Effect(tuple(call_backs), tuple(events))
    else:
        effect = heard(contact, answer, case.plan, case, now, at_counter=at_counter)
    touched = {each.contact_id for each in effect.contacts}
    others = (each for each in closed if each.contact_id not in touched)
    return Effect((*effect.contacts, *others), effect.events, effect.stale)


def confirmable(plan: Plan, today: date) -> list[Visit]:
    """The visits that a call of today may confirm beside what it is about; later ones are asked about in their time.

    One of today only where it is urgent: it is filled at once.
    """
    return [
        visit
        for visit in plan.visits
        if today < visit.on <= today + CONFIRM_AHEAD or (visit.urgent and visit.on == today)
    ]


def _check(contact: Contact, answer: Answer, told: Plan | None, case: Case, now: datetime) -> None:
    decisions = answer.decisions
    allowed = {
        Kind.alignment: {"anchor_on", "decline", "reschedule_to"},
        Kind.confirmation: {"confirm", "decline", "reschedule_to"},
    }.get(contact.kind, set())
    if len(decisions) > 1:
        raise Unfit("several_decisions", f"one decision is expected, found {', '.join(decisions)}")
    if not allowed.issuperset(decisions):
        raise Unfit(
            "wrong_decision", f"a contact of kind {contact.kind} takes no decision {', '.join(decisions)}"
        )
    if told is None:
        return
    today = now.astimezone(ZoneInfo(case.zone or "UTC")).date()
    if answer.anchor_on and answer.anchor_on not in told.days:
        raise Unfit("day_not_offered", "the day is none of those offered: ask for it with reschedule_to")
    if answer.confirm and contact.visit_on and contact.visit_on < today:
        raise Unfit("visit_passed", "the visit's day has passed: there is nothing left to confirm")
    if answer.reschedule_to and answer.reschedule_to <= today:
        raise Unfit("day_passed", "the day asked for is not in the future")
    if not {visit.visit_id for visit in told.visits}.issuperset(answer.confirm_visits):
        raise Unfit("no_such_visit", "confirm_visits names a visit that was not listed")


def _check_changes(answer: Answer, plan: Plan | None) -> None:
    """A change is about a prescription of the plan; a count of what is left has the count."""
    known = {*plan.rx_ids, *(item.rx_id for visit in plan.visits for item in visit.items)} if plan else set()
    for change in answer.changes:
        if change.rx_id not in known:
            raise Unfit("no_such_prescription", "a change names a prescription that is not in the plan")
        if change.change is ReportedChange.on_hand and change.days_left not in DAYS_LEFT:
            raise Unfit("days_left_missing", f"on_hand goes with days_left, 0 to {DAYS_LEFT[-1]}")


def beside(
    answer: Answer, case: Case, visit_id: str | None, now: datetime, *, at_counter: bool
) -> tuple[list[Event], list[Contact]]:
    """Reported changes and questions, whatever the decision; with a question, a pharmacist is to call back, but for who
    stands at the counter: they are answered there."""
    if not case.enrolled:
        return [], []
    today = now.astimezone(ZoneInfo(case.zone or "UTC")).date()
    events: list[Event] = [
        ChangeReported(
            patient_id=case.patient_id,
            rx_id=change.rx_id,
            change=change.change,
            reported_on=today,
            days_left=change.days_left if change.change is ReportedChange.on_hand else None,
        )
        for change in answer.changes
    ]
    if not (answer.question or answer.asked.strip()):
        return events, []
    raised = QuestionRaised(patient_id=case.patient_id, visit_id=visit_id)
    if at_counter:
        return [*events, raised], []
    call_back = Contact(
        contact_id=contact_id(case.patient_id, Kind.question, now.isoformat()),
        patient_id=case.patient_id,
        kind=Kind.question,
        store_id=case.store_id,
        opened_at=now,
        visit_id=visit_id,
    )
    return [*events, raised], [call_back]


def _decide(draft: _Draft, answer: Answer, told: Plan | None, case: Case, now: datetime) -> None:
    """Carry out the decision on an alignment or a confirmation, unless the plan has changed under it."""
    contact, plan = draft.contact, case.plan
    holds = (
        case.enrolled and told is not None and plan is not None and _still_holds(contact, answer, told, plan)
    )
    if not holds or told is None:
        draft.stale = True
        return
    today = now.astimezone(ZoneInfo(case.zone or "UTC")).date()
    visit = told.synchronized if contact.kind is Kind.alignment else told.visit(contact.visit_id)
    unwanted = frozenset(answer.declined_rx_ids) | {
        change.rx_id for change in answer.changes if change.change in HELD_BACK
    }
    if answer.anchor_on:
        draft.contact = replace(contact, status=Status.answered)
        draft.events.append(
            AlignmentAgreed(
                patient_id=told.patient_id,
                plan_id=told.plan_id,
                plan_revision=told.revision,
                anchor_on=answer.anchor_on,
            )
        )
        draft.others.extend(_promises(answer, told, unwanted, today, now))
    elif answer.confirm and visit:
        draft.contact = replace(contact, status=Status.answered)
        draft.events.append(pickup(told, visit, unwanted))
        _confirm_others(draft, answer, told, case, unwanted, today)
    elif answer.decline and visit:
        draft.contact = replace(contact, status=Status.declined)
        draft.events.append(declined(told, visit))
    elif answer.reschedule_to and visit:
        draft.contact = replace(contact, status=Status.rescheduled)
        draft.events.append(
            RescheduleRequested(
                patient_id=told.patient_id,
                plan_id=told.plan_id,
                plan_revision=told.revision,
                visit_id=visit.visit_id,
                wanted_on=answer.reschedule_to,
            )
        )


def _still_holds(contact: Contact, answer: Answer, told: Plan, plan: Plan) -> bool:
    """Whether the newest plan still has what the patient decided on."""
    if contact.kind is Kind.confirmation:
        return plan.visit(contact.visit_id) is not None
    same_proposal = plan.plan_id == told.plan_id and not plan.agreed
    return same_proposal and (answer.anchor_on is None or answer.anchor_on in plan.days)


def _promises(
    answer: Answer, told: Plan, unwanted: frozenset[str], today: date, now: datetime
) -> Iterator[Contact]:
    """Near visits confirmed together with the alignment: each counts once the agreed plan has it, under the same id."""
    for visit in confirmable(told, today):
        if visit.visit_id in answer.confirm_visits:
            yield replace(
                confirmation(told, visit, now),
                status=Status.promised,
                declined_rx_ids=tuple(sorted(unwanted)),
                last_attempt_at=now,
            )


def _confirm_others(
    draft: _Draft, answer: Answer, told: Plan, case: Case, unwanted: frozenset[str], today: date
) -> None:
    """Confirm further near visits of an agreed plan in the same call, where that is still open."""
    near = {
        visit.visit_id: visit for visit in confirmable(told, today) if visit.visit_id in answer.confirm_visits
    }
    for other in case.contacts:
        visit = near.get(other.visit_id or "")
        is_open = other.kind is Kind.confirmation and other.status is Status.open
        if visit and is_open and other.contact_id != draft.contact.contact_id:
            draft.others.append(replace(other, status=Status.answered))
            draft.events.append(pickup(told, visit, unwanted))


def _interrupted(contact: Contact, now: datetime) -> Contact:
    """An open contact of a patient who called in."""
    free = replace(contact, lease_id=None, lease_until=None)
    if contact.kind in ASKS or contact.kind is Kind.insurance:
        due_at = contact.due_at or contact.by_hand_at
        under_way = contact.lease_id is not None or (due_at is not None and due_at <= now)
        return replace(free, last_attempt_at=now) if under_way else free
    return free if contact.kind is Kind.question else replace(free, status=Status.done)


def _asked_about(case: Case, contacts: list[Contact], visit_id: str | None, now: datetime) -> Contact | None:
    """The alignment or confirmation that the patient means; a decided one may be decided again."""
    if case.plan is None:
        return None
    live = {contact.contact_id: contact for contact in contacts}
    called = [live.get(contact.contact_id, contact) for contact in called_for(case.plan, now)]
    if visit_id and case.plan.agreed:
        return next((contact for contact in called if contact.visit_id == visit_id), None)
    waiting = [contact for contact in called if contact.contact_id in live] or called
    return min(waiting, key=lambda contact: contact.visit_on or date.max, default=None)
