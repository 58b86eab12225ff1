"""Write down what an answer leads to: its contacts, its events, and the row of a call that the patient made."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID, uuid4

from pydantic_core import to_jsonable_python

from services.outreach.commands.questions import keep_questions
from services.outreach.domain.answers import Answer, Effect, Outcome
from services.outreach.domain.model import By, Kind, Status
from services.outreach.domain.texts import Meaning
from services.outreach.store import writes
from services.outreach.store.attempts import Attempt
from shared.messaging import Unit
from shared.values import Output


class ContactState(Output):
    """Where a contact stands."""

    contact_id: UUID
    kind: Kind
    status: Status


class Reply(Output):
    """What came of what somebody said: of its fields only those that have to do with it are set, and answered."""

    contacts: tuple[ContactState, ...] = ()  # the one at hand first
    events: tuple[str, ...] = ()  # types of what follows from it
    stale: bool = False  # the plan changed under the answer: no decision follows
    patient_id: str | None = None
    opted_out: bool | None = None
    wrong_number: bool | None = None  # false: not known which of several
    message: str | None = None  # to be sent to the patient; null where the patient's pharmacy is not known
    text_id: UUID | None = None  # of the message, where a person has to read it
    heard: Meaning | None = None  # what words alone mean

    def beside(self, other: Output) -> Self:
        """This, and what is set in the other, which goes before."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})

    def written(self) -> dict[str, Any]:
        """As it is kept and answered: without what is not set."""
        return self.model_dump(mode="json", exclude_unset=True)


async def take_effect(unit: Unit, effect: Effect, asked: str = "") -> Reply:
    """Save and emit an effect; `asked` is what the patient asked, in words. Return how its contacts stand."""
    await writes.save_contacts(unit.db, effect.contacts)
    await keep_questions(unit, effect, asked)
    unit.emit(effect.events)
    return Reply(
        contacts=tuple(
            ContactState(contact_id=each.contact_id, kind=each.kind, status=each.status)
            for each in effect.contacts
        ),
        events=tuple(event.TYPE for event in effect.events),
        stale=effect.stale,
    )


def call_of_theirs(
    unit: Unit,
    patient_id: str,
    effect: Effect,
    answer: Answer,
    reply: Reply,
    outcome: Outcome = Outcome.answered,
) -> Attempt:
    """The ledger's row of a call or a message of the patient's own."""
    call_id = uuid4()
    about = effect.contacts[0] if effect.contacts else None
    return Attempt(
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
        reply=reply.written(),
    )


def given(answer: Answer) -> dict[str, Any]:
    """The answer as the ledger keeps it: without the patient's own words, which are kept sealed or not at all."""
    kept: dict[str, Any] = to_jsonable_python(answer)
    del kept["asked"]
    return kept | {"text": ""}
