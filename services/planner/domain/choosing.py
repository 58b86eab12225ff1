"""Which day: the one that was told where it stands, the nearest to the one asked for, or the best that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from services.planner.domain import explain_day
from services.planner.domain.commitments import FixedVisit
from services.planner.domain.model import (
    Commitments,
    Reason,
    StaffDecision,
    because,
)
from services.planner.domain.question import stands_on
from services.planner.domain.search import Layout, Question, Verdict, choose, layout_on

NEAREST = 90
"""Days looked at to find the one nearest to the day that somebody asks for."""


@dataclass(frozen=True, slots=True)
class Found:
    """The day that was chosen, the best to offer, and why."""

    chosen: Layout
    why: tuple[Reason, ...]
    verdict: Verdict | None = None


def choose_day(
    question: Question, commitments: Commitments, pin: date | None, standing: Sequence[FixedVisit]
) -> Found | None:
    """The chosen day, the days to offer, and why; None where on no day anything could be dispensed."""
    agreed = layout_on(question, pin.toordinal()) if pin else None
    if agreed and stands_on(pin, standing):
        return Found(agreed, explain_day.pinned(agreed, question, standing))
    asks = commitments.wanted_on if commitments.instead_of == commitments.anchor_on else None
    by_staff = question.staff_day if question.staff_day and question.staff_day.on == pin else None
    if agreed and not asks and (by_staff or not any(agreed.score.uncovered)):
        return Found(agreed, explain_day.pinned(agreed, question, standing))
    if asks:
        return _nearest_to(asks, question, agreed)
    if pin and not by_staff and pin.toordinal() not in question.pickup and not stands_on(pin, standing):
        return _nearest_open(pin, question)
    return _best(question, commitments, pin, by_staff, standing)


def _yesterdays(
    verdict: Verdict, question: Question, commitments: Commitments, days: Sequence[int]
) -> Verdict:
    """Before anything is agreed the cycle of yesterday stays, unless another is better by a whole trip."""
    before = commitments.rhythm.cycle_days if commitments.rhythm and not commitments.agreed else None
    same = [rhythm for rhythm in question.rhythms if rhythm.days == before]
    if not same or verdict.chosen.score.rhythm.days == before:
        return verdict
    kept = choose(replace(question, rhythms=tuple(same)), days, question.rules.offered_days)
    if kept is None or kept.chosen.score.uncovered > verdict.chosen.score.uncovered:
        return verdict
    return kept if kept.chosen.score.burden - verdict.chosen.score.burden < 1 else verdict


def _best(
    question: Question,
    commitments: Commitments,
    pin: date | None,
    by_staff: StaffDecision | None,
    standing: Sequence[FixedVisit],
) -> Found | None:
    """The day that the criteria choose; the one that was told is always among the candidates."""
    days = question.pickup.days
    verdict = choose(question, days, question.rules.offered_days)
    if verdict is None:
        return None
    verdict = _yesterdays(verdict, question, commitments, days)
    household = None
    if question.household:
        verdict, household = _with_household(verdict, question)
    why = (
        *explain_day.why_this_day(verdict, question, standing),
        *_better_but_full(verdict.chosen, question, days),
    )
    if household:
        why = (household, *why)
    chosen = verdict.chosen
    if pin and by_staff:
        why = (_staff_day_refused(pin, by_staff.by, question), *why)
    elif pin and chosen.anchor == pin.toordinal():
        why = explain_day.pinned(chosen, question, standing)
    elif pin and any(verdict.chosen.score.uncovered) is False and layout_on(question, pin.toordinal()):
        why = (because("anchor_moved_uncovered", told=pin, on=date.fromordinal(chosen.anchor)), *why)
    elif pin:
        why = (because("anchor_moved_nothing_due", told=pin), *why)
    return Found(chosen, why, verdict)


def _better_but_full(chosen: Layout, question: Question, days: Sequence[int]) -> list[Reason]:
    """The day that the criteria alone would have chosen, where the store takes no more pickups on it."""
    if not 0 < question.daily_cap <= max(question.load.values(), default=0):
        return []
    were_there_no_cap = choose(replace(question, daily_cap=0), days)
    if were_there_no_cap is None or were_there_no_cap.chosen.anchor == chosen.anchor:
        return []
    on = date.fromordinal(were_there_no_cap.chosen.anchor)
    return [because("store_day_full", on=on, cap=question.daily_cap)]


def _staff_day_refused(on: date, by: str, question: Question) -> Reason:
    """`moved` says why the store, or the patient, takes no pickup on it."""
    if on.toordinal() in question.pickup:
        return because("staff_day_nothing_due", by=by, on=on)
    return because("staff_day_closed", by=by, on=on)


def _with_household(best: Verdict, question: Question) -> tuple[Verdict, Reason]:
    """On the day of others of the household, unless a drug would be lacking for longer and it is no must."""
    together = [day for day in question.pickup.days if day in question.household]
    shared = choose(question, together) if together else None
    if shared is None:
        return best, because("household_not_possible")
    on = date.fromordinal(shared.chosen.anchor)
    if question.household_must or shared.chosen.score.uncovered <= best.chosen.score.uncovered:
        return shared, because("household_day", on=on)
    return best, because("household_apart", on=on)


def _nearest_to(asks: date, question: Question, agreed: Layout | None) -> Found | None:
    """The day nearest to the one that the patient asks for, the earlier of two, that leaves nobody without a drug and
    at which no drug joins later that would have joined at the pickup they were told of."""
    wanted_on = asks.toordinal()
    near = sorted(
        (day for day in question.pickup.days if abs(day - wanted_on) <= NEAREST),
        key=lambda day: (abs(day - wanted_on), day),
    )
    free = replace(question, promises=replace(question.promises, pickup=None))
    layouts = []
    for day in near:
        layout = layout_on(free, day)
        if layout:
            layouts.append(layout)
            may_join_later = agreed.joins_later if agreed else layout.joins_later
            if (
                not any(layout.score.uncovered)
                and layout.joins_later <= may_join_later
                and not layout.score.full
            ):
                break
    else:
        if not layouts:
            return None
        layout = min(layouts, key=lambda each: (each.score.uncovered, len(each.joins_later)))
    return Found(layout, (explain_day.rescheduled(asks, date.fromordinal(layout.anchor)),))


def _nearest_open(agreed_on: date, question: Question) -> Found | None:
    """In place of a day on which the store is closed now: earlier where there is such a day, for later leaves a gap."""
    day = agreed_on.toordinal()
    earlier = [each for each in reversed(question.pickup.days) if day - NEAREST <= each < day]
    later = [each for each in question.pickup.days if day < each <= day + NEAREST]
    layouts = (layout_on(question, each) for each in (*earlier, *later))
    found = next((layout for layout in layouts if layout and not layout.score.full), None)
    if found is None:
        return None
    return Found(found, (because("anchor_moved_closed", told=agreed_on, on=date.fromordinal(found.anchor)),))
