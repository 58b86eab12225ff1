"""Watching that the position of a consumer moves. One was seen to be stuck after a broker outage, without any signal:
then the process ends, and whoever runs it starts it again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection
from math import inf

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from shared.messaging.lag import DatabaseAway, LagMeter, Place

EXIT_STUCK = 70

log = structlog.get_logger()


UNASSIGNED_SECONDS = 8.0
"""How long a partition may be nobody's."""


REJOIN_SECONDS = 30.0
"""How often a process asks for the partitions to be shared out anew: each time all of them pause."""


class Unassigned:
    """Partitions that no process of the group holds: a static member that starts again is not given what was added."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._behind_then = self._behind = 0

    def look(self, nobodys: int, behind: int, now: float) -> None:
        """Remember how it is now; `now` in seconds of any clock that does not jump."""
        if not nobodys:
            self._since = None
        elif self._since is None or behind < self._behind:  # fewer wait: others take them in
            self._since, self._behind_then = now, behind
        self._behind = behind

    def lasts(self, now: float) -> bool:
        """Whether it is to be said."""
        return self._since is not None and now - self._since > UNASSIGNED_SECONDS

    def is_stuck(self, now: float, stuck_after: float) -> bool:
        """Whether more and more events have waited meanwhile."""
        return (
            self._since is not None and now - self._since > stuck_after and self._behind > self._behind_then
        )


async def watch(
    meter: LagMeter,
    assignment: Callable[[], Collection[TopicPartition]],
    read: Callable[[], Collection[TopicPartition]],
    is_at_work: Callable[[], bool],
    unassigned: Unassigned,
    rejoin: Callable[[], Awaitable[None]],
    *,
    stuck_after: float,
) -> None:
    """End the process if a partition's end moves on and its position stands still for so many seconds, or if it has no
    partition while events wait.

    Unless it `is_at_work`: a batch is in hand, it waits on purpose, or it stopped for a reason that it says itself.
    Only what is `read` can stand still: the rest of the assignment waits for a look, or for a person.
    """
    stood_since: dict[Place, tuple[int, float]] = {}
    rejoined = -inf
    while True:
        await asyncio.sleep(min(5.0, stuck_after / 4))
        try:
            lag = await meter.read()
            nobodys = await meter.nobodys(lag.end)
        except (KafkaError, OSError, TimeoutError, DatabaseAway):
            stood_since.clear()
            continue
        now = time.monotonic()
        unassigned.look(len(nobodys), lag.behind, now)
        if unassigned.lasts(now) and now - rejoined > REJOIN_SECONDS:
            log.warning("consumer.unassigned", partitions=len(nobodys), behind=lag.behind)
            await rejoin()
            rejoined = now
        if not assignment() and unassigned.is_stuck(now, stuck_after):
            log.critical("consumer.stuck", partitions=len(nobodys), behind=lag.behind)
            os._exit(EXIT_STUCK)
        for tp in read():
            place = (tp.topic, tp.partition)
            done, end = lag.committed.get(place, 0), lag.end.get(place, 0)
            position, since = stood_since.get(place, (-1, now))
            if is_at_work() or done >= end or position != done:
                stood_since[place] = (done, now)
            elif now - since > stuck_after:
                log.critical("consumer.stuck", topic=tp.topic, partition=tp.partition, seconds=now - since)
                os._exit(EXIT_STUCK)
