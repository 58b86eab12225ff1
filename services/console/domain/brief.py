"""One patient in a few sentences: so far, what did not go as planned, what comes next and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.console.domain.ahead import Step
from services.console.domain.lines import Line
from services.console.domain.supply import Picture, What
from services.console.domain.visits import Standing, Visit
from shared.events.planner import PlanComputed
from shared.words import render
from shared.words.formats import counted, spoken
from shared.words.plans import the_year

UNPLANNED = frozenset(
    {
        "fill-rejected",
        "stock-short",
        "patient-unreached",
        "pickup-declined",
        "reschedule-requested",
        "pickup-missed",
        "package-reopened",
        "package-returned",
        "plan-blocked",
    }
)
"""Kinds of events that tell of something that did not go as planned."""

SHOWN = 4

CHOOSES = ("anchor_best_of_year", "anchor_best")
"""Reasons of a plan that chose its day; the second in plans from before days were judged by their year."""

WHY = frozenset(
    {
        *(
            "bridge",
            "bridge_falls_short",
            "short_fills",
            "full_fills",
            "full_then_bridge",
            "long_fill_before",
        ),
        *("payer_refused", "unavoidable", "uncovered"),
    }
)
"""Reasons for visits before the synchronized pickup, and for days without; what staff decided is told as well."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What to read first."""

    so_far: str
    year: str | None  # trips before and to come, short fills, days without a drug; none: not told
    without: tuple[str, ...]  # drugs that ran out, in the days that the picture looks back on
    unplanned: tuple[Line, ...]  # the newest first
    ahead: tuple[Step, ...]
    why: tuple[str, ...]


def brief_of(
    status: str | None,
    since: date | None,
    standings: Sequence[tuple[Visit, Standing]],
    picture: Picture | None,
    lines: Sequence[Line],
    steps: Sequence[Step],
    plan: PlanComputed | None,
) -> Brief:
    """`lines` are the patient's events, newest first; `plan` is the one that stands."""
    return Brief(
        _so_far(status, since, standings),
        the_year(plan) if plan else None,
        tuple(_without(picture)) if picture else (),
        tuple([line for line in lines if line.kind in UNPLANNED][:SHOWN]),
        tuple(_ahead(steps)),
        tuple(_why(plan)) if plan and steps else (),
    )


def _so_far(status: str | None, since: date | None, standings: Sequence[tuple[Visit, Standing]]) -> str:
    begun = {
        "candidate": "Would benefit from med sync, and is not enrolled",
        "no_candidate": "Not enrolled, and no longer a candidate for med sync",
        "enrolled": "Enrolled",
        "left": "No longer enrolled",
    }.get(status or "", "Not enrolled here")
    came = [visit.handed_over_on for visit, now in standings if now is Standing.picked_up]
    told = [f"{begun}{f' since {spoken(since)}' if since else ''}"]
    if came:
        last = max((day for day in came if day), default=None)
        told.append(
            f"{counted(len(came), 'package')} picked up{f', the last on {spoken(last)}' if last else ''}"
        )
    elif status == "enrolled":
        told.append("nothing picked up yet")
    if returned := sum(now is Standing.returned for _, now in standings):
        told.append(f"{counted(returned, 'package')} returned to stock")
    return "; ".join(told) + "."


def _ahead(steps: Sequence[Step]) -> list[Step]:
    """What is to happen first, and the next pickup."""
    pickup = next((step for step in steps if step.short == "pickup"), None)
    return list(dict.fromkeys([*steps[:1], *([pickup] if pickup else [])]))


def _without(picture: Picture) -> list[str]:
    """Days without, of those drawn that are over."""
    behind = (picture.today - picture.start).days
    found = []
    for row in picture.rows:
        gaps = [each for each in row.stretches if each.what is What.gap and each.start < picture.today]
        if number := sum((min(each.end, picture.today) - each.start).days for each in gaps):
            found.append(f"{row.name}: none on hand on {number} of the last {behind} days.")
    return found


def _why(plan: PlanComputed) -> list[str]:
    return [
        f"{drug.drug_name}: {render(reason)}"
        for drug in plan.drugs
        for reason in drug.reasons
        if reason.code in WHY or reason.code.startswith("staff_")
    ]


def chosen_in(plans: Mapping[int, Mapping[str, Any]], revision: int) -> int | None:
    """The earlier revision that chose the day which this one keeps because the patient was told it.

    `plans` are the contents of all revisions, as JSON; none where the revision says itself why this day.
    """
    kept = plans[revision]
    if not _gives(kept, "anchor_agreed"):
        return None
    chose = [
        number
        for number, said in plans.items()
        if number < revision
        and said.get("anchor_on") == kept["anchor_on"]
        and any(_gives(said, code) for code in CHOOSES)
    ]
    return max(chose, default=None)


def _gives(content: Mapping[str, Any], code: str) -> bool:
    return any(reason["code"] == code for reason in content.get("reasons", ()))


def drug_names(plan: PlanComputed | None, prescribed: Mapping[str, str]) -> dict[str, str]:
    """What each prescription is of: as prescribed now, or else as the plan says."""
    return {drug.rx_id: drug.drug_name for drug in (plan.drugs if plan else ())} | dict(prescribed)
