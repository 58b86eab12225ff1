"""The largest import, of whatever is no record, holds up nobody else: the event loop goes on while it is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.integration.enrollment.conftest import FEED, Service

LONGEST_SECONDS = 0.6
BYTES = 4_000_000


def filled(begin: str, part: str, end: str = "}") -> bytes:
    """As much of a list of the same part as an import may hold."""
    number = (BYTES - len(begin) - len(end)) // (len(part) + 1)
    return f"{begin}[{','.join([part] * number)}]{end}".encode()


def records_of(columns: Sequence[str]) -> bytes:
    """Five hundred records of these columns."""
    record = "{" + ",".join(columns) + "}"
    return f'{{"source":"chain","records":[{",".join([record] * 500)}]}}'.encode()


SHAPES = {
    "too many numbers": filled('{"source":"chain","records":', "1"),
    "too many records": filled('{"source":"chain","records":', "{}"),
    "a source that is a list": filled('{"records":[],"source":', "1"),
    "columns that are lists": records_of([f'"c{number}":[]' for number in range(700)]),
    "columns that are numbers": records_of([f'"c{number}":1' for number in range(800)]),
    "records of no columns": filled('{"source":"chain","records":[', "[]", "]}"),
    "columns that are not known": records_of([f'"c{number}":1' for number in range(98)]),
    "texts alone": filled('{"source":"chain","records":', '"a"'),
    "columns never seen": (
        '{"source":"chain","records":['
        + ",".join("{" + ",".join(f'"n{n}_{m}":1' for m in range(8)) + "}" for n in range(500))
        + "]}"
    ).encode(),
    "five hundred records of long texts": records_of(
        [
            f'"{name}":"{"x" * 600}"'
            for name in ("fill_id", "rx_id", "quantity", "filled_on", "patient_number")
        ]
    ),
}


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
async def test_an_import_of_wrong_types_does_not_hold_up_the_event_loop(
    service: Service, body: bytes
) -> None:
    headers = FEED | {"content-type": "application/json"}
    await service.http.post("/imports/fills", content=b'{"source":"chain","records":[]}', headers=headers)
    async with watched_loop() as held:
        answer = await service.http.post("/imports/fills", content=body, headers=headers)
    assert answer.status_code in (200, 400)
    assert max(held) < LONGEST_SECONDS


@asynccontextmanager
async def watched_loop() -> AsyncIterator[list[float]]:
    """How long the event loop worked at a time before somebody else had a turn: by the clock of its own thread, for
    a busy machine holds up everybody."""
    held: list[float] = [0.0]

    async def take_turns() -> None:
        while True:
            since = time.thread_time()
            await asyncio.sleep(0.005)
            held.append(time.thread_time() - since)

    watching = asyncio.create_task(take_turns())
    await asyncio.sleep(0.02)
    try:
        yield held
        await asyncio.sleep(0.02)
    finally:
        watching.cancel()
