"""Publishing the outbox: one relay at a time per database, in the order of the rows, each at least once.

The lease row has an epoch that every delete checks: a relay that lost the lease without noticing deletes nothing.
Its late sends are harmless: the inbox of every consumer knows the ids.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from uuid import uuid4

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    CorruptRecordException,
    InvalidMessageError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
)

from shared.database import Db, connect
from shared.events import EVENTS
from shared.messaging import internals, sizes, tables
from shared.messaging.bell import Bell
from shared.messaging.crashpoints import reach
from shared.messaging.outages import OUT_OF_STEP, is_outage, is_timeout
from shared.messaging.tables import OutboxRow

WINDOW = 2000
WINDOW_BYTES = 16_000_000
"""Rows read, sent and deleted together, and about how large they may be."""

SEND_SECONDS = 20.0
"""An idempotent producer never gives up by itself, and may be wedged after an outage: then it is replaced."""

POLL_SECONDS = 1.0

OVERTAKING = frozenset(event.TYPE for event in EVENTS.values() if event.OVERTAKES)
"""Types that leave though an earlier row of their key is held. Readers compare revisions: what was held, and is
released after them, is older than what they know."""

REFUSALS = (
    MessageSizeTooLargeError,
    RecordTooLargeError,
    RecordListTooLargeError,
    InvalidMessageError,
    CorruptRecordException,
)

log = structlog.get_logger()


class Deposed(Exception):
    """Another relay holds the lease now."""


class Relay:
    """Publishes the outbox of one database while it holds the lease; waits for it otherwise."""

    def __init__(
        self,
        database_url: str,
        bootstrap: str,
        bell: Bell,
        *,
        name: str,
        lease_seconds: float,
        topic_prefix: str = "",
    ) -> None:
        self._url, self._bootstrap, self._prefix = database_url, bootstrap, topic_prefix
        self._name, self._lease_seconds = name, lease_seconds
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._heard = bell.outbox_filled
        self._db: Db | None = None
        self._producer: AIOKafkaProducer | None = None
        self.leads = False
        self.published = 0
        self.takeovers = 0

    async def run(self) -> None:
        """Lead or wait, until cancelled; on the way out the lease is given back."""
        try:
            while True:
                try:
                    await self._lead_when_possible()
                except Deposed:
                    log.warning("relay.deposed")
                except Exception as error:
                    if is_outage(error) or is_timeout(error):
                        log.warning("relay.outage", error=type(error).__name__)
                    else:
                        log.exception("relay.fault")
                    self._drop_connection()
                finally:
                    self.leads = False
                    await self._drop_producer()
                await asyncio.sleep(min(POLL_SECONDS, self._lease_seconds / 3))
        finally:
            await self._resign()

    async def _lead_when_possible(self) -> None:
        db = await self._connection()
        epoch = await tables.acquire_lease(db, self._holder, self._lease_seconds)
        if epoch is None:
            return
        self.leads = True
        self.takeovers += 1
        renewed = time.monotonic()
        while True:
            if time.monotonic() - renewed > self._lease_seconds / 3:
                if await tables.acquire_lease(db, self._holder, self._lease_seconds) != epoch:
                    raise Deposed
                renewed = time.monotonic()
            self._heard.clear()
            rows = await tables.unpublished(db, WINDOW, WINDOW_BYTES, OVERTAKING)
            if rows:
                reach("relay.fetched")
                await self._publish(db, rows, epoch)
            else:
                await self._wait(self._lease_seconds / 3)

    async def _publish(self, db: Db, rows: Sequence[OutboxRow], epoch: int) -> None:
        if too_large := [row for row in rows if not fits(row)]:
            for row in too_large:
                await tables.hold(db, row.id, f"larger than {sizes.RECORD_BYTES} bytes", epoch)
                log.error("relay.held", topic=row.topic, outbox_id=row.id)
            return  # read the window again: the later rows of those keys wait now
        try:
            await self._send(rows)
        except REFUSALS:
            await self._drop_producer()  # every later record of the partition would fail with it
            await self._one_by_one(db, rows, epoch)
            return
        reach("relay.sent")
        if not await tables.delete_published(db, [row.id for row in rows], epoch):
            raise Deposed
        reach("relay.deleted")
        self.published += len(rows)

    async def _one_by_one(self, db: Db, rows: Sequence[OutboxRow], epoch: int) -> None:
        """After a refusal: what fails alone is held, and its key's later rows are left to the next window."""
        held: set[str] = set()
        for row in rows:
            if row.key in held:
                continue
            try:
                await self._send([row])
            except REFUSALS as error:
                await self._drop_producer()
                await tables.hold(db, row.id, type(error).__name__, epoch)
                held.add(row.key)
                log.error("relay.held", topic=row.topic, outbox_id=row.id, error=type(error).__name__)
                continue
            if not await tables.delete_published(db, [row.id], epoch):
                raise Deposed
            self.published += 1

    async def _send(self, rows: Sequence[OutboxRow]) -> None:
        """Send in order, one batch per partition, and wait until all are acknowledged."""
        producer = await self._started_producer()
        choose = {topic: await self._partitioning(producer, topic) for topic in {row.topic for row in rows}}
        by_partition: dict[tuple[str, int], list[OutboxRow]] = defaultdict(list)
        for row in rows:
            by_partition[self._prefix + row.topic, choose[row.topic](row.key)].append(row)
        async with asyncio.timeout(SEND_SECONDS):
            await asyncio.gather(
                *(self._send_partition(producer, *place, of_it) for place, of_it in by_partition.items())
            )

    async def _send_partition(
        self, producer: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[OutboxRow]
    ) -> None:
        sent = []
        batch = producer.create_batch()
        for row in rows:
            fields = {
                "key": row.key.encode(),
                "value": row.payload,
                "timestamp": None,
                "headers": headers(row),
            }
            if batch.append(**fields) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                if batch.append(**fields) is None:
                    raise MessageSizeTooLargeError
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    async def _partitioning(self, producer: AIOKafkaProducer, topic: str) -> Callable[[str], int]:
        """Which partition of a topic a key goes to."""
        partitions = sorted(await producer.partitions_for(self._prefix + topic))
        return lambda key: partitions[_hash(key) % len(partitions)]

    async def _wait(self, seconds: float) -> None:
        """Until a commit is heard of, or a while: polling is the truth."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, POLL_SECONDS)):
                await self._heard.wait()

    async def _started_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id=f"{self._name}-relay",
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_batch_size=sizes.RECORD_BYTES + 1000,
                max_request_size=4 * sizes.RECORD_BYTES,
                request_timeout_ms=10_000,
            )
            self._producer = producer
            try:
                await producer.start()
            except BaseException:
                await self._drop_producer()
                raise
        return self._producer

    async def _drop_producer(self) -> None:
        """Let go of it without flushing: what was not acknowledged is still in the outbox."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await internals.abandon(producer)

    async def _connection(self) -> Db:
        if self._db is None or self._db.is_closed():
            self._db = await connect(self._url, name=f"{self._name} relay")
        return self._db

    def _drop_connection(self) -> None:
        """It may be half dead: then every statement on it would time out."""
        if self._db is not None:
            self._db.terminate()
            self._db = None

    async def _resign(self) -> None:
        if self._db is not None and not self._db.is_closed():
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, *OUT_OF_STEP):
                async with asyncio.timeout(2):
                    await tables.release_lease(self._db, self._holder)
        self._drop_connection()


@lru_cache(maxsize=10_000)
def _hash(key: str) -> int:
    """As every Kafka client hashes a key by default. In Python it costs more than all the rest of a record; a patient's
    events come in flocks.
    """
    return internals.key_hash(key.encode())


def headers(row: OutboxRow) -> list[tuple[str, bytes]]:
    """The record's headers: the row's, its event id, and its place in this service's sequence, by which of the
    database's lives wrote it."""
    of_outbox = {"ce_id": row.event_id, "ce_sequence": row.id, "ce_epoch": row.epoch}
    return [(name, str(value).encode()) for name, value in (of_outbox | row.headers).items()]


def fits(row: OutboxRow) -> bool:
    """Whether the broker takes it: what was committed by an older release was not weighed before."""
    return sizes.fits(row.key, row.headers, row.payload)
