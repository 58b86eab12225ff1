"""One task reads the stream for everybody who follows it: what each gets, and how often the database is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sse_starlette import ServerSentEvent

from services.console import live
from services.console.domain.lines import Line
from services.console.live import Feed, News, Place
from services.console.store.reads import Filter
from tests.running import until

EVERYTHING = Filter()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(live, "LINES_A_MESSAGE", 5)


def line(number: int, store: str = "s1") -> Line:
    return Line(
        event_id=UUID(int=number),
        service="planner",
        kind="plan-computed",
        at=datetime(2026, 3, 2, tzinfo=UTC),
        patient_id=f"p{number}",
        store_id=store,
        correlation_id="c",
        causation_id=None,
        topic="t",
        partition=0,
        offset=number,
        words="planned",
        number=number,
    )


class Stream:
    """What the database holds."""

    def __init__(self) -> None:
        self.generation, self.lines, self.looks = 1, [line(n) for n in range(1, 11)], 0
        self.away = False
        self.held: Place | None = None  # a look from there waits
        self.go_on = asyncio.Event()

    def write(self, *stores: str) -> None:
        for store in stores:
            self.lines.append(line(len(self.lines) + 1, store))

    async def look(self, place: Place | None, which: Filter) -> News:
        self.looks += 1
        await asyncio.sleep(0)
        if self.held and place == self.held:
            await self.go_on.wait()
        if self.away:
            raise ConnectionError("the database is away")
        newest = self.lines[-1].number
        if place is None or place[0] != self.generation:
            return News((self.generation, newest), (), {})
        found = [each for each in self.lines if each.number > place[1] and which.takes(each)]
        lines = tuple(found[: live.LINES_A_MESSAGE])
        end = lines[-1].number if len(lines) == live.LINES_A_MESSAGE else newest
        return News((self.generation, end), lines, {"s1": "UTC", "s2": "UTC"})


class Reader:
    """Follows in the background."""

    def __init__(self, feed: Feed, place: Place | None, which: Filter = EVERYTHING) -> None:
        self.ids: list[str] = []
        self.numbers: list[int] = []
        self.anew = self.ended = False
        self.task = asyncio.create_task(self._read(live.messages(feed, which, place, whole=True)))

    async def _read(self, messages: AsyncIterator[ServerSentEvent]) -> None:
        async with aclosing(messages):
            async for message in messages:
                text = message.encode().decode()
                self.anew |= "event: anew" in text
                self.numbers += sorted(int(part.split('"')[0]) for part in text.split('data-number="')[1:])
        self.ended = True

    async def until(self, number: int) -> None:
        async def there() -> bool:
            return self.ended or (self.numbers[-1:] >= [number])

        await until(there, f"line {number} came", seconds=5)


@pytest.mark.parametrize(("place", "first"), [((1, 0), 1), ((1, 3), 4), ((1, 10), 11), (None, 11)], ids=str)
async def test_a_reader_gets_every_line_after_its_place_once(place: Place | None, first: int) -> None:
    stream = Stream()
    reader = Reader(Feed(stream.look), place)
    await asyncio.sleep(0.05)
    for _ in range(8):
        stream.write("s1", "s2", "s1")
        await asyncio.sleep(0.003)
    await reader.until(34)
    assert reader.numbers == list(range(first, 35))
    reader.task.cancel()


async def test_what_comes_while_a_reader_catches_up_comes_once() -> None:
    stream = Stream()
    feed = Feed(stream.look)
    other = Reader(feed, None)
    await asyncio.sleep(0.05)
    stream.held = (1, 3)
    reader = Reader(feed, (1, 3))
    await asyncio.sleep(0.05)
    stream.write("s1", "s1")
    await other.until(12)
    stream.go_on.set()
    stream.write("s1")
    await reader.until(13)
    assert reader.numbers == list(range(4, 14))
    other.task.cancel()
    reader.task.cancel()


async def test_a_reader_of_one_store_gets_its_lines_alone() -> None:
    stream = Stream()
    reader = Reader(Feed(stream.look), (1, 4), Filter(store="s2"))
    await asyncio.sleep(0.05)
    stream.write("s1", "s2", "s1", "s2")
    await reader.until(14)
    assert reader.numbers == [12, 14]
    reader.task.cancel()


@pytest.mark.slow
async def test_a_thousand_readers_cost_the_database_what_one_does() -> None:
    stream = Stream()
    feed = Feed(stream.look)
    readers = [Reader(feed, (1, 10)) for _ in range(1000)]
    await asyncio.sleep(0.2)
    before = stream.looks
    stream.write("s1")
    await asyncio.gather(*(reader.until(11) for reader in readers))
    assert all(reader.numbers == [11] for reader in readers)
    assert before < 100
    for reader in readers:
        reader.task.cancel()
    await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)
    rests = stream.looks
    await asyncio.sleep(0.1)
    assert stream.looks == rests, "nobody reads, and nothing is asked"


@pytest.mark.slow
async def test_a_reader_that_does_not_take_what_comes_is_let_go_and_holds_nothing() -> None:
    stream = Stream()
    feed = Feed(stream.look)
    keeping_up = Reader(feed, None)
    async with feed.reading() as (_, waiting):
        for _ in range(live.WAITING + 5):
            before = stream.looks
            stream.write("s1")
            await until(lambda seen=before: asyncio.sleep(0, stream.looks >= seen + 2), "it was read")
        assert (waiting.qsize(), waiting.get_nowait()) == (1, None)
    await keeping_up.until(len(stream.lines))
    assert keeping_up.numbers == list(range(11, len(stream.lines) + 1))
    keeping_up.task.cancel()


@pytest.mark.parametrize("place", [None, (1, 2)])
async def test_readers_are_told_that_the_stream_was_numbered_anew(place: Place | None) -> None:
    stream = Stream()
    reader = Reader(Feed(stream.look), place)
    await asyncio.sleep(0.05)
    stream.generation = 2
    await asyncio.wait_for(reader.task, 5)
    assert (reader.anew, reader.ended) == (True, True)
    of_before = Reader(Feed(stream.look), (1, 2))
    await asyncio.wait_for(of_before.task, 5)
    assert (of_before.anew, of_before.numbers) == (True, [])


async def test_while_the_database_is_away_readers_wait_and_miss_nothing() -> None:
    stream = Stream()
    reader = Reader(Feed(stream.look), None)
    await asyncio.sleep(0.05)
    stream.away = True
    stream.write("s1", "s2")
    await asyncio.sleep(0.05)
    stream.away = False
    await reader.until(12)
    assert reader.numbers == [11, 12]
    reader.task.cancel()
