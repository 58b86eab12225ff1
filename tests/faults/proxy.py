"""A bad network: a TCP proxy that delays, cuts, swallows, trickles, or loses the answer to a commit, when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

CHUNK = 1 << 16
DELAY = 0.05
TRICKLED = 200
"""Bytes that go one at a time; then the rest of the chunk."""


class Mode(StrEnum):
    """What the proxy does with what passes."""

    passing = "passing"
    delaying = "delaying"  # each chunk is held for 50 ms
    cutting = "cutting"  # half a chunk passes, then the connection is reset
    swallowing = "swallowing"  # nothing passes, nothing is closed
    trickling = "trickling"  # one byte at a time
    forgetting = "forgetting"  # the server's answer to a COMMIT never arrives


class Proxy:
    """Listens on `port` and hands on to `target`. The mode may change at any time; `met` counts what it did."""

    def __init__(self, port: int, target: int, rng: random.Random) -> None:
        self.port, self.target, self._rng = port, target, rng
        self.met: dict[Mode, int] = dict.fromkeys(Mode, 0)
        self._mode = Mode.passing
        self._open: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        self.reset()
        await asyncio.gather(*self._open, return_exceptions=True)

    def become(self, mode: Mode) -> None:
        """From now on do this, in the connections that stand as well."""
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Cut every connection."""
        for task in self._open:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            self._open.discard(task)
            return
        forgetful = asyncio.Event()
        flows = (
            asyncio.ensure_future(self._flow(reader, there, lambda sent: _note_commit(sent, forgetful))),
            asyncio.ensure_future(self._flow(there_reader, writer, lambda _: None, forgetful)),
        )
        try:
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for flow in flows:
                flow.cancel()
            await asyncio.gather(*flows, return_exceptions=True)
            writer.transport.abort()
            there.transport.abort()
            self._open.discard(task)

    async def _flow(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        note: Callable[[bytes], None],
        answers: asyncio.Event | None = None,
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(CHUNK):
                mode = self._mode
                if mode is not Mode.forgetting:
                    if answers:
                        answers.clear()
                else:
                    note(chunk)
                    if answers and answers.is_set():
                        self.met[mode] += 1
                        return
                if not await self._pass(chunk, sink, mode):
                    return

    async def _pass(self, chunk: bytes, sink: asyncio.StreamWriter, mode: Mode) -> bool:
        """Send the chunk on in the manner of the mode; false where the connection is to be cut."""
        if mode is Mode.swallowing:
            self.met[mode] += 1
            await self._changed.wait()
        elif mode is Mode.delaying:
            self.met[mode] += 1
            await asyncio.sleep(DELAY)
        elif mode is Mode.cutting and self._rng.random() < 0.1:
            self.met[mode] += 1
            sink.write(chunk[: len(chunk) // 2])
            await sink.drain()
            return False
        elif mode is Mode.trickling:
            self.met[mode] += 1
            for at in range(min(TRICKLED, len(chunk))):
                sink.write(chunk[at : at + 1])
                await sink.drain()
            chunk = chunk[TRICKLED:]
        sink.write(chunk)
        await sink.drain()
        return True


def _note_commit(sent: bytes, forgetful: asyncio.Event) -> None:
    if b"COMMIT" in sent:
        forgetful.set()
