"""Knowing when every service is at rest: the condition for moving the stepped clock.

A service is at rest where it has nothing due, nothing to publish and nothing to take in. Only three things stir it
then: the clock, a command, and a record on a topic that it consumes. So one look at each service that may have been
stirred is enough, if afterward no topic ends elsewhere than the services saw it end: one question to the broker says
that none of them stirred another behind our back. It asks for what is sent: a relay has nothing more to publish some
moments before its records can be read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import aiohttp

from cli.sign_in import staff_headers
from shared.broker import Broker
from shared.messaging.lag import Ends, by_topic
from shared.messaging.outages import BROKER_AWAY

LONGEST_PAUSE = 0.2
"""Seconds between two looks at a service that has much to do."""


class NeverAtRest(Exception):
    """The services did not come to rest; names what was still going on."""


class Observer:
    """Asks the services how far they are: `urls` of one process each, for it answers for its whole service."""

    def __init__(self, urls: Mapping[str, str], kafka: Broker, *, patience: float = 120.0) -> None:
        self._urls, self._patience = urls, patience
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20))
        self._ends = Ends(kafka, sent=True)
        self._connected = False
        self._at_rest: dict[
            str, dict[str, Any]
        ] = {}  # the status of each that was found at rest, and not stirred since

    async def close(self) -> None:
        await self._http.close()
        await self._ends.stop()

    @property
    def services(self) -> Collection[str]:
        """Those that it asks."""
        return self._urls

    def next_due(self, service: str) -> datetime | None:
        """When a service has work due, as it said when it was last found at rest."""
        due = self._at_rest[service]["next_due"] if service in self._at_rest else None
        return datetime.fromisoformat(due) if due else None

    async def until_rest(self, stirred: Collection[str] | None = None) -> set[str]:
        """Wait until nothing is due, outboxes are empty and lag is zero; answers which services were asked for it.

        `stirred` are those to which the clock or a command may have given work since the rest before; all, unless it
        is given. A service that does not answer is waited for: it may be starting again.
        """
        deadline = time.monotonic() + self._patience
        to_ask = set(self._urls) if stirred is None else set(stirred) | (set(self._urls) - set(self._at_rest))
        asked: set[str] = set()
        pause = 0.02
        while True:
            asked |= to_ask
            states = await self._states(to_ask)
            quiet = {service: state for service, state in states.items() if _quiet(state)}
            self._at_rest |= quiet
            to_ask -= set(quiet)
            if to_ask:
                await asyncio.sleep(pause)
                pause = min(1.5 * pause, LONGEST_PAUSE)
            elif not (to_ask := await self._reached()):
                return asked
            if time.monotonic() > deadline:
                raise NeverAtRest(f"not at rest after {self._patience:.0f} s: {_busy(to_ask, states)}")

    async def _states(self, services: Collection[str]) -> dict[str, dict[str, Any]]:
        """The status of those of them that answer."""
        names, headers = sorted(services), staff_headers()
        states = await asyncio.gather(*(self._state(name, headers) for name in names))
        return {name: state for name, state in zip(names, states, strict=True) if state}

    async def _state(self, service: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        try:
            address = f"{self._urls[service]}/ops/status"
            async with self._http.get(address, headers=headers) as answer:
                return await answer.json() if answer.ok else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _reached(self) -> set[str]:
        """Services on whose topics there is more than there was when they were found at rest."""
        topics = {topic for state in self._at_rest.values() for topic in state["ends"]}
        try:
            if not self._connected:
                await self._ends.start()
                self._connected = True
            ends = by_topic(await self._ends.read(topics))
        except BROKER_AWAY:
            return set(self._urls)
        return {
            service
            for service, state in self._at_rest.items()
            if any(ends[topic] != end for topic, end in state["ends"].items())
        }


def _quiet(state: dict[str, Any]) -> bool:
    if state["stopped_because"]:
        raise NeverAtRest(f"{state['service']} stopped consuming: {state['stopped_because']}")
    return not (state["due_now"] or state["outbox"] or state["lag"])


def _busy(waited_for: Collection[str], states: Mapping[str, dict[str, Any]]) -> str:
    return "; ".join(f"{name}{_waits_for(states.get(name))}" for name in sorted(waited_for))


def _waits_for(state: dict[str, Any] | None) -> str:
    if state is None:
        return " does not answer"
    if _quiet(state):
        return ": a transaction on its topics is not over"
    return f": {state['due_now']} due, {state['outbox']} in the outbox, {state['lag']} behind"
