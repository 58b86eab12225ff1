"""Contacts that outreach makes: leased to dialers and to people, reported, or closed by staff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import Field

from services.outreach.commands.effects import Reply, given, take_effect
from services.outreach.commands.leasing import LeasedContacts, LeaseRequest, lease_contacts, require_lease_of
from services.outreach.commands.stopping import ENDS, heed
from services.outreach.commands.texts import keep_text
from services.outreach.domain.answers import Answer, Effect, Outcome, announced, effect_of, understood
from services.outreach.domain.model import ASKS, By, Case, Contact, Kind, Status, by_of
from services.outreach.domain.review import Lease, lease, lease_next
from services.outreach.domain.schedule import may_call
from services.outreach.domain.texts import Heard, hear
from services.outreach.queries import known_contact
from services.outreach.recompute import recompute_contacts
from services.outreach.store import attempts, reads, writes
from services.outreach.store.attempts import Attempt
from shared import access
from shared.events.enrollment import Channel
from shared.messaging import Unit
from shared.problems import STAFF, Conflict
from shared.values import FreeText, LenientInput, Output, for_example

HEEDED_LATE = frozenset({Outcome.stop, Outcome.wrong_number})
"""Outcomes that count whether or not the lease still holds: nobody has to say stop twice."""


# ---- leases ---------------------------------------------------------------------------------------------------


async def lease_due(unit: Unit, patient_ids: Sequence[str], wanted: LeaseRequest) -> LeasedContacts:
    """Lease the most important contact that is due of each of these patients; to a person also what no dialer may
    make."""
    by, until = by_of(unit.role), unit.now + timedelta(minutes=wanted.minutes)
    cases = await recompute_contacts(unit, patient_ids)
    leases = [made for case in cases if (made := lease_next(case, by, unit.now, until, uuid4()))]
    return await lease_contacts(unit, leases, by, wanted.worker)


async def lease_chosen(unit: Unit, contact_id: UUID, wanted: LeaseRequest) -> LeasedContacts:
    """Lease one contact of the call list to a member of staff, due or not; a question only to a pharmacist."""
    contact = await _contact(unit, contact_id)
    [case] = await recompute_contacts(unit, [contact.patient_id])
    made = _lease_by_hand(case, contact_id, unit.now, unit.now + timedelta(minutes=wanted.minutes))
    return await lease_contacts(unit, [made], By.person, wanted.worker)


def _lease_by_hand(case: Case, contact_id: UUID, now: datetime, until: datetime) -> Lease:
    """The lease of a contact that a person chose. Raises Conflict, which says why there is none."""
    contact = next((each for each in case.contacts if each.contact_id == contact_id), None)
    if contact is None or contact.status is not Status.open:
        raise Conflict("not_open", "the contact is decided or withdrawn: nothing is left to ask or to say")
    if any(each.lease_id for each in case.contacts):
        raise Conflict("leased", "someone is speaking to the patient now: wait for the outcome")
    if not case.enrolled or case.zone is None:
        raise Conflict("not_known", "the patient's enrollment or time zone is not known yet")
    if refusal := may_call(case, contact, now):
        raise Conflict("not_now", refusal)
    made = lease(case, contact, By.person, now, until, uuid4())
    if made is None:
        raise Conflict("no_channel", "there is no number or address left that the patient consented to")
    return made


# ---- outcomes -------------------------------------------------------------------------------------------------


class Report(LenientInput):
    """What came of a leased contact."""

    model_config = for_example(
        lease_id="d2b1f0a4-6f0e-4a35-9c58-3a1f0b7c9e21",
        outcome="answered",
        answer={"confirm": True, "declined_rx_ids": ["RX1002"]},
    )

    lease_id: UUID
    outcome: Outcome
    answer: Answer = Answer()

    @cached_property
    def heard(self) -> Heard:
        """What the patient's own words mean."""
        return hear(self.answer.text)

    @property
    def came_of_it(self) -> Outcome:
        """The outcome, or what the patient's words make of it."""
        return ENDS.get(self.heard.meaning, self.outcome)

    @property
    def overtakes(self) -> bool:
        """Whether it counts even while the patient is parked, and after the lease."""
        return self.came_of_it in HEEDED_LATE


async def report(unit: Unit, contact_id: UUID, said: Report) -> Reply:
    """Take the outcome of a leased contact; the same outcome of the same lease again gets the same answer."""
    contact = await _contact(unit, contact_id)
    attempt = await attempts.load_attempt(unit.db, said.lease_id)
    if attempt:
        require_lease_of(attempt, unit)
    if attempt and attempt.outcome and not (said.overtakes and attempt.outcome != said.came_of_it):
        return _same_again(attempt, contact_id, said)
    if attempt is None or attempt.contact_id != contact_id:
        raise Conflict("foreign", "the contact was never leased under this lease_id")
    over = _why_over(attempt, contact, unit.now)
    if over and not said.overtakes:
        raise over
    questions = [contact] if contact.kind in ASKS and said.came_of_it is Outcome.answered else []
    meant = understood(said.answer, said.heard.meaning, questions)
    effect = (
        Effect((), stale=True)
        if over
        else await _effect(unit, contact, attempt, said.came_of_it, meant.answer)
    )
    reply = await take_effect(unit, effect, said.answer.asked)
    channel, number = (
        attempt.channel or Channel.other,
        await attempts.leased_number(unit.db, unit.keys, said.lease_id),
    )
    reply = reply.beside(await heed(unit, contact.patient_id, said.came_of_it, said.heard, channel, number))
    if meant.for_a_person and unit.role not in STAFF:  # staff have read what they report
        [case] = await reads.load_cases(unit.db, [contact.patient_id], unit.now)
        text = said.answer.text
        kept = await keep_text(unit, case, text, said.heard.meaning, channel, number)
        reply = reply.beside(Reply(text_id=kept))
    await recompute_contacts(unit, [contact.patient_id])
    if not attempt.outcome:
        kept_answer, kept_reply = given(said.answer), reply.written()
        await attempts.report_attempt(
            unit.db, said.lease_id, said.came_of_it, kept_answer, kept_reply, unit.now
        )
    return reply


def _why_over(attempt: Attempt, contact: Contact, now: datetime) -> Conflict | None:
    """Why the lease is held no longer; None while it is."""
    if attempt.until is None or attempt.until <= now:
        return Conflict(
            "expired",
            "the lease ran out before the outcome came and the contact is due again: lease it anew",
        )
    if contact.lease_id != attempt.lease_id:
        return Conflict(
            "taken_back",
            "the patient called in or staff closed the contact meanwhile: nothing is left to report",
        )
    return None


def _same_again(attempt: Attempt, contact_id: UUID, said: Report) -> Reply:
    same = attempt.outcome == said.came_of_it and attempt.answer | {"text": ""} == given(said.answer)
    if attempt.contact_id == contact_id and same:
        return Reply.model_validate(attempt.reply)
    raise Conflict("reported", "this lease was reported with another outcome, which stands")


async def _effect(unit: Unit, contact: Contact, attempt: Attempt, outcome: Outcome, answer: Answer) -> Effect:
    [case] = await reads.load_cases(unit.db, [contact.patient_id], unit.now)
    if attempt.channel is Channel.letter:
        contact = replace(contact, written_at=unit.now)
    effect = effect_of(contact, outcome, answer, attempt.told, case, unit.now)
    told = announced(effect.contacts[0], outcome, attempt.channel, attempt.told)
    return effect if effect.stale or told is None else replace(effect, events=(*effect.events, told))


# ---- staff overrule -------------------------------------------------------------------------------------------


class CloseRequest(LenientInput):
    """Why a contact is not made."""

    model_config = for_example(reason="the patient was asked at the counter")

    reason: Annotated[FreeText, Field(min_length=3, description="kept with the contact")]


class ContactClosed(Output):
    """Where the contact stands now."""

    contact_id: UUID
    status: Status


async def close(unit: Unit, contact_id: UUID, said: CloseRequest) -> ContactClosed:
    """Staff overrule the program: this contact is not made. A question is a pharmacist's to close."""
    contact = await _contact(unit, contact_id)
    if contact.status is not Status.open:
        raise Conflict("not_open", f"the contact is {contact.status} already")
    await writes.close_contact(unit.db, contact_id, Status.closed, f"{unit.role}/{unit.actor}", said.reason)
    await recompute_contacts(unit, [contact.patient_id])
    return ContactClosed(contact_id=contact_id, status=Status.closed)


async def _contact(unit: Unit, contact_id: UUID) -> Contact:
    """The contact as it is now that its patient is locked. Raises NotFound, or NotAllowed: a question is for a
    pharmacist."""
    contact = await known_contact(unit.db, contact_id)
    if contact.kind is Kind.question:
        access.require("answer a question", unit.role)
    return contact
