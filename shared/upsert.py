"""Keeping rows, a whole batch in one statement: insert those that are new, write over those that are held.

The statement is built once, from the names of a table and its columns; the types are the table's own. What does not
fit stays plain SQL in the store. Names are given as in a `namedtuple`: one string, with blanks between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from shared.database import Db

Row = Mapping[str, Any]
"""By column. Values are written as JSON: models, dates, decimals and enumerations as they are; bytes as `\\x…`."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """A statement that keeps rows of one table."""

    statement: str

    async def __call__(self, db: Db, rows: Sequence[Row]) -> list[asyncpg.Record]:
        """Keep these rows, no two of one key. Returns the keys of those that were written: what is older is not."""
        return list(await db.fetch(self.statement, rows)) if rows else []


def upsert(
    table: str,
    key: str,
    columns: str,
    *,
    newer: str = "",
    same: str = "",
    first: str = "",
    given: str = "",
    once: bool = False,
) -> Upsert:
    """The statement for rows of a table with these columns beside those of its key.

    Without more, a row that is held is written over. With `newer`, one of the columns, only where the new value of it
    is greater; with `same`, another, only where that one agrees: whose it is does not change. Columns of `first` are
    written over only where nothing is held in them, those of `given` only by what is not null; with `once`, none is.
    """
    keys, others = key.split(), columns.split()
    names = _names([*keys, *others])
    values = {each: f'coalesce(held."{each}", excluded."{each}")' for each in first.split()}
    values |= {each: f'coalesce(excluded."{each}", held."{each}")' for each in given.split()}
    changes = ", ".join(f'"{each}" = ' + values.get(each, f'excluded."{each}"') for each in others)
    conditions = [f'excluded."{newer}" > held."{newer}"'] if newer else []
    conditions += [f'excluded."{same}" = held."{same}"'] if same else []
    only = f" where {' and '.join(conditions)}" if conditions else ""
    then = "nothing" if once else f"update set {changes}{only}"
    return Upsert(
        f"""
        insert into {table} as held ({names})
        select {names}
        from jsonb_populate_recordset(null::{table}, $1)
        on conflict ({_names(keys)}) do {then}
        returning {_names(keys, "held.")}
        """
    )


def row(source: object, same: str, **other: Any) -> Row:
    """The columns that are called as attributes of the source are, and others."""
    return {name: getattr(source, name) for name in same.split()} | other


def _names(columns: Sequence[str], of: str = "") -> str:
    """Quoted: some are words of SQL."""
    return ", ".join(f'{of}"{column}"' for column in columns)
