"""Enrollment by HTTP: routes that parse, run a command or a query, and answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Request
from pydantic import ConfigDict

from services.enrollment import commands, erasing, imports, queries
from services.enrollment.domain.profile import Standing
from services.enrollment.imports import Import, Imported, Kind
from services.enrollment.queries import (
    CandidateLine,
    Caregivers,
    ConsentHistory,
    PatientFound,
    PatientLine,
    PatientRecord,
    PatientState,
    Stated,
    StoreClosures,
)
from services.enrollment.settings import Settings
from services.enrollment.store import erasures
from shared.database import Db
from shared.http import Commanding, InStore, Limit, Reading, Working
from shared.messaging import Caller, Unit, Work, patient
from shared.messaging import store as lock_of_store
from shared.messaging.unit import TooLarge
from shared.pages import Page
from shared.values import Day, Id, Input, for_example

T = TypeVar("T")

router = APIRouter()

PatientId = Id
RxId = Id
StoreId = Id
CaregiverId = Id
Cursor = Annotated[str, Query(pattern=r"^[!-~]{0,64}$")]


def _then(
    command: Callable[[Unit], Awaitable[None]], query: Callable[[Db], Awaitable[T]]
) -> Callable[[Unit], Awaitable[T]]:
    """A command, answered with what a query finds after it in the same unit: so the answer can be given again."""

    async def decide(unit: Unit) -> T:
        await command(unit)
        return await query(unit.db)

    return decide


async def _answer_state(
    work: Work,
    caller: Caller,
    patient_id: str,
    command: Callable[[Unit], Awaitable[None]],
    *others: str,
    even_if_parked: bool = False,
) -> PatientState:
    """A command about a patient, answered with where the patient then stands; `others` are locked too."""
    decide = _then(command, lambda db: queries.patient_state(db, patient_id))
    locks = [patient(each) for each in (patient_id, *others)]
    return await work.command(caller, locks, decide, even_if_parked=even_if_parked)


# --- the feed ---


@router.post("/imports/{kind}")
async def import_records(
    kind: Kind, body: Import, request: Request, caller: Commanding, work: Working
) -> Imported:
    """Take up to 500 records of the feed. Sent twice, they change nothing; one that is refused stops no other.

    An answer that refuses something is not kept for its idempotency key: what a record waited for may have come.
    """
    # Beside the event loop: what is no feed at all takes the longest to be told so.
    reading = await asyncio.to_thread(imports.read, kind, body, _pseudonym_key(request), work.now().date())
    while True:
        decide = partial(imports.take, kind=kind, given=body, reading=reading)
        locks = imports.locks_of(kind, reading)
        try:
            # What the chain's own system says is true whatever a parked patient waits for.
            return await work.command(caller, locks, decide, even_if_parked=True, keep=imports.took_all)
        except TooLarge as error:
            reading = imports.without(kind, reading, error)


def _pseudonym_key(request: Request) -> str:
    settings: Settings = request.app.state.settings
    return settings.pseudonym_key.get_secret_value()


# --- commands ---


@router.post("/patients/{patient_id}/consent")
async def consent(
    patient_id: PatientId, body: commands.ConsentGiven, caller: Commanding, work: Working
) -> PatientState:
    """Enroll a patient, or amend the consent of one who is enrolled: what is left out stays as it is."""
    command = partial(commands.consent, patient_id=patient_id, given=body)
    return await _answer_state(work, caller, patient_id, command)


@router.post("/patients/{patient_id}/caregivers")
async def name_caregiver(
    patient_id: PatientId, body: commands.CaregiverNamed, caller: Commanding, work: Working
) -> Caregivers:
    """Let a person act for the patient, by their id at the identity provider."""
    decide = _then(
        lambda unit: commands.name_caregiver(unit, patient_id, body),
        lambda db: queries.caregivers_of(db, patient_id),
    )
    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/patients/{patient_id}/caregivers/{caregiver_id:id}/end")
async def end_caregiver(
    patient_id: PatientId, caregiver_id: CaregiverId, caller: Commanding, work: Working
) -> Caregivers:
    """Let a person act for the patient no longer."""
    decide = _then(
        lambda unit: commands.end_caregiver(unit, patient_id, caregiver_id),
        lambda db: queries.caregivers_of(db, patient_id),
    )
    # It always takes effect, whatever a dead letter waits for.
    return await work.command(caller, [patient(patient_id)], decide, even_if_parked=True)


@router.post("/patients/{patient_id}/disenrolment")
async def disenrolment(
    patient_id: PatientId, body: commands.Disenrolment, caller: Commanding, work: Working
) -> PatientState:
    """End a patient's part at once; a merge names the survivor, who keeps what is known of both."""
    command = partial(commands.disenroll, patient_id=patient_id, why=body)
    others = [body.survivor_id] if body.survivor_id else []
    # It always takes effect: nothing that a dead letter waits for may keep a patient in.
    return await _answer_state(work, caller, patient_id, command, *others, even_if_parked=True)


@router.post("/candidates/{patient_id}/answer")
async def answer(
    patient_id: PatientId, body: commands.CandidateAnswer, caller: Commanding, work: Working
) -> PatientState:
    """Keep that a candidate declined, or said not now, and when to ask again."""
    command = partial(commands.answer, patient_id=patient_id, given=body)
    return await _answer_state(work, caller, patient_id, command)


@router.post("/patients/{patient_id}/prescriptions/{rx_id:id}/release")
async def release(patient_id: PatientId, rx_id: RxId, caller: Commanding, work: Working) -> PatientState:
    """End the hold on a prescription that the patient reported stopped: the pharmacist's decision."""
    command = partial(commands.release, patient_id=patient_id, rx_id=rx_id)
    return await _answer_state(work, caller, patient_id, command)


@router.post("/patients/{patient_id}/circumstances")
async def circumstances(
    patient_id: PatientId, body: commands.Statement, caller: Commanding, work: Working
) -> Stated:
    """State a payday, a ride, a stay in hospital, a vacation, lapsed insurance. It goes before the feed."""
    decide = _then(
        lambda unit: commands.state_circumstances(unit, patient_id, body),
        lambda db: queries.stated_circumstances(db, patient_id),
    )
    return await work.command(caller, [patient(patient_id)], decide)


class RhythmSet(commands.RhythmWanted):
    """How often the patient comes from now on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"patient_id": "50b5b879ed48bc3a", "cycle_policy": "auto"}]}
    )

    patient_id: str


@router.post("/patients/{patient_id}/rhythm", response_model_exclude_none=True)
async def rhythm(
    patient_id: PatientId, body: commands.RhythmWanted, caller: Commanding, work: Working
) -> RhythmSet:
    """Change how often an enrolled patient comes. It goes before the feed."""

    async def decide(unit: Unit) -> RhythmSet:
        await commands.change_rhythm(unit, patient_id, body)
        return RhythmSet(patient_id=patient_id, **dict(body))

    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/stores/{store_id:id}/closures")
async def close(
    store_id: StoreId, body: commands.Closure, caller: Commanding, work: Working
) -> StoreClosures:
    """Close a store on a day, beside what the feed says."""
    decide = _then(
        lambda unit: commands.close_store(unit, store_id, body),
        lambda db: queries.store_closures(db, store_id),
    )
    return await work.command(caller, [lock_of_store(store_id)], decide)


@router.post("/stores/{store_id:id}/closures/{on}/lift")
async def lift(store_id: StoreId, on: Day, caller: Commanding, work: Working) -> StoreClosures:
    """Lift a closure that staff set; a day that the feed closes stays closed."""
    decide = _then(
        lambda unit: commands.lift_closure(unit, store_id, on),
        lambda db: queries.store_closures(db, store_id),
    )
    return await work.command(caller, [lock_of_store(store_id)], decide)


# --- what is forgotten ---


@router.get("/patients/{patient_id}/erasure")
async def preview_erasure(patient_id: PatientId, caller: Reading, work: Working) -> erasing.Erasure:
    """What stands against forgetting the patient, what stays and until when; nothing is done."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await erasing.preview(db, patient_id, work.now().date())


@router.post("/patients/{patient_id}/erasure")
async def erase(
    patient_id: PatientId, body: erasing.Because, caller: Commanding, work: Working
) -> erasing.Erasure:
    """Forget who the patient is: here at once, in every other service as it hears of it. It cannot be undone."""
    async with work.read_as(caller, patient(patient_id)) as db:
        records = [patient_id, *await erasures.merged_into(db, patient_id)]
    decide = partial(erasing.erase, patient_id=patient_id, why=body, locked=records)
    return await work.command(caller, [patient(each) for each in records], decide, even_if_parked=True)


@router.post("/patients/{patient_id}/legal-hold")
async def hold(
    patient_id: PatientId, body: erasing.Because, caller: Commanding, work: Working
) -> erasing.Erasure:
    """Keep everything of the patient's, whoever asks to be forgotten, until the hold is lifted."""
    decide = partial(erasing.hold, patient_id=patient_id, why=body)
    return await work.command(caller, [patient(patient_id)], decide, even_if_parked=True)


@router.post("/patients/{patient_id}/legal-hold/lift")
async def lift_hold(
    patient_id: PatientId, body: erasing.Because, caller: Commanding, work: Working
) -> erasing.Erasure:
    """Lift the legal hold."""
    decide = partial(erasing.lift_hold, patient_id=patient_id, why=body)
    return await work.command(caller, [patient(patient_id)], decide, even_if_parked=True)


# --- queries ---


class Numbered(Input):
    """A patient as the source knows them."""

    model_config = for_example(source="chain", number="P-1002")

    source: Id
    number: Id


@router.post("/patients/lookup")
async def look_up(body: Numbered, request: Request, caller: Reading, work: Working) -> PatientFound:
    """The id here of a patient of the source. Asked by a body: paths and queries end up in logs."""
    patient_id = imports.pseudonym(_pseudonym_key(request), body.source, body.number)
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.patient_found(db, patient_id)


@router.post("/patients/search")
async def search_patients(
    body: queries.Asked, caller: Reading, work: Working, after: Cursor = "", limit: Limit = 50
) -> Page[PatientLine]:
    """Patients by family name and birth date, or by number, whole and whatever the case. Asked by a body: paths and
    queries end up in logs."""
    async with work.read_as(caller) as db:
        stores = caller.reach.narrowed(None)
        return await queries.people_found(db, work.keys, body, stores=stores, after=after, limit=limit)


@router.get("/patients/{patient_id}")
async def get_patient(patient_id: PatientId, caller: Reading, work: Working) -> PatientRecord:
    """Status, consent, profile and revision; what the patient reported, for the pharmacist to decide on."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.patient_record(db, patient_id, work.now())


@router.get("/patients/{patient_id}/consents")
async def get_consents(patient_id: PatientId, caller: Reading, work: Working) -> ConsentHistory:
    """What the patient agreed to when, who recorded it and how it was given, oldest first."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.consent_history(db, patient_id)


@router.get("/patients/{patient_id}/caregivers")
async def get_caregivers(patient_id: PatientId, caller: Reading, work: Working) -> Caregivers:
    """Who may act for the patient, and who could, with who recorded it and how the patient said so."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.caregivers_of(db, patient_id)


@router.get("/patients")
async def list_patients(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    status: Standing | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> Page[PatientLine]:
    """Patient ids with status and revision."""
    async with work.read_as(caller) as db:
        stores = caller.reach.narrowed(store_id)
        return await queries.patients(db, stores=stores, status=status, after=after, limit=limit)


@router.get("/candidates")
async def list_candidates(
    caller: Reading, work: Working, store_id: InStore = None, after: Cursor = "", limit: Limit = 100
) -> Page[CandidateLine]:
    """Who would benefit and is not enrolled yet, with reasons as codes and words."""
    async with work.read_as(caller) as db:
        stores = caller.reach.narrowed(store_id)
        return await queries.candidate_lines(db, stores=stores, after=after, limit=limit)
