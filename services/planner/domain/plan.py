"""One patient in, one plan out: the entry to the rules of planning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TypeAlias, TypeVar
from uuid import uuid5

from services.planner.domain import explain, explain_day
from services.planner.domain.anchor import (
    Case,
    Option,
    Question,
    Score,
    Verdict,
    arrange,
    arrange_all,
    below_cap,
    candidates,
    judge,
    nearest_feasible,
)
from services.planner.domain.calendar import Calendar, first_workable, pickup_days
from services.planner.domain.course import Supply
from services.planner.domain.cycles import A_MONTH, cycle_of
from services.planner.domain.grants import Grant, granted
from services.planner.domain.model import (
    Blocked,
    FillKind,
    Participation,
    Plan,
    Profile,
    Reason,
    Rules,
    Ruling,
    RulingKind,
    Told,
    ToldVisit,
    VisitKind,
    because,
)
from services.planner.domain.musts import (
    as_open_to,
    barred,
    halt,
    halt_ends_on,
    is_limited,
    lead_of,
    limits_of,
    moved,
    suits,
    way_out,
    without_limits,
)
from services.planner.domain.participation import NO_RULINGS, Part, renewed_by, take_part
from services.planner.domain.renewals import NO_FILLS, authorizations_ending, disused, renewals_needed, wanted
from services.planner.domain.rulings import Key, in_force, ruled, with_day
from services.planner.domain.supplies import dear, not_before, not_by_billed_days, supply_of
from services.planner.domain.timing import paid_early, timed
from services.planner.domain.told import Standing, commit, that_stand
from services.planner.domain.trips import IDS, extra_cost_of, fills_of, visits_of, with_steps

OPEN_DAY_WITHIN = 60
"""Days in which a store is expected to open at all."""


def plan_id_of(patient_id: str, cycle: int) -> str:
    """One plan per patient and cycle."""
    return str(uuid5(IDS, f"plan {patient_id} {cycle}"))


T = TypeVar("T")

Planning: TypeAlias = Generator[Question, Verdict | None, T]
"""Planning that pauses wherever the criteria have to choose, so that many patients can be judged together."""

JudgeAll: TypeAlias = Callable[[Sequence[Question]], Sequence[Verdict | None]]


def plan_cycle(
    profile: Profile, calendar: Calendar, rules: Rules, today: date, told: Told, cycle: int
) -> Plan | Blocked:
    """The plan of the patient's current cycle as of `today`, or why there can be none.

    Pure: the same values give the same plan. `told` is what must not change without need: the agreed anchor date,
    visits that the patient was told of, what was declined. Where staff decided something, the plan says what would be
    without.
    """
    [plan] = finished([planning(profile, calendar, rules, today, told, cycle)])
    return plan


def one_by_one(questions: Sequence[Question]) -> list[Verdict | None]:
    """Judge each patient by the readable form of the rules."""
    return [judge(question) for question in questions]


def finished(plannings: Sequence[Planning[T]], judge_all: JudgeAll = one_by_one) -> list[T]:
    """What comes of the planning of these patients, whose questions are judged together."""
    ended: dict[int, T] = {}
    answers: dict[int, Verdict | None] = dict.fromkeys(range(len(plannings)))
    while answers:
        questions: dict[int, Question] = {}
        for number, verdict in answers.items():
            try:
                questions[number] = plannings[number].send(verdict)
            except StopIteration as end:
                ended[number] = end.value
        answers = dict(zip(questions, judge_all(list(questions.values())), strict=True))
    return [ended[number] for number in range(len(plannings))]


def planning(
    profile: Profile, calendar: Calendar, rules: Rules, today: date, told: Told, cycle: int
) -> Planning[Plan | Blocked]:
    """As `plan_cycle`, pausing."""
    halted = halt(profile, today)
    if halted:
        return Blocked((halted,), look_again_on=halt_ends_on(profile, today))
    rulings = in_force(profile.rulings, today, cycle)
    lead_days = lead_of(profile, calendar, rules)
    by_letter_on = told.not_before if told.not_before and (told.not_before - today).days > lead_days else None
    lead_days = (by_letter_on - today).days if by_letter_on else lead_days
    rules = rules if lead_days == rules.lead_days else replace(rules, lead_days=lead_days)
    plan = yield from _plan(profile, calendar, rules, today, with_day(told, rulings), cycle, rulings)
    if by_letter_on and isinstance(plan, Plan):
        plan = replace(plan, reasons=(*plan.reasons, because("by_letter", on=by_letter_on)))
    if is_limited(profile) and (isinstance(plan, Blocked) or plan.uncovered_days):
        free = yield from _plan(
            without_limits(profile), calendar, rules, today, with_day(told, rulings), cycle, rulings
        )
        plan = replace(plan, reasons=(*plan.reasons, *way_out(plan, free, profile, calendar)))
    if not rulings or isinstance(plan, Blocked):
        return plan
    free = yield from _plan(profile, calendar, rules, today, told, cycle, NO_RULINGS)
    return replace(plan, reasons=(*plan.reasons, explain_day.without_staff(free)))


def _plan(
    profile: Profile,
    calendar: Calendar,
    rules: Rules,
    today: date,
    told: Told,
    cycle: int,
    rulings: Mapping[Key, Ruling],
) -> Planning[Plan | Blocked]:
    hours, calendar = calendar, as_open_to(calendar, profile, today)
    lead = today + timedelta(days=rules.lead_days)
    workable = first_workable(calendar, lambda day: suits(day, profile), lead, OPEN_DAY_WITHIN)
    if workable is None:
        return _blocked(because("no_pickup_day", days=OPEN_DAY_WITHIN), [], rules, today)

    near = that_stand(told, calendar, rules, today)
    first = min([workable, *(visit.on for visit in near)])
    parts = take_part(profile, rules, today, first, rulings, calendar.state)
    taking_part = [part for part in parts if part.participation is not Participation.excluded]
    renewed = renewed_by(parts)
    grants = granted(parts, profile, calendar.state, rules, today)
    supplies, standing = commit(
        [
            _supply(part, profile, calendar, rules, told, grants.get(part.prescription.rx_id), today, rulings)
            for part in taking_part
        ],
        near,
        {each.rx_id: (each, renewed[each.rx_id]) for each in profile.prescriptions if each.rx_id in renewed},
        today,
    )
    supplies = [
        timed(supply, part, profile, told, rules, today)
        for supply, part in zip(supplies, taking_part, strict=True)
    ]
    if not profile.prescriptions:
        return _blocked(because("no_prescription"), parts, rules, today)
    if all(supply.ride_along for supply in supplies):
        return _blocked(because("nothing_to_synchronize"), parts, rules, today)

    pin = _pin(told, near, standing, today)
    by_staff = rulings.get((RulingKind.day, None))
    case = _case(profile, calendar, rules, told, supplies, standing, today, workable, pin, by_staff)
    found = yield from _search(case, told, pin, standing, today)
    if found is None:
        return _blocked(because("nothing_payable"), parts, rules, today)
    chosen, offered, why = found
    visits = with_steps(visits_of(profile, chosen, standing), hours, rules, supplies)
    fills = fills_of(visits, renewed)
    unavoidable = explain_day.lost_before(case, chosen.anchor, today)
    decisions = [explain.decision(part, chosen, fills, unavoidable, case, told, today) for part in parts]
    numbered = fills if rules.short_fill_takes_refill else NO_FILLS
    given_up = disused(parts, rules, today)
    renewals = wanted(renewals_needed(parts, chosen, case.cycle.days, today, numbered), parts, given_up)
    ending = authorizations_ending(parts, chosen, case.cycle.days, rules.authorization_lead_days)
    return Plan(
        plan_id=plan_id_of(profile.patient_id, cycle),
        cycle=cycle,
        computed_on=today,
        anchor_on=date.fromordinal(chosen.anchor),
        next_anchor_on=date.fromordinal(chosen.second),
        agreed=told.agreed,
        visits=visits,
        drugs=explain.with_what_must_happen(decisions, renewals, today, ending, given_up),
        offered=() if told.agreed else tuple(explain_day.offer(each, unavoidable) for each in offered),
        short_fills=sum(item.kind is FillKind.bridge for visit in visits for item in visit.items),
        uncovered_days=sum(chosen.uncovered) + sum(unavoidable.values()),
        unavoidable_days=sum(unavoidable.values()),
        extra_cost=extra_cost_of(visits, chosen, renewed),
        reasons=(
            *(moved(each, profile, hours) for each in why),
            *explain_day.about_plan(chosen, case),
            *limits_of(profile, hours, today),
        ),
        renewals=renewals,
        look_again_on=_tried_again_on(parts),
        open_visits=chosen.visits_before,
        open_short_fills=chosen.short_fills,
        open_overrides=chosen.overrides,
    )


def _supply(
    part: Part,
    profile: Profile,
    calendar: Calendar,
    rules: Rules,
    told: Told,
    grant: Grant | None,
    today: date,
    rulings: Mapping[Key, Ruling],
) -> Supply:
    """The drug before what was told: a visit that stands may rest on an early fill that was granted days ago."""
    supply = ruled(supply_of(part, rules, told, grant, today, calendar.lead_days), rulings)
    if (RulingKind.include, supply.rx_id) not in rulings:
        supply = dear(supply, rules, today)
    supply = not_by_billed_days(not_before(supply), part)
    if not (profile.away or profile.stays):
        return supply
    return paid_early(supply, part, profile, today, grace_days=rules.lead_days)


def _tried_again_on(parts: Sequence[Part]) -> date | None:
    """The first day on which a drug that is out for a time may be tried again: then all is planned anew."""
    return min((part.look_again_on for part in parts if part.look_again_on), default=None)


# --- what the search starts from ---


def _pin(told: Told, near: Sequence[ToldVisit], standing: Sequence[Standing], today: date) -> date | None:
    """The agreed anchor date, unless it passed, or is so near that its visit stood and has nothing left to fill."""
    if told.anchor_on is None or told.anchor_on < today:
        return None
    is_near = any(visit.on == told.anchor_on for visit in near)
    return told.anchor_on if not is_near or _stands_on(told.anchor_on, standing) else None


def _stands_on(day: date | None, standing: Sequence[Standing]) -> bool:
    return any(each.visit.on == day and each.visit.kind is VisitKind.synchronized for each in standing)


def _case(
    profile: Profile,
    calendar: Calendar,
    rules: Rules,
    told: Told,
    supplies: Sequence[Supply],
    standing: Sequence[Standing],
    today: date,
    workable: date,
    pin: date | None,
    by_staff: Ruling | None,
) -> Case:
    synchronized = [supply for supply in supplies if not supply.ride_along]
    cycle, other_cycle = cycle_of(profile, [each.prescription.usual_days for each in synchronized], rules)
    run_outs = [supply.lacks_from for supply in synchronized]
    asked = {day.toordinal() for day in (pin, told.wanted_on) if day}
    end = max([*run_outs, workable.toordinal(), *asked]) + 2 * cycle.days + A_MONTH
    stood = {each.visit.on.toordinal() for each in standing}
    lead = (today + timedelta(days=rules.lead_days)).toordinal()
    return Case(
        supplies=tuple(
            replace(each, bridge_cushion=cycle.bridge_cushion) if cycle.bridge_cushion else each
            for each in supplies
        ),
        pickup=pickup_days(
            calendar,
            first=today.toordinal(),
            workable=lead,
            last=end,
            weekdays=profile.must_weekdays,
            extra=asked,
            without=stood,
            barred=barred(profile, lead, end),
            limited=is_limited(profile),
        ),
        earliest=workable.toordinal(),
        cycle=cycle,
        other_cycle=other_cycle,
        rules=rules,
        preferred_weekday=profile.preferred_weekday,
        load={day.toordinal(): load for day, load in calendar.load.items()},
        daily_cap=calendar.daily_cap,
        told_anchor=told.anchor_on.toordinal() if told.anchor_on else None,
        told_days=_movable(told, stood, today),
        household=frozenset(day.toordinal() for day in profile.household_on if day >= today),
        household_must=profile.household_must,
        moved=_moved(told),
        staff_day=by_staff,
        extra_cost_limit=rules.extra_cost_limit
        if profile.extra_cost_limit is None
        else profile.extra_cost_limit,
    )


def _movable(told: Told, stood: set[int], today: date) -> dict[str, list[int]]:
    """The days, by rx_id, of visits before or after the anchor that the patient was told of and that may move."""
    days: dict[str, list[int]] = defaultdict(list)
    for visit in told.visits:
        if visit.on >= today and visit.on != told.anchor_on and visit.on.toordinal() not in stood:
            for item in visit.items:
                days[item.rx_id].append(visit.on.toordinal())
    return dict(days)


def _moved(told: Told) -> tuple[int, int] | None:
    if told.wanted_on is None or told.instead_of is None or told.instead_of == told.anchor_on:
        return None
    return told.instead_of.toordinal(), told.wanted_on.toordinal()


# --- which day ---


def _search(
    case: Case, told: Told, pin: date | None, standing: Sequence[Standing], today: date
) -> Planning[tuple[Option, Sequence[Score], tuple[Reason, ...]] | None]:
    """The chosen day, the days to offer, and why; none where on no day anything could be dispensed."""
    if pin and _stands_on(pin, standing):
        stood = arrange(pin.toordinal(), case)
        return stood, [], explain_day.pinned(stood, case, standing, today)
    agreed = arrange_all(case, [pin.toordinal()] if pin and pin.toordinal() in case.pickup else [])
    asks = told.wanted_on if told.instead_of == told.anchor_on else None
    if agreed and not asks:
        return agreed[0], agreed, explain_day.pinned(agreed[0], case, standing, today)

    days = candidates(case, today.toordinal())
    by_staff = case.staff_day if case.staff_day and case.staff_day.on == pin else None
    if asks or (pin and not by_staff and pin.toordinal() not in case.pickup):
        return _nearest(case, days, pin, asks, agreed[0] if agreed else None)
    verdict = yield Question(case, days)
    if verdict is None:
        return None
    household = None
    if case.household:
        verdict, household = yield from _with_household(verdict, case, days)
    chosen = arrange(verdict.chosen.anchor, case)
    why = explain_day.why_this_day(verdict, chosen, case, standing, today)
    if household:
        why = (household, *why)
    if pin and by_staff:
        why = (_staff_day_refused(pin, by_staff.by, case), *why)
    elif pin:
        why = (because("anchor_moved_nothing_due", told=pin), *why)
    return chosen, verdict.offered, why


def _staff_day_refused(on: date, by: str, case: Case) -> Reason:
    """`moved` says why the store, or the patient, takes no pickup on it."""
    if on.toordinal() in case.pickup:
        return because("staff_day_nothing_due", by=by, on=on)
    return because("staff_day_closed", by=by, on=on)


def _with_household(best: Verdict, case: Case, days: Sequence[int]) -> Planning[tuple[Verdict, Reason]]:
    """On the day of others of the household, unless a drug would be lacking for longer and it is no must."""
    together = [day for day in days if day in case.household]
    shared = (yield Question(case, together)) if together else None
    if shared is None:
        return best, because("household_not_possible")
    if case.household_must or shared.chosen.uncovered <= best.chosen.uncovered:
        return shared, because("household_day", on=date.fromordinal(shared.chosen.anchor))
    return best, because("household_apart", on=date.fromordinal(shared.chosen.anchor))


def _nearest(
    case: Case, days: Sequence[int], pin: date | None, asks: date | None, agreed: Option | None
) -> tuple[Option, Sequence[Score], tuple[Reason, ...]] | None:
    """The day nearest to the one asked for, or to the one told, on which the store is closed now."""
    asked = [day.toordinal() for day in (asks,) if day and day.toordinal() in case.pickup]
    options = arrange_all(case, {*days, *asked})
    if not options:
        return None
    if asks:
        chosen = nearest_feasible(options, asks.toordinal(), agreed)
        return chosen, [], (explain_day.rescheduled(asks, date.fromordinal(chosen.anchor)),)
    assert pin
    chosen = _nearest_open(options, pin.toordinal())
    return chosen, [], (because("anchor_moved_closed", told=pin, on=date.fromordinal(chosen.anchor)),)


def _nearest_open(options: Sequence[Option], told: int) -> Option:
    """Earlier where there is such a day, for later leaves a gap (domain rules: pick-up date and store calendar)."""
    options = below_cap(options)
    earlier = [option for option in options if option.anchor < told]
    return max(earlier, key=lambda option: option.anchor) if earlier else min(options, key=lambda o: o.anchor)


def _blocked(reason: Reason, parts: Sequence[Part], rules: Rules, today: date) -> Blocked:
    """No plan; time alone may change that, so it is looked at again."""
    given_up = disused(parts, rules, today)
    renewals = wanted(renewals_needed(parts, None, 0, today), parts, given_up)
    decisions = [explain.left_out(part) for part in parts]
    return Blocked(
        reasons=(reason,),
        drugs=explain.with_what_must_happen(decisions, renewals, today, disused=given_up),
        renewals=renewals,
        look_again_on=min(today + timedelta(days=rules.look_again_days), _tried_again_on(parts) or date.max),
    )
