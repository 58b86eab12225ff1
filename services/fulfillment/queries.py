"""What may be read of fulfillment, as it is answered. One function per question; nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Self

from services.fulfillment.domain import (
    TOPICS,
    Contact,
    Filled,
    How,
    Item,
    ItemStatus,
    Lease,
    PackageStatus,
    Place,
    Rejected,
    Resolution,
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


class Resolved(Output):
    """What was resolved about a refusal or a shortage, with what it was resolved by."""

    how: How
    code: str | None = None  # NCPDP, of an override
    authorization: str | None = None  # number of a prior authorization
    price: Decimal | None = None  # agreed with the patient, in dollars
    drug_code: str | None = None  # of the other manufacturer
    drug_name: str | None = None

    @classmethod
    def of(cls, resolution: Resolution) -> Self:
        return cls(
            how=resolution.how,
            code=resolution.code,
            authorization=resolution.authorization,
            price=resolution.price,
            drug_code=resolution.drug_code,
            drug_name=resolution.drug_name,
        )


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
    try_number: int = 1
    resolved: Resolved | None = None  # what was resolved since the last try
    dispensing_status: Literal["P", "C"] | None = None  # NCPDP 343-HD: partial fill, or its completion
    intended_quantity: Decimal | None = None  # NCPDP 344-HF: of both together
    intended_days_supply: int | None = None  # NCPDP 345-HG
    completes: str | None = None  # fill_id of the partial fill that this one completes

    @classmethod
    def of(cls, order: WorkOrder, item: Item, lease: Lease) -> Self:
        order_of = cls(
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
            try_number=item.tries + 1,
            resolved=Resolved.of(item.resolution) if item.resolution else None,
        )
        return order_of.model_copy(update=_claim(item))


def _claim(item: Item) -> dict[str, Any]:
    """How a claim in two parts is billed: `quantity` and `days_supply` are of this part, the intended ones of both."""
    agreed, whole = item.resolution, item.completes
    if not (whole or item.partial):
        return {}
    part: dict[str, Any] = {}
    if item.partial and agreed and agreed.quantity:
        part = {"quantity": agreed.quantity, "days_supply": agreed.days_supply}
    return {
        **part,
        "dispensing_status": "C" if whole else "P",
        "intended_quantity": whole.quantity if whole else item.quantity,
        "intended_days_supply": whole.days_supply if whole else item.days_supply,
        "completes": whole.fill_id if whole else None,
    }


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


class FillTry(Output):
    """One try at a fill, and what was resolved about it."""

    number: int
    result: Literal["filled", "rejected", "short"]
    reject_code: str | None
    next_fill_on: date | None
    missing: Decimal | None
    on_hand: Decimal | None
    reported_by: str
    reported_at: datetime
    resolution: str | None  # how it was resolved; given_up or other_store: it was not tried again
    resolved_by: str | None
    resolved_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(**{name: row[name] for name in cls.model_fields})


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
    on_hand: Decimal | None = None  # of a shortage: what could be filled now
    quantity_filled: Decimal | None = None  # of a partial fill; its rest is owed, as a package of its own
    days_filled: int | None = None
    completes: str | None = None  # of an owed rest: the order_id of the partial fill
    expected_on: date | None = None  # of an owed rest: when its stock arrives, where that is known
    tries: list[FillTry] | None = None  # in lists

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
            completes=item.completes.order_id if item.completes else None,
            expected_on=item.expected_on,
        )
        match item.outcome:
            case Filled(fill_id, filled_on, patient_pay, quantity, days):
                filled = {"fill_id": fill_id, "filled_on": filled_on, "patient_pay": patient_pay}
                return found.model_copy(update=filled | {"quantity_filled": quantity, "days_filled": days})
            case Rejected(code, next_fill_on):
                return found.model_copy(update={"reject_code": code, "next_fill_on": next_fill_on})
            case Short(missing, on_hand):
                return found.model_copy(update={"missing": missing, "on_hand": on_hand})
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
    def named(cls, order: WorkOrder, contact: Contact | None, tries: Mapping[str, Sequence[Any]]) -> Self:
        found = cls.of(order)
        items = [
            item.model_copy(update={"tries": [FillTry.of(row) for row in tries.get(item.order_id, ())]})
            for item in found.items
        ]
        found = found.model_copy(update={"items": items})
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
    return page_of(await _named(db, keys, orders), limit, "package_id")


async def owed(
    db: Db, keys: DataKeys, *, stores: Stores, status: PackageStatus | None, after: str, limit: int
) -> Page[NamedPackage]:
    """Packages of owed rests by id."""
    orders = await reads.owed_orders(db, stores=stores, status=status, after=after, limit=limit + 1)
    return page_of(await _named(db, keys, orders), limit, "package_id")


async def _named(db: Db, keys: DataKeys, orders: Sequence[WorkOrder]) -> list[NamedPackage]:
    contacts = await reads.contacts_of(db, keys, {order.patient_id for order in orders})
    tries = await reads.tries_of(db, [item.order_id for order in orders for item in order.items])
    return [NamedPackage.named(order, contacts.get(order.patient_id), tries) for order in orders]
