"""The work order of a visit, its items, and the moves that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

from services.fulfillment.domain.facts import ConfirmedItem, Store
from shared.events.planner import Condition
from shared.problems import Conflict

RETURN_WINDOW = timedelta(days=10)
"""The strictest payer's window, counted from the adjudicated fill (R15.6)."""

MISSED_AFTER = (1, 3)
"""Days without a pickup after which it counts as missed (R15.5)."""

MORNING = time(9)
"""Store local: when fills are ordered and missed pickups noticed."""

CLOSING = time(21)
"""Store local: when the last saleable day ends, so that claims are reversed while the window is still open."""


class ItemStatus(StrEnum):
    """Where one fill stands."""

    offered = "offered"  # due since the visit was confirmed: the patient is asked at the counter
    to_fill = "to_fill"
    leased = "leased"  # the dispensing system works on it
    filled = "filled"
    rejected = "rejected"  # by the payer
    short = "short"  # the store has too little
    withheld = "withheld"  # filled, but not for the patient any more: back to stock
    cancelled = "cancelled"


class PackageStatus(StrEnum):
    """Where a work order stands, and with it its package."""

    filling = "filling"
    to_verify = "to_verify"
    ready = "ready"
    picked_up = "picked_up"
    returned = "returned"
    cancelled = "cancelled"  # nothing was filled, and nothing will be


class Why(StrEnum):
    """Why an item is cancelled or withheld."""

    not_enrolled = "not_enrolled"
    plan_cancelled = "plan_cancelled"
    not_planned = "not_planned"  # a newer plan no longer has it on this visit
    declined = "declined"  # a later confirmation leaves it out, or the patient at the counter does
    discontinued = "discontinued"
    excluded = "excluded"  # by a pharmacist, after it was planned
    condition_not_met = "condition_not_met"  # what it depended on did not come in time
    excepted = "excepted"  # by the pharmacist at verification
    left = "left"  # by the patient at the desk
    not_collected = "not_collected"
    withdrawn = "withdrawn"  # by the pharmacist, with a reason
    died = "died"
    given_up = "given_up"  # refused or short, and it stays so: by staff, or by the end of the visit's day
    other_store = "other_store"  # another store fills it
    not_in_time = "not_in_time"  # put right, and not filled when the patient came


class How(StrEnum):
    """How a refusal or a shortage was resolved, so that the fill is tried again."""

    override = "override"  # the payer's, with its code
    corrected_days = "corrected_days"
    other_plan = "other_plan"
    cash_price = "cash_price"
    prior_authorization = "prior_authorization"
    stock_arrived = "stock_arrived"
    other_manufacturer = "other_manufacturer"
    partial = "partial"  # so many units now, the rest owed


SETTLED = frozenset({Why.given_up, Why.other_store})
"""Why a fill that was refused or short is not tried again."""

OWED = "owed"
"""The kind of a work order that holds the rest of a partial fill: of no planned visit, and of no new claim."""


OPEN = frozenset({ItemStatus.to_fill, ItemStatus.leased})
FINAL = frozenset({PackageStatus.picked_up, PackageStatus.returned})

CONCLUDED = frozenset(
    {
        Why.died,
        Why.excluded,
        Why.discontinued,
        Why.plan_cancelled,
        Why.not_enrolled,
        Why.not_planned,
        Why.condition_not_met,
    }
)
"""Why an item is cancelled by the facts alone: concluded anew when they change."""

ITEM_MOVES: Mapping[ItemStatus, frozenset[ItemStatus]] = {
    ItemStatus.offered: frozenset({ItemStatus.to_fill, ItemStatus.cancelled}),
    ItemStatus.to_fill: frozenset({ItemStatus.leased, ItemStatus.cancelled}),
    ItemStatus.leased: frozenset(
        {ItemStatus.to_fill, ItemStatus.filled, ItemStatus.rejected, ItemStatus.short, ItemStatus.cancelled}
    ),
    ItemStatus.filled: frozenset({ItemStatus.withheld}),
    ItemStatus.rejected: frozenset({ItemStatus.to_fill}),
    ItemStatus.short: frozenset({ItemStatus.to_fill}),
    ItemStatus.withheld: frozenset(),
    ItemStatus.cancelled: frozenset({ItemStatus.to_fill, ItemStatus.offered}),
}

PACKAGE_MOVES: Mapping[PackageStatus, frozenset[PackageStatus]] = {
    PackageStatus.filling: frozenset(
        {PackageStatus.to_verify, PackageStatus.returned, PackageStatus.cancelled}
    ),
    PackageStatus.to_verify: frozenset({PackageStatus.filling, PackageStatus.ready, PackageStatus.returned}),
    PackageStatus.ready: frozenset(
        {PackageStatus.to_verify, PackageStatus.picked_up, PackageStatus.returned}
    ),
    PackageStatus.picked_up: frozenset(),
    PackageStatus.returned: frozenset(),
    PackageStatus.cancelled: frozenset({PackageStatus.filling}),
}


@dataclass(frozen=True, slots=True)
class Filled:
    """The dispensing system filled the item under this id; the claim is paid."""

    fill_id: str
    filled_on: date = field(compare=False)  # reported again on a later day, it is the same fill
    patient_pay: Decimal | None = None  # US dollars, where the payer's answer carried it
    quantity: Decimal | None = None  # of a partial fill; none: all that was ordered
    days_supply: int | None = None  # the same, in days


@dataclass(frozen=True, slots=True)
class Rejected:
    """The payer refused it (NCPDP reject code), perhaps until a day."""

    reject_code: str
    next_fill_on: date | None = None


@dataclass(frozen=True, slots=True)
class Short:
    """The store has too little: so many units are missing."""

    missing: Decimal
    on_hand: Decimal | None = None  # what could be filled now, where that was said


FillOutcome = Filled | Rejected | Short


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was resolved about a refusal or a shortage, for the next try."""

    how: How
    at: datetime
    code: str | None = None  # NCPDP, of an override
    days_billed: int | None = None  # the corrected days
    authorization: str | None = None  # number of a prior authorization
    price: Decimal | None = None  # agreed with the patient, in dollars
    drug_code: str | None = None  # of the other manufacturer
    drug_name: str | None = None
    quantity: Decimal | None = None  # of a partial fill: units now
    days_supply: int | None = None  # of a partial fill: the days of these
    expected_on: date | None = None  # of a partial fill: when the rest is there


@dataclass(frozen=True, slots=True)
class Completes:
    """The partial fill of which an item is the rest, and so its claim."""

    order_id: str
    fill_id: str
    filled_on: date
    quantity: Decimal  # intended: of both together
    days_supply: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on items until an instant of business time."""

    lease_id: str
    worker: str
    until: datetime
    taken_by: str | None = None  # the caller who leased; none: leased before this was kept


@dataclass(frozen=True, slots=True)
class Item:
    """One fill of a work order."""

    order_id: str
    rx_id: str  # as confirmed
    drug_name: str
    quantity: Decimal
    days_supply: int
    status: ItemStatus = ItemStatus.to_fill
    why: Why | None = None
    due_at: datetime | None = None  # none: not every fact is known yet
    lease: Lease | None = None
    outcome: FillOutcome | None = None
    days_supply_billed: int | None = None  # where the payer is told another than the true one; none: the same
    clarification_codes: tuple[str, ...] = ()  # NCPDP 420-DK, in the order to try
    condition: Condition | None = None  # with which it was confirmed
    waits_for: Condition | None = None  # the same, as the newest plan has it; none: nothing, it may be filled
    gives_up_at: datetime | None = None  # when the visit goes on without it
    late: bool = False  # met, put right or agreed to after the others were filled: nothing waits for it
    renewed_as: str | None = None  # the prescription that took the place of the one confirmed
    urgent: bool = False  # its visit cannot wait
    at_counter: bool = False  # nobody confirmed it: it was offered
    place: str | None = None  # fridge or oversize, where it is not in the package's bin
    place_label: str | None = None  # which shelf or drawer there
    tries: int = 0  # how often a result was reported
    resolution: Resolution | None = None  # of the newest refusal or shortage
    completes: Completes | None = None  # it is an owed rest
    expected_on: date | None = None  # of an owed rest: when the stock is there, where that is known

    @classmethod
    def of(cls, order_id: str, rx_id: str, wanted: ConfirmedItem, **more: Any) -> Item:
        """What the patient wants, or is asked about, as an item of a work order."""
        return cls(
            order_id,
            rx_id,
            wanted.drug_name,
            wanted.quantity,
            wanted.days_supply,
            days_supply_billed=wanted.days_supply_billed,
            clarification_codes=wanted.clarification_codes,
            **more,
        )

    @property
    def rx_to_fill(self) -> str:
        """The prescription that is filled."""
        return self.renewed_as or self.rx_id

    @property
    def patient_pay(self) -> Decimal | None:
        """What the patient pays for it; None where that is not known."""
        return self.outcome.patient_pay if isinstance(self.outcome, Filled) else None

    @property
    def filled_on(self) -> date | None:
        """The day of its fill, and so of the claim."""
        return self.outcome.filled_on if isinstance(self.outcome, Filled) else None

    @property
    def serviced_on(self) -> date | None:
        """The claim's date of service: of an owed rest that of its partial fill."""
        return self.completes.filled_on if self.completes and self.filled_on else self.filled_on

    @property
    def quantity_filled(self) -> Decimal:
        """Units in the package: as ordered, but of a partial fill."""
        partial = self.outcome.quantity if isinstance(self.outcome, Filled) else None
        return self.quantity if partial is None else partial

    @property
    def days_filled(self) -> int:
        """True days of what is in the package."""
        partial = self.outcome.days_supply if isinstance(self.outcome, Filled) else None
        return self.days_supply if partial is None else partial

    @property
    def partial(self) -> bool:
        """Whether a part was filled, or is to be, and the rest is owed."""
        if isinstance(self.outcome, Filled):
            return self.outcome.quantity is not None
        return self.resolution is not None and self.resolution.quantity is not None

    @property
    def intended(self) -> Completes | None:
        """The whole claim, where this is a part of it or its rest."""
        if self.completes or not self.partial or not isinstance(self.outcome, Filled):
            return self.completes
        fill = self.outcome
        return Completes(self.order_id, fill.fill_id, fill.filled_on, self.quantity, self.days_supply)

    @property
    def unsettled(self) -> bool:
        """Whether it was refused or is short, and somebody has to say what is done about it."""
        return self.status in (ItemStatus.rejected, ItemStatus.short) and self.why is None

    def become(self, status: ItemStatus, **changes: Any) -> Item:
        """The item after a move.

        Raises:
            Conflict: the table has no such move.
        """
        if status not in ITEM_MOVES[self.status]:
            raise unknown_transition("item", self.status, status)
        return replace(self, status=status, **changes)

    def cancel(self, why: Why) -> Item:
        """The item without a fill: nothing of it is due any more.

        Raises:
            Conflict: the table has no such move.
        """
        return self.become(ItemStatus.cancelled, why=why, due_at=None, gives_up_at=None)


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """The fills of one visit, and their package."""

    visit_id: str
    patient_id: str
    store_id: str
    package_id: str
    plan_id: str
    plan_revision: int  # of the confirmation
    visit_kind: str
    visit_on: date
    items: tuple[Item, ...]
    status: PackageStatus = PackageStatus.filling
    store_revision: int = 0  # of the calendar that it is scheduled by; 0: none yet
    return_on: date | None = None  # last saleable day
    return_at: datetime | None = None
    ready_on: date | None = None
    missed_at: datetime | None = None  # when the pickup counts as missed next
    missed_days: int = 0  # for how many days it was noticed already
    handed_over_on: date | None = None
    bin: int | None = None  # in will-call, while it is ready

    def become(self, status: PackageStatus, **changes: Any) -> WorkOrder:
        """The work order after a move; to stay is always allowed.

        Raises:
            Conflict: the table has no such move.
        """
        if status is not self.status and status not in PACKAGE_MOVES[self.status]:
            raise unknown_transition("package", self.status, status)
        return replace(self, status=status, **changes)

    def each(self, step: Callable[[Item], Item]) -> WorkOrder:
        """The work order with every item put through a step."""
        return replace(self, items=tuple(step(item) for item in self.items))

    def put(self, item: Item) -> WorkOrder:
        """The work order with one of its items changed."""
        return self.each(lambda other: item if other.order_id == item.order_id else other)

    def item(self, order_id: str) -> Item:
        return next(item for item in self.items if item.order_id == order_id)

    @property
    def is_owed(self) -> bool:
        """Whether it holds an owed rest, of which no plan speaks."""
        return self.visit_kind == OWED

    def having(self, *statuses: ItemStatus) -> tuple[Item, ...]:
        """Its items of these statuses."""
        return tuple(item for item in self.items if item.status in statuses)

    @property
    def awaited_from(self) -> date:
        """The day from which the patient may be missed: the visit's, or that on which a late package was ready."""
        return max(self.visit_on, self.ready_on or self.visit_on)


class Place(NamedTuple):
    """Which work order it is, whose, and where."""

    visit_id: str
    patient_id: str
    store_id: str


class Change(NamedTuple):
    """A work order before, none where it is new, and after."""

    before: WorkOrder | None
    after: WorkOrder


def changes(orders: Iterable[WorkOrder], step: Callable[[WorkOrder], WorkOrder]) -> list[Change]:
    """Put orders through a step; answers those that it changes."""
    stepped = (Change(order, step(order)) for order in orders)
    return [change for change in stepped if change.before != change.after]


def unknown_transition(what: str, found: StrEnum, wanted: StrEnum) -> Conflict:
    """What is raised where there is no such move."""
    return Conflict("unknown_transition", f"the {what} is {found}: there is no way from there to {wanted}")


def settle(order: WorkOrder, store: Store | None) -> WorkOrder:
    """The status, the return and the missed pickup that follow from the items.

    When the last item is resolved the package waits for verification; where nothing was filled there is no package.
    What comes late holds nothing up.
    """
    filled_on = [item.filled_on for item in order.having(ItemStatus.filled) if item.filled_on]
    return_on = last_saleable_day(filled_on) if filled_on else None
    status = _status_of(order)
    if status in FINAL:  # nothing of it is given up any more
        order = order.each(lambda item: replace(item, gives_up_at=None))
    ready = status is PackageStatus.ready
    return order.become(
        status,
        bin=order.bin if ready else None,
        return_on=return_on,
        return_at=store.at(return_on, CLOSING) if store and return_on else None,
        missed_at=_missed_at(order, store) if store and ready else None,
    )


def _status_of(order: WorkOrder) -> PackageStatus:
    if order.status in FINAL:
        return order.status
    waiting = order.having(*OPEN)
    if not all(item.late for item in waiting):
        return PackageStatus.filling
    if order.having(ItemStatus.filled):
        return PackageStatus.ready if order.status is PackageStatus.ready else PackageStatus.to_verify
    if waiting:
        return PackageStatus.filling
    return PackageStatus.returned if order.having(ItemStatus.withheld) else PackageStatus.cancelled


def _missed_at(order: WorkOrder, store: Store) -> datetime | None:
    days = next((days for days in MISSED_AFTER if days > order.missed_days), None)
    return store.at(order.awaited_from + timedelta(days), MORNING) if days else None


def last_saleable_day(filled_on: Iterable[date], window: timedelta = RETURN_WINDOW) -> date:
    """The last day on which a package may be handed over, counted from its earliest fill.

    >>> last_saleable_day([date(2026, 12, 1), date(2026, 12, 2)]).isoformat()
    '2026-12-11'
    """
    return min(filled_on) + window


def short_id(*parts: str) -> str:
    """A stable id for what these parts name: a visit always has the same package and the same orders."""
    return sha256("\x1f".join(parts).encode()).hexdigest()[:24]
