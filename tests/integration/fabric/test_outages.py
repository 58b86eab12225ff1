"""While the database or the broker is away, work waits, costs no event an attempt, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import LocalStack
from deploy.local.ports import free_port
from shared import database
from shared.events.planner import TOPIC as PLANNER
from tests.integration.fabric.given import Ledger, changed, status
from tests.integration.fabric.outages import PATIENTS, exposed_on, nothing_lost_nothing_blamed, under_load
from tests.running import at_rest, until


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Servers that may be killed."""
    with LocalStack(tmp_path_factory.mktemp("stack"), durable=False, kafka_session_timeout=4) as own:
        yield own


@pytest.fixture
async def exposed(own_stack: LocalStack, tmp_path: Path) -> Ledger:
    """A ledger on servers that may be killed."""
    return await exposed_on(own_stack, tmp_path)


def restart(own: LocalStack) -> None:
    own.postgres.stop()
    own.postgres.start()


def kill(own: LocalStack) -> None:
    own.postgres.kill()
    time.sleep(1)
    own.postgres.start()


def freeze(own: LocalStack) -> None:
    """The server is there and does not answer."""
    assert own.postgres.pid
    pids = [own.postgres.pid, *children(own.postgres.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(5)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("outage", [restart, kill, freeze])
async def test_the_database_goes_away_under_load_and_comes_back(
    own_stack: LocalStack,
    exposed: Ledger,
    outage: Callable[[LocalStack], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "COMMAND_TIMEOUT", 1.0)
    async with exposed.running(relay_lease_seconds=5.0) as client:
        async with under_load(exposed, client) as load:
            await exposed.until_effects(200)
            await asyncio.to_thread(outage, own_stack)
        await at_rest(client)
        assert (await client.get("/ops/ready")).status_code == 200
    await nothing_lost_nothing_blamed(exposed, load)


async def test_the_broker_is_killed_under_load_and_comes_back(own_stack: LocalStack, exposed: Ledger) -> None:
    async with exposed.running() as client:
        async with under_load(exposed, client) as load:
            await exposed.until_effects(200)
            before = len(load.accepted)
            await asyncio.to_thread(own_stack.kafka.kill)
            began = time.monotonic()
            ready = await client.get("/ops/ready")
            assert (ready.status_code, ready.json()["ready"], ready.json()["consuming"]) == (200, True, False)
            assert any("broker" in missing for missing in ready.json()["missing"])
            assert (await client.get("/ops/consuming")).status_code == 503
            assert (await client.get("/ops/status")).status_code == 503
            assert time.monotonic() - began < 15

            async def still_accepted() -> bool:
                return len(load.accepted) > before + 20

            await until(still_accepted, "commands are accepted without a broker")
            await asyncio.to_thread(own_stack.kafka.start)
        await at_rest(client)
    await nothing_lost_nothing_blamed(exposed, load)


async def test_without_its_broker_a_process_starts_stops_in_time_and_goes_on_when_it_is_back(
    own_stack: LocalStack, exposed: Ledger
) -> None:
    async with exposed.process() as process:
        await process.ready()
        await exposed.publish(*[changed(patient, 1) for patient in PATIENTS])
        await exposed.until_effects(len(PATIENTS))
        await asyncio.to_thread(own_stack.kafka.kill)
        await process.client.post("/patients/c/things", json={})
        began = time.monotonic()
        process.process.send(signal.SIGTERM)
        await process.ended()
        assert time.monotonic() - began < 20
    async with exposed.running(wait_ready=False) as client:
        assert (await client.post("/patients/c/things", json={})).status_code == 200
        await asyncio.to_thread(own_stack.kafka.start)

        async def ready() -> bool:
            return (await client.get("/ops/consuming")).status_code == 200

        await until(ready, "the service takes events in once the broker is there")
        await at_rest(client)
        assert (await status(client))["outbox"] == 0
    assert len({dict(one.headers)["ce_id"] for one in await exposed.topic(PLANNER)}) == len(PATIENTS) + 2


async def test_a_long_outage_of_the_broker_leaves_two_producers_behind_and_no_more(
    own_stack: LocalStack, exposed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Producers that are let go of end: else each of them would send what it holds when the broker is back."""
    monkeypatch.setattr("shared.messaging.producers.ANSWER_SECONDS", 0.3)
    async with exposed.running() as client:
        await client.post("/patients/c/things", json={})
        await at_rest(client)
        assert own_stack.kafka.pid
        os.kill(own_stack.kafka.pid, signal.SIGSTOP)
        try:
            for n in range(5):
                await client.post("/patients/c/things", json={"revision": n + 1})
            await asyncio.sleep(5)
        finally:
            os.kill(own_stack.kafka.pid, signal.SIGCONT)
        await at_rest(client)
        senders = [t for t in asyncio.all_tasks() if "_sender_routine" in repr(t.get_coro())]
        assert len(senders) <= 2
    sent = await exposed.topic(PLANNER)
    assert len({dict(one.headers)["ce_id"] for one in sent}) == 6


async def test_of_several_brokers_named_the_one_that_is_there_is_enough(ledger: Ledger) -> None:
    async with replace(ledger, bootstrap=f"127.0.0.1:{free_port()},{ledger.bootstrap}").running() as client:
        assert (await client.post("/patients/c/things", json={})).status_code == 200
        await ledger.publish(changed("p", 1))
        await at_rest(client)
    assert sorted(effect.patient_id for effect in await ledger.effects()) == ["c", "p"]
