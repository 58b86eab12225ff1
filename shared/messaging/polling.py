"""Fetching records: the next batch, around what aiokafka cannot read, and back to where the database stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from shared.messaging.positions import Span

POLL_MS = 1000

LANES = 2
"""Transactions side by side."""

Stands = Mapping[TopicPartition, int]
"""Where the database stands in each partition that may be read; the consumer keeps it."""

SetAside = Callable[[TopicPartition, Span], Awaitable[None]]
"""Buries the record at the end of a span, which cannot be read."""


class Poll:
    """Fetches the batches of one consumer."""

    def __init__(
        self,
        size: int,
        stands: Stands,
        *,
        set_aside: SetAside,
        pass_over: Callable[[Mapping[TopicPartition, Span]], Awaitable[None]],
        look: Callable[[], None],
    ) -> None:
        self._size, self._stands = size, stands
        self._set_aside, self._pass_over, self._look = set_aside, pass_over, look
        self.spans: dict[TopicPartition, Span] = {}
        """What the last batch covers."""

    async def __call__(self, consumer: AIOKafkaConsumer) -> tuple[ConsumerRecord[Any, Any], ...]:
        """The next batch, as soon as there is one; empty after a second of nothing."""
        try:
            found = await self._fetched(consumer)
        except UnicodeDecodeError:  # the name of a header
            found = await self._around_unreadable(consumer)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError):
            rewind(consumer, self._stands)
            self._look()
            return ()
        except KafkaError:
            rewind(consumer, self._stands)
            raise
        self.spans = await self._spans(consumer)
        if self.spans and not found:
            await self._pass_over(self.spans)
        return tuple(one for one in found if TopicPartition(one.topic, one.partition) in self.spans)

    async def _fetched(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord[Any, Any]]:
        """Up to a transaction's worth for each lane: what is asked for without a lane may come of one partition."""
        found = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._size)
        for lane in range(LANES) if found else ():
            mine = [tp for tp in self._stands if lane_of(tp) == lane]
            room = self._size - sum(len(found.get(tp, ())) for tp in mine)
            if mine and room > 0:
                more = await consumer.getmany(*mine, timeout_ms=0, max_records=room)
                found |= {tp: [*found.get(tp, ()), *records] for tp, records in more.items()}
        return [record for records in found.values() for record in records]

    async def _spans(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, Span]:
        """What was read of each partition since it was last settled: records, and the markers of transactions, which
        nobody is shown."""
        held = consumer.assignment()
        reached = {tp: await consumer.position(tp) for tp in self._stands if tp in held}
        return {
            tp: Span(self._stands[tp], offset) for tp, offset in reached.items() if offset > self._stands[tp]
        }

    async def _around_unreadable(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord[Any, Any]]:
        """A batch without the record that aiokafka cannot read, nor what comes after it in its partition."""
        found: list[ConsumerRecord[Any, Any]] = []
        rewind(consumer, self._stands)
        for tp in list(self._stands):
            if tp not in consumer.assignment() or await consumer.position(tp) >= (
                consumer.highwater(tp) or 0
            ):
                continue  # nothing fetched of it
            try:
                batch = await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=self._size)
                found += batch.get(tp, [])
            except UnicodeDecodeError:
                rewind(consumer, self._stands, tp)
                found += await self._before_unreadable(consumer, tp)
        return found

    async def _before_unreadable(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition
    ) -> list[ConsumerRecord[Any, Any]]:
        """The records before one that cannot be read. None: then that one stands at the head, and is set aside.

        aiokafka reads a producer's batch from its beginning: what the same producer sent after it in one batch goes
        the same way, each as a letter of its own.
        """
        found: list[ConsumerRecord[Any, Any]] = []
        try:
            while one := await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=1):
                found += one[tp]
        except UnicodeDecodeError:
            if not found and tp in self._stands:
                await self._set_aside(tp, Span(self._stands[tp], await consumer.position(tp) + 1))
                rewind(consumer, self._stands, tp)
        return found


def lane_of(tp: TopicPartition) -> int:
    """A partition goes one way, so that each transaction settles what stands first in it."""
    return tp.partition % LANES


def rewind(consumer: AIOKafkaConsumer, stands: Stands, *only: TopicPartition) -> None:
    """Back to where the database stands: a poll that fails has moved on past what it read until then."""
    for tp in consumer.assignment() & (set(only) or stands.keys()):
        if tp in stands:
            consumer.seek(tp, stands[tp])
