"""How the actors speak to the services: the public HTTP interfaces, every command with an idempotency key.

A service that was killed is asked again until it is back; the key makes the second asking harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import aiohttp
import stamina


class Refusal(Exception):
    """A service said no: status and problem."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail', problem)}")
        self.status, self.problem = status, problem


class Unavailable(Exception):
    """A service does not answer, or not now."""


stamina.instrumentation.set_on_retry_hooks([])  # the usual ones log what was sent


@dataclass
class Services:
    """Where each service answers, and how often it was given something to do: by a command, a record or the clock.

    To be made in the event loop that its requests run in.
    """

    urls: dict[str, list[str]]
    token_of: Callable[[str], str] = str  # the access token of an actor, by name
    stirred: Counter[str] = field(default_factory=Counter)
    http: aiohttp.ClientSession = field(
        default_factory=lambda: aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30))
    )


class Actor:
    """One caller in one role."""

    def __init__(self, name: str, role: str, services: Services) -> None:
        self.name, self.services, self._turn = name, services, 0
        self.role = role  # as the file of grants has it
        self._answers: dict[
            tuple[str, str], tuple[int, Any]
        ] = {}  # and how often the service had been stirred

    @property
    def _who(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.services.token_of(self.name)}"}

    async def get(self, service: str, path: str, **query: object) -> Any:
        """A query; pages are the caller's matter."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        return await self._send("GET", service, path, params=given, headers=self._who)

    async def get_while_it_stands(self, service: str, path: str) -> Any:
        """A query whose answer stands until the service is given something to do. Others get other answers."""
        stirred = self.services.stirred[service]
        known = self._answers.get((service, path))
        if known is None or known[0] != stirred:
            known = self._answers[service, path] = stirred, await self.get(service, path)
        return known[1]

    async def every(self, service: str, path: str, **query: object) -> list[Any]:
        """All items of a list, page by page."""
        items: list[Any] = []
        after: object = None
        while True:
            page = await self.get(service, path, after=after, limit=500, **query)
            items += page["items"]
            if (after := page["next"]) is None:
                return items

    async def post(self, service: str, path: str, body: object, *, key: str) -> Any:
        """A command; `key` names it, so that it can be sent again. Raises Refusal."""
        self.services.stirred[service] += 1
        named = self._who | {"Idempotency-Key": f"{self.name}:{key}"}
        return await self._send("POST", service, path, json=body, headers=named)

    @stamina.retry(on=Unavailable, attempts=None, timeout=120, wait_initial=0.05, wait_max=1.0)
    async def _send(self, method: str, service: str, path: str, **rest: Any) -> Any:
        urls = self.services.urls[service]
        self._turn += 1
        url = urls[self._turn % len(urls)] + path
        try:
            async with self.services.http.request(method, url, **rest) as answer:
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(type(error).__name__) from error
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable("503")
        if not answer.ok:
            raise Refusal(answer.status, cast(dict[str, Any], said))
        return said
