"""The HTTP interface of fulfillment: for the dispensing system, the pharmacist and the pickup desk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from services.fulfillment import store
from services.fulfillment.domain import (
    Change,
    Conflict,
    Facts,
    Filled,
    Lease,
    Outcome,
    PackageStatus,
    Rejected,
    Short,
    Store,
    Unmet,
    Why,
    WorkOrder,
    check_collector,
    check_fill_id,
    hand_over,
    lease,
    report,
    verify,
    withdraw,
)
from services.fulfillment.orders import keep
from services.fulfillment.views import FillOrder, FillOrders, NamedPackage, NextDue, Package, Packages, Talk
from shared.events.fulfillment import Consultation, ConsultationHeld
from shared.http import Commanding, Problem, Working, page
from shared.messaging import Caller, Unit, Work, patient, tables
from shared.values import Day, FreeText

router = APIRouter()

Id = Annotated[str, Field(pattern=r"^[!-~]{1,80}$")]
Licence = Annotated[str, Field(pattern=r"^[ -~]{1,40}$", description="of the person who did it")]
RejectCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,3}$", description="NCPDP")]
Units = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=4, description="of the drug")]
Reason = Annotated[FreeText, Field(min_length=3)]
Topic = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]

FILLERS = ("technician", "pharmacist", "system")
DESK = ("clerk", "technician", "pharmacist")


# ---- the dispensing system ----


class LeaseRequest(BaseModel):
    worker: Id
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    minutes: Annotated[int, Field(ge=1, le=480)] = 30


@router.post("/fill-orders/lease")
async def lease_fill_orders(body: LeaseRequest, caller: Commanding, work: Working) -> FillOrders:
    """Lease up to `limit` fills that are due, the longest due first."""
    caller.require(*FILLERS)

    async def decide(patients: Sequence[str], unit: Unit) -> FillOrders:
        taken = Lease(str(uuid4()), body.worker, unit.now + timedelta(minutes=body.minutes))
        orders = await store.open_orders(unit.db, patients)
        leased = lease(orders, taken, now=unit.now, limit=body.limit)
        pairs = list(zip(orders, leased, strict=True))
        await keep(unit, [Change(before, after) for before, after in pairs if before != after])
        return FillOrders(
            orders=[
                FillOrder.of(after, item, item.lease)
                for before, after in pairs
                for item in after.items
                if item.lease and item not in before.items
            ]
        )

    return await work.claim(caller, "due_fills", body.limit, decide)


@router.get("/fill-orders/next-due")
async def next_due(work: Working) -> NextDue:
    """When the next fill falls due, or fell due: when the dispensing system is to come."""
    async with work.read() as db:
        return NextDue(next_due=await tables.next_due(db, "due_fills"))


class FillResult(BaseModel):
    """What was done under a lease."""

    lease_id: Id
    result: Literal["filled", "rejected", "short"]
    fill_id: Id | None = None  # with filled
    reject_code: RejectCode | None = None  # with rejected
    next_fill_on: Day | None = None  # with rejected, where the payer names it
    missing: Units | None = None  # with short
    licence: Licence | None = None

    @model_validator(mode="after")
    def has_what_its_result_needs(self) -> Self:
        self.outcome(date.min)
        return self

    def outcome(self, today: date) -> Outcome:
        """Raises ValueError where the result lacks its field."""
        match self.result:
            case "filled" if self.fill_id:
                return Filled(self.fill_id, today)
            case "rejected" if self.reject_code:
                return Rejected(self.reject_code, self.next_fill_on)
            case "short" if self.missing:
                return Short(self.missing)
        raise ValueError("filled needs fill_id, rejected needs reject_code, short needs missing")


@router.post("/fill-orders/{order_id}/result")
async def report_result(order_id: Id, body: FillResult, caller: Commanding, work: Working) -> Package:
    """Record what became of a leased fill. The same result reported again is answered again."""
    caller.require(*FILLERS)
    fills = [body.fill_id] if body.result == "filled" and body.fill_id else []

    async def step(case: Case) -> WorkOrder:
        for fill_id in fills:
            check_fill_id(order_id, await store.order_of_fill(case.unit.db, fill_id))
        result = body.outcome(case.today)
        after = report(case.order, order_id, body.lease_id, result, now=case.unit.now, store=case.calendar)
        if after != case.order:
            await case.note("fill", body.licence, order_id=order_id, result=body.result)
        return after

    place = await found(work, order_id=order_id)
    return await change(work, caller, place, step, also=[f"fill:{fill_id}" for fill_id in fills])


# ---- the pharmacist ----


class ExceptedItem(BaseModel):
    rx_id: Id
    reason: Reason


class Verification(BaseModel):
    licence: Licence
    excepted: tuple[ExceptedItem, ...] = ()


@router.post("/packages/{package_id}/verification")
async def verify_package(package_id: Id, body: Verification, caller: Commanding, work: Working) -> Package:
    """Every filled item is verified but those excepted: the package is ready, in a bin of its own."""
    caller.require("pharmacist")
    place = await found(work, package_id=package_id)

    async def step(case: Case) -> WorkOrder:
        after = verify(
            case.order,
            excepted=[item.rx_id for item in body.excepted],
            bin_number=await store.free_bin(case.unit.db, place.store_id),
            today=case.today,
            store=case.calendar,
        )
        await case.note("verification", body.licence, excepted=[item.model_dump() for item in body.excepted])
        return after

    return await change(work, caller, place, step, also=[f"bins:{place.store_id}"])


class Cancellation(BaseModel):
    reason: Reason


@router.post("/packages/{package_id}/cancel")
async def cancel_package(package_id: Id, body: Cancellation, caller: Commanding, work: Working) -> Package:
    """Stop a visit's fills for good, whatever the plan says; what is filled goes back to stock."""
    caller.require("pharmacist")

    async def step(case: Case) -> WorkOrder:
        await case.note("cancellation", None, reason=body.reason)
        return withdraw(case.order, Why.withdrawn, case.facts.store)

    return await change(work, caller, await found(work, package_id=package_id), step)


class ConsultationDone(BaseModel):
    outcome: Literal["held", "declined"]
    topics: tuple[Topic, ...] = ()


@router.post("/visits/{visit_id}/consultation")
async def record_consultation(
    visit_id: Id, body: ConsultationDone, caller: Commanding, work: Working
) -> Talk:
    """The talk was offered, and held or declined: recorded once per visit."""
    caller.require("pharmacist")
    place = await found(work, visit_id=visit_id)

    async def decide(unit: Unit) -> Talk:
        if not await store.save_consultation(unit.db, visit_id, body.outcome, body.topics):
            raise Problem(409, "Recorded already", "this visit's consultation was recorded before")
        unit.emit(
            ConsultationHeld(
                patient_id=place.patient_id,
                visit_id=visit_id,
                outcome=Consultation(body.outcome),
                topics=body.topics,
            )
        )
        await store.note(unit.db, action_of(unit, visit_id, "consultation", None, {"outcome": body.outcome}))
        return Talk(visit_id=visit_id, outcome=body.outcome, topics=list(body.topics))

    return await work.command(caller, [patient(place.patient_id)], decide)


# ---- the pickup desk ----


@router.get("/packages")
async def list_packages(
    work: Working,
    store_id: Annotated[Id | None, Query(alias="store")] = None,
    status: PackageStatus | None = None,
    on: Day | None = None,
    after: Annotated[str, Query(pattern=r"^[!-~]{0,80}$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Packages:
    """Packages with their items and whom they are for."""
    async with work.read() as db:
        orders = await store.packages(
            db, store_id=store_id, status=status, visit_on=on, after=after, limit=limit + 1
        )
        contacts = await store.contacts_of(db, {order.patient_id for order in orders})
    named = [NamedPackage.named(order, contacts.get(order.patient_id)) for order in orders]
    return Packages(**page(named, limit, "package_id"))


class HandOver(BaseModel):
    identifiers: tuple[Id, ...]
    left_rx_ids: tuple[Id, ...] = ()
    collected_by: Literal["patient", "caregiver"] = "patient"
    reason: Reason | None = None  # why a caregiver may collect without the patient's consent: pharmacist only


@router.post("/packages/{package_id}/hand-over")
async def hand_over_package(package_id: Id, body: HandOver, caller: Commanding, work: Working) -> Package:
    """Give a ready package to the patient, or to a caregiver whom the patient's consent lets collect."""
    caller.require(*DESK)

    async def step(case: Case) -> WorkOrder:
        overruled = caller.role == "pharmacist" and body.reason is not None
        check_collector(body.collected_by, case.facts.patient, overruled=overruled)
        await case.note("hand_over", None, **body.model_dump())
        return hand_over(case.order, identifiers=body.identifiers, left=body.left_rx_ids, today=case.today)

    return await change(work, caller, await found(work, package_id=package_id), step)


# ---- how every command on a package runs ----


@dataclass(frozen=True, slots=True)
class Case:
    """A work order at hand inside its unit of work, and what is known around it."""

    order: WorkOrder
    facts: Facts
    unit: Unit

    @property
    def calendar(self) -> Store:
        """The store's; it is known since the first lease."""
        if self.facts.store is None:
            raise Problem(409, "Store unknown", "the calendar of this store has not arrived yet")
        return self.facts.store

    @property
    def today(self) -> date:
        return self.unit.today(self.calendar.time_zone)

    async def note(self, action: str, licence: str | None, **detail: Any) -> None:
        await store.note(self.unit.db, action_of(self.unit, self.order.visit_id, action, licence, detail))


def action_of(
    unit: Unit, visit_id: str, action: str, licence: str | None, detail: dict[str, Any]
) -> store.Action:
    return store.Action(visit_id, action, unit.now, unit.actor, unit.role, licence, detail)


async def found(work: Work, **named: str) -> store.Place:
    """Where the work order of a command is, by its visit_id, package_id or order_id; 404 where there is none."""
    async with work.read() as db:
        place = await store.place_of(db, **named)
    if place is None:
        raise Problem(404, "Unknown", "no confirmed visit has this id")
    return place


async def change(
    work: Work,
    caller: Caller,
    place: store.Place,
    step: Callable[[Case], Awaitable[WorkOrder]],
    *,
    also: Sequence[str] = (),
) -> Package:
    """Put one work order through a step: lock its patient, read it again, decide, keep. `also`: further lock keys."""

    async def decide(unit: Unit) -> Package:
        (order,) = await store.orders_of_visits(unit.db, [place.visit_id])
        facts = await store.facts_around(unit.db, [order])
        try:
            after = await step(Case(order, facts[order.visit_id], unit))
        except Conflict as conflict:
            raise Problem(409, "Conflict", str(conflict)) from conflict
        except Unmet as unmet:
            raise Problem(422, "Not released", str(unmet)) from unmet
        await keep(unit, [Change(order, after)])
        return Package.of(after)

    return await work.command(caller, [patient(place.patient_id), *also], decide)
