"""Which events tell of a change: none without one, and no change of a fill or a package without its event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from services.fulfillment.domain import (
    SETTLED,
    Change,
    Filled,
    How,
    Item,
    ItemStatus,
    PackageStatus,
    Rejected,
    Short,
    WorkOrder,
    why_for_later,
    why_not_filled,
)
from shared.events import Event
from shared.events.fulfillment import (
    FillCompleted,
    FillRejected,
    FillResolved,
    ItemState,
    NotFilledItem,
    PackagedItem,
    PackagePickedUp,
    PackageReady,
    PackageReopened,
    PackageReturned,
    PickupMissed,
    Resolution,
    ResolvedBy,
    StockShort,
)

LISTED = (ItemStatus.filled, ItemStatus.rejected, ItemStatus.short, ItemStatus.withheld)


def events_of(changed: Iterable[Change]) -> Iterator[Event]:
    """The events of changes, a work order's fills before its package."""
    for before, after in changed:
        was = {item.order_id: item for item in before.items} if before else {}
        for item in after.items:
            former = was.get(item.order_id)
            if former:
                yield from _of_resolution(after, item, former)
            if former is None or item.status is not former.status:
                yield from _of_fill(after, item)
        if before and after.missed_days > before.missed_days:
            yield _missed(after)
        if before and after.status is not before.status:
            yield from _of_package(after, was_ready=before.status is PackageStatus.ready)


def state_of(orders: Iterable[WorkOrder]) -> Iterator[Event]:
    """What waits for its patient, as it was told when it was ready."""
    for order in orders:
        if order.status is PackageStatus.ready:
            yield from _of_package(order)


def _of_resolution(order: WorkOrder, item: Item, former: Item) -> Iterator[Event]:
    """What was resolved about a fill that was refused or short."""
    how = None
    if item.resolution and item.resolution != former.resolution:
        partial = item.resolution.how is How.partial
        resolution = Resolution.partial if partial else Resolution.resubmitted
        how = None if partial else ResolvedBy(item.resolution.how)
    elif item.why in SETTLED and item.why is not former.why:
        resolution = Resolution(item.why)
    else:
        return
    yield FillResolved(
        patient_id=order.patient_id,
        visit_id=order.visit_id,
        rx_id=item.rx_to_fill,
        resolution=resolution,
        how=how,
        try_number=item.tries,
    )


def _of_fill(order: WorkOrder, item: Item) -> Iterator[Event]:
    fill: dict[str, Any] = {
        "patient_id": order.patient_id,
        "visit_id": order.visit_id,
        "rx_id": item.rx_to_fill,
    }
    match item.status, item.outcome:
        case ItemStatus.filled, Filled(fill_id, filled_on):
            intended = item.intended
            yield FillCompleted(
                **fill,
                fill_id=fill_id,
                filled_on=item.serviced_on or filled_on,
                quantity=item.quantity_filled,
                days_supply=item.days_filled,
                in_place_of=_confirmed_as(item),
                at_counter=item.at_counter,
                intended_quantity=intended.quantity if intended else None,
                intended_days_supply=intended.days_supply if intended else None,
                completes=item.completes.fill_id if item.completes else None,
            )
        case ItemStatus.rejected, Rejected(reject_code, next_fill_on):
            yield FillRejected(**fill, reject_code=reject_code, next_fill_on=next_fill_on)
        case ItemStatus.short, Short(missing):
            yield StockShort(**fill, missing=missing)


def _of_package(order: WorkOrder, *, was_ready: bool = False) -> Iterator[Event]:
    package: dict[str, Any] = {
        "patient_id": order.patient_id,
        "store_id": order.store_id,
        "package_id": order.package_id,
        "plan_id": order.plan_id,
        "visit_id": order.visit_id,
    }
    match order.status, order.return_on, order.handed_over_on:
        case PackageStatus.ready, date() as return_on, _:
            yield PackageReady(
                **package,
                on=order.awaited_from if order.is_owed else order.visit_on,
                items=manifest(order),
                return_on=return_on,
                not_filled=not_filled(order),
            )
        case PackageStatus.to_verify, _, _ if was_ready:
            yield PackageReopened(**package, on=order.visit_on, items=manifest(order))
        case PackageStatus.picked_up, _, date() as handed_over_on:
            yield PackagePickedUp(
                **package,
                handed_over_on=handed_over_on,
                taken=manifest(order, ItemStatus.filled),
                left=manifest(order, ItemStatus.withheld),
                not_filled=not_filled(order),
                declined=for_later(order),
            )
        case PackageStatus.returned, _, _:
            yield PackageReturned(**package, items=manifest(order, ItemStatus.withheld))


def _missed(order: WorkOrder) -> Event:
    return PickupMissed(
        patient_id=order.patient_id,
        package_id=order.package_id,
        plan_id=order.plan_id,
        visit_id=order.visit_id,
        on=order.visit_on,
        days_late=(order.awaited_from - order.visit_on).days + order.missed_days,
    )


def manifest(order: WorkOrder, *statuses: ItemStatus) -> tuple[PackagedItem, ...]:
    """The package's lines: the items of these statuses, or all that someone worked on."""
    return tuple(
        PackagedItem(
            rx_id=item.rx_to_fill,
            drug_name=item.drug_name,
            state=ItemState(item.status),
            quantity=item.quantity_filled,
            days_supply=item.days_filled,
            days_supply_billed=_billed(item),
            fill_id=item.outcome.fill_id if isinstance(item.outcome, Filled) else None,
            filled_on=item.serviced_on,
            in_place_of=_confirmed_as(item),
            owed=item.quantity - item.quantity_filled if item.filled_on and item.partial else None,
            completes=item.completes.fill_id if item.completes and item.filled_on else None,
        )
        for item in order.having(*(statuses or LISTED))
    )


def _billed(item: Item) -> int | None:
    """The days that the payer counts: of a claim in two parts all with the first of them, and none with the rest."""
    if item.completes:
        return 0
    return item.days_supply_billed or (item.days_supply if item.partial else None)


def _confirmed_as(item: Item) -> str | None:
    """The prescription that was confirmed, where another took its place."""
    return item.rx_id if item.renewed_as else None


def for_later(order: WorkOrder) -> tuple[NotFilledItem, ...]:
    """What else was due, and was declined at the counter."""
    return tuple(
        NotFilledItem(rx_id=item.rx_to_fill, drug_name=item.drug_name, reason=reason)
        for item in order.items
        if (reason := why_for_later(item))
    )


def not_filled(order: WorkOrder) -> tuple[NotFilledItem, ...]:
    """What was confirmed on a condition that was not met in time."""
    return tuple(
        NotFilledItem(rx_id=item.rx_id, drug_name=item.drug_name, reason=reason)
        for item in order.items
        if (reason := why_not_filled(item))
    )
