"""The package of a visit: verified, handed over, missed, gone back to stock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

from services.fulfillment.domain.facts import Store
from services.fulfillment.domain.offers import leave_for_later
from services.fulfillment.domain.work_order import (
    FINAL,
    MISSED_AFTER,
    Filled,
    Item,
    ItemStatus,
    PackageStatus,
    Why,
    WorkOrder,
    settle,
    unknown_transition,
)
from shared.events import Reason
from shared.problems import Invalid

BINS_A_RACK = 20


def verify(
    order: WorkOrder, *, excepted: Collection[str], bin_number: int, today: date, store: Store | None
) -> WorkOrder:
    """Release a package: a pharmacist verified every filled item but those explicitly excepted (rx ids).

    Where nothing is left to hand over, it goes back to stock.

    Raises:
        Conflict: the package does not wait for verification.
        Invalid: an excepted prescription is not in it.
    """
    if order.status is not PackageStatus.to_verify:
        raise unknown_transition("package", order.status, PackageStatus.ready)
    order = _withhold(order, excepted, Why.excepted)
    if order.having(ItemStatus.filled):
        order = order.become(PackageStatus.ready, bin=bin_number, ready_on=today)
    return settle(order, store)


def hand_over(
    order: WorkOrder, *, left: Collection[str], today: date, later: Collection[str] = ()
) -> WorkOrder:
    """Give a ready package to who came for it; what the patient leaves (rx ids) goes back to stock.

    What else is due, and not filled yet, is for `later` (rx ids) in so many words, or the package stays.

    Raises:
        Conflict: the package is not ready, or something else is due.
        Invalid: nothing is taken, or the payer's window is over (selling then risks recoupment: R15.7).
    """
    if order.status is not PackageStatus.ready or not order.return_on:
        raise unknown_transition("package", order.status, PackageStatus.picked_up)
    if today > order.return_on:
        raise Invalid(
            "not_released", f"the last saleable day was {order.return_on}: reverse the claims and fill anew"
        )
    order = _withhold(leave_for_later(order, later), left, Why.left)
    if not order.having(ItemStatus.filled):
        raise Invalid("not_released", "nothing is taken: leave the package in will-call, or cancel it")
    return settle(order.become(PackageStatus.picked_up, handed_over_on=today), None)


def check_scanned(order: WorkOrder, scanned_bin: str, labels: Collection[str], left: Collection[str]) -> None:
    """What was scanned is this package: its bin, and the label (fill id or rx id) of each item that is taken.

    Raises:
        Invalid: another bin, a label of nothing in it, or an item without its label.
    """
    own = bin_label(order.bin) if order.bin else None
    if scanned_bin != own:
        raise Invalid("scan_mismatch", f"bin {scanned_bin} was scanned: this package is in {own}")
    packed = {item.rx_to_fill: labels_of(item) for item in order.having(ItemStatus.filled)}
    if foreign := set(labels).difference(*packed.values()):
        raise Invalid("scan_mismatch", f"not of this package: {', '.join(sorted(foreign))}")
    missing = [rx_id for rx_id, own in packed.items() if rx_id not in left and own.isdisjoint(labels)]
    if missing:
        raise Invalid("scan_mismatch", f"not scanned: {', '.join(sorted(missing))}")


def labels_of(item: Item) -> frozenset[str]:
    """What may be printed on an item's label."""
    fill_id = {item.outcome.fill_id} if isinstance(item.outcome, Filled) else set()
    return frozenset({item.rx_to_fill, *fill_id})


def put(order: WorkOrder, places: Mapping[str, tuple[str, str | None]]) -> WorkOrder:
    """Note where items are that are not in the bin: by rx id a place, and which shelf there. What was noted stays.

    Raises:
        Invalid: a prescription is not in the package.
    """
    _require_filled(order, places)
    return order.each(
        lambda item: (
            replace(item, place=places[item.rx_to_fill][0], place_label=places[item.rx_to_fill][1])
            if item.rx_to_fill in places
            else item
        )
    )


def check_places(order: WorkOrder, collected: Collection[str]) -> None:
    """What is taken and is not in the bin was fetched from where it is (rx ids), so that no insulin is forgotten.

    Raises:
        Invalid: something was not.
    """
    left = [item for item in kept_apart(order) if item.rx_to_fill not in collected]
    if left:
        where = ", ".join(f"{item.rx_to_fill} ({item.place_label or item.place})" for item in left)
        raise Invalid(
            "left_in_place", f"fetch what is not in the bin, and say so in collected_places: {where}"
        )


def kept_apart(order: WorkOrder) -> tuple[Item, ...]:
    """What is in the package and not in its bin."""
    return tuple(item for item in order.having(ItemStatus.filled) if item.place)


def to_pay(orders: Iterable[WorkOrder]) -> Decimal | None:
    """What is paid for all that is in these packages; None where it is not known of each: half a sum misleads."""
    prices = [item.patient_pay for order in orders for item in order.having(ItemStatus.filled)]
    known = [price for price in prices if price is not None]
    return sum(known, Decimal()) if known and len(known) == len(prices) else None


def miss(order: WorkOrder, *, today: date, store: Store | None) -> WorkOrder:
    """Note that the patient has not come; days passed over in an outage are noted once."""
    waited = (today - order.awaited_from).days
    return settle(replace(order, missed_days=max(days for days in MISSED_AFTER if days <= waited)), store)


def withdraw(order: WorkOrder, why: Why, store: Store | None) -> WorkOrder:
    """Stop a work order for good: what is not filled is cancelled, what is filled goes back to stock.

    Raises:
        Conflict: the package was handed over, or went back already.
    """

    def stop(item: Item) -> Item:
        match item.status:
            case ItemStatus.offered | ItemStatus.to_fill | ItemStatus.leased:
                return item.cancel(why)
            case ItemStatus.cancelled:
                return replace(item, why=why)
            case ItemStatus.filled:
                return item.become(ItemStatus.withheld, why=why)
        return item

    if order.status in FINAL:
        raise unknown_transition("package", order.status, PackageStatus.cancelled)
    return settle(order.each(stop), store)


def _require_filled(order: WorkOrder, rx_ids: Collection[str]) -> None:
    unknown = set(rx_ids) - {item.rx_to_fill for item in order.having(ItemStatus.filled)}
    if unknown:
        raise Invalid("not_released", f"{len(unknown)} of the prescriptions named are not in the package")


def _withhold(order: WorkOrder, rx_ids: Collection[str], why: Why) -> WorkOrder:
    _require_filled(order, rx_ids)
    return order.each(
        lambda item: item.become(ItemStatus.withheld, why=why) if item.rx_to_fill in rx_ids else item
    )


def why_not_filled(item: Item) -> Reason | None:
    """The reason of an item that is not filled, as its condition was not met in time; none of any other."""
    condition = item.waits_for or item.condition
    if item.status is not ItemStatus.cancelled or item.why is not Why.condition_not_met:
        return None
    return Reason(
        code=Why.condition_not_met.value, params=condition.model_dump(mode="json") if condition else {}
    )


def why_for_later(item: Item) -> Reason | None:
    """The reason of an item that was due when the package was handed over, and declined for then; none of any other."""
    due = item.at_counter or item.late
    if not due or item.status is not ItemStatus.cancelled or item.why is not Why.declined:
        return None
    return Reason(code="declined_at_counter")


def why_left_out(item: Item) -> Reason | None:
    """The reason of an item that is not in the package and that staff are to know of; none of any other."""
    if item.why is Why.excluded:
        return Reason(code="excluded_by_pharmacist")
    if item.why is Why.discontinued:
        return Reason(code="discontinued")
    return why_not_filled(item)


def bin_label(number: int) -> str:
    """Rack and place of a will-call bin; the first is number 1.

    >>> bin_label(1), bin_label(20), bin_label(21)
    ('1-01', '1-20', '2-01')
    """
    rack, place = divmod(number - 1, BINS_A_RACK)
    return f"{rack + 1}-{place + 1:02}"
