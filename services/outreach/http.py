"""Outreach by HTTP: routes that parse, run a command or a query, and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query

from services.outreach import queries
from services.outreach.commands import contacts, patients, prescribers, questions, texts
from services.outreach.commands.effects import Reply
from services.outreach.commands.leasing import LeasedContacts, LeaseRequest
from services.outreach.commands.stopping import OptedOut
from services.outreach.queries import (
    AskedQuestion,
    CallListLine,
    Ledger,
    NextDue,
    QuestionStatus,
    UnreadText,
)
from shared.database import Db
from shared.http import Commanding, InStore, Limit, Reading, Working
from shared.messaging import Caller, Unit, Work, patient
from shared.messaging import store as lock_of_store
from shared.pages import Page
from shared.values import Id, Text


class HasPatient(Protocol):
    @property
    def patient_id(self) -> str: ...


Owned = TypeVar("Owned", bound=HasPatient)

router = APIRouter()

PatientId = Id
StoreId = Annotated[Id, Query(alias="store")]


async def _whose(
    work: Work, caller: Caller, known: Callable[[Db, UUID], Awaitable[Owned]], id_: UUID
) -> Owned:
    """What an id names, to learn whom to lock. Raises NotFound, also where it is out of the caller's reach."""
    return await work.locate(caller, lambda db: known(db, id_), lambda found: [patient(found.patient_id)])


def _written(decide: Callable[[Unit], Awaitable[Reply]]) -> Callable[[Unit], Awaitable[dict[str, Any]]]:
    """The command, with the fields left out of its reply that are not set: so it is kept for its idempotency key."""

    async def run(unit: Unit) -> dict[str, Any]:
        return (await decide(unit)).written()

    return run


# --- contacts with patients ---


@router.post("/contacts/lease")
async def lease_contacts(body: LeaseRequest, caller: Commanding, work: Working) -> LeasedContacts:
    """Lease contacts that are due, one per patient; to a person also those that no dialer may make."""

    async def decide(patient_ids: Sequence[str], unit: Unit) -> LeasedContacts:
        return await contacts.lease_due(unit, patient_ids, body)

    return await work.claim(caller, queries.due_for(caller.role), body.limit, decide)


@router.post("/contacts/{contact_id}/lease")
async def lease_contact(
    contact_id: UUID, body: LeaseRequest, caller: Commanding, work: Working
) -> LeasedContacts:
    """Lease one contact of the call list to a member of staff, due or not; a question only to a pharmacist."""
    contact = await _whose(work, caller, queries.known_contact, contact_id)
    unkept = replace(caller, idempotency_key=None)  # its answer has a name and a number: it is not stored
    decide = partial(contacts.lease_chosen, contact_id=contact_id, wanted=body)
    return await work.command(unkept, [patient(contact.patient_id)], decide)


@router.post("/contacts/{contact_id}/outcome", response_model_exclude_unset=True)
async def report_outcome(contact_id: UUID, body: contacts.Report, caller: Commanding, work: Working) -> Reply:
    """Take the outcome of a leased contact; the same outcome of the same lease again gets the same answer."""
    contact = await _whose(work, caller, queries.known_contact, contact_id)
    decide = _written(partial(contacts.report, contact_id=contact_id, said=body))
    locks = [patient(contact.patient_id)]
    return Reply.model_validate(await work.command(caller, locks, decide, even_if_parked=body.overtakes))


@router.post("/contacts/{contact_id}/close")
async def close_contact(
    contact_id: UUID, body: contacts.CloseRequest, caller: Commanding, work: Working
) -> contacts.ContactClosed:
    """Staff overrule the program: this contact is not made. A question is a pharmacist's to close."""
    contact = await _whose(work, caller, queries.known_contact, contact_id)
    decide = partial(contacts.close, contact_id=contact_id, said=body)
    return await work.command(caller, [patient(contact.patient_id)], decide)


@router.get("/contacts/next-due")
async def next_due(caller: Reading, work: Working) -> NextDue:
    """When the next contact may be leased in this role (or might have been since): when to come back."""
    async with work.read_as(caller) as db:
        return await queries.next_due(db, queries.due_for(caller.role), caller.reach.stores)


@router.get("/call-list")
async def call_list(
    caller: Reading,
    work: Working,
    store_id: StoreId,
    after: Annotated[Text, Query(max_length=80)] = "",
    limit: Limit = 100,
) -> Page[CallListLine]:
    """A store's contacts that are due within a day, or that only a person can make; with what was tried.

    Urgent ones first, with the reason, then by visit. `left_out` says what a pharmacist keeps out of what is asked.
    """
    async with work.read_as(caller, lock_of_store(store_id)) as db:
        return await queries.call_list(db, store_id, work.now(), after, limit)


@router.get("/patients/{patient_id}/contacts")
async def get_ledger(patient_id: PatientId, caller: Reading, work: Working) -> Ledger:
    """The ledger of one patient: every contact of the last year, on every channel, with its attempts."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.ledger(db, patient_id, work.now())


# --- what patients say by themselves ---


@router.post("/patients/{patient_id}/inbound", response_model_exclude_unset=True)
async def inbound(patient_id: PatientId, body: patients.Inbound, caller: Commanding, work: Working) -> Reply:
    """Take what the patient says; the attempts that are open are closed, and a dialer's lease is taken back.

    Words that end contact end it, whatever comes with them. Words that only a person can make sense of wait for one;
    those that staff report were read by them.
    """
    decide = _written(partial(patients.inbound, patient_id=patient_id, said=body))
    return Reply.model_validate(
        await work.command(caller, [patient(patient_id)], decide, even_if_parked=body.overtakes)
    )


@router.post("/patients/{patient_id}/opt-out")
async def opt_out(
    patient_id: PatientId, body: patients.OptOut, caller: Commanding, work: Working
) -> OptedOut:
    """Stop: no automated contact from now on, on any channel. It overtakes whatever the patient waits for."""
    decide = partial(patients.opt_out, patient_id=patient_id, said=body)
    return await work.command(caller, [patient(patient_id)], decide, even_if_parked=True)


@router.get("/texts")
async def unread_texts(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    after: Annotated[Text, Query(max_length=80)] = "",
    limit: Limit = 100,
) -> Page[UnreadText]:
    """Messages that nobody read yet, of one store or of all: those that escalated first, then as they came."""
    async with work.read_as(caller) as db:
        return await queries.unread_texts(
            db,
            work.keys,
            stores=caller.reach.narrowed(store_id),
            now=work.now(),
            after=after,
            limit=limit,
        )


@router.post("/texts/{text_id}/read", response_model_exclude_unset=True)
async def read_text(text_id: UUID, body: texts.Reading, caller: Commanding, work: Working) -> texts.TextRead:
    """A member of staff read the message: what they made of it follows, and contact goes on as it allows."""
    text = await _whose(work, caller, lambda db, each: queries.known_text(db, work.keys, each), text_id)
    decide = _written(partial(texts.read_text, text_id=text_id, reading=body))
    locks = [patient(text.patient_id)]
    return texts.TextRead.model_validate(
        await work.command(caller, locks, decide, even_if_parked=body.overtakes)
    )


@router.get("/questions")
async def asked_questions(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    status: QuestionStatus = QuestionStatus.open,
    after: Annotated[Text, Query(max_length=80)] = "",
    limit: Limit = 100,
) -> Page[AskedQuestion]:
    """Questions to a pharmacist, of one store or of all: those to be answered first come first."""
    async with work.read_as(caller) as db:
        return await queries.asked_questions(
            db,
            work.keys,
            stores=caller.reach.narrowed(store_id),
            status=status,
            now=work.now(),
            after=after,
            limit=limit,
        )


@router.post("/questions/{question_id}/answer")
async def answer_question(
    question_id: UUID, body: questions.QuestionAnswer, caller: Commanding, work: Working
) -> questions.QuestionAnswered:
    """A pharmacist answered the patient, or says what else came of the question."""
    asked = await _whose(
        work, caller, lambda db, each: queries.known_question(db, work.keys, each), question_id
    )
    decide = partial(questions.answer_question, question_id=question_id, said=body)
    return await work.command(caller, [patient(asked.patient_id)], decide)


# --- prescribers ---


@router.post("/prescriber-contacts/lease")
async def lease_renewals(body: LeaseRequest, caller: Commanding, work: Working) -> prescribers.LeasedRequests:
    """Lease the requests to prescribers that are due of up to `limit` patients: each holds all that is open."""

    async def decide(patient_ids: Sequence[str], unit: Unit) -> prescribers.LeasedRequests:
        return await prescribers.lease_renewals(unit, patient_ids, body)

    return await work.claim(caller, queries.DUE_RENEWALS, body.limit, decide)


@router.post("/prescriber-contacts/{contact_id}/outcome")
async def report_renewal(
    contact_id: UUID, body: prescribers.RenewalReport, caller: Commanding, work: Working
) -> prescribers.RequestState:
    """Take a prescriber's answer; the same answer under the same lease again gets the same reply."""
    renewal = await _whose(work, caller, queries.known_renewal, contact_id)
    decide = partial(prescribers.report_renewal, contact_id=contact_id, report=body)
    return await work.command(caller, [patient(renewal.patient_id)], decide)


@router.get("/prescriber-contacts/next-due")
async def next_due_with_prescribers(caller: Reading, work: Working) -> NextDue:
    """When a prescriber is to be asked next (or might have been since)."""
    async with work.read_as(caller) as db:
        return await queries.next_due(db, queries.DUE_RENEWALS, caller.reach.stores)
