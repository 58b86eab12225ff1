"""The planner by HTTP: routes that parse, run a command or a query, and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field

from services.planner import beside, commands, queries, store
from services.planner.domain.progress import as_of, told
from services.planner.faults import BadInput, Fault
from services.planner.planning import calendar_of
from services.planner.queries import NEVER_HEARD_OF
from services.planner.rules import RULES
from services.planner.what_if import WhatIf, document_of, work_out
from shared.http import FAULTS_NAMED, Commanding, Problem, Working, page
from shared.messaging import Unit, Work, patient
from shared.values import Text

router = APIRouter()

PatientId = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
Cursor = Annotated[str, Query(pattern=r"^[!-~]{0,64}$")]
Store = Annotated[str | None, Query(alias="store", pattern=r"^[!-~]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/plans")
async def plans(
    work: Working,
    store_id: Store = None,
    status: Literal["waiting", "planned", "blocked", "gone"] | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """One line per patient, by patient id; `why` is the code of the plan's first reason."""
    async with work.read() as db:
        rows = await store.list_plans(db, store=store_id, status=status, after=after, limit=limit + 1)
    return page(rows, limit, "patient_id")


@router.post("/plans/what-if")
async def what_if(question: WhatIf, work: Working) -> dict[str, Any]:
    """The plan that a document gives, or a known patient with changes; nothing is kept or published.

    `stands` is what the planner holds now of a known patient.
    """
    if question.patient is not None and question.patient_id is None and not question.changes:
        return await _worked_out(question.patient, None, work.now().date())
    if question.patient_id is None or question.patient is not None:
        raise _bad_input([Fault("", "", "give either patient, or patient_id with changes")])
    record, days = await _known(question.patient_id, work)
    today = work.now().astimezone(ZoneInfo(days.time_zone)).date()
    progress = as_of(record.progress, today, RULES)
    held = document_of(record.profile, told(progress), calendar_of(record, days), progress.cycle)
    said = await _worked_out(held, question.changes, today)
    stands = {"status": progress.status, "revision": record.revision, "anchor_on": progress.anchor_on}
    return {**said, "stands": stands}


async def _worked_out(
    document: Mapping[str, Any], changes: Mapping[str, Any] | None, today: date
) -> dict[str, Any]:
    """The answer, from a process beside this one: however long it takes, events and other requests go on."""
    try:
        said = await beside.run(work_out, document, changes, today)
    except beside.TooLong:
        detail = f"no plan was found in {beside.SECONDS:.0f} s: ask with fewer prescriptions or fills"
        raise Problem(422, "Too much to plan", detail, code="too_much") from None
    except beside.Busy:
        raise Problem(503, "Unavailable", "other questions are worked out; try again", code="busy") from None
    if isinstance(said, list):
        raise _bad_input(said)
    return said


def _bad_input(faults: Sequence[Fault]) -> Problem:
    """Names as many faults as a person reads, and counts the rest."""
    named = faults[:FAULTS_NAMED]
    what = str(BadInput(list(named[:5])))
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return Problem(400, "Invalid request", what + more, errors=[vars(fault) for fault in named])


async def _known(patient_id: str, work: Work) -> tuple[store.Record, store.StoreDays]:
    """A patient who takes part, and their store."""
    async with work.read() as db:
        record = (await store.load_records(db, [patient_id], work.now())).get(patient_id)
        stores = await store.load_stores(db, [record.store_id], work.now()) if record else {}
    if record is None:
        raise Problem(404, "No such patient", NEVER_HEARD_OF)
    if not record.enrolled:
        raise Problem(409, "No longer enrolled", "what the patient takes is not held any more: give it whole")
    if record.store_id not in stores:
        raise Problem(409, "No calendar", "the store's calendar is awaited: give the patient whole, with one")
    return record, stores[record.store_id]


@router.get("/stores/{store_id:id}/demand")
async def demand(
    store_id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")],
    work: Working,
    days: Annotated[int, Query(ge=1, le=90)] = 14,
) -> dict[str, Any]:
    """The synchronized pickups, other visits and fills planned for each of the next days, from the plans that stand."""
    async with work.read() as db:
        return await queries.demand_of(db, store_id, days, work.now())


@router.get("/plans/replan/stores")
async def replan_where(
    work: Working,
    store_id: Annotated[str | None, Query(alias="store", pattern=r"^[!-~]{1,64}$")] = None,
    payer: Annotated[Text | None, Query(min_length=1, max_length=64)] = None,
) -> dict[str, Any]:
    """The stores with patients to be planned anew, and how many, to go through several at once."""
    async with work.read() as db:
        return {"stores": await store.enrolled_by_store(db, store=store_id, payer=payer)}


@router.post("/plans/replan")
async def replan_some(wanted: commands.Replan, work: Working, caller: Commanding) -> dict[str, Any]:
    """Plan the next patients anew, by patient id: written and published is only what changed, on a dry run nothing.

    `next` says after whom to go on, `patients` in the first answer how many there are. Whoever is parked is passed
    over and named.
    """

    async def decide(unit: Unit) -> dict[str, Any]:
        return await commands.replan_some(unit, work, wanted)

    return await work.command(caller, (), decide)


@router.get("/plans/{patient_id}")
async def plan(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """The newest plan as it was published, or why there is none."""
    async with work.read() as db:
        return await queries.plan_of(db, patient_id)


@router.get("/plans/{patient_id}/explanation")
async def explanation(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """The same in words: `sentences` to read from the top, `reasons` and `drugs` with the codes beside the words."""
    async with work.read() as db:
        return await queries.explanation(db, patient_id)


# --- what staff decide ---


@router.post("/plans/{patient_id}/rulings", status_code=201)
async def rule(
    patient_id: PatientId, body: commands.RulingRequest, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Decide about a plan: staff a day or a wait, a pharmacist everything. Planned anew at once.

    `words` say what follows, and from when.
    """

    async def decide(unit: Unit) -> dict[str, Any]:
        return await commands.rule(unit, patient_id, body)

    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/plans/{patient_id}/rulings/{ruling_id}/take-back")
async def take_back(
    patient_id: PatientId, ruling_id: UUID, caller: Commanding, work: Working
) -> dict[str, Any]:
    """End a ruling, by whoever may make it; the record of it stays. Planned anew at once."""

    async def decide(unit: Unit) -> dict[str, Any]:
        return await commands.take_back(unit, patient_id, ruling_id)

    return await work.command(caller, [patient(patient_id)], decide)


@router.get("/plans/{patient_id}/rulings")
async def rulings(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """All that staff decided about this patient's plans, by whom and why, the oldest first."""
    async with work.read() as db:
        return {"rulings": await store.list_rulings(db, patient_id)}
