"""Reading the stream as an onlooker: no group, no offsets, nothing changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from heapq import merge

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from shared.broker import Broker, client_of
from shared.events import EVENTS, TOPICS, Event
from shared.messaging.envelope import Record
from shared.messaging.internals import partitions_of
from shared.messaging.lag import Place
from shared.messaging.topics import GATHERED_BYTES

GATHER_MS = 200
"""An onlooker need not be woken by every record."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One record of the stream; `event` is none where it is sealed, unknown or not valid."""

    record: Record
    at: datetime | None  # business time
    event_id: str
    event_type: str
    correlation_id: str
    causation_id: str
    event: Event | None


async def tail(
    broker: Broker,
    *,
    from_beginning: bool,
    topics: Sequence[str] = TOPICS,
    prefix: str = "",
    follow: bool = True,
    positions: dict[Place, int] | None = None,
) -> AsyncIterator[Seen]:
    """Every record as an event. See `records`."""
    every = records(
        broker,
        from_beginning=from_beginning,
        topics=topics,
        prefix=prefix,
        follow=follow,
        positions=positions,
    )
    async with aclosing(every):
        async for record in every:
            yield _seen(record)


async def records(
    broker: Broker,
    *,
    from_beginning: bool,
    topics: Sequence[str],
    prefix: str = "",
    follow: bool = True,
    positions: dict[Place, int] | None = None,
) -> AsyncGenerator[Record, None]:
    """Every record from the beginning, or from now on; ends at the present end unless it follows.

    `positions` is kept up with what was yielded, and with the markers of transactions between.

    Raises KafkaError where the broker does not answer.
    """
    consumer = AIOKafkaConsumer(
        **client_of(broker),
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_min_bytes=GATHERED_BYTES,
        fetch_max_wait_ms=GATHER_MS,
        auto_offset_reset="earliest" if from_beginning else "latest",  # a seek would race with this reset
    )
    await consumer.start()
    try:
        places = []
        for topic in topics:
            places += [
                TopicPartition(prefix + topic, partition)
                for partition in await partitions_of(consumer, prefix + topic)
            ]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while follow or [tp for tp in places if await consumer.position(tp) < ends[tp]]:
            batch = (await consumer.getmany(timeout_ms=200)).values()
            for raw in merge(*batch, key=lambda one: one.timestamp):  # each partition stays in its order
                yield Record(
                    raw.topic.removeprefix(prefix),
                    raw.partition,
                    raw.offset,
                    raw.key,
                    tuple(raw.headers),
                    raw.value,
                )
            if positions is not None:
                positions |= {(tp.topic, tp.partition): await consumer.position(tp) for tp in places}
    finally:
        await consumer.stop()


def _seen(record: Record) -> Seen:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    event_type = headers.get("ce_type", "")
    model = EVENTS.get(event_type)
    event = None
    if model is not None and not model.SEALED:
        try:
            event = model.model_validate_json(record.value or b"")
        except ValidationError:
            event = None
    return Seen(
        record,
        instant(headers.get("ce_time", "")),
        headers.get("ce_id", ""),
        event_type,
        headers.get("ce_correlationid", ""),
        headers.get("ce_causationid", ""),
        event,
    )


def instant(text: str) -> datetime | None:
    """The moment that a header tells; none where it is not one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
