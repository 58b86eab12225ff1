"""A database as it stands, kept as a backup would be."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from deploy.local.databases import url_of
from deploy.local.sql import on_server


class Copies:
    """Copies of databases that are dropped at the end."""

    def __init__(self, admin_url: str) -> None:
        self._admin = admin_url
        self._made: list[str] = []

    async def of(self, url: str) -> str:
        """The URL of a copy. Nothing may be connected to the original meanwhile."""
        parts = urlsplit(url)
        name, role = parts.path[1:], str(parts.username)
        copy = f"{name}_{len(self._made)}"
        statement = f"create database {copy} template {name} owner {role}"
        await asyncio.to_thread(on_server, self._admin, lambda admin: admin.execute(statement))
        self._made.append(copy)
        return url_of(self._admin, copy, role)

    def drop(self) -> None:
        for each in self._made:
            statement = f"drop database if exists {each} with (force)"
            on_server(self._admin, lambda admin, statement=statement: admin.execute(statement))
