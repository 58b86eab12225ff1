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

    async def reached(number: int) -> tuple[int, Cpu, float]:
        while (so_far := await done() - before) < number:
            contender.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{so_far} of {number} done after {patience:.0f} s")
            if meanwhile:
                meanwhile(so_far)
            await asyncio.sleep(0.02)
        return so_far, bench.cpu(contender.process.pid), time.monotonic()

    with stopping(contender):
        first, cpu, began = await reached(1)
        last, cpu_then, ended = await reached(wanted)
    return Run(last - first, ended - began, cpu_then.since(cpu))


def ratios(these: Sequence[Run], those: Sequence[Run]) -> list[float]:
    """How many times as fast these were as those, round by round."""
    return [this.rate / that.rate for this, that in zip(these, those, strict=True)]


def report(runs: Mapping[str, Sequence[Run]]) -> None:
    """A table: rates, how they compare with the first, and where the time goes."""
    first = next(iter(runs))
    rows = []
    for name, each in runs.items():
        cpu = zip(*(one.cpu.per_event(one.events) for one in each), strict=True)
        rows.append(
            [
                name,
                median_and_range([one.rate for one in each]),
                median_and_range(ratios(runs[first], each), 2) if name != first else "",
                f"{1e6 / statistics.median(one.rate for one in each):,.0f}",
                *(f"{statistics.median(used):,.0f}" for used in cpu),
            ]
        )
    table(
        [
            "",
            "events/s",
            f"{first} is so many times as fast",
            "µs an event",
            "CPU: client",
            "PostgreSQL",
            "broker",
        ],
        rows,
    )
