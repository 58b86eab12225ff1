"""Subscribing to Kafka, by FastStream on aiokafka: one batch subscriber for all topics of a service.

FastStream polls, rebalances and stops; it neither decodes nor acknowledges. Records come through untouched, the
intake gives them their effect, and then the offsets of exactly that batch are committed. The handler below never
raises: with any acknowledgement policy an exception would lose the batch, or try it for ever without a pause.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from shared.messaging import tables
from shared.messaging.crashpoints import reach
from shared.messaging.envelope import Record
from shared.messaging.intake import BadRelease, Intake, Outage
from shared.messaging.lag import LagMeter, Place

BATCH_BYTES = 8 * 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
DEADLY = 3
"""Processes that died with one record at the head of their batch: then it is poison."""

EXIT_STUCK = 70

log = structlog.get_logger()


class Consumer:
    """Feeds the intake of one service from its topics."""

    def __init__(
        self,
        intake: Intake,
        *,
        bootstrap: str,
        service: str,
        slot: int,
        topic_prefix: str = "",
        batch_size: int = 500,
        session_timeout_ms: int = 10_000,
        max_poll_interval_ms: int = 300_000,
    ) -> None:
        self.intake, self._prefix = intake, topic_prefix
        self.group = f"{topic_prefix}medsync-{service}"
        self.topics = [topic_prefix + topic for topic in intake.handlers.topics]
        self.stopped_because: str | None = None
        self.commit_errors = 0
        self._pause = FIRST_PAUSE
        self._resuming: asyncio.Task[None] | None = None
        self._vetted: set[Place] = set()
        self._broker = KafkaBroker(
            bootstrap,
            client_id=f"medsync-{service}-{slot}",
            ack_policy=AckPolicy.MANUAL,
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
            graceful_timeout=15.0,
            request_timeout_ms=10_000,
        )
        self._subscriber = self._broker.subscriber(
            *self.topics,
            batch=True,
            group_id=self.group,
            group_instance_id=f"{self.group}-{slot}",  # never a default: two with one id steal from each other
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_records=batch_size,
            batch_timeout_ms=10,
            fetch_max_wait_ms=100,
            fetch_max_bytes=BATCH_BYTES,
            max_partition_fetch_bytes=BATCH_BYTES,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=min(3000, session_timeout_ms // 3),
            max_poll_interval_ms=max_poll_interval_ms,
            listener=_Rebalances(self),
            parser=self._pass_through,
            decoder=_raw_records,
            no_reply=True,  # a reply_to header would publish past the outbox
        )
        self._subscriber(self._on_batch)

    @property
    def running(self) -> bool:
        """Whether it is subscribed and not stopped by a bad release."""
        return self._subscriber.consumer is not None and self.stopped_because is None

    @property
    def assignment(self) -> set[TopicPartition]:
        consumer = self._subscriber.consumer
        return set(consumer.assignment()) if consumer else set()

    async def start(self) -> None:
        """Join the group. Raises KafkaError while the broker is away."""
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise

    async def stop(self) -> None:
        """Finish or roll back the batch in hand, leave."""
        if self._resuming:
            self._resuming.cancel()
        await self._broker.stop()

    async def watch(self, meter: LagMeter, *, stuck_after: float) -> None:
        """End the process if it holds partitions whose end moves on and whose position stands still.

        A consumer was seen to be stuck like this after a broker outage, without any signal; whoever runs the
        process starts it again.
        """
        stood_since: dict[Place, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(min(5.0, stuck_after / 4))
            try:
                lag = await meter.read()
            except (KafkaError, OSError, TimeoutError):
                stood_since.clear()
                continue
            now = time.monotonic()
            waiting = self._resuming is not None or self.stopped_because is not None
            for tp in self.assignment:
                place = (tp.topic, tp.partition)
                done, end = lag.committed.get(place, 0), lag.end.get(place, 0)
                position, since = stood_since.get(place, (-1, now))
                if waiting or done >= end or position != done:
                    stood_since[place] = (done, now)
                elif now - since > stuck_after:
                    log.critical(
                        "consumer.stuck", topic=tp.topic, partition=tp.partition, seconds=now - since
                    )
                    os._exit(EXIT_STUCK)

    async def _on_batch(self, raw: Sequence[ConsumerRecord[Any, Any]]) -> None:
        consumer = self._subscriber.consumer
        assert consumer is not None
        by_partition: dict[TopicPartition, list[Record]] = defaultdict(list)
        for one in raw:
            by_partition[TopicPartition(one.topic, one.partition)].append(self._record(one))
        try:
            await self._take(consumer, by_partition)
        except BadRelease as bad:
            log.critical("consumer.bad_release", reason=str(bad))
            self.stopped_because = str(bad)
            self._rewind(consumer, by_partition)
            consumer.pause(*consumer.assignment())
        except Exception as error:  # an outage, or a fault of the fabric itself: nobody's event is blamed
            log.warning(
                "consumer.waits", error=str(error) if isinstance(error, Outage) else type(error).__name__
            )
            if not isinstance(error, Outage):
                log.exception("consumer.fault")
            self._rewind(consumer, by_partition)
            consumer.pause(*consumer.assignment())
            self._resuming = asyncio.create_task(self._resume_later(consumer))
        else:
            self._pause = FIRST_PAUSE
            reach("intake.acknowledged")

    async def _take(
        self, consumer: AIOKafkaConsumer, by_partition: dict[TopicPartition, list[Record]]
    ) -> None:
        suspected = await self._suspects(by_partition)
        for tp, deaths in suspected.items():
            if deaths:
                await self._take_carefully(consumer, tp, by_partition.pop(tp), deaths)
        records = [record for of_it in by_partition.values() for record in of_it]
        if records:
            await self.intake.take(records)
            await self._commit(consumer, {tp: of_it[-1].offset + 1 for tp, of_it in by_partition.items()})
        if suspected:
            async with self.intake.work.pool.acquire() as db:
                await tables.clear_suspects(db, [(tp.topic, tp.partition) for tp in suspected])
            self._vetted |= {(tp.topic, tp.partition) for tp in suspected}

    async def _suspects(self, by_partition: dict[TopicPartition, list[Record]]) -> dict[TopicPartition, int]:
        """The first batch of each partition since it was assigned: how many processes died at its head."""
        fresh = [tp for tp in by_partition if (tp.topic, tp.partition) not in self._vetted]
        if not fresh:
            return {}
        async with self.intake.work.pool.acquire() as db:
            return {
                tp: await tables.suspect(db, tp.topic, tp.partition, by_partition[tp][0].offset)
                for tp in fresh
            }

    async def _take_carefully(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, records: Sequence[Record], deaths: int
    ) -> None:
        """After a death: one record at a time, so that a killer comes to stand at the head alone."""
        for record in records:
            if record is not records[0]:
                async with self.intake.work.pool.acquire() as db:
                    deaths = await tables.suspect(db, tp.topic, tp.partition, record.offset)
            if deaths >= DEADLY:
                await self.intake.bury_killer(record, deaths)
            else:
                await self.intake.take([record])
            await self._commit(consumer, {tp: record.offset + 1})

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Acknowledge; a failure means redelivery, which the inbox absorbs."""
        held = consumer.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in held}
        try:
            if mine:
                await consumer.commit(mine)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            self.commit_errors += 1
            log.warning("consumer.commit_failed", error=type(error).__name__)

    def _rewind(self, consumer: AIOKafkaConsumer, by_partition: dict[TopicPartition, list[Record]]) -> None:
        """Go back to the start of the batch in every partition that is still assigned."""
        for tp, records in by_partition.items():
            if tp in consumer.assignment():
                consumer.seek(tp, records[0].offset)

    async def _resume_later(self, consumer: AIOKafkaConsumer) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._resuming = None
        consumer.resume(*consumer.paused())

    def _record(self, raw: ConsumerRecord[Any, Any]) -> Record:
        return Record(
            raw.topic.removeprefix(self._prefix),
            raw.partition,
            raw.offset,
            raw.key,
            tuple(raw.headers),
            raw.value,
        )

    async def _pass_through(self, records: Any) -> KafkaAckableMessage:
        """Hand the records through untouched: FastStream's parser fails on a null or non-UTF-8 header."""
        return KafkaAckableMessage(body=b"", raw_message=records, consumer=self._subscriber.consumer)

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Newly held partitions: their first batch is looked at with care."""
        self._vetted -= {(tp.topic, tp.partition) for tp in partitions}


async def _raw_records(message: KafkaAckableMessage) -> Any:
    return message.raw_message


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        reach("rebalance.revoked")

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer.assigned(list(assigned))
        reach("rebalance.assigned")
        log.info("consumer.assigned", partitions=len(list(assigned)))
