"""After a database was put back to an older state: another life of it begins, and what it forgot is named.

Readers keep of each patient what has the highest revision. So the revisions of a later life are counted from a higher
number on, and what is published from then on goes before all that the life before had published and lost.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from pydantic import ValidationError

from shared.broker import Broker
from shared.events import EVENTS, TOPICS, Event, topics_of
from shared.messaging import lives
from shared.messaging.envelope import Record
from shared.messaging.journal import epoch_of
from shared.messaging.tail import instant, records
from shared.messaging.unit import Caller, Cause, Work
from shared.problems import Refused

Revisions: TypeAlias = Mapping[str, tuple[type[Event], ...]]
"""The columns ("patients.revision") that hold the revisions of what a service publishes, and the events with them."""

TakeAgain: TypeAlias = Callable[[Any, datetime, Caller, Work], Awaitable[bool]]
"""Gives an event of one's own, which overtakes and was lost, its effect again, as of when it was said; unless something
later is known, or nothing is left to do. Says whether it did."""

ASKED_AT_ONCE = 10_000
TRIES, BETWEEN_TRIES = 60, 0.3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Told:
    """An event of this service as its topic has it."""

    sequence: int
    event_id: UUID
    event_type: str
    key: str
    at: datetime | None
    is_state: bool
    payload: bytes

    @property
    def of(self) -> type[Event] | None:
        return EVENTS.get(self.event_type)


class Recovery:
    """Begins another life of one service's database."""

    def __init__(
        self,
        work: Work,
        *,
        broker: Broker,
        topic_prefix: str,
        revisions: Revisions,
        take_again: TakeAgain | None,
    ) -> None:
        self.work, self._broker, self._prefix = work, broker, topic_prefix
        self._columns, self._take_again = tuple(revisions), take_again

    async def recover(self, caller: Caller, because: str) -> dict[str, Any]:
        """Count revisions from a higher number on, take departures and stops again, and say what was lost.

        Does no harm where nothing was lost, and goes on where it was cut off. Whoever reads needs the state republished
        then.
        """
        lost, newest = await self._lost()
        epoch = await self._begin_life(caller, because, above=epoch_of(newest))
        taken = await self._take_overtaking(caller, lost)
        log.warning("service.recovered", epoch=epoch, lost=len(lost), taken_again=taken)
        return {"service": self.work.service, "epoch": epoch, "taken_again": taken, **account_of(lost)}

    async def _lost(self) -> tuple[list[Told], int]:
        """What this service published and its database does not know, in order; and the highest number published."""
        lost: dict[int, Told] = {}
        waiting: dict[int, Told] = {}
        newest = 0
        source = f"medsync/{self.work.service}"
        every = records(
            self._broker,
            from_beginning=True,
            topics=own_topics(self.work.service),
            prefix=self._prefix,
            follow=False,
        )
        async with aclosing(every):
            async for record in every:
                if told := told_in(record, source):
                    newest = max(newest, told.sequence)
                    waiting[told.sequence] = told
                if len(waiting) >= ASKED_AT_ONCE:
                    lost |= await self._unknown(waiting)
                    waiting = {}
        lost |= await self._unknown(waiting)
        return [lost[number] for number in sorted(lost)], newest

    async def _unknown(self, told: Mapping[int, Told]) -> dict[int, Told]:
        news = [each for each in told.values() if not each.is_state]
        async with self.work.read() as db:
            unknown = await lives.not_in_journal(
                db, [each.sequence for each in news], [each.event_id for each in news]
            )
        return {number: told[number] for number in unknown}

    async def _begin_life(self, caller: Caller, because: str, *, above: int) -> int:
        """Raises LockNotAvailableError where some transaction does not come to an end in half a minute."""
        cause = Cause("recovered", "command:recovered")
        for tries_left in reversed(range(TRIES)):
            try:
                async with self.work.begin(
                    (), cause=cause, actor=caller.actor, role=caller.role, asked=caller.asked
                ) as unit:
                    return await lives.begin_life(
                        unit.db, self._columns, above=above, by=caller.actor, why=because
                    )
            except asyncpg.LockNotAvailableError:
                if not tries_left:
                    raise
                await asyncio.sleep(BETWEEN_TRIES)  # let go of what is locked: others may wait for it
        raise AssertionError

    async def _take_overtaking(self, caller: Caller, lost: Iterable[Told]) -> int:
        """Who left, or said stop, is not taken back because a database forgot it."""
        taken = 0
        for told in lost:
            if self._take_again is None or told.of is None or not told.of.OVERTAKES or told.at is None:
                continue
            try:
                event = told.of.model_validate_json(told.payload)
                taken += await self._take_again(event, told.at, caller, self.work)
            except (Refused, ValidationError) as error:
                log.warning("recovery.not_taken_again", type=told.event_type, error=type(error).__name__)
        return taken


def own_topics(service: str) -> Sequence[str]:
    """The topics that a service publishes on."""
    return topics_of(service) or TOPICS


def told_in(record: Record, source: str) -> Told | None:
    """The record's event, where it is of this source and has a place in its sequence."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    if headers.get("ce_source") != source:
        return None
    try:
        sequence, event_id = int(headers["ce_sequence"]), UUID(headers["ce_id"])
    except (KeyError, ValueError):
        return None
    return Told(
        sequence,
        event_id,
        headers.get("ce_type", ""),
        (record.key or b"").decode(errors="replace"),
        instant(headers.get("ce_time", "")),
        headers.get("ce_state") == "true",
        record.value or b"",
    )


def account_of(lost: Sequence[Told]) -> dict[str, Any]:
    """What was lost: how many of each type and from when to when; and whose it was, by nothing but the id."""
    by_type: dict[str, list[Told]] = defaultdict(list)
    whose: dict[str, set[str]] = {"patient": set(), "store": set()}
    for told in lost:
        by_type[told.event_type].append(told)
        if told.of:
            whose[told.of.KEYED_BY].add(told.key)
    counts = []
    for event_type, of_it in sorted(by_type.items()):
        times = [told.at for told in of_it if told.at]
        counts.append(
            {
                "type": event_type,
                "number": len(of_it),
                "first": min(times, default=None),
                "last": max(times, default=None),
            }
        )
    return {"lost": counts, "patients": sorted(whose["patient"]), "stores": sorted(whose["store"])}
