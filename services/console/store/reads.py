"""What the pages ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.console.domain.ahead import Renewal
from services.console.domain.lines import Line
from services.console.domain.today import Group
from services.console.domain.visits import ConditionalFill, Facts, FillFact, Visit
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.events.base import Reason
from shared.events.enrollment import ContactDetailsChanged

# ---- the stream


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines of the stream; all where nothing is said."""

    service: str | None = None
    kind: str | None = None
    store: str | None = None
    patient: str | None = None
    first: int | None = None  # lowest and highest number
    last: int | None = None
    stores: frozenset[str] | None = None  # within the reader's reach; none: all

    def takes(self, line: Line) -> bool:
        """Whether it is one of them; the same in Python as `conditions` in SQL."""
        wanted = (self.service, self.kind, self.store, self.patient)
        has = (line.service, line.kind, line.store_id, line.patient_id)
        return (
            all(want in (None, held) for want, held in zip(wanted, has, strict=True))
            and (self.stores is None or line.store_id in self.stores)
            and (self.first is None or line.number >= self.first)
            and (self.last is None or line.number <= self.last)
        )

    def conditions(self) -> tuple[Condition, ...]:
        return (
            ("service = {}", self.service),
            ("kind = {}", self.kind),
            ("store_id = {}", self.store),
            ("store_id = any({})", None if self.stores is None else sorted(self.stores)),
            ("patient_id = {}", self.patient),
            ("number >= {}", self.first),
            ("number <= {}", self.last),
        )


Condition = tuple[str, str | int | list[str] | None]
"""A condition on a column, `{}` for its value, and the value where one is given."""


def _said(conditions: Iterable[Condition], first: int) -> tuple[str, list[Any]]:
    """Those that have a value, in SQL, and the values as parameters from `first` on.

    Only what is given is said: the planner finds the index for it.
    """
    said = [(condition, value) for condition, value in conditions if value is not None]
    filters = [f"and {condition.format(f'${place}')}" for place, (condition, _) in enumerate(said, first)]
    return " ".join(filters), [value for _, value in said]


async def at_one_instant(db: Db) -> None:
    """Let all that this transaction reads be of one instant; the first thing it says."""
    await db.execute("set transaction isolation level repeatable read")


async def place(db: Db) -> tuple[int, int]:
    """The generation of the numbers, and the highest; a reader who goes on after it misses nothing."""
    row = await db.fetchrow(
        "select generation, (select coalesce(max(number), 0) from stream) as newest from numbering"
    )
    assert row is not None
    return row["generation"], row["newest"]


async def lines_after(db: Db, which: Filter, after: int, limit: int) -> list[Line]:
    """The next lines, oldest first."""
    return await _lines(db, which, "number > $1 {filters} order by number", after, limit)


async def lines_before(db: Db, which: Filter, before: int, limit: int) -> list[Line]:
    """The lines before a number, newest first."""
    return await _lines(db, which, "number < $1 {filters} order by number desc", before, limit)


async def _lines(db: Db, which: Filter, clause: str, bound: int, limit: int) -> list[Line]:
    filters, values = _said(which.conditions(), 3)
    rows = await db.fetch(
        f"""
        select event_id, service, kind, at, patient_id, store_id, correlation_id, causation_id,
               topic, partition, "offset", words, rx_id, number
        from stream
        where {clause.format(filters=filters)}
        limit $2
        """,
        bound,
        limit,
        *values,
    )
    return [Line(*row.values()) for row in rows]


# ---- stores


@dataclass(frozen=True, slots=True)
class Store:
    """What the pages need of a store."""

    store_id: str
    name: str
    time_zone: str
    open_weekdays: frozenset[int]
    closed_on: frozenset[date]

    def is_open(self, day: date) -> bool:
        return day.weekday() in self.open_weekdays and day not in self.closed_on


@dataclass(frozen=True, slots=True)
class DayCounts:
    """A store's day in figures."""

    enrolled: int
    expected: int
    picked_up: int
    ready: int
    late: int
    unconfirmed: int  # of the next three days


async def zones(db: Db, store_ids: Collection[str]) -> dict[str, str]:
    """The time zone of each of these stores."""
    rows = await db.fetch("select store_id, time_zone from stores where store_id = any($1)", list(store_ids))
    return {row["store_id"]: row["time_zone"] for row in rows}


async def store_of(db: Db, store_id: str) -> Store | None:
    row = await db.fetchrow(
        "select store_id, name, time_zone, open_weekdays, closed_on from stores where store_id = $1", store_id
    )
    return _store(row) if row else None


@dataclass(frozen=True, slots=True)
class Demand:
    """What the fills of a day take of a drug."""

    drug_name: str
    quantity: Decimal  # units
    confirmed: Decimal
    fills: int


async def demand_of_day(db: Db, store_id: str, on: date) -> list[Demand]:
    """What a store's shelf has to hold on a day, the most fills first, as the planner told it last."""
    rows = await db.fetch(
        """
        select drug ->> 'drug_name' as drug_name,
               (day ->> 'quantity')::numeric as quantity,
               (day ->> 'confirmed')::numeric as confirmed,
               (day ->> 'fills')::integer as fills
        from forecasts
        cross join jsonb_array_elements(content -> 'drugs') as drug
        cross join jsonb_array_elements(drug -> 'days') as day
        where store_id = $1
          and (day ->> 'on')::date = $2
        order by fills desc, drug_name, drug ->> 'code'
        """,
        store_id,
        on,
    )
    return [Demand(**row) for row in rows]


async def stores_page(
    db: Db, *, stores: Collection[str] | None, search: str, after: str, limit: int
) -> list[Store]:
    """Stores in order of their ids, whose id or name holds the text: of these, or of all."""
    rows = await db.fetch(
        """
        select store_id, name, time_zone, open_weekdays, closed_on
        from stores
        where store_id > $1
          and ($2 = '' or store_id ilike '%' || $2 || '%' or name ilike '%' || $2 || '%')
          and ($4::text[] is null or store_id = any($4))
        order by store_id
        limit $3
        """,
        after,
        search,
        limit,
        None if stores is None else sorted(stores),
    )
    return [_store(row) for row in rows]


def _store(row: Any) -> Store:
    return Store(
        row["store_id"],
        row["name"],
        row["time_zone"],
        frozenset(row["open_weekdays"]),
        frozenset(row["closed_on"]),
    )


async def day_counts(db: Db, days: Mapping[str, date]) -> dict[str, DayCounts]:
    """The figures of each store on its own local day."""
    rows = await db.fetch(
        """
        select s.store_id,
               (
                   select count(*) from patients p where p.store_id = s.store_id and p.status = 'enrolled'
               ) as enrolled,
               v.*
        from unnest($1::text[], $2::date[]) s (store_id, today)
        cross join lateral (
            select count(*) filter (where v."on" = s.today and (planned or v.package is not null)) as expected,
                   count(*) filter (where v."on" = s.today and v.package = 'picked_up') as picked_up,
                   count(*) filter (where v.package = 'ready' and v."on" >= s.today) as ready,
                   count(*) filter (where v.package = 'ready' and v."on" < s.today) as late,
                   count(*) filter (
                       where planned and v.answer is null and v.package is null
                         and v."on" between s.today and s.today + 3
                   ) as unconfirmed
            from visits v
            join patients p using (patient_id)
            cross join lateral (select p.status = 'enrolled' and v.plan_revision = p.plan_revision as planned) x
            where v.store_id = s.store_id
              and (v."on" between s.today and s.today + 3 or v.package = 'ready')
        ) v
        """,
        list(days.keys()),
        list(days.values()),
    )
    return {row["store_id"]: DayCounts(*list(row.values())[1:]) for row in rows}


async def groups_around(
    db: Db, store_id: str, on: date, *, soon: timedelta, later: timedelta, first: int
) -> list[Group]:
    """A store's visits by what decides how they stand: how many, and the first by patient.

    Soon after the day all, later those that nobody answered for, and all whose package waits.
    """
    rows = await db.fetch(
        """
        with shown as (
            select v."on", v.package, v.answer,
                   coalesce(p.status = 'enrolled' and v.plan_revision = p.plan_revision, false) as planned,
                   coalesce(p.plan_status = 'agreed', false) as agreed,
                   coalesce(v.answer = 'moved' and v.plan_revision <= v.answer_revision, false) as moving,
                   f.told > 0 as told,
                   f.made > 0 as made,
                   f.told > 0 and f.told >= coalesce(v.wanted - unmet, v.fills) as complete,
                   v.urgent,
                   v.patient_id collate "C", v.visit_id collate "C"
            from visits v
            left join patients p using (patient_id)
            cross join lateral (
                select count(*) as told, count(*) filter (where f.state = 'filled') as made
                from fills f
                where f.visit_id = v.visit_id
                  and v.answer = 'confirmed'
                  and v.package is null -- a package says more
            ) f
            cross join lateral (
                select count(*) as unmet
                from unnest(v.conditional_rx_ids) conditional
                where v.settled_rx_ids is null or conditional <> all (v.settled_rx_ids)
            ) c
            where v.store_id = $1
              and (
                  v.package = 'ready'
                  or v."on" between $2 and $3
                  or v."on" between $2 and $4 and v.answer is null and v.package is null
              )
        )
        select "on", package, answer, planned, agreed, moving, told, made, complete, urgent,
               count(*) as number,
               (array_agg(patient_id order by patient_id, visit_id))[:$5] as patients,
               (array_agg(visit_id order by patient_id, visit_id))[:$5] as visits
        from shown
        group by "on", package, answer, planned, agreed, moving, told, made, complete, urgent
        """,
        store_id,
        on,
        on + soon,
        on + later,
        first,
    )
    return [_group(row) for row in rows]


def _group(row: Any) -> Group:
    *facts, number, patients, visits = row.values()
    return Group(Facts(*facts), number, tuple(zip(patients, visits, strict=True)))


async def visits_named(db: Db, visit_ids: Collection[str]) -> dict[str, Visit]:
    """These visits by their ids."""
    rows = await db.fetch(
        f"""
        {_VISITS}
        where v.visit_id = any($1)
        """,
        list(visit_ids),
    )
    return {row["visit_id"]: _visit(row) for row in rows}


async def visits_of(db: Db, patient_id: str) -> list[Visit]:
    """Every visit of a patient, in order of their days."""
    rows = await db.fetch(
        f"""
        {_VISITS}
        where v.patient_id = $1
        order by v."on"
        """,
        patient_id,
    )
    return [_visit(row) for row in rows]


_VISITS = """
        select v.visit_id, v.patient_id, v.store_id, v.kind, v."on", v.plan_revision,
               coalesce(v.plan_revision = p.plan_revision, false) as in_plan,
               coalesce(p.plan_status = 'agreed', false) as agreed,
               coalesce(p.status = 'enrolled', false) as enrolled,
               v.fills, v.short_fills, v.answer, v.answered_at, v.answer_revision, v.wanted, v.declined_rx_ids,
               v.wanted_on, v.attempts, v.package, v.package_at, v.return_on, v.days_late, v.handed_over_on,
               v.taken, v.consultation, v.urgent, v.conditions, v.settled_rx_ids, v.conditional_rx_ids, v.not_filled,
               f.rx_ids, f.states, f.codes, f.days
        from visits v
        left join patients p using (patient_id)
        left join lateral (
            select array_agg(f.rx_id) as rx_ids, array_agg(f.state) as states, array_agg(f.reject_code) as codes,
                   array_agg(f.next_fill_on) as days
            from fills f
            where f.visit_id = v.visit_id
              and v.package is null -- a package says more
        ) f on true"""


def _visit(row: Any) -> Visit:
    *facts, conditions, settled, conditional, not_filled, rx_ids, states, codes, days = row.values()
    outcomes = zip(rx_ids, states, codes, days, strict=True) if rx_ids else ()
    of_fills = (
        tuple(ConditionalFill.model_validate(each) for each in conditions or ()),
        tuple(settled or ()),
        tuple(conditional or ()),
        tuple(Reason.model_validate(each) for each in not_filled or ()),
        tuple(FillFact(*each) for each in outcomes),
    )
    return Visit(*[*facts, *of_fills])


# ---- patients


@dataclass(frozen=True, slots=True)
class PatientRow:
    """One line of a list of patients."""

    patient_id: str
    status: str | None
    since: datetime | None
    store_id: str | None
    plan_status: str | None
    cycle: int | None
    anchor_on: date | None
    urgent: bool = False  # some visit of the plan cannot wait


async def whole_id(db: Db, beginning: str, stores: Collection[str] | None = None) -> str:
    """The id of the only patient whose pseudonym begins like this; what was given, where there is none or several."""
    rows = await db.fetch(
        """
        select patient_id
        from patients
        where patient_id >= $1
          and patient_id < $1 || '~'
          and ($2::text[] is null or store_id = any($2))
        limit 2
        """,
        beginning,
        None if stores is None else sorted(stores),
    )
    return rows[0]["patient_id"] if len(rows) == 1 else beginning


async def patients_page(
    db: Db, *, stores: Stores, status: str | None, prefix: str, after: str, limit: int
) -> list[PatientRow]:
    """Patients in order of their pseudonyms: of some stores, in one status, beginning with some characters."""
    conditions: tuple[Condition, ...] = (
        ("store_id = any({})", None if stores is None else list(stores)),
        ("status = {}", status),
        ("patient_id >= {}", prefix or None),
        ("patient_id < {}", f"{prefix}~" if prefix else None),
    )
    filters, values = _said(conditions, 3)
    rows = await db.fetch(
        f"""
        select patient_id, status, since, store_id, plan_status, cycle, anchor_on
        from patients
        where patient_id > $1
          {filters}
        order by patient_id
        limit $2
        """,
        after,
        limit,
        *values,
    )
    return [PatientRow(*row.values()) for row in rows]


async def to_agree(db: Db, store_id: str, limit: int, skip: int) -> tuple[int, list[PatientRow]]:
    """How many of a store's patients have not agreed to their alignment yet, and some: urgent, then nearest, first."""
    number = await db.fetchval(f"select count(*) {_TO_AGREE}", store_id)
    rows = await db.fetch(
        f"""
        select patient_id, status, since, store_id, plan_status, cycle, anchor_on, {_URGENT} as urgent
        {_TO_AGREE}
        order by urgent desc, anchor_on, patient_id
        limit $2 offset $3
        """,
        store_id,
        limit,
        skip,
    )
    return number, [PatientRow(*row.values()) for row in rows]


_URGENT = """exists (
            select
            from visits v
            where v.patient_id = patients.patient_id
              and v.plan_revision = patients.plan_revision
              and v.urgent
        )"""
_TO_AGREE = "from patients where store_id = $1 and status = 'enrolled' and plan_status = 'proposed'"


@dataclass(frozen=True, slots=True)
class Plan:
    """One revision of a patient's plan; `content` is its event as JSON."""

    revision: int
    event_id: UUID
    at: datetime | None
    status: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything but names and numbers."""

    patient_id: str
    status: str | None
    since: datetime | None
    store_id: str | None
    consent: dict[str, Any] | None
    profile: dict[str, Any] | None
    left_because: str | None
    candidate_because: list[dict[str, Any]] | None
    plan_revision: int
    opted_out_at: datetime | None
    question_at: datetime | None
    unreached_revision: int | None


async def patient_of(db: Db, patient_id: str) -> Patient | None:
    row = await db.fetchrow(
        """
        select patient_id, status, since, store_id, consent, profile, left_because, candidate_because, plan_revision,
               opted_out_at, question_at, unreached_revision
        from patients
        where patient_id = $1
        """,
        patient_id,
    )
    return Patient(*row.values()) if row else None


async def plans_of(db: Db, patient_id: str, whole: Collection[int]) -> dict[UUID, Plan]:
    """Every revision by the event that published it; those that are not wanted whole with day and reasons alone."""
    rows = await db.fetch(
        """
        select revision, event_id, at, status,
               case when revision = any($2::bigint[]) then content
                    else jsonb_build_object(
                        'anchor_on', content -> 'anchor_on', 'reasons', coalesce(content -> 'reasons', '[]')
                    )
               end as content
        from plans
        where patient_id = $1
        """,
        patient_id,
        list(whole),
    )
    return {row["event_id"]: Plan(*row.values()) for row in rows}


async def renewals_of(db: Db, patient_id: str) -> list[Renewal]:
    rows = await db.fetch(
        """
        select drug_name, needed_by, asked, answer
        from renewals
        where patient_id = $1
          and drug_name is not null
        order by needed_by, rx_id
        """,
        patient_id,
    )
    return [Renewal(*row.values()) for row in rows]


async def details(db: Db, keys: DataKeys, patient_id: str) -> ContactDetailsChanged | None:
    """Names and numbers, where they are known. Raises SealBroken."""
    row = await db.fetchrow(
        f"""
        select patient_id, d.sealed, {DATA_KEY}
        from sealed_details d
        left join fabric.data_keys k using (patient_id)
        where patient_id = $1
        """,
        patient_id,
    )
    return ContactDetailsChanged.model_validate(keys.open(row)) if row else None


async def calls_of_day(db: Db, store_id: str, since: datetime, until: datetime) -> dict[str, int]:
    """How many of each kind outreach published about a store's patients between two instants."""
    rows = await db.fetch(
        """
        select kind, count(*) as number
        from stream
        where store_id = $1
          and service = 'outreach'
          and at >= $2
          and at < $3
        group by kind
        """,
        store_id,
        since,
        until,
    )
    return {row["kind"]: row["number"] for row in rows}
