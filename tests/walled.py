"""A service's database as an installation has it: the role of the service owns nothing, so the second wall binds it."""

from __future__ import annotations

import asyncpg

from deploy.local.databases import _GRANTS, ensure_role, url_of
from deploy.local.sql import on_server

ROLE = "medsync_behind_the_wall"


def behind_the_wall(admin_url: str, url: str) -> str:
    """The URL of the same database as a role that may read and write everything and owns nothing."""
    database = url.rpartition("/")[2].partition("?")[0]

    async def make(admin: asyncpg.Connection) -> None:
        await ensure_role(admin, admin_url, ROLE)
        await admin.execute(f"grant connect, temporary on database {database} to {ROLE}")

    async def grant(db: asyncpg.Connection) -> None:
        for schema in ("public", "fabric"):
            await db.execute(_GRANTS.format(schema=schema, role=ROLE))

    on_server(admin_url, make)
    on_server(url_of(admin_url, database, None), grant)
    return url_of(admin_url, database, ROLE)
