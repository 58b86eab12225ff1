"""Each store's day, as the stream tells it: a reduction of events to the figures that the console shows.

How a visit stands, and in which list of a day it belongs, is the console's own rule: so board and console agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

from services.console.domain.today import Group, Part, arrange
from services.console.domain.visits import CALLED_BEFORE, Facts
from shared.events.base import Event
from shared.events.enrollment import PatientDisenrolled, PatientEnrolled, ProfileChanged, StoreChanged
from shared.events.fulfillment import (
    FillCompleted,
    PackagePickedUp,
    PackageReady,
    PackageReopened,
    PackageReturned,
)
from shared.events.outreach import PatientUnreached, PickupConfirmed, PickupDeclined, RescheduleRequested
from shared.events.planner import PlanBlocked, PlanCancelled, PlanComputed

Answer: TypeAlias = PickupConfirmed | PickupDeclined | RescheduleRequested | PatientUnreached
Package: TypeAlias = PackageReady | PackageReopened | PackagePickedUp | PackageReturned

_ANSWERS: dict[type[Event], str] = {
    PickupConfirmed: "confirmed",
    PickupDeclined: "declined",
    RescheduleRequested: "moved",
    PatientUnreached: "unreached",
}
_PACKAGES: dict[type[Event], str] = {
    PackageReady: "ready",
    PackageReopened: "to_verify",
    PackagePickedUp: "picked_up",
    PackageReturned: "returned",
}


@dataclass(frozen=True, slots=True)
class StoreDay:
    """One store's day in figures, in the words of the console."""

    store_id: str
    name: str
    enrolled: int = 0
    expected: int = 0  # visits of the day, whatever came of them
    ready: int = 0  # packages on the shelf whose day is not over
    picked_up: int = 0  # of those expected
    late: int = 0  # packages on the shelf whose patient did not come
    to_call: int = 0  # visits of the next week to confirm, and patients to agree on the alignment with


@dataclass(slots=True)
class _Patient:
    store_id: str | None = None
    enrolled: bool = False
    revision: int = -1  # of the profile
    plan_revision: int = -1
    agreed: bool | None = None  # None where no plan stands
    visits: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Visit:
    patient_id: str
    store_id: str | None = None
    on: date | None = None
    plan_revision: int = -1  # of the newest plan that holds it
    urgent: bool = False
    answer: str | None = None
    answer_revision: int = -1
    made: bool = False
    package: str | None = None


class Stores:
    """Takes events in, in any order between topics, and tells each store's day."""

    def __init__(self) -> None:
        self._stores: dict[str, StoreChanged] = {}
        self._patients: defaultdict[str, _Patient] = defaultdict(_Patient)
        self._visits: dict[str, _Visit] = {}

    @property
    def enrolled(self) -> int:
        """Patients who take part now."""
        return sum(patient.enrolled for patient in self._patients.values())

    def note(self, event: Event) -> None:
        """Take one event in; of two that tell the same, the higher revision counts."""
        match event:
            case StoreChanged():
                held = self._stores.get(event.store_id)
                if held is None or event.revision > held.revision:
                    self._stores[event.store_id] = event
            case PatientEnrolled() | ProfileChanged() | PatientDisenrolled():
                self._note_patient(event)
            case PlanComputed() | PlanBlocked() | PlanCancelled():
                self._note_plan(event)
            case PickupConfirmed() | PickupDeclined() | RescheduleRequested() | PatientUnreached():
                self._note_answer(event)
            case FillCompleted():
                self._visit(event.visit_id, event.patient_id).made = True
            case PackageReady() | PackageReopened() | PackagePickedUp() | PackageReturned():
                self._note_package(event)

    def days(self, now: datetime) -> list[StoreDay]:
        """The day of each store, by name, on its own local date."""
        enrolled = Counter(each.store_id for each in self._patients.values() if each.enrolled)
        to_agree = Counter(
            each.store_id for each in self._patients.values() if each.enrolled and each.agreed is False
        )
        today = {
            store_id: now.astimezone(ZoneInfo(store.time_zone)).date()
            for store_id, store in self._stores.items()
        }
        groups = self._groups(today)
        days = [
            self._day(self._stores[store_id], groups[store_id], on, enrolled[store_id], to_agree[store_id])
            for store_id, on in today.items()
        ]
        return sorted(days, key=lambda day: day.name)

    def _note_patient(self, event: PatientEnrolled | ProfileChanged | PatientDisenrolled) -> None:
        patient = self._patients[event.patient_id]
        if event.revision <= patient.revision:
            return
        patient.revision = event.revision
        patient.enrolled = not isinstance(event, PatientDisenrolled)
        if not isinstance(event, PatientDisenrolled):
            patient.store_id = event.profile.store_id

    def _note_plan(self, event: PlanComputed | PlanBlocked | PlanCancelled) -> None:
        patient = self._patients[event.patient_id]
        if event.revision <= patient.plan_revision:
            return
        patient.plan_revision = event.revision
        patient.agreed = event.agreed if isinstance(event, PlanComputed) else None
        if not isinstance(event, PlanComputed):
            return
        self._forget(patient, event.computed_on)
        for planned in event.visits:
            visit = self._visit(planned.visit_id, event.patient_id)
            visit.store_id, visit.on = event.store_id, planned.on
            visit.plan_revision, visit.urgent = event.revision, planned.urgent

    def _note_answer(self, event: Answer) -> None:
        if event.visit_id is None:  # nobody was reached about the alignment: it is still to be agreed on
            return
        visit = self._visit(event.visit_id, event.patient_id)
        visit.answer, visit.answer_revision = _ANSWERS[type(event)], event.plan_revision
        if isinstance(event, PickupConfirmed):
            visit.store_id = visit.store_id or event.store_id
        if isinstance(event, PickupConfirmed | PickupDeclined):
            visit.on = visit.on or event.on

    def _note_package(self, event: Package) -> None:
        visit = self._visit(event.visit_id, event.patient_id)
        visit.package = _PACKAGES[type(event)]
        visit.store_id = visit.store_id or event.store_id
        if isinstance(event, PackageReady | PackageReopened):
            visit.on = visit.on or event.on

    def _visit(self, visit_id: str, patient_id: str) -> _Visit:
        if visit_id not in self._visits:
            self._visits[visit_id] = _Visit(patient_id)
            self._patients[patient_id].visits.add(visit_id)
        return self._visits[visit_id]

    def _forget(self, patient: _Patient, today: date) -> None:
        """Visits whose day is over count for nothing, unless their package still waits."""
        over = {
            visit_id
            for visit_id in patient.visits
            if (visit := self._visits[visit_id]).package != "ready" and visit.on and visit.on < today
        }
        patient.visits -= over
        for visit_id in over:
            del self._visits[visit_id]

    def _groups(self, today: dict[str, date]) -> dict[str, Counter[Facts]]:
        """How many visits of each store stand alike, of those that its day shows."""
        groups: defaultdict[str, Counter[Facts]] = defaultdict(Counter)
        for visit in self._visits.values():
            on = today.get(visit.store_id or "")
            if on is None or visit.store_id is None or visit.on is None:
                continue
            if visit.package == "ready" or on <= visit.on <= on + CALLED_BEFORE:
                groups[visit.store_id][self._facts(visit)] += 1
        return groups

    def _facts(self, visit: _Visit) -> Facts:
        patient = self._patients[visit.patient_id]
        return Facts(
            on=visit.on,
            package=visit.package,
            answer=visit.answer,
            planned=patient.enrolled and visit.plan_revision == patient.plan_revision,
            agreed=bool(patient.agreed),
            moving=visit.answer == "moved" and visit.plan_revision <= visit.answer_revision,
            told=visit.made,
            made=visit.made,
            complete=False,  # whether all is filled changes no figure of the day
            urgent=visit.urgent,
        )

    @staticmethod
    def _day(store: StoreChanged, groups: Counter[Facts], on: date, enrolled: int, to_agree: int) -> StoreDay:
        day = arrange((Group(facts, count, ()) for facts, count in groups.items()), on)
        return StoreDay(
            store.store_id,
            store.name,
            enrolled=enrolled,
            expected=day.count(Part.expected),
            ready=day.count(Part.waiting),
            picked_up=day.picked_up,
            late=day.count(Part.late),
            to_call=day.count(Part.to_call) + to_agree,
        )


def together(days: Iterable[StoreDay], name: str) -> StoreDay:
    """The figures of several stores as one."""
    days = list(days)
    return StoreDay(
        "",
        name,
        enrolled=sum(day.enrolled for day in days),
        expected=sum(day.expected for day in days),
        ready=sum(day.ready for day in days),
        picked_up=sum(day.picked_up for day in days),
        late=sum(day.late for day in days),
        to_call=sum(day.to_call for day in days),
    )
