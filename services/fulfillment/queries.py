"""What may be read of fulfillment, as it is answered. One function per question; nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Self

from services.fulfillment.domain import (
    TOPICS,
    Contact,
    Filled,
    Item,
    ItemStatus,
    Lease,
    PackageStatus,
    Place,
    Rejected,
    Short,
    Why,
    WorkOrder,
    bin_label,
    kept_apart,
    to_pay,
    why_left_out,
)
from services.fulfillment.publishing import state_of
from services.fulfillment.store import reads
from shared import words
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DataKeys
from shared.events import Event
from shared.events.planner import ConditionKind
from shared.messaging import tables
from shared.pages import Page, page_of
from shared.problems import NotFound
from shared.values import Output


async def current_state(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """The packages that are ready, in order of patient; `limit` counts patients."""
    patients = await reads.patients_with_packages(db, patient=patient, store=store, after=after, limit=limit)
    orders = await reads.open_orders(db, patients)
    return sorted(state_of(orders), key=lambda event: event.key)


# ---- fills ----


class FillOrder(Output):
    """One fill, to be done by who holds the lease."""

    order_id: str
    lease_id: str
    patient_id: str
    store_id: str
    visit_id: str
    rx_id: str
    in_place_of: str | None = None  # the prescription that was confirmed, where this one renews it
    urgent: bool = False  # the visit cannot wait
    drug_name: str
    quantity: Decimal
    days_supply: int  # true
    days_supply_billed: int | None = None  # what the payer is told, where that is another
    clarification_codes: tuple[str, ...] = ()  # NCPDP 420-DK, in the order to try
    on: date  # the visit's day
    until: datetime  # the lease ends

    @classmethod
    def of(cls, order: WorkOrder, item: Item, lease: Lease) -> Self:
        return cls(
            order_id=item.order_id,
            lease_id=lease.lease_id,
            patient_id=order.patient_id,
            store_id=order.store_id,
            visit_id=order.visit_id,
            rx_id=item.rx_to_fill,
            in_place_of=item.rx_id if item.renewed_as else None,
            urgent=item.urgent,
            drug_name=item.drug_name,
            quantity=item.quantity,
            days_supply=item.days_supply,
            days_supply_billed=item.days_supply_billed,
            clarification_codes=item.clarification_codes,
            on=order.visit_on,
            until=lease.until,
        )


class FillOrders(Output):
    """Fills that were leased together."""

    orders: list[FillOrder]


class NextDue(Output):
    """When the next fill falls due, or fell due; null: none will."""

    next_due: datetime | None


async def next_due(db: Db, stores: Collection[str] | None) -> NextDue:
    """When the dispensing system is to come, for these stores or for all."""
    return NextDue(next_due=await tables.next_due(db, "due_fills", stores))


# ---- packages ----


class ItemCondition(Output):
    """What a fill depends on."""

    kind: ConditionKind
    by: str
    needed_by: date
    words: str
    met: bool

    @classmethod
    def of(cls, item: Item) -> Self | None:
        condition = item.waits_for or item.condition
        if condition is None:
            return None
        met = item.waits_for is None
        return cls(**dict(condition), words=words.of_condition(condition), met=met)


class PackageItem(Output):
    """One fill of a visit, with what came of it."""

    order_id: str
    rx_id: str
    in_place_of: str | None = None  # the prescription that was confirmed, where this one renews it
    drug_name: str
    quantity: Decimal
    days_supply: int
    state: ItemStatus
    why: Why | None  # it is withheld or cancelled
    because: str | None = None  # in words, where its condition was not met, it was discontinued or excluded
    condition: ItemCondition | None = None  # it is filled only if this is met
    question: str | None = None  # to be put to the patient before the package is handed over
    due_at: datetime | None
    fill_id: str | None = None
    filled_on: date | None = None
    patient_pay: Decimal | None = None  # US dollars; null: not known
    reject_code: str | None = None
    next_fill_on: date | None = None
    missing: Decimal | None = None

    @classmethod
    def of(cls, item: Item) -> Self:
        found = cls(
            order_id=item.order_id,
            rx_id=item.rx_to_fill,
            in_place_of=item.rx_id if item.renewed_as else None,
            drug_name=item.drug_name,
            quantity=item.quantity,
            days_supply=item.days_supply,
            state=item.status,
            why=item.why,
            because=words.render(reason) if (reason := why_left_out(item)) else None,
            condition=ItemCondition.of(item),
            question=words.ALSO_DUE if item.status is ItemStatus.offered else None,
            due_at=item.due_at,
        )
        match item.outcome:
            case Filled(fill_id, filled_on, patient_pay):
                return found.model_copy(
                    update={"fill_id": fill_id, "filled_on": filled_on, "patient_pay": patient_pay}
                )
            case Rejected(code, next_fill_on):
                return found.model_copy(update={"reject_code": code, "next_fill_on": next_fill_on})
            case Short(missing):
                return found.model_copy(update={"missing": missing})
        return found


class KeptApart(Output):
    """What belongs to a package and is not in its bin."""

    rx_id: str
    place: str  # fridge, oversize
    label: str | None = None

    @classmethod
    def of(cls, order: WorkOrder) -> tuple[Self, ...]:
        return tuple(
            cls(rx_id=item.rx_to_fill, place=item.place, label=item.place_label)
            for item in kept_apart(order)
            if item.place
        )


class Package(Output):
    """The package of a visit. Commands answer it without a name: answers are kept for a repeated command."""

    package_id: str
    visit_id: str
    patient_id: str
    store_id: str
    plan_id: str
    visit_kind: str
    on: date
    status: PackageStatus
    bin: str | None
    return_on: date | None
    handed_over_on: date | None
    urgent: bool = False  # the visit cannot wait
    patient_pay: Decimal | None = None  # US dollars for what is in it; null: of some it is not known
    places: tuple[KeptApart, ...] = ()  # what has to be fetched from elsewhere
    items: list[PackageItem]

    @classmethod
    def of(cls, order: WorkOrder) -> Self:
        return cls(
            package_id=order.package_id,
            visit_id=order.visit_id,
            patient_id=order.patient_id,
            store_id=order.store_id,
            plan_id=order.plan_id,
            visit_kind=order.visit_kind,
            on=order.visit_on,
            status=order.status,
            bin=bin_label(order.bin) if order.bin else None,
            return_on=order.return_on,
            handed_over_on=order.handed_over_on,
            urgent=any(item.urgent for item in order.items),
            patient_pay=to_pay([order]),
            places=KeptApart.of(order),
            items=[PackageItem.of(item) for item in order.items],
        )


class HandedOver(Output):
    """Packages that were handed over together, and what the patients pay for them."""

    packages: list[Package]
    patient_pay: Decimal | None = None  # US dollars; null: of some it is not known

    @classmethod
    def of(cls, orders: Sequence[WorkOrder]) -> Self:
        return cls(packages=[Package.of(order) for order in orders], patient_pay=to_pay(orders))


class NamedPackage(Package):
    """A package as the pickup desk sees it."""

    given_name: str | None = None
    family_name: str | None = None
    birth_date: date | None = None

    @classmethod
    def named(cls, order: WorkOrder, contact: Contact | None) -> Self:
        found = cls.of(order)
        if contact is None:
            return found
        return found.model_copy(
            update={
                "given_name": contact.given_name,
                "family_name": contact.family_name,
                "birth_date": contact.birth_date,
            }
        )


class CounselingTopic(Output):
    """Something that a talk may be about."""

    topic: str
    words: str


class CounselingTopics(Output):
    """All of them."""

    items: list[CounselingTopic]

    @classmethod
    def all(cls) -> Self:
        return cls(items=[CounselingTopic(topic=topic, words=words) for topic, words in TOPICS.items()])


class ConsultationRecord(Output):
    """What was recorded of one of a visit's talks with the pharmacist, without its words."""

    visit_id: str
    number: int  # the first is 1
    outcome: str
    topics: list[str]


async def place_of(
    db: Db, *, visit_id: str | None = None, package_id: str | None = None, order_id: str | None = None
) -> Place:
    """Where the work order is that one of these ids names, and whose it is. Raises NotFound."""
    place = await reads.place_of(db, visit_id=visit_id, package_id=package_id, order_id=order_id)
    if place is None:
        raise _unknown_visit()
    return place


async def known_order(
    db: Db, *, visit_id: str | None = None, package_id: str | None = None, order_id: str | None = None
) -> WorkOrder:
    """The work order that one of these ids names. Raises NotFound."""
    order = await reads.order_of(db, visit_id=visit_id, package_id=package_id, order_id=order_id)
    if order is None:
        raise _unknown_visit()
    return order


def _unknown_visit() -> NotFound:
    return NotFound("unknown_visit", "no confirmed visit has this id")


async def packages(
    db: Db,
    keys: DataKeys,
    *,
    stores: Stores,
    status: PackageStatus | None,
    visit_on: date | None,
    after: str,
    limit: int,
) -> Page[NamedPackage]:
    """Packages by id, with their items and whom they are for."""
    orders = await reads.packages(
        db, stores=stores, status=status, visit_on=visit_on, after=after, limit=limit + 1
    )
    contacts = await reads.contacts_of(db, keys, {order.patient_id for order in orders})
    named = [NamedPackage.named(order, contacts.get(order.patient_id)) for order in orders]
    return page_of(named, limit, "package_id")
