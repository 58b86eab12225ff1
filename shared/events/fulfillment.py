"""What fulfillment publishes: fills, packages, hand-over, returns, consultations."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from pydantic import Field

from shared.events.base import Days, Event, Fields, OpenEnum, PatientId, Quantity, Reason

TOPIC = "medsync.fulfillment.v1"


class ItemState(OpenEnum):
    filled = "filled"
    rejected = "rejected"
    short = "short"
    withheld = "withheld"
    other = "other"


class PackagedItem(Fields):
    """One line of the package's manifest."""

    rx_id: str
    drug_name: str
    state: ItemState
    quantity: Quantity
    days_supply: Days  # true
    days_supply_billed: Days | None = None  # where the payer was told another; none: the same
    fill_id: str | None = None
    filled_on: date | None = None
    in_place_of: str | None = None  # the rx_id that was confirmed, where a renewal took its place
    owed: Quantity | None = None  # of a partial fill: the units of the rest
    completes: str | None = (
        None  # of an owed rest: the fill_id of the partial fill, with which the claim's days are
    )


class NotFilledItem(Fields):
    """A fill that is not in the package: what it depended on did not come in time, or the patient declined it."""

    rx_id: str
    drug_name: str
    reason: Reason  # condition_not_met, declined_at_counter


class FillCompleted(Event):
    """The dispensing system filled an item: the payer's clock runs from here."""

    TYPE: ClassVar[str] = "medsync.fulfillment.fill-completed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    visit_id: str
    rx_id: str
    fill_id: str
    filled_on: date
    quantity: Quantity
    days_supply: Days
    in_place_of: str | None = None  # the rx_id that was confirmed, where a renewal took its place
    at_counter: bool = False  # nobody confirmed it: the patient, asked at the pickup, agreed
    intended_quantity: Quantity | None = None  # of the whole claim, where this is a part of it or the rest
    intended_days_supply: Days | None = None
    completes: str | None = None  # of an owed rest: the fill_id of the partial fill


class FillRejected(Event):
    """The payer refused an item (NCPDP reject code), with its own next-fill date where it gave one."""

    TYPE: ClassVar[str] = "medsync.fulfillment.fill-rejected.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    visit_id: str
    rx_id: str
    reject_code: str
    next_fill_on: date | None = None


class StockShort(Event):
    """The store has too little of an item."""

    TYPE: ClassVar[str] = "medsync.fulfillment.stock-short.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    visit_id: str
    rx_id: str
    missing: Quantity


class Resolution(OpenEnum):
    resubmitted = "resubmitted"  # the fill is tried again for its visit
    partial = "partial"  # so many units now, the rest owed
    given_up = "given_up"  # not for this visit: by staff, or as its day was over
    other_store = "other_store"
    other = "other"


PUT_RIGHT = frozenset({Resolution.resubmitted, Resolution.partial})
"""The refusal or the shortage before it is over."""


class ResolvedBy(OpenEnum):
    override = "override"
    corrected_days = "corrected_days"
    other_plan = "other_plan"
    cash_price = "cash_price"
    prior_authorization = "prior_authorization"
    stock_arrived = "stock_arrived"
    other_manufacturer = "other_manufacturer"
    other = "other"


class FillResolved(Event):
    """What was done about a fill that the payer refused or the store was short of.

    Until it comes, or the package is handed over or goes back, the fill may still be made for its visit.
    """

    TYPE: ClassVar[str] = "medsync.fulfillment.fill-resolved.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    visit_id: str
    rx_id: str
    resolution: Resolution
    how: ResolvedBy | None = None  # with resubmitted
    try_number: int = Field(ge=0)  # of the try that was refused or short; 0: of an owed rest before its first


class PackageReady(Event):
    """Verified by a pharmacist and in its bin: one package per visit.

    Published again after `PackageReopened`, with what is in it then.
    """

    TYPE: ClassVar[str] = "medsync.fulfillment.package-ready.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    package_id: str
    plan_id: str
    visit_id: str
    on: date
    items: tuple[PackagedItem, ...]
    return_on: date  # last day before return to stock
    not_filled: tuple[NotFilledItem, ...] = ()


class PackageReopened(Event):
    """It was ready, and is not handed over before a pharmacist verifies it again.

    An item was recalled, or one that came late was added. `PackageReady` follows, or `PackageReturned`.
    """

    TYPE: ClassVar[str] = "medsync.fulfillment.package-reopened.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    package_id: str
    plan_id: str
    visit_id: str
    on: date
    items: tuple[PackagedItem, ...]


class PackagePickedUp(Event):
    """Handed over: what was taken adds to the patient's stock and starts the next cycle."""

    TYPE: ClassVar[str] = "medsync.fulfillment.package-picked-up.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    package_id: str
    plan_id: str
    visit_id: str
    handed_over_on: date
    taken: tuple[PackagedItem, ...]
    left: tuple[PackagedItem, ...] = ()
    not_filled: tuple[NotFilledItem, ...] = ()
    declined: tuple[NotFilledItem, ...] = ()  # due as well, and not wanted, or not waited for: planned anew


class PickupMissed(Event):
    """The day passed and the package still waits."""

    TYPE: ClassVar[str] = "medsync.fulfillment.pickup-missed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    package_id: str
    plan_id: str
    visit_id: str
    on: date
    days_late: int


class PackageReturned(Event):
    """Returned to stock, claims reversed: it never counts as dispensed."""

    TYPE: ClassVar[str] = "medsync.fulfillment.package-returned.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    package_id: str
    plan_id: str
    visit_id: str
    items: tuple[PackagedItem, ...]


class Consultation(OpenEnum):
    held = "held"
    declined = "declined"
    other = "other"


class ConsultationHeld(Event):
    """The talk with the pharmacist at the pickup: offered, and held or declined."""

    TYPE: ClassVar[str] = "medsync.fulfillment.consultation-held.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    visit_id: str
    outcome: Consultation
    topics: tuple[str, ...] = ()
