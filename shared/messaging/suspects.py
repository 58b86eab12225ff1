"""What a process had in hand when it died. Whoever takes over a partition looks first whether another process began
with its very next record and came to no end: then that batch is taken a few at a time, until a killer stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiokafka import TopicPartition

from shared.messaging import tables
from shared.messaging.envelope import Record
from shared.messaging.lag import Place
from shared.messaging.unit import Work

A_FEW = 32
"""Records taken at once where a process died with more."""

ByPartition = Mapping[TopicPartition, Sequence[Record]]


class Suspects:
    """What this process has begun with, and what others did not come to an end with."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._vetted: set[Place] = set()  # partitions of which one batch came to an end here

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Newly held partitions: their first batch is looked at with care."""
        self._vetted -= {(tp.topic, tp.partition) for tp in partitions}

    def fresh(self, partitions: ByPartition) -> list[TopicPartition]:
        """Those of which no batch came to an end here yet."""
        return [tp for tp in partitions if (tp.topic, tp.partition) not in self._vetted]

    def vetted(self, partitions: Sequence[TopicPartition]) -> None:
        """A batch of each came to an end."""
        self._vetted |= {(tp.topic, tp.partition) for tp in partitions}

    async def unfinished(self, records: ByPartition) -> dict[TopicPartition, int]:
        """Partitions at whose very next record another process began and came to no end; with how many."""
        if not records:
            return {}
        async with self._work.connection() as db:
            found = await tables.unfinished(db, self._work.process, _hands(records))
        return {tp: found[tp.topic, tp.partition] for tp in records if (tp.topic, tp.partition) in found}

    async def begin(self, records: ByPartition) -> dict[Place, int]:
        """Note what this process begins with; how many others came to no end with it."""
        if not records:
            return {}
        async with self._work.connection() as db:
            return await tables.suspect(db, self._work.process, _hands(records))

    async def clear(self, partitions: Sequence[TopicPartition]) -> None:
        """What was begun came to an end, or was given back in good order."""
        if partitions:
            async with self._work.connection() as db:
                await tables.clear_suspects(db, [(tp.topic, tp.partition) for tp in partitions])


def _hands(records: ByPartition) -> list[tables.Hand]:
    return [tables.Hand(tp.topic, tp.partition, few[0].offset, len(few)) for tp, few in records.items()]
