"""How long the console's pages take for a store with 5,000 patients: `python -m benchmarks.console_page`.

Fills a read model on the local PostgreSQL through the console's own handlers, with no broker, then asks for each page
over HTTP in this process, in five rounds of twenty. One patient's plan was computed 240 times: the patient page with
years of events. Prints for each page the milliseconds from question to answer, and the CPU time of the console (with
the client) and of PostgreSQL: what it takes where nothing else wants the cores.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid5

import httpx
from fastapi import Depends, FastAPI

from benchmarks.common import Bench, Target, arguments, run, table
from deploy.local.databases import migrations_of
from services.console import handlers
from services.console import http as routes
from services.console.pages import install_pages
from services.console.settings import Settings
from shared.access import ACCESS
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events.planner import PlanComputed
from shared.http import admit, install_problems
from shared.identity import Headed
from shared.memory import spare_the_collector
from shared.messaging import Work
from shared.messaging.bell import Bell
from shared.messaging.envelope import Record
from shared.messaging.intake import Intake
from shared.sealing import Sealer
from tests.pharmacy import NOW, Told, as_record, pharmacy
from tests.running import SEALING_KEY, STAFF

PATIENTS = 5000
CYCLE = 28
"""Days over which their pickups are spread."""

REVISIONS = 240
"""How often the plan of one patient was computed."""

ROUNDS, TIMES = 5, 20


async def benchmark(bench: Bench) -> Sequence[Target]:
    """Fill, then ask."""
    url = await asyncio.to_thread(bench.database, *migrations_of("console"))
    clock = SteppedClock(bench.folder / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=4, name="benchmark")
    sealer, bell = Sealer(SEALING_KEY, key_id="1"), Bell(url, name="benchmark")
    work = Work(pool, service="console", clock=clock, sealer=sealer, bell=bell)
    told = pharmacy(PATIENTS, spread=CYCLE)
    long_lived = planned_again(told)
    took = await fill(Intake(work, handlers.on), [*long_lived, *told])
    print(
        f"{len(told)} events of {PATIENTS} patients taken in: {(len(told) + REVISIONS) / took:.0f} a second\n"
    )
    await pool.execute("vacuum analyze")
    spare_the_collector()  # as cli.serve does
    pages = {
        "a store's day": "/stores/s1",
        "one list of it": "/stores/s1?list=lacking",
        "the stores": "/",
        "a patient": f"/patients/{told[-1].event.key}",
        f"a patient of {REVISIONS} plans": f"/patients/{long_lived[0].event.key}",
        "the stream": "/stream",
        "its lines, none folded": "/stream?first=1",
        "a store's stream": "/stream?store=s1",
        "patients": "/patients",
    }
    transport = httpx.ASGITransport(app=app_of(work, url))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=STAFF) as http:
        asked = await ask_in_turn(bench, http, pages)
    await pool.close()
    head = ("page", "ms, median", "95 %", "CPU ms: console", "PostgreSQL", "kB")
    table(head, [each.row(name) for name, each in asked.items()])
    return [
        target
        for name in ("a store's day", "a patient", "the stream")
        for target in (
            Target(f"{name}, median", asked[name].median, at_most=50, unit=" ms"),
            Target(f"{name}, CPU time of console and PostgreSQL", asked[name].cpu, at_most=50, unit=" ms"),
        )
    ]


def planned_again(told: Sequence[Told]) -> list[Told]:
    """The last plan of one patient, again and again, each a revision later."""
    last = next(each for each in reversed(told) if isinstance(each.event, PlanComputed))
    return [
        replace(
            last,
            event=last.event.model_copy(update={"revision": 10 + number}),
            event_id=uuid5(last.event_id, str(number)),
            at=last.at + timedelta(minutes=number),
        )
        for number in range(REVISIONS)
    ]


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
    app = FastAPI(dependencies=[Depends(admit)])
    app.state.rows, app.state.identity = ACCESS["console"], Headed()
    install_problems(app)
    app.include_router(routes.pages)
    install_pages(app)
    app.state.work = work
    app.state.settings = Settings(database_url=url, kafka_bootstrap="none", sealing_key=SEALING_KEY)  # type: ignore[arg-type]
    return app


@dataclass(slots=True)
class Asked:
    """What a page took: each time, and in all."""

    wall: list[float] = field(default_factory=list)  # milliseconds
    console: float = 0  # seconds of CPU time
    postgres: float = 0
    size: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu(self) -> float:
        """Milliseconds a page."""
        return (self.console + self.postgres) * 1000 / len(self.wall)

    def row(self, name: str) -> tuple[str, ...]:
        late = sorted(self.wall)[int(len(self.wall) * 0.95)]
        each = [f"{used * 1000 / len(self.wall):.1f}" for used in (self.console, self.postgres)]
        return name, f"{self.median:.1f}", f"{late:.1f}", *each, f"{self.size // 1024}"


async def ask_in_turn(bench: Bench, http: httpx.AsyncClient, pages: Mapping[str, str]) -> dict[str, Asked]:
    """Each page some times, then all again: what disturbs one disturbs the others."""
    asked = {name: Asked() for name in pages}
    for _ in range(ROUNDS):
        for name, path in pages.items():
            before = bench.cpu(os.getpid())
            for _ in range(TIMES):
                await ask(http, path, asked[name])
            used = bench.cpu(os.getpid()).since(before)
            asked[name].console += used.client
            asked[name].postgres += used.postgres
    return asked


async def ask(http: httpx.AsyncClient, path: str, asked: Asked) -> None:
    began = time.perf_counter()
    answer = await http.get(path, headers={"accept": "text/html"})
    asked.wall.append((time.perf_counter() - began) * 1000)
    assert answer.status_code == 200, answer.text
    asked.size = len(answer.content)


if __name__ == "__main__":
    run(benchmark, arguments(__doc__).parse_args())
