"""Load on a ledger whose servers go away, and what must hold when they are back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import httpx
from aiokafka.errors import KafkaError

from deploy.local import LocalStack
from deploy.local.databases import create_databases, install
from shared.events.planner import TOPIC as PLANNER
from shared.messaging.topics import create_topics
from tests.integration.fabric.conftest import MIGRATIONS
from tests.integration.fabric.given import Ledger, changed

PATIENTS = [f"p{n}" for n in range(20)]


async def exposed_on(own: LocalStack, folder: Path) -> Ledger:
    """A ledger on servers that may be killed."""
    name = f"ledger_{uuid4().hex[:8]}"
    made = await asyncio.to_thread(create_databases, own.addresses.postgres, [name])
    await asyncio.to_thread(install, own.addresses.postgres, name, *MIGRATIONS)
    await create_topics(own.addresses.kafka, 4, prefix=f"{name}.")
    return Ledger(own.addresses.kafka, made[name], f"{name}.", folder)


class Load:
    """Events and commands without end; what was accepted is remembered."""

    def __init__(self, ledger: Ledger, client: httpx.AsyncClient) -> None:
        self.ledger, self.client = ledger, client
        self.published, self.accepted = 0, set[int]()
        self.is_over = (
            False  # a client that is cancelled while it connects may keep the cancellation to itself
        )

    async def events(self) -> None:
        while not self.is_over:
            try:
                async with asyncio.timeout(20):
                    batch = [changed(patient, self.published + 1) for patient in PATIENTS]
                    await self.ledger.publish(*batch)
                self.published += 1
            except (KafkaError, TimeoutError):
                await asyncio.sleep(0.2)  # the same revision again, with ids of its own
            await asyncio.sleep(0.01)

    async def commands(self) -> None:
        for number in count():
            if self.is_over:
                return
            headers = {"Idempotency-Key": str(number)}
            answer = await self.client.post("/patients/c/things", json={"revision": number}, headers=headers)
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                self.accepted.add(number)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def under_load(
    ledger: Ledger, client: httpx.AsyncClient, *, events: bool = True
) -> AsyncIterator[Load]:
    load = Load(ledger, client)
    tasks = [asyncio.create_task(load.commands())] + [asyncio.create_task(load.events())] * events
    try:
        yield load
        await asyncio.sleep(0.5)  # load after the outage, too
    finally:
        load.is_over = True
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended), ended


async def nothing_lost_nothing_blamed(ledger: Ledger, load: Load) -> None:
    assert await ledger.letters() == []
    assert await ledger.count("fabric.suspects where deaths > 0") == 0
    effects = await ledger.effects()
    for patient in PATIENTS:
        revisions = [e.revision for e in effects if e.patient_id == patient]
        assert sorted(set(revisions)) == [*range(1, max(load.published, *revisions) + 1)]
        assert revisions == sorted(revisions)
    commanded = [e.revision for e in effects if e.kind == "command"]
    assert (load.accepted <= set(commanded), len(set(commanded))) == (True, len(commanded))
    published = {dict(one.headers)["ce_id"] for one in await ledger.topic(PLANNER)}
    assert len(published) == len(effects)
