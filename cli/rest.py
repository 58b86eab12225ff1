"""Knowing when every service is at rest: the condition for moving the stepped clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx


class NeverAtRest(Exception):
    """The services did not come to rest; names what was still going on."""


class Observer:
    """Asks the services how far they are."""

    def __init__(self, urls: Sequence[str], *, patience: float = 120.0) -> None:
        self._urls, self._patience = urls, patience
        self._http = httpx.AsyncClient(timeout=20)

    async def close(self) -> None:
        await self._http.aclose()

    async def until_rest(self) -> datetime | None:
        """Wait until nothing is due, outboxes are empty and lag is zero; answers when work falls due next.

        Asked twice with unchanged counters: the services do not answer at one instant.
        A service that does not answer is waited for: it may be starting again.
        """
        deadline = time.monotonic() + self._patience
        before: list[tuple[int, int]] | None = None
        while True:
            states = await self._states()
            if states is not None and all(_quiet(state) for state in states):
                marks = [(state["committed"], state["end"]) for state in states]
                if marks == before:
                    return _earliest(states)
                before = marks
            else:
                before = None
                await asyncio.sleep(0.02)
            if time.monotonic() > deadline:
                raise NeverAtRest(f"not at rest after {self._patience:.0f} s: {_busy(states)}")

    async def _states(self) -> list[dict[str, Any]] | None:
        try:
            answers = await asyncio.gather(*(self._http.get(f"{url}/ops/status") for url in self._urls))
        except httpx.TransportError:
            return None
        return [answer.json() for answer in answers] if all(a.status_code == 200 for a in answers) else None


def _quiet(state: dict[str, Any]) -> bool:
    if state["stopped_because"]:
        raise NeverAtRest(f"{state['service']} stopped consuming: {state['stopped_because']}")
    return not (state["due_now"] or state["outbox"] or state["lag"])


def _earliest(states: Sequence[dict[str, Any]]) -> datetime | None:
    moments = [datetime.fromisoformat(state["next_due"]) for state in states if state["next_due"]]
    return min(moments, default=None)


def _busy(states: Sequence[dict[str, Any]] | None) -> str:
    if states is None:
        return "a service does not answer"
    return "; ".join(
        f"{s['service']}/{s['slot']}: {s['due_now']} due, {s['outbox']} in the outbox, {s['lag']} behind"
        for s in states
        if s["due_now"] or s["outbox"] or s["lag"]
    )
