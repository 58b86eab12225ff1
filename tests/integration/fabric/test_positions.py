"""Where a service goes on reading is in its database, and moves with what it took in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from deploy.local import Addresses
from shared.database import connect
from shared.events.enrollment import TOPIC
from shared.messaging import tables
from shared.messaging.consumer import LOOK_SECONDS
from shared.messaging.lives import REVISION_BITS
from tests.faults.system import lag_of
from tests.integration.fabric import restores
from tests.integration.fabric.given import Ledger, changed, status
from tests.running import at_rest, record, until

PATIENTS = [f"p{n}" for n in range(40)]


@pytest.fixture
async def copies(stack: Addresses, ledger: Ledger) -> AsyncIterator[str]:
    """The server on which the ledger's database may be copied."""
    yield stack.postgres
    await restores.drop(stack.postgres, ledger)


async def revisions(ledger: Ledger) -> dict[str, list[int]]:
    """What took effect, in order, of each patient; numbers are those within a life of the database."""
    found: dict[str, list[int]] = {patient: [] for patient in PATIENTS}
    for effect in await ledger.effects():
        found[effect.patient_id].append(effect.revision % (1 << REVISION_BITS))
    return found


async def publish(ledger: Ledger, *numbers: int) -> None:
    await ledger.publish(*[changed(patient, n) for n in numbers for patient in PATIENTS])


async def recovered(client: httpx.AsyncClient) -> None:
    """What it published, and lost, it may not say again: until then it takes nothing in."""

    async def answers() -> bool:
        return (await client.post("/ops/recovered", json={})).is_success

    await until(answers, "it is recovered")


async def test_a_restored_database_is_given_again_what_it_forgot(ledger: Ledger, copies: str) -> None:
    await publish(ledger, 1)
    async with ledger.running() as client:
        await at_rest(client)
    restored = await restores.copied(copies, ledger)
    async with ledger.running() as client:
        await publish(ledger, 2)
        await at_rest(client)
    async with restored.running(wait_ready=False) as client:
        await publish(ledger, 3)
        await recovered(client)
        await at_rest(client)
    assert await revisions(restored) == {patient: [1, 2, 3] for patient in PATIENTS}


async def test_a_running_consumer_goes_back_with_its_database(ledger: Ledger, copies: str) -> None:
    await publish(ledger, 1)
    async with ledger.running() as client:
        await at_rest(client)
    standby = await restores.copied(copies, ledger)  # which lacks all that follows
    async with ledger.running() as client:
        await publish(ledger, 2)
        await at_rest(client)
        await restores.fail_over(copies, ledger, standby)
        await recovered(client)

        async def caught_up() -> bool:
            return await revisions(ledger) == {patient: [1, 2] for patient in PATIENTS}

        await until(caught_up, "what the standby lacks is read again, though nothing new comes")
        await publish(ledger, 3)
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2, 3] for patient in PATIENTS}


async def test_a_running_consumer_whose_database_went_back_takes_nothing_before_the_recovery(
    ledger: Ledger, copies: str
) -> None:
    """Though another process has the lease, and has not looked yet."""
    await publish(ledger, 1)
    async with ledger.running() as client:
        assert (await client.post("/patients/p0/things", json={"revision": 1})).is_success
        await at_rest(client)
    standby = await restores.copied(copies, ledger)
    before = len(await ledger.effects())
    async with ledger.running() as client:
        await publish(ledger, 2)
        assert (await client.post("/patients/p0/things", json={"revision": 2})).is_success
        await at_rest(client)
        await standby.sql(restores.LED_BY_ANOTHER)
        await restores.fail_over(copies, ledger, standby)
        await publish(ledger, 3)
        await asyncio.sleep(LOOK_SECONDS + 2)
        assert len(await ledger.effects()) == before
        await recovered(client)
        await ledger.until_effects(before + 2 * len(PATIENTS))


async def test_a_process_that_was_overtaken_changes_nothing(ledger: Ledger) -> None:
    """Not even where the inbox has forgotten what the other one took in."""
    await publish(ledger, 1)
    async with ledger.process(slot=1, crash_at="intake.received:1:stop") as overtaken:
        await overtaken.frozen()
        async with ledger.running(slot=2) as client:
            await publish(ledger, 2)
            await at_rest(client)
            await ledger.sql("delete from fabric.inbox")
            overtaken.wake()

            async def displaced() -> bool:
                return "consumer.displaced" in overtaken.said()

            await until(displaced, "the process that slept sees that another went on")
            await publish(ledger, 3)
            await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2, 3] for patient in PATIENTS}


async def test_no_record_is_given_twice_to_a_group_that_grows_and_shrinks(ledger: Ledger) -> None:
    """Which Kafka's own offsets would not tell: they are said to be at the beginning."""
    await publish(ledger, *range(1, 6))
    tallies: list[dict[str, Any]] = []
    async with ledger.running(slot=0) as client:
        await at_rest(client)
        async with ledger.running(slot=1) as other:
            await publish(ledger, *range(6, 11))
            await at_rest(client)
            tallies.append((await status(other))["tally"])
        await publish(ledger, 11)
        await at_rest(client)
        tallies.append((await status(client))["tally"])
    assert sum(tally["taken"] for tally in tallies) == 11 * len(PATIENTS)
    assert sum(tally["repeated"] for tally in tallies) == 0
    assert await revisions(ledger) == {patient: [*range(1, 12)] for patient in PATIENTS}


async def test_what_transactions_leave_in_a_topic_is_passed_over(ledger: Ledger) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=ledger.bootstrap, transactional_id=f"{ledger.prefix}t")
    await producer.start()
    try:
        for number, how in enumerate(("commit", "abort", "commit", "abort"), 1):
            await producer.begin_transaction()
            for patient in PATIENTS:
                await producer.send(ledger.prefix + TOPIC, **record(changed(patient, number)))
            await getattr(producer, f"{how}_transaction")()
    finally:
        await producer.stop()
    async with ledger.running() as client:
        await at_rest(client)
        assert (await status(client))["lag"] == 0
    async with ledger.running() as client:
        await publish(ledger, 5)
        await at_rest(client)
        assert (await status(client))["tally"]["repeated"] == 0
    assert await revisions(ledger) == {patient: [1, 3, 5] for patient in PATIENTS}


async def test_an_upgrade_goes_on_where_kafka_says_that_it_was(ledger: Ledger) -> None:
    await publish(ledger, 1)
    async with ledger.running() as client:
        await at_rest(client)
    await ledger.sql("delete from fabric.positions")
    await ledger.sql("delete from fabric.topics")
    await publish(ledger, 2)
    async with ledger.running() as client:
        await at_rest(client)
        assert (await status(client))["tally"]["repeated"] == 0
    assert await revisions(ledger) == {patient: [1, 2] for patient in PATIENTS}


async def test_an_empty_database_begins_at_the_beginning_whatever_kafka_says(ledger: Ledger) -> None:
    await publish(ledger, 1)
    async with ledger.running() as client:
        await at_rest(client)
    for table in ("positions", "topics", "inbox"):
        await ledger.sql(f"delete from fabric.{table}")
    await ledger.sql("delete from effects")
    async with ledger.running() as client:
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1] for patient in PATIENTS}


async def test_moves_that_lie_behind_are_swept_away(ledger: Ledger) -> None:
    async with ledger.running() as client:
        for number in range(1, 4):
            await publish(ledger, number)
            await at_rest(client)
        db = await connect(ledger.database_url, name="test")
        try:
            before = await tables.positions(db)
            await tables.sweep_positions(db)
            assert await tables.positions(db) == before
        finally:
            await db.close()
        assert await ledger.count("fabric.positions") == len(before)
        await publish(ledger, 4)
        await at_rest(client)
    assert await revisions(ledger) == {patient: [1, 2, 3, 4] for patient in PATIENTS}


async def test_what_kafka_did_not_take_of_the_position_it_is_told_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else comes that would tell it: tools that look at lag there would show some for ever."""
    commit = AIOKafkaConsumer.commit

    async def refuses(self: AIOKafkaConsumer, offsets: Any) -> None:
        raise KafkaConnectionError

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refuses)
    async with ledger.running() as client:
        await publish(ledger, 1)
        await at_rest(client)

        async def left() -> int:
            return await lag_of(ledger.bootstrap, f"{ledger.prefix}medsync-ledger", [ledger.prefix + TOPIC])

        assert await left() == len(PATIENTS)
        monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)

        async def told() -> bool:
            return await left() == 0

        await until(told, "Kafka knows the position", seconds=3 * LOOK_SECONDS)
