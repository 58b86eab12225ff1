"""Every SQL statement about the outbox: a journal of what this service published, and how far that is published.

Rows are only added. What is sent next is a tick: the rows that one snapshot had not seen and a later one has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

from shared.database import Db
from shared.messaging.internals import key_hash

BY_INDEX = "set enable_seqscan = off; set max_parallel_workers_per_gather = 0; set jit = off"
"""For the connection of a relay: it never reads the journal as a whole, whatever the statistics say."""

# ---- what is written --------------------------------------------------------------------------------------------

Said: TypeAlias = tuple[str, str, dict[str, str], bytes]
"""What an event takes to the outbox: topic, key, headers, payload."""


async def append(db: Db, rows: Sequence[Said]) -> None:
    """Add to the outbox, ids in the order given."""
    await db.execute(
        """
        insert into fabric.outbox (topic, key, headers, payload, hash)
        select topic, key, headers, payload, hash
        from unnest($1::text[], $2::text[], $3::jsonb[], $4::bytea[], $5::int[])
            with ordinality as row (topic, key, headers, payload, hash, place)
        order by place
        """,
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        [hash_of(row[1]) for row in rows],
    )


@lru_cache(maxsize=10_000)
def hash_of(key: str) -> int:
    """As every Kafka client hashes a key by default. In Python it costs more than all the rest of a record; a patient's
    events come in flocks.
    """
    return key_hash(key.encode())


# ---- ticks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Rows to be sent one after the other: not seen by the snapshot `before`, and seen by `upto`."""

    range: int
    epoch: int
    no: int
    done: bool
    floor: int
    before: str
    upto: str
    low: int
    high: int
    first_day: date
    last_day: date
    system: int
    here: int  # the cluster that answers: as `system`, unless the database was restored into another


_TICK = """
    range, epoch, no, done, floor, before::text, upto::text, low, high, first_day, last_day, system,
    (select system_identifier from pg_control_system()) as here
"""

_UNSEEN = "(o.xid >= pg_snapshot_xmax({0}) or o.xid = any (array(select pg_snapshot_xip({0}))))"
"""What a snapshot had not seen, in words that the index on xid understands."""


async def last_tick(db: Db, range_: int) -> Tick:
    """The newest of a range."""
    row = await db.fetchrow(
        f"""
        select {_TICK}
        from fabric.ticks
        where range = $1
        order by epoch desc, no desc, done desc
        limit 1
        """,
        range_,
    )
    assert row is not None, "a range has a first tick"
    return Tick(**row)


async def next_tick(db: Db, last: Tick, ranges: int) -> Tick | None:
    """Write down the next tick: all that was committed since the last one; none where nothing was.

    Raises UniqueViolationError where another relay was faster.
    """
    row = await db.fetchrow(
        f"""
        with fresh as materialized (
            select count(*) as rows, min(id) as low, max(id) as high, min(day) as first_day, max(day) as last_day
            from fabric.outbox o
            where {_UNSEEN.format("$4::text::pg_snapshot")}
              and o.id + 0 > $5 -- the sum keeps the planner from looking through all ids
              and coalesce(o.hash, 0) % $6 = $1
        )
        insert into fabric.ticks
            (range, epoch, no, floor, before, upto, low, high, first_day, last_day, system)
        select $1, $2, $3, $5, $4::text::pg_snapshot, pg_current_snapshot(), low, high, first_day, last_day, $7
        from fresh
        where rows > 0
        returning {_TICK}
        """,
        last.range,
        last.epoch,
        last.no + 1,
        last.upto,
        last.floor,
        ranges,
        last.system,
    )
    return Tick(**row) if row else None


async def finish_tick(db: Db, tick: Tick) -> None:
    """Note that all of it is sent."""
    await db.execute(
        """
        insert into fabric.ticks
            (range, epoch, no, done, floor, before, upto, low, high, first_day, last_day, system)
        select range, epoch, no, true, floor, before, upto, low, high, first_day, last_day, system
        from fabric.ticks
        where (range, epoch, no, done) = ($1, $2, $3, false)
        on conflict do nothing
        """,
        tick.range,
        tick.epoch,
        tick.no,
    )


async def forget_ticks(db: Db) -> None:
    """All but the newest of each range, where they are an hour old."""
    await db.execute(
        """
        delete from fabric.ticks t
        using fabric.ticks later
        where later.range = t.range
          and (later.epoch, later.no) = (
              select epoch, no from fabric.ticks n where n.range = t.range order by epoch desc, no desc limit 1
          )
          and (t.epoch, t.no) < (later.epoch, later.no)
          and t.at < clock_timestamp() - interval '1 hour'
        """
    )


# ---- what is sent -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One event on its way to the broker."""

    id: int
    event_id: UUID
    topic: str
    key: str
    headers: dict[str, str]
    payload: bytes
    kept: bool = False  # among the held rows already
    waits: bool = False  # behind one of its key, or behind one of its key on its topic

    @property
    def epoch(self) -> int:
        """Which of the database's lives wrote it."""
        return epoch_of(self.id)


EPOCH_BITS = 40
"""Each life of a database numbers its outbox from a multiple of 2 to the 40th on: the number tells the life."""


def epoch_of(outbox_id: int) -> int:
    """Which life of its database wrote the row of this number."""
    return 1 + (outbox_id >> EPOCH_BITS)


async def window(
    db: Db, tick: Tick, after: int, ranges: int, *, limit: int, bytes_: int, overtaking: Collection[str] = ()
) -> list[OutboxRow]:
    """The tick's next rows behind an id, of payloads up to about so many bytes together."""
    rows = await db.fetch(
        """
        with oldest as materialized (
            select id, day, octet_length(payload) as size
            from fabric.outbox o
            where day between $1 and $2
              and id > $3
              and id <= $4
              and not pg_visible_in_snapshot(xid, $5::text::pg_snapshot)
              and pg_visible_in_snapshot(xid, $6::text::pg_snapshot)
              and coalesce(hash, 0) % $7 = $8
            order by id
            limit $9
        ), fitting as (
            select id, day, sum(size) over (order by id) - size as before
            from oldest
        )
        select id, event_id, topic, key, headers, payload,
               exists (select from fabric.held h where h.id = o.id) as kept,
               (headers ->> 'ce_type' = any($11::text[])) is not true and exists (
                   select
                   from fabric.held h
                   where h.key = o.key
                     and h.id < o.id
                     and (h.why is not null or h.topic = o.topic)
               ) as waits
        from fabric.outbox o
        where day between $1 and $2
          and id = any (array(select id from fitting where before < $10))
        order by id
        """,
        tick.first_day,
        tick.last_day,
        max(after, tick.low - 1),
        tick.high,
        tick.before,
        tick.upto,
        ranges,
        tick.range,
        limit,
        bytes_,
        list(overtaking),
    )
    return [OutboxRow(*row) for row in rows]


# ---- what is held -----------------------------------------------------------------------------------------------


async def hold(db: Db, row: OutboxRow, place: tuple[str, int], why: str | None) -> None:
    """Set a row aside: the broker refuses it (why), or it waits behind such a one, or for its partition."""
    await hold_all(db, [(row, place)], why)


async def hold_all(db: Db, rows: Sequence[tuple[OutboxRow, tuple[str, int]]], why: str | None = None) -> None:
    """Set rows aside, each with the topic and the partition that it is to go to."""
    await db.execute(
        """
        insert into fabric.held (id, key, topic, partition, why)
        select id, key, topic, partition, $5
        from unnest($1::bigint[], $2::text[], $3::text[], $4::int[]) as row (id, key, topic, partition)
        on conflict (id) do update
        set topic = excluded.topic, partition = excluded.partition, why = excluded.why, released = false
        """,
        [row.id for row, _ in rows],
        [row.key for row, _ in rows],
        [topic for _, (topic, _) in rows],
        [partition for _, (_, partition) in rows],
        why,
    )


async def held_that_may_go(
    db: Db,
    stalled: Collection[tuple[str, int]],
    tick: Tick,
    ranges: int,
    *,
    limit: int,
    bytes_: int,
    overtaking: Collection[str] = (),
) -> list[OutboxRow]:
    """Held rows that wait for nothing more, oldest first: released, or not behind a refused one, and not for a
    stalled partition."""
    rows = await db.fetch(
        """
        with oldest as materialized (
            select o.id, octet_length(o.payload) as size
            from fabric.held h
            join fabric.outbox o using (id)
            where (h.why is null or h.released)
              and coalesce(o.hash, 0) % $3 = $4
              and not exists (
                  select
                  from unnest($1::text[], $2::int[]) as stalled (topic, partition)
                  where (stalled.topic, stalled.partition) = (h.topic, h.partition)
              )
              and ((o.headers ->> 'ce_type' = any($7::text[])) is true or not exists (
                  select
                  from fabric.held b
                  where b.key = h.key
                    and b.id < h.id
                    and b.why is not null
                    and not b.released
              ))
            order by id
            limit $5
        ), fitting as (
            select id, sum(size) over (order by id) - size as before
            from oldest
        )
        select id, event_id, topic, key, headers, payload
        from fabric.outbox
        where id = any (array(select id from fitting where before < $6))
        order by id
        """,
        [topic for topic, _ in stalled],
        [partition for _, partition in stalled],
        ranges,
        tick.range,
        limit,
        bytes_,
        list(overtaking),
    )
    return [OutboxRow(*row) for row in rows]


async def let_go(db: Db, rows: Sequence[OutboxRow]) -> None:
    """They are held no longer."""
    await db.execute("delete from fabric.held where id = any($1::bigint[])", [row.id for row in rows])


async def refused_rows(db: Db) -> list[dict[str, Any]]:
    """Those that the broker refused, and no person released."""
    rows = await db.fetch(
        """
        select id, o.topic, o.key, h.why as held
        from fabric.held h
        join fabric.outbox o using (id)
        where h.why is not null
          and not h.released
        order by id
        """
    )
    return [dict(row) for row in rows]


async def release_held(db: Db, row_id: int) -> bool:
    """Let the relay try a refused row again, and then what waits behind it."""
    done = await db.execute(
        "update fabric.held set released = true where id = $1 and why is not null and not released", row_id
    )
    return bool(done == "UPDATE 1")


# ---- who sends --------------------------------------------------------------------------------------------------


async def ranges(db: Db) -> int:
    """Into how many ranges of keys the journal is divided."""
    number: int = await db.fetchval("select ranges from fabric.relays")
    return number


async def acquire_lease(db: Db, holder: str, seconds: float, range_: int = 0) -> int | None:
    """Renew one's own lease, or take one with the next epoch that has expired; none if another holds it.

    One that was renewed in the future is as good as expired: machine time was set back.
    """
    return await db.fetchval(
        """
        update fabric.relay_lease
        set epoch = case when holder = $1 then epoch else epoch + 1 end,
            holder = $1,
            renewed = clock_timestamp(),
            until = clock_timestamp() + make_interval(secs => $2)
        where range = $3
          and (holder = $1 or until < clock_timestamp() or renewed > clock_timestamp())
        returning epoch
        """,
        holder,
        seconds,
        range_,
    )


async def release_lease(db: Db, holder: str) -> None:
    """Let the next relay begin at once."""
    await db.execute(
        "update fabric.relay_lease set until = '-infinity', holder = '' where holder = $1", holder
    )


# ---- days -------------------------------------------------------------------------------------------------------


async def add_day(db: Db, day: date) -> None:
    """Make the day's partition where there is none; rows of the day that stand in the default one move there."""
    name = f"fabric.outbox_{day:%Y%m%d}"
    if await db.fetchval("select to_regclass($1) is not null", name):
        return
    await db.execute(f"create table {name} (like fabric.outbox including defaults)")
    await db.execute("lock table fabric.outbox_default in access exclusive mode")
    await db.execute(
        f"""
        with moved as (delete from fabric.outbox_default where day = '{day}' returning *)
        insert into {name} select * from moved
        """
    )
    await db.execute(
        f"alter table fabric.outbox attach partition {name} for values from ('{day}') to (date '{day}' + 1)"
    )


async def days(db: Db) -> list[date]:
    """The days that have a partition."""
    rows = await db.fetch(
        """
        select to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'fabric.outbox'::regclass
          and c.relname <> 'outbox_default'
        """
    )
    return [row["day"] for row in rows]


async def drop_day(db: Db, day: date) -> bool:
    """Drop a day's rows, unless one of them is not published yet; says whether it did."""
    if await db.fetchval("select exists (select from fabric.unpublished where day = $1)", day):
        return False
    await db.execute(f"drop table fabric.outbox_{day:%Y%m%d}")
    return True
