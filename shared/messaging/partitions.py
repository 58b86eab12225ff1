"""Partitions of a table of the fabric by time: made ahead, filled from the default partition, dropped when old.

A default partition `<table>_default` takes what no other does, so a partition that is not made yet stops nobody; its
rows are moved when theirs is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

import structlog

from shared.database import Db

Connect = Callable[[], AbstractAsyncContextManager[Db]]

LOCK_SECONDS = 2
"""Inserts wait as long behind a transaction that keeps us from the lock; then it is left to the next time."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Partition:
    """`low` up to, and without, `high`, in the text of the column's type. Names of a table sort by time."""

    name: str
    low: str
    high: str


async def tend(
    connect: Connect, table: str, column: str, wanted: Sequence[Partition], *, oldest: str
) -> None:
    """Make those wanted that are not there, then drop those whose names sort before `oldest`.

    Each in a transaction of its own: one that fails is logged, and keeps back no other. Processes may tend at once.
    """
    async with connect() as db:
        there = set(await names(db, table))
    for partition in wanted:
        if partition.name not in there:
            make = partial(_make, table=table, column=column, partition=partition)
            await _alone(connect, partition.name, make)
    for name in sorted(there):
        if name < oldest:
            await _alone(connect, name, partial(drop, name=name))


async def _alone(connect: Connect, name: str, chore: Callable[[Db], Awaitable[None]]) -> None:
    try:
        async with connect() as db, db.transaction():
            await db.execute("select pg_advisory_xact_lock(hashtextextended('fabric.' || $1, 0))", name)
            await chore(db)
    except Exception as error:
        log.warning("house.unkept", what=name, exc_info=error)


async def names(db: Db, table: str) -> list[str]:
    """Those that are there, without the default one."""
    rows = await db.fetch(
        """
        select c.relname
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        where i.inhparent = $1::text::regclass
          and c.relname <> $2 || '_default'
        """,
        f"fabric.{table}",
        table,
    )
    return [row["relname"] for row in rows]


async def _make(db: Db, table: str, column: str, partition: Partition) -> None:
    """Make it beside its table, move what the default one holds of it, attach it."""
    await db.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
    await db.execute(
        "select fabric.make_partition($1, $2, $3, $4, $5)",
        table,
        column,
        partition.name,
        partition.low,
        partition.high,
    )


async def drop(db: Db, name: str) -> None:
    await db.execute("select fabric.drop_partition($1)", name)
