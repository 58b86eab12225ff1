from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import pytest

from shared.messaging.aside import aside


async def test_a_part_runs_on_a_loop_of_its_own_that_a_busy_one_does_not_hold_up() -> None:
    ran: list[tuple[str, float]] = []

    async def part() -> None:
        for _ in range(5):
            await asyncio.sleep(0.01)
        ran.append((threading.current_thread().name, time.monotonic()))

    task = asyncio.create_task(aside(part, name="part"))
    await asyncio.sleep(0.05)
    time.sleep(0.5)  # noqa: ASYNC251 - this loop is busy
    free_again = time.monotonic()
    await task
    ((name, done),) = ran
    assert name.startswith("part") and done < free_again


async def test_cancelled_it_is_cancelled_once_there_and_waited_for() -> None:
    cancelled: list[str] = []
    begun = threading.Event()

    async def part() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("cancelled")
            await asyncio.sleep(0.2)  # gives something back
            cancelled.append("gave back")
            raise

    task = asyncio.create_task(aside(part, name="part"))
    while not begun.is_set():  # noqa: ASYNC110 - it is set in another thread
        await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert cancelled == ["cancelled", "gave back"]


async def test_what_it_raises_is_raised_here() -> None:
    async def part() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await aside(part, name="part")


async def test_cancelled_before_it_began_it_does_not_begin_for_good() -> None:
    async def part() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(aside(part, name="part"))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()
