"""Every SQL statement of the planner. Statements are set-wise: one for a whole batch.

Rows go in as one jsonb value and become records in the database (`jsonb_populate_recordset`): names instead of
positions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    FillKind,
    Profile,
    Rejection,
    Renewal,
    Ruling,
    RulingKind,
    ToldItem,
    VisitKind,
)
from services.planner.domain.progress import OpenVisit, Progress, Status
from services.planner.translation import profile_of, weekdays_of
from shared.database import Db
from shared.events import Event
from shared.events.enrollment import PatientDisenrolled, PatientEnrolled, ProfileChanged, StoreChanged
from shared.events.outreach import RenewalAnswered
from shared.events.planner import DemandForecast, PlanBlocked, PlanCancelled, PlanComputed


@dataclass(frozen=True)
class StoreDays:
    """A store's calendar, with the synchronized pickups planned on each day, and its zone."""

    time_zone: str  # IANA
    calendar: Calendar


@dataclass(frozen=True)
class Record:
    """All that is held about one patient."""

    profile: Profile
    profile_revision: int
    enrolled: bool
    progress: Progress
    revision: int = 0  # of the newest event published about the patient's plan
    published: str | None = None  # that event as JSON: by status PlanComputed, PlanBlocked or PlanCancelled
    due_at: datetime | None = None  # when time alone calls for another look
    booked_on: date | None = None  # the day on which the patient counts in the store's load
    in_household: bool = False  # others may share its days

    @property
    def patient_id(self) -> str:
        return self.profile.patient_id

    @property
    def store_id(self) -> str:
        return self.profile.store_id


@dataclass(frozen=True)
class Answer:
    """What a patient answered, with or without effect."""

    patient_id: str
    answer: str  # the type of the event
    plan_id: str | None
    plan_revision: int | None
    visit_id: str | None
    stale: bool


# --- what enrollment says ---


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

DAYS = ("time_zone", "weekdays", "closed_on", "state", "daily_cap", "delivery_weekdays", "lead_days")
"""The columns of a store that plans depend on."""


def _days(row: asyncpg.Record, today: date) -> tuple[Any, ...]:
    seen = [day for day in row["closed_on"] if today - timedelta(days=1) <= day <= today + LOOK_AHEAD]
    return *(row[name] for name in DAYS if name != "closed_on"), sorted(seen)


_BOOKED = "case when {plans}.booked_since < {now} then {plans}.booked_on else {plans}.booked_before end"
"""A patient's day as it stood before this moment: so plans do not depend on whose event came first in one moment."""


async def load_stores(db: Db, store_ids: Collection[str], now: datetime) -> dict[str, StoreDays]:
    """The stores, with the synchronized pickups that were planned before now."""
    rows = await db.fetch(
        f"""
        select store_id, {", ".join(DAYS)}
        from stores
        where store_id = any($1)
        """,
        list(store_ids),
    )
    planned = await db.fetch(
        f"""
        select store_id, booked_on, count(*) as pickups
        from (
            select store_id, {_BOOKED.format(plans="plans", now="$2")} as booked_on
            from plans
            where store_id = any($1)
        ) booked
        where booked_on >= $2::timestamptz::date - 1 -- it may be yesterday there
        group by store_id, booked_on
        """,
        list(store_ids),
        now,
    )
    load: dict[str, dict[date, int]] = defaultdict(dict)
    for row in planned:
        load[row["store_id"]][row["booked_on"]] = row["pickups"]
    return {
        row["store_id"]: StoreDays(
            row["time_zone"],
            Calendar(
                frozenset(row["weekdays"]),
                frozenset(row["closed_on"]),
                load[row["store_id"]],
                row["state"],
                row["daily_cap"],
                frozenset(row["delivery_weekdays"] or ()),
                row["lead_days"] or 0,
            ),
        )
        for row in rows
    }


# --- where patients stand ---


async def load_records(db: Db, patient_ids: Collection[str], now: datetime) -> dict[str, Record]:
    """All that is held about these patients; nothing of those never heard of."""
    ids = list(patient_ids)
    rows = await db.fetch(
        f"""
        select
            p.patient_id, p.revision as profile_revision, p.enrolled, p.store_id, p.profile, p.household_id,
            l.revision, l.status, l.plan_id, l.cycle, l.agreed, l.misses, l.anchor_on, l.next_anchor_on,
            l.offered_on, l.declined_until, l.wanted_on, l.instead_of, l.not_before, l.published::text, l.due_at,
            {_BOOKED.format(plans="l", now="$2")} as booked_on
        from patients p
        left join plans l on l.patient_id = p.patient_id
        where p.patient_id = any($1)
        """,
        ids,
        now,
    )
    visits = await _load_visits(db, ids)
    rejections = await _load_rejections(db, ids)
    rulings = await _load_rulings(db, ids)
    households = await _household_days(db, [row["patient_id"] for row in rows if row["household_id"]], now)
    records = {}
    for row in rows:
        patient_id = row["patient_id"]
        known = Record(
            profile=profile_of(
                {
                    "store_id": row["store_id"],
                    "prescriptions": (),
                    **row["profile"],  # empty of those who left
                    "patient_id": patient_id,
                    "rejections": rejections[patient_id],
                    "rulings": rulings[patient_id],
                    "household_on": households.get(patient_id, ()),
                }
            ),
            profile_revision=row["profile_revision"],
            enrolled=row["enrolled"],
            progress=Progress(patient_id),
            in_household=row["household_id"] is not None,
        )
        records[patient_id] = _with_plan(known, row, visits[patient_id]) if row["status"] else known
    return records


async def _household_days(db: Db, patient_ids: Sequence[str], now: datetime) -> dict[str, list[date]]:
    """The days agreed with others of each patient's household at the same store, as planned before now."""
    if not patient_ids:
        return {}
    rows = await db.fetch(
        f"""
        select distinct p.patient_id, {_BOOKED.format(plans="l", now="$2")} as on_day
        from patients p
        join patients other using (household_id, store_id)
        join plans l on l.patient_id = other.patient_id
        where p.patient_id = any($1)
          and other.patient_id <> p.patient_id
          and other.enrolled
          and l.agreed
        order by p.patient_id, on_day
        """,
        patient_ids,
        now,
    )
    days: dict[str, list[date]] = defaultdict(list)
    for row in rows:
        if row["on_day"]:
            days[row["patient_id"]].append(row["on_day"])
    return days


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


def _with_plan(record: Record, row: asyncpg.Record, visits: Iterable[OpenVisit]) -> Record:
    progress = replace(
        record.progress,
        status=Status(row["status"]),
        cycle=row["cycle"],
        agreed=row["agreed"],
        misses=row["misses"],
        plan_id=row["plan_id"],
        anchor_on=row["anchor_on"],
        next_anchor_on=row["next_anchor_on"],
        offered=tuple(row["offered_on"]),
        visits=tuple(visits),
        declined_until={rx: date.fromisoformat(day) for rx, day in row["declined_until"].items()},
        wanted_on=row["wanted_on"],
        instead_of=row["instead_of"],
        not_before=row["not_before"],
    )
    return replace(
        record,
        progress=progress,
        revision=row["revision"],
        published=row["published"],
        due_at=row["due_at"],
        booked_on=row["booked_on"],
    )


async def _load_visits(db: Db, patient_ids: Sequence[str]) -> dict[str, list[OpenVisit]]:
    rows = await db.fetch(
        """
        select patient_id, visit_id, kind, on_day, confirmed, items
        from visits
        where patient_id = any($1)
        order by on_day, visit_id
        """,
        patient_ids,
    )
    found: dict[str, list[OpenVisit]] = defaultdict(list)
    for row in rows:
        items = tuple(
            ToldItem(item["rx_id"], FillKind(item["kind"]), Decimal(item["quantity"]), item["days_supply"])
            for item in row["items"]
        )
        found[row["patient_id"]].append(
            OpenVisit(row["visit_id"], VisitKind(row["kind"]), row["on_day"], items, row["confirmed"])
        )
    return found


async def _load_rejections(db: Db, patient_ids: Sequence[str]) -> dict[str, list[Rejection]]:
    rows = await db.fetch(
        """
        select patient_id, rx_id, code, rejected_on, next_fill_on
        from rejections
        where patient_id = any($1)
        order by rx_id
        """,
        patient_ids,
    )
    found: dict[str, list[Rejection]] = defaultdict(list)
    for row in rows:
        found[row["patient_id"]].append(
            Rejection(row["rx_id"], row["code"], row["rejected_on"], row["next_fill_on"])
        )
    return found


async def _load_rulings(db: Db, patient_ids: Sequence[str]) -> dict[str, list[Ruling]]:
    rows = await db.fetch(
        """
        select patient_id, kind, made_as, why, made_on, rx_id, on_day, quantity, cycle
        from rulings
        where patient_id = any($1)
          and taken_back_at is null
        order by made_at, ruling_id
        """,
        patient_ids,
    )
    found: dict[str, list[Ruling]] = defaultdict(list)
    for row in rows:
        found[row["patient_id"]].append(
            Ruling(
                RulingKind(row["kind"]),
                row["made_as"],
                row["why"],
                row["made_on"],
                row["rx_id"],
                row["on_day"],
                row["quantity"],
                row["cycle"],
            )
        )
    return found


_PLAN = (
    *(
        "store_id",
        "revision",
        "status",
        "plan_id",
        "cycle",
        "agreed",
        "misses",
        "anchor_on",
        "next_anchor_on",
    ),
    *("offered_on", "declined_until", "wanted_on", "instead_of", "not_before", "due_at", "booked_on"),
)
"""The columns of a plan that are written as they are given."""


async def save_records(db: Db, records: Sequence[Record], now: datetime) -> None:
    """Where these patients stand now: the plan with what was published, and the visits that are open."""
    await db.execute(
        f"""
        insert into plans as p (patient_id, {", ".join(_PLAN)}, booked_since, published)
        select patient_id, {", ".join(f"given.{name}" for name in _PLAN)}, $2, said.published::jsonb
        from jsonb_populate_recordset(null::plans, $1) given
        join unnest($3::text[], $4::text[]) as said (patient_id, published) using (patient_id)
        on conflict (patient_id) do update
        set {", ".join(f"{name} = excluded.{name}" for name in (*_PLAN, "published"))},
            booked_since = case when p.booked_on is distinct from excluded.booked_on
                                then excluded.booked_since else p.booked_since end,
            booked_before = case when p.booked_on is distinct from excluded.booked_on
                                  and p.booked_since < excluded.booked_since
                                 then p.booked_on else p.booked_before end
        """,
        [_plan_row(record) for record in records],
        now,
        [record.patient_id for record in records],
        [record.published for record in records],
    )
    visits = [row for record in records for row in _visit_rows(record)]
    await db.execute(
        """
        delete from visits
        where patient_id = any($1)
          and (patient_id, visit_id) not in (select * from unnest($2::text[], $3::text[]))
        """,
        [record.patient_id for record in records],
        [row["patient_id"] for row in visits],
        [row["visit_id"] for row in visits],
    )
    await db.execute(
        """
        insert into visits as v
        select *
        from jsonb_populate_recordset(null::visits, $1)
        on conflict (patient_id, visit_id) do update
        set confirmed = excluded.confirmed,
            items = excluded.items
        where (v.confirmed, v.items) is distinct from (excluded.confirmed, excluded.items)
        """,
        visits,
    )


def _plan_row(record: Record) -> dict[str, Any]:
    progress = record.progress
    booked = progress.anchor_on if progress.status is Status.planned else None
    return {
        "patient_id": record.patient_id,
        "store_id": record.store_id,
        "revision": record.revision,
        "status": progress.status,
        "plan_id": progress.plan_id,
        "cycle": progress.cycle,
        "agreed": progress.agreed,
        "misses": progress.misses,
        "anchor_on": _text(progress.anchor_on),
        "next_anchor_on": _text(progress.next_anchor_on),
        "offered_on": [_text(day) for day in progress.offered],
        "declined_until": {rx_id: _text(day) for rx_id, day in progress.declined_until.items()},
        "wanted_on": _text(progress.wanted_on),
        "instead_of": _text(progress.instead_of),
        "not_before": _text(progress.not_before),
        "due_at": _text(record.due_at),
        "booked_on": _text(booked),
    }


def _visit_rows(record: Record) -> list[dict[str, Any]]:
    return [
        {
            "patient_id": record.patient_id,
            "visit_id": visit.visit_id,
            "kind": visit.kind,
            "on_day": _text(visit.on),
            "confirmed": visit.confirmed,
            "items": [
                {
                    "rx_id": item.rx_id,
                    "kind": item.kind,
                    "quantity": str(item.quantity),
                    "days_supply": item.days_supply,
                }
                for item in visit.items
            ],
        }
        for visit in record.progress.visits
    ]


def _text(day: date | datetime | None) -> str | None:
    return day.isoformat() if day else None


# --- what falls due ---


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


# --- everybody, batch by batch ---


def _chosen(store: str | None, payer: str | None) -> str:
    """Patients who take part: of one store ($1) or everywhere, with a prescription of one payer ($2) or of any.

    A condition that does not apply is left out, not made true: an index is then used whatever the values.
    """
    paid = "jsonb_build_object('prescriptions', jsonb_build_array(jsonb_build_object('payer', $2::text)))"
    of_store = "store_id = $1" if store else "$1::text is null"
    return f"enrolled and {of_store} and {f'profile @> {paid}' if payer else '$2::text is null'}"


async def enrolled_after(
    db: Db, *, store: str | None, payer: str | None, after: str, limit: int
) -> list[str]:
    """The next ids of patients who take part, in their order."""
    rows = await db.fetch(
        f"""
        select patient_id
        from patients
        where {_chosen(store, payer)}
          and patient_id > $3
        order by patient_id
        limit $4
        """,
        store,
        payer,
        after,
        limit,
    )
    return [row["patient_id"] for row in rows]


async def count_enrolled(db: Db, *, store: str | None, payer: str | None) -> int:
    """How many patients take part."""
    return await db.fetchval(f"select count(*) from patients where {_chosen(store, payer)}", store, payer)


async def enrolled_by_store(db: Db, *, store: str | None, payer: str | None) -> dict[str, int]:
    """How many patients take part at each store."""
    rows = await db.fetch(
        f"""
        select store_id, count(*) as patients
        from patients
        where {_chosen(store, payer)}
        group by store_id
        order by store_id
        """,
        store,
        payer,
    )
    return {row["store_id"]: row["patients"] for row in rows}


# --- demand ---


async def due_forecasts(db: Db, store_ids: Sequence[str], now: datetime) -> dict[str, str]:
    """Of these stores, those whose demand is to be told now, with their time zones."""
    rows = await db.fetch(
        """
        select store_id, time_zone
        from stores
        where store_id = any($1)
          and coalesce(forecast_due_at, 'epoch') <= $2
        """,
        store_ids,
        now,
    )
    return {row["store_id"]: row["time_zone"] for row in rows}


async def demand_of_drugs(db: Db, first_days: Mapping[str, date], days: int) -> list[dict[str, Any]]:
    """What the plans that stand take of each drug from each store's shelf, by the day on which it is filled, for so
    many days from the store's first.

    Of a visit that nobody confirmed, a fill whose day has passed is still to come; of a confirmed one it is made.
    """
    rows = await db.fetch(
        """
        with planned_fills as (
            select
                p.store_id, p.patient_id, v.confirmed, s.first_on,
                rx -> 'drug' ->> 'code' as code,
                rx -> 'drug' ->> 'name' as drug_name,
                (item ->> 'quantity')::numeric as quantity,
                case when v.confirmed then made.filled_on else greatest(made.filled_on, s.first_on) end as on_day
            from unnest($1::text[], $2::date[]) as s (store_id, first_on)
            join plans p on p.store_id = s.store_id and p.status = 'planned'
            join visits v on v.patient_id = p.patient_id and v.on_day >= s.first_on
            join patients e on e.patient_id = p.patient_id
            cross join jsonb_array_elements(v.items) as item
            join jsonb_array_elements(e.profile -> 'prescriptions') as rx on rx -> 'rx_id' = item -> 'rx_id'
            cross join lateral (
                select coalesce(min((step ->> 'on')::date), v.on_day) as filled_on
                from jsonb_array_elements(p.published -> 'visits') as planned
                cross join jsonb_array_elements(planned -> 'steps') as step
                where planned ->> 'visit_id' = v.visit_id
                  and step ->> 'code' = 'fill'
                  and (step -> 'rx_ids' = '[]' or step -> 'rx_ids' @> (item -> 'rx_id'))
            ) made
        )
        select
            store_id, code, on_day as on,
            min(drug_name) as drug_name,
            sum(quantity) as quantity,
            coalesce(sum(quantity) filter (where confirmed), 0) as confirmed,
            count(*) as fills,
            count(distinct patient_id) as patients
        from planned_fills
        where on_day between first_on and first_on + $3::int - 1
        group by store_id, code, on_day
        order by store_id, code, on_day
        """,
        list(first_days),
        list(first_days.values()),
        days,
    )
    return [dict(row) for row in rows]


async def load_forecasts(db: Db, store_ids: Collection[str]) -> dict[str, DemandForecast]:
    """The demand of these stores as it was last told."""
    rows = await db.fetch(
        "select store_id, published from forecasts where store_id = any($1)", list(store_ids)
    )
    return {row["store_id"]: DemandForecast.model_validate(row["published"]) for row in rows}


async def save_forecasts(
    db: Db, forecasts: Sequence[DemandForecast], next_at: Mapping[str, datetime]
) -> None:
    """Keep what is told of stores now, and when to tell of each of them next."""
    await db.execute(
        """
        insert into forecasts
        select *
        from jsonb_populate_recordset(null::forecasts, $1)
        on conflict (store_id) do update
        set revision = excluded.revision, published = excluded.published
        """,
        [
            {"store_id": each.store_id, "revision": each.revision, "published": each.model_dump(mode="json")}
            for each in forecasts
        ],
    )
    await db.execute(
        """
        update stores s
        set forecast_due_at = told.next_at
        from unnest($1::text[], $2::timestamptz[]) as told (store_id, next_at)
        where s.store_id = told.store_id
        """,
        list(next_at),
        list(next_at.values()),
    )


# --- answers, refusals, renewals ---


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


# --- what staff decide ---


async def add_ruling(
    db: Db, ruling_id: UUID, patient_id: str, ruling: Ruling, made_by: str, now: datetime
) -> None:
    """Note what a member of staff decided."""
    await db.execute(
        """
        insert into rulings (
            ruling_id, patient_id, kind, made_by, made_as, why, made_at, made_on, rx_id, on_day, quantity, cycle
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        ruling_id,
        patient_id,
        ruling.kind,
        made_by,
        ruling.by,
        ruling.why,
        now,
        ruling.made_on,
        ruling.rx_id,
        ruling.on,
        ruling.quantity,
        ruling.cycle,
    )


async def take_back_ruling(db: Db, patient_id: str, ruling_id: UUID, by: str, now: datetime) -> bool:
    """End a ruling; says whether there is such a one of this patient. Taken back twice is taken back once."""
    row = await db.fetchrow(
        """
        update rulings
        set taken_back_at = coalesce(taken_back_at, $4),
            taken_back_by = coalesce(taken_back_by, $3)
        where ruling_id = $2
          and patient_id = $1
        returning ruling_id
        """,
        patient_id,
        ruling_id,
        by,
        now,
    )
    return row is not None


async def list_rulings(db: Db, patient_id: str) -> list[dict[str, Any]]:
    """All that staff decided about one patient's plans, the oldest first."""
    rows = await db.fetch(
        """
        select
            ruling_id, kind, made_by, made_as, why, made_at, rx_id, on_day as on, quantity, cycle,
            taken_back_at, taken_back_by
        from rulings
        where patient_id = $1
        order by made_at, ruling_id
        """,
        patient_id,
    )
    return [dict(row) for row in rows]


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


# --- queries ---


async def load_plan(db: Db, patient_id: str) -> dict[str, Any] | None:
    """Status, revision and the newest published event of one patient."""
    row = await db.fetchrow(
        """
        select status, revision, cycle, agreed, published
        from plans
        where patient_id = $1
        """,
        patient_id,
    )
    return dict(row) if row else None


async def list_plans(
    db: Db, *, store: str | None, status: str | None, after: str, limit: int
) -> list[dict[str, Any]]:
    """One line per patient, by patient id."""
    rows = await db.fetch(
        """
        select
            patient_id, store_id, status, revision, cycle, agreed, anchor_on, next_anchor_on,
            published -> 'reasons' -> 0 ->> 'code' as why
        from plans
        where patient_id > $3
          and ($1::text is null or store_id = $1)
          and ($2::text is null or status = $2)
        order by patient_id
        limit $4
        """,
        store,
        status,
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def planned_by_day(db: Db, store_id: str, first: date, days: int) -> dict[date, dict[str, int]]:
    """What the plans that stand bring to a store on each of so many days, in their order: also days with nothing."""
    rows = await db.fetch(
        """
        with visits_there as (
            select v.on_day, v.kind = 'synchronized' as synchronized, v.confirmed, p.agreed,
                   jsonb_array_length(v.items) as fills
            from plans p
            join visits v using (patient_id)
            where p.store_id = $1
              and p.status = 'planned'
        )
        select
            day::date as on_day,
            count(*) filter (where synchronized) as pickups,
            count(*) filter (where synchronized and agreed) as agreed,
            count(*) filter (where synchronized and confirmed) as confirmed,
            count(*) filter (where not synchronized) as other_visits,
            coalesce(sum(fills), 0) as fills
        from generate_series($2::date, $2::date + $3::int - 1, interval '1 day') as day
        left join visits_there on on_day = day::date
        group by day
        order by day
        """,
        store_id,
        first,
        days,
    )
    return {row["on_day"]: {name: value for name, value in row.items() if name != "on_day"} for row in rows}


PUBLISHED: dict[str, type[Event]] = {
    Status.planned: PlanComputed,
    Status.blocked: PlanBlocked,
    Status.gone: PlanCancelled,
    "forecast": DemandForecast,
}


async def current_state(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """The newest published event of each patient, and of each store, with its revision as it was."""
    rows = await db.fetch(
        """
        select kind, published
        from (
            select store_id collate "C" as key, store_id, 'forecast' as kind, published
            from forecasts
            where $1::text is null
            union all
            select patient_id collate "C", store_id, status, published
            from plans
            where ($1::text is null or patient_id = $1)
              and published is not null
        ) said
        where key > $3
          and ($2::text is null or store_id = $2)
        order by key
        limit $4
        """,
        patient,
        store,
        after,
        limit,
    )
    return [PUBLISHED[row["kind"]].model_validate(row["published"]) for row in rows]
