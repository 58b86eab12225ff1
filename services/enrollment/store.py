"""Every SQL statement of enrollment. Statements are set-wise: one for a whole request or batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import asyncpg

from services.enrollment.domain.candidates import History
from services.enrollment.domain.profile import HISTORY, Standing, belongs, status_of
from services.enrollment.domain.records import Fed, FedFill, FedPatient, Person, Wishes
from shared.events import Event, Reason
from shared.events.enrollment import (
    Channel,
    Circumstances,
    Consent,
    ContactDetailsChanged,
    CyclePolicy,
    DisenrolmentReason,
    Fill,
    PatientEnrolled,
    Phone,
    Prescription,
    PrescriptionStatus,
    Profile,
    StockReport,
    StoreChanged,
)

Db: TypeAlias = "asyncpg.Connection"


@dataclass(frozen=True)
class Patient:
    """Where a patient stands, without anything that identifies."""

    patient_id: str
    store_id: str
    status: Standing
    revision: int
    disenrolled_for: str | None
    survivor_id: str | None


@dataclass(frozen=True)
class Published:
    """The profile of an enrolled patient under the revision that it is published with."""

    patient_id: str
    revision: int
    profile: Profile


# --- what is published ---


async def next_profiles(db: Db, patient_ids: Collection[str], now: datetime) -> list[Published]:
    """Raise the revision of those who are enrolled, and read their profiles as they now stand."""
    rows = await db.fetch(
        """
        update patients
        set revision = revision + 1, published_at = $2
        where patient_id = any($1) and status = 'enrolled'
        returning patient_id, revision
        """,
        list(patient_ids),
        now,
    )
    revisions = {row["patient_id"]: row["revision"] for row in rows}
    profiles = await load_profiles(db, revisions)
    return [
        Published(patient_id, revisions[patient_id], profiles[patient_id]) for patient_id in sorted(revisions)
    ]


async def load_profiles(
    db: Db, patient_ids: Collection[str], now: datetime | None = None
) -> dict[str, Profile]:
    """The profiles of these patients as of their last publication, `now` where there was none.

    Wishes said with the consent go before those of the feed.
    """
    ids = list(patient_ids)
    patients = await db.fetch(
        """
        select
            p.patient_id,
            p.store_id,
            coalesce(p.long_term_care, false) as long_term_care,
            coalesce(c.cycle_policy, p.cycle_policy) as cycle_policy,
            case when c.must_weekdays <> '{}' then c.must_weekdays else p.must_weekdays end as must_weekdays,
            coalesce(c.preferred_weekday, p.preferred_weekday) as preferred_weekday,
            coalesce(p.circumstances, '{}') as circumstances,
            (coalesce(p.published_at, $2) at time zone s.time_zone)::date as today
        from unnest($1::text[]) as wanted (patient_id)
        join patients p using (patient_id)
        join stores s using (store_id)
        left join consents c on c.patient_id = p.patient_id and c.ended_at is null
        """,
        ids,
        now,
    )
    prescriptions = await _prescriptions_of(db, ids)
    fills = await _fills_of(
        db, ids, since=min((row["today"] for row in patients), default=date.max) - HISTORY
    )
    reports = await _stock_reports_of(db, ids)
    stated = await stated_circumstances(db, ids)
    profiles: dict[str, Profile] = {}
    for row in patients:
        patient_id = row["patient_id"]
        history = [fill for fill in fills[patient_id] if fill.handed_over_on >= row["today"] - HISTORY]
        belonging = tuple(each for each in prescriptions[patient_id] if belongs(each, history))
        rx_ids = {prescription.rx_id for prescription in belonging}
        profiles[patient_id] = Profile(
            store_id=row["store_id"],
            cycle_policy=row["cycle_policy"] or CyclePolicy.rolling_30,
            must_weekdays=tuple(row["must_weekdays"]),
            preferred_weekday=row["preferred_weekday"],
            prescriptions=belonging,
            fills=tuple(fill for fill in history if fill.rx_id in rx_ids),
            stock_reports=tuple(report for report in reports[patient_id] if report.rx_id in rx_ids),
            long_term_care=row["long_term_care"],
            **dict(Circumstances.model_validate({**row["circumstances"], **stated.get(patient_id, {})})),
        )
    return profiles


async def stated_circumstances(db: Db, patient_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What staff stated of these patients and did not take back: it goes before the feed's."""
    rows = await db.fetch(
        """
        select patient_id, said
        from statements
        where patient_id = any($1)
        order by statement_id
        """,
        patient_ids,
    )
    stated: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        stated[row["patient_id"]] |= row["said"]
    return {
        patient_id: {name: value for name, value in said.items() if value is not None}
        for patient_id, said in stated.items()
    }


async def state_circumstances(
    db: Db, patient_id: str, said: Mapping[str, Any], *, now: datetime, by: str, role: str
) -> None:
    """Keep what a member of staff stated; a null takes back what was stated before."""
    await db.execute(
        """
        insert into statements (patient_id, stated_at, recorded_by, recorded_as, said)
        values ($1, $2, $3, $4, $5)
        """,
        patient_id,
        now,
        by,
        role,
        said,
    )


async def _prescriptions_of(db: Db, patient_ids: Sequence[str]) -> dict[str, list[Prescription]]:
    """Every prescription of these patients, with the status that counts, oldest first."""
    rows = await db.fetch(
        """
        select *
        from prescriptions
        where patient_id = any($1)
        order by written_on, rx_id
        """,
        patient_ids,
    )
    found: dict[str, list[Prescription]] = defaultdict(list)
    for row in rows:
        status = status_of(
            PrescriptionStatus(row["status"]),
            superseded=row["superseded_by"] is not None,
            reported_stopped=row["reported_stopped_on"] is not None,
        )
        found[row["patient_id"]].append(Prescription.model_validate({**row, "status": status}))
    return found


async def _fills_of(db: Db, patient_ids: Sequence[str], *, since: date) -> dict[str, list[Fill]]:
    """The fills that count, handed over since then, oldest first."""
    rows = await db.fetch(
        """
        select
            patient_id, fill_id, rx_id, filled_on, handed_over_on, quantity, days_supply, days_supply_billed,
            coalesce(elsewhere, false) as elsewhere
        from fills
        where patient_id = any($1) and handed_over_on >= $2 and not reversed
        order by handed_over_on, fill_id
        """,
        patient_ids,
        since,
    )
    found: dict[str, list[Fill]] = defaultdict(list)
    for row in rows:
        found[row["patient_id"]].append(Fill.model_validate(dict(row)))
    return found


async def _stock_reports_of(db: Db, patient_ids: Sequence[str]) -> dict[str, list[StockReport]]:
    """What these patients said they have left, oldest first."""
    rows = await db.fetch(
        """
        select patient_id, rx_id, reported_on, days_left
        from reported_changes
        where patient_id = any($1) and change = 'on_hand' and days_left is not null
        order by reported_on, rx_id
        """,
        patient_ids,
    )
    found: dict[str, list[StockReport]] = defaultdict(list)
    for row in rows:
        found[row["patient_id"]].append(StockReport.model_validate(dict(row)))
    return found


async def contact_details(db: Db, patient_ids: Collection[str]) -> list[ContactDetailsChanged]:
    """Names and numbers of those of these patients who are enrolled; the language agreed with the consent."""
    rows = await db.fetch(
        """
        select
            w.patient_id,
            w.revision,
            w.given_name,
            w.family_name,
            w.birth_date,
            w.phones,
            w.address,
            w.time_zone,
            c.language
        from people w
        join consents c on c.patient_id = w.patient_id and c.ended_at is null
        where w.patient_id = any($1)
        order by w.patient_id
        """,
        list(patient_ids),
    )
    return [ContactDetailsChanged.model_validate(dict(row)) for row in rows]


async def current_state(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """What is published, as it stands, for those who missed it: in order of key, revisions unchanged.

    `limit` counts keys (stores and patients): an enrolled patient has two events.
    """
    keys = await db.fetch(
        """
        select key, is_store
        from (
            select store_id collate "C" as key, true as is_store
            from stores
            where $1::text is null and ($2::text is null or store_id = $2)
            union all
            select patient_id collate "C", false
            from patients
            where
                status = 'enrolled'
                and ($1::text is null or patient_id = $1)
                and ($2::text is null or store_id = $2)
        ) as keyed
        where key > $3
        order by key
        limit $4
        """,
        patient,
        store,
        after,
        limit,
    )
    stores = await published_stores(db, [row["key"] for row in keys if row["is_store"]])
    patient_ids = [row["key"] for row in keys if not row["is_store"]]
    events: list[Event] = [*stores]
    events.extend(await enrolments(db, patient_ids))
    events.extend(await contact_details(db, patient_ids))
    return sorted(events, key=lambda event: event.key)


async def enrolments(db: Db, patient_ids: Collection[str]) -> list[PatientEnrolled]:
    """The enrolment of each of these patients who is enrolled, under the revision that stands."""
    consents = await load_consents(db, patient_ids)
    patients = await load_patients(db, consents)
    profiles = await load_profiles(db, consents)
    return [
        PatientEnrolled(
            patient_id=patient_id,
            revision=patients[patient_id].revision,
            consent=consent,
            profile=profiles[patient_id],
        )
        for patient_id, consent in sorted(consents.items())
    ]


# --- the feed ---


async def load_stores(db: Db, store_ids: Collection[str]) -> dict[str, Fed[StoreChanged]]:
    """What the feed last said of these stores."""
    rows = await db.fetch("select * from stores where store_id = any($1)", list(store_ids))
    stores = [_store(row) for row in rows]
    return {store.store_id: Fed(store.store_id, store.revision, store) for store in stores}


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
                "revision": row["published_revision"] or row["revision"],
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
        set published_revision = coalesce(published_revision, revision) + 1
        where store_id = $1
        """,
        store_id,
    )


async def save_stores(db: Db, stores: Iterable[Fed[StoreChanged]]) -> None:
    await db.execute(
        """
        insert into stores as held (
            store_id, revision, name, state, time_zone, hours, closed_on, daily_cap, phone, delivery_weekdays, lead_days
        )
        select
            store_id, revision, name, state, time_zone, hours, closed_on, daily_cap, phone, delivery_weekdays, lead_days
        from jsonb_populate_recordset(null::stores, $1)
        on conflict (store_id) do update set
            revision = excluded.revision,
            name = excluded.name,
            state = excluded.state,
            time_zone = excluded.time_zone,
            hours = excluded.hours,
            closed_on = excluded.closed_on,
            daily_cap = excluded.daily_cap,
            phone = excluded.phone,
            delivery_weekdays = excluded.delivery_weekdays,
            lead_days = excluded.lead_days,
            published_revision = greatest(held.published_revision + 1, excluded.revision)
        where excluded.revision > held.revision
        """,
        [fed.value.model_dump(mode="json") for fed in stores],
    )


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
    return {row["patient_id"]: _patient(row) for row in rows}


def _patient(row: Mapping[str, Any]) -> Patient:
    return Patient(
        patient_id=row["patient_id"],
        store_id=row["store_id"],
        status=Standing(row["status"]),
        revision=row["revision"],
        disenrolled_for=row["disenrolled_for"],
        survivor_id=row["survivor_id"],
    )


async def load_fed_patients(db: Db, patient_ids: Collection[str]) -> dict[str, Fed[FedPatient]]:
    """What the feed last said of these patients."""
    rows = await db.fetch(
        """
        select
            p.patient_id,
            p.fed_revision,
            p.store_id,
            p.cycle_policy,
            p.must_weekdays,
            p.preferred_weekday,
            coalesce(p.long_term_care, false) as long_term_care,
            coalesce(p.circumstances, '{}') as circumstances,
            w.number,
            w.given_name,
            w.family_name,
            w.birth_date,
            w.phones,
            w.address,
            w.time_zone,
            w.language
        from patients p
        join people w using (patient_id)
        where p.patient_id = any($1)
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: _fed_patient(row) for row in rows}


def _fed_patient(row: Mapping[str, Any]) -> Fed[FedPatient]:
    person = Person(
        given_name=row["given_name"],
        family_name=row["family_name"],
        birth_date=row["birth_date"],
        phones=tuple(Phone.model_validate(phone) for phone in row["phones"]),
        address=row["address"],
        time_zone=row["time_zone"],
        language=row["language"],
    )
    wishes = Wishes(
        cycle_policy=CyclePolicy(row["cycle_policy"]) if row["cycle_policy"] else None,
        must_weekdays=tuple(row["must_weekdays"]),
        preferred_weekday=row["preferred_weekday"],
    )
    circumstances = Circumstances.model_validate(row["circumstances"])
    value = FedPatient(row["number"], row["store_id"], wishes, person, row["long_term_care"], circumstances)
    return Fed(row["patient_id"], row["fed_revision"], value, row["patient_id"])


async def save_patients(db: Db, patients: Iterable[Fed[FedPatient]]) -> None:
    """Save what does not identify; `save_people` saves the rest."""
    await db.execute(
        """
        insert into patients (
            patient_id, fed_revision, store_id, cycle_policy, must_weekdays, preferred_weekday, long_term_care,
            circumstances
        )
        select
            patient_id, fed_revision, store_id, cycle_policy, must_weekdays, preferred_weekday, long_term_care,
            circumstances
        from jsonb_populate_recordset(null::patients, $1)
        on conflict (patient_id) do update set
            fed_revision = excluded.fed_revision,
            store_id = excluded.store_id,
            cycle_policy = excluded.cycle_policy,
            must_weekdays = excluded.must_weekdays,
            preferred_weekday = excluded.preferred_weekday,
            long_term_care = excluded.long_term_care,
            circumstances = excluded.circumstances
        where excluded.fed_revision > patients.fed_revision
        """,
        [
            {
                "patient_id": fed.patient_id,
                "fed_revision": fed.revision,
                "store_id": fed.value.store_id,
                "cycle_policy": fed.value.wishes.cycle_policy,
                "must_weekdays": fed.value.wishes.must_weekdays,
                "preferred_weekday": fed.value.wishes.preferred_weekday,
                "long_term_care": fed.value.long_term_care,
                "circumstances": fed.value.circumstances.model_dump(mode="json", exclude_defaults=True),
            }
            for fed in patients
        ],
    )


async def save_people(db: Db, patients: Iterable[Fed[FedPatient]]) -> None:
    """Save who these patients are, under the next revision of their contact details."""
    await db.execute(
        """
        insert into people
        select *
        from jsonb_populate_recordset(null::people, $1)
        on conflict (patient_id) do update set
            given_name = excluded.given_name,
            family_name = excluded.family_name,
            birth_date = excluded.birth_date,
            phones = excluded.phones,
            address = excluded.address,
            time_zone = excluded.time_zone,
            language = excluded.language,
            revision = people.revision + 1
        """,
        [
            {
                "patient_id": fed.patient_id,
                "number": fed.value.number,
                "given_name": fed.value.person.given_name,
                "family_name": fed.value.person.family_name,
                "birth_date": fed.value.person.birth_date.isoformat(),
                "phones": [phone.model_dump() for phone in fed.value.person.phones],
                "address": fed.value.person.address,
                "time_zone": fed.value.person.time_zone,
                "language": fed.value.person.language,
                "revision": 1,
            }
            for fed in patients
        ],
    )


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
    return Fed(prescription.rx_id, row["fed_revision"], prescription, row["patient_id"])


async def save_prescriptions(db: Db, prescriptions: Iterable[Fed[Prescription]]) -> None:
    """Save what the feed says. What a patient reported, and a renewal that replaced it, stay as they are."""
    await db.execute(
        """
        insert into prescriptions
        select *
        from jsonb_populate_recordset(null::prescriptions, $1)
        on conflict (rx_id) do update set
            fed_revision = excluded.fed_revision,
            drug = excluded.drug,
            status = excluded.status,
            directions = excluded.directions,
            as_needed = excluded.as_needed,
            units_per_day = excluded.units_per_day,
            usual_quantity = excluded.usual_quantity,
            usual_days = excluded.usual_days,
            quantity_left = excluded.quantity_left,
            refills_left = excluded.refills_left,
            written_on = excluded.written_on,
            expires_on = excluded.expires_on,
            prescriber_id = excluded.prescriber_id,
            payer = excluded.payer,
            renews = excluded.renews,
            prior_authorization_until = excluded.prior_authorization_until
        where
            excluded.fed_revision > prescriptions.fed_revision
            and excluded.patient_id = prescriptions.patient_id
        """,
        [
            {**fed.value.model_dump(mode="json"), "patient_id": fed.patient_id, "fed_revision": fed.revision}
            for fed in prescriptions
        ],
    )


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
        )
        for row in rows
    }


async def save_fills(db: Db, fills: Iterable[Fed[FedFill]]) -> None:
    await db.execute(
        """
        insert into fills
        select *
        from jsonb_populate_recordset(null::fills, $1)
        on conflict (fill_id) do update set
            fed_revision = excluded.fed_revision,
            filled_on = excluded.filled_on,
            handed_over_on = excluded.handed_over_on,
            quantity = excluded.quantity,
            days_supply = excluded.days_supply,
            days_supply_billed = excluded.days_supply_billed,
            elsewhere = excluded.elsewhere,
            reversed = excluded.reversed
        where excluded.fed_revision > fills.fed_revision and excluded.rx_id = fills.rx_id
        """,
        [
            {
                **fed.value.fill.model_dump(mode="json"),
                "patient_id": fed.patient_id,
                "fed_revision": fed.revision,
                "reversed": fed.value.reversed,
            }
            for fed in fills
        ],
    )


# --- consent ---


async def load_consents(db: Db, patient_ids: Collection[str]) -> dict[str, Consent]:
    """The consents in force."""
    rows = await db.fetch(
        """
        select patient_id, given_at, scope, channels, language, caregiver, standing_instruction
        from consents
        where patient_id = any($1) and ended_at is null
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: Consent.model_validate(dict(row)) for row in rows}


async def enrol(
    db: Db, patient_id: str, consent: Consent, wishes: Wishes, *, recorded_by: str, recorded_as: str
) -> None:
    """Record a consent; the patient takes part. Contact details go out anew: they carry the agreed language."""
    await db.execute(
        """
        insert into consents (
            patient_id, given_at, recorded_by, recorded_as, scope, channels, language, caregiver,
            standing_instruction, cycle_policy, must_weekdays, preferred_weekday
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        patient_id,
        consent.given_at,
        recorded_by,
        recorded_as,
        list(consent.scope),
        [str(channel) for channel in consent.channels],
        consent.language,
        consent.caregiver,
        consent.standing_instruction,
        wishes.cycle_policy,
        list(wishes.must_weekdays),
        wishes.preferred_weekday,
    )
    await db.execute(
        """
        update patients
        set status = 'enrolled', disenrolled_for = null, revision = revision + 1, published_at = $2
        where patient_id = $1
        """,
        patient_id,
        consent.given_at,
    )
    await db.execute("update people set revision = revision + 1 where patient_id = $1", patient_id)
    await db.execute("delete from candidates where patient_id = $1", patient_id)


async def disenrol(
    db: Db,
    patient_id: str,
    reason: DisenrolmentReason,
    survivor_id: str | None,
    *,
    now: datetime,
    recorded_by: str,
) -> int:
    """End the consent and the part that the patient takes; answers the new revision."""
    await db.execute(
        """
        update consents
        set ended_at = $2, ended_for = $3, ended_by = $4
        where patient_id = $1 and ended_at is null
        """,
        patient_id,
        now,
        reason,
        recorded_by,
    )
    await db.execute("delete from candidates where patient_id = $1", patient_id)
    revision: int = await db.fetchval(
        """
        update patients
        set status = 'disenrolled', disenrolled_for = $2, survivor_id = $3, revision = revision + 1
        where patient_id = $1
        returning revision
        """,
        patient_id,
        reason,
        survivor_id,
    )
    return revision


async def move_history(db: Db, patient_id: str, survivor_id: str) -> None:
    """Two records were one patient: prescriptions, fills and reports go to the one that remains."""
    for table in ("prescriptions", "fills", "reported_changes"):
        await db.execute(f"update {table} set patient_id = $2 where patient_id = $1", patient_id, survivor_id)


async def opted_out_channels(db: Db, patient_id: str) -> list[Channel]:
    rows = await db.fetch("select channel from opt_outs where patient_id = $1", patient_id)
    return [Channel(row["channel"]) for row in rows]


async def save_opt_outs(db: Db, channels: Mapping[str, Channel], now: datetime) -> None:
    """Record that these patients said stop, and take the channel out of the consent in force."""
    patient_ids, stopped = list(channels.keys()), [str(channel) for channel in channels.values()]
    await db.execute(
        """
        insert into opt_outs (patient_id, channel, opted_out_at)
        select patient_id, channel, $3
        from unnest($1::text[], $2::text[]) as stop (patient_id, channel)
        on conflict (patient_id, channel) do update set
            opted_out_at = excluded.opted_out_at
        """,
        patient_ids,
        stopped,
        now,
    )
    await db.execute(
        """
        update consents c
        set channels = array_remove(c.channels, stop.channel)
        from unnest($1::text[], $2::text[]) as stop (patient_id, channel)
        where c.patient_id = stop.patient_id and c.ended_at is null
        """,
        patient_ids,
        stopped,
    )


# --- what happened to a patient ---


async def owners_of(db: Db, rx_ids: Collection[str]) -> dict[str, str]:
    """The patient of each of these prescriptions; those not known are left out."""
    rows = await db.fetch("select rx_id, patient_id from prescriptions where rx_id = any($1)", list(rx_ids))
    return {row["rx_id"]: row["patient_id"] for row in rows}


async def add_handed_over(db: Db, fills: Collection[Fill], owners: Mapping[str, str]) -> None:
    """Add the fills that patients took home, and lower what their prescriptions still authorise.

    `owners` maps the rx_ids to their patients.

    A fill that the feed brought first is known already, and so is the quantity that it left. A refill number goes
    with each usual quantity that is no longer there (domain rules: a short fill consumes both).
    """
    await db.execute(
        """
        with added as (
            insert into fills
            select *
            from jsonb_populate_recordset(null::fills, $1)
            on conflict (fill_id) do nothing
            returning rx_id, quantity
        ),
        used as (
            select rx_id, sum(quantity) as quantity
            from added
            group by rx_id
        )
        update prescriptions p
        set
            quantity_left = greatest(0, p.quantity_left - used.quantity),
            refills_left = least(
                p.refills_left, floor(greatest(0, p.quantity_left - used.quantity) / p.usual_quantity)::integer
            )
        from used
        where p.rx_id = used.rx_id
        """,
        [
            {
                **fill.model_dump(mode="json"),
                "patient_id": owners[fill.rx_id],
                "fed_revision": 0,
                "reversed": False,
            }
            for fill in fills
        ],
    )


@dataclass(frozen=True)
class ReportedChange:
    """What a patient said about one drug: stopped, dose_changed, on_hand (with the days left)."""

    patient_id: str
    rx_id: str
    change: str
    reported_on: date
    days_left: int | None


async def save_reported_changes(db: Db, changes: Collection[ReportedChange]) -> None:
    """Keep what patients said; a later word of the same day replaces an earlier one."""
    await db.execute(
        """
        insert into reported_changes
        select *
        from jsonb_populate_recordset(null::reported_changes, $1)
        on conflict (patient_id, rx_id, change, reported_on) do update set
            days_left = excluded.days_left
        """,
        [{**vars(change), "reported_on": change.reported_on.isoformat()} for change in changes],
    )


async def load_reported_changes(db: Db, patient_id: str) -> list[ReportedChange]:
    """What this patient said, newest first."""
    rows = await db.fetch(
        """
        select patient_id, rx_id, change, reported_on, days_left
        from reported_changes
        where patient_id = $1
        order by reported_on desc, rx_id, change
        """,
        patient_id,
    )
    return [ReportedChange(**row) for row in rows]


async def hold(db: Db, stopped: Mapping[str, date]) -> None:
    """Put prescriptions on hold from the day on which the patient said to have stopped."""
    await db.execute(
        """
        update prescriptions p
        set reported_stopped_on = stop.reported_on
        from unnest($1::text[], $2::date[]) as stop (rx_id, reported_on)
        where p.rx_id = stop.rx_id
        """,
        list(stopped.keys()),
        list(stopped.values()),
    )


async def release(db: Db, patient_id: str, rx_id: str) -> bool:
    """End a hold; false: there is none."""
    released = await db.fetchval(
        """
        update prescriptions
        set reported_stopped_on = null
        where patient_id = $1 and rx_id = $2 and reported_stopped_on is not null
        returning rx_id
        """,
        patient_id,
        rx_id,
    )
    return released is not None


async def plan_tellings(db: Db, patient_ids: Collection[str], due_at: datetime) -> None:
    """Have the profiles of these patients published by themselves, under their own locks."""
    await db.execute(
        """
        insert into tellings (patient_id, due_at)
        select patient_id, $2
        from unnest($1::text[]) as changed (patient_id)
        on conflict (patient_id) do nothing
        """,
        list(patient_ids),
        due_at,
    )


async def take_due_tellings(db: Db, patient_ids: Collection[str], now: datetime) -> list[str]:
    """Of these patients, those whose profile is due to be published; that is done with."""
    rows = await db.fetch(
        "delete from tellings where patient_id = any($1) and due_at <= $2 returning patient_id",
        list(patient_ids),
        now,
    )
    return [row["patient_id"] for row in rows]


# --- candidates ---


async def plan_checks(db: Db, patient_ids: Collection[str], due_at: datetime) -> None:
    """Have these patients looked at, if they do not take part yet."""
    await db.execute(
        """
        insert into candidate_checks (patient_id, due_at)
        select patient_id, $2
        from patients
        where patient_id = any($1) and status = 'known'
        on conflict (patient_id) do nothing
        """,
        list(patient_ids),
        due_at,
    )


async def take_due_checks(db: Db, patient_ids: Collection[str], now: datetime) -> list[str]:
    """Of these patients, those who are due to be looked at and do not take part; their checks are done with."""
    rows = await db.fetch(
        """
        with done as (
            delete from candidate_checks
            where patient_id = any($1) and due_at <= $2
            returning patient_id
        )
        select patient_id
        from done
        join patients using (patient_id)
        where status = 'known'
        order by patient_id
        """,
        list(patient_ids),
        now,
    )
    return [row["patient_id"] for row in rows]


async def load_histories(db: Db, patient_ids: Sequence[str], now: datetime) -> list[tuple[History, str]]:
    """What decides whether these patients would benefit, each with the time zone of the store."""
    rows = await db.fetch(
        """
        select
            p.patient_id, p.store_id, w.birth_date, s.time_zone, coalesce(p.long_term_care, false) as long_term_care
        from patients p
        join people w using (patient_id)
        join stores s using (store_id)
        where p.patient_id = any($1)
        order by p.patient_id
        """,
        patient_ids,
    )
    prescriptions = await _prescriptions_of(db, patient_ids)
    fills = await _fills_of(db, patient_ids, since=now.date() - HISTORY)
    return [
        (
            History(
                row["patient_id"],
                row["store_id"],
                row["birth_date"],
                prescriptions[row["patient_id"]],
                fills[row["patient_id"]],
                row["long_term_care"],
            ),
            row["time_zone"],
        )
        for row in rows
    ]


async def load_candidate_reasons(db: Db, patient_ids: Sequence[str]) -> dict[str, list[Reason]]:
    """Why each of these patients is a candidate already."""
    rows = await db.fetch(
        "select patient_id, reasons from candidates where patient_id = any($1)", patient_ids
    )
    return {row["patient_id"]: [Reason.model_validate(reason) for reason in row["reasons"]] for row in rows}


@dataclass(frozen=True)
class Candidate:
    patient_id: str
    store_id: str
    reasons: tuple[Reason, ...]
    since: datetime | None = None  # none: about to be saved


async def save_candidates(
    db: Db, candidates: Iterable[Candidate], gone: Collection[str], now: datetime
) -> None:
    """Save who would benefit; those in `gone` would not, or not any more."""
    await db.execute("delete from candidates where patient_id = any($1)", list(gone))
    await db.execute(
        """
        insert into candidates
        select *
        from jsonb_populate_recordset(null::candidates, $1)
        on conflict (patient_id) do update set
            store_id = excluded.store_id,
            reasons = excluded.reasons
        """,
        [
            {
                "patient_id": candidate.patient_id,
                "store_id": candidate.store_id,
                "reasons": [reason.model_dump() for reason in candidate.reasons],
                "since": now.isoformat(),
            }
            for candidate in candidates
        ],
    )


# --- queries ---


async def list_candidates(db: Db, *, store_id: str | None, after: str, limit: int) -> list[Candidate]:
    """Who would benefit, by patient id."""
    rows = await db.fetch(
        """
        select patient_id, store_id, reasons, since
        from candidates
        where patient_id > $1 and ($2::text is null or store_id = $2)
        order by patient_id
        limit $3
        """,
        after,
        store_id,
        limit,
    )
    return [
        Candidate(
            row["patient_id"],
            row["store_id"],
            tuple(Reason.model_validate(reason) for reason in row["reasons"]),
            row["since"],
        )
        for row in rows
    ]


async def list_patients(
    db: Db, *, store_id: str | None, status: Standing | None, after: str, limit: int
) -> list[Patient]:
    """Patients by id."""
    rows = await db.fetch(
        """
        select patient_id, store_id, status, revision, disenrolled_for, survivor_id
        from patients
        where
            patient_id > $1
            and ($2::text is null or store_id = $2)
            and ($3::text is null or status = $3)
        order by patient_id
        limit $4
        """,
        after,
        store_id,
        status,
        limit,
    )
    return [_patient(row) for row in rows]
