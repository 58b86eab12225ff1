"""What every request leaves behind: a count, a duration, and a line in the log where a command was refused."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.access import Principal
from shared.http import PROBLEM_JSON
from shared.messaging import Caller
from shared.messaging.envelope import TRACE_PARENT

UNKNOWN_ROUTE = "none"
"""A path that no route has: the path itself may hold anything."""

READS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = READS | {"POST", "PUT", "PATCH", "DELETE"}
PROBLEM_BYTES = 65_536
"""A longer answer is not looked into for its code."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

log = structlog.get_logger()


class Requests:
    """Counts of one app's requests. Labels are route templates, never paths: paths hold ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._done = Counter(
            "medsync_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "medsync_http_request_seconds",
            "Seconds until an answer began.",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "medsync_http_refusals_total",
            "Requests answered 4xx, by the code in the answer.",
            ["route", "code"],
            registry=registry,
        )

    def note(self, method: str, route: str, answer: Answer, seconds: float) -> None:
        self._done.labels(method, route, str(answer.status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if 400 <= answer.status < 500:
            self._refused.labels(route, answer.code).inc()


class Watched:
    """Middleware around everything else: binds the trace id, counts the request, tells of a refused command."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers, answer = time.perf_counter(), Headers(scope=scope), Answer()
        # Set here, so that whoever copies the scope on the way in notes the caller here too.
        trace_id = scope.setdefault("state", {})["trace_id"] = trace_id_of(headers)

        async def note(message: Message) -> None:
            answer.note(message, time.perf_counter() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(trace_id=trace_id):
            try:
                await self._app(scope, receive, note)
            finally:
                method = scope["method"] if scope["method"] in METHODS else "other"
                route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
                self._requests.note(method, route, answer, answer.seconds or time.perf_counter() - began)
                if answer.status >= 400 and method not in READS:
                    _tell(method, route, answer, scope["state"])


class Answer:
    """What is seen of an answer as it goes by."""

    def __init__(self) -> None:
        self.status = 500  # where none came
        self.seconds: float | None = None
        self._problem: bytearray | None = None

    def note(self, message: Message, seconds: float) -> None:
        """Look at one message of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.seconds = message["status"], seconds
            if Headers(raw=message["headers"]).get("content-type", "").startswith(PROBLEM_JSON):
                self._problem = bytearray()
        elif self._problem is not None and len(self._problem) < PROBLEM_BYTES:
            self._problem += message.get("body", b"")

    @property
    def code(self) -> str:
        """The code in the problem details; `http_…` with the status where there is none."""
        try:
            said: dict[str, Any] = json.loads(self._problem or b"{}")
        except ValueError:
            said = {}
        code = said.get("code")
        return code if isinstance(code, str) else f"http_{self.status}"


def _tell(method: str, route: str, answer: Answer, state: Mapping[str, Any]) -> None:
    """No body, no path, and no name; who acts only where that is known, and as what where they were admitted."""
    principal: Principal | None = state.get("principal")
    caller: Caller | None = state.get("caller")
    log.warning(
        "command.refused",
        method=method,
        route=route,
        status=answer.status,
        code=answer.code,
        role=caller.role if caller else None,
        actor=principal.sub if principal else None,
    )


def trace_id_of(headers: Mapping[str, str]) -> str:
    """The caller's trace id (W3C, 32 hex digits), or one of our own."""
    given = headers.get("traceparent", "")
    return given.split("-")[1] if TRACE_PARENT.fullmatch(given) else uuid4().hex
