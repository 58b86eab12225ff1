"""How long the console's pages take for a store with 5,000 patients: `python -m benchmarks.console_page`.

Fills a read model on the local PostgreSQL through the console's own handlers, with no broker, then asks for each page
over HTTP, a hundred times, in this process. Prints the median and the 95th percentile in milliseconds, and how many
events a second the handlers took in.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from deploy.local import LocalStack
from deploy.local.databases import create_databases, migrate, migrations_of
from services.console import api, handlers
from services.console.pages import install_pages
from services.console.settings import Settings
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.http import install_problems
from shared.messaging import Work
from shared.messaging.bell import Bell
from shared.messaging.envelope import Record
from shared.messaging.intake import Intake
from shared.messaging.sealing import Sealer
from tests.pharmacy import NOW, Told, as_record, pharmacy
from tests.running import SEALING_KEY

PATIENTS = 5000
CYCLE = 28
"""Days over which their pickups are spread."""

TIMES = 100


async def measure(url: str, directory: Path) -> None:
    """Fill, then ask."""
    clock = SteppedClock(directory / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=4, name="benchmark")
    sealer, bell = Sealer(SEALING_KEY, key_id="1"), Bell(url, name="benchmark")
    work = Work(pool, service="console", clock=clock, sealer=sealer, bell=bell)
    told = pharmacy(PATIENTS, spread=CYCLE)
    took = await fill(Intake(work, handlers.on), told)
    print(f"{len(told)} events of {PATIENTS} patients taken in: {len(told) / took:.0f} a second")
    await pool.execute("analyze")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app_of(work, url)), base_url="http://c"
    ) as http:
        for path in (
            "/stores/s1",
            "/",
            f"/patients/{told[-1].event.key}",
            "/stream",
            "/stream?store=s1",
            "/patients",
        ):
            print(f"{path[:24]:26}{await milliseconds(http, path)}")
    await pool.close()


async def fill(intake: Intake, told: Sequence[Told]) -> float:
    """Take it in by batches of 500; answers the seconds."""
    records = [as_taken(each, place) for place, each in enumerate(told)]
    began = time.perf_counter()
    for start in range(0, len(records), 500):
        await intake.take(records[start : start + 500])
    return time.perf_counter() - began


def as_taken(told: Told, offset: int) -> Record:
    sent: dict[str, Any] = as_record(told)
    return Record(told.event.TOPIC, 0, offset, sent["key"], tuple(sent["headers"]), sent["value"])


def app_of(work: Work, url: str) -> FastAPI:
    """The pages alone."""
    app = FastAPI()
    install_problems(app)
    app.include_router(api.router)
    install_pages(app)
    app.state.work = work
    app.state.settings = Settings(database_url=url, kafka_bootstrap="none", sealing_key=SEALING_KEY)  # type: ignore[arg-type]
    return app


async def milliseconds(http: httpx.AsyncClient, path: str) -> str:
    """Median, 95th percentile and size of the page."""
    took, size = [], 0
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = await http.get(path, headers={"accept": "text/html"})
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.text
        size = len(answer.content)
    took.sort()
    return f"{statistics.median(took):7.1f} ms   95 %: {took[int(TIMES * 0.95)]:7.1f} ms   {size // 1024} kB"


def main() -> None:
    """Start PostgreSQL, measure, stop it."""
    with tempfile.TemporaryDirectory() as folder, LocalStack(Path(folder)) as stack:
        url = create_databases(stack.addresses.postgres, ["console"])["console"]
        migrate(url, *migrations_of("console"))
        asyncio.run(measure(url, Path(folder)))


if __name__ == "__main__":
    main()
