"""A plan in sentences: the planner's HTTP, the terminal and the console say the same.

Every plan answers: why this day and not the other best ones; what is done about each drug, why it is short-filled,
what its payer will say, and what must be had before, by when; what it costs the patient, or that this is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.events.planner import DrugDecision, OfferedDay, PlanBlocked, PlanComputed, PlannedItem, Visit
from shared.words.formats import counted, spoken
from shared.words.reasons import render
from shared.words.steps import of_steps

SAYS_WHEN_PAYABLE = frozenset({"payer_says", "join_later", "vacation_fill", "override_by_law"})
"""Reasons that name the day from which the payer pays."""


def explain(said: PlanComputed | PlanBlocked) -> list[str]:
    """The whole plan, or why there is none, to be read from the top."""
    drugs = [f"{drug.drug_name}: {' '.join(of_drug(drug, said))}" for drug in said.drugs]
    steps = of_steps(said) if isinstance(said, PlanComputed) else []
    return [*of_plan(said), *drugs, *steps]


def of_plan(said: PlanComputed | PlanBlocked) -> list[str]:
    """The day, the visits, why this day, what it costs, the days to offer; without the single drugs."""
    if isinstance(said, PlanBlocked):
        return ["There is no plan.", *why(said)]
    days = [f"Offered: {of_offer(day)}" for day in said.offered]
    return [of_day(said), *map(of_visit, said.visits), *why(said), *days]


def why(said: PlanComputed | PlanBlocked) -> list[str]:
    """Why this day, or why none; what it costs, where that is known (where it is not, a reason says so)."""
    cost = said.extra_cost if isinstance(said, PlanComputed) else None
    costs = [] if cost is None else [f"The patient pays {cost} more than usual."]
    return [*(render(reason) for reason in said.reasons), *costs]


def of_day(plan: PlanComputed) -> str:
    """The synchronized pickup, and the one after it."""
    how = "agreed" if plan.agreed else "proposed"
    return f"Synchronized pickup on {spoken(plan.anchor_on)} ({how}), the next about {spoken(plan.next_anchor_on)}."


def of_visit(visit: Visit) -> str:
    """One trip and what is filled for it."""
    names = ", ".join(item.drug_name for item in visit.items)
    what = f"{visit.kind.replace('_', '-')} visit, {counted(len(visit.items), 'fill')}"
    return f"{spoken(visit.on)}, {what}: {names}."


def of_offer(day: OfferedDay) -> str:
    """One of the best days, with what it takes."""
    return f"{spoken(day.on)}: {render(day.reason)}"


def of_drug(drug: DrugDecision, said: PlanComputed | PlanBlocked) -> list[str]:
    """What is done about one drug, why, and what its payer will say to the first fill."""
    reasons = [render(reason) for reason in drug.reasons]
    if SAYS_WHEN_PAYABLE & {reason.code for reason in drug.reasons}:
        return reasons
    first = next(_fills(drug, said), None)
    return [*reasons, _payable(first)] if first else reasons


def _fills(drug: DrugDecision, said: PlanComputed | PlanBlocked) -> Iterator[PlannedItem]:
    visits = said.visits if isinstance(said, PlanComputed) else ()
    return (item for visit in visits for item in visit.items if item.rx_id == drug.rx_id)


def _payable(item: PlannedItem) -> str:
    if item.payable_from is None:
        return "The payer has paid no fill of it yet, so none can be too soon."
    return f"The payer pays from {spoken(item.payable_from)}; before that it refuses (refill too soon, reject 79)."
