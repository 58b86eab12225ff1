"""What staff and the chain's systems may ask of the planner: one function per command, without HTTP.

Each gets the unit of work with its patient locked, and goes the same way: who may, load, decide, save, emit. It raises
what `shared.problems` names. What it is told is a frozen model beside it.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.planner import store
from services.planner.domain.model import Reason, StaffDecision, StaffDecisionKind
from services.planner.domain.staff_decisions import MAY_RULE, MOST_UNITS, STAFF, too_much, unfitting
from services.planner.domain.taking_effect import remarks_on, remarks_on_revoked, swallowed
from services.planner.exclusions import publish_exclusions
from services.planner.planning import replan, replan_changed
from services.planner.queries import plan_of, said_in
from services.planner.translation import reason_of
from shared.messaging import Unit, Work, patient
from shared.problems import Conflict, Invalid, NotFound, require_role
from shared.values import Day, FreeText, Id, Text
from shared.words import render
from shared.words.plans import of_drug, why

OF_THIS_CYCLE = frozenset({StaffDecisionKind.fill, StaffDecisionKind.quantity})
"""Decisions about the next synchronized pickup; the others hold until their day has passed or they are revoked."""

FURTHEST = timedelta(days=400)
"""How far ahead staff may set a day: as far as a plan can be seen."""


def _as_written(value: object) -> object:
    """Raises ValueError for what pydantic would take for a date and nobody means as one: a number, a time of day."""
    if isinstance(value, date) or (isinstance(value, str) and len(value) == len("2026-03-02")):
        return value
    raise ValueError("is no date: write it as 2026-03-02")


def _no_truth(value: object) -> object:
    """Raises ValueError for true and false, which pydantic would take for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("is no number: write it as 30 or 2.5")
    return value


Units = Annotated[
    Decimal, BeforeValidator(_no_truth), Field(gt=0, le=MOST_UNITS, max_digits=12, decimal_places=4)
]


class Told(BaseModel):
    """What a command is told; a field that it does not know is refused, with its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- what staff decide ---


class RulingRequest(Told):
    """A day, a drug in or out of the plan, a fill at the synchronized pickup, no fill before a day, a quantity."""

    kind: StaffDecisionKind
    why: Annotated[FreeText, Field(min_length=3)]
    rx_id: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    on: Annotated[
        Day | None, BeforeValidator(lambda value: value if value is None else _as_written(value))
    ] = None
    quantity: Units | None = None


async def rule(unit: Unit, patient_id: str, wanted: RulingRequest) -> dict[str, Any]:
    """Decide about a plan: staff a day or a wait, a pharmacist everything. Planned anew at once.

    `words` of the answer say what follows, and from when. Raises Conflict where a visit that was confirmed leaves the
    decision nothing to decide about.
    """
    require_role(unit.role, *MAY_RULE[wanted.kind])
    given = {"rx_id": wanted.rx_id, "on": wanted.on, "quantity": wanted.quantity}
    for name, problem in unfitting(wanted.kind, given):
        raise Invalid("not_complete", f"{name}: {problem}; see the reference of rulings")
    record = await _enrolled(unit, patient_id)
    today = await _today(unit, record)
    _check(wanted, record, today)
    decision = StaffDecision(
        kind=wanted.kind,
        by=unit.role,
        why=wanted.why,
        made_on=today,
        rx_id=wanted.rx_id,
        on=wanted.on,
        quantity=wanted.quantity,
        cycle=record.progress.cycle if wanted.kind in OF_THIS_CYCLE else None,
    )
    if refusal := swallowed(decision, record.progress, today):
        raise Conflict(refusal.code, _worded(refusal))
    ruling_id = uuid4()
    await store.add_ruling(unit.db, ruling_id, patient_id, decision, unit.actor, unit.now)
    remarks = remarks_on(decision, record.progress, today)
    return {"ruling_id": str(ruling_id), **await _planned_anew(unit, patient_id, decision, remarks)}


def _check(wanted: RulingRequest, record: store.Record, today: date) -> None:
    """Raises Invalid where it names what the patient does not have, or a day or quantity that cannot be."""
    left = {each.rx_id: each.quantity_left for each in record.profile.prescriptions}
    if wanted.rx_id and wanted.rx_id not in left:
        raise Invalid("no_such_prescription", f"rx_id: {wanted.rx_id!r} is not in the patient's profile")
    if wanted.on and wanted.on < today:
        raise Invalid("too_late", f"on: {wanted.on} has passed; give {today} or a later day")
    if wanted.on and wanted.on > today + FURTHEST:
        raise Invalid(
            "too_far", f"on: {wanted.on} is too far ahead; give {today + FURTHEST} or an earlier day"
        )
    for problem in too_much(wanted.quantity, left.get(wanted.rx_id or "")):
        raise Invalid("too_much", f"quantity: {problem}")


async def take_back(unit: Unit, patient_id: str, ruling_id: UUID) -> dict[str, Any]:
    """End a decision; the record of it stays. Whoever may make it may revoke it. Planned anew at once."""
    require_role(unit.role, *STAFF)
    record = await _enrolled(unit, patient_id)
    decision = await store.load_ruling(unit.db, patient_id, ruling_id)
    if decision is None:
        raise NotFound("no_such_ruling", "nothing of that id was decided about this patient's plans")
    require_role(unit.role, *MAY_RULE[decision.kind])
    today = await _today(unit, record)
    # only what was decided about this cycle alone can be lost with it; the others count from the next plan
    if decision.cycle == record.progress.cycle and (refusal := swallowed(decision, record.progress, today)):
        raise Conflict(refusal.code, _worded(refusal))
    await store.take_back_ruling(unit.db, patient_id, ruling_id, unit.actor, unit.now)
    remarks = remarks_on_revoked(decision, record.progress, today)
    return {"ruling_id": str(ruling_id), **await _planned_anew(unit, patient_id, decision, remarks)}


async def _enrolled(unit: Unit, patient_id: str) -> store.Record:
    record = (await store.load_records(unit.db, [patient_id], unit.now)).get(patient_id)
    if record is None or not record.enrolled:
        raise NotFound("unknown_patient", "the planner knows of no patient of that id who takes part")
    return record


async def _today(unit: Unit, record: store.Record) -> date:
    stores = await store.load_stores(unit.db, [record.store_id], unit.now)
    return unit.today(stores[record.store_id].time_zone if record.store_id in stores else "UTC")


async def _planned_anew(
    unit: Unit, patient_id: str, decision: StaffDecision, remarks: tuple[Reason, ...]
) -> dict[str, Any]:
    """How things stand after a decision, in words: what is remarked, and what the plan says where it was made anew."""
    records = list((await store.load_records(unit.db, [patient_id], unit.now)).values())
    await publish_exclusions(unit, {record.patient_id: record.profile.rulings for record in records})
    await replan(unit, records)
    found = await plan_of(unit.db, patient_id)
    waits = any(remark.code == "decision_after_visit" for remark in remarks)
    words = [*map(_worded, remarks), *([] if waits else _said_of(found, decision))]
    return {"status": found["status"], "revision": found["revision"], "words": words}


def _said_of(found: dict[str, Any], decision: StaffDecision) -> list[str]:
    said = said_in(found)
    if said is None:
        return []
    if decision.rx_id is None:
        return why(said)[:1]
    return [words for drug in said.drugs if drug.rx_id == decision.rx_id for words in of_drug(drug, said)]


def _worded(reason: Reason) -> str:
    return render(reason_of(reason))


# --- planning anew ---


class Replan(Told):
    """Whom to plan anew: those of a store, those with a prescription of a payer, or everybody; after which id."""

    store: Id | None = None
    payer: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    after: Annotated[str, Field(pattern=r"^[!-~]{0,64}$")] = ""
    limit: Annotated[int, Field(ge=1, le=500, strict=True)] = 100
    dry_run: Annotated[bool, Field(strict=True)] = False


async def replan_some(unit: Unit, work: Work, wanted: Replan) -> dict[str, Any]:
    """Plan the next patients anew, by patient id: written and published is only what changed, on a dry run nothing.

    `work` locks them, and says who is parked: they are passed over and named.
    """
    require_role(unit.role, "pharmacist", "system")
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
