"""Enrollment for tests: the service without its broker, a store and a patient fed in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from fastapi import FastAPI

from services.enrollment import handlers, jobs
from services.enrollment.app import create_app
from services.enrollment.imports import pseudonym
from services.enrollment.settings import Settings
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events import EVENTS, Event
from shared.messaging import Work, patient
from shared.messaging.bell import Bell
from shared.messaging.unit import Cause
from shared.sealing import Sealer
from tests import feed as records

KEY = "pseudonyms-of-a-test-0123456789abcdef"
P1, P2 = (pseudonym(KEY, "chain", number) for number in ("P1", "P2"))
FEED = {"Medsync-Actor": "feed", "Medsync-Role": "system"}
STAFF = {"Medsync-Actor": "staff-7", "Medsync-Role": "technician"}
NOW = datetime(2009, 10, 1, 15, tzinfo=UTC)


class Service:
    """The service without its broker: HTTP, handlers and jobs, and the outbox to look into."""

    def __init__(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        self.app, self.http = app, http
        self.work: Work = app.state.work

    async def feed(self, kind: str, *rows: dict[str, str], **headers: str) -> dict[str, Any]:
        body = {"source": "chain", "records": rows}
        answer = await self.http.post(f"/imports/{kind}", json=body, headers=FEED | headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def post(
        self, path: str, status: int = 200, role: str = "technician", **body: object
    ) -> dict[str, Any]:
        answer = await self.http.post(path, json=body, headers=STAFF | {"Medsync-Role": role})
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def handle(self, *events: Event) -> None:
        keys = [patient(event.key) for event in events]
        async with self.work.begin(keys, cause=Cause("test", "test")) as unit:
            await handlers.on.by_type[events[0].TYPE](events, unit)

    async def do_due(self, view: str) -> None:
        async with self.work.begin((), cause=Cause("test", "test")) as unit:
            free = await self.work.free_owners(unit, view, 500, jobs.due.of(view))
            await jobs.due.by_view[view](free, unit)
        async with self.work.begin((), cause=Cause("test", "test")) as unit:
            assert await self.work.free_owners(unit, view, 500, jobs.due.of(view)) == []

    def at(self, moment: datetime) -> None:
        """Move the clock."""
        assert isinstance(self.work.clock, SteppedClock)
        self.work.clock.set(moment)

    async def published(self) -> list[Event]:
        """What was published since the last look; sealed events by their type alone are left out."""
        async with self.work.pool.acquire() as db:
            rows = await db.fetch("delete from fabric.outbox returning id, headers, payload")
        return [
            EVENTS[row["headers"]["ce_type"]].model_validate_json(row["payload"])
            for row in sorted(rows, key=lambda row: row["id"])
            if not EVENTS[row["headers"]["ce_type"]].SEALED
        ]

    async def only(self, kind: type[Event]) -> Any:
        (event,) = await self.published()
        assert isinstance(event, kind)
        return event

    async def rows(self, sql: str) -> Sequence[Any]:
        async with self.work.pool.acquire() as db:
            return [dict(row) for row in await db.fetch(sql)]


@pytest_asyncio.fixture
async def service(fresh_database: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Service]:
    url = fresh_database("enrollment")
    clock = SteppedClock(tmp_path / "clock")
    clock.set(NOW)
    settings = Settings(database_url=url, kafka_bootstrap="unused", sealing_key="5a" * 32, pseudonym_key=KEY)
    pool = await open_pool(url, size=3, name="test")
    app = create_app(settings)
    app.state.work = Work(
        pool,
        service="enrollment",
        clock=clock,
        sealer=Sealer("5a" * 32, key_id="1"),
        bell=Bell(url, name="test"),
    )
    app.state.settings = settings
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=STAFF) as http:
        yield Service(app, http)
    await pool.close()


@pytest_asyncio.fixture
async def fed(service: Service) -> Service:
    """A store, and a patient of 69 years with two maintenance drugs."""
    await service.feed("stores", records.store())
    await service.feed("patients", records.patient())
    await service.feed("prescriptions", records.prescription(), records.prescription(**METFORMIN))
    await service.feed("fills", records.fill(), records.fill(fill_id="F2", rx_id="RX2"))
    await service.published()
    return service


@pytest_asyncio.fixture
async def enrolled(fed: Service) -> Service:
    await fed.post(f"/patients/{P1}/consent")
    await fed.published()
    return fed


METFORMIN = {
    "rx_id": "RX2",
    "drug_code": "861007",
    "drug_name": "Metformin 500 MG Oral Tablet",
    "ingredient": "metformin",
    "strength": "500 mg",
    "units_per_day": "2",
    "usual_quantity": "60",
    "quantity_left": "120",
}
