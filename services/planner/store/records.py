"""Where patients stand: all that is held about them, read and written for a whole batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    FillKind,
    Profile,
    PromisedItem,
    PromisedRhythm,
    Rejection,
    StaffDecision,
    VisitKind,
)
from services.planner.domain.progress import OpenVisit, Progress, Status
from services.planner.store.staff import decision_of
from services.planner.translation import profile_of
from shared.database import Db


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


DAYS = ("time_zone", "weekdays", "closed_on", "state", "daily_cap", "delivery_weekdays", "lead_days")
"""The columns of a store that plans depend on."""


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


async def load_records(db: Db, patient_ids: Collection[str], now: datetime) -> dict[str, Record]:
    """All that is held about these patients; nothing of those never heard of."""
    ids = list(patient_ids)
    rows = await db.fetch(
        """
        select patient_id, revision, enrolled, store_id, profile, household_id
        from patients
        where patient_id = any($1)
        """,
        ids,
    )
    plans = await _load_plans(db, ids, now)
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
            profile_revision=row["revision"],
            enrolled=row["enrolled"],
            progress=Progress(patient_id),
            in_household=row["household_id"] is not None,
        )
        plan = plans.get(patient_id)
        records[patient_id] = _with_plan(known, plan, visits[patient_id]) if plan else known
    return records


async def _load_plans(db: Db, patient_ids: Sequence[str], now: datetime) -> dict[str, asyncpg.Record]:
    """By patient. Never joined: a table that PostgreSQL last looked at while it was empty it would read whole for each
    of them, as long as a chain's first patients are planned."""
    rows = await db.fetch(
        f"""
        select
            patient_id, revision, status, plan_id, cycle, agreed, misses, anchor_on, next_anchor_on, offered_on,
            declined_until, wanted_on, instead_of, not_before, rhythm, published::text, due_at,
            {_BOOKED.format(plans="plans", now="$2")} as booked_on
        from plans
        where patient_id = any($1)
        """,
        patient_ids,
        now,
    )
    return {row["patient_id"]: row for row in rows}


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
        rhythm=_rhythm_of(row["rhythm"]) if row["rhythm"] else None,
    )
    return replace(
        record,
        progress=progress,
        revision=row["revision"],
        published=row["published"],
        due_at=row["due_at"],
        booked_on=row["booked_on"],
    )


def _rhythm_of(kept: Mapping[str, Any]) -> PromisedRhythm:
    joins = {rx_id: date.fromisoformat(day) for rx_id, day in kept["joins"].items()}
    return PromisedRhythm(kept["cycle_days"], kept["day_of_month"], joins)


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
            PromisedItem(
                item["rx_id"], FillKind(item["kind"]), Decimal(item["quantity"]), item["days_supply"]
            )
            for item in row["items"]
        )
        waiting = frozenset(item["rx_id"] for item in row["items"] if item.get("waits_to_the_end"))
        found[row["patient_id"]].append(
            OpenVisit(
                row["visit_id"], VisitKind(row["kind"]), row["on_day"], items, row["confirmed"], waiting
            )
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


async def _load_rulings(db: Db, patient_ids: Sequence[str]) -> dict[str, list[StaffDecision]]:
    rows = await db.fetch(
        """
        select patient_id, kind, made_as, why, made_on, rx_id, on_day, quantity, cycle
        from rulings
        where patient_id = any($1)
          and taken_back_at is null
        order by made_at, entered
        """,
        patient_ids,
    )
    found: dict[str, list[StaffDecision]] = defaultdict(list)
    for row in rows:
        found[row["patient_id"]].append(decision_of(row))
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
    *(
        "offered_on",
        "declined_until",
        "wanted_on",
        "instead_of",
        "not_before",
        "rhythm",
        "due_at",
        "booked_on",
    ),
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
        "rhythm": _rhythm_row(progress.rhythm) if progress.rhythm else None,
        "due_at": _text(record.due_at),
        "booked_on": _text(booked),
    }


def _rhythm_row(rhythm: PromisedRhythm) -> dict[str, Any]:
    return {
        "cycle_days": rhythm.cycle_days,
        "day_of_month": rhythm.day_of_month,
        "joins": {rx_id: _text(day) for rx_id, day in rhythm.joins.items()},
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
                    "waits_to_the_end": item.rx_id in visit.wait_to_the_end,
                }
                for item in visit.items
            ],
        }
        for visit in record.progress.visits
    ]


def _text(day: date | datetime | None) -> str | None:
    return day.isoformat() if day else None
