"""Stop, start and wrong numbers: what they mean for the patient, and for the number that they came from.

A stop belongs to the number as well as to the person: whoever else has the number is opted out with them. That is told
of each by due work, so that a command locks one patient; every contact decision looks at the number itself meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from services.outreach import store
from services.outreach.domain.words import help_message, started_message, stopped_message
from shared.events.enrollment import Channel
from shared.events.outreach import ContactOptedIn, ContactOptedOut
from shared.http import Problem
from shared.messaging import Unit


async def require_known(unit: Unit, patient_id: str) -> None:
    """Raises a 404 problem where nothing was ever heard of the patient."""
    if not await store.is_known(unit.db, patient_id):
        raise Problem(
            404, "Not found", "outreach has heard of no such patient, and contacts nobody it does not know"
        )


async def numbers_meant(unit: Unit, patient_id: str, channel: Channel, number: str | None) -> Sequence[str]:
    """The number that is named, else those of the patient that the channel reaches: of a letter, none."""
    return [number] if number else await store.numbers_reached(unit.db, patient_id, channel)


async def opt_out(
    unit: Unit, patient_id: str, channel: Channel, number: str | None, *, spanish: bool = False
) -> dict[str, Any]:
    """End automated contact with the patient, and with whoever else has the number; answers the one message that
    confirms it."""
    await require_known(unit, patient_id)
    numbers = await numbers_meant(unit, patient_id, channel, number)
    await store.opt_out(unit.db, [store.Stop(patient_id, unit.now, channel)])
    await store.opt_out_numbers(unit.db, numbers, channel, unit.now)
    unit.emit(ContactOptedOut(patient_id=patient_id, channel=channel))
    message = await reply_to(unit, patient_id, stopped_message, spanish=spanish)
    return {"patient_id": patient_id, "opted_out": True, "message": message}


async def spread(unit: Unit, patient_ids: Collection[str]) -> None:
    """Opt out those of these patients whose number somebody stopped since they consented."""
    stops = await store.stops_to_spread(unit.db, patient_ids)
    if stops:
        await store.opt_out(unit.db, stops)
    await store.close_spreading(unit.db, patient_ids)
    unit.emit(ContactOptedOut(patient_id=stop.patient_id, channel=stop.channel) for stop in stops)


async def opt_in(
    unit: Unit, patient_id: str, channel: Channel, number: str | None, *, spanish: bool = False
) -> dict[str, Any]:
    """Start: automated contact with the patient is wanted again, and at the number."""
    numbers = await numbers_meant(unit, patient_id, channel, number)
    if stopped := await store.opt_in(unit.db, patient_id, numbers, unit.now):
        unit.emit(ContactOptedIn(patient_id=patient_id, channel=stopped))
    message = await reply_to(unit, patient_id, started_message, spanish=spanish)
    return {"patient_id": patient_id, "opted_out": False, "message": message}


async def wrong_number(unit: Unit, patient_id: str, channel: Channel, number: str | None) -> dict[str, Any]:
    """Nobody contacts this number again, about any patient. It says nothing of the patient's own wishes.

    Where it is not named and the channel reaches several, `wrong_number` is false: none is given up on a guess.
    """
    await require_known(unit, patient_id)
    numbers = await numbers_meant(unit, patient_id, channel, number)
    sure = len(numbers) == 1
    if sure:
        await store.stop_numbers(unit.db, numbers, unit.now)
    await store.take_back_from_diallers(unit.db, [patient_id])
    return {"patient_id": patient_id, "wrong_number": sure, "message": None}


async def reply_to(unit: Unit, patient_id: str, words: Any, *, spanish: bool) -> str | None:
    """A message to the patient, in the language of theirs; none where the patient's pharmacy is not known."""
    person = (await store.load_people(unit.db, [patient_id])).get(patient_id)
    if person is None:
        return None
    return str(words(person.store_name, person.store_phone, "es" if spanish else person.language))


async def help_to(unit: Unit, patient_id: str, *, spanish: bool) -> str | None:
    """What answers HELP."""
    return await reply_to(unit, patient_id, help_message, spanish=spanish)
