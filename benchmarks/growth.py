"""What an event costs with little and with much behind it: rows of state, and ids in the inbox."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import defaultdict
from contextlib import nullcontext
from datetime import UTC, datetime

import asyncpg

from benchmarks import events
from benchmarks.common import Bench, Target, arguments, in_turn, run
from benchmarks.runs import Run, ratios, report, work_off
from shared.events.planner import TOPIC as ANSWERS
from shared.messaging import partitions
from shared.service import INBOX_DAYS, inbox_week

LITTLE = 10_000
ROWS_A_STATEMENT = 500_000


async def benchmark(bench: Bench) -> list[Target]:
    sizes = {f"{rows:,} rows": rows for rows in (LITTLE, given.rows)}
    databases = {}
    for name, rows in sizes.items():
        began = time.monotonic()
        databases[name] = await asyncio.to_thread(bench.database)
        await grow(databases[name], rows)
        print(f"{name} of state and of inbox written in {time.monotonic() - began:.0f} s", flush=True)
    print()
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(given.rounds):
        for name in in_turn(list(sizes), number):
            prefix = f"growth{number}-{sizes[name]}."
            runs[name].append(await events_of_all(bench, databases[name], prefix, sizes[name]))
    report({name: runs[name] for name in sizes})
    little, much = (runs[name] for name in sizes)
    cost = statistics.median(ratios(little, much))
    return [Target(f"cost of an event with {given.rows:,} rows, to {LITTLE:,}", cost, at_most=1.3)]


async def events_of_all(bench: Bench, database: str, prefix: str, patients: int) -> Run:
    """Events of patients all over the state."""
    stream = itertools.islice(events.of_anyone(patients), given.events)
    load = await events.load(bench, prefix, prefix, stream)
    await bench.settle()
    async with bench.watching(prefix + ANSWERS) as watch:
        process = bench.start("benchmarks.service", "growth", database_url=database, prefix=prefix)
        return await work_off(bench, process, watch.end, load.events)


async def grow(database_url: str, rows: int) -> None:
    """So many patients and so many ids taken in, spread over the time for which ids are kept."""
    db = await asyncpg.connect(database_url)
    try:
        weeks = [inbox_week(datetime.now(UTC), ahead) for ahead in range(-INBOX_DAYS // 7, 1)]
        await partitions.tend(lambda: nullcontext(db), "inbox", "event_id", weeks, oldest="")
        for first in range(0, rows, ROWS_A_STATEMENT):
            until = min(first + ROWS_A_STATEMENT, rows)
            await db.execute(
                """
                insert into fabric.inbox (event_id)
                select uuidv7(make_interval(secs => $3::float * (n - $4) / $4))
                from generate_series($1::int, $2::int - 1) n
                """,
                first,
                until,
                float((INBOX_DAYS - 1) * 86_400),
                rows,
                timeout=600,
            )
            await db.execute(
                """
                insert into profiles (patient_id, revision, store_id, profile)
                select lpad(to_hex(n), 32, '0'), 0, 'S' || n % 90, '{"store_id": "S1", "prescriptions": []}'
                from generate_series($1::int, $2::int - 1) n
                """,
                first,
                until,
                timeout=600,
            )
        await db.execute("vacuum (analyze) profiles", timeout=600)
        await db.execute("vacuum (analyze) fabric.inbox", timeout=600)
    finally:
        await db.close()


parser = arguments(__doc__)
parser.add_argument("--rows", type=int, default=10_000_000)
parser.add_argument("--events", type=int, default=30_000, help="of each run")

if __name__ == "__main__":
    given = parser.parse_args()
    run(benchmark, given)
