"""Why this day and no other: what its year looks like, and where each other day falls behind (R4).

Every count is of what is open to choice: what stands as the patient was told is said beside it. Days without a drug
are those of the whole plan, also those that no fill could have covered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from services.planner.domain import criteria
from services.planner.domain.commitments import FixedVisit
from services.planner.domain.criteria import Criterion, Score, deciding
from services.planner.domain.model import Blocked, FillKind, Offer, Plan, Reason, because
from services.planner.domain.paths import start_of
from services.planner.domain.search import Layout, Question, Verdict

Lost = Mapping[str, int]
"""Days without it, by rx_id, that no fill could have covered."""


def lost_before(question: Question, chosen: Layout) -> Lost:
    """Days without each drug from today to the first on which it can be dispensed at all; by an exception at the chosen
    day that may be sooner."""
    early = {
        path.medication.rx_id: path.joins for path in chosen.paths if path.override and path.joins is not None
    }
    lost = {}
    for each in question.medications:
        covered = start_of(each, question.pickup, question.earliest).covered
        covered = min(covered, early.get(each.rx_id, covered))
        lost[each.rx_id] = each.unavoidable + max(0, covered - max(each.run_out, question.today))
    return lost


def offer(score: Score, lost: Lost) -> Offer:
    """One day as it is offered to the patient."""
    uncovered = _uncovered(score, lost)
    return Offer(
        on=date.fromordinal(score.anchor),
        visits_before=score.one_time_trips,
        short_fills=score.short_fills,
        uncovered_days=uncovered,
        extra_cost=score.extra_cost,
        reason=because(
            "offered",
            visits=score.one_time_trips,
            short_fills=score.short_fills,
            overrides=score.overrides,
            uncovered=uncovered,
        ),
    )


def _uncovered(score: Score, lost: Lost) -> int:
    return sum(score.uncovered) + sum(lost.values())


# --- the day that the criteria choose ---


def why_this_day(verdict: Verdict, question: Question, standing: Sequence[FixedVisit]) -> tuple[Reason, ...]:
    """What the chosen day takes, and why none of the other days that are offered."""
    chosen, lost = verdict.chosen.score, lost_before(question, verdict.chosen)
    best = because(
        "anchor_best_of_year",
        visits=chosen.one_time_trips,
        short_fills=chosen.short_fills,
        overrides=chosen.overrides,
        uncovered=_uncovered(chosen, lost),
    )
    others = [score for score in verdict.offered if score.anchor != chosen.anchor]
    return (
        best,
        *_counted(verdict.chosen, standing),
        *(_not_instead(chosen, other, question, lost) for other in others),
        *_short_of(verdict),
    )


def _short_of(verdict: Verdict) -> list[Reason]:
    """Where the search was cut off: by how much a better answer there may be at most."""
    if verdict.short_of is None:
        return []
    return [because("search_cut_off", trips=str(round(float(verdict.short_of), 2)))]


def _counted(chosen: Layout, standing: Sequence[FixedVisit]) -> list[Reason]:
    """When all have joined, where that is not the pickup; and what stands, which is not counted."""
    reasons, on = [], date.fromordinal(chosen.anchor)
    all_joined = date.fromordinal(chosen.score.all_joined)
    if all_joined > on:
        reasons.append(because("all_joined_on", on=all_joined, anchor_on=on))
    visits = sum(each.visit.on < all_joined and each.visit.on != on for each in standing)
    short_fills = sum(item.kind is FillKind.bridge for each in standing for item in each.items)
    if visits or short_fills:
        reasons.append(because("stands_besides", visits=visits, short_fills=short_fills))
    return reasons


# --- the day that staff set, or the patient was told ---


def pinned(layout: Layout, question: Question, standing: Sequence[FixedVisit]) -> tuple[Reason, ...]:
    """Why the day is not open to choice: staff set it, or the patient was told."""
    on, decision = date.fromordinal(layout.anchor), question.staff_day
    if decision is None or decision.on != on:
        return (because("anchor_agreed", on=on),)
    set_by_staff = because(
        "staff_day",
        by=decision.by,
        made_on=decision.made_on,
        on=on,
        visits=layout.score.one_time_trips,
        short_fills=layout.score.short_fills,
        overrides=layout.score.overrides,
        uncovered=_uncovered(layout.score, lost_before(question, layout)),
    )
    return set_by_staff, *_counted(layout, standing)


def without_staff(free: Plan | Blocked) -> Reason:
    """What would be planned without what staff decided: what they cost is for staff to see."""
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


def about_plan(chosen: Layout, question: Question) -> list[Reason]:
    """What holds for the whole plan."""
    remarks = []
    if question.promises.moved:
        _, wanted = question.promises.moved
        moved = [rx_id for rx_id, days in question.promises.visits.items() if wanted in days]
        new_days = [
            days[0]
            for path, days in zip(chosen.paths, chosen.fill_days, strict=True)
            if path.medication.rx_id in moved and days
        ]
        if new_days:
            remarks.append(rescheduled(date.fromordinal(wanted), date.fromordinal(new_days[0])))
    if question.other_cycle:
        remarks.append(question.other_cycle)
    if chosen.score.extra_cost is None:
        remarks.append(because("cost_unknown"))
    return remarks


# --- another day ---


def _not_instead(chosen: Score, other: Score, question: Question, lost: Lost) -> Reason:
    """By what another day falls behind: the first criterion in which the two differ."""
    on = date.fromordinal(other.anchor)
    known = chosen.extra_cost is not None and other.extra_cost is not None
    first = next(
        (each for each in deciding(question.rules, costs_known=known) if each(other) != each(chosen)), None
    )
    if first is criteria.avoidable_uncovered_days:
        return _more_uncovered(chosen, other, on, question, lost)
    return (NOT_INSTEAD[first] if first else _as_good)(chosen, other, on)


def _more_uncovered(chosen: Score, other: Score, on: date, question: Question, lost: Lost) -> Reason:
    if other.uncovered[0] != chosen.uncovered[0]:
        all_lose = sum(lost[each.rx_id] for each in question.medications if each.critical)
        days, here = other.uncovered[0] + all_lose, chosen.uncovered[0] + all_lose
        return because("other_day_critical", on=on, days=days, here=here)
    return because("other_day_uncovered", on=on, days=_uncovered(other, lost), here=_uncovered(chosen, lost))


def _more_burden(chosen: Score, other: Score, on: date) -> Reason:
    """The first of what makes up the burden in which the other day takes more."""
    trips, here = other.one_time_trips + other.trips_a_year, chosen.one_time_trips + chosen.trips_a_year
    if other.one_time_trips > chosen.one_time_trips:
        return because("other_day_visits", on=on, visits=other.one_time_trips, here=chosen.one_time_trips)
    if trips > here:
        return because("other_day_trips_a_year", on=on, trips=rounded(trips), here=rounded(here))
    if other.short_fills > chosen.short_fills:
        return because("other_day_short_fills", on=on, fills=other.short_fills, here=chosen.short_fills)
    if other.overrides > chosen.overrides:
        return because("other_day_overrides", on=on, overrides=other.overrides, here=chosen.overrides)
    if other.late_claims > chosen.late_claims:
        return because("other_day_late_claims", on=on, fills=other.late_claims, here=chosen.late_claims)
    if other.run_dry > chosen.run_dry:
        return because("other_day_run_dry", on=on, drugs=other.run_dry, here=chosen.run_dry)
    return because("other_day_surplus", on=on)


def rounded(trips: Fraction | int) -> int:
    """Whole trips a year, as people say them."""
    return int(trips + Fraction(1, 2))


def _above_limit(chosen: Score, other: Score, on: date) -> Reason:
    return because(
        "other_day_above_cost_limit",
        on=on,
        cost=_cost(other),
        here=_cost(chosen),
        limit=other.extra_cost_limit,
    )


def _cost(score: Score) -> Decimal:
    return score.extra_cost or Decimal(0)


def _as_good(chosen: Score, other: Score, on: date) -> Reason:
    """No criterion tells the two apart."""
    if other.full and not chosen.full:
        return because("other_day_full", on=on)
    if other.all_joined > chosen.all_joined:
        return because("other_day_joined_later", on=on, joined=date.fromordinal(other.all_joined))
    if other.load != chosen.load:
        return because("other_day_fuller", on=on)
    return because("other_day_later", on=on)


NOT_INSTEAD: dict[Criterion, Callable[[Score, Score, date], Reason]] = {
    criteria.store_is_full: lambda chosen, other, on: because("other_day_full", on=on),
    criteria.changes_to_what_was_told: lambda chosen, other, on: because(
        "other_day_changes_told", on=on, visits=other.broken_promises, here=chosen.broken_promises
    ),
    criteria.extra_cost_above_limit: _above_limit,
    criteria.burden: _more_burden,
    criteria.urgent_visits: lambda chosen, other, on: because("other_day_urgent", on=on),
    criteria.late_claims: lambda chosen, other, on: because(
        "other_day_late_claims", on=on, fills=other.late_claims, here=chosen.late_claims
    ),
    criteria.drugs_run_dry: lambda chosen, other, on: because(
        "other_day_run_dry", on=on, drugs=other.run_dry, here=chosen.run_dry
    ),
    criteria.distance_from_preferred_day: lambda chosen, other, on: because(
        "other_day_not_preferred", on=on, days=other.from_preferred, here=chosen.from_preferred
    ),
    criteria.extra_cost: lambda chosen, other, on: because(
        "other_day_costs_more", on=on, cost=_cost(other), here=_cost(chosen)
    ),
    criteria.distance_from_cushion: lambda chosen, other, on: because(
        "other_day_cushion", on=on, days=other.from_cushion, here=chosen.from_cushion
    ),
}
"""How each criterion is said, but days without a drug: `_more_uncovered`."""
