"""The pharmacist verifies packages, stops a visit, and talks with the patient."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.fulfillment.commands.common import (
    License,
    Reason,
    Topic,
    calendar_of,
    load,
    note,
    save,
)
from services.fulfillment.domain import (
    Why,
    WorkOrder,
    put,
    verify,
    withdraw,
)
from services.fulfillment.store import reads, writes
from shared.events.fulfillment import Consultation, ConsultationHeld
from shared.messaging import Unit
from shared.values import FreeText, Id, LenientInput, Text, for_example


class ExceptedItem(LenientInput):
    """A filled prescription that is not handed over, and why."""

    rx_id: Id
    reason: Reason


class PlacedItem(LenientInput):
    """A filled prescription that is not in the package's bin, and where it is."""

    rx_id: Id
    place: Literal["fridge", "oversize"]
    label: Annotated[Text, Field(min_length=1, max_length=40)] | None = None  # of the shelf or drawer


class Verification(LenientInput):
    """Who verified the package, what they keep back, and what of it is not in the bin."""

    model_config = for_example(
        licence="RPH-20417", excepted=[{"rx_id": "RX1002", "reason": "the label shows the old dose"}]
    )

    licence: License
    excepted: tuple[ExceptedItem, ...] = ()
    places: tuple[PlacedItem, ...] = ()


async def verify_package(unit: Unit, package_id: str, verification: Verification) -> WorkOrder:
    """Release a package: every filled item is verified but those excepted, and it gets a bin of its own.

    The bins of its store have to be locked too.
    """
    order, facts = await load(unit, package_id=package_id)
    bin_number = await reads.free_bin(unit.db, order.store_id)
    calendar = calendar_of(facts)
    after = verify(
        put(order, {item.rx_id: (item.place, item.label) for item in verification.places}),
        excepted=[item.rx_id for item in verification.excepted],
        bin_number=bin_number,
        today=unit.today(calendar.time_zone),
        store=calendar,
    )
    excepted = [item.model_dump() for item in verification.excepted]
    await note(unit, order, "verification", verification.licence, excepted=excepted)
    return await save(unit, order, after)


class Cancellation(LenientInput):
    """Why a visit's fills are stopped."""

    model_config = for_example(reason="the patient is in the hospital")

    reason: Reason


async def cancel_package(unit: Unit, package_id: str, cancellation: Cancellation) -> WorkOrder:
    """Stop a visit's fills for good, whatever the plan says; what is filled goes back to stock."""
    order, facts = await load(unit, package_id=package_id)
    await note(unit, order, "cancellation", None, reason=cancellation.reason)
    return await save(unit, order, withdraw(order, Why.withdrawn, facts.store))


class ConsultationDone(LenientInput):
    """Whether the patient wanted the talk, and what it was about."""

    model_config = for_example(
        outcome="held", topics=["new_drug", "side_effects"], words="will call if the cough stays"
    )

    outcome: Literal["held", "declined"]
    topics: tuple[Topic, ...] = ()
    words: FreeText | None = None  # the pharmacist's own, kept sealed


async def record_consultation(unit: Unit, visit_id: str, consultation: ConsultationDone) -> int:
    """Record that a talk was offered, and held or declined. Returns which of the visit's it is, from 1."""
    order, _ = await load(unit, visit_id=visit_id)
    number = await writes.save_consultation(unit.db, visit_id, consultation.outcome, consultation.topics)
    if consultation.words:
        said = {"words": consultation.words}
        await writes.save_counter_note(unit.db, unit.keys, order, "consultation", said, number)
    unit.emit(
        ConsultationHeld(
            patient_id=order.patient_id,
            visit_id=visit_id,
            outcome=Consultation(consultation.outcome),
            topics=consultation.topics,
        )
    )
    await note(unit, order, "consultation", None, outcome=consultation.outcome, number=number)
    return number
