"""The machine's own time, set an hour or a day off for PostgreSQL and the services; the broker keeps its own.

By libfaketime. Only the time of day moves, as when somebody sets it: the clocks that measure how long something takes
go on.
"""

from __future__ import annotations

import importlib.util
import platform
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.faults.faults import OUTAGES, Fault, Run, kill_the_leader
from tests.running import until

MOVABLE = platform.system() == "Linux" and platform.machine() == "x86_64"
"""The wheel holds the library for these alone."""

SHARED = Path("/dev/shm")

FLOWS_SECONDS = 20.0
"""Within which an event that is published after a jump must have its effect."""

HOUR, DAY, NOW = timedelta(hours=1), timedelta(days=1), timedelta(0)


def environment(directory: Path) -> dict[str, str]:
    """Variables of a process whose time of day is what `set_machine_time` says."""
    set_machine_time(directory, NOW)
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(directory / "machine-time"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_machine_time(directory: Path, ahead: timedelta) -> None:
    """Move it, for the processes that run as well, to so much ahead of the truth."""
    beside = directory / "machine-time.new"
    beside.write_text(f"{ahead.total_seconds():+.0f}\n")
    beside.replace(directory / "machine-time")


def _library() -> Path:
    """Found without importing the package, which would start to fake."""
    spec = importlib.util.find_spec("libfaketime")
    assert spec and spec.origin
    return Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


@contextmanager
def swept() -> Iterator[None]:
    """Remove at the end what the library left in shared memory, for processes that were killed."""
    before = set(SHARED.glob("*faketime_*"))
    yield
    for path in set(SHARED.glob("*faketime_*")) - before:
        if not Path("/proc", path.name.rpartition("_")[2]).exists():
            path.unlink(missing_ok=True)


async def jump(run: Run, rng: random.Random, *, ahead: timedelta) -> None:
    """A relay dies with its lease, the time of day jumps at once, and events must flow on."""
    for service in ("sender", "ledger"):
        await kill_the_leader(run, service)
    set_machine_time(run.system.servers.directory, ahead)
    with suppress(*OUTAGES):
        sent = await _rows(run, "sender", "sent")

        async def flows() -> bool:
            return await _rows(run, "ledger", "counted") > sent

        with suppress(AssertionError):
            await until(flows, "an event sent after the jump has its effect", seconds=FLOWS_SECONDS)
            run.met[flowed(ahead)] += 1


async def _rows(run: Run, service: str, kind: str) -> int:
    return int((await run.system.sql(service, "select count(*) from effects where kind = $1", kind))[0][0])


def flowed(ahead: timedelta) -> str:
    """What such a jump is counted as."""
    hours = round(ahead / HOUR)
    return f"machine time set to {f'{hours:+} h' if hours else 'the truth'}, and events flowed on"


TIMES = (HOUR, NOW, -HOUR, NOW, DAY, NOW, -DAY, NOW)
JUMPS: Sequence[Fault] = [partial(jump, ahead=ahead) for ahead in TIMES]
NEEDS = {flowed(ahead): TIMES.count(ahead) for ahead in TIMES}
