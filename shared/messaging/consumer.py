"""Subscribing to Kafka, by FastStream on aiokafka: one batch subscriber for all topics of a service.

FastStream polls, rebalances and stops; it neither decodes nor acknowledges. Records come through untouched, and the
intake gives them their effect and moves the positions in one transaction. Partitions are read from where the database
stands, once somebody has looked whether they can be: until then, and where events are missing, they are paused. The
handler below never raises: with any acknowledgement policy an exception would lose the batch, or try it for ever
without a pause.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLScram512

from shared.broker import Broker, client_of
from shared.messaging import internals
from shared.messaging.crashpoints import reach
from shared.messaging.envelope import Record
from shared.messaging.intake import DEADLY, ENDED_CONNECTION, KILLED, BadRelease, Intake, Outage
from shared.messaging.lag import LagMeter
from shared.messaging.outages import BROKER_AWAY, is_outage, loss_of
from shared.messaging.polling import LANES, Poll, lane_of, rewind
from shared.messaging.positions import Lookout, Span, Spans
from shared.messaging.suspects import A_FEW, Suspects
from shared.messaging.tables import Displaced
from shared.messaging.topics import GATHERED_BYTES, group_of
from shared.messaging.unit import Caller
from shared.messaging.waits import Wait
from shared.messaging.watch import Unassigned, watch

BATCH_BYTES = 8 * 1024 * 1024
IDLE_MS = 500
"""How long the broker keeps a request open while there is nothing."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

STOP_SECONDS = 10.0
"""How long a batch in hand may take at a stop; then it is rolled back."""

LOOK_SECONDS = 5.0
"""How often somebody looks whether the topics are what they were."""

LOOK_AGAIN_SECONDS = 0.5

COMMIT_SECONDS = 30.0
"""aiokafka tries for ever to commit to a broker that is away."""

log = structlog.get_logger()


class Consumer:
    """Feeds the intake of one service from its topics."""

    def __init__(
        self,
        intake: Intake,
        meter: LagMeter,
        *,
        broker: Broker,
        service: str,
        slot: int,
        topic_prefix: str = "",
        batch_size: int = 500,
        gather_ms: int = 0,
        session_timeout_ms: int = 10_000,
        max_poll_interval_ms: int = 300_000,
    ) -> None:
        self.intake, self._prefix = intake, topic_prefix
        self.group = group_of(service, topic_prefix)
        self.stopped_because: str | None = None
        self.commit_errors = 0
        self._pause = FIRST_PAUSE
        self._resuming: asyncio.Task[None] | None = None
        self._busy_since: float | None = None  # a batch is in hand
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy_for = max_poll_interval_ms / 1000
        self._batches = 0  # begun
        self._lookout = Lookout(intake.work, meter, prefix=topic_prefix)
        self._stands: dict[TopicPartition, int] = {}  # the partitions that may be read
        self._told: dict[TopicPartition, int] = {}  # what Kafka took of it
        self._unassigned = Unassigned()
        self._look_wanted = asyncio.Event()
        self._look_wanted.set()
        self._looking: asyncio.Task[None] | None = None
        self._suspects = Suspects(intake.work)
        self.wait = Wait()
        self._broker = KafkaBroker(
            **_reached(broker),
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
            *meter.topics,
            batch=True,
            group_id=self.group,
            group_instance_id=f"{self.group}-{slot}",  # never a default: two with one id steal from each other
            auto_offset_reset="none",  # earliest shrugs where records are gone
            isolation_level="read_committed",
            fetch_max_wait_ms=gather_ms or IDLE_MS,
            fetch_min_bytes=GATHERED_BYTES if gather_ms else 1,
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
        self._poll = Poll(
            batch_size,
            self._stands,
            set_aside=self._set_aside,
            pass_over=self._pass_over,
            look=self._look_wanted.set,
        )
        internals.poll_by(self._subscriber, self._poll)
        self._subscriber(self._on_batch)

    @property
    def running(self) -> bool:
        """Whether it is subscribed and not stopped by a bad release."""
        return internals.consumer_of(self._subscriber) is not None and self.stopped_because is None

    @property
    def assignment(self) -> set[TopicPartition]:
        consumer = internals.consumer_of(self._subscriber)
        return set(consumer.assignment()) if consumer else set()

    @property
    def leaves_out(self) -> bool:
        """Whether no process has held some of the partitions for some time."""
        return self._unassigned.lasts(time.monotonic())

    async def accept_gaps(self, caller: Caller, topic: str) -> bool:
        """Go on in a topic though events are missing; says whether it had waited for that."""
        accepted = await self._lookout.accept(caller, topic)
        self._look_wanted.set()
        return accepted

    async def start(self) -> None:
        """Join the group. Raises KafkaError while the broker is away."""
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise
        self._looking = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """Finish or roll back the batch in hand, leave. Takes no longer where the broker is away."""
        for task in (self._resuming, self._looking):
            if task:
                task.cancel()
        try:
            async with asyncio.timeout(STOP_SECONDS + 3):
                await self._broker.stop()
                await self._idle.wait()  # until a batch that was cancelled has been rolled back
        except TimeoutError:
            log.warning("consumer.abandoned")

    async def watch(self, meter: LagMeter, *, stuck_after: float) -> None:
        """End the process if it holds partitions whose end moves on and whose position stands still, or none."""
        await watch(
            meter,
            lambda: self.assignment,
            lambda: list(self._stands),
            self._is_at_work,
            self._unassigned,
            lambda: internals.rejoin(self._running()),
            stuck_after=stuck_after,
        )

    def _is_at_work(self) -> bool:
        waiting = self._resuming is not None or self.stopped_because is not None
        return waiting or (
            self._busy_since is not None and time.monotonic() - self._busy_since < self._busy_for
        )

    # ---- where to read

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing is read of them before somebody has looked. Called before anything can be: no await comes first."""
        consumer = self._running()
        consumer.pause(*partitions)
        for tp in partitions:
            consumer.seek(tp, 0)  # anywhere: so that aiokafka does not go to where Kafka says
        self._stands.clear()
        self._told.clear()
        self._suspects.assigned(partitions)
        self._look_wanted.set()

    async def _keep_looking(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look_wanted.wait()
            self._look_wanted.clear()
            try:
                await self._look()
            except Exception as error:  # broker or database away: what is read goes on, the rest waits
                away = isinstance(error, BROKER_AWAY) or is_outage(error)
                log.warning("consumer.cannot_look", error=type(error).__name__, exc_info=not away)
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                self._look_wanted.set()

    async def _look(self) -> None:
        """Go to where the database stands in what is held; pause the topics of which events are missing."""
        await self._idle.wait()
        before, stands, consumer = self._batches, await self._lookout.look(), self._running()
        undisturbed = self._batches == before
        for tp in consumer.assignment():
            if tp not in stands:
                consumer.pause(tp)
                self._stands.pop(tp, None)
            elif tp not in self._stands or (undisturbed and self._stands[tp] != stands[tp]):
                self._stands[tp] = stands[tp]
                consumer.seek(tp, stands[tp])
        self._resume(consumer)
        await self._commit(consumer, {tp: at for tp, at in self._stands.items() if self._told.get(tp) != at})

    def _resume(self, consumer: AIOKafkaConsumer) -> None:
        if not self._resuming and not self.stopped_because:
            consumer.resume(*(tp for tp in consumer.paused() if tp in self._stands))

    # ---- a batch

    async def _on_batch(self, raw: Sequence[ConsumerRecord[Any, Any]]) -> None:
        by_partition: dict[TopicPartition, list[Record]] = defaultdict(list)
        for one in raw:
            by_partition[TopicPartition(one.topic, one.partition)].append(self._record(one))
        await self._settle(self._poll.spans, self._take(by_partition, self._poll.spans))

    async def _set_aside(self, tp: TopicPartition, span: Span) -> None:
        """Bury a record that cannot be read."""
        topic, partition = self._place(tp)
        spans = {(topic, partition): span}
        burial = self.intake.bury_unreadable(topic, partition, span.next - 1, spans)
        await self._settle({tp: span}, burial)

    async def _pass_over(self, spans: Mapping[TopicPartition, Span]) -> None:
        """Nothing but the markers of transactions was read."""
        await self._settle(spans, self.intake.take([], self._places(spans)))

    async def _settle(self, spans: Mapping[TopicPartition, Span], work: Awaitable[None]) -> None:
        """Do the work, and acknowledge what it settled; hold the rest back where it fails."""
        consumer = self._running()
        begun = {tp: span.first for tp, span in spans.items()}
        self._busy_since = time.monotonic()
        self._idle.clear()
        self._batches += 1
        try:
            try:
                await work
            finally:
                for tp, span in spans.items():
                    if self._stands.get(tp) == begun[tp]:
                        self._stands[tp] = span.first
            await self._commit(consumer, {tp: span.first for tp, span in spans.items()})
        except Displaced:
            log.warning("consumer.displaced")
            consumer.pause(*consumer.assignment())
            self._stands.clear()
            self._look_wanted.set()
        except BadRelease as bad:
            log.critical("consumer.bad_release", reason=str(bad))
            self.stopped_because = str(bad)
            self._hold_back(consumer)
        except Exception as error:  # an outage, or a fault of the fabric itself: nobody's event is blamed
            if isinstance(error, Outage) or is_outage(error):
                log.warning(
                    "consumer.waits", error=str(error) if isinstance(error, Outage) else type(error).__name__
                )
            else:
                log.exception("consumer.fault")
            self.wait.failed(error)
            self._suspects.failed(error)
            self._hold_back(consumer)
            self._resuming = asyncio.create_task(self._resume_later(consumer))
        else:
            self._pause = FIRST_PAUSE
            self.wait.over()
            reach("intake.acknowledged")
        finally:
            self._busy_since = None
            self._idle.set()

    async def _take(
        self, by_partition: dict[TopicPartition, list[Record]], spans: Mapping[TopicPartition, Span]
    ) -> None:
        """Give the batch its effect; carefully where a process died with it."""
        await self._suspects.look_back()
        fresh = self._suspects.fresh(by_partition)
        try:
            suspected = await self._suspects.unfinished({tp: by_partition[tp] for tp in fresh})
            for tp, in_hand in suspected.items():
                await self._take_carefully(tp, by_partition[tp], spans[tp], in_hand)
            together = {tp: records for tp, records in by_partition.items() if tp not in suspected}
            await self._suspects.begin(together)
            await self._in_lanes(together, {tp: span for tp, span in spans.items() if tp not in suspected})
        except asyncio.CancelledError:  # stopped, not killed
            await self._suspects.clear(fresh)
            raise
        await self._suspects.clear(fresh)
        self._suspects.vetted(fresh)

    async def _in_lanes(
        self, records: Mapping[TopicPartition, Sequence[Record]], spans: Mapping[TopicPartition, Span]
    ) -> None:
        """Give them their effect in transactions side by side: while one waits for the database, another works.

        No lane's failure counts before all came to an end.
        """
        lanes: list[list[TopicPartition]] = [[] for _ in range(LANES)]
        for tp in spans:
            lanes[lane_of(tp)].append(tp)
        ends = await asyncio.gather(
            *(
                self.intake.take(
                    [record for tp in lane for record in records.get(tp, ())],
                    self._places({tp: spans[tp] for tp in lane}),
                )
                for lane in lanes
                if lane
            ),
            return_exceptions=True,
        )
        if failures := [end for end in ends if end]:
            raise next((each for each in failures if loss_of(each)), failures[0])

    async def _take_carefully(
        self, tp: TopicPartition, records: list[Record], span: Span, in_hand: int
    ) -> None:
        """After a death with so many in hand: a few at a time; a few with which a process died, one at a time.

        So a killer comes to stand alone, and a process that was killed by chance costs little.
        """
        singly = in_hand if in_hand <= A_FEW else 0
        while records:
            few = records[: 1 if singly > 0 else A_FEW]
            del records[: len(few)]
            of_few = Span(span.first, few[-1].offset + 1 if records else span.next)
            deaths = await self._suspects.begin({tp: few})
            try:
                if len(few) == 1 and deaths[tp.topic, tp.partition] >= DEADLY:
                    by_connection = (tp.topic, tp.partition) in self._suspects.of_connections
                    why = ENDED_CONNECTION if by_connection else KILLED
                    await self.intake.bury_killer(few[0], self._places({tp: of_few}), why)
                else:
                    await self.intake.take(few, self._places({tp: of_few}))
            finally:
                span.first = of_few.first
            singly -= len(few)

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Tell Kafka, for tools that look at lag there; what it does not take now it is told with the next look."""
        if internals.joins_again(consumer):
            return  # with the next look: else the group's leader has all share out anew without end
        held = consumer.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in held}
        try:
            if mine:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await consumer.commit(mine)
                self._told |= mine
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            self.commit_errors += 1
            log.warning("consumer.commit_failed", error=type(error).__name__)

    def _hold_back(self, consumer: AIOKafkaConsumer) -> None:
        """Go back to what was not settled in every partition that is still assigned, and pause."""
        rewind(consumer, self._stands)
        consumer.pause(*consumer.assignment())

    async def _resume_later(self, consumer: AIOKafkaConsumer) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._resuming = None
        self._resume(consumer)

    def _running(self) -> AIOKafkaConsumer:
        consumer = internals.consumer_of(self._subscriber)
        assert consumer is not None
        return consumer

    def _place(self, tp: TopicPartition) -> tuple[str, int]:
        return tp.topic.removeprefix(self._prefix), tp.partition

    def _places(self, spans: Mapping[TopicPartition, Span]) -> Spans:
        return {self._place(tp): span for tp, span in spans.items()}

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


async def _raw_records(message: KafkaAckableMessage) -> Any:
    return message.raw_message


def _reached(broker: Broker) -> dict[str, Any]:
    """How FastStream is told what other clients are."""
    told = client_of(broker)
    # It would take one string for one server.
    servers = {
        "bootstrap_servers": told["bootstrap_servers"].split(","),
        "metadata_max_age_ms": told["metadata_max_age_ms"],
    }
    if (context := told.get("ssl_context")) is None:
        return servers
    if (tokens := told.get("sasl_oauth_token_provider")) is not None:
        return servers | {"security": SASLOAuthBearer(context), "sasl_oauth_token_provider": tokens}
    if (user := told.get("sasl_plain_username")) is not None:
        return servers | {"security": SASLScram512(user, told["sasl_plain_password"], context)}
    return servers | {"security": BaseSecurity(context)}


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        reach("rebalance.revoked")

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer.assigned(list(assigned))
        reach("rebalance.assigned")
        log.info("consumer.assigned", partitions=len(list(assigned)))
