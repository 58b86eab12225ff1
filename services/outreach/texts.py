"""Messages of patients that a person has to read: kept sealed, listed for staff, and what staff made of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field

from services.outreach import store
from services.outreach.domain.answers import Answer, Unfit, called_in
from services.outreach.domain.model import Case
from services.outreach.domain.texts import LONGEST, Meaning, deadlines
from services.outreach.effects import call_of_theirs, take_effect
from services.outreach.lending import STAFF
from services.outreach.reviewing import review
from services.outreach.stopping import opt_out, wrong_number
from shared import words
from shared.events.enrollment import Channel
from shared.http import Commanding, Problem, Role, Working, page
from shared.messaging import Refused, Unit, patient
from shared.messaging.sealing import SealBroken, Sealer

router = APIRouter()

Number = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164, as +19185550105")]
"""The number that a message or a call came from."""


async def keep_text(
    unit: Unit, sealer: Sealer, case: Case, text: str, meaning: Meaning, channel: Channel, number: str | None
) -> UUID:
    """Keep a message for a person to read; until then diallers make no contact with the patient."""
    text_id = uuid4()
    until = deadlines(unit.now, case.calendar, ZoneInfo(case.zone or "UTC"))
    await store.add_text(
        unit.db,
        store.Text(
            text_id=text_id,
            patient_id=case.patient_id,
            store_id=case.store_id,
            received_at=unit.now,
            channel=channel,
            number=number,
            sealed=sealer.seal(text[:LONGEST].encode(), bound_to=_subject(text_id)),
            key_id=sealer.key_id,
            cut=len(text) > LONGEST,
            seems=None if meaning is Meaning.unclear else meaning.value,
            due_at=until.due_at,
            escalates_at=until.escalates_at,
        ),
    )
    await store.take_back_from_diallers(unit.db, [case.patient_id])
    return text_id


def _subject(text_id: UUID) -> str:
    return f"text/{text_id}"


@router.get("/texts")
async def unread_texts(
    work: Working,
    medsync_role: Annotated[Role, Header(description="one of the store's people")],
    store_id: Annotated[str | None, Query(alias="store", pattern=r"^[!-~]{1,64}$")] = None,
    after: Annotated[str, Query(max_length=80)] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Messages that nobody read yet, of one store or of all: those that escalated first, then as they came."""
    if medsync_role not in STAFF:
        raise Problem(403, "Not allowed", f"only {' or '.join(STAFF)} may do this; you act as {medsync_role}")
    async with work.read() as db:
        found = await store.unread_texts(db, store_id, after, limit + 1)
    rows = [{"position": position, **_listed(text, work.sealer, work.now())} for position, text in found]
    return page(rows, limit, "position")


def _listed(text: store.Text, sealer: Sealer, now: datetime) -> dict[str, Any]:
    """A message as staff read it. `text` is null where it was sealed with a key that the service no longer holds."""
    try:
        said = sealer.open(text.sealed, key_id=text.key_id, bound_to=_subject(text.text_id)).decode()
    except SealBroken:
        said = None
    escalated = text.escalates_at <= now
    return {
        "text_id": text.text_id,
        "patient_id": text.patient_id,
        "store_id": text.store_id,
        "received_at": text.received_at,
        "channel": text.channel,
        "number": text.number,
        "text": said,
        "cut": text.cut,
        "seems": text.seems,
        "due_at": text.due_at,
        "escalates_at": text.escalates_at,
        "escalated": escalated,
        "because": words.of_unread(text.seems, escalated=escalated),
    }


class Made(StrEnum):
    """What staff made of a message."""

    stop = "stop"
    wrong_number = "wrong_number"
    answer = "answer"
    question = "question"  # a pharmacist calls back
    nothing = "nothing"


class Reading(BaseModel):
    """What staff made of a message; `answer`: what the patient answered; `number`: where it is not known."""

    meaning: Made
    number: Number | None = None
    visit_id: Annotated[str | None, Field(max_length=200)] = None
    answer: Answer = Answer()


@router.post("/texts/{text_id}/read")
async def read_text(text_id: UUID, body: Reading, caller: Commanding, work: Working) -> dict[str, Any]:
    """A member of staff read the message: what they made of it follows, and contact goes on as it allows."""
    caller.require(*STAFF)
    async with work.read() as db:
        found = await store.load_text(db, text_id)
    if found is None:
        raise Problem(404, "Not found", "there is no message with this id")
    if body.meaning is Made.answer and not body.answer.says_more:
        raise Refused("answer_missing", "answer: say what the patient answered, or choose another meaning")

    async def take(unit: Unit) -> dict[str, Any]:
        text = await store.load_text(unit.db, text_id)
        if text is None or text.read_at:
            raise Problem(
                409, "Read already", "someone read the message: what they made of it stands", code="read"
            )
        await store.note_text_read(
            unit.db, text_id, f"{unit.role}/{unit.actor}", body.meaning.value, unit.now
        )
        reply = await _follow(unit, text, body)
        await review(unit, [text.patient_id])
        return {"text_id": str(text_id), "meaning": body.meaning.value, **reply}

    ends_contact = body.meaning in (Made.stop, Made.wrong_number)
    return await work.command(caller, [patient(found.patient_id)], take, even_if_parked=ends_contact)


async def _follow(unit: Unit, text: store.Text, body: Reading) -> dict[str, Any]:
    """What a message leads to, once it is understood."""
    number = body.number or text.number
    if body.meaning is Made.stop:
        return await opt_out(unit, text.patient_id, text.channel, number)
    if body.meaning is Made.wrong_number:
        reply = await wrong_number(unit, text.patient_id, text.channel, number)
        if not reply["wrong_number"]:
            raise Refused("number_missing", "number: the patient has none or several, say which one is wrong")
        return reply
    if body.meaning is Made.nothing:
        return {}
    answer = body.answer if body.meaning is Made.answer else Answer(question=True)
    [case] = await review(unit, [text.patient_id])
    try:
        effect = called_in(case, body.visit_id, answer, unit.now)
    except Unfit as unfit:
        raise Refused(unfit.code, unfit.words) from None
    reply = await take_effect(unit, effect, stale=effect.stale)
    await store.add_attempts(unit.db, [call_of_theirs(unit, text.patient_id, effect, answer, reply)])
    return reply
