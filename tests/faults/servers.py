"""PostgreSQL and Kafka of a fault run, each behind a proxy that is its only known address; both may be killed.

A cluster of brokers (`cluster`) has no proxy: the clients are to know all of its nodes.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from deploy.local.kafka import Kafka
from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from tests.faults.proxy import Mode, Proxy

KAFKA_SESSION_SECONDS = 1.5
"""How long a killed broker has to wait before its controller takes it back."""


class AdvertisedElsewhere(Kafka):
    """A broker that names the proxy as its address, so that no client finds a way around it."""

    def __init__(self, directory: Path, advertised: int) -> None:
        super().__init__(directory, free_port(), session_timeout=KAFKA_SESSION_SECONDS, say=lambda _: None)
        self._advertised = advertised

    def _settings(self) -> dict[str, object]:
        return super()._settings() | {
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._advertised}",
            "group.min.session.timeout.ms": 1000,
        }


class Servers:
    """Both servers and their proxies, while the context lasts. PostgreSQL syncs to disk, as in production.

    `brokers`: the nodes of a cluster, in place of the one behind the proxy. `environment`: variables that PostgreSQL
    and the services get besides their own.
    """

    def __init__(
        self,
        directory: Path,
        rng: random.Random,
        *,
        brokers: Sequence[Kafka] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.environment = dict(environment or {})
        broker_port = free_port()
        self.postgres = Postgres(
            directory / "postgres", free_port(), environment=os.environ | self.environment
        )
        self.brokers = brokers or [AdvertisedElsewhere(directory / "kafka", broker_port)]
        self.kafka = self.brokers[0]
        self.to_postgres = Proxy(free_port(), self.postgres.port, rng)
        self.to_kafka = Proxy(broker_port, self.kafka.port, rng)
        self._undo = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            for proxy in (self.to_postgres, self.to_kafka):
                await proxy.start()
                undo.push_async_callback(proxy.stop)
            for server in (self.postgres, *self.brokers):
                undo.push_async_callback(asyncio.to_thread, server.stop)
                await asyncio.to_thread(server.spawn)
            for server in (self.postgres, *self.brokers):
                await asyncio.to_thread(server.wait_ready)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._undo.aclose()

    @property
    def admin_url(self) -> str:
        """The administrator's way to PostgreSQL, past the proxy."""
        return self.postgres.url

    @property
    def bootstrap(self) -> str:
        if len(self.brokers) > 1:
            return ",".join(broker.bootstrap for broker in self.brokers)
        return f"127.0.0.1:{self.to_kafka.port}"

    def proxied(self, url: str) -> str:
        """The same database through the proxy."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{user}@127.0.0.1:{self.to_postgres.port}").geturl()

    def heal(self) -> None:
        """Let everything pass again."""
        for proxy in (self.to_postgres, self.to_kafka):
            proxy.become(Mode.passing)
