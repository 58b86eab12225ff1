"""Puts one service process together and takes it apart again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import asyncpg
import stamina
import structlog
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from shared import datakeys, docs, grants, metrics, operations
from shared.access import ACCESS, OF_EVERY_SERVICE, Rows, missing
from shared.audit import http as audit
from shared.audit.chaining import Chainer
from shared.audit.recording import Audited
from shared.audit.store import KEPT_REASONS
from shared.clock import clock_of
from shared.contract import Documented
from shared.database import open_pool
from shared.datakeys import IN_CLEAR_A_TURN, InClear
from shared.edge import Edge, install_edge
from shared.http import SlashesInIds, admit, install_problems, named
from shared.identity import Headed, Identity
from shared.logging import configure_logging
from shared.messaging import Handlers, Jobs, Work, journal, partitions, tables
from shared.messaging.bell import Bell
from shared.messaging.consumer import Consumer
from shared.messaging.due import DueLoop
from shared.messaging.forgetting import Personal
from shared.messaging.heads import Heads
from shared.messaging.intake import Intake
from shared.messaging.lag import LagMeter
from shared.messaging.outages import BROKER_AWAY
from shared.messaging.parking import Parking
from shared.messaging.partitions import Partition
from shared.messaging.recovery import Recovery, Revisions, TakeAgain
from shared.messaging.relay import Relay, Relays
from shared.messaging.removing import OF_THE_FABRIC, Removing
from shared.messaging.unit import Cause
from shared.resealing import SET_ASIDE, Kept
from shared.retention import SHIPPED, Kind
from shared.retention import read as read_retention
from shared.sealing import SealBroken, Sealer
from shared.settings import ServiceSettings
from shared.slots import Slot
from shared.tokens import Keys, Tokens

NOTHING = Personal()

INBOX_DAYS = 35
"""How long taken ids are kept: longer than any topic keeps its records."""

ANSWER_DAYS = 7
KEEP_HOUSE_SECONDS = 600.0
EXIT_FAULT = 71
VERSION = version("medsync")

log = structlog.get_logger()


def service_app(
    *,
    name: str,
    about: str = "",
    settings: ServiceSettings,
    handlers: Handlers,
    jobs: Jobs,
    routers: Sequence[APIRouter],
    republish: operations.CurrentState | None = None,
    revisions: Revisions = MappingProxyType({}),
    take_again: TakeAgain | None = None,
    lanes: Mapping[str, int] | None = None,
    large: Mapping[str, int] | None = None,
    removes: Sequence[Kind] = (),
    in_clear: Sequence[InClear] = (),
    personal: Personal = NOTHING,
    access: Rows | None = None,
    identity: Identity | None = None,
) -> FastAPI:
    """A service: its HTTP routes, and in its lifespan the consumer, the relay and the due work.

    `access` says who may use its routes, `shared.access` where it is left out; a route without a row is a RuntimeError.
    `identity` is how it learns who calls; left out: by tokens where an issuer is set, else by headers.

    `about` says in its document what the service is for. `lanes` and `large` are bounds of some paths, see `Edge`.
    `republish`, `revisions` and `take_again`: how a service that publishes tells its state, and recovers.
    `removes`: what it removes once its day is past. `personal`: what goes with a patient who is forgotten. `in_clear`:
    what is sealed as it starts, where a release of before did not.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(name)
        log.info("service.starts", version=VERSION, slot=settings.slot)
        async with AsyncExitStack() as stack:
            try:
                recovering = partial(Recovery, revisions=revisions, take_again=take_again)
                kept = (*datakeys.KEPT, KEPT_REASONS, *SET_ASIDE)
                await _start(
                    app,
                    stack,
                    name,
                    settings,
                    handlers,
                    jobs,
                    republish,
                    recovering,
                    kept,
                    removes,
                    in_clear,
                    personal,
                )
            except Exception as error:  # its words quote no patient: none was read yet
                log.critical("service.cannot_start", why=str(error)[:200], exc_info=error)
                raise
            yield
            log.info("service.stops", slot=settings.slot, why=getattr(app.state, "stopped_by", "its server"))
        log.info("service.stopped", slot=settings.slot)

    app = Documented(
        title=f"MedSync {name}",
        version=VERSION,
        description=about,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: f"{name}_{route.name}",
        dependencies=[Depends(admit)],
    )
    app.state.rows = {**OF_EVERY_SERVICE, **(ACCESS.get(name, {}) if access is None else access)}
    app.state.identity = identity or identity_of(name, settings) or Headed()
    # The innermost: what keeps a row from being written is answered as any other error.
    app.add_middleware(Audited)
    install_problems(app)
    app.add_middleware(SlashesInIds)
    install_edge(app, Edge(settings.hosts, settings.max_in_flight, lanes or {}, large or {}))
    docs.install_docs(app)
    app.include_router(operations.router)
    app.include_router(audit.router)
    for router in routers:
        app.include_router(router)
    metrics.install(app)
    _require_rows(
        name, app.state.rows, (*routers, operations.router, audit.router, metrics.router, docs.router)
    )
    return app


def identity_of(name: str, settings: ServiceSettings) -> Tokens | None:
    """How a service learns who calls where an issuer of tokens is set. Raises BadGrants."""
    if not settings.issuer or settings.grants_file is None:
        return None
    return Tokens(
        Keys(settings.issuer, settings.jwks_url),
        audience=settings.audience or f"medsync-{name}",
        algorithms=settings.algorithms,
        grants=grants.GrantsFile(settings.grants_file),
    )


def _require_rows(name: str, rows: Rows, routers: Sequence[APIRouter]) -> None:
    """Raises RuntimeError where a route has no row in the table of access."""
    routes = [
        named(method, route.path)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    ]
    if without := missing(rows, routes):
        raise RuntimeError(f"{name}: no row in shared/access.py says who may use {', '.join(without)}")


async def _start(
    app: FastAPI,
    stack: AsyncExitStack,
    name: str,
    settings: ServiceSettings,
    handlers: Handlers,
    jobs: Jobs,
    republish: operations.CurrentState | None,
    recovering: Callable[..., Recovery],
    kept: Sequence[Kept],
    removes: Sequence[Kind],
    in_clear: Sequence[InClear],
    personal: Personal,
) -> None:
    """Open the pools, then run everything; at the end all parts stop at once, and the pools close after them.

    Commands and queries have a pool of their own: however many wait, events are taken and operations answered.
    """
    broker, sealer = settings.broker, _sealer(name, settings)
    kinds = (*removes, *OF_THE_FABRIC)
    policy = read_retention(settings.retention_file or SHIPPED, name, kinds)
    label = f"medsync-{name}-{settings.slot}"
    pool = await _pool(settings, settings.pool_size, label)
    stack.push_async_callback(_close_pool, pool)
    http_pool = await _pool(settings, settings.http_pool_size, f"{label} http")
    stack.push_async_callback(_close_pool, http_pool)
    bell = Bell(settings.direct_database, name=label)
    work = Work(pool, service=name, clock=clock_of(settings.clock_file), sealer=sealer, bell=bell)
    slot = Slot(work, settings.slot)
    await slot.take()
    stack.push_async_callback(slot.give_back)
    await _seal_in_clear(work, in_clear)
    intake = Intake(work, handlers, topic_prefix=settings.topic_prefix)
    prefix = settings.topic_prefix
    topics = [prefix + topic for topic in handlers.topics]
    meter = LagMeter(work, broker, name, topics, prefix=prefix)
    consumer = Consumer(
        intake,
        meter,
        broker=broker,
        service=name,
        slot=settings.slot,
        topic_prefix=settings.topic_prefix,
        batch_size=settings.batch_size,
        gather_ms=settings.gather_ms,
        session_timeout_ms=settings.session_timeout_ms,
        max_poll_interval_ms=settings.max_poll_interval_ms,
    )
    relay = Relays(
        partial(
            Relay,
            settings.direct_database,
            broker,
            bell,
            service=name,
            name=label,
            lease_seconds=settings.relay_lease_seconds,
            topic_prefix=settings.topic_prefix,
        ),
        settings.relays,
    )
    recovery = recovering(
        work.whatever_was_published(),
        broker=broker,
        topic_prefix=settings.topic_prefix,
    )
    work.refuses, work.looked = lambda: relay.refuses, relay.looked
    app.state.work, app.state.settings = work.on(http_pool), settings
    due = DueLoop(work, jobs, bell)
    chainer = Chainer(work, Heads(broker, prefix=prefix, client=f"{label}-audit"))
    parking = Parking(work, handlers)
    removing = Removing(work, kinds, policy)
    app.state.machinery = operations.Machinery(
        service=name,
        slot=settings.slot,
        work=work,
        consumer=consumer,
        relay=relay,
        due=due,
        meter=meter,
        parking=parking,
        migrations=_migrations_of(name),
        republish=republish,
        recovery=recovery,
        kept=kept,
        removing=removing,
        chainer=chainer,
        personal=personal,
    )
    parts: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
        slot.keep,
        bell.run,
        relay.run,
        due.run,
        chainer.run,
        partial(_consume, consumer, meter, settings.stuck_after_seconds),
        partial(_keep_house, work, parking),
        removing.run,
        app.state.metrics.watch_loop,
    )
    tasks = [asyncio.create_task(_or_end_the_process(part)) for part in parts]
    stack.push_async_callback(_stop, tasks)


async def _seal_in_clear(work: Work, in_clear: Sequence[InClear]) -> None:
    """Before anything is read: what a release of before left in clear. Some patients at a time; cut off, it goes on."""
    for each in in_clear:
        sealed, after = 0, ""
        while True:
            async with work.whatever_was_published().begin((), cause=Cause("sealing", "sealing")) as unit:
                found = await each.find(unit.db, after, IN_CLEAR_A_TURN)
                await work.lock(unit, [f"{each.of}:{one}" for one in found])
                if found:
                    await each.seal(unit.db, unit.keys, found)
            if not found:
                break
            sealed, after = sealed + len(found), found[-1]
            log.info("people.sealed", number=sealed)


async def _or_end_the_process(part: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A part that fails for good would leave a process that looks alive: better that it is started again."""
    try:
        await part()
    except Exception as error:
        log.critical("service.part_failed", exc_info=error)
        os._exit(EXIT_FAULT)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _sealer(name: str, settings: ServiceSettings) -> Sealer:
    """Its keys. Raises SealBroken where it has none: the answers that it keeps are sealed in every service."""
    sealer = settings.sealer
    if sealer.key_id is None:
        raise SealBroken(f"{name} has no key that seals: give MEDSYNC_SEALING_KEYS_FILE")
    return sealer


@stamina.retry(on=(OSError, asyncpg.PostgresError, TimeoutError), attempts=None, timeout=12.0, wait_max=2.0)
async def _pool(settings: ServiceSettings, size: int, label: str) -> asyncpg.Pool:
    """Gives up while a stop can still keep to its 20 s: it is not heard before the start is over."""
    return await open_pool(settings.database, size=size, name=label)


async def _close_pool(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(3):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _consume(consumer: Consumer, meter: LagMeter, stuck_after: float) -> None:
    """Join the group as soon as the broker answers, then watch that the position moves; leave when cancelled."""
    try:
        while True:
            try:
                await meter.start()
                await consumer.start()
                break
            except BROKER_AWAY as error:
                log.warning("consumer.no_broker", error=type(error).__name__)
                await meter.stop()
                await asyncio.sleep(1)
        await consumer.watch(meter, stuck_after=stuck_after)
    finally:
        await consumer.stop()
        await meter.stop()


async def _keep_house(work: Work, parking: Parking) -> None:
    """Finish cut-off redrives, make the next partitions of inbox and outbox, drop old ones; every ten minutes."""
    while True:
        for chore in (
            parking.finish,
            partial(_tend_inbox, work),
            partial(_tend_outbox, work),
            partial(_sweep, work),
        ):
            try:
                await chore()
            except Exception as error:
                log.warning("house.unkept", exc_info=error)
        await asyncio.sleep(KEEP_HOUSE_SECONDS)


async def _tend_inbox(work: Work) -> None:
    """From the oldest week that is kept on: a new service reads ids of weeks ago.

    The default partition keeps what is older, of compacted topics, and ids that hold no time.
    """
    now = datetime.now(UTC)
    weeks = [inbox_week(now, ahead) for ahead in range(-INBOX_DAYS // 7, 3)]
    await partitions.tend(work.connection, "inbox", "event_id", weeks, oldest=weeks[0].name)


async def _tend_outbox(work: Work) -> None:
    """Each day by itself: one that cannot be made or dropped now keeps no other from it."""
    async with work.connection() as db:
        today: date = await db.fetchval("select current_date")
    await partitions.tend(
        work.connection, "outbox", "day", [outbox_day(today, n) for n in range(3)], oldest=""
    )
    async with work.connection() as db:
        for day in await journal.days(db):
            if day < today - timedelta(days=journal.JOURNAL_DAYS):
                await journal.drop_day(db, day)
        await journal.forget_ticks(db)


async def _sweep(work: Work) -> None:
    async with work.connection() as db:
        await tables.forget_answers(db, ANSWER_DAYS)
        await tables.sweep_positions(db)


def inbox_week(moment: datetime, ahead: int) -> Partition:
    """The partition of the week `ahead` of the moment's: uuidv7 begins with milliseconds."""
    monday = (moment - timedelta(days=moment.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    start = monday + timedelta(weeks=ahead)
    low, high = _first_id(start), _first_id(start + timedelta(weeks=1))
    return Partition(f"inbox_{start:%Y%m%d}", str(low), str(high))


def outbox_day(today: date, ahead: int) -> Partition:
    day = today + timedelta(days=ahead)
    return Partition(f"outbox_{day:%Y%m%d}", f"{day}", f"{day + timedelta(days=1)}")


def _first_id(moment: datetime) -> UUID:
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _migrations_of(name: str) -> int:
    return len(list((Path(__file__).parent.parent / "services" / name / "migrations").glob("*.sql")))
