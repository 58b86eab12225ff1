"""What others said: enrollment of patients and stores, patients, payers and prescribers in their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from services.planner.domain.model import Rejection, Renewal
from services.planner.publishing import weekdays_of
from services.planner.store.records import DAYS
from shared.database import Db
from shared.events.enrollment import (
    CaregiversChanged,
    PatientDisenrolled,
    PatientEnrolled,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import FillResolved
from shared.events.outreach import RenewalAnswered
from shared.upsert import row, upsert


@dataclass(frozen=True)
class Answer:
    """What a patient answered, with or without effect."""

    patient_id: str
    answer: str  # the type of the event
    plan_id: str | None
    plan_revision: int | None
    visit_id: str | None
    stale: bool


async def save_profiles(
    db: Db, events: Sequence[PatientEnrolled] | Sequence[ProfileChanged], *, consented: bool
) -> set[str]:
    """Keep newer profiles; says whose was newer.

    Who left takes part again only by consent: `consented` says that these are enrollments.
    """
    rows = await db.fetch(
        """
        insert into patients as p
        select *
        from jsonb_populate_recordset(null::patients, $1)
        on conflict (patient_id) do update
        set revision = excluded.revision,
            enrolled = excluded.enrolled,
            store_id = excluded.store_id,
            profile = excluded.profile,
            household_id = excluded.household_id
        where excluded.revision > p.revision
          and (p.enrolled or $2)
        returning patient_id
        """,
        [
            {
                "patient_id": event.patient_id,
                "revision": event.revision,
                "enrolled": True,
                "store_id": event.profile.store_id,
                "profile": event.profile.model_dump(mode="json"),
                "household_id": event.profile.household_id,
            }
            for event in events
        ],
        consented,
    )
    return {each["patient_id"] for each in rows}


_keep_caregivers = upsert("caregivers", "patient_id", "revision caregiver_ids", newer="revision")


async def save_caregivers(db: Db, events: Sequence[CaregiversChanged]) -> None:
    """Keep who may act for these patients."""
    await _keep_caregivers(db, [row(event, "patient_id revision caregiver_ids") for event in events])


async def save_disenrollments(db: Db, events: Sequence[PatientDisenrolled]) -> set[str]:
    """Note who left, and forget what they take and what staff wrote; says of whom it is news."""
    rows = await db.fetch(
        """
        insert into patients as p (patient_id, revision, enrolled, store_id, profile)
        select patient_id, revision, false, '', '{}'
        from unnest($1::text[], $2::bigint[]) as given (patient_id, revision)
        on conflict (patient_id) do update
        set revision = excluded.revision,
            enrolled = false,
            profile = '{}',
            household_id = null
        where excluded.revision > p.revision
        returning patient_id
        """,
        [event.patient_id for event in events],
        [event.revision for event in events],
    )
    left = {each["patient_id"] for each in rows}
    await db.execute(
        """
        delete from rulings
        where patient_id = any($1)
        """,
        list(left),
    )
    return left


async def save_stores(db: Db, events: Sequence[StoreChanged], now: datetime) -> set[str]:
    """Keep newer stores, once nobody plans by what they were (`hold_stores`); says of which anything that plans depend
    on is news."""
    await db.execute(
        """
        select pg_advisory_xact_lock(hashtextextended('stores.' || store_id, 0))
        from unnest($1::text[]) as store_id
        """,
        sorted({event.store_id for event in events}),
    )
    held = await db.fetch("select * from stores where store_id = any($1)", [each.store_id for each in events])
    rows = await db.fetch(
        """
        insert into stores as s
        select *
        from jsonb_populate_recordset(null::stores, $1)
        on conflict (store_id) do update
        set revision = excluded.revision,
            time_zone = excluded.time_zone,
            weekdays = excluded.weekdays,
            closed_on = excluded.closed_on,
            state = excluded.state,
            daily_cap = excluded.daily_cap,
            delivery_weekdays = excluded.delivery_weekdays,
            lead_days = excluded.lead_days
        where excluded.revision > s.revision
        returning *
        """,
        [
            {
                "store_id": event.store_id,
                "revision": event.revision,
                "time_zone": event.time_zone,
                "weekdays": sorted(weekdays_of(event)),
                "closed_on": sorted(day.isoformat() for day in event.closed_on),
                "state": event.state,
                "daily_cap": event.daily_cap,
                "delivery_weekdays": event.delivery_weekdays,
                "lead_days": event.lead_days,
            }
            for event in events
        ],
    )
    days = {each["store_id"]: _days(each, now.date()) for each in held}
    return {each["store_id"] for each in rows if _days(each, now.date()) != days.get(each["store_id"])}


LOOK_AHEAD = timedelta(days=700)
"""No plan looks further: what a store says of later days is no news to any."""


def _days(held: asyncpg.Record, today: date) -> tuple[Any, ...]:
    seen = [day for day in held["closed_on"] if today - timedelta(days=1) <= day <= today + LOOK_AHEAD]
    return *(held[name] for name in DAYS if name != "closed_on"), sorted(seen)


async def record_answers(db: Db, answers: Sequence[Answer], now: datetime) -> None:
    """Keep every answer."""
    await db.execute(
        """
        insert into answers (patient_id, answered_at, answer, plan_id, plan_revision, visit_id, stale)
        select patient_id, $2, answer, plan_id, plan_revision, visit_id, stale
        from jsonb_populate_recordset(null::answers, $1)
        """,
        [vars(answer) for answer in answers],
        now,
    )


_keep_rejections = upsert("rejections", "patient_id rx_id", "code rejected_on next_fill_on visit_id")


async def save_rejections(db: Db, rejections: Mapping[str, Rejection], visits: Mapping[str, str]) -> None:
    """The payer's newest refusals, by patient, and the visits for which the fills were to be made."""
    await _keep_rejections(
        db,
        [
            row(
                each,
                "rx_id code rejected_on next_fill_on",
                patient_id=patient_id,
                visit_id=visits[patient_id],
            )
            for patient_id, each in rejections.items()
        ],
    )


async def forget_rejections(db: Db, resolved: Sequence[FillResolved]) -> None:
    """Drop the refusals of fills that are tried again for their visit."""
    await db.execute(
        """
        delete from rejections r
        using unnest($1::text[], $2::text[], $3::text[]) as again (patient_id, rx_id, visit_id)
        where (r.patient_id, r.rx_id, r.visit_id) = (again.patient_id, again.rx_id, again.visit_id)
        """,
        [event.patient_id for event in resolved],
        [event.rx_id for event in resolved],
        [event.visit_id for event in resolved],
    )


_keep_renewals = upsert("renewals", "patient_id rx_id", "needed_by asked_at", once=True)


async def save_renewals(db: Db, needed: Sequence[tuple[str, Renewal]], now: datetime) -> set[tuple[str, str]]:
    """Note the renewals that patients need; says which are asked for the first time, by patient and prescription."""
    rows = await _keep_renewals(
        db,
        [
            row(renewal, "rx_id needed_by", patient_id=patient_id, asked_at=now)
            for patient_id, renewal in needed
        ],
    )
    return {(asked["patient_id"], asked["rx_id"]) for asked in rows}


async def save_renewal_answers(db: Db, events: Sequence[RenewalAnswered], now: datetime) -> None:
    """What came of asking the prescribers."""
    await db.execute(
        """
        update renewals r
        set answer = given.answer, answered_at = $4
        from unnest($1::text[], $2::text[], $3::text[]) as given (patient_id, rx_id, answer)
        where (r.patient_id, r.rx_id) = (given.patient_id, given.rx_id)
        """,
        [event.patient_id for event in events],
        [event.rx_id for event in events],
        [event.answer.value for event in events],
        now,
    )
