"""How far a consumer group is behind, asked of the broker itself: true whichever process holds the partitions."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from shared.messaging.internals import partitions_of

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

    @property
    def behind_by_topic(self) -> dict[str, int]:
        """The same for each topic."""
        return by_topic({place: max(0, end - self.committed[place]) for place, end in self.end.items()})

    @property
    def ends(self) -> dict[str, int]:
        """Where each topic ends: the sum over its partitions."""
        return by_topic(self.end)


MOST_LOOKS = 500
"""Looks at one partition that are remembered while it lags; then every second one is forgotten."""


class Ages:
    """For how long the oldest record that is not taken in has waited, as far as somebody has looked."""

    def __init__(self) -> None:
        # Ends of a partition that are not taken in yet, and when each was first seen.
        self._seen: dict[Place, list[tuple[int, float]]] = defaultdict(list)

    def look(self, lag: Lag, now: float) -> None:
        """Remember this lag; `now` in seconds of any clock that does not jump."""
        for place, end in lag.end.items():
            seen, committed = self._seen[place], lag.committed[place]
            while seen and seen[0][0] <= committed:
                seen.pop(0)
            if end > committed and (not seen or seen[-1][0] < end):
                seen.append((end, now))
            if len(seen) > MOST_LOOKS:
                del seen[1::2]

    def by_topic(self, now: float) -> dict[str, float]:
        """Seconds, for each topic looked at; 0 where nothing waits."""
        ages: dict[str, float] = defaultdict(float)
        for (topic, _), seen in self._seen.items():
            ages[topic] = max(ages[topic], now - seen[0][1] if seen else 0.0)
        return dict(ages)


class Ends:
    """Asks where topics end, as readers of committed records see it."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._reader: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Raises KafkaError while the broker is away."""
        reader = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            request_timeout_ms=REQUEST_MS,
        )
        try:
            await reader.start()
        except BaseException:
            await reader.stop()
            raise
        self._reader = reader

    async def stop(self) -> None:
        if self._reader is not None:
            await self._reader.stop()
        self._reader = None

    async def read(self, topics: Iterable[str]) -> dict[Place, int]:
        """The offset behind each partition's last record. Raises KafkaError or TimeoutError with the broker away."""
        if self._reader is None:
            raise KafkaConnectionError("not connected yet")
        async with asyncio.timeout(READ_SECONDS):
            places = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in await partitions_of(self._reader, topic)
            ]
            ends = await self._reader.end_offsets(places)
        return {(place.topic, place.partition): offset for place, offset in ends.items()}


class LagMeter:
    """Asks for committed and end offsets of one group over some topics."""

    def __init__(self, bootstrap: str, group: str, topics: Sequence[str]) -> None:
        self._bootstrap, self._group, self._topics = bootstrap, group, topics
        self._admin: AIOKafkaAdminClient | None = None
        self._ends = Ends(bootstrap)
        self._ages = Ages()

    async def start(self) -> None:
        """Raises KafkaError while the broker is away."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=REQUEST_MS)
        try:
            await admin.start()
            await self._ends.start()
        except BaseException:
            await admin.close()
            raise
        self._admin = admin

    async def stop(self) -> None:
        if self._admin is not None:
            await self._ends.stop()
            await self._admin.close()
        self._admin = None

    async def read(self) -> Lag:
        """The lag now. Raises KafkaError or TimeoutError while the broker is away."""
        if self._admin is None:
            raise KafkaConnectionError("not connected yet")
        async with asyncio.timeout(READ_SECONDS):
            # The ends after what is committed: a record that comes in between counts as not taken in.
            offsets = await self._admin.list_consumer_group_offsets(self._group)
            ends = await self._ends.read(self._topics)
        lag = Lag(
            committed={
                place: max(0, offsets[at].offset) if (at := TopicPartition(*place)) in offsets else 0
                for place in ends
            },
            end=ends,
        )
        self._ages.look(lag, time.monotonic())
        return lag

    def ages(self) -> dict[str, float]:
        """For how many seconds each topic's oldest record that is not taken in has waited, as of the last `read`s."""
        return self._ages.by_topic(time.monotonic())


def by_topic(ends: Mapping[Place, int]) -> dict[str, int]:
    """Sums over the partitions of each topic."""
    sums: dict[str, int] = defaultdict(int)
    for (topic, _), offset in ends.items():
        sums[topic] += offset
    return dict(sums)
