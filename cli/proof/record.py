"""The complete record of a run, as the checks look at it: what stands on the topics, and in the services' tables.

Events are kept as ids, revisions and quantities: a year of 2,000 patients is about a million of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

# ---- what stands on the topics ----------------------------------------------------------------------------------


class Item(NamedTuple):
    """One drug of a confirmation, a visit or a package; no name."""

    rx_id: str
    quantity: Decimal
    days_supply: int
    state: str = ""
    fill_id: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a payload says, as far as a check reads it. Empty where it says nothing of the kind."""

    subject: str = ""  # the patient or the store
    revision: int = 0
    plan_id: str = ""
    plan_revision: int = 0
    visit_id: str = ""
    package_id: str = ""
    rx_id: str = ""
    in_place_of: str = ""  # what was confirmed, of a fill whose prescription renews it
    fill_id: str = ""
    intended: tuple[Decimal, int] | None = None  # quantity and days of the claim of which it is a part
    completes: str = ""  # the fill of which it is the rest
    quantity: Decimal = Decimal(0)
    days_supply: int = 0
    detail: str = ""  # a channel, a kind of change, an outcome
    on: date | None = None
    given_at: datetime | None = None  # of a consent
    amended_at: datetime | None = None  # when it last changed
    contact_agreed_at: datetime | None = None  # a stop of before counts no longer; none: as given_at
    standing: bool = False  # a standing instruction: given with the consent, or used for a confirmation
    items: tuple[Item, ...] = ()  # confirmed, in the package, or taken
    visits: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)  # of a plan
    offers: frozenset[tuple[str, Item]] = frozenset()  # of a plan, by visit: to be asked about at the counter
    at_counter: bool = False  # a fill that the patient agreed to there


@dataclass(frozen=True, slots=True)
class Event:
    """One record of a topic."""

    topic: str  # without the prefix
    partition: int
    offset: int
    key: str
    id: str
    type: str
    source: str
    sequence: int
    at: datetime | None  # business time
    cause: str
    whole: int  # a fingerprint of key, headers and payload
    payload: int  # a fingerprint of the payload
    flaws: tuple[str, ...]  # what is wrong with its envelope, in words
    says: Said

    @property
    def service(self) -> str:
        """The service that it says it comes from."""
        return self.source.rpartition("/")[2]

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


# ---- what stands in the tables ----------------------------------------------------------------------------------


class Waiting(NamedTuple):
    """An outbox row that was not published."""

    sequence: int
    event_id: str
    held: bool


class Copied(NamedTuple):
    """An outbox row as it was written, from the copy that a fault test keeps."""

    sequence: int
    event_id: str
    topic: str
    key: str
    payload: int  # its fingerprint


class DeadLetter(NamedTuple):
    number: int
    place: str
    event_id: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fabric:
    """The messaging tables of one service."""

    inbox: frozenset[str] = frozenset()
    outbox: Sequence[Waiting] = ()
    dead_letters: Sequence[DeadLetter] = ()
    parked: Mapping[str, str] = field(default_factory=dict)  # typed key to reason
    stored: frozenset[str] = frozenset()  # ids of events that wait behind a dead letter
    answers: frozenset[str] = frozenset()  # idempotency keys
    copies: Sequence[Copied] | None = None  # none: not recorded
    commands: Mapping[str, int] | None = None  # idempotency key to HTTP status; none: not recorded
    forgotten: frozenset[str] = frozenset()  # kinds of record of which some were removed with age

    @property
    def withheld(self) -> frozenset[str]:
        """Events that were taken in and had no effect yet, or never will: a person decides, or has."""
        letters = {letter.event_id for letter in self.dead_letters if letter.status != "redriven"}
        return self.stored | letters


class Standing(NamedTuple):
    """Where a patient stands who takes part, or does no longer."""

    status: str
    revision: int


class HeldFill(NamedTuple):
    rx_id: str
    quantity: Decimal
    days_supply: int
    handed_over_on: date
    fed: bool


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Who takes part, and what enrollment keeps of the other services' events."""

    patients: Mapping[str, Standing] = field(default_factory=dict)
    fills: Mapping[str, HeldFill] = field(default_factory=dict)  # by fill id
    opt_outs: frozenset[tuple[str, str]] = frozenset()  # patient, channel
    changes: frozenset[tuple[str, str, date]] = frozenset()  # prescription, change, day


class Plan(NamedTuple):
    """Where the planner stands with a patient."""

    revision: int  # of what was published; 0: nothing yet
    status: str
    plan_id: str


@dataclass(frozen=True, slots=True)
class Planner:
    """What the planner keeps and did."""

    plans: Mapping[str, Plan] = field(default_factory=dict)  # by patient
    answers: Counter[tuple[str, str, str, int, str]] = field(default_factory=Counter)
    """How often each stands there: patient, type, plan, its revision, visit."""
    rejections: frozenset[tuple[str, str]] = frozenset()  # patient, prescription
    renewals: frozenset[tuple[str, str]] = frozenset()  # patient, prescription


class Attempt(NamedTuple):
    lease_id: str
    patient_id: str
    kind: str
    made_by: str
    at: datetime
    reported_at: datetime | None
    led_to: tuple[str, ...]  # the types of the events that its report emitted


@dataclass(frozen=True, slots=True)
class Outreach:
    """What outreach did."""

    attempts: Sequence[Attempt] = ()
    opt_outs: frozenset[str] = frozenset()  # patients
    renewals: frozenset[tuple[str, str]] = frozenset()  # patient, prescription


class Confirmation(NamedTuple):
    """A confirmation as fulfillment keeps it."""

    visit_id: str
    patient_id: str
    plan_revision: int
    items: frozenset[Item]
    live: bool


class Order(NamedTuple):
    """A work order, with its package."""

    patient_id: str
    package_id: str
    status: str
    handed_over_on: date | None


class Line(NamedTuple):
    """One item of a work order."""

    visit_id: str
    item: Item  # as confirmed; with its fill id, where it was filled
    status: str
    rejected: int  # how often
    short: int
    renewed_as: str = ""  # the prescription that is filled, where it took the place of the one confirmed
    part: tuple[Decimal, int] | None = None  # quantity and days, where only a part was filled
    order_id: str = ""
    completes: str = ""  # the order of whose claim it is an owed rest
    agreed: bool = False  # not confirmed: it is offered, or the patient agreed at the counter

    @property
    def worked_on(self) -> Item:
        """What is told of it."""
        quantity, days = self.part or (self.item.quantity, self.item.days_supply)
        return self.item._replace(
            rx_id=self.renewed_as or self.item.rx_id, quantity=quantity, days_supply=days
        )


@dataclass(frozen=True, slots=True)
class Fulfillment:
    """What fulfillment keeps and did."""

    confirmations: Sequence[Confirmation] = ()
    orders: Mapping[str, Order] = field(default_factory=dict)  # by visit
    lines: Sequence[Line] = ()
    consultations: frozenset[str] = frozenset()  # visits


@dataclass(frozen=True, slots=True)
class Console:
    """What the console shows."""

    stream: frozenset[str] = frozenset()  # event ids


# ---- all of it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """Everything that was read. A service whose database was not named is missing, and so is what it keeps."""

    events: Sequence[Event]  # each id once, as it first appeared; by topic, partition and offset
    copies: Sequence[Event] = ()  # redelivered: the same ids again
    gone: Mapping[str, int] = field(default_factory=dict)  # records that a topic no longer holds
    grew: frozenset[str] = frozenset()  # topics that moved on while they were read
    fabrics: Mapping[str, Fabric] = field(default_factory=dict)  # by service
    held: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    """Revisions that a service holds: service and table to patient (or store) to revision."""
    enrollment: Enrollment = Enrollment()
    planner: Planner = field(default_factory=Planner)
    outreach: Outreach = Outreach()
    fulfillment: Fulfillment = Fulfillment()
    console: Console = Console()
    allow_parked: bool = False
    hearing: timedelta = timedelta(0)
    """How long, in business time, a service may take to hear of a disenrollment."""

    @cached_property
    def by_id(self) -> Mapping[str, Event]:
        return {event.id: event for event in self.events}

    @cached_property
    def _by_type(self) -> Mapping[str, Sequence[Event]]:
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[event.type].append(event)
        return found

    def of(self, *types: str) -> Iterator[Event]:
        """The events of these types, in their order."""
        if len(types) == 1:
            return iter(self._by_type.get(types[0], ()))
        return (event for event in self.events if event.type in types)

    def took(self, service: str, *types: str) -> Iterator[Event]:
        """The events of these types that are to have had their effect in a service."""
        withheld = self.fabrics[service].withheld
        return (event for event in self.of(*types) if event.id not in withheld)


def grouped(events: Iterable[Event], by: str) -> dict[str, list[Event]]:
    """Events by a field of what they say: `visit_id`, `package_id`, `subject`."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[getattr(event.says, by)].append(event)
    return found
