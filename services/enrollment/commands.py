"""What staff, patients and the chain's systems may ask of enrollment: one function per command, without HTTP.

Each gets the unit of work with its patient or store locked, and goes the same way: who may, load, decide, save, emit.
It raises what `shared.problems` names. What it is told is a frozen model beside it.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.enrollment.domain.profile import FINAL, Standing, consented_channels
from services.enrollment.domain.records import Wishes
from services.enrollment.publishing import profiles_changed
from services.enrollment.queries import known_patient
from services.enrollment.store import candidates, consents, feed, profiles, reports
from shared.database import Db
from shared.events.enrollment import (
    Channel,
    Consent,
    CyclePolicy,
    DisenrolmentReason,
    PatientDisenrolled,
)
from shared.messaging import Unit
from shared.problems import Conflict, Invalid, NotFound, require_role

STAFF = ("clerk", "technician", "pharmacist")

Id = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
Weekday = Annotated[int, Field(ge=0, le=6, description="0 is Monday")]
DayOfMonth = Annotated[int, Field(ge=1, le=31)]


class Told(BaseModel):
    """What a command is told; a field that it does not know is refused, with its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- consent and its end ---


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


async def consent(unit: Unit, patient_id: str, given: ConsentGiven) -> None:
    """Enrol a patient. Who is enrolled already stays so, unchanged.

    Consent is the patient's own: a prescriber's referral or a system's idea of it is none.
    """
    require_role(unit.role, "patient", "caregiver", *STAFF)
    known = await known_patient(unit.db, patient_id)
    if known.disenrolled_for in FINAL:
        why = f"the record is closed ({known.disenrolled_for}); look for another of the patient"
        raise Conflict("cannot_be_enrolled", why)
    if known.status is not Standing.enrolled:
        await _enrol(unit, patient_id, given)


async def _enrol(unit: Unit, patient_id: str, given: ConsentGiven) -> None:
    stopped = await consents.opted_out_channels(unit.db, patient_id)
    person = (await feed.load_fed_patients(unit.db, [patient_id]))[patient_id].value.person
    agreed = Consent(
        given_at=unit.now,
        scope=given.scope,
        channels=consented_channels(given.channels, stopped),
        language=given.language or person.language,
        caregiver=given.caregiver,
        standing_instruction=given.standing_instruction,
    )
    wishes = Wishes(given.cycle_policy, given.must_weekdays, given.preferred_weekday)
    await consents.enrol(unit.db, patient_id, agreed, wishes, recorded_by=unit.actor, recorded_as=unit.role)
    unit.emit(await profiles.enrolments(unit.db, [patient_id]))
    unit.emit(await profiles.contact_details(unit.db, [patient_id]))


class Disenrolment(BaseModel):
    """Why a patient takes part no longer; a merge names the patient who remains."""

    model_config = ConfigDict(frozen=True)

    reason: DisenrolmentReason
    survivor_id: Id | None = None


async def disenroll(unit: Unit, patient_id: str, why: Disenrolment) -> None:
    """End a patient's part at once; for one who never took part, record that they do not want to.

    A merge names the survivor, who keeps the prescriptions, fills and reports of both, and has to be locked too.
    """
    merges = why.reason is DisenrolmentReason.merged
    if merges != (why.survivor_id is not None) or why.survivor_id == patient_id:
        raise Invalid(
            "not_a_merge", "reason merged goes with the survivor_id of another patient, and only then"
        )
    known = await known_patient(unit.db, patient_id)
    if why.survivor_id:
        survivor = await known_patient(unit.db, why.survivor_id)
        if survivor.disenrolled_for == DisenrolmentReason.merged:
            raise Conflict("merged_itself", "the survivor was merged into another patient: name that one")
    if known.disenrolled_for in FINAL or (known.status is Standing.disenrolled and not merges):
        return
    await _end(unit, known, why)


async def _end(unit: Unit, known: feed.Patient, why: Disenrolment) -> None:
    revision = await consents.disenrol(
        unit.db, known.patient_id, why.reason, why.survivor_id, now=unit.now, recorded_by=unit.actor
    )
    if known.status is Standing.enrolled:
        unit.emit(
            PatientDisenrolled(
                patient_id=known.patient_id,
                revision=revision,
                reason=why.reason,
                survivor_id=why.survivor_id,
            )
        )
    if why.survivor_id:
        await consents.move_history(unit.db, known.patient_id, why.survivor_id)
        unit.emit(await profiles_changed(unit, {why.survivor_id: ("merged",)}))
        await candidates.plan_checks(unit.db, [why.survivor_id], unit.now)


# --- the profile ---


async def release(unit: Unit, patient_id: str, rx_id: str) -> None:
    """End the hold on a prescription that the patient reported stopped: the pharmacist's decision."""
    require_role(unit.role, "pharmacist")
    await known_patient(unit.db, patient_id)
    if not await reports.release(unit.db, patient_id, rx_id):
        raise Conflict("not_on_hold", "the patient reported no stop of this prescription")
    unit.emit(await profiles_changed(unit, {patient_id: ("released",)}))


class StatedSpan(Told):
    """Days in a row, both included; without an end until further notice."""

    begins_on: date
    ends_on: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_on and self.ends_on < self.begins_on:
            raise ValueError("ends_on is before begins_on: correct one of them")
        return self


class Statement(Told):
    """What staff learned about the days on which the patient can be served: what is left out stays as it is, a null
    takes back what staff stated before, so that the feed's word counts again."""

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


async def state_circumstances(unit: Unit, patient_id: str, statement: Statement) -> None:
    """Keep a payday, a ride, a stay in hospital, a vacation, lapsed insurance; that a stay is reconciled, by a
    pharmacist alone. It goes before the feed."""
    said = statement.model_dump(mode="json", exclude_unset=True)
    require_role(unit.role, *(("pharmacist",) if "reconciled_on" in said else STAFF))
    await known_patient(unit.db, patient_id)
    if statement.reconciled_on and statement.reconciled_on > unit.today("UTC") + timedelta(days=1):
        raise Invalid("not_yet", "reconciled_on: lies in the future; give the day on which it was done")
    await consents.state_circumstances(unit.db, patient_id, said, now=unit.now, by=unit.actor, role=unit.role)
    unit.emit(await profiles_changed(unit, {patient_id: ("circumstances",)}))


class RhythmWanted(Told):
    """How often the patient wants to come from now on."""

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


async def change_rhythm(unit: Unit, patient_id: str, wanted: RhythmWanted) -> None:
    """Change how often an enrolled patient comes, as the patient wishes; `auto` leaves it to the planner. It goes
    before the feed. The next pickup stays where it was agreed."""
    require_role(unit.role, *STAFF)
    known = await known_patient(unit.db, patient_id)
    if known.status is not Standing.enrolled:
        raise Conflict("not_enrolled", "the patient takes no part: say it with the consent")
    said = wanted.model_dump(mode="json", exclude_none=True)
    await consents.change_rhythm(unit.db, patient_id, said, now=unit.now, by=unit.actor, role=unit.role)
    unit.emit(await profiles_changed(unit, {patient_id: ("preferences",)}))


# --- stores ---


class Closure(Told):
    """A day on which a store is closed, and why."""

    on: date
    why: str = Field(min_length=3, max_length=500)


async def close_store(unit: Unit, store_id: str, closure: Closure) -> None:
    """Close a store on a day, beside what the feed says: its visits are planned anew, earlier where possible."""
    require_role(unit.role, *STAFF, "system")
    await _require_store(unit.db, store_id)
    if await feed.close_store(unit.db, store_id, closure.on, why=closure.why, now=unit.now, by=unit.actor):
        await feed.raise_store_revision(unit.db, store_id)
        unit.emit(await feed.published_stores(unit.db, [store_id]))


async def lift_closure(unit: Unit, store_id: str, on: date) -> None:
    """Lift a closure that staff set; a day that the feed closes stays closed."""
    require_role(unit.role, *STAFF, "system")
    await _require_store(unit.db, store_id)
    if not await feed.reopen_store(unit.db, store_id, on, now=unit.now, by=unit.actor):
        raise NotFound("no_such_closure", "staff did not close the store on that day")
    await feed.raise_store_revision(unit.db, store_id)
    unit.emit(await feed.published_stores(unit.db, [store_id]))


async def _require_store(db: Db, store_id: str) -> None:
    if not await feed.load_stores(db, [store_id]):
        raise NotFound("unknown_store", "no such store was imported: import stores.csv first")
