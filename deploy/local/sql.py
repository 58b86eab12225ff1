"""SQL on a server, for code that is not asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import asyncpg

T = TypeVar("T")


def on_server(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]], *, timeout: float = 10) -> T:
    """Run `work` on a connection of its own and wait for it. The caller may be inside an event loop.

    `timeout`: seconds to connect; a statement has 60. Raises what asyncpg raises.
    """

    async def connected() -> T:
        connection = await asyncpg.connect(url, timeout=timeout, command_timeout=60)
        try:
            return await work(connection)
        finally:
            await connection.close()

    with ThreadPoolExecutor(max_workers=1) as own_loop:
        return own_loop.submit(lambda: asyncio.run(connected())).result()
