"""Whom to plan anew: what falls due, and everybody, batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from shared.access import Stores
from shared.database import Db


async def ask_for_replans(db: Db, store_ids: Collection[str], now: datetime) -> None:
    """Have every patient of these stores planned anew, as due work."""
    await db.execute(
        """
        insert into replans (patient_id, due_at)
        select patient_id, $2
        from patients
        where store_id = any($1)
          and enrolled
        """,
        list(store_ids),
        now,
    )


async def ask_households(db: Db, patient_ids: Sequence[str], now: datetime) -> None:
    """Have the others of these patients' households planned anew, as due work of the next minute: in this moment
    nobody sees what is planned in it."""
    await db.execute(
        """
        insert into replans (patient_id, due_at)
        select distinct other.patient_id, $2::timestamptz + interval '1 minute'
        from patients p
        join patients other using (household_id, store_id)
        where p.patient_id = any($1)
          and other.enrolled
          and other.patient_id <> all($1)
        """,
        patient_ids,
        now,
    )


async def take_replans(db: Db, patient_ids: Sequence[str], now: datetime) -> set[str]:
    """Whose store changed since they were last planned; that is no longer asked for."""
    rows = await db.fetch(
        """
        delete from replans
        where patient_id = any($1)
          and due_at <= $2
        returning patient_id
        """,
        patient_ids,
        now,
    )
    return {row["patient_id"] for row in rows}


async def due_looks(db: Db, patient_ids: Sequence[str], now: datetime) -> set[str]:
    """Of these patients, those whom time alone calls to look at again."""
    rows = await db.fetch(
        """
        select patient_id
        from plans
        where patient_id = any($1)
          and due_at <= $2
        """,
        patient_ids,
        now,
    )
    return {row["patient_id"] for row in rows}


def _chosen(stores: Stores, payer: str | None) -> str:
    """Patients who take part: of some stores ($1) or everywhere, with a prescription of one payer ($2) or of any.

    A condition that does not apply is left out, not made true: an index is then used whatever the values.
    """
    paid = "jsonb_build_object('prescriptions', jsonb_build_array(jsonb_build_object('payer', $2::text)))"
    of_store = "$1::text[] is null" if stores is None else "store_id = any($1::text[])"
    return f"enrolled and {of_store} and {f'profile @> {paid}' if payer else '$2::text is null'}"


async def enrolled_after(db: Db, *, stores: Stores, payer: str | None, after: str, limit: int) -> list[str]:
    """The next ids of patients who take part, in their order."""
    rows = await db.fetch(
        f"""
        select patient_id
        from patients
        where {_chosen(stores, payer)}
          and patient_id > $3
        order by patient_id
        limit $4
        """,
        stores,
        payer,
        after,
        limit,
    )
    return [row["patient_id"] for row in rows]


async def count_enrolled(db: Db, *, stores: Stores, payer: str | None) -> int:
    """How many patients take part."""
    return await db.fetchval(f"select count(*) from patients where {_chosen(stores, payer)}", stores, payer)


async def enrolled_by_store(db: Db, *, stores: Stores, payer: str | None) -> dict[str, int]:
    """How many patients take part at each store."""
    rows = await db.fetch(
        f"""
        select store_id, count(*) as patients
        from patients
        where {_chosen(stores, payer)}
        group by store_id
        order by store_id
        """,
        stores,
        payer,
    )
    return {row["store_id"]: row["patients"] for row in rows}
