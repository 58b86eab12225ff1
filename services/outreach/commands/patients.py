"""What patients say by themselves: they call, write or walk in, and say stop."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from services.outreach.commands.effects import Reply, call_of_theirs, take_effect
from services.outreach.commands.stopping import ENDS, Number, OptedOut, heed, require_known
from services.outreach.commands.stopping import opt_out as end_contact
from services.outreach.commands.texts import keep_text
from services.outreach.domain.answers import (
    Answer,
    Effect,
    Outcome,
    Understood,
    Unfit,
    asked,
    called_in,
    understood,
)
from services.outreach.domain.model import Case
from services.outreach.domain.texts import Heard, Meaning, hear
from services.outreach.recompute import recompute_contacts
from services.outreach.store import attempts
from shared.events.enrollment import Channel
from shared.messaging import Unit
from shared.problems import STAFF
from shared.values import WORD, LenientInput, Text, for_example


class Inbound(LenientInput):
    """The patient called, wrote or walked in. `visit_id` where it is not about the nearest visit to confirm.

    `channel` and `number`: how the patient's own words came, and from which number. `counter`: the patient stands
    there, and nobody calls them back.
    """

    model_config = for_example(channel="text", number="+19185550105", answer={"text": "Yes, Tuesday works"})

    visit_id: Text | None = None
    channel: Annotated[Literal["counter"] | Annotated[Channel, WORD], Field(union_mode="left_to_right")] = (
        Channel.text
    )
    number: Number | None = None
    answer: Answer = Answer()

    @property
    def at_counter(self) -> bool:
        return not isinstance(self.channel, Channel)

    @property
    def came_by(self) -> Channel:
        """As it is published: at the counter it is about the patient alone, not about a number."""
        return self.channel if isinstance(self.channel, Channel) else Channel.other

    @cached_property
    def heard(self) -> Heard:
        """What the patient's own words mean."""
        return hear(self.answer.text)

    @property
    def has_words(self) -> bool:
        return bool(self.answer.text.strip())

    @property
    def words_alone(self) -> bool:
        """Whether the patient's own words are all that came."""
        return self.has_words and not self.answer.says_more

    @property
    def overtakes(self) -> bool:
        """Whether it counts even while the patient is parked."""
        return self.heard.meaning in ENDS or (self.words_alone and self.heard.meaning is not Meaning.yes)


async def inbound(unit: Unit, patient_id: str, said: Inbound) -> Reply:
    """Take what the patient says; the attempts that are open are closed, and a dialer's lease is taken back.

    Words that end contact end it, whatever comes with them. Words that only a person can make sense of wait for one;
    those that staff report were read by them.
    """
    heard = said.heard
    if said.has_words:
        await require_known(unit, patient_id)
    ends = ENDS.get(heard.meaning)
    reply = await heed(unit, patient_id, ends or Outcome.answered, heard, said.came_by, said.number)
    [case] = await recompute_contacts(unit, [patient_id])
    meant = understood(said.answer, heard.meaning, asked(case, said.visit_id))
    effect = Effect(())
    if not ends:
        effect, meant = _heard(case, said, meant, unit.now)
        reply = (await take_effect(unit, effect, said.answer.asked)).beside(reply)
    which_number = ends is Outcome.wrong_number and not reply.wrong_number
    if which_number or (meant.for_a_person and unit.role not in STAFF):
        text = said.answer.text
        kept = await keep_text(unit, case, text, heard.meaning, said.came_by, said.number)
        reply = reply.beside(Reply(text_id=kept))
    call = call_of_theirs(unit, patient_id, effect, meant.answer, reply, ends or Outcome.answered)
    await attempts.add_attempts(unit.db, [call])
    await recompute_contacts(unit, [patient_id])
    return reply.beside(Reply(heard=heard.meaning)) if said.words_alone else reply


def _heard(case: Case, said: Inbound, meant: Understood, now: datetime) -> tuple[Effect, Understood]:
    """What an answer leads to. One that came in words alone and does not fit is for a person; others are refused."""
    if said.words_alone and not meant.answer.says_more:
        return Effect(()), meant
    try:
        visit_id = meant.visit_id or said.visit_id
        return called_in(case, visit_id, meant.answer, now, at_counter=said.at_counter), meant
    except Unfit:
        if said.words_alone:
            return Effect(()), Understood(said.answer, for_a_person=True)
        raise


class OptOut(LenientInput):
    """The channel on which the patient said stop, and the number that it came from, where it is known.

    Channel `other` (at the counter, in a letter) is about the patient alone, not about their numbers.
    """

    model_config = for_example(channel="phone", number="+19185550105")

    channel: Annotated[Channel, WORD] = Channel.phone
    number: Number | None = None


async def opt_out(unit: Unit, patient_id: str, said: OptOut) -> OptedOut:
    """Stop: no automated contact from now on, on any channel."""
    reply = await end_contact(unit, patient_id, said.channel, said.number)
    await recompute_contacts(unit, [patient_id])
    return reply
