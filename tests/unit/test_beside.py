"""Work beside the event loop: the loop goes on meanwhile, and what takes too long is ended."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from shared import beside
from tests.running import until


def reckon(seconds: float, left_at: str | None = None) -> int:
    """Keeps a processor busy, as a search does."""
    if left_at:
        Path(left_at).write_text(str(os.getpid()))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return os.getpid()


async def longest_pause(of: asyncio.Task[int]) -> float:
    """Seconds that the loop could not run anything else."""
    longest, before = 0.0, time.monotonic()
    while not of.done():
        await asyncio.sleep(0.001)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    return longest


@pytest.mark.slow
async def test_the_loop_goes_on_while_a_plan_is_searched() -> None:
    await beside.run(reckon, 0.0)
    reckoning = asyncio.create_task(beside.run(reckon, 1.0))
    assert await longest_pause(reckoning) < 0.5
    assert await reckoning != os.getpid()


@pytest.mark.slow
async def test_what_takes_too_long_is_ended_and_the_next_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await beside.run(reckon, 0.0)
    monkeypatch.setattr(beside, "SECONDS", 0.5)
    with pytest.raises(beside.TooLong):
        await beside.run(reckon, 60.0, str(tmp_path / "pid"))
    monkeypatch.undo()
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: asyncio.sleep(0, not Path(f"/proc/{pid}").exists()), "it is ended", seconds=5)
    assert await beside.run(reckon, 0.0) != pid


@pytest.mark.slow
async def test_no_more_wait_than_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "WAITING", 2)
    running = [asyncio.create_task(beside.run(reckon, 0.3)) for _ in range(3)]
    await asyncio.sleep(0.05)
    with pytest.raises(beside.Busy):
        await beside.run(reckon, 0.0)
    await asyncio.gather(*running)
