"""The live stream: server-sent events that resume where a reader left off, whichever process answers.

However many read, one task asks the database for what is new (`Feed`). A reader who was away longer asks by itself
for what came meanwhile, few at a time; one who takes what comes too slowly is let go, and comes back to its place.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog
from fastapi import FastAPI
from sse_starlette import ServerSentEvent

from services.console.domain.lines import Fold, Line, fold_arrived
from services.console.pages import fragment
from services.console.queries import zones_of
from services.console.store import reads
from services.console.store.reads import Filter
from shared.messaging import Work

POLL_SECONDS = 0.4
LINES_A_MESSAGE = 500
WAITING = 20
"""Messages that may wait for one reader: some eight seconds of them."""

CATCHING_UP = 3
"""Readers at a time who ask the database themselves; the pages need its connections too."""

PLACE = re.compile(r"(\d{1,9})\.(\d{1,18})")
"""Generation and number: what an event id of this stream looks like."""

Place = tuple[int, int]
"""Generation of the numbers, and the number that was seen last."""

log = structlog.get_logger()


def place_of(event_id: str) -> Place | None:
    """The place that an event id of this stream names; none where it is none."""
    found = PLACE.fullmatch(event_id)
    return (int(found[1]), int(found[2])) if found else None


async def messages(
    feed: Feed, which: Filter, place: Place | None, whole: bool
) -> AsyncIterator[ServerSentEvent]:
    """`place` is what the reader has seen."""
    yield ServerSentEvent(retry=1000, comment="the stream of events")
    async with feed.reading() as (now, waiting):
        place = place or now
        while place[0] == now[0] and place[1] < now[1]:
            async with feed.catching_up:
                news = await feed.look(place, which)
            if message := news.message(which, whole):
                yield message
            place = news.place
        while place[0] == now[0] and (arrived := await waiting.get()):
            if message := arrived.after(place[1]).message(which, whole):
                yield message
            now = arrived.place
            if place[0] == now[0]:
                place = max(place, now)  # what was caught up with may be further
        if place[0] != now[0]:
            yield ServerSentEvent(event="anew", data="")


# ---- one task reads for all -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class News:
    """Lines that came at once, and the place after them. Of another generation than before there are none."""

    place: Place
    lines: tuple[Line, ...]
    zones: Mapping[str, str]
    _messages: dict[tuple[Filter, bool], ServerSentEvent | None] = field(default_factory=dict)

    @property
    def is_cut(self) -> bool:
        """Whether there may be more."""
        return len(self.lines) == LINES_A_MESSAGE

    def after(self, seen: int) -> News:
        """What of it has higher numbers."""
        if not self.lines or self.lines[0].number > seen:
            return self
        return News(self.place, tuple(line for line in self.lines if line.number > seen), self.zones)

    def message(self, which: Filter, whole: bool) -> ServerSentEvent | None:
        """It as a reader of these lines gets it, made once for all who read the same; none where it has no line."""
        if (which, whole) not in self._messages:
            self._messages[which, whole] = self._made(
                [line for line in self.lines if which.takes(line)], whole
            )
        return self._messages[which, whole]

    def _made(self, lines: list[Line], whole: bool) -> ServerSentEvent | None:
        """List items, newest first."""
        if not lines:
            return None
        folds = [Fold((line,)) for line in lines] if whole else fold_arrived(lines)
        items = fragment("lines.html", folds=folds[::-1], zones=self.zones)
        return ServerSentEvent(id=f"{self.place[0]}.{lines[-1].number}", data=items)


Look = Callable[[Place | None, Filter], Awaitable[News]]
"""The lines after a place; without a place none, but where the stream ends now."""

Waiting = asyncio.Queue[News | None]
"""What waits for one reader; none at the end: it was too slow, and comes again."""


class Feed:
    """What is new, read once and handed to every reader of this process. It reads while there is a reader."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.catching_up = asyncio.Semaphore(CATCHING_UP)
        self._readers: set[Waiting] = set()
        self._place: Place | None = None
        self._begun = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[tuple[Place, Waiting]]:
        """Where the feed is, and what it tells from there on."""
        waiting: Waiting = asyncio.Queue(WAITING)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self._readers.add(waiting)
        try:
            await self._begun.wait()
            assert self._place is not None
            # What is put into the queue before this reader asks for it comes after the place that it is told.
            yield self._place, waiting
        finally:
            self._readers.discard(waiting)
            if not self._readers:
                self._end()

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._place = None, None
        self._begun.clear()

    async def _run(self) -> None:
        while True:
            try:
                is_cut = await self._turn()
            except Exception as error:
                log.warning("stream.not_read", error=type(error).__name__)
                is_cut = False
            if not is_cut:
                await asyncio.sleep(POLL_SECONDS)

    async def _turn(self) -> bool:
        """Tell what is new; whether there may be more at once."""
        before, news = self._place, await self.look(self._place, Filter())
        self._place = news.place
        self._begun.set()
        if before and (news.lines or before[0] != news.place[0]):
            self._tell(news)
        return news.is_cut

    def _tell(self, news: News) -> None:
        for waiting in list(self._readers):
            if waiting.full():
                self._readers.discard(waiting)
                while not waiting.empty():
                    waiting.get_nowait()
                waiting.put_nowait(None)
            else:
                waiting.put_nowait(news)


def feed_of(app: FastAPI) -> Feed:
    """The one of this process."""
    state = app.state
    if not hasattr(state, "feed"):
        state.feed = Feed(partial(_look, state.work))
    feed: Feed = state.feed
    return feed


async def _look(work: Work, place: Place | None, which: Filter) -> News:
    async with work.read() as db:
        await reads.at_one_instant(db)
        generation, newest = await reads.place(db)
        if place is None or place[0] != generation:
            return News((generation, newest), (), {})
        lines = await reads.lines_after(db, which, place[1], LINES_A_MESSAGE)
        zones = await zones_of(db, lines) if lines else {}
    end = lines[-1].number if len(lines) == LINES_A_MESSAGE else max(place[1], newest)
    return News((generation, end), tuple(lines), zones)
