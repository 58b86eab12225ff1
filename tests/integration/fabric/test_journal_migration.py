"""What an older release had not sent is carried into the journal, and back out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from shared.database import connect
from shared.messaging import journal
from shared.messaging.journal import Most
from tests.integration.fabric.ticks import next_tick

MIGRATIONS = Path(journal.__file__).parent / "migrations"


def sql_of(name: str, way: str) -> str:
    up, down = (MIGRATIONS / name).read_text().split("-- migrate:down")
    return down if way == "down" else up


async def test_what_was_not_sent_is_carried_over_and_back(
    fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "0000_nothing.sql").write_text("-- migrate:up\n-- migrate:down\n")
    db = await connect(await asyncio.to_thread(fresh_database, "journal", tmp_path), name="test")
    for name in sorted(path.name for path in MIGRATIONS.glob("000[123]_*.sql")):
        await db.execute(sql_of(name, "up"))
    await db.execute(
        """
        insert into fabric.outbox (topic, key, headers, payload)
        select 't', 'p' || n, '{}', '{}' from generate_series(1, 5) n;
        delete from fabric.outbox where id < 3;
        insert into fabric.held (id, key, why) values (3, 'p3', 'large')
        """
    )
    await db.execute(sql_of("0005_journal.sql", "up"))
    await journal.append(db, [("t", "p6", {}, b"{}")])
    first = await journal.last_tick(db, 0)
    rows = await journal.window(db, first, 0, 1, Most(100, 1000))
    assert [(row.id, row.kept) for row in rows] == [(3, True), (4, False), (5, False)]
    assert [row["held"] for row in await journal.refused_rows(db)] == ["large"]
    second, rows = await next_tick(db, first)
    assert [row.id for row in rows] == [6]
    await journal.finish_tick(db, second)
    await journal.append(db, [("t", "p7", {}, b"{}")])

    await db.execute(sql_of("0005_journal.sql", "down"))
    assert [row["id"] for row in await db.fetch("select id from fabric.outbox order by id")] == [3, 7]
    put = (
        "insert into fabric.outbox (topic, key, headers, payload) values ('t', 'k', '{}', '{}') returning id"
    )
    assert await db.fetchval(put) == 8
    await db.close()
