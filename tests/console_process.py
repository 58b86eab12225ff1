"""Consoles as real processes, on topics and a database of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

from deploy.local import Addresses
from deploy.local.services import Services
from shared.clock import SteppedClock
from shared.messaging.topics import create_topics
from tests.pharmacy import NOW
from tests.running import SEALING_KEY, STAFF, until

ADA = {"medsync-actor": "ada", "medsync-role": "pharmacist"}
"""The cookies of somebody who said who they are."""


@dataclass(frozen=True)
class Installed:
    """Running services, and where their topics are."""

    services: Services
    prefix: str
    clock: SteppedClock
    databases: Mapping[str, str]

    def url(self, slot: int = 0, service: str = "console") -> str:
        return self.services.urls[service][slot]

    async def caught_up(self, lines: int) -> None:
        """Until the stream holds so many lines."""
        async with httpx.AsyncClient(trust_env=False, headers=STAFF) as http:

            async def held() -> bool:
                answer = await http.get(f"{self.url()}/ops/status")
                return answer.is_success and answer.json()["lag"] == 0 and answer.json()["end"] >= lines

            await until(held, f"the console has taken {lines} events in", seconds=90)


@asynccontextmanager
async def installed(
    stack: Addresses,
    fresh_database: Callable[[str], str],
    prefix: str,
    directory: Path,
    *,
    processes: Mapping[str, int],
    now: datetime = NOW,
) -> AsyncIterator[Installed]:
    """Processes of these services, ready; the clock stands at `now`."""
    clock = SteppedClock(directory / "clock")
    clock.set(now)
    await create_topics(stack.kafka, 2, prefix=f"{prefix}.")
    databases = {service: await asyncio.to_thread(fresh_database, service) for service in processes}
    services = Services(
        processes,
        databases=databases,
        environment={
            "MEDSYNC_KAFKA_BOOTSTRAP": stack.kafka,
            "MEDSYNC_SEALING_KEY": SEALING_KEY,
            "MEDSYNC_PSEUDONYM_KEY": SEALING_KEY,
            "MEDSYNC_TOPIC_PREFIX": f"{prefix}.",
            "MEDSYNC_CLOCK_FILE": str(clock.path),
        },
        logs=directory / "logs",
        say=lambda _: None,
    )
    (directory / "logs").mkdir(exist_ok=True)
    try:
        await asyncio.to_thread(services.start)
        await asyncio.to_thread(services.wait_ready)
        yield Installed(services, f"{prefix}.", clock, databases)
    finally:
        await asyncio.to_thread(services.stop)
