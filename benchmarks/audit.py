"""What the audit costs: pages and commands with it and without, beside one another: `python -m benchmarks.audit`.

The console's pages of a store with 500 patients, asked by one reader and by sixteen at once; and a command of the
ledger of tests, which changes one row and publishes an event, by one caller and by eight. Contenders take turns,
another one first in each round; while the audit is on, rows are chained and sealed. Without it is a patch of
this process: the product has no such switch.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import httpx
from fastapi import Depends, FastAPI, Request

from benchmarks.common import Bench, Target, arguments, in_turn, median_and_range, run, table
from benchmarks.console_page import fill
from deploy.local.databases import migrations_of
from services.console import handlers
from services.console import http as routes
from services.console.pages import install_pages
from services.console.settings import Settings
from shared.access import ACCESS, STAFF_ALONE
from shared.audit.chaining import Chainer
from shared.audit.recording import Audited
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.http import admit, install_problems
from shared.identity import Headed
from shared.memory import spare_the_collector
from shared.messaging import Work
from shared.messaging.bell import Bell
from shared.messaging.heads import Heads
from shared.messaging.intake import Intake
from shared.sealing import Sealer
from tests.ledger.app import router as ledger
from tests.pharmacy import NOW, pharmacy
from tests.running import SEALING_KEY, STAFF

PATIENTS = 500
TIMES = 160
"""Questions of each kind in a round."""

ON, OFF = "with", "without"
LEDGER = (migrations_of("console")[0], Path(__file__).parents[1] / "tests" / "ledger" / "migrations")

_number = count(1)


async def benchmark(bench: Bench, rounds: int) -> Sequence[Target]:
    """Pages, then commands."""
    spare_the_collector()  # as cli.serve does
    console = await work_of(
        bench, "console", await asyncio.to_thread(bench.database, *migrations_of("console"))
    )
    told = pharmacy(PATIENTS, spread=28)
    await fill(Intake(console, handlers.on), told)
    pages = {"a store's day": "/stores/s1", "a patient": f"/patients/{told[-1].event.key}"}
    books = await work_of(bench, "ledger", await asyncio.to_thread(bench.database, *LEDGER))
    kinds: dict[str, tuple[Work, int, Callable[[httpx.AsyncClient], Awaitable[None]]]] = {
        **{f"{name}, one reader": (console, 1, _page(path)) for name, path in pages.items()},
        **{f"{name}, 16 at once": (console, 16, _page(path)) for name, path in pages.items()},
        "a command, one caller": (books, 1, _command),
        "a command, 8 callers": (books, 8, _command),
    }
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    async with _chaining(bench, console), _chaining(bench, books):
        for number in range(rounds):
            for kind, (work, at_once, ask) in kinds.items():
                for side in in_turn((ON, OFF), number):
                    took[kind, side] += await _round(app_of(work, side == ON), at_once, ask)
    for work in (console, books):
        await work.pool.close()
    return _told(took, list(kinds))


def _told(took: dict[tuple[str, str], list[float]], kinds: Sequence[str]) -> Sequence[Target]:
    median = {each: statistics.median(times) for each, times in took.items()}
    more = {kind: median[kind, ON] - median[kind, OFF] for kind in kinds}
    rows = [
        (
            kind,
            *(median_and_range(sorted(took[kind, side])[5:-5], 1) for side in (OFF, ON)),
            f"{more[kind]:+.1f}",
        )
        for kind in kinds
    ]
    table(("ms: median (range but for the 5 outermost)", "without the audit", "with it", "more"), rows)
    return [
        Target(f"{kind}: more with the audit", more[kind], at_most=3, unit=" ms")
        for kind in kinds
        if "one" in kind
    ]


async def work_of(bench: Bench, service: str, url: str) -> Work:
    clock = SteppedClock(bench.folder / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=8, name="benchmark")
    bell = Bell(url, name="benchmark")
    return Work(pool, service=service, clock=clock, sealer=Sealer(SEALING_KEY), bell=bell)


def app_of(work: Work, audited: bool) -> FastAPI:
    """The routes alone, with the audit or without."""
    app = FastAPI(dependencies=[Depends(admit), *([] if audited else [Depends(_forget)])])
    app.state.rows = ACCESS["console"] | {"POST /patients/{patient_id}/things": STAFF_ALONE}
    app.state.identity = Headed()
    if audited:
        app.add_middleware(Audited)
    install_problems(app)
    app.include_router(routes.pages if work.service == "console" else ledger)
    if work.service == "console":
        install_pages(app)
    app.state.work = work
    app.state.settings = Settings(database_url="none", kafka_bootstrap="none", sealing_key=SEALING_KEY)  # type: ignore[arg-type]
    return app


async def _forget(request: Request) -> None:
    request.state.caller = replace(request.state.caller, asked=None)


@asynccontextmanager
async def _chaining(bench: Bench, work: Work) -> AsyncIterator[None]:
    await bench.topics("")
    chainer = Chainer(work, Heads(bench.kafka, prefix="", client="benchmark"))
    task = asyncio.create_task(chainer.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def _round(
    app: FastAPI, at_once: int, ask: Callable[[httpx.AsyncClient], Awaitable[None]]
) -> list[float]:
    """Milliseconds of each question."""
    took: list[float] = []
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=STAFF) as http:

        async def some() -> None:
            for _ in range(TIMES // at_once):
                began = time.perf_counter()
                await ask(http)
                took.append((time.perf_counter() - began) * 1000)

        await ask(http)
        await asyncio.gather(*(some() for _ in range(at_once)))
    return took


def _page(path: str) -> Callable[[httpx.AsyncClient], Awaitable[None]]:
    async def ask(http: httpx.AsyncClient) -> None:
        answer = await http.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 200, answer.text

    return ask


async def _command(http: httpx.AsyncClient) -> None:
    number = next(_number)
    answer = await http.post(f"/patients/p{number}/things", json={"revision": number})
    assert answer.status_code == 200, answer.text


if __name__ == "__main__":
    given = arguments(__doc__).parse_args()
    run(partial(benchmark, rounds=given.rounds), given)
