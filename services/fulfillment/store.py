"""Every SQL statement of fulfillment. Statements are set-wise: one for a whole batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from services.fulfillment.domain import (
    Change,
    Confirmation,
    Exclusions,
    Facts,
    Filled,
    Item,
    ItemStatus,
    Lease,
    Outcome,
    PackageStatus,
    Patient,
    Plan,
    Rejected,
    Short,
    Store,
    Why,
    WorkOrder,
)
from shared.database import Db
from shared.events.planner import Condition


@dataclass(frozen=True, slots=True)
class Contact:
    """Who a patient is, for the pickup desk."""

    patient_id: str
    revision: int
    given_name: str
    family_name: str
    birth_date: date | None


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person or the dispensing system did to a package."""

    visit_id: str
    action: str
    done_at: datetime
    actor: str
    role: str
    licence: str | None
    detail: dict[str, Any]


class Place(NamedTuple):
    """Where a command's work order is found, and which patient to lock for it."""

    visit_id: str
    patient_id: str
    store_id: str


# ---- what is known ----------------------------------------------------------------------------------------------


async def save_patients(db: Db, patients: Sequence[Patient]) -> None:
    """Keep who takes part; an older revision than the one held is ignored."""
    await db.execute(
        """
        insert into patients (patient_id, revision, enrolled, died, left_revision, caregiver_may_collect)
        select *
        from unnest($1::text[], $2::bigint[], $3::boolean[], $4::boolean[], $5::bigint[], $6::boolean[])
        on conflict (patient_id) do update
        set revision = excluded.revision,
            enrolled = excluded.enrolled,
            died = excluded.died,
            left_revision = greatest(patients.left_revision, excluded.left_revision),
            caregiver_may_collect = excluded.caregiver_may_collect
        where excluded.revision > patients.revision
        """,
        *_columns(
            (p.patient_id, p.revision, p.enrolled, p.died, p.left_revision, p.caregiver_may_collect)
            for p in patients
        ),
    )


async def save_plans(db: Db, plans: Sequence[Plan]) -> None:
    """Keep the newest plan of each patient, or its withdrawal; an older revision than the one held is ignored."""
    await db.execute(
        """
        insert into plans (patient_id, revision, profile_revision, content, cancelled_through)
        select *
        from unnest($1::text[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::bigint[])
        on conflict (patient_id) do update
        set revision = excluded.revision,
            profile_revision = excluded.profile_revision,
            content = excluded.content,
            cancelled_through = greatest(plans.cancelled_through, excluded.cancelled_through)
        where excluded.revision > plans.revision
        """,
        *_columns(
            (plan.patient_id, plan.revision, plan.profile_revision, _content(plan), plan.cancelled_through)
            for plan in plans
        ),
    )


async def save_exclusions(db: Db, lists: Sequence[Exclusions]) -> None:
    """Keep what a pharmacist excludes; an older revision than the one held is ignored."""
    await db.execute(
        """
        insert into exclusions (patient_id, revision, rx_ids)
        select patient_id, revision, rx_ids
        from jsonb_to_recordset($1) as list (patient_id text, revision bigint, rx_ids text[])
        on conflict (patient_id) do update
        set revision = excluded.revision,
            rx_ids = excluded.rx_ids
        where excluded.revision > exclusions.revision
        """,
        [
            {"patient_id": each.patient_id, "revision": each.revision, "rx_ids": sorted(each.rx_ids)}
            for each in lists
        ],
    )


async def save_stores(db: Db, stores: Sequence[Store], *, known_at: datetime) -> None:
    """Keep calendars; an older revision than the one held is ignored."""
    await db.execute(
        """
        insert into stores (store_id, revision, time_zone, calendar, known_at)
        select store_id, revision, time_zone, calendar, $5
        from unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[])
            as store (store_id, revision, time_zone, calendar)
        on conflict (store_id) do update
        set revision = excluded.revision,
            time_zone = excluded.time_zone,
            calendar = excluded.calendar,
            known_at = excluded.known_at
        where excluded.revision > stores.revision
        """,
        *_columns((store.store_id, store.revision, store.time_zone, _calendar(store)) for store in stores),
        known_at,
    )


async def facts_around(db: Db, orders: Collection[WorkOrder]) -> dict[str, Facts]:
    """By visit, what is known around these work orders."""
    patient_ids = list({order.patient_id for order in orders})
    patients = await db.fetch("select * from patients where patient_id = any($1)", patient_ids)
    plans = await db.fetch("select * from plans where patient_id = any($1)", patient_ids)
    excluded = await db.fetch(
        "select patient_id, rx_ids from exclusions where patient_id = any($1)", patient_ids
    )
    stores = await db.fetch(
        "select * from stores where store_id = any($1)", list({order.store_id for order in orders})
    )
    patient_of = {row["patient_id"]: Patient(**row) for row in patients}
    plan_of = {row["patient_id"]: _plan(row) for row in plans}
    store_of = {row["store_id"]: _store(row) for row in stores}
    excluded_of = {row["patient_id"]: frozenset(row["rx_ids"]) for row in excluded}
    return {
        order.visit_id: Facts(
            patient_of.get(order.patient_id),
            plan_of.get(order.patient_id),
            store_of.get(order.store_id),
            excluded_of.get(order.patient_id, frozenset()),
        )
        for order in orders
    }


async def save_contacts(db: Db, contacts: Sequence[Contact]) -> None:
    """Keep names for the pickup desk; an older revision than the one held is ignored."""
    await db.execute(
        """
        insert into contacts (patient_id, revision, given_name, family_name, birth_date)
        select *
        from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::date[])
        on conflict (patient_id) do update
        set revision = excluded.revision,
            given_name = excluded.given_name,
            family_name = excluded.family_name,
            birth_date = excluded.birth_date
        where excluded.revision > contacts.revision
        """,
        *_columns((c.patient_id, c.revision, c.given_name, c.family_name, c.birth_date) for c in contacts),
    )


async def contacts_of(db: Db, patient_ids: Collection[str]) -> dict[str, Contact]:
    """Who these patients are, where it is known."""
    rows = await db.fetch("select * from contacts where patient_id = any($1)", list(patient_ids))
    return {row["patient_id"]: Contact(**row) for row in rows}


# ---- work orders ------------------------------------------------------------------------------------------------


async def save_confirmations(
    db: Db, confirmations: Sequence[tuple[Confirmation, bool]], *, received_at: datetime
) -> None:
    """Record confirmations, each with whether it is its visit's live one from now on."""
    await db.execute(
        """
        update confirmations
        set live = false
        where visit_id = any($1)
          and live
        """,
        [confirmation.visit_id for confirmation, live in confirmations if live],
    )
    await db.execute(
        """
        insert into confirmations (visit_id, patient_id, plan_id, plan_revision, items, live, received_at)
        select visit_id, patient_id, plan_id, plan_revision, items, live, $7
        from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[], $6::boolean[])
            as confirmation (visit_id, patient_id, plan_id, plan_revision, items, live)
        """,
        *_columns(
            (
                confirmation.visit_id,
                confirmation.patient_id,
                confirmation.plan_id,
                confirmation.plan_revision,
                {item.rx_id: [str(item.quantity), item.days_supply] for item in confirmation.items},
                live,
            )
            for confirmation, live in confirmations
        ),
        received_at,
    )


async def open_orders(db: Db, patient_ids: Collection[str]) -> list[WorkOrder]:
    """The work orders of these patients that are neither handed over nor gone back."""
    rows = await db.fetch(
        """
        select *
        from work_orders
        where patient_id = any($1)
          and status not in ('picked_up', 'returned')
        order by visit_on, visit_id
        """,
        list(patient_ids),
    )
    return await _with_items(db, rows)


async def orders_of_visits(db: Db, visit_ids: Collection[str]) -> list[WorkOrder]:
    """The work orders of these visits, where there are any."""
    rows = await db.fetch("select * from work_orders where visit_id = any($1)", list(visit_ids))
    return await _with_items(db, rows)


async def packages(
    db: Db,
    *,
    store_id: str | None,
    status: PackageStatus | None,
    visit_on: date | None,
    after: str,
    limit: int,
) -> list[WorkOrder]:
    """A page of work orders as packages, by package id."""
    rows = await db.fetch(
        """
        select *
        from work_orders
        where ($1::text is null or store_id = $1)
          and ($2::text is null or status = $2)
          and ($3::date is null or visit_on = $3)
          and package_id > $4
        order by package_id
        limit $5
        """,
        store_id,
        status,
        visit_on,
        after,
        limit,
    )
    return await _with_items(db, rows)


async def save(db: Db, changed: Sequence[Change]) -> None:
    """Write changed work orders with their items; an item that is no longer confirmed stays, cancelled."""
    if not changed:
        return
    orders = [change.after for change in changed]
    await db.execute(
        """
        insert into work_orders
            (visit_id, patient_id, store_id, package_id, plan_id, plan_revision, visit_kind, visit_on, status,
             store_revision, return_on, return_at, ready_on, missed_at, missed_days, handed_over_on, bin)
        select *
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                    $8::date[], $9::text[], $10::bigint[], $11::date[], $12::timestamptz[], $13::date[],
                    $14::timestamptz[], $15::smallint[], $16::date[], $17::integer[])
        on conflict (visit_id) do update
        set store_id = excluded.store_id,
            plan_id = excluded.plan_id,
            plan_revision = excluded.plan_revision,
            visit_kind = excluded.visit_kind,
            status = excluded.status,
            store_revision = excluded.store_revision,
            return_on = excluded.return_on,
            return_at = excluded.return_at,
            ready_on = excluded.ready_on,
            missed_at = excluded.missed_at,
            missed_days = excluded.missed_days,
            handed_over_on = excluded.handed_over_on,
            bin = excluded.bin
        """,
        *_columns(map(_order_row, orders)),
    )
    await db.execute(
        """
        insert into items
            (visit_id, patient_id, order_id, rx_id, drug_name, quantity, days_supply, status, why, due_at,
             lease_id, leased_by, leased_until, fill_id, filled_on, reject_code, next_fill_on, missing,
             days_supply_billed, clarification_codes, condition, waits_for, gives_up_at, late, renewed_as, urgent)
        select *
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::integer[],
                    $8::text[], $9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::timestamptz[],
                    $14::text[], $15::date[], $16::text[], $17::date[], $18::numeric[], $19::integer[], $20::jsonb[],
                    $21::jsonb[], $22::jsonb[], $23::timestamptz[], $24::boolean[], $25::text[], $26::boolean[])
        on conflict (order_id) do update
        set drug_name = excluded.drug_name,
            quantity = excluded.quantity,
            days_supply = excluded.days_supply,
            status = excluded.status,
            why = excluded.why,
            due_at = excluded.due_at,
            lease_id = excluded.lease_id,
            leased_by = excluded.leased_by,
            leased_until = excluded.leased_until,
            fill_id = excluded.fill_id,
            filled_on = excluded.filled_on,
            reject_code = excluded.reject_code,
            next_fill_on = excluded.next_fill_on,
            missing = excluded.missing,
            days_supply_billed = excluded.days_supply_billed,
            clarification_codes = excluded.clarification_codes,
            condition = excluded.condition,
            waits_for = excluded.waits_for,
            gives_up_at = excluded.gives_up_at,
            late = excluded.late,
            renewed_as = excluded.renewed_as,
            urgent = excluded.urgent
        """,
        *_columns(
            (order.visit_id, order.patient_id, *_item_row(item)) for order in orders for item in order.items
        ),
    )


async def free_bin(db: Db, store_id: str) -> int:
    """The lowest will-call bin of a store with no package in it; hold the lock of its bins."""
    number: int = await db.fetchval(
        """
        with taken as (
            select bin
            from work_orders
            where store_id = $1
              and bin is not null
        )
        select min(number)
        from generate_series(1, (select count(*) + 1 from taken)) number
        where number not in (select bin from taken)
        """,
        store_id,
    )
    return number


# ---- commands ---------------------------------------------------------------------------------------------------


async def place_of(
    db: Db, *, visit_id: str | None = None, package_id: str | None = None, order_id: str | None = None
) -> Place | None:
    """Where the work order is that one of these ids names."""
    row = await db.fetchrow(
        """
        select visit_id, patient_id, store_id
        from work_orders
        where visit_id = $1
           or package_id = $2
           or visit_id = (select visit_id from items where order_id = $3)
        """,
        visit_id,
        package_id,
        order_id,
    )
    return Place(*row) if row else None


async def order_of_fill(db: Db, fill_id: str) -> str | None:
    """The order that was filled under this id; hold the lock of the fill."""
    order_id: str | None = await db.fetchval(
        "select order_id from items where fill_id = $1 and not fill_id_repeated", fill_id
    )
    return order_id


async def note(db: Db, action: Action) -> None:
    """Keep who did what."""
    await db.execute(
        """
        insert into actions (visit_id, action, done_at, actor, role, licence, detail)
        values ($1, $2, $3, $4, $5, $6, $7)
        """,
        action.visit_id,
        action.action,
        action.done_at,
        action.actor,
        action.role,
        action.licence,
        action.detail,
    )


async def save_consultation(db: Db, visit_id: str, outcome: str, topics: Sequence[str]) -> bool:
    """Record the talk of a visit; says whether it is the first."""
    done: str = await db.execute(
        """
        insert into consultations (visit_id, outcome, topics)
        values ($1, $2, $3)
        on conflict do nothing
        """,
        visit_id,
        outcome,
        topics,
    )
    return done == "INSERT 0 1"


# ---- rows and values ----------------------------------------------------------------------------------------------


async def _with_items(db: Db, rows: Sequence[Any]) -> list[WorkOrder]:
    found = await db.fetch(
        "select * from items where visit_id = any($1) order by rx_id", [row["visit_id"] for row in rows]
    )
    items: dict[str, list[Item]] = defaultdict(list)
    for row in found:
        items[row["visit_id"]].append(_item(row))
    return [
        WorkOrder(**{**row, "status": PackageStatus(row["status"]), "items": tuple(items[row["visit_id"]])})
        for row in rows
    ]


_order_row = attrgetter(
    "visit_id",
    "patient_id",
    "store_id",
    "package_id",
    "plan_id",
    "plan_revision",
    "visit_kind",
    "visit_on",
    "status",
    "store_revision",
    "return_on",
    "return_at",
    "ready_on",
    "missed_at",
    "missed_days",
    "handed_over_on",
    "bin",
)


def _item_row(item: Item) -> tuple[Any, ...]:
    lease = (item.lease.lease_id, item.lease.worker, item.lease.until) if item.lease else (None, None, None)
    return (
        item.order_id,
        item.rx_id,
        item.drug_name,
        item.quantity,
        item.days_supply,
        item.status,
        item.why,
        item.due_at,
        *lease,
        *_outcome_row(item.outcome),
        item.days_supply_billed,
        item.clarification_codes,
        _condition_row(item.condition),
        _condition_row(item.waits_for),
        item.gives_up_at,
        item.late,
        item.renewed_as,
        item.urgent,
    )


def _condition_row(condition: Condition | None) -> dict[str, Any] | None:
    return condition.model_dump(mode="json") if condition else None


def _outcome_row(outcome: Outcome | None) -> tuple[Any, Any, Any, Any, Any]:
    match outcome:
        case Filled(fill_id, filled_on):
            return fill_id, filled_on, None, None, None
        case Rejected(reject_code, next_fill_on):
            return None, None, reject_code, next_fill_on, None
        case Short(missing):
            return None, None, None, None, missing
    return None, None, None, None, None


def _item(row: Any) -> Item:
    lease = Lease(row["lease_id"], row["leased_by"], row["leased_until"]) if row["lease_id"] else None
    return Item(
        order_id=row["order_id"],
        rx_id=row["rx_id"],
        drug_name=row["drug_name"],
        quantity=row["quantity"],
        days_supply=row["days_supply"],
        status=ItemStatus(row["status"]),
        why=Why(row["why"]) if row["why"] else None,
        due_at=row["due_at"],
        lease=lease,
        outcome=_outcome(row),
        days_supply_billed=row["days_supply_billed"],
        clarification_codes=tuple(row["clarification_codes"] or ()),
        condition=_condition(row["condition"]),
        waits_for=_condition(row["waits_for"]),
        gives_up_at=row["gives_up_at"],
        late=row["late"],
        renewed_as=row["renewed_as"],
        urgent=row["urgent"],
    )


def _condition(value: Any) -> Condition | None:
    return Condition.model_validate(value) if value else None


def _outcome(row: Any) -> Outcome | None:
    if row["fill_id"] is not None:
        return Filled(row["fill_id"], row["filled_on"])
    if row["reject_code"] is not None:
        return Rejected(row["reject_code"], row["next_fill_on"])
    return Short(row["missing"]) if row["missing"] is not None else None


def _content(plan: Plan) -> dict[str, Any]:
    return {
        "visits": {
            visit_id: {rx_id: day.isoformat() if day else None for rx_id, day in payable_from.items()}
            for visit_id, payable_from in plan.visits.items()
        },
        "prescriptions": sorted(plan.prescriptions),
        "fill_on": {
            visit_id: {rx_id: day.isoformat() for rx_id, day in days.items()}
            for visit_id, days in plan.fill_on.items()
        },
        "conditions": {
            visit_id: {rx_id: _condition_row(condition) for rx_id, condition in conditions.items()}
            for visit_id, conditions in plan.conditions.items()
        },
        "renewals": {visit_id: dict(renewals) for visit_id, renewals in plan.renewals.items()},
        "urgent": sorted(plan.urgent),
    }


def _plan(row: Any) -> Plan:
    visits = {
        visit_id: {rx_id: date.fromisoformat(day) if day else None for rx_id, day in payable_from.items()}
        for visit_id, payable_from in row["content"]["visits"].items()
    }
    return Plan(
        row["patient_id"],
        row["revision"],
        row["profile_revision"],
        visits,
        frozenset(row["content"]["prescriptions"]),
        {
            visit_id: {rx_id: date.fromisoformat(day) for rx_id, day in days.items()}
            for visit_id, days in row["content"].get("fill_on", {}).items()
        },
        row["cancelled_through"],
        conditions={
            visit_id: {rx_id: Condition.model_validate(said) for rx_id, said in conditions.items()}
            for visit_id, conditions in row["content"].get("conditions", {}).items()
        },
        renewals=row["content"].get("renewals", {}),
        urgent=frozenset(row["content"].get("urgent", ())),
    )


def _calendar(store: Store) -> dict[str, Any]:
    closed_on = [day.isoformat() for day in sorted(store.closed_on)]
    return {"weekdays": sorted(store.weekdays), "closed_on": closed_on}


def _store(row: Any) -> Store:
    return Store(
        row["store_id"],
        row["revision"],
        row["time_zone"],
        frozenset(row["calendar"]["weekdays"]),
        frozenset(map(date.fromisoformat, row["calendar"]["closed_on"])),
    )


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as one array per column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)]
