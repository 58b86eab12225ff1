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
from services.planner.publishing import profile_of
from services.planner.store.staff import decision_of
from shared.database import Db
from shared.upsert import Row, row


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


async def hold_stores(db: Db, store_ids: Iterable[str]) -> None:
    """Have nobody change the days of these stores, nor make one of them known, until this transaction has ended: who
    plans by them, or without them, would be overlooked by those who have the store's patients planned anew."""
    await db.execute(
        """
        select pg_advisory_xact_lock_shared(hashtextextended('stores.' || store_id, 0))
        from unnest($1::text[]) as store_id
        """,
        sorted(store_ids),
    )


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
    for held in planned:
        load[held["store_id"]][held["booked_on"]] = held["pickups"]
    return {
        held["store_id"]: StoreDays(
            held["time_zone"],
            Calendar(
                frozenset(held["weekdays"]),
                frozenset(held["closed_on"]),
                load[held["store_id"]],
                held["state"],
                held["daily_cap"],
                frozenset(held["delivery_weekdays"] or ()),
                held["lead_days"] or 0,
            ),
        )
        for held in rows
    }


async def load_records(db: Db, patient_ids: Collection[str], now: datetime) -> dict[str, Record]:
    """All that is held about these patients; nothing of those never heard of."""
    ids = list(patient_ids)
    rows = await db.fetch(
        """
        select patient_id, revision, enrolled, store_id, profile, household_id,
               (select fabric.first_revision()) as first_revision
        from patients
        where patient_id = any($1)
        """,
        ids,
    )
    plans = await _load_plans(db, ids, now)
    visits = await _load_visits(db, ids)
    rejections = await _load_rejections(db, ids)
    decisions = await _load_staff_decisions(db, ids)
    households = await _household_days(db, [held["patient_id"] for held in rows if held["household_id"]], now)
    records = {}
    for held in rows:
        patient_id = held["patient_id"]
        known = Record(
            profile=profile_of(
                {
                    "store_id": held["store_id"],
                    "prescriptions": (),
                    **held["profile"],  # empty of those who left
                    "patient_id": patient_id,
                    "rejections": [refused for refused, _ in rejections[patient_id]],
                    "rulings": decisions[patient_id],
                    "household_on": households.get(patient_id, ()),
                }
            ),
            profile_revision=held["revision"],
            enrolled=held["enrolled"],
            progress=Progress(
                patient_id,
                refused_for={
                    refused.rx_id: visit_id for refused, visit_id in rejections[patient_id] if visit_id
                },
            ),
            revision=held["first_revision"],
            in_household=held["household_id"] is not None,
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
            declined_until, wanted_on, instead_of, not_before, rhythm, promised_on, promised_next_on, promised_joins,
            published::text, due_at,
            {_BOOKED.format(plans="plans", now="$2")} as booked_on
        from plans
        where patient_id = any($1)
        """,
        patient_ids,
        now,
    )
    return {held["patient_id"]: held for held in rows}


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
    for held in rows:
        if held["on_day"]:
            days[held["patient_id"]].append(held["on_day"])
    return days


def _with_plan(record: Record, held: asyncpg.Record, visits: Iterable[OpenVisit]) -> Record:
    progress = replace(
        record.progress,
        status=Status(held["status"]),
        cycle=held["cycle"],
        agreed=held["agreed"],
        misses=held["misses"],
        plan_id=held["plan_id"],
        anchor_on=held["anchor_on"],
        next_anchor_on=held["next_anchor_on"],
        offered=tuple(held["offered_on"]),
        visits=tuple(visits),
        declined_until={rx: date.fromisoformat(day) for rx, day in held["declined_until"].items()},
        wanted_on=held["wanted_on"],
        instead_of=held["instead_of"],
        not_before=held["not_before"],
        rhythm=_rhythm_of(held["rhythm"]) if held["rhythm"] else None,
    )
    progress = _with_promises(progress, held)
    return replace(
        record,
        progress=progress,
        revision=held["revision"],
        published=held["published"],
        due_at=held["due_at"],
        booked_on=held["booked_on"],
    )


def _with_promises(progress: Progress, held: asyncpg.Record) -> Progress:
    """What was said; of a plan that a process of the version before wrote, all of it was held to be."""
    if held["promised_joins"] is None:
        rhythm = progress.rhythm
        return replace(
            progress,
            promised_on=progress.anchor_on,
            promised_next_on=progress.next_anchor_on,
            promised_joins=rhythm.joins if rhythm else {},
        )
    joins = {rx_id: date.fromisoformat(day) for rx_id, day in held["promised_joins"].items()}
    return replace(
        progress,
        promised_on=held["promised_on"],
        promised_next_on=held["promised_next_on"],
        promised_joins=joins,
    )


def _rhythm_of(kept: Mapping[str, Any]) -> PromisedRhythm:
    joins = {rx_id: date.fromisoformat(day) for rx_id, day in kept["joins"].items()}
    return PromisedRhythm(kept["cycle_days"], kept["day_of_month"], joins)


async def _load_visits(db: Db, patient_ids: Sequence[str]) -> dict[str, list[OpenVisit]]:
    rows = await db.fetch(
        """
        select patient_id, visit_id, kind, on_day, confirmed, coalesce(promised, true) as promised, items
        from visits
        where patient_id = any($1)
        order by on_day, visit_id
        """,
        patient_ids,
    )
    found: dict[str, list[OpenVisit]] = defaultdict(list)
    for held in rows:
        asked = [item for item in held["items"] if item.get("at_counter")]
        items = [item for item in held["items"] if item not in asked]
        waiting = frozenset(item["rx_id"] for item in held["items"] if item.get("waits_to_the_end"))
        found[held["patient_id"]].append(
            OpenVisit(
                held["visit_id"],
                VisitKind(held["kind"]),
                held["on_day"],
                tuple(_item_of(item) for item in items),
                held["confirmed"],
                held["promised"],
                waiting,
                tuple(_item_of(item) for item in asked),
            )
        )
    return found


def _item_of(held: Mapping[str, Any]) -> PromisedItem:
    return PromisedItem(
        held["rx_id"],
        FillKind(held["kind"]),
        Decimal(held["quantity"]),
        held["days_supply"],
        held.get("in_place_of"),
    )


async def _load_rejections(
    db: Db, patient_ids: Sequence[str]
) -> dict[str, list[tuple[Rejection, str | None]]]:
    """By patient the payers' refusals, each with the visit for which the fill was to be made."""
    rows = await db.fetch(
        """
        select patient_id, rx_id, code, rejected_on, next_fill_on, visit_id
        from rejections
        where patient_id = any($1)
        order by rx_id
        """,
        patient_ids,
    )
    found: dict[str, list[tuple[Rejection, str | None]]] = defaultdict(list)
    for held in rows:
        refused = Rejection(held["rx_id"], held["code"], held["rejected_on"], held["next_fill_on"])
        found[held["patient_id"]].append((refused, held["visit_id"]))
    return found


async def _load_staff_decisions(db: Db, patient_ids: Sequence[str]) -> dict[str, list[StaffDecision]]:
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
    for held in rows:
        found[held["patient_id"]].append(decision_of(held))
    return found


_PLAN = (
    "store_id",
    "revision",
    "status",
    "plan_id",
    "cycle",
    "agreed",
    "misses",
    "anchor_on",
    "next_anchor_on",
    "offered_on",
    "declined_until",
    "wanted_on",
    "instead_of",
    "not_before",
    "rhythm",
    "promised_on",
    "promised_next_on",
    "promised_joins",
    "due_at",
    "booked_on",
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
    visits = [each for record in records for each in _visit_rows(record)]
    await db.execute(
        """
        delete from visits
        where patient_id = any($1)
          and (patient_id, visit_id) not in (select * from unnest($2::text[], $3::text[]))
        """,
        [record.patient_id for record in records],
        [each["patient_id"] for each in visits],
        [each["visit_id"] for each in visits],
    )
    await db.execute(
        """
        insert into visits as v
        select *
        from jsonb_populate_recordset(null::visits, $1)
        on conflict (patient_id, visit_id) do update
        set confirmed = excluded.confirmed,
            promised = excluded.promised,
            items = excluded.items
        where (v.confirmed, v.promised, v.items)
              is distinct from (excluded.confirmed, excluded.promised, excluded.items)
        """,
        visits,
    )


def _plan_row(record: Record) -> Row:
    progress = record.progress
    rhythm = progress.rhythm
    return {
        **row(record, "patient_id store_id revision due_at"),
        **row(progress, "status plan_id cycle agreed misses anchor_on next_anchor_on declined_until"),
        **row(progress, "wanted_on instead_of not_before promised_on promised_next_on promised_joins"),
        "offered_on": progress.offered,
        "rhythm": row(rhythm, "cycle_days day_of_month joins") if rhythm else None,
        "booked_on": progress.anchor_on if progress.status is Status.planned else None,
    }


def _visit_rows(record: Record) -> list[Row]:
    return [
        {
            **row(visit, "visit_id kind confirmed promised", patient_id=record.patient_id, on_day=visit.on),
            "items": [
                row(
                    item,
                    "rx_id kind quantity days_supply in_place_of",
                    waits_to_the_end=item.rx_id in visit.wait_to_the_end,
                    at_counter=item in visit.at_counter,
                )
                for item in (*visit.items, *visit.at_counter)
            ],
        }
        for visit in record.progress.visits
    ]
