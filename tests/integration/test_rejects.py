"""Rejects and shortages on a real database: tried again, filled in part with the rest owed, or given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.events.fulfillment import (
    FillCompleted,
    FillResolved,
    PackagePickedUp,
    PackageReady,
    PackageReopened,
    PackageReturned,
    PickupMissed,
)
from tests.integration.test_fulfillment import (
    DUE,
    RENEWED,
    RX,
    confirmed,
    disenrolled,
    lease,
    planned,
    report,
    service,
    states,
    with_work_order,
)
from tests.without_broker import Unbrokered

__all__ = ["service"]  # a fixture

MORNING_AFTER = DUE + timedelta(days=1)


async def resolve(
    service: Unbrokered, order: dict[str, Any], status: int = 200, *, role: str = "technician", **said: Any
) -> Any:
    return await service.send(f"/fill-orders/{order['order_id']}/resolution", status, role=role, **said)


async def with_leased(service: Unbrokered, *rx_ids: str) -> dict[str, Any]:
    await with_work_order(service, *rx_ids)
    service.clock.set(DUE)
    return await lease(service)


async def verified(service: Unbrokered, package: dict[str, Any]) -> Any:
    path = f"/packages/{package['package_id']}/verification"
    return await service.send(path, role="pharmacist", licence="RPH-1")


async def handed_over(
    service: Unbrokered, package: dict[str, Any], status: int = 200, *, later_rx_ids: Sequence[str] = ()
) -> Any:
    path = f"/packages/{package['package_id']}/hand-over"
    identified = {"identifiers": ["name", "birth_date"], "later_rx_ids": list(later_rx_ids)}
    return await service.send(path, status, role="clerk", **identified)


async def owed(service: Unbrokered, **asked: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await service.get("/owed", **asked))["items"]
    return found


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


# ---- tried again ----


async def test_a_reject_resolved_in_five_minutes_is_filled_in_the_same_package(service: Unbrokered) -> None:
    orders = await with_leased(service, *RX)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    await report(service, orders["rx-b"], result="rejected", reject_code="75")
    service.clock.set(DUE + timedelta(minutes=5))
    package = await resolve(
        service, orders["rx-b"], action="resubmit", how="prior_authorization", authorization="PA-77"
    )
    assert {item["rx_id"]: item["state"] for item in package["items"]} == {
        "rx-a": "filled",
        "rx-b": "to_fill",
    }

    again = (await lease(service))["rx-b"]
    assert (again["order_id"], again["try_number"]) == (orders["rx-b"]["order_id"], 2)
    assert again["resolved"] | {"code": None} == {
        "how": "prior_authorization",
        "code": None,
        "authorization": "PA-77",
        "price": None,
        "drug_code": None,
        "drug_name": None,
    }
    package = await report(service, again, result="filled", fill_id="fill-b")
    assert (await verified(service, package))["status"] == "ready"
    service.clock.set(DUE + timedelta(days=3))
    await handed_over(service, package)

    (listed,) = (await service.get("/packages"))["items"]
    tries = {item["rx_id"]: item["tries"] for item in listed["items"]}
    assert [each["result"] for each in tries["rx-a"]] == ["filled"]
    first, second = tries["rx-b"]
    assert (first["result"], first["reject_code"], first["resolution"], first["resolved_by"]) == (
        "rejected",
        "75",
        "prior_authorization",
        "technician-1",
    )
    assert (second["number"], second["result"], second["resolution"]) == (2, "filled", None)
    events = await service.published()
    assert names(events) == [
        "FillCompleted",
        "FillRejected",
        "FillResolved",
        "FillCompleted",
        "PackageReady",
        "PackagePickedUp",
    ]
    resolved, picked_up = events[2], events[5]
    assert isinstance(resolved, FillResolved) and isinstance(picked_up, PackagePickedUp)
    assert (resolved.rx_id, resolved.resolution, resolved.how, resolved.try_number) == (
        "rx-b",
        "resubmitted",
        "prior_authorization",
        1,
    )
    assert sorted(item.rx_id for item in picked_up.taken) == ["rx-a", "rx-b"]


async def test_what_is_put_right_after_verification_holds_nothing_up_and_is_verified_again(
    service: Unbrokered,
) -> None:
    orders = await with_leased(service, *RX)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    package = await report(service, orders["rx-b"], result="short", missing="30.5")
    assert (await verified(service, package))["status"] == "ready"
    package = await resolve(service, orders["rx-b"], action="resubmit", how="stock_arrived")
    assert package["status"] == "ready"
    package = await report(service, (await lease(service))["rx-b"], result="filled", fill_id="fill-b")
    assert package["status"] == "to_verify"
    assert (await verified(service, package))["status"] == "ready"
    events = await service.published()
    assert names(events)[2:] == [
        "PackageReady",
        "FillResolved",
        "FillCompleted",
        "PackageReopened",
        "PackageReady",
    ]
    assert isinstance(events[5], PackageReopened)


async def test_who_comes_before_the_second_try_takes_the_rest(service: Unbrokered) -> None:
    orders = await with_leased(service, *RX)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    package = await report(service, orders["rx-b"], result="rejected", reject_code="75")
    await verified(service, package)
    await resolve(service, orders["rx-b"], action="resubmit", how="other_plan")
    service.clock.set(DUE + timedelta(days=3))
    overlooked = await handed_over(service, package, 409)
    assert (overlooked["code"], overlooked["rx_ids"]) == ("also_due", ["rx-b"])
    assert (await handed_over(service, package, later_rx_ids=["rx-b"]))["status"] == "picked_up"
    assert await states(service) == {"rx-a": "filled", "rx-b": "cancelled not_in_time"}
    refused = await resolve(service, orders["rx-b"], 409, action="resubmit", how="other_plan")
    assert refused["code"] == "unknown_transition"


async def test_nothing_is_due_of_a_package_that_was_handed_over_without_what_was_refused(
    service: Unbrokered,
) -> None:
    orders = await with_leased(service, *RX)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    package = await report(service, orders["rx-b"], result="rejected", reject_code="75")
    await verified(service, package)
    service.clock.set(DUE + timedelta(days=3))
    await handed_over(service, package)
    service.clock.set(DUE + timedelta(days=30))
    await service.do_due()
    async with service.work.read() as db:
        assert await db.fetchval("select count(*) from due_unsettled") == 0


async def test_a_package_of_nothing_but_a_reject_comes_to_life_again(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    package = await report(service, orders["rx-a"], result="rejected", reject_code="79")
    assert package["status"] == "cancelled"
    package = await resolve(service, orders["rx-a"], action="resubmit", how="override", code="03")
    assert package["status"] == "filling"
    again = (await lease(service))["rx-a"]
    assert (again["clarification_codes"], again["resolved"]["code"]) == (["03"], "03")
    assert (await report(service, again, result="filled", fill_id="fill-a"))["status"] == "to_verify"


async def test_corrected_days_are_billed_and_the_true_ones_kept(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="76")
    await resolve(service, orders["rx-a"], action="resubmit", how="corrected_days", days_supply_billed=28)
    again = (await lease(service))["rx-a"]
    assert (again["days_supply"], again["days_supply_billed"]) == (30, 28)


async def test_a_second_reject_is_kept_beside_the_first(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="75")
    await resolve(service, orders["rx-a"], action="resubmit", how="prior_authorization")
    await report(service, (await lease(service))["rx-a"], result="rejected", reject_code="70")
    await resolve(service, orders["rx-a"], action="resubmit", how="cash_price", price="12.40")
    again = (await lease(service))["rx-a"]
    assert (again["try_number"], again["resolved"]["how"], again["resolved"]["price"]) == (
        3,
        "cash_price",
        "12.40",
    )
    (listed,) = (await service.get("/packages"))["items"]
    assert [(each["reject_code"], each["resolution"]) for each in listed["items"][0]["tries"]] == [
        ("75", "prior_authorization"),
        ("70", "cash_price"),
    ]


async def test_a_resubmission_follows_no_condition_of_the_plan(service: Unbrokered) -> None:
    """The planner may have heard of the refusal, and wait for the authorization that staff have by now."""
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="75")
    await resolve(service, orders["rx-a"], action="resubmit", how="prior_authorization")
    await service.handle(planned(2, *RX, conditional={"rx-a": RENEWED}))
    assert list(await lease(service)) == ["rx-a"]


async def test_a_late_confirmation_does_not_replace_what_was_tried(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="75")
    await resolve(service, orders["rx-a"], action="resubmit", how="prior_authorization")
    await service.handle(confirmed("rx-b"))
    assert await states(service) == {"rx-a": "to_fill"}


# ---- given up ----


async def test_a_fill_is_given_up_with_a_reason(service: Unbrokered) -> None:
    orders = await with_leased(service, *RX)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    package = await report(service, orders["rx-b"], result="rejected", reject_code="70")
    await service.published()
    said = {"action": "give_up", "reason": "the prescriber chose another drug"}
    package = await resolve(service, orders["rx-b"], **said)
    assert package["status"] == "to_verify"
    assert await states(service) == {"rx-a": "filled", "rx-b": "rejected given_up"}
    (event,) = await service.published()
    assert isinstance(event, FillResolved)
    assert (event.resolution, event.how) == ("given_up", None)
    (kept,) = await service.rows("select detail from actions where action = 'resolution'")
    assert kept["detail"]["reason"] == "the prescriber chose another drug"
    assert (await resolve(service, orders["rx-b"], 409, **said))["code"] == "unknown_transition"


async def test_another_store_takes_a_fill(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="short", missing="30.5", on_hand="0")
    await resolve(service, orders["rx-a"], action="other_store", reason="they have it on Main Street")
    assert await states(service) == {"rx-a": "short other_store"}
    (listed,) = (await service.get("/packages"))["items"]
    (once,) = listed["items"][0]["tries"]
    assert (once["on_hand"], once["resolution"]) == ("0", "other_store")


async def test_what_nobody_resolved_is_given_up_when_its_day_is_over(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="70")
    await service.published()
    service.clock.set(datetime.fromisoformat("2026-10-15T00:59:00Z"))
    await service.do_due()
    assert await service.published() == []
    service.clock.set(datetime.fromisoformat("2026-10-15T01:00:00Z"))  # nine in the evening in New York
    await service.do_due()
    (event,) = await service.published()
    assert isinstance(event, FillResolved)
    assert event.resolution == "given_up"


async def test_what_nobody_resolved_may_be_put_right_while_the_package_waits(service: Unbrokered) -> None:
    orders = await with_leased(service, *RX)
    await report(service, orders["rx-a"], result="filled", fill_id="fill-a")
    package = await report(service, orders["rx-b"], result="rejected", reject_code="75")
    await verified(service, package)
    service.clock.set(datetime.fromisoformat("2026-10-15T01:00:00Z"))
    await service.do_due()
    package = await resolve(service, orders["rx-b"], action="resubmit", how="prior_authorization")
    assert package["status"] == "ready"


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ({"action": "resubmit"}, "how"),
        ({"action": "resubmit", "how": "override"}, "code"),
        ({"action": "resubmit", "how": "corrected_days"}, "days_supply_billed"),
        ({"action": "resubmit", "how": "cash_price"}, "price"),
        ({"action": "partial"}, "quantity"),
        ({"action": "give_up"}, "reason"),
        ({"action": "other_store", "how": "override", "reason": "they have it"}, "how"),
        ({"action": "resubmit", "how": "stock_arrived"}, "stock_arrived resolves nothing"),
        ({"action": "partial", "quantity": "20"}, "partial resolves nothing"),
    ],
)
async def test_a_resolution_needs_what_goes_with_it(
    service: Unbrokered, said: dict[str, str], about: str
) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="70")
    status = 422 if about.endswith("nothing") else 400
    assert about in str(await resolve(service, orders["rx-a"], status, **said))
    assert await states(service) == {"rx-a": "rejected"}


async def test_what_needs_the_patient_is_settled_by_people(service: Unbrokered) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="rejected", reject_code="70")
    await resolve(service, orders["rx-a"], 403, role="clerk", action="resubmit", how="override", code="02")
    said = {"action": "resubmit", "how": "cash_price", "price": "9.99"}
    await resolve(service, orders["rx-a"], 403, role="dispensing", **said)
    await resolve(service, orders["rx-a"], role="dispensing", action="resubmit", how="override", code="02")


# ---- a part now, the rest owed ----


async def with_partial(service: Unbrokered, *rx_ids: str, **said: Any) -> dict[str, Any]:
    """Twenty of 30.5 tablets are filled; answers the order."""
    order = (await with_leased(service, *rx_ids))["rx-a"]
    await report(service, order, result="short", missing="10.5", on_hand="20")
    await resolve(service, order, action="partial", quantity="20", **said)
    again = (await lease(service))["rx-a"]
    assert [
        again[name]
        for name in (
            "quantity",
            "days_supply",
            "dispensing_status",
            "intended_quantity",
            "intended_days_supply",
        )
    ] == ["20", 19, "P", "30.5", 30]
    await report(service, again, result="filled", fill_id="fill-a", quantity="20")
    return order


async def test_twenty_of_thirty_are_filled_now_and_the_rest_is_owed_and_handed_over(
    service: Unbrokered,
) -> None:
    order = await with_partial(service, "rx-a", expected_on="2026-10-16")
    (package,) = (await service.get("/packages", status="to_verify"))["items"]
    (item,) = package["items"]
    assert (item["quantity"], item["quantity_filled"], item["days_filled"]) == ("30.5", "20", 19)
    await verified(service, package)
    service.clock.set(DUE + timedelta(days=3))
    await handed_over(service, package)
    (rest,) = await owed(service, store="store-1")
    assert (rest["visit_kind"], rest["on"], rest["status"]) == ("owed", "2026-10-16", "filling")
    (line,) = rest["items"]
    assert [line[name] for name in ("quantity", "days_supply", "completes", "expected_on", "due_at")] == [
        "10.5",
        11,
        order["order_id"],
        "2026-10-16",
        "2026-10-16T13:00:00Z",
    ]
    assert await lease(service) == {}

    service.clock.set(datetime.fromisoformat("2026-10-16T13:00:00Z"))
    completion = (await lease(service))["rx-a"]
    assert [
        completion[name]
        for name in ("quantity", "days_supply", "dispensing_status", "intended_quantity", "completes")
    ] == ["10.5", 11, "C", "30.5", "fill-a"]
    package = await report(service, completion, result="filled", fill_id="fill-a2")
    assert (package["package_id"], package["return_on"]) == (rest["package_id"], "2026-10-26")
    await verified(service, package)
    await handed_over(service, package)
    assert await owed(service) == []

    events = await service.published()
    assert names(events) == [
        "StockShort",
        "FillResolved",
        "FillCompleted",
        "PackageReady",
        "PackagePickedUp",
        "FillCompleted",
        "PackageReady",
        "PackagePickedUp",
    ]
    part, completed = events[2], events[5]
    assert isinstance(part, FillCompleted) and isinstance(completed, FillCompleted)
    assert [
        (each.quantity, each.days_supply, each.intended_quantity, each.completes)
        for each in (part, completed)
    ] == [
        (Decimal(20), 19, Decimal("30.5"), None),
        (Decimal("10.5"), 11, Decimal("30.5"), "fill-a"),
    ]
    ready = events[6]
    assert isinstance(ready, PackageReady)
    assert ready.on == date(2026, 10, 16)
    taken = [event.taken[0] for event in events if isinstance(event, PackagePickedUp)]
    assert [
        (each.fill_id, each.quantity, each.days_supply, each.days_supply_billed, each.filled_on)
        for each in taken
    ] == [
        ("fill-a", Decimal(20), 19, 30, date(2026, 10, 11)),
        ("fill-a2", Decimal("10.5"), 11, 0, date(2026, 10, 11)),
    ]
    assert [(each.owed, each.completes) for each in taken] == [(Decimal("10.5"), None), (None, "fill-a")]


async def test_an_owed_rest_without_a_day_waits_until_somebody_says_that_it_is_there(
    service: Unbrokered,
) -> None:
    await with_partial(service, "rx-a")
    service.clock.set(DUE + timedelta(days=2))
    assert await lease(service) == {}
    (rest,) = await owed(service)
    await resolve(service, rest["items"][0], action="resubmit", how="stock_arrived")
    assert [order["completes"] for order in (await lease(service)).values()] == ["fill-a"]


async def test_a_newer_plan_without_the_owed_visit_or_a_leaver_takes_nothing_owed_away(
    service: Unbrokered,
) -> None:
    await with_partial(service, "rx-a")
    await service.handle(planned(2, "rx-b"))
    await service.handle(disenrolled())
    (rest,) = await owed(service)
    assert rest["items"][0]["state"] == "to_fill"
    await service.handle(planned(3, "rx-b", discontinued=("rx-a",)))
    assert await owed(service) == []


async def test_a_partial_fill_that_goes_back_takes_its_rest_along(service: Unbrokered) -> None:
    await with_partial(service, "rx-a")
    (package,) = (await service.get("/packages", status="to_verify"))["items"]
    await verified(service, package)
    service.clock.set(datetime.fromisoformat("2026-10-22T02:00:00Z"))
    await service.do_due()
    events = await service.published()
    assert any(isinstance(event, PackageReturned) for event in events)
    assert await owed(service) == []
    assert [each["status"] for each in await owed(service, status="cancelled")] == ["cancelled"]


async def test_the_rest_may_be_short_again_and_be_filled_in_part(service: Unbrokered) -> None:
    await with_partial(service, "rx-a", expected_on="2026-10-12")
    service.clock.set(MORNING_AFTER)
    rest = (await lease(service))["rx-a"]
    await report(service, rest, result="short", missing="5.5")
    await resolve(service, rest, action="partial", quantity="5")
    await report(service, (await lease(service))["rx-a"], result="filled", fill_id="fill-a2")
    last = next(each for each in await owed(service) if each["status"] == "filling")
    assert (last["items"][0]["quantity"], last["items"][0]["days_supply"]) == ("5.5", 6)
    await resolve(service, last["items"][0], action="resubmit", how="stock_arrived")
    completion = (await lease(service))["rx-a"]
    assert (completion["completes"], completion["intended_quantity"]) == ("fill-a", "30.5")


async def test_an_owed_rest_that_nobody_fetches_is_missed_and_goes_back(service: Unbrokered) -> None:
    await with_partial(service, "rx-a", expected_on="2026-10-16")
    service.clock.set(datetime.fromisoformat("2026-10-16T13:00:00Z"))
    package = await report(service, (await lease(service))["rx-a"], result="filled", fill_id="fill-a2")
    await verified(service, package)
    await service.published()
    for day in (17, 19, 27):
        service.clock.set(datetime.fromisoformat(f"2026-10-{day}T14:00:00Z"))
        await service.do_due()
    said = [event for event in await service.published() if event.visit_id == package["visit_id"]]  # type: ignore[attr-defined]
    assert names(said) == ["PickupMissed", "PickupMissed", "PackageReturned"]
    assert isinstance(said[0], PickupMissed) and said[0].on == date(2026, 10, 16)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"result": "filled", "fill_id": "F1", "quantity": "20"}, "partial_not_agreed"),
        ({"result": "filled", "fill_id": "F1", "quantity": "31"}, "partial_not_agreed"),
    ],
)
async def test_fewer_than_ordered_are_filled_only_as_it_was_resolved(
    service: Unbrokered, result: dict[str, str], code: str
) -> None:
    orders = await with_leased(service, "rx-a")
    assert (await report(service, orders["rx-a"], 422, **result))["code"] == code
    assert await states(service) == {"rx-a": "leased"}


@pytest.mark.parametrize("quantity", ["30.5", "40", "0.5"])
async def test_a_part_is_a_part(service: Unbrokered, quantity: str) -> None:
    orders = await with_leased(service, "rx-a")
    await report(service, orders["rx-a"], result="short", missing="10.5")
    refused = await resolve(service, orders["rx-a"], 422, action="partial", quantity=quantity)
    assert refused["code"] == "not_resolved"


async def test_a_part_that_the_payer_refuses_stays_a_part(service: Unbrokered) -> None:
    order = (await with_leased(service, "rx-a"))["rx-a"]
    await report(service, order, result="short", missing="10.5")
    await resolve(service, order, action="partial", quantity="20", days_supply=20)
    await report(service, (await lease(service))["rx-a"], result="rejected", reject_code="76")
    await resolve(service, order, action="resubmit", how="override", code="02")
    again = (await lease(service))["rx-a"]
    assert (again["quantity"], again["days_supply"], again["dispensing_status"]) == ("20", 20, "P")


async def test_the_same_partial_fill_reported_again_owes_one_rest(service: Unbrokered) -> None:
    order = (await with_leased(service, "rx-a"))["rx-a"]
    await report(service, order, result="short", missing="10.5")
    await resolve(service, order, action="partial", quantity="20")
    again = (await lease(service))["rx-a"]
    for _ in range(2):
        await report(service, again, result="filled", fill_id="fill-a", quantity="20")
    assert len(await owed(service)) == 1
