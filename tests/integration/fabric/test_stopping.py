"""A stop is clean: what is in hand is finished or rolled back, and the process ends in time."""

from __future__ import annotations

import asyncio
import signal
import time

import httpx

from shared.events.planner import TOPIC as PLANNER
from tests.integration.fabric.given import Ledger, LedgerProcess, changed
from tests.running import at_rest

IN_TIME = 20.0


async def stopped(process: LedgerProcess) -> float:
    """Send SIGTERM and wait for the end: the seconds that it took."""
    began = time.monotonic()
    process.process.send(signal.SIGTERM)
    code = await process.ended(seconds=30)
    assert code in (0, -signal.SIGTERM), process.said()  # uvicorn passes the signal on
    return time.monotonic() - began


async def test_a_stop_under_load_is_in_time_and_loses_nothing(ledger: Ledger) -> None:
    patients = [f"p{n}" for n in range(200)]
    accepted: list[int] = []

    async def command(client: httpx.AsyncClient) -> None:
        for revision in range(10_000):
            try:
                answer = await client.post("/patients/p0/things", json={"revision": revision})
            except httpx.TransportError:
                return  # it stops
            if answer.status_code == 200:
                accepted.append(revision)

    async with ledger.process() as process:
        await process.ready()
        commanding = asyncio.create_task(command(process.client))
        for revision in range(1, 11):
            await ledger.publish(*[changed(patient, revision) for patient in patients])
        assert await stopped(process) < IN_TIME
        await commanding
    assert "Traceback" not in process.said()
    assert (await ledger.sql("select until < now() as free from fabric.relay_lease"))[0]["free"]
    async with ledger.running() as client:
        await at_rest(client)
    effects = await ledger.effects()
    for patient in patients:
        revisions = [e.revision for e in effects if (e.patient_id, e.kind) == (patient, "changed")]
        assert revisions == [*range(1, 11)]
    commanded = [e.revision for e in effects if e.kind == "command"]
    assert (set(commanded) >= set(accepted), len(commanded)) == (True, len(set(commanded)))
    published = {dict(one.headers)["ce_id"] for one in await ledger.topic(PLANNER)}
    assert len(published) == len(effects)


async def test_what_takes_too_long_is_rolled_back_at_a_stop(ledger: Ledger) -> None:
    async with ledger.process() as process:
        await process.ready()
        await ledger.publish(changed("a", 1), changed("p", 1, "slow"))
        await asyncio.sleep(0.5)  # until it is in hand
        assert await stopped(process) < IN_TIME
    assert await ledger.letters() == []
    assert await ledger.count("fabric.suspects") == 0  # a stop is no death
    assert "Traceback" not in process.said()


async def test_an_idle_service_stops_at_once(ledger: Ledger) -> None:
    async with ledger.process() as process:
        await process.ready()
        assert await stopped(process) < 5
    assert "Traceback" not in process.said()
