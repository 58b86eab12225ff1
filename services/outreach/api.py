"""Leasing contacts and reporting their outcome; what patients say by themselves; what staff ask and overrule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field
from pydantic_core import to_jsonable_python

from services.outreach import store
from services.outreach.domain.answers import Answer, Effect, Outcome, Unfit, called_in, effect_of, says_stop
from services.outreach.domain.model import ASKS, By, Case, Contact, Kind, Status
from services.outreach.domain.review import Lease, lease, lease_next
from services.outreach.domain.schedule import may_call
from services.outreach.domain.words import stopped_message
from services.outreach.lending import STAFF, LeaseRequest, lent_contact, number_of
from services.outreach.reviewing import review
from shared import words
from shared.events.enrollment import Channel
from shared.events.outreach import ContactOptedOut
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


@router.post("/contacts/{contact_id}/outcome")
async def outcome(contact_id: UUID, body: Report, caller: Commanding, work: Working) -> dict[str, Any]:
    """Take the outcome of a leased contact; the same outcome of the same lease again gets the same answer."""
    caller.require("system", *STAFF)
    if says_stop(body.answer.text):
        body = body.model_copy(update={"outcome": Outcome.stop})

    async def take(unit: Unit) -> dict[str, Any]:
        contact = await _contact(unit, contact_id)
        if contact.kind is Kind.question:
            caller.require("pharmacist")
        attempt = await store.load_attempt(unit.db, body.lease_id)
        if attempt and attempt.outcome:
            return _same_again(attempt, contact_id, body)
        if attempt is None or attempt.contact_id != contact_id:
            raise Problem(
                409, "Not your lease", "the contact was never leased under this lease_id", code="foreign"
            )
        over = _why_over(attempt, contact, unit.now)
        if over and body.outcome not in HEEDED_LATE:
            raise over
        effect = Effect((), stale=True) if over else await _effect(unit, contact, attempt, body)
        reply = await _take_effect(unit, effect, stale=effect.stale)
        if body.outcome is Outcome.wrong_number:
            await store.stop_number(unit.db, attempt.lease_id, unit.now)
        if body.outcome is Outcome.stop:
            reply |= await _opt_out(unit, contact.patient_id, attempt.channel or Channel.other)
        await review(unit, [contact.patient_id])
        given = to_jsonable_python(body.answer)
        await store.report_attempt(unit.db, body.lease_id, body.outcome, given, reply, unit.now)
        return reply

    key = patient(await _patient_of(work, contact_id))
    return await work.command(caller, [key], take, even_if_parked=body.outcome is Outcome.stop)


def _why_over(attempt: store.Attempt, contact: Contact, now: datetime) -> Problem | None:
    """Why the lease is held no longer; none while it is."""
    if attempt.until is None or attempt.until <= now:
        detail = "the lease ran out before the outcome came and the contact is due again: lease it anew"
        return Problem(409, "Lease over", detail, code="expired")
    if contact.lease_id != attempt.lease_id:
        detail = "the patient called in or staff closed the contact meanwhile: nothing is left to report"
        return Problem(409, "Lease taken back", detail, code="taken_back")
    return None


def _same_again(attempt: store.Attempt, contact_id: UUID, body: Report) -> dict[str, Any]:
    same = attempt.outcome == body.outcome and attempt.answer == to_jsonable_python(body.answer)
    if attempt.contact_id == contact_id and same:
        return dict(attempt.reply)
    raise Problem(
        409, "Reported already", "this lease was reported with another outcome, which stands", code="reported"
    )


async def _effect(unit: Unit, contact: Contact, attempt: store.Attempt, body: Report) -> Effect:
    [case] = await store.load_cases(unit.db, [contact.patient_id], unit.now)
    try:
        if attempt.channel is Channel.letter:
            contact = replace(contact, written_at=unit.now)
        return effect_of(contact, body.outcome, body.answer, attempt.told, case, unit.now)
    except Unfit as unfit:
        raise Refused(unfit.code, unfit.words) from None


async def _take_effect(unit: Unit, effect: Effect, **extra: Any) -> dict[str, Any]:
    """Save and emit an effect; says how its contacts stand."""
    await store.save_contacts(unit.db, effect.contacts)
    unit.emit(effect.events)
    contacts = [
        {"contact_id": str(each.contact_id), "kind": each.kind.value, "status": each.status.value}
        for each in effect.contacts
    ]
    return {"contacts": contacts, "events": [event.TYPE for event in effect.events], **extra}


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
    """The patient called or walked in. `visit_id` where it is not about the nearest visit to confirm."""

    visit_id: Text | None = None
    answer: Answer = Answer()


@router.post("/patients/{patient_id}/inbound")
async def inbound(patient_id: PatientId, body: Inbound, caller: Commanding, work: Working) -> dict[str, Any]:
    """Take what the patient says; the attempts that are open are closed, and a dialler's lease is taken back."""
    caller.require("patient", "caregiver", "system", *STAFF)
    stop = says_stop(body.answer.text)

    async def hear(unit: Unit) -> dict[str, Any]:
        if stop:
            return await _stop(unit, patient_id, Channel.text)
        [case] = await review(unit, [patient_id])
        try:
            effect = called_in(case, body.visit_id, body.answer, unit.now)
        except Unfit as unfit:
            raise Refused(unfit.code, unfit.words) from None
        reply = await _take_effect(unit, effect, stale=effect.stale)
        await store.add_attempts(unit.db, [_call_of_theirs(unit, patient_id, effect, body.answer, reply)])
        await review(unit, [patient_id])
        return reply

    return await work.command(caller, [patient(patient_id)], hear, even_if_parked=stop)


def _call_of_theirs(unit: Unit, patient_id: str, effect: Effect, answer: Answer, reply: Any) -> store.Attempt:
    """The ledger's row of a call that the patient made."""
    call_id = uuid4()
    about = effect.contacts[0] if effect.contacts else None
    return store.Attempt(
        lease_id=call_id,
        contact_id=about.contact_id if about else call_id,
        patient_id=patient_id,
        kind=about.kind if about else "inbound",
        made_by=By.patient,
        actor=unit.actor,
        at=unit.now,
        outcome=Outcome.answered,
        answer=to_jsonable_python(answer),
        reported_at=unit.now,
        reply=reply,
    )


class OptOut(BaseModel):
    """The channel on which the patient said stop."""

    channel: Channel = Channel.phone


@router.post("/patients/{patient_id}/opt-out")
async def opt_out(patient_id: PatientId, body: OptOut, caller: Commanding, work: Working) -> dict[str, Any]:
    """Stop: no automated contact from now on, on any channel. It overtakes whatever the patient waits for."""
    caller.require("patient", "caregiver", "system", *STAFF)

    async def stop(unit: Unit) -> dict[str, Any]:
        return await _stop(unit, patient_id, body.channel)

    return await work.command(caller, [patient(patient_id)], stop, even_if_parked=True)


async def _stop(unit: Unit, patient_id: str, channel: Channel) -> dict[str, Any]:
    reply = await _opt_out(unit, patient_id, channel)
    await review(unit, [patient_id])
    return reply


async def _opt_out(unit: Unit, patient_id: str, channel: Channel) -> dict[str, Any]:
    """End automated contact; answers the one message that confirms it."""
    if not await store.is_known(unit.db, patient_id):
        raise Problem(
            404, "Not found", "outreach has heard of no such patient, and contacts nobody it does not know"
        )
    await store.opt_out(unit.db, patient_id, channel, unit.now)
    unit.emit(ContactOptedOut(patient_id=patient_id, channel=channel))
    person = (await store.load_people(unit.db, [patient_id])).get(patient_id)
    message = stopped_message(person.store_name, person.store_phone, person.language) if person else None
    return {"patient_id": patient_id, "opted_out": True, "message": message}


# ---- queries --------------------------------------------------------------------------------------------------


@router.get("/call-list")
async def call_list(
    work: Working,
    store_id: Annotated[str, Query(alias="store", pattern=r"^[!-~]{1,64}$")],
    after: Annotated[Text, Query(max_length=80)] = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """A store's contacts that are due within a day, or that only a person can make; with what was tried.

    Urgent ones first, with the reason, then by visit.
    """
    async with work.read() as db:
        rows = await store.call_list(db, store_id, work.now(), after, limit + 1)
    for row in rows:
        row["because"] = words.URGENT if row["urgent"] else None
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
