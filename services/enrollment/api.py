"""Consent and its end, and what staff and the chain's systems may ask. The feed comes in by imports.py."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.enrollment.domain.candidates import in_words
from services.enrollment.domain.profile import FINAL, Standing, consented_channels
from services.enrollment.domain.records import Wishes
from services.enrollment.imports import pseudonym
from services.enrollment.publishing import profiles_changed
from services.enrollment.store import candidates, consents, feed, profiles, reports
from shared.database import Db
from shared.events.enrollment import (
    Channel,
    Consent,
    CyclePolicy,
    DisenrolmentReason,
    PatientDisenrolled,
)
from shared.http import Commanding, Problem, Working, page
from shared.messaging import Unit, patient
from shared.messaging import store as lock_of_store

router = APIRouter()

PatientId = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
RxId = PatientId
StoreId = PatientId
STAFF = ("clerk", "technician", "pharmacist")
Cursor = Annotated[str, Query(pattern=r"^[!-~]{0,64}$")]
Store = Annotated[str | None, Query(alias="store", pattern=r"^[!-~]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=500)]
Weekday = Annotated[int, Field(ge=0, le=6, description="0 is Monday")]


# --- commands ---


class ConsentGiven(BaseModel):
    """What the patient agreed to; what is left out is as the feed says, or the default."""

    scope: tuple[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")], ...] = ("synchronize", "contact")
    channels: tuple[Channel, ...] | None = None
    language: Annotated[str | None, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")] = None
    caregiver: bool = False
    standing_instruction: bool = False
    cycle_policy: CyclePolicy | None = None
    must_weekdays: tuple[Weekday, ...] = ()
    preferred_weekday: Weekday | None = None


@router.post("/patients/{patient_id}/consent")
async def consent(
    patient_id: PatientId, body: ConsentGiven, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Enrol a patient. Who is enrolled already stays so, unchanged.

    Consent is the patient's own: a prescriber's referral or a system's idea of it is none.
    """
    caller.require("patient", "caregiver", "clerk", "technician", "pharmacist")

    async def decide(unit: Unit) -> dict[str, Any]:
        known = await _known(unit.db, patient_id)
        if known.disenrolled_for in FINAL:
            raise Problem(
                409,
                "Cannot be enrolled",
                f"the record is closed ({known.disenrolled_for}); look for another of the patient",
            )
        if known.status is not Standing.enrolled:
            await _enrol(unit, patient_id, body)
        return await _state(unit.db, patient_id)

    return await work.command(caller, [patient(patient_id)], decide)


async def _enrol(unit: Unit, patient_id: str, body: ConsentGiven) -> None:
    stopped = await consents.opted_out_channels(unit.db, patient_id)
    person = (await feed.load_fed_patients(unit.db, [patient_id]))[patient_id].value.person
    given = Consent(
        given_at=unit.now,
        scope=body.scope,
        channels=consented_channels(body.channels, stopped),
        language=body.language or person.language,
        caregiver=body.caregiver,
        standing_instruction=body.standing_instruction,
    )
    wishes = Wishes(body.cycle_policy, body.must_weekdays, body.preferred_weekday)
    await consents.enrol(unit.db, patient_id, given, wishes, recorded_by=unit.actor, recorded_as=unit.role)
    unit.emit(await profiles.enrolments(unit.db, [patient_id]))
    unit.emit(await profiles.contact_details(unit.db, [patient_id]))


class Disenrolment(BaseModel):
    reason: DisenrolmentReason
    survivor_id: PatientId | None = None


@router.post("/patients/{patient_id}/disenrolment")
async def disenrolment(
    patient_id: PatientId, body: Disenrolment, caller: Commanding, work: Working
) -> dict[str, Any]:
    """End a patient's part at once; for one who never took part, record that they do not want to.

    A merge names the survivor, who keeps the prescriptions, fills and reports of both.
    """
    merge_into = body.survivor_id if body.reason is DisenrolmentReason.merged else None
    if (body.reason is DisenrolmentReason.merged) != (
        body.survivor_id is not None
    ) or merge_into == patient_id:
        raise Problem(
            422, "Not a merge", "reason merged goes with the survivor_id of another patient, and only then"
        )
    keys = [patient(each) for each in (patient_id, merge_into) if each]

    async def decide(unit: Unit) -> dict[str, Any]:
        known = await _known(unit.db, patient_id)
        if merge_into:
            survivor = await _known(unit.db, merge_into)
            if survivor.disenrolled_for == DisenrolmentReason.merged:
                raise Problem(
                    409, "Merged itself", "the survivor was merged into another patient: name that one"
                )
        if known.disenrolled_for in FINAL or (known.status is Standing.disenrolled and not merge_into):
            return await _state(unit.db, patient_id)
        await _disenrol(unit, known, body)
        return await _state(unit.db, patient_id)

    # It always takes effect: nothing that a dead letter waits for may keep a patient in.
    return await work.command(caller, keys, decide, even_if_parked=True)


async def _disenrol(unit: Unit, known: feed.Patient, body: Disenrolment) -> None:
    revision = await consents.disenrol(
        unit.db, known.patient_id, body.reason, body.survivor_id, now=unit.now, recorded_by=unit.actor
    )
    if known.status is Standing.enrolled:
        unit.emit(
            PatientDisenrolled(
                patient_id=known.patient_id,
                revision=revision,
                reason=body.reason,
                survivor_id=body.survivor_id,
            )
        )
    if body.survivor_id:
        await consents.move_history(unit.db, known.patient_id, body.survivor_id)
        unit.emit(await profiles_changed(unit, {body.survivor_id: ("merged",)}))
        await candidates.plan_checks(unit.db, [body.survivor_id], unit.now)


@router.post("/patients/{patient_id}/prescriptions/{rx_id:id}/release")
async def release(patient_id: PatientId, rx_id: RxId, caller: Commanding, work: Working) -> dict[str, Any]:
    """End the hold on a prescription that the patient reported stopped: the pharmacist's decision."""
    caller.require("pharmacist")

    async def decide(unit: Unit) -> dict[str, Any]:
        await _known(unit.db, patient_id)
        if not await reports.release(unit.db, patient_id, rx_id):
            raise Problem(409, "Not on hold", "the patient reported no stop of this prescription")
        unit.emit(await profiles_changed(unit, {patient_id: ("released",)}))
        return await _state(unit.db, patient_id)

    return await work.command(caller, [patient(patient_id)], decide)


DayOfMonth = Annotated[int, Field(ge=1, le=31)]


class StatedSpan(BaseModel):
    """Days in a row, both included; without an end until further notice."""

    model_config = ConfigDict(extra="forbid")

    begins_on: date
    ends_on: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_on and self.ends_on < self.begins_on:
            raise ValueError("ends_on is before begins_on: correct one of them")
        return self


class Statement(BaseModel):
    """What staff learned about the days on which the patient can be served: what is left out stays as it is, a null
    takes back what staff stated before, so that the feed's word counts again."""

    model_config = ConfigDict(extra="forbid")

    day_of_month: DayOfMonth | None = None
    payday: DayOfMonth | None = None
    paydays: tuple[date, ...] | None = None
    ride_weekdays: tuple[Weekday, ...] | None = None
    rides: tuple[date, ...] | None = None
    delivered: bool | None = None
    packaged: bool | None = None
    household_must: bool | None = None
    away: tuple[StatedSpan, ...] | None = None
    stays: tuple[StatedSpan, ...] | None = None
    reconciled_on: date | None = None
    uninsured: tuple[StatedSpan, ...] | None = None


@router.post("/patients/{patient_id}/circumstances")
async def circumstances(
    patient_id: PatientId, body: Statement, caller: Commanding, work: Working
) -> dict[str, Any]:
    """State a payday, a ride, a stay in hospital, a vacation, lapsed insurance; that a stay is reconciled, a pharmacist
    alone. It goes before the feed."""
    said = body.model_dump(mode="json", exclude_unset=True)
    caller.require(*(("pharmacist",) if "reconciled_on" in said else STAFF))

    async def decide(unit: Unit) -> dict[str, Any]:
        await _known(unit.db, patient_id)
        if body.reconciled_on and body.reconciled_on > unit.today("UTC") + timedelta(days=1):
            raise Problem(
                422, "Not yet", "reconciled_on: lies in the future; give the day on which it was done"
            )
        await consents.state_circumstances(
            unit.db, patient_id, said, now=unit.now, by=unit.actor, role=unit.role
        )
        unit.emit(await profiles_changed(unit, {patient_id: ("circumstances",)}))
        stated = await consents.stated_circumstances(unit.db, [patient_id])
        return {"patient_id": patient_id, "stated": stated.get(patient_id, {})}

    return await work.command(caller, [patient(patient_id)], decide)


class RhythmWanted(BaseModel):
    """How often the patient wants to come from now on."""

    model_config = ConfigDict(extra="forbid")

    cycle_policy: CyclePolicy
    day_of_month: DayOfMonth | None = None

    @model_validator(mode="after")
    def _one_of_ours(self) -> Self:
        if self.cycle_policy is CyclePolicy.other:
            offered = ", ".join(each for each in CyclePolicy if each is not CyclePolicy.other)
            raise ValueError(f"cycle_policy is none of {offered}")
        if (self.cycle_policy is CyclePolicy.day_of_month) != (self.day_of_month is not None):
            raise ValueError("day_of_month goes with the cycle_policy of that name, and only with it")
        return self


@router.post("/patients/{patient_id}/rhythm")
async def rhythm(
    patient_id: PatientId, body: RhythmWanted, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Change how often an enrolled patient comes, as the patient wishes; `auto` leaves it to the planner. It goes
    before the feed. The next pickup stays where it was agreed."""
    caller.require(*STAFF)
    said = body.model_dump(mode="json", exclude_none=True)

    async def decide(unit: Unit) -> dict[str, Any]:
        known = await _known(unit.db, patient_id)
        if known.status is not Standing.enrolled:
            raise Problem(409, "Not enrolled", "the patient takes no part: say it with the consent")
        await consents.change_rhythm(unit.db, patient_id, said, now=unit.now, by=unit.actor, role=unit.role)
        unit.emit(await profiles_changed(unit, {patient_id: ("preferences",)}))
        return {"patient_id": patient_id, **said}

    return await work.command(caller, [patient(patient_id)], decide)


class Closure(BaseModel):
    model_config = ConfigDict(extra="forbid")

    on: date
    why: str = Field(min_length=3, max_length=500)


@router.post("/stores/{store_id:id}/closures")
async def close(store_id: StoreId, body: Closure, caller: Commanding, work: Working) -> dict[str, Any]:
    """Close a store on a day, beside what the feed says: its visits are planned anew, earlier where possible."""
    caller.require(*STAFF, "system")

    async def decide(unit: Unit) -> dict[str, Any]:
        await _known_store(unit.db, store_id)
        if await feed.close_store(unit.db, store_id, body.on, why=body.why, now=unit.now, by=unit.actor):
            await feed.raise_store_revision(unit.db, store_id)
            unit.emit(await feed.published_stores(unit.db, [store_id]))
        return await _closed_on(unit.db, store_id)

    return await work.command(caller, [lock_of_store(store_id)], decide)


@router.post("/stores/{store_id:id}/closures/{on}/lift")
async def lift(store_id: StoreId, on: date, caller: Commanding, work: Working) -> dict[str, Any]:
    """Lift a closure that staff set; a day that the feed closes stays closed."""
    caller.require(*STAFF, "system")

    async def decide(unit: Unit) -> dict[str, Any]:
        await _known_store(unit.db, store_id)
        if not await feed.reopen_store(unit.db, store_id, on, now=unit.now, by=unit.actor):
            raise Problem(404, "No such closure", "staff did not close the store on that day")
        await feed.raise_store_revision(unit.db, store_id)
        unit.emit(await feed.published_stores(unit.db, [store_id]))
        return await _closed_on(unit.db, store_id)

    return await work.command(caller, [lock_of_store(store_id)], decide)


async def _known_store(db: Db, store_id: str) -> None:
    if not await feed.load_stores(db, [store_id]):
        raise Problem(404, "Unknown store", "no such store was imported: import stores.csv first")


async def _closed_on(db: Db, store_id: str) -> dict[str, Any]:
    (published,) = await feed.published_stores(db, [store_id])
    return published.model_dump(mode="json", include={"store_id", "revision", "closed_on"})


async def _known(db: Db, patient_id: str) -> feed.Patient:
    known = (await feed.load_patients(db, [patient_id])).get(patient_id)
    if known is None:
        raise Problem(404, "Unknown patient", "no such patient was imported: import patients.csv first")
    return known


async def _state(db: Db, patient_id: str) -> dict[str, Any]:
    """Where the patient stands, as commands and queries answer it."""
    known = await _known(db, patient_id)
    given = (await consents.load_consents(db, [patient_id])).get(patient_id)
    return {
        "patient_id": patient_id,
        "store_id": known.store_id,
        "status": known.status,
        "revision": known.revision,
        "disenrolled_for": known.disenrolled_for,
        "survivor_id": known.survivor_id,
        "consent": given.model_dump(mode="json") if given else None,
    }


# --- queries ---


class Numbered(BaseModel):
    """A patient as the source knows them."""

    source: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    number: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]


@router.post("/patients/lookup")
async def look_up(body: Numbered, request: Request, caller: Commanding, work: Working) -> dict[str, Any]:
    """The id here of a patient of the source. Asked by a body: paths and queries end up in logs."""
    caller.require("system", *STAFF)
    secret = request.app.state.settings.pseudonym_key.get_secret_value()
    async with work.read() as db:
        known = await _known(db, pseudonym(secret, body.source, body.number))
    return {"patient_id": known.patient_id, "survivor_id": known.survivor_id}


@router.get("/patients/{patient_id}")
async def get_patient(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """Status, consent, profile and revision; what the patient reported, for the pharmacist to decide on."""
    async with work.read() as db:
        state = await _state(db, patient_id)
        profile = (await profiles.load_profiles(db, [patient_id], work.now()))[patient_id]
        reported = await reports.load_reported_changes(db, patient_id)
    return {
        **state,
        "profile": profile.model_dump(mode="json"),
        "reported": [vars(change) for change in reported],
    }


@router.get("/patients")
async def list_patients(
    work: Working,
    store_id: Store = None,
    status: Standing | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """Patient ids with status and revision."""
    async with work.read() as db:
        found = await feed.list_patients(db, store_id=store_id, status=status, after=after, limit=limit + 1)
    items = [
        {
            "patient_id": each.patient_id,
            "store_id": each.store_id,
            "status": each.status,
            "revision": each.revision,
        }
        for each in found
    ]
    return page(items, limit, "patient_id")


@router.get("/candidates")
async def list_candidates(
    work: Working,
    store_id: Store = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """Who would benefit and does not take part yet, with reasons as codes and words."""
    async with work.read() as db:
        found = await candidates.list_candidates(db, store_id=store_id, after=after, limit=limit + 1)
    items = [
        {
            "patient_id": each.patient_id,
            "store_id": each.store_id,
            "since": each.since,
            "reasons": [{**reason.model_dump(), "words": in_words(reason)} for reason in each.reasons],
        }
        for each in found
    ]
    return page(items, limit, "patient_id")
