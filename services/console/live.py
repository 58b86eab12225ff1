"""The live stream: server-sent events that resume where a reader left off, whichever process answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.console.domain.lines import Fold, Line, fold_arrived
from services.console.pages import Text, fragment
from services.console.queries import zones_of
from services.console.store import reads
from services.console.store.reads import Filter
from shared.http import Working
from shared.messaging import Work

router = APIRouter(include_in_schema=False)

POLL_SECONDS = 0.4
LINES_A_MESSAGE = 500
PLACE = re.compile(r"(\d{1,9})\.(\d{1,18})")
"""Generation and number: what an event id of this stream looks like."""


@router.get("/stream/events")
async def follow(
    work: Working,
    service: Text = "",
    kind: Text = "",
    store: Text = "",
    patient: Text = "",
    after: Text = "",
    whole: bool = False,
    last_event_id: Annotated[str, Header()] = "",
) -> EventSourceResponse:
    """Lines as they come, after the last event id (or `after`, or from now on); none is left out, none comes twice.

    One message holds all that came at once, as list items; bursts are folded, and say of how many lines, unless
    `whole`. A message `anew` says that the stream was numbered anew: load the page again.
    """
    which = Filter(service or None, kind or None, store or None, patient or None)
    start = PLACE.fullmatch(last_event_id or after)
    place = (int(start[1]), int(start[2])) if start else None
    return EventSourceResponse(
        _messages(work, which, place, whole), ping=15, headers={"X-Accel-Buffering": "no"}
    )


async def _messages(
    work: Work, which: Filter, place: tuple[int, int] | None, whole: bool
) -> AsyncIterator[ServerSentEvent]:
    """`place` is the generation and the number that the reader has seen."""
    yield ServerSentEvent(retry=1000, comment="the stream of events")
    while True:
        async with work.read() as db:
            await reads.at_one_instant(db)
            generation, newest = await reads.place(db)
            seen = place or (generation, newest)
            lines = await reads.lines_after(db, which, seen[1], LINES_A_MESSAGE)
            zones = await zones_of(db, lines) if lines else {}
        if seen[0] != generation:
            yield ServerSentEvent(event="anew", data="")
            return
        if lines:
            place = (generation, lines[-1].number)
            yield ServerSentEvent(id=f"{generation}.{lines[-1].number}", data=_items(lines, zones, whole))
        else:
            place = (generation, max(seen[1], newest))
        if len(lines) < LINES_A_MESSAGE:
            await asyncio.sleep(POLL_SECONDS)


def _items(lines: list[Line], zones: dict[str, str], whole: bool) -> str:
    """As list items, newest first."""
    folds = [Fold((line,)) for line in lines] if whole else fold_arrived(lines)
    return fragment("lines.html", folds=folds[::-1], zones=zones)
