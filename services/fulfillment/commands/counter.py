"""The pickup desk asks about what else is due, and hands packages over."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.fulfillment.commands.common import (
    LongId,
    Reason,
    calendar_of,
    load,
    note,
    save,
)
from services.fulfillment.domain import (
    WorkOrder,
    answer_offers,
    check_collector,
    hand_over,
    reconcile,
)
from shared.messaging import Unit
from shared.values import Id, LenientInput, for_example


class OfferAnswer(LenientInput):
    """What the patient says to one drug that is due as well."""

    rx_id: Id
    answer: Literal["fill", "decline"]
    reason: Literal["no_time", "price", "enough_left", "stopped", "other"] | None = None  # with decline


class OfferAnswers(LenientInput):
    """What the patient says to what is offered."""

    model_config = for_example(answers=[{"rx_id": "RX1002", "answer": "fill"}])

    answers: Annotated[tuple[OfferAnswer, ...], Field(min_length=1)]


async def answer_package_offers(unit: Unit, package_id: str, said: OfferAnswers) -> WorkOrder:
    """Have what the patient agrees to filled while they wait; what they decline is planned anew after the hand-over."""
    order, facts = await load(unit, package_id=package_id)
    wanted = {each.rx_id: each.answer == "fill" for each in said.answers}
    after = answer_offers(order, wanted)
    await note(unit, order, "offers", None, **said.model_dump())
    return await save(unit, order, reconcile(after, facts, unit.now))


class HandOver(LenientInput):
    """Who came for a package, how they were identified, and what they left."""

    model_config = for_example(identifiers=["name", "birth_date"], collected_by="patient")

    identifiers: tuple[LongId, ...]
    left_rx_ids: tuple[Id, ...] = ()
    later_rx_ids: tuple[Id, ...] = ()  # due as well, and not waited for: each is planned anew
    collected_by: Literal["patient", "caregiver"] = "patient"
    reason: Reason | None = None  # why a caregiver may collect without the patient's consent: pharmacist only


async def hand_over_package(unit: Unit, package_id: str, handed: HandOver) -> WorkOrder:
    """Give a ready package to the patient, or to a caregiver whom the patient's consent lets collect."""
    order, facts = await load(unit, package_id=package_id)
    overruled = unit.role == "pharmacist" and handed.reason is not None
    check_collector(handed.collected_by, facts.patient, overruled=overruled)
    await note(unit, order, "hand_over", None, **handed.model_dump())
    today = unit.today(calendar_of(facts).time_zone)
    after = hand_over(
        order,
        identifiers=handed.identifiers,
        left=handed.left_rx_ids,
        later=handed.later_rx_ids,
        today=today,
    )
    return await save(unit, order, after)
