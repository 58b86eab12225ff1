"""What others said: enrollment of patients and stores, patients, payers and prescribers in their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from services.planner.domain.model import (
    Rejection,
    Renewal,
)
from services.planner.store.records import DAYS
from services.planner.translation import weekdays_of
from shared.database import Db
from shared.events.enrollment import PatientDisenrolled, PatientEnrolled, ProfileChanged, StoreChanged
from shared.events.outreach import RenewalAnswered


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

    Who left takes part again only by consent: `consented` says that these are enrolments.
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
    return {row["patient_id"] for row in rows}


async def save_disenrolments(db: Db, events: Sequence[PatientDisenrolled]) -> set[str]:
    """Note who left, and forget what they take and what staff wrote; says of whom it is news."""
    rows = await db.fetch(
        """
        insert into patients as p (patient_id, revision, enrolled, store_id, profile)
        select patient_id, revision, false, '', '{}'
        from unnest($1::text[], $2::bigint[]) as told (patient_id, revision)
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
    left = {row["patient_id"] for row in rows}
    await db.execute(
        """
        delete from rulings
        where patient_id = any($1)
        """,
        list(left),
    )
    return left


async def save_stores(db: Db, events: Sequence[StoreChanged], now: datetime) -> set[str]:
    """Keep newer stores; says of which anything that plans depend on is news."""
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
    days = {row["store_id"]: _days(row, now.date()) for row in held}
    return {row["store_id"] for row in rows if _days(row, now.date()) != days.get(row["store_id"])}


LOOK_AHEAD = timedelta(days=700)
"""No plan looks further: what a store says of later days is no news to any."""


def _days(row: asyncpg.Record, today: date) -> tuple[Any, ...]:
    seen = [day for day in row["closed_on"] if today - timedelta(days=1) <= day <= today + LOOK_AHEAD]
    return *(row[name] for name in DAYS if name != "closed_on"), sorted(seen)


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


async def save_rejections(db: Db, rejections: Mapping[str, Rejection]) -> None:
    """The payer's newest refusals, by patient."""
    await db.execute(
        """
        insert into rejections
        select *
        from unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::date[])
        on conflict (patient_id, rx_id) do update
        set code = excluded.code,
            rejected_on = excluded.rejected_on,
            next_fill_on = excluded.next_fill_on
        """,
        list(rejections),
        [each.rx_id for each in rejections.values()],
        [each.code for each in rejections.values()],
        [each.rejected_on for each in rejections.values()],
        [each.next_fill_on for each in rejections.values()],
    )


async def save_renewals(db: Db, needed: Sequence[tuple[str, Renewal]], now: datetime) -> set[tuple[str, str]]:
    """Note the renewals that patients need; says which are asked for the first time, by patient and prescription."""
    rows = await db.fetch(
        """
        insert into renewals (patient_id, rx_id, needed_by, asked_at)
        select patient_id, rx_id, needed_by, $4
        from unnest($1::text[], $2::text[], $3::date[]) as needed (patient_id, rx_id, needed_by)
        on conflict do nothing
        returning patient_id, rx_id
        """,
        [patient_id for patient_id, _ in needed],
        [renewal.rx_id for _, renewal in needed],
        [renewal.needed_by for _, renewal in needed],
        now,
    )
    return {(row["patient_id"], row["rx_id"]) for row in rows}


async def save_renewal_answers(db: Db, events: Sequence[RenewalAnswered], now: datetime) -> None:
    """What came of asking the prescribers."""
    await db.execute(
        """
        update renewals r
        set answer = told.answer, answered_at = $4
        from unnest($1::text[], $2::text[], $3::text[]) as told (patient_id, rx_id, answer)
        where (r.patient_id, r.rx_id) = (told.patient_id, told.rx_id)
        """,
        [event.patient_id for event in events],
        [event.rx_id for event in events],
        [event.answer.value for event in events],
        now,
    )
