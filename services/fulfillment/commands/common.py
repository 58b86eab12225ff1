"""What several commands do: load, save, note; and the types of what is said to them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from services.fulfillment.domain import (
    Change,
    Facts,
    Store,
    WorkOrder,
)
from services.fulfillment.queries import known_order
from services.fulfillment.recompute import save_changes
from services.fulfillment.store import reads, writes
from shared.messaging import Unit
from shared.problems import Conflict, Invalid
from shared.values import FreeText

LongId = Annotated[str, Field(pattern=r"^[!-~]{1,80}$")]  # of a system beside this one
License = Annotated[
    str, Field(pattern=r"^[!-~]([ -~]{0,38}[!-~])?$", description="of the person who did it; not blank")
]
RejectCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,3}$", description="NCPDP")]
Units = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=4, description="of the drug")]
Dollars = Annotated[Decimal, Field(ge=0, max_digits=9, decimal_places=2, description="US dollars")]
Reason = Annotated[FreeText, Field(min_length=3)]
Topic = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


async def load(unit: Unit, **named: str) -> tuple[WorkOrder, Facts]:
    """The work order that a visit_id, package_id or order_id names, and what is known around it. Raises NotFound."""
    order = await known_order(unit.db, **named)
    facts = await reads.facts_around(unit.db, [order])
    return order, facts[order.visit_id]


def calendar_of(facts: Facts) -> Store:
    """The store's; it is known since the first lease."""
    if facts.store is None:
        raise Conflict("unknown_store", "the calendar of this store has not arrived yet")
    return facts.store


async def save(unit: Unit, before: WorkOrder, after: WorkOrder) -> WorkOrder:
    """Save a work order that a command changed, and publish what that means."""
    await save_changes(unit, [Change(before, after)])
    return after


async def note(unit: Unit, order: WorkOrder, action: str, license_: str | None, **detail: Any) -> None:
    """Write down who did it. Raises Invalid where the license is another than the one of who signed in."""
    if license_ and unit.license and license_ != unit.license:
        raise Invalid("not_your_license", "licence: is not the license of who signed in: give your own")
    done = writes.Action(order.visit_id, action, unit.now, unit.actor, unit.role, license_, detail)
    await writes.note(unit.db, done)
