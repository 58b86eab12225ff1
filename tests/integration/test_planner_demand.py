"""The planner against a real PostgreSQL and Kafka: what a store's shelf has to hold, told to whoever replenishes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from deploy.local import Addresses
from services.planner import jobs, store
from services.planner.app import create_app
from services.planner.settings import Settings
from shared.clock import SteppedClock
from shared.events.enrollment import Drug, PatientEnrolled, Prescription
from shared.events.outreach import PickupDeclined
from shared.events.planner import DEMAND_TOPIC, DayDemand, DemandForecast, PlanComputed, Visit
from shared.messaging.topics import create_topics
from shared.messaging.unit import Cause
from tests.integration.test_planner import (
    NOW,
    TODAY,
    Service,
    agreed,
    command,
    confirmed,
    enrolled,
    fill,
    in_days,
    only,
    prescription,
    service,
    store_changed,
)
from tests.running import SEALING_KEY, at_rest, everything_on, publish, running, until

__all__ = ["service"]  # a fixture

SIX = datetime(2026, 3, 3, 11, tzinfo=UTC)  # in New York, the next morning


def coded(name: str) -> Prescription:
    drug = Drug(code=f"code-{name}", name=f"{name} tablets", ingredient=name, strength="10 mg", form="tablet")
    return prescription(name, drug=drug)


def patient(patient_id: str) -> PatientEnrolled:
    """a runs out in 8 days, b in 16."""
    return enrolled(
        patient_id, prescriptions=(coded("a"), coded("b")), fills=(fill("a", -22), fill("b", -14))
    )


@pytest.fixture
async def planned(service: Service) -> PlanComputed:
    """Two patients of one store, on the same two drugs and with the same plan: a short fill of a, and both on the 15th
    day, as staff decided."""
    await service.handle(store_changed())
    await service.do_due()
    on_the_15th = {"kind": "day", "on": in_days(15).isoformat(), "why": "because"}
    for patient_id in ("p2", "p1"):
        await service.handle(patient(patient_id))
        await command(service, f"/plans/{patient_id}/rulings", on_the_15th)
        plan = only(await service.published(), PlanComputed)
    return plan


async def told(service: Service, at: datetime) -> list[DemandForecast]:
    """What is told of stores once it is this late."""
    service.clock.set(at)
    await service.do_due()
    return [event for event in await service.published(DEMAND_TOPIC) if isinstance(event, DemandForecast)]


def filled_on(visit: Visit, rx_id: str) -> date:
    """The day of the step that fills it."""
    [day] = [step.on for step in visit.steps if step.code == "fill" and rx_id in (step.rx_ids or (rx_id,))]
    return day


async def test_a_forecast_counts_units_by_drug_and_by_the_day_of_the_fill(
    service: Service, planned: PlanComputed
) -> None:
    bridge, sync = planned.visits
    [forecast] = await told(service, SIX)
    assert (forecast.store_id, forecast.revision) == ("s1", 1)
    assert (forecast.first_on, forecast.last_on) == (in_days(1), in_days(14))
    quantity = {item.rx_id: item.quantity for item in bridge.items}
    assert {
        (drug.code, day.on): (day.quantity, day.confirmed, day.fills, day.patients)
        for drug in forecast.drugs
        for day in drug.days
    } == {
        ("code-a", filled_on(bridge, "rx-a")): (2 * quantity["rx-a"], 0, 2, 2),
        ("code-a", filled_on(sync, "rx-a")): (60, 0, 2, 2),
        ("code-b", filled_on(sync, "rx-b")): (60, 0, 2, 2),
    }
    assert [drug.drug_name for drug in forecast.drugs] == ["a tablets", "b tablets"]
    assert "p1" not in forecast.model_dump_json()
    assert "rx-a" not in forecast.model_dump_json()


async def test_it_is_told_once_a_day_at_six_there_and_only_where_it_changed(
    service: Service, planned: PlanComputed
) -> None:
    assert await told(service, SIX - timedelta(minutes=1)) == []
    assert [each.revision for each in await told(service, SIX)] == [1]
    assert await told(service, SIX + timedelta(hours=1)) == []
    assert await told(service, SIX + timedelta(days=1)) == [], "nothing new since yesterday"
    bridge = planned.visits[0]
    await service.handle(
        PickupDeclined(
            patient_id="p1",
            plan_id=planned.plan_id,
            plan_revision=planned.revision,
            visit_id=bridge.visit_id,
            on=bridge.on,
        )
    )
    assert await told(service, SIX + timedelta(days=1, hours=1)) == [], "not before the next morning"
    [forecast] = await told(service, SIX + timedelta(days=2))
    assert (forecast.revision, forecast.first_on) == (2, in_days(3))


async def test_days_on_which_nobody_asked_are_not_told_afterwards(
    service: Service, planned: PlanComputed
) -> None:
    """After a week without the service there is one forecast, as of now; the next comes the next morning."""
    assert len(await told(service, SIX + timedelta(days=3, hours=5))) == 1
    async with service.work.read() as db:
        assert await db.fetchval("select forecast_due_at from stores") == SIX + timedelta(days=4)


async def test_a_fill_that_nobody_confirmed_is_still_to_come_and_a_confirmed_one_is_made_on_its_day(
    service: Service, planned: PlanComputed
) -> None:
    """Also where its day has passed: who confirms late has it filled at once."""
    plan = only(await service.handle(agreed(planned)), PlanComputed)
    bridge = plan.visits[0]
    await service.handle(confirmed(plan, bridge))
    [before] = await told(service, SIX)
    [item] = bridge.items
    assert before.drugs[0].days[0].confirmed == item.quantity
    days_after = (bridge.on - TODAY).days - 1
    [after] = await told(service, SIX + timedelta(days=days_after))
    assert after.drugs[0].days[0] == DayDemand(
        on=after.first_on, quantity=item.quantity, confirmed=Decimal(0), fills=1, patients=1
    )


async def test_a_telling_that_is_cut_off_is_neither_lost_nor_doubled(
    service: Service, planned: PlanComputed
) -> None:
    service.clock.set(SIX)
    with pytest.raises(ConnectionError):
        async with service.work.begin((), cause=Cause("test", "test")) as unit:
            await jobs.publish_demand(["s1"], unit)
            assert unit.emitted
            raise ConnectionError
    assert await service.published(DEMAND_TOPIC) == []
    assert [each.revision for each in await told(service, SIX)] == [1]
    assert await told(service, SIX) == []


async def test_many_stores_are_told_of_a_few_at_a_time(service: Service) -> None:
    stores = [f"s{number}" for number in range(25)]
    await service.handle(*[store_changed(store_id=store_id) for store_id in stores])
    service.clock.set(SIX)
    turns = 0
    while True:
        async with service.work.begin((), cause=Cause("test", "test")) as unit:
            found = await service.work.free_owners(unit, "due_forecasts", 500, "store")
            if not found:
                break
            await jobs.publish_demand(found, unit)
            turns += 1
    assert turns == 5
    assert await service.published(DEMAND_TOPIC) == [], "there is nothing to tell of a store without patients"


async def test_what_was_told_last_is_republished_with_its_revision(
    service: Service, planned: PlanComputed
) -> None:
    [forecast] = await told(service, SIX)
    async with service.work.read() as db:
        of_all = await store.current_state(db, patient=None, store=None, after="", limit=10)
        of_patient = await store.current_state(db, patient="p1", store=None, after="", limit=10)
        of_store = await store.current_state(db, patient=None, store="s1", after="p2", limit=10)
    assert [type(event) for event in of_all] == [PlanComputed, PlanComputed, DemandForecast]
    assert [event.key for event in of_patient] == ["p1"]
    assert of_store == [forecast]


async def test_over_kafka_it_is_the_stores_newest_record_of_a_topic_of_its_own(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    clock, prefix = SteppedClock(tmp_path / "clock"), f"{unique_name}."
    clock.set(NOW)
    await create_topics(stack.kafka, 2, prefix=prefix)
    settings = Settings(
        database_url=await asyncio.to_thread(fresh_database, "planner"),
        kafka_bootstrap=stack.kafka,
        sealing_key=SEALING_KEY,
        clock_file=clock.path,
        topic_prefix=prefix,
    )
    async with running(create_app(settings)) as http:
        await publish(stack.kafka, [store_changed(), patient("p1")], prefix=prefix)

        async def due() -> bool:
            said = (await http.get("/ops/status")).json()
            return bool(said["next_due"] == SIX.isoformat().replace("+00:00", "Z"))

        await until(due, "the forecast is due at six")
        clock.set(SIX)
        await at_rest(http)
    [record] = await everything_on(stack.kafka, prefix + DEMAND_TOPIC)
    forecast = DemandForecast.model_validate_json(record.value)
    assert (record.key, [drug.code for drug in forecast.drugs]) == (b"s1", ["code-a", "code-b"])
