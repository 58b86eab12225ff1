"""What is done about a fill that the payer refused or the store was short of, and the rest of a partial fill."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from services.fulfillment.domain.facts import Store
from services.fulfillment.domain.filling import days_of
from services.fulfillment.domain.work_order import (
    FINAL,
    OWED,
    Filled,
    How,
    Item,
    ItemStatus,
    PackageStatus,
    Resolution,
    Why,
    WorkOrder,
    settle,
    short_id,
)
from shared.problems import Conflict, Invalid

OF_PAYER = frozenset(
    {
        How.override,
        How.corrected_days,
        How.other_plan,
        How.cash_price,
        How.prior_authorization,
        How.other_manufacturer,
    }
)
OF_STOCK = frozenset({How.stock_arrived, How.other_manufacturer, How.partial})
RESOLVES = {
    ItemStatus.rejected: OF_PAYER,
    ItemStatus.short: OF_STOCK,
    ItemStatus.to_fill: {How.stock_arrived},
}
"""By what came of a fill how it may be tried again; an owed rest that waits, once its stock is there."""

GONE_ON = frozenset({PackageStatus.to_verify, PackageStatus.ready})
"""Where the rest of the visit is filled: what is put right now holds it up no more."""


def resubmit(order: WorkOrder, order_id: str, resolution: Resolution, store: Store | None) -> WorkOrder:
    """Have a fill tried again, at once; the package waits for it only while it waits for others.

    Raises:
        Conflict: the package is handed over or gone back, or the fill is in no state for it.
        Invalid: that is no way to resolve it.
    """
    item = _unsettled(order, order_id)
    if resolution.how not in RESOLVES[item.status]:
        raise Invalid(
            "not_resolved", f"how: {resolution.how} resolves nothing of a fill that is {item.status}"
        )
    if resolution.how is How.partial:
        resolution = _part_of(item, resolution)
    elif item.partial and item.resolution and resolution.how is not How.stock_arrived:
        agreed = item.resolution  # the payer refused the part, which stays one
        resolution = replace(
            resolution,
            quantity=agreed.quantity,
            days_supply=agreed.days_supply,
            expected_on=agreed.expected_on,
        )
    if item.status is not ItemStatus.to_fill:
        item = item.become(ItemStatus.to_fill, lease=None, outcome=None, late=order.status in GONE_ON)
    codes = item.clarification_codes
    if resolution.how is How.override and resolution.code and resolution.code not in codes:
        codes = (resolution.code, *codes)
    again = replace(
        item,
        resolution=resolution,
        due_at=resolution.at,
        gives_up_at=None,
        days_supply_billed=resolution.days_billed or item.days_supply_billed,
        clarification_codes=codes,
    )
    return settle(order.put(again), store)


def _part_of(item: Item, resolution: Resolution) -> Resolution:
    """A partial fill with its days. Raises Invalid where it is no part."""
    quantity = resolution.quantity or Decimal(0)
    days = resolution.days_supply or days_of(quantity, item)
    if not 0 < quantity < item.quantity or not 0 < days < item.days_supply:
        raise Invalid(
            "not_resolved",
            f"quantity: of {item.quantity} units for {item.days_supply} days a part is filled, and at least a day's",
        )
    return replace(resolution, days_supply=days)


def give_up(order: WorkOrder, order_id: str, why: Why, store: Store | None) -> WorkOrder:
    """Settle that a fill is not tried again for this package.

    Raises:
        Conflict: the package is handed over or gone back, or the fill is in no state for it.
    """
    item = _unsettled(order, order_id)
    if item.status is ItemStatus.to_fill:
        return settle(order.put(item.cancel(why)), store)
    return settle(order.put(replace(item, why=why, gives_up_at=None)), store)


def give_up_unsettled(order: WorkOrder, now: datetime) -> WorkOrder:
    """At the end of the visit's day: what nobody resolved is given up where there is no package to add it to.

    Else it may be put right until the package is handed over or goes back.
    """

    def step(item: Item) -> Item:
        if not item.unsettled or item.gives_up_at is None or item.gives_up_at > now:
            return item
        over = order.status is PackageStatus.cancelled
        return replace(item, gives_up_at=None, why=Why.given_up if over else None)

    return order.each(step)


def _unsettled(order: WorkOrder, order_id: str) -> Item:
    item = order.item(order_id)
    if order.status in FINAL:
        raise Conflict(
            "unknown_transition", f"the package is {order.status}: what was missing is planned anew"
        )
    waits = order.is_owed and item.status is ItemStatus.to_fill
    if not (item.unsettled or waits):
        raise Conflict(
            "unknown_transition",
            f"the fill is {item.status}{' and given up' if item.why else ''}: nothing of it is to be resolved",
        )
    return item


def owed_rest(order: WorkOrder, order_id: str, today: date) -> WorkOrder | None:
    """The rest that a partial fill leaves owed, as a work order of its own; none where it leaves none.

    It is the same claim: its own package, its own hand-over, and no visit that was planned.
    """
    item = order.item(order_id)
    if not (isinstance(item.outcome, Filled) and item.partial):
        return None
    expected_on = item.resolution.expected_on if item.resolution else None
    visit_id = short_id(order_id, OWED)
    rest = Item(
        short_id(visit_id, item.rx_to_fill),
        item.rx_to_fill,
        item.drug_name,
        item.quantity - item.quantity_filled,
        item.days_supply - item.days_filled,
        clarification_codes=item.clarification_codes,
        completes=item.intended,
        expected_on=expected_on,
    )
    return WorkOrder(
        visit_id=visit_id,
        patient_id=order.patient_id,
        store_id=order.store_id,
        package_id=short_id(visit_id),
        plan_id=order.plan_id,
        plan_revision=order.plan_revision,
        visit_kind=OWED,
        visit_on=max(order.visit_on, expected_on or today),
        items=(rest,),
    )
