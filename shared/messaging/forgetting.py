"""Who is to be forgotten: their key, what was sealed with it, and every copy that the fabric keeps of it.

What happened stays, under an id that says nobody: plans, fills and visits are records of the pharmacy. That somebody
was forgotten is kept by a hash of the id alone, so that a database that was put back forgets them again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from shared.database import Db
from shared.datakeys import DataKeys
from shared.events import EVENTS
from shared.messaging.unit import Unit, patient

LOOK_THROUGH_SECONDS = 600
"""Looking through a journal of weeks for one patient: no index is kept for what is done some times a year."""

SEALED_TOPICS = sorted({event.TOPIC for event in EVENTS.values() if event.SEALED})


async def _nothing(db: Db, patient_ids: Collection[str]) -> None:
    pass


async def _for_nothing(db: Db, patient_id: str) -> str | None:
    return None


@dataclass(frozen=True)
class Personal:
    """What a service holds of who patients are, beside what the fabric does.

    `rows`: tables whose rows of a patient go. `kept`: the other tables with rows of patients, which stay. `reword`:
    takes out of these what staff wrote in their own words. All have a column `patient_id`. `waits`: what has to be over
    before somebody's name may go, in words.
    """

    rows: Sequence[str] = ()
    kept: Sequence[str] = ()
    reword: Callable[[Db, Collection[str]], Awaitable[None]] = _nothing
    waits: Callable[[Db, str], Awaitable[str | None]] = _for_nothing


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How far one service is with one patient; it is done where `erased_at` is there and `holds` is empty."""

    erased_at: datetime | None
    holds: dict[str, int]  # table to rows that say who the patient is
    waits_for: str | None = None  # while it does, the name is needed


def hash_of(patient_id: str) -> str:
    """By what it is remembered that somebody was forgotten."""
    return sha256(f"erased/{patient_id}".encode()).hexdigest()


async def forget(
    unit: Unit, personal: Personal, patient_ids: Collection[str], *, for_good: bool = True
) -> None:
    """Forget these locked patients. Done twice, it changes nothing. `for_good`: nothing of them can come any more."""
    db, ids = unit.db, list(patient_ids)
    for table in (*personal.rows, "fabric.data_keys"):
        await db.execute(f"delete from {table} where patient_id = any($1)", ids)
    await personal.reword(db, ids)
    await _forget_copies(db, ids)
    if for_good:
        await db.execute(
            "insert into fabric.erased (patient_hash) select unnest($1::text[]) on conflict do nothing",
            [hash_of(each) for each in ids],
        )


async def _forget_copies(db: Db, ids: Sequence[str]) -> None:
    """Letters and events set aside become tombstones; kept answers say no more than that the key was used; of the audit
    the rows stay, without what people gave as their reasons."""
    keys = [patient(each) for each in ids]
    for table in ("fabric.dead_letters", "fabric.parked_events"):
        await db.execute(
            f"""
            update {table}
            set payload = null
            where topic = any($2)
              and (key = any($1) or record_key = any($3))
            """,
            keys,
            SEALED_TOPICS,
            [each.encode() for each in ids],
        )
    await db.execute(
        """
        delete from fabric.audit_reasons r
        using fabric.audit a
        where a.reason = r.digest
          and a.patients && $1::text[]
        """,
        list(ids),
    )
    await db.execute("update fabric.answers set sealed = '' where patients && $1::text[]", list(ids))


async def forget_published(db: Db, patient_ids: Collection[str]) -> None:
    """In the journal of who published it: what is not sent yet is sent as a tombstone."""
    await db.execute("set local statement_timeout = 0")
    await db.execute(
        "update fabric.outbox set payload = '' where topic = any($1) and key = any($2) and payload <> ''",
        SEALED_TOPICS,
        list(patient_ids),
        timeout=LOOK_THROUGH_SECONDS,
    )


async def erased_among(db: Db, patient_ids: Collection[str]) -> set[str]:
    """Those of these patients who were forgotten."""
    by_hash = {hash_of(each): each for each in patient_ids}
    rows = await db.fetch(
        "select patient_hash from fabric.erased where patient_hash = any($1)", list(by_hash)
    )
    return {by_hash[row["patient_hash"]] for row in rows}


async def erased(db: Db, after: str, limit: int) -> list[str]:
    """The hashes of who was forgotten, in their order."""
    rows = await db.fetch(
        "select patient_hash from fabric.erased where patient_hash > $1 order by patient_hash limit $2",
        after,
        limit,
    )
    return [row["patient_hash"] for row in rows]


async def known_again(db: Db, personal: Personal, hashes: Collection[str]) -> list[str]:
    """Patients of these hashes of whom this database has anything, and does not know that they are forgotten."""
    every = " union ".join(
        f"select patient_id from {table}" for table in (*personal.rows, *personal.kept, "fabric.data_keys")
    )
    await db.execute("set local statement_timeout = 0")
    rows = await db.fetch(
        f"""
        select patient_id
        from ({every}) every
        where encode(sha256(convert_to('erased/' || patient_id, 'UTF8')), 'hex') = any (
            select unnest($1::text[])
            except
            select patient_hash from fabric.erased
        )
        """,
        list(hashes),
        timeout=LOOK_THROUGH_SECONDS,
    )
    return [row["patient_id"] for row in rows]


async def how_far(db: Db, personal: Personal, patient_id: str) -> Forgotten:
    """Whether a patient is forgotten here, and what is still held."""
    holds = {}
    for table in (*personal.rows, "fabric.data_keys"):
        if number := await db.fetchval(f"select count(*) from {table} where patient_id = $1", patient_id):
            holds[table] = number
    at = await db.fetchval("select erased_at from fabric.erased where patient_hash = $1", hash_of(patient_id))
    return Forgotten(at, holds, await personal.waits(db, patient_id))


async def held_of(
    db: Db, keys: DataKeys, personal: Personal, patient_id: str
) -> dict[str, list[dict[str, Any]]]:
    """Every row of a patient, by table; what is sealed is opened."""
    held: dict[str, list[dict[str, Any]]] = {}
    for table in (*personal.rows, *personal.kept):
        rows = await db.fetch(
            f"""
            select to_jsonb(t) - 'sealed' - 'key_id' as row, to_jsonb(t) ->> 'sealed' as sealed,
                   k.key_id as data_key_id, k.sealed as data_key
            from {table} t
            left join fabric.data_keys k using (patient_id)
            where patient_id = $1
            """,
            patient_id,
        )
        if rows:
            held[table] = [_shown(keys, patient_id, row) for row in rows]
    return held


def _shown(keys: DataKeys, patient_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in row["row"].items() if value is not None}
    if row["sealed"] is None:
        return shown
    sealed = bytes.fromhex(row["sealed"].removeprefix(r"\x"))
    return shown | {"said": keys.open({**row, "patient_id": patient_id, "sealed": sealed})}
