"""A plan in sentences: the planner's HTTP, the terminal and the console say the same.

Every plan answers: why this day and not the other best ones; what is done about each drug, why it is short-filled,
what its payer will say, and what must be had before, by when; what it costs the patient, or that this is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal

from shared.events.planner import (
    DrugDecision,
    OfferedDay,
    Participation,
    PlanBlocked,
    PlanComputed,
    PlannedItem,
    Visit,
)
from shared.words.conditions import of_condition
from shared.words.formats import counted, dollars, spoken
from shared.words.reasons import render
from shared.words.steps import of_steps

OVERRIDES = frozenset({"override_by_law", "override_by_staff"})

SAYS_WHEN_PAYABLE = frozenset(
    {
        "payer_says",
        "join_later",
        "vacation_fill",
        "discharge_fill",
        "therapy_change_fill",
        *OVERRIDES,
        "payable_by_surplus",
    }
)
"""Reasons that name the day from which the payer pays."""

CASH_PRICE = "cash_price"
"""The reason of a drug for which no claim is made."""

GIVES_CODE = frozenset({"dose_changed", "vacation_fill", "discharge_fill", "therapy_change_fill", *OVERRIDES})
"""Reasons with a clarification code of their own, submitted beside those of a short fill."""

NOT_TAKEN = frozenset(
    {
        "discontinued",
        "superseded",
        "superseded_by",
        "follows",
        "inactive",
        "over_the_counter",
        "not_maintenance",
    }
)
"""Reasons to leave a drug out of which it says nothing when the stock runs out."""

SAYS_WHEN_OUT = frozenset({"answer_needed_by", "authorization_needed_by"})
"""Reasons that name the day on which nothing is left."""


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
    costs = [] if cost is None else [f"The patient pays {_more(cost)} than usual."]
    return [*(render(reason) for reason in said.reasons), *costs]


THE_YEAR = frozenset({"year_ahead", "year_ahead_and_before"})
"""Reasons that say in a line what the year looks like."""


def the_year(said: PlanComputed | PlanBlocked) -> str | None:
    """The year in a line: trips to come, and before where they are known, short fills, days without a drug."""
    return next((render(reason) for reason in said.reasons if reason.code in THE_YEAR), None)


def of_day(plan: PlanComputed) -> str:
    """The synchronized pickup, and the one after it."""
    anew = any(reason.code in ("anchor_best", "anchor_best_of_year") for reason in plan.reasons)
    how = "proposed" if not plan.agreed else "newly chosen" if anew else "agreed"
    return f"Sync date {spoken(plan.anchor_on)} ({how}), the next about {spoken(plan.next_anchor_on)}."


def of_visit(visit: Visit) -> str:
    """One trip and what is filled for it."""
    names = ", ".join(item.drug_name for item in visit.items)
    kind = "sync" if visit.kind == "synchronized" else visit.kind.replace("_", "-")
    kind = f"{'urgent ' if visit.urgent else ''}{kind} visit"
    what = f"{kind}, {counted(len(visit.items), 'fill')}"
    return f"{spoken(visit.on)}, {what}: {names}."


def of_offer(day: OfferedDay) -> str:
    """One of the best days, with what it takes."""
    return f"{spoken(day.on)}: {takes(day)}"


def takes(day: OfferedDay) -> str:
    """What one of the best days takes, and what it costs the patient, where that is known."""
    cost = "" if day.extra_cost is None else f" The patient pays {_more(day.extra_cost)} than usual."
    return f"{render(day.reason)}{cost}"


def _more(cost: Decimal) -> str:
    return f"{dollars(cost)} more" if cost else "no more"


def of_drug(drug: DrugDecision, said: PlanComputed | PlanBlocked) -> list[str]:
    """What is done about one drug, why, what its payer will say to the first fill, and each fill."""
    codes = {reason.code for reason in drug.reasons}
    fills = list(_fills(drug, said))
    sentences = [render(reason) for reason in drug.reasons]
    if (
        drug.participation == Participation.excluded
        and drug.run_out_on
        and not codes & (NOT_TAKEN | SAYS_WHEN_OUT)
    ):
        sentences.append(f"By the fills on file, none left as of {spoken(drug.run_out_on)}.")
    cash = CASH_PRICE in codes
    if fills and not cash and not codes & SAYS_WHEN_PAYABLE:
        sentences.append(_payable(*fills[0]))
    besides = {str(reason.params.get("code")) for reason in drug.reasons if reason.code in GIVES_CODE}
    return [*sentences, *(of_fill(*fill, besides, dated=not cash and fill is not fills[0]) for fill in fills)]


def _fills(drug: DrugDecision, said: PlanComputed | PlanBlocked) -> Iterator[tuple[Visit, PlannedItem]]:
    visits = said.visits if isinstance(said, PlanComputed) else ()
    return ((visit, item) for visit in visits for item in visit.items if item.rx_id == drug.rx_id)


def _payable(visit: Visit, item: PlannedItem) -> str:
    if item.payable_from is None:
        return "Insurance has not paid a fill of it yet, so refill too soon does not apply."
    pays = f"Insurance pays on or after {spoken(item.payable_from)}"
    if visit.on < item.payable_from:
        return f"{pays}. Expect reject 79 (refill too soon) on {spoken(visit.on)}."
    return f"{pays}. Earlier claims reject 79 (refill too soon)."


def of_fill(visit: Visit, item: PlannedItem, besides: Collection[str], *, dated: bool) -> str:
    """One fill: when, how many units and days, why so many, and what its claim needs."""
    why = render(item.reason).rstrip(".")
    parts = [f"On {spoken(visit.on)}, {item.quantity.normalize():f} units: {why[0].lower()}{why[1:]}"]
    if item.at_counter:
        parts.insert(0, "Ask at pickup: also due now")
    if item.condition:
        parts.append(f"only {of_condition(item.condition)}")
    if item.payable_from and dated:
        parts.append(f"payable on or after {spoken(item.payable_from)}")
    if item.days_supply_billed is not None:
        parts.append(f"billed as {counted(item.days_supply_billed, 'day')} where the code is not taken")
    if item.clarification_codes:
        parts.append(_with_codes(item.clarification_codes, besides))
    return f"{', '.join(parts)}."


def _with_codes(codes: Sequence[str], besides: Collection[str]) -> str:
    """Those of the claim's occasion are all submitted; of the others one after the other is tried."""
    always = [code for code in codes if code in besides]
    tried = ", else ".join(code for code in codes if code not in besides)
    return f"with clarification code {' and '.join([*always, *([tried] if tried else [])])}"
