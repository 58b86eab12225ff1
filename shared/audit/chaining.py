"""The job that chains rows in the order in which they are committed, seals them, and publishes how far it is.

A chain inside of commands would have each wait for the one before. So rows are written unchained, and a moment later
one process of the service takes all that was committed since.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

import structlog

from shared.audit import store
from shared.audit.asked import Entry
from shared.audit.chain import first_hash, next_hash, published, sealed, trace_of
from shared.audit.model import AuditRow, AuditSeal
from shared.audit.store import End
from shared.database import Db
from shared.events.audit import AuditHead
from shared.messaging.outages import BROKER_AWAY
from shared.messaging.unit import Work

A_TURN = 500
PAUSE_SECONDS = 2.0
HEAD_SECONDS = 2.0

log = structlog.get_logger()


class Heads(Protocol):
    """Where heads are published: `shared.messaging.heads`."""

    async def publish(self, head: AuditHead) -> None: ...

    async def stop(self) -> None: ...


class Chainer:
    """Of one process; of several, one chains at a time."""

    def __init__(self, work: Work, heads: Heads) -> None:
        self._work, self._heads = work, heads
        self.head: AuditHead | None = None  # of what this process chained last
        self._published: AuditHead | None = None
        self._waits_since: float | None = None

    @property
    def unpublished_seconds(self) -> float:
        """For how long a head could not be published."""
        return 0.0 if self._waits_since is None else asyncio.get_running_loop().time() - self._waits_since

    async def run(self) -> None:
        """Chain until cancelled; what fails is tried again."""
        publishing = asyncio.create_task(self._publish_heads())
        try:
            while True:
                try:
                    more = await self.turn()
                except Exception as error:
                    log.warning("audit.not_chained", error=type(error).__name__)
                    more = False
                if not more:
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
            await self._heads.stop()

    async def turn(self) -> bool:
        """Chain what was committed, up to so many rows; answers whether there is more.

        Not while the database is older than what was published: its chain would go on from what is no more.
        """
        if self._work.refuses():
            return False
        async with self._work.connection() as db, db.transaction():
            if not await store.try_lock(db):
                return False
            end = await store.chain_end(db)
            rows, upto = await self._found(db, end)
            if not rows:
                self.head = self.head or self._head(end)  # of before this process
                return False
            whole = len(rows) < A_TURN or end.system not in (None, end.here)
            head = await self._add(db, end, rows, upto if whole else None)
        self.head = head
        return not whole

    async def _found(self, db: Db, end: End) -> tuple[list[AuditRow], str]:
        """What is to be chained. In another cluster snapshots mean nothing: there it is whatever is not chained yet.

        That another key seals from now on, or another cluster serves, is a row itself: so the newest key seals all.
        """
        moved = end.system not in (None, end.here)
        if moved or (end.seal and end.seal.key_id != self._work.sealer.key_id):
            await store.append(db, self._work.sealer, [self._own("moved" if moved else "rekeyed")])
        if moved:
            return await store.unchained(db, store.NOTHING_SEEN, 0, None)
        return await store.unchained(db, end.upto, end.floor, A_TURN)

    def _own(self, what: str) -> Entry:
        return Entry("the chain of the audit", f"medsync-{self._work.service}", "service", outcome=what)

    async def _add(self, db: Db, end: End, rows: list[AuditRow], upto: str | None) -> AuditHead | None:
        service, sealer = self._work.service, self._work.sealer
        # Rows of before a move have transactions of another cluster; each is in the chain by the end of this turn.
        moved = end.system not in (None, end.here)
        floor = await store.last_chained(db) if moved else end.floor
        hashes = [end.hash or first_hash(service)]
        for row in rows:
            hashes.append(next_hash(hashes[-1], row))
        count = end.position + len(rows)
        unsigned = AuditSeal(
            sealed_at=end.now, key_id="", signature="", upto=upto, system=end.here, floor=floor
        )
        key_id, signature = sealer.sign(
            sealed(service, count, hashes[-1], unsigned, trace_of(end.seal) if end.seal else "")
        )
        seal = unsigned.model_copy(update={"key_id": key_id, "signature": signature.hex()})
        await store.add_links(db, end.position + 1, [row.id for row in rows], hashes[1:], seal)
        return self._head(replace(end, position=count, hash=hashes[-1]))

    def _head(self, end: End) -> AuditHead | None:
        if not end.hash:
            return None
        head = AuditHead(
            service=self._work.service,
            epoch=end.epoch,
            count=end.position,
            hash=end.hash,
            sealed_at=end.now,
            key_id="",
            signature="00",
        )
        key_id, signature = self._work.sealer.sign(published(head))
        return head.model_copy(update={"key_id": key_id, "signature": signature.hex()})

    async def _publish_heads(self) -> None:
        """The newest one, from time to time; while the broker is away it waits."""
        while True:
            await asyncio.sleep(HEAD_SECONDS)
            head = self.head
            if head is None or head is self._published:
                continue
            try:
                await self._heads.publish(head)
                self._published, self._waits_since = head, None
            except BROKER_AWAY as error:
                log.warning("audit.head_not_published", error=type(error).__name__)
                self._waits_since = self._waits_since or asyncio.get_running_loop().time()
