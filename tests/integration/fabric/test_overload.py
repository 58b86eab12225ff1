"""However many commands wait, events are taken in and operations are answered; what is too many is refused at once."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from shared.messaging.unit import lock_key, patient
from tests.integration.fabric.given import Ledger, changed

CALLERS = 64


async def test_commands_that_wait_starve_neither_events_nor_operations(ledger: Ledger) -> None:
    holder = await asyncpg.connect(ledger.database_url)
    async with ledger.running(max_in_flight=40) as client:
        await holder.execute("select pg_advisory_lock($1)", lock_key(patient("p")))
        waiting = [asyncio.create_task(client.post("/patients/p/things", json={})) for _ in range(CALLERS)]
        began = time.monotonic()
        refused, _ = await asyncio.wait(waiting, timeout=2)
        assert [task.result().json()["code"] for task in refused] == ["busy"] * (CALLERS - 40)

        await ledger.publish(changed("q", 1))
        await ledger.until_effects(1, seconds=10)
        for route in ("ready", "consuming", "status"):
            began = time.monotonic()
            assert (await client.get(f"/ops/{route}")).status_code == 200
            assert time.monotonic() - began < 2
        await holder.close()
        answers = {(await task).status_code for task in waiting}
        assert answers <= {200, 503}
