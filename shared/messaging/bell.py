"""Tells whoever waits for commits, here and in other processes, that there may be something to do.

After a commit the process rings; one NOTIFY follows at most every 2 ms, on a connection of its own. Inside the
transaction a NOTIFY would serialize the commits of the whole cluster. Ringing is a hint: polling is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from shared.database import connect

CHANNEL = "medsync_outbox"
QUIET_SECONDS = 0.002

log = structlog.get_logger()


class Bell:
    """One per process: `ring()` after each commit; `heard` events wake those who wait."""

    def __init__(self, database_url: str, *, name: str) -> None:
        self._url, self._name = database_url, name
        self._rung = asyncio.Event()
        self._waiters: list[asyncio.Event] = []

    def waiter(self) -> asyncio.Event:
        """An event that is set at each ring, of this process or another; the one who waits clears it."""
        heard = asyncio.Event()
        self._waiters.append(heard)
        return heard

    def ring(self) -> None:
        """Something was committed: wake the waiters of this process now, those of others soon."""
        self._wake()
        self._rung.set()

    async def run(self) -> None:
        """Listen and notify until cancelled; a lost connection is opened again."""
        while True:
            try:
                await self._listen_and_notify()
            except Exception as error:
                log.warning("bell.connection_lost", error=type(error).__name__)
                await asyncio.sleep(0.5)

    async def _listen_and_notify(self) -> None:
        connection = await connect(self._url, name=f"{self._name} bell")
        try:
            own = connection.get_server_pid()

            def hear(_connection: object, pid: int, _channel: str, _payload: str) -> None:
                if pid != own:
                    self._wake()

            await connection.add_listener(CHANNEL, hear)
            while True:
                await _rung_or_closed(self._rung, connection.is_closed)
                self._rung.clear()
                await connection.execute(f"select pg_notify('{CHANNEL}', '')")
                await asyncio.sleep(QUIET_SECONDS)
        finally:
            connection.terminate()

    def _wake(self) -> None:
        for heard in self._waiters:
            heard.set()


async def _rung_or_closed(rung: asyncio.Event, closed: Callable[[], bool]) -> None:
    """Until rung; looks once a second whether the connection is still there."""
    while not rung.is_set():
        if closed():
            raise ConnectionError("closed by the server")
        with suppress(TimeoutError):
            async with asyncio.timeout(1):  # not wait_for: it can swallow a cancellation (Python 3.11)
                await rung.wait()
