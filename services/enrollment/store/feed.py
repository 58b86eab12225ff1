"""What the feed says: stores (and the days that staff close them), patients, prescriptions, fills."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

from services.enrollment.domain.profile import Standing
from services.enrollment.domain.records import Fed, FedFill, FedPatient
from shared.access import Stores
from shared.database import Db
from shared.events.enrollment import (
    Fill,
    Prescription,
    StoreChanged,
)
from shared.upsert import Row, row, upsert

V = TypeVar("V")


async def load_stores(db: Db, store_ids: Collection[str]) -> dict[str, Fed[StoreChanged]]:
    """What the feed last said of these stores."""
    rows = await db.fetch("select * from stores where store_id = any($1)", list(store_ids))
    return {
        row["store_id"]: Fed(
            row["store_id"],
            row["revision"],
            _store(row),
            digest=digest_of(row["fed_digest"], row["revision"]),
        )
        for row in rows
    }


def kept_digest(fed: Fed[Any]) -> str | None:
    """With its revision: a process of the version before writes a revision, and leaves the digest of an earlier one."""
    return f"{fed.revision}:{fed.digest}" if fed.digest else None


def digest_of(kept: str | None, revision: int) -> str:
    of, _, digest = (kept or "").partition(":")
    return digest if of == str(revision) else ""


def _store(row: Mapping[str, Any]) -> StoreChanged:
    return StoreChanged.model_validate({name: value for name, value in row.items() if value is not None})


async def published_stores(db: Db, store_ids: Collection[str]) -> list[StoreChanged]:
    """The stores as they are published: with the closures that staff set, under a revision that counts both."""
    rows = await db.fetch(
        """
        select
            s.*,
            array(
                select on_day
                from closures c
                where c.store_id = s.store_id and lifted_at is null
            ) as closures
        from stores s
        where store_id = any($1)
        order by store_id
        """,
        list(store_ids),
    )
    return [
        _store(row).model_copy(
            update={
                "revision": row["published_revision"],
                "closed_on": tuple(sorted({*row["closed_on"], *row["closures"]})),
            }
        )
        for row in rows
    ]


async def close_store(db: Db, store_id: str, on: date, *, why: str, now: datetime, by: str) -> bool:
    """Note that a store is closed on a day; says whether that is news."""
    closed = await db.fetchval(
        """
        insert into closures as held (store_id, on_day, why, closed_at, closed_by)
        values ($1, $2, $3, $4, $5)
        on conflict (store_id, on_day) do update
        set why = excluded.why,
            closed_at = excluded.closed_at,
            closed_by = excluded.closed_by,
            lifted_at = null,
            lifted_by = null
        where held.lifted_at is not null
        returning store_id
        """,
        store_id,
        on,
        why,
        now,
        by,
    )
    return closed is not None


async def reopen_store(db: Db, store_id: str, on: date, *, now: datetime, by: str) -> bool:
    """Lift a closure that staff set; says whether there was one."""
    reopened = await db.fetchval(
        """
        update closures
        set lifted_at = $3, lifted_by = $4
        where store_id = $1 and on_day = $2 and lifted_at is null
        returning store_id
        """,
        store_id,
        on,
        now,
        by,
    )
    return reopened is not None


async def raise_store_revision(db: Db, store_id: str) -> None:
    """The next revision of what is published about a store."""
    await db.execute(
        """
        update stores
        set published_revision = published_revision + 1
        where store_id = $1
        """,
        store_id,
    )


async def take_turned_years(db: Db, store_ids: Collection[str], now: datetime) -> list[str]:
    """Those of these stores where a year began since their holidays were last told; they count as told from now on."""
    rows = await db.fetch(
        """
        update stores
        set holidays_year = extract(year from $2 at time zone time_zone),
            published_revision = published_revision + 1
        where store_id = any($1)
          and holidays <> 'none'
          and holidays_year < extract(year from $2 at time zone time_zone)
        returning store_id
        """,
        list(store_ids),
        now,
    )
    return [row["store_id"] for row in rows]


async def add_closed_days(db: Db, days: Mapping[str, Iterable[date]]) -> None:
    """Days on which these stores are closed besides, by store."""
    added = [(store_id, day) for store_id, closed in days.items() for day in closed]
    await db.execute(
        """
        update stores s
        set closed_on = array(select distinct unnest(s.closed_on || more.days) order by 1)
        from (
            select store_id, array_agg(on_day) as days
            from unnest($1::text[], $2::date[]) as told (store_id, on_day)
            group by store_id
        ) more
        where s.store_id = more.store_id
        """,
        [store_id for store_id, _ in added],
        [day for _, day in added],
    )


async def save_stores(db: Db, stores: Iterable[Fed[StoreChanged]], now: datetime) -> None:
    await db.execute(
        """
        insert into stores as held (
            store_id, revision, name, state, time_zone, hours, closed_on, holidays, holidays_year, daily_cap, phone,
            delivery_weekdays, lead_days, fed_digest, published_revision
        )
        select
            store_id, revision, name, state, time_zone, hours, closed_on, holidays,
            extract(year from $2::timestamptz at time zone 'UTC'), daily_cap, phone, delivery_weekdays, lead_days,
            fed_digest, (select fabric.first_revision()) + revision
        from jsonb_populate_recordset(null::stores, $1)
        on conflict (store_id) do update set
            revision = excluded.revision,
            name = excluded.name,
            state = excluded.state,
            time_zone = excluded.time_zone,
            hours = excluded.hours,
            closed_on = excluded.closed_on,
            holidays = excluded.holidays,
            holidays_year = excluded.holidays_year,
            daily_cap = excluded.daily_cap,
            phone = excluded.phone,
            delivery_weekdays = excluded.delivery_weekdays,
            lead_days = excluded.lead_days,
            fed_digest = excluded.fed_digest,
            published_revision = greatest(held.published_revision + 1, excluded.published_revision)
        where excluded.revision > held.revision
        """,
        [{**fed.value.model_dump(mode="json"), "fed_digest": kept_digest(fed)} for fed in stores],
        now,
    )


@dataclass(frozen=True)
class Patient:
    """Where a patient stands, without anything that identifies."""

    patient_id: str
    store_id: str
    status: Standing
    revision: int
    disenrolled_for: str | None
    survivor_id: str | None


async def load_patients(db: Db, patient_ids: Collection[str]) -> dict[str, Patient]:
    """Where each of these patients stands; those not known are left out."""
    rows = await db.fetch(
        """
        select patient_id, store_id, status, revision, disenrolled_for, survivor_id
        from patients
        where patient_id = any($1)
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: patient_of(row) for row in rows}


def patient_of(row: Mapping[str, Any]) -> Patient:
    return Patient(
        patient_id=row["patient_id"],
        store_id=row["store_id"],
        status=Standing(row["status"]),
        revision=row["revision"],
        disenrolled_for=row["disenrolled_for"],
        survivor_id=row["survivor_id"],
    )


_keep_patients = upsert(
    "patients",
    "patient_id",
    "fed_revision store_id cycle_policy must_weekdays preferred_weekday long_term_care circumstances fed_digest",
    newer="fed_revision",
)


async def save_patients(db: Db, patients: Iterable[Fed[FedPatient]]) -> None:
    """Save what does not identify; `people.save_people` saves the rest."""
    await _keep_patients(
        db,
        [
            {
                "patient_id": fed.patient_id,
                "fed_revision": fed.revision,
                "store_id": fed.value.store_id,
                **row(fed.value.wishes, "cycle_policy must_weekdays preferred_weekday"),
                "long_term_care": fed.value.long_term_care,
                "circumstances": fed.value.circumstances.model_dump(mode="json", exclude_defaults=True),
                "fed_digest": kept_digest(fed),
            }
            for fed in patients
        ],
    )


async def list_patients(
    db: Db, *, stores: Stores, status: Standing | None, after: str, limit: int
) -> list[Patient]:
    """Patients by id."""
    rows = await db.fetch(
        """
        select patient_id, store_id, status, revision, disenrolled_for, survivor_id
        from patients
        where
            patient_id > $1
            and ($2::text[] is null or store_id = any($2))
            and ($3::text is null or status = $3)
        order by patient_id
        limit $4
        """,
        after,
        stores,
        status,
        limit,
    )
    return [patient_of(row) for row in rows]


async def load_prescriptions(db: Db, rx_ids: Collection[str]) -> dict[str, Fed[Prescription]]:
    """What the feed last said of these prescriptions (less what was handed over since)."""
    rows = await db.fetch("select * from prescriptions where rx_id = any($1)", list(rx_ids))
    return {row["rx_id"]: _fed_prescription(row) for row in rows}


async def load_renewal_pairs(db: Db, rx_ids: Collection[str]) -> list[Fed[Prescription]]:
    """These prescriptions, those that they renew, and those that renew them, where not yet superseded."""
    rows = await db.fetch(
        """
        select *
        from prescriptions
        where
            superseded_by is null
            and (
                rx_id = any($1)
                or renews = any($1)
                or rx_id in (select renews from prescriptions where rx_id = any($1))
            )
        """,
        list(rx_ids),
    )
    return [_fed_prescription(row) for row in rows]


def _fed_prescription(row: Mapping[str, Any]) -> Fed[Prescription]:
    prescription = Prescription.model_validate(dict(row))
    return Fed(
        prescription.rx_id,
        row["fed_revision"],
        prescription,
        row["patient_id"],
        digest_of(row["fed_digest"], row["fed_revision"]),
    )


_keep_prescriptions = upsert(
    "prescriptions",
    "rx_id",
    "patient_id fed_revision fed_digest drug status directions as_needed units_per_day usual_quantity usual_days "
    "quantity_left refills_left written_on expires_on prescriber_id payer renews prior_authorization_until fill_from",
    newer="fed_revision",
    same="patient_id",
)


async def save_prescriptions(db: Db, prescriptions: Iterable[Fed[Prescription]]) -> set[str]:
    """Save what the feed says. What a patient reported, and a renewal that replaced it, stay as they are; so does
    whose it is. Returns the ids of those saved."""
    rows = await _keep_prescriptions(
        db, [{**vars(fed.value), **_fed_row(fed)} for fed in _in_turn(prescriptions)]
    )
    return {each["rx_id"] for each in rows}


def _fed_row(fed: Fed[Any]) -> Row:
    return row(fed, "patient_id", fed_revision=fed.revision, fed_digest=kept_digest(fed))


async def mark_superseded(db: Db, renewals: Mapping[str, str]) -> None:
    """Record which prescription replaces which: old rx_id to new."""
    await db.execute(
        """
        update prescriptions
        set superseded_by = renewal.new
        from unnest($1::text[], $2::text[]) as renewal (old, new)
        where rx_id = renewal.old
        """,
        list(renewals.keys()),
        list(renewals.values()),
    )


async def load_fills(db: Db, fill_ids: Collection[str]) -> dict[str, Fed[FedFill]]:
    """What is known of these fills, by the feed or from the hand-over."""
    rows = await db.fetch("select * from fills where fill_id = any($1)", list(fill_ids))
    return {
        row["fill_id"]: Fed(
            row["fill_id"],
            row["fed_revision"],
            FedFill(Fill.model_validate({**row, "elsewhere": bool(row["elsewhere"])}), row["reversed"]),
            row["patient_id"],
            digest_of(row["fed_digest"], row["fed_revision"]),
        )
        for row in rows
    }


_keep_fills = upsert(
    "fills",
    "fill_id",
    "patient_id rx_id fed_revision fed_digest filled_on handed_over_on quantity days_supply days_supply_billed "
    "elsewhere reversed",
    newer="fed_revision",
    same="rx_id",
)


async def save_fills(db: Db, fills: Iterable[Fed[FedFill]]) -> set[str]:
    """Save what the feed says; a fill stays of its prescription. Returns the ids of those saved."""
    rows = await _keep_fills(
        db,
        [
            {**vars(fed.value.fill), **_fed_row(fed), "reversed": fed.value.reversed}
            for fed in _in_turn(fills)
        ],
    )
    return {each["fill_id"] for each in rows}


def _in_turn(feds: Iterable[Fed[V]]) -> list[Fed[V]]:
    """By key: two requests that name the same ones wait for one another, and never each for the other."""
    return sorted(feds, key=lambda fed: fed.key)


async def owners_of(db: Db, rx_ids: Collection[str]) -> dict[str, str]:
    """The patient of each of these prescriptions; those not known are left out."""
    rows = await db.fetch("select rx_id, patient_id from prescriptions where rx_id = any($1)", list(rx_ids))
    return {row["rx_id"]: row["patient_id"] for row in rows}
