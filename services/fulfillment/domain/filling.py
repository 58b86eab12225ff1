"""What is to be filled and when, concluded anew from the facts each time; leases and their results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from zoneinfo import ZoneInfo

from services.fulfillment.domain.facts import Confirmation, Facts, Plan, Store
from services.fulfillment.domain.offers import with_offers
from services.fulfillment.domain.work_order import (
    CLOSING,
    CONCLUDED,
    FINAL,
    MORNING,
    Filled,
    FillOutcome,
    Item,
    ItemStatus,
    Lease,
    PackageStatus,
    Rejected,
    Short,
    Why,
    WorkOrder,
    settle,
    short_id,
)
from shared.events.planner import Condition
from shared.problems import Conflict, Invalid

FILL_LEAD = timedelta(days=3)
"""Fills are ordered three days ahead (R13.1, R15.1)."""

RECALLED = frozenset({Why.died, Why.excluded, Why.discontinued})
"""What takes even a filled item out of its package."""

STATUS_OF = {Filled: ItemStatus.filled, Rejected: ItemStatus.rejected, Short: ItemStatus.short}


def confirm(order: WorkOrder | None, confirmation: Confirmation) -> WorkOrder | None:
    """The work order of a confirmed visit; a later confirmation replaces its items until someone works on them.

    None: the confirmation comes too late and has no effect.
    """
    if order and _begun(order):
        return None
    wanted = tuple(
        Item.of(
            short_id(confirmation.visit_id, item.rx_id),
            item.rx_id,
            item,
            condition=item.condition,
            waits_for=item.condition,
        )
        for item in confirmation.items
    )
    ids = {item.order_id for item in wanted}
    dropped = tuple(
        item
        if item.at_counter
        else replace(item, status=ItemStatus.cancelled, why=Why.declined, due_at=None, gives_up_at=None)
        for item in (order.items if order else ())
        if item.order_id not in ids
    )
    return WorkOrder(
        visit_id=confirmation.visit_id,
        patient_id=confirmation.patient_id,
        store_id=confirmation.store_id,
        package_id=short_id(confirmation.visit_id),
        plan_id=confirmation.plan_id,
        plan_revision=confirmation.plan_revision,
        visit_kind=confirmation.visit_kind,
        visit_on=confirmation.visit_on,
        items=wanted + dropped,
        status=order.status if order else PackageStatus.filling,
    )


def _begun(order: WorkOrder) -> bool:
    untouched = (ItemStatus.offered, ItemStatus.to_fill, ItemStatus.cancelled)
    return any(
        item.status not in untouched or item.why is Why.withdrawn or item.tries for item in order.items
    )


def reconcile(order: WorkOrder, facts: Facts, now: datetime) -> WorkOrder:
    """Bring a work order in line with what is known; the order in which it became known does not matter.

    Changes in mid-cycle (R11.3, R11.10): leaving the program stops what is not filled, and what is filled stays
    collectable; death stops everything; a discontinued drug leaves the package at once, even a ready one. A drug
    that only moved to another visit after it was filled stays, for it is paid for and right: a filled item is
    withheld only where the newer plan calls its prescription discontinued, or a pharmacist excluded it. A ready package
    that loses an item is not released before a pharmacist has seen it without.

    A conditional fill waits until a plan has it on this visit without a condition, itself or a renewal in its place;
    when the store fills, the visit goes on without it. What comes after that is added while the package is there.
    So is what a plan has to be asked about at the counter, as an offer.
    """
    if order.status in FINAL:
        return order
    calendar = facts.store.revision if facts.store else 0
    after = order.each(lambda item: _reconsider(item, order, facts, now))
    plan = _plan_for(order, facts)
    if plan:
        offers = plan.offers.get(order.visit_id, ())
        after = with_offers(after, offers, lambda item: _against(item, order, facts, now) is None)
    if order.status is PackageStatus.ready and _recalled(after) > _recalled(order):
        after = after.become(PackageStatus.to_verify)
    return settle(replace(after, store_revision=calendar), facts.store)


def _recalled(order: WorkOrder) -> int:
    return sum(item.why in RECALLED for item in order.having(ItemStatus.withheld))


def _reconsider(item: Item, order: WorkOrder, facts: Facts, now: datetime) -> Item:
    if item.status in (ItemStatus.to_fill, ItemStatus.cancelled):
        item = _as_planned(item, order, _plan_for(order, facts))
    why = _against(item, order, facts, now)
    match item.status:
        case ItemStatus.filled if why in RECALLED:
            return item.become(ItemStatus.withheld, why=why)
        case ItemStatus.offered | ItemStatus.to_fill | ItemStatus.leased if why:
            return item.cancel(why)
        case ItemStatus.cancelled if item.why in CONCLUDED and why:
            return replace(item, why=why)
        case ItemStatus.cancelled if item.why in CONCLUDED and _may_come_back(item, order):
            late = item.why is Why.condition_not_met and _is_late(item, order, facts, now)
            item = item.become(ItemStatus.to_fill, why=None, lease=None, late=late)
    if item.status is not ItemStatus.to_fill:
        return item
    if item.waits_for:
        return replace(item, due_at=None, gives_up_at=_gives_up_at(item.waits_for, item, order, facts, now))
    return replace(item, due_at=_due_at(item, order, facts, now), gives_up_at=None)


def _as_planned(item: Item, order: WorkOrder, plan: Plan | None) -> Item:
    """The item with what the plan says of it on this visit; as it was confirmed, where the plan says nothing."""
    visit = plan.visits.get(order.visit_id, {}) if plan else {}
    renewed_as = plan.renewal_of(order.visit_id, item.rx_id) if plan else None
    if plan is None or (renewed_as or item.rx_id) not in visit:
        return replace(item, waits_for=item.condition, renewed_as=None, urgent=item.at_counter)
    waits_for = plan.conditions.get(order.visit_id, {}).get(renewed_as or item.rx_id)
    if item.resolution:
        waits_for = None  # staff say that it is settled
    urgent = item.at_counter or order.visit_id in plan.urgent
    return replace(item, waits_for=waits_for, renewed_as=renewed_as, urgent=urgent)


def _may_come_back(item: Item, order: WorkOrder) -> bool:
    """Whether a cancellation may be taken back; of a ready package only for what comes late, complete.

    What nobody confirmed is offered again instead.
    """
    if item.at_counter:
        return False
    ready = order.status is PackageStatus.ready
    return not ready or (item.why is Why.condition_not_met and item.waits_for is None)


def _is_late(item: Item, order: WorkOrder, facts: Facts, now: datetime) -> bool:
    """Whether the visit went on, or should have gone on, without an item whose condition is met now."""
    if item.waits_for:
        return False
    gave_up_at = _gives_up_at(item.condition, item, order, facts, now) if item.condition else None
    return order.status is PackageStatus.ready or gave_up_at is None or gave_up_at <= now


def _against(item: Item, order: WorkOrder, facts: Facts, now: datetime) -> Why | None:
    """What speaks against filling an item; what is not known does not."""
    patient, plan = facts.patient, _plan_for(order, facts)
    newer = plan if plan and plan.revision > order.plan_revision else None
    renewed = newer is not None and newer.renewal_of(order.visit_id, item.rx_id) is not None
    if patient and patient.died:
        return Why.died
    if {item.rx_id, item.rx_to_fill} & facts.excluded:
        return Why.excluded
    if newer and newer.stands and item.rx_to_fill not in newer.prescriptions and not renewed:
        return Why.discontinued
    if order.is_owed:
        return None  # paid for, and of no plan: who leaves the program may still collect it
    if plan and plan.cancelled_through >= order.plan_revision:
        return Why.plan_cancelled
    if patient and not patient.enrolled:
        return Why.not_enrolled
    if patient and plan and plan.profile_revision < patient.left_revision:
        return Why.not_enrolled  # enrolled again since, but what was confirmed is from before
    if newer and item.rx_to_fill not in newer.visits.get(order.visit_id, {}) and not renewed:
        return Why.condition_not_met if item.waits_for else Why.not_planned
    if item.waits_for and item.status is not ItemStatus.leased:
        gives_up_at = _gives_up_at(item.waits_for, item, order, facts, now)
        return Why.condition_not_met if gives_up_at and gives_up_at <= now else None
    return None


def _gives_up_at(
    condition: Condition, item: Item, order: WorkOrder, facts: Facts, now: datetime
) -> datetime | None:
    """When the visit goes on without an item that waits; none until it is known when it would be ordered.

    At the end of the last day on which its condition helps, or when it would be ordered where that is later; on the
    morning of the visit at the latest, for the package is to be there when the patient comes. Where there would be
    no package without what waits, as on an urgent visit of today, it is waited for until the store closes (R6.3).
    """
    due_at = _due_at(item, order, facts, now)
    if due_at is None or facts.store is None:
        return None
    helps_until = facts.store.at(condition.needed_by, CLOSING)
    to_the_end = condition.needed_by >= order.visit_on and _all_waits(order, facts)
    at_the_latest = facts.store.at(order.visit_on, CLOSING if to_the_end else MORNING)
    return min(max(helps_until, due_at), at_the_latest)


def _all_waits(order: WorkOrder, facts: Facts) -> bool:
    """Whether the plan has nothing on the visit but what depends on something."""
    plan = _plan_for(order, facts)
    if plan is None:
        return False
    return plan.visits.get(order.visit_id, {}).keys() <= plan.conditions.get(order.visit_id, {}).keys()


def _due_at(item: Item, order: WorkOrder, facts: Facts, now: datetime) -> datetime | None:
    """When an item is to be ordered; none until the patient, the plan that was confirmed and the store are known.

    For an urgent visit at once, where the payer pays; else on its day. What was resolved is tried again at once; an
    owed rest on the morning on which its stock is there.
    """
    if item.resolution:
        return item.resolution.at
    if order.is_owed:
        arrives = item.expected_on if facts.store else None
        return facts.store.at(arrives, MORNING) if facts.store and arrives else None
    patient, plan, store = facts.patient, _plan_for(order, facts), facts.store
    if not patient or not plan or not store:
        return None
    payable_from = plan.visits.get(order.visit_id, {}).get(item.rx_to_fill)
    planned = plan.fill_on.get(order.visit_id, {}).get(item.rx_to_fill)
    usual = store.at(order_day(order.visit_on, payable_from, store, planned), MORNING)
    if not item.urgent:
        return usual
    since = min(item.due_at or now, usual, now)
    if payable_from and payable_from <= order.visit_on:
        return max(since, store.at(payable_from, MORNING))
    return since


def _plan_for(order: WorkOrder, facts: Facts) -> Plan | None:
    """The newest plan, unless it is from before the one that was confirmed: that one is still on its way."""
    return facts.plan if facts.plan and facts.plan.revision >= order.plan_revision else None


def order_day(visit_on: date, payable_from: date | None, store: Store, planned: date | None = None) -> date:
    """The local day on which an item of a visit is ordered from the dispensing system.

    On the day that the plan gives, else three days ahead, or on the day from which the payer pays where that is later;
    on a closed day earlier (R13.3), or later where the payer does not pay earlier. A payer that pays only from after
    the visit granted an override, else the item would not be planned: that delays nothing.
    """
    paid_from = payable_from if payable_from and payable_from <= visit_on else date.min
    target = max(planned or visit_on - FILL_LEAD, paid_from)
    before = (target - timedelta(days) for days in range(7))
    after = (target + timedelta(days) for days in range(1, (visit_on - target).days + 1))
    return next((day for day in chain(before, after) if day >= paid_from and store.open_on(day)), target)


def lease(orders: Iterable[WorkOrder], taken: Lease, *, now: datetime, limit: int) -> list[WorkOrder]:
    """The orders, with at most `limit` of their due items leased, the longest due first.

    Each item has a lease id of its own, made from that of `taken`.
    """
    orders = list(orders)
    due = sorted(
        (item.due_at, item.order_id)
        for order in orders
        for item in order.having(ItemStatus.to_fill)
        if item.due_at and item.due_at <= now
    )
    first = {order_id for _, order_id in due[:limit]}

    def take(item: Item) -> Item:
        if item.order_id not in first:
            return item
        own = replace(taken, lease_id=short_id(taken.lease_id, item.order_id))
        return item.become(ItemStatus.leased, lease=own)

    return [order.each(take) for order in orders]


def expire_leases(order: WorkOrder, now: datetime) -> WorkOrder:
    """The order with the items whose lease is over waiting to be leased again."""

    def expire(item: Item) -> Item:
        over = item.status is ItemStatus.leased and item.lease and item.lease.until <= now
        return item.become(ItemStatus.to_fill, lease=None) if over else item

    return order.each(expire)


def report(
    order: WorkOrder,
    order_id: str,
    lease_id: str,
    outcome: FillOutcome,
    *,
    now: datetime,
    store: Store | None,
) -> WorkOrder:
    """Record what the dispensing system did with one item; the same result under the same lease changes nothing.

    An item that was refused or is short does not stop the others: the package holds what is filled.

    Raises:
        Conflict: the item is not leased under this id, or no longer.
        Invalid: fewer units than ordered, and nobody agreed to a partial fill.
    """
    item = order.item(order_id)
    outcome = _as_agreed(item, outcome)
    held = item.lease if item.lease and item.lease.lease_id == lease_id else None
    if held and item.outcome == outcome:
        return order
    if item.status is ItemStatus.cancelled:
        raise Conflict(
            "lease_lost", "the order was cancelled meanwhile: put the drug back and reverse the claim"
        )
    if not held or item.status is not ItemStatus.leased:
        raise Conflict(
            "lease_lost",
            f"the order is {item.status} and not leased under this lease_id: lease it, then report",
        )
    if held.until <= now:
        raise Conflict("lease_lost", f"the lease ended at {held.until.isoformat()}: lease the order again")
    done = item.become(STATUS_OF[type(outcome)], outcome=outcome, tries=item.tries + 1)
    if done.unsettled and store and not order.is_owed:
        until = max(order.visit_on, now.astimezone(ZoneInfo(store.time_zone)).date())
        done = replace(done, gives_up_at=store.at(until, CLOSING))
    order = order.put(done)
    if order.status is PackageStatus.ready and done.status is ItemStatus.filled:
        # it came late, into a package that was verified without it
        order = order.become(PackageStatus.to_verify)
    return settle(order, store)


def _as_agreed(item: Item, outcome: FillOutcome) -> FillOutcome:
    """A fill with the units and days of a partial one, where the patient is to get a part now.

    Raises:
        Invalid: other units than were ordered, and nobody agreed to that.
    """
    if not isinstance(outcome, Filled):
        return outcome
    agreed = item.resolution if item.partial else None
    quantity = outcome.quantity or (agreed.quantity if agreed else None)
    if quantity is None or quantity == item.quantity:
        return replace(outcome, quantity=None, days_supply=None)
    if agreed is None or quantity > item.quantity:
        raise Invalid(
            "partial_not_agreed",
            f"quantity: {item.quantity} were ordered; report short, and have the partial fill resolved first",
        )
    as_agreed = agreed.days_supply if quantity == agreed.quantity else None
    days = outcome.days_supply or as_agreed or days_of(quantity, item)
    if not 0 < days < item.days_supply:
        raise Invalid("partial_not_agreed", f"quantity: {quantity} last {days} whole days: that is no part")
    return replace(outcome, quantity=quantity, days_supply=days)


def days_of(quantity: Decimal, item: Item) -> int:
    """The whole days of a part of what was ordered."""
    return int(item.days_supply * quantity / item.quantity)


def check_fill_id(order_id: str, holder: str | None) -> None:
    """A fill is of one order: its id names it in the patient's history, where a second would be taken for the first.

    `holder` is the order that was filled under this id before.

    Raises:
        Conflict: that is another order.
    """
    if holder is not None and holder != order_id:
        raise Conflict(
            "foreign_fill",
            "fill_id names the fill of another order: report this one under the id of its own fill, "
            "or, where the two were mixed up, look at both",
        )
