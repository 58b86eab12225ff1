"""Leasing contacts and reporting their outcome; what patients say by themselves; what staff ask and overrule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field

from services.outreach import store
from services.outreach.domain.answers import (
    Answer,
    Effect,
    Outcome,
    Understood,
    Unfit,
    asked,
    called_in,
    effect_of,
    understood,
)
from services.outreach.domain.model import ASKS, By, Case, Contact, Kind, Status
from services.outreach.domain.review import Lease, lease, lease_next
from services.outreach.domain.schedule import may_call
from services.outreach.domain.texts import Heard, Meaning, hear
from services.outreach.effects import call_of_theirs, given, take_effect
from services.outreach.lending import STAFF, LeaseRequest, lent_contact, number_of
from services.outreach.reviewing import review
from services.outreach.stopping import help_to, opt_in, opt_out, require_known, wrong_number
from services.outreach.texts import Number, keep_text
from shared import words
from shared.events import Reason
from shared.events.enrollment import Channel
from shared.http import Commanding, Problem, Role, Working, page
from shared.messaging import Refused, Unit, Work, patient, tables
from shared.values import FreeText, Text

router = APIRouter()

DUE_FOR = {By.dialler: "due_contacts", By.person: "due_contacts_for_people"}
HEEDED_LATE = frozenset({Outcome.stop, Outcome.wrong_number})
"""Outcomes that count whether or not the lease still holds: nobody has to say stop twice."""

PatientId = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=500)]


# ---- contacts with patients -----------------------------------------------------------------------------------


@router.post("/contacts/lease")
async def lease_contacts(body: LeaseRequest, caller: Commanding, work: Working) -> dict[str, Any]:
    """Lend contacts that are due, one per patient: to a dialler, or to a person also those that no dialler may make."""
    caller.require("system", *STAFF)
    by = By.dialler if caller.role == "system" else By.person

    async def lend(patients: Sequence[str], unit: Unit) -> dict[str, Any]:
        until = unit.now + timedelta(minutes=body.minutes)
        cases = await review(unit, patients)
        leases = [made for case in cases if (made := lease_next(case, by, unit.now, until, uuid4()))]
        return {"contacts": await _hand_out(unit, leases, by, body.worker)}

    return await work.claim(caller, DUE_FOR[by], body.limit, lend)


@router.post("/contacts/{contact_id}/lease")
async def lease_contact(
    contact_id: UUID, body: LeaseRequest, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Lend one contact of the call list to a member of staff, due or not; a question only to a pharmacist."""
    caller.require(*STAFF)

    async def lend(unit: Unit) -> dict[str, Any]:
        contact = await _contact(unit, contact_id)
        if contact.kind is Kind.question:
            caller.require("pharmacist")
        [case] = await review(unit, [contact.patient_id])
        made = _lease_by_hand(case, contact_id, unit.now, unit.now + timedelta(minutes=body.minutes))
        return {"contacts": await _hand_out(unit, [made], By.person, body.worker)}

    unkept = replace(caller, idempotency_key=None)  # its answer has a name and a number: it is not stored
    return await work.command(unkept, [patient(await _patient_of(work, contact_id))], lend)


def _lease_by_hand(case: Case, contact_id: UUID, now: datetime, until: datetime) -> Lease:
    """The lease of a contact that a person chose, or the reason why not as a 409 problem."""
    contact = next((each for each in case.contacts if each.contact_id == contact_id), None)
    if contact is None or contact.status is not Status.open:
        raise Problem(
            409, "Not open", "the contact is decided or withdrawn: nothing is left to ask or to say"
        )
    if any(each.lease_id for each in case.contacts):
        raise Problem(409, "Leased", "someone is speaking to the patient now: wait for the outcome")
    if not case.enrolled or case.zone is None:
        raise Problem(409, "Not known", "the patient's enrollment or time zone is not known yet")
    if refusal := may_call(case, contact, now):
        raise Problem(409, "Not now", refusal)
    made = lease(case, contact, By.person, now, until, uuid4())
    if made is None:
        raise Problem(409, "No channel", "there is no number or address left that the patient consented to")
    return made


async def _hand_out(unit: Unit, leases: Sequence[Lease], by: By, worker: str) -> list[dict[str, Any]]:
    """Write the leases down and read the names and numbers that they need."""
    people = await store.load_people(unit.db, [made.contact.patient_id for made in leases])
    numbers = {made.lease_id: number_of(made, people[made.contact.patient_id]) for made in leases}
    await store.save_contacts(unit.db, [contact for made in leases for contact in made.case.contacts])
    await store.add_attempts(
        unit.db,
        [
            store.Attempt(
                lease_id=made.lease_id,
                contact_id=made.contact.contact_id,
                patient_id=made.contact.patient_id,
                kind=made.contact.kind,
                made_by=by,
                actor=f"{unit.actor}/{worker}",
                at=unit.now,
                channel=made.channel,
                until=made.until,
                told=made.case.plan if made.contact.kind in ASKS else None,
            )
            for made in leases
        ],
    )
    await store.lend_numbers(
        unit.db,
        {
            made.contact.patient_id: (made.lease_id, number)
            for made in leases
            if (number := numbers[made.lease_id])
        },
    )
    return [
        lent_contact(made, people[made.contact.patient_id], numbers[made.lease_id], unit.now)
        for made in leases
    ]


class Report(BaseModel):
    """What came of a leased contact."""

    lease_id: UUID
    outcome: Outcome
    answer: Answer = Answer()


ENDS = {Meaning.stop: Outcome.stop, Meaning.wrong_number: Outcome.wrong_number}
"""What words that end contact make of an outcome, whatever it was reported as."""


@router.post("/contacts/{contact_id}/outcome")
async def outcome(contact_id: UUID, body: Report, caller: Commanding, work: Working) -> dict[str, Any]:
    """Take the outcome of a leased contact; the same outcome of the same lease again gets the same answer."""
    caller.require("system", *STAFF)
    heard = hear(body.answer.text)
    came_of_it = ENDS.get(heard.meaning, body.outcome)

    async def take(unit: Unit) -> dict[str, Any]:
        contact = await _contact(unit, contact_id)
        if contact.kind is Kind.question:
            caller.require("pharmacist")
        attempt = await store.load_attempt(unit.db, body.lease_id)
        late_stop = came_of_it in HEEDED_LATE and attempt is not None and attempt.outcome != came_of_it
        if attempt and attempt.outcome and not late_stop:
            return _same_again(attempt, contact_id, came_of_it, body.answer)
        if attempt is None or attempt.contact_id != contact_id:
            raise Problem(
                409, "Not your lease", "the contact was never leased under this lease_id", code="foreign"
            )
        over = _why_over(attempt, contact, unit.now)
        if over and came_of_it not in HEEDED_LATE:
            raise over
        questions = [contact] if contact.kind in ASKS and came_of_it is Outcome.answered else []
        said = understood(body.answer, heard.meaning, questions)
        effect = (
            Effect((), stale=True) if over else await _effect(unit, contact, attempt, came_of_it, said.answer)
        )
        reply = await take_effect(unit, effect, stale=effect.stale)
        channel, number = attempt.channel or Channel.other, await store.number_lent(unit.db, attempt.lease_id)
        reply |= await _heed(unit, contact.patient_id, came_of_it, heard, channel, number)
        if said.for_a_person and caller.role not in STAFF:  # staff have read what they report
            [case] = await store.load_cases(unit.db, [contact.patient_id], unit.now)
            text = body.answer.text
            kept = await keep_text(unit, work.sealer, case, text, heard.meaning, channel, number)
            reply["text_id"] = str(kept)
        await review(unit, [contact.patient_id])
        if not attempt.outcome:
            kept_answer = given(body.answer)
            await store.report_attempt(unit.db, body.lease_id, came_of_it, kept_answer, reply, unit.now)
        return reply

    key = patient(await _patient_of(work, contact_id))
    return await work.command(caller, [key], take, even_if_parked=came_of_it in HEEDED_LATE)


async def _heed(
    unit: Unit, patient_id: str, outcome: Outcome, heard: Heard, channel: Channel, number: str | None
) -> dict[str, Any]:
    """Carry out what ends contact or begins it again, and answer who asks for help."""
    if outcome is Outcome.stop:
        return await opt_out(unit, patient_id, channel, number, spanish=heard.spanish)
    if outcome is Outcome.wrong_number:
        return await wrong_number(unit, patient_id, channel, number)
    if heard.meaning is Meaning.start:
        return await opt_in(unit, patient_id, channel, number, spanish=heard.spanish)
    if heard.meaning is Meaning.help:
        return {"message": await help_to(unit, patient_id, spanish=heard.spanish)}
    return {}


def _why_over(attempt: store.Attempt, contact: Contact, now: datetime) -> Problem | None:
    """Why the lease is held no longer; none while it is."""
    if attempt.until is None or attempt.until <= now:
        detail = "the lease ran out before the outcome came and the contact is due again: lease it anew"
        return Problem(409, "Lease over", detail, code="expired")
    if contact.lease_id != attempt.lease_id:
        detail = "the patient called in or staff closed the contact meanwhile: nothing is left to report"
        return Problem(409, "Lease taken back", detail, code="taken_back")
    return None


def _same_again(attempt: store.Attempt, contact_id: UUID, outcome: Outcome, answer: Answer) -> dict[str, Any]:
    same = attempt.outcome == outcome and attempt.answer | {"text": ""} == given(answer)
    if attempt.contact_id == contact_id and same:
        return dict(attempt.reply)
    raise Problem(
        409, "Reported already", "this lease was reported with another outcome, which stands", code="reported"
    )


async def _effect(
    unit: Unit, contact: Contact, attempt: store.Attempt, outcome: Outcome, answer: Answer
) -> Effect:
    [case] = await store.load_cases(unit.db, [contact.patient_id], unit.now)
    try:
        if attempt.channel is Channel.letter:
            contact = replace(contact, written_at=unit.now)
        return effect_of(contact, outcome, answer, attempt.told, case, unit.now)
    except Unfit as unfit:
        raise Refused(unfit.code, unfit.words) from None


class CloseRequest(BaseModel):
    reason: Annotated[FreeText, Field(min_length=3, description="kept with the contact")]


@router.post("/contacts/{contact_id}/close")
async def close(contact_id: UUID, body: CloseRequest, caller: Commanding, work: Working) -> dict[str, Any]:
    """Staff overrule the program: this contact is not made. A question is a pharmacist's to close."""
    caller.require(*STAFF)

    async def end(unit: Unit) -> dict[str, Any]:
        contact = await _contact(unit, contact_id)
        if contact.kind is Kind.question:
            caller.require("pharmacist")
        if contact.status is not Status.open:
            raise Problem(409, "Not open", f"the contact is {contact.status} already")
        await store.close_contact(unit.db, contact_id, f"{unit.role}/{unit.actor}", body.reason)
        await review(unit, [contact.patient_id])
        return {"contact_id": str(contact_id), "status": Status.closed.value}

    return await work.command(caller, [patient(await _patient_of(work, contact_id))], end)


# ---- what patients say by themselves --------------------------------------------------------------------------


class Inbound(BaseModel):
    """The patient called, wrote or walked in. `visit_id` where it is not about the nearest visit to confirm.

    `channel` and `number`: how the patient's own words came, and from which number.
    """

    visit_id: Text | None = None
    channel: Channel = Channel.text
    number: Number | None = None
    answer: Answer = Answer()


@router.post("/patients/{patient_id}/inbound")
async def inbound(patient_id: PatientId, body: Inbound, caller: Commanding, work: Working) -> dict[str, Any]:
    """Take what the patient says; the attempts that are open are closed, and a dialler's lease is taken back.

    Words that end contact end it, whatever comes with them. Words that only a person can make sense of wait for one;
    those that staff report were read by them.
    """
    caller.require("patient", "caregiver", "system", *STAFF)
    heard = hear(body.answer.text)
    words_alone = bool(body.answer.text.strip()) and not body.answer.says_more

    async def take(unit: Unit) -> dict[str, Any]:
        if body.answer.text.strip():
            await require_known(unit, patient_id)
        ends = ENDS.get(heard.meaning)
        reply = await _heed(unit, patient_id, ends or Outcome.answered, heard, body.channel, body.number)
        [case] = await review(unit, [patient_id])
        said = understood(body.answer, heard.meaning, asked(case, body.visit_id))
        effect = Effect(())
        if not ends:
            effect, said = _heard(case, body, said, unit.now, words_alone=words_alone)
            reply = await take_effect(unit, effect, stale=effect.stale) | reply
        which_number = ends is Outcome.wrong_number and not reply["wrong_number"]
        if which_number or (said.for_a_person and caller.role not in STAFF):
            kept = await keep_text(
                unit, work.sealer, case, body.answer.text, heard.meaning, body.channel, body.number
            )
            reply["text_id"] = str(kept)
        row = call_of_theirs(unit, patient_id, effect, said.answer, reply, ends or Outcome.answered)
        await store.add_attempts(unit.db, [row])
        await review(unit, [patient_id])
        return reply if not words_alone else reply | {"heard": heard.meaning.value}

    overtakes = heard.meaning in ENDS or (words_alone and heard.meaning is not Meaning.yes)
    return await work.command(caller, [patient(patient_id)], take, even_if_parked=overtakes)


def _heard(
    case: Case, body: Inbound, said: Understood, now: datetime, *, words_alone: bool
) -> tuple[Effect, Understood]:
    """What an answer leads to. One that came in words alone and does not fit is for a person; others are refused."""
    if words_alone and not said.answer.says_more:
        return Effect(()), said
    try:
        return called_in(case, said.visit_id or body.visit_id, said.answer, now), said
    except Unfit as unfit:
        if words_alone:
            return Effect(()), Understood(body.answer, for_a_person=True)
        raise Refused(unfit.code, unfit.words) from None


class OptOut(BaseModel):
    """The channel on which the patient said stop, and the number that it came from, where it is known.

    Channel `other` (at the counter, in a letter) is about the patient alone, not about their numbers.
    """

    channel: Channel = Channel.phone
    number: Number | None = None


@router.post("/patients/{patient_id}/opt-out")
async def opt_out_patient(
    patient_id: PatientId, body: OptOut, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Stop: no automated contact from now on, on any channel. It overtakes whatever the patient waits for."""
    caller.require("patient", "caregiver", "system", *STAFF)

    async def stop(unit: Unit) -> dict[str, Any]:
        reply = await opt_out(unit, patient_id, body.channel, body.number)
        await review(unit, [patient_id])
        return reply

    return await work.command(caller, [patient(patient_id)], stop, even_if_parked=True)


# ---- queries --------------------------------------------------------------------------------------------------


@router.get("/call-list")
async def call_list(
    work: Working,
    store_id: Annotated[str, Query(alias="store", pattern=r"^[!-~]{1,64}$")],
    after: Annotated[Text, Query(max_length=80)] = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """A store's contacts that are due within a day, or that only a person can make; with what was tried.

    Urgent ones first, with the reason, then by visit. `left_out` says what a pharmacist keeps out of what is asked.
    """
    async with work.read() as db:
        rows = await store.call_list(db, store_id, work.now(), after, limit + 1)
    for row in rows:
        row["because"] = words.URGENT if row["urgent"] else None
        row["left_out"] = [
            {"rx_id": each["rx_id"], "words": words.render(Reason.model_validate(each["reason"]))}
            for each in row["left_out"] or ()
        ]
    return page(rows, limit, "position")


@router.get("/contacts/next-due")
async def next_due(
    work: Working, medsync_role: Annotated[Role, Header()] = Role.system
) -> dict[str, datetime | None]:
    """When the next contact may be leased in this role (or might have been since): when to come back."""
    view = DUE_FOR[By.dialler if medsync_role is Role.system else By.person]
    async with work.read() as db:
        return {"next_due": await tables.next_due(db, view)}


@router.get("/patients/{patient_id}/contacts")
async def contacts_of_patient(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """The ledger of one patient: every contact of the last year, on every channel, with its attempts."""
    async with work.read() as db:
        return {"items": await store.contacts_listed(db, patient_id, work.now())}


async def _patient_of(work: Work, contact_id: UUID) -> str:
    async with work.read() as db:
        found = await store.load_contacts(db, [contact_id])
    if not found:
        raise Problem(404, "Not found", "there is no contact with this id")
    return found[0].patient_id


async def _contact(unit: Unit, contact_id: UUID) -> Contact:
    """The contact as it is now that its patient is locked."""
    [contact] = await store.load_contacts(unit.db, [contact_id])
    return contact
