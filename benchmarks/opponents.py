"""The opponents: the same business on aiokafka and asyncpg alone, with the same settings of clients and servers.

    python -m benchmarks.opponents tutorial NAME
    python -m benchmarks.opponents bare NAME

`tutorial` is the service of the articles: inbox and outbox, one event a transaction, one row a send. `bare` is a
batch loop without any promise: it loses what it had committed and not yet sent, and does the rest of a batch twice.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from benchmarks import business
from benchmarks.business import HANDLED, Told
from shared.database import open_pool
from shared.events import Event
from shared.events.enrollment import TOPIC
from shared.memory import spare_the_collector
from shared.settings import ServiceSettings

BATCH = 500
BATCH_BYTES = 8 * 1024 * 1024
RELAY_PAGE = 100


async def tutorial(name: str, settings: ServiceSettings) -> None:
    """A consumer and a relay, side by side."""
    async with _clients(name, settings) as (pool, consumer, producer):
        await asyncio.gather(
            _handle_one_by_one(pool, consumer), _relay_row_by_row(pool, producer, settings.topic_prefix)
        )


async def _handle_one_by_one(pool: asyncpg.Pool, consumer: AIOKafkaConsumer) -> None:
    """One event: one transaction, one commit of its offset."""
    async for record in consumer:
        headers = {name: value.decode() for name, value in record.headers}
        event = _event(record)
        async with pool.acquire() as db, db.transaction():
            known = await db.fetchval(
                """
                insert into processed_events (event_id)
                values ($1)
                on conflict do nothing
                returning event_id
                """,
                headers["ce_id"],
            )
            if known is not None:
                await business.save_one(db, event)
                answer = business.answer(event)
                await db.execute(
                    "insert into messages (topic, key, headers, payload) values ($1, $2, $3, $4)",
                    answer.TOPIC,
                    answer.key,
                    _headers(answer),
                    answer.model_dump_json().encode(),
                )
        await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})


async def _relay_row_by_row(pool: asyncpg.Pool, producer: AIOKafkaProducer, prefix: str) -> None:
    """A page of the outbox, in order: each row is sent, acknowledged and deleted before the next."""
    while True:
        async with pool.acquire() as db:
            rows = await db.fetch(
                "select id, event_id, topic, key, headers, payload from messages order by id limit $1",
                RELAY_PAGE,
            )
            for row in rows:
                headers = row["headers"] | {"ce_id": str(row["event_id"])}
                await producer.send_and_wait(
                    prefix + row["topic"],
                    key=row["key"].encode(),
                    value=row["payload"],
                    headers=[(name, value.encode()) for name, value in headers.items()],
                )
                await db.execute("delete from messages where id = $1", row["id"])
        if not rows:
            await asyncio.sleep(0.01)


async def bare(name: str, settings: ServiceSettings) -> None:
    """Consume a batch, one transaction with its state, send the answers, acknowledge."""
    async with _clients(name, settings) as (pool, consumer, producer):
        while True:
            found = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
            events = [_event(record) for records in found.values() for record in records]
            if not events:
                continue
            newest = {event.patient_id: event for event in events}  # one statement takes no row twice
            async with pool.acquire() as db, db.transaction():
                await business.save(db, list(newest.values()))
            answers = [business.answer(event) for event in events]
            sent = [
                await producer.send(
                    settings.topic_prefix + answer.TOPIC,
                    key=answer.key.encode(),
                    value=answer.model_dump_json().encode(),
                    headers=[("ce_type", answer.TYPE.encode())],
                )
                for answer in answers
            ]
            await asyncio.gather(*sent)
            await consumer.commit({tp: records[-1].offset + 1 for tp, records in found.items()})


@asynccontextmanager
async def _clients(
    name: str, settings: ServiceSettings
) -> AsyncIterator[tuple[asyncpg.Pool, AIOKafkaConsumer, AIOKafkaProducer]]:
    """Clients set as the fabric's are."""
    pool = await open_pool(settings.database_url, size=settings.pool_size, name=name)
    consumer = AIOKafkaConsumer(
        settings.topic_prefix + TOPIC,
        bootstrap_servers=settings.kafka_bootstrap,
        group_id=f"{settings.topic_prefix}medsync-{name}",
        group_instance_id=f"{name}-0",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
        fetch_max_bytes=BATCH_BYTES,
        max_partition_fetch_bytes=BATCH_BYTES,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True, linger_ms=0
    )
    await consumer.start()
    await producer.start()
    try:
        yield pool, consumer, producer
    finally:
        await consumer.stop()
        await producer.stop()
        await pool.close()


def _event(record: ConsumerRecord[bytes, bytes]) -> Told:
    """Both check the payload against the contract, as the fabric does."""
    event_type = next(value for name, value in record.headers if name == "ce_type").decode()
    return HANDLED[event_type].model_validate_json(record.value)


def _headers(event: Event) -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_type": event.TYPE,
        "ce_source": "medsync/tutorial",
        "ce_subject": event.key,
        "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
    }


if __name__ == "__main__":
    kind, name = sys.argv[1:]
    spare_the_collector()  # as cli.serve does
    settings = ServiceSettings()  # type: ignore[call-arg] # the rest comes from the environment
    asyncio.run({"tutorial": tutorial, "bare": bare}[kind](name, settings))
