"""What came of it: the figures at the end, from histories as the services hold them and from the stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

from cli.demo import latest_due
from cli.demo.history import History, Span, look_back
from cli.demo.recorder import Recorder
from shared.events.planner import Participation, PlanComputed, VisitKind


@dataclass
class Outcome:
    """Figures of one run; all over enrolled patients, days inclusive of the first and exclusive of the last."""

    days: int
    candidates: int = 0
    asked: int = 0
    enrolled: int = 0
    left: int = 0
    opted_out: int = 0
    synchronized: int = 0
    pickups: int = 0
    pickups_before: int = 0
    patient_days: int = 0
    patient_days_before: int = 0
    cycles: int = 0  # from one synchronized pickup to the next
    cycles_with_one_pickup: int = 0
    plans_of_a_year: int = 0  # of patients whose year before is known
    trips_before: int = 0
    trips_ahead: int = 0
    calls: int = 0
    reached: int = 0
    bridge_visits: int = 0
    synchronized_visits: int = 0
    ride_along_visits: int = 0
    fills: int = 0
    short_fills: int = 0
    short_fills_first: int = 0  # of the first plans
    short_fills_latest_due: int = 0  # of the same drugs by the latest-due rule
    uncovered_planned: int = 0
    uncovered_avoidable: int = 0
    uncovered_before: int = 0
    uncovered_after: int = 0
    uncovered_synchronized: int = 0
    drug_days_before: int = 0
    drug_days: int = 0
    drug_days_synchronized: int = 0
    packages_ready: int = 0
    returned: int = 0
    renewals: int = 0
    consultations: int = 0  # offered
    talks: int = 0  # held
    blocked: Counter[str] = field(default_factory=Counter)


def count(
    outcome: Outcome, recorder: Recorder, patients: Sequence[dict[str, Any]], end: date
) -> list[History]:
    """Add up the stream and the histories, and answer these.

    `patients` is what enrollment says of everyone who ever enrolled.
    """
    counts = recorder.counts
    outcome.left, outcome.opted_out = counts["patient-disenrolled"], counts["contact-opted-out"]
    outcome.packages_ready, outcome.returned = counts["package-ready"], counts["package-returned"]
    outcome.consultations, outcome.renewals = counts["consultation-held"], counts["renewal-requested"]
    outcome.talks = recorder.talks
    came_on, synchronized_on = _count_pickups(outcome, recorder)
    _count_cycles(outcome, synchronized_on, came_on)
    usual_days = {
        each["rx_id"]: each["usual_days"]
        for patient in patients
        for each in patient["profile"]["prescriptions"]
    }
    for plan in recorder.first_plans.values():
        _count_first_plan(outcome, plan, usual_days)
    histories = list(_histories(recorder, patients, end, came_on, synchronized_on))
    for history in histories:
        _count_history(outcome, history, recorder.plans[history.patient_id])
    return histories


Days = Mapping[str, Collection[date]]
"""By patient."""


def _count_pickups(outcome: Outcome, recorder: Recorder) -> tuple[Days, Days]:
    """The pickups, by kind; answers the days of all, and of the synchronized ones."""
    came_on: defaultdict[str, set[date]] = defaultdict(set)
    synchronized_on: defaultdict[str, set[date]] = defaultdict(set)
    for patient_id, visit, day, taken in recorder.picked_up:
        kind = recorder.visit_kinds.get(visit, VisitKind.other)
        outcome.bridge_visits += kind == VisitKind.bridge
        outcome.ride_along_visits += kind == VisitKind.ride_along
        outcome.synchronized_visits += kind == VisitKind.synchronized
        outcome.fills += len(taken)
        outcome.short_fills += len(taken & recorder.short_fills.get(visit, frozenset()))
        came_on[patient_id].add(day)
        if kind == VisitKind.synchronized:
            synchronized_on[patient_id].add(day)
    outcome.synchronized = len(synchronized_on)
    outcome.pickups = sum(map(len, came_on.values()))
    return came_on, synchronized_on


def _count_cycles(outcome: Outcome, synchronized_on: Days, came_on: Days) -> None:
    """Cycles that are over, and those of them in which the patient came on one day alone, that of the pickup."""
    for patient_id, days in synchronized_on.items():
        for last, this in pairwise(sorted(days)):
            outcome.cycles += 1
            outcome.cycles_with_one_pickup += sum(last < day <= this for day in came_on[patient_id]) == 1


def _count_first_plan(outcome: Outcome, plan: PlanComputed, usual_days: Mapping[str, int]) -> None:
    """What the chosen day takes, and what the latest-due rule would take for the drugs that may be short-filled.

    Days without a drug before the first day on which anything can be filled nobody could avoid.
    """
    outcome.uncovered_planned += plan.uncovered_days
    outcome.uncovered_avoidable += plan.uncovered_days - plan.unavoidable_days
    outcome.short_fills_first += plan.short_fills
    due = [
        latest_due.Due(drug.run_out_on, usual_days[drug.rx_id])
        for drug in plan.drugs
        if drug.participation == Participation.sync and drug.run_out_on and usual_days.get(drug.rx_id)
    ]
    outcome.short_fills_latest_due += latest_due.short_fills(due, plan.computed_on)


def _histories(
    recorder: Recorder, patients: Sequence[dict[str, Any]], end: date, came_on: Days, synchronized_on: Days
) -> Iterator[History]:
    """Of everyone who took part for a day at least and has a plan. The days of who left end on the day of leaving."""
    for patient in patients:
        patient_id = patient["patient_id"]
        span = Span(recorder.enrolled_on[patient_id], min(end, recorder.left_on.get(patient_id, end)))
        if span.first < span.end and (plan := recorder.plans.get(patient_id)):
            yield look_back(
                patient,
                recorder.on_file.get(patient_id, ()),
                plan,
                span,
                came_on.get(patient_id, ()),
                synchronized_on.get(patient_id, ()),
            )


def _count_history(outcome: Outcome, history: History, plan: PlanComputed) -> None:
    """One patient's days before enrollment and since; and the year before enrollment beside that of the newest plan."""
    outcome.patient_days += history.days
    outcome.patient_days_before += history.days_before
    outcome.pickups_before += len(history.came_before)
    outcome.drug_days_before += history.before.all
    outcome.uncovered_before += history.before.without
    outcome.drug_days += history.since.all
    outcome.uncovered_after += history.since.without
    outcome.drug_days_synchronized += history.in_sync.all
    outcome.uncovered_synchronized += history.in_sync.without
    if plan.rhythm and history.trips_of_the_year_before is not None:
        outcome.plans_of_a_year += 1
        outcome.trips_before += history.trips_of_the_year_before
        outcome.trips_ahead += plan.rhythm.trips_a_year
