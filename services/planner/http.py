"""The planner by HTTP: routes that parse, run a command or a query, and answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.planner import commands, queries
from services.planner.commands import DecisionTaken, Replanned
from services.planner.domain.progress import Status
from services.planner.queries import (
    Explanation,
    PlanLine,
    PlanState,
    StaffDecisions,
    StoreDemand,
    StoresToReplan,
    WhatIfAnswer,
)
from services.planner.what_if import WhatIf
from shared.http import Commanding, InStore, Limit, Reading, Working
from shared.messaging import Unit, patient
from shared.messaging import store as lock_of_store
from shared.pages import Page
from shared.values import Id, Text

router = APIRouter()

PatientId = Id
StoreId = Id
Cursor = Annotated[str, Query(pattern=r"^[!-~]{0,64}$")]


# --- plans ---


@router.get("/plans")
async def list_plans(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    status: Status | None = None,
    after: Cursor = "",
    limit: Limit = 100,
) -> Page[PlanLine]:
    """One line per patient, by patient id; `why` is the code of the plan's first reason."""
    async with work.read_as(caller) as db:
        stores = caller.reach.narrowed(store_id)
        return await queries.plan_lines(db, stores=stores, status=status, after=after, limit=limit)


@router.post("/plans/what-if")
async def what_if(question: WhatIf, caller: Reading, work: Working) -> WhatIfAnswer:
    """The plan that a document gives, or a known patient with changes; nothing is kept or published.

    `stands` is what the planner holds now of a known patient.
    """
    return await queries.what_if(work, caller, question)


@router.get("/stores/{store_id:id}/demand")
async def get_demand(
    store_id: StoreId, caller: Reading, work: Working, days: Annotated[int, Query(ge=1, le=90)] = 14
) -> StoreDemand:
    """The synchronized pickups, other visits and fills planned for each of the next days, from the plans that stand."""
    async with work.read_as(caller, lock_of_store(store_id)) as db:
        return await queries.demand_of(db, store_id, days, work.now())


@router.get("/plans/replan/stores")
async def list_stores_to_replan(
    caller: Reading,
    work: Working,
    store_id: InStore = None,
    payer: Annotated[Text | None, Query(min_length=1, max_length=64)] = None,
) -> StoresToReplan:
    """The stores with patients to be planned anew, and how many, to go through several at once."""
    async with work.read_as(caller) as db:
        return await queries.stores_to_replan(db, stores=caller.reach.narrowed(store_id), payer=payer)


@router.post("/plans/replan")
async def replan_some(wanted: commands.Replan, work: Working, caller: Commanding) -> Replanned:
    """Plan the next patients anew, by patient id: written and published is only what changed, on a dry run nothing.

    `next` says after whom to go on, `patients` in the first answer how many there are. Whoever is parked is passed
    over and named; whose new plan is more than the broker takes keeps the one before, and is named in `set_aside`.
    """

    async def decide(unit: Unit) -> Replanned:
        return await commands.replan_some(unit, work, wanted)

    return await work.command(caller, (), decide)


@router.get("/plans/{patient_id}")
async def get_plan(patient_id: PatientId, caller: Reading, work: Working) -> PlanState:
    """The newest plan as it was published, or why there is none."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.plan_of(db, patient_id)


@router.get("/plans/{patient_id}/explanation")
async def get_explanation(patient_id: PatientId, caller: Reading, work: Working) -> Explanation:
    """The same in words: `sentences` to read from the top, `reasons` and `drugs` with the codes beside the words."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.explanation(db, patient_id)


# --- what staff decide ---


@router.post("/plans/{patient_id}/rulings", status_code=201)
async def decide_about(
    patient_id: PatientId, body: commands.DecisionWanted, caller: Commanding, work: Working
) -> DecisionTaken:
    """Decide about a plan: staff a day or a wait, a pharmacist everything. Planned anew at once.

    `words` say what follows, and from when.
    """

    async def decide(unit: Unit) -> DecisionTaken:
        return await commands.decide(unit, patient_id, body)

    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/plans/{patient_id}/rulings/{ruling_id}/take-back")
async def revoke(patient_id: PatientId, ruling_id: UUID, caller: Commanding, work: Working) -> DecisionTaken:
    """Revoke a decision, by whoever may make it; the record of it stays. Planned anew at once."""

    async def decide(unit: Unit) -> DecisionTaken:
        return await commands.revoke(unit, patient_id, ruling_id)

    return await work.command(caller, [patient(patient_id)], decide)


@router.get("/plans/{patient_id}/rulings")
async def list_decisions(patient_id: PatientId, caller: Reading, work: Working) -> StaffDecisions:
    """All that staff decided about this patient's plans, by whom and why, the oldest first."""
    async with work.read_as(caller, patient(patient_id)) as db:
        return await queries.staff_decisions(db, patient_id)
