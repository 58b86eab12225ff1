"""Reading the services' tables: every SQL statement of the proof. One read-only snapshot per service."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg

from cli.proof.contract import HOLDS, SEALED_HELD
from cli.proof.record import (
    Attempt,
    Confirmation,
    Console,
    Copied,
    DeadLetter,
    Enrollment,
    Fabric,
    Fulfillment,
    HeldFill,
    Item,
    Line,
    Order,
    Outreach,
    Plan,
    Planner,
    Standing,
    Waiting,
)
from cli.proof.topics import fingerprint

Db: TypeAlias = "asyncpg.Connection"


@dataclass
class Tables:
    """What stands in the services' tables; see `Record` for the fields."""

    fabrics: dict[str, Fabric] = field(default_factory=dict)
    held: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    enrollment: Enrollment = field(default_factory=Enrollment)
    planner: Planner = field(default_factory=Planner)
    outreach: Outreach = field(default_factory=Outreach)
    fulfillment: Fulfillment = field(default_factory=Fulfillment)
    console: Console = field(default_factory=Console)


async def read_tables(databases: Mapping[str, str]) -> Tables:
    """Read the databases of these services (service to URL). Raises OSError or a PostgresError where one is away."""
    found = Tables()
    for service, url in databases.items():
        db = await asyncpg.connect(url, timeout=10, command_timeout=300)
        try:
            async with db.transaction(isolation="repeatable_read", readonly=True):
                await _read_service(db, service, found)
        finally:
            await db.close()
    return found


async def _read_service(db: Db, service: str, found: Tables) -> None:
    found.fabrics[service] = await _fabric(db)
    for reader, table in (*HOLDS, *SEALED_HELD.items()):
        if reader == service:
            found.held[service, table] = await _held(db, table)
    match service:
        case "enrollment":
            found.enrollment = await _enrollment(db)
        case "planner":
            found.planner = await _planner(db)
        case "outreach":
            found.outreach = await _outreach(db)
        case "fulfillment":
            found.fulfillment = await _fulfillment(db)
        case "console":
            stream = await db.fetch("select event_id::text from stream")
            found.console = Console(frozenset(sys.intern(event_id) for (event_id,) in stream))


async def _held(db: Db, table: str) -> dict[str, int]:
    key = "store_id" if table == "stores" else "patient_id"
    return dict(await db.fetch(f"select {key}, revision from {table}"))


# ---- messaging --------------------------------------------------------------------------------------------------


async def _fabric(db: Db) -> Fabric:
    inbox = await db.fetch("select event_id::text from fabric.inbox")
    outbox = await db.fetch(
        """
        select id as sequence, event_id::text, held is not null as held
        from fabric.unpublished
        order by id
        """
    )
    letters = await db.fetch(
        """
        select id as number, concat_ws('/', topic, partition, "offset") as place,
               coalesce(event_id::text, '') as event_id, status, reason
        from fabric.dead_letters
        order by id
        """
    )
    parked = await db.fetch("select key, reason from fabric.parked")
    stored = await db.fetch("select event_id::text from fabric.parked_events where event_id is not null")
    answers = await db.fetch("select idempotency_key from fabric.answers")
    return Fabric(
        inbox=frozenset(sys.intern(event_id) for (event_id,) in inbox),
        outbox=[Waiting(**row) for row in outbox],
        dead_letters=[DeadLetter(**row) for row in letters],
        parked=dict(parked),
        stored=frozenset(event_id for (event_id,) in stored),
        answers=frozenset(key for (key,) in answers),
        copies=await _copies(db),
        commands=await _commands(db),
        forgotten=await _forgotten(db),
    )


async def _forgotten(db: Db) -> frozenset[str]:
    """The services' own kinds: letters that were closed are missed by no check."""
    if not await db.fetchval("select to_regclass('fabric.retention')"):  # a backup of before
        return frozenset()
    rows = await db.fetch(
        "select kind from fabric.retention where removed > 0 and not starts_with(kind, 'messaging.')"
    )
    return frozenset(kind for (kind,) in rows)


async def _copies(db: Db) -> list[Copied] | None:
    """What fault tests keep: a trigger copies each outbox row in its own transaction."""
    if not await db.fetchval("select to_regclass('proof.outbox_copy')"):
        return None
    rows = await db.fetch(
        "select id as sequence, event_id::text, topic, key, payload from proof.outbox_copy order by id"
    )
    return [Copied(**{**row, "payload": fingerprint(row["payload"])}) for row in rows]


async def _commands(db: Db) -> dict[str, int] | None:
    """What fault tests keep: idempotency keys of the commands sent, each with the HTTP status of its last answer."""
    if not await db.fetchval("select to_regclass('proof.commands')"):
        return None
    return dict(await db.fetch("select idempotency_key, status from proof.commands where status is not null"))


# ---- the services' own ------------------------------------------------------------------------------------------


async def _enrollment(db: Db) -> Enrollment:
    patients = await db.fetch("select patient_id, status, revision from patients where status <> 'known'")
    fills = await db.fetch(
        "select fill_id, rx_id, quantity, days_supply, handed_over_on, fed_revision > 0 from fills"
    )
    opt_outs = await db.fetch("select patient_id, channel from opt_outs")
    changes = await db.fetch("select rx_id, change, reported_on from reported_changes")
    return Enrollment(
        patients={patient_id: Standing(*row) for patient_id, *row in patients},
        fills={fill_id: HeldFill(*row) for fill_id, *row in fills},
        opt_outs=frozenset(map(tuple, opt_outs)),
        changes=frozenset(map(tuple, changes)),
    )


async def _planner(db: Db) -> Planner:
    plans = await db.fetch("select patient_id, revision, status, coalesce(plan_id, '') from plans")
    answers = await db.fetch(
        """
        select patient_id, answer, coalesce(plan_id, ''), coalesce(plan_revision, 0), coalesce(visit_id, ''),
               count(*)
        from answers
        group by 1, 2, 3, 4, 5
        """
    )
    rejections = await db.fetch("select patient_id, rx_id from rejections")
    renewals = await db.fetch("select patient_id, rx_id from renewals")
    return Planner(
        plans={patient_id: Plan(*row) for patient_id, *row in plans},
        answers=Counter({tuple(answer): count for *answer, count in answers}),
        rejections=frozenset(map(tuple, rejections)),
        renewals=frozenset(map(tuple, renewals)),
    )


async def _outreach(db: Db) -> Outreach:
    attempts = await db.fetch(
        """
        select lease_id::text, patient_id, kind, made_by, at, reported_at,
               coalesce(reply -> 'events', '[]')::text as led_to
        from attempts
        """
    )
    opt_outs = await db.fetch("select patient_id from opt_outs")
    renewals = await db.fetch("select patient_id, rx_id from renewals")
    return Outreach(
        attempts=[Attempt(**{**row, "led_to": tuple(json.loads(row["led_to"]))}) for row in attempts],
        opt_outs=frozenset(patient_id for (patient_id,) in opt_outs),
        renewals=frozenset(map(tuple, renewals)),
    )


async def _fulfillment(db: Db) -> Fulfillment:
    confirmations = await db.fetch(
        "select visit_id, patient_id, plan_revision, items::text, live from confirmations"
    )
    orders = await db.fetch(
        "select visit_id, patient_id, package_id, status, handed_over_on from work_orders"
    )
    lines = await db.fetch(
        """
        select visit_id, rx_id, quantity, days_supply, coalesce(fill_id, '') as fill_id, status,
               greatest(tried.rejected, (reject_code is not null)::int) as rejected,
               greatest(tried.short, (missing is not null)::int) as short,
               coalesce(renewed_as, '') as renewed_as, filled_quantity, filled_days, order_id,
               coalesce(completes ->> 'order_id', '') as completes,
               at_counter and (
                   status = 'offered'
                   or exists (
                       select
                       from actions a
                       where a.visit_id = i.visit_id
                         and a.action = 'offers'
                         and a.detail->'answers' @> jsonb_build_array(
                             jsonb_build_object('rx_id', coalesce(i.renewed_as, i.rx_id), 'answer', 'fill')
                         )
                   )
               ) as agreed
        from items i
        cross join lateral (
            select count(*) filter (where result = 'rejected') as rejected,
                   count(*) filter (where result = 'short') as short
            from tries t
            where t.order_id = i.order_id
        ) tried
        """
    )
    consultations = await db.fetch("select visit_id from consultations")
    return Fulfillment(
        confirmations=[Confirmation(**{**row, "items": _confirmed(row["items"])}) for row in confirmations],
        orders={visit_id: Order(*row) for visit_id, *row in orders},
        lines=[_line(row) for row in lines],
        consultations=frozenset(visit_id for (visit_id,) in consultations),
    )


def _confirmed(items: str) -> frozenset[Item]:
    """Kept by prescription: quantity and days' supply."""
    return frozenset(
        Item(rx_id, Decimal(quantity), days) for rx_id, (quantity, days) in json.loads(items).items()
    )


def _line(row: Mapping[str, Any]) -> Line:
    item = Item(row["rx_id"], row["quantity"], row["days_supply"], fill_id=row["fill_id"])
    part = None if row["filled_quantity"] is None else (row["filled_quantity"], row["filled_days"])
    return Line(
        row["visit_id"],
        item,
        row["status"],
        row["rejected"],
        row["short"],
        row["renewed_as"],
        part,
        row["order_id"],
        row["completes"],
        row["agreed"],
    )
