"""The read model taken apart, and compared with itself after it was built again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.database import Db

MODEL = {
    "stream": "event_id::text",
    "patients": "patient_id",
    "plans": "patient_id || '/' || revision",
    "visits": "visit_id",
    "fills": "visit_id || '/' || rx_id",
    "renewals": "patient_id || '/' || rx_id",
    "stores": "store_id",
    "forecasts": "store_id",
    "sealed_details": "patient_id",
}
"""The tables of the read model, and what names a row of each."""


async def prepare_rebuild(db: Db) -> None:
    """Take the turn with a new generation, and leave room for statements that take long."""
    await db.execute("set local statement_timeout = 0")
    await db.execute("update numbering set generation = generation + 1", timeout=600)
    await db.execute(
        "create temporary table digests (state text, of_table text, key text, digest text) on commit drop"
    )


async def digest(db: Db, state: str) -> None:
    """Keep a digest of every row of the model, under a name; numbers of the stream are no part of
    it, nor is what is sealed, which looks different each time."""
    for table, key in MODEL.items():
        await db.execute(
            f"""
            insert into digests (state, of_table, key, digest)
            select $1, '{table}', {key}, md5((to_jsonb({table}) - 'number' - 'sealed')::text)
            from {table}
            """,
            state,
            timeout=3600,
        )


async def clear_model(db: Db) -> None:
    """Delete rather than truncate: until the commit everyone goes on reading what was."""
    for table in MODEL:
        await db.execute(f"delete from {table}", timeout=3600)


async def took_effect(db: Db, event_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these events this service has applied: taken, and neither buried nor waiting behind a dead letter."""
    rows = await db.fetch(
        """
        select event_id
        from fabric.inbox
        where event_id = any($1::uuid[])
        except
        select event_id
        from fabric.dead_letters
        where event_id = any($1::uuid[])
          and status <> 'redriven'
        except
        select event_id
        from fabric.parked_events
        where event_id = any($1::uuid[])
        """,
        list(event_ids),
    )
    return {row["event_id"] for row in rows}


async def number_anew(db: Db) -> None:
    """Number the stream by business time: a rebuild takes topic after topic, which is no order to read in."""
    await db.execute(
        """
        with ordered as (
            select number, (select max(number) from stream) +
                   row_number() over (order by at nulls first, event_id) as anew
            from stream
        )
        update stream s
        set number = o.anew
        from ordered o
        where o.number = s.number
        """,
        timeout=3600,
    )
    await db.execute(
        "select setval(pg_get_serial_sequence('stream', 'number'), greatest((select max(number) from stream), 1))"
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """How one table of the rebuilt model differs from the live one, in rows."""

    table: str
    rows: int  # rebuilt
    missing: int  # the live one has them, the rebuilt one does not
    added: int
    changed: int

    @property
    def equal(self) -> bool:
        return not (self.missing or self.added or self.changed)


async def differences(db: Db) -> list[Difference]:
    """Compare the digests named `live` and `rebuilt`, table by table."""
    rows = await db.fetch(
        """
        select t.name,
               count(r.key) as rows,
               count(*) filter (where r.key is null and l.key is not null) as missing,
               count(*) filter (where l.key is null and r.key is not null) as added,
               count(*) filter (where l.digest <> r.digest) as changed
        from unnest($1::text[]) t (name)
        left join (
            (select * from digests where state = 'live') l
            full join (select * from digests where state = 'rebuilt') r using (of_table, key)
        ) on of_table = t.name
        group by t.name
        order by t.name
        """,
        list(MODEL),
        timeout=600,
    )
    return [Difference(*row.values()) for row in rows]
