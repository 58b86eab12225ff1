"""What is published of a patient: the profile, put together from all that is held, under its next revision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from services.enrollment.domain.profile import HISTORY, Standing, belongs, for_others, status_of
from services.enrollment.store import caregivers
from services.enrollment.store.consents import load_consents, stated_circumstances
from services.enrollment.store.feed import load_patients, published_stores
from services.enrollment.store.people import opened
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.events import Event
from shared.events.enrollment import (
    Circumstances,
    ContactDetailsChanged,
    CyclePolicy,
    DisenrolmentReason,
    Fill,
    PatientDisenrolled,
    PatientEnrolled,
    Prescription,
    PrescriptionStatus,
    Profile,
    StockReport,
)
from shared.upsert import upsert


@dataclass(frozen=True)
class Published:
    """The profile of an enrolled patient under the revision that it is published with."""

    patient_id: str
    revision: int
    profile: Profile


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
    profiles = await _for_others(db, revisions)
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
    prescriptions = await prescriptions_of(db, ids)
    fills = await fills_of(db, ids, since=min((row["today"] for row in patients), default=date.max) - HISTORY)
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
            cycle_policy=row["cycle_policy"] or CyclePolicy.auto,
            must_weekdays=tuple(row["must_weekdays"]),
            preferred_weekday=row["preferred_weekday"],
            prescriptions=belonging,
            fills=tuple(fill for fill in history if fill.rx_id in rx_ids),
            stock_reports=tuple(report for report in reports[patient_id] if report.rx_id in rx_ids),
            long_term_care=row["long_term_care"],
            **dict(Circumstances.model_validate({**row["circumstances"], **stated.get(patient_id, {})})),
        )
    return profiles


async def _for_others(db: Db, patient_ids: Collection[str]) -> dict[str, Profile]:
    """The profiles of these patients as they are published."""
    profiles = await load_profiles(db, patient_ids)
    return {patient_id: for_others(profile, patient_id) for patient_id, profile in profiles.items()}


async def prescriptions_of(db: Db, patient_ids: Sequence[str]) -> dict[str, list[Prescription]]:
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


async def fills_of(db: Db, patient_ids: Sequence[str], *, since: date) -> dict[str, list[Fill]]:
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


async def contact_details(
    db: Db, keys: DataKeys, patient_ids: Collection[str]
) -> list[ContactDetailsChanged]:
    """Names and numbers of those of these patients who are enrolled; the language agreed with the consent."""
    rows = await db.fetch(
        f"""
        select w.patient_id, w.revision, w.sealed, w.time_zone, c.language, {DATA_KEY}
        from people w
        left join fabric.data_keys k using (patient_id)
        join consents c on c.patient_id = w.patient_id and c.ended_at is null
        where w.patient_id = any($1)
        order by w.patient_id
        """,
        list(patient_ids),
    )
    return [_contact_details(keys, row) for row in rows]


def _contact_details(keys: DataKeys, row: Mapping[str, Any]) -> ContactDetailsChanged:
    who = opened(keys, row)
    return ContactDetailsChanged(
        patient_id=row["patient_id"],
        revision=row["revision"],
        given_name=who.given_name,
        family_name=who.family_name,
        birth_date=who.birth_date,
        phones=who.phones,
        address=who.address,
        time_zone=row["time_zone"],
        language=row["language"],
    )


async def current_state(
    db: Db, *, keys: DataKeys, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """What is published, as it stands, for those who missed it: in order of key, revisions unchanged.

    `limit` counts keys (stores and patients): an enrolled patient has two events, one who left has one; who has or had
    a caregiver has one more.
    """
    found = await db.fetch(
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
                (
                    exists (select from caregivers g where g.patient_id = patients.patient_id)
                    or status = 'enrolled'
                    or status = 'disenrolled' and exists (
                        select from consents c where c.patient_id = patients.patient_id
                    )
                )
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
    stores = await published_stores(db, [row["key"] for row in found if row["is_store"]])
    patient_ids = [row["key"] for row in found if not row["is_store"]]
    events: list[Event] = [*stores]
    events.extend(await enrollments(db, patient_ids))
    events.extend(await contact_details(db, keys, patient_ids))
    events.extend(await departures(db, patient_ids))
    events.extend(await caregivers.told(db, patient_ids))
    return sorted(events, key=lambda event: event.key)


async def enrollments(db: Db, patient_ids: Collection[str]) -> list[PatientEnrolled]:
    """The enrollment of each of these patients who is enrolled, under the revision that stands."""
    consents = await load_consents(db, patient_ids)
    patients = await load_patients(db, consents)
    profiles = await _for_others(db, consents)
    return [
        PatientEnrolled(
            patient_id=patient_id,
            revision=patients[patient_id].revision,
            consent=consent,
            profile=profiles[patient_id],
        )
        for patient_id, consent in sorted(consents.items())
    ]


async def departures(db: Db, patient_ids: Collection[str]) -> list[PatientDisenrolled]:
    """That each of these patients left who did."""
    known = await load_patients(db, patient_ids)
    return [
        PatientDisenrolled(
            patient_id=each.patient_id,
            revision=each.revision,
            reason=DisenrolmentReason(each.disenrolled_for),
            survivor_id=each.survivor_id,
        )
        for each in known.values()
        if each.status is Standing.disenrolled and each.disenrolled_for
    ]


_keep_tellings = upsert("tellings", "patient_id", "due_at", once=True)


async def plan_tellings(db: Db, patient_ids: Collection[str], due_at: datetime) -> None:
    """Have the profiles of these patients published by themselves, under their own locks."""
    await _keep_tellings(db, [{"patient_id": each, "due_at": due_at} for each in patient_ids])


async def take_due_tellings(db: Db, patient_ids: Collection[str], now: datetime) -> list[str]:
    """Of these patients, those whose profile is due to be published; that is done with."""
    rows = await db.fetch(
        "delete from tellings where patient_id = any($1) and due_at <= $2 returning patient_id",
        list(patient_ids),
        now,
    )
    return [row["patient_id"] for row in rows]
