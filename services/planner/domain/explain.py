"""Why: every decision as reasons, codes with parameters; `shared.words` has the sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.anchor import Case, Option
from services.planner.domain.course import Course, Supply, next_due
from services.planner.domain.model import (
    Action,
    Decision,
    Item,
    Participation,
    Reason,
    Renewal,
    Told,
    because,
)
from services.planner.domain.participation import NOT_READ, Part, wants_authorization
from services.planner.domain.payers import NO_COST
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
    today: date,
) -> Decision:
    """What the plan does about one drug: how it takes part, what is done, and what that leaves open."""
    course = next((each for each in chosen.courses if each.supply.rx_id == part.prescription.rx_id), None)
    if course is None:
        return left_out(part)
    rx_id = course.supply.rx_id
    fills = fills_of.get(rx_id, ())
    if course.supply.ride_along:
        action, joins_on, *what = _ride_along(course, fills, chosen)
    else:
        action, joins_on, *what = _synchronized(part, course, fills, chosen, case)
    remarks = [
        *(_as_it_stands(each, course, fills, chosen) for each in part.remarks),
        *payers_word(part, course, fills, case),
        *_declined(rx_id, told),
        *_about_fills(course, fills, chosen, case),
        *_uncovered(part, course, fills, unavoidable[rx_id], case, today),
        *_cost(course.supply, fills),
    ]
    return Decision(
        rx_id=rx_id,
        drug_name=part.prescription.drug.name,
        participation=part.participation,
        action=action,
        run_out_on=part.stock.run_out_on,
        joins_on=joins_on,
        days_left_at_anchor=_left_at_anchor(course, fills, chosen),
        reasons=(part.reason, *what, *remarks),
    )


def _synchronized(
    part: Part, course: Course, fills: Sequence[tuple[date, Item]], chosen: Option, case: Case
) -> tuple[Action, date, *tuple[Reason, ...]]:
    """The action that brings a synchronized drug to its joining day."""
    run_out_on = date.fromordinal(course.supply.run_out)
    if course.joins is None and course.needs:
        return _not_due_after(course, fills, chosen, case)
    if course.joins is None:
        joins_on = date.fromordinal(next_due(course, chosen.second, case.cycle.days))
        return Action.not_due, joins_on, because("not_due", run_out_on=run_out_on, joins_on=joins_on)
    joins_on = date.fromordinal(course.joins)
    before = [(on, item) for on, item in fills if on < joins_on]
    if course.joins == chosen.second:
        bridged = _bridged(part, course, before, joins_on)[1:] if before else ()
        return Action.join_later, joins_on, _joins_later(course, chosen, joins_on), *bridged
    not_filled = () if any(on == joins_on for on, _ in fills) else (because("not_filled", on=joins_on),)
    if before:
        action, reason = _bridged(part, course, before, joins_on)
        return action, joins_on, reason, *not_filled
    left, out_on = course.left_at_anchor, part.stock.run_out_on
    action = Action.early if left else Action.on_time
    if not_filled:
        return action, joins_on, *not_filled
    if left:
        return action, joins_on, because("early", days=left)
    late = out_on is not None and out_on < joins_on
    return action, joins_on, because("late", on=out_on) if late and out_on else because("on_time")


def _bridged(
    part: Part, course: Course, before: Sequence[tuple[date, Item]], joins_on: date
) -> tuple[Action, Reason]:
    """The fills that bring it to its joining day, and how long they truly last."""
    usual = course.supply.prescription.usual_days
    full = sum(item.days_supply >= usual for _, item in before)
    short = [item.days_supply for _, item in before if item.days_supply < usual]
    until = _lasts_until(part, before)
    if full and short:
        why = because("full_then_bridge", fills=full, days=sum(short), until=until)
        return Action.full_then_bridge, why
    if full and before[-1][1].days_supply > usual:
        return Action.full_then_bridge, because("long_fill_before", fills=full, until=until)
    if full:
        return Action.full_then_bridge, because("full_fills", fills=full, until=until)
    if len(short) > 1:
        return Action.bridge, because("short_fills", fills=len(short), days=sum(short), until=until)
    [(on, item)] = before
    if until < joins_on:
        return Action.bridge, because("bridge_falls_short", days=item.days_supply, on=on, until=until)
    return Action.bridge, because("bridge", days=item.days_supply, on=on, until=until)


def _lasts_until(part: Part, fills: Iterable[tuple[date, Item]]) -> date:
    """The day at whose start nothing is left after these fills."""
    out_on = part.stock.run_out_on or date.min
    for on, item in fills:
        out_on = max(out_on, on) + timedelta(days=item.days_supply)
    return out_on


def _not_due_after(
    course: Course, fills: Sequence[tuple[date, Item]], chosen: Option, case: Case
) -> tuple[Action, date, Reason]:
    """One long fill before the synchronized pickup lasts past it; or a usual one, where no short one is paid."""
    on, item = fills[-1]
    joins_on = date.fromordinal(next_due(course, chosen.second, case.cycle.days))
    if item.days_supply <= course.supply.prescription.usual_days:
        return Action.join_later, joins_on, because("whole_fills_only", on=fills[0][0])
    return Action.long_fill, joins_on, because("long_fill", days=item.days_supply, on=on, until=joins_on)


def _joins_later(course: Course, chosen: Option, joins_on: date) -> Reason:
    anchor_on, payment = date.fromordinal(chosen.anchor), course.supply.payment
    if payment.payer > chosen.anchor and not payment.early:
        payable = date.fromordinal(payment.payer)
        return because("join_later", payable_from=payable, anchor_on=anchor_on, joins_on=joins_on)
    if payment.ready > chosen.anchor:
        ready = date.fromordinal(payment.ready)
        return because("join_later_not_before", not_before=ready, anchor_on=anchor_on, joins_on=joins_on)
    return because("join_later_visit_stands", anchor_on=anchor_on, joins_on=joins_on)


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


def _as_it_stands(
    remark: Reason, course: Course, fills: Sequence[tuple[date, Item]], chosen: Option
) -> Reason:
    """A quantity that staff set is without effect where the pickup stands with another."""
    wanted = course.supply.fixed_quantity
    at_anchor = [item.quantity for on, item in fills if on.toordinal() == chosen.anchor]
    if remark.code != "staff_quantity" or course.supply.joined_with is None or at_anchor == [wanted]:
        return remark
    return Reason(
        "staff_idle", {"by": remark.params["by"], "made_on": remark.params["made_on"], "what": "quantity"}
    )


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
    apart = chosen.second - chosen.anchor
    if course.joins == chosen.anchor and usual < apart and course.covered_to < chosen.second:
        remarks.append(because("supply_shorter_than_cycle", days=usual, cycle_days=apart))
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


def _uncovered(
    part: Part,
    course: Course,
    fills: Sequence[tuple[date, Item]],
    unavoidable: int,
    case: Case,
    today: date,
) -> list[Reason]:
    remarks = []
    if unavoidable:
        earliest = date.fromordinal(case.earliest)
        filled_sooner = any(on < earliest for on, _ in fills)
        lost_from = max(part.stock.run_out_on or today, today)
        workable_on = earliest if filled_sooner else lost_from + timedelta(days=unavoidable)
        remarks.append(because("unavoidable", days=unavoidable, workable_on=workable_on))
    if course.uncovered:
        remarks.append(because("uncovered", days=course.uncovered))
    return remarks


def _cost(supply: Supply, fills: Sequence[tuple[date, Item]]) -> list[Reason]:
    """What all its fills cost the patient beyond the usual, where that is known and anything."""
    if supply.monthly_copay is None:
        return []
    cost = sum((supply.extra_cost(item.days_supply) or NO_COST for _, item in fills), NO_COST)
    return [because("costs_more", cost=cost)] if cost else []


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
    needed = {each.rx_id: each for each in renewals}
    found = []
    for each in decisions:
        must = [
            *_disused(disused.get(each.rx_id)),
            *_renewal(needed.get(each.rx_id), each, today),
            *_authorization(each, today),
            *_authorization_ends(authorizations.get(each.rx_id), today),
            *_answer(each, today),
        ]
        found.append(replace(each, reasons=(*each.reasons, *must)) if must else each)
    return tuple(found)


def _disused(run_out_on: date | None) -> list[Reason]:
    return [because("probably_not_taken", run_out_on=run_out_on)] if run_out_on else []


def _renewal(renewal: Renewal | None, decision: Decision, today: date) -> list[Reason]:
    """By when, and why, unless the drug is out for that very reason."""
    if renewal is None:
        return []
    late = renewal.needed_by <= today
    by = because("renewal_needed_now") if late else because("renewal_needed_by", on=renewal.needed_by)
    return [by] if decision.participation is Participation.excluded else [by, renewal.reason]


def _authorization(decision: Decision, today: date) -> list[Reason]:
    if not any(map(wants_authorization, decision.reasons)):
        return []
    if decision.run_out_on and decision.run_out_on > today:
        return [because("authorization_needed_by", on=decision.run_out_on)]
    return [because("authorization_needed_now")]


ASKED = frozenset(
    {
        *("on_hold", "same_ingredient", "stock_unknown", "days_supply_unknown", "payer_refused"),
        *(each.code for each in NOT_READ.values()),
    }
)
"""Reasons to leave a drug out that wait for somebody's answer."""


def _answer(decision: Decision, today: date) -> list[Reason]:
    """By when a question about a drug that is left out has to be answered."""
    first, out_on = decision.reasons[0], decision.run_out_on
    if first.code not in ASKED or out_on is None or wants_authorization(first):
        return []
    return [because("answer_needed_by", on=out_on) if out_on > today else because("answer_needed_now")]


def _authorization_ends(ending: Authorization | None, today: date) -> list[Reason]:
    if ending is None:
        return []
    if ending.begin_on <= today:
        return [because("authorization_renew_now", until=ending.until)]
    return [because("authorization_renew_by", until=ending.until, on=ending.begin_on)]


# --- fills ---


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
    if at_anchor or (course.joins is not None and course.covered_to < course.joins):
        return because("item_rest", days=days)
    until = course.supply.run_out if course.joins is None else course.joins
    return because("item_bridge", days=days, until=date.fromordinal(until))
