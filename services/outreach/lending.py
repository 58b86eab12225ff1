"""What goes out with a lease: the one place where a name, a number and a drug meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from services.outreach.domain.answers import confirmable
from services.outreach.domain.model import ASKS, Contact, Plan
from services.outreach.domain.review import Lease
from services.outreach.domain.words import message_of, script_of
from services.outreach.store import Person
from shared import words
from shared.events.enrollment import Channel
from shared.events.planner import Condition, Visit
from shared.values import Text

STAFF = ("clerk", "technician", "pharmacist")
"""Roles of the store's people."""


class LeaseRequest(BaseModel):
    """`minutes` are of business time; what is not reported within them is due again."""

    worker: Annotated[Text, Field(min_length=1, max_length=80)]
    limit: Annotated[int, Field(ge=1, le=500, description="patients")] = 20
    minutes: Annotated[int, Field(ge=1, le=120)] = 15


def number_of(lease: Lease, person: Person) -> str | None:
    """The number to dial: of a mobile for a text; another one at each attempt, where there are several."""
    if lease.channel is Channel.letter:
        return None
    numbers = [
        phone.number for phone in person.phones if lease.channel is Channel.phone or phone.kind == "mobile"
    ]
    return numbers[lease.contact.attempts % len(numbers)] if numbers else None


def lent_contact(lease: Lease, person: Person, number: str | None, now: datetime) -> dict[str, Any]:
    """The contact as a dialler or a person gets it. Drugs are named only where the patient is asked about them."""
    contact, plan = lease.contact, lease.case.plan
    asked = plan if contact.kind in ASKS else None
    today = now.astimezone(ZoneInfo(lease.case.zone or "UTC")).date()
    visits = (
        [_visit_lent(visit, asked, today) for visit in asked.visits if visit.on >= today] if asked else []
    )
    script = script_of(
        contact.kind,
        short_items=contact.visit_id in person.short_visits,
        conditional=any(item["condition"] for visit in visits for item in visit["items"]),
        urgent=contact.urgent_at is not None,
        left_out=bool(asked and asked.left_out),
    )
    return {
        "contact_id": contact.contact_id,
        "lease_id": lease.lease_id,
        "kind": contact.kind,
        "patient_id": contact.patient_id,
        "store_id": contact.store_id,
        "channel": lease.channel,
        "attempt": contact.attempts + 1,
        "urgent": contact.urgent_at is not None,
        "until": lease.until,
        "name": person.name,
        "birth_date": person.birth_date,
        "phone": number,
        "address": person.address if lease.channel is Channel.letter else None,
        "language": person.language,
        "caregiver": person.caregiver,
        "visit": _visit_at_hand(contact, visits),
        "visits": visits,
        "offered": [day.model_dump(mode="json") for day in asked.offered] if asked else [],
        "left_out": [
            {"rx_id": each.rx_id, "drug_name": each.drug_name, "words": words.render(each.reason)}
            for each in (asked.left_out if asked else ())
        ],
        "script": [{"code": line.code, "words": line.words} for line in script],
        "message": message_of(
            contact.kind,
            person.store_name,
            person.store_phone,
            person.language,
            as_text=lease.channel is Channel.text,
            on=contact.visit_on,
        ),
    }


def _visit_at_hand(contact: Contact, visits: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The visit that the contact is about; without its items where nothing is asked about them."""
    if contact.visit_id is None:
        return None
    bare: dict[str, Any] = {
        "visit_id": contact.visit_id,
        "kind": None,
        "on": contact.visit_on,
        "urgent": contact.urgent_at is not None,
        "confirm_now": False,
        "items": [],
    }
    return next((visit for visit in visits if visit["visit_id"] == contact.visit_id), bare)


def _visit_lent(visit: Visit, plan: Plan, today: date) -> dict[str, Any]:
    """A visit to ask about; `confirm_now` says whether this call may confirm it by `confirm_visits`."""
    items = (
        item.model_dump(mode="json", include={"rx_id", "drug_name", "quantity", "days_supply"})
        | {"condition": _condition_lent(item.condition)}
        for item in visit.items
    )
    return {
        "visit_id": visit.visit_id,
        "kind": visit.kind,
        "on": visit.on,
        "urgent": visit.urgent,
        "confirm_now": visit in confirmable(plan, today),
        "items": list(items),
    }


def _condition_lent(condition: Condition | None) -> dict[str, Any] | None:
    """What an item depends on, with the words in which it is read out."""
    if condition is None:
        return None
    return condition.model_dump(mode="json") | {"words": words.of_condition(condition)}
