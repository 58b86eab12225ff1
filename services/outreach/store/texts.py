"""Messages that a person has to read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.access import Stores
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.events.enrollment import Channel
from shared.sealing import SealBroken


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A message that a person has to read; `words` are None where no key opens them."""

    text_id: UUID
    patient_id: str
    store_id: str
    received_at: datetime
    channel: Channel
    number: str | None
    words: str | None
    cut: bool
    seems: str | None
    due_at: datetime
    escalates_at: datetime
    read_at: datetime | None = None
    read_by: str | None = None
    meaning: str | None = None


OF_TEXT = [each.name for each in fields(Text) if each.name not in ("number", "words")]


def _text(keys: DataKeys, row: Any) -> Text:
    try:
        said = keys.open(row)
    except SealBroken:
        said = {"words": None, "number": None}
    return Text(**{name: row[name] for name in OF_TEXT} | {"channel": Channel(row["channel"])} | said)


async def add_text(db: Db, keys: DataKeys, text: Text) -> None:
    """Keep a message: what was said, and from which number, sealed."""
    sealed = await keys.seal(db, {text.patient_id: {"words": text.words, "number": text.number}})
    await db.execute(
        """
        insert into texts (
            text_id, patient_id, store_id, received_at, channel, sealed, cut, seems, due_at, escalates_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        text.text_id,
        text.patient_id,
        text.store_id,
        text.received_at,
        text.channel.value,
        sealed[text.patient_id],
        text.cut,
        text.seems,
        text.due_at,
        text.escalates_at,
    )


async def load_text(db: Db, keys: DataKeys, text_id: UUID) -> Text | None:
    row = await db.fetchrow(
        f"select t.*, {DATA_KEY} from texts t left join fabric.data_keys k using (patient_id) where text_id = $1",
        text_id,
    )
    return _text(keys, row) if row else None


async def unread_texts(
    db: Db, keys: DataKeys, stores: Stores, after: str, limit: int
) -> list[tuple[str, Text]]:
    """Messages that nobody read yet, of some stores or of all; what escalated first comes first. With places."""
    rows = await db.fetch(
        f"""
        select x.position, t.*, {DATA_KEY}
        from texts t
        left join fabric.data_keys k using (patient_id)
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
    return [(row["position"], _text(keys, row)) for row in rows]


async def note_text_read(db: Db, text_id: UUID, by: str, meaning: str, now: datetime) -> None:
    await db.execute(
        "update texts set read_at = $2, read_by = $3, meaning = $4 where text_id = $1",
        text_id,
        now,
        by,
        meaning,
    )


async def sealed_with_the_ring(db: Db, after: str, limit: int) -> list[str]:
    """Some patients with messages that are sealed as they were once: with a key of the ring itself."""
    rows = await db.fetch(
        """
        select distinct patient_id
        from texts
        where key_id is not null
          and patient_id > $1
        order by patient_id
        limit $2
        """,
        after,
        limit,
    )
    return [row["patient_id"] for row in rows]


async def of_the_ring(db: Db, patient_ids: Collection[str]) -> list[Any]:
    """These patients' messages of that kind."""
    return list(
        await db.fetch(
            """
            select text_id, patient_id, number, sealed, key_id
            from texts
            where patient_id = any($1)
              and key_id is not null
            """,
            list(patient_ids),
        )
    )


async def reseal(db: Db, keys: DataKeys, text: Any, words: str) -> None:
    """Seal one of them with its patient's key, with the number."""
    said = {text["patient_id"]: {"words": words, "number": text["number"]}}
    sealed = await keys.seal(db, said)
    await db.execute(
        "update texts set sealed = $2, key_id = null, number = null where text_id = $1",
        text["text_id"],
        sealed[text["patient_id"]],
    )
