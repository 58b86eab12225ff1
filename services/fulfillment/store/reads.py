"""What is asked of what fulfillment knows: facts around work orders, the orders themselves, packages by the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from pydantic import TypeAdapter

from services.fulfillment.domain import (
    OWED,
    Contact,
    Facts,
    Filled,
    FillOutcome,
    Item,
    ItemStatus,
    Lease,
    PackageStatus,
    Patient,
    Place,
    Plan,
    Rejected,
    Short,
    Store,
    Why,
    WorkOrder,
)
from services.fulfillment.store.writes import COMPLETES, OFFERS, RESOLUTION
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.events.planner import Condition

# ---- what is known ----------------------------------------------------------------------------------------------


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


async def contacts_of(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> dict[str, Contact]:
    """Who these patients are, where it is known."""
    rows = await db.fetch(
        f"""
        select patient_id, c.revision, c.sealed, {DATA_KEY}
        from contacts c
        left join fabric.data_keys k using (patient_id)
        where patient_id = any($1)
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: CONTACT.validate_python({**row, **keys.open(row)}) for row in rows}


CONTACT = TypeAdapter(Contact)


async def caregivers_of(db: Db, patient_ids: Collection[str]) -> dict[str, frozenset[str]]:
    """Who is recorded as a caregiver of these patients."""
    rows = await db.fetch(
        "select patient_id, caregiver_ids from caregivers where patient_id = any($1)", list(patient_ids)
    )
    return {row["patient_id"]: frozenset(row["caregiver_ids"]) for row in rows}


async def wrong_tries(db: Db, visit_id: str) -> int:
    """How often what was presented for a package was not what is held. A hand-over that follows ends it."""
    tries: int = await db.fetchval(
        "select count(*) from actions where visit_id = $1 and action = 'wrong_try'", visit_id
    )
    return tries


# ---- work orders ------------------------------------------------------------------------------------------------


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


async def patients_with_packages(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[str]:
    """For whom a package is ready, in order."""
    rows = await db.fetch(
        """
        select distinct patient_id collate "C" as patient_id
        from work_orders
        where status = 'ready'
          and ($1::text is null or patient_id = $1)
          and ($2::text is null or store_id = $2)
          and patient_id collate "C" > $3
        order by 1
        limit $4
        """,
        patient,
        store,
        after,
        limit,
    )
    return [row["patient_id"] for row in rows]


async def orders_of_visits(db: Db, visit_ids: Collection[str]) -> list[WorkOrder]:
    """The work orders of these visits, where there are any."""
    rows = await db.fetch("select * from work_orders where visit_id = any($1)", list(visit_ids))
    return await _with_items(db, rows)


_NAMED = """
    visit_id = $1
    or package_id = $2
    or visit_id = (select visit_id from items where order_id = $3)
"""


async def place_of(
    db: Db, *, visit_id: str | None = None, package_id: str | None = None, order_id: str | None = None
) -> Place | None:
    """Where the work order is that one of these ids names."""
    row = await db.fetchrow(
        f"select visit_id, patient_id, store_id from work_orders where {_NAMED}",
        visit_id,
        package_id,
        order_id,
    )
    return Place(*row) if row else None


async def order_of(
    db: Db, *, visit_id: str | None = None, package_id: str | None = None, order_id: str | None = None
) -> WorkOrder | None:
    """The work order that one of these ids names."""
    rows = await db.fetch(
        f"select * from work_orders where {_NAMED}",
        visit_id,
        package_id,
        order_id,
    )
    return next(iter(await _with_items(db, rows)), None)


async def packages(
    db: Db,
    *,
    stores: Stores,
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
        where ($1::text[] is null or store_id = any($1))
          and ($2::text is null or status = $2)
          and ($3::date is null or visit_on = $3)
          and package_id > $4
        order by package_id
        limit $5
        """,
        stores,
        status,
        visit_on,
        after,
        limit,
    )
    return await _with_items(db, rows)


async def owed_orders(
    db: Db, *, stores: Stores, status: PackageStatus | None, after: str, limit: int
) -> list[WorkOrder]:
    """A page of the work orders of owed rests, by package id: of one status, or all that are not over."""
    rows = await db.fetch(
        """
        select *
        from work_orders
        where visit_kind = $1
          and ($2::text[] is null or store_id = any($2))
          and case when $3::text is null then status in ('filling', 'to_verify', 'ready') else status = $3 end
          and package_id > $4
        order by package_id
        limit $5
        """,
        OWED,
        stores,
        status,
        after,
        limit,
    )
    return await _with_items(db, rows)


async def owed_after(db: Db, order_ids: Collection[str]) -> list[WorkOrder]:
    """The work orders, not over yet, of the rests that these partial fills left owed."""
    rows = await db.fetch(
        """
        select w.*
        from work_orders w
        join items i using (visit_id)
        where i.completes ->> 'order_id' = any($1)
          and w.status in ('filling', 'to_verify', 'ready')
        """,
        list(order_ids),
    )
    return await _with_items(db, rows)


async def tries_of(db: Db, order_ids: Collection[str]) -> dict[str, list[Any]]:
    """By order the rows of its tries, the first one first."""
    rows = await db.fetch(
        "select * from tries where order_id = any($1) order by order_id, number", list(order_ids)
    )
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row["order_id"]].append(row)
    return found


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


async def order_of_fill(db: Db, fill_id: str) -> str | None:
    """The order that was filled under this id; hold the lock of the fill."""
    order_id: str | None = await db.fetchval(
        "select order_id from items where fill_id = $1 and not fill_id_repeated", fill_id
    )
    return order_id


# ---- rows as values ---------------------------------------------------------------------------------------------


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


def _item(row: Any) -> Item:
    taken = (row["lease_id"], row["leased_by"], row["leased_until"], row["taken_by"])
    lease = Lease(*taken) if row["lease_id"] else None
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
        at_counter=row["at_counter"],
        place=row["place"],
        place_label=row["place_label"],
        tries=row["tries"],
        resolution=RESOLUTION.validate_python(row["resolution"]),
        completes=COMPLETES.validate_python(row["completes"]),
        expected_on=row["expected_on"],
    )


def _outcome(row: Any) -> FillOutcome | None:
    if row["fill_id"] is not None:
        parts = (row["filled_quantity"], row["filled_days"])
        return Filled(row["fill_id"], row["filled_on"], row["patient_pay"], *parts)
    if row["reject_code"] is not None:
        return Rejected(row["reject_code"], row["next_fill_on"])
    return Short(row["missing"], row["on_hand"]) if row["missing"] is not None else None


def _condition(value: Any) -> Condition | None:
    return Condition.model_validate(value) if value else None


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
        offers=OFFERS.validate_python(row["content"].get("offers", {})),
    )


def _store(row: Any) -> Store:
    return Store(
        row["store_id"],
        row["revision"],
        row["time_zone"],
        frozenset(row["calendar"]["weekdays"]),
        frozenset(map(date.fromisoformat, row["calendar"]["closed_on"])),
    )
