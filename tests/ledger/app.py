"""The smallest service on the fabric: writes down every effect, so that tests can count them.

A `store_id` tells the handler of its event what to do: `refuse`, `fail`, `slow`, `die`, `end` its connection to the
database, or `crash` what serves it there; anything else goes well.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from shared.access import STAFF_ALONE
from shared.events import Event
from shared.events.enrollment import (
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    ProfileChanged,
)
from shared.events.outreach import PickupConfirmed
from shared.events.planner import PlanBlocked
from shared.http import Commanding, Working
from shared.messaging import Caller, Handlers, Jobs, Refused, Unit, Work, patient
from shared.service import service_app
from shared.settings import ServiceSettings

on = Handlers("ledger")
due = Jobs()
router = APIRouter()


@on(PatientEnrolled)
async def enrolled(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    await write_down(unit, "enrolled", events)


@on(ProfileChanged)
async def changed(events: Sequence[ProfileChanged], unit: Unit) -> None:
    for event in events:
        await misbehave(event.profile.store_id)
        await misbehave_in_database(event.profile.store_id, unit)
    await write_down(unit, "changed", events)


@on(PatientDisenrolled)
async def disenrolled(events: Sequence[PatientDisenrolled], unit: Unit) -> None:
    await write_down(unit, "disenrolled", events)


@on(PickupConfirmed)
async def confirmed(events: Sequence[PickupConfirmed], unit: Unit) -> None:
    for event in events:
        await misbehave(event.store_id)
    await write_down(unit, "confirmed", events)


@on(ContactDetailsChanged)
async def contact(events: Sequence[ContactDetailsChanged], unit: Unit) -> None:
    await write_down(unit, "contact", events, notes=[event.family_name for event in events])


@due("due_things")
async def do_things(patients: Sequence[str], unit: Unit) -> None:
    rows = await unit.db.fetch(
        """
        update things set done_by = $3
        where patient_id = any($1) and due_at <= $2 and done_by is null
        returning patient_id
        """,
        patients,
        unit.now,
        str(os.getpid()),
    )
    if any(row["patient_id"].startswith("bad") for row in rows):
        raise Refused("bad_thing", "this patient's due work always fails")
    await unit.db.execute(
        "insert into effects (patient_id, kind, revision) select p, 'thing', 0 from unnest($1::text[]) p",
        [row["patient_id"] for row in rows],
    )


@due("due_stocktakes", of="store")
async def take_stock(stores: Sequence[str], unit: Unit) -> None:
    rows = await unit.db.fetch(
        """
        update stocktakes set done_by = $3
        where store_id = any($1) and due_at <= $2 and done_by is null
        returning store_id
        """,
        stores,
        unit.now,
        str(os.getpid()),
    )
    if any(row["store_id"].startswith("bad") for row in rows):
        raise Refused("bad_stock", "this store's due work always fails")
    await unit.db.execute(
        "insert into effects (patient_id, kind, revision) select s, 'stocktake', 0 from unnest($1::text[]) s",
        [row["store_id"] for row in rows],
    )


class Thing(BaseModel):
    due_at: datetime | None = None
    revision: int = 0
    fail_with: str | None = None


@router.post("/patients/{patient_id}/things")
async def add_thing(patient_id: str, body: Thing, caller: Commanding, work: Working) -> dict[str, int]:
    async def decide(unit: Unit) -> dict[str, int]:
        if body.due_at:
            await unit.db.execute(
                "insert into things (patient_id, due_at) values ($1, $2)", patient_id, body.due_at
            )
        number = await unit.db.fetchval(
            "insert into effects (patient_id, kind, revision) values ($1, 'command', $2) returning id",
            patient_id,
            body.revision,
        )
        unit.emit(blocked(patient_id, body.revision))
        if body.fail_with:
            raise ValueError(body.fail_with)
        return {"number": number}

    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/patients/{patient_id}/contact")
async def change_contact(
    patient_id: str, body: ContactDetailsChanged, caller: Commanding, work: Working
) -> None:
    async def decide(unit: Unit) -> None:
        unit.emit(body)

    await work.command(caller, [patient(patient_id)], decide)


async def write_down(
    unit: Unit,
    kind: str,
    events: Sequence[
        PatientEnrolled | ProfileChanged | PatientDisenrolled | PickupConfirmed | ContactDetailsChanged
    ],
    *,
    notes: Sequence[str | None] | None = None,
) -> None:
    """Note each effect, and publish that it happened."""
    revisions = [
        event.plan_revision if isinstance(event, PickupConfirmed) else event.revision for event in events
    ]
    await unit.db.execute(
        """
        insert into effects (patient_id, kind, revision, note)
        select p, $2, r, n
        from unnest($1::text[], $3::bigint[], $4::text[]) with ordinality as row (p, r, n, place)
        order by place
        """,
        [event.patient_id for event in events],
        kind,
        revisions,
        notes or [None] * len(events),
    )
    unit.emit(blocked(event.patient_id, revision) for event, revision in zip(events, revisions, strict=True))


async def current_state(
    db: asyncpg.Connection, *, patient: str | None, store: str | None, after: str, limit: int
) -> list[Event]:
    """The newest revision of each patient, as the event that last told it."""
    rows = await db.fetch(
        """
        select patient_id, max(revision) as revision, coalesce(max(note), 's') as store_id
        from effects
        where patient_id > $1
          and ($2::text is null or patient_id = $2)
        group by patient_id
        order by patient_id
        limit $3
        """,
        after,
        patient,
        limit,
    )
    return [blocked(**row) for row in rows]


def blocked(patient_id: str, revision: int, store_id: str = "s") -> PlanBlocked:
    return PlanBlocked(
        patient_id=patient_id, revision=revision, profile_revision=revision, store_id=store_id, reasons=()
    )


async def leave_again(event: PatientDisenrolled, at: datetime, caller: Caller, work: Work) -> bool:
    """As a service does with a departure that it published and lost."""

    async def decide(unit: Unit) -> bool:
        if await unit.db.fetchval("select 1 from effects where note = $1", at.isoformat()):
            return False
        await write_down(unit, "left again", [event], notes=[at.isoformat()])
        return True

    return await work.command(caller, [patient(event.patient_id)], decide)


async def misbehave(how: str) -> None:
    if how == "refuse":
        raise Refused("told_to", "this event says so")
    if how == "fail":
        raise ValueError("a secret that must not get into the letter")
    if how == "slow":
        await asyncio.sleep(60)
    if how == "die":
        os._exit(9)


async def misbehave_in_database(how: str, unit: Unit) -> None:
    if how == "end":
        await unit.db.execute("select pg_terminate_backend(pg_backend_pid())")
    if how == "crash":
        backend = unit.db.get_server_pid()
        sleeping = asyncio.create_task(unit.db.execute("select pg_sleep(5)"))
        await asyncio.sleep(0.1)
        os.kill(backend, signal.SIGKILL)
        await sleeping


def create_app(settings: ServiceSettings) -> FastAPI:
    return service_app(
        name="ledger",
        settings=settings,
        handlers=on,
        jobs=due,
        routers=[router],
        large={"/": 4 * 1024 * 1024},  # so that a command may say more than the broker takes
        republish=current_state,
        revisions={"effects.revision": (PlanBlocked,)},
        take_again=leave_again,
        access={f"POST /patients/{{patient_id}}/{what}": STAFF_ALONE for what in ("things", "contact")},
    )
