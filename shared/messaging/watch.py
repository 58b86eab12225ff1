"""Watching that the position of a consumer moves. One was seen to be stuck after a broker outage, without any signal:
then the process ends, and whoever runs it starts it again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from shared.messaging.lag import DatabaseAway, LagMeter, Place

EXIT_STUCK = 70

log = structlog.get_logger()


UNASSIGNED_SECONDS = 15.0
"""How long a process may be without partitions: a rebalance takes less."""


class Unassigned:
    """A process without partitions, though its group has more of them than members."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._behind_then = self._behind = 0

    def look(self, *, held: int, partitions: int, members: int, behind: int, now: float) -> None:
        """Remember how it is now; `now` in seconds of any clock that does not jump."""
        if held or members >= partitions:
            self._since = None
        elif self._since is None or behind < self._behind:  # then somebody else takes events in
            self._since, self._behind_then = now, behind
        self._behind = behind

    def lasts(self, now: float) -> bool:
        """Whether it is to be said."""
        return self._since is not None and now - self._since > UNASSIGNED_SECONDS

    def is_stuck(self, now: float, stuck_after: float) -> bool:
        """Whether more and more events have waited meanwhile."""
        lasts = self._since is not None and now - self._since > stuck_after
        return lasts and self._behind > self._behind_then


async def watch(
    meter: LagMeter,
    assignment: Callable[[], Collection[TopicPartition]],
    read: Callable[[], Collection[TopicPartition]],
    is_at_work: Callable[[], bool],
    unassigned: Unassigned,
    *,
    stuck_after: float,
) -> None:
    """End the process if a partition's end moves on and its position stands still for so many seconds, or if it has no
    partition while events wait.

    Unless it `is_at_work`: a batch is in hand, it waits on purpose, or it stopped for a reason that it says itself.
    Only what is `read` can stand still: the rest of the assignment waits for a look, or for a person.
    """
    stood_since: dict[Place, tuple[int, float]] = {}
    while True:
        await asyncio.sleep(min(5.0, stuck_after / 4))
        try:
            lag = await meter.read()
            members = 0 if assignment() else await meter.members()
        except (KafkaError, OSError, TimeoutError, DatabaseAway):
            stood_since.clear()
            continue
        now = time.monotonic()
        unassigned.look(
            held=len(assignment()), partitions=len(lag.end), members=members, behind=lag.behind, now=now
        )
        if unassigned.is_stuck(now, stuck_after):
            log.critical("consumer.unassigned", members=members, behind=lag.behind)
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
