"""The dispensing system leases fills and reports what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, Self
from uuid import uuid4

from pydantic import Field, model_validator

from services.fulfillment.commands.common import (
    Dollars,
    License,
    LongId,
    RejectCode,
    Units,
    calendar_of,
    load,
    note,
    save,
)
from services.fulfillment.domain import (
    Change,
    Filled,
    FillOutcome,
    Item,
    Lease,
    Rejected,
    Short,
    WorkOrder,
    check_fill_id,
    lease,
    owed_rest,
    reconcile,
    report,
)
from services.fulfillment.recompute import save_changes
from services.fulfillment.store import reads, writes
from shared.messaging import Unit
from shared.problems import NotAllowed
from shared.values import WHOLE, Day, Id, LenientInput, for_example


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


OnHand = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4, description="of the drug")]


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
    patient_pay: Dollars | None = None  # with filled, where the payer's answer carried it
    reject_code: RejectCode | None = None  # with rejected
    next_fill_on: Day | None = None  # with rejected, where the payer names it
    missing: Units | None = None  # with short
    on_hand: OnHand | None = None  # with short: what could be filled now
    quantity: Units | None = None  # with filled, where it is a partial fill that was agreed to
    days_supply: Annotated[int, Field(strict=True, ge=1, le=366), WHOLE] | None = None  # of that quantity
    licence: License | None = None

    @model_validator(mode="after")
    def has_what_its_result_needs(self) -> Self:
        self.outcome(date.min)
        return self

    def outcome(self, today: date) -> FillOutcome:
        """Raises ValueError where the result lacks its field."""
        match self.result:
            case "filled" if self.fill_id:
                return Filled(self.fill_id, today, self.patient_pay, self.quantity, self.days_supply)
            case "rejected" if self.reject_code:
                return Rejected(self.reject_code, self.next_fill_on)
            case "short" if self.missing:
                return Short(self.missing, self.on_hand)
        raise ValueError("filled needs fill_id, rejected needs reject_code, short needs missing")

    @property
    def new_fill_id(self) -> str | None:
        """Under which id it was filled, if it was; nobody else may use it meanwhile."""
        return self.fill_id if self.result == "filled" else None


async def report_fill(unit: Unit, order_id: str, result: FillResult) -> WorkOrder:
    """Record what became of a leased fill; the same result reported again changes nothing.

    The fill's id has to be locked too.
    """
    order, facts = await load(unit, order_id=order_id)
    _require_lease_of(order, order_id, unit.actor)
    if result.new_fill_id:
        check_fill_id(order_id, await reads.order_of_fill(unit.db, result.new_fill_id))
    calendar = calendar_of(facts)
    outcome = result.outcome(unit.today(calendar.time_zone))
    after = report(order, order_id, result.lease_id, outcome, now=unit.now, store=calendar)
    if after == order:
        return order
    await note(unit, order, "fill", result.licence, order_id=order_id, result=result.result)
    await save(unit, order, after)
    await writes.add_try(unit.db, after.item(order_id), unit.actor, unit.now)
    if owed := owed_rest(after, order_id, unit.today(calendar.time_zone)):
        await save_changes(unit, [Change(None, reconcile(owed, facts, unit.now))])
    return after


def _require_lease_of(order: WorkOrder, order_id: str, actor: str) -> None:
    """A lease is reported by who took it. Raises NotAllowed."""
    for item in order.items:
        if item.order_id == order_id and item.lease and item.lease.taken_by not in (None, actor):
            raise NotAllowed("not_your_lease", "somebody else took this lease: lease the fill yourself")
