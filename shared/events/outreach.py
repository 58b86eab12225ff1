"""What outreach publishes: what patients and prescribers answered, and who could not be reached."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from shared.events.base import Days, Event, Fields, OpenEnum, PatientId, Quantity
from shared.events.enrollment import Channel
from shared.events.planner import Condition

TOPIC = "medsync.outreach.v1"


class ConfirmedItem(Fields):
    """One fill that the patient wants."""

    rx_id: str
    drug_name: str
    quantity: Quantity
    days_supply: Days  # true
    days_supply_billed: Days | None = None  # where the payer is told another; none: the same
    clarification_codes: tuple[str, ...] = ()  # NCPDP 420-DK, in the order to try
    condition: Condition | None = None  # wanted only if this is met by then, as it was read out; none: wanted


class AlignmentAgreed(Event):
    """The patient accepted the alignment, on the plan's day or on another of those offered."""

    TYPE: ClassVar[str] = "medsync.outreach.alignment-agreed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    plan_revision: int
    anchor_on: date


class PickupConfirmed(Event):
    """The patient confirmed one visit: carries every item that the patient wants."""

    TYPE: ClassVar[str] = "medsync.outreach.pickup-confirmed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    plan_id: str
    plan_revision: int
    visit_id: str
    visit_kind: str
    on: date
    items: tuple[ConfirmedItem, ...]
    declined_rx_ids: tuple[str, ...] = ()
    standing_instruction: bool = False  # no call: a standing instruction is on record


class PickupDeclined(Event):
    """The patient wants nothing of this visit."""

    TYPE: ClassVar[str] = "medsync.outreach.pickup-declined.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    plan_revision: int
    visit_id: str
    on: date


class RescheduleRequested(Event):
    """The patient asks for another day."""

    TYPE: ClassVar[str] = "medsync.outreach.reschedule-requested.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    plan_revision: int
    visit_id: str
    wanted_on: date


class VisitAnnounced(Event):
    """The patient was told the day of a visit, by a call, a text or a letter that names it, and decided nothing yet."""

    TYPE: ClassVar[str] = "medsync.outreach.visit-announced.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    plan_revision: int
    visit_id: str
    on: date
    channel: Channel


class ReportedChange(OpenEnum):
    stopped = "stopped"
    dose_changed = "dose_changed"
    on_hand = "on_hand"
    other = "other"


class ChangeReported(Event):
    """The patient reported a change of a drug; enrollment records it, the pharmacist decides."""

    TYPE: ClassVar[str] = "medsync.outreach.change-reported.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    rx_id: str
    change: ReportedChange
    reported_on: date
    days_left: Days | None = None  # with on_hand


class QuestionRaised(Event):
    """The patient has a question for the pharmacist."""

    TYPE: ClassVar[str] = "medsync.outreach.question-raised.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    visit_id: str | None = None


class PatientUnreached(Event):
    """Every attempt for this visit failed, or none can be made in time: nothing is filled."""

    TYPE: ClassVar[str] = "medsync.outreach.patient-unreached.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    plan_revision: int
    visit_id: str | None  # none: the alignment contact itself
    attempts: int
    reachable_on: date | None = None  # by letter alone: the first day that one of today can confirm
    too_late: bool = False  # a letter alone could reach the patient, and none could be answered in time
    planned_late: bool = (
        False  # planned after the last hours for calls before the visit: nobody was to be called
    )


class ContactOptedOut(Event):
    """The patient said stop: no automated contact from now on. Not a disenrollment."""

    TYPE: ClassVar[str] = "medsync.outreach.contact-opted-out.v1"
    TOPIC: ClassVar[str] = TOPIC
    OVERTAKES: ClassVar[bool] = True

    patient_id: PatientId
    channel: Channel


class ContactOptedIn(Event):
    """The patient who said stop said start: automated contact is wanted again."""

    TYPE: ClassVar[str] = "medsync.outreach.contact-opted-in.v1"
    TOPIC: ClassVar[str] = TOPIC
    OVERTAKES: ClassVar[bool] = True  # as the stop does: between the two the order counts

    patient_id: PatientId
    channel: Channel  # on which they had said stop


class RenewalRequested(Event):
    """A prescriber was asked for a renewal; one event per prescription, whatever is asked in one request."""

    TYPE: ClassVar[str] = "medsync.outreach.renewal-requested.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    rx_id: str
    prescriber_id: str
    attempt: int
    asked_with: tuple[str, ...] = ()  # the other rx_ids of the same request


class RenewalAnswer(OpenEnum):
    approved = "approved"
    denied = "denied"
    needs_visit = "needs_visit"
    no_answer = "no_answer"
    other = "other"


class RenewalAnswered(Event):
    """What came of asking the prescriber. An approved renewal arrives as a prescription by the feed."""

    TYPE: ClassVar[str] = "medsync.outreach.renewal-answered.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    rx_id: str
    answer: RenewalAnswer
