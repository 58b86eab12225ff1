"""What a service keeps sealed, sealed anew with the key that seals now: then an older key can leave the ring.

What it published is sealed anew by `medsync republish`; its journal forgets by itself.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from shared.database import Db
from shared.sealing import SealBroken, Sealer

KEY_HEADER = "ce_sealingkeyid"
BATCH = 200


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row by the text of its id; `bound_to` is what its seal is bound to."""

    id: str
    key_id: str
    sealed: bytes
    bound_to: str


class Kept(Protocol):
    """A table that holds what is sealed."""

    @property
    def table(self) -> str: ...

    async def rows(self, db: Db, after: str, limit: int) -> Sequence[SealedRow]:
        """Some, locked, in the order of their ids."""

    async def put(self, db: Db, row: SealedRow, key_id: str, sealed: bytes) -> None: ...

    async def by_key(self, db: Db) -> Counter[str]:
        """How many there are of each key."""


@dataclass(frozen=True, slots=True)
class KeptRows:
    """With the columns `key_id` and `sealed`. `row` is the column of its ids, `bound_to` an expression."""

    table: str
    row: str
    bound_to: str
    type: str = "text"  # of its ids

    async def rows(self, db: Db, after: str, limit: int) -> Sequence[SealedRow]:
        found = await db.fetch(
            f"""
            select {self.row}::text as id, key_id, sealed, {self.bound_to} as bound_to
            from {self.table}
            where $1::text = '' or {self.row} > nullif($1::text, '')::{self.type}
            order by {self.row}
            limit $2
            for update
            """,
            after,
            limit,
        )
        return [SealedRow(**row) for row in found]

    async def put(self, db: Db, row: SealedRow, key_id: str, sealed: bytes) -> None:
        await db.execute(
            f"update {self.table} set key_id = $2, sealed = $3 where {self.row} = $1::text::{self.type}",
            row.id,
            key_id,
            sealed,
        )

    async def by_key(self, db: Db) -> Counter[str]:
        found = await db.fetch(f"select key_id, count(*) as number from {self.table} group by key_id")
        return Counter({row["key_id"]: row["number"] for row in found})


@dataclass(frozen=True, slots=True)
class KeptRecords:
    """Records of Kafka as the fabric sets them aside: the key's id is a header, in base64."""

    table: str

    async def rows(self, db: Db, after: str, limit: int) -> Sequence[SealedRow]:
        found = await db.fetch(
            f"""
            select id, headers, payload
            from {self.table}
            where id > $1
              and headers @> jsonb_build_array(jsonb_build_array($3::text))
              and payload is not null
            order by id
            limit $2
            for update
            """,
            int(after or 0),
            limit,
            KEY_HEADER,
        )
        return [_of_record(row) for row in found]

    async def put(self, db: Db, row: SealedRow, key_id: str, sealed: bytes) -> None:
        headers = await db.fetchval(f"select headers from {self.table} where id = $1", int(row.id))
        named = [
            [name, _encoded(key_id) if name == KEY_HEADER else value]  # the others stay as they came
            for name, value in headers
        ]
        await db.execute(
            f"update {self.table} set headers = $2, payload = $3 where id = $1", int(row.id), named, sealed
        )

    async def by_key(self, db: Db) -> Counter[str]:
        found = await db.fetch(
            f"""
            select h ->> 1 as key_id, count(*) as number
            from {self.table}, jsonb_array_elements(headers) h
            where h ->> 0 = $1
            group by 1
            """,
            KEY_HEADER,
        )
        return Counter({_decoded(row["key_id"]): row["number"] for row in found})


def _of_record(row: Any) -> SealedRow:
    headers = {name: _decoded(value) for name, value in row["headers"]}
    bound_to = f"{headers.get('ce_type', '')}/{headers.get('ce_subject', '')}"
    return SealedRow(str(row["id"]), headers[KEY_HEADER], row["payload"], bound_to)


def _decoded(value: str | None) -> str:
    return base64.b64decode(value or "").decode(errors="replace")


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


SET_ASIDE: Sequence[Kept] = (KeptRecords("fabric.dead_letters"), KeptRecords("fabric.parked_events"))
"""What every service may keep."""


class NoSuchPlace(Exception):
    """A turn was to go on where no turn ended."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did; `next` is where the next one goes on, none at the end."""

    resealed: int
    unopened: int
    next: str | None


async def reseal(db: Db, sealer: Sealer, kept: Sequence[Kept], after: str) -> Turn:
    """Seal some rows anew, in the caller's transaction. What no key opens stays as it is, and is counted.

    `after`: "" to begin with, later the `next` of the turn before. Raises NoSuchPlace.
    """
    names = [each.table for each in kept]
    name, _, row_id = (after or f"{names[0]}:").partition(":")
    if name not in names:
        raise NoSuchPlace
    at = names.index(name)
    try:
        rows = await kept[at].rows(db, row_id, BATCH)
    except (ValueError, asyncpg.DataError):
        raise NoSuchPlace from None
    resealed = unopened = 0
    for row in rows:
        if row.key_id == sealer.key_id:
            continue
        try:
            plain = sealer.open(row.sealed, key_id=row.key_id, bound_to=row.bound_to)
        except SealBroken:
            unopened += 1
            continue
        await kept[at].put(db, row, *sealer.seal(plain, bound_to=row.bound_to))
        resealed += 1
    if len(rows) == BATCH:
        return Turn(resealed, unopened, f"{name}:{rows[-1].id}")
    return Turn(resealed, unopened, f"{names[at + 1]}:" if at + 1 < len(names) else None)
