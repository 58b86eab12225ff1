"""What staff, patients and the chain's systems may ask of enrollment: one function per command, without HTTP.

Each gets the unit of work with its patient or store locked, and goes the same way: who may, load, decide, save, emit.
It raises what `shared.problems` names. What is said to it is a frozen model beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from services.enrollment.domain.candidates import ANSWERS, Answer, answered
from services.enrollment.domain.consent import PREFERENCES, How, Terms, amend
from services.enrollment.domain.profile import FINAL, Standing, consented_channels
from services.enrollment.domain.records import is_same_person
from services.enrollment.erasing import require_remembered
from services.enrollment.publishing import profiles_changed
from services.enrollment.queries import known_patient
from services.enrollment.store import candidates, caregivers, consents, feed, people, profiles, reports
from services.enrollment.store.consents import Word
from shared import access
from shared.database import Db
from shared.events import Event
from shared.events.enrollment import (
    CandidateEnd,
    CandidateWithdrawn,
    CaregiversChanged,
    Channel,
    ConsentChanged,
    CyclePolicy,
    DisenrolmentReason,
    PatientDisenrolled,
)
from shared.identity import ACTOR_ID
from shared.messaging import Caller, Unit, Work, patient
from shared.messaging.envelope import marks_of_state
from shared.problems import Conflict, Invalid, NotAllowed, NotFound
from shared.values import WHOLE, Day, FreeText, Id, Input, LenientInput, for_example

T = TypeVar("T")


Weekday = Annotated[int, Field(strict=True, ge=0, le=6, description="0 is Monday"), WHOLE]
DayOfMonth = Annotated[int, Field(strict=True, ge=1, le=31), WHOLE]


# --- consent and its end ---


def _folded(values: tuple[T, ...]) -> tuple[T, ...]:
    """Each once, in the order given."""
    return tuple(dict.fromkeys(values))


def _one_of(values: Iterable[str]) -> BeforeValidator:
    """Readers of events take what they do not know as `other`; who commands is told what there is."""
    offered = tuple(values)

    def check(value: object) -> object:
        if value not in offered:
            raise ValueError(f"is none of {', '.join(offered)}")
        return value

    return BeforeValidator(check)


CHANNELS = tuple(each for each in Channel if each != "other")
POLICIES = tuple(each for each in CyclePolicy if each != "other")
OfferedChannel = Annotated[Channel, _one_of(CHANNELS), WithJsonSchema({"type": "string", "enum": CHANNELS})]
OfferedPolicy = Annotated[
    CyclePolicy, _one_of(POLICIES), WithJsonSchema({"type": "string", "enum": POLICIES})
]
Scope = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")], ...],
    Field(max_length=10, json_schema_extra={"contains": {"const": "synchronize"}}),
    AfterValidator(_folded),
]
Channels = Annotated[tuple[OfferedChannel, ...], Field(max_length=10), AfterValidator(_folded)]
MustWeekdays = Annotated[tuple[Weekday, ...], Field(max_length=7), AfterValidator(_folded)]


class ConsentGiven(Input):
    """What the patient agreed to, and how. What is left out stays as it is; at the first consent, and at one after
    leaving, it is as the feed says, or the default shown."""

    model_config = for_example(
        channels=["phone", "text"],
        language="es",
        cycle_policy="rolling_30",
        how="in_person",
        document_id="form-2026-118",
    )

    scope: Scope = ("synchronize", "contact")
    channels: Channels | None = None
    language: Annotated[str | None, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")] = None
    caregiver: StrictBool = False
    standing_instruction: StrictBool = False
    cycle_policy: OfferedPolicy | None = None
    must_weekdays: MustWeekdays = ()
    preferred_weekday: Weekday | None = None
    how: How | None = None
    document_id: Id | None = Field(None, description="where the signed form or the recording is kept")

    @field_validator("scope")
    @classmethod
    def _takes_part(cls, scope: tuple[str, ...]) -> tuple[str, ...]:
        if "synchronize" not in scope:
            raise ValueError(
                "must include synchronize; to end participation, disenroll the patient with reason revoked"
            )
        return scope

    def said(self) -> dict[str, Any]:
        """The terms that were said. A null is as good as nothing, but for a preference: there the feed counts again."""
        terms = self.model_dump(exclude_unset=True, exclude={"how", "document_id"})
        return {name: value for name, value in terms.items() if value is not None or name in PREFERENCES}


async def consent(unit: Unit, patient_id: str, given: ConsentGiven) -> None:
    """Enroll a patient, or amend the consent of one who is enrolled; what says nothing new changes nothing.

    Consent is the patient's own: a prescriber's referral or a system's idea of it is none.
    """
    known = await known_patient(unit.db, patient_id)
    await require_remembered(unit.db, patient_id)
    if known.disenrolled_for in FINAL:
        why = f"the record is closed ({known.disenrolled_for}); look for another of the patient"
        raise Conflict("cannot_be_enrolled", why)
    if known.status is Standing.enrolled:
        await _amend(unit, patient_id, given)
    else:
        await _enroll(unit, patient_id, given)


async def _enroll(unit: Unit, patient_id: str, given: ConsentGiven) -> None:
    stopped = await consents.opted_out_channels(unit.db, patient_id)
    person = (await people.load_fed_patients(unit.db, unit.keys, [patient_id]))[patient_id].value.person
    terms = Terms(
        scope=given.scope,
        channels=consented_channels(given.channels, stopped),
        language=given.language or person.language,
        caregiver=given.caregiver,
        standing_instruction=given.standing_instruction,
        cycle_policy=given.cycle_policy,
        must_weekdays=given.must_weekdays,
        preferred_weekday=given.preferred_weekday,
    )
    await consents.enrol(unit.db, patient_id, terms, _word(unit, given.how, given.document_id))
    unit.emit(await profiles.enrollments(unit.db, [patient_id]))
    unit.emit(await profiles.contact_details(unit.db, unit.keys, [patient_id]))


async def _amend(unit: Unit, patient_id: str, given: ConsentGiven) -> None:
    held = await consents.load_held(unit.db, patient_id)
    amendment = amend(held.terms, given.said(), stopped=held.stopped)
    how, document_id = given.how or held.how, given.document_id or held.document_id
    if not amendment.changes and (how, document_id) == (held.how, held.document_id):
        return
    # The paper of an earlier word is no proof of this one.
    word = _word(unit, given.how, given.document_id) if amendment.changes else _word(unit, how, document_id)
    await consents.amend(unit.db, patient_id, amendment.terms, word, contact_agreed=amendment.contact_agreed)
    await _tell_amended(unit, patient_id, amendment.changes)


async def _tell_amended(unit: Unit, patient_id: str, changes: Collection[str]) -> None:
    """Each part of a consent goes to whom it concerns: contact to outreach, preferences to the planner."""
    if agreed := tuple(change for change in changes if change not in PREFERENCES):
        revision, store_id = await consents.raise_revision(unit.db, patient_id)
        (in_force,) = (await consents.load_consents(unit.db, [patient_id])).values()
        unit.emit(
            ConsentChanged(
                patient_id=patient_id,
                revision=revision,
                store_id=store_id,
                consent=in_force,
                changes=agreed,
            )
        )
    if "language" in changes:
        await consents.raise_person_revision(unit.db, patient_id)
        unit.emit(await profiles.contact_details(unit.db, unit.keys, [patient_id]))
    if not PREFERENCES.isdisjoint(changes):
        unit.emit(await profiles_changed(unit, {patient_id: ("preferences",)}))


def _word(unit: Unit, how: How | None = None, document_id: str | None = None) -> Word:
    return Word(unit.now, unit.actor, unit.role, how, document_id)


MOST_CAREGIVERS = 10


class CaregiverNamed(Input):
    """A person who may act for the patient from now on, and how the patient said so."""

    model_config = for_example(caregiver_id="7f3a91", how="paper", document_id="form-2026-119")

    caregiver_id: Annotated[
        str, Field(pattern=ACTOR_ID, description="by which the identity provider knows them: its `sub`")
    ]
    how: How | None = None
    document_id: Id | None = Field(None, description="where the signed form or the recording is kept")


async def name_caregiver(unit: Unit, patient_id: str, given: CaregiverNamed) -> None:
    """Let a person act for the patient; who is a caregiver already stays one. Nobody names themselves."""
    if given.caregiver_id == unit.actor:
        raise NotAllowed("not_for_oneself", "you would give yourself this patient: somebody else has to")
    known = await known_patient(unit.db, patient_id)
    if known.disenrolled_for in FINAL:
        why = f"the record is closed ({known.disenrolled_for}); look for another of the patient"
        raise Conflict("record_closed", why)
    held = await caregivers.in_force(unit.db, patient_id)
    if given.caregiver_id in held:
        return
    if len(held) >= MOST_CAREGIVERS:
        why = f"the patient has {len(held)} caregivers, the most there may be: end one of them first"
        raise Conflict("too_many_caregivers", why)
    word = _word(unit, given.how, given.document_id)
    await caregivers.record(unit.db, patient_id, given.caregiver_id, word)
    await _tell_caregivers(unit, patient_id)


async def end_caregiver(unit: Unit, patient_id: str, caregiver_id: str) -> None:
    """Let a person act for the patient no longer."""
    await known_patient(unit.db, patient_id)
    if not await caregivers.end(unit.db, patient_id, caregiver_id, _word(unit)):
        raise NotFound("no_such_caregiver", "nobody of this id is a caregiver of the patient")
    await _tell_caregivers(unit, patient_id)


async def _tell_caregivers(unit: Unit, patient_id: str) -> None:
    await consents.raise_revision(unit.db, patient_id)
    unit.emit(await caregivers.told(unit.db, [patient_id]))


class Disenrolment(LenientInput):
    """Why a patient is no longer enrolled; a merge names the patient who remains."""

    model_config = for_example(reason="moved_away")

    reason: Annotated[
        Answer | DisenrolmentReason,
        Field(union_mode="left_to_right"),
        _one_of((*Answer, *DisenrolmentReason)),
    ]
    survivor_id: Id | None = None


async def disenroll(unit: Unit, patient_id: str, why: Disenrolment) -> None:
    """End a patient's part at once; for one who never took part, record that they do not want to.

    A merge names the survivor, who keeps the prescriptions, fills and reports of both, and has to be locked too. Only a
    pharmacist or the chain's system merges, and only records that agree.
    """
    merges = why.reason is DisenrolmentReason.merged
    if merges != (why.survivor_id is not None) or why.survivor_id == patient_id:
        raise Invalid(
            "not_a_merge", "reason merged goes with the survivor_id of another patient, and only then"
        )
    if merges:
        access.require("merge", unit.role)
    known = await known_patient(unit.db, patient_id)
    if why.survivor_id:
        await _require_same_person(unit, patient_id, why.survivor_id)
    if isinstance(why.reason, Answer) and _may_answer(known):
        await _keep_answer(unit, known, why.reason, None)
    elif not _is_over(known, merges=merges):
        # Who is enrolled and wants out revokes a consent, whatever word is used for it.
        reason = DisenrolmentReason.revoked if isinstance(why.reason, Answer) else why.reason
        await _end(unit, known, reason, why.survivor_id)


async def _require_same_person(unit: Unit, patient_id: str, survivor_id: str) -> None:
    """Two records are merged for good: only those that name one person. Raises Conflict, NotFound."""
    survivor = await known_patient(unit.db, survivor_id)
    if survivor.disenrolled_for == DisenrolmentReason.merged:
        raise Conflict("merged_itself", "the survivor was merged into another patient: name that one")
    for each in (patient_id, survivor_id):
        await require_remembered(unit.db, each)
    fed = await people.load_fed_patients(unit.db, unit.keys, [patient_id, survivor_id])
    if not is_same_person(*(fed[each].value.person for each in (patient_id, survivor_id))):
        raise Conflict(
            "not_the_same_person",
            "family name and birth date of the two records differ: correct them in the chain's system first",
        )


async def end_again(event: Event, at: datetime, caller: Caller, work: Work) -> bool:
    """What was ended, published and lost is ended again: a patient's part, or that somebody acts for the patient."""
    if isinstance(event, PatientDisenrolled):
        return await _disenroll_again(event, at, caller, work)
    if isinstance(event, CaregiversChanged):
        return await _end_caregivers_again(event, at, caller, work)
    return False


async def _end_caregivers_again(event: CaregiversChanged, at: datetime, caller: Caller, work: Work) -> bool:
    """Whoever was no caregiver any more at that moment is none, unless they were named since."""

    async def end(unit: Unit) -> bool:
        held = await caregivers.in_force(unit.db, event.patient_id, since=at)
        gone = set(held) - set(event.caregiver_ids)
        for caregiver_id in gone:
            await caregivers.end(unit.db, event.patient_id, caregiver_id, _word(unit))
        if gone:
            unit.marks = marks_of_state()
            await _tell_caregivers(unit, event.patient_id)
        return bool(gone)

    return await work.command(caller, [patient(event.patient_id)], end, even_if_parked=True)


async def _disenroll_again(event: PatientDisenrolled, at: datetime, caller: Caller, work: Work) -> bool:
    """Unless a consent given since then is in force. Of a patient who is not known any more there is nothing to end."""
    patient_ids = [event.patient_id, *([event.survivor_id] if event.survivor_id else [])]

    async def leave(unit: Unit) -> bool:
        known = await feed.load_patients(unit.db, patient_ids)
        consent = (await consents.load_consents(unit.db, [event.patient_id])).get(event.patient_id)
        if len(known) < len(patient_ids) or consent is None or consent.given_at > at:
            return False
        unit.marks = marks_of_state()
        await _end(unit, known[event.patient_id], event.reason, event.survivor_id)
        return True

    return await work.command(caller, [patient(each) for each in patient_ids], leave, even_if_parked=True)


def _is_over(known: feed.Patient, *, merges: bool) -> bool:
    """Whether there is nothing left to end. Somebody who waits to be asked again may have died."""
    left = known.status is Standing.disenrolled and known.disenrolled_for not in ANSWERS
    return known.disenrolled_for in FINAL or (left and not merges)


async def _end(unit: Unit, known: feed.Patient, reason: DisenrolmentReason, survivor_id: str | None) -> None:
    await _withdraw_candidate(unit, known, reason)
    revision = await consents.disenroll(unit.db, known.patient_id, reason, survivor_id, _word(unit))
    if known.status is Standing.enrolled:
        unit.emit(
            PatientDisenrolled(
                patient_id=known.patient_id, revision=revision, reason=reason, survivor_id=survivor_id
            )
        )
    if survivor_id:
        await consents.move_history(unit.db, known.patient_id, survivor_id)
        unit.emit(await profiles_changed(unit, {survivor_id: ("merged",)}))
        await candidates.plan_checks(unit.db, [survivor_id], unit.now)


async def _withdraw_candidate(
    unit: Unit, known: feed.Patient, why: Answer | DisenrolmentReason, ask_again_on: date | None = None
) -> None:
    """Tell that the patient is no candidate any more, where they were one."""
    if await candidates.load_candidate_reasons(unit.db, [known.patient_id]):
        unit.emit(
            CandidateWithdrawn(
                patient_id=known.patient_id,
                store_id=known.store_id,
                reason=CandidateEnd(why),
                ask_again_on=ask_again_on,
            )
        )


class CandidateAnswer(Input):
    """What a patient says who was asked to enroll, and does not want to, or not now."""

    model_config = for_example(answer="not_now", ask_again_on="2026-09-01")

    answer: Answer
    ask_again_on: Day | None = Field(
        None, description="left out: in 90 days after not_now, never by itself after declined"
    )


async def answer(unit: Unit, patient_id: str, given: CandidateAnswer) -> None:
    """Keep a candidate's answer: no candidate until the day to ask again. A consent goes before it at any time."""
    known = await known_patient(unit.db, patient_id)
    if known.status is Standing.enrolled:
        raise Conflict("enrolled", "the patient is enrolled: disenroll them first")
    if not _may_answer(known):
        why = f"the patient left ({known.disenrolled_for}), and is asked no more: a consent enrolls again"
        raise Conflict("not_a_candidate", why)
    await _keep_answer(unit, known, given.answer, given.ask_again_on)


def _may_answer(known: feed.Patient) -> bool:
    return known.status is Standing.known or known.disenrolled_for in ANSWERS


async def _keep_answer(unit: Unit, known: feed.Patient, said: Answer, ask_again_on: date | None) -> None:
    patient_id = known.patient_id
    zone = (await feed.load_stores(unit.db, [known.store_id]))[known.store_id].value.time_zone
    today = unit.today(zone)
    if ask_again_on and ask_again_on <= today:
        raise Invalid(
            "not_later", f"ask_again_on: {ask_again_on} is not after today, {today}; give a later day"
        )
    held = (await candidates.load_answers(unit.db, [patient_id])).get(patient_id)
    new = answered(said, today, ask_again_on)
    if held and known.disenrolled_for == said and ask_again_on in (None, held.ask_again_on):
        return
    await candidates.save_answer(unit.db, patient_id, new, now=unit.now, by=unit.actor, role=unit.role)
    await _withdraw_candidate(unit, known, said, new.ask_again_on)
    await consents.disenroll(unit.db, patient_id, said, None, _word(unit))
    if new.ask_again_on:
        due_at = datetime.combine(new.ask_again_on, time(), ZoneInfo(zone))
        await candidates.plan_asking(unit.db, patient_id, due_at)


# --- the profile ---


async def release(unit: Unit, patient_id: str, rx_id: str) -> None:
    """End the hold on a prescription that the patient reported stopped: the pharmacist's decision."""
    await known_patient(unit.db, patient_id)
    if not await reports.release(unit.db, patient_id, rx_id):
        raise Conflict("not_on_hold", "the patient reported no stop of this prescription")
    unit.emit(await profiles_changed(unit, {patient_id: ("released",)}))


class StatedSpan(Input):
    """Days in a row, both included; without an end until further notice."""

    begins_on: Day
    ends_on: Day | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_on and self.ends_on < self.begins_on:
            raise ValueError("ends_on is before begins_on: correct one of them")
        return self


class Statement(Input):
    """What staff learned about the days on which the patient can be served: what is left out stays as it is, a null
    takes back what staff stated before, so that the feed's word counts again."""

    model_config = for_example(
        payday=3, ride_weekdays=[1, 4], away=[{"begins_on": "2026-07-01", "ends_on": "2026-07-14"}]
    )

    day_of_month: DayOfMonth | None = None
    payday: DayOfMonth | None = None
    paydays: tuple[Day, ...] | None = None
    ride_weekdays: tuple[Weekday, ...] | None = None
    rides: tuple[Day, ...] | None = None
    delivered: StrictBool | None = None
    packaged: StrictBool | None = None
    household_must: StrictBool | None = None
    away: tuple[StatedSpan, ...] | None = None
    stays: tuple[StatedSpan, ...] | None = None
    reconciled_on: Day | None = None
    uninsured: tuple[StatedSpan, ...] | None = None


async def state_circumstances(unit: Unit, patient_id: str, statement: Statement) -> None:
    """Keep a payday, a ride, a stay in hospital, a vacation, lapsed insurance; that a stay is reconciled, by a
    pharmacist alone. It goes before the feed."""
    said = statement.model_dump(mode="json", exclude_unset=True)
    if "reconciled_on" in said:
        access.require("reconcile a stay", unit.role)
    await known_patient(unit.db, patient_id)
    if statement.reconciled_on and statement.reconciled_on > unit.today("UTC") + timedelta(days=1):
        raise Invalid("not_yet", "reconciled_on: is in the future; use the day on which it was done")
    await consents.state_circumstances(unit.db, patient_id, said, now=unit.now, by=unit.actor, role=unit.role)
    unit.emit(await profiles_changed(unit, {patient_id: ("circumstances",)}))


class RhythmWanted(Input):
    """How often the patient wants to come from now on."""

    model_config = for_example(cycle_policy="day_of_month", day_of_month=15)

    cycle_policy: OfferedPolicy
    day_of_month: DayOfMonth | None = None

    @model_validator(mode="after")
    def _one_day_for_its_policy(self) -> Self:
        if (self.cycle_policy is CyclePolicy.day_of_month) != (self.day_of_month is not None):
            raise ValueError("day_of_month goes with the cycle_policy of that name, and only with it")
        return self


async def change_rhythm(unit: Unit, patient_id: str, wanted: RhythmWanted) -> None:
    """Change how often an enrolled patient comes, as the patient wishes; `auto` leaves it to the planner. It goes
    before the feed. The next pickup stays where it was agreed."""
    known = await known_patient(unit.db, patient_id)
    if known.status is not Standing.enrolled:
        raise Conflict("not_enrolled", "the patient is not enrolled: give it with the consent")
    said = wanted.model_dump(mode="json", exclude_none=True)
    await consents.change_rhythm(unit.db, patient_id, said, _word(unit))
    unit.emit(await profiles_changed(unit, {patient_id: ("preferences",)}))


# --- stores ---


class Closure(Input):
    """A day on which a store is closed, and why."""

    model_config = for_example(on="2026-11-26", why="Thanksgiving")

    on: Day
    why: Annotated[FreeText, Field(min_length=3)]


async def close_store(unit: Unit, store_id: str, closure: Closure) -> None:
    """Close a store on a day, beside what the feed says: its visits are planned anew, earlier where possible."""
    await _require_store(unit.db, store_id)
    if await feed.close_store(unit.db, store_id, closure.on, why=closure.why, now=unit.now, by=unit.actor):
        await feed.raise_store_revision(unit.db, store_id)
        unit.emit(await feed.published_stores(unit.db, [store_id]))


async def lift_closure(unit: Unit, store_id: str, on: date) -> None:
    """Lift a closure that staff set; a day that the feed closes stays closed."""
    await _require_store(unit.db, store_id)
    if not await feed.reopen_store(unit.db, store_id, on, now=unit.now, by=unit.actor):
        raise NotFound("no_such_closure", "staff did not close the store on that day")
    await feed.raise_store_revision(unit.db, store_id)
    unit.emit(await feed.published_stores(unit.db, [store_id]))


async def _require_store(db: Db, store_id: str) -> None:
    if not await feed.load_stores(db, [store_id]):
        raise NotFound("unknown_store", "no such store was imported: import stores.csv first")
