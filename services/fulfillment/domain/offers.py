"""What is asked at the counter: a drug that became due after the visit was confirmed (decision 22).

Nothing is ordered for an offer, nothing waits for it, and nothing of it is filled before the patient agreed. But nobody
is handed a package in silence while a drug is offered, or is agreed to and not filled yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from services.fulfillment.domain.facts import ConfirmedItem
from services.fulfillment.domain.work_order import (
    CONCLUDED,
    FINAL,
    OPEN,
    Item,
    ItemStatus,
    PackageStatus,
    Why,
    WorkOrder,
    short_id,
)
from shared.problems import Conflict, Invalid

TAKES_OFFERS = frozenset({PackageStatus.filling, PackageStatus.to_verify, PackageStatus.ready})


def with_offers(
    order: WorkOrder, offers: Collection[ConfirmedItem], may_be: Callable[[Item], bool]
) -> WorkOrder:
    """The order with what the newest plan has to be asked about, where it is no item yet that somebody wants.

    `may_be`: nothing speaks against it, and what speaks against it later takes it away again. Of an item that was
    cancelled because of the plan the patient is asked; what they declined is not offered again.
    """
    if order.status not in TAKES_OFFERS:
        return order
    held = {item.rx_to_fill: item for item in order.items}
    offered = {offer.rx_id: _offered(offer, held.get(offer.rx_id), order, may_be) for offer in offers}
    kept = tuple(offered.pop(item.rx_to_fill, None) or item for item in order.items)
    return replace(order, items=(*kept, *(item for item in offered.values() if item)))


def _offered(
    offer: ConfirmedItem, held: Item | None, order: WorkOrder, may_be: Callable[[Item], bool]
) -> Item | None:
    """The offer as an item; none where it is none."""
    again = held is None or held.status is ItemStatus.offered or _was_taken_away(held)
    if not again:
        return None
    item = Item.of(
        held.order_id if held else short_id(order.visit_id, offer.rx_id),
        held.rx_id if held else offer.rx_id,
        offer,
        status=ItemStatus.offered,
        renewed_as=held.renewed_as if held else None,
        urgent=True,
        at_counter=True,
    )
    return item if may_be(item) else None


def _was_taken_away(item: Item) -> bool:
    """By the facts, and not by what the patient or a pharmacist said."""
    return item.status is ItemStatus.cancelled and item.why in CONCLUDED


def answer_offers(order: WorkOrder, answers: Mapping[str, bool]) -> WorkOrder:
    """What the patient said to what was offered (rx ids): to be filled now, or not on this visit.

    The package does not wait for it: it stays where it is, and is verified again once it is filled. Until then the
    patient may say otherwise.

    Raises:
        Conflict: the package was handed over, or went back.
        Invalid: it was not offered, or is filled already.
    """
    if order.status in FINAL:
        raise Conflict("not_offered", f"the package is {order.status}: nothing of it is filled any more")
    offers = {item.rx_to_fill for item in order.items if item.at_counter}
    unknown = answers.keys() - offers
    if unknown:
        raise Invalid("not_offered", f"{len(unknown)} of the prescriptions named were not offered")

    def answered(item: Item) -> Item:
        wanted = answers.get(item.rx_to_fill) if item.at_counter else None
        match item.status, wanted:
            case ItemStatus.offered | ItemStatus.cancelled, True if _may_be_filled(item):
                return item.become(ItemStatus.to_fill, why=None, lease=None, late=True)
            case ItemStatus.cancelled, True:
                raise Invalid("not_offered", "one of the prescriptions named is not offered any more")
            case ItemStatus.offered | ItemStatus.to_fill | ItemStatus.leased, False:
                return item.cancel(Why.declined)
            case (ItemStatus.filled, False):
                raise Invalid("filled_already", "it is filled: name it in left_rx_ids at the hand-over")
        return item

    return order.each(answered)


def _may_be_filled(item: Item) -> bool:
    """On offer, or declined a moment ago."""
    return item.status is ItemStatus.offered or item.why is Why.declined


def also_due(item: Item) -> bool:
    """Is it to be filled before the patient leaves: offered, or wanted and not filled yet?"""
    return item.status is ItemStatus.offered or (item.status in OPEN and item.waits_for is None)


def leave_for_later(order: WorkOrder, rx_ids: Collection[str]) -> WorkOrder:
    """The order without what the patient does not wait for (rx ids): that is planned anew.

    Raises:
        Conflict: something else is due, and not said to be for later.
        Invalid: one of these is in the package.
    """
    filled = {item.rx_to_fill for item in order.having(ItemStatus.filled)}
    if filled & set(rx_ids):
        raise Invalid("filled_already", "what is in the package is not for later: name it in left_rx_ids")
    overlooked = sorted({item.rx_to_fill for item in order.items if also_due(item)} - set(rx_ids))
    if overlooked:
        raise Conflict(
            "also_due",
            f"{len(overlooked)} more due now: ask whether to fill while the patient waits, or name in later_rx_ids "
            "what the patient does not wait for",
            rx_ids=overlooked,
        )
    return order.each(
        lambda item: (
            item.cancel(_why_later(item))
            if item.status in OPEN or item.status is ItemStatus.offered
            else item
        )
    )


def _why_later(item: Item) -> Why:
    if item.resolution:
        return Why.not_in_time
    return Why.declined if also_due(item) else Why.condition_not_met
