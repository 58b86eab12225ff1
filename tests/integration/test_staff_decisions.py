"""What staff decide takes effect: in the plan, and where a visit was confirmed, at the bench and at the counter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from deploy.local import Addresses
from services.fulfillment.app import create_app as fulfillment_app
from services.fulfillment.settings import Settings as FulfillmentSettings
from services.planner import store
from services.planner.app import create_app as planner_app
from services.planner.settings import Settings as PlannerSettings
from shared.clock import SteppedClock
from shared.events.enrollment import DisenrolmentReason, PatientDisenrolled
from shared.events.fulfillment import PackagePickedUp
from shared.events.planner import ExclusionsChanged, PlanComputed, Visit
from shared.messaging import Caller, Unit
from shared.messaging.topics import create_topics
from tests.integration.test_planner import (
    NOW,
    TODAY,
    Service,
    agreed,
    command,
    confirmed,
    enrolled,
    in_days,
    only,
    proposed,
    service,
    store_changed,
)
from tests.running import SEALING_KEY, at_rest, everything_on, publish, running

__all__ = ["proposed", "service"]  # fixtures

RULINGS = "/plans/p1/rulings"
EXCLUDE = {"kind": "exclude", "rx_id": "rx-a", "why": "severe interaction"}


async def with_confirmed_visits(service: Service) -> PlanComputed:
    """An agreed plan: a bridge with rx-a, the pickup with both; the patient confirmed all."""
    proposal = PlanComputed.model_validate((await service.get("/plans/p1"))["plan"])
    plan = only(await service.handle(agreed(proposal)), PlanComputed)
    for visit in plan.visits:
        await service.handle(confirmed(plan, visit))
    return plan


@pytest.fixture
async def due(proposed: Service) -> Visit:
    """The day of the bridge, which was confirmed, has come."""
    visit = (await with_confirmed_visits(proposed)).visits[0]
    assert await proposed.on_day((visit.on - TODAY).days) == []
    return visit


async def test_an_exclusion_counts_on_the_visit_s_own_day_and_what_follows_is_planned_anew(
    proposed: Service, due: Visit
) -> None:
    await command(proposed, RULINGS, EXCLUDE)
    told, plan = await proposed.published()
    assert isinstance(told, ExclusionsChanged) and [each.rx_id for each in told.excluded] == ["rx-a"]
    assert isinstance(plan, PlanComputed) and "rx-a" not in {
        item.rx_id for visit in plan.visits for item in visit.items
    }


async def test_an_exclusion_counts_for_a_visit_whose_day_is_over_and_nothing_is_planned_anew(
    proposed: Service, due: Visit
) -> None:
    await proposed.on_day((due.on - TODAY).days + 1)
    answer = await command(proposed, RULINGS, EXCLUDE)
    told = only(await proposed.published(), ExclusionsChanged)
    assert (told.revision, [each.rx_id for each in told.excluded]) == (1, ["rx-a"])
    assert told.excluded[0].reason.code == "staff_excluded"
    assert "interaction" not in told.model_dump_json()
    assert answer["words"][0].startswith("Out of every visit, confirmed ones too")
    assert answer["words"][1].startswith("Plans change after the visit on Mon 3/9 is picked up or closed")

    await command(proposed, f"{RULINGS}/{answer['ruling_id']}/take-back", {})
    told = only(await proposed.published(), ExclusionsChanged)
    assert (told.revision, told.excluded) == (2, ())


async def test_an_exclusion_said_twice_is_published_once_and_ends_when_the_drug_is_included(
    proposed: Service,
) -> None:
    await command(proposed, RULINGS, EXCLUDE)
    await command(proposed, RULINGS, EXCLUDE)
    assert [type(event) for event in await proposed.published()] == [ExclusionsChanged, PlanComputed]
    await command(proposed, RULINGS, {**EXCLUDE, "kind": "include"})
    told, _ = await proposed.published()
    assert isinstance(told, ExclusionsChanged) and (told.revision, told.excluded) == (2, ())


async def test_what_was_excluded_is_forgotten_when_the_patient_leaves(proposed: Service) -> None:
    await command(proposed, RULINGS, EXCLUDE)
    await proposed.published()
    left = PatientDisenrolled(patient_id="p1", revision=2, reason=DisenrolmentReason.revoked)
    told = (await proposed.handle(left))[-1]
    assert isinstance(told, ExclusionsChanged) and (told.revision, told.excluded) == (2, ())


async def test_a_new_subscriber_is_told_of_exclusions_after_the_plan(proposed: Service) -> None:
    await command(proposed, RULINGS, EXCLUDE)
    told = await proposed.published()
    await proposed.work.command(Caller("ops", "system"), (), _republish)
    again = await proposed.published()
    assert [type(event) for event in again] == [PlanComputed, ExclusionsChanged]
    assert again == told[::-1]


async def _republish(unit: Unit) -> None:
    unit.emit(await store.current_state(unit.db, patient="p1", store=None, after="", limit=10))


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "quantity", "rx_id": "rx-b", "quantity": 10},
        {"kind": "fill", "rx_id": "rx-b"},
    ],
    ids=lambda said: said["kind"],
)
async def test_what_a_confirmed_pickup_would_swallow_is_refused(
    proposed: Service, said: dict[str, Any]
) -> None:
    await with_confirmed_visits(proposed)
    answer = await command(proposed, RULINGS, {"why": "because", **said}, answered=409)
    assert answer["code"] == "decision_pickup_confirmed"
    assert answer["detail"].startswith("The pickup on Sun 3/29 is confirmed")
    assert (await proposed.get(RULINGS))["rulings"] == []


async def test_a_quantity_that_the_patient_confirmed_is_not_revoked_without_effect(proposed: Service) -> None:
    ruled = await command(
        proposed, RULINGS, {"kind": "quantity", "rx_id": "rx-b", "quantity": 10, "why": "enough"}
    )
    await proposed.published()
    await with_confirmed_visits(proposed)
    path = f"{RULINGS}/{ruled['ruling_id']}/take-back"
    assert (await command(proposed, path, {}, answered=409))["code"] == "decision_pickup_confirmed"


async def test_a_hold_of_a_drug_that_is_due_today_is_refused_and_of_another_counts_later(
    proposed: Service, due: Visit
) -> None:
    hold = {"kind": "hold", "on": (due.on + timedelta(days=3)).isoformat(), "why": "because"}
    refused = await command(proposed, RULINGS, {**hold, "rx_id": "rx-a"}, role="clerk", answered=409)
    assert refused["code"] == "decision_hold_too_late"
    taken = await command(proposed, RULINGS, {**hold, "rx_id": "rx-b"}, role="clerk")
    assert [words[:12] for words in taken["words"]] == ["Plans change"]


async def test_a_day_set_against_a_confirmed_pickup_moves_it_and_the_answer_says_so(
    proposed: Service,
) -> None:
    pickup = (await with_confirmed_visits(proposed)).visits[-1]
    day = {"kind": "day", "on": (pickup.on + timedelta(days=3)).isoformat(), "why": "because"}
    answer = await command(proposed, RULINGS, day, role="clerk")
    assert answer["words"][0].startswith("The pickup on Sun 3/29 was confirmed. The patient is asked again")
    assert only(await proposed.published(), PlanComputed).anchor_on == pickup.on + timedelta(days=3)


# ---- who may revoke ----


@pytest.mark.parametrize("role", ["clerk", "technician"])
async def test_what_a_pharmacist_alone_decides_a_pharmacist_alone_revokes(
    proposed: Service, role: str
) -> None:
    ruled = await command(proposed, RULINGS, EXCLUDE)
    await proposed.published()
    path = f"{RULINGS}/{ruled['ruling_id']}/take-back"
    refused = await command(proposed, path, {}, role=role, answered=403)
    assert refused["detail"] == f"only pharmacist may do this; you act as {role}"
    assert await proposed.published() == []
    [kept] = (await proposed.get(RULINGS))["rulings"]
    assert kept["taken_back_at"] is None


# ---- bounds ----


@pytest.mark.parametrize(
    ("path", "said", "status", "detail"),
    [
        (RULINGS, {"kind": "day", "on": in_days(401).isoformat()}, 422, "too far ahead; give 2027-04-06"),
        (RULINGS, {"kind": "day", "on": "2026-03-20", "onn": 1}, 400, "onn: Extra inputs are not permitted"),
        (RULINGS, {"kind": "day", "on": 20532}, 400, "on: is not a valid date: use YYYY-MM-DD, for example 2026-03-02"),
        (RULINGS, {"kind": "day", "on": "2026-03-20T00:00:00"}, 400, "is not a valid date"),
        (RULINGS, {"kind": "quantity", "rx_id": "rx-a", "quantity": True}, 400, "quantity: is not a number"),
        (RULINGS, {"kind": "quantity", "rx_id": "rx-a", "quantity": "1e5000"}, 400, "quantity"),
        (RULINGS, {"kind": "exclude", "rx_id": "rx-a", "why": "a\u0000b"}, 400, "why: has control"),
        (RULINGS, {"kind": "exclude", "rx_id": "a\nb"}, 400, "rx_id"),
        ("/plans/replan", {"limit": "100"}, 400, "limit"),
        ("/plans/replan", {"limit": 501}, 400, "limit"),
        ("/plans/replan", {"dry_run": "yes"}, 400, "dry_run"),
        ("/plans/replan", {"stores": "s1"}, 400, "stores: Extra inputs are not permitted"),
    ],
)  # fmt: skip
async def test_commands_are_bounded_and_strict(
    proposed: Service, path: str, said: dict[str, Any], status: int, detail: str
) -> None:
    body = {"why": "because", **said} if path == RULINGS else said
    assert detail in (await command(proposed, path, body, answered=status))["detail"]


# ---- the whole path ----


class Chain:
    """The planner and fulfillment on one broker, at one clock."""

    def __init__(
        self, planner: httpx.AsyncClient, fulfillment: httpx.AsyncClient, kafka: str, prefix: str
    ) -> None:
        self.planner, self.fulfillment, self._kafka, self._prefix = planner, fulfillment, kafka, prefix

    async def tell(self, *events: Any) -> None:
        await publish(self._kafka, events, prefix=self._prefix)
        await self.rest()

    async def rest(self) -> None:
        await at_rest(self.planner, self.fulfillment)

    async def plan(self) -> PlanComputed:
        return PlanComputed.model_validate((await self.planner.get("/plans/p1")).json()["plan"])

    async def send(self, client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
        answer = await client.post(path, json=body)
        assert answer.is_success, answer.text
        await self.rest()
        return dict(answer.json())

    async def exclude(self, rx_id: str) -> dict[str, Any]:
        return await self.send(self.planner, RULINGS, **{**EXCLUDE, "rx_id": rx_id})

    async def fill(self) -> set[str]:
        """What is due is leased, and filled; says which prescriptions."""
        leased = (await self.send(self.fulfillment, "/fill-orders/lease", worker="robot"))["orders"]
        for order in leased:
            done = {"lease_id": order["lease_id"], "result": "filled", "fill_id": f"fill-{order['order_id']}"}
            await self.send(self.fulfillment, f"/fill-orders/{order['order_id']}/result", **done)
        return {order["rx_id"] for order in leased}

    async def package(self, visit: Visit) -> dict[str, Any]:
        found = (await self.fulfillment.get("/packages", params={"on": str(visit.on)})).json()["items"]
        return dict(*found)


def states(package: dict[str, Any]) -> dict[str, str]:
    return {each["rx_id"]: f"{each['state']} {each['why'] or ''}".strip() for each in package["items"]}


async def test_over_kafka_what_a_pharmacist_excludes_is_neither_filled_nor_handed_over(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    clock, prefix = SteppedClock(tmp_path / "clock"), f"{unique_name}."
    clock.set(NOW)
    await create_topics(stack.kafka, 2, prefix=prefix)
    common: dict[str, Any] = {
        "kafka_bootstrap": stack.kafka,
        "sealing_key": SecretStr(SEALING_KEY),
        "clock_file": clock.path,
        "topic_prefix": prefix,
    }
    planning = PlannerSettings(database_url=await asyncio.to_thread(fresh_database, "planner"), **common)
    filling = FulfillmentSettings(
        database_url=await asyncio.to_thread(fresh_database, "fulfillment"), **common
    )
    async with running(planner_app(planning)) as planner, running(fulfillment_app(filling)) as fulfillment:
        chain = Chain(planner, fulfillment, stack.kafka, prefix)
        await chain.tell(store_changed(), enrolled())
        await chain.tell(agreed(await chain.plan()))
        plan = await chain.plan()
        bridge, pickup = plan.visits

        # the pickup is ready when a pharmacist sees that one of its drugs must not be taken
        await chain.tell(confirmed(plan, pickup))
        clock.set(NOW + timedelta(days=(pickup.on - TODAY).days - 1))
        await chain.rest()
        assert await chain.fill() == {"rx-a", "rx-b"}
        ready = await chain.package(pickup)
        path = f"/packages/{ready['package_id']}"
        await chain.send(fulfillment, f"{path}/verification", licence="RPH-1")
        assert (await chain.package(pickup))["status"] == "ready"

        await chain.exclude("rx-b")
        waiting = await chain.package(pickup)
        assert (waiting["status"], states(waiting)) == (
            "to_verify",
            {"rx-a": "filled", "rx-b": "withheld excluded"},
        )
        assert [each["because"] for each in waiting["items"]] == [
            None,
            "A pharmacist excluded it after it was confirmed.",
        ]
        refused = await fulfillment.post(f"{path}/hand-over", json={"identifiers": ["name", "birth_date"]})
        assert refused.status_code == 409
        await chain.send(fulfillment, f"{path}/verification", licence="RPH-1")
        await chain.send(fulfillment, f"{path}/hand-over", identifiers=["name", "birth_date"])

        # the other is excluded before the answer about a later visit arrives: it was read out from an older plan
        [later] = [visit for visit in plan.visits if visit is bridge]
        await chain.exclude("rx-a")
        stale = confirmed(plan, later).model_copy(
            update={"visit_id": "later", "on": pickup.on + timedelta(30)}
        )
        await chain.tell(stale)
        cancelled = await chain.package(later.model_copy(update={"on": pickup.on + timedelta(30)}))
        assert (cancelled["status"], states(cancelled)) == ("cancelled", {"rx-a": "cancelled excluded"})
        assert (await chain.package(pickup))["status"] == "picked_up", (
            "what was handed over is not called back"
        )

    taken = [
        PackagePickedUp.model_validate_json(each.value or b"")
        for each in await everything_on(stack.kafka, f"{prefix}{PackagePickedUp.TOPIC}")
        if dict(each.headers)["ce_type"].decode() == PackagePickedUp.TYPE
    ]
    assert [[(item.rx_id, item.quantity) for item in each.taken] for each in taken] == [
        [("rx-a", Decimal(30))]
    ]
