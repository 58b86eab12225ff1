"""What the search starts from: which days can be chosen, in which rhythms, and what was promised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.availability import (
    can_come_on,
    is_limited,
    unavailable_days,
)
from services.planner.domain.calendar import PickupDays, pickup_days
from services.planner.domain.commitments import FixedVisit
from services.planner.domain.medication import Medication
from services.planner.domain.model import (
    Commitments,
    PromisedItem,
    PromisedVisit,
    Reason,
    Rules,
    StaffDecisionKind,
    VisitKind,
    because,
)
from services.planner.domain.rhythm import Rhythm, every_rhythm, fit_of, rhythms_of
from services.planner.domain.search import Promises, Question
from services.planner.domain.situation import Situation
from services.planner.domain.urgent import urgent_days, with_urgency


def pin_of(at: Situation, near: Sequence[PromisedVisit], standing: Sequence[FixedVisit]) -> date | None:
    """The agreed day of the next pickup, unless it passed, or is so near that its visit stood and has nothing left to
    fill."""
    commitments = at.commitments
    if commitments.anchor_on is None or commitments.anchor_on < at.today:
        return None
    is_near = any(visit.on == commitments.anchor_on for visit in near)
    return commitments.anchor_on if not is_near or stands_on(commitments.anchor_on, standing) else None


def stands_on(day: date | None, standing: Sequence[FixedVisit]) -> bool:
    """Whether the synchronized pickup of that day stands as it was told."""
    return any(each.visit.on == day and each.visit.kind is VisitKind.synchronized for each in standing)


def _rhythms(at: Situation, medications: Sequence[Medication]) -> tuple[tuple[Rhythm, ...], Reason | None]:
    """The rhythms to choose among: the one that was stated; else, once one is agreed, that; else all. Where no drug
    lasts the cycle, all; and where none lasts any of them, the one that the longest lasts."""
    rules = at.rules
    rhythms, why = rhythms_of(at.profile, rules)
    kept = at.commitments.rhythm if at.commitments.agreed else None
    if kept and len(rhythms) > 1:
        cushion = rules.day_of_month_cushion_days if kept.day_of_month else rules.bridge_cushion_days
        rhythms = (Rhythm(kept.cycle_days, kept.day_of_month, cushion),)
    if _one_fits(rhythms, medications):
        return rhythms, why
    if len(rhythms) == 1:
        why = because("cycle_fits_no_drug", days=round(rhythms[0].apart))
    if _one_fits(every_rhythm(rules), medications):
        return every_rhythm(rules), why
    longest = max(max(each.usual_days, each.wait(each.usual_days)) for each in medications)
    return (Rhythm(longest, bridge_cushion=rules.bridge_cushion_days),), why


def _one_fits(rhythms: Sequence[Rhythm], medications: Sequence[Medication]) -> bool:
    usual = tuple(each.usual_days for each in medications)
    return any(fit_of(each, rhythm, usual) for rhythm in rhythms for each in medications)


def question_of(
    at: Situation,
    medications: Sequence[Medication],
    standing: Sequence[FixedVisit],
    workable: date,
    pin: date | None,
) -> Question:
    """What the search is asked: the drugs, the days, the rhythms, and what was promised.

    `workable` is the first day on which the patient can be served with the usual lead, `pin` the agreed day.
    """
    profile, rules, commitments = at.profile, at.rules, at.commitments
    rhythms, other_cycle = _rhythms(at, medications)
    asked = {day.toordinal() for day in (pin, commitments.wanted_on) if day}
    stood = {each.visit.on.toordinal() for each in standing}
    end = _last_day(rhythms, medications, workable, asked, rules)
    pickup = _pickup_days(at, asked, stood, end)
    cushion = max(rhythm.bridge_cushion for rhythm in rhythms)
    drugs = [replace(each, bridge_cushion=cushion) if cushion else each for each in medications]
    soon = _before_the_lead(at, stood)
    if at.urgently and soon:
        drugs = with_urgency(drugs, pickup, workable.toordinal(), soon, rules, at.today.toordinal())
    urgent = urgent_days(drugs, soon)
    return Question(
        medications=tuple(drugs),
        pickup=_pickup_days(at, asked | set(urgent), stood, end) if urgent else pickup,
        today=at.today.toordinal(),
        earliest=workable.toordinal(),
        rhythms=rhythms,
        rules=rules,
        promises=_promises(commitments, stood, at.today),
        urgent_days=urgent,
        preferred_weekday=profile.preferred_weekday,
        load={day.toordinal(): load for day, load in at.calendar.load.items()},
        daily_cap=at.calendar.daily_cap,
        extra_cost_limit=rules.extra_cost_limit
        if profile.extra_cost_limit is None
        else profile.extra_cost_limit,
        staff_day=at.staff_decisions.get((StaffDecisionKind.day, None)),
        household=frozenset(day.toordinal() for day in profile.household_on if day >= at.today),
        household_must=profile.household_must,
        other_cycle=other_cycle,
    )


def _last_day(
    rhythms: Sequence[Rhythm],
    medications: Sequence[Medication],
    workable: date,
    asked: Collection[int],
    rules: Rules,
) -> int:
    """The end of the horizon: two cycles after the day on which every drug has been filled once."""
    covered = max(
        max(each.needed_from, each.payment.ready, workable.toordinal()) + each.usual_days
        for each in medications
    )
    longest = max(rhythm.days for rhythm in rhythms)
    return max([covered, *asked]) + 2 * longest + rules.settling_days


def _lead(at: Situation) -> int:
    return (at.today + timedelta(days=at.rules.lead_days)).toordinal()


def _pickup_days(at: Situation, extra: set[int], stood: Collection[int], end: int) -> PickupDays:
    return pickup_days(
        at.calendar,
        first=at.today.toordinal(),
        workable=_lead(at),
        last=end,
        weekdays=at.profile.must_weekdays,
        extra=extra,
        without=stood,
        unavailable_days=unavailable_days(at.profile, _lead(at), end),
        limited=is_limited(at.profile),
    )


def _before_the_lead(at: Situation, stood: Collection[int]) -> set[int]:
    """The days before the usual lead on which the patient could come, were it urgent."""
    first = at.today.toordinal()
    from_on = max(first, at.commitments.not_before.toordinal()) if at.commitments.not_before else first
    return {
        day
        for day in range(from_on, _lead(at))
        if day not in stood
        and at.calendar.is_open(date.fromordinal(day))
        and can_come_on(date.fromordinal(day), at.profile)
    }


def _promises(commitments: Commitments, stood: set[int], today: date) -> Promises:
    """What may still be broken: the visits before or after the pickup, one that the patient asks to be moved on the day
    asked for; the day of the pickup, and when drugs were to join."""
    visits: dict[str, dict[int, PromisedItem]] = defaultdict(dict)
    for visit in commitments.visits:
        if visit.on >= today and visit.on != commitments.anchor_on and visit.on.toordinal() not in stood:
            on = (
                commitments.wanted_on
                if commitments.wanted_on and visit.on == commitments.instead_of
                else visit.on
            )
            for item in visit.items:
                visits[item.rx_id][on.toordinal()] = item
    return Promises(
        pickup=commitments.anchor_on.toordinal() if commitments.anchor_on else None,
        visits=dict(visits),
        joins={rx_id: on.toordinal() for rx_id, on in commitments.rhythm.joins.items() if on >= today}
        if commitments.agreed and commitments.rhythm
        else {},
        moved=_moved(commitments),
        again=_again(commitments),
    )


def _again(commitments: Commitments) -> int | None:
    """The pickup after the pin; where that was not given, the first after it on which a drug was to join."""
    if not (commitments.agreed and commitments.anchor_on):
        return None
    joining = (
        (on for on in commitments.rhythm.joins.values() if on > commitments.anchor_on)
        if commitments.rhythm
        else ()
    )
    again = commitments.next_anchor_on or min(joining, default=None)
    return again.toordinal() if again else None


def _moved(commitments: Commitments) -> tuple[int, int] | None:
    if (
        commitments.wanted_on is None
        or commitments.instead_of is None
        or commitments.instead_of == commitments.anchor_on
    ):
        return None
    return commitments.instead_of.toordinal(), commitments.wanted_on.toordinal()
