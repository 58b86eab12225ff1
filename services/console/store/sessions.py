"""Who is signed in. No part of the read model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.database import Db
from shared.sealing import Sealed

IDLE_MINUTES, WHOLE_HOURS = 15, 12
"""A session ends when nobody asked for so long, and in any case after so many hours."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's: its tokens are sealed."""

    session_hash: bytes
    csrf: str
    tokens: bytes
    key_id: str
    signed_in_at: datetime  # when the person last proved who they are
    is_fresh: bool  # that was a few minutes ago


async def begin(db: Db, session_hash: bytes, csrf: str, tokens: Sealed, signed_in_at: datetime) -> None:
    """Keep a session, and forget those that are over."""
    await db.execute(
        """
        delete from sessions
        where seen_at < clock_timestamp() - make_interval(mins => $1)
           or began_at < clock_timestamp() - make_interval(hours => $2)
        """,
        IDLE_MINUTES,
        WHOLE_HOURS,
    )
    await db.execute(
        """
        insert into sessions (session_hash, csrf, key_id, tokens, signed_in_at)
        values ($1, $2, $3, $4, $5)
        """,
        session_hash,
        csrf,
        *tokens,
        signed_in_at,
    )


async def find(db: Db, session_hash: bytes, *, fresh_minutes: int) -> Session | None:
    """The session, if it is not over; that it was used is noted twice a minute at most."""
    row = await db.fetchrow(
        """
        with used as (
            update sessions
            set seen_at = clock_timestamp()
            where session_hash = $1
              and seen_at between clock_timestamp() - make_interval(mins => $2)
                              and clock_timestamp() - interval '30 seconds'
        )
        select session_hash, csrf, tokens, key_id, signed_in_at,
               signed_in_at > clock_timestamp() - make_interval(mins => $4) as is_fresh
        from sessions
        where session_hash = $1
          and seen_at > clock_timestamp() - make_interval(mins => $2)
          and began_at > clock_timestamp() - make_interval(hours => $3)
        """,
        session_hash,
        IDLE_MINUTES,
        WHOLE_HOURS,
        fresh_minutes,
    )
    return Session(**row) if row else None


async def keep_tokens(db: Db, session_hash: bytes, tokens: Sealed) -> None:
    await db.execute(
        "update sessions set key_id = $2, tokens = $3 where session_hash = $1", session_hash, *tokens
    )


async def end(db: Db, session_hash: bytes) -> None:
    await db.execute("delete from sessions where session_hash = $1", session_hash)
