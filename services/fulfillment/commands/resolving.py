"""What staff do about a fill that the payer refused or the store was short of."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.fulfillment.commands.common import (
    License,
    LongId,
    Reason,
    Units,
    load,
    note,
    save,
)
from services.fulfillment.domain import How, Resolution, Why, WorkOrder, give_up, resubmit
from services.fulfillment.store import writes
from shared.access import require
from shared.messaging import Unit
from shared.values import WHOLE, Day, LenientInput, Text, for_example

OverrideCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,8}$", description="NCPDP")]
Price = Annotated[Decimal, Field(ge=0, max_digits=9, decimal_places=2, description="in dollars")]
Days = Annotated[int, Field(strict=True, ge=1, le=366), WHOLE]
Resubmission = Literal[
    "override",
    "corrected_days",
    "other_plan",
    "cash_price",
    "prior_authorization",
    "stock_arrived",
    "other_manufacturer",
]

NEEDS = {
    "override": "code",
    "corrected_days": "days_supply_billed",
    "cash_price": "price",
    "partial": "quantity",
    "give_up": "reason",
    "other_store": "reason",
}


class FillResolution(LenientInput):
    """What is done about a fill: tried again, filled in part, or not filled here."""

    model_config = for_example(action="resubmit", how="override", code="02", licence="TX-31877")

    action: Literal["resubmit", "partial", "other_store", "give_up"]
    how: Resubmission | None = None  # with resubmit
    code: OverrideCode | None = None  # with override
    days_supply_billed: Days | None = None  # with corrected_days
    price: Price | None = None  # with cash_price: agreed with the patient
    authorization: LongId | None = None  # with prior_authorization: its number
    drug_code: LongId | None = None  # with other_manufacturer
    drug_name: Text | None = None  # with other_manufacturer
    quantity: Units | None = None  # with partial: units now; the rest is owed
    days_supply: Days | None = None  # with partial: of these units; else in proportion
    expected_on: Day | None = None  # with partial: when the stock of the rest arrives
    reason: Reason | None = None  # with other_store and give_up
    licence: License | None = None

    @model_validator(mode="after")
    def has_what_it_needs(self) -> Self:
        if (self.action == "resubmit") != (self.how is not None):
            raise ValueError("how: goes with resubmit, and with nothing else")
        needed = NEEDS.get(self.resolved_as)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"{needed}: is needed with {self.resolved_as}")
        return self

    @property
    def resolved_as(self) -> str:
        return self.how or self.action


async def resolve_fill(unit: Unit, order_id: str, said: FillResolution) -> WorkOrder:
    """Have a fill that was refused or short tried again, filled in part, or given up for its visit."""
    if said.resolved_as in ("partial", "cash_price", "other_store", "give_up"):
        require("settle a fill with the patient", unit.role)
    order, facts = await load(unit, order_id=order_id)
    match said.action:
        case "give_up":
            after = give_up(order, order_id, Why.given_up, facts.store)
        case "other_store":
            after = give_up(order, order_id, Why.other_store, facts.store)
        case _:
            after = resubmit(order, order_id, _resolution(said, unit), facts.store)
    detail = said.model_dump(mode="json", include={"reason"}, exclude_none=True)
    await note(unit, order, "resolution", said.licence, order_id=order_id, how=said.resolved_as, **detail)
    await writes.resolve_try(unit.db, order.item(order_id), said.resolved_as, unit.actor, unit.now)
    return await save(unit, order, after)


def _resolution(said: FillResolution, unit: Unit) -> Resolution:
    """Only what goes with the way in which it was resolved."""
    how = How(said.resolved_as)
    partial, other = how is How.partial, how is How.other_manufacturer
    return Resolution(
        how,
        unit.now,
        code=said.code if how is How.override else None,
        days_billed=said.days_supply_billed if how is How.corrected_days else None,
        authorization=said.authorization if how is How.prior_authorization else None,
        price=said.price if how is How.cash_price else None,
        drug_code=said.drug_code if other else None,
        drug_name=said.drug_name if other else None,
        quantity=said.quantity if partial else None,
        days_supply=said.days_supply if partial else None,
        expected_on=said.expected_on if partial else None,
    )
