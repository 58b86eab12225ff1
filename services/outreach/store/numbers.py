"""Numbers by their blind index: equal ones are known again, and none can be dialed. And what stood in clear before."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from services.outreach.store import texts
from shared.database import Db
from shared.datakeys import DataKeys, InClear, Index
from shared.sealing import SealBroken


def of_number(index: Index, number: str) -> str:
    """By what a number is known again; of what is one already, itself."""
    return index.of("phone", number) if number.startswith("+") else number


async def indexes_of(db: Db, keys: DataKeys, numbers: Collection[str]) -> list[str]:
    """By what these numbers are known again."""
    index = await keys.index(db)
    return [of_number(index, number) for number in numbers]


# ---- what a release of before left in clear -------------------------------------------------------------------


async def _details_in_clear(db: Db, after: str, limit: int) -> list[str]:
    rows = await db.fetch(
        "select patient_id from details where sealed is null and patient_id > $1 order by patient_id limit $2",
        after,
        limit,
    )
    return [row["patient_id"] for row in rows]


SEALED = ("given_name", "family_name", "birth_date", "address", "phones")


async def _seal_details(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> None:
    rows = await db.fetch(
        """
        select d.patient_id, d.given_name, d.family_name, d.birth_date, d.address,
               array(
                   select jsonb_build_object('number', n.number, 'kind', n.kind)
                   from phones n
                   where n.patient_id = d.patient_id
                   order by n.position
               ) as phones
        from details d
        where d.patient_id = any($1)
          and d.sealed is null
        """,
        list(patient_ids),
    )
    sealed = await keys.seal(db, {row["patient_id"]: {name: row[name] for name in SEALED} for row in rows})
    await db.execute(
        """
        update details d
        set sealed = s.sealed, has_address = address > '',
            given_name = null, family_name = null, birth_date = null, address = null
        from unnest($1::text[], $2::bytea[]) s (patient_id, sealed)
        where d.patient_id = s.patient_id
        """,
        list(sealed),
        list(sealed.values()),
    )
    # A lease that is out now is reported without its number, as one by letter is.
    await db.execute(
        "delete from lent_numbers where patient_id = any($1) and number is not null", list(sealed)
    )


async def _numbers_in_clear(db: Db, after: str, limit: int) -> list[str]:
    rows = await db.fetch(
        """
        select number
        from (
            select number from phones
            union
            select number from stopped_numbers
            union
            select number from number_opt_outs
        ) every
        where starts_with(number, '+')
          and number > $1
        order by number
        limit $2
        """,
        after,
        limit,
    )
    return [row["number"] for row in rows]


async def _index_numbers(db: Db, keys: DataKeys, numbers: Collection[str]) -> None:
    indexes = await indexes_of(db, keys, numbers)
    for table in ("phones", "stopped_numbers", "number_opt_outs"):
        await db.execute(
            f"""
            update {table} t
            set number = s.index
            from unnest($1::text[], $2::text[]) s (number, index)
            where t.number = s.number
            """,
            list(numbers),
            indexes,
        )


async def _seal_texts(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> None:
    for text in await texts.of_the_ring(db, patient_ids):
        bound_to = f"text/{text['text_id']}"
        with suppress(SealBroken):  # its key is gone: nobody can read it
            words = keys.sealer.open(text["sealed"], key_id=text["key_id"], bound_to=bound_to).decode()
            await texts.reseal(db, keys, text, words)


IN_CLEAR = (
    InClear(_details_in_clear, _seal_details),
    InClear(_numbers_in_clear, _index_numbers, of="phone"),
    InClear(texts.sealed_with_the_ring, _seal_texts),
)
"""The details before the numbers: they hold those of before in clear."""
