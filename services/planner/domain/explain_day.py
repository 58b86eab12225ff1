"""Why this day and no other: what it takes, and where each other day falls behind.

Every count is of what is open to choice: what stands as the patient was told is said beside it. Days without a drug
are those of the whole plan, also those before the first workable day, which no day could spare the patient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial

from services.planner.domain import anchor
from services.planner.domain.anchor import Case, Option, Score, Verdict
from services.planner.domain.model import Blocked, FillKind, Offer, Plan, Reason, because
from services.planner.domain.told import Standing

Lost = Mapping[str, int]
"""Uncovered days, by rx_id, before the first workable day: no choice changes them."""


def lost_before(case: Case, anchor_day: int, today: date) -> Lost:
    """Uncovered days from today to the first day on which anything can be dispensed."""
    earliest = min(case.earliest, anchor_day)
    return {
        each.rx_id: each.unavoidable
        + max(0, max(earliest, each.had_from) - max(each.run_out, today.toordinal()))
        for each in case.supplies
    }


def offer(option: Score, lost: Lost) -> Offer:
    """One day as it is offered to the patient."""
    uncovered = _uncovered(option, lost)
    return Offer(
        on=date.fromordinal(option.anchor),
        visits_before=option.visits_before,
        short_fills=option.short_fills,
        uncovered_days=uncovered,
        extra_cost=option.extra_cost,
        reason=because(
            "offered",
            visits=option.visits_before,
            short_fills=option.short_fills,
            overrides=option.overrides,
            uncovered=uncovered,
        ),
    )


def _uncovered(option: Score, lost: Lost) -> int:
    return sum(option.uncovered) + sum(lost.values())


# --- the day that the criteria choose ---


def why_this_day(
    verdict: Verdict, chosen: Option, case: Case, standing: Sequence[Standing], today: date
) -> tuple[Reason, ...]:
    """What the chosen day takes, what the usual rule, the latest run-out day, would have taken, and why none of the
    other days that are offered."""
    lost = lost_before(case, chosen.anchor, today)
    falls_behind = partial(_not_instead, chosen, anchor.deciding([chosen], case.rules), case, lost)
    best = because(
        "anchor_best",
        candidates=verdict.options,
        visits=chosen.visits_before,
        short_fills=chosen.short_fills,
        overrides=chosen.overrides,
        uncovered=_uncovered(chosen, lost),
    )
    return (
        best,
        *_counted(chosen, standing),
        *_better_but_full(verdict, case),
        *_latest_due(verdict, falls_behind, lost),
        *(falls_behind(other) for other in verdict.offered if other.anchor != chosen.anchor),
    )


def _counted(chosen: Option, standing: Sequence[Standing]) -> list[Reason]:
    """To which day visits are counted, where that is not the pickup; and what stands, which is not counted."""
    reasons, aligned = [], date.fromordinal(chosen.second if chosen.joins_later else chosen.anchor)
    on = date.fromordinal(chosen.anchor)
    if chosen.joins_later:
        reasons.append(because("all_joined_on", on=aligned, anchor_on=on))
    if not _comes_on_the_day(chosen, standing):
        reasons.append(because("no_visit_on_the_day", on=on))
    visits = sum(each.visit.on < aligned and each.visit.on != on for each in standing)
    short_fills = sum(item.kind is FillKind.bridge for each in standing for item in each.items)
    if visits or short_fills:
        reasons.append(because("stands_besides", visits=visits, short_fills=short_fills))
    return reasons


def _comes_on_the_day(chosen: Option, standing: Sequence[Standing]) -> bool:
    """Is anything dispensed on the day itself, and not in a synchronized visit that stands on another?"""
    on = chosen.anchor
    planned = any(course.at_anchor for course in chosen.courses) or any(
        on in days for days in chosen.fill_days
    )
    return planned or any(each.visit.on.toordinal() == on for each in standing)


def _better_but_full(verdict: Verdict, case: Case) -> list[Reason]:
    """The day that the criteria alone would have chosen, where the store takes no more pickups on it."""
    best = verdict.were_there_no_cap
    if best is None or best.anchor == verdict.chosen.anchor:
        return []
    return [because("store_day_full", on=date.fromordinal(best.anchor), cap=case.daily_cap)]


def _latest_due(verdict: Verdict, falls_behind: Callable[[Score], Reason], lost: Lost) -> list[Reason]:
    """What the usual rule would have taken, and by what it falls behind, if that is not said of an offered day."""
    usual = verdict.latest_due
    if usual is None or usual.anchor == verdict.chosen.anchor:
        return []
    compared = because(
        "instead_of_latest_due",
        on=date.fromordinal(usual.anchor),
        visits=usual.visits_before,
        short_fills=usual.short_fills,
        overrides=usual.overrides,
        uncovered=_uncovered(usual, lost),
    )
    if any(each.anchor == usual.anchor for each in verdict.offered):
        return [compared]
    return [compared, falls_behind(usual)]


# --- the day that staff set, or the patient was told ---


def pinned(option: Option, case: Case, standing: Sequence[Standing], today: date) -> tuple[Reason, ...]:
    """Why the day is not open to choice: staff set it, or the patient was told."""
    on, ruling = date.fromordinal(option.anchor), case.staff_day
    if ruling is None or ruling.on != on:
        return (because("anchor_agreed", on=on),)
    set_by_staff = because(
        "staff_day",
        by=ruling.by,
        made_on=ruling.made_on,
        on=on,
        visits=option.visits_before,
        short_fills=option.short_fills,
        overrides=option.overrides,
        uncovered=_uncovered(option, lost_before(case, option.anchor, today)),
    )
    return set_by_staff, *_counted(option, standing)


def without_staff(free: Plan | Blocked) -> Reason:
    """What would be planned without the rulings: what they cost is for staff to see."""
    if isinstance(free, Blocked):
        return because("without_staff_no_plan")
    return because(
        "without_staff",
        on=free.anchor_on,
        visits=free.open_visits,
        short_fills=free.open_short_fills,
        overrides=free.open_overrides,
        uncovered=free.uncovered_days,
    )


def rescheduled(wanted: date, on: date) -> Reason:
    """The patient asked for a day: granted, or the nearest that could be."""
    if wanted == on:
        return because("rescheduled", on=on)
    return because("wanted_day_not_possible", wanted=wanted, on=on)


def about_plan(chosen: Option, case: Case) -> list[Reason]:
    """What holds for the whole plan."""
    remarks = []
    if case.moved:
        told, wanted = case.moved
        moved = [rx_id for rx_id, days in case.told_days.items() if told in days]
        new_days = [
            days[0]
            for course, days in zip(chosen.courses, chosen.fill_days, strict=True)
            if course.supply.rx_id in moved and days
        ]
        if new_days:
            remarks.append(rescheduled(date.fromordinal(wanted), date.fromordinal(new_days[0])))
    if case.other_cycle:
        remarks.append(case.other_cycle)
    if chosen.extra_cost is None:
        remarks.append(because("cost_unknown"))
    return remarks


# --- another day ---


def _not_instead(
    chosen: Score, criteria: Sequence[anchor.Criterion], case: Case, lost: Lost, other: Score
) -> Reason:
    """By what another day falls behind: the first criterion in which the two differ."""
    on = date.fromordinal(other.anchor)
    if other.full and not chosen.full:
        return because("other_day_full", on=on)
    first = next((each for each in criteria if each(other) != each(chosen)), None)
    if first is anchor.avoidable_uncovered_days:
        return _more_uncovered(chosen, other, on, case, lost)
    return (NOT_INSTEAD[first] if first else _as_good)(chosen, other, on)


def _more_uncovered(chosen: Score, other: Score, on: date, case: Case, lost: Lost) -> Reason:
    if other.uncovered[0] != chosen.uncovered[0]:
        all_lose = sum(lost[each.rx_id] for each in case.supplies if each.critical)
        days, here = other.uncovered[0] + all_lose, chosen.uncovered[0] + all_lose
        return because("other_day_critical", on=on, days=days, here=here)
    return because("other_day_uncovered", on=on, days=_uncovered(other, lost), here=_uncovered(chosen, lost))


def _more_short_fills(chosen: Score, other: Score, on: date) -> Reason:
    if other.short_fills + other.overrides != chosen.short_fills + chosen.overrides:
        if other.short_fills > chosen.short_fills:
            return because("other_day_short_fills", on=on, fills=other.short_fills, here=chosen.short_fills)
        return because("other_day_overrides", on=on, overrides=other.overrides, here=chosen.overrides)
    return because("other_day_below_minimum", on=on, fills=other.tiny_fills, here=chosen.tiny_fills)


def _above_limit(chosen: Score, other: Score, on: date) -> Reason:
    return because(
        "other_day_above_cost_limit",
        on=on,
        cost=_cost(other),
        here=_cost(chosen),
        limit=other.extra_cost_limit,
    )


def _cost(score: Score) -> Decimal:
    return anchor.extra_cost(score)


def _as_good(chosen: Score, other: Score, on: date) -> Reason:
    """No criterion tells the two apart: the least-loaded day, then the earliest."""
    if other.load != chosen.load:
        return because("other_day_fuller", on=on)
    return because("other_day_later", on=on)


NOT_INSTEAD: dict[anchor.Criterion, Callable[[Score, Score, date], Reason]] = {
    anchor.changes_to_what_was_told: lambda chosen, other, on: because(
        "other_day_changes_told", on=on, visits=other.told_changes, here=chosen.told_changes
    ),
    anchor.extra_cost_above_limit: _above_limit,
    anchor.visits_before_alignment: lambda chosen, other, on: because(
        "other_day_visits", on=on, visits=other.visits_before, here=chosen.visits_before
    ),
    anchor.short_fills_and_overrides: _more_short_fills,
    anchor.drugs_run_dry: lambda chosen, other, on: because(
        "other_day_run_dry", on=on, drugs=anchor.drugs_run_dry(other), here=anchor.drugs_run_dry(chosen)
    ),
    anchor.distance_from_preferred_day: lambda chosen, other, on: because(
        "other_day_not_preferred", on=on, days=other.from_preferred, here=chosen.from_preferred
    ),
    anchor.extra_cost: lambda chosen, other, on: because(
        "other_day_costs_more", on=on, cost=_cost(other), here=_cost(chosen)
    ),
    anchor.distance_from_cushion: lambda chosen, other, on: because(
        "other_day_cushion", on=on, days=other.from_cushion, here=chosen.from_cushion
    ),
}
"""How each criterion is said, but days without a drug: `_more_uncovered`."""
