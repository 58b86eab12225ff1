"""Subscribing to Kafka, by FastStream on aiokafka: one batch subscriber for all topics of a service.

FastStream polls, rebalances and stops; it neither decodes nor acknowledges. Records come through untouched, the
intake gives them their effect, and then the offsets of exactly that batch are committed. The handler below never
raises: with any acknowledgement policy an exception would lose the batch, or try it for ever without a pause.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from shared.messaging import internals
from shared.messaging.crashpoints import reach
from shared.messaging.envelope import Record
from shared.messaging.intake import DEADLY, BadRelease, Intake, Outage
from shared.messaging.lag import LagMeter
from shared.messaging.outages import is_outage
from shared.messaging.polling import Poll
from shared.messaging.suspects import A_FEW, Suspects
from shared.messaging.topics import GATHERED_BYTES
from shared.messaging.watch import watch

BATCH_BYTES = 8 * 1024 * 1024
IDLE_MS = 500
"""How long the broker keeps a request open while there is nothing."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

STOP_SECONDS = 10.0
"""How long a batch in hand may take at a stop; then it is rolled back."""

LANES = 2
"""Transactions side by side."""

COMMIT_SECONDS = 30.0
"""aiokafka tries for ever to commit to a broker that is away."""

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
        gather_ms: int = 0,
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
        self._busy_since: float | None = None  # a batch is in hand
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy_for = max_poll_interval_ms / 1000
        self._suspects = Suspects(intake.work)
        self._broker = KafkaBroker(
            bootstrap.split(","),  # it would take several in one string for one
            client_id=f"medsync-{service}-{slot}",
            ack_policy=AckPolicy.MANUAL,
            consumer_only=True,
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
            graceful_timeout=STOP_SECONDS,
            request_timeout_ms=10_000,
        )
        self._subscriber = self._broker.subscriber(
            *self.topics,
            batch=True,
            group_id=self.group,
            group_instance_id=f"{self.group}-{slot}",  # never a default: two with one id steal from each other
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=gather_ms or IDLE_MS,
            fetch_min_bytes=GATHERED_BYTES if gather_ms else 1,
            fetch_max_bytes=BATCH_BYTES,
            max_partition_fetch_bytes=BATCH_BYTES,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=min(3000, session_timeout_ms // 3),
            max_poll_interval_ms=max_poll_interval_ms,
            listener=_Rebalances(self._suspects),
            parser=self._pass_through,
            decoder=_raw_records,
            no_reply=True,  # a reply_to header would publish past the outbox
        )
        internals.poll_by(self._subscriber, Poll(LANES * batch_size, self._set_aside))
        self._subscriber(self._on_batch)

    @property
    def running(self) -> bool:
        """Whether it is subscribed and not stopped by a bad release."""
        return internals.consumer_of(self._subscriber) is not None and self.stopped_because is None

    @property
    def assignment(self) -> set[TopicPartition]:
        consumer = internals.consumer_of(self._subscriber)
        return set(consumer.assignment()) if consumer else set()

    async def start(self) -> None:
        """Join the group. Raises KafkaError while the broker is away."""
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise

    async def stop(self) -> None:
        """Finish or roll back the batch in hand, leave. Takes no longer where the broker is away."""
        try:
            async with asyncio.timeout(STOP_SECONDS + 3):
                await self._broker.stop()
                await self._idle.wait()  # until a batch that was cancelled has been rolled back
        except TimeoutError:
            log.warning("consumer.abandoned")
        if self._resuming:
            self._resuming.cancel()

    async def watch(self, meter: LagMeter, *, stuck_after: float) -> None:
        """End the process if it holds partitions whose end moves on and whose position stands still."""
        await watch(meter, lambda: self.assignment, self._is_at_work, stuck_after=stuck_after)

    def _is_at_work(self) -> bool:
        waiting = self._resuming is not None or self.stopped_because is not None
        return waiting or (
            self._busy_since is not None and time.monotonic() - self._busy_since < self._busy_for
        )

    async def _set_aside(self, consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> None:
        """Bury a record that cannot be read, and acknowledge it."""
        await self.intake.bury_unreadable(tp.topic.removeprefix(self._prefix), tp.partition, offset)
        await self._commit(consumer, {tp: offset + 1})

    async def _on_batch(self, raw: Sequence[ConsumerRecord[Any, Any]]) -> None:
        consumer = internals.consumer_of(self._subscriber)
        assert consumer is not None
        by_partition: dict[TopicPartition, list[Record]] = defaultdict(list)
        for one in raw:
            by_partition[TopicPartition(one.topic, one.partition)].append(self._record(one))
        if self.stopped_because or self._resuming:  # a rebalance has forgotten the pause
            self._hold_back(consumer, by_partition)
            return
        self._busy_since = time.monotonic()
        self._idle.clear()
        try:
            await self._take(consumer, by_partition)
        except BadRelease as bad:
            log.critical("consumer.bad_release", reason=str(bad))
            self.stopped_because = str(bad)
            self._hold_back(consumer, by_partition)
        except Exception as error:  # an outage, or a fault of the fabric itself: nobody's event is blamed
            if isinstance(error, Outage) or is_outage(error):
                log.warning(
                    "consumer.waits", error=str(error) if isinstance(error, Outage) else type(error).__name__
                )
            else:
                log.exception("consumer.fault")
            self._hold_back(consumer, by_partition)
            self._resuming = asyncio.create_task(self._resume_later(consumer))
        else:
            self._pause = FIRST_PAUSE
            reach("intake.acknowledged")
        finally:
            self._busy_since = None
            self._idle.set()

    async def _take(
        self, consumer: AIOKafkaConsumer, by_partition: dict[TopicPartition, list[Record]]
    ) -> None:
        """Give the batch its effect and acknowledge it; carefully where a process died with it."""
        fresh = self._suspects.fresh(by_partition)
        try:
            suspected = await self._suspects.unfinished({tp: by_partition[tp] for tp in fresh})
            for tp, in_hand in suspected.items():
                await self._take_carefully(consumer, tp, by_partition[tp], in_hand)
            together = {tp: records for tp, records in by_partition.items() if tp not in suspected}
            if together:
                await self._suspects.begin({tp: together[tp] for tp in fresh if tp in together})
                await self._in_lanes([record for records in together.values() for record in records])
                await self._commit(
                    consumer, {tp: await _behind(consumer, tp, records) for tp, records in together.items()}
                )
        except asyncio.CancelledError:  # stopped, not killed
            await self._suspects.clear(fresh)
            raise
        await self._suspects.clear(fresh)
        self._suspects.vetted(fresh)

    async def _in_lanes(self, records: Sequence[Record]) -> None:
        """Give them their effect in transactions side by side: while one waits for the database, another works.

        A patient's records go one way, in their order. No lane's failure counts before all came to an end.
        """
        lanes: list[list[Record]] = [[] for _ in range(LANES)]
        for record in records:
            lanes[crc32(record.key or b"") % LANES].append(record)
        ends = await asyncio.gather(
            *(self.intake.take(lane) for lane in lanes if lane), return_exceptions=True
        )
        for end in ends:
            if end:
                raise end

    async def _take_carefully(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, records: list[Record], in_hand: int
    ) -> None:
        """After a death with so many in hand: a few at a time; a few with which a process died, one at a time.

        So a killer comes to stand alone, and a process that was killed by chance costs little.
        """
        singly = in_hand if in_hand <= A_FEW else 0
        while records:
            few = records[: 1 if singly > 0 else A_FEW]
            deaths = await self._suspects.begin({tp: few})
            if len(few) == 1 and deaths[tp.topic, tp.partition] >= DEADLY:
                await self.intake.bury_killer(few[0])
            else:
                await self.intake.take(few)
            await self._commit(consumer, {tp: few[-1].offset + 1})
            del records[: len(few)]
            singly -= len(few)

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Acknowledge; a failure means redelivery, which the inbox absorbs."""
        held = consumer.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in held}
        try:
            if mine:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await consumer.commit(mine)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            self.commit_errors += 1
            log.warning("consumer.commit_failed", error=type(error).__name__)

    def _hold_back(
        self, consumer: AIOKafkaConsumer, by_partition: dict[TopicPartition, list[Record]]
    ) -> None:
        """Go back to the start of the batch in every partition that is still assigned, and pause."""
        for tp, records in by_partition.items():
            if records and tp in consumer.assignment():
                consumer.seek(tp, records[0].offset)
        consumer.pause(*consumer.assignment())

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
        return KafkaAckableMessage(
            body=b"", raw_message=records, consumer=internals.consumer_of(self._subscriber)
        )


async def _behind(consumer: AIOKafkaConsumer, tp: TopicPartition, records: Sequence[Record]) -> int:
    """The offset behind the records, and behind the markers of transactions that follow them."""
    at = await consumer.position(tp) if tp in consumer.assignment() else 0
    return max(at, records[-1].offset + 1)


async def _raw_records(message: KafkaAckableMessage) -> Any:
    return message.raw_message


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, suspects: Suspects) -> None:
        self._suspects = suspects

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        reach("rebalance.revoked")

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._suspects.assigned(list(assigned))
        reach("rebalance.assigned")
        log.info("consumer.assigned", partitions=len(list(assigned)))
