"""What the fabric needs of its libraries' insides, in one place: no public way does it. A test of each fails when a
release changes them; every other module here keeps to what aiokafka and FastStream promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.partitioner import murmur2

ABANDON_SECONDS = 3.0

log = structlog.get_logger()


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """A topic's partitions, its metadata fetched the first time: the public way to fetch it is to subscribe."""
    if (known := consumer.partitions_for_topic(topic)) is None:
        await consumer._client._wait_on_metadata(topic)
        known = consumer.partitions_for_topic(topic)
    return known or set()


async def leaders_of(producer: AIOKafkaProducer, topic: str, *, anew: bool = False) -> dict[int, bool]:
    """A topic's partitions, and which of them have a leader; none where there is no such topic.

    The public way waits ten seconds for a topic that is not there, and knows nothing of leaders.
    """
    client, cluster = producer.client, producer.client.cluster
    if anew or cluster.partitions_for_topic(topic) is None:
        client.add_topic(topic)
        await client.force_metadata_update()
    return {
        partition: cluster.leader_for_partition(TopicPartition(topic, partition)) not in (None, -1)
        for partition in sorted(cluster.partitions_for_topic(topic) or ())
    }


def key_hash(key: bytes) -> int:
    """As every Kafka client hashes a key by default, before the modulus of the partitions."""
    return int(murmur2(key)) & 0x7FFFFFFF


def raise_if_dead(producer: AIOKafkaProducer) -> None:
    """Raise what ended a producer, if anything did: beginning or committing would fail with a bare assertion."""
    sender = producer._sender.sender_task
    if sender is not None and sender.done() and not sender.cancelled() and (error := sender.exception()):
        raise error


async def abandon(producer: AIOKafkaProducer) -> None:
    """Let go of a producer without flushing what it holds.

    One that is stopped while the broker is away does not end by itself, and sends what it holds when it is back.
    """
    producer._message_accumulator.fail_all(ProducerClosed())
    try:
        async with asyncio.timeout(ABANDON_SECONDS):
            sender = producer._sender.sender_task
            while sender is not None and not sender.done():
                sender.cancel()  # and again: the first time it goes on to wait for the requests in flight
                await asyncio.wait([sender], timeout=0.1)
            await producer.stop()
    except (TimeoutError, KafkaError, OSError) as error:
        log.warning("relay.producer_abandoned", error=type(error).__name__)


def poll_by(subscriber: Any, poll: Callable[[AIOKafkaConsumer], Awaitable[Any]]) -> None:
    """Let a batch subscriber of FastStream fetch its next batch by `poll`.

    Its own poll waits for batch_timeout_ms and then sleeps as long: short, it kept an idle service busy; long, it held
    back what came during the sleep.
    """
    subscriber.get_msg = poll


def consumer_of(subscriber: Any) -> AIOKafkaConsumer | None:
    """The consumer under a subscriber of FastStream; none before it is started."""
    return subscriber.consumer
