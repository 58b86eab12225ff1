"""A ledger's database as it was: a copy taken, brought up beside it, or put in its place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg

from deploy.local.databases import create_database, role_of, url_of
from deploy.local.sql import on_server
from tests.integration.fabric.given import Ledger
from tests.running import until

LED_BY_ANOTHER = """
update fabric.relay_lease
set holder = 'another', renewed = clock_timestamp(), until = clock_timestamp() + interval '1 minute'
"""
"""Another process has the lease, and has not looked yet whether the database was put back."""


async def copied(postgres: str, ledger: Ledger) -> Ledger:
    """The ledger on a copy of its database as it is now. Nobody may be connected to it."""
    name = _name(ledger)

    async def copy(admin: asyncpg.Connection) -> None:
        await create_database(admin, f"{name}_copy", role_of("ledger"), name)

    await asyncio.to_thread(on_server, postgres, copy)
    return replace(ledger, database_url=url_of(postgres, f"{name}_copy", role_of("ledger")))


async def fail_over(postgres: str, ledger: Ledger, to: Ledger) -> None:
    """Put that copy in the place of the ledger's database, under whoever is connected."""
    name, other = _name(ledger), _name(to)

    async def swap(admin: asyncpg.Connection) -> None:
        await admin.execute(f"alter database {name} allow_connections false")
        await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)

        async def left() -> bool:
            return not await admin.fetchval("select count(*) from pg_stat_activity where datname = $1", name)

        await until(left, "nobody is connected any more")
        await admin.execute(f"alter database {name} rename to {name}_old")
        await admin.execute(f"alter database {other} rename to {name}")

    await asyncio.to_thread(on_server, postgres, swap)


async def drop(postgres: str, ledger: Ledger) -> None:
    """Every copy of it."""

    async def gone(admin: asyncpg.Connection) -> None:
        for suffix in ("_copy", "_old"):
            await admin.execute(f"drop database if exists {_name(ledger)}{suffix} with (force)")

    await asyncio.to_thread(on_server, postgres, gone)


def _name(ledger: Ledger) -> str:
    return urlsplit(ledger.database_url).path[1:]
