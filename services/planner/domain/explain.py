"""Why: every decision as reasons, codes with parameters; `shared.words` has the sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from services.planner.domain import anchor
from services.planner.domain.anchor import Case, Option, Score, Verdict
from services.planner.domain.course import Course, Supply
from services.planner.domain.model import (
    Action,
    Blocked,
    Decision,
    Item,
    Offer,
    Plan,
    Reason,
    Renewal,
    Told,
    because,
)
from services.planner.domain.participation import Part, wants_authorization
from services.planner.domain.payers_word import payers_word
from services.planner.domain.renewals import NONE_DISUSED, NONE_ENDS, Authorization


def left_out(part: Part) -> Decision:
    """What is said about a drug that no plan has a place for."""
    each = part.prescription
    return Decision(
        each.rx_id,
        each.drug.name,
        part.participation,
        (part.reason, *part.remarks),
        run_out_on=part.stock.run_out_on,
    )


def decision(
    part: Part,
    chosen: Option,
    fills_of: Mapping[str, Sequence[tuple[date, Item]]],
    unavoidable: Mapping[str, int],
    case: Case,
    told: Told,
) -> Decision:
    """What the plan does about one drug: how it takes part, what is done, and what that leaves open."""
    course = next((each for each in chosen.courses if each.supply.rx_id == part.prescription.rx_id), None)
    if course is None:
        return left_out(part)
    rx_id = course.supply.rx_id
    fills = fills_of.get(rx_id, ())
    if course.supply.ride_along:
        action, joins_on, reason = _ride_along(course, fills, chosen)
    else:
        action, joins_on, reason = _synchronized(course, fills, chosen, case)
    remarks = [
        *part.remarks,
        *payers_word(part, course, fills, case),
        *_declined(rx_id, told),
        *_about_fills(course, fills, chosen, case),
        *_uncovered(course, unavoidable[rx_id], case),
    ]
    return Decision(
        rx_id=rx_id,
        drug_name=part.prescription.drug.name,
        participation=part.participation,
        action=action,
        run_out_on=part.stock.run_out_on,
        joins_on=joins_on,
        days_left_at_anchor=_left_at_anchor(course, fills, chosen),
        reasons=(part.reason, reason, *remarks),
    )


def _synchronized(
    course: Course, fills: Sequence[tuple[date, Item]], chosen: Option, case: Case
) -> tuple[Action, date, Reason]:
    """The action that brings a synchronized drug to its joining day."""
    run_out_on = date.fromordinal(course.supply.run_out)
    if course.joins is None and course.needs:
        return _not_due_after(course, fills, chosen, case)
    if course.joins is None:
        joins_on = _next_due(course.supply.run_out, chosen, case.cycle.days)
        return Action.not_due, joins_on, because("not_due", run_out_on=run_out_on, joins_on=joins_on)
    joins_on = date.fromordinal(course.joins)
    if course.joins == chosen.second:
        return Action.join_later, joins_on, _joins_later(course, chosen, joins_on)
    before = [(on, item) for on, item in fills if on < joins_on]
    if not before:
        left = course.left_at_anchor
        if left:
            return Action.early, joins_on, because("early", days=left)
        late = course.supply.run_out < chosen.anchor
        return Action.on_time, joins_on, because("late", on=run_out_on) if late else because("on_time")
    usual = course.supply.prescription.usual_days
    full = sum(item.days_supply >= usual for _, item in before)
    short = sum(item.days_supply for _, item in before if item.days_supply < usual)
    if not full:
        return Action.bridge, joins_on, because("bridge", days=short, on=before[-1][0], until=joins_on)
    if not short:
        return Action.full_then_bridge, joins_on, because("full_fills", fills=full, until=joins_on)
    why = because("full_then_bridge", fills=full, days=short, until=joins_on)
    return Action.full_then_bridge, joins_on, why


def _not_due_after(
    course: Course, fills: Sequence[tuple[date, Item]], chosen: Option, case: Case
) -> tuple[Action, date, Reason]:
    """One long fill before the synchronized pickup lasts past it; or a usual one, where no short one is paid."""
    on, item = fills[-1]
    joins_on = _next_due(course.covered_to, chosen, case.cycle.days)
    if item.days_supply <= course.supply.prescription.usual_days:
        return Action.join_later, joins_on, because("whole_fills_only", on=fills[0][0])
    return Action.long_fill, joins_on, because("long_fill", days=item.days_supply, on=on, until=joins_on)


def _joins_later(course: Course, chosen: Option, joins_on: date) -> Reason:
    anchor_on = date.fromordinal(chosen.anchor)
    if course.supply.ready > chosen.anchor:
        ready = date.fromordinal(course.supply.ready)
        return because("join_later", payable_from=ready, anchor_on=anchor_on, joins_on=joins_on)
    return because("join_later_visit_stands", anchor_on=anchor_on, joins_on=joins_on)


def _next_due(run_out: int, chosen: Option, cycle_days: int) -> date:
    """The first synchronized pickup, as far as it can be seen, at which the stock does not last to the next."""
    pickup = chosen.second
    while run_out >= pickup + cycle_days:
        pickup += cycle_days
    return date.fromordinal(pickup)


def _ride_along(
    course: Course, fills: Sequence[tuple[date, Item]], chosen: Option
) -> tuple[Action, date | None, Reason]:
    """With a pickup where it can be, else at a visit of its own."""
    run_out = course.supply.run_out
    if not fills:
        return Action.not_due, None, because("ride_along_not_due", run_out_on=date.fromordinal(run_out))
    on = fills[0][0]
    action = Action.early if on.toordinal() < run_out else Action.on_time
    if on.toordinal() == chosen.anchor:
        return action, None, because("ride_along_with_pickup", on=on)
    return action, None, because("ride_along_before_run_out", on=on, run_out_on=date.fromordinal(run_out))


def _left_at_anchor(course: Course, fills: Sequence[tuple[date, Item]], chosen: Option) -> int:
    if course.joins or not fills:
        return max(0, course.left_at_anchor)
    covered = course.supply.run_out
    for on, item in fills:
        if on.toordinal() < chosen.anchor:
            covered = max(covered, on.toordinal()) + item.days_supply
    return max(0, covered - chosen.anchor)


# --- remarks: what a pharmacist wants to know besides ---


def _declined(rx_id: str, told: Told) -> list[Reason]:
    until = told.declined_until.get(rx_id)
    return [because("declined", until=until)] if until else []


def _about_fills(
    course: Course, fills: Sequence[tuple[date, Item]], chosen: Option, case: Case
) -> list[Reason]:
    """A fill below the minimum, a surplus from whole units, a supply that does not reach the next pickup."""
    remarks = []
    usual, minimum = course.supply.prescription.usual_days, case.rules.minimum_short_fill_days
    tiny = [item.days_supply for _, item in fills if item.days_supply < min(usual, minimum)]
    if tiny:
        remarks.append(because("below_minimum", days=tiny[0], minimum=minimum))
    if course.joins and any(on.toordinal() < course.joins for on, _ in fills):
        surplus = course.left_at_anchor if course.joins == chosen.anchor else course.covered_to - course.joins
        if surplus > 0:
            filled = [item.days_supply for on, item in fills if on.toordinal() < course.joins]
            remarks.append(_carried_over(surplus, filled[-1], course.supply, case))
    if course.joins == chosen.anchor and usual < case.cycle.days:
        remarks.append(because("supply_shorter_than_cycle", days=usual, cycle_days=case.cycle.days))
    return remarks


def _carried_over(surplus: int, days: int, supply: Supply, case: Case) -> Reason:
    """Why a bridge of so many days lasts past the joining day."""
    needed = days - surplus
    if case.cycle.bridge_cushion:
        return because("bridge_cushion", days=surplus)
    if supply.short_sizes is not None and needed not in supply.short_sizes:
        return because("next_size_paid", days=days, needed=needed)
    if supply.whole_units > 1:
        return because("whole_doses", units=supply.whole_units, days=surplus)
    if needed < case.rules.minimum_short_fill_days <= days:
        return because("at_least_minimum", needed=needed, minimum=case.rules.minimum_short_fill_days)
    return because("whole_units", days=surplus)


def _uncovered(course: Course, unavoidable: int, case: Case) -> list[Reason]:
    remarks = []
    if unavoidable:
        earliest = date.fromordinal(case.earliest)
        remarks.append(because("unavoidable", days=unavoidable, workable_on=earliest))
    if course.uncovered:
        remarks.append(because("uncovered", days=course.uncovered))
    return remarks


def with_what_must_happen(
    decisions: Iterable[Decision],
    renewals: Iterable[Renewal],
    today: date,
    authorizations: Mapping[str, Authorization] = NONE_ENDS,
    disused: Mapping[str, date] = NONE_DISUSED,
) -> tuple[Decision, ...]:
    """Each decision with what must be had before: a renewal, the payer's authorization, and by when.

    What is overdue has no day: the plan would change with every day that passes.
    """
    needed = {each.rx_id: each.needed_by for each in renewals}
    found = []
    for each in decisions:
        must = [
            *_disused(disused.get(each.rx_id)),
            *_renewal(needed.get(each.rx_id), today),
            *_authorization(each, today),
            *_authorization_ends(authorizations.get(each.rx_id), today),
        ]
        found.append(replace(each, reasons=(*each.reasons, *must)) if must else each)
    return tuple(found)


def _disused(run_out_on: date | None) -> list[Reason]:
    return [because("probably_not_taken", run_out_on=run_out_on)] if run_out_on else []


def _renewal(needed_by: date | None, today: date) -> list[Reason]:
    if needed_by is None:
        return []
    if needed_by > today:
        return [because("renewal_needed_by", on=needed_by)]
    return [because("renewal_needed_now")]


def _authorization(decision: Decision, today: date) -> list[Reason]:
    if not any(map(wants_authorization, decision.reasons)):
        return []
    if decision.run_out_on and decision.run_out_on > today:
        return [because("authorization_needed_by", on=decision.run_out_on)]
    return [because("authorization_needed_now")]


def _authorization_ends(ending: Authorization | None, today: date) -> list[Reason]:
    if ending is None:
        return []
    if ending.begin_on <= today:
        return [because("authorization_renew_now", until=ending.until)]
    return [because("authorization_renew_by", until=ending.until, on=ending.begin_on)]


# --- fills, offers, the plan as a whole ---


def item(course: Course, days: int, *, at_anchor: bool) -> Reason:
    """Why this fill, of so many days. A bridge that stands may last past the next pickup: then the drug joins none."""
    usual = course.supply.prescription.usual_days
    if course.supply.ride_along:
        return because("item_ride_along", days=days)
    if at_anchor and course.supply.fixed_quantity is not None:
        return because("item_staff", days=days)
    if days > usual:
        return because("item_long", days=days, usual=usual)
    if days == usual:
        return because("item_full", days=days)
    if at_anchor:
        return because("item_rest", days=days)
    until = course.supply.run_out if course.joins is None else course.joins
    return because("item_bridge", days=days, until=date.fromordinal(until))


def offer(option: Score, unavoidable: Mapping[str, int]) -> Offer:
    """One day as it is offered to the patient."""
    uncovered = sum(option.uncovered) + sum(unavoidable.values())
    return Offer(
        on=date.fromordinal(option.anchor),
        visits_before=option.visits_before,
        short_fills=option.short_fills,
        uncovered_days=uncovered,
        extra_cost=option.extra_cost,
        reason=because(
            "offered", visits=option.visits_before, short_fills=option.short_fills, uncovered=uncovered
        ),
    )


def why_this_day(verdict: Verdict, case: Case) -> tuple[Reason, ...]:
    """What the chosen day takes, what the usual rule, the latest run-out day, would have taken, and why none of the
    other days that are offered."""
    chosen = verdict.chosen
    best = because(
        "anchor_best",
        candidates=verdict.options,
        visits=chosen.visits_before,
        short_fills=chosen.short_fills,
        uncovered=sum(chosen.uncovered),
    )
    return (
        best,
        *_better_but_full(verdict, case),
        *_latest_due(verdict),
        *_no_other(chosen, verdict.offered, anchor.deciding([chosen], case.rules)),
    )


def _better_but_full(verdict: Verdict, case: Case) -> list[Reason]:
    """The day that the criteria alone would have chosen, where the store takes no more pickups on it."""
    best = verdict.were_there_no_cap
    if best is None or best.anchor == verdict.chosen.anchor:
        return []
    return [because("store_day_full", on=date.fromordinal(best.anchor), cap=case.daily_cap)]


def _latest_due(verdict: Verdict) -> list[Reason]:
    """What the usual rule would have taken."""
    usual = verdict.latest_due
    if usual is None or usual.anchor == verdict.chosen.anchor:
        return []
    compared = because(
        "instead_of_latest_due",
        on=date.fromordinal(usual.anchor),
        visits=usual.visits_before,
        short_fills=usual.short_fills,
        uncovered=sum(usual.uncovered),
    )
    return [compared]


def pinned(option: Option, case: Case) -> Reason:
    """Why the day is not open to choice: staff set it, or the patient was told."""
    on, ruling = date.fromordinal(option.anchor), case.staff_day
    if ruling is None or ruling.on != on:
        return because("anchor_agreed", on=on)
    return because(
        "staff_day",
        by=ruling.by,
        made_on=ruling.made_on,
        on=on,
        visits=option.visits_before,
        short_fills=option.short_fills,
        uncovered=sum(option.uncovered),
    )


def without_staff(free: Plan | Blocked, visits: int) -> Reason:
    """What would be planned without the rulings: what they cost is for staff to see."""
    if isinstance(free, Blocked):
        return because("without_staff_no_plan")
    return because(
        "without_staff",
        on=free.anchor_on,
        visits=visits,
        short_fills=free.short_fills,
        uncovered=free.uncovered_days - free.unavoidable_days,
    )


def _no_other(
    chosen: Score, offered: Sequence[Score], criteria: Sequence[anchor.Criterion]
) -> tuple[Reason, ...]:
    """Of each other day that is offered, by what it falls behind: the first criterion in which the two differ."""
    return tuple(
        (NOT_INSTEAD[first] if first else _not_instead)(chosen, other, date.fromordinal(other.anchor))
        for other in offered
        if other.anchor != chosen.anchor
        for first in [next((each for each in criteria if each(other) != each(chosen)), None)]
    )


def _more_uncovered(chosen: Score, other: Score, on: date) -> Reason:
    critical, here = other.uncovered[0], chosen.uncovered[0]
    if critical != here:
        return because("other_day_critical", on=on, days=critical, here=here)
    return because("other_day_uncovered", on=on, days=sum(other.uncovered), here=sum(chosen.uncovered))


def _more_short_fills(chosen: Score, other: Score, on: date) -> Reason:
    if other.short_fills + other.overrides != chosen.short_fills + chosen.overrides:
        if other.short_fills > chosen.short_fills:
            return because("other_day_short_fills", on=on, fills=other.short_fills, here=chosen.short_fills)
        return because("other_day_overrides", on=on, overrides=other.overrides, here=chosen.overrides)
    return because("other_day_below_minimum", on=on, fills=other.tiny_fills, here=chosen.tiny_fills)


def _not_instead(chosen: Score, other: Score, on: date) -> Reason:
    """No criterion tells the two apart: the least-loaded day, then the earliest."""
    if other.load != chosen.load:
        return because("other_day_fuller", on=on)
    return because("other_day_later", on=on)


NOT_INSTEAD: dict[anchor.Criterion, Callable[[Score, Score, date], Reason]] = {
    anchor.avoidable_uncovered_days: _more_uncovered,
    anchor.changes_to_what_was_told: lambda _, other, on: because(
        "other_day_changes_told", on=on, visits=other.told_changes
    ),
    anchor.extra_cost_above_limit: lambda _, other, on: because("other_day_above_cost_limit", on=on),
    anchor.visits_before_alignment: lambda chosen, other, on: because(
        "other_day_visits", on=on, visits=other.visits_before, here=chosen.visits_before
    ),
    anchor.short_fills_and_overrides: _more_short_fills,
    anchor.drugs_run_dry: lambda chosen, other, on: because(
        "other_day_run_dry", on=on, drugs=anchor.drugs_run_dry(other), here=anchor.drugs_run_dry(chosen)
    ),
    anchor.distance_from_preferred_day: lambda _, __, on: because("other_day_not_preferred", on=on),
    anchor.extra_cost: lambda _, other, on: because("other_day_costs_more", on=on),
    anchor.distance_from_cushion: lambda _, __, on: because("other_day_cushion", on=on),
}
"""How each criterion is said."""


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
