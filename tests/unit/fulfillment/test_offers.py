"""What becomes due after the confirmation is offered at the counter: filled if the patient agrees, never overlooked."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from services.fulfillment.domain import (
    ConfirmedItem,
    Facts,
    Filled,
    PackageStatus,
    Plan,
    Rejected,
    Why,
    WorkOrder,
    answer_offers,
    confirm,
    hand_over,
    lease,
    reconcile,
    verify,
    withdraw,
)
from shared.events.fulfillment import PackagePickedUp, PackageReopened
from shared.problems import Conflict, Invalid
from tests.unit.fulfillment.given import (
    AHEAD,
    EVERY_DAY,
    GONE,
    KNOWN,
    LEASE,
    NOON,
    RENEWED,
    VISIT,
    VISIT_ON,
    confirmation,
    confirmed,
    filled,
    leased,
    plan,
    report_of,
    states,
)
from tests.unit.fulfillment.test_package import only_event, ready

WARFARIN = ConfirmedItem("rx-c", "drug rx-c", Decimal(30), 30)


def asking(revision: int = 2, *rx_ids: str, offer: ConfirmedItem = WARFARIN, **changes: object) -> Plan:
    """A plan with these prescriptions on the visit, and one that is to be asked about at the counter."""
    found = plan(revision, *(rx_ids or ("rx-a",)), "rx-c", **changes)
    return replace(found, offers={VISIT: (offer,)})


ASKING = KNOWN._replace(plan=asking())


def offered(order: WorkOrder, facts: Facts = ASKING) -> WorkOrder:
    return reconcile(order, facts, NOON)


def agreed(order: WorkOrder) -> WorkOrder:
    """The patient at the counter says yes."""
    return reconcile(answer_offers(offered(order), {"rx-c": True}), ASKING, NOON)


def served(order: WorkOrder) -> WorkOrder:
    """The dispensing system fills what is due, and a pharmacist verifies it."""
    (order,) = lease([order], LEASE, now=NOON, limit=10)
    order = report_of(order, "rx-c", Filled("fill-c", date(2026, 10, 12)))
    assert order.status is PackageStatus.to_verify
    return verify(order, excepted=(), bin_number=3, today=VISIT_ON, store=EVERY_DAY)


# ---- the offer ----


@pytest.mark.parametrize(
    "order", [confirmed("rx-a"), leased("rx-a"), filled("rx-a"), ready("rx-a")], ids=lambda each: each.status
)
def test_an_open_package_gains_what_became_due_as_an_offer_that_holds_nothing_up(order: WorkOrder) -> None:
    gained = offered(order)
    assert states(gained) == {**states(order), "rx-c": "offered"}
    assert (gained.status, gained.bin) == (order.status, order.bin)
    assert offered(gained) == gained


def test_nothing_is_ordered_for_an_offer_nor_does_the_package_wait_for_it() -> None:
    order = offered(confirmed("rx-a"))
    (after,) = lease([order], LEASE, now=NOON + timedelta(days=9), limit=10)
    assert states(after) == {"rx-a": "leased", "rx-c": "offered"}
    assert report_of(after, "rx-a", Filled("f", date(2026, 10, 12))).status is PackageStatus.to_verify


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (KNOWN._replace(plan=plan(3, "rx-a")), "not_planned"),
        (KNOWN._replace(plan=plan(3, prescriptions=frozenset({"rx-a"}))), "discontinued"),
        (ASKING._replace(excluded=frozenset({"rx-c"})), "excluded"),
        (ASKING._replace(patient=GONE), "not_enrolled"),
    ],
    ids=["not planned", "discontinued", "excluded", "gone"],
)
def test_what_no_longer_can_be_filled_is_no_longer_offered(facts: Facts, why: str) -> None:
    order = offered(ready("rx-a"))
    withdrawn = reconcile(order, facts, NOON)
    assert states(withdrawn)["rx-c"] == f"cancelled {why}"
    assert hand_over(withdrawn, left=(), today=VISIT_ON).status is PackageStatus.picked_up
    assert states(reconcile(ready("rx-a"), facts, NOON)).get("rx-c", "cancelled").startswith("cancelled")
    assert states(offered(withdrawn))["rx-c"] == "offered", "it can again"


def test_a_newer_plan_offers_another_quantity() -> None:
    less = KNOWN._replace(plan=asking(3, offer=replace(WARFARIN, quantity=Decimal(10), days_supply=10)))
    after = reconcile(offered(ready("rx-a")), less, NOON)
    assert [(item.quantity, item.days_supply) for item in after.items if item.rx_id == "rx-c"] == [
        (Decimal(10), 10)
    ]


def test_what_the_patient_confirmed_and_the_plan_dropped_comes_back_without_a_question_while_the_store_fills() -> (
    None
):
    dropped = reconcile(leased("rx-a"), KNOWN, AHEAD)
    order = confirm(None, confirmation("rx-a", "rx-c"))
    assert order
    dropped = reconcile(order, KNOWN._replace(plan=plan(2, "rx-a")), AHEAD)
    assert states(dropped)["rx-c"] == "cancelled not_planned"
    assert states(reconcile(dropped, KNOWN._replace(plan=asking(3)), AHEAD))["rx-c"] == "to_fill"


def test_into_a_package_that_is_ready_it_comes_back_with_a_question() -> None:
    order = confirm(None, confirmation("rx-a", "rx-c"))
    assert order
    order = reconcile(reconcile(order, KNOWN, AHEAD), KNOWN._replace(plan=plan(2, "rx-a")), AHEAD)
    (order,) = lease([order], LEASE, now=NOON, limit=10)
    done = verify(filled("rx-a", of=order), excepted=(), bin_number=3, today=VISIT_ON, store=EVERY_DAY)
    assert states(reconcile(done, KNOWN._replace(plan=asking(3)), NOON))["rx-c"] == "offered"


def test_a_confirmation_that_comes_again_leaves_the_offer_unless_it_names_the_drug() -> None:
    order = offered(confirmed("rx-a"))
    again = confirm(order, confirmation("rx-a"))
    assert again and states(again) == {"rx-a": "to_fill", "rx-c": "offered"}
    with_it = confirm(order, confirmation("rx-a", "rx-c"))
    assert with_it and states(with_it) == {"rx-a": "to_fill", "rx-c": "to_fill"}


def test_what_nobody_collects_is_no_longer_offered() -> None:
    gone = withdraw(offered(ready("rx-a")), Why.not_collected, EVERY_DAY)
    assert states(gone)["rx-c"] == "cancelled not_collected"


# ---- the answer ----


def test_what_the_patient_agrees_to_is_due_at_once_filled_verified_and_handed_over() -> None:
    order = agreed(ready("rx-a"))
    assert order.status is PackageStatus.ready, "the rest waits in its bin meanwhile"
    [item] = [item for item in order.items if item.rx_id == "rx-c"]
    assert item.urgent and item.due_at and item.due_at <= NOON
    (taken,) = lease([order], LEASE, now=NOON, limit=10)
    reopened = report_of(taken, "rx-c", Filled("fill-c", date(2026, 10, 12)))
    assert isinstance(only_event(order, replace(reopened, items=order.items)), PackageReopened)
    done = hand_over(served(order), left=(), today=VISIT_ON)
    assert states(done) == {"rx-a": "filled", "rx-c": "filled"}


@pytest.mark.parametrize(
    "order", [confirmed("rx-a"), filled("rx-a"), ready("rx-a")], ids=lambda each: each.status
)
def test_it_stays_agreed_to_whatever_is_looked_at_again(order: WorkOrder) -> None:
    after = agreed(order)
    assert states(after)["rx-c"] == "to_fill"
    assert offered(after) == after


def test_what_the_patient_declines_is_not_offered_again_on_this_visit() -> None:
    order = answer_offers(offered(ready("rx-a")), {"rx-c": False})
    assert states(order)["rx-c"] == "cancelled declined"
    later = offered(order, KNOWN._replace(plan=asking(5)))
    assert states(later)["rx-c"] == "cancelled declined"
    done = hand_over(later, left=(), today=VISIT_ON)
    event = only_event(later, done)
    assert isinstance(event, PackagePickedUp)
    assert [(each.rx_id, each.reason.code) for each in event.declined] == [("rx-c", "declined_at_counter")]


def test_until_it_is_filled_the_patient_may_say_otherwise() -> None:
    order = agreed(ready("rx-a"))
    no = answer_offers(order, {"rx-c": False})
    assert states(no)["rx-c"] == "cancelled declined"
    assert states(answer_offers(no, {"rx-c": True}))["rx-c"] == "to_fill"
    with pytest.raises(Invalid, match="filled_already"):
        answer_offers(served(order), {"rx-c": False})
    assert answer_offers(served(order), {"rx-c": True}) == served(order)


def test_only_what_is_offered_can_be_answered() -> None:
    with pytest.raises(Invalid, match="not_offered: 1 of"):
        answer_offers(offered(ready("rx-a")), {"rx-a": True})
    dropped = reconcile(offered(ready("rx-a")), KNOWN._replace(plan=plan(3, "rx-a")), NOON)
    with pytest.raises(Invalid, match="not offered any more"):
        answer_offers(dropped, {"rx-c": True})
    done = hand_over(ready("rx-a"), left=(), today=VISIT_ON)
    with pytest.raises(Conflict, match="not_offered: the package is picked_up"):
        answer_offers(done, {"rx-c": True})


# ---- the hand-over ----


@pytest.mark.parametrize(
    "order", [offered(ready("rx-a")), agreed(ready("rx-a"))], ids=["offered", "agreed to"]
)
def test_no_package_is_handed_over_in_silence_while_something_else_is_due(order: WorkOrder) -> None:
    with pytest.raises(Conflict, match="also_due: 1 more due now") as refused:
        hand_over(order, left=(), today=VISIT_ON)
    assert refused.value.named == {"rx_ids": ["rx-c"]}
    assert "rx-c" not in refused.value.message
    done = hand_over(order, left=(), later=["rx-c"], today=VISIT_ON)
    assert states(done) == {"rx-a": "filled", "rx-c": "cancelled declined"}
    event = only_event(order, done)
    assert isinstance(event, PackagePickedUp) and [each.rx_id for each in event.declined] == ["rx-c"]


def test_what_was_confirmed_on_a_condition_and_came_late_is_not_overlooked_either() -> None:
    order = confirm(None, confirmation("rx-a", "rx-c", conditional={"rx-c": RENEWED}))
    assert order
    waits = plan(2, "rx-a", "rx-c", conditions={VISIT: {"rx-c": RENEWED}})
    order = reconcile(order, KNOWN._replace(plan=waits), AHEAD)
    (order,) = lease([order], LEASE, now=NOON, limit=10)
    order = reconcile(filled("rx-a", of=order), KNOWN._replace(plan=waits), NOON)
    done = verify(order, excepted=(), bin_number=3, today=VISIT_ON, store=EVERY_DAY)
    met = reconcile(done, KNOWN._replace(plan=plan(3, "rx-a", "rx-c")), NOON)
    assert states(met)["rx-c"] == "to_fill"
    with pytest.raises(Conflict, match="also_due"):
        hand_over(met, left=(), today=VISIT_ON)
    assert states(hand_over(met, left=(), later=["rx-c"], today=VISIT_ON))["rx-c"] == ("cancelled declined")


def test_what_is_agreed_to_and_cannot_be_filled_holds_nobody_up() -> None:
    (order,) = lease([agreed(ready("rx-a"))], LEASE, now=NOON, limit=10)
    refused = report_of(order, "rx-c", Rejected("75"))
    assert refused.status is PackageStatus.ready
    done = hand_over(refused, left=(), today=VISIT_ON)
    assert states(done) == {"rx-a": "filled", "rx-c": "rejected"}


def test_what_is_in_the_package_is_not_for_later() -> None:
    with pytest.raises(Invalid, match="filled_already"):
        hand_over(ready("rx-a", "rx-b"), left=(), later=["rx-b"], today=VISIT_ON)
