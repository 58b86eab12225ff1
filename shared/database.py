"""The connection pool of a service."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
from pydantic_core import from_json, to_json

Db: TypeAlias = "asyncpg.Connection"
"""A connection of the pool, as stores take it."""

COMMAND_TIMEOUT = 10.0
"""Seconds: asyncpg has none by default, and then hangs on a frozen server."""

CONNECT_TIMEOUT = 5.0
"""Seconds: asyncpg would wait a minute for a server that takes the connection and says nothing."""

SERVER_SETTINGS = {
    # Offsets are acknowledged after the commit: with less, a crash of the server could lose what Kafka forgot.
    "synchronous_commit": "on",
    "statement_timeout": "15s",
    "lock_timeout": "5s",  # well below ours: whoever waits for a lock learns that it was one, and not his own weight
    "idle_in_transaction_session_timeout": "30s",
}


async def open_pool(url: str, *, size: int, name: str) -> asyncpg.Pool:
    """A pool of at most `size` connections, each with the JSON codec and the server-side timeouts."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        server_settings={**SERVER_SETTINGS, "application_name": name},
        init=_prepare,
        reset=_nothing,
    )


async def _nothing(_connection: object) -> None:
    """What a release does beside ending an open transaction: asyncpg's own statement costs a round trip each time,
    and undoes what nobody here does: locks and settings end with their transaction, and pooled connections listen
    to nothing.
    """


async def connect(url: str, *, name: str) -> asyncpg.Connection:
    """One connection outside the pool, prepared as the pool's are."""
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        server_settings={**SERVER_SETTINGS, "application_name": name},
    )
    await _prepare(connection)
    return connection


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_json, decoder=from_json)


def _json(value: object) -> str:
    """Three times as fast as the standard library's, which shows where profiles are kept as jsonb."""
    return to_json(value).decode()
