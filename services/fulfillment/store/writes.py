"""What is kept. Statements are set-wise: one for a whole batch; an older revision than the one held is ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from services.fulfillment.domain import (
    Change,
    Completes,
    Confirmation,
    ConfirmedItem,
    Contact,
    Exclusions,
    Filled,
    FillOutcome,
    Item,
    Patient,
    Plan,
    Rejected,
    Resolution,
    Short,
    Store,
    WorkOrder,
)
from shared.database import Db
from shared.datakeys import DataKeys, InClear, hexed
from shared.events.enrollment import CaregiversChanged
from shared.upsert import Row, row, upsert


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


# ---- what is known ----------------------------------------------------------------------------------------------


async def save_patients(db: Db, patients: Sequence[Patient]) -> None:
    """Keep who takes part."""
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
    """Keep the newest plan of each patient, or its withdrawal."""
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


_keep_exclusions = upsert("exclusions", "patient_id", "revision rx_ids", newer="revision")


async def save_exclusions(db: Db, lists: Sequence[Exclusions]) -> None:
    """Keep what a pharmacist excludes."""
    await _keep_exclusions(
        db, [row(each, "patient_id revision", rx_ids=sorted(each.rx_ids)) for each in lists]
    )


_keep_stores = upsert("stores", "store_id", "revision time_zone calendar known_at", newer="revision")


async def save_stores(db: Db, stores: Sequence[Store], *, known_at: datetime) -> None:
    """Keep calendars."""
    await _keep_stores(
        db,
        [
            row(store, "store_id revision time_zone", calendar=_calendar(store), known_at=known_at)
            for store in stores
        ],
    )


_keep_contacts = upsert("contacts", "patient_id", "revision sealed", newer="revision")


async def save_contacts(db: Db, keys: DataKeys, contacts: Sequence[Contact]) -> None:
    """Keep names for the pickup desk, sealed."""
    sealed = await keys.seal(db, {each.patient_id: row(each, SEALED) for each in contacts})
    await _keep_contacts(
        db, [row(each, "patient_id revision", sealed=hexed(sealed[each.patient_id])) for each in contacts]
    )


NAMES = "given_name family_name birth_date"  # once in clear
SEALED = f"{NAMES} address phones"


async def _in_clear(db: Db, after: str, limit: int) -> list[str]:
    rows = await db.fetch(
        "select patient_id from contacts where sealed is null and patient_id > $1 order by patient_id limit $2",
        after,
        limit,
    )
    return [each["patient_id"] for each in rows]


async def _seal_in_clear(db: Db, keys: DataKeys, patient_ids: Collection[str]) -> None:
    rows = await db.fetch(
        """
        select patient_id, given_name, family_name, birth_date
        from contacts
        where patient_id = any($1)
          and sealed is null
        """,
        list(patient_ids),
    )
    said = {each["patient_id"]: {name: each[name] for name in NAMES.split()} for each in rows}
    sealed = await keys.seal(db, said)
    await db.execute(
        """
        update contacts c
        set sealed = s.sealed, given_name = null, family_name = null, birth_date = null
        from unnest($1::text[], $2::bytea[]) s (patient_id, sealed)
        where c.patient_id = s.patient_id
        """,
        list(sealed),
        list(sealed.values()),
    )


IN_CLEAR = InClear(_in_clear, _seal_in_clear)


_keep_caregivers = upsert("caregivers", "patient_id", "revision caregiver_ids", newer="revision")


async def save_caregivers(db: Db, events: Sequence[CaregiversChanged]) -> None:
    """Keep who may act for patients."""
    await _keep_caregivers(db, [row(event, "patient_id revision caregiver_ids") for event in events])


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


_ORDER = (
    "store_id plan_id plan_revision visit_kind status store_revision return_on return_at ready_on missed_at "
    "missed_days handed_over_on bin"
)
_ORDER_FOR_GOOD = "patient_id package_id visit_on"  # as first confirmed; never written over
_keep_orders = upsert("work_orders", "visit_id", f"{_ORDER} {_ORDER_FOR_GOOD}", first=_ORDER_FOR_GOOD)

_ITEM = (
    "drug_name quantity days_supply status why due_at days_supply_billed clarification_codes condition waits_for "
    "gives_up_at late renewed_as urgent at_counter place place_label tries expected_on"
)
# Beside `patient_pay`:
_ITEM_OUTCOME = "fill_id filled_on reject_code next_fill_on missing on_hand filled_quantity filled_days"
_ITEM_SAID = "resolution completes"
_ITEM_FOR_GOOD = "visit_id patient_id rx_id"
_keep_items = upsert(
    "items",
    "order_id",
    f"{_ITEM} lease_id leased_by leased_until taken_by patient_pay {_ITEM_OUTCOME} {_ITEM_SAID} {_ITEM_FOR_GOOD}",
    first=_ITEM_FOR_GOOD,
)


async def save_orders(db: Db, changed: Sequence[Change]) -> None:
    """Keep changed work orders with their items; an item that is no longer confirmed stays, cancelled."""
    orders = [change.after for change in changed]
    await _keep_orders(db, [row(order, f"visit_id {_ORDER} {_ORDER_FOR_GOOD}") for order in orders])
    await _keep_items(db, [_item_row(order, item) for order in orders for item in order.items])


# ---- what people do ---------------------------------------------------------------------------------------------


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


_TRY = ("reject_code", "next_fill_on", "missing", "on_hand")


async def add_try(db: Db, item: Item, by: str, at: datetime) -> None:
    """Keep what came of a try at a fill, the item's newest."""
    said = _outcome_columns(item.outcome)
    await db.execute(
        """
        insert into tries (
            order_id, number, result, reported_by, reported_at, reject_code, next_fill_on, missing, on_hand
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        item.order_id,
        item.tries,
        item.status,
        by,
        at,
        *(said.get(name) for name in _TRY),
    )


async def resolve_try(db: Db, item: Item, resolution: str, by: str | None, at: datetime) -> None:
    """Keep what was resolved about the newest try at a fill."""
    await db.execute(
        """
        update tries
        set resolution = $3, resolved_by = $4, resolved_at = $5
        where order_id = $1
          and number = $2
        """,
        item.order_id,
        item.tries,
        resolution,
        by,
        at,
    )


async def save_consultation(db: Db, visit_id: str, outcome: str, topics: Sequence[str]) -> int:
    """Record a talk of a visit, whose patient is locked; says which it is, from 1."""
    number: int = await db.fetchval(
        """
        insert into consultations (visit_id, number, outcome, topics)
        select $1, coalesce(max(number), 0) + 1, $2, $3
        from consultations
        where visit_id = $1
        returning number
        """,
        visit_id,
        outcome,
        topics,
    )
    return number


async def save_counter_note(
    db: Db, keys: DataKeys, order: WorkOrder, about: str, said: Mapping[str, Any], number: int = 1
) -> None:
    """Keep what was said and shown at the counter, sealed."""
    sealed = await keys.seal(db, {order.patient_id: said})
    await db.execute(
        """
        insert into counter_notes (visit_id, about, number, patient_id, sealed)
        values ($1, $2, $3, $4, $5)
        """,
        order.visit_id,
        about,
        number,
        order.patient_id,
        sealed[order.patient_id],
    )


# ---- values as rows ---------------------------------------------------------------------------------------------


def _item_row(order: WorkOrder, item: Item) -> Row:
    lease = item.lease
    return row(
        item,
        f"order_id rx_id patient_pay {_ITEM}",
        visit_id=order.visit_id,
        patient_id=order.patient_id,
        lease_id=lease.lease_id if lease else None,
        leased_by=lease.worker if lease else None,
        leased_until=lease.until if lease else None,
        taken_by=lease.taken_by if lease else None,
        **dict.fromkeys(_ITEM_OUTCOME.split()) | _outcome_columns(item.outcome),
        resolution=RESOLUTION.dump_python(item.resolution, mode="json"),
        completes=COMPLETES.dump_python(item.completes, mode="json"),
    )


RESOLUTION = TypeAdapter(Resolution | None)
COMPLETES = TypeAdapter(Completes | None)
"""What is kept of an item as it is."""


def _outcome_columns(outcome: FillOutcome | None) -> dict[str, Any]:
    match outcome:
        case Filled(fill_id, filled_on, _, quantity, days):
            return {
                "fill_id": fill_id,
                "filled_on": filled_on,
                "filled_quantity": quantity,
                "filled_days": days,
            }
        case Rejected(reject_code, next_fill_on):
            return {"reject_code": reject_code, "next_fill_on": next_fill_on}
        case Short(missing, on_hand):
            return {"missing": missing, "on_hand": on_hand}
    return {}


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
            visit_id: {rx_id: condition.model_dump(mode="json") for rx_id, condition in conditions.items()}
            for visit_id, conditions in plan.conditions.items()
        },
        "renewals": {visit_id: dict(renewals) for visit_id, renewals in plan.renewals.items()},
        "urgent": sorted(plan.urgent),
        "offers": OFFERS.dump_python(dict(plan.offers), mode="json"),
    }


OFFERS = TypeAdapter(dict[str, tuple[ConfirmedItem, ...]])
"""What a plan has to be asked about at the counter, as it is kept."""


def _calendar(store: Store) -> dict[str, Any]:
    closed_on = [day.isoformat() for day in sorted(store.closed_on)]
    return {"weekdays": sorted(store.weekdays), "closed_on": closed_on}


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as one array per column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)]
