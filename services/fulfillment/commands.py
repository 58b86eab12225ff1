"""What the dispensing system, the pharmacist and the pickup desk may ask: one function per command, without HTTP.

Each gets the unit of work with its patient locked, and goes the same way: who may, load, decide, save, emit. It raises
what `shared.problems` names. What is said to it is a frozen model beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Self
from uuid import uuid4

from pydantic import Field, model_validator

from services.fulfillment.domain import (
    Change,
    Facts,
    Filled,
    FillOutcome,
    Item,
    Lease,
    Rejected,
    Short,
    Store,
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
from services.fulfillment.queries import known_order
from services.fulfillment.recompute import save_changes
from services.fulfillment.store import reads, writes
from shared.events.fulfillment import Consultation, ConsultationHeld
from shared.messaging import Unit
from shared.problems import Conflict, Invalid, NotAllowed
from shared.values import WHOLE, Day, FreeText, Id, LenientInput, for_example

LongId = Annotated[str, Field(pattern=r"^[!-~]{1,80}$")]  # of a system beside this one
License = Annotated[
    str, Field(pattern=r"^[!-~]([ -~]{0,38}[!-~])?$", description="of the person who did it; not blank")
]
RejectCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,3}$", description="NCPDP")]
Units = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=4, description="of the drug")]
Reason = Annotated[FreeText, Field(min_length=3)]
Topic = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


# ---- the dispensing system ----


class LeaseRequest(LenientInput):
    """Who is to fill, how many at most, and for how long (business time) nobody else does."""

    model_config = for_example(worker="robot-2", limit=50, minutes=30)

    worker: LongId
    limit: Annotated[int, Field(strict=True, ge=1, le=200), WHOLE] = 50
    minutes: Annotated[int, Field(strict=True, ge=1, le=480), WHOLE] = 30


class LeasedFill(NamedTuple):
    """A fill that was leased just now."""

    order: WorkOrder
    item: Item
    lease: Lease


async def lease_fills(unit: Unit, patient_ids: Sequence[str], request: LeaseRequest) -> list[LeasedFill]:
    """Lease up to `limit` fills of these patients that are due, the longest due first."""
    until = unit.now + timedelta(minutes=request.minutes)
    taken = Lease(str(uuid4()), request.worker, until, taken_by=unit.actor)
    orders = await reads.open_orders(unit.db, patient_ids)
    leased = lease(orders, taken, now=unit.now, limit=request.limit)
    pairs = list(zip(orders, leased, strict=True))
    await save_changes(unit, [Change(before, after) for before, after in pairs if before != after])
    return [
        LeasedFill(after, item, item.lease)
        for before, after in pairs
        for item in after.items
        if item.lease and item not in before.items
    ]


class FillResult(LenientInput):
    """What was done under a lease."""

    model_config = for_example(
        lease_id="d2b1f0a4-6f0e-4a35-9c58-3a1f0b7c9e21",
        result="filled",
        fill_id="F-20881",
        licence="TX-31877",
    )

    lease_id: Id
    result: Literal["filled", "rejected", "short"]
    fill_id: LongId | None = None  # with filled
    reject_code: RejectCode | None = None  # with rejected
    next_fill_on: Day | None = None  # with rejected, where the payer names it
    missing: Units | None = None  # with short
    licence: License | None = None

    @model_validator(mode="after")
    def has_what_its_result_needs(self) -> Self:
        self.outcome(date.min)
        return self

    def outcome(self, today: date) -> FillOutcome:
        """Raises ValueError where the result lacks its field."""
        match self.result:
            case "filled" if self.fill_id:
                return Filled(self.fill_id, today)
            case "rejected" if self.reject_code:
                return Rejected(self.reject_code, self.next_fill_on)
            case "short" if self.missing:
                return Short(self.missing)
        raise ValueError("filled needs fill_id, rejected needs reject_code, short needs missing")

    @property
    def new_fill_id(self) -> str | None:
        """Under which id it was filled, if it was; nobody else may use it meanwhile."""
        return self.fill_id if self.result == "filled" else None


async def report_fill(unit: Unit, order_id: str, result: FillResult) -> WorkOrder:
    """Record what became of a leased fill; the same result reported again changes nothing.

    The fill's id has to be locked too.
    """
    order, facts = await _load(unit, order_id=order_id)
    _require_lease_of(order, order_id, unit.actor)
    if result.new_fill_id:
        check_fill_id(order_id, await reads.order_of_fill(unit.db, result.new_fill_id))
    calendar = _calendar(facts)
    outcome = result.outcome(unit.today(calendar.time_zone))
    after = report(order, order_id, result.lease_id, outcome, now=unit.now, store=calendar)
    if after != order:
        await _note(unit, order, "fill", result.licence, order_id=order_id, result=result.result)
    return await _save(unit, order, after)


def _require_lease_of(order: WorkOrder, order_id: str, actor: str) -> None:
    """A lease is reported by who took it. Raises NotAllowed."""
    for item in order.items:
        if item.order_id == order_id and item.lease and item.lease.taken_by not in (None, actor):
            raise NotAllowed("not_your_lease", "somebody else took this lease: lease the fill yourself")


# ---- the pharmacist ----


class ExceptedItem(LenientInput):
    """A filled prescription that is not handed over, and why."""

    rx_id: Id
    reason: Reason


class Verification(LenientInput):
    """Who verified the package, and what they keep back."""

    model_config = for_example(
        licence="RPH-20417", excepted=[{"rx_id": "RX1002", "reason": "the label shows the old dose"}]
    )

    licence: License
    excepted: tuple[ExceptedItem, ...] = ()


async def verify_package(unit: Unit, package_id: str, verification: Verification) -> WorkOrder:
    """Release a package: every filled item is verified but those excepted, and it gets a bin of its own.

    The bins of its store have to be locked too.
    """
    order, facts = await _load(unit, package_id=package_id)
    bin_number = await reads.free_bin(unit.db, order.store_id)
    calendar = _calendar(facts)
    after = verify(
        order,
        excepted=[item.rx_id for item in verification.excepted],
        bin_number=bin_number,
        today=unit.today(calendar.time_zone),
        store=calendar,
    )
    excepted = [item.model_dump() for item in verification.excepted]
    await _note(unit, order, "verification", verification.licence, excepted=excepted)
    return await _save(unit, order, after)


class Cancellation(LenientInput):
    """Why a visit's fills are stopped."""

    model_config = for_example(reason="the patient is in the hospital")

    reason: Reason


async def cancel_package(unit: Unit, package_id: str, cancellation: Cancellation) -> WorkOrder:
    """Stop a visit's fills for good, whatever the plan says; what is filled goes back to stock."""
    order, facts = await _load(unit, package_id=package_id)
    await _note(unit, order, "cancellation", None, reason=cancellation.reason)
    return await _save(unit, order, withdraw(order, Why.withdrawn, facts.store))


class ConsultationDone(LenientInput):
    """Whether the patient wanted the talk, and what it was about."""

    model_config = for_example(outcome="held", topics=["new_drug", "side_effects"])

    outcome: Literal["held", "declined"]
    topics: tuple[Topic, ...] = ()


async def record_consultation(unit: Unit, visit_id: str, consultation: ConsultationDone) -> None:
    """Record, once per visit, that the talk was offered, and held or declined."""
    order, _ = await _load(unit, visit_id=visit_id)
    if not await writes.save_consultation(unit.db, visit_id, consultation.outcome, consultation.topics):
        raise Conflict("recorded_already", "this visit's consultation was recorded before")
    unit.emit(
        ConsultationHeld(
            patient_id=order.patient_id,
            visit_id=visit_id,
            outcome=Consultation(consultation.outcome),
            topics=consultation.topics,
        )
    )
    await _note(unit, order, "consultation", None, outcome=consultation.outcome)


# ---- the pickup desk ----


class HandOver(LenientInput):
    """Who came for a package, how they were identified, and what they left."""

    model_config = for_example(identifiers=["name", "birth_date"], collected_by="patient")

    identifiers: tuple[LongId, ...]
    left_rx_ids: tuple[Id, ...] = ()
    collected_by: Literal["patient", "caregiver"] = "patient"
    reason: Reason | None = None  # why a caregiver may collect without the patient's consent: pharmacist only


async def hand_over_package(unit: Unit, package_id: str, handed: HandOver) -> WorkOrder:
    """Give a ready package to the patient, or to a caregiver whom the patient's consent lets collect."""
    order, facts = await _load(unit, package_id=package_id)
    overruled = unit.role == "pharmacist" and handed.reason is not None
    check_collector(handed.collected_by, facts.patient, overruled=overruled)
    await _note(unit, order, "hand_over", None, **handed.model_dump())
    today = unit.today(_calendar(facts).time_zone)
    after = hand_over(order, identifiers=handed.identifiers, left=handed.left_rx_ids, today=today)
    return await _save(unit, order, after)


# ---- what they share ----


async def _load(unit: Unit, **named: str) -> tuple[WorkOrder, Facts]:
    """The work order that a visit_id, package_id or order_id names, and what is known around it. Raises NotFound."""
    order = await known_order(unit.db, **named)
    facts = await reads.facts_around(unit.db, [order])
    return order, facts[order.visit_id]


def _calendar(facts: Facts) -> Store:
    """The store's; it is known since the first lease."""
    if facts.store is None:
        raise Conflict("unknown_store", "the calendar of this store has not arrived yet")
    return facts.store


async def _save(unit: Unit, before: WorkOrder, after: WorkOrder) -> WorkOrder:
    await save_changes(unit, [Change(before, after)])
    return after


async def _note(unit: Unit, order: WorkOrder, action: str, license_: str | None, **detail: Any) -> None:
    """Raises Invalid where the license is another than the one of who signed in."""
    if license_ and unit.license and license_ != unit.license:
        raise Invalid("not_your_license", "licence: is not the license of who signed in: give your own")
    done = writes.Action(order.visit_id, action, unit.now, unit.actor, unit.role, license_, detail)
    await writes.note(unit.db, done)
