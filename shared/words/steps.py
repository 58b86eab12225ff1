"""The dated steps around a visit in words (R13.1): what is done, by whom, by when."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

from shared.events.planner import PlanComputed, Step, Visit
from shared.words.formats import counted, spoken

STEPS: dict[str, str] = {
    "checks": "refills and prior authorizations checked",
    "prescriber": "prescriber asked again about open renewals",
    "call": "call to confirm: any changes, which refills, is the date good",
    "call_again": "second call, if not reached",
    "order_stock": "missing stock ordered",
    "last_call": "last call, if not reached: no answer, no fill",
    "fill": "billed and filled, if confirmed",
    "verify": "verified and packed",
    "ready": "ready check and reminder",
    "pickup": "pickup",
    "talk": "counseling",
    "missed": "call, if not picked up",
    "missed_again": "second call, if not picked up",
    "return": "last day for pickup, then return to stock",
}

REPEATS = frozenset({"prescriber", "call_again", "last_call"})
"""Steps that repeat another: left out where their day was over before the plan was made."""


def of_steps(plan: PlanComputed) -> list[str]:
    """The steps around each visit, one sentence a visit."""
    return [_of_visit(visit, plan.computed_on) for visit in plan.visits if visit.steps]


def _of_visit(visit: Visit, today: date) -> str:
    by_day: dict[str, list[str]] = defaultdict(list)
    for step in visit.steps:
        if step.on >= today:
            by_day[_day(step.on)].append(of_step(step))
        elif step.code not in REPEATS:
            by_day["Right away"].append(of_step(step))
    days = [f"{day}: {', '.join(steps)}" for day, steps in by_day.items()]
    return f"Steps for {spoken(visit.on)}. {'; '.join(days)}."


def of_step(step: Step) -> str:
    """What is to be done, and by whom."""
    some = f", {counted(len(step.rx_ids), 'fill')}" if step.rx_ids else ""
    return f"{STEPS.get(step.code, step.code.replace('_', ' '))} ({step.by}{some})"


def _day(day: date) -> str:
    return f"{day:%a %b} {day.day}"
