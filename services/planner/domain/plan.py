"""One patient in, one plan out: the entry to the rules of planning. It reads from the top down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import uuid5

from services.planner.domain import explain, explain_day
from services.planner.domain.availability import (
    as_open_to,
    can_come_on,
    halt,
    halt_ends_on,
    is_limited,
    lead_of,
    limits_of,
    moved,
    unavailable_days,
    way_out,
    without_limits,
)
from services.planner.domain.calendar import Calendar, PickupDays, first_workable, pickup_days
from services.planner.domain.eligibility import NO_RULINGS, Eligibility, assess, renewed_by
from services.planner.domain.grants import Grant, granted
from services.planner.domain.layout import IDS, extra_cost_of, fills_of, visits_of, with_steps
from services.planner.domain.medication import Medication
from services.planner.domain.model import (
    Blocked,
    Commitments,
    FillKind,
    Participation,
    Plan,
    Profile,
    PromisedItem,
    PromisedVisit,
    Reason,
    Rules,
    StaffDecision,
    StaffDecisionKind,
    VisitKind,
    because,
)
from services.planner.domain.renewals import (
    NO_FILLS,
    authorizations_ending,
    likely_discontinued,
    open_days_before,
    renewals_needed,
    wanted,
)
from services.planner.domain.rhythm import Rhythm, every_rhythm, fit_of, rhythms_of
from services.planner.domain.search import Layout, Promises, Question, Verdict, choose, layout_on
from services.planner.domain.staff_decisions import Key, in_force, ruled, with_day
from services.planner.domain.supplies import as_high_cost, medication_of, not_before, not_by_billed_days
from services.planner.domain.timing import paid_early, timed
from services.planner.domain.told import Standing, apply_promised_visits, that_stand
from services.planner.domain.urgent import urgent_days, with_urgency
from services.planner.domain.year import about_the_year, rhythm_told

OPEN_DAY_WITHIN = 60
"""Days in which a store is expected to open at all."""

NEAREST = 90
"""Days looked at to find the one nearest to the day that somebody asks for."""


def plan_id_of(patient_id: str, cycle: int) -> str:
    """One plan per patient and cycle."""
    return str(uuid5(IDS, f"plan {patient_id} {cycle}"))


def plan_cycle(
    profile: Profile, calendar: Calendar, rules: Rules, today: date, told: Commitments, cycle: int
) -> Plan | Blocked:
    """The plan of the patient's current cycle as of `today`, or why there can be none.

    Pure: the same values give the same plan. `told` is what must not change without need: the agreed day and rhythm,
    visits that the patient was told of, what was declined. Where staff decided something, the plan says what would be
    without.
    """
    halted = halt(profile, today)
    if halted:
        return Blocked((halted,), look_again_on=halt_ends_on(profile, today))
    rulings = in_force(profile.rulings, today, cycle)
    lead_days = lead_of(profile, calendar, rules)
    by_letter_on = told.not_before if told.not_before and (told.not_before - today).days > lead_days else None
    lead_days = (by_letter_on - today).days if by_letter_on else lead_days
    rules = rules if lead_days == rules.lead_days else replace(rules, lead_days=lead_days)
    day_told = with_day(told, rulings)
    plan = _plan(profile, calendar, rules, today, day_told, cycle, rulings, urgently=not by_letter_on)
    if by_letter_on and isinstance(plan, Plan):
        plan = replace(plan, reasons=(*plan.reasons, because("by_letter", on=by_letter_on)))
    if is_limited(profile) and (isinstance(plan, Blocked) or plan.uncovered_days):
        free = _plan(without_limits(profile), calendar, rules, today, day_told, cycle, rulings)
        plan = replace(plan, reasons=(*plan.reasons, *way_out(plan, free, profile, calendar)))
    if not rulings or isinstance(plan, Blocked):
        return plan
    free = _plan(profile, calendar, rules, today, told, cycle, NO_RULINGS)
    return replace(plan, reasons=(*plan.reasons, explain_day.without_staff(free)))


def _plan(
    profile: Profile,
    calendar: Calendar,
    rules: Rules,
    today: date,
    told: Commitments,
    cycle: int,
    rulings: Mapping[Key, StaffDecision],
    *,
    urgently: bool = True,
) -> Plan | Blocked:
    hours, calendar = calendar, as_open_to(calendar, profile, today)
    lead = today + timedelta(days=rules.lead_days)
    workable = first_workable(calendar, lambda day: can_come_on(day, profile), lead, OPEN_DAY_WITHIN)
    if workable is None:
        return _blocked(because("no_pickup_day", days=OPEN_DAY_WITHIN), [], hours, rules, today)

    near = that_stand(told, calendar, rules, today)
    first = min([workable, *(visit.on for visit in near)])
    parts = assess(profile, rules, today, first, rulings, calendar.state)
    taking_part = [part for part in parts if part.participation is not Participation.excluded]
    if not profile.prescriptions:
        return _blocked(because("no_prescription"), parts, hours, rules, today)
    if not taking_part:
        return _blocked(because("nothing_to_synchronize"), parts, hours, rules, today)
    renewed = renewed_by(parts)
    grants = granted(parts, profile, calendar.state, rules, today)
    medications, standing = apply_promised_visits(
        [
            _medication(
                part, profile, calendar, rules, told, grants.get(part.prescription.rx_id), today, rulings
            )
            for part in taking_part
        ],
        near,
        {each.rx_id: (each, renewed[each.rx_id]) for each in profile.prescriptions if each.rx_id in renewed},
        told.rhythm.joins if told.rhythm else None,
        today,
    )
    medications = [
        timed(medication, part, profile, told, rules, today)
        for medication, part in zip(medications, taking_part, strict=True)
    ]

    pin = _pin(told, near, standing, today)
    by_staff = rulings.get((StaffDecisionKind.day, None))
    question = _question(
        profile,
        calendar,
        rules,
        told,
        medications,
        standing,
        today,
        workable,
        pin,
        by_staff,
        urgently=urgently,
    )
    found = _search(question, told, pin, standing)
    if found is None:
        return _blocked(because("nothing_payable"), parts, hours, rules, today)
    return _planned(profile, hours, rules, today, told, cycle, parts, renewed, standing, question, found)


@dataclass(frozen=True, slots=True)
class Found:
    """The day that was chosen, the best to offer, and why."""

    chosen: Layout
    why: tuple[Reason, ...]
    verdict: Verdict | None = None


def _planned(
    profile: Profile,
    hours: Calendar,
    rules: Rules,
    today: date,
    told: Commitments,
    cycle: int,
    parts: Sequence[Eligibility],
    renewed: Mapping[str, str],
    standing: Sequence[Standing],
    question: Question,
    found: Found,
) -> Plan:
    """The chosen day as a plan: visits with their steps, what is done about each drug, what is to be renewed."""
    chosen = found.chosen
    visits = with_steps(
        visits_of(
            profile,
            chosen,
            standing,
            question.urgent_days,
            lambda on: open_days_before(on, rules.claims_made_ahead, hours, today),
        ),
        hours,
        rules,
        question.medications,
        today,
    )
    fills = fills_of(visits, renewed)
    lost = explain_day.lost_before(question, chosen)
    decisions = [explain.decision(part, chosen, fills, lost, question, told, today) for part in parts]
    numbered = fills if rules.short_fill_takes_refill else NO_FILLS
    given_up = likely_discontinued(parts, rules, today)
    renewals = wanted(renewals_needed(parts, chosen, hours, rules, today, numbered), parts, given_up)
    ending = authorizations_ending(parts, chosen, rules.authorization_lead_days)
    score = chosen.score
    offered = found.verdict.offered if found.verdict else [score]
    uncovered = sum(score.uncovered) + sum(lost.values())
    return Plan(
        plan_id=plan_id_of(profile.patient_id, cycle),
        cycle=cycle,
        computed_on=today,
        anchor_on=date.fromordinal(chosen.anchor),
        next_anchor_on=date.fromordinal(chosen.second),
        agreed=told.agreed,
        visits=visits,
        drugs=explain.with_what_must_happen(decisions, renewals, today, ending, given_up),
        offered=() if told.agreed else tuple(explain_day.offer(each, lost) for each in offered),
        short_fills=sum(item.kind is FillKind.bridge for visit in visits for item in visit.items),
        uncovered_days=uncovered,
        unavoidable_days=sum(lost.values()),
        extra_cost=extra_cost_of(visits, chosen, renewed),
        reasons=(
            *(moved(each, profile, hours) for each in found.why),
            *about_the_year(chosen, question, profile, told, visits, uncovered),
            *explain_day.about_plan(chosen, question),
            *limits_of(profile, hours, today),
        ),
        renewals=renewals,
        look_again_on=_tried_again_on(parts),
        rhythm=rhythm_told(chosen, question, profile, visits),
        open_visits=score.one_time_trips,
        open_short_fills=score.short_fills,
        open_overrides=score.overrides,
    )


def _medication(
    part: Eligibility,
    profile: Profile,
    calendar: Calendar,
    rules: Rules,
    told: Commitments,
    grant: Grant | None,
    today: date,
    rulings: Mapping[Key, StaffDecision],
) -> Medication:
    """The drug before what was told: a visit that stands may rest on an early fill that was granted days ago."""
    medication = ruled(medication_of(part, rules, told, grant, today, calendar.lead_days), rulings)
    if (StaffDecisionKind.include, medication.rx_id) not in rulings:
        medication = as_high_cost(medication, rules, today)
    medication = not_by_billed_days(not_before(medication), part)
    if not (profile.away or profile.stays or medication.after_change):
        return medication
    return paid_early(medication, part, profile, today, grace_days=rules.lead_days)


def _tried_again_on(parts: Sequence[Eligibility]) -> date | None:
    """The first day on which a drug that is out for a time may be tried again: then all is planned anew."""
    return min((part.look_again_on for part in parts if part.look_again_on), default=None)


# --- what the search starts from ---


def _pin(
    told: Commitments, near: Sequence[PromisedVisit], standing: Sequence[Standing], today: date
) -> date | None:
    """The agreed day of the next pickup, unless it passed, or is so near that its visit stood and has nothing left to
    fill."""
    if told.anchor_on is None or told.anchor_on < today:
        return None
    is_near = any(visit.on == told.anchor_on for visit in near)
    return told.anchor_on if not is_near or _stands_on(told.anchor_on, standing) else None


def _stands_on(day: date | None, standing: Sequence[Standing]) -> bool:
    return any(each.visit.on == day and each.visit.kind is VisitKind.synchronized for each in standing)


def _rhythms(
    profile: Profile, rules: Rules, told: Commitments, medications: Sequence[Medication]
) -> tuple[tuple[Rhythm, ...], Reason | None]:
    """The rhythms to choose among: the one that was stated; else, once one is agreed, that; else all. Where no drug
    lasts the cycle, all; and where none lasts any of them, the one that the longest lasts."""
    rhythms, why = rhythms_of(profile, rules)
    kept = told.rhythm if told.agreed else None
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


def _question(
    profile: Profile,
    calendar: Calendar,
    rules: Rules,
    told: Commitments,
    medications: Sequence[Medication],
    standing: Sequence[Standing],
    today: date,
    workable: date,
    pin: date | None,
    by_staff: StaffDecision | None,
    *,
    urgently: bool,
) -> Question:
    rhythms, other_cycle = _rhythms(profile, rules, told, medications)
    asked = {day.toordinal() for day in (pin, told.wanted_on) if day}
    longest = max(rhythm.days for rhythm in rhythms)
    covered = max(
        max(each.needed_from, each.payment.ready, workable.toordinal()) + each.usual_days
        for each in medications
    )
    end = max([covered, *asked]) + 2 * longest + rules.settling_days
    stood = {each.visit.on.toordinal() for each in standing}
    lead = (today + timedelta(days=rules.lead_days)).toordinal()
    first = today.toordinal()
    cushion = max(rhythm.bridge_cushion for rhythm in rhythms)

    def days_with(extra: set[int]) -> PickupDays:
        return pickup_days(
            calendar,
            first=first,
            workable=lead,
            last=end,
            weekdays=profile.must_weekdays,
            extra=asked | extra,
            without=stood,
            unavailable_days=unavailable_days(profile, lead, end),
            limited=is_limited(profile),
        )

    pickup = days_with(set())
    soon = {
        day
        for day in range(max(first, told.not_before.toordinal() if told.not_before else first), lead)
        if day not in stood
        and calendar.is_open(date.fromordinal(day))
        and can_come_on(date.fromordinal(day), profile)
    }
    drugs = [replace(each, bridge_cushion=cushion) if cushion else each for each in medications]
    if urgently and soon:
        drugs = with_urgency(drugs, pickup, workable.toordinal(), soon, rules, first)
    urgent = urgent_days(drugs, soon)
    return Question(
        medications=tuple(drugs),
        pickup=days_with(set(urgent)) if urgent else pickup,
        today=first,
        earliest=workable.toordinal(),
        rhythms=rhythms,
        rules=rules,
        promises=_promises(told, stood, today),
        urgent_days=urgent,
        preferred_weekday=profile.preferred_weekday,
        load={day.toordinal(): load for day, load in calendar.load.items()},
        daily_cap=calendar.daily_cap,
        extra_cost_limit=rules.extra_cost_limit
        if profile.extra_cost_limit is None
        else profile.extra_cost_limit,
        staff_day=by_staff,
        household=frozenset(day.toordinal() for day in profile.household_on if day >= today),
        household_must=profile.household_must,
        other_cycle=other_cycle,
    )


def _promises(told: Commitments, stood: set[int], today: date) -> Promises:
    """What may still be broken: the visits before or after the pickup, one that the patient asks to be moved on the day
    asked for; the day of the pickup, and when drugs were to join."""
    visits: dict[str, dict[int, PromisedItem]] = defaultdict(dict)
    for visit in told.visits:
        if visit.on >= today and visit.on != told.anchor_on and visit.on.toordinal() not in stood:
            on = told.wanted_on if told.wanted_on and visit.on == told.instead_of else visit.on
            for item in visit.items:
                visits[item.rx_id][on.toordinal()] = item
    return Promises(
        pickup=told.anchor_on.toordinal() if told.anchor_on else None,
        visits=dict(visits),
        joins={rx_id: on.toordinal() for rx_id, on in told.rhythm.joins.items() if on >= today}
        if told.agreed and told.rhythm
        else {},
        moved=_moved(told),
        again=_again(told),
    )


def _again(told: Commitments) -> int | None:
    """The pickup after the pin; where that was not given, the first after it on which a drug was to join."""
    if not (told.agreed and told.anchor_on):
        return None
    joining = (on for on in told.rhythm.joins.values() if on > told.anchor_on) if told.rhythm else ()
    again = told.next_anchor_on or min(joining, default=None)
    return again.toordinal() if again else None


def _moved(told: Commitments) -> tuple[int, int] | None:
    if told.wanted_on is None or told.instead_of is None or told.instead_of == told.anchor_on:
        return None
    return told.instead_of.toordinal(), told.wanted_on.toordinal()


# --- which day ---


def _search(
    question: Question, told: Commitments, pin: date | None, standing: Sequence[Standing]
) -> Found | None:
    """The chosen day, the days to offer, and why; None where on no day anything could be dispensed."""
    agreed = layout_on(question, pin.toordinal()) if pin else None
    if agreed and _stands_on(pin, standing):
        return Found(agreed, explain_day.pinned(agreed, question, standing))
    asks = told.wanted_on if told.instead_of == told.anchor_on else None
    by_staff = question.staff_day if question.staff_day and question.staff_day.on == pin else None
    if agreed and not asks and (by_staff or not any(agreed.score.uncovered)):
        return Found(agreed, explain_day.pinned(agreed, question, standing))
    if asks:
        return _nearest_to(asks, question, agreed)
    if pin and not by_staff and pin.toordinal() not in question.pickup and not _stands_on(pin, standing):
        return _nearest_open(pin, question)
    return _best(question, told, pin, by_staff, standing)


def _yesterdays(verdict: Verdict, question: Question, told: Commitments, days: Sequence[int]) -> Verdict:
    """Before anything is agreed the cycle of yesterday stays, unless another is better by a whole trip."""
    before = told.rhythm.cycle_days if told.rhythm and not told.agreed else None
    same = [rhythm for rhythm in question.rhythms if rhythm.days == before]
    if not same or verdict.chosen.score.rhythm.days == before:
        return verdict
    kept = choose(replace(question, rhythms=tuple(same)), days, question.rules.offered_days)
    if kept is None or kept.chosen.score.uncovered > verdict.chosen.score.uncovered:
        return verdict
    return kept if kept.chosen.score.burden - verdict.chosen.score.burden < 1 else verdict


def _best(
    question: Question,
    told: Commitments,
    pin: date | None,
    by_staff: StaffDecision | None,
    standing: Sequence[Standing],
) -> Found | None:
    """The day that the criteria choose; the one that was told is always among the candidates."""
    days = question.pickup.days
    verdict = choose(question, days, question.rules.offered_days)
    if verdict is None:
        return None
    verdict = _yesterdays(verdict, question, told, days)
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


def _nearest_open(told: date, question: Question) -> Found | None:
    """In place of a day on which the store is closed now: earlier where there is such a day, for later leaves a gap."""
    day = told.toordinal()
    earlier = [each for each in reversed(question.pickup.days) if day - NEAREST <= each < day]
    later = [each for each in question.pickup.days if day < each <= day + NEAREST]
    layouts = (layout_on(question, each) for each in (*earlier, *later))
    found = next((layout for layout in layouts if layout and not layout.score.full), None)
    if found is None:
        return None
    return Found(found, (because("anchor_moved_closed", told=told, on=date.fromordinal(found.anchor)),))


def _blocked(
    reason: Reason, parts: Sequence[Eligibility], hours: Calendar, rules: Rules, today: date
) -> Blocked:
    """No plan; time alone may change that, so it is looked at again."""
    given_up = likely_discontinued(parts, rules, today)
    renewals = wanted(renewals_needed(parts, None, hours, rules, today), parts, given_up)
    decisions = [explain.left_out(part) for part in parts]
    return Blocked(
        reasons=(reason,),
        drugs=explain.with_what_must_happen(decisions, renewals, today, likely_discontinued=given_up),
        renewals=renewals,
        look_again_on=min(today + timedelta(days=rules.look_again_days), _tried_again_on(parts) or date.max),
    )
