"""What the fabric uses of its libraries' insides is there, and does what it is used for: a release may change it."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ProducerFenced
from faststream.kafka import KafkaBroker

from shared.events import TOPICS
from shared.messaging import internals
from shared.messaging.topics import create_topics
from tests.integration.fabric.given import Ledger
from tests.running import until


async def test_the_partitions_of_a_topic_that_nobody_subscribed_to(ledger: Ledger) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=ledger.bootstrap)
    await consumer.start()
    try:
        topic = ledger.prefix + TOPICS[0]
        assert consumer.partitions_for_topic(topic) is None  # else nothing would have to be fetched
        assert await internals.partitions_of(consumer, topic) == {0, 1, 2, 3}
    finally:
        await consumer.stop()


async def test_which_partitions_have_a_leader_and_which_topic_is_not_there(ledger: Ledger) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=ledger.bootstrap)
    await producer.start()
    try:
        began = time.monotonic()
        assert await internals.leaders_of(producer, ledger.prefix + "nowhere") == {}
        assert time.monotonic() - began < 5  # the public way waits for ten
        topic = ledger.prefix + TOPICS[0]

        async def led() -> bool:
            return await internals.leaders_of(producer, topic) == dict.fromkeys(range(4), True)

        await until(led, "the broker tells who leads a topic that was just made")
        lost = producer.client.cluster._partitions[topic][2]
        producer.client.cluster._partitions[topic][2] = lost._replace(leader=-1)
        assert (await internals.leaders_of(producer, topic))[2] is False
        assert (await internals.leaders_of(producer, topic, anew=True))[2] is True
    finally:
        await producer.stop()


async def test_a_producer_that_was_fenced_says_so_before_it_begins_again(ledger: Ledger) -> None:
    async def started() -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=ledger.bootstrap, transactional_id=f"{ledger.prefix}internals"
        )
        await producer.start()
        return producer

    first = await started()
    internals.raise_if_dead(first)
    await first.begin_transaction()
    second = await started()
    await first.send(ledger.prefix + TOPICS[0], b"{}", partition=0)
    with pytest.raises(ProducerFenced):
        await first.commit_transaction()
    with pytest.raises(ProducerFenced):
        internals.raise_if_dead(first)
    await internals.abandon(first)
    await second.stop()


async def test_a_key_goes_where_every_client_sends_it(ledger: Ledger) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=ledger.bootstrap)
    await producer.start()
    try:
        for key in (b"a", b"0123456789abcdef", "é".encode()):
            sent = await producer.send_and_wait(ledger.prefix + TOPICS[0], b"{}", key=key)
            assert sent.partition == internals.key_hash(key) % 4
    finally:
        await producer.stop()


async def test_an_abandoned_producer_sends_nothing_that_it_holds(ledger: Ledger) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=ledger.bootstrap, linger_ms=60_000)
    await producer.start()
    held = await producer.send(ledger.prefix + TOPICS[0], b"{}", key=b"a")
    async with asyncio.timeout(internals.ABANDON_SECONDS + 1):
        await internals.abandon(producer)
    with pytest.raises(Exception, match="ProducerClosed"):
        await held
    consumer = AIOKafkaConsumer(bootstrap_servers=ledger.bootstrap)
    await consumer.start()
    try:
        await internals.partitions_of(consumer, ledger.prefix + TOPICS[0])
        ends = await consumer.end_offsets([TopicPartition(ledger.prefix + TOPICS[0], p) for p in range(4)])
        assert sum(ends.values()) == 0
    finally:
        await consumer.stop()


async def test_a_topic_made_anew_has_another_id(ledger: Ledger) -> None:
    topic, missing = ledger.prefix + TOPICS[0], ledger.prefix + "missing"
    admin = AIOKafkaAdminClient(bootstrap_servers=ledger.bootstrap)
    await admin.start()
    try:
        cluster, before = await internals.topic_ids(admin, [topic, missing])
        assert before.keys() == {topic}
        assert before[topic][1] == dict.fromkeys(range(4), True)
        assert await internals.topic_ids(admin, [topic]) == (cluster, before)
        await admin.delete_topics([topic])

        async def made() -> bool:
            return bool(await create_topics(ledger.bootstrap, 4, prefix=ledger.prefix, topics=TOPICS[:1]))

        await until(made, "the topic is made anew")

        async def another() -> bool:
            _, now = await internals.topic_ids(admin, [topic])
            return topic in now and now[topic][0] != before[topic][0]

        await until(another, "the broker tells the new one's id")
    finally:
        await admin.close()


async def test_a_group_says_what_its_members_hold_and_shares_it_out_anew(ledger: Ledger) -> None:
    topic, group = ledger.prefix + TOPICS[0], ledger.prefix + "internals"
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=ledger.bootstrap, group_id=group)
    admin = AIOKafkaAdminClient(bootstrap_servers=ledger.bootstrap)
    await admin.start()
    await consumer.start()
    try:
        everything = {(topic, partition) for partition in range(4)}

        async def held() -> bool:
            return await internals.held_by(admin, group) == everything

        await until(held, "the member holds every partition")
        first = consumer._subscription.subscription.assignment
        assert not internals.joins_again(consumer)
        await internals.rejoin(consumer)
        assert internals.joins_again(consumer)

        async def anew() -> bool:
            return consumer._subscription.subscription.assignment is not first

        await until(anew, "it is given another assignment")
        await until(held, "it holds every partition again")
        assert not internals.joins_again(consumer)
    finally:
        await consumer.stop()
        await admin.close()


async def test_a_subscriber_fetches_as_it_is_told(ledger: Ledger) -> None:
    asked = asyncio.Event()

    async def poll(consumer: AIOKafkaConsumer) -> tuple[()]:
        assert consumer is internals.consumer_of(subscriber)
        asked.set()
        await asyncio.sleep(0.05)
        return ()

    broker = KafkaBroker(ledger.bootstrap, logger=None)
    subscriber = broker.subscriber(
        ledger.prefix + TOPICS[0], batch=True, group_id=ledger.prefix + "internals"
    )
    subscriber(lambda _: None)
    internals.poll_by(subscriber, poll)
    assert internals.consumer_of(subscriber) is None
    await broker.start()
    try:
        await asyncio.wait_for(asked.wait(), 10)
    finally:
        await broker.stop()
