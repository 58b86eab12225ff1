"""What may be read of plans, as it is answered. One function per question; nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from services.planner import store
from services.planner.domain.model import StaffDecisionKind
from services.planner.domain.progress import Progress, Status, as_of, commitments_of
from services.planner.faults import Fault
from services.planner.recompute import calendar_of
from services.planner.rules import RULES
from services.planner.what_if import WhatIf, document_of, work_out
from shared import beside
from shared.access import Stores
from shared.database import Db
from shared.events import Reason
from shared.events.planner import Action, Participation, PlanBlocked, PlanComputed, Step
from shared.messaging import Caller, Work, patient
from shared.pages import Page, page_of
from shared.problems import Busy, Conflict, Invalid, Malformed, NotFound
from shared.values import Output
from shared.words import explain, render
from shared.words.plans import of_drug, the_year
from shared.words.steps import of_step

NEVER_HEARD_OF = "the planner has not heard of this patient"


def _is_none(value: object) -> bool:
    return value is None


# --- plans ---


class PlanLine(Output):
    """Where one patient of a list stands; `why` is the code of the plan's first reason."""

    patient_id: str
    store_id: str
    status: Status
    revision: int
    cycle: int
    agreed: bool
    anchor_on: date | None
    next_anchor_on: date | None
    why: str | None


class PlanState(Output):
    """The newest plan as it was published, or what stands in its way; `blocked` is left out where nothing does."""

    patient_id: str
    status: Status
    revision: int
    cycle: int
    agreed: bool
    plan: PlanComputed | None
    blocked: PlanBlocked | None = Field(None, exclude_if=_is_none)

    @property
    def published(self) -> PlanComputed | PlanBlocked | None:
        """What was published and not withdrawn."""
        return self.plan or self.blocked


async def plan_lines(
    db: Db, *, stores: Stores, status: Status | None, after: str, limit: int
) -> Page[PlanLine]:
    """Patients by id, one line each."""
    rows = await store.list_plans(db, stores=stores, status=status, after=after, limit=limit + 1)
    return page_of([PlanLine.model_validate(row) for row in rows], limit, "patient_id")


async def plan_of(db: Db, patient_id: str) -> PlanState:
    """The newest plan as it was published, or why there is none. Raises NotFound."""
    row = await store.load_plan(db, patient_id)
    if row is None:
        raise NotFound("unknown_patient", NEVER_HEARD_OF)
    published, status = row.pop("published"), row["status"]
    return PlanState(
        patient_id=patient_id,
        **row,
        plan=PlanComputed.model_validate(published) if status == Status.planned else None,
        blocked=PlanBlocked.model_validate(published) if status == Status.blocked else None,
    )


# --- plans in words ---


class ReasonInWords(Reason):
    """A reason, and how staff read it."""

    words: str


class DrugInWords(Output):
    """What a plan does about one prescription, and why."""

    rx_id: str
    drug_name: str
    participation: Participation
    action: Action
    reasons: list[ReasonInWords]
    sentences: list[str]


class StepInWords(Step):
    """A dated step around a visit, and how staff read it."""

    visit_id: str
    words: str


class Costs(Output):
    """What a plan costs the patient in short fills and days without a drug. Of a plan without a rhythm, nothing of its
    year is known."""

    short_fills: int
    uncovered_days: int
    words: str | None


class YearAhead(Costs):
    """The same with its rhythm: the days with a visit in the next 365, and with a hand-over in the 365 before."""

    cycle_days: int
    day_of_month: int | None
    trips_a_year: int
    trips_before: int | None  # null: not known


class Explanation(Output):
    """A plan in words: sentences to read from the top, reasons, drugs and steps with the codes beside the words."""

    patient_id: str
    status: Status
    year: YearAhead | Costs | None
    sentences: list[str]
    reasons: list[ReasonInWords]
    drugs: list[DrugInWords]
    steps: list[StepInWords]


async def explanation(db: Db, patient_id: str) -> Explanation:
    """The newest plan in words. Raises NotFound."""
    found = await plan_of(db, patient_id)
    said = found.published
    if said is None:
        return Explanation(
            patient_id=patient_id,
            status=found.status,
            year=None,
            sentences=[_no_plan(found.status)],
            reasons=[],
            drugs=[],
            steps=[],
        )
    visits = said.visits if isinstance(said, PlanComputed) else ()
    return Explanation(
        patient_id=patient_id,
        status=found.status,
        year=_year(said) if isinstance(said, PlanComputed) else None,
        sentences=explain(said),
        reasons=[_in_words(reason) for reason in said.reasons],
        drugs=[
            DrugInWords(
                rx_id=drug.rx_id,
                drug_name=drug.drug_name,
                participation=drug.participation,
                action=drug.action,
                reasons=[_in_words(reason) for reason in drug.reasons],
                sentences=of_drug(drug, said),
            )
            for drug in said.drugs
        ],
        steps=[
            StepInWords(visit_id=visit.visit_id, words=of_step(step), **dict(step))
            for visit in visits
            for step in visit.steps
        ],
    )


def _no_plan(status: Status) -> str:
    """Where nothing was published yet, or what was is withdrawn."""
    return {
        Status.waiting: "There is no plan yet: the store's calendar is awaited.",
        Status.gone: "There is no plan: the patient is no longer enrolled.",
    }[status]


def _year(plan: PlanComputed) -> YearAhead | Costs:
    costs = Costs(short_fills=plan.short_fills, uncovered_days=plan.uncovered_days, words=the_year(plan))
    return YearAhead(**dict(costs), **plan.rhythm.model_dump(exclude={"joins"})) if plan.rhythm else costs


def _in_words(reason: Reason) -> ReasonInWords:
    return ReasonInWords(code=reason.code, params=reason.params, words=render(reason))


# --- what would be, if ---


class PlanSummary(Output):
    """Which plan a patient has."""

    status: Status
    anchor_on: date | None
    revision: int


def summary_of(record: store.Record, progress: Progress) -> PlanSummary:
    """Which plan a patient has who stands there."""
    return PlanSummary(status=progress.status, anchor_on=progress.anchor_on, revision=record.revision)


class WhatIfAnswer(Output):
    """The plan that was asked for, or what stands in its way, and the same in words.

    `stands` is what the planner holds now of a known patient. Of `plan` and `blocked` there is one.
    """

    patient_id: str
    status: Literal["planned", "blocked"]
    plan: PlanComputed | None = Field(None, exclude_if=_is_none)
    blocked: PlanBlocked | None = Field(None, exclude_if=_is_none)
    sentences: list[str]
    stands: PlanSummary | None = Field(None, exclude_if=_is_none)


@dataclass(frozen=True)
class Held:
    """A patient whom the planner knows: as a document, as of which day, and which plan they have."""

    document: Mapping[str, Any]
    today: date
    stands: PlanSummary


async def what_if(work: Work, caller: Caller, question: WhatIf) -> WhatIfAnswer:
    """The plan that a document gives, or a known patient with changes; no connection is held while it is worked out.

    Raises:
        Malformed: it names every fault of the document, of the changes or of the question.
        NotFound, Conflict: the patient is not known, not enrolled, or waits for a store.
        Invalid: it took too long.
        Busy: too many others are asking.
    """
    if question.patient is not None and question.patient_id is None and not question.changes:
        return await _worked_out(question.patient, None, work.now().date(), None)
    if question.patient_id is None or question.patient is not None:
        raise _malformed([Fault("", "", "give either patient, or patient_id with changes")])
    async with work.read_as(caller, patient(question.patient_id)) as db:
        held = await _held(db, question.patient_id, work.now())
    return await _worked_out(held.document, question.changes, held.today, held.stands)


async def _held(db: Db, patient_id: str, now: datetime) -> Held:
    record = (await store.load_records(db, [patient_id], now)).get(patient_id)
    if record is None:
        raise NotFound("unknown_patient", NEVER_HEARD_OF)
    if not record.enrolled:
        raise Conflict("no_longer_enrolled", "what the patient takes is not held any more: give it whole")
    days = (await store.load_stores(db, [record.store_id], now)).get(record.store_id)
    if days is None:
        raise Conflict("no_calendar", "the store's calendar is awaited: give the patient whole, with one")
    today = now.astimezone(ZoneInfo(days.time_zone)).date()
    progress = as_of(record.progress, today, RULES)
    document = document_of(
        record.profile, commitments_of(progress), calendar_of(record, days), progress.cycle
    )
    return Held(document, today, summary_of(record, progress))


async def _worked_out(
    document: Mapping[str, Any], changes: Mapping[str, Any] | None, today: date, stands: PlanSummary | None
) -> WhatIfAnswer:
    """The answer, from a process beside this one: however long it takes, events and other requests go on."""
    try:
        found = await beside.run(work_out, document, changes, today)
    except beside.TooLong:
        raise Invalid(
            "too_much",
            f"no plan was found in {beside.SECONDS:.0f} s: ask with fewer prescriptions or fills",
        ) from None
    except beside.Busy:
        raise Busy("busy", "other questions are worked out; try again") from None
    if isinstance(found, list):
        raise _malformed(found)
    return WhatIfAnswer(**found, stands=stands)


def _malformed(faults: Sequence[Fault]) -> Malformed:
    return Malformed([asdict(fault) for fault in faults])


# --- stores ---


class DayDemand(Output):
    """What the plans that stand bring to a store on one day."""

    on: date
    open: bool
    pickups: int  # synchronized ones; of these
    agreed: int  # with the patient, and
    confirmed: int
    other_visits: int  # before or beside them
    fills: int  # of all visits


class StoreDemand(Output):
    """The days of a store, today first."""

    store_id: str
    daily_cap: int | None
    days: list[DayDemand]


class StoresToReplan(Output):
    """How many patients there are to be planned anew, by store."""

    stores: dict[str, int]


async def demand_of(db: Db, store_id: str, days: int, now: datetime) -> StoreDemand:
    """What the plans that stand bring to a store on each of the next days. Raises NotFound."""
    stores = await store.load_stores(db, [store_id], now)
    if store_id not in stores:
        raise NotFound("unknown_store", "the planner has not heard of this store")
    calendar = stores[store_id].calendar
    today: date = now.astimezone(ZoneInfo(stores[store_id].time_zone)).date()
    planned = await store.planned_by_day(db, store_id, today, days)
    return StoreDemand(
        store_id=store_id,
        daily_cap=calendar.daily_cap or None,
        days=[DayDemand(on=on, open=calendar.is_open(on), **counts) for on, counts in planned.items()],
    )


async def stores_to_replan(db: Db, *, stores: Stores, payer: str | None) -> StoresToReplan:
    """Where the patients of a store, or with a prescription of a payer, are."""
    return StoresToReplan(stores=await store.enrolled_by_store(db, stores=stores, payer=payer))


# --- what staff decided ---


class StaffDecisionMade(Output):
    """One decision about a patient's plans: who made it, in what role, when and why, and who revoked it."""

    ruling_id: UUID
    kind: StaffDecisionKind
    made_by: str
    made_as: str
    why: str
    made_at: datetime
    rx_id: str | None
    on: date | None
    quantity: Decimal | None
    cycle: int | None  # that it is about; null: every one
    taken_back_at: datetime | None
    taken_back_by: str | None


class StaffDecisions(Output):
    """All that staff decided about a patient's plans, the oldest first."""

    rulings: list[StaffDecisionMade]


async def staff_decisions(db: Db, patient_id: str) -> StaffDecisions:
    """All that staff decided about this patient's plans."""
    rows = await store.list_staff_decisions(db, patient_id)
    return StaffDecisions(rulings=[StaffDecisionMade.model_validate(row) for row in rows])
