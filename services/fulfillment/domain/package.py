"""The package of a visit: verified, handed over, missed, gone back to stock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date

from services.fulfillment.domain.facts import Patient, Store
from services.fulfillment.domain.work_order import (
    FINAL,
    MISSED_AFTER,
    OPEN,
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

IDENTIFIERS = frozenset({"name", "birth_date", "address", "phone", "photo_id"})
"""By what a person at the pickup desk is identified; two are needed (R15.3)."""

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
    order: WorkOrder, *, identifiers: Collection[str], left: Collection[str], today: date
) -> WorkOrder:
    """Give a ready package to who came for it; what the patient leaves (rx ids) goes back to stock.

    A fill that was to be added late, conditional or put right, and is not made yet, is not made for it any more.

    Raises:
        Conflict: the package is not ready.
        Invalid: fewer than two identifiers, nothing taken, or the payer's window is over (selling then risks
            recoupment: R15.7).
    """
    if order.status is not PackageStatus.ready or not order.return_on:
        raise unknown_transition("package", order.status, PackageStatus.picked_up)
    if len(IDENTIFIERS & set(identifiers)) < 2:
        raise Invalid("not_released", f"two identifiers are needed, of {', '.join(sorted(IDENTIFIERS))}")
    if today > order.return_on:
        raise Invalid(
            "not_released", f"the last saleable day was {order.return_on}: reverse the claims and fill anew"
        )
    order = _withhold(_without_late(order), left, Why.left)
    if not order.having(ItemStatus.filled):
        raise Invalid("not_released", "nothing is taken: leave the package in will-call, or cancel it")
    return settle(order.become(PackageStatus.picked_up, handed_over_on=today), None)


def check_collector(collected_by: str, patient: Patient | None, *, overruled: bool) -> None:
    """A caregiver collects where the patient's consent says so, or where a pharmacist overrules that with a reason.

    Raises:
        Invalid: neither is the case.
    """
    consented = patient is not None and patient.caregiver_may_collect
    if collected_by == "caregiver" and not consented and not overruled:
        raise Invalid(
            "not_released",
            "the patient consented to no caregiver; a pharmacist may overrule that, with a reason",
        )


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
            case ItemStatus.to_fill | ItemStatus.leased:
                return item.become(ItemStatus.cancelled, why=why, due_at=None, gives_up_at=None)
            case ItemStatus.cancelled:
                return replace(item, why=why)
            case ItemStatus.filled:
                return item.become(ItemStatus.withheld, why=why)
        return item

    if order.status in FINAL:
        raise unknown_transition("package", order.status, PackageStatus.cancelled)
    return settle(order.each(stop), store)


def _without_late(order: WorkOrder) -> WorkOrder:
    def stop(item: Item) -> Item:
        if item.status not in OPEN:
            return item
        why = Why.not_in_time if item.resolution else Why.condition_not_met
        return item.become(ItemStatus.cancelled, why=why, due_at=None, gives_up_at=None)

    return order.each(stop)


def _withhold(order: WorkOrder, rx_ids: Collection[str], why: Why) -> WorkOrder:
    unknown = set(rx_ids) - {item.rx_to_fill for item in order.having(ItemStatus.filled)}
    if unknown:
        raise Invalid("not_released", f"{len(unknown)} of the prescriptions named are not in the package")
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
