"""The console by HTTP: routes that parse, run a query or a command, and answer with a page."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Header, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field
from sse_starlette import EventSourceResponse

from services.console import commands, live, queries
from services.console.domain.ahead import is_soon
from services.console.domain.supply import What
from services.console.domain.today import Part
from services.console.oidc import SignIn, require_fresh
from services.console.pages import ACTOR, ROLE, SIGNING_IN, Acting, known, page
from services.console.rebuild import rebuild
from services.console.services import look_at, tell, who_looked
from services.console.settings import Settings
from services.console.store.reads import Filter
from shared.access import Role, may
from shared.contract import OPERATIONS
from shared.events import EVENTS
from shared.http import Commanding, Problem, Reading, Working
from shared.identity import ACTOR_ID
from shared.messaging import Work
from shared.messaging import patient as patient_key
from shared.messaging import store as store_key
from shared.values import Day, FreeText, RowNumber, Text

pages = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
forms = APIRouter(include_in_schema=False)
operations = APIRouter(tags=[OPERATIONS])

LIVE = "/stream/events"
WHY_REVEALED = "read why a name was revealed"
KINDS = sorted(event_type.split(".")[2] for event_type in EVENTS)
SERVICES = ("enrollment", "planner", "outreach", "fulfillment")

Address = Annotated[str, Field(max_length=2000)]
Because = Annotated[FreeText, Form(min_length=3, max_length=200)]


# ---- pages ----------------------------------------------------------------------------------------------------


@pages.get("/")
async def stores(
    request: Request, caller: Reading, work: Working, q: Text = "", after: Text = ""
) -> HTMLResponse:
    """Every store with its day in figures."""
    async with work.read_as(caller) as db:
        shown = await queries.stores_page(db, work.now(), caller.reach.stores, q.strip()[:80], after)
    return page(request, "stores.html", shown, q=q)


@pages.get("/stores/{store_id:id}")
async def store_day(
    request: Request,
    caller: Reading,
    work: Working,
    store_id: Text,
    on: Day | None = None,
    only: Annotated[Part | None, Query(alias="list")] = None,
    number: Annotated[int, Query(alias="page", ge=1, le=1000)] = 1,
) -> HTMLResponse:
    """A store's day, or one of its lists, by pages."""
    async with work.read_as(caller, store_key(store_id)) as db:
        shown = await queries.store_day(db, work.now(), store_id, on, only, number)
    return page(request, "store.html", shown)


@pages.get("/stream")
async def stream(
    request: Request,
    caller: Reading,
    work: Working,
    service: Text = "",
    kind: Text = "",
    store: Text = "",
    patient: Text = "",
    first: RowNumber | None = None,
    last: RowNumber | None = None,
    before: RowNumber | None = None,
) -> HTMLResponse:
    """Every event, newest first; the live part goes on from here where a script runs.

    Of a patient the first characters are enough, where they fit one alone.
    """
    async with work.read_as(caller) as db:
        which = Filter(
            service or None,
            kind or None,
            store or None,
            patient.strip() or None,
            first,
            last,
            stores=caller.reach.stores,
        )
        shown = await queries.stream_page(db, which, before)
    return page(request, "stream.html", shown, kinds=KINDS, services=SERVICES)


@pages.get(LIVE, response_class=EventSourceResponse)
async def follow(
    request: Request,
    caller: Reading,
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
    which = Filter(service or None, kind or None, store or None, patient or None, stores=caller.reach.stores)
    messages = live.messages(live.feed_of(request.app), which, live.place_of(last_event_id or after), whole)
    return EventSourceResponse(messages, ping=15, headers={"X-Accel-Buffering": "no"})


@pages.get("/patients")
async def patients(
    request: Request,
    caller: Reading,
    work: Working,
    store: Text = "",
    status: Text = "",
    q: Text = "",
    after: Text = "",
) -> HTMLResponse:
    """Patients by their pseudonyms."""
    async with work.read_as(caller) as db:
        shown = await queries.patients_page(
            db, stores=caller.reach.narrowed(store or None), status=status, prefix=q.strip()[:64], after=after
        )
    return page(request, "patients.html", shown, store=store, status=status, q=q)


@pages.get("/patients/{patient_id}")
async def patient(
    request: Request,
    work: Working,
    caller: Reading,
    patient_id: Text,
    revision: RowNumber | None = None,
    order: Annotated[str, Query(pattern="^(newest|oldest)$")] = "newest",
) -> HTMLResponse:
    """One patient: the plan drawn and in words, what happens next, and the story of cause and effect."""
    async with work.read_as(caller, patient_key(patient_id)) as db:
        shown = await queries.patient_page(
            db, work, patient_id, caller.actor, revision, reasons=may(WHY_REVEALED, caller.role)
        )
    chains = shown.chains if order == "oldest" else shown.chains[::-1]
    return page(request, "patient.html", shown, chains=chains, order=order, What=What, is_soon=is_soon)


@pages.get("/health")
async def health(request: Request, caller: Reading, work: Working) -> HTMLResponse:
    """How far each service is, what waits for a person, and the ways out."""

    seen = request.state.principal.reach(Role(caller.role)).stores

    async def done() -> list[Any]:
        async with work.read() as db:
            return await queries.latest_actions(db, seen, reasons=may(WHY_REVEALED, caller.role))

    states, actions = await asyncio.gather(look_at(request), done())
    waiting = any(state.letters or state.held for state in states)
    return page(request, "health.html", states=states, actions=actions, waiting=waiting)


@pages.get("/audit")
async def audit(request: Request, caller: Reading, patient: Text = "", actor: Text = "") -> HTMLResponse:
    """Who looked at a patient, or what somebody did and saw, in every service."""
    patient, actor = patient.strip(), actor.strip()
    found = await who_looked(request, patient, actor) if patient or actor else None
    return page(request, "audit.html", found=found, patient=patient, actor=actor)


# ---- who is looking -------------------------------------------------------------------------------------------


@forms.get("/acting-as", response_class=HTMLResponse)
async def who(request: Request, to: Address = "/") -> Response:
    """Who is signed in; else the way to sign in, or the form in which a person says who they are."""
    sign_in = _settings(request).sign_in
    viewer = await known(request)
    if isinstance(request.app.state.identity, SignIn) and viewer is None:
        return RedirectResponse(f"/sign-in?{urlencode({'to': _here(to)})}", status_code=303)
    return page(request, "acting.html", viewer=viewer, to=_here(to), sign_in=sign_in)


@forms.post("/acting-as")
async def say_who(
    request: Request,
    actor: Annotated[str, Form(pattern=ACTOR_ID)],
    role: Annotated[Role, Form()],
    to: Annotated[Address, Form()] = "/",
) -> Response:
    """Keep it in a cookie of this browser; a convenience behind no proxy, and no proof of anything."""
    if not _settings(request).sign_in or role not in SIGNING_IN:
        raise Problem(403, "Not allowed", "who you are is said by the proxy in front of the console")
    answer = RedirectResponse(_here(to), status_code=303)
    for name, value in ((ACTOR, actor), (ROLE, role.value)):
        answer.set_cookie(name, value, httponly=True, samesite="strict", max_age=12 * 3600)
    return answer


@forms.get("/sign-in")
async def sign_in(request: Request, work: Working, to: Address = "/", anew: bool = False) -> Response:
    """Send the browser to the identity provider."""
    answer = RedirectResponse("/", status_code=303)
    where = await _provider(request).begin(answer, work.sealer, _here(to), anew=anew)
    answer.headers["Location"] = where
    return answer


@forms.get("/signed-in")
async def signed_in(
    request: Request, code: Annotated[Text, Query(max_length=4000)] = "", state: Text = ""
) -> Response:
    """Who comes back from the identity provider begins a session."""
    answer = RedirectResponse("/", status_code=303)
    answer.headers["Location"] = await _provider(request).finish(request, answer, code, state)
    return answer


@forms.post("/sign-out")
async def sign_out(request: Request, _: Acting) -> Response:
    """End the session. No redirect follows: the page's policy lets a form lead to no other site."""
    answer = page(request, "acting.html", viewer=None, csrf="", to="/", sign_in=False, signed_out=True)
    await _provider(request).end(request, answer)
    return answer


def _provider(request: Request) -> SignIn:
    identity = request.app.state.identity
    if not isinstance(identity, SignIn):
        raise Problem(404, "No sign-in", "this console is told of no identity provider: MEDSYNC_CLIENT_ID")
    return identity


# ---- commands -------------------------------------------------------------------------------------------------


@forms.post("/patients/{patient_id}/reveal")
async def reveal(
    request: Request, work: Working, caller: Acting, patient_id: Text, because: Because
) -> Response:
    """Let this person see this patient's name for a while; recorded for good."""
    minutes = _settings(request).reveal_minutes
    decide = partial(commands.reveal, patient_id=patient_id, because=because, minutes=minutes)
    await work.command(caller, [patient_key(patient_id)], decide, even_if_parked=True)
    return RedirectResponse(f"/patients/{patient_id}", status_code=303)


@forms.post("/health/{service}/deadletters/{number}/{way_out}")
async def settle_letter(
    request: Request,
    work: Working,
    caller: Acting,
    service: Text,
    number: RowNumber,
    way_out: Text,
    because: Because,
) -> Response:
    """Redrive a dead letter of a service, or skip it, by the service's own command; the reason is kept here too."""
    commands.require_way_out(way_out)
    if way_out == "skip":
        require_fresh(request)
    body = {"because": because} if way_out == "skip" else {}
    try:
        answer = await tell(request, service, f"/ops/deadletters/{number}/{way_out}", body)
    except Problem as problem:
        refused = f"refused: {problem.detail}"[:300]
        await _record(work, caller, way_out, because, service, refused, number)
        raise
    await _record(work, caller, way_out, because, service, commands.what_came(answer), number)
    return RedirectResponse("/health", status_code=303)


@operations.post("/rebuild")
async def rebuild_model(
    request: Request, work: Working, caller: Commanding, check: bool = False, force: bool = False
) -> dict[str, Any]:
    """Build the read model anew from the topics and put it in place; with `check` only compare. For operations.

    Where the topics no longer hold what some rows came from, the old model stays, unless by `force`.
    """
    report = await rebuild(work, _settings(request), keep=not check, even_if_missing=force)
    came = commands.what_came_of_rebuild(report)
    await _record(work, caller, "rebuild", "check" if check else "rebuild", "console", came)
    return report


async def _record(
    work: Work, caller: Acting, what: str, because: str, service: str, came: str, letter: int | None = None
) -> None:
    decide = partial(
        commands.record, what=what, because=because, service=service, came_of_it=came, letter=letter
    )
    await work.command(caller, (), decide)


def _here(path: str) -> str:
    """An address of this site, and no other's."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
