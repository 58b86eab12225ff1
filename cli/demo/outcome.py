"""What came of it: the table at the end, from histories as the services hold them and from the stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from rich.table import Table

from cli.demo.recorder import Recorder
from shared.events.planner import PlanComputed, VisitKind


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
    cycles: int = 0  # from one synchronized pickup to the next
    cycles_with_one_pickup: int = 0
    plans_of_a_year: int = 0  # that know the trips before and those to come
    trips_before: int = 0
    trips_ahead: int = 0
    calls: int = 0
    reached: int = 0
    bridge_visits: int = 0
    synchronized_visits: int = 0
    ride_along_visits: int = 0
    fills: int = 0
    short_fills: int = 0
    short_fills_first: int = 0
    uncovered_planned: int = 0
    uncovered_avoidable: int = 0
    uncovered_before: int = 0
    uncovered_after: int = 0
    uncovered_synchronized: int = 0
    drug_days: int = 0
    drug_days_synchronized: int = 0
    packages_ready: int = 0
    returned: int = 0
    renewals: int = 0
    consultations: int = 0
    blocked: Counter[str] = field(default_factory=Counter)

    def a_year(self, pickups: int) -> float:
        """Of each patient, at the pace of these days."""
        return pickups * 365 / self.patient_days if self.patient_days else 0.0

    @property
    def pdc_before(self) -> float:
        """Proportion of days covered in the same length of the patients' own history."""
        return 1 - self.uncovered_before / self.drug_days if self.drug_days else 0.0

    @property
    def pdc_after(self) -> float:
        return 1 - self.uncovered_after / self.drug_days if self.drug_days else 0.0

    @property
    def pdc_synchronized(self) -> float:
        """From each patient's first synchronized pickup on."""
        days = self.drug_days_synchronized
        return 1 - self.uncovered_synchronized / days if days else 0.0


def count(outcome: Outcome, recorder: Recorder, patients: Sequence[dict[str, Any]], end: date) -> None:
    """Add up the stream and the histories. `patients` are enrollment's answers for everyone who ever enrolled."""
    counts = recorder.counts
    outcome.left, outcome.opted_out = counts["patient-disenrolled"], counts["contact-opted-out"]
    outcome.packages_ready, outcome.returned = counts["package-ready"], counts["package-returned"]
    outcome.consultations, outcome.renewals = counts["consultation-held"], counts["renewal-requested"]
    first_synchronized: dict[str, date] = {}
    synchronized_on: dict[str, set[date]] = defaultdict(set)
    came_on: dict[str, set[date]] = defaultdict(set)
    for patient_id, visit, day, taken in recorder.picked_up:
        kind = recorder.visit_kinds.get(visit, VisitKind.other)
        outcome.bridge_visits += kind == VisitKind.bridge
        outcome.ride_along_visits += kind == VisitKind.ride_along
        outcome.synchronized_visits += kind == VisitKind.synchronized
        outcome.fills += len(taken)
        outcome.short_fills += len(taken & recorder.short_fills.get(visit, frozenset()))
        if kind == VisitKind.synchronized:
            first_synchronized.setdefault(patient_id, day)
            synchronized_on[patient_id].add(day)
        came_on[patient_id].add(day)
    outcome.synchronized = len(first_synchronized)
    outcome.pickups = sum(map(len, came_on.values()))
    _count_cycles(outcome, synchronized_on, came_on)
    for plan in recorder.first_plans.values():
        _count_first_plan(outcome, plan)
    for plan in recorder.plans.values():
        _count_year(outcome, plan)
    for patient in patients:
        _count_history(outcome, patient, recorder, first_synchronized.get(patient["patient_id"]), end)


def _count_cycles(
    outcome: Outcome,
    synchronized_on: Mapping[str, Collection[date]],
    came_on: Mapping[str, Collection[date]],
) -> None:
    """Cycles that are over, and those of them in which the patient came on one day alone, that of the pickup."""
    for patient_id, days in synchronized_on.items():
        for last, this in pairwise(sorted(days)):
            outcome.cycles += 1
            outcome.cycles_with_one_pickup += sum(last < day <= this for day in came_on[patient_id]) == 1


def _count_first_plan(outcome: Outcome, plan: PlanComputed) -> None:
    """What the chosen day takes.

    Days without a drug before the first day on which anything can be filled nobody could avoid.
    """
    outcome.uncovered_planned += plan.uncovered_days
    outcome.uncovered_avoidable += plan.uncovered_days - plan.unavoidable_days
    outcome.short_fills_first += plan.short_fills


def _count_year(outcome: Outcome, plan: PlanComputed) -> None:
    """The year behind a patient's newest plan, beside the year before."""
    if plan.rhythm and plan.rhythm.trips_before is not None:
        outcome.plans_of_a_year += 1
        outcome.trips_before += plan.rhythm.trips_before
        outcome.trips_ahead += plan.rhythm.trips_a_year


def _count_history(
    outcome: Outcome, patient: dict[str, Any], recorder: Recorder, synchronized_on: date | None, end: date
) -> None:
    """One patient's days before and after enrolment, drug by drug, over drugs that take part in the plan.

    The days of who left end on the day of leaving.
    """
    start = recorder.enrolled_on[patient["patient_id"]]
    end = min(end, recorder.left_on.get(patient["patient_id"], end))
    length = (end - start).days
    plan = recorder.plans.get(patient["patient_id"])
    if length <= 0 or plan is None:
        return
    fills = patient["profile"]["fills"]
    outcome.patient_days += length
    before = {
        fill["handed_over_on"] for fill in fills if start - timedelta(days=length) <= _day(fill) < start
    }
    outcome.pickups_before += len(before)
    ingredient = {rx["rx_id"]: rx["drug"]["ingredient"] for rx in patient["profile"]["prescriptions"]}
    part = {ingredient.get(drug.rx_id) for drug in plan.drugs if drug.participation == "sync"} - {None}
    supplies = defaultdict(list)
    for fill in fills:
        supplies[ingredient.get(fill["rx_id"])].append((_day(fill), fill["days_supply"]))
    for name in part:
        outcome.drug_days += length
        outcome.uncovered_before += uncovered(supplies[name], start - timedelta(days=length), start)
        outcome.uncovered_after += uncovered(supplies[name], start, end)
        if synchronized_on and synchronized_on < end:
            outcome.drug_days_synchronized += (end - synchronized_on).days
            outcome.uncovered_synchronized += uncovered(supplies[name], synchronized_on, end)


def uncovered(fills: Iterable[tuple[date, int]], start: date, end: date) -> int:
    """Days in [start, end) without stock: each fill's supply begins when the one before is used up.

    >>> uncovered([(date(2026, 1, 1), 30), (date(2026, 3, 1), 30)], date(2026, 1, 1), date(2026, 4, 1))
    30
    """
    covered_until, missing, at = date.min, 0, start
    for day, supply in sorted(fills):
        if day >= end:
            break
        missing += max(0, (day - max(at, covered_until)).days) if day > at else 0
        at = max(at, day)
        covered_until = max(covered_until, day) + timedelta(days=supply)
    return missing + max(0, (end - max(at, covered_until)).days)


def _day(fill: dict[str, Any]) -> date:
    return date.fromisoformat(fill["handed_over_on"])


def table(outcome: Outcome) -> Table:
    """The figures as a pharmacist reads them."""
    shown = Table("", "", title=f"{outcome.days} days later", show_header=False, title_justify="left")
    per_patient, plans = max(outcome.enrolled, 1), max(outcome.plans_of_a_year, 1)
    rows = [
        ("Candidates found", f"{outcome.candidates}"),
        ("Asked, and enrolled", f"{outcome.asked}, {outcome.enrolled}"),
        ("Left the programme; said stop to contacts", f"{outcome.left}; {outcome.opted_out}"),
        ("Patients with a synchronized pickup", f"{outcome.synchronized}"),
        (
            "Pickups per patient (same length of their own history)",
            f"{outcome.pickups / per_patient:.2f} ({outcome.pickups_before / per_patient:.2f})",
        ),
        (
            "Pickups per patient and year, before → since enrolment",
            f"{outcome.a_year(outcome.pickups_before):.1f} → {outcome.a_year(outcome.pickups):.1f}",
        ),
        (
            "   as the newest plans say: the 365 days before → the next 365",
            f"{outcome.trips_before / plans:.1f} → {outcome.trips_ahead / plans:.1f}",
        ),
        (
            "Cycles from one synchronized pickup to the next; with exactly one pickup day",
            f"{outcome.cycles}; {outcome.cycles_with_one_pickup} "
            f"({outcome.cycles_with_one_pickup / max(outcome.cycles, 1):.0%})",
        ),
        (
            "Pickups synchronized, bridge, ride-along",
            f"{outcome.synchronized_visits}, {outcome.bridge_visits}, {outcome.ride_along_visits}",
        ),
        ("Fills handed over; of them short fills", f"{outcome.fills}; {outcome.short_fills}"),
        ("Short fills of the first plans", f"{outcome.short_fills_first}"),
        (
            "Days without drug in the first plans; of them, avoidable ones",
            f"{outcome.uncovered_planned}; {outcome.uncovered_avoidable}",
        ),
        ("Contacts made; answered", f"{outcome.calls}; {outcome.reached}"),
        ("Renewals asked of prescribers", f"{outcome.renewals}"),
        ("Packages ready; returned to stock", f"{outcome.packages_ready}; {outcome.returned}"),
        ("Talks with the pharmacist offered", f"{outcome.consultations}"),
        (
            "Days without drug, all drugs and patients (before)",
            f"{outcome.uncovered_after} ({outcome.uncovered_before}) of {outcome.drug_days}",
        ),
        ("PDC before enrolment → since enrolment", f"{outcome.pdc_before:.1%} → {outcome.pdc_after:.1%}"),
        ("PDC since the first synchronized pickup", f"{outcome.pdc_synchronized:.1%}"),
        ("Without a plan now", f"{outcome.blocked.total()}"),
    ]
    for what, figure in rows:
        shown.add_row(what, figure)
    for reason, number in sorted(outcome.blocked.items(), key=lambda row: (-row[1], row[0])):
        shown.add_row(f"   {reason}", f"{number}")
    return shown
