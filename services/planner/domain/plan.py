"""One patient in, one plan out: the entry to the rules of planning. It reads from the top down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from uuid import uuid5

from services.planner.domain import explain, explain_day
from services.planner.domain.at_counter import ask_at_counter
from services.planner.domain.availability import (
    as_open_to,
    can_come_on,
    halt,
    halt_ends_on,
    is_limited,
    lead_of,
    limits_of,
    moved,
    way_out,
    without_limits,
)
from services.planner.domain.calendar import Calendar, first_workable
from services.planner.domain.choosing import Found, choose_day
from services.planner.domain.commitments import FixedVisit, apply_promised_visits, fixed_visits
from services.planner.domain.eligibility import NO_STAFF_DECISIONS, Eligibility, assess, renewed_by
from services.planner.domain.grants import Grant, granted
from services.planner.domain.layout import IDS, extra_cost_of, fills_of, visits_of, with_steps
from services.planner.domain.medication import Medication
from services.planner.domain.model import (
    Blocked,
    Commitments,
    Decision,
    FillKind,
    Item,
    Participation,
    Plan,
    Profile,
    Reason,
    Renewal,
    Rules,
    StaffDecisionKind,
    Visit,
    because,
)
from services.planner.domain.question import pin_of, question_of
from services.planner.domain.renewals import (
    NO_FILLS,
    authorizations_ending,
    likely_discontinued,
    open_days_before,
    renewals_needed,
    wanted,
)
from services.planner.domain.search import Layout, Question
from services.planner.domain.situation import Situation
from services.planner.domain.staff_decisions import as_staff_decided, in_force, with_day
from services.planner.domain.supplies import as_high_cost, medication_of, not_before, not_by_billed_days
from services.planner.domain.timing import paid_early, timed
from services.planner.domain.year import about_the_year, promised_rhythm

OPEN_DAY_WITHIN = 60
"""Days in which a store is expected to open at all."""


def plan_id_of(patient_id: str, cycle: int) -> str:
    """One plan per patient and cycle."""
    return str(uuid5(IDS, f"plan {patient_id} {cycle}"))


def plan_cycle(
    profile: Profile, calendar: Calendar, rules: Rules, today: date, commitments: Commitments, cycle: int
) -> Plan | Blocked:
    """The plan of the patient's current cycle as of `today`, or why there can be none.

    Pure: the same values give the same plan. `commitments` is what must not change without need: the agreed day
    and rhythm, visits that the patient was told of, what was declined. Where staff decided something, the plan says
    what would be without.
    """
    halted = halt(profile, today)
    if halted:
        return Blocked((halted,), look_again_on=halt_ends_on(profile, today))
    staff_decisions = in_force(profile.rulings, today, cycle)
    lead_days = lead_of(profile, calendar, rules)
    not_before = commitments.not_before
    by_letter_on = not_before if not_before and (not_before - today).days > lead_days else None
    lead_days = (by_letter_on - today).days if by_letter_on else lead_days
    rules = rules if lead_days == rules.lead_days else replace(rules, lead_days=lead_days)
    with_staff_day = with_day(commitments, staff_decisions)
    open_days = as_open_to(calendar, profile, today)
    at = Situation(
        profile, calendar, open_days, rules, today, with_staff_day, cycle, staff_decisions, not by_letter_on
    )
    plan = _plan(at)
    if by_letter_on and isinstance(plan, Plan):
        plan = replace(plan, reasons=(*plan.reasons, because("by_letter", on=by_letter_on)))
    if is_limited(profile) and (isinstance(plan, Blocked) or plan.uncovered_days):
        without = without_limits(profile)
        anywhere = as_open_to(calendar, without, today)
        free = _plan(replace(at, profile=without, calendar=anywhere, urgently=True))
        plan = replace(plan, reasons=(*plan.reasons, *way_out(plan, free, profile, calendar)))
    if not staff_decisions or isinstance(plan, Blocked):
        return plan
    free = _plan(replace(at, commitments=commitments, staff_decisions=NO_STAFF_DECISIONS, urgently=True))
    return replace(plan, reasons=(*plan.reasons, explain_day.without_staff(free)))


def _plan(at: Situation) -> Plan | Blocked:
    lead = at.today + timedelta(days=at.rules.lead_days)
    workable = first_workable(at.calendar, lambda day: can_come_on(day, at.profile), lead, OPEN_DAY_WITHIN)
    if workable is None:
        return _blocked(because("no_pickup_day", days=OPEN_DAY_WITHIN), [], at)

    near = fixed_visits(at.commitments, at.calendar, at.rules, at.today)
    first = min([workable, *(visit.on for visit in near)])
    parts = assess(at.profile, at.rules, at.today, first, at.staff_decisions, at.calendar.state)
    taking_part = [part for part in parts if part.participation is not Participation.excluded]
    if not at.profile.prescriptions:
        return _blocked(because("no_prescription"), parts, at)
    if not taking_part:
        return _blocked(because("nothing_to_synchronize"), parts, at)
    renewed = renewed_by(parts)
    medications, standing = apply_promised_visits(
        _medications(at, parts, taking_part),
        near,
        {
            each.rx_id: (each, renewed[each.rx_id])
            for each in at.profile.prescriptions
            if each.rx_id in renewed
        },
        at.commitments.rhythm.joins if at.commitments.rhythm else None,
        at.today,
    )
    medications = [
        timed(medication, part, at.profile, at.commitments, at.rules, at.today)
        for medication, part in zip(medications, taking_part, strict=True)
    ]
    medications, standing = ask_at_counter(medications, standing, at.commitments, at.today)
    pin = pin_of(at, near, standing)
    question = question_of(at, medications, standing, workable, pin)
    found = choose_day(question, at.commitments, pin, standing)
    if found is None:
        return _blocked(because("nothing_payable"), parts, at)
    return _planned(at, parts, renewed, standing, question, found)


def _medications(
    at: Situation, parts: Sequence[Eligibility], taking_part: Sequence[Eligibility]
) -> list[Medication]:
    grants = granted(parts, at.profile, at.calendar.state, at.rules, at.today)
    return [_medication(at, part, grants.get(part.prescription.rx_id)) for part in taking_part]


def _medication(at: Situation, part: Eligibility, grant: Grant | None) -> Medication:
    """The drug before what was told: a visit that stands may rest on an early fill that was granted days ago."""
    profile, rules, today = at.profile, at.rules, at.today
    medication = medication_of(part, rules, at.commitments, grant, today, at.calendar.lead_days)
    medication = as_staff_decided(medication, at.staff_decisions)
    if (StaffDecisionKind.include, medication.rx_id) not in at.staff_decisions:
        medication = as_high_cost(medication, rules, today)
    medication = not_by_billed_days(not_before(medication), part)
    if not (profile.away or profile.stays or medication.after_change):
        return medication
    return paid_early(medication, part, profile, today, grace_days=rules.lead_days)


def _planned(
    at: Situation,
    parts: Sequence[Eligibility],
    renewed: Mapping[str, str],
    standing: Sequence[FixedVisit],
    question: Question,
    found: Found,
) -> Plan:
    """The chosen day as a plan: visits with their steps, what is done about each drug, what is to be renewed."""
    profile, hours, today, commitments = at.profile, at.hours, at.today, at.commitments
    chosen, score = found.chosen, found.chosen.score
    visits = _visits(at, question, chosen, standing)
    lost = explain_day.lost_before(question, chosen)
    uncovered = sum(score.uncovered) + sum(lost.values())
    decisions, renewals = _about_drugs(at, parts, question, chosen, fills_of(visits, renewed), lost)
    offered = found.verdict.offered if found.verdict else [score]
    return Plan(
        plan_id=plan_id_of(profile.patient_id, at.cycle),
        cycle=at.cycle,
        computed_on=today,
        anchor_on=date.fromordinal(chosen.anchor),
        next_anchor_on=date.fromordinal(chosen.second),
        agreed=commitments.agreed,
        visits=visits,
        drugs=decisions,
        offered=() if commitments.agreed else tuple(explain_day.offer(each, lost) for each in offered),
        short_fills=sum(item.kind is FillKind.bridge for visit in visits for item in visit.items),
        uncovered_days=uncovered,
        unavoidable_days=sum(lost.values()),
        extra_cost=extra_cost_of(visits, chosen, renewed),
        reasons=(
            *(moved(each, profile, hours) for each in found.why),
            *about_the_year(chosen, question, profile, commitments, visits, uncovered),
            *explain_day.about_plan(chosen, question),
            *limits_of(profile, hours, today),
        ),
        renewals=renewals,
        look_again_on=_tried_again_on(parts),
        rhythm=promised_rhythm(chosen, question, profile, visits),
        open_visits=score.one_time_trips,
        open_short_fills=score.short_fills,
        open_overrides=score.overrides,
    )


def _visits(
    at: Situation, question: Question, chosen: Layout, standing: Sequence[FixedVisit]
) -> tuple[Visit, ...]:
    def claims_from(on: date) -> date:
        return open_days_before(on, at.rules.claims_made_ahead, at.hours, at.today)

    visits = visits_of(at.profile, chosen, standing, question.urgent_days, claims_from)
    return with_steps(visits, at.hours, at.rules, question.medications, at.today)


def _about_drugs(
    at: Situation,
    parts: Sequence[Eligibility],
    question: Question,
    chosen: Layout,
    fills: Mapping[str, list[tuple[date, Item]]],
    lost: Mapping[str, int],
) -> tuple[tuple[Decision, ...], tuple[Renewal, ...]]:
    """What is done about each drug, with what must happen to it, and what is to be renewed."""
    rules, today = at.rules, at.today
    numbered = fills if rules.short_fill_takes_refill else NO_FILLS
    given_up = likely_discontinued(parts, rules, today)
    renewals = wanted(renewals_needed(parts, chosen, at.hours, rules, today, numbered), parts, given_up)
    ending = authorizations_ending(parts, chosen, rules.authorization_lead_days)
    decisions = [
        explain.decision(part, chosen, fills, lost, question, at.commitments, today) for part in parts
    ]
    return explain.with_what_must_happen(decisions, renewals, today, ending, given_up), renewals


def _tried_again_on(parts: Sequence[Eligibility]) -> date | None:
    """The first day on which a drug that is out for a time may be tried again: then all is planned anew."""
    return min((part.look_again_on for part in parts if part.look_again_on), default=None)


def _blocked(reason: Reason, parts: Sequence[Eligibility], at: Situation) -> Blocked:
    """No plan; time alone may change that, so it is looked at again."""
    rules, today = at.rules, at.today
    given_up = likely_discontinued(parts, rules, today)
    renewals = wanted(renewals_needed(parts, None, at.hours, rules, today), parts, given_up)
    decisions = [explain.left_out(part) for part in parts]
    return Blocked(
        reasons=(reason,),
        drugs=explain.with_what_must_happen(decisions, renewals, today, likely_discontinued=given_up),
        renewals=renewals,
        look_again_on=min(today + timedelta(days=rules.look_again_days), _tried_again_on(parts) or date.max),
    )
