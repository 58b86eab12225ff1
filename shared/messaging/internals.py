"""What the fabric needs of its libraries' insides, in one place: no public way does it. A test of each fails when a
release changes them; every other module here keeps to what aiokafka and FastStream promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError, ProducerClosed, for_code
from aiokafka.partitioner import murmur2
from aiokafka.protocol.admin import CreateAclsRequest_v1
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

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


async def held_by(admin: AIOKafkaAdminClient, group: str) -> set[tuple[str, int]] | None:
    """The partitions, by topic and number, that members of a group hold; none where it is not stable."""
    (answer,) = await admin.describe_consumer_groups([group])
    (told,) = answer.to_object()["groups"]
    if told["state"] != "Stable":
        return None
    assignments = [ConsumerProtocol.ASSIGNMENT.decode(each["member_assignment"]) for each in told["members"]]
    return {(tp.topic, tp.partition) for one in assignments for tp in one.partitions()}


ACL_CODES = {
    **{"TOPIC": 2, "GROUP": 3, "TRANSACTIONAL_ID": 5},
    **{"LITERAL": 3, "PREFIXED": 4},
    **{"READ": 3, "WRITE": 4, "DESCRIBE_CONFIGS": 10},
    "ALLOW": 3,
}


async def create_acls(admin: AIOKafkaAdminClient, rules: Collection[tuple[str, str, str, str, str]]) -> None:
    """Allow principals operations on resources by name and pattern. Raises KafkaError at the first that is refused."""
    answer = (await admin._send_request(_CreateAcls(rules))).to_object()
    for one in answer["creation_responses"]:
        if one["error_code"]:
            raise for_code(one["error_code"])(one["error_message"])


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """aiokafka's own asks for one rule at a time."""

    API_KEY = 30

    def __init__(self, rules: Collection[tuple[str, str, str, str, str]]) -> None:
        self._rules = rules

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        code = ACL_CODES
        return request_struct_class(
            [
                (code[resource], name, code[pattern], principal, "*", code[operation], code["ALLOW"])
                for principal, operation, resource, name, pattern in self._rules
            ]
        )


async def rejoin(consumer: AIOKafkaConsumer) -> None:
    """Have the group share the partitions out anew that there are now: it may know those of five minutes ago."""
    await consumer._client.force_metadata_update()
    consumer._coordinator.request_rejoin()


def joins_again(consumer: AIOKafkaConsumer) -> bool:
    """Whether it is about to join its group anew, or has asked to and waits for the others.

    What it commits meanwhile is handled after that, when the group takes no commits: the error has it join once more.
    """
    return bool(consumer._coordinator._rejoin_needed_fut.done())


async def topic_ids(
    admin: AIOKafkaAdminClient, topics: Collection[str]
) -> tuple[str, dict[str, tuple[UUID, dict[int, bool]]]]:
    """The cluster's id; and of each topic that exists its id, which another of its name has not, and of each of its
    partitions whether somebody leads it."""
    answer = (await admin._send_request(_Metadata(topics))).to_object()
    found = {
        one["topic"]: (
            _uuid(one["id_high"], one["id_low"]),
            {each["partition"]: each["leader"] >= 0 for each in one["partitions"]},
        )
        for one in answer["topics"]
        if one["error_code"] == 0
    }
    return answer["cluster_id"], found


def _uuid(high: int, low: int) -> UUID:
    return UUID(int=(high % 2**64) << 64 | low % 2**64)


class _MetadataResponse10(Response):  # type: ignore[misc]
    """aiokafka asks in older words, which have no ids of topics."""

    API_KEY, API_VERSION = 3, 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString()),
                ("id_high", Int64),
                ("id_low", Int64),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest10(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION = 3, 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse10
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("id_high", Int64), ("id_low", Int64), ("topic", CompactString()), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Metadata(Request[_MetadataRequest10]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequest10]) -> _MetadataRequest10:
        return request_struct_class([(0, 0, topic, {}) for topic in self._topics], False, False, False, {})
