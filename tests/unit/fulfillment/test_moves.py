"""The two tables of moves."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from services.fulfillment.domain import ItemStatus, PackageStatus
from services.fulfillment.domain.work_order import FINAL, ITEM_MOVES, PACKAGE_MOVES
from shared.problems import Conflict
from tests.unit.fulfillment.given import confirmed

ITEMS = {
    "offered": "to_fill cancelled",
    "to_fill": "leased cancelled",
    "leased": "to_fill filled rejected short cancelled",
    "filled": "withheld",
    "rejected": "to_fill",
    "short": "to_fill",
    "withheld": "",
    "cancelled": "to_fill offered",
}
PACKAGES = {
    "filling": "filling to_verify returned cancelled",
    "to_verify": "to_verify filling ready returned",
    "ready": "ready to_verify picked_up returned",
    "picked_up": "picked_up",
    "returned": "returned",
    "cancelled": "cancelled filling",
}


@pytest.mark.parametrize(("found", "wanted"), list(product(ItemStatus, ItemStatus)))
def test_an_item_moves_only_as_the_table_says(found: ItemStatus, wanted: ItemStatus) -> None:
    item = replace(confirmed("rx-a").items[0], status=found)
    if wanted in ITEMS[found].split():
        assert item.become(wanted).status is wanted
    else:
        with pytest.raises(Conflict, match=f"unknown_transition: the item is {found}.* to {wanted}"):
            item.become(wanted)


@pytest.mark.parametrize(("found", "wanted"), list(product(PackageStatus, PackageStatus)))
def test_a_package_moves_only_as_the_table_says(found: PackageStatus, wanted: PackageStatus) -> None:
    order = replace(confirmed("rx-a"), status=found)
    if wanted in PACKAGES[found].split():
        assert order.become(wanted).status is wanted
    else:
        with pytest.raises(Conflict, match=f"unknown_transition: the package is {found}.* to {wanted}"):
            order.become(wanted)


def test_every_status_has_its_moves() -> None:
    assert set(ITEM_MOVES) == set(ItemStatus)
    assert set(PACKAGE_MOVES) == set(PackageStatus)
    assert not any(PACKAGE_MOVES[status] for status in FINAL)
