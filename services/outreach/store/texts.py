"""Messages that a person has to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.access import Stores
from shared.database import Db
from shared.events.enrollment import Channel
from shared.resealing import KeptRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A message that a person has to read; `sealed` are its words."""

    text_id: UUID
    patient_id: str
    store_id: str
    received_at: datetime
    channel: Channel
    number: str | None
    sealed: bytes
    key_id: str
    cut: bool
    seems: str | None
    due_at: datetime
    escalates_at: datetime
    read_at: datetime | None = None
    read_by: str | None = None
    meaning: str | None = None


def bound_to(text_id: UUID) -> str:
    """What the seal of a message is bound to."""
    return f"text/{text_id}"


KEPT = KeptRows("texts", row="text_id", type="uuid", bound_to="'text/' || text_id")


def _text(row: Any) -> Text:
    return Text(**(dict(row) | {"channel": Channel(row["channel"])}))


async def add_text(db: Db, text: Text) -> None:
    await db.execute(
        """
        insert into texts (
            text_id, patient_id, store_id, received_at, channel, number, sealed, key_id, cut, seems, due_at,
            escalates_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        text.text_id,
        text.patient_id,
        text.store_id,
        text.received_at,
        text.channel.value,
        text.number,
        text.sealed,
        text.key_id,
        text.cut,
        text.seems,
        text.due_at,
        text.escalates_at,
    )


async def load_text(db: Db, text_id: UUID) -> Text | None:
    row = await db.fetchrow("select * from texts where text_id = $1", text_id)
    return _text(row) if row else None


async def unread_texts(db: Db, stores: Stores, after: str, limit: int) -> list[tuple[str, Text]]:
    """Messages that nobody read yet, of some stores or of all; what escalated first comes first. With places."""
    rows = await db.fetch(
        """
        select x.position, t.*
        from texts t
        cross join lateral (
            select to_char(t.escalates_at at time zone 'UTC', 'YYYYMMDDHH24MISS')
                   || '.' || to_char(t.received_at at time zone 'UTC', 'YYYYMMDDHH24MISS')
                   || '.' || t.text_id as position
        ) x
        where t.read_at is null
          and ($1::text[] is null or t.store_id = any($1))
          and x.position > $2
        order by x.position
        limit $3
        """,
        stores,
        after,
        limit,
    )
    return [
        (row["position"], _text({name: value for name, value in row.items() if name != "position"}))
        for row in rows
    ]


async def note_text_read(db: Db, text_id: UUID, by: str, meaning: str, now: datetime) -> None:
    await db.execute(
        "update texts set read_at = $2, read_by = $3, meaning = $4 where text_id = $1",
        text_id,
        now,
        by,
        meaning,
    )
