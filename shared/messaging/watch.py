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

from shared.messaging.lag import LagMeter, Place

EXIT_STUCK = 70

log = structlog.get_logger()


async def watch(
    meter: LagMeter,
    assignment: Callable[[], Collection[TopicPartition]],
    is_at_work: Callable[[], bool],
    *,
    stuck_after: float,
) -> None:
    """End the process if a partition's end moves on and its position stands still for so many seconds.

    Unless it `is_at_work`: a batch is in hand, it waits on purpose, or it stopped for a reason that it says itself.
    """
    stood_since: dict[Place, tuple[int, float]] = {}
    while True:
        await asyncio.sleep(min(5.0, stuck_after / 4))
        try:
            lag = await meter.read()
        except (KafkaError, OSError, TimeoutError):
            stood_since.clear()
            continue
        now = time.monotonic()
        for tp in assignment():
            place = (tp.topic, tp.partition)
            done, end = lag.committed.get(place, 0), lag.end.get(place, 0)
            position, since = stood_since.get(place, (-1, now))
            if is_at_work() or done >= end or position != done:
                stood_since[place] = (done, now)
            elif now - since > stuck_after:
                log.critical("consumer.stuck", topic=tp.topic, partition=tp.partition, seconds=now - since)
                os._exit(EXIT_STUCK)
