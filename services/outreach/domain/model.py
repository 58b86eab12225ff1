"""What outreach knows of a patient: the plan, the contacts that are called for, and what was tried."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from shared.events.base import Fields, Reason
from shared.events.enrollment import Channel
from shared.events.fulfillment import PackageReady, PickupMissed
from shared.events.planner import OfferedDay, PlanComputed, Visit, VisitKind

CONTACT_IDS = UUID("7d0b0c7e-5b0e-5f0a-9d53-0f6f5f3f2f10")
"""Namespace of contact ids: the same occasion has the same id, however often it is heard of."""


EXCLUDED = "staff_excluded"
"""The reason of a drug that a pharmacist keeps out of the plan."""


class Kind(StrEnum):
    """What a contact is about."""

    alignment = "alignment"  # agree on the plan itself: the day, the bridge visits
    confirmation = "confirmation"  # one visit of an agreed plan
    ready = "ready"
    reminder = "reminder"
    missed = "missed"
    question = "question"  # the patient asked something: a pharmacist calls back
    insurance = "insurance"  # it lapsed: nothing is filled until the patient says how to go on


ASKS = frozenset({Kind.alignment, Kind.confirmation})
"""Kinds that need the patient's decision; the others only tell."""

SPOKEN = frozenset({Kind.question, Kind.insurance})
"""Kinds for a person to speak about: a message left is not enough."""


class Status(StrEnum):
    """Where a contact stands."""

    open = "open"
    promised = "promised"  # confirmed together with the alignment; holds once the agreed plan has the visit
    answered = "answered"
    declined = "declined"
    rescheduled = "rescheduled"
    unreached = "unreached"
    standing = "standing"  # not reached, and filled on the standing instruction
    done = "done"  # told, or the patient came
    lapsed = "lapsed"  # its last day passed
    withdrawn = "withdrawn"  # the plan no longer calls for it
    closed = "closed"  # by staff, with a reason


BEHIND_UTC = timedelta(hours=11)
"""So much later than in UTC a day may end where a patient is."""

LIVE = frozenset({Status.open, Status.promised})
"""Statuses in which time still matters."""


DECIDED = frozenset({Status.answered, Status.declined, Status.rescheduled})
"""Statuses that the patient's decision led to."""


class By(StrEnum):
    """Who made an attempt; caps of automated contacts and of people are apart."""

    dialer = "dialler"  # as published
    person = "person"
    patient = "patient"  # called in or walked in


def by_of(role: str) -> By:
    """As whom a role makes contact: the chain's systems are dialers."""
    return By.dialer if role in ("system", "dialer") else By.person


class LeftOut(Fields):
    """A drug that a pharmacist keeps out of the plan: it is not asked about."""

    rx_id: str
    drug_name: str
    reason: Reason


class Plan(Fields):
    """What the newest plan says to the patient."""

    patient_id: str
    plan_id: str
    revision: int
    store_id: str
    agreed: bool
    anchor_on: date
    visits: tuple[Visit, ...]
    offered: tuple[OfferedDay, ...] = ()
    rx_ids: tuple[str, ...] = ()  # of every prescription that the plan decides on
    left_out: tuple[LeftOut, ...] = ()

    @property
    def days(self) -> frozenset[date]:
        """The days that the patient may choose."""
        return frozenset({self.anchor_on, *(day.on for day in self.offered)})

    def visit(self, visit_id: str | None) -> Visit | None:
        """The visit with this id, while the plan has it."""
        return next((visit for visit in self.visits if visit.visit_id == visit_id), None)

    @property
    def synchronized(self) -> Visit | None:
        """The synchronized pickup."""
        return next((visit for visit in self.visits if visit.kind is VisitKind.synchronized), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One occasion to speak to a patient, with its attempts and its lease."""

    contact_id: UUID
    patient_id: str
    kind: Kind
    store_id: str
    opened_at: datetime
    plan_id: str | None = None
    plan_revision: int = 0  # alignment: of the proposal that it is about
    visit_id: str | None = None
    visit_on: date | None = None  # alignment: the first visit of the proposal
    last_on: date | None = None  # of a package: the last day before it goes back
    status: Status = Status.open
    declined_rx_ids: tuple[str, ...] = ()  # promised: what the patient does not want
    attempts: int = 0
    last_attempt_at: datetime | None = None
    written_at: datetime | None = None  # when a letter went out: there is one
    lease_id: UUID | None = None
    lease_until: datetime | None = None
    due_at: datetime | None = None  # when the dialer may make the next attempt; None: it may not
    by_hand_at: datetime | None = None  # when a person may, where the dialer may not
    review_at: datetime | None = None  # when to look at it again if nothing happens
    urgent_at: datetime | None = None  # since when its visit cannot wait; None: it can


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of the ledger."""

    at: datetime
    by: By


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days on which a store is open."""

    weekdays: frozenset[int] = frozenset(range(7))  # 0 is Monday
    closed_on: frozenset[date] = frozenset()

    def is_open(self, day: date) -> bool:
        """Whether a pharmacist is there on this day."""
        return day.weekday() in self.weekdays and day not in self.closed_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything outreach knows of one patient."""

    patient_id: str
    store_id: str = ""  # of the plan, else of the enrollment
    enrolled: bool = False
    channels: tuple[Channel, ...] = ()  # consented to
    reachable: frozenset[Channel] = frozenset()  # with a number or an address that is not stopped
    standing_instruction: bool = False
    opted_out: bool = False  # no automated contact
    unread_text: bool = False  # nor while nobody read what the patient wrote: it may be a stop
    in_hospital: bool = False  # or not reconciled yet: only a question is answered
    zone: str | None = None  # IANA; of the patient's address, else of the store; None if unknown yet
    calendar: Calendar = Calendar()
    plan: Plan | None = None
    contacts: tuple[Contact, ...] = ()  # live ones
    calls: tuple[Call, ...] = ()  # of the last eight days; leases included


def plan_of(event: PlanComputed) -> Plan:
    """The part of a computed plan that contacts need."""
    return Plan(
        patient_id=event.patient_id,
        plan_id=event.plan_id,
        revision=event.revision,
        store_id=event.store_id,
        agreed=event.agreed,
        anchor_on=event.anchor_on,
        visits=tuple(_to_confirm(visit) for visit in event.visits),
        offered=event.offered,
        rx_ids=tuple(drug.rx_id for drug in event.drugs),
        left_out=tuple(
            LeftOut(rx_id=drug.rx_id, drug_name=drug.drug_name, reason=reason)
            for drug in event.drugs
            for reason in drug.reasons
            if reason.code == EXCLUDED
        ),
    )


def _to_confirm(visit: Visit) -> Visit:
    """The visit without what the patient is asked about at the counter alone."""
    if not any(item.at_counter for item in visit.items):
        return visit
    return visit.model_copy(update={"items": tuple(each for each in visit.items if not each.at_counter)})


def replanned(plan: Plan | None, known: Collection[Contact], now: datetime) -> list[Contact]:
    """The contacts that a new plan opens, moves or withdraws; `known` are the patient's, decided ones included.

    A visit that keeps its day keeps its contact, and what was answered stays answered. One that left the plan loses
    its answer; if it returns, it is asked about anew. A proposal that changed after it was answered is asked about
    again; one that is given up on, or closed by staff, is not.
    """
    held = {contact.contact_id: contact for contact in known}
    kept = _kept_by(plan) if plan else set()
    called = called_for(plan, now) if plan else []
    left = (contact for contact in known if contact.kind in ASKS and contact.contact_id not in kept)
    withdrawn = [withdraw(contact) for contact in left if _matters(contact, now)]
    taken = (_taken_up(contact, held.get(contact.contact_id)) for contact in called)
    return [*withdrawn, *(contact for contact in taken if contact != held.get(contact.contact_id))]


def withdraw(contact: Contact) -> Contact:
    """Nothing calls for the contact any more; a lease stays until it is reported or runs out."""
    return replace(contact, status=Status.withdrawn, due_at=None, by_hand_at=None, review_at=None)


def called_for(plan: Plan, now: datetime) -> list[Contact]:
    """The contacts that a plan calls for: agree on a proposal, or confirm each coming visit of an agreed plan."""
    if plan.agreed:
        return [confirmation(plan, visit, now) for visit in plan.visits if _to_come(visit, now)]
    return [
        Contact(
            contact_id=contact_id(plan.patient_id, Kind.alignment, plan.plan_id),
            patient_id=plan.patient_id,
            kind=Kind.alignment,
            store_id=plan.store_id,
            opened_at=now,
            plan_id=plan.plan_id,
            plan_revision=plan.revision,
            visit_on=min((visit.on for visit in plan.visits), default=plan.anchor_on),
            urgent_at=now if any(visit.urgent for visit in plan.visits) else None,
        )
    ]


def _to_come(visit: Visit, now: datetime) -> bool:
    """Whether the visit's day is not over; one that is urgent may be of today, wherever the patient is."""
    return visit.on >= (now - BEHIND_UTC if visit.urgent else now).date()


def confirmation(plan: Plan, visit: Visit, now: datetime) -> Contact:
    """The contact that confirms a visit; it keeps its id while the visit keeps its day."""
    return Contact(
        contact_id=contact_id(plan.patient_id, Kind.confirmation, visit.visit_id),
        patient_id=plan.patient_id,
        kind=Kind.confirmation,
        store_id=plan.store_id,
        opened_at=now,
        plan_id=plan.plan_id,
        visit_id=visit.visit_id,
        visit_on=visit.on,
        urgent_at=now if visit.urgent else None,
    )


def _kept_by(plan: Plan) -> set[UUID]:
    """Ids of the contacts that stay while this plan stands."""
    kept = {contact_id(plan.patient_id, Kind.confirmation, visit.visit_id) for visit in plan.visits}
    return kept if plan.agreed else kept | {contact_id(plan.patient_id, Kind.alignment, plan.plan_id)}


def _matters(contact: Contact, now: datetime) -> bool:
    """Whether withdrawing the contact says anything: it waits, or its answer is about a day to come."""
    if contact.status is Status.withdrawn or contact.visit_on is None:
        return False
    return contact.status in LIVE or (contact.kind is Kind.confirmation and contact.visit_on >= now.date())


def _taken_up(called: Contact, held: Contact | None) -> Contact:
    """The contact as it stands once a plan calls for it."""
    if held is None:
        return called
    answered = held.kind is Kind.alignment and held.status in DECIDED
    if held.status is Status.withdrawn or (answered and held.plan_revision < called.plan_revision):
        return replace(
            called,
            last_attempt_at=held.last_attempt_at,
            lease_id=held.lease_id,
            lease_until=held.lease_until,
        )
    if held.status in LIVE:
        newly_urgent = called.urgent_at and not held.urgent_at
        return replace(
            held,
            urgent_at=called.urgent_at and (held.urgent_at or called.urgent_at),
            attempts=0 if newly_urgent else held.attempts,
            store_id=called.store_id,
            plan_id=called.plan_id,
            plan_revision=called.plan_revision,
            visit_on=called.visit_on,
        )
    return held


def contacts_when_lapsed(
    patient_id: str, store_id: str, since: date | None, known: Collection[Contact], now: datetime
) -> list[Contact]:
    """Open the contact about insurance that lapsed on this day, once, and withdraw those about any other day.

    `known` are the patient's contacts of the kind; `since` is None where there is insurance, as far as is known.
    """
    wanted = contact_id(patient_id, Kind.insurance, str(since)) if since else None
    over = [withdraw(each) for each in known if each.status in LIVE and each.contact_id != wanted]
    if wanted is None or any(
        each.contact_id == wanted and each.status is not Status.withdrawn for each in known
    ):
        return over
    lapsed = Contact(
        contact_id=wanted, patient_id=patient_id, kind=Kind.insurance, store_id=store_id, opened_at=now
    )
    return [*over, lapsed]


def contacts_when_ready(event: PackageReady, now: datetime) -> list[Contact]:
    """The ready message, and the reminder of the day before (which lapses where that day has come)."""
    return [
        Contact(
            contact_id=contact_id(event.patient_id, kind, event.visit_id),
            patient_id=event.patient_id,
            kind=kind,
            store_id=event.store_id,
            opened_at=now,
            plan_id=event.plan_id,
            visit_id=event.visit_id,
            visit_on=event.on,
            last_on=event.return_on,
        )
        for kind in (Kind.ready, Kind.reminder)
    ]


def reopened(held: Contact, announced: Contact) -> Contact | None:
    """What was withdrawn with the package is to be said, now that it is ready once more; what the patient was told is
    true again. None where nothing changes."""
    if held.status is not Status.withdrawn:
        return None
    return replace(held, status=Status.open, attempts=0, last_on=announced.last_on)


def contact_when_missed(event: PickupMissed, ready: Contact, now: datetime) -> Contact:
    """The missed-pickup contact of the first, or of the third, day after; `ready` announced the package."""
    return replace(
        ready,
        contact_id=contact_id(event.patient_id, Kind.missed, f"{event.visit_id}/{event.days_late}"),
        kind=Kind.missed,
        opened_at=now,
        status=Status.open,
        attempts=0,
        last_attempt_at=None,
        written_at=None,
        lease_id=None,
        lease_until=None,
        due_at=None,
        by_hand_at=None,
        review_at=None,
    )


def contact_id(patient_id: str, kind: Kind, subject: str) -> UUID:
    """The id of the contact of this kind about this plan, visit or package."""
    return uuid5(CONTACT_IDS, f"{patient_id}/{kind}/{subject}")
