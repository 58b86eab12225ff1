"""Publishing the outbox: one relay at a time per range of keys, in the order of the rows.

How far it is published stands in Kafka, written in one transaction with the records: readers of committed records see
each event once, whatever dies. The broker fences a relay that was replaced without noticing; the lease only keeps them
from fencing one another for nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import asyncpg
import structlog
from aiokafka.errors import (
    CorruptRecordException,
    InvalidMessageError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    RecordTooLargeError,
)

from shared.broker import Broker
from shared.database import Database, Db, connect
from shared.events import COMPACTED_TOPICS, EVENTS, TOPICS, topics_of
from shared.messaging import journal, lives, sizes
from shared.messaging.aside import aside
from shared.messaging.bell import Bell
from shared.messaging.crashpoints import reach
from shared.messaging.journal import Most, OutboxRow, Tick
from shared.messaging.lag import Place
from shared.messaging.outages import OUT_OF_STEP, is_outage, is_timeout
from shared.messaging.producers import START_SECONDS, Headers, Mark, Producers, Stuck, Unanswered
from shared.messaging.topics import relay_group_of
from shared.messaging.waits import Wait

P = ParamSpec("P")
T = TypeVar("T")

WINDOW = 2000
WINDOW_BYTES = 16_000_000
"""Rows read and sent together, and about how large they may be."""

REPLAY_WINDOW = 500
"""Rows of a replay that are sent between two windows of what is new."""

POLL_SECONDS = 1.0

GATHER_SECONDS = 0.02
"""After a window with which a tick ended, the next one may gather for as long as that took, at most so long: a
transaction costs the broker and the database the same, be it for one event or for a hundred."""

LONGEST_STALL = 60.0
"""A partition that cannot be written is tried again after a second, then after two, up to so many: each try may cost
the others `ANSWER_SECONDS`."""

NO_TOPIC = -1
"""In place of the partition where there is no such topic."""

DIVIDE_AGAIN_SECONDS = 10.0
"""How long the journal is published in the ranges that it has, until it is tried to divide it into those wanted."""

OVERTAKING = frozenset(event.TYPE for event in EVENTS.values() if event.OVERTAKES)
"""Types that leave though an earlier row of their key is held. Readers compare revisions: what was held, and is
released after them, is older than what they know."""

REFUSALS = (
    MessageSizeTooLargeError,
    RecordTooLargeError,
    RecordListTooLargeError,
    InvalidMessageError,
    CorruptRecordException,
)

log = structlog.get_logger()


class Deposed(Exception):
    """Another relay holds the lease now."""


class Again(Exception):
    """A transaction was given up for what was in it: begin again with new producers, which undo it."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A partition that cannot be written."""

    since: float
    retry_at: float
    pause: float


class Relays:
    """The relays of one process, one for each range."""

    def __init__(self, make: Callable[..., Relay], ranges: int) -> None:
        """`make` makes the relay of a range, from `range_`, `leading` and `looked`."""
        self._make, self._wanted = make, ranges
        self._loop = asyncio.get_running_loop()
        self.looked = asyncio.Event()  # whether the database is what it was, or that nobody can say now
        self.each: list[Relay] = []

    async def run(self) -> None:
        """Until cancelled, on an event loop of their own."""
        await aside(self._run, name="relays")

    async def _run(self) -> None:
        """The journal is divided into another number of ranges once nobody publishes any of it, and all that was
        committed is published."""
        first = self._relay(0)
        while True:
            try:
                there = await first.ask(journal.ranges)
                if there != self._wanted:
                    there = await self._divide(first, there)
            except Exception as error:
                if not (is_outage(error) or is_timeout(error)):
                    raise
                first.drop_connection()
                await asyncio.sleep(POLL_SECONDS)
                continue
            self.each = [first, *(self._relay(number) for number in range(1, there))]
            with suppress(TimeoutError):
                async with asyncio.timeout(None if there == self._wanted else DIVIDE_AGAIN_SECONDS):
                    await asyncio.gather(*(relay.run() for relay in self.each))

    async def _divide(self, first: Relay, there: int) -> int:
        """Divide the journal anew if that may be done now; answers the number of ranges then."""
        if not await first.ask(journal.may_divide):
            return there
        for number in range(there):
            await self._relay(number).fence()  # whoever still believes that it leads sends nothing more
        if not await first.ask(journal.divide, self._wanted):
            return there
        log.info("relay.ranges", before=there, now=self._wanted)
        return self._wanted

    def _relay(self, number: int) -> Relay:
        return self._make(
            range_=number,
            leading=lambda: sum(relay.leads for relay in self.each),
            looked=lambda: self._loop.call_soon_threadsafe(self.looked.set),
        )

    @property
    def leads(self) -> bool:
        """Whether this process publishes a range."""
        return any(relay.leads for relay in self.each)

    @property
    def published(self) -> int:
        return sum(relay.published for relay in self.each)

    @property
    def takeovers(self) -> int:
        return sum(relay.takeovers for relay in self.each)

    @property
    def wait(self) -> Wait:
        """The longest of them."""
        return max((relay.wait for relay in self.each), key=lambda wait: wait.seconds, default=Wait())

    @property
    def refuses(self) -> str | None:
        """Why nothing may be published, nor be done: this database is not what it was."""
        return next((relay.refuses for relay in self.each if relay.refuses), None)

    @property
    def stalled(self) -> int:
        """How many partitions cannot be written; a topic that is not there is one."""
        return len({place for relay in self.each for place in relay.stalled})

    @property
    def complaints(self) -> list[str]:
        """What keeps events from leaving though the broker answers, in words for a person."""
        return [words for relay in self.each for words in relay.complaints]


class Relay:
    """Publishes one range of the journal while it holds the lease; waits for it otherwise."""

    def __init__(
        self,
        database: str | Database,
        broker: Broker,
        bell: Bell,
        *,
        service: str,
        name: str,
        lease_seconds: float,
        topic_prefix: str = "",
        looked: Callable[[], object] = lambda: None,
        range_: int = 0,
        leading: Callable[[], int] = lambda: 0,
    ) -> None:
        """`leading`: how many ranges this process publishes; it lets others take the next one."""
        self._database, self._broker, self._prefix = database, broker, topic_prefix
        self._service, self._name, self._range = service, name, range_
        self._lease_seconds, self._leading = lease_seconds, leading
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._bell = bell
        self._heard: asyncio.Event
        self._db: Db | None = None
        self._one_at_a_time = asyncio.Lock()
        self._producers: Producers | None = None
        self._fencing: asyncio.Task[None] | None = None
        self._tick: Tick
        self._after = 0  # the last id of the tick that was sent
        self._ranges = 1
        self._at_most = WINDOW
        self._shared_among: dict[str, int] = {}  # the partitions of each topic that is written
        self._stalled: dict[Place, Stall] = {}
        self._held_again_at = 0.0
        self._replay_again_at = 0.0
        self.refuses: str | None = None  # why nothing may be published
        self._looked = looked
        self.wait = Wait()
        self.leads = False
        self.published = 0
        self.takeovers = 0

    @property
    def complaints(self) -> list[str]:
        """What keeps events from leaving though the broker answers, in words for a person."""
        stalled = [
            f"there is no topic {topic}"
            if partition == NO_TOPIC
            else f"partition {partition} of {topic} cannot be written"
            for topic, partition in self.stalled
        ]
        return [*([self.refuses] if self.refuses else ()), *stalled]

    @property
    def stalled(self) -> list[Place]:
        """The partitions that cannot be written."""
        return sorted(self._stalled)

    # ---- leading

    async def run(self) -> None:
        """Lead or wait, until cancelled; on the way out the lease is given back."""
        self._heard = self._bell.for_rows()
        try:
            while True:
                try:
                    await self._lead_when_possible()
                except (Deposed, ProducerFenced, asyncpg.UniqueViolationError, asyncpg.NotNullViolationError):
                    log.warning("relay.deposed")
                except Exception as error:
                    self._looked()
                    self.wait.failed(error)
                    if is_outage(error) or is_timeout(error):
                        log.warning("relay.outage", error=type(error).__name__)
                    else:
                        log.exception("relay.fault")
                    self.drop_connection()
                finally:
                    self.leads = False
                    await self._drop_producers()
                await asyncio.sleep(min(POLL_SECONDS, self._lease_seconds / 3) * (1 + self._leading()))
        finally:
            self._bell.no_more(self._heard)
            await self._resign()

    async def fence(self) -> None:
        """Let nobody go on who published this range."""
        async with asyncio.timeout(START_SECONDS):
            await self._fence(await self.ask(journal.transactional_ids, self._range))

    async def _lead_when_possible(self) -> None:
        epoch = await self.ask(journal.acquire_lease, self._holder, self._lease_seconds, self._range)
        if epoch is None:
            self.wait.over()  # another publishes, and tells what it waits for
            self.refuses = await self.ask(lives.refusal)
            if self.refuses:
                self._looked()
            # Else the other may not have looked yet: whoever reads the topics looks by himself (`Lookout`).
            return
        self.leads = True
        self.takeovers += 1
        await _until_one_ends(self._keep_lease(epoch), self._publish_all())

    async def _keep_lease(self, epoch: int) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            held = await self.ask(journal.acquire_lease, self._holder, self._lease_seconds, self._range)
            if held != epoch:
                raise Deposed

    async def _publish_all(self) -> None:
        while True:
            with suppress(Again):
                await self._take_over()
                while True:
                    await self._turn()
            await self._drop_producers()

    async def _take_over(self) -> None:
        """Undo what others began, and find out how far they came."""
        self._ranges = await self.ask(journal.ranges)
        published = await self._start_producers()
        while True:
            self._tick = await self.ask(journal.last_tick, self._range)
            self.refuses = await self.ask(lives.put_back, self._service, self._tick, published)
            self._looked()
            if not self.refuses:
                break
            await asyncio.sleep(POLL_SECONDS)
        self._after = sent_up_to(self._tick, published)

    async def _start_producers(self) -> Mark | None:
        ids = await self.ask(journal.transactional_ids, self._range)
        self._producers = self._producers_of(ids)
        try:
            return await self._producers.start()
        except Stuck:
            log.error("relay.stuck", range=self._range, ids=ids)
            await self.ask(journal.take_other_ids, self._range, ids)
            self._fencing = asyncio.create_task(self._fence(ids))
            raise Again from None

    async def _fence(self, ids: int) -> None:
        """Go on until the broker has ended what was begun with the ids: then surely nobody goes on with them."""
        producers = self._producers_of(ids)
        try:
            await producers.fence()
        finally:
            await producers.abandon()

    def _producers_of(self, ids: int) -> Producers:
        return Producers(
            self._broker,
            group=relay_group_of(self._service, self._prefix),
            range_=self._range,
            ids=ids,
            client=f"{self._name}-relay",
            marks_on=[self._prefix + topic for topic in own_first(self._service)],
        )

    async def _turn(self) -> None:
        """Send what is next, or wait until something is there."""
        if time.monotonic() >= self._held_again_at:
            await self._send_held()
            self._held_again_at = time.monotonic() + POLL_SECONDS
        replaying = self._after >= self._tick.high and await self._replay()
        rows = await self._next_window()
        if rows:
            reach("relay.fetched")
            began = time.monotonic()
            await self._publish(rows)
            if self._after >= self._tick.high:
                await asyncio.sleep(min(time.monotonic() - began, GATHER_SECONDS))
        elif not replaying:
            await self._rest()

    async def _next_window(self) -> list[OutboxRow]:
        """The next rows of the tick, or the first of the next one."""
        while self._after < self._tick.high:
            rows = await self.ask(
                journal.window,
                self._tick,
                self._after,
                self._ranges,
                self._most(),
            )
            if rows:
                return rows
            self._after = self._tick.high
        self._heard.clear()
        fresh = await self.ask(
            journal.next_tick,
            self._tick,
            self._ranges,
            self._most(),
        )
        if not fresh:
            return []
        self._tick, rows = fresh
        self._after = self._tick.floor
        reach("relay.ticked")
        return rows

    def _most(self, rows: int = WINDOW) -> Most:
        return Most(min(self._at_most, rows), WINDOW_BYTES, OVERTAKING)

    async def _rest(self) -> None:
        """Note that all is sent; where that is noted, wait until something is there."""
        if self._tick.done:
            await self._wait(min(POLL_SECONDS, self._lease_seconds / 3))
        else:
            await self.ask(journal.finish_tick, self._tick)
            self._tick = replace(self._tick, done=True)

    # ---- sending

    async def _publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send a window of the tick; what cannot go is held, and what waits for it."""
        fresh = [row for row in rows if not row.kept]
        if await self._hold_the_too_large([row for row in fresh if not row.waits]):
            return  # read the window again: the later rows of those keys wait now
        going = await self._places([row for row in fresh if not row.waits])
        behind = await self._places([row for row in fresh if row.waits])
        waiting = [
            (row, place)
            for place, some in [*going.items(), *behind.items()]
            for row in some
            if row.waits or place in self._stalled
        ]
        if waiting:
            await self.ask(journal.hold_all, waiting)
        last = rows[-1].id
        await self._send(going, last)
        self._after = last

    async def _send_held(self) -> None:
        """Send held rows that wait for nothing more: released, or their partition can be written again."""
        await self._try_stalled_again()
        while rows := await self.ask(
            journal.held_that_may_go,
            self._stalled,
            self._tick,
            self._ranges,
            self._most(),
        ):
            if await self._hold_the_too_large(rows):
                continue
            going = await self._places(rows)
            if waiting := [(row, at) for at, some in going.items() for row in some if at in self._stalled]:
                await self.ask(journal.hold_all, waiting)
            await self._send(going, self._after)
            await self.ask(
                journal.let_go, [row for at, some in going.items() for row in some if at not in self._stalled]
            )

    async def _replay(self) -> bool:
        """Send a window of what a person asked to have sent again, if there is any; looks once a second for it."""
        if self._stalled or time.monotonic() < self._replay_again_at:
            return False
        replay = await self.ask(journal.open_replay, self._range)
        if not replay:
            self._replay_again_at = time.monotonic() + POLL_SECONDS
            return False
        rows = await self.ask(
            journal.replay_window,
            replay,
            self._tick,
            self._ranges,
            COMPACTED_TOPICS,
            self._most(REPLAY_WINDOW),
        )
        if rows:
            again = [("ce_replayed", datetime.now(UTC).isoformat().encode())]
            if replay.for_group:
                again.append(("ce_for", replay.for_group.encode()))
            await self._send(await self._places(rows), self._after, lambda row: [*headers(row), *again])
            replay = replace(replay, last_id=rows[-1].id, events=replay.events + len(rows))
        await self.ask(journal.replay_went_on, self._range, replay, done=not rows)
        return True

    async def _send(
        self, rows: Mapping[Place, Sequence[OutboxRow]], last: int, made: Headers | None = None
    ) -> None:
        """Send rows, but those of stalled partitions, with the mark that the tick is sent up to `last`."""
        assert self._producers is not None
        going = {place: some for place, some in rows.items() if place not in self._stalled}
        mark: Mark = (self._tick.epoch, self._tick.no, last)
        number = sum(map(len, going.values()))
        try:
            await self._producers.send(going, mark, made or headers)
        except REFUSALS as error:
            if number == 1:
                ((place, (row,)),) = going.items()
                await self._hold(row, place, type(error).__name__)
            self._at_most = max(1, number // 2)  # until it stands alone
            raise Again from None
        except Unanswered as error:
            for place in error.places:
                self._stall(place)
            raise Again from None
        self._at_most = min(WINDOW, 2 * self._at_most)
        self.published += number
        self.wait.over()
        reach("relay.committed")

    async def _hold_the_too_large(self, rows: Sequence[OutboxRow]) -> bool:
        """Hold what the broker would not take; says whether there was any."""
        too_large = await self._places([row for row in rows if not fits(row)])
        for place, some in too_large.items():
            for row in some:
                await self._hold(row, place, f"larger than {sizes.RECORD_BYTES} bytes")
        return bool(too_large)

    async def _hold(self, row: OutboxRow, place: Place, why: str) -> None:
        await self.ask(journal.hold_all, [(row, place)], why)
        log.error("relay.held", topic=row.topic, outbox_id=row.id, why=why)

    # ---- partitions

    async def _places(self, rows: Sequence[OutboxRow]) -> dict[Place, list[OutboxRow]]:
        """The rows by topic and partition. Partitions without a leader, and topics that are not there, are stalled."""
        assert self._producers is not None
        by_place: dict[Place, list[OutboxRow]] = {}
        leaders = {
            topic: await self._producers.leaders(self._prefix + topic)
            for topic in {row.topic for row in rows}
        }
        for topic, there in leaders.items():
            if there and topic not in self._shared_among:
                self._shared_among[topic] = await self.ask(journal.shared_among, topic, len(there))
        for row in rows:
            has_leader = leaders[row.topic]
            partition = journal.hash_of(row.key) % self._shared_among[row.topic] if has_leader else NO_TOPIC
            place = self._prefix + row.topic, partition
            if not has_leader.get(partition):
                self._stall(place)
            by_place.setdefault(place, []).append(row)
        return by_place

    def _stall(self, place: Place) -> None:
        """It cannot be written: its rows are held until it can."""
        now = time.monotonic()
        if place not in self._stalled:
            log.error("relay.stalled", topic=place[0], partition=place[1])
        before = self._stalled.get(place, Stall(now, now, POLL_SECONDS / 2))
        if before.retry_at <= now:
            pause = min(2 * before.pause, LONGEST_STALL)
            self._stalled[place] = Stall(before.since, now + pause, pause)

    async def _try_stalled_again(self) -> None:
        assert self._producers is not None
        for place in [place for place, stall in self._stalled.items() if stall.retry_at <= time.monotonic()]:
            topic, partition = place
            has_leader = await self._producers.leaders(topic, anew=True)
            if any(has_leader.values()) if partition == NO_TOPIC else has_leader.get(partition):
                del self._stalled[place]
                log.info("relay.tries_again", topic=topic, partition=partition)
            else:
                self._stall(place)

    # ---- connections

    async def ask(
        self, ask: Callable[Concatenate[Db, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Ask the database: the lease is renewed on the same connection meanwhile.

        Raises ConnectionError where the one it leads by is gone: the next one may be to a standby that lacks commits,
        and it must find out anew how far it is.
        """
        async with self._one_at_a_time:
            if self._db is None or self._db.is_closed():
                if self._db is not None and self.leads:
                    raise ConnectionError("closed by the server")
                self._db = await connect(self._database, name=f"{self._name} relay")
                await self._db.execute(journal.BY_INDEX)
            return await ask(self._db, *args, **kwargs)

    async def _wait(self, seconds: float) -> None:
        """Until a commit is heard of, or a while: polling is the truth."""
        self.wait.over()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()

    async def _drop_producers(self) -> None:
        producers, self._producers = self._producers, None
        if producers is not None:
            await producers.abandon()

    def drop_connection(self) -> None:
        """It may be half dead: then every statement on it would time out."""
        if self._db is not None:
            self._db.terminate()
            self._db = None

    async def _resign(self) -> None:
        if self._db is not None and not self._db.is_closed():
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, *OUT_OF_STEP):
                async with asyncio.timeout(2):
                    await journal.release_lease(self._db, self._holder)
        if self._fencing:
            self._fencing.cancel()
        self.drop_connection()


def sent_up_to(tick: Tick, published: Mark | None) -> int:
    """The last id of the tick that was sent. Where Kafka does not know, nothing of it: unless it was noted as done."""
    if tick.done:
        return tick.high
    if published and published[:2] == (tick.epoch, tick.no):
        return published[2]
    return tick.floor


def headers(row: OutboxRow) -> list[tuple[str, bytes]]:
    """The record's headers: the row's, its event id, and its place in this service's sequence, by which of the
    database's lives wrote it."""
    of_outbox = {"ce_id": row.event_id, "ce_sequence": row.id, "ce_epoch": row.epoch}
    return [(name, str(value).encode()) for name, value in (of_outbox | row.headers).items()]


def fits(row: OutboxRow) -> bool:
    """Whether the broker takes it: what was committed by an older release was not weighed before."""
    return sizes.fits(row.key, row.headers, row.payload)


def own_first(service: str) -> list[str]:
    """All topics, those of the service first."""
    own = topics_of(service)
    return sorted(TOPICS, key=lambda topic: (topic not in own, topic))


async def _until_one_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Run side by side; when one ends, or raises, the others are cancelled."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
