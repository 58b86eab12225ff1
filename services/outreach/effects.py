"""Write down what an answer leads to: its contacts, its events, and the row of a call that the patient made."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from pydantic_core import to_jsonable_python

from services.outreach import store
from services.outreach.domain.answers import Answer, Effect, Outcome
from services.outreach.domain.model import By
from shared.messaging import Unit


async def take_effect(unit: Unit, effect: Effect, **extra: Any) -> dict[str, Any]:
    """Save and emit an effect; says how its contacts stand."""
    await store.save_contacts(unit.db, effect.contacts)
    unit.emit(effect.events)
    contacts = [
        {"contact_id": str(each.contact_id), "kind": each.kind.value, "status": each.status.value}
        for each in effect.contacts
    ]
    return {"contacts": contacts, "events": [event.TYPE for event in effect.events], **extra}


def call_of_theirs(
    unit: Unit,
    patient_id: str,
    effect: Effect,
    answer: Answer,
    reply: Any,
    outcome: Outcome = Outcome.answered,
) -> store.Attempt:
    """The ledger's row of a call or a message of the patient's own."""
    call_id = uuid4()
    about = effect.contacts[0] if effect.contacts else None
    return store.Attempt(
        lease_id=call_id,
        contact_id=about.contact_id if about else call_id,
        patient_id=patient_id,
        kind=about.kind if about else "inbound",
        made_by=By.patient,
        actor=unit.actor,
        at=unit.now,
        outcome=outcome,
        answer=given(answer),
        reported_at=unit.now,
        reply=reply,
    )


def given(answer: Answer) -> dict[str, Any]:
    """The answer as the ledger keeps it: without the patient's own words, which are kept sealed or not at all."""
    kept: dict[str, Any] = to_jsonable_python(answer)
    return kept | {"text": ""}
