"""The head of a request that never ends, over a real connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from cli import heads
from deploy.local.ports import free_port
from tests.running import until

ANSWER = b"HTTP/1.1 200 OK"


async def app(scope: dict, receive: object, send: object) -> None:
    await asyncio.sleep(0.3)  # longer than a head may take: an answer has its own time
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.2)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, lifespan="off", http=heads.BoundedHeads, ws="none")
    )
    server.install_signal_handlers = lambda: None
    serving = asyncio.create_task(server.serve())
    await until(lambda: asyncio.sleep(0, server.started), "the server listens")
    yield port
    server.should_exit = True
    await serving


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def closed_after(reader: asyncio.StreamReader) -> float:
    """Seconds until the server hangs up; fails after three."""
    began = time.monotonic()
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    return time.monotonic() - began


async def test_who_says_nothing_is_let_go(port: int) -> None:
    async with connected(port) as (reader, _):
        assert await closed_after(reader) < 2


@pytest.mark.slow
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_a_head_that_comes_by_drops_is_not_waited_for(port: int, before: bytes) -> None:
    async with connected(port) as (reader, writer):
        if before:
            writer.write(before)
            assert ANSWER in await reader.readuntil(b"ok")

        async def drip() -> None:
            writer.write(b"\r\nGET / HTTP/1.1\r\n")
            while True:
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        try:
            assert await closed_after(reader) < 2
        finally:
            dripping.cancel()


async def test_a_head_without_an_end_is_not_held(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 60)
    async with connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX-A: " + b"b" * 200_000)
        async with asyncio.timeout(3):
            with suppress(ConnectionResetError):
                assert ANSWER not in await reader.read()


@pytest.mark.slow
async def test_requests_in_a_row_on_one_connection_are_answered(port: int) -> None:
    async with connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b" " * 100_000
            )
            assert ANSWER in await reader.readuntil(b"ok")
