"""A name and its numbers, opened for one person who gave a reason, for as long as that lasts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.console.store import actions, reads
from shared.database import Db
from shared.events.enrollment import ContactDetailsChanged
from shared.messaging import Work
from shared.sealing import SealBroken


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a person may see until then; without details where none are known, or the seal does not open."""

    until: datetime  # machine time
    details: ContactDetailsChanged | None


async def details_of(db: Db, work: Work, patient_id: str, viewer: str | None) -> Revealed | None:
    """None where this person has not revealed them, or too long ago."""
    until = await actions.revealed_until(db, patient_id, viewer) if viewer else None
    if until is None:
        return None
    try:
        return Revealed(until, await reads.details(db, work.keys, patient_id))
    except SealBroken:
        return Revealed(until, None)
