"""Why: every decision as reasons, codes with parameters; `shared.words` has the sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.eligibility import NOT_READ, Eligibility, wants_authorization
from services.planner.domain.explain_payer import explain_payer
from services.planner.domain.medication import Medication
from services.planner.domain.model import (
    Action,
    Commitments,
    Decision,
    Item,
    Participation,
    Reason,
    Renewal,
    because,
)
from services.planner.domain.paths import AMPLE, FillPath
from services.planner.domain.payers import NO_COST
from services.planner.domain.renewals import NONE_DISUSED, NONE_ENDS, Authorization
from services.planner.domain.search import Layout, Question


def left_out(part: Eligibility) -> Decision:
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
    part: Eligibility,
    chosen: Layout,
    fills_of: Mapping[str, Sequence[tuple[date, Item]]],
    unavoidable: Mapping[str, int],
    question: Question,
    commitments: Commitments,
    today: date,
) -> Decision:
    """What the plan does about one drug: how it takes part, what is done, and what that leaves open."""
    path = next((each for each in chosen.paths if each.medication.rx_id == part.prescription.rx_id), None)
    if path is None:
        return left_out(part)
    rx_id = path.medication.rx_id
    fills = fills_of.get(rx_id, ())
    action, joins_on, *what = _joined(part, path, fills, chosen)
    remarks = [
        *(_as_it_stands(each, path, fills, chosen) for each in part.remarks),
        *explain_payer(part, path, fills, question),
        *_declined(rx_id, commitments),
        *_about_fills(path, fills, chosen, question),
        *_uncovered(part, path, fills, unavoidable[rx_id], question, today),
        *_cost(path.medication, fills),
    ]
    return Decision(
        rx_id=rx_id,
        drug_name=part.prescription.drug.name,
        participation=part.participation,
        action=action,
        run_out_on=part.stock.run_out_on,
        joins_on=joins_on,
        days_left_at_anchor=_left_at_anchor(path, fills, chosen),
        reasons=(part.reason, *what, *remarks),
    )


def _joined(
    part: Eligibility, path: FillPath, fills: Sequence[tuple[date, Item]], chosen: Layout
) -> tuple[Action, date | None, *tuple[Reason, ...]]:
    """The action that brings a drug into the rhythm, the day on which it joins, and why then."""
    if path.joins is None:
        return _by_itself(path, fills, chosen)
    joins_on = date.fromordinal(path.joins)
    before = [(on, item) for on, item in fills if on < joins_on]
    if path.joins != chosen.anchor:
        return _joins_later(part, path, before, chosen, joins_on)
    not_filled = () if any(on == joins_on for on, _ in fills) else (because("not_filled", on=joins_on),)
    if before:
        action, reason = _bridged(part, path, before, joins_on)
        return action, joins_on, reason, *not_filled
    left, out_on = path.left, part.stock.run_out_on
    action = Action.early if left else Action.on_time
    if not_filled:
        return action, joins_on, *not_filled
    if left:
        return action, joins_on, because("early", days=left)
    late = out_on is not None and out_on < joins_on
    return action, joins_on, because("late", on=out_on) if late and out_on else because("on_time")


def _by_itself(
    path: FillPath, fills: Sequence[tuple[date, Item]], chosen: Layout
) -> tuple[Action, date | None, Reason]:
    """A drug that joins no slot is never called aligned, whatever the reason."""
    medication, run_out = path.medication, date.fromordinal(path.medication.run_out)
    why = because("never_joins", usual=medication.usual_days, cycle_days=chosen.score.rhythm.days)
    if not fills:
        return Action.not_due, None, why
    return (Action.early if fills[0][0] < run_out else Action.on_time), None, why


def _joins_later(
    part: Eligibility, path: FillPath, before: Sequence[tuple[date, Item]], chosen: Layout, joins_on: date
) -> tuple[Action, date, *tuple[Reason, ...]]:
    """Its stock lasts until it joins; or it is filled before, or lacking, for it could not be filled at the first
    slot."""
    medication, anchor_on = path.medication, date.fromordinal(chosen.anchor)
    if not path.windows and medication.run_out >= joins_on.toordinal():
        run_out_on = date.fromordinal(medication.run_out)
        return Action.not_due, joins_on, because("not_due", run_out_on=run_out_on, joins_on=joins_on)
    if len(before) == 1 and before[0][1].days_supply > medication.usual_days:
        [(on, item)] = before
        why = because("long_fill", days=item.days_supply, on=on, until=joins_on)
        return Action.long_fill, joins_on, why
    why = because("joins_at_later_slot", anchor_on=anchor_on, joins_on=joins_on)
    if medication.payment.ready > chosen.anchor and medication.payment.payer > chosen.anchor:
        payable = date.fromordinal(medication.payment.payer)
        why = because("join_later", payable_from=payable, anchor_on=anchor_on, joins_on=joins_on)
    elif medication.payment.ready > chosen.anchor:
        ready = date.fromordinal(medication.payment.ready)
        why = because("join_later_not_before", not_before=ready, anchor_on=anchor_on, joins_on=joins_on)
    elif before and _never_short(medication, chosen.anchor):
        why = because("whole_fills_only", on=before[0][0])
    return Action.join_later, joins_on, why, *(_bridged(part, path, before, joins_on)[1:] if before else ())


def _never_short(medication: Medication, anchor: int) -> bool:
    """May a tablet not be short-filled, for want of a size that is paid or for its price, to reach that pickup?"""
    gap = anchor - medication.run_out
    may_be_asked = not medication.packs and 0 < gap < medication.usual_days
    return may_be_asked and medication.short_fill(gap, AMPLE)[1] >= medication.usual_days


def _bridged(
    part: Eligibility, path: FillPath, before: Sequence[tuple[date, Item]], joins_on: date
) -> tuple[Action, Reason]:
    """The fills that bring it to its joining day, and how long they truly last."""
    usual = path.medication.usual_days
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


def _lasts_until(part: Eligibility, fills: Iterable[tuple[date, Item]]) -> date:
    """The day at whose start nothing is left after these fills."""
    out_on = part.stock.run_out_on or date.min
    for on, item in fills:
        out_on = max(out_on, on) + timedelta(days=item.days_supply)
    return out_on


def _left_at_anchor(path: FillPath, fills: Sequence[tuple[date, Item]], chosen: Layout) -> int:
    if path.joins == chosen.anchor:
        return path.left
    covered = path.medication.run_out
    for on, item in fills:
        if on.toordinal() < chosen.anchor:
            covered = max(covered, on.toordinal()) + item.days_supply
    return max(0, covered - chosen.anchor)


# --- remarks: what a pharmacist wants to know besides ---


def _as_it_stands(
    remark: Reason, path: FillPath, fills: Sequence[tuple[date, Item]], chosen: Layout
) -> Reason:
    """A quantity that staff set is without effect where the pickup stands with another."""
    wanted = path.medication.fixed_quantity
    at_anchor = [item.quantity for on, item in fills if on.toordinal() == chosen.anchor]
    if (
        remark.code != "staff_quantity"
        or path.medication.days_left_at_fixed_visit is None
        or at_anchor == [wanted]
    ):
        return remark
    return Reason(
        "staff_idle", {"by": remark.params["by"], "made_on": remark.params["made_on"], "what": "quantity"}
    )


def _declined(rx_id: str, commitments: Commitments) -> list[Reason]:
    until = commitments.declined_until.get(rx_id)
    return [because("declined", until=until)] if until else []


def _about_fills(
    path: FillPath, fills: Sequence[tuple[date, Item]], chosen: Layout, question: Question
) -> list[Reason]:
    """A fill below the minimum, a surplus from whole units, a supply that does not reach the next pickup."""
    remarks = []
    usual, minimum = path.medication.usual_days, question.rules.minimum_short_fill_days
    tiny = [item.days_supply for _, item in fills if item.days_supply < min(usual, minimum)]
    if tiny:
        remarks.append(because("below_minimum", days=tiny[0], minimum=minimum))
    if path.joins is None:
        return remarks
    filled = [item.days_supply for on, item in fills if on.toordinal() < path.joins]
    if filled and path.left > 0:
        remarks.append(_carried_over(path.left, filled[-1], path, question))
    apart = chosen.next_due(path) - path.joins
    if path.joins == chosen.anchor and path.joining[1] + path.left < apart:
        remarks.append(because("supply_shorter_than_cycle", days=path.joining[1], cycle_days=apart))
    return remarks


def _carried_over(surplus: int, days: int, path: FillPath, question: Question) -> Reason:
    """Why the fills before last past the joining day."""
    medication, needed = path.medication, days - surplus
    if days >= medication.usual_days:
        return because("left_at_joining", days=surplus)
    if medication.short_sizes is not None and needed not in medication.short_sizes:
        return because("next_size_paid", days=days, needed=needed)
    if medication.whole_units > 1:
        return because("whole_doses", units=medication.whole_units, days=surplus)
    if needed < question.rules.minimum_short_fill_days <= days and surplus > medication.bridge_cushion:
        return because("at_least_minimum", needed=needed, minimum=question.rules.minimum_short_fill_days)
    if medication.bridge_cushion:
        return because("bridge_cushion", days=surplus)
    if medication.short_fill(needed, AMPLE)[1] == needed:  # the slot came earlier than the bridge was for
        return because("left_at_joining", days=surplus)
    return because("whole_units", days=surplus)


def _uncovered(
    part: Eligibility,
    path: FillPath,
    fills: Sequence[tuple[date, Item]],
    unavoidable: int,
    question: Question,
    today: date,
) -> list[Reason]:
    remarks = []
    if unavoidable:
        earliest = date.fromordinal(question.earliest)
        filled_sooner = any(on < earliest for on, _ in fills)
        lost_from = max(part.stock.run_out_on or today, today)
        workable_on = earliest if filled_sooner else lost_from + timedelta(days=unavoidable)
        remarks.append(because("unavoidable", days=unavoidable, workable_on=workable_on))
    if path.uncovered:
        remarks.append(because("uncovered", days=path.uncovered))
    return remarks


def _cost(medication: Medication, fills: Sequence[tuple[date, Item]]) -> list[Reason]:
    """What all its fills cost the patient beyond the usual, where that is known and anything."""
    if medication.monthly_copay is None:
        return []
    cost = sum((medication.extra_cost(item.days_supply) or NO_COST for _, item in fills), NO_COST)
    return [because("costs_more", cost=cost)] if cost else []


def with_what_must_happen(
    decisions: Iterable[Decision],
    renewals: Iterable[Renewal],
    today: date,
    authorizations: Mapping[str, Authorization] = NONE_ENDS,
    likely_discontinued: Mapping[str, date] = NONE_DISUSED,
) -> tuple[Decision, ...]:
    """Each decision with what must be had before: a renewal, the payer's authorization, and by when.

    What is overdue has no day: the plan would change with every day that passes.
    """
    needed = {each.rx_id: each for each in renewals}
    found = []
    for each in decisions:
        must = [
            *_likely_discontinued(likely_discontinued.get(each.rx_id)),
            *_renewal(needed.get(each.rx_id), each, today),
            *_authorization(each, today),
            *_authorization_ends(authorizations.get(each.rx_id), today),
            *_answer(each, today),
        ]
        found.append(replace(each, reasons=(*each.reasons, *must)) if must else each)
    return tuple(found)


def _likely_discontinued(run_out_on: date | None) -> list[Reason]:
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
        *(
            "on_hold",
            "same_ingredient",
            "stock_unknown",
            "days_supply_unknown",
            "fill_days_unknown",
            "payer_refused",
        ),
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


def item(path: FillPath, days: int, *, at_anchor: bool) -> Reason:
    """Why this fill, of so many days. A bridge that stands may last past the next pickup: then the drug joins none."""
    medication = path.medication
    usual = medication.usual_days
    if medication.packs:
        return because("item_ride_along", days=days)
    if at_anchor and medication.fixed_quantity is not None:
        return because("item_staff", days=days)
    if days > usual:
        return because("item_long", days=days, usual=usual)
    if days == usual:
        return because("item_full", days=days)
    if at_anchor:
        return because("item_rest", days=days)
    until = medication.run_out if path.joins is None else path.joins
    return because("item_bridge", days=days, until=date.fromordinal(until))
