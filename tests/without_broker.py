"""A service on a real database without its broker: HTTP, handlers and due work, and its outbox to look into."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events import EVENTS, Event
from shared.messaging import Handlers, Jobs, Work
from shared.messaging.bell import Bell
from shared.messaging.envelope import typed_key
from shared.messaging.unit import Cause
from shared.sealing import Sealer
from tests.running import EVERYBODY, SEALING_KEY


class Unbrokered:
    """One service in the hands of a test."""

    def __init__(
        self, work: Work, http: httpx.AsyncClient, clock: SteppedClock, handlers: Handlers, jobs: Jobs
    ) -> None:
        self.work, self.http, self.clock = work, http, clock
        self._handlers, self._jobs = handlers, jobs

    async def handle(self, *events: Event) -> None:
        """Take events of one type in one transaction, as a batch of the consumer would."""
        keys = [typed_key(event) for event in events]
        async with self.work.begin(keys, cause=Cause("test", "test")) as unit:
            await self._handlers.by_type[events[0].TYPE](events, unit)

    async def do_due(self) -> None:
        """Work off everything that is due now; fails where work shows as due for ever."""
        for view, job in self._jobs.by_view.items():
            for _ in range(10):
                async with self.work.begin((), cause=Cause("test", "test")) as unit:
                    found = await self.work.free_owners(unit, view, 500, self._jobs.of(view))
                    if not found:
                        break
                    await job(found, unit)
            else:
                raise AssertionError(f"{view} still shows work after ten turns")

    async def send(
        self, path: str, status: int = 200, *, role: str, key: str | None = None, **body: Any
    ) -> Any:
        """Send a command in a role; fails where the answer has another status."""
        headers = {"Medsync-Actor": f"{role}-1", "Medsync-Role": role}
        if key:
            headers["Idempotency-Key"] = key
        answer = await self.http.post(path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def published(self) -> list[Event]:
        """What was published since the last look, in order; sealed events are left out."""
        async with self.work.pool.acquire() as db:
            rows = await db.fetch("delete from fabric.outbox returning id, headers, payload")
        types = [EVENTS[row["headers"]["ce_type"]] for row in sorted(rows, key=lambda row: row["id"])]
        payloads = [row["payload"] for row in sorted(rows, key=lambda row: row["id"])]
        return [
            kind.model_validate_json(payload)
            for kind, payload in zip(types, payloads, strict=True)
            if not kind.SEALED
        ]

    async def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        async with self.work.pool.acquire() as db:
            return [dict(row) for row in await db.fetch(sql, *values)]


@asynccontextmanager
async def without_broker(
    name: str, app: FastAPI, handlers: Handlers, jobs: Jobs, *, url: str, now: datetime, folder: Path
) -> AsyncIterator[Unbrokered]:
    """The service at a stepped clock."""
    clock = SteppedClock(folder / "clock")
    clock.set(now)
    pool = await open_pool(url, size=4, name="test")
    sealer, bell = Sealer(SEALING_KEY, key_id="1"), Bell(url, name="test")
    app.state.work = work = Work(pool, service=name, clock=clock, sealer=sealer, bell=bell)
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=EVERYBODY
        ) as http:
            yield Unbrokered(work, http, clock, handlers, jobs)
    finally:
        await pool.close()
