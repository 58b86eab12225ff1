"""Three small services in a row, on the real fabric: what they did can be counted to the last event.

The sender numbers each patient's commands 1, 2, 3, … and says so (`Counted`); the ledger writes each number down and
says so (`Applied`); the reader writes down both, and the sender what was applied. Numbers are read first and written
after: without the patient's lock two of them would be alike. A patient in the table `stumbling` makes the ledger's
handler fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from shared import operations
from shared.access import STAFF_ALONE
from shared.database import Db
from shared.events import EVENTS, Event
from shared.events.base import PatientId
from shared.http import Commanding, Working
from shared.messaging import Handlers, Jobs, Unit, patient, relay
from shared.service import service_app
from shared.settings import ServiceSettings

SENDER_TOPIC, LEDGER_TOPIC = "medsync.sender.v1", "medsync.ledger.v1"
CHAIN = ("sender", "ledger", "reader")
OWNERS = ("sender", "ledger")


class Counted(Event):
    """The sender gave a patient's next number."""

    TYPE: ClassVar[str] = "medsync.sender.counted.v1"
    TOPIC: ClassVar[str] = SENDER_TOPIC

    patient_id: PatientId
    number: int
    note: str = ""  # stands for a name: must get into no log


class Applied(Event):
    """The ledger wrote a number down."""

    TYPE: ClassVar[str] = "medsync.ledger.applied.v1"
    TOPIC: ClassVar[str] = LEDGER_TOPIC

    patient_id: PatientId
    number: int


# ---- sender -----------------------------------------------------------------------------------------------------

router = APIRouter()
due = Jobs()


class Count(BaseModel):
    """Give each of these patients the next number; with `due_at`, one more then."""

    patients: tuple[PatientId, ...]
    due_at: datetime | None = None
    note: str = ""


@router.post("/count")
async def count(body: Count, caller: Commanding, work: Working) -> dict[str, int]:
    async def decide(unit: Unit) -> dict[str, int]:
        numbers = await next_numbers(unit, body.patients, f"command:{caller.idempotency_key}", body.note)
        if body.due_at:
            await unit.db.execute(
                "insert into things (patient_id, due_at) select p, $2 from unnest($1::text[]) p",
                body.patients,
                body.due_at,
            )
        return numbers

    return await work.command(caller, [patient(patient_id) for patient_id in body.patients], decide)


@due("due_things")
async def do_things(patients: Sequence[str], unit: Unit) -> None:
    rows = await unit.db.fetch(
        """
        update things
        set done = true
        where id in (
            select distinct on (patient_id) id
            from things
            where patient_id = any($1::text[])
              and due_at <= $2
              and not done
            order by patient_id, id
        )
        returning id, patient_id
        """,
        patients,
        unit.now,
    )
    for row in rows:
        await next_numbers(unit, [row["patient_id"]], f"thing:{row['id']}", "")


async def next_numbers(unit: Unit, patients: Sequence[str], cause: str, note: str) -> dict[str, int]:
    last = dict(
        await unit.db.fetch(
            "select patient_id, last from counters where patient_id = any($1::text[])", patients
        )
    )
    begin = await unit.db.fetchval("select fabric.first_revision()")  # above what a database forgot
    numbers = {patient_id: last.get(patient_id, begin) + 1 for patient_id in patients}
    await unit.db.execute(
        """
        insert into counters (patient_id, last)
        select p, n
        from unnest($1::text[], $2::bigint[]) as row (p, n)
        on conflict (patient_id) do update set last = excluded.last
        """,
        list(numbers),
        list(numbers.values()),
    )
    await write_down(unit, "sent", list(numbers.items()), cause)
    unit.emit(Counted(patient_id=p, number=n, note=note) for p, n in numbers.items())
    return numbers


# ---- ledger -----------------------------------------------------------------------------------------------------

ledger = Handlers()


@ledger(Counted)
async def apply(events: Sequence[Counted], unit: Unit) -> None:
    patients = [event.patient_id for event in events]
    if await unit.db.fetchval(
        "select exists (select from stumbling where patient_id = any($1::text[]))", patients
    ):
        raise ValueError(f"no way for {[event.note for event in events]}")
    await write_down(unit, "counted", [(event.patient_id, event.number) for event in events])
    unit.emit(Applied(patient_id=event.patient_id, number=event.number) for event in events)


# ---- reader -----------------------------------------------------------------------------------------------------

reader = Handlers()


@reader(Counted)
async def read_counted(events: Sequence[Counted], unit: Unit) -> None:
    await write_down(unit, "counted", [(event.patient_id, event.number) for event in events])


@reader(Applied)
async def read_applied(events: Sequence[Applied], unit: Unit) -> None:
    await write_down(unit, "applied", [(event.patient_id, event.number) for event in events])


async def write_down(unit: Unit, kind: str, effects: Sequence[tuple[str, int]], cause: str = "") -> None:
    """One row per effect; nothing keeps a second one out."""
    await unit.db.execute(
        """
        insert into effects (patient_id, kind, number, cause)
        select p, $3, n, $4
        from unnest($1::text[], $2::bigint[]) with ordinality as row (p, n, place)
        order by place
        """,
        [patient_id for patient_id, _ in effects],
        [number for _, number in effects],
        kind,
        cause,
    )


# ---- and back ---------------------------------------------------------------------------------------------------

sender = Handlers()


@sender(Applied)
async def note_applied(events: Sequence[Applied], unit: Unit) -> None:
    await write_down(unit, "applied", [(event.patient_id, event.number) for event in events])


async def no_state(
    db: Db, *, patient: str | None, store: str | None, after: str, limit: int
) -> Sequence[Event]:
    """Its events are what happened, and no state: there is nothing to tell again."""
    return ()


REVISIONS = {"sender": {"counters.last": (Counted,)}}
"""A number is a revision: given once, whatever the database forgot."""


def speak_the_chains_language() -> None:
    """Have the fabric know these events as it knows the real ones; in this process alone, which runs nothing else."""
    EVENTS.update({event.TYPE: event for event in (Counted, Applied)})
    for module in (operations, relay):
        module.TOPICS = (LEDGER_TOPIC, SENDER_TOPIC)  # type: ignore[attr-defined]


def create_app(name: str, settings: ServiceSettings) -> FastAPI:
    """One of the three; `rebuilt` is the reader again, from the beginning of the topics."""
    speak_the_chains_language()
    handlers = {"sender": sender, "ledger": ledger}.get(name, reader)
    return service_app(
        name=name,
        settings=settings,
        handlers=handlers,
        jobs=due if name == "sender" else Jobs(),
        routers=[router] if name == "sender" else [],
        republish=no_state if name in OWNERS else None,
        revisions=REVISIONS.get(name, {}),
        access={"POST /count": STAFF_ALONE},
    )
