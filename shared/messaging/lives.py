"""The lives of a database: another one begins where it was put back to an older state. Until then it holds still."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from shared.database import Db
from shared.messaging.journal import EPOCH_BITS, JOURNAL_DAYS, Tick, epoch_of
from shared.messaging.producers import Mark

REVISION_BITS = 32
"""Revisions of each life are counted from a multiple of 2 to the 32nd on: below 2 to the 53rd, as JSON needs it."""

LIFE_SECONDS = 600.0

log = structlog.get_logger()


async def put_back(db: Db, service: str, tick: Tick, published: Mark | None) -> str | None:
    """Why nothing may be published, nor be done, in this life of the database; then every process is told of it."""
    why = cannot_go_on(service, tick, published)
    if why and await _refuse(db, tick.epoch, why):
        log.critical("relay.refuses", why=why)
    return why


def cannot_go_on(service: str, tick: Tick, published: Mark | None) -> str | None:
    """Why nothing may be published: this database is older than what it published, or another one."""
    cure = f"run: medsync recovered {service}"
    if tick.system != tick.here:
        return f"the database was restored into another PostgreSQL cluster; {cure}"
    if published and published[:2] > (tick.epoch, tick.no):
        return f"the database is older than what it published (it was restored, or failed over); {cure}"
    return None


async def _refuse(db: Db, epoch: int, why: str) -> bool:
    """Have every process hold still until another life of the database than this begins; says whether that is new."""
    done = await db.execute(
        """
        insert into fabric.refusals (epoch, why)
        values ($1, $2)
        on conflict do nothing
        """,
        epoch,
        why,
    )
    return bool(done == "INSERT 0 1")


async def refusal(db: Db) -> str | None:
    """Why nothing is published in this life of the database; none where all is well."""
    return await db.fetchval(
        "select why from fabric.refusals where epoch = (select max(epoch) from fabric.incarnations)"
    )


async def not_in_journal(db: Db, ids: Sequence[int], event_ids: Sequence[UUID]) -> list[int]:
    """Which of these events the journal does not have, by their numbers. What it had dropped, or is from before it, is
    taken as known: compacted topics keep it for ever."""
    rows = await db.fetch(
        """
        select told.id
        from unnest($1::bigint[], $2::uuid[]) as told (id, event_id)
        left join fabric.outbox o on (o.id, o.event_id) = (told.id, told.event_id)
        where o.id is null
          and told.id > (select known from fabric.incarnations where epoch = 1)
          and (uuid_extract_timestamp(told.event_id) < clock_timestamp() - make_interval(days => $3)) is not true
        """,
        ids,
        event_ids,
        JOURNAL_DAYS - 1,  # so many it surely has
    )
    return [row["id"] for row in rows]


async def begin_life(db: Db, columns: Sequence[str], *, above: int, by: str, why: str) -> int:
    """Begin another life of this database, later than this one and than `above`: raise the revisions in these columns
    (`table.column`) and the numbers of the outbox. Answers its epoch.

    Whoever has read a revision to publish the next one is waited for, and held up by this for no more than a moment.
    Raises LockNotAvailableError instead: to be tried again.
    """
    await db.execute("set local statement_timeout = 0; set local lock_timeout = '900ms'")
    locked = ", ".join(sorted({column.partition(".")[0] for column in columns} | {"fabric.incarnations"}))
    await db.execute(f"lock table {locked} in access exclusive mode")
    await db.execute("lock table fabric.outbox in share row exclusive mode")  # nobody's rows are half written
    before, known = await db.fetchrow(
        f"select max(epoch), coalesce(pg_sequence_last_value({_NUMBERS}), 0) from fabric.incarnations"
    )
    epoch: int = max(before, epoch_of(known), above) + 1
    for column in columns:
        table, _, name = column.partition(".")
        raised = (epoch - before) << REVISION_BITS
        await db.execute(f"update {table} set {name} = {name} + $1", raised, timeout=LIFE_SECONDS)
    await db.execute(
        "insert into fabric.incarnations (epoch, by, why, known) values ($1, $2, $3, $4)",
        epoch,
        by,
        why,
        known,
    )
    await _publish_anew(db, epoch, known)
    await db.execute(f"select setval({_NUMBERS}, $1)", (epoch - 1) << EPOCH_BITS)
    return epoch


_NUMBERS = "pg_get_serial_sequence('fabric.outbox', 'id')::regclass"


async def _publish_anew(db: Db, epoch: int, known: int) -> None:
    """Have the relays begin with what this database does not know to be published: whoever publishes now is replaced.

    Snapshots and transactions are counted anew in another cluster: what was written here is what is behind the last
    tick. Of the rows to publish, and of none before, the transaction is from now on one that every snapshot has seen.
    """
    floor = await db.fetchval(
        """
        select least(
            coalesce((
                select min(id) - 1
                from fabric.unpublished u
                where not exists (select from fabric.held h where h.id = u.id)
            ), $1),
            (
                select min(greatest(high, floor))
                from (
                    select distinct on (range) high, floor, system
                    from fabric.ticks
                    order by range, epoch desc, no desc, done desc
                ) last
                where system <> (select system_identifier from pg_control_system())
            )
        )
        """,
        known,
    )
    await db.execute("update fabric.outbox set xid = '3' where id > $1", floor, timeout=LIFE_SECONDS)
    await db.execute(
        """
        insert into fabric.ticks
            (range, epoch, no, done, floor, before, upto, low, high, first_day, last_day, system)
        select range, $1, 0, count(o.id) = 0, $2, '3:3:', pg_current_snapshot(), coalesce(min(o.id), 0),
               coalesce(max(o.id), 0), coalesce(min(o.day), current_date), coalesce(max(o.day), current_date),
               (select system_identifier from pg_control_system())
        from fabric.relays r
        cross join lateral generate_series(0, r.ranges - 1) each (range)
        left join fabric.outbox o on o.id > $2 and coalesce(o.hash, 0) % r.ranges = range
        group by range
        """,
        epoch,
        floor,
    )
    await db.execute("update fabric.relay_lease set epoch = epoch + 1, holder = '', until = '-infinity'")
