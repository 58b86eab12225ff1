"""What follows from facts, worked out anew: contacts, and stops of a number that is several patients'.

Every handler, command and job ends here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from services.outreach.domain.model import LIVE, Case
from services.outreach.domain.review import review
from services.outreach.store import reads, stops, writes
from shared.events.outreach import ContactOptedOut
from shared.messaging import Unit


async def recompute_contacts(unit: Unit, patient_ids: Collection[str]) -> list[Case]:
    """Settle and schedule the contacts of these patients. Return their cases as they stand then."""
    cases = await reads.load_cases(unit.db, patient_ids, unit.now)
    changed, after = [], []
    for case in cases:
        reviewed = review(case, unit.now)
        before = set(case.contacts)
        changed += [contact for contact in reviewed.contacts if contact not in before]
        unit.emit(reviewed.events)
        live = tuple(contact for contact in reviewed.contacts if contact.status in LIVE)
        after.append(replace(case, contacts=live))
    await writes.save_contacts(unit.db, changed)
    await writes.note_waiting(unit.db, {case.patient_id: case.zone is None for case in cases})
    return after


async def recompute_opt_outs(unit: Unit, patient_ids: Collection[str]) -> None:
    """Opt out those of these patients whose number somebody stopped since they consented."""
    spread = await stops.stops_to_spread(unit.db, patient_ids)
    if spread:
        await stops.opt_out(unit.db, spread)
    await stops.close_spreading(unit.db, patient_ids)
    unit.emit(ContactOptedOut(patient_id=stop.patient_id, channel=stop.channel) for stop in spread)
