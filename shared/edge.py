"""What a request must be before a service looks at it: whom it names, how large, deep and slow, how many at once.

Each rule is an ASGI middleware, so that no route can forget it. What comes before, the head of a request, is bounded in
cli/heads.py.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http import as_problem
from shared.identity import IDENTITY_HEADERS

BODY_BYTES = 256 * 1024
BODY_SECONDS = 10.0
SEND_SECONDS = 30.0
"""A caller who takes nothing of an answer for so long is let go."""

HELD_BYTES = 64 * 1024 * 1024
"""Of all bodies that a process holds at a time."""

VALUES = 50_000
"""In a body: five hundred records of a hundred columns."""

LEVELS = 64
"""Lists and objects inside one another; documents of ours have fewer than ten."""

OPERATIONS = ("/ops/", "/metrics")
OPERATIONS_AT_ONCE = 32

SAID_ONCE = ("host", "authorization", *IDENTITY_HEADERS, "idempotency-key", "traceparent")
"""Said twice, a proxy and a service could read another one each."""

LOOPBACK = ("localhost",)
TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True, slots=True)
class Edge:
    """The bounds of one process. A path is bounded by the first entry whose key it begins with."""

    hosts: Collection[str] = ()  # names beside localhost; addresses are always taken
    in_flight: int = 128  # requests at once
    lanes: Mapping[str, int] = field(default_factory=dict)  # path to requests at once of its own
    large: Mapping[str, int] = field(default_factory=dict)  # path to bytes of a body
    held_bytes: int = HELD_BYTES


def install_edge(app: FastAPI, edge: Edge) -> None:
    """Bound what comes in. Call it after `install_problems`: what is added last is outermost."""
    lanes = {**dict.fromkeys(OPERATIONS, OPERATIONS_AT_ONCE), **edge.lanes, "": edge.in_flight}
    app.add_middleware(_Lanes, lanes=lanes)
    app.add_middleware(_Bodies, bounds={**edge.large, "": BODY_BYTES}, held_bytes=edge.held_bytes)
    app.add_middleware(_Heads, hosts=(*LOOPBACK, *edge.hosts))
    app.add_middleware(_Unkept)


# ---- whom it names --------------------------------------------------------------------------------------------


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a Host header is one of the names, or an address: a page can be made to name only its own name."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name.removesuffix(".") in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def said_twice(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Which of the headers that are said once were said more often."""
    times = Counter(name.decode("latin-1").lower() for name, _ in headers)
    return [name for name in SAID_ONCE if times[name] > 1]


class _Heads:
    """Refuses hosts that are not ours (a page in a browser could have its own name lead here), and doubled headers."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if twice := said_twice(scope["headers"]):
            return as_problem(400, "Invalid request", f"{', '.join(twice)}: said more than once; say it once")
        if not is_ours(Headers(scope=scope).get("host", ""), self._hosts):
            detail = "the Host header names no host of this service: call it by its address, or add the name"
            return as_problem(421, "Misdirected request", f"{detail} to MEDSYNC_ALLOWED_HOSTS")
        return None


# ---- how large, how deep, how slow ----------------------------------------------------------------------------


class _Refused(Exception):
    def __init__(self, status: int, title: str, detail: str) -> None:
        self.answer = as_problem(status, title, detail)
        # The rest of the body is not waited for.
        self.answer.headers["Connection"] = "close"


class _Bodies:
    """Reads each body whole before anything looks at it: within its bound, in time, and not too deep."""

    def __init__(self, app: ASGIApp, bounds: Mapping[str, int], held_bytes: int) -> None:
        self._app, self._bounds, self._most_held = app, bounds, held_bytes
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            whole = await self._read(body, receive, headers, _of_path(self._bounds, scope["path"]))
            if whole and "json" in headers.get("content-type", "").lower() and (detail := too_much_in(body)):
                raise _Refused(400, "Invalid request", detail)
            if whole:
                await self._app(scope, _again(bytes(body), receive), send)
        except _Refused as refused:
            await refused.answer(scope, receive, send)
        finally:
            self._held -= len(body)

    async def _read(self, body: bytearray, receive: Receive, headers: Headers, most: int) -> bool:
        """Fill the body; false where the caller went away."""
        too_large = _Refused(
            413, "Too large", f"a body of this route has at most {most} bytes: send it in several requests"
        )
        if int(headers.get("content-length", "0")) > most:
            raise too_large
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    part = message.get("body", b"")
                    self._held += len(part)
                    body += part
                    if len(body) > most:
                        raise too_large
                    if self._held > self._most_held:
                        raise _Refused(503, "Unavailable", "too many bodies at once: try again")
                    if not message.get("more_body"):
                        return True
        except TimeoutError:
            detail = f"the body did not come within {BODY_SECONDS:.0f} s: send it again"
            raise _Refused(408, "Too slow", detail) from None


def _has_body(headers: Headers) -> bool:
    """A server has looked at it: a length is a number."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then goes on as before: with word of a disconnection."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def too_much_in(text: bytes | bytearray) -> str:
    """Why JSON is not to be read: it would keep everybody else of this process waiting. Empty: it may be.

    Reading holds up all threads, so it is bounded by what is counted in a moment: marks, not values.
    """
    many = f"the body has more than {VALUES} values: send it in several requests"
    if text.count(b'"') > 4 * VALUES:  # two texts a value
        return many
    bare = TEXT.sub(b"", text)
    brackets = bare.translate(None, NO_BRACKETS)
    if deepest(brackets[: 2 * VALUES]) > LEVELS:
        return f"the body has lists or objects in more than {LEVELS} levels: send it flatter"
    return many if bare.count(b",") > VALUES or len(brackets) > 2 * VALUES else ""


def deepest(text: bytes | bytearray) -> int:
    """How many levels of lists and objects JSON has, counted to one more than are taken."""
    now = most = 0
    for bracket in TEXT.sub(b"", text).translate(None, NO_BRACKETS):
        now += 1 if bracket in b"[{" else -1
        most = max(most, now)
        if most > LEVELS:
            break
    return most


# ---- how many at once -----------------------------------------------------------------------------------------


class _Lanes:
    """Counts requests at once, and refuses at once what is beyond a bound: a queue would only make all of them late."""

    def __init__(self, app: ASGIApp, lanes: Mapping[str, int]) -> None:
        self._app, self._lanes = app, lanes
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lane = next(start for start in self._lanes if scope["path"].startswith(start))
        if self._running[lane] >= self._lanes[lane]:
            detail = "as many requests as this process takes at once are running; try again"
            await as_problem(503, "Unavailable", detail, code="busy")(scope, receive, send)
            return
        self._running[lane] += 1
        try:
            await self._app(scope, receive, _impatient(send))
        finally:
            self._running[lane] -= 1


def _impatient(send: Send) -> Send:
    async def in_time(message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)
        except TimeoutError:
            raise ConnectionError("the caller does not read the answer") from None

    return in_time


def _of_path(bounds: Mapping[str, int], path: str) -> int:
    return next(bound for start, bound in bounds.items() if path.startswith(start))


# ---- what is kept on the way ----------------------------------------------------------------------------------


class _Unkept:
    """Lets no cache keep an answer: it may be about a person. Files, which have an ETag, are asked about again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def unkept(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-cache" if "etag" in headers else "no-store"
            await send(message)

        await self._app(scope, receive, unkept)
