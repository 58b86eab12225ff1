"""A part of a service in a thread of its own, on an event loop of its own.

On the service's loop, each await waits for whatever else is ready there; a window of the relay is some twenty of them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any


async def aside(part: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
    """Run it until it ends; cancelled, it is cancelled there, once, and waited for."""
    here = asyncio.get_running_loop()
    begun: Future[Callable[[], object]] = Future()

    async def begin() -> None:
        task, there = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        begun.set_result(lambda: there.call_soon_threadsafe(task.cancel))
        await part()

    def run() -> None:
        with asyncio.Runner(loop_factory=type(here)) as runner, suppress(asyncio.CancelledError):
            runner.run(begin())

    with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:
        running = here.run_in_executor(thread, contextvars.copy_context().run, run)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.done():
                cancel = await asyncio.wrap_future(begun)
                cancel()
                await asyncio.wait([running])
            raise
