"""While the database or the broker is away, work waits, costs no event an attempt, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local import LocalStack
from deploy.local.ports import free_port
from deploy.local.sql import on_server
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


async def test_a_statement_that_crashes_the_database_becomes_a_letter_and_nobody_else_s_event_does(
    own_stack: LocalStack, exposed: Ledger, tmp_path: Path
) -> None:
    """The server ends everybody's connections each time, and goes on."""
    bystander = await exposed_on(own_stack, tmp_path)
    hows = {f"p{n}": "crash" if n == 7 else "well" for n in range(20)}
    async with exposed.running() as client, bystander.running() as other:
        async with under_load(bystander, other) as load:
            await bystander.until_effects(200)
            await exposed.publish(*[changed(patient, 1, how) for patient, how in hows.items()])
            letters = await until(lambda: if_it_answers(exposed.letters), "there is a letter", seconds=90)
        await at_rest(client, other)
    assert [(letter["key"], letter["reason"]) for letter in letters] == [("patient:p7", "ended_connection")]
    assert sorted(e.patient_id for e in await exposed.effects()) == sorted(hows.keys() - {"p7"})
    await nothing_lost_nothing_blamed(bystander, load)


@pytest.fixture
def standby_away(own_stack: LocalStack) -> Iterator[Callable[[bool], None]]:
    """Call it: commits wait for a standby that is away, or do so no longer."""

    def away(is_away: bool) -> None:
        async def change(admin: asyncpg.Connection) -> None:
            names = "nobody" if is_away else ""
            await admin.execute(f"alter system set synchronous_standby_names = '{names}'")
            await admin.execute("select pg_reload_conf()")

        on_server(own_stack.addresses.postgres, change)
        time.sleep(1)  # each process of the server reads it in its own time

    yield away
    away(False)


WAITING = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"


async def test_no_answer_is_a_success_before_the_standby_confirms_it(
    own_stack: LocalStack,
    exposed: Ledger,
    standby_away: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One replayed for its key, one of a command that found nothing to do, one whose wait was canceled."""
    monkeypatch.setattr(database, "COMMAND_TIMEOUT", 2.0)
    path, body = "/patients/p/things", {"revision": 1}
    async with exposed.running() as client:
        first = await client.post(path, json=body, headers={"Idempotency-Key": "a"})
        await at_rest(client)
        await asyncio.to_thread(standby_away, True)
        replayed = await client.post(path, json=body, headers={"Idempotency-Key": "a"})
        idle = await client.post("/ops/republish", json={"patient": "nobody"})
        assert (first.status_code, replayed.status_code, idle.status_code) == (200, 503, 503)
        canceled = asyncio.create_task(client.post(path, json=body, headers={"Idempotency-Key": "b"}))
        admin = await asyncpg.connect(own_stack.addresses.postgres)
        while not canceled.done():
            await admin.fetch(WAITING)
            await asyncio.sleep(0.05)
        await admin.close()
        assert (await canceled).status_code == 503
        await asyncio.to_thread(standby_away, False)
        again = [await client.post(path, json=body, headers={"Idempotency-Key": key}) for key in "ab"]
        assert [answer.status_code for answer in again] == [200, 200]
        assert again[0].json() == first.json()
    assert await exposed.effects_of("p") == [("command", 1), ("command", 1)]


async def test_events_wait_for_the_standby_and_nobody_is_blamed(
    own_stack: LocalStack,
    exposed: Ledger,
    standby_away: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "COMMAND_TIMEOUT", 1.0)
    async with exposed.running() as client:
        await exposed.publish(*[changed(f"q{n}", 1) for n in range(20)])
        await at_rest(client)
        await asyncio.to_thread(standby_away, True)
        await exposed.publish(*[changed(f"q{n}", 2) for n in range(20)])
        await asyncio.sleep(12)  # longer than three tries alone of each half
        metrics = (
            await client.get("/metrics")
        ).text  # taken again, and found taken: that is not confirmed either
        assert 'medsync_waits_seconds{part="consumption"} 0.0' not in metrics
        await asyncio.to_thread(standby_away, False)
        await at_rest(client)
    assert await exposed.letters() == []
    assert len(await exposed.effects()) == 40


async def if_it_answers(ask: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await ask()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


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
