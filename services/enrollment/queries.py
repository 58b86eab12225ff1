"""What may be read of enrollment, as it is answered. One function per question; nothing here writes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from services.enrollment.domain.candidates import ANSWERS, Answer, Answered, answer_in_words, in_words
from services.enrollment.domain.consent import How
from services.enrollment.domain.profile import Standing
from services.enrollment.store import candidates, caregivers, consents, feed, people, profiles, reports
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DataKeys
from shared.events import Reason
from shared.events.enrollment import Channel, Consent, CyclePolicy, Profile
from shared.pages import Page, page_of
from shared.problems import NotFound
from shared.values import Day, Input, Output, Text


class PatientLine(Output):
    """One patient of a list."""

    patient_id: str
    store_id: str
    status: Standing
    revision: int


class PatientState(PatientLine):
    """Where a patient stands."""

    disenrolled_for: str | None
    survivor_id: str | None
    consent: Consent | None
    ask_again_on: date | None = None  # where the patient declined or said not now


class ConsentEntry(Output):
    """What a consent said from a moment on, until the next entry; after `ended` none is in force."""

    valid_from: datetime
    change: str  # given, amended, opted_out, opted_in, ended
    recorded_by: str
    recorded_as: str
    how: How | None
    document_id: str | None
    scope: tuple[str, ...]
    channels: tuple[Channel, ...]
    language: str
    caregiver: bool
    standing_instruction: bool
    cycle_policy: CyclePolicy | None  # null, here and below: as the feed says
    must_weekdays: tuple[int, ...]
    preferred_weekday: int | None


class ConsentHistory(Output):
    """Every consent of a patient with its changes, oldest first."""

    patient_id: str
    items: list[ConsentEntry]


class CaregiverLine(Output):
    """Who may act for a patient, or could until `ended_at`, and by whose word."""

    caregiver_id: str
    recorded_at: datetime
    recorded_by: str
    recorded_as: str
    how: How | None
    document_id: str | None
    ended_at: datetime | None
    ended_by: str | None


class Caregivers(Output):
    """Everybody who is or was a caregiver of a patient, oldest first."""

    patient_id: str
    items: list[CaregiverLine]


class ReportedChange(Output):
    """What the patient said about one drug: stopped, dose_changed, on_hand (with the days left)."""

    patient_id: str
    rx_id: str
    change: str
    reported_on: date
    days_left: int | None


class PatientRecord(PatientState):
    """All that is held of a patient but who it is; what was reported is for the pharmacist to decide on."""

    profile: Profile
    reported: list[ReportedChange]


class Stated(Output):
    """What staff stated of a patient's circumstances and did not take back."""

    patient_id: str
    stated: dict[str, Any]


class StoreClosures(Output):
    """The days on which a store is closed, by the feed and by staff."""

    store_id: str
    revision: int
    closed_on: tuple[date, ...]


class ReasonInWords(Reason):
    """A reason, and how staff read it."""

    words: str


class EarlierAnswer(Output):
    """What a candidate answered before, and how staff read it."""

    answer: Answer
    on: date
    ask_again_on: date | None
    words: str


class CandidateLine(Output):
    """Who would benefit and does not take part, since when, and why."""

    patient_id: str
    store_id: str
    since: datetime | None
    reasons: list[ReasonInWords]
    answered: EarlierAnswer | None  # null: not asked yet


async def known_patient(db: Db, patient_id: str) -> feed.Patient:
    """Where the patient stands. Raises NotFound."""
    known = (await feed.load_patients(db, [patient_id])).get(patient_id)
    if known is None:
        raise NotFound("unknown_patient", "no such patient was imported: import patients.csv first")
    return known


class PatientFound(Output):
    """Whom a number of the source names here."""

    patient_id: str
    survivor_id: str | None  # whom the record was merged into


class Asked(Input):
    """Who is looked for: somebody of a family name and birth date, or with a number; where all is given, of both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"family_name": "Lovelace", "birth_date": "1951-12-10"}],
            "anyOf": [
                {
                    "required": ["family_name", "birth_date"],
                    "properties": {"family_name": {"type": "string"}, "birth_date": {"type": "string"}},
                },
                {
                    "required": ["phone"],
                    "properties": {
                        "phone": {"type": "string"},
                        "family_name": {"type": "null"},
                        "birth_date": {"type": "null"},
                    },
                },
            ],
        }
    )

    family_name: Annotated[Text, Field(min_length=1, max_length=120)] | None = None
    birth_date: Day | None = None
    phone: Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164")] | None = None

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if (self.family_name is None) != (self.birth_date is None):
            raise ValueError("family_name goes with birth_date: a name alone is not searched by")
        if self.family_name is None and self.phone is None:
            raise ValueError("give family_name and birth_date, or phone")
        return self


async def patient_found(db: Db, patient_id: str) -> PatientFound:
    """Raises NotFound where the patient was not imported."""
    known = await known_patient(db, patient_id)
    return PatientFound(patient_id=known.patient_id, survivor_id=known.survivor_id)


async def patient_state(db: Db, patient_id: str) -> PatientState:
    """Where the patient stands, with the consent in force. Raises NotFound."""
    known = await known_patient(db, patient_id)
    consent = (await consents.load_consents(db, [patient_id])).get(patient_id)
    waits = known.disenrolled_for in ANSWERS
    answered = (await candidates.load_answers(db, [patient_id])).get(patient_id) if waits else None
    return PatientState(
        **asdict(known), consent=consent, ask_again_on=answered.ask_again_on if answered else None
    )


async def patient_record(db: Db, patient_id: str, now: datetime) -> PatientRecord:
    """The patient with the profile as it was last published, as of now where it never was. Raises NotFound."""
    state = await patient_state(db, patient_id)
    profile = (await profiles.load_profiles(db, [patient_id], now))[patient_id]
    reported = await reports.load_reported_changes(db, patient_id)
    return PatientRecord(
        **dict(state), profile=profile, reported=[ReportedChange(**asdict(change)) for change in reported]
    )


async def consent_history(db: Db, patient_id: str) -> ConsentHistory:
    """What the patient agreed to when, and who recorded it. Raises NotFound."""
    await known_patient(db, patient_id)
    items = [
        ConsentEntry(
            valid_from=entry.word.at,
            change=entry.change,
            recorded_by=entry.word.by,
            recorded_as=entry.word.role,
            how=entry.word.how,
            document_id=entry.word.document_id,
            **vars(entry.terms),
        )
        for entry in await consents.load_history(db, patient_id)
    ]
    return ConsentHistory(patient_id=patient_id, items=items)


async def caregivers_of(db: Db, patient_id: str) -> Caregivers:
    """Who may act for the patient, and who could. Raises NotFound."""
    await known_patient(db, patient_id)
    items = [CaregiverLine(**asdict(entry)) for entry in await caregivers.load_history(db, patient_id)]
    return Caregivers(patient_id=patient_id, items=items)


async def patients(
    db: Db, *, stores: Stores, status: Standing | None, after: str, limit: int
) -> Page[PatientLine]:
    """Patients by id."""
    found = await feed.list_patients(db, stores=stores, status=status, after=after, limit=limit + 1)
    lines = [PatientLine.model_validate(each, from_attributes=True) for each in found]
    return page_of(lines, limit, "patient_id")


async def people_found(
    db: Db, keys: DataKeys, asked: Asked, *, stores: Stores, after: str, limit: int
) -> Page[PatientLine]:
    """Patients who are as asked, by id."""
    index = await keys.held_index(db)
    if index is None:  # nobody was imported yet
        return page_of([], limit, "patient_id")
    hashes = {people.of_phone(index, asked.phone)} if asked.phone else set()
    if asked.family_name and asked.birth_date:
        hashes.add(people.of_name(index, asked.family_name, asked.birth_date))
    found = await people.find_people(db, hashes, stores=stores, after=after, limit=limit + 1)
    lines = [PatientLine.model_validate(each, from_attributes=True) for each in found]
    return page_of(lines, limit, "patient_id")


async def stated_circumstances(db: Db, patient_id: str) -> Stated:
    """What staff stated of this patient."""
    stated = await consents.stated_circumstances(db, [patient_id])
    return Stated(patient_id=patient_id, stated=stated.get(patient_id, {}))


async def store_closures(db: Db, store_id: str) -> StoreClosures:
    """When this store is closed; it has to be known."""
    (published,) = await feed.published_stores(db, [store_id])
    return StoreClosures.model_validate(published, from_attributes=True)


async def candidate_lines(db: Db, *, stores: Stores, after: str, limit: int) -> Page[CandidateLine]:
    """Who would benefit, by patient id, with reasons in words."""
    found = await candidates.list_candidates(db, stores=stores, after=after, limit=limit + 1)
    answers = await candidates.load_answers(db, [each.patient_id for each in found])
    lines = [
        CandidateLine(
            patient_id=each.patient_id,
            store_id=each.store_id,
            since=each.since,
            reasons=[
                ReasonInWords(code=reason.code, params=reason.params, words=in_words(reason))
                for reason in each.reasons
            ],
            answered=_in_words(answers.get(each.patient_id)),
        )
        for each in found
    ]
    return page_of(lines, limit, "patient_id")


def _in_words(answered: Answered | None) -> EarlierAnswer | None:
    return EarlierAnswer(**asdict(answered), words=answer_in_words(answered)) if answered else None
