"""The other services, asked how they are and told what a person decided: by their own operations routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI, Request

from services.console.oidc import SignIn
from services.console.settings import Settings
from shared.access import Principal
from shared.http import Problem

PATIENCE = httpx.Timeout(3.0)
LETTERS_SHOWN = 50
ROWS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class State:
    """One service: what each of its processes says of itself, and what it cannot handle."""

    service: str
    processes: tuple[dict[str, Any], ...] = ()  # of /ops/status; {"url", "away"} where one does not answer
    letters: tuple[dict[str, Any], ...] = ()
    held: tuple[dict[str, Any], ...] = ()

    @property
    def known(self) -> bool:
        return bool(self.processes)

    @property
    def away(self) -> list[str]:
        return [each["away"] for each in self.processes if "away" in each]

    def most(self, figure: str) -> Any:
        """The greatest of a figure over the processes that answer; none where none does."""
        return max((each[figure] for each in self.processes if each.get(figure) is not None), default=None)

    def stopped(self) -> list[str]:
        """Why processes stopped taking events in, where they did."""
        return [each["stopped_because"] for each in self.processes if each.get("stopped_because")]


@dataclass(slots=True)
class _Asked:
    client: httpx.AsyncClient
    urls: tuple[str, ...] = field(default=())


async def look_at(request: Request) -> list[State]:
    """Every service, asked as the person, the console last; all at once, and none is waited for longer than three
    seconds."""
    settings: Settings = request.app.state.settings
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as out,
        _to_itself(request.app) as home,
    ):
        asked = [(name, _Asked(out, urls)) for name, urls in settings.services.items()]
        asked.append(("console", _Asked(home, ("http://localhost",))))
        return list(await asyncio.gather(*(_look_at(request, name, each) for name, each in asked)))


async def _look_at(request: Request, service: str, asked: _Asked) -> State:
    who = await in_the_name_of(request, service) if asked.urls else {}
    processes = await asyncio.gather(*(_get(asked.client, f"{url}/ops/status", who) for url in asked.urls))
    letters: dict[str, Any] = {}
    for url, state in zip(asked.urls, processes, strict=True):
        if "away" not in state:
            letters = await _get(asked.client, f"{url}/ops/deadletters?limit={LETTERS_SHOWN}", who)
            break
    return State(service, tuple(processes), tuple(letters.get("items", ())), tuple(letters.get("held", ())))


async def _get(client: httpx.AsyncClient, url: str, who: dict[str, str]) -> dict[str, Any]:
    try:
        answer = await client.get(url, headers=who)
        found: dict[str, Any] = answer.json()
    except (httpx.TransportError, ValueError) as error:
        return {"url": url, "away": f"does not answer ({type(error).__name__})"}
    return (
        found
        if answer.is_success
        else {"url": url, "away": found.get("detail", f"answers {answer.status_code}")}
    )


@dataclass(frozen=True, slots=True)
class Audited:
    """Rows of every service's audit, the newest first; which services did not answer, and which have more."""

    rows: tuple[dict[str, Any], ...]
    away: Mapping[str, str]
    more: tuple[str, ...]


async def who_looked(request: Request, patient: str, actor: str) -> Audited:
    """Who did or saw what, by every service's audit, asked as the person."""
    settings: Settings = request.app.state.settings
    which = urlencode(
        {name: given for name, given in (("patient", patient), ("actor", actor)) if given}
        | {"limit": ROWS_SHOWN}
    )

    async def ask(client: httpx.AsyncClient, service: str, url: str) -> dict[str, Any]:
        who = await in_the_name_of(request, service)
        return await _get(client, f"{url}/ops/audit?{which}", who)

    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as out,
        _to_itself(request.app) as home,
    ):
        of_each = {"console": ask(home, "console", "http://localhost")}
        of_each |= {name: ask(out, name, urls[0]) for name, urls in settings.services.items() if urls}
        told = dict(zip(of_each, await asyncio.gather(*of_each.values()), strict=True))
    unknown = {name: "its address is not given" for name, urls in settings.services.items() if not urls}
    rows = [
        each | {"service": name, "at": datetime.fromisoformat(each["at"])}
        for name, answer in told.items()
        for each in answer.get("items", ())
    ]
    return Audited(
        rows=tuple(sorted(rows, key=lambda row: row["at"], reverse=True)),
        away=unknown | {name: answer["away"] for name, answer in told.items() if "away" in answer},
        more=tuple(name for name, answer in told.items() if answer.get("next")),
    )


async def tell(request: Request, service: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a command in the person's name; answers what the service answers.

    Raises:
        Problem: 404 where no address of the service is known, 502 where it does not answer, or its own problem.
    """
    settings: Settings = request.app.state.settings
    urls = ("http://localhost",) if service == "console" else settings.services.get(service, ())
    if not urls:
        raise Problem(404, "No such service", f"no address of {service} is known here (MEDSYNC_…_URL)")
    who = await in_the_name_of(request, service)
    client = (
        _to_itself(request.app) if service == "console" else httpx.AsyncClient(timeout=30, trust_env=False)
    )
    async with client:
        try:
            answer = await client.post(f"{urls[0]}{path}", json=body, headers=who)
            said: dict[str, Any] = answer.json()
        except (httpx.TransportError, ValueError) as error:
            raise Problem(
                502,
                "No answer",
                f"{service} does not answer ({type(error).__name__}); nothing is known to be done",
            ) from None
    if answer.is_error:
        raise Problem(
            answer.status_code, said.get("title", "Refused"), said.get("detail", "the service refused")
        )
    return said


async def in_the_name_of(request: Request, service: str) -> dict[str, str]:
    """Headers that say to another service whose request this is. What is asked so is about no patient."""
    identity = request.app.state.identity
    if isinstance(identity, SignIn) and hasattr(request.state, "access_token"):
        token = (
            request.state.access_token if service == "console" else await identity.token_for(request, service)
        )
        return {"Authorization": f"Bearer {token}"}
    if said := request.headers.get("authorization"):
        return {"Authorization": said}
    principal: Principal = request.state.principal
    return {"Medsync-Actor": principal.sub, "Medsync-Role": ",".join(sorted(principal.roles))}


def _to_itself(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), timeout=PATIENCE)
