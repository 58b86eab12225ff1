"""Working off a topic: how fast, and where the time goes.

The clock runs from the first answers on the topic to the last: nobody's start is counted, everybody's end is.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.common import Bench, Contender, Cpu, median_and_range, stopping, table

STANDSTILL = 2.0
"""Seconds between two looks that tell of more than a busy machine."""


@dataclass(frozen=True)
class Load:
    """What is on a topic."""

    name: str
    prefix: str
    events: int
    bytes_each: float


@dataclass(frozen=True)
class Run:
    """What a contender did between two moments."""

    events: int
    seconds: float
    cpu: Cpu
    stood_still: float  # the longest time between two looks, seconds

    @property
    def rate(self) -> float:
        return self.events / self.seconds


async def work_off(
    bench: Bench,
    contender: Contender,
    done: Callable[[], Awaitable[int]],
    wanted: int,
    *,
    meanwhile: Callable[[int], None] | None = None,
    patience: float = 300,
) -> Run:
    """Measure a process that was just started, until `done` has grown by so many; then end it.

    `meanwhile` is told now and then how many are done. TimeoutError after `patience` seconds.
    """
    before = await done()
    deadline = time.monotonic() + patience

    longest, looked = 0.0, time.monotonic()

    async def reached(number: int) -> tuple[int, Cpu, float]:
        nonlocal longest, looked
        while (so_far := await done() - before) < number:
            contender.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{so_far} of {number} done after {patience:.0f} s")
            if meanwhile:
                meanwhile(so_far)
            await asyncio.sleep(0.02)
            longest, looked = max(longest, time.monotonic() - looked), time.monotonic()
        return so_far, bench.cpu(contender.process.pid), time.monotonic()

    with stopping(contender):
        first, cpu, began = await reached(1)
        last, cpu_then, ended = await reached(wanted)
    return Run(last - first, ended - began, cpu_then.since(cpu), longest)


async def undisturbed(measure: Callable[[], Awaitable[Run]]) -> Run:
    """A run in which the machine did not stand still (suspended, or lent to somebody else); the third in any case."""
    for _ in range(2):
        if (measured := await measure()).stood_still < STANDSTILL:
            return measured
        print(f"once more: everything stood still for {measured.stood_still:.0f} s", flush=True)
    return await measure()


def ratios(these: Sequence[Run], those: Sequence[Run]) -> list[float]:
    """How many times as fast these were as those, round by round."""
    return [this.rate / that.rate for this, that in zip(these, those, strict=True)]


def report(runs: Mapping[str, Sequence[Run]]) -> None:
    """A table: rates, how they compare with the first's, and where the time goes."""
    first = next(iter(runs))
    spent = {name: _cpu(each) for name, each in runs.items()}
    rows = [
        [
            name,
            median_and_range([one.rate for one in each]),
            median_and_range(ratios(runs[first], each), 2),
            *(f"{part:,.0f}" for part in spent[name]),
            f"{sum(spent[name]):,.0f}",
            f"{sum(spent[name]) / sum(spent[first]):.2f}",
        ]
        for name, each in runs.items()
    ]
    cpu = ["CPU µs an event: client", "PostgreSQL", "broker", "together", f"to {first}"]
    table(["", "events/s", f"{first} is × as fast", *cpu], rows)


def _cpu(runs: Sequence[Run]) -> list[float]:
    """Microseconds an event of client, PostgreSQL and broker; medians."""
    each = zip(*(one.cpu.per_event(one.events) for one in runs), strict=True)
    return [statistics.median(part) for part in each]
