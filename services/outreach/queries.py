"""What may be read of outreach, as it is answered. One function per question; nothing here writes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from services.outreach.domain.model import By, Contact, Kind, Status, by_of
from services.outreach.domain.renewals import Renewal
from services.outreach.store import questions, reads, renewals, texts
from services.outreach.store.questions import Question
from services.outreach.store.texts import Text
from shared import words
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DataKeys
from shared.events import Reason
from shared.events.enrollment import Channel
from shared.messaging import tables
from shared.pages import Page, page_of
from shared.problems import NotFound
from shared.values import Output

DUE_FOR = {By.dialer: "due_contacts", By.person: "due_contacts_for_people"}
"""The contacts that each may lease: views of the store."""

DUE_RENEWALS = "due_renewals"
"""The same of requests to prescribers."""

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A moment as it was written down, with its offset."""


class NextDue(Output):
    """When the next contact may be leased, or might have been since; null where none is to come."""

    next_due: datetime | None


class Tried(Output):
    """One attempt of a contact."""

    at: Moment
    channel: Channel | None
    by: By
    outcome: str | None  # null: not reported


class LeftOutLine(Output):
    """What a pharmacist keeps out of what is asked, and why in words."""

    rx_id: str
    words: str


class CallListLine(Output):
    """One contact of a store's call list."""

    position: str
    contact_id: UUID
    kind: Kind
    patient_id: str
    visit_id: str | None
    visit_on: date | None
    urgent: bool
    because: str | None  # why it is urgent
    due_at: datetime | None
    by_hand: bool  # only a person may make it
    leased_until: datetime | None
    unread_text: bool
    tried: tuple[Tried, ...]
    left_out: tuple[LeftOutLine, ...]


class LedgerEntry(Output):
    """One contact with its attempts."""

    contact_id: UUID
    kind: Kind
    status: Status
    visit_id: str | None
    visit_on: date | None
    opened_at: datetime
    due_at: datetime | None
    closed_by: str | None
    closed_because: str | None
    tried: tuple[Tried, ...]


class Ledger(Output):
    """Every contact of a patient of the last year, on every channel."""

    items: tuple[LedgerEntry, ...]


class UnreadText(Output):
    """A message as staff read it. `text` is null where it was sealed with a key that the service no longer holds."""

    position: str
    text_id: UUID
    patient_id: str
    store_id: str
    received_at: datetime
    channel: Channel
    number: str | None
    text: str | None
    cut: bool
    seems: str | None
    due_at: datetime
    escalates_at: datetime
    escalated: bool
    because: str


class QuestionStatus(StrEnum):
    """Where a question stands."""

    open = "open"
    answered = "answered"
    closed = "closed"  # by staff, or with the patient's leaving


class AskedQuestion(Output):
    """A question as staff read it. `words` is null where none were written down, or no key opens them."""

    position: str
    question_id: UUID
    patient_id: str
    store_id: str
    visit_id: str | None
    asked_at: datetime
    due_at: datetime
    escalated: bool
    words: str | None
    status: QuestionStatus
    answered_at: datetime | None
    answered_by: str | None
    outcome: str | None


async def known_contact(db: Db, contact_id: UUID) -> Contact:
    """Raises NotFound where there is no contact with this id."""
    found = await reads.load_contacts(db, [contact_id])
    if not found:
        raise NotFound("unknown_contact", "there is no contact with this id")
    return found[0]


async def known_renewal(db: Db, contact_id: UUID) -> Renewal:
    """Raises NotFound where there is no contact with a prescriber of this id."""
    found = await renewals.load_renewal(db, contact_id)
    if found is None:
        raise NotFound("unknown_contact", "there is no contact with this id")
    return found


async def known_text(db: Db, keys: DataKeys, text_id: UUID) -> Text:
    """Raises NotFound where there is no message with this id."""
    found = await texts.load_text(db, keys, text_id)
    if found is None:
        raise NotFound("unknown_text", "there is no message with this id")
    return found


async def known_question(db: Db, keys: DataKeys, question_id: UUID) -> Question:
    """Raises NotFound where there is no question with this id."""
    found = await questions.load_question(db, keys, question_id)
    if found is None:
        raise NotFound("unknown_question", "there is no question with this id")
    return found


def due_for(role: str) -> str:
    """Where the contacts stand that this role may lease."""
    return DUE_FOR[by_of(role)]


async def next_due(db: Db, view: str, stores: Collection[str] | None) -> NextDue:
    """When the next contact in this view may be leased; of these stores alone, where some are given."""
    return NextDue(next_due=await tables.next_due(db, view, stores))


async def call_list(db: Db, store_id: str, now: datetime, after: str, limit: int) -> Page[CallListLine]:
    """What is urgent first, then by visit."""
    found = await reads.call_list(db, store_id, now, after, limit + 1)
    return page_of([_call_list_line(each) for each in found], limit, "position")


def _call_list_line(found: dict[str, Any]) -> CallListLine:
    because = words.URGENT if found["urgent"] else None
    left_out = [
        LeftOutLine(rx_id=each["rx_id"], words=words.render(Reason.model_validate(each["reason"])))
        for each in found["left_out"] or ()
    ]
    return CallListLine.model_validate(found | {"because": because, "left_out": left_out})


async def ledger(db: Db, patient_id: str, now: datetime) -> Ledger:
    """The contacts of one patient, as they were opened."""
    found = await reads.contacts_listed(db, patient_id, now)
    return Ledger(items=tuple(LedgerEntry.model_validate(each) for each in found))


async def unread_texts(
    db: Db, keys: DataKeys, *, stores: Stores, now: datetime, after: str, limit: int
) -> Page[UnreadText]:
    """Messages that nobody read yet, of some stores or of all."""
    found = await texts.unread_texts(db, keys, stores, after, limit + 1)
    lines = [_unread_text(text, position, now) for position, text in found]
    return page_of(lines, limit, "position")


def _unread_text(text: Text, position: str, now: datetime) -> UnreadText:
    escalated = text.escalates_at <= now
    return UnreadText(
        position=position,
        text_id=text.text_id,
        patient_id=text.patient_id,
        store_id=text.store_id,
        received_at=text.received_at,
        channel=text.channel,
        number=text.number,
        text=text.words,
        cut=text.cut,
        seems=text.seems,
        due_at=text.due_at,
        escalates_at=text.escalates_at,
        escalated=escalated,
        because=words.of_unread(text.seems, escalated=escalated),
    )


async def asked_questions(
    db: Db, keys: DataKeys, *, stores: Stores, status: QuestionStatus, now: datetime, after: str, limit: int
) -> Page[AskedQuestion]:
    """Questions to a pharmacist, of some stores or of all: the one that was to be answered first comes first."""
    found = await questions.list_questions(db, keys, stores, status.value, after, limit + 1)
    lines = [
        AskedQuestion(
            position=position,
            escalated=each.status == QuestionStatus.open and each.due_at <= now,
            **asdict(each),
        )
        for position, each in found
    ]
    return page_of(lines, limit, "position")
