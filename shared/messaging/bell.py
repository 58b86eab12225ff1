"""Tells whoever waits for commits that there may be something to do: the relay, here or in another process, after
one that wrote to the outbox; this process's due loop after any.

One NOTIFY follows at most every 2 ms, on a connection of its own: inside the transaction it would serialize the commits
of the whole cluster. Ringing is a hint: polling is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from shared.database import Database, connect

CHANNEL = "medsync_outbox"
QUIET_SECONDS = 0.002

log = structlog.get_logger()


class Bell:
    """One per process: `ring()` after each commit. Whoever waits for an event clears it."""

    def __init__(self, database: str | Database, *, name: str) -> None:
        self._database, self._name = database, name
        self._to_tell = asyncio.Event()
        self.committed = asyncio.Event()  # by this process
        self._relays: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def for_rows(self) -> asyncio.Event:
        """An event of one's own, on the running loop, that is set when this process or another wrote to the outbox."""
        event = asyncio.Event()
        self._relays.append((asyncio.get_running_loop(), event))
        return event

    def no_more(self, event: asyncio.Event) -> None:
        """Nobody waits for it any longer."""
        self._relays = [each for each in self._relays if each[1] is not event]

    def ring(self, *, outbox: bool) -> None:
        """Something was committed, with rows for the outbox or without: the other processes hear of rows alone."""
        self.committed.set()
        if outbox:
            self._tell_relays()
            self._to_tell.set()

    def _tell_relays(self) -> None:
        for loop, event in self._relays:
            if not event.is_set() and not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def run(self) -> None:
        """Listen and notify until cancelled; a lost connection is opened again."""
        while True:
            try:
                await self._listen_and_notify()
            except Exception as error:
                log.warning("bell.connection_lost", error=type(error).__name__)
                await asyncio.sleep(0.5)

    async def _listen_and_notify(self) -> None:
        connection = await connect(self._database, name=f"{self._name} bell")
        try:
            own = connection.get_server_pid()

            def hear(_connection: object, pid: int, _channel: str, _payload: str) -> None:
                if pid != own:
                    self._tell_relays()

            await connection.add_listener(CHANNEL, hear)
            while True:
                await _set_or_closed(self._to_tell, connection.is_closed)
                self._to_tell.clear()
                await connection.execute(f"select pg_notify('{CHANNEL}', '')")
                await asyncio.sleep(QUIET_SECONDS)
        finally:
            connection.terminate()


async def _set_or_closed(event: asyncio.Event, closed: Callable[[], bool]) -> None:
    """Until it is set; looks once a second whether the connection is still there."""
    while not event.is_set():
        if closed():
            raise ConnectionError("closed by the server")
        with suppress(TimeoutError):
            async with asyncio.timeout(1):  # not wait_for: it can swallow a cancellation (Python 3.11)
                await event.wait()
