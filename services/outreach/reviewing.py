"""Load what is known of patients, look at their contacts anew, save, emit: where every change ends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from services.outreach import store
from services.outreach.domain.model import LIVE, Case
from services.outreach.domain.review import review as reviewed
from shared.messaging import Unit


async def review(unit: Unit, patient_ids: Collection[str]) -> list[Case]:
    """Settle and schedule the contacts of these patients; answers their cases as they stand then."""
    cases = await store.load_cases(unit.db, patient_ids, unit.now)
    changed, after = [], []
    for case in cases:
        result = reviewed(case, unit.now)
        before = set(case.contacts)
        changed += [contact for contact in result.contacts if contact not in before]
        unit.emit(result.events)
        live = tuple(contact for contact in result.contacts if contact.status in LIVE)
        after.append(replace(case, contacts=live))
    await store.save_contacts(unit.db, changed)
    await store.note_waiting(unit.db, {case.patient_id: case.zone is None for case in cases})
    return after
