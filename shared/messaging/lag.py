"""How far a service is behind: its positions from its database, the ends from the broker. True whichever process holds
the partitions."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata

from shared.broker import Broker, client_of
from shared.messaging import tables
from shared.messaging.internals import held_by, partitions_of, topic_ids
from shared.messaging.topics import group_of, relay_group_of
from shared.messaging.unit import Work

REQUEST_MS = 5000
READ_SECONDS = 5.0

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Position and end of every partition of a service's topics."""

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
    """Asks where topics end: as readers of committed records see it, or `sent` so far. A transaction's commit is
    answered before its records can be read."""

    def __init__(self, broker: Broker, *, sent: bool = False) -> None:
        self._broker, self._sent = broker, sent
        self._reader: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Raises KafkaError while the broker is away."""
        reader = AIOKafkaConsumer(
            **client_of(self._broker),
            enable_auto_commit=False,
            isolation_level="read_uncommitted" if self._sent else "read_committed",
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
        async with asyncio.timeout(READ_SECONDS):
            reader = self._asked()
            places = [(topic, each) for topic in topics for each in await partitions_of(reader, topic)]
        return await self.behind(places)

    async def behind(self, places: Iterable[Place]) -> dict[Place, int]:
        """The same for these partitions."""
        async with asyncio.timeout(READ_SECONDS):
            return _by_place(await self._asked().end_offsets([TopicPartition(*place) for place in places]))

    async def first(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset of each partition's first record."""
        async with asyncio.timeout(READ_SECONDS):
            found = await self._asked().beginning_offsets([TopicPartition(*place) for place in places])
        return _by_place(found)

    def _asked(self) -> AIOKafkaConsumer:
        if self._reader is None:
            raise KafkaConnectionError("not connected yet")
        return self._reader


def _by_place(offsets: Mapping[TopicPartition, int]) -> dict[Place, int]:
    return {(tp.topic, tp.partition): offset for tp, offset in offsets.items()}


@dataclass(frozen=True, slots=True)
class Survey:
    """The topics that exist, and the offsets of each led partition's first record and behind its last. Names are those
    of the database, without the installation's prefix."""

    topics: dict[str, tables.Topic]
    starts: dict[Place, int]
    ends: dict[Place, int]


class DatabaseAway(Exception):
    """How far the service is cannot be read from its database; the broker answers."""


class LagMeter:
    """Asks how far a service is in its topics, and what the broker says of them. Names are the broker's."""

    def __init__(
        self, work: Work, broker: Broker, service: str, topics: Sequence[str], *, prefix: str = ""
    ) -> None:
        self._work, self._broker, self.topics, self._prefix = work, broker, topics, prefix
        self._group, self._relay_group = group_of(service, prefix), relay_group_of(service, prefix)
        self._admin: AIOKafkaAdminClient | None = None
        self._ends = Ends(broker)
        self._ages = Ages()

    async def start(self) -> None:
        """Raises KafkaError while the broker is away."""
        admin = AIOKafkaAdminClient(**client_of(self._broker), request_timeout_ms=REQUEST_MS)
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
        """The lag now. Raises KafkaError or TimeoutError while the broker is away, and DatabaseAway."""
        # The ends after the positions: a record that comes in between counts as not taken in.
        positions: dict[Place, int] | Exception = await self._positions()
        ends = await self._ends.read(self.topics)
        if isinstance(positions, Exception):
            raise DatabaseAway(type(positions).__name__)
        lag = Lag(committed={place: positions.get(place, 0) for place in ends}, end=ends)
        self._ages.look(lag, time.monotonic())
        return lag

    async def _positions(self) -> dict[Place, int] | Exception:
        try:
            async with self._work.connection() as db:
                found = await tables.positions(db)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return error
        return {(self._prefix + topic, partition): offset for (topic, partition), offset in found.items()}

    def ages(self) -> dict[str, float]:
        """For how many seconds each topic's oldest record that is not taken in has waited, as of the last `read`s."""
        return self._ages.by_topic(time.monotonic())

    async def survey(self) -> Survey:
        """What the broker says of the topics that exist. Raises KafkaError or TimeoutError while it is away."""
        async with asyncio.timeout(READ_SECONDS):
            cluster, ids = await topic_ids(self._asked(), self.topics)
            kept = await _kept(self._asked(), list(ids))
        led = [(name, p) for name, (_, leads) in ids.items() for p in leads if leads[p] and name in kept]
        return Survey(
            {
                self._own(name): tables.Topic(self._own(name), len(leads), id_, cluster, *kept[name])
                for name, (id_, leads) in ids.items()
                if name in kept
            },
            {(self._own(name), p): offset for (name, p), offset in (await self._ends.first(led)).items()},
            {(self._own(name), p): offset for (name, p), offset in (await self._ends.behind(led)).items()},
        )

    def _own(self, topic: str) -> str:
        return topic.removeprefix(self._prefix)

    async def acknowledged(self) -> dict[Place, int]:
        """What the group has committed to Kafka, where it did, by the names of the database."""
        async with asyncio.timeout(READ_SECONDS):
            offsets = await self._asked().list_consumer_group_offsets(self._group)
        return {
            (self._own(tp.topic), tp.partition): at.offset for tp, at in offsets.items() if at.offset >= 0
        }

    async def marks(self) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """The offsets beside which the service's relays note how far it has published."""
        async with asyncio.timeout(READ_SECONDS):
            offsets = await self._asked().list_consumer_group_offsets(self._relay_group)
        return dict(offsets)

    async def nobodys(self, places: Collection[Place]) -> set[Place]:
        """Those of these partitions that no process of the group holds; none where it is between two assignments."""
        async with asyncio.timeout(READ_SECONDS):
            held = await held_by(self._asked(), self._group)
        return set() if held is None else set(places) - held

    def _asked(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise KafkaConnectionError("not connected yet")
        return self._admin


async def _kept(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Each topic's cleanup policy and retention in milliseconds."""
    asked = dict.fromkeys(("cleanup.policy", "retention.ms"))
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic, asked) for topic in topics]
    answers = await admin.describe_configs(resources) if resources else []
    found = {}
    for one in (one for answer in answers for one in answer.to_object()["resources"]):
        if one["error_code"] == 0:
            values = {entry["config_names"]: entry["config_value"] for entry in one["config_entries"]}
            found[one["resource_name"]] = (values["cleanup.policy"], int(values["retention.ms"]))
    return found


def by_topic(ends: Mapping[Place, int]) -> dict[str, int]:
    """Sums over the partitions of each topic."""
    sums: dict[str, int] = defaultdict(int)
    for (topic, _), offset in ends.items():
        sums[topic] += offset
    return dict(sums)
