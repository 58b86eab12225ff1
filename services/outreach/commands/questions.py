"""Questions of patients that a pharmacist has to answer: kept sealed with a deadline, and what came of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from services.outreach.domain.answers import Effect
from services.outreach.domain.model import Contact, Kind, Status
from services.outreach.domain.texts import LONGEST, deadlines
from services.outreach.queries import known_question
from services.outreach.recompute import recompute_contacts
from services.outreach.store import questions, reads, writes
from services.outreach.store.questions import Question
from shared.messaging import Unit
from shared.problems import Conflict
from shared.values import FreeText, LenientInput, Output, for_example


async def keep_questions(unit: Unit, effect: Effect, words: str) -> None:
    """Keep what was asked, with the end of the store's next business day as its deadline."""
    for contact in effect.contacts:
        if contact.kind is Kind.question:
            await _keep(unit, contact, words)


async def _keep(unit: Unit, contact: Contact, words: str) -> None:
    [case] = await reads.load_cases(unit.db, [contact.patient_id], unit.now)
    until = deadlines(contact.opened_at, case.calendar, ZoneInfo(case.zone or "UTC"))
    await questions.add_question(
        unit.db,
        unit.keys,
        Question(
            question_id=contact.contact_id,
            patient_id=contact.patient_id,
            store_id=contact.store_id,
            visit_id=contact.visit_id,
            asked_at=contact.opened_at,
            due_at=until.escalates_at,
            words=words.strip()[:LONGEST] or None,
        ),
    )


class CameOfIt(StrEnum):
    """What came of a question."""

    answered = "answered"
    referred = "referred"  # to the prescriber, or to whoever else can answer it
    not_reached = "not_reached"  # and nothing more is tried
    no_longer_asked = "no_longer_asked"


class QuestionAnswer(LenientInput):
    """What came of a question; `words`: what the pharmacist said, kept sealed."""

    model_config = for_example(outcome="answered", words="Take it with food; call back if it goes on.")

    outcome: CameOfIt
    words: Annotated[FreeText, Field(max_length=LONGEST)] = ""


class QuestionAnswered(Output):
    """How the question stands now."""

    question_id: UUID
    outcome: CameOfIt


async def answer_question(unit: Unit, question_id: UUID, said: QuestionAnswer) -> QuestionAnswered:
    """A pharmacist answered: nobody calls back about it any more, and a lease on that call is taken back."""
    question = await known_question(unit.db, unit.keys, question_id)
    if question.status != "open":
        raise Conflict("answered", f"the question is {question.status}: what came of it stands")
    by = f"{unit.role}/{unit.actor}"
    await questions.note_answered(unit.db, unit.keys, question, by, said.outcome.value, said.words, unit.now)
    await writes.close_contact(unit.db, question_id, Status.done)
    await recompute_contacts(unit, [question.patient_id])
    return QuestionAnswered(question_id=question_id, outcome=said.outcome)
