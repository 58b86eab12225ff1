"""Who patients are: names, numbers, birth dates and addresses, sealed with a key of each one's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import TypeAdapter

from services.enrollment.domain.records import Fed, FedPatient, Person, Wishes, normal_name
from services.enrollment.store.feed import Patient, digest_of, patient_of
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys, InClear, Index, hexed
from shared.events.enrollment import Circumstances, CyclePolicy, Phone

COLUMNS_IN_CLEAR = ["number", "given_name", "family_name", "birth_date", "phones", "address"]
"""Of before; empty once they are sealed."""


@dataclass(frozen=True, slots=True)
class Who:
    """What is sealed of a patient."""

    number: str  # the source's own
    given_name: str
    family_name: str
    birth_date: date
    phones: tuple[Phone, ...]
    address: str


WHO = TypeAdapter(Who)


def opened(keys: DataKeys, row: Mapping[str, Any]) -> Who:
    """Who a row is. Raises SealBroken."""
    return WHO.validate_python(keys.open(row))


def person_of(who: Who, row: Mapping[str, Any]) -> Person:
    """With what stands in clear beside it."""
    return Person(
        given_name=who.given_name,
        family_name=who.family_name,
        birth_date=who.birth_date,
        phones=who.phones,
        address=who.address,
        time_zone=row["time_zone"],
        language=row["language"],
    )


async def load_fed_patients(
    db: Db, keys: DataKeys, patient_ids: Collection[str]
) -> dict[str, Fed[FedPatient]]:
    """What the feed last said of these patients."""
    rows = await db.fetch(
        f"""
        select
            p.patient_id,
            p.fed_revision,
            p.fed_digest,
            p.store_id,
            p.cycle_policy,
            p.must_weekdays,
            p.preferred_weekday,
            coalesce(p.long_term_care, false) as long_term_care,
            coalesce(p.circumstances, '{{}}') as circumstances,
            w.sealed,
            w.time_zone,
            w.language,
            {DATA_KEY}
        from patients p
        join people w using (patient_id)
        left join fabric.data_keys k using (patient_id)
        where p.patient_id = any($1)
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: _fed_patient(keys, row) for row in rows}


def _fed_patient(keys: DataKeys, row: Mapping[str, Any]) -> Fed[FedPatient]:
    who = opened(keys, row)
    wishes = Wishes(
        cycle_policy=CyclePolicy(row["cycle_policy"]) if row["cycle_policy"] else None,
        must_weekdays=tuple(row["must_weekdays"]),
        preferred_weekday=row["preferred_weekday"],
    )
    circumstances = Circumstances.model_validate(row["circumstances"])
    value = FedPatient(
        who.number, row["store_id"], wishes, person_of(who, row), row["long_term_care"], circumstances
    )
    return Fed(
        row["patient_id"],
        row["fed_revision"],
        value,
        row["patient_id"],
        digest_of(row["fed_digest"], row["fed_revision"]),
    )


async def save_people(db: Db, keys: DataKeys, patients: Iterable[Fed[FedPatient]]) -> None:
    """Save who these patients are, under the next revision of their contact details."""
    fed = {each.patient_id: each.value for each in patients}
    who = {
        patient_id: Who(
            value.number,
            value.person.given_name,
            value.person.family_name,
            value.person.birth_date,
            value.person.phones,
            value.person.address,
        )
        for patient_id, value in fed.items()
    }
    sealed = await keys.seal(db, who)
    await db.execute(
        """
        insert into people (patient_id, sealed, time_zone, language, revision)
        select patient_id, sealed, time_zone, language, (select fabric.first_revision()) + 1
        from jsonb_populate_recordset(null::people, $1)
        on conflict (patient_id) do update set
            sealed = excluded.sealed,
            time_zone = excluded.time_zone,
            language = excluded.language,
            revision = people.revision + 1
        """,
        [
            {
                "patient_id": patient_id,
                "sealed": hexed(sealed[patient_id]),
                "time_zone": value.person.time_zone,
                "language": value.person.language,
            }
            for patient_id, value in fed.items()
        ],
    )
    await _save_indexes(db, await keys.index(db), who)


async def _save_indexes(db: Db, index: Index, who: Mapping[str, Who]) -> None:
    found_by = [
        (patient_id, each) for patient_id, person in who.items() for each in sorted(_indexes(index, person))
    ]
    await db.execute("delete from blind_indexes where patient_id = any($1)", list(who))
    await db.execute(
        """
        insert into blind_indexes (patient_id, hash)
        select *
        from unnest($1::text[], $2::text[])
        """,
        [patient_id for patient_id, _ in found_by],
        [each for _, each in found_by],
    )


def _indexes(index: Index, who: Who) -> set[str]:
    named = of_name(index, who.family_name, who.birth_date)
    return {named, *(of_phone(index, phone.number) for phone in who.phones)}


def of_name(index: Index, family_name: str, birth_date: date) -> str:
    """By what somebody of this name, born on this day, is found."""
    return index.of("name", normal_name(family_name), birth_date.isoformat())


def of_phone(index: Index, number: str) -> str:
    """By what somebody with this number is found."""
    return index.of("phone", number)


async def find_people(
    db: Db, hashes: Collection[str], *, stores: Stores, after: str, limit: int
) -> list[Patient]:
    """Patients who are found by all of these, by id."""
    rows = await db.fetch(
        """
        select p.patient_id, p.store_id, p.status, p.revision, p.disenrolled_for, p.survivor_id
        from patients p
        join blind_indexes b using (patient_id)
        where b.hash = any($1)
          and p.patient_id > $3
          and ($2::text[] is null or p.store_id = any($2))
        group by p.patient_id
        having count(*) = cardinality($1::text[])
        order by p.patient_id
        limit $4
        """,
        list(hashes),
        stores,
        after,
        limit,
    )
    return [patient_of(row) for row in rows]


async def _in_clear(db: Db, after: str, limit: int) -> list[str]:
    """Some of those who are not sealed yet."""
    rows = await db.fetch(
        "select patient_id from people where sealed is null and patient_id > $1 order by patient_id limit $2",
        after,
        limit,
    )
    return [row["patient_id"] for row in rows]


async def _seal_in_clear(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> None:
    """Seal who these locked patients are, where they stand in clear."""
    rows = await db.fetch(
        f"select patient_id, {', '.join(COLUMNS_IN_CLEAR)} from people where patient_id = any($1) and sealed is null",
        list(patient_ids),
    )
    who = {
        row["patient_id"]: WHO.validate_python({each: row[each] for each in COLUMNS_IN_CLEAR}) for row in rows
    }
    sealed = await keys.seal(db, who)
    await db.execute(
        f"""
        update people
        set sealed = s.sealed, {", ".join(f"{each} = null" for each in COLUMNS_IN_CLEAR)}
        from unnest($1::text[], $2::bytea[]) s (patient_id, sealed)
        where people.patient_id = s.patient_id
        """,
        list(sealed),
        list(sealed.values()),
    )
    await _save_indexes(db, await keys.index(db), who)


IN_CLEAR = InClear(_in_clear, _seal_in_clear)
