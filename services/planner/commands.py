"""What staff and the chain's systems may ask of the planner: one function per command, without HTTP.

Each gets the unit of work with its patient locked, and goes the same way: who may, load, decide, save, emit. It raises
what `shared.problems` names. What is said to it is a frozen model beside it, and so is what it answers.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool

from services.planner import store
from services.planner.domain.model import Reason, StaffDecision, StaffDecisionKind
from services.planner.domain.progress import Status
from services.planner.domain.staff_decisions import MAY_RULE, MOST_UNITS, too_much, unfitting
from services.planner.domain.taking_effect import remarks_on, remarks_on_revoked, swallowed
from services.planner.publishing import reason_of
from services.planner.queries import PlanSummary, plan_of, summary_of
from services.planner.recompute import Planned, recompute, recompute_changed, recompute_exclusions
from shared.events.planner import PlanBlocked, PlanComputed
from shared.messaging import Unit, Work, patient
from shared.problems import Conflict, Invalid, NotFound, require_role
from shared.values import WHOLE, Day, FreeText, Id, Input, Output, Text, for_example
from shared.words import render
from shared.words.plans import of_drug, why

OF_THIS_CYCLE = frozenset({StaffDecisionKind.fill, StaffDecisionKind.quantity})
"""Decisions about the next synchronized pickup; the others hold until their day has passed or they are revoked."""

FURTHEST = timedelta(days=400)
"""How far ahead staff may set a day: as far as a plan can be seen."""


def _no_truth(value: object) -> object:
    """Raises ValueError for true and false, in words that name the way out."""
    if isinstance(value, bool):
        raise ValueError("is not a number: use 30 or 2.5")
    return value


Units = Annotated[
    Decimal, Field(gt=0, le=MOST_UNITS, max_digits=12, decimal_places=4), BeforeValidator(_no_truth)
]


# --- what staff decide ---


class DecisionWanted(Input):
    """A day, a drug in or out of the plan, a fill at the synchronized pickup, no fill before a day, a quantity."""

    model_config = for_example(kind="day", on="2026-06-15", why="a neighbor drives the patient on Mondays")

    kind: StaffDecisionKind
    why: Annotated[FreeText, Field(min_length=3)]
    rx_id: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    on: Day | None = None
    quantity: Units | None = None


class DecisionTaken(Output):
    """How things stand after a decision, and in words what follows and from when."""

    ruling_id: UUID
    status: Status
    revision: int
    words: list[str]


async def decide(unit: Unit, patient_id: str, wanted: DecisionWanted) -> DecisionTaken:
    """Decide about a plan: staff a day or a wait, a pharmacist everything. Planned anew at once.

    Raises Conflict where a visit that was confirmed leaves the decision nothing to decide about.
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
    decision_id = uuid4()
    await store.add_staff_decision(unit.db, decision_id, patient_id, decision, unit.actor, unit.now)
    remarks = remarks_on(decision, record.progress, today)
    return await _planned_anew(unit, patient_id, decision_id, decision, remarks)


def _check(wanted: DecisionWanted, record: store.Record, today: date) -> None:
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


async def revoke(unit: Unit, patient_id: str, decision_id: UUID) -> DecisionTaken:
    """Revoke a decision, by whoever may make it; the record of it stays. Planned anew at once."""
    record = await _enrolled(unit, patient_id)
    decision = await store.load_staff_decision(unit.db, patient_id, decision_id)
    if decision is None:
        raise NotFound("no_such_ruling", "nothing of that id was decided about this patient's plans")
    require_role(unit.role, *MAY_RULE[decision.kind])
    today = await _today(unit, record)
    # only what was decided about this cycle alone can be lost with it; the others count from the next plan
    if decision.cycle == record.progress.cycle and (refusal := swallowed(decision, record.progress, today)):
        raise Conflict(refusal.code, _worded(refusal))
    await store.revoke_staff_decision(unit.db, patient_id, decision_id, unit.actor, unit.now)
    remarks = remarks_on_revoked(decision, record.progress, today)
    return await _planned_anew(unit, patient_id, decision_id, decision, remarks)


async def _enrolled(unit: Unit, patient_id: str) -> store.Record:
    record = (await store.load_records(unit.db, [patient_id], unit.now)).get(patient_id)
    if record is None or not record.enrolled:
        raise NotFound("unknown_patient", "the planner knows no enrolled patient with that id")
    return record


async def _today(unit: Unit, record: store.Record) -> date:
    stores = await store.load_stores(unit.db, [record.store_id], unit.now)
    return unit.today(stores[record.store_id].time_zone if record.store_id in stores else "UTC")


async def _planned_anew(
    unit: Unit, patient_id: str, decision_id: UUID, decision: StaffDecision, remarks: tuple[Reason, ...]
) -> DecisionTaken:
    """How things stand after a decision, in words: what is remarked, and what the plan says where it was made anew."""
    records = list((await store.load_records(unit.db, [patient_id], unit.now)).values())
    await recompute_exclusions(unit, {record.patient_id: record.profile.rulings for record in records})
    await recompute(unit, records)
    found = await plan_of(unit.db, patient_id)
    waits = any(remark.code == "decision_after_visit" for remark in remarks)
    words = [*map(_worded, remarks), *([] if waits else _said_of(found.published, decision))]
    return DecisionTaken(ruling_id=decision_id, status=found.status, revision=found.revision, words=words)


def _said_of(plan: PlanComputed | PlanBlocked | None, decision: StaffDecision) -> list[str]:
    if plan is None:
        return []
    if decision.rx_id is None:
        return why(plan)[:1]
    return [words for drug in plan.drugs if drug.rx_id == decision.rx_id for words in of_drug(drug, plan)]


def _worded(reason: Reason) -> str:
    return render(reason_of(reason))


# --- planning anew ---


class Replan(Input):
    """Whom to plan anew: those of a store, those with a prescription of a payer, or everybody; after which id."""

    model_config = for_example(store="S1", limit=100, dry_run=True)

    store: Id | None = None
    payer: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    after: Annotated[str, Field(pattern=r"^[!-~]{0,64}$")] = ""
    limit: Annotated[int, Field(strict=True, ge=1, le=500), WHOLE] = 100
    dry_run: StrictBool = False


class PlanMoved(Output):
    """Whose plan is another now: which one it was, which one it is, and the types of the events that say so."""

    model_config = ConfigDict(validate_by_name=True)

    patient_id: str
    store_id: str
    was: PlanSummary
    is_: Annotated[PlanSummary, Field(alias="is")]
    published: list[str]


class Replanned(Output):
    """What came of planning some patients anew, and after whom to go on."""

    patients: int | None  # that there are, in the first answer
    looked_at: int
    changed: list[PlanMoved]
    parked: list[str]  # passed over
    set_aside: list[str]  # whose new plan is more than the broker takes: the one before stands
    next: str | None  # null: these were the last


async def replan_some(unit: Unit, work: Work, wanted: Replan) -> Replanned:
    """Plan the next patients anew, by patient id: written and published is only what changed, on a dry run nothing.

    `work` locks them, and says who is parked, and whose plan is too large: they are passed over and named.
    """
    stores = unit.reach.narrowed(wanted.store)
    found = await store.enrolled_after(
        unit.db, stores=stores, payer=wanted.payer, after=wanted.after, limit=wanted.limit
    )
    await work.lock(unit, [patient(patient_id) for patient_id in found])
    free = await work.unparked(unit, found)
    changed = await recompute_changed(unit, free, partial(work.too_large, unit), dry_run=wanted.dry_run)
    return Replanned(
        patients=None
        if wanted.after
        else await store.count_enrolled(unit.db, stores=stores, payer=wanted.payer),
        looked_at=len(found),
        changed=[_moved(before, planned) for before, planned in changed.pairs],
        parked=sorted(set(found) - set(free)),
        set_aside=changed.set_aside,
        next=found[-1] if len(found) == wanted.limit else None,
    )


def _moved(before: store.Record, planned: Planned) -> PlanMoved:
    return PlanMoved(
        patient_id=before.patient_id,
        store_id=before.store_id,
        was=summary_of(before, before.progress),
        is_=summary_of(planned.record, planned.record.progress),
        published=[event.TYPE for event in planned.news],
    )
