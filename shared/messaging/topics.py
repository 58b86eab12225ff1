"""The topics: created once, with a number of partitions that never changes (it would move keys)."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka.admin import NewTopic
from aiokafka.errors import for_code

from shared.broker import Broker, asking
from shared.events import COMPACTED_TOPICS, TOPICS
from shared.events.audit import AUDIT_TOPIC

PARTITIONS = 24
"""The default for a chain; the local stack uses 4."""

RETENTION_DAYS = 14
"""Shorter than the inbox keeps ids, so that no replay of a topic finds an event forgotten."""

STAMPED = {"message.timestamp.type": "LogAppendTime"}
"""By the broker. It refuses records that a service stamps, where the service's machine is an hour ahead of its own."""

GATHERED_BYTES = 256 * 1024
"""Where a reader has the broker gather records for a moment, it waits for no more than these."""

REPLICAS = 3

ALREADY_EXISTS = 36


def group_of(service: str, prefix: str) -> str:
    """The consumer group of a service."""
    return f"{prefix}medsync-{service}"


def relay_group_of(service: str, prefix: str) -> str:
    """Under which its relays mark how far they are; their transactional ids begin so too."""
    return f"{group_of(service, prefix)}-relay"


async def create_topics(
    broker: Broker,
    partitions: int = PARTITIONS,
    *,
    prefix: str = "",
    topics: Collection[str] = (*TOPICS, AUDIT_TOPIC),
) -> list[str]:
    """Create those that do not exist, on three brokers where there are as many; answers the names of the new ones."""
    async with asking(broker) as admin:
        replicas = min(REPLICAS, len((await admin.describe_cluster())["brokers"]))
        wanted = [_topic(prefix, name, partitions, replicas) for name in topics]
        answer = await admin.create_topics(wanted)
    created = []
    for name, code, *rest in answer.topic_errors:
        if code == 0:
            created.append(name)
        elif code != ALREADY_EXISTS:
            raise for_code(code)(f"topic {name}: {rest}")
    return created


def _topic(prefix: str, name: str, partitions: int, replicas: int) -> NewTopic:
    keep = (
        {"cleanup.policy": "compact"}
        if name in COMPACTED_TOPICS or name == AUDIT_TOPIC
        else {"retention.ms": str(RETENTION_DAYS * 86_400_000)}
    )
    return NewTopic(prefix + name, partitions, replicas, topic_configs=keep | STAMPED)
