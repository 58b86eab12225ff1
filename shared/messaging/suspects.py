"""What a process had in hand when it died. Whoever takes over a partition looks first whether another process began
with its very next record and came to no end: then that batch is taken a few at a time, until a killer stands alone.

A statement that ends its own database connection counts the same, as if the process had died with what it had in hand:
from then on it goes by another id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4

from aiokafka import TopicPartition

from shared.messaging import tables
from shared.messaging.envelope import Record
from shared.messaging.lag import Place
from shared.messaging.outages import Loss, loss_of
from shared.messaging.unit import Work

A_FEW = 32
"""Records taken at once where a process died with more."""

ByPartition = Mapping[TopicPartition, Sequence[Record]]


class Suspects:
    """What this process has begun with, and what others did not come to an end with."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._process = work.process
        self._vetted: set[Place] = set()  # partitions of which one batch came to an end here
        self._in_hand: list[tables.Hand] = []
        self._lost: tuple[Loss, list[tables.Hand]] | None = None  # a connection, with these in hand
        self._server: tables.ServerLife | None = None  # as it was before that
        self.of_connections: set[Place] = set()  # where connections died, and not only processes

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
            found = await tables.unfinished(db, self._process, _hands(records))
        return {tp: found[tp.topic, tp.partition] for tp in records if (tp.topic, tp.partition) in found}

    async def begin(self, records: ByPartition) -> dict[Place, int]:
        """Note what this process begins with, where it is fresh; how many others came to no end with it."""
        self._in_hand = _hands(records)
        if not (fresh := self.fresh(records)):
            return {}
        async with self._work.connection() as db:
            return await tables.suspect(db, self._process, _hands({tp: records[tp] for tp in fresh}))

    def failed(self, error: BaseException) -> None:
        """What is in hand failed. Whether it is to blame is found out when the database answers again."""
        if (loss := loss_of(error)) is not None:
            self._lost = loss, self._in_hand

    async def look_back(self) -> None:
        """Count a connection that was lost with records in hand as a death, unless the server was restarted."""
        if self._server is not None and self._lost is None:
            return
        async with self._work.connection() as db:
            now = await tables.server_life(db)
            before = self._server or now
            if self._lost and is_its_own_fault(self._lost[0], before, now):
                hands = self._lost[1]
                await tables.suspect(db, self._process, hands)
                places = {(hand.topic, hand.partition) for hand in hands}
                self._process = uuid4()
                self._vetted -= places
                self.of_connections |= places
        self._server, self._lost = now, None

    async def clear(self, partitions: Sequence[TopicPartition]) -> None:
        """What was begun came to an end, or was given back in good order."""
        if partitions:
            places = [(tp.topic, tp.partition) for tp in partitions]
            async with self._work.connection() as db:
                await tables.clear_suspects(db, places)
            self.of_connections -= set(places)


def is_its_own_fault(loss: Loss, before: tables.ServerLife, now: tables.ServerLife) -> bool:
    """Whether a connection ended by what ran on it: told to end, though the server went on; or without a word, and
    the server ended all others for it. Without a word alone, it was the network.
    """
    if now.started != before.started:
        return False
    return loss == "told" or now.counts_from != before.counts_from


def _hands(records: ByPartition) -> list[tables.Hand]:
    return [tables.Hand(tp.topic, tp.partition, few[0].offset, len(few)) for tp, few in records.items()]
