"""The inbox's weeks are made ahead, filled from the default partition and dropped, each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from shared.messaging import partitions
from shared.messaging.partitions import Partition
from shared.service import inbox_week
from tests.integration.fabric.given import Ledger, id_of
from tests.running import until

NOW = datetime.now(UTC)


def days(n: float) -> datetime:
    return NOW + timedelta(days=n)


async def take(ledger: Ledger, *ids: UUID) -> None:
    await ledger.sql("insert into fabric.inbox select unnest($1::uuid[])", list(ids))


async def where(ledger: Ledger) -> dict[UUID, str]:
    """In which partition each id is."""
    return {
        row["event_id"]: row["part"]
        for row in await ledger.sql("select event_id, tableoid::regclass::text as part from fabric.inbox")
    }


async def tend(ledger: Ledger, *weeks: Partition, oldest: str = "") -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[asyncpg.Connection]:
        db = await asyncpg.connect(ledger.database_url, server_settings={"lock_timeout": "1s"})
        try:
            yield db
        finally:
            await db.close()

    await partitions.tend(connect, "inbox", "event_id", weeks, oldest=oldest)


async def test_a_new_service_moves_what_came_before_its_first_weeks_were_made(ledger: Ledger) -> None:
    ids = {id_of(days(n)): inbox_week(days(n), 0).name for n in (-30, -8, 0, 8)}
    unknowable, ancient = UUID("f0000000-0000-4000-8000-000000000000"), id_of(days(-400))
    await take(ledger, *ids, unknowable, ancient)
    async with ledger.running():

        async def moved() -> bool:
            found = await where(ledger)
            return all(found.get(each) == f"fabric.{week}" for each, week in ids.items())

        await until(moved, "each id is in the partition of its week")
        found = await where(ledger)
    assert {found[unknowable], found[ancient]} == {"fabric.inbox_default"}
    assert len(found) == len(ids) + 2


async def test_an_old_week_is_dropped_though_a_new_one_cannot_be_made(ledger: Ledger) -> None:
    old, week = inbox_week(NOW, -9), inbox_week(NOW, 0)
    await tend(ledger, old)
    await take(ledger, id_of(days(-63)))
    impossible = Partition("inbox_19990101", "none", "of these is an id")
    await tend(ledger, impossible, week, oldest=week.name)
    assert await names(ledger) == {"inbox_default", week.name}
    assert await where(ledger) == {}


async def test_a_week_that_is_locked_out_is_made_the_next_time(ledger: Ledger) -> None:
    week, ahead = inbox_week(NOW, 0), inbox_week(NOW, 1)
    await take(ledger, id_of(NOW))
    reader = await asyncpg.connect(ledger.database_url)
    async with reader.transaction():
        await reader.execute("select from fabric.inbox_default")
        await tend(ledger, week)
    await reader.close()
    assert await names(ledger) == {"inbox_default"}
    await tend(ledger, week, ahead)
    assert await names(ledger) == {"inbox_default", week.name, ahead.name}
    assert list((await where(ledger)).values()) == [f"fabric.{week.name}"]


async def test_ids_taken_while_their_week_is_made_are_kept_once(ledger: Ledger) -> None:
    """Several processes tend at once, and others take events in."""
    week = inbox_week(NOW, 0)
    ids = [id_of(NOW, n) for n in range(1, 400)]

    async def taking() -> None:
        for each in ids:
            await ledger.sql("insert into fabric.inbox values ($1) on conflict do nothing", each)

    load = asyncio.create_task(taking())
    await asyncio.sleep(0.2)
    await asyncio.gather(*(tend(ledger, week) for _ in range(3)))
    await load
    again = await ledger.sql(
        "insert into fabric.inbox select unnest($1::uuid[]) on conflict do nothing returning 1", ids
    )
    found = await where(ledger)
    assert again == []
    assert found == dict.fromkeys(ids, f"fabric.{week.name}")


async def names(ledger: Ledger) -> set[str]:
    rows = await ledger.sql(
        "select inhrelid::regclass::text as part from pg_inherits where inhparent = 'fabric.inbox'::regclass"
    )
    return {row["part"].removeprefix("fabric.") for row in rows}
