"""Running services inside a test, and speaking to Kafka and PostgreSQL as a stranger would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from fastapi import FastAPI

from shared.clock import SteppedClock
from shared.events import Event, owner_of
from shared.messaging.internals import partitions_of

STAFF = {"Medsync-Actor": "staff-1", "Medsync-Role": "pharmacist,operator"}
EVERYBODY = {
    "Medsync-Actor": "staff-1",
    "Medsync-Role": "pharmacist,technician,clerk,manager,operator,auditor,feed,dialer,dispensing,system",
}
"""Whoever a route wants: for tests of something else than access."""

SEALING_KEY = "5a" * 32

READABLE_SECONDS = 0.1


@asynccontextmanager
async def running(app: FastAPI, *, wait_ready: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """The service, started as its process would start it; the client speaks to it without a port."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=STAFF
        ) as client:
            if wait_ready:
                await until(lambda: is_ready(client), "the service is ready")
            yield client


async def is_ready(client: httpx.AsyncClient) -> bool:
    """Answers commands, and takes events in."""
    answers = [await client.get(f"/ops/{side}") for side in ("ready", "consuming")]
    return all(answer.status_code == 200 for answer in answers)


async def until(condition: Callable[[], Awaitable[Any]], what: str, *, seconds: float = 30.0) -> Any:
    """Poll until the condition answers something true; fails naming what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}; last answer: {answer!r}")
        await asyncio.sleep(0.02)


async def at_rest(*clients: httpx.AsyncClient, seconds: float = 60.0) -> None:
    """Until nothing is due, no outbox row waits, and no record is untaken: twice in a row, nothing having moved.

    A while lies between: what was published can be read some moments after its relay knows that it is.
    """
    before: list[Any] = []

    async def rests() -> bool:
        nonlocal before
        answers = [await client.get("/ops/status") for client in clients]
        if any(answer.is_error for answer in answers):  # a server is away
            return False
        states = [answer.json() for answer in answers]
        marks = [(s["committed"], s["end"], s["published"]) for s in states]
        quiet = not any(s["due_now"] or s["outbox"] or s["lag"] for s in states)
        still, before = quiet and marks == before, marks
        if quiet and not still:
            await asyncio.sleep(READABLE_SECONDS)
        return still

    await until(rests, "every service is at rest", seconds=seconds)


class Told(Protocol):
    """A service in the hands of a test."""

    clock: SteppedClock

    async def handle(self, *events: Event) -> object: ...

    async def do_due(self) -> object: ...


async def tell(story: Sequence[Event], held: int | None, service: Told) -> None:
    """Tell a story; the event at place `held`, and those behind it on its topic, come an hour after the others."""
    behind = () if held is None else range(held, len(story))
    late = [story[place] for place in behind if story[place].TOPIC == story[behind[0]].TOPIC]
    for event in story:
        if event not in late:
            await service.handle(event)
            await service.do_due()
    service.clock.advance(timedelta(hours=1))
    for event in late:
        await service.handle(event)
    await service.do_due()


def record(event: Event, *, event_id: UUID | None = None, **overrides: str) -> dict[str, Any]:
    """An event as its owner's relay would send it (key, value, headers); overrides replace header values."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(event_id or uuid4()),
        "ce_type": event.TYPE,
        "ce_source": f"medsync/{owner_of(event.TOPIC)}",
        "ce_subject": event.key,
        "content-type": "application/json",
    } | overrides
    return {
        "key": event.key.encode(),
        "value": event.model_dump_json().encode(),
        "headers": [(name, value.encode()) for name, value in headers.items()],
    }


@asynccontextmanager
async def producing(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def publish(bootstrap: str, events: Sequence[Event], *, prefix: str = "") -> None:
    """Put events on their topics, in order."""
    async with producing(bootstrap) as producer:
        for event in events:
            await producer.send(prefix + event.TOPIC, **record(event))
        await producer.flush()


async def everything_on(bootstrap: str, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
    """Every committed record of a topic, from its first to its present end."""
    # By the reset policy: a seek races with the reset to the end that an assignment begins with.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for p in await partitions_of(consumer, topic)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[ConsumerRecord[bytes, bytes]] = []
        for place in places:
            while await consumer.position(place) < ends[place]:
                for records in (await consumer.getmany(place, timeout_ms=1000)).values():
                    found += records
        return found
    finally:
        await consumer.stop()
