"""A process that does nothing but publish the ledger's outbox: what dies quickly, and starts quickly."""

from __future__ import annotations

import asyncio
from functools import partial

from shared.logging import configure_logging
from shared.messaging.bell import Bell
from shared.messaging.relay import Relay, Relays
from shared.settings import ServiceSettings


async def main() -> None:
    settings = ServiceSettings()
    configure_logging("ledger")
    bell = Bell(settings.database_url, name="relay alone")
    relays = Relays(
        partial(
            Relay,
            settings.database_url,
            settings.kafka_bootstrap,
            bell,
            service="ledger",
            name="relay-alone",
            lease_seconds=settings.relay_lease_seconds,
            topic_prefix=settings.topic_prefix,
        ),
        settings.relays,
    )
    await asyncio.gather(bell.run(), relays.run())


if __name__ == "__main__":
    asyncio.run(main())
