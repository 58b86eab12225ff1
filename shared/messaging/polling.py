"""Fetching records: the next batch, around what aiokafka cannot read, and back to what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

POLL_MS = 1000

SetAside = Callable[[AIOKafkaConsumer, TopicPartition, int], Awaitable[None]]
"""Buries the record at an offset, which cannot be read, and acknowledges it."""


class Poll:
    """Fetches the batches of one consumer."""

    def __init__(self, size: int, set_aside: SetAside) -> None:
        self._size, self._set_aside = size, set_aside
        self._passed: dict[TopicPartition, int] = {}

    async def __call__(self, consumer: AIOKafkaConsumer) -> tuple[ConsumerRecord[Any, Any], ...]:
        """The next batch, as soon as there is one; empty after a second of nothing."""
        try:
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._size)
        except UnicodeDecodeError:  # the name of a header
            return tuple(await self._around_unreadable(consumer))
        except KafkaError:
            await rewind(consumer, consumer.assignment())
            raise
        if not batches:
            await self._pass_markers(consumer)
        return tuple(record for records in batches.values() for record in records)

    async def _pass_markers(self, consumer: AIOKafkaConsumer) -> None:
        """Acknowledge where nothing but the markers of transactions was read: else they would look like lag."""
        with suppress(KafkaError, IllegalStateError, TimeoutError):
            async with asyncio.timeout(1):
                at = {tp: await consumer.position(tp) for tp in consumer.assignment() - consumer.paused()}
                if moved := {tp: offset for tp, offset in at.items() if offset > self._passed.get(tp, 0)}:
                    await consumer.commit(moved)
                    self._passed |= moved

    async def _around_unreadable(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord[Any, Any]]:
        """A batch without the record that aiokafka cannot read, nor what comes after it in its partition."""
        found: list[ConsumerRecord[Any, Any]] = []
        await rewind(consumer, consumer.assignment())
        for tp in consumer.assignment():
            if await consumer.position(tp) >= (consumer.highwater(tp) or 0):
                continue  # nothing fetched of it
            try:
                batch = await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=self._size)
                found += batch.get(tp, [])
            except UnicodeDecodeError:
                await rewind(consumer, [tp])
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
            if not found:
                offset = await consumer.position(tp)
                await self._set_aside(consumer, tp, offset)
                consumer.seek(tp, offset + 1)
        return found


async def rewind(consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
    """Back to what was acknowledged: a poll that fails has moved on past what it read until then."""
    for tp in partitions:
        if (offset := await consumer.committed(tp)) is None:
            await consumer.seek_to_beginning(tp)
        else:
            consumer.seek(tp, offset)
