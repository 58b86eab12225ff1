"""How far a consumer group is behind, asked of the broker itself: true whichever process holds the partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

REQUEST_MS = 5000
READ_SECONDS = 5.0

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Committed and end offset of every partition of a group's topics."""

    committed: dict[Place, int]
    end: dict[Place, int]

    @property
    def behind(self) -> int:
        """Records not yet taken in."""
        return sum(max(0, self.end[place] - self.committed[place]) for place in self.end)


class LagMeter:
    """Asks for committed and end offsets of one group over some topics."""

    def __init__(self, bootstrap: str, group: str, topics: Sequence[str]) -> None:
        self._bootstrap, self._group, self._topics = bootstrap, group, topics
        self._admin: AIOKafkaAdminClient | None = None
        self._reader: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Raises KafkaError while the broker is away."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=REQUEST_MS)
        reader = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            request_timeout_ms=REQUEST_MS,
        )
        try:
            await admin.start()
            await reader.start()
        except BaseException:
            await _close(admin, reader)
            raise
        self._admin, self._reader = admin, reader

    async def stop(self) -> None:
        if self._admin is not None and self._reader is not None:
            await _close(self._admin, self._reader)
        self._admin = self._reader = None

    async def read(self) -> Lag:
        """The lag now. Raises KafkaError or TimeoutError while the broker is away."""
        if self._admin is None or self._reader is None:
            raise KafkaConnectionError("not connected yet")
        async with asyncio.timeout(READ_SECONDS):
            return await self._read(self._admin, self._reader)

    async def _read(self, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> Lag:
        partitions = [
            TopicPartition(topic, partition)
            for topic in self._topics
            for partition in await self._partitions(reader, topic)
        ]
        offsets = await admin.list_consumer_group_offsets(self._group, partitions=partitions)
        ends = await reader.end_offsets(partitions)
        return Lag(
            committed={
                (tp.topic, tp.partition): max(0, offsets[tp].offset) if tp in offsets else 0
                for tp in partitions
            },
            end={(tp.topic, tp.partition): offset for tp, offset in ends.items()},
        )

    async def _partitions(self, reader: AIOKafkaConsumer, topic: str) -> set[int]:
        """The topic's partitions; metadata is fetched the first time."""
        if (known := reader.partitions_for_topic(topic)) is None:
            await reader._client._wait_on_metadata(topic)  # the public way to ask is to subscribe
            known = reader.partitions_for_topic(topic)
        return known or set()


async def _close(admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> None:
    await reader.stop()
    await admin.close()
