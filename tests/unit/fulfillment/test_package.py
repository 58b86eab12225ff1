"""Verification, hand-over, missed pickups, return to stock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from services.fulfillment.domain import (
    Change,
    Facts,
    Filled,
    PackageStatus,
    Short,
    Why,
    WorkOrder,
    bin_label,
    hand_over,
    last_saleable_day,
    miss,
    reconcile,
    verify,
    withdraw,
)
from services.fulfillment.publishing import events_of
from shared.events.fulfillment import (
    PackagePickedUp,
    PackageReady,
    PackageReopened,
    PackageReturned,
    PickupMissed,
)
from shared.problems import Conflict, Invalid
from tests.unit.fulfillment.given import (
    AHEAD,
    EVERY_DAY,
    GONE,
    KNOWN,
    RX,
    VISIT_ON,
    filled,
    leased,
    plan,
    report_of,
    states,
)


def ready(*rx_ids: str, on: date = date(2026, 10, 13)) -> WorkOrder:
    return verify(filled(*rx_ids), excepted=(), bin_number=3, today=on, store=EVERY_DAY)


def only_event(before: WorkOrder, after: WorkOrder) -> object:
    (event,) = events_of([Change(before, after)])
    return event


# ---- the release gate ----


def test_a_verified_package_is_ready_in_its_bin_and_lists_what_came_of_every_item() -> None:
    order = report_of(leased("rx-a", "rx-b"), "rx-b", Short(Decimal(30)))
    order = filled("rx-a", of=order)
    done = verify(order, excepted=(), bin_number=3, today=date(2026, 10, 13), store=EVERY_DAY)
    assert (done.status, done.bin, bin_label(3)) == (PackageStatus.ready, 3, "1-03")
    event = only_event(order, done)
    assert isinstance(event, PackageReady)
    assert [(item.rx_id, item.state.value) for item in event.items] == [("rx-a", "filled"), ("rx-b", "short")]
    assert event.return_on == date(2026, 10, 22)


def test_what_the_pharmacist_excepts_is_not_handed_over() -> None:
    order = filled("rx-a", "rx-b")
    done = verify(order, excepted=["rx-b"], bin_number=1, today=VISIT_ON, store=EVERY_DAY)
    assert states(done) == {"rx-a": "filled", "rx-b": "withheld excepted"}


def test_a_package_whose_every_item_is_excepted_goes_back() -> None:
    order = filled("rx-a")
    done = verify(order, excepted=["rx-a"], bin_number=1, today=VISIT_ON, store=EVERY_DAY)
    assert done.status is PackageStatus.returned
    assert isinstance(only_event(order, done), PackageReturned)


def test_only_what_is_in_the_package_can_be_excepted() -> None:
    with pytest.raises(Invalid, match=r"not_released: .*1 of the prescriptions named"):
        verify(filled("rx-a"), excepted=["rx-b"], bin_number=1, today=VISIT_ON, store=EVERY_DAY)


@pytest.mark.parametrize("order", [leased("rx-a"), ready("rx-a")], ids=["filling", "ready"])
def test_only_a_package_that_waits_for_it_is_verified(order: WorkOrder) -> None:
    with pytest.raises(Conflict, match=f"unknown_transition: the package is {order.status}"):
        verify(order, excepted=(), bin_number=1, today=VISIT_ON, store=EVERY_DAY)


# ---- hand-over ----


def test_the_patient_takes_the_package_and_leaves_an_item() -> None:
    order = ready("rx-a", "rx-b")
    done = hand_over(order, left=["rx-b"], today=VISIT_ON)
    event = only_event(order, done)
    assert isinstance(event, PackagePickedUp)
    assert [(item.rx_id, item.fill_id, item.filled_on) for item in event.taken] == [
        ("rx-a", "fill-rx-a", date(2026, 10, 12))
    ]
    assert [(item.rx_id, item.state.value) for item in event.left] == [("rx-b", "withheld")]
    assert (event.handed_over_on, done.bin, done.return_at) == (VISIT_ON, None, None)


@pytest.mark.parametrize(
    ("left", "today", "words"),
    [
        (["rx-a"], VISIT_ON, "nothing is taken"),
        (["rx-z"], VISIT_ON, "not in the package"),
        ([], date(2026, 10, 23), "the last saleable day was 2026-10-22"),
    ],
)
def test_the_release_gate(left: list[str], today: date, words: str) -> None:
    with pytest.raises(Invalid, match=f"not_released: .*{words}"):
        hand_over(ready("rx-a"), left=left, today=today)


def test_only_a_ready_package_is_handed_over() -> None:
    with pytest.raises(Conflict, match="unknown_transition: the package is to_verify"):
        hand_over(filled("rx-a"), left=(), today=VISIT_ON)


# ---- changes while it waits ----


def test_a_ready_package_stays_collectable_when_the_patient_leaves_the_program() -> None:
    order = ready("rx-a")
    assert reconcile(order, KNOWN._replace(patient=GONE, plan=plan(2)), AHEAD) == order


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (KNOWN._replace(plan=plan(2, prescriptions=frozenset({"rx-b"}))), "discontinued"),
        (KNOWN._replace(excluded=frozenset({"rx-a"})), "excluded"),
    ],
    ids=["discontinued", "excluded"],
)
def test_a_recalled_drug_leaves_a_ready_package_which_waits_for_a_pharmacist(facts: Facts, why: str) -> None:
    order = ready("rx-a", "rx-b")
    waiting = reconcile(order, facts, AHEAD)
    assert (waiting.status, waiting.bin) == (PackageStatus.to_verify, None)
    assert states(waiting) == {"rx-a": f"withheld {why}", "rx-b": "filled"}
    reopened = only_event(order, waiting)
    assert isinstance(reopened, PackageReopened)
    assert {item.rx_id: item.state for item in reopened.items} == {"rx-a": "withheld", "rx-b": "filled"}
    with pytest.raises(Conflict, match="unknown_transition: the package is to_verify"):
        hand_over(waiting, left=(), today=VISIT_ON)

    again = verify(waiting, excepted=(), bin_number=2, today=VISIT_ON, store=EVERY_DAY)
    assert reconcile(again, facts, AHEAD) == again
    assert reconcile(again, KNOWN, AHEAD) == again, "revoked: what was withheld stays out of this package"
    done = hand_over(again, left=(), today=VISIT_ON)
    event = only_event(again, done)
    assert isinstance(event, PackagePickedUp)
    assert [item.rx_id for item in event.taken] == ["rx-b"]


def test_what_was_handed_over_is_not_called_back_by_an_exclusion() -> None:
    done = hand_over(ready("rx-a"), left=(), today=VISIT_ON)
    assert reconcile(done, KNOWN._replace(excluded=frozenset({"rx-a"})), AHEAD) == done


@pytest.mark.parametrize(
    "facts",
    [
        KNOWN._replace(excluded=frozenset(RX)),
        KNOWN._replace(plan=plan(2, prescriptions=frozenset())),
        KNOWN._replace(patient=replace(GONE, died=True)),
    ],
    ids=["every drug excluded", "every drug discontinued", "died"],
)
def test_a_package_with_nothing_left_for_the_patient_goes_back_at_once(facts: object) -> None:
    order = ready("rx-a")
    done = reconcile(order, facts, AHEAD)  # type: ignore[arg-type]
    assert done.status is PackageStatus.returned
    assert isinstance(only_event(order, done), PackageReturned)


def test_staff_withdraw_a_work_order_for_good() -> None:
    order = filled("rx-a", of=leased("rx-a", "rx-b"))
    done = withdraw(order, Why.withdrawn, EVERY_DAY)
    assert states(done) == {"rx-a": "withheld withdrawn", "rx-b": "cancelled withdrawn"}
    assert reconcile(done, KNOWN, AHEAD) == done
    unfilled = withdraw(leased("rx-a"), Why.withdrawn, EVERY_DAY)
    assert unfilled.status is PackageStatus.cancelled
    assert reconcile(unfilled, KNOWN, AHEAD) == unfilled


def test_what_was_handed_over_is_not_withdrawn() -> None:
    done = hand_over(ready("rx-a"), left=(), today=VISIT_ON)
    with pytest.raises(Conflict, match="unknown_transition: the package is picked_up"):
        withdraw(done, Why.withdrawn, EVERY_DAY)


# ---- missed, and gone back ----


def test_a_pickup_is_missed_on_the_first_and_the_third_day_at_nine_store_local_time() -> None:
    order = ready("rx-a")
    assert order.missed_at == datetime(2026, 10, 15, 13, tzinfo=UTC)
    first = miss(order, today=VISIT_ON + timedelta(1), store=EVERY_DAY)
    assert first.missed_at == datetime(2026, 10, 17, 13, tzinfo=UTC)
    second = miss(first, today=VISIT_ON + timedelta(3), store=EVERY_DAY)
    assert second.missed_at is None
    assert [days_late(order, first), days_late(first, second)] == [1, 3]


def test_after_an_outage_a_missed_pickup_is_told_once() -> None:
    order = ready("rx-a")
    late = miss(order, today=VISIT_ON + timedelta(4), store=EVERY_DAY)
    assert (days_late(order, late), late.missed_at) == (3, None)


def test_nobody_misses_a_package_that_was_not_ready() -> None:
    order = ready("rx-a", on=VISIT_ON + timedelta(2))
    assert order.missed_at == datetime(2026, 10, 17, 13, tzinfo=UTC)
    assert days_late(order, miss(order, today=VISIT_ON + timedelta(3), store=EVERY_DAY)) == 3


def days_late(before: WorkOrder, after: WorkOrder) -> int:
    event = only_event(before, after)
    assert isinstance(event, PickupMissed)
    return event.days_late


@pytest.mark.parametrize(
    ("filled_on", "window", "last"),
    [
        ([date(2026, 12, 1)], 10, date(2026, 12, 11)),  # TV20
        ([date(2026, 12, 1)], 14, date(2026, 12, 15)),  # TV20
        ([date(2026, 12, 3), date(2026, 12, 1)], 10, date(2026, 12, 11)),  # the earliest fill counts
    ],
)
def test_the_last_saleable_day(filled_on: list[date], window: int, last: date) -> None:
    assert last_saleable_day(filled_on, timedelta(window)) == last


@pytest.mark.parametrize(
    ("filled_on", "return_at"),
    [
        (date(2026, 10, 12), datetime(2026, 10, 23, 1, tzinfo=UTC)),  # 21:00 in summer time
        (date(2026, 10, 22), datetime(2026, 11, 2, 2, tzinfo=UTC)),  # 21:00 on the day on which it ends
    ],
)
def test_a_package_goes_back_when_its_last_saleable_day_ends(filled_on: date, return_at: datetime) -> None:
    order = report_of(leased("rx-a"), "rx-a", Filled("fill-1", filled_on))
    assert order.return_at == return_at
    done = withdraw(order, Why.not_collected, EVERY_DAY)
    event = only_event(order, done)
    assert isinstance(event, PackageReturned)
    assert [(item.rx_id, item.state.value) for item in event.items] == [("rx-a", "withheld")]
