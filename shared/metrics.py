"""`/metrics`: what a process knows of itself, its database and its topics, for Prometheus. No label holds an id."""

from __future__ import annotations

import asyncio
from collections import Counter as Counted
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.audit import store as audit
from shared.contract import OPERATIONS
from shared.messaging import tables
from shared.messaging.lag import DatabaseAway
from shared.operations import Machinery
from shared.watching import Requests, Watched

READ_SECONDS = 4.0
"""How long the database or the broker may take: a scrape is given up after ten seconds."""

LOOP_SECONDS = 0.5
LATE = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

disable_created_metrics()  # type: ignore[no-untyped-call] # a second time series for each counter

log = structlog.get_logger()
router = APIRouter()


@dataclass(frozen=True, slots=True)
class Kind:
    """A metric that is read when somebody asks, with the names of its labels."""

    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False


KINDS: dict[str, Kind] = {
    "medsync_process": Kind("1; which process this is.", ("service", "slot", "version")),
    "medsync_broker_answers": Kind("1 if the broker answered this scrape, else 0."),
    "medsync_database_answers": Kind("1 if the database answered this scrape, else 0."),
    "medsync_stopped": Kind("1 if consumption or due work stopped for a bad release, else 0."),
    "medsync_lag_records": Kind("Records that the service has not taken in.", ("topic",)),
    "medsync_lag_age_seconds": Kind("For how long the oldest of them has waited, at least.", ("topic",)),
    "medsync_outbox_rows": Kind("Events that are to be published, without those held."),
    "medsync_outbox_age_seconds": Kind("Age of the oldest row of the outbox."),
    "medsync_held_rows": Kind("Events that the broker refused; their patients' later ones wait."),
    "medsync_parked": Kind("Patients and stores that wait for a person."),
    "medsync_dead_letters_open": Kind("Dead letters that nobody has redriven or skipped."),
    "medsync_retention_past_rows": Kind(
        "Records whose day is past and that were still there at the last look.", ("kind",)
    ),
    "medsync_retention_removed_total": Kind(
        "Records removed because their day is past.", ("kind",), counter=True
    ),
    "medsync_audit_unchained_rows": Kind("Rows of the audit that are not chained yet."),
    "medsync_audit_unchained_seconds": Kind("For how long the oldest of them has waited."),
    "medsync_audit_unpublished_seconds": Kind("For how long the head of the chain could not be published."),
    "medsync_gaps": Kind("Topics, or partitions, that wait because events are missing.", ("topic",)),
    "medsync_oldest_snapshot_seconds": Kind("For how long a transaction has held the oldest snapshot."),
    "medsync_oldest_transaction_seconds": Kind("For how long the oldest open transaction has been open."),
    "medsync_waits_seconds": Kind("For how long a part has waited for a server; 0: it does not.", ("part",)),
    "medsync_due_waiting": Kind("Patients or stores whose work is due, up to 500.", ("view",)),
    "medsync_due_age_seconds": Kind("For how long the oldest due work has waited.", ("view",)),
    "medsync_pool_connections": Kind("Connections of the pool: in_use, free, or not yet open.", ("state",)),
    "medsync_relay_leads": Kind("1 if this process publishes the outbox, else 0."),
    "medsync_relay_stalled": Kind("Partitions that cannot be written; theirs wait."),
    "medsync_relay_takeovers_total": Kind("Times that it became the one.", counter=True),
    "medsync_relay_published_total": Kind("Events that it published.", counter=True),
    "medsync_events_total": Kind(
        "Events by what became of them: taken, repeated, passed or buried.",
        ("outcome",),
        counter=True,
    ),
    "medsync_events_handled_total": Kind("Events that had their effect, by type.", ("type",), counter=True),
    "medsync_events_stored_behind_total": Kind("Events kept for parked patients.", counter=True),
    "medsync_events_buried_total": Kind("Events set aside, by reason.", ("reason",), counter=True),
    "medsync_events_set_aside_total": Kind(
        "Events of a replan or republishing that were too large for the broker, by type.",
        ("type",),
        counter=True,
    ),
    "medsync_due_done_total": Kind("Pieces of due work done.", counter=True),
    "medsync_due_buried_total": Kind("Pieces of due work set aside.", counter=True),
    "medsync_commit_errors_total": Kind("Offsets that could not be acknowledged.", counter=True),
}
"""Every metric but those of requests (`shared.watching`) and of the event loop."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number, with the values of its metric's labels."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


class Metrics:
    """The metrics of one app; a registry of its own, for one process may hold several apps."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.requests = Requests(registry)
        self._late = Histogram(
            "medsync_event_loop_late_seconds",
            "How much later than asked the event loop came back to a sleeper.",
            buckets=LATE,
            registry=registry,
        )
        self._read = _Read()
        registry.register(self._read)
        self._registry = registry

    async def watch_loop(self) -> None:
        """Measure until cancelled whether the event loop is held up."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOP_SECONDS
            await asyncio.sleep(LOOP_SECONDS)
            self._late.observe(max(0.0, loop.time() - due))

    def text(self, samples: Iterable[Sample]) -> bytes:
        """Everything, in the form that Prometheus reads."""
        self._read.samples = list(samples)
        return generate_latest(self._registry)


class _Read(Collector):
    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def collect(self) -> Iterator[Metric]:
        for name, kind in KINDS.items():
            family = (CounterMetricFamily if kind.counter else GaugeMetricFamily)(
                name, kind.help, labels=kind.labels
            )
            for sample in self.samples:
                if sample.name == name:
                    family.add_metric(sample.labels, sample.value)
            if family.samples:
                yield family


def install(app: FastAPI) -> None:
    """Watch every request of the app, and answer `/metrics`."""
    app.state.metrics = Metrics()
    app.add_middleware(Watched, requests=app.state.metrics.requests)
    app.include_router(router)


@router.get("/metrics", tags=[OPERATIONS], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """The metrics of this process; what cannot be read now, for the broker or the database is away, is left out."""
    found: Metrics = request.app.state.metrics
    machinery: Machinery | None = getattr(request.app.state, "machinery", None)
    samples = await read(machinery) if machinery else []
    return Response(found.text(samples), media_type=CONTENT_TYPE_LATEST)


async def read(m: Machinery) -> list[Sample]:
    """What the process knows, and what its database and the broker say now."""
    broker, database = await asyncio.gather(
        _if_it_answers("broker", _lag(m)), _if_it_answers("database", _waiting(m))
    )
    return [*_of_process(m), *broker, *database]


async def _if_it_answers(what: str, reading: Awaitable[Sequence[Sample]]) -> list[Sample]:
    answers = f"medsync_{what}_answers"
    try:
        async with asyncio.timeout(READ_SECONDS):
            return [Sample(answers, 1), *await reading]
    except Exception as error:  # whatever it is, the rest is told
        log.warning("metrics.unread", what=what, error=type(error).__name__)
        return [Sample(answers, 0)]


async def _lag(m: Machinery) -> list[Sample]:
    try:
        lag = await m.meter.read()
    except DatabaseAway:  # the broker answered
        return []
    records = [
        Sample("medsync_lag_records", behind, (topic,)) for topic, behind in lag.behind_by_topic.items()
    ]
    ages = [Sample("medsync_lag_age_seconds", age, (topic,)) for topic, age in m.meter.ages().items()]
    return records + ages


async def _waiting(m: Machinery) -> list[Sample]:
    async with m.work.connection() as db:
        counts = await tables.counts(db)
        gaps = Counted(gap.topic for gap, _ in await tables.open_gaps(db))
        states = await m.due.states(db)
        lasting = await tables.lasting(db)
        past = await m.removing.noted(db)
        unchained = await audit.waiting(db)
    now = m.work.now()
    samples = [
        Sample("medsync_outbox_rows", counts["outbox"]),
        Sample("medsync_outbox_age_seconds", counts["outbox_age_seconds"]),
        Sample("medsync_held_rows", counts["held"]),
        Sample("medsync_parked", counts["parked"]),
        Sample("medsync_dead_letters_open", counts["dead_letters"]),
        Sample("medsync_audit_unchained_rows", unchained.rows),
        Sample("medsync_audit_unchained_seconds", unchained.seconds),
        *(Sample("medsync_gaps", gaps[topic], (topic,)) for topic in m.consumer.intake.handlers.topics),
        Sample("medsync_oldest_snapshot_seconds", lasting.snapshot_seconds),
        Sample("medsync_oldest_transaction_seconds", lasting.transaction_seconds),
    ]
    for kind, left, removed in past:
        samples.append(Sample("medsync_retention_past_rows", left, (kind,)))
        samples.append(Sample("medsync_retention_removed_total", removed, (kind,)))
    for state in states:
        age = max(0.0, (now - state.next_at).total_seconds()) if state.next_at else 0.0
        samples.append(Sample("medsync_due_waiting", state.owners, (state.view,)))
        samples.append(Sample("medsync_due_age_seconds", age, (state.view,)))
    return samples


def _of_process(m: Machinery) -> list[Sample]:
    tally, pool = m.consumer.intake.tally, m.work.pool
    size, free = pool.get_size(), pool.get_idle_size()
    outcomes = ("taken", "repeated", "passed", "buried")
    return [
        Sample("medsync_process", 1, (m.service, str(m.slot), version("medsync"))),
        Sample("medsync_stopped", bool(m.consumer.stopped_because or m.due.stopped_because)),
        Sample("medsync_pool_connections", size - free, ("in_use",)),
        Sample("medsync_pool_connections", free, ("free",)),
        Sample("medsync_pool_connections", pool.get_max_size() - size, ("unopened",)),
        Sample("medsync_waits_seconds", m.consumer.wait.seconds, ("consumption",)),
        Sample("medsync_waits_seconds", m.due.wait.seconds, ("due_work",)),
        Sample("medsync_waits_seconds", m.relay.wait.seconds, ("relay",)),
        Sample("medsync_audit_unpublished_seconds", m.chainer.unpublished_seconds),
        Sample("medsync_relay_leads", m.relay.leads),
        Sample("medsync_relay_takeovers_total", m.relay.takeovers),
        Sample("medsync_relay_published_total", m.relay.published),
        Sample("medsync_relay_stalled", m.relay.stalled),
        *(Sample("medsync_events_total", getattr(tally, name), (name,)) for name in outcomes),
        Sample("medsync_events_stored_behind_total", tally.stored_behind),
        *(Sample("medsync_events_handled_total", n, (kind,)) for kind, n in tally.by_type.items()),
        *(Sample("medsync_events_buried_total", n, (reason,)) for reason, n in tally.buried_for.items()),
        *(Sample("medsync_events_set_aside_total", n, (kind,)) for kind, n in m.work.set_aside.items()),
        Sample("medsync_due_done_total", m.due.done),
        Sample("medsync_due_buried_total", m.due.buried),
        Sample("medsync_commit_errors_total", m.consumer.commit_errors),
    ]
