"""The two steps that handlers, due work and commands share: keep changes with their events, and catch up with facts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.fulfillment import store
from services.fulfillment.domain import Change, announce, changes, reconcile
from shared.messaging import Unit


async def keep(unit: Unit, changed: Sequence[Change]) -> None:
    """Save changed work orders and publish what that means."""
    await store.save(unit.db, changed)
    unit.emit(announce(changed))


async def catch_up(unit: Unit, patient_ids: Collection[str]) -> None:
    """Bring the open work orders of these patients in line with what is known now."""
    orders = await store.open_orders(unit.db, patient_ids)
    if not orders:
        return
    facts = await store.facts_around(unit.db, orders)
    await keep(unit, changes(orders, lambda order: reconcile(order, facts[order.visit_id], unit.now)))
