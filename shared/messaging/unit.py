"""The one place that owns transactions: a batch of events, a command and due work all run through `Work`.

Begin, lock, read, decide, write, append the outbox rows, commit. Nobody else opens or commits one.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, TypeVar, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from shared.access import EVERYTHING, Reach
from shared.audit import store as audit
from shared.audit.asked import Asked, Entry
from shared.audit.recording import Recorder
from shared.clock import Clock
from shared.database import Db
from shared.datakeys import DataKeys
from shared.events import Event
from shared.events.serialized import SerializedEvent
from shared.messaging import journal, sizes, tables
from shared.messaging.bell import Bell
from shared.messaging.crashpoints import reach
from shared.messaging.envelope import TRACE_PARENT, Delivery, headers_of, payload_of, typed_key
from shared.messaging.outages import NOT_REPLICATED, PutBack, Unconfirmed, heeding, is_outage, is_timeout
from shared.messaging.registry import Owner
from shared.problems import NotFound, Refused
from shared.sealing import SealBroken, Sealer

log = structlog.get_logger()

T = TypeVar("T")
E = TypeVar("E", bound=Event)
Key = str
"""A typed lock key: `patient:…`, `store:…`, or whatever a rule needs (`phone:…`)."""

IS_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LOCKS_A_TRANSACTION = 1000
POOL_SECONDS = 10.0
FIRST_LOOK_SECONDS = 3.0
SIDE_BY_SIDE = 8
"""Processes that find due work beside one another: where one holds the oldest, the next looks further."""


def patient(patient_id: str) -> Key:
    """The lock of one patient."""
    return f"patient:{patient_id}"


def store(store_id: str) -> Key:
    """The lock of one store."""
    return f"store:{store_id}"


KEY: Mapping[Owner, Callable[[str], Key]] = {"patient": patient, "store": store}
"""The lock of whoever due work belongs to."""


class TooLarge(Refused):
    """An event would take more than the broker takes; `key` is the typed key of whom it is about."""

    def __init__(self, event: Event | SerializedEvent, size: int) -> None:
        self.key, self.size = typed_key(event), size
        super().__init__(
            "too_large",
            f"{event.TYPE} of {self.key} would take {size} bytes, more than the {sizes.RECORD_BYTES} that the broker "
            "takes: nothing was changed; send less of what is repeated in it",
        )


class Parked(Exception):
    """A command's patient waits for a person to look at a dead letter."""

    def __init__(self, reasons: dict[Key, str]) -> None:
        super().__init__("; ".join(f"{key} is parked: {reason}" for key, reason in reasons.items()))
        self.reasons = reasons


class OutOfReach(NotFound):
    """It is not there, or not the caller's: which of the two is not told."""

    def __init__(self) -> None:
        super().__init__("not_found", "nothing of that id is here, or it is not yours to see")


class KeyReused(Exception):
    """An idempotency key came again with another command."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a command."""

    actor: str
    role: str
    idempotency_key: str | None = None
    fingerprint: str = ""
    trace_parent: str | None = None
    reach: Reach = EVERYTHING
    license: str = ""  # of who calls, where the identity provider says it
    asked: Asked | None = field(default=None, compare=False)  # what the audit is told of the request


@dataclass(frozen=True, slots=True)
class Cause:
    """What an emitted event follows from."""

    correlation_id: str
    causation_id: str
    trace_parent: str | None = None


@dataclass(slots=True)
class Unit:
    """One unit of work inside its transaction: the connection, the time, and what will be published."""

    db: asyncpg.Connection
    now: datetime  # business time, aware, UTC; the same throughout
    actor: str
    role: str
    cause: Cause
    keys: DataKeys
    at_hand: dict[Key, Delivery] = field(default_factory=dict)  # the events being handled, by typed key
    emitted: list[tuple[Event | SerializedEvent, Cause]] = field(default_factory=list)
    marks: Mapping[str, str] = field(default_factory=dict)  # headers of what it publishes beside their own
    idle: bool = False  # found nothing to do: nobody is woken after it
    reach: Reach = EVERYTHING  # of who commands
    license: str = ""
    about: set[Key] = field(default_factory=set)  # what it is about, for the audit
    outcome: str = "done"
    because: str | None = None  # what who commands gave as a reason

    def today(self, time_zone: str) -> date:
        """The local date there. `time_zone` is an IANA name."""
        return self.now.astimezone(ZoneInfo(time_zone)).date()

    def emit(self, *events: Event | Iterable[Event | SerializedEvent]) -> None:
        """Publish events with this unit: they leave in this order if it commits, and not at all if it does not."""
        for group in events:
            for event in (group,) if isinstance(group, Event) else group:
                self.emitted.append((event, self._cause_of(event)))

    def origin(self, event: Event) -> Delivery:
        """How an event at hand came: its envelope, and its place on the topic. Raises KeyError for any other."""
        return self.at_hand[typed_key(event)]

    def news(self, events: Iterable[E]) -> list[E]:
        """Those of the events at hand that say what happened: not those that tell again how things stand."""
        return [
            event for event in events if not ((came := self.at_hand.get(typed_key(event))) and came.is_state)
        ]

    def _cause_of(self, event: Event | SerializedEvent) -> Cause:
        came = self.at_hand.get(typed_key(event))
        return Cause(came.correlation_id, str(came.event_id), came.trace_parent) if came else self.cause


class Work:
    """Runs units of work for one service."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        service: str,
        clock: Clock,
        sealer: Sealer,
        bell: Bell,
    ) -> None:
        self.pool, self.service, self.clock, self.sealer, self.bell = pool, service, clock, sealer, bell
        self.keys = DataKeys(sealer)
        self.group = f"medsync-{service}"  # of its consumers, without the installation's prefix
        self.refuses: Callable[[], str | None] = lambda: None
        self.looked: asyncio.Event | None = None  # whether the database may have been put back
        self.process = uuid4()  # so that the next one knows that this one ended
        self.set_aside: Counter[str] = Counter()  # events that were too large for the broker, by type
        self.audit = Recorder(self.connection, sealer)

    def on(self, pool: asyncpg.Pool) -> Work:
        """The same, on the connections of another pool."""
        other = copy(self)
        other.pool = pool
        return other

    def whatever_was_published(self) -> Work:
        """The same, though the database was put back: for its recovery."""
        other = copy(self)
        other.refuses, other.looked = lambda: None, None
        return other

    def now(self) -> datetime:
        """Business time."""
        return self.clock.now()

    def read(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A connection for queries; whatever it writes is rolled back."""
        return self._read()

    def read_at_once(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """The same, at one instant."""
        return self._read("repeatable_read")

    @asynccontextmanager
    async def read_as(self, caller: Caller, *keys: Key) -> AsyncIterator[asyncpg.Connection]:
        """The same for a caller who asks about these patients and stores, or for a list, at one instant.

        Raises OutOfReach where one is not theirs.
        """
        async with self._read("repeatable_read") as db:
            await bound(db, caller.reach)
            await require_reach(db, caller.reach, keys)
            yield db

    async def locate(
        self, caller: Caller, find: Callable[[Db], Awaitable[T]], keys: Callable[[T], Sequence[Key]]
    ) -> T:
        """What an id names, if whose it is (by `keys`) is within the caller's reach.

        Raises NotFound as `find` does; OutOfReach to a caller of bounded reach, whether it is there or not.
        """
        async with self._read() as db:
            await bound(db, caller.reach)
            try:
                found = await find(db)
            except NotFound:
                if caller.reach.bounded:
                    raise OutOfReach from None
                raise
            await require_reach(db, caller.reach, keys(found))
            return found

    async def command(
        self,
        caller: Caller,
        keys: Sequence[Key],
        decide: Callable[[Unit], Awaitable[T]],
        *,
        even_if_parked: bool = False,
        keep: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Run a command on locked patients; the same idempotency key gives the first answer again.

        An answer that `keep` denies is not given again: with the same key the command is run once more.

        Raises:
            Parked: one of the patients is parked, and the command does not overtake.
            KeyReused: the idempotency key belongs to another command.
        """

        async def checked(unit: Unit) -> T:
            if not even_if_parked and (parked := await tables.parked_among(unit.db, keys)):
                raise Parked(parked)
            return await decide(unit)

        return await self._once(caller, keys, checked, keep)

    async def claim(
        self, caller: Caller, view: str, limit: int, decide: Callable[[Sequence[str], Unit], Awaitable[T]]
    ) -> T:
        """Run a command on up to `limit` patients with due work in the view whose locks are free now.

        The same idempotency key gives the first answer again: a lease whose answer was lost is not lost.
        """

        async def claimed(unit: Unit) -> T:
            free = await self.free_owners(unit, view, limit, stores=caller.reach.stores)
            unit.about |= {patient(each) for each in free}
            return await decide(free, unit)

        return await self._once(caller, (), claimed)

    async def _once(
        self,
        caller: Caller,
        keys: Sequence[Key],
        decide: Callable[[Unit], Awaitable[T]],
        keep: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Run a command in its unit, or give the answer that its idempotency key had before."""
        key = caller.idempotency_key
        locks = [*keys, f"command:{caller.actor}:{key}"] if key else keys
        cause = _cause_of(caller)
        async with AsyncExitStack() as stack:
            stack.enter_context(log_ids(cause))
            unit = await stack.enter_async_context(
                self.begin(locks, actor=caller.actor, role=caller.role, cause=cause, asked=caller.asked)
            )
            unit.reach, unit.license = caller.reach, caller.license
            reach("command.begun")
            await bound(unit.db, caller.reach)
            await require_reach(unit.db, caller.reach, keys)
            if key and (kept := await tables.answer_to(unit.db, caller.actor, key)):
                answered = _same_again(kept, caller, self.sealer)
                unit.outcome = "repeated"
                await tables.leave_trace(unit.db)
                return cast(T, answered)
            answer = await decide(unit)
            reach("command.decided")
            if key and keep(answer):
                kept = tables.Kept.of(
                    self.sealer, caller.actor, key, caller.fingerprint, answer, audit.patients_in(unit.about)
                )
                await tables.keep_answer(unit.db, kept)
            elif not unit.emitted:
                await tables.leave_trace(unit.db)
            return answer

    async def free_owners(
        self,
        unit: Unit,
        view: str,
        limit: int,
        of: Owner = "patient",
        *,
        stores: Collection[str] | None = None,
    ) -> list[str]:
        """Patients, or stores, with due work, now locked by this unit, in their order of waiting.

        Candidates are read without locks and locked in sorted order, skipping those taken; the caller reads again
        what is still due. Claiming rows first and patients second deadlocks with the handlers. Whoever was parked
        between the reading and the locking is left out. With `stores`, patients of these alone.
        """
        limit = min(limit, LOCKS_A_TRANSACTION)
        found = await tables.due_owners(unit.db, view, unit.now, limit * SIDE_BY_SIDE, of, stores)
        for start in range(0, len(found), limit):
            lock_of = {each: lock_key(KEY[of](each)) for each in found[start : start + limit]}
            got = await tables.try_lock(unit.db, sorted(lock_of.values()))
            if got:
                return await self.unparked(unit, [each for each, lock in lock_of.items() if lock in got], of)
        return []

    async def unparked(self, unit: Unit, owners: Sequence[str], of: Owner = "patient") -> list[str]:
        """Those of these locked patients, or stores, who are not parked."""
        parked = await tables.parked_among(unit.db, [KEY[of](each) for each in owners])
        return [each for each in owners if KEY[of](each) not in parked]

    def too_large(self, unit: Unit, events: Iterable[Event | SerializedEvent]) -> set[Key]:
        """Of whom one of these events is more than the broker takes; each is logged and counted.

        Who sends many patients' events in one unit sets these aside, so that the others' go.
        """
        found, at = set(), unit.now.isoformat()
        for event in events:
            try:
                self._row(event, unit.cause, at, unit.marks)
            except TooLarge as error:
                found.add(error.key)
                self.set_aside[event.TYPE] += 1
                log.warning("event.set_aside", type=event.TYPE, bytes=error.size)
        return found

    async def lock(self, unit: Unit, keys: Collection[Key]) -> None:
        """Lock what only a first look could name; the caller reads again. Never in a unit that has locks on others."""
        await _lock(unit.db, keys)

    @asynccontextmanager
    async def begin(
        self,
        keys: Sequence[Key],
        *,
        cause: Cause,
        actor: str = "system",
        role: str = "system",
        asked: Asked | None = None,
    ) -> AsyncIterator[Unit]:
        """One transaction with its locks taken; commits at the end, with the outbox rows of what was emitted, and the
        row of the audit where somebody asked for it.

        Raises PutBack where the database is older than what was published from it.
        """
        if self.looked is not None and not self.looked.is_set():
            await _first_look(self.looked)
        if why := self.refuses():
            raise PutBack(why)
        async with self.connection() as db:
            with heeding(db) as said:
                async with db.transaction():
                    await _lock(db, keys)
                    reach("unit.locked")
                    unit = Unit(db, self.clock.now(), actor, role, cause, self.keys, about={*keys})
                    yield unit
                    patients = audit.patients_in(unit.about)
                    if asked and asked.is_news(patients):
                        await audit.append(db, self.sealer, [_entry(asked, unit, patients)])
                    if unit.emitted:
                        await journal.append(unit.db, self._rows(unit))
                    reach("unit.outbox_written")
                    said.clear()
            if asked:
                asked.note_written(patients)
            reach("unit.committed")
        if not unit.idle:
            self.bell.ring(outbox=bool(unit.emitted))
        if NOT_REPLICATED in said:
            raise Unconfirmed("committed, but no standby has confirmed it")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool. Raises ConnectionError where none becomes free: that is nobody's event's fault."""
        try:
            db = await self.pool.acquire(timeout=POOL_SECONDS)
        except TimeoutError:
            raise ConnectionError("no connection became free, or the database does not answer") from None
        try:
            yield cast(Db, db)
        finally:
            await self.pool.release(db)

    async def is_outage(self, error: Exception) -> bool:
        """Whether the world failed, and not what was done. After a timeout the database itself is asked: one whose
        standby does not confirm what is written answers, and is away all the same.
        """
        return is_outage(error) or (is_timeout(error) and not await self._database_answers())

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(3), self.connection() as db:
                await tables.leave_trace(db)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    @asynccontextmanager
    async def _read(self, isolation: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        async with self.connection() as db, db.transaction(isolation=isolation, readonly=True):
            yield db

    def _rows(self, unit: Unit) -> list[journal.Said]:
        """What the unit has to say, for the outbox. Raises TooLarge where the broker would not take an event."""
        at = unit.now.isoformat()
        return [self._row(event, why, at, unit.marks) for event, why in unit.emitted]

    def _row(
        self, event: Event | SerializedEvent, why: Cause, at: str, marks: Mapping[str, str]
    ) -> journal.Said:
        payload, seal = payload_of(event, self.sealer)
        headers = headers_of(
            event,
            service=self.service,
            at=at,
            correlation_id=why.correlation_id,
            causation_id=why.causation_id,
            trace_parent=why.trace_parent,
        )
        headers |= {**seal, **marks}
        if not sizes.fits(event.key, headers, payload):
            # Now, while whoever asked still listens: held in the outbox, it would keep back all that follows it.
            raise TooLarge(event, sizes.record_bytes(event.key, headers, payload))
        return event.TOPIC, event.key, headers, payload


def _same_again(kept: tables.Kept, caller: Caller, sealer: Sealer) -> Any:
    """The answer that was kept. Raises KeyReused where it answered something else, or cannot be opened any more."""
    if kept.fingerprint != caller.fingerprint:
        raise KeyReused(kept.idempotency_key)
    try:
        return kept.answer(sealer)
    except SealBroken:
        raise KeyReused(kept.idempotency_key) from None


async def bound(db: Db, reach: Reach) -> None:
    """Put up the second wall: the database shows the rest of this transaction no patient of another store."""
    if reach.stores is not None:
        await tables.see_only(db, reach.stores)


async def require_reach(db: Db, reach: Reach, keys: Collection[Key]) -> None:
    """Raises OutOfReach where a patient or a store that is named so is out of it; other keys are nobody's."""
    if not reach.bounded:
        return
    named = [key.partition(":") for key in keys]
    patients = {name for kind, _, name in named if kind == "patient"}
    if patients != await within(db, reach, patients):
        raise OutOfReach
    if not all(reach.has_store(name) for kind, _, name in named if kind == "store"):
        raise OutOfReach


async def within(db: Db, reach: Reach, patients: set[str]) -> set[str]:
    """Those of the patients who are within reach."""
    if reach.patients is not None:
        return patients & reach.patients
    if reach.caregiver is not None:
        return await tables.patients_of_caregiver(db, patients, reach.caregiver)
    if reach.stores is None or not patients:
        return patients
    return await tables.patients_in(db, patients, reach.stores)


async def _first_look(looked: asyncio.Event) -> None:
    """Once, after a start: nothing is done before the relay has looked, unless that takes long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOOK_SECONDS):
            await looked.wait()
    looked.set()


async def _lock(db: Db, keys: Collection[Key]) -> None:
    if keys:
        await tables.lock(db, sorted({lock_key(key) for key in keys}))


def lock_key(key: Key) -> int:
    """The 64-bit number that an advisory lock takes."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


def log_ids(of: Cause | Delivery) -> AbstractContextManager[None]:
    """What every line of the log says meanwhile: the correlation id, if it is one of ours, and the trace id.

    A stranger's correlation id may be anybody's name; a trace id is 32 hex digits.
    """
    ids = {}
    if IS_UUID.fullmatch(of.correlation_id):
        ids["correlation_id"] = of.correlation_id
    if of.trace_parent:
        ids["trace_id"] = of.trace_parent.split("-")[1]
    return structlog.contextvars.bound_contextvars(**ids)


def due_cause(view: str) -> Cause:
    """Due work begins a correlation of its own."""
    return Cause(str(uuid4()), f"due:{view}")


def _entry(asked: Asked, unit: Unit, patients: Collection[str]) -> Entry:
    """The audit's row of a unit; a store that it is about goes before the caller's own."""
    stores = sorted(name for kind, _, name in (key.partition(":") for key in unit.about) if kind == "store")
    return replace(
        asked.entry,
        store_id=stores[0] if len(stores) == 1 else asked.entry.store_id,
        patients=tuple(patients),
        outcome=unit.outcome,
        because=unit.because,
        correlation=unit.cause.correlation_id,
    )


def _cause_of(caller: Caller) -> Cause:
    correlation, trace = str(uuid4()), caller.trace_parent
    return Cause(
        correlation,
        f"command:{caller.idempotency_key or correlation}",
        trace if trace and TRACE_PARENT.fullmatch(trace) else None,
    )
