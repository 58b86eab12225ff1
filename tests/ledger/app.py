"""The smallest service on the fabric: writes down every effect, so that tests can count them.

A profile's `store_id` tells its handler what to do: `refuse`, `fail` or `slow`; anything else goes well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from shared.events.enrollment import PatientDisenrolled, PatientEnrolled, ProfileChanged
from shared.events.planner import PlanBlocked
from shared.http import Commanding, Working
from shared.messaging import Handlers, Jobs, Refused, Unit, patient
from shared.service import service_app
from shared.settings import ServiceSettings

on = Handlers()
due = Jobs()
router = APIRouter()


@on(PatientEnrolled)
async def enrolled(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    await write_down(unit, "enrolled", events)


@on(ProfileChanged)
async def changed(events: Sequence[ProfileChanged], unit: Unit) -> None:
    for event in events:
        await misbehave(event.profile.store_id)
    await write_down(unit, "changed", events)


@on(PatientDisenrolled)
async def disenrolled(events: Sequence[PatientDisenrolled], unit: Unit) -> None:
    await write_down(unit, "disenrolled", events)


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


class Thing(BaseModel):
    due_at: datetime | None = None
    revision: int = 0


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
        unit.emit(
            PlanBlocked(
                patient_id=patient_id, revision=body.revision, profile_revision=0, store_id="s", reasons=()
            )
        )
        return {"number": number}

    return await work.command(caller, [patient(patient_id)], decide)


async def write_down(
    unit: Unit, kind: str, events: Sequence[PatientEnrolled | ProfileChanged | PatientDisenrolled]
) -> None:
    """Note each effect, and publish that it happened."""
    await unit.db.execute(
        """
        insert into effects (patient_id, kind, revision)
        select p, $2, r from unnest($1::text[], $3::int[]) with ordinality as row (p, r, place) order by place
        """,
        [event.patient_id for event in events],
        kind,
        [event.revision for event in events],
    )
    unit.emit(
        PlanBlocked(
            patient_id=event.patient_id,
            revision=event.revision,
            profile_revision=event.revision,
            store_id="s",
            reasons=(),
        )
        for event in events
    )


async def misbehave(how: str) -> None:
    if how == "refuse":
        raise Refused("told_to", "this event says so")
    if how == "fail":
        raise ValueError("a secret that must not get into the letter")
    if how == "slow":
        await asyncio.sleep(60)


def create_app(settings: ServiceSettings) -> FastAPI:
    return service_app(name="ledger", settings=settings, handlers=on, jobs=due, routers=[router])
