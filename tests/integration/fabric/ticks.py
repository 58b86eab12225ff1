"""The journal as a relay reads it, for tests that are one."""

from __future__ import annotations

from shared.database import Db
from shared.messaging import journal, relay
from shared.messaging.journal import Most, OutboxRow, Tick


async def next_tick(db: Db, last: Tick | None = None) -> tuple[Tick, list[OutboxRow]]:
    """The tick after the last one and its first window; there has to be one."""
    found = await ask(db, last or await journal.last_tick(db, 0))
    assert found, "there is something to send"
    return found


async def ask(db: Db, last: Tick) -> tuple[Tick, list[OutboxRow]] | None:
    return await journal.next_tick(db, last, 1, Most(relay.WINDOW, relay.WINDOW_BYTES))
