"""Stop, start and wrong numbers: what they mean for the patient, and for the number that they came from.

A stop belongs to the number as well as to the person: whoever else has the number is opted out with them. That is told
of each by due work, so that a command locks one patient; every contact decision looks at the number itself meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.outreach.commands.effects import Reply
from services.outreach.domain.answers import Outcome
from services.outreach.domain.texts import Heard, Meaning
from services.outreach.domain.words import help_message, started_message, stopped_message
from services.outreach.store import reads, stops
from services.outreach.store.numbers import indexes_of
from shared.events import Event
from shared.events.enrollment import Channel
from shared.events.outreach import ContactOptedIn, ContactOptedOut
from shared.messaging import Caller, Unit, Work, patient
from shared.messaging.envelope import marks_of_state
from shared.problems import NotFound
from shared.values import Output

Number = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164, as +19185550105")]
"""The number that a message or a call came from."""

ENDS = {Meaning.stop: Outcome.stop, Meaning.wrong_number: Outcome.wrong_number}
"""What words that end contact make of an outcome, whatever it was reported as."""


class OptedOut(Output):
    """Whether automated contact is stopped now, and the one message that confirms it."""

    patient_id: str
    opted_out: bool
    message: str | None  # null where the patient's pharmacy is not known


class WrongNumber(Output):
    """Whether a number was given up; false where it is not known which."""

    patient_id: str
    wrong_number: bool
    message: None = None


async def heed(
    unit: Unit, patient_id: str, outcome: Outcome, heard: Heard, channel: Channel, number: str | None
) -> Reply:
    """Carry out what ends contact or begins it again, and answer who asks for help."""
    if outcome is Outcome.stop:
        return Reply().beside(await opt_out(unit, patient_id, channel, number, spanish=heard.spanish))
    if outcome is Outcome.wrong_number:
        return Reply().beside(await wrong_number(unit, patient_id, channel, number))
    if heard.meaning is Meaning.start:
        return Reply().beside(await opt_in(unit, patient_id, channel, number, spanish=heard.spanish))
    if heard.meaning is Meaning.help:
        return Reply(message=await _reply_to(unit, patient_id, help_message, spanish=heard.spanish))
    return Reply()


async def require_known(unit: Unit, patient_id: str) -> None:
    """Raises NotFound where nothing was ever heard of the patient."""
    if not await reads.is_known(unit.db, patient_id):
        raise NotFound(
            "unknown_patient", "outreach has heard of no such patient, and contacts nobody it does not know"
        )


async def _numbers_meant(unit: Unit, patient_id: str, channel: Channel, number: str | None) -> Sequence[str]:
    """By their indexes: the number that is named, else those of the patient that the channel reaches; of a letter,
    none."""
    if number:
        return await indexes_of(unit.db, unit.keys, [number])
    return await stops.numbers_reached(unit.db, patient_id, channel)


async def opt_out(
    unit: Unit, patient_id: str, channel: Channel, number: str | None, *, spanish: bool = False
) -> OptedOut:
    """End automated contact with the patient, and with whoever else has the number."""
    await require_known(unit, patient_id)
    numbers = await _numbers_meant(unit, patient_id, channel, number)
    await stops.opt_out(unit.db, [stops.Stop(patient_id, unit.now, channel)])
    await stops.opt_out_numbers(unit.db, numbers, channel, unit.now)
    unit.emit(ContactOptedOut(patient_id=patient_id, channel=channel))
    message = await _reply_to(unit, patient_id, stopped_message, spanish=spanish)
    return OptedOut(patient_id=patient_id, opted_out=True, message=message)


async def opt_in(
    unit: Unit, patient_id: str, channel: Channel, number: str | None, *, spanish: bool = False
) -> OptedOut:
    """Start: automated contact with the patient is wanted again, and at the number."""
    numbers = await _numbers_meant(unit, patient_id, channel, number)
    if stopped := await stops.opt_in(unit.db, patient_id, numbers, unit.now):
        unit.emit(ContactOptedIn(patient_id=patient_id, channel=stopped))
    message = await _reply_to(unit, patient_id, started_message, spanish=spanish)
    return OptedOut(patient_id=patient_id, opted_out=False, message=message)


async def stop_again(event: Event, at: datetime, caller: Caller, work: Work) -> bool:
    """A stop, or its end, that was published and lost counts again as of when it was said, unless later words are
    known. The numbers are those that the channel reaches now: which it came from was lost."""
    if not isinstance(event, ContactOptedOut | ContactOptedIn):
        return False

    async def say_again(unit: Unit) -> bool:
        last = await stops.last_said(unit.db, event.patient_id)
        if last and last >= at:
            return False
        numbers = await stops.numbers_reached(unit.db, event.patient_id, event.channel)
        unit.marks = marks_of_state()
        if isinstance(event, ContactOptedIn):
            return await stops.opt_in(unit.db, event.patient_id, numbers, at) is not None
        await stops.opt_out(unit.db, [stops.Stop(event.patient_id, at, event.channel)])
        await stops.opt_out_numbers(unit.db, numbers, event.channel, at)
        unit.emit(event)
        return True

    return await work.command(caller, [patient(event.patient_id)], say_again, even_if_parked=True)


async def wrong_number(unit: Unit, patient_id: str, channel: Channel, number: str | None) -> WrongNumber:
    """Nobody contacts this number again, about any patient. It says nothing of the patient's own wishes.

    Where it is not named and the channel reaches several, `wrong_number` is false: none is given up on a guess.
    """
    await require_known(unit, patient_id)
    numbers = await _numbers_meant(unit, patient_id, channel, number)
    sure = len(numbers) == 1
    if sure:
        await stops.stop_numbers(unit.db, numbers, unit.now)
    await stops.take_back_from_dialers(unit.db, [patient_id])
    return WrongNumber(patient_id=patient_id, wrong_number=sure, message=None)


async def _reply_to(
    unit: Unit, patient_id: str, words: Callable[[str, str, str], str], *, spanish: bool
) -> str | None:
    """A message to the patient, in the language of theirs; None where the patient's pharmacy is not known."""
    person = (await reads.load_people(unit.db, unit.keys, [patient_id])).get(patient_id)
    if person is None:
        return None
    return words(person.store_name, person.store_phone, "es" if spanish else person.language)
