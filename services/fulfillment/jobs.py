"""What falls due in fulfillment without anyone asking: leases end, conditions are not met, pickups are missed, packages
go back."""

from __future__ import annotations

from collections.abc import Sequence

from services.fulfillment.domain import (
    Why,
    WorkOrder,
    changes,
    expire_leases,
    give_up_unsettled,
    miss,
    reconcile,
    withdraw,
)
from services.fulfillment.recompute import recompute_orders, save_changes
from services.fulfillment.store import reads
from shared.messaging import Jobs, Unit

due = Jobs()


@due("due_lease_ends")
async def take_back_leases(patients: Sequence[str], unit: Unit) -> None:
    """Items whose lease is over wait to be leased again, where nothing speaks against it by now."""
    orders = await reads.open_orders(unit.db, patients)
    facts = await reads.facts_around(unit.db, orders)

    def step(order: WorkOrder) -> WorkOrder:
        return reconcile(expire_leases(order, unit.now), facts[order.visit_id], unit.now)

    await save_changes(unit, changes(orders, step))


@due("due_conditions")
async def go_on_without(patients: Sequence[str], unit: Unit) -> None:
    """What a conditional fill depends on did not come in time: the visit goes on without it."""
    await recompute_orders(unit, patients)


@due("due_unsettled")
async def give_up_what_nobody_resolved(patients: Sequence[str], unit: Unit) -> None:
    """The visit's day is over: what was refused or short, and alone, is given up, and planned anew."""
    orders = await reads.open_orders(unit.db, patients)
    await save_changes(unit, changes(orders, lambda order: give_up_unsettled(order, unit.now)))


@due("due_missed_pickups")
async def miss_pickups(patients: Sequence[str], unit: Unit) -> None:
    """The day passed and the package still waits."""
    orders = [
        order
        for order in await reads.open_orders(unit.db, patients)
        if order.missed_at and order.missed_at <= unit.now
    ]
    facts = await reads.facts_around(unit.db, orders)

    def step(order: WorkOrder) -> WorkOrder:
        calendar = facts[order.visit_id].store
        return miss(order, today=unit.today(calendar.time_zone), store=calendar) if calendar else order

    await save_changes(unit, changes(orders, step))


@due("due_returns")
async def return_to_stock(patients: Sequence[str], unit: Unit) -> None:
    """The payer's window ends: what was not collected goes back, and its claims are reversed."""
    orders = [
        order
        for order in await reads.open_orders(unit.db, patients)
        if order.return_at and order.return_at <= unit.now
    ]
    await save_changes(unit, changes(orders, lambda order: withdraw(order, Why.not_collected, None)))


@due("due_reschedules")
async def reschedule(patients: Sequence[str], unit: Unit) -> None:
    """Work orders follow the newest calendar of their store; the first makes waiting ones due."""
    await recompute_orders(unit, patients)
