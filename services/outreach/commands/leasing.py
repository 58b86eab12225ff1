"""What goes out with a lease: the one place where a name, a number and a drug meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from services.outreach.domain.answers import confirmable
from services.outreach.domain.model import ASKS, By, Contact, Kind, Plan
from services.outreach.domain.review import Lease
from services.outreach.domain.words import message_of, script_of, tongue_of
from services.outreach.store import attempts, reads, writes
from services.outreach.store.reads import Person
from shared import words
from shared.events.enrollment import Channel
from shared.events.planner import Condition, OfferedDay, Visit, VisitKind
from shared.messaging import Unit
from shared.problems import NotAllowed
from shared.values import WHOLE, LenientInput, Output, Text, for_example


class LeaseRequest(LenientInput):
    """`minutes` are of business time; what is not reported within them is due again."""

    model_config = for_example(worker="dialer-1", limit=20, minutes=15)

    worker: Annotated[Text, Field(min_length=1, max_length=80)]
    limit: Annotated[int, Field(strict=True, ge=1, le=500, description="patients"), WHOLE] = 20
    minutes: Annotated[int, Field(strict=True, ge=1, le=120), WHOLE] = 15


class ConditionInWords(Condition):
    """What an item depends on, with the words in which it is read out."""

    words: str


class LeasedItem(Output):
    """One fill to ask about."""

    rx_id: str
    drug_name: str
    quantity: Decimal
    days_supply: int
    condition: ConditionInWords | None


class LeasedVisit(Output):
    """A visit to ask about; `confirm_now` says whether this call may confirm it by `confirm_visits`."""

    visit_id: str
    kind: VisitKind | None  # null, and no items, where nothing is asked about it
    on: date | None
    urgent: bool
    confirm_now: bool
    items: tuple[LeasedItem, ...]


class DrugLeftOut(Output):
    """A drug that a pharmacist keeps out of the plan, and why in words."""

    rx_id: str
    drug_name: str
    words: str


class ScriptLine(Output):
    """One item of a script; `code` stays, `words` may be reworded."""

    code: str
    words: str


class LeasedContact(Output):
    """A contact as a dialer or a person gets it. Drugs are named only where the patient is asked about them."""

    contact_id: UUID
    lease_id: UUID
    kind: Kind
    patient_id: str
    store_id: str
    channel: Channel
    attempt: int  # 1 is the first
    urgent: bool
    until: datetime  # of the lease
    name: str
    birth_date: date | None
    phone: str | None
    address: str | None  # for a letter
    language: str
    caregiver: bool
    visit: LeasedVisit | None  # that it is about
    visits: tuple[LeasedVisit, ...]
    offered: tuple[OfferedDay, ...]
    left_out: tuple[DrugLeftOut, ...]
    script: tuple[ScriptLine, ...]
    # of what is read out, and of the message; English where there is no other
    script_language: Literal["en", "es"]
    message: str  # for a machine, or as a text


class LeasedContacts(Output):
    """Contacts that were leased, at most one per patient."""

    contacts: tuple[LeasedContact, ...]


async def lease_contacts(unit: Unit, leases: Sequence[Lease], by: By, worker: str) -> LeasedContacts:
    """Write the leases down and read the names and numbers that they need."""
    people = await reads.load_people(unit.db, unit.keys, [lease.contact.patient_id for lease in leases])
    numbers = {lease.lease_id: _number_of(lease, people[lease.contact.patient_id]) for lease in leases}
    await writes.save_contacts(unit.db, [contact for lease in leases for contact in lease.case.contacts])
    await attempts.add_attempts(unit.db, [_attempt(unit, lease, by, worker) for lease in leases])
    await attempts.save_leased_numbers(
        unit.db,
        unit.keys,
        {
            lease.contact.patient_id: (lease.lease_id, number)
            for lease in leases
            if (number := numbers[lease.lease_id])
        },
    )
    return LeasedContacts(
        contacts=tuple(
            lease_payload(lease, people[lease.contact.patient_id], numbers[lease.lease_id], unit.now)
            for lease in leases
        )
    )


def _attempt(unit: Unit, lease: Lease, by: By, worker: str) -> attempts.Attempt:
    return attempts.Attempt(
        lease_id=lease.lease_id,
        contact_id=lease.contact.contact_id,
        patient_id=lease.contact.patient_id,
        kind=lease.contact.kind,
        made_by=by,
        actor=f"{unit.actor}/{worker}",
        taken_by=unit.actor,
        at=unit.now,
        channel=lease.channel,
        until=lease.until,
        told=lease.case.plan if lease.contact.kind in ASKS else None,
    )


def require_lease_of(attempt: attempts.Attempt, unit: Unit) -> None:
    """A lease is reported by who took it. Raises NotAllowed."""
    if attempt.taken_by not in (None, unit.actor):
        raise NotAllowed("not_your_lease", "somebody else took this lease: lease the contact yourself")


def _number_of(lease: Lease, person: Person) -> str | None:
    """The number to dial: of a mobile for a text; another one at each attempt, where there are several."""
    if lease.channel is Channel.letter:
        return None
    numbers = [
        phone.number for phone in person.phones if lease.channel is Channel.phone or phone.kind == "mobile"
    ]
    return numbers[lease.contact.attempts % len(numbers)] if numbers else None


def lease_payload(lease: Lease, person: Person, number: str | None, now: datetime) -> LeasedContact:
    """The contact with what whoever makes it needs of the person and the plan."""
    contact, plan = lease.contact, lease.case.plan
    asked = plan if contact.kind in ASKS else None
    today = now.astimezone(ZoneInfo(lease.case.zone or "UTC")).date()
    visits = (
        [_leased_visit(visit, asked, today) for visit in asked.visits if visit.on >= today] if asked else []
    )
    script = script_of(
        contact.kind,
        person.language,
        short_items=contact.visit_id in person.short_visits,
        conditional=any(item.condition for visit in visits for item in visit.items),
        urgent=contact.urgent_at is not None,
        left_out=bool(asked and asked.left_out),
    )
    return LeasedContact(
        contact_id=contact.contact_id,
        lease_id=lease.lease_id,
        kind=contact.kind,
        patient_id=contact.patient_id,
        store_id=contact.store_id,
        channel=lease.channel,
        attempt=contact.attempts + 1,
        urgent=contact.urgent_at is not None,
        until=lease.until,
        name=person.name,
        birth_date=person.birth_date,
        phone=number,
        address=person.address if lease.channel is Channel.letter else None,
        language=person.language,
        caregiver=person.caregiver,
        visit=_visit_at_hand(contact, visits),
        visits=tuple(visits),
        offered=asked.offered if asked else (),
        left_out=_left_out(asked),
        script_language=tongue_of(person.language),
        script=tuple(ScriptLine(code=line.code, words=line.words) for line in script),
        message=message_of(
            contact.kind,
            person.store_name,
            person.store_phone,
            person.language,
            as_text=lease.channel is Channel.text,
            on=contact.visit_on,
        ),
    )


def _left_out(asked: Plan | None) -> tuple[DrugLeftOut, ...]:
    return tuple(
        DrugLeftOut(rx_id=each.rx_id, drug_name=each.drug_name, words=words.render(each.reason))
        for each in (asked.left_out if asked else ())
    )


def _visit_at_hand(contact: Contact, visits: Sequence[LeasedVisit]) -> LeasedVisit | None:
    """The visit that the contact is about; without its items where nothing is asked about them."""
    if contact.visit_id is None:
        return None
    bare = LeasedVisit(
        visit_id=contact.visit_id,
        kind=None,
        on=contact.visit_on,
        urgent=contact.urgent_at is not None,
        confirm_now=False,
        items=(),
    )
    return next((visit for visit in visits if visit.visit_id == contact.visit_id), bare)


def _leased_visit(visit: Visit, plan: Plan, today: date) -> LeasedVisit:
    items = (
        LeasedItem(
            rx_id=item.rx_id,
            drug_name=item.drug_name,
            quantity=item.quantity,
            days_supply=item.days_supply,
            condition=_in_words(item.condition),
        )
        for item in visit.items
    )
    return LeasedVisit(
        visit_id=visit.visit_id,
        kind=visit.kind,
        on=visit.on,
        urgent=visit.urgent,
        confirm_now=visit in confirmable(plan, today),
        items=tuple(items),
    )


def _in_words(condition: Condition | None) -> ConditionInWords | None:
    return ConditionInWords(**dict(condition), words=words.of_condition(condition)) if condition else None
