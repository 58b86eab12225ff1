"""What happens next to a patient, and when: from the plan, how its visits stand, and the path every visit takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.console.domain.visits import (
    CALLED_BEFORE,
    FILLED_BEFORE,
    OVER,
    Standing,
    Visit,
    day_of,
    depends_on,
    standing,
)
from shared.words.formats import counted, short_date


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is to happen; without a day: now, or when somebody acts."""

    on: date | None
    service: str  # whose step it is
    short: str  # for a calendar
    words: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """A prescription that will not last."""

    drug_name: str
    needed_by: date | None
    asked: int | None
    answer: str | None


NOTHING_PLANNED: Mapping[tuple[str, str], date] = {}


def steps_ahead(
    visits: Sequence[Visit],
    renewals: Sequence[Renewal],
    plan_status: str | None,
    today: date,
    after: date | None,
    planned: Mapping[tuple[str, str], date] = NOTHING_PLANNED,
) -> list[Step]:
    """The steps in order of their days; `after` is the pickup after the next, as far as it can be seen.

    `planned` are the days that the plan gives, by visit and step; what it does not give follows the usual rule.
    """
    steps = [
        *_of_plan(plan_status),
        *(_renewal(each) for each in renewals if each.answer is None and each.needed_by),
    ]
    for visit in visits:
        steps += _of_visit(visit, today, planned)
    if after and after > today and plan_status in ("agreed", "proposed"):
        steps.append(
            Step(after, "planner", "next cycle", f"The sync pickup after that, about {short_date(after)}.")
        )
    return sorted(steps, key=lambda step: (step.on or today, step.on is not None))


def _of_plan(status: str | None) -> list[Step]:
    words = {
        None: ("planner", "no plan", "No plan yet: ask whether the patient wants to enroll."),
        "proposed": (
            "outreach",
            "agree",
            "First contact: agree on the sync date with the patient. Nothing is filled before that.",
        ),
        "blocked": ("planner", "staff", "No plan can be made now: staff decide what to do."),
        "cancelled": ("planner", "none", "Nothing: the plan was withdrawn."),
    }.get(status)
    return [Step(None, *words)] if words else []


def _renewal(renewal: Renewal) -> Step:
    asked = f"was asked {counted(renewal.asked, 'time')}" if renewal.asked else "has not been asked yet"
    by = f" by {short_date(renewal.needed_by)}" if renewal.needed_by else ""
    return Step(
        renewal.needed_by,
        "outreach",
        "renewal",
        f"{renewal.drug_name} needs a renewal{by}; the prescriber {asked}.",
    )


def _of_visit(visit: Visit, today: date, planned: Mapping[tuple[str, str], date]) -> list[Step]:
    now = standing(visit.facts, today)
    if now in OVER or visit.on is None:
        return []
    trip = {"bridge": "bridge visit", "ride_along": "ride-along pickup"}.get(visit.kind or "", "sync pickup")
    trip = f"urgent {trip}" if visit.urgent else trip
    come = Step(
        visit.on,
        "fulfillment",
        "pickup",
        f"{trip[0].upper()}{trip[1:]}: {counted(visit.expected, 'fill')} ({now.value}).",
    )
    match now:
        case Standing.late:
            return [_waits(visit), *_goes_back(visit)]
        case Standing.ready:
            return [come, *_goes_back(visit)]
        case Standing.declined | Standing.unreached:
            return [
                Step(
                    visit.on,
                    "planner",
                    "next cycle",
                    f"Nothing is filled for the {trip}: the next cycle is planned.",
                )
            ]
        case Standing.moving:
            return [
                Step(
                    None,
                    "planner",
                    "new day",
                    f"A new day is planned: the patient asked for {day_of(visit.wanted_on)}.",
                )
            ]
        case Standing.proposed:
            return [come]
    return [*_call(visit, now, today, planned), *_fill(visit, now, today, planned), come]


def _waits(visit: Visit) -> Step:
    return Step(
        None,
        "outreach",
        "missed",
        f"The package for {day_of(visit.on)} was not picked up: the patient is contacted.",
    )


def _goes_back(visit: Visit) -> list[Step]:
    if visit.return_on is None:
        return []
    words = f"Last day to pick up the package for {day_of(visit.on)}: after that it is returned to stock."
    return [Step(visit.return_on, "fulfillment", "goes back", words)]


def _call(visit: Visit, now: Standing, today: date, planned: Mapping[tuple[str, str], date]) -> list[Step]:
    if now is not Standing.to_confirm or visit.on is None:
        return []
    if visit.urgent:
        return [Step(today, "outreach", "call", "Call to confirm, until the patient is reached: urgent.")]
    on = max(today, planned.get((visit.visit_id, "call"), visit.on - CALLED_BEFORE))
    return [Step(on, "outreach", "call", "Call to confirm; if not reached, again in the days after.")]


def _fill(visit: Visit, now: Standing, today: date, planned: Mapping[tuple[str, str], date]) -> list[Step]:
    if visit.on is None:
        return []
    if now is Standing.to_verify:
        return [Step(None, "fulfillment", "verify", "A pharmacist verifies the package.")]
    if now is Standing.filling:
        return [
            Step(
                None,
                "fulfillment",
                "fill",
                f"The remaining fills: {visit.filled} of {visit.expected} are done.",
            )
        ]
    on = max(today, planned.get((visit.visit_id, "fill"), visit.on - FILLED_BEFORE))
    on = today if visit.urgent else on
    once = "" if now is Standing.confirmed else ", once confirmed"
    words = [f"Fills are ordered{once}, then verified by a pharmacist.", *depends_on(visit)]
    return [Step(on, "fulfillment", "fill", " ".join(words))]


def is_soon(step: Step, today: date) -> bool:
    """Whether it is due within a day."""
    return step.on is None or step.on <= today + timedelta(days=1)
