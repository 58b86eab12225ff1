"""Every SQL statement about the outbox: a journal of what this service published, and how far that is published.

Rows are only added. What is sent next is a tick: the rows that one snapshot had not seen and a later one has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from shared.database import Db
from shared.messaging import partitions
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


class Most(NamedTuple):
    """How much is read at once: rows, and about so many bytes of payload together. Rows of the types that overtake do
    not wait behind held ones."""

    rows: int
    bytes_: int
    overtaking: Collection[str] = ()


EPOCH_BITS = 40
"""Each life of a database numbers its outbox from a multiple of 2 to the 40th on: the number tells the life."""


def epoch_of(outbox_id: int) -> int:
    """Which life of its database wrote the row of this number."""
    return 1 + (outbox_id >> EPOCH_BITS)


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

_ROW = """
    o.id, event_id, o.topic, o.key, headers, payload,
    exists (select from fabric.held h where h.id = o.id) as kept,
    (headers ->> 'ce_type' = any({0}::text[])) is not true and exists (
        select
        from fabric.held h
        where h.key = o.key
          and h.id < o.id
          and (h.why is not null or h.topic = o.topic)
    ) as waits
"""
"""Of what is sent: the event, and whether it is held already, or waits behind a held one of its key."""

_FITTING = "select id, sum(size) over (order by id) - size as before from oldest"

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


async def next_tick(db: Db, last: Tick, ranges: int, most: Most) -> tuple[Tick, list[OutboxRow]] | None:
    """Write down the next tick, all that was committed since the last one, and read its first window; none where
    nothing was.

    Raises UniqueViolationError where another relay was faster, and NotNullViolationError where this database does not
    know the last one: it is another than a moment ago, failed over to.
    """
    rows = await db.fetch(
        f"""
        with fresh as materialized (
            select count(*) as rows, min(id) as low, max(id) as high, min(day) as first_day, max(day) as last_day
            from fabric.outbox o
            where {_UNSEEN.format("$4::text::pg_snapshot")}
              and o.id + 0 > $5 -- the sum keeps the planner from looking through all ids
              and coalesce(o.hash, 0) % $6 = $1
        ), tick as (
            insert into fabric.ticks
                (range, epoch, no, floor, before, upto, low, high, first_day, last_day, system)
            select $1, $2, (
                       select $3::bigint
                       from fabric.ticks
                       where (range, epoch, no) = ($1, $2, $3::bigint - 1)
                         and upto::text = $4
                       limit 1
                   ),
                   $5, $4::text::pg_snapshot, pg_current_snapshot(), low, high, first_day, last_day, $7
            from fresh
            where rows > 0
              and not exists (select from fabric.ticks t where t.range = $1 and t.epoch > $2) -- recovered: begin anew
            returning {_TICK}
        ), oldest as materialized (
            select o.id, o.size
            from tick
            cross join lateral (
                select id, octet_length(payload) as size
                from fabric.outbox o
                where day between first_day and last_day
                  and id >= low
                  and id <= high
                  and not pg_visible_in_snapshot(xid, $4::text::pg_snapshot)
                  and coalesce(hash, 0) % $6 = $1
                order by id
                limit $8
            ) o
        ), fitting as (
            {_FITTING}
        ), going as materialized (
            select {_ROW.format("$10")}
            from tick
            cross join lateral (
                select *
                from fabric.outbox
                where day between first_day and last_day
                  and id = any (array(select id from fitting where before < $9))
            ) o
        )
        select going.*, tick.*
        from going
        left join tick on low = going.id -- once, beside the first
        order by going.id
        """,
        last.range,
        last.epoch,
        last.no + 1,
        last.upto,
        last.floor,
        ranges,
        last.system,
        most.rows,
        most.bytes_,
        list(most.overtaking),
    )
    if not rows:
        return None
    split = len(fields(OutboxRow))
    return Tick(*rows[0][split:]), [OutboxRow(*row[:split]) for row in rows]


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


async def window(db: Db, tick: Tick, after: int, ranges: int, most: Most) -> list[OutboxRow]:
    """The tick's next rows behind an id."""
    rows = await db.fetch(
        f"""
        with oldest as materialized (
            select id, octet_length(payload) as size
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
            {_FITTING}
        )
        select {_ROW.format("$11")}
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
        most.rows,
        most.bytes_,
        list(most.overtaking),
    )
    return [OutboxRow(*row) for row in rows]


# ---- what is held -----------------------------------------------------------------------------------------------


async def hold_all(db: Db, rows: Sequence[tuple[OutboxRow, tuple[str, int]]], why: str | None = None) -> None:
    """Set rows aside, each with the topic and the partition that it is to go to: the broker refuses them (why), or they
    wait behind such a one, or for their partition."""
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
    most: Most,
) -> list[OutboxRow]:
    """Held rows that wait for nothing more, oldest first: released, or not behind a refused one, and not for a
    stalled partition."""
    rows = await db.fetch(
        f"""
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
            {_FITTING}
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
        most.rows,
        most.bytes_,
        list(most.overtaking),
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


async def may_divide(db: Db) -> bool:
    """Whether nobody publishes, and nothing is left to be published."""
    may: bool = await db.fetchval(
        """
        select not exists (
                   select
                   from fabric.relay_lease
                   where until > clock_timestamp()
                     and renewed <= clock_timestamp()
               )
           and not exists (select from fabric.unpublished where held is null)
           and not exists (select from fabric.replays r where (
               select count(*) from fabric.replayed d where d.replay = r.id and d.done
           ) < (select ranges from fabric.relays))
        """
    )
    return may


async def divide(db: Db, into: int) -> bool:
    """Divide the journal into so many ranges from now on, if it may be done; says whether it was.

    The new ranges begin behind one snapshot: all that it saw is published.
    """
    async with db.transaction(isolation="repeatable_read"):
        await db.execute("lock table fabric.relay_lease in exclusive mode")
        if not await may_divide(db):
            return False
        await db.execute(
            """
            with last as (
                select max(epoch) as epoch, max(no) + 1 as no, max(floor) as floor, max(high) as high
                from fabric.ticks
                where epoch = (select max(epoch) from fabric.ticks)
            )
            insert into fabric.ticks
                (range, epoch, no, done, floor, before, upto, low, high, first_day, last_day, system)
            select each, epoch, no, true, floor, pg_current_snapshot(), pg_current_snapshot(), high, high,
                   current_date, current_date, (select system_identifier from pg_control_system())
            from last, generate_series(0, $1 - 1) each
            """,
            into,
        )
        await db.execute("delete from fabric.relay_lease where range >= $1", into)
        await db.execute(
            """
            insert into fabric.relay_lease (range, holder, epoch, until)
            select each, '', 0, '-infinity'
            from generate_series(0, $1 - 1) each
            on conflict do nothing
            """,
            into,
        )
        await db.execute(
            """
            insert into fabric.replayed (replay, range, last_id, events, done)
            select id, each, 0, 0, true
            from fabric.replays, generate_series(0, $1 - 1) each
            on conflict do nothing
            """,
            into,
        )
        await db.execute("update fabric.relays set ranges = $1", into)
        return True


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


async def shared_among(db: Db, topic: str, partitions: int) -> int:
    """Among how many partitions a topic's keys are shared out: as many as there were when first asked."""
    await db.execute(
        "insert into fabric.topics_published (topic, partitions) values ($1, $2) on conflict do nothing",
        topic,
        partitions,
    )
    number: int = await db.fetchval("select partitions from fabric.topics_published where topic = $1", topic)
    return number


async def transactional_ids(db: Db, range_: int) -> int:
    """Which pair of ids the range's relay sends with."""
    number: int = await db.fetchval("select ids from fabric.relay_lease where range = $1", range_)
    return number


async def take_other_ids(db: Db, range_: int, instead_of: int) -> None:
    """Send with another pair from now on."""
    await db.execute(
        "update fabric.relay_lease set ids = ids + 1 where range = $1 and ids = $2", range_, instead_of
    )


async def release_lease(db: Db, holder: str) -> None:
    """Let the next relay begin at once."""
    await db.execute(
        "update fabric.relay_lease set until = '-infinity', holder = '' where holder = $1", holder
    )


# ---- days -------------------------------------------------------------------------------------------------------

JOURNAL_DAYS = 16
"""How long rows are kept: longer than the topics keep what is no state."""


async def days(db: Db) -> list[date]:
    """The days that have a partition."""
    return [date.fromisoformat(name.removeprefix("outbox_")) for name in await partitions.names(db, "outbox")]


async def drop_day(db: Db, day: date) -> bool:
    """Drop a day's rows, unless one of them is not published yet; says whether it did."""
    if await db.fetchval("select exists (select from fabric.unpublished where day = $1)", day):
        return False
    await partitions.drop(db, f"outbox_{day:%Y%m%d}")
    return True


# ---- replays ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replay:
    """A part of the journal that is sent again, and how far a range came with it."""

    id: int
    since: datetime
    until: datetime | None
    topic: str | None
    for_group: str | None
    last_id: int
    events: int


async def ask_for_replay(
    db: Db, since: datetime, until: datetime | None, topic: str | None, for_group: str | None, by: str
) -> int:
    """Have what was published since then sent again; answers the number of the replay."""
    number: int = await db.fetchval(
        """
        insert into fabric.replays (since, until, topic, for_group, asked_by)
        values ($1, $2, $3, $4, $5)
        returning id
        """,
        since,
        until,
        topic,
        for_group,
        by,
    )
    return number


async def oldest_day(db: Db) -> date | None:
    """Of the journal; none where it is empty."""
    return await db.fetchval("select day from fabric.outbox order by id limit 1")


async def open_replay(db: Db, range_: int) -> Replay | None:
    """The first that this range has not ended."""
    row = await db.fetchrow(
        """
        select id, since, until, topic, for_group, coalesce(last_id, 0) as last_id, coalesce(events, 0) as events
        from fabric.replays r
        left join fabric.replayed d on d.replay = r.id and d.range = $1
        where done is not true
        order by id
        limit 1
        """,
        range_,
    )
    return Replay(**row) if row else None


async def replay_window(
    db: Db, replay: Replay, tick: Tick, ranges: int, compacted: Collection[str], most: Most
) -> list[OutboxRow]:
    """What of it comes next, of what was published up to the end of the tick.

    Compacted topics are replayed to the present whatever was asked: an old record must not stay a key's last.
    """
    rows = await db.fetch(
        f"""
        with oldest as materialized (
            select id, octet_length(payload) as size
            from fabric.outbox o
            where day >= ($1::timestamptz - interval '1 day')::date
              and id > $2
              and (id <= $3 or pg_visible_in_snapshot(xid, $4::text::pg_snapshot))
              and uuid_extract_timestamp(event_id) >= $1
              and ($5::timestamptz is null or uuid_extract_timestamp(event_id) < $5 or topic = any ($6::text[]))
              and ($7::text is null or topic = $7)
              and (payload <> '' or not headers ? 'ce_sealingkeyid') -- what was forgotten is not said again
              and coalesce(hash, 0) % $8 = $9
              and not exists (select from fabric.held h where h.id = o.id)
            order by id
            limit $10
        ), fitting as (
            {_FITTING}
        )
        select id, event_id, topic, key, headers, payload
        from fabric.outbox
        where day >= ($1::timestamptz - interval '1 day')::date
          and id = any (array(select id from fitting where before < $11))
        order by id
        """,
        replay.since,
        replay.last_id,
        tick.floor,
        tick.upto,
        replay.until,
        list(compacted),
        replay.topic,
        ranges,
        tick.range,
        most.rows,
        most.bytes_,
    )
    return [OutboxRow(*row) for row in rows]


async def replay_went_on(db: Db, range_: int, replay: Replay, *, done: bool) -> None:
    await db.execute(
        """
        insert into fabric.replayed (replay, range, last_id, events, done)
        values ($1, $2, $3, $4, $5)
        on conflict (replay, range) do update
        set last_id = excluded.last_id, events = excluded.events, done = excluded.done
        """,
        replay.id,
        range_,
        replay.last_id,
        replay.events,
        done,
    )


async def replays(db: Db, limit: int) -> list[dict[str, Any]]:
    """The newest first, each with how many events were sent and whether that is all."""
    rows = await db.fetch(
        """
        select r.id, r.since, r.until, r.topic, r.for_group, r.asked_by, r.asked_at,
               coalesce(sum(d.events), 0)::bigint as events,
               count(*) filter (where d.done) >= (select ranges from fabric.relays) as done
        from fabric.replays r
        left join fabric.replayed d on d.replay = r.id
        group by r.id
        order by r.id desc
        limit $1
        """,
        limit,
    )
    return [dict(row) for row in rows]
