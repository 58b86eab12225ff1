"""How a page is made: templates, dates as people read them, who is looking, and errors that are pages too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import asyncpg
from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.domain.zones import in_zone
from services.console.oidc import check_form
from shared.access import Principal, Role
from shared.events.base import Reason
from shared.http import Problem, status_and_title
from shared.identity import Unknown, headed
from shared.messaging import Caller
from shared.messaging.outages import is_outage
from shared.problems import Refused
from shared.words import of_condition, plans
from shared.words import render as in_words
from shared.words.formats import phone, without
from shared.words.steps import of_steps

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ACTOR, ROLE = "medsync-actor", "medsync-role"
"""Cookies in which a person says who they are, where nobody in front of the console does."""

SIGNING_IN = ("clerk", "technician", "pharmacist", "manager", "operator", "auditor")
"""The roles of people who look at the console."""

SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is looking."""

    actor: str
    role: str  # for this page
    roles: frozenset[Role]


class SaidHere:
    """Who looks, by the headers of a proxy or, with `sign_in`, by what the person said in this browser: no proof."""

    grants_unread = False  # there is none

    def __init__(self, *, sign_in: bool) -> None:
        self._sign_in = sign_in

    async def principal_of(self, request: Request) -> Principal:
        """Raises Unknown."""
        said: Mapping[str, str] = request.headers
        if ACTOR not in said and self._sign_in:
            said = request.cookies
        return headed(said)


def viewer_of(request: Request) -> Viewer | None:
    """Who was admitted; none on the pages that everybody sees."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return Viewer(caller.actor, caller.role, request.state.principal.roles) if caller else None


async def known(request: Request) -> Viewer | None:
    """Who looks at a page that everybody sees; none where nobody says."""
    try:
        principal = await request.app.state.identity.principal_of(request)
    except Unknown:
        return None
    return Viewer(principal.sub, ", ".join(sorted(principal.roles)), principal.roles)


def acting(request: Request, csrf: Annotated[str, Form(max_length=100)] = "") -> Caller:
    """Who sends a form. Raises a 403 problem where the form came from another site, or is not of this session."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "Not allowed", "this form was sent from another site")
    check_form(request, csrf, request.app.state.settings)
    caller: Caller = request.state.caller
    return caller


Acting = Annotated[Caller, Depends(acting)]


def page(
    request: Request,
    template: str,
    shown: DataclassInstance | None = None,
    *,
    http_status: int = 200,
    **given: Any,
) -> HTMLResponse:
    """The template as an answer, with the fields of what is shown; every page gets the viewer and the business time."""
    context = {
        "viewer": viewer_of(request),
        "csrf": session.csrf if (session := getattr(request.state, "session", None)) else "",
        "now": request.app.state.work.now(),
        "zone": "UTC",
        "address": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
    }
    of_shown = {each: getattr(shown, each) for each in shown.__dataclass_fields__} if shown else {}
    return HTMLResponse(fragment(template, **(context | of_shown | given)), status_code=http_status)


def fragment(template: str, **given: Any) -> str:
    """The template as text."""
    return _templates.get_template(template).render(**given)


# ---- words and dates ------------------------------------------------------------------------------------------


def short(pseudonym: str | None) -> str:
    """The first characters: enough to tell patients apart on a screen."""
    return (pseudonym or "")[:8]


def day(value: date | str | None) -> str:
    """`Thu Oct 15`."""
    value = date.fromisoformat(value) if isinstance(value, str) else value
    return f"{value:%a %b} {value.day}" if value else ""


def moment(value: datetime | None, zone: str = "UTC") -> str:
    """`Thu Oct 15 09:00`, in the zone."""
    local = in_zone(value, zone) if value else None
    return f"{day(local.date())} {local:%H:%M}" if local else ""


def plain(code: str | None) -> str:
    """`plan-computed` and `ride_along` as words."""
    return (code or "").replace("-", " ").replace("_", " ")


def words_of(reason: Reason | Mapping[str, Any]) -> str:
    """A reason, or one as JSON, as a sentence."""
    return in_words(reason if isinstance(reason, Reason) else Reason.model_validate(reason))


def seconds(value: float) -> str:
    """A duration as people say it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.0f} s"


def query(**given: object) -> str:
    """A query string of what is given."""
    return urlencode({name: value for name, value in given.items() if value not in (None, "")})


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "short": short,
    "day": day,
    "moment": moment,
    "plain": plain,
    "words_of": words_of,
    "condition": of_condition,
    "why": plans.why,
    "why_of_drug": plans.of_drug,
    "takes": plans.takes,
    "phone": phone,
    "without": without,
    "steps": of_steps,
    "seconds": seconds,
    "local": in_zone,
    "units": lambda quantity: f"{quantity.normalize():f}",
    "segment": lambda text: quote(str(text), safe=""),
}
_templates.globals |= {"query": query, "roles": SIGNING_IN, "one_day": timedelta(days=1)}


# ---- errors, and the headers that keep pages safe ---------------------------------------------------------------


def install_pages(app: FastAPI) -> None:
    """Answer browsers with pages where something is wrong, and everyone with the headers below."""
    for kind, read in _READ.items():
        app.add_exception_handler(kind, _as_page(read, app.exception_handlers.get(kind)))
    app.add_middleware(_Safe)


def _as_page(read: Callable[[Any], tuple[int, str, str]], otherwise: Any) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        for_people = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
            "/ops/"
        )
        if otherwise is None and not (for_people and is_outage(error)):
            raise error  # the fabric answers it
        if not for_people:
            problem: Response = await otherwise(request, error)
            return problem
        if isinstance(error, Unknown) and request.method == "GET":
            address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/acting-as?{query(to=address)}", status_code=303)
        status, title, detail = read(error)
        return page(request, "problem.html", http_status=status, status=status, title=title, detail=detail)

    return answer


def _away(_: Exception) -> tuple[int, str, str]:
    return (
        503,
        "Temporarily unavailable",
        "The database does not answer. Nothing is lost: try again in a moment.",
    )


_READ: dict[type[Exception], Callable[[Any], tuple[int, str, str]]] = {
    Refused: lambda error: (*status_and_title(error), error.message),
    Problem: lambda error: (error.status, error.title, error.detail),
    HTTPException: lambda error: (error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail)),
    RequestValidationError: lambda _: (
        400,
        "Not understood",
        "The address or the form has a value that is not valid.",
    ),
    OSError: _away,
    asyncpg.PostgresError: _away,
    asyncpg.InterfaceError: _away,
}


class _Safe:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
