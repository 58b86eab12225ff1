"""What enrollment publishes: consent, the medication profile, contact details, stores, candidates."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import ClassVar

from shared.events.base import Days, Event, Fields, OpenEnum, PatientId, Quantity, Reason

TOPIC = "medsync.enrollment.v1"
CONTACTS_TOPIC = "medsync.enrollment.contacts.v1"
STORES_TOPIC = "medsync.enrollment.stores.v1"


class Channel(OpenEnum):
    phone = "phone"
    text = "text"
    letter = "letter"
    other = "other"


class CyclePolicy(OpenEnum):
    """How the next synchronized pickup follows from the last (R4.3)."""

    rolling_28 = "rolling_28"
    auto = "auto"  # the planner chooses the rhythm
    rolling_30 = "rolling_30"
    rolling_34 = "rolling_34"
    rolling_60 = "rolling_60"
    rolling_84 = "rolling_84"
    rolling_90 = "rolling_90"
    day_of_month = "day_of_month"
    other = "other"


class PrescriptionStatus(OpenEnum):
    active = "active"
    on_hold = "on_hold"  # the patient said "I stopped taking it": pharmacist and prescriber decide
    discontinued = "discontinued"
    superseded = "superseded"  # a renewal replaced it
    outside = "outside"  # another pharmacy dispenses it: for review, never planned
    other = "other"


class Schedule(OpenEnum):
    """Controlled-substance schedule (21 CFR 1308)."""

    none = "none"
    c2 = "c2"
    c3 = "c3"
    c4 = "c4"
    c5 = "c5"
    other = "other"


class Drug(Fields):
    """Facts of a drug product, as the chain's drug file states them."""

    code: str  # RxNorm
    name: str
    ingredient: str
    strength: str = ""
    form: str = ""  # tablet, capsule, inhaler, drops, cream, injection, liquid, patch, pack
    schedule: Schedule = Schedule.none
    maintenance: bool = True
    unbreakable: bool = False  # unit-of-use pack: never split
    refrigerated: bool = False
    antibiotic: bool = False
    critical: bool = False  # a day without it is dangerous
    over_the_counter: bool = False  # bought without a prescription: for review, never planned
    rems: bool = False  # a risk evaluation and mitigation strategy decides each fill
    special_handling: bool = False  # or a single pharmacy that may dispense it
    doses_per_unit: Quantity | None = None  # drops, puffs or insulin units in one unit of quantity
    doses_basis: str = ""  # on what that rests: manufacturer, plan, measured
    priming_doses: Quantity | None = None  # lost at each use
    container_quantity: Quantity | None = None  # opened one after the other; none: the pack is one container
    in_use_days: Days | None = None  # discarded so many days after opening
    pack_quantity: Quantity | None = (
        None  # of the smallest pack that is never broken; none: the usual quantity
    )
    lead_days: Days = 0  # more than usual until the store has it: special order


class DirectionsRead(Fields):
    """What the directions say, without their words. Fractions are written as such: `3/2`."""

    digest: str = ""  # the same for the same words of one patient
    as_needed: bool = False  # they leave it to the patient whether it is taken at all
    refused: str | None = None  # why no daily use is read in them; where there is none, what follows is
    most: str | None = None  # of `unit`, taken a day
    times: str | None = None  # a day, at most
    unit: str = ""  # tablet, mL, drop, unit, puff, …; empty: not said
    basis: str = "explicit"  # or as_needed, as_directed
    course_days: int | None = None  # taken for so many days, then no more


class Prescription(Fields):
    """One prescription of the profile."""

    rx_id: str
    drug: Drug
    status: PrescriptionStatus = PrescriptionStatus.active
    directions: str = ""  # empty on the topics: the words stay with enrollment
    directions_read: DirectionsRead | None = None
    as_needed: bool = False
    units_per_day: Quantity | None = None  # maximum daily use; none where the directions do not say
    usual_quantity: Quantity
    usual_days: Days
    quantity_left: Quantity  # authorized quantity not yet dispensed
    refills_left: int = 0
    written_on: date
    expires_on: date
    prescriber_id: str
    payer: str | None = None
    renews: str | None = None  # the rx_id that this one replaces
    prior_authorization_until: date | None = None  # the last day on which the payer pays; none: not needed
    fill_from: date | None = None  # not before, by the prescriber's word; none: at once


class Fill(Fields):
    """One fill that reached the patient, or that another pharmacy billed."""

    fill_id: str
    rx_id: str
    filled_on: date  # the payer's clock: date of service
    handed_over_on: date  # the patient's stock: day of pickup
    quantity: Quantity
    days_supply: Days  # true
    days_supply_billed: Days | None = None  # where the payer was told another; none: the same
    elsewhere: bool = False  # at another pharmacy: for the payer's clock alone


class StockReport(Fields):
    """What the patient said is left; it replaces the estimate from that day on."""

    rx_id: str
    reported_on: date
    days_left: Days


class Span(Fields):
    """From one day to another, both included; without an end until further notice."""

    begins_on: date
    ends_on: date | None = None


class Circumstances(Fields):
    """What the days depend on, on which the patient can be served."""

    day_of_month: int | None = None  # of every synchronized pickup, by the cycle policy of that name
    payday: int | None = None  # day of the month; before it the patient cannot pay
    paydays: tuple[date, ...] = ()  # the same by date
    ride_weekdays: tuple[int, ...] = ()  # with a ride; none and no dates either: none is needed
    rides: tuple[date, ...] = ()
    delivered: bool = False  # brought to the patient, on the store's delivery days
    packaged: bool = False  # in multi-dose packages
    household_id: str | None = None  # those who share one come on the same day where they can
    household_must: bool = False  # on no other day
    away: tuple[Span, ...] = ()
    stays: tuple[Span, ...] = ()  # in hospital or a nursing home; the last day is that of the discharge
    reconciled_on: date | None = None  # a pharmacist reconciled the stays that ended by then
    uninsured: tuple[Span, ...] = ()


class Profile(Circumstances):
    """Everything the patient takes that this chain knows of, and how the patient wants to be served."""

    store_id: str
    cycle_policy: CyclePolicy = CyclePolicy.auto
    must_weekdays: tuple[int, ...] = ()  # 0 is Monday; empty: any day
    preferred_weekday: int | None = None
    prescriptions: tuple[Prescription, ...] = ()
    fills: tuple[Fill, ...] = ()  # of the last 400 days
    stock_reports: tuple[StockReport, ...] = ()
    long_term_care: bool = False  # lives where a pharmacy of the house serves


class Consent(Fields):
    """The patient's explicit, revocable consent to take part."""

    given_at: datetime
    scope: tuple[str, ...] = ("synchronize", "contact")
    channels: tuple[Channel, ...] = (Channel.phone,)
    language: str = "en"
    caregiver: bool = False  # a caregiver may answer and collect
    standing_instruction: bool = False  # fill without a confirmed call where payer and state allow it
    amended_at: datetime | None = None  # when it last changed; none: it stands as it was given
    contact_agreed_at: datetime | None = None  # a stop of before counts no longer; none: as it was given


class PatientEnrolled(Event):
    """A patient gave consent and takes part from now on."""

    TYPE: ClassVar[str] = "medsync.enrollment.patient-enrolled.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    revision: int
    consent: Consent
    profile: Profile


class ConsentChanged(Event):
    """What an enrolled patient agreed to is something else from now on; carries the consent whole."""

    TYPE: ClassVar[str] = "medsync.enrollment.consent-changed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    revision: int
    store_id: str
    consent: Consent
    changes: tuple[str, ...] = ()  # scope, channels, language, caregiver, standing_instruction


class CaregiversChanged(Event):
    """Who may act for a patient from now on. The whole list; a later revision replaces it."""

    TYPE: ClassVar[str] = "medsync.enrollment.caregivers-changed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    revision: int
    store_id: str
    caregiver_ids: tuple[str, ...] = ()  # opaque: by which the identity provider knows them


class ProfileChanged(Event):
    """The profile of an enrolled patient changed; carries it whole. One per patient and transaction."""

    TYPE: ClassVar[str] = "medsync.enrollment.profile-changed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    revision: int
    profile: Profile
    changes: tuple[str, ...] = ()  # fed, handed_over, returned, stopped, on_hand, preferences, circumstances
    visit_id: str | None = None  # the visit that was handed over or returned, where that is the change


class DisenrolmentReason(OpenEnum):
    revoked = "revoked"
    died = "died"
    moved_away = "moved_away"
    merged = "merged"
    other = "other"


class PatientDisenrolled(Event):
    """The patient takes part no longer: stop contacts and unstarted fills at once."""

    TYPE: ClassVar[str] = "medsync.enrollment.patient-disenrolled.v1"
    TOPIC: ClassVar[str] = TOPIC
    OVERTAKES: ClassVar[bool] = True

    patient_id: PatientId
    revision: int
    reason: DisenrolmentReason
    survivor_id: PatientId | None = None  # where two records were one patient


class CandidateIdentified(Event):
    """A patient who does not take part yet would benefit, and why."""

    TYPE: ClassVar[str] = "medsync.enrollment.candidate-identified.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    reasons: tuple[Reason, ...]


class CandidateEnd(OpenEnum):
    declined = "declined"
    not_now = "not_now"
    no_benefit = "no_benefit"  # the records no longer say that the patient would benefit
    died = "died"
    moved_away = "moved_away"
    merged = "merged"
    revoked = "revoked"
    other = "other"


class CandidateWithdrawn(Event):
    """Who was a candidate is none any more, and did not enroll; where they are again, `CandidateIdentified` says so."""

    TYPE: ClassVar[str] = "medsync.enrollment.candidate-withdrawn.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    reason: CandidateEnd
    ask_again_on: date | None = None  # none: never by itself


class Phone(Fields):
    number: str  # E.164
    kind: str = "home"  # home, mobile


class ContactDetailsChanged(Event):
    """Name and numbers of an enrolled patient: for outreach and fulfillment alone."""

    TYPE: ClassVar[str] = "medsync.enrollment.contact-details-changed.v1"
    TOPIC: ClassVar[str] = CONTACTS_TOPIC
    SEALED: ClassVar[bool] = True

    patient_id: PatientId
    revision: int
    given_name: str = ""
    family_name: str = ""
    birth_date: date | None = None
    phones: tuple[Phone, ...] = ()
    address: str = ""
    time_zone: str | None = None  # of the address; the store's where unknown
    language: str = "en"


class PatientErased(Event):
    """Who the patient is was destroyed, on request: whoever holds a name, a number or free text does the same.

    On the topic of contact details a tombstone follows: a record of the patient's key without a payload.
    """

    TYPE: ClassVar[str] = "medsync.enrollment.patient-erased.v1"
    TOPIC: ClassVar[str] = TOPIC
    OVERTAKES: ClassVar[bool] = True

    patient_id: PatientId


class OpenHours(Fields):
    """One weekday's hours with a pharmacist on duty, local time."""

    weekday: int  # 0 is Monday
    opens: time
    closes: time


class StoreChanged(Event):
    """A store's calendar, zone and capacity."""

    TYPE: ClassVar[str] = "medsync.enrollment.store-changed.v1"
    TOPIC: ClassVar[str] = STORES_TOPIC
    KEYED_BY: ClassVar[str] = "store"

    store_id: str
    revision: int
    name: str
    state: str  # two letters
    time_zone: str  # IANA
    hours: tuple[OpenHours, ...]
    closed_on: tuple[date, ...] = ()  # holidays and emergency closures
    holidays: str = (
        "none"  # major, state: those of three years are among closed_on; told anew as a year begins
    )
    daily_cap: int = 0  # synchronized pickups a day; 0: no cap
    delivery_weekdays: tuple[int, ...] = ()  # on which it brings packages; none: on every open day
    lead_days: Days = 0  # more than the chain's until a package can be ready: central fill
    phone: str = ""
