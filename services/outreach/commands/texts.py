"""Messages of patients that a person has to read: kept sealed, and what staff made of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from pydantic import Field

from services.outreach.commands.effects import Reply, call_of_theirs, take_effect
from services.outreach.commands.stopping import Number, opt_out, wrong_number
from services.outreach.domain.answers import Answer, called_in
from services.outreach.domain.model import Case
from services.outreach.domain.texts import LONGEST, Meaning, deadlines
from services.outreach.queries import known_text
from services.outreach.recompute import recompute_contacts
from services.outreach.store import attempts, stops, texts
from services.outreach.store.texts import Text
from shared.events.enrollment import Channel
from shared.messaging import Unit
from shared.problems import Conflict, Invalid
from shared.values import LenientInput, for_example


async def keep_text(
    unit: Unit, case: Case, text: str, meaning: Meaning, channel: Channel, number: str | None
) -> UUID:
    """Keep a message for a person to read; until then dialers make no contact with the patient."""
    text_id = uuid4()
    until = deadlines(unit.now, case.calendar, ZoneInfo(case.zone or "UTC"))
    await texts.add_text(
        unit.db,
        unit.keys,
        Text(
            text_id=text_id,
            patient_id=case.patient_id,
            store_id=case.store_id,
            received_at=unit.now,
            channel=channel,
            number=number,
            words=text[:LONGEST],
            cut=len(text) > LONGEST,
            seems=None if meaning is Meaning.unclear else meaning.value,
            due_at=until.due_at,
            escalates_at=until.escalates_at,
        ),
    )
    await stops.take_back_from_dialers(unit.db, [case.patient_id])
    return text_id


class ReadAs(StrEnum):
    """What staff made of a message."""

    stop = "stop"
    wrong_number = "wrong_number"
    answer = "answer"
    question = "question"  # a pharmacist calls back
    nothing = "nothing"


class Reading(LenientInput):
    """What staff made of a message; `answer`: what the patient answered; `number`: where it is not known."""

    model_config = for_example(meaning="answer", answer={"reschedule_to": "2026-06-16"})

    meaning: ReadAs
    number: Number | None = None
    visit_id: Annotated[str | None, Field(max_length=200)] = None
    answer: Answer = Answer()

    @property
    def overtakes(self) -> bool:
        """Whether it counts even while the patient is parked."""
        return self.meaning in (ReadAs.stop, ReadAs.wrong_number)


class TextRead(Reply):
    """What came of what staff made of a message."""

    text_id: UUID
    meaning: ReadAs


async def read_text(unit: Unit, text_id: UUID, reading: Reading) -> TextRead:
    """A member of staff read the message: what they made of it follows, and contact goes on as it allows."""
    text = await known_text(unit.db, unit.keys, text_id)
    if reading.meaning is ReadAs.answer and not reading.answer.says_more:
        raise Invalid("answer_missing", "answer: say what the patient answered, or choose another meaning")
    if text.read_at:
        raise Conflict("read", "someone read the message: what they made of it stands")
    by = f"{unit.role}/{unit.actor}"
    await texts.note_text_read(unit.db, text_id, by, reading.meaning.value, unit.now)
    reply = await _follow(unit, text, reading)
    await recompute_contacts(unit, [text.patient_id])
    return TextRead(text_id=text_id, meaning=reading.meaning).beside(reply)


async def _follow(unit: Unit, text: Text, reading: Reading) -> Reply:
    """What a message leads to, once it is understood."""
    number = reading.number or text.number
    if reading.meaning is ReadAs.stop:
        return Reply().beside(await opt_out(unit, text.patient_id, text.channel, number))
    if reading.meaning is ReadAs.wrong_number:
        given_up = await wrong_number(unit, text.patient_id, text.channel, number)
        if not given_up.wrong_number:
            raise Invalid("number_missing", "number: the patient has none or several, say which one is wrong")
        return Reply().beside(given_up)
    if reading.meaning is ReadAs.nothing:
        return Reply()
    question = Answer(question=True, asked=text.words or "")
    answer = reading.answer if reading.meaning is ReadAs.answer else question
    [case] = await recompute_contacts(unit, [text.patient_id])
    effect = called_in(case, reading.visit_id, answer, unit.now)
    reply = await take_effect(unit, effect, answer.asked)
    await attempts.add_attempts(unit.db, [call_of_theirs(unit, text.patient_id, effect, answer, reply)])
    return reply
