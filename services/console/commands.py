"""What people do here: say who they are, reveal a name, redrive or skip a dead letter, have the model rebuilt.

All but the first are recorded: who, when, what and why.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field

from services.console import rebuild
from services.console.pages import ACTOR, ROLE, STAFF, Acting, page
from services.console.services import tell
from services.console.settings import Settings
from services.console.store import actions, ask
from shared.http import ACTOR_ID, Commanding, Problem, Role, Working
from shared.messaging import Unit
from shared.values import FreeText, RowNumber, Text
from shared.words.formats import counted

router = APIRouter(include_in_schema=False)

Address = Annotated[str, Field(max_length=2000)]
Because = Annotated[FreeText, Form(min_length=3, max_length=200)]


@router.get("/acting-as", response_class=HTMLResponse)
async def who(request: Request, to: Address = "/") -> HTMLResponse:
    """The form in which a person says who they are."""
    return page(request, "acting.html", to=_here(to), sign_in=_settings(request).sign_in)


@router.post("/acting-as")
async def say_who(
    request: Request,
    actor: Annotated[str, Form(pattern=ACTOR_ID)],
    role: Annotated[Role, Form()],
    to: Annotated[Address, Form()] = "/",
) -> Response:
    """Keep it in a cookie of this browser; a convenience behind no proxy, and no proof of anything."""
    if not _settings(request).sign_in or role not in STAFF:
        raise Problem(403, "Not allowed", "who you are is said by the proxy in front of the console")
    answer = RedirectResponse(_here(to), status_code=303)
    for name, value in ((ACTOR, actor), (ROLE, role.value)):
        answer.set_cookie(name, value, httponly=True, samesite="strict", max_age=12 * 3600)
    return answer


@router.post("/patients/{patient_id}/reveal")
async def reveal(
    request: Request, work: Working, caller: Acting, patient_id: Text, because: Because
) -> Response:
    """Let this person see this patient's name for a while; recorded for good."""
    caller.require(*STAFF)
    minutes = _settings(request).reveal_minutes

    async def record(unit: Unit) -> None:
        if await ask.patient_of(unit.db, patient_id) is None:
            raise Problem(404, "No such patient", "no event has named this patient yet")
        await actions.record_reveal(
            unit.db,
            patient_id=patient_id,
            actor=caller.actor,
            role=caller.role,
            because=because,
            minutes=minutes,
        )

    await work.command(caller, (), record)
    return RedirectResponse(f"/patients/{patient_id}", status_code=303)


@router.post("/health/{service}/deadletters/{number}/{way_out}")
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
    caller.require(Role.technician, Role.pharmacist)
    if way_out not in ("redrive", "skip"):
        raise Problem(404, "No such way out", "a dead letter is redriven or skipped")
    body = {"because": because} if way_out == "skip" else {}
    try:
        answer = await tell(request.app, caller, service, f"/ops/deadletters/{number}/{way_out}", body)
    except Problem as problem:
        await _record(work, caller, way_out, because, service, number, f"refused: {problem.detail}"[:300])
        raise
    await _record(work, caller, way_out, because, service, number, _what_came(answer))
    return RedirectResponse("/health", status_code=303)


@router.post("/rebuild")
async def rebuild_model(
    request: Request, work: Working, caller: Commanding, check: bool = False, force: bool = False
) -> dict[str, Any]:
    """Build the read model anew from the topics and put it in place; with `check` only compare. For operations.

    Where the topics no longer hold what some rows came from, the old model stays, unless by `force`.
    """
    report = await rebuild.rebuild(work, _settings(request), keep=not check, even_if_missing=force)
    came = f"{'equal' if report['equal'] else 'different'}, {'in place' if report['kept'] else 'the old one stays'}"
    await _record(work, caller, "rebuild", "check" if check else "rebuild", "console", None, came)
    return report


async def _record(
    work: Working, caller: Any, what: str, because: str, service: str, letter: int | None, came_of_it: str
) -> None:
    async def record(unit: Unit) -> None:
        await actions.record_command(
            unit.db,
            what=what,
            actor=caller.actor,
            role=caller.role,
            because=because,
            service=service,
            letter=letter,
            came_of_it=came_of_it,
        )

    await work.command(caller, (), record)


def _what_came(answer: dict[str, Any]) -> str:
    if answer.get("status") == "open":
        return f"failed again: {answer['failed']}"
    went_on = answer.get("went_on", 0)
    behind = f"; {counted(went_on, 'event')} behind it went through" if went_on else ""
    next_one = f"; the next behind it failed: {answer['failed']}" if "failed" in answer else ""
    return f"done{behind}{next_one}"


def _here(path: str) -> str:
    """An address of this site, and no other's."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
