"""The connection pool of a service, and how its database is reached."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg
from pydantic import Field, model_validator
from pydantic_core import from_json, to_json

from shared.files import FileSettings

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


@dataclass(frozen=True)
class Database:
    """Where a database is, and how it is reached.

    `ca_file`: who signs the server's certificate, which has to be for the name in the URL; none: as the URL says.
    `pooled`: a pooler in transaction mode stands in front, which keeps neither settings nor prepared statements.
    """

    url: str = field(repr=False)  # it may hold a password
    ca_file: Path | None = None
    pooled: bool = False

    def client(self, name: str) -> dict[str, Any]:
        """What asyncpg is told."""
        verified = {"ssl": ssl.create_default_context(cafile=self.ca_file)} if self.ca_file else {}
        if self.pooled:
            return verified | {"server_settings": {"application_name": name}, "statement_cache_size": 0}
        return verified | {"server_settings": {**SERVER_SETTINGS, "application_name": name}}


class DatabaseSettings(FileSettings):
    """What a service is told of its database."""

    database_url: str = Field(description="the service's own database, as its own role")
    database_ca_file: Path | None = Field(
        default=None, description="certificates of who signs the server's: then it is verified, and its name"
    )
    database_pooled: bool = Field(
        default=False, description="a pooler in transaction mode, as pgbouncer, is at that address"
    )
    database_direct_url: str = Field(
        default="", description="past the pooler, for what listens to the database; needed where one is"
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.database_pooled and not self.database_direct_url:
            raise ValueError(
                "MEDSYNC_DATABASE_POOLED needs MEDSYNC_DATABASE_DIRECT_URL: nobody listens through a pooler"
            )
        return self

    @property
    def database(self) -> Database:
        """For transactions."""
        return Database(self.database_url, self.database_ca_file, self.database_pooled)

    @property
    def direct_database(self) -> Database:
        """For connections that are held."""
        return Database(self.database_direct_url or self.database_url, self.database_ca_file)


class SettingsLost(Exception):
    """The role has not the timeouts that the connection cannot set."""

    def __init__(self, role: str, differing: Mapping[str, str]) -> None:
        settings = "; ".join(f"alter role {role} set {name} = '{value}'" for name, value in differing.items())
        super().__init__(f"the role lacks settings that keep a service from hanging: {settings}")


async def open_pool(database: str | Database, *, size: int, name: str) -> asyncpg.Pool:
    """A pool of at most `size` connections, each with the JSON codec and the server-side timeouts.

    Raises SettingsLost where a pooler keeps it from setting them and the role does not have them.
    """
    reached = _reached(database)
    pool = await asyncpg.create_pool(
        reached.url,
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        init=_prepare,
        reset=_nothing,
        **reached.client(name),
    )
    if reached.pooled:
        try:
            async with pool.acquire() as db:
                await require_settings(db)
        except BaseException:
            pool.terminate()
            raise
    return pool


async def require_settings(db: Db) -> None:
    """Raises SettingsLost where the server-side timeouts are not those that a service needs."""
    rows = await db.fetch(
        "select name, current_setting(name) as value from unnest($1::text[]) name", list(SERVER_SETTINGS)
    )
    found = {row["name"]: row["value"] for row in rows}
    if differing := {name: value for name, value in SERVER_SETTINGS.items() if found[name] != value}:
        raise SettingsLost(await db.fetchval("select current_user"), differing)


async def _nothing(_connection: object) -> None:
    """What a release does beside ending an open transaction: asyncpg's own statement costs a round trip each time,
    and undoes what nobody here does: locks and settings end with their transaction, and pooled connections listen
    to nothing.
    """


async def connect(database: str | Database, *, name: str) -> asyncpg.Connection:
    """One connection outside the pool, prepared as the pool's are."""
    reached = _reached(database)
    connection = await asyncpg.connect(
        reached.url, timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT, **reached.client(name)
    )
    await _prepare(connection)
    return connection


def _reached(database: str | Database) -> Database:
    """A URL alone says all where nothing stands in front."""
    return Database(database) if isinstance(database, str) else database


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_json, decoder=from_json)


def _json(value: object) -> str:
    """Three times as fast as the standard library's, which shows where profiles are kept as jsonb."""
    return to_json(value).decode()
