"""What follows from facts, worked out anew: by handlers, commands and due work in the same way."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.fulfillment.domain import (
    Change,
    ItemStatus,
    Why,
    WorkOrder,
    changes,
    reconcile,
    withdraw,
)
from services.fulfillment.publishing import events_of
from services.fulfillment.store import reads, writes
from shared.messaging import Unit


async def recompute_orders(unit: Unit, patient_ids: Collection[str]) -> None:
    """Bring the open work orders of these patients in line with what is known now."""
    orders = await reads.open_orders(unit.db, patient_ids)
    if not orders:
        return
    facts = await reads.facts_around(unit.db, orders)
    await save_changes(unit, changes(orders, lambda order: reconcile(order, facts[order.visit_id], unit.now)))


async def save_changes(unit: Unit, changed: Sequence[Change]) -> None:
    """Save changed work orders and publish what that means."""
    await writes.save_orders(unit.db, changed)
    unit.emit(events_of(changed))
    if withheld := _parts_withheld(changed):
        owed = await reads.owed_after(unit.db, withheld)
        await save_changes(
            unit, changes(owed, lambda order: withdraw(order, withheld[_completed_by(order)], None))
        )


def _parts_withheld(changed: Sequence[Change]) -> dict[str, Why]:
    """The partial fills that the patient does not get any more, each with its why: nor do they get the rest."""
    return {
        item.intended.order_id: item.why
        for before, after in changed
        for item in after.having(ItemStatus.withheld)
        if item.why and item.partial and item.intended and item not in (before.items if before else ())
    }


def _completed_by(order: WorkOrder) -> str:
    return next(item.completes.order_id for item in order.items if item.completes)
