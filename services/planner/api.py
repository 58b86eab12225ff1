"""What staff may ask about plans, and decide about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from services.planner import beside, store
from services.planner.domain.model import StaffDecision, StaffDecisionKind
from services.planner.domain.progress import Status, as_of, told
from services.planner.domain.staff_decisions import MAY_RULE, STAFF, too_much, unfitting
from services.planner.faults import BadInput, Fault
from services.planner.planning import calendar_of, replan, replan_changed
from services.planner.rules import RULES
from services.planner.what_if import WhatIf, document_of, work_out
from shared.events import Reason
from shared.events.planner import PlanBlocked, PlanComputed
from shared.http import FAULTS_NAMED, Commanding, Problem, Working, page
from shared.messaging import Unit, patient
from shared.values import Day, FreeText, Id, Text
from shared.words import explain, render
from shared.words.plans import of_drug, the_year
from shared.words.steps import of_step

router = APIRouter()

NEVER_HEARD_OF = "the planner has not heard of this patient"

PatientId = Id
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


@router.get("/stores/{store_id}/demand")
async def demand(
    store_id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")],
    work: Working,
    days: Annotated[int, Query(ge=1, le=90)] = 14,
) -> dict[str, Any]:
    """The synchronized pickups, other visits and fills planned for each of the next days, from the plans that stand."""
    async with work.read() as db:
        stores = await store.load_stores(db, [store_id], work.now())
        if store_id not in stores:
            raise Problem(404, "No such store", "the planner has not heard of this store")
        calendar = stores[store_id].calendar
        today = work.now().astimezone(ZoneInfo(stores[store_id].time_zone)).date()
        planned = await store.planned_by_day(db, store_id, today, days)
    return {
        "store_id": store_id,
        "daily_cap": calendar.daily_cap or None,
        "days": [{"on": on, "open": calendar.is_open(on), **counts} for on, counts in planned.items()],
    }


class Replan(BaseModel):
    """Whom to plan anew: those of a store, those with a prescription of a payer, or everybody; after which id."""

    model_config = ConfigDict(extra="forbid")

    store: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")] | None = None
    payer: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    after: Annotated[str, Field(pattern=r"^[!-~]{0,64}$")] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    dry_run: bool = False


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
async def replan_some(wanted: Replan, work: Working, caller: Commanding) -> dict[str, Any]:
    """Plan the next patients anew, by patient id: written and published is only what changed, on a dry run nothing.

    `next` says after whom to go on, `patients` in the first answer how many there are. Whoever is parked is passed
    over and named.
    """
    caller.require("pharmacist", "system")

    async def decide(unit: Unit) -> dict[str, Any]:
        found = await store.enrolled_after(
            unit.db, store=wanted.store, payer=wanted.payer, after=wanted.after, limit=wanted.limit
        )
        await work.lock(unit, [patient(patient_id) for patient_id in found])
        free = await work.unparked(unit, found)
        changed = await replan_changed(unit, free, dry_run=wanted.dry_run)
        first = not wanted.after
        return {
            "patients": await store.count_enrolled(unit.db, store=wanted.store, payer=wanted.payer)
            if first
            else None,
            "looked_at": len(found),
            "changed": changed,
            "parked": sorted(set(found) - set(free)),
            "next": found[-1] if len(found) == wanted.limit else None,
        }

    return await work.command(caller, (), decide)


async def _known(patient_id: str, work: Working) -> tuple[store.Record, store.StoreDays]:
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


@router.get("/plans/{patient_id}")
async def plan(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """The newest plan as it was published, or why there is none."""
    return await _found(patient_id, work)


@router.get("/plans/{patient_id}/explanation")
async def explanation(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """The same in words: `sentences` to read from the top, `reasons` and `drugs` with the codes beside the words."""
    found = await _found(patient_id, work)
    said = _said(found)
    reasons = said.reasons if said else ()
    return {
        "patient_id": patient_id,
        "status": found["status"],
        "year": _year(said) if isinstance(said, PlanComputed) else None,
        "sentences": explain(said) if said else [_no_plan(found["status"])],
        "reasons": [_worded(reason) for reason in reasons],
        "drugs": []
        if said is None
        else [
            {
                "rx_id": drug.rx_id,
                "drug_name": drug.drug_name,
                "participation": drug.participation,
                "action": drug.action,
                "reasons": [_worded(reason) for reason in drug.reasons],
                "sentences": of_drug(drug, said),
            }
            for drug in said.drugs
        ],
        "steps": [
            {"visit_id": visit.visit_id, **step.model_dump(mode="json"), "words": of_step(step)}
            for visit in getattr(said, "visits", ())
            for step in visit.steps
        ],
    }


async def _found(patient_id: str, work: Working) -> dict[str, Any]:
    async with work.read() as db:
        row = await store.load_plan(db, patient_id)
    if row is None:
        raise Problem(404, "No such patient", NEVER_HEARD_OF)
    published = row.pop("published")
    return {
        "patient_id": patient_id,
        **row,
        "plan": published if row["status"] == Status.planned else None,
    } | ({"blocked": published} if row["status"] == Status.blocked else {})


def _said(found: Mapping[str, Any]) -> PlanComputed | PlanBlocked | None:
    if found["plan"]:
        return PlanComputed.model_validate(found["plan"])
    return PlanBlocked.model_validate(found["blocked"]) if found.get("blocked") else None


def _no_plan(status: str) -> str:
    """Where nothing was published yet, or what was is withdrawn."""
    return {
        Status.waiting: "There is no plan yet: the store's calendar is awaited.",
        Status.gone: "There is no plan: the patient is no longer enrolled.",
    }[Status(status)]


def _year(plan: PlanComputed) -> dict[str, Any]:
    return {
        **(plan.rhythm.model_dump(mode="json", exclude={"joins"}) if plan.rhythm else {}),
        "short_fills": plan.short_fills,
        "uncovered_days": plan.uncovered_days,
        "words": the_year(plan),
    }


def _worded(reason: Reason) -> dict[str, Any]:
    return {**reason.model_dump(), "words": render(reason)}


# --- what staff decide ---

OF_THIS_CYCLE = frozenset({StaffDecisionKind.fill, StaffDecisionKind.quantity})
"""Rulings about the next synchronized pickup; the others hold until their day has passed or they are taken back."""


class RulingRequest(BaseModel):
    """A day, a drug in or out of the plan, a fill at the synchronized pickup, no fill before a day, a quantity."""

    kind: StaffDecisionKind
    why: Annotated[FreeText, Field(min_length=3)]
    rx_id: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    on: Day | None = None
    quantity: Decimal | None = Field(default=None, gt=0, le=100_000)


@router.post("/plans/{patient_id}/rulings", status_code=201)
async def rule(
    patient_id: PatientId, body: RulingRequest, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Decide about a plan: staff a day or a wait, a pharmacist everything. Planned anew at once."""
    caller.require(*MAY_RULE[body.kind])
    _complete(body)

    async def decide(unit: Unit) -> dict[str, Any]:
        record = await _enrolled(unit, patient_id)
        left = {each.rx_id: each.quantity_left for each in record.profile.prescriptions}
        if body.rx_id and body.rx_id not in left:
            raise Problem(
                422, "No such prescription", f"rx_id: {body.rx_id!r} is not in the patient's profile"
            )
        stores = await store.load_stores(unit.db, [record.store_id], unit.now)
        today = unit.today(stores[record.store_id].time_zone if record.store_id in stores else "UTC")
        if body.on and body.on < today:
            raise Problem(422, "Too late", f"on: {body.on} has passed; give {today} or a later day")
        for problem in too_much(body.quantity, left.get(body.rx_id or "")):
            raise Problem(422, "Too much", f"quantity: {problem}")
        ruling = StaffDecision(
            kind=body.kind,
            by=unit.role,
            why=body.why,
            made_on=today,
            rx_id=body.rx_id,
            on=body.on,
            quantity=body.quantity,
            cycle=record.progress.cycle if body.kind in OF_THIS_CYCLE else None,
        )
        ruling_id = uuid4()
        await store.add_ruling(unit.db, ruling_id, patient_id, ruling, unit.actor, unit.now)
        return {"ruling_id": str(ruling_id), **await _planned_anew(unit, patient_id)}

    return await work.command(caller, [patient(patient_id)], decide)


@router.post("/plans/{patient_id}/rulings/{ruling_id}/take-back")
async def take_back(
    patient_id: PatientId, ruling_id: UUID, caller: Commanding, work: Working
) -> dict[str, Any]:
    """End a ruling; the record of it stays. Planned anew at once."""
    caller.require(*STAFF)

    async def decide(unit: Unit) -> dict[str, Any]:
        await _enrolled(unit, patient_id)
        if not await store.take_back_ruling(unit.db, patient_id, ruling_id, unit.actor, unit.now):
            raise Problem(404, "No such ruling", "nothing of that id was decided about this patient's plans")
        return {"ruling_id": str(ruling_id), **await _planned_anew(unit, patient_id)}

    return await work.command(caller, [patient(patient_id)], decide)


@router.get("/plans/{patient_id}/rulings")
async def rulings(patient_id: PatientId, work: Working) -> dict[str, Any]:
    """All that staff decided about this patient's plans, by whom and why, the oldest first."""
    async with work.read() as db:
        return {"rulings": await store.list_rulings(db, patient_id)}


def _complete(body: RulingRequest) -> None:
    """Each kind has just the fields that it needs."""
    given = {"rx_id": body.rx_id, "on": body.on, "quantity": body.quantity}
    for name, problem in unfitting(body.kind, given):
        raise Problem(422, "Not complete", f"{name}: {problem}; see the reference of rulings")


async def _enrolled(unit: Unit, patient_id: str) -> store.Record:
    record = (await store.load_records(unit.db, [patient_id], unit.now)).get(patient_id)
    if record is None or not record.enrolled:
        raise Problem(404, "No such patient", "the planner knows of no patient of that id who takes part")
    return record


async def _planned_anew(unit: Unit, patient_id: str) -> dict[str, Any]:
    records = await store.load_records(unit.db, [patient_id], unit.now)
    await replan(unit, list(records.values()))
    found = await store.load_plan(unit.db, patient_id)
    return {"status": found["status"], "revision": found["revision"]} if found else {}
