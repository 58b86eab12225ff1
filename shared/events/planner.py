"""What the planner publishes: the plan of a patient, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from shared.events.base import Days, Event, Fields, OpenEnum, PatientId, Quantity, Reason

TOPIC = "medsync.planner.v1"
DEMAND_TOPIC = "medsync.planner.demand.v1"


class VisitKind(OpenEnum):
    bridge = "bridge"
    synchronized = "synchronized"
    ride_along = "ride_along"
    other = "other"


class Participation(OpenEnum):
    """How a drug takes part: short-filled where needed, only carried along, or not at all."""

    sync = "sync"
    ride_along = "ride_along"
    excluded = "excluded"
    other = "other"


class Action(OpenEnum):
    """What is done about one drug to bring it to the anchor date."""

    early = "early"
    on_time = "on_time"
    bridge = "bridge"
    long_fill = "long_fill"
    full_then_bridge = "full_then_bridge"
    not_due = "not_due"
    join_later = "join_later"
    none = "none"
    other = "other"


class FillKind(OpenEnum):
    full = "full"
    bridge = "bridge"  # a short fill: less than the usual days' supply
    long = "long"
    other = "other"


class ConditionKind(OpenEnum):
    renewal = "renewal"  # a new prescription of the same drug
    authorization = "authorization"  # of the payer, in advance
    answer = "answer"  # to a question about the drug
    other = "other"


class Condition(Fields):
    """What a fill still lacks, who has to act, and by when. Words: `shared.words`."""

    kind: ConditionKind
    by: str  # prescriber, payer, pharmacist
    needed_by: date  # the last day on which it helps: before the store fills


class PlannedItem(Fields):
    """One fill planned for one visit."""

    rx_id: str
    drug_name: str
    kind: FillKind
    quantity: Quantity
    days_supply: Days
    payable_from: date | None = None  # the payer refuses it before (reject 79)
    clarification_codes: tuple[str, ...] = ()  # NCPDP 420-DK, in the order to try
    days_supply_billed: Days | None = (
        None  # where the payer is told another than the true one; none: the same
    )
    standing_instruction_allowed: bool = False  # payer and state let it be filled without a confirmed call
    condition: Condition | None = None  # a conditional fill: filled only if this is met by then; none: filled
    in_place_of: str | None = (
        None  # the rx_id whose place in this visit a renewal took; said while the visit stands
    )
    at_counter: bool = (
        False  # due by now, and not confirmed: filled only if the patient, asked at the pickup, agrees
    )
    reason: Reason


class Step(Fields):
    """One dated step around a visit, and whose it is. Codes: `shared.words`."""

    code: str
    on: date
    by: str  # a role, or system
    rx_ids: tuple[str, ...] = ()  # that it is about; empty: all of the visit


class Visit(Fields):
    """One trip to the store. The id stays while patient, kind and date stay."""

    visit_id: str
    kind: VisitKind
    on: date
    items: tuple[PlannedItem, ...]
    steps: tuple[Step, ...] = ()  # by day, from the checks to the return to stock
    urgent: bool = False  # inside the lead time, as a drug cannot wait: call and order today


class RhythmSaid(Fields):
    """The rhythm behind a plan, and what its year looks like."""

    cycle_days: int  # from one synchronized pickup to the next
    day_of_month: int | None = None  # every pickup on that day
    joins: Mapping[str, date] = Field(
        default_factory=dict,
        description="by rx_id: from when on the drug keeps the rhythm; one that never does is left out",
    )
    trips_a_year: int = 0  # days with a visit in the next 365
    trips_before: int | None = None  # days with a hand-over in the 365 before; None if not known


class DrugDecision(Fields):
    """What the plan does about one prescription, and why."""

    rx_id: str
    drug_name: str
    participation: Participation
    action: Action = Action.none
    run_out_on: date | None = None
    joins_on: date | None = None
    days_left_at_anchor: int | None = None
    reasons: tuple[Reason, ...]


class OfferedDay(Fields):
    """One of the best days, as offered to the patient; the first is the plan's own."""

    on: date
    visits_before: int  # before all due drugs have joined; what stands as told is not counted
    short_fills: int
    uncovered_days: int
    extra_cost: Decimal | None = None  # none: unknown
    reason: Reason


class PlanComputed(Event):
    """The whole plan of one patient's cycle. A later revision replaces it."""

    TYPE: ClassVar[str] = "medsync.planner.plan-computed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    revision: int  # grows over all plans of the patient
    profile_revision: int
    cycle: int  # 1 is the first
    store_id: str
    computed_on: date
    anchor_on: date  # the synchronized pickup
    next_anchor_on: date  # the one after, as far as it can be seen today
    agreed: bool  # the patient accepted the alignment; while false, the first contact offers the days
    visits: tuple[Visit, ...]
    drugs: tuple[DrugDecision, ...]
    offered: tuple[OfferedDay, ...] = ()
    short_fills: int = 0
    uncovered_days: int = 0  # avoidable and not
    unavoidable_days: int = 0  # before the first workable day
    extra_cost: Decimal | None = None  # none: unknown
    reasons: tuple[Reason, ...] = ()
    rhythm: RhythmSaid | None = None  # none: of a plan made before rhythms were said


class PlanBlocked(Event):
    """No plan can be made now; says why, drug by drug where that is the reason."""

    TYPE: ClassVar[str] = "medsync.planner.plan-blocked.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    revision: int
    profile_revision: int
    store_id: str
    reasons: tuple[Reason, ...]
    drugs: tuple[DrugDecision, ...] = ()


class RunOut(Fields):
    """When one drug runs out, for whoever looks after it from now on."""

    rx_id: str
    drug_name: str
    run_out_on: date


class PlanCancelled(Event):
    """The current plan is withdrawn and nothing replaces it."""

    TYPE: ClassVar[str] = "medsync.planner.plan-cancelled.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    plan_id: str
    revision: int
    reason: Reason
    run_outs: tuple[RunOut, ...] = ()  # as the plan reckoned them, before any of its fills


class ExcludedPrescription(Fields):
    """A prescription that a pharmacist keeps out, and why, without a word of what was written about it."""

    rx_id: str
    reason: Reason  # staff_excluded


class ExclusionsChanged(Event):
    """Every prescription of a patient that a pharmacist keeps out of plans, visits and packages from now on.

    The whole list, empty where nothing is kept out any more; a later revision replaces it. It holds for visits that
    were confirmed before, whatever a plan says: a plan may have been made before it, or stand until a visit is over.
    """

    TYPE: ClassVar[str] = "medsync.planner.exclusions-changed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    revision: int  # of the list; grows per patient, apart from that of plans
    excluded: tuple[ExcludedPrescription, ...]


class RenewalNeeded(Event):
    """A prescription will not last: the prescriber is to be asked. Sent once per prescription."""

    TYPE: ClassVar[str] = "medsync.planner.renewal-needed.v1"
    TOPIC: ClassVar[str] = TOPIC

    patient_id: PatientId
    store_id: str
    rx_id: str
    drug_name: str
    prescriber_id: str
    needed_by: date
    reason: Reason


class DayDemand(Fields):
    """What the fills of one day take of a drug."""

    on: date  # the store fills, or should have filled already and has not: then the first day of the forecast
    quantity: Quantity  # units
    confirmed: Quantity  # of these, for visits that patients confirmed
    fills: int
    patients: int


class DrugDemand(Fields):
    """One drug over the days of a forecast; days without a fill are left out."""

    code: str  # RxNorm, as in the profile
    drug_name: str
    days: tuple[DayDemand, ...]


class DemandForecast(Event):
    """What the plans that stand take from a store's shelf in the next fortnight. A later revision replaces it whole.

    Once a store's day, early, and only where it differs from the one before: for whoever replenishes the store.
    """

    TYPE: ClassVar[str] = "medsync.planner.demand-forecast.v1"
    TOPIC: ClassVar[str] = DEMAND_TOPIC
    KEYED_BY: ClassVar[str] = "store"

    store_id: str
    revision: int  # grows per store
    first_on: date  # the store's day on which it was made
    last_on: date
    drugs: tuple[DrugDemand, ...]
