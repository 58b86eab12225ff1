"""Enrollment by HTTP: routes that parse, run a command or a query, and answer. The feed comes in by imports.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query

from services.enrollment import commands, queries
from services.enrollment.domain.profile import Standing
from services.enrollment.queries import (
    CandidateLine,
    PatientLine,
    PatientRecord,
    PatientState,
    Stated,
    StoreClosures,
)
from shared.database import Db
from shared.http import Commanding, Working
from shared.messaging import Unit, patient
from shared.messaging import store as lock_of_store
from shared.pages import Page

T = TypeVar("T")

router = APIRouter()

PatientId = commands.Id
RxId = commands.Id
StoreId = commands.Id
Cursor = Annotated[str, Query(pattern=r"^[!-~]{0,64}$")]
Store = Annotated[str | None, Query(alias="store", pattern=r"^[!-~]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=500)]


def _then(
    command: Callable[[Unit], Awaitable[None]], query: Callable[[Db], Awaitable[T]]
) -> Callable[[Unit], Awaitable[T]]:
    """A command, answered with what a query finds after it in the same unit: so the answer can be given again."""

    async def decide(unit: Unit) -> T:
        await command(unit)
        return await query(unit.db)

    return decide


# --- commands ---


@router.post("/patients/{patient_id}/consent")
async def consent(
    patient_id: PatientId, body: commands.ConsentGiven, caller: Commanding, work: Working
) -> PatientState:
    """Enrol a patient. Who is enrolled already stays so, unchanged."""
    decide = _then(
        lambda unit: commands.consent(unit, patient_id, body),
        lambda db: queries.patient_state(db, patient_id),
    )
    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/patients/{patient_id}/disenrolment")
async def disenrolment(
    patient_id: PatientId, body: commands.Disenrolment, caller: Commanding, work: Working
) -> PatientState:
    """End a patient's part at once; a merge names the survivor, who keeps what is known of both."""
    decide = _then(
        lambda unit: commands.disenroll(unit, patient_id, body),
        lambda db: queries.patient_state(db, patient_id),
    )
    locks = [patient(each) for each in (patient_id, body.survivor_id) if each]
    # It always takes effect: nothing that a dead letter waits for may keep a patient in.
    return await work.command(caller, locks, decide, even_if_parked=True)


@router.post("/patients/{patient_id}/prescriptions/{rx_id}/release")
async def release(patient_id: PatientId, rx_id: RxId, caller: Commanding, work: Working) -> PatientState:
    """End the hold on a prescription that the patient reported stopped: the pharmacist's decision."""
    decide = _then(
        lambda unit: commands.release(unit, patient_id, rx_id),
        lambda db: queries.patient_state(db, patient_id),
    )
    return await work.command(caller, [patient(patient_id)], decide)


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


@router.post("/stores/{store_id}/closures")
async def close(
    store_id: StoreId, body: commands.Closure, caller: Commanding, work: Working
) -> StoreClosures:
    """Close a store on a day, beside what the feed says."""
    decide = _then(
        lambda unit: commands.close_store(unit, store_id, body),
        lambda db: queries.store_closures(db, store_id),
    )
    return await work.command(caller, [lock_of_store(store_id)], decide)


@router.post("/stores/{store_id}/closures/{on}/lift")
async def lift(store_id: StoreId, on: date, caller: Commanding, work: Working) -> StoreClosures:
    """Lift a closure that staff set; a day that the feed closes stays closed."""
    decide = _then(
        lambda unit: commands.lift_closure(unit, store_id, on),
        lambda db: queries.store_closures(db, store_id),
    )
    return await work.command(caller, [lock_of_store(store_id)], decide)


# --- queries ---


@router.get("/patients/{patient_id}")
async def get_patient(patient_id: PatientId, work: Working) -> PatientRecord:
    """Status, consent, profile and revision; what the patient reported, for the pharmacist to decide on."""
    async with work.read() as db:
        return await queries.patient_record(db, patient_id, work.now())


@router.get("/patients")
async def list_patients(
    work: Working,
    store_id: Store = None,
    status: Standing | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> Page[PatientLine]:
    """Patient ids with status and revision."""
    async with work.read() as db:
        return await queries.patients(db, store_id=store_id, status=status, after=after, limit=limit)


@router.get("/candidates")
async def list_candidates(
    work: Working, store_id: Store = None, after: Cursor = "", limit: Limit = 100
) -> Page[CandidateLine]:
    """Who would benefit and does not take part yet, with reasons as codes and words."""
    async with work.read() as db:
        return await queries.candidate_lines(db, store_id=store_id, after=after, limit=limit)
