"""Events that a service should have read and cannot are a gap: its topic waits, and says so, until one accepts it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.events.enrollment import TOPIC
from shared.events.outreach import TOPIC as OUTREACH
from shared.messaging.topics import create_topics
from tests.integration.fabric.given import Ledger, changed, confirmed
from tests.running import at_rest, until

PATIENTS = [f"p{n}" for n in range(20)]


@pytest.fixture
async def admin(ledger: Ledger) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=ledger.bootstrap)
    await client.start()
    yield client
    await client.close()


async def publish(ledger: Ledger, revision: int) -> None:
    await ledger.publish(*[changed(patient, revision) for patient in PATIENTS])


async def revisions(ledger: Ledger, kind: str = "changed") -> dict[str, list[int]]:
    found: dict[str, list[int]] = {patient: [] for patient in PATIENTS}
    for effect in await ledger.effects():
        if effect.kind == kind:
            found[effect.patient_id].append(effect.revision)
    return found


async def gaps(client: httpx.AsyncClient, number: int = 1) -> list[dict[str, Any]]:
    """Wait until there are so many."""

    async def told() -> Any:
        items = (await client.get("/ops/gaps")).json()["items"]
        return items if len(items) >= number else None

    return await until(told, f"{number} gaps are told")


async def accept(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/ops/gaps/{TOPIC}/accept")
    assert (answer.status_code, answer.json()) == (200, {"accepted": TOPIC})
    assert (await client.get("/ops/gaps")).json() == {"items": []}


async def forget_records(ledger: Ledger, admin: AIOKafkaAdminClient) -> None:
    """The broker forgets all that stands on the topic now, as when its retention has passed."""
    consumer = AIOKafkaConsumer(bootstrap_servers=ledger.bootstrap)
    await consumer.start()
    try:
        places = [TopicPartition(ledger.prefix + TOPIC, p) for p in range(4)]
        ends = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    await admin.delete_records({tp: RecordsToDelete(before_offset=end) for tp, end in ends.items()})


async def other_topics_go_on(ledger: Ledger) -> None:
    await ledger.publish(*[confirmed(patient, 1) for patient in PATIENTS])

    async def taken() -> bool:
        return await revisions(ledger, "confirmed") == {patient: [1] for patient in PATIENTS}

    await until(taken, "the other topic is read")


async def test_records_that_retention_took_are_told_and_wait_for_a_person(
    ledger: Ledger, admin: AIOKafkaAdminClient
) -> None:
    await publish(ledger, 1)
    async with ledger.running() as client:
        await at_rest(client)
    await publish(ledger, 2)
    await forget_records(ledger, admin)
    await publish(ledger, 3)
    async with ledger.running(wait_ready=False) as client:
        told = await gaps(client, 4)
        assert {(gap["topic"], gap["why"]) for gap in told} == {(TOPIC, "records_gone")}
        assert [gap["partition"] for gap in told] == [0, 1, 2, 3]
        for gap in told:
            assert gap["missing"] == (
                f"partition {gap['partition']} begins at {gap['found']}: what stood at {gap['expected']} is gone"
            )
        consuming = await client.get("/ops/consuming")
        assert consuming.status_code == 503
        assert f"medsync gaps accept ledger {TOPIC}" in consuming.json()["missing"][0]
        assert consuming.json()["missing"][0] in (await client.get("/ops/ready")).json()["missing"]
        assert f'medsync_gaps{{topic="{TOPIC}"}} 4.0' in (await client.get("/metrics")).text
        await other_topics_go_on(ledger)
        assert await revisions(ledger) == {patient: [1] for patient in PATIENTS}
        await accept(client)
        await at_rest(client)
        assert (await client.get("/ops/consuming")).status_code == 200
    assert await revisions(ledger) == {patient: [1, 3] for patient in PATIENTS}
    assert {row["accepted_by"] for row in await ledger.sql("select * from fabric.gaps")} == {"staff-1"}


async def test_a_database_that_goes_back_behind_what_the_topic_still_has_is_told(
    ledger: Ledger, admin: AIOKafkaAdminClient
) -> None:
    async with ledger.running() as client:
        await publish(ledger, 1)
        await at_rest(client)
        await forget_records(ledger, admin)
        await ledger.read_again()
        assert {gap["why"] for gap in await gaps(client, 4)} == {"records_gone"}
        await accept(client)
        await publish(ledger, 2)
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2] for patient in PATIENTS}


async def test_a_topic_that_is_made_anew_is_told_while_the_service_runs(
    ledger: Ledger, admin: AIOKafkaAdminClient
) -> None:
    async with ledger.running() as client:
        await publish(ledger, 1)
        await at_rest(client)
        await admin.delete_topics([ledger.prefix + TOPIC])

        async def made() -> bool:
            return bool(await create_topics(ledger.bootstrap, 4, prefix=ledger.prefix, topics=[TOPIC]))

        await until(made, "the topic is made anew")
        await publish(ledger, 2)
        (gap,) = await gaps(client)
        assert (gap["why"], gap["partition"]) == ("topic_replaced", None)
        await other_topics_go_on(ledger)
        assert await revisions(ledger) == {patient: [1] for patient in PATIENTS}
        await accept(client)
        await at_rest(client)
        await publish(ledger, 3)
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2, 3] for patient in PATIENTS}


async def test_partitions_that_are_added_are_told(ledger: Ledger, admin: AIOKafkaAdminClient) -> None:
    await publish(ledger, 1)
    async with ledger.running() as client:
        await at_rest(client)
        await admin.create_partitions({ledger.prefix + TOPIC: NewPartitions(total_count=6)})
        (gap,) = await gaps(client)
        assert (gap["why"], gap["expected"], gap["found"]) == ("partitions_changed", "4", "6")
    await publish(ledger, 2)
    async with ledger.running(wait_ready=False) as client:
        await other_topics_go_on(ledger)
        assert await revisions(ledger) == {patient: [1] for patient in PATIENTS}
        await accept(client)
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2] for patient in PATIENTS}
    assert await ledger.count(f"fabric.topics where topic = '{TOPIC}' and partitions = 6") == 1


@pytest.mark.slow
async def test_partitions_that_were_added_and_accepted_are_read_by_processes_that_go_on(
    ledger: Ledger, admin: AIOKafkaAdminClient
) -> None:
    """The group shares them out once its leader knows of them."""
    async with ledger.running() as client:
        await publish(ledger, 1)
        await at_rest(client)
        await admin.create_partitions({ledger.prefix + TOPIC: NewPartitions(total_count=6)})
        await gaps(client)
        await accept(client)
        await publish(ledger, 2)

        async def all_are_read() -> bool:
            return await revisions(ledger) == {patient: [1, 2] for patient in PATIENTS}

        await until(all_are_read, "the added partitions are read", seconds=30)
        assert (await client.get("/ops/consuming")).status_code == 200


@pytest.mark.parametrize(
    ("config", "why"),
    [({"retention.ms": "60000"}, "retention_shortened"), ({"cleanup.policy": "compact"}, "cleanup_changed")],
)
async def test_a_topic_that_keeps_less_than_it_did_is_told(
    ledger: Ledger, admin: AIOKafkaAdminClient, config: dict[str, str], why: str
) -> None:
    async with ledger.running() as client:
        await publish(ledger, 1)
        await at_rest(client)
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, ledger.prefix + TOPIC, config)])
        (gap,) = await gaps(client)
        assert (gap["why"], gap["found"]) == (why, *config.values())
        await accept(client)
        await publish(ledger, 2)
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2] for patient in PATIENTS}


async def test_what_is_not_missing_cannot_be_accepted(ledger: Ledger) -> None:
    async with ledger.running() as client:
        answer = await client.post(f"/ops/gaps/{OUTREACH}/accept")
    assert (answer.status_code, answer.json()["title"]) == (404, "No such gap")
