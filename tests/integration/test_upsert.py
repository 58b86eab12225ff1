"""Rows are kept as each statement says: written over, by newer ones, of the same owner, the first alone, or once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from shared.database import Db, connect
from shared.events import Reason
from shared.upsert import row, upsert

TABLE = """
create table kept (
    id text primary key, owner text, revision integer not null default 0, "on" date, amount numeric, days integer[],
    why jsonb, sealed bytea
)
"""


@pytest.fixture
async def db(fresh_database: Callable[..., str]) -> AsyncIterator[Db]:
    connection = await connect(await asyncio.to_thread(fresh_database, "outreach"), name="test")
    await connection.execute(TABLE)
    yield connection
    await connection.close()


async def held(db: Db) -> dict[str, Any]:
    return dict(await db.fetchrow("select * from kept where id = 'a'"))


async def test_values_are_of_the_tables_own_types(db: Db) -> None:
    keep = upsert("kept", "id", "on amount days why sealed")
    source = SimpleNamespace(
        id="a",
        on=date(2026, 3, 2),
        amount=Decimal("2.50"),
        days=(1, 2),
        why=Reason(code="x", params={"n": 1}),
    )
    assert [
        each["id"] for each in await keep(db, [row(source, "id on amount days why", sealed=r"\x00ff")])
    ] == ["a"]
    assert await held(db) == {
        "id": "a",
        "owner": None,
        "revision": 0,
        "on": date(2026, 3, 2),
        "amount": Decimal("2.50"),
        "days": [1, 2],
        "why": {"code": "x", "params": {"n": 1}},
        "sealed": b"\x00\xff",
    }


@pytest.mark.parametrize(
    ("options", "then", "revision", "owner"),
    [
        ({}, {"revision": 1, "owner": "p"}, 1, "p"),
        ({"newer": "revision"}, {"revision": 2, "owner": "p"}, 2, "o"),
        ({"newer": "revision"}, {"revision": 3, "owner": "p"}, 3, "p"),
        ({"newer": "revision", "same": "owner"}, {"revision": 3, "owner": "p"}, 2, "o"),
        ({"newer": "revision", "same": "owner"}, {"revision": 3, "owner": "o"}, 3, "o"),
        ({"first": "owner"}, {"revision": 1, "owner": "p"}, 1, "o"),
        ({"once": True}, {"revision": 3, "owner": "p"}, 2, "o"),
    ],
)
async def test_what_is_held_is_written_over_as_the_statement_says(
    db: Db, options: dict[str, Any], then: dict[str, Any], revision: int, owner: str
) -> None:
    keep = upsert("kept", "id", "revision owner", **options)
    await keep(db, [{"id": "a", "revision": 2, "owner": "o"}])
    written = await keep(db, [{"id": "a", **then}])
    now = await held(db)
    assert (now["revision"], now["owner"]) == (revision, owner)
    assert bool(written) == ((revision, owner) != (2, "o"))


async def test_nothing_to_keep_asks_nothing(db: Db) -> None:
    assert await upsert("nowhere", "id", "a")(db, []) == []
