"""The pickup desk hands packages over."""

from __future__ import annotations

from typing import Literal

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
    check_collector,
    hand_over,
)
from shared.messaging import Unit
from shared.values import Id, LenientInput, for_example


class HandOver(LenientInput):
    """Who came for a package, how they were identified, and what they left."""

    model_config = for_example(identifiers=["name", "birth_date"], collected_by="patient")

    identifiers: tuple[LongId, ...]
    left_rx_ids: tuple[Id, ...] = ()
    collected_by: Literal["patient", "caregiver"] = "patient"
    reason: Reason | None = None  # why a caregiver may collect without the patient's consent: pharmacist only


async def hand_over_package(unit: Unit, package_id: str, handed: HandOver) -> WorkOrder:
    """Give a ready package to the patient, or to a caregiver whom the patient's consent lets collect."""
    order, facts = await load(unit, package_id=package_id)
    overruled = unit.role == "pharmacist" and handed.reason is not None
    check_collector(handed.collected_by, facts.patient, overruled=overruled)
    await note(unit, order, "hand_over", None, **handed.model_dump())
    today = unit.today(calendar_of(facts).time_zone)
    after = hand_over(order, identifiers=handed.identifiers, left=handed.left_rx_ids, today=today)
    return await save(unit, order, after)
