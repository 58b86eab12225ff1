"""Copies of a database and of a server: what a backup, a standby and a failover are made of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres, _is_root, _program
from deploy.local.process import run
from deploy.local.sql import on_server
from tests.faults.servers import Servers
from tests.running import until


class Standby(Postgres):
    """A second PostgreSQL that follows the first until it is told to lead."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(
            servers.directory / "standby", free_port(), environment=os.environ | servers.environment
        )
        self._primary = servers.postgres

    def _create(self) -> None:
        self._data.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._primary._password_file, self._password_file)
        _done("pg_basebackup", "-D", self._data, "-d", self._primary.url, "-R", "-X", "stream", "-c", "fast")

    def cut_off(self) -> None:
        """It follows no longer, and answers reads."""
        on_server(self.url, _forget_the_primary)

    def lead(self) -> None:
        on_server(self.url, lambda db: db.execute("select pg_promote(true, 60)"))


async def _forget_the_primary(db: asyncpg.Connection) -> None:
    await db.execute("alter system set primary_conninfo = ''")
    await db.execute("select pg_reload_conf()")

    async def cut() -> bool:
        return not await db.fetchval("select exists (select from pg_stat_wal_receiver)")

    await until(cut, "the standby follows no longer")


def programs() -> Path:
    """Where PostgreSQL's own programs are."""
    return _program("pg_dump").parent


def at(admin_url: str, database: str) -> str:
    parts = urlsplit(admin_url)
    return parts._replace(path=database, query="" if not database else parts.query).geturl()


def _done(program: str, *arguments: str | Path) -> None:
    ran = run([_program(program), *arguments], new_namespace=_is_root())
    assert ran.returncode == 0, f"{program}: {ran.stderr}"
