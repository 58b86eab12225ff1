"""What counts as an outage: it costs no event an attempt."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from shared.database import connect
from shared.messaging.outages import is_outage


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.ProtocolError("unexpected message"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError(),
    ],
)
def test_a_connection_cut_in_the_middle_of_an_answer_is_nobody_s_fault(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.slow
async def test_a_server_that_says_nothing_is_given_up_soon() -> None:
    """Else a process that starts meanwhile could not be stopped within its 20 s."""

    async def swallow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10) as limit:
            await connect(f"postgres://nobody@127.0.0.1:{port}/nothing?sslmode=disable", name="test")
    assert not limit.expired()
    silent.close()
