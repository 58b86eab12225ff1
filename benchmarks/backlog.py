"""A backlog worked off by one process: how fast, and in how much memory."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time

from benchmarks import events
from benchmarks.common import Bench, Target, arguments, resident_mb, run, table
from benchmarks.runs import work_off
from shared.events.planner import TOPIC as ANSWERS

PATIENTS = 50_000
PARTS = 10
"""The way is measured in so many parts: what grows with the backlog shows."""


async def benchmark(bench: Bench) -> list[Target]:
    load = await events.load(
        bench, "backlog", "backlog.", itertools.islice(events.half_kilobyte(PATIENTS), given.events)
    )
    print(f"a backlog of {load.events:,} events of {load.bytes_each / 1000:.1f} kB\n", flush=True)
    database = await asyncio.to_thread(bench.database)
    await bench.settle()
    seen: list[tuple[int, float, float]] = []  # events done, when, MB then

    async with bench.watching(load.prefix + ANSWERS) as watch:
        process = bench.start("benchmarks.service", "backlog", database_url=database, prefix=load.prefix)

        def look(done: int) -> None:
            if done:
                seen.append((done, time.monotonic(), resident_mb(process.process.pid)))

        measured = await work_off(bench, process, watch.end, load.events, meanwhile=look, patience=3600)
    look_back(seen, load.events)
    client, postgres, broker = measured.cpu.per_event(measured.events)
    print(
        f"{measured.rate:,.0f} events/s; CPU per event: client {client:.0f} µs, PostgreSQL {postgres:.0f} µs, "
        f"broker {broker:.0f} µs\n"
    )
    most = max(memory for _, _, memory in seen)
    middle, end = (
        statistics.median(memory for done, _, memory in seen if low < done / load.events <= high)
        for low, high in ((0.2, 0.5), (0.8, 1.0))
    )
    return [
        Target("most memory", most, at_most=200, unit=" MB"),
        Target("memory at the end, to that before the middle", end / middle, at_most=1.1),
    ]


def look_back(seen: list[tuple[int, float, float]], events_: int) -> None:
    """Rate and memory, part by part."""
    rows, last = [], seen[0]
    for part in range(1, PARTS + 1):
        until = [one for one in seen if one[0] <= events_ * part / PARTS]
        here = [one for one in until if one[0] > last[0]]
        if here:
            (done, then, _), (done_now, now, _) = last, here[-1]
            rows.append(
                [
                    f"{done_now:,}",
                    f"{(done_now - done) / (now - then):,.0f}",
                    f"{max(memory for _, _, memory in here):.0f}",
                ]
            )
            last = here[-1]
    table(["events done", "events/s", "most memory, MB"], rows)


parser = arguments(__doc__)
parser.add_argument("--events", type=int, default=1_000_000)

if __name__ == "__main__":
    given = parser.parse_args()
    run(benchmark, given)
