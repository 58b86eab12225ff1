"""HTTP the same way in every service: who calls, problem details, pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, unquote

import structlog
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.access import EVERYTHING, About, Row, Rows, role_for
from shared.audit.asked import Asked, Entry
from shared.identity import Identity, Unknown
from shared.messaging import Caller, Parked, Work
from shared.messaging import unit as units
from shared.messaging.outages import PutBack, is_outage, is_timeout
from shared.problems import Busy, Conflict, Malformed, NotAllowed, NotFound, Refused
from shared.values import Id, clean, is_id

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PROBLEM_JSON = "application/problem+json"
FAULTS_NAMED = 20
"""Of a request that is not valid; the rest is counted."""

STATUS: Mapping[type[Refused], int] = {
    Malformed: 400,
    Unknown: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Busy: 503,
}
"""How a refusal is answered; every other one with 422."""

log = structlog.get_logger()


ABOUT_KEYS = (
    "one for each command, kept for 7 days: sent again with the same body, it gets the first answer and nothing is "
    "done twice; with another body it is refused with 422, `key_reused`"
)

NOT_TAKEN = "has characters that are not accepted here, or too many: an id has no spaces, and is not a name"


class Problem(Exception):
    """An answer other than success, as RFC 9457 problem details; `detail` says what to do."""

    def __init__(self, status: int, title: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.extra = status, title, detail, extra


class FieldProblem(BaseModel):
    """One thing that is wrong with a request."""

    model_config = ConfigDict(extra="allow")

    field: str = Field(description="where, its parts joined by dots; empty: the body itself")
    problem: str = Field(description="what is wrong, in words")


class ProblemDetails(BaseModel):
    """An answer other than success (RFC 9457): what is wrong, and what to do. It quotes no personal data."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="for people: what is wrong, and the way out")
    code: str = Field("", description="for programs: a word that stays")
    errors: list[FieldProblem] = Field([], description="what is wrong with the request, by fields")


async def admit(request: Request) -> None:
    """Let nobody to a route but whom its row in the table names: a dependency of every app, before all others.

    Raises Unknown where nobody says who calls, NotAllowed where it is somebody else's.
    """
    row = row_of(request)
    if row.about is About.public:
        return
    asked = request.state.asked = _asked(request, row)
    identity: Identity = request.app.state.identity
    principal = await identity.principal_of(request)
    request.state.principal = principal
    asked.by(principal)
    role = role_for(row, principal.roles_about(request.path_params.get("patient_id")))
    asked.acting_as(role.value, principal.reach(role).stores)
    request.state.caller = Caller(
        principal.sub,
        role.value,
        trace_parent=request.headers.get("traceparent"),
        reach=EVERYTHING if row.about is About.system else principal.reach(role),
        license=principal.license,
        asked=asked,
    )


def _asked(request: Request, row: Row) -> Asked:
    """What the audit is told of a request: the store and the patient that it names, if they have the form of ids."""
    given = {**request.query_params, **request.path_params}
    patients = [each for each in (given.get("patient_id"), given.get("patient")) if is_id(each)]
    stores = [each for each in (given.get("store_id"), given.get("store")) if is_id(each)]
    entry = Entry(
        named(request.method, request.scope["route"].path),
        store_id=stores[0] if stores else None,
        patients=tuple(patients),
        trace=getattr(request.state, "trace_id", None),
    )
    return Asked(entry, changes=request.method not in SAFE, personal=row.personal)


def row_of(request: Request) -> Row:
    """The row of the route that was found. Raises NotAllowed where the table has none."""
    rows: Rows = request.app.state.rows
    row = rows.get(named(request.method, request.scope["route"].path))
    if row is None:
        raise NotAllowed("not_allowed", "nobody may do this: the table of access has no row for it")
    return row


CONVERTOR = re.compile(r":[a-z]+(?=\})")


def named(method: str, path: str) -> str:
    """How the table names a route: `GET /stores/{store_id}`."""
    return f"{method} {CONVERTOR.sub('', path)}"


async def get_reader(request: Request) -> Caller:
    """Who asks; a dependency of routes that answer what is somebody's."""
    caller: Caller = request.state.caller
    return caller


async def get_caller(
    request: Request,
    idempotency_key: Annotated[str | None, Header(max_length=120, description=ABOUT_KEYS)] = None,
    traceparent: Annotated[str | None, Header(max_length=60, description="W3C trace context")] = None,
) -> Caller:
    """The caller of a command; a dependency of every route that changes something."""
    caller: Caller = request.state.caller
    if not idempotency_key:
        return caller
    body = await request.body()
    what = f"{request.method} {request.url.path}?{request.url.query}\n"
    fingerprint = sha256(what.encode() + body).hexdigest()
    return replace(caller, idempotency_key=idempotency_key, fingerprint=fingerprint)


async def get_work(request: Request) -> Work:
    """The service's units of work."""
    work: Work = request.app.state.work
    return work


ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
STAND_IN = "\x1f"
"""Of an encoded slash in a path while its route is looked for; no id has it."""


class SlashesInIds:
    """Keeps an encoded slash apart from those between the parts of a path: ids of a source may hold one.

    A route takes it by naming its parameter as `{rx_id:id}`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or b""
        if scope["type"] == "http" and ENCODED_SLASH.search(raw):
            kept = ENCODED_SLASH.sub(quote(STAND_IN).encode(), raw)
            scope = {**scope, "path": unquote(kept.decode("ascii"))}
        await self._app(scope, receive, send)


class IdInPath(StringConvertor):
    """A part of a path that is an id, with the slashes that it came with."""

    def convert(self, value: str) -> str:
        return value.replace(STAND_IN, "/")


register_url_convertor("id", IdInPath())


Commanding = Annotated[Caller, Depends(get_caller)]
Reading = Annotated[Caller, Depends(get_reader)]
Working = Annotated[Work, Depends(get_work)]
Limit = Annotated[int, Query(ge=1, le=500)]
"""How many items of a list are asked for at most."""

InStore = Annotated[Id | None, Query(alias="store")]
"""Of which store; left out: of all."""


def page(items: Sequence[Any], limit: int, key: str) -> dict[str, Any]:
    """A page of at most `limit` of the items (ask the store for one more); `next` is the last one's `key`."""
    shown = list(items[:limit])
    more = len(items) > limit
    return {"items": shown, "next": _get(shown[-1], key) if more and shown else None}


def _get(item: Any, key: str) -> Any:
    return item[key] if isinstance(item, dict) else getattr(item, key)


def install_problems(app: FastAPI) -> None:
    """Turn every failure into problem details that quote no request content."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return as_problem(error.status, error.title, error.detail, **error.extra)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        status, title = status_and_title(error)
        errors = {"errors": error.errors[:FAULTS_NAMED]} if isinstance(error, Malformed) else {}
        answer = as_problem(status, title, error.message, code=error.code, **errors, **error.named)
        if status == HTTPStatus.UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    @app.exception_handler(Parked)
    async def parked(_: Request, error: Parked) -> JSONResponse:
        detail = f"{error}; redrive or skip the dead letter first (medsync deadletters)"
        return as_problem(409, "Parked", detail, code="parked")

    @app.exception_handler(units.KeyReused)
    async def reused(_: Request, error: units.KeyReused) -> JSONResponse:
        return as_problem(
            422, "Idempotency key reused", "this key came before with another command", code="key_reused"
        )

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        answer = as_problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"field": _field(e), "problem": _problem(e)} for e in error.errors()]
        return await refused(request, Malformed(errors))

    app.add_middleware(_Unexpected)


def _field(error: Mapping[str, Any]) -> str:
    """Where it is; names in it may be the caller's own, of any length and form."""
    return ".".join(clean(str(part), 80) for part in error["loc"][1:])


def _status_of(error: Refused) -> int:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 422)


def status_and_title(error: Refused) -> tuple[int, str]:
    """The title says the code in words: it differs from occurrence to occurrence no more than the code does."""
    if type(error) is Refused:
        return 422, "Refused"
    return _status_of(error), error.code.replace("_", " ").capitalize()


def _problem(error: Mapping[str, Any]) -> str:
    return (
        NOT_TAKEN
        if error["type"] == "string_pattern_mismatch"
        else clean(str(error["msg"]).removeprefix("Value error, "), 300)
    )


class _Unexpected:
    """Answers what no handler expected. Further out, the server would log messages, which may quote a person's data."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            if scope["type"] != "http":
                raise
            away = is_outage(error) or is_timeout(error)
            if not away:
                log.error(
                    "http.unexpected", path=scope["route"].path if "route" in scope else "", exc_info=error
                )
            if not begun:
                await (_unavailable(error) if away else _internal_error())(scope, receive, send)


def _unavailable(error: Exception) -> JSONResponse:
    if isinstance(error, PutBack):
        return as_problem(503, "Unavailable", str(error), code="put_back")
    # Where the connection was lost in the middle of the commit, nobody knows: only the same key makes it safe.
    detail = "the database does not answer; try again, with the same Idempotency-Key if you sent one"
    return as_problem(503, "Unavailable", detail, code="outage")


def _internal_error() -> JSONResponse:
    return as_problem(500, "Internal error", "nothing was changed; the log of the service has the trace")


def as_problem(status: int, title: str, detail: str, **extra: Any) -> JSONResponse:
    """Problem details as an answer, for whatever stands before the routes."""
    problem = ProblemDetails(type="about:blank", title=title, status=status, detail=detail, **extra)
    retry = {"Retry-After": "1"} if status == 503 else None
    body = problem.model_dump(mode="json", exclude_unset=True)
    return JSONResponse(body, status_code=status, media_type=PROBLEM_JSON, headers=retry)
