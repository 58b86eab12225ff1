"""The producers of one range of the journal: the broker fences all older ones, and what they began is undone.

Two transactional ids are used in turn: after a commit, aiokafka waits 20 ms before it begins another transaction of the
same id. One transaction is over before the next begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import cycle
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata

from shared.broker import Broker, asking, client_of
from shared.messaging import internals, sizes
from shared.messaging.crashpoints import reach
from shared.messaging.journal import OutboxRow
from shared.messaging.lag import Place

ANSWER_SECONDS = 5.0
"""How long a partition may take to acknowledge."""

START_SECONDS = 10.0

TRANSACTION_MS = 10_000
"""When the broker undoes a transaction whose producer is gone: until then, its readers wait."""

RETRY_MS = 10
"""The broker answers the first record of a transaction, while it looks the transaction up, with an error that means
"again"."""

Mark = tuple[int, int, int]
"""How far a range is published: epoch and number of a tick, and the last id sent of it."""


Headers = Callable[[OutboxRow], list[tuple[str, bytes]]]


class Unanswered(Exception):
    """These partitions did not acknowledge in time, though the broker answers otherwise."""

    def __init__(self, places: Collection[Place]) -> None:
        super().__init__(f"{len(places)} partitions do not answer")
        self.places = places


class Stuck(Exception):
    """The broker answers, and cannot undo what these ids began: a partition of that transaction has no leader. They are
    fenced all the same; others are to be used."""


class Producers:
    """Sends windows of rows, each in one transaction with the mark of how far the journal is published then."""

    def __init__(
        self, broker: Broker, *, group: str, range_: int, ids: int, client: str, marks_on: Sequence[str]
    ) -> None:
        """`ids`: which pair of transactional ids. `marks_on`: topics of which the first that exists carries the marks,
        as offsets of the group."""
        self._broker, self._group = broker, group
        self._range, self._marks_on = range_, marks_on
        self._both = [self._producer(f"{group}-{range_}-{ids}{each}", client) for each in "ab"]
        self._turn = cycle(self._both)
        self._mark_at: TopicPartition | None = None

    async def start(self) -> Mark | None:
        """Fence and undo what others began, and read how far they came; none where Kafka does not know (any more).

        Raises Stuck.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.fence()
        except TimeoutError:
            await self._read_mark()  # raises where the broker does not answer at all
            raise Stuck from None
        async with asyncio.timeout(START_SECONDS):
            for topic in self._marks_on:
                if self._range in await internals.leaders_of(self._both[0], topic):
                    self._mark_at = TopicPartition(topic, self._range)
                    return await self._read_mark()
        raise UnknownTopicOrPartitionError(f"no topic has a partition {self._range}")

    async def fence(self) -> None:
        """Have the broker refuse what others with these ids send from now on, and undo what they began."""
        await asyncio.gather(*(producer.start() for producer in self._both))

    async def send(self, rows: Mapping[Place, Sequence[OutboxRow]], mark: Mark, made: Headers) -> None:
        """Send rows to their places in one transaction with the mark. After any error there is only `abandon`."""
        producer = next(self._turn)
        internals.raise_if_dead(producer)
        await producer.begin_transaction()
        tasks = {
            asyncio.create_task(_send_to(producer, place, some, made)): place for place, some in rows.items()
        }
        marked = asyncio.create_task(self._send_mark(producer, mark))
        done, late = await asyncio.wait(
            {*tasks, marked}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in late:
            task.cancel()
        for error in [task.exception() for task in done]:
            if error:
                raise error
        if marked in late:
            raise KafkaTimeoutError("the broker does not answer")
        if late:
            raise Unanswered([tasks[task] for task in late])
        reach("relay.sent")
        internals.raise_if_dead(producer)
        async with asyncio.timeout(ANSWER_SECONDS):
            await producer.commit_transaction()

    async def leaders(self, topic: str, *, anew: bool = False) -> dict[int, bool]:
        """A topic's partitions, and which of them have a leader."""
        return await internals.leaders_of(self._both[0], topic, anew=anew)

    async def abandon(self) -> None:
        """Let go of both without flushing; whoever comes next undoes what was begun."""
        await asyncio.gather(*(internals.abandon(producer) for producer in self._both))

    async def _send_mark(self, producer: AIOKafkaProducer, mark: Mark) -> None:
        offset = OffsetAndMetadata(mark[2], ":".join(map(str, mark)))
        await producer.send_offsets_to_transaction({self._mark_at: offset}, self._group)

    async def _read_mark(self) -> Mark | None:
        async with asking(self._broker, request_timeout_ms=5_000) as admin:
            offsets = await admin.list_consumer_group_offsets(self._group)
        return marks_in(offsets).get(self._range)

    def _producer(self, id_: str, client: str) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **client_of(self._broker),
            client_id=client,
            transactional_id=id_,
            transaction_timeout_ms=TRANSACTION_MS,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=sizes.RECORD_BYTES + 1000,
            max_request_size=4 * sizes.RECORD_BYTES,
            request_timeout_ms=10_000,
            retry_backoff_ms=RETRY_MS,
        )


def marks_in(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> dict[int, Mark]:
    """Each range's furthest mark: they are on another topic if the first one was missing for a while."""
    marks: dict[int, Mark] = {}
    for place, at in offsets.items():
        mark = _mark_of(at.metadata)
        marks[place.partition] = max(mark, marks.get(place.partition, mark))
    return marks


def _mark_of(text: str) -> Mark:
    epoch, no, last = map(int, text.split(":"))
    return epoch, no, last


async def _send_to(
    producer: AIOKafkaProducer, place: Place, rows: Sequence[OutboxRow], made: Headers
) -> None:
    """Send in order, as few batches as hold them, and wait until all are acknowledged."""
    topic, partition = place
    sent = []
    batch = producer.create_batch()
    for row in rows:
        fields = {
            "key": row.key.encode(),
            "value": row.payload or None,
            "timestamp": None,
            "headers": made(row),
        }
        if batch.append(**fields) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            if batch.append(**fields) is None:
                raise MessageSizeTooLargeError
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    for acknowledged in sent:
        acknowledged.add_done_callback(_look_at)
    await asyncio.gather(*sent)


def _look_at(done: asyncio.Future[Any]) -> None:
    """So that nobody complains of what nobody waits for any more."""
    if not done.cancelled():
        done.exception()
