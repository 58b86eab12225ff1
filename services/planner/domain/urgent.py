"""What cannot wait for the store's lead time: an urgent visit (R5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from services.planner.domain.calendar import PickupDays
from services.planner.domain.medication import Medication
from services.planner.domain.model import Rules


def with_urgency(
    medications: Sequence[Medication],
    pickup: PickupDays,
    workable: int,
    soon: Collection[int],
    rules: Rules,
    today: int,
) -> list[Medication]:
    """The drugs, those that cannot wait with the first day inside the lead time on which they can be dispensed.

    One cannot wait that would be lacking, before the first workable day on which it can be had, for as many days as the
    chain bears: critical drugs from one on, others from two.
    """
    found = []
    for each in medications:
        bears = rules.urgent_from_days_critical if each.critical else rules.urgent_from_days
        paid = max(each.payment.ready, each.available_from)
        lacking = pickup.on_or_after(max(workable, paid)) - max(each.needed_from, today)
        days = [day for day in soon if day >= paid]
        urgent = lacking >= bears and days and each.days_left_at_fixed_visit is None
        found.append(replace(each, urgent_from=min(days)) if urgent else each)
    return found


def urgent_days(medications: Sequence[Medication], soon: Collection[int]) -> frozenset[int]:
    """The days inside the lead time on which a drug that cannot wait can be dispensed."""
    begins = [each.urgent_from for each in medications if each.urgent_from is not None]
    return frozenset(day for day in soon if day >= min(begins)) if begins else frozenset()
