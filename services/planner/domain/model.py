"""What the planner knows and what it answers: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from services.planner.domain.limits import DispensingLimit, Disuse, HighCost, LargerFill, StateSchedule
from services.planner.domain.payers import PayerRule, SyncLaw
from shared.directions import Directions, said_in


class Participation(StrEnum):
    """How a drug takes part (R1.1)."""

    sync = "sync"  # may be short-filled
    ride_along = "ride_along"  # never short-filled; dispensed with the package, or at a visit of its own
    excluded = "excluded"


class Action(StrEnum):
    """What is done about one drug to bring it to the synchronized pickup."""

    early = "early"
    on_time = "on_time"
    bridge = "bridge"
    long_fill = "long_fill"
    full_then_bridge = "full_then_bridge"
    not_due = "not_due"
    join_later = "join_later"
    none = "none"


class FillKind(StrEnum):
    full = "full"
    bridge = "bridge"  # a short fill: less than the usual days' supply
    long = "long"  # more than it, where the plan allows


class VisitKind(StrEnum):
    bridge = "bridge"
    synchronized = "synchronized"
    ride_along = "ride_along"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was decided: a code, and parameters that `shared.words` puts into a sentence.

    Dates are ISO text; nothing in it names the patient.
    """

    code: str
    params: Mapping[str, str | int] = field(default_factory=dict)


def because(code: str, /, **params: str | int | date | Decimal) -> Reason:
    """A reason with its parameters in the form that events carry."""
    return Reason(code, {name: _plain(value) for name, value in params.items()})


def _plain(value: str | int | date | Decimal) -> str | int:
    if isinstance(value, str | int):
        return value
    return value.isoformat() if isinstance(value, date) else f"{value.normalize():f}"


# --- what comes in ---


@dataclass(frozen=True, slots=True)
class Drug:
    """Facts of a drug product, as the chain's drug file states them."""

    name: str
    ingredient: str
    strength: str = ""
    form: str = "tablet"
    schedule: str = "none"  # none, c2, c3, c4, c5
    maintenance: bool = True
    unbreakable: bool = False
    antibiotic: bool = False
    critical: bool = False
    over_the_counter: bool = False
    rems: bool = False  # a risk evaluation and mitigation strategy decides each fill
    special_handling: bool = False  # or a single pharmacy that may dispense it
    doses_per_unit: Decimal | None = None  # drops, puffs or insulin units in one unit of quantity
    doses_basis: str = ""  # on what that rests: manufacturer, plan, measured
    priming_doses: Decimal | None = None  # lost at each use
    container_quantity: Decimal | None = None  # opened one after the other; none: the pack is one container
    in_use_days: int | None = None  # discarded so many days after opening
    pack_quantity: Decimal | None = (
        None  # of the smallest pack that is never broken; none: the usual quantity
    )
    lead_days: int = 0  # more than usual until the store has it: special order


@dataclass(frozen=True, slots=True)
class Prescription:
    """One prescription of the profile."""

    rx_id: str
    drug: Drug
    usual_quantity: Decimal
    usual_days: int
    quantity_left: Decimal  # authorized, not yet dispensed
    written_on: date
    expires_on: date  # the last day on which it may be dispensed
    units_per_day: Decimal | None = None  # none where the directions do not say
    status: str = "active"  # active, on_hold, discontinued, superseded, outside
    directions: str = ""
    directions_read: Directions | None = None  # instead of their words
    as_needed: bool = False
    prescriber_id: str = ""
    payer: str | None = None
    monthly_copay: Decimal | None = None  # for the plan's approved month's supply; None if unknown
    month_price: Decimal | None = None  # what a month's supply costs the payer; None if unknown
    negotiated_price: Decimal | None = None  # of a month of insulin
    fair_price: Decimal | None = None  # the maximum fair price of a month of insulin
    renews: str | None = None
    refills_left: int = 0  # 0: none, or not told
    prior_authorization_until: date | None = None  # the last day on which the payer pays; none: not needed
    fill_from: date | None = None  # not before, by the prescriber's word; none: at once
    second_payer: str | None = None  # on file, said, never computed with; so is a coupon
    coupon: str | None = None

    @property
    def said(self) -> Directions:
        """What the directions say: as it was told, else as their words are read."""
        return self.directions_read or said_in(self.directions)


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill that reached the patient, or that another pharmacy billed."""

    rx_id: str
    filled_on: date  # the payer's clock
    handed_over_on: date  # the patient's stock
    days_supply: int  # true
    quantity: Decimal = Decimal(0)  # 0: not known
    days_supply_billed: int | None = None  # where the payer was told another; none: the same
    elsewhere: bool = False  # at another pharmacy: for the payer's clock alone

    @property
    def billed(self) -> int:
        """The days that the payer counts."""
        return self.days_supply if self.days_supply_billed is None else self.days_supply_billed


@dataclass(frozen=True, slots=True)
class StockReport:
    """What the patient said is left at the start of a day."""

    rx_id: str
    reported_on: date
    days_left: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """The payer refused a fill. Its own next-fill date overrides our rule (R7.8)."""

    rx_id: str
    code: str  # NCPDP reject code
    rejected_on: date
    next_fill_on: date | None = None


class StaffDecisionKind(StrEnum):
    """What staff may decide about a plan."""

    day = "day"  # the synchronized pickup is on `on`
    include = "include"  # the drug takes part, although policy leaves it out
    exclude = "exclude"  # the drug does not take part
    fill = "fill"  # at the synchronized pickup, although not due, or too soon: settled with the payer
    hold = "hold"  # no fill before `on`
    quantity = "quantity"  # so many units at the synchronized pickup


@dataclass(frozen=True, slots=True)
class StaffDecision:
    """What a member of staff decided about a plan, in what role, when and why."""

    kind: StaffDecisionKind
    by: str  # the role
    why: str  # in their own words: never in a reason
    made_on: date
    rx_id: str | None = None
    on: date | None = None
    quantity: Decimal | None = None
    cycle: int | None = None  # that it is about; none: every one until it is revoked


@dataclass(frozen=True, slots=True)
class Span:
    """From one day to another, both included; without an end until further notice."""

    begins_on: date
    ends_on: date | None = None

    def holds(self, day: date) -> bool:
        """Is this one of its days?"""
        return self.begins_on <= day and (self.ends_on is None or day <= self.ends_on)


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything the patient takes that the chain knows of, and how the patient wants to be served."""

    patient_id: str
    store_id: str
    prescriptions: tuple[Prescription, ...]
    fills: tuple[Fill, ...] = ()
    stock_reports: tuple[StockReport, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    rulings: tuple[StaffDecision, ...] = ()  # the oldest first
    cycle_policy: str = "auto"
    must_weekdays: frozenset[int] = frozenset()  # 0 is Monday; empty: any day
    preferred_weekday: int | None = None
    day_of_month: int | None = None  # of every synchronized pickup, by the policy of that name
    extra_cost_limit: Decimal | None = None  # that the patient accepts; none: the chain's default
    long_term_care: bool = False  # lives where a pharmacy of the house serves
    payday: int | None = None  # day of the month; before it the patient cannot pay
    paydays: tuple[date, ...] = ()  # the same by date
    ride_weekdays: frozenset[int] = frozenset()  # with a ride; none and no dates either: none is needed
    rides: tuple[date, ...] = ()
    delivered: bool = False  # brought to the patient, on the store's delivery days
    packaged: bool = False  # in multi-dose packages
    household_on: tuple[date, ...] = ()  # pickups agreed with others of the household
    household_must: bool = False  # on one of those days only
    away: tuple[Span, ...] = ()
    stays: tuple[Span, ...] = ()  # in hospital or a nursing home; the last day is that of the discharge
    reconciled_on: date | None = None  # a pharmacist reconciled the stays that ended by then
    uninsured: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRule:
    """One step of the path to a visit: what, how many days from it (before it: negative), and who."""

    code: str  # `shared.words` has the sentence
    days: int  # from the visit; of `return` from the first fill
    by: str  # the role, or system
    synchronized_alone: bool = False  # no step of bridge and ride-along visits


STEPS = (
    StepRule("checks", -14, "system", synchronized_alone=True),
    StepRule("prescriber", -10, "technician", synchronized_alone=True),
    StepRule("call", -7, "technician"),
    StepRule("call_again", -5, "technician"),
    StepRule("order_stock", -5, "technician"),
    StepRule("last_call", -3, "technician"),
    StepRule("fill", -3, "technician"),
    StepRule("verify", -2, "pharmacist"),
    StepRule("ready", -1, "system"),
    StepRule("pickup", 0, "clerk"),
    StepRule("talk", 0, "pharmacist", synchronized_alone=True),
    StepRule("missed", 1, "technician"),
    StepRule("missed_again", 3, "technician"),
    StepRule("return", 10, "technician"),
)
"""The path to a visit, T-14 to the return to stock (R13.1; the strictest payer's window: R15.6)."""


@dataclass(frozen=True)
class Rules:
    """The chain's policy: data, never code. Percentages are whole, days are calendar days."""

    lead_days: int = 4  # from today to the first workable day
    delivery_lead_days: int = 1  # more where it is brought to the patient
    packaging_lead_days: int = 1  # more for multi-dose packages: their list is final five days ahead
    cycle_days: Mapping[str, int] = field(
        default_factory=lambda: {f"rolling_{days}": days for days in (28, 30, 34, 60, 84, 90)}
    )
    spine_days: Mapping[str, int] = field(default_factory=dict)  # no longer looked at: a stated cycle stands
    default_cycle: str = "auto"
    rhythm_days: tuple[int, ...] = (28, 30, 34, 60, 84, 90)  # among which the planner chooses
    horizon_days: int = 365  # a plan is judged by
    short_fills_a_trip: int = 3  # short fills or overrides that weigh as much as one trip
    blemishes_a_trip: int = 9  # late claims, dry mornings and spans of surplus that do; 0: they weigh nothing
    claims_made_ahead: int = 3  # days before a visit on which the store makes its claims
    urgent_from_days: int = 2  # without a drug, from which on a visit is urgent
    urgent_from_days_critical: int = 1  # the same of a critical drug
    proposed_from_trips: int = 2  # a year, from which on another rhythm is proposed
    settling_days: int = 3  # by which a cycle may be shorter until every drug has so many left:
    settled_days_left: int = 1
    bridge_cushion_days: int = 1  # that a bridge lasts past the synchronized pickup: no dry morning
    day_of_month_cushion_days: int = (
        5  # the same in cycles by day of the month: a year of 30-day fills is short by 5
    )
    payers: tuple[PayerRule, ...] = ()
    unknown_payer: PayerRule = PayerRule("unknown")  # noqa: RUF009 - a frozen value
    laws: tuple[SyncLaw, ...] = ()
    limits: tuple[DispensingLimit, ...] = ()
    schedules: tuple[StateSchedule, ...] = ()  # that differ from federal law
    larger_fills: tuple[LargerFill, ...] = ()
    disuse: tuple[Disuse, ...] = ()  # none: whatever needs a renewal is asked for
    high_cost: tuple[HighCost, ...] = ()  # none: whatever it costs is short-filled
    synchronized_schedules: frozenset[str] = frozenset({"none"})
    divisible_forms: frozenset[str] = frozenset({"tablet", "capsule"})  # that may be short-filled
    minimum_short_fill_days: int = 3
    cushion_days: int = 3
    extra_cost_limit: Decimal = Decimal("10.00")
    criteria: tuple[
        str, ...
    ] = ()  # names from `anchor`, in the chain's order; empty: the default order there
    offered_days: int = 3
    open_visit_days: int = 12  # a confirmed visit that nobody reports on is open so long
    missed_cycles: int = 2  # in a row, before staff act
    rejection_days: int = 14  # a payer's refusal without a date keeps the drug out so long
    look_again_days: int = 7  # a blocked patient is looked at again
    steps: tuple[StepRule, ...] = STEPS
    authorization_lead_days: int = 14  # the renewal of a prior authorization begins so long before its end
    short_fill_takes_refill: bool = True  # a refill number goes with every fill, also a short one


@dataclass(frozen=True, slots=True)
class PromisedItem:
    """One fill of a visit that the patient was told of."""

    rx_id: str
    kind: FillKind
    quantity: Decimal
    days_supply: int
    in_place_of: str | None = None  # the rx_id that was told, where a renewal took its place since


@dataclass(frozen=True, slots=True)
class PromisedVisit:
    """A visit of the agreed plan, today or later."""

    kind: VisitKind
    on: date
    items: tuple[PromisedItem, ...]
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class PromisedRhythm:
    """The rhythm of the synchronized pickups, as it is said and kept: what one plan answers the next may be given."""

    cycle_days: int  # from pickup to pickup
    day_of_month: int | None = None  # every pickup on that day
    joins: Mapping[str, date] = field(default_factory=dict)  # by rx_id: from when on it keeps the rhythm
    trips_a_year: int = 0  # days with a visit in the next 365
    trips_before: int | None = None  # days with a hand-over in the 365 before; None if not known


@dataclass(frozen=True, slots=True)
class Commitments:
    """What the patient was told; it does not change without need.

    `wanted_on` is the day that the patient asked for in place of the pickup of day `instead_of`.
    """

    agreed: bool = False
    anchor_on: date | None = None  # a pin
    visits: tuple[PromisedVisit, ...] = ()
    declined_until: Mapping[str, date] = field(default_factory=dict)  # by rx_id: no fill before
    wanted_on: date | None = None
    instead_of: date | None = None
    not_before: date | None = (
        None  # who can only be written to confirms no earlier visit: the post takes so long
    )
    rhythm: PromisedRhythm | None = None  # of the plan before
    next_anchor_on: date | None = None  # the day after the pin on which the patient was told to come again


NO_COMMITMENTS = Commitments()


# --- what goes out ---


class ConditionKind(StrEnum):
    """What a fill still lacks."""

    renewal = "renewal"  # the prescriber has to renew it
    authorization = "authorization"  # the payer has to authorize it


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to come before a fill can be made, from whom, and by when the store fills."""

    kind: ConditionKind
    by: str  # who has to act: prescriber, payer
    needed_by: date


@dataclass(frozen=True, slots=True)
class Item:
    """One fill planned for one visit."""

    rx_id: str
    drug_name: str
    kind: FillKind
    quantity: Decimal
    days_supply: int
    payable_from: date | None  # the payer refuses it before (reject 79); none: never paid for yet
    reason: Reason
    clarification_codes: tuple[str, ...] = ()  # NCPDP 420-DK, in the order to try
    days_supply_billed: int | None = None  # where the payer is told another than the true one; none: the same
    standing_instruction_allowed: bool = False  # without a confirmed call: no rule allows it yet
    condition: Condition | None = None  # filled only if this is met by then; None: filled
    in_place_of: str | None = None  # the rx_id whose place a renewal took in a visit that stands
    at_counter: bool = False  # not confirmed: due by now, filled only if the patient says so at the pickup


@dataclass(frozen=True, slots=True)
class Step:
    """One dated step around a visit, and whose it is."""

    code: str
    on: date
    by: str
    rx_ids: tuple[str, ...] = ()  # that it is about; empty: all of the visit


@dataclass(frozen=True, slots=True)
class Visit:
    """One trip to the store. The id stays while patient, kind and day stay."""

    visit_id: str
    kind: VisitKind
    on: date
    items: tuple[Item, ...]
    steps: tuple[Step, ...] = ()
    urgent: bool = False  # inside the lead time: a drug cannot wait


@dataclass(frozen=True, slots=True)
class Decision:
    """What the plan does about one prescription, and why."""

    rx_id: str
    drug_name: str
    participation: Participation
    reasons: tuple[Reason, ...]
    action: Action = Action.none
    run_out_on: date | None = None
    joins_on: date | None = None
    days_left_at_anchor: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One of the best days, as offered to the patient; the first is the plan's own."""

    on: date
    visits_before: int  # before all due drugs have joined; what stands as told is not counted
    short_fills: int
    uncovered_days: int
    extra_cost: Decimal | None  # None if unknown
    reason: Reason


@dataclass(frozen=True, slots=True)
class Renewal:
    """A prescription that will not last: the prescriber is to be asked."""

    rx_id: str
    drug_name: str
    prescriber_id: str
    needed_by: date
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole plan of one patient's cycle."""

    plan_id: str
    cycle: int
    computed_on: date
    anchor_on: date
    next_anchor_on: date
    agreed: bool
    visits: tuple[Visit, ...]  # by day
    drugs: tuple[Decision, ...]  # in the profile's order
    offered: tuple[Offer, ...]
    short_fills: int
    uncovered_days: int  # avoidable and not
    unavoidable_days: int  # before the first workable day
    extra_cost: Decimal | None  # None if unknown
    reasons: tuple[Reason, ...]
    renewals: tuple[Renewal, ...]
    look_again_on: date | None = None  # time alone changes it then; none: only an event can
    rhythm: PromisedRhythm | None = None
    open_visits: int = 0  # one-time trips; of these three, what stands as told is not counted
    open_short_fills: int = 0
    open_overrides: int = 0


@dataclass(frozen=True, slots=True)
class Blocked:
    """No plan can be made now."""

    reasons: tuple[Reason, ...]
    drugs: tuple[Decision, ...] = ()
    renewals: tuple[Renewal, ...] = ()
    look_again_on: date | None = None  # none: only an event can change it
