"""What staff may ask about plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from services.planner import store
from services.planner.domain.progress import Status
from shared.events import Reason
from shared.events.planner import DrugDecision, PlanBlocked, PlanComputed
from shared.http import Problem, Working, page
from shared.words import render
from shared.words.formats import counted, spoken

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
        "sentences": list(_sentences(found, said)),
        "reasons": [_worded(reason) for reason in reasons],
        "drugs": [
            {
                "rx_id": drug.rx_id,
                "drug_name": drug.drug_name,
                "participation": drug.participation,
                "action": drug.action,
                "reasons": [_worded(reason) for reason in drug.reasons],
            }
            for drug in (said.drugs if said else ())
        ],
    }


async def _found(patient_id: str, work: Working) -> dict[str, Any]:
    async with work.read() as db:
        row = await store.load_plan(db, patient_id)
    if row is None:
        raise Problem(404, "No such patient", "the planner has not heard of this patient")
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


def _sentences(found: Mapping[str, Any], said: PlanComputed | PlanBlocked | None) -> Iterator[str]:
    if said is None:
        yield {
            Status.waiting: "There is no plan yet: the store's calendar is awaited.",
            Status.gone: "There is no plan: the patient takes part no longer.",
        }[Status(found["status"])]
        return
    if isinstance(said, PlanComputed):
        how = "agreed" if said.agreed else "proposed"
        yield f"Synchronized pickup on {spoken(said.anchor_on)} ({how}), the next about {spoken(said.next_anchor_on)}."
        for visit in said.visits:
            names = ", ".join(item.drug_name for item in visit.items)
            what = f"{visit.kind.replace('_', '-')} visit, {counted(len(visit.items), 'fill')}"
            yield f"{spoken(visit.on)}, {what}: {names}."
    for reason in said.reasons:
        yield render(reason)
    for drug in said.drugs:
        yield f"{drug.drug_name}: {_all(drug)}"


def _all(drug: DrugDecision) -> str:
    return " ".join(render(reason) for reason in drug.reasons)


def _worded(reason: Reason) -> dict[str, Any]:
    return {**reason.model_dump(), "words": render(reason)}
