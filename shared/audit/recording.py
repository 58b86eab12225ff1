"""How a request gets its row: before anybody sees an answer that names persons, and whatever the route does.

A command's row is written by its unit of work (`shared.messaging.unit`), in its transaction. What else is to be written
waits here until its row is committed; whatever comes meanwhile shares the next insert.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.audit import store
from shared.audit.asked import Asked, Entry
from shared.database import Db
from shared.sealing import Sealer

AT_ONCE = 500
"""Rows in one insert."""

STRANGERS_SECONDS = 1.0
"""Who is not signed in can ask as often as they like: so often is written down how often they did."""

NAMED_IN_JSON = re.compile(rb'"patient_id":\s?"([^"\\]{1,64})"')
NAMED_IN_PAGE = re.compile(rb'href="/patients/([^"/?#]{1,192})')

log = structlog.get_logger()


class Recorder:
    """Writes rows of one process, many in one insert."""

    def __init__(self, connection: Callable[[], AbstractAsyncContextManager[Db]], sealer: Sealer) -> None:
        self._connection, self._sealer = connection, sealer
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._strangers: Counter[Entry] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = self._counting = False

    async def write(self, entry: Entry) -> None:
        """Until the row is committed. Raises what the database raises: then nobody is to see the answer."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if not self._writing:
            self._writing = True
            self._begin(self._write_what_waits())
        await written

    def count(self, entry: Entry) -> None:
        """Somebody who is not signed in was refused: one row a second says how often, of each route."""
        self._strangers[replace(entry, trace=None)] += 1
        if not self._counting:
            self._counting = True
            self._begin(self._write_strangers())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_what_waits(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await self._write([entry for entry, _ in some], [written for _, written in some])
        finally:
            self._writing = False

    async def _write(self, entries: Sequence[Entry], written: Sequence[asyncio.Future[None]]) -> None:
        error: Exception | None = None
        try:
            async with self._connection() as db:  # one statement: it has no reason that a unit gives
                await store.append(db, self._sealer, entries)
        except Exception as why:
            error = why
        for each in written:
            if each.done():  # who asked has gone
                continue
            if error:
                each.set_exception(error)
            else:
                each.set_result(None)

    async def _write_strangers(self) -> None:
        await asyncio.sleep(STRANGERS_SECONDS)
        seen, self._strangers, self._counting = self._strangers, Counter(), False
        try:
            async with self._connection() as db:
                await store.append(db, self._sealer, [replace(each, times=n) for each, n in seen.items()])
        except Exception as error:
            log.warning("audit.strangers_not_written", error=type(error).__name__, number=seen.total())


class Audited:
    """Middleware inside of everything that answers errors: holds an answer back until its row is written."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held = _Held(scope, send)
        await self._app(scope, receive, held.take)
        await held.let_go()


class _Held:
    """One answer, on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._state, self._app, self._send = scope.setdefault("state", {}), scope["app"], send
        self._asked: Asked | None = None  # where a row is to be written first
        self._kept: list[Message] = []
        self._is_problem = False

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        if self._asked is None:
            await self._send(message)
        else:
            self._kept.append(message)

    async def _begin(self, start: Message) -> None:
        asked: Asked | None = self._state.get("asked")
        if asked is None or not asked.is_due(start["status"]):
            return
        kind = Headers(raw=start["headers"]).get("content-type", "")
        self._is_problem = start["status"] >= 400
        if kind.startswith("text/event-stream"):  # it never ends: its row says that it began
            await self._write(asked.entry)
        else:
            self._asked = asked

    async def let_go(self) -> None:
        """Write the row, then answer. Raises what the database raises."""
        if self._asked:
            body = b"".join(message.get("body", b"") for message in self._kept)
            code = code_of(body, self._kept[0]["status"]) if self._is_problem else None
            await self._write(self._asked.answered(code, [] if code else named_in(body)))
        for message in self._kept:
            await self._send(message)

    async def _write(self, entry: Entry) -> None:
        try:
            recorder: Recorder = self._app.state.work.audit
            if entry.actor:
                await recorder.write(entry)
            else:
                recorder.count(entry)
        except Exception as error:
            if not self._is_problem:
                raise
            # Who is refused sees nothing: they are told so, though the database is away.
            log.warning("audit.refusal_not_written", route=entry.route, error=type(error).__name__)


def named_in(body: bytes) -> set[str]:
    """The patients whom an answer names, as JSON or as a page: so no route can forget to say."""
    found = {unquote(each.decode()) for each in NAMED_IN_PAGE.findall(body)}
    return found | {each.decode() for each in NAMED_IN_JSON.findall(body)}


def code_of(body: bytes, status: int) -> str:
    """The code of a problem; `http_…` where it has none, as pages have none."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    code = said.get("code") if isinstance(said, dict) else None
    return code if isinstance(code, str) and code else f"http_{status}"
