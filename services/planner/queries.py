"""What may be read of plans, as it is answered. One function per question; nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.planner import store
from services.planner.domain.progress import Status
from shared.database import Db
from shared.events import Reason
from shared.events.planner import PlanBlocked, PlanComputed
from shared.problems import NotFound
from shared.words import explain, render
from shared.words.plans import of_drug, the_year
from shared.words.steps import of_step

NEVER_HEARD_OF = "the planner has not heard of this patient"


async def plan_of(db: Db, patient_id: str) -> dict[str, Any]:
    """The newest plan as it was published, or why there is none. Raises NotFound."""
    row = await store.load_plan(db, patient_id)
    if row is None:
        raise NotFound("unknown_patient", NEVER_HEARD_OF)
    published = row.pop("published")
    return {
        "patient_id": patient_id,
        **row,
        "plan": published if row["status"] == Status.planned else None,
    } | ({"blocked": published} if row["status"] == Status.blocked else {})


async def explanation(db: Db, patient_id: str) -> dict[str, Any]:
    """The same in words. Raises NotFound."""
    found = await plan_of(db, patient_id)
    said = said_in(found)
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


def said_in(found: Mapping[str, Any]) -> PlanComputed | PlanBlocked | None:
    """What was published, of the answer about a plan."""
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


async def demand_of(db: Db, store_id: str, days: int, now: datetime) -> dict[str, Any]:
    """What the plans that stand bring to a store on each of the next days. Raises NotFound."""
    stores = await store.load_stores(db, [store_id], now)
    if store_id not in stores:
        raise NotFound("unknown_store", "the planner has not heard of this store")
    calendar = stores[store_id].calendar
    today: date = now.astimezone(ZoneInfo(stores[store_id].time_zone)).date()
    planned = await store.planned_by_day(db, store_id, today, days)
    return {
        "store_id": store_id,
        "daily_cap": calendar.daily_cap or None,
        "days": [{"on": on, "open": calendar.is_open(on), **counts} for on, counts in planned.items()],
    }
