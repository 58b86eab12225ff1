"""How far a consumer group is behind, asked of the broker itself: true whichever process holds the partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

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
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, enable_auto_commit=False, isolation_level="read_committed"
        )
        await self._admin.start()
        await self._reader.start()

    async def stop(self) -> None:
        for client in (self._reader, self._admin):
            if client is not None:
                await (client.stop() if isinstance(client, AIOKafkaConsumer) else client.close())
        self._admin = self._reader = None

    async def read(self) -> Lag:
        """The lag now. Raises KafkaError while the broker is away."""
        assert self._admin and self._reader, "start it first"
        partitions = [
            TopicPartition(topic, partition)
            for topic in self._topics
            for partition in await self._partitions(self._reader, topic)
        ]
        offsets = await self._admin.list_consumer_group_offsets(self._group, partitions=partitions)
        ends = await self._reader.end_offsets(partitions)
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
