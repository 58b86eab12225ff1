"""From when a staff decision counts, where a visit was confirmed before it: a decision is never taken and lost.

A visit that is confirmed gains only what the patient is asked about at the pickup, and from its day on staff decide
nothing about it any more. A decision that this leaves without any effect is refused; of one that counts only later, or
only in part, it is said what and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from services.planner.domain.model import Reason, StaffDecision, StaffDecisionKind, VisitKind, because
from services.planner.domain.progress import OpenVisit, Progress

Kind = StaffDecisionKind


def swallowed(decision: StaffDecision, progress: Progress, today: date) -> Reason | None:
    """Why the decision would have no effect, and the way out."""
    pickup = _confirmed_pickup(progress)
    due = _due(progress, today)
    if decision.kind in (Kind.fill, Kind.quantity) and pickup:
        return because("decision_pickup_confirmed", on=pickup.on)
    if decision.kind is Kind.day and pickup in due:
        return because("decision_visit_due", on=due[0].on)
    if decision.kind is Kind.hold and (held_back := _held_back(decision, due)):
        return because("decision_hold_too_late", on=held_back[0].on)
    return None


def remarks_on(decision: StaffDecision, progress: Progress, today: date) -> tuple[Reason, ...]:
    """What has to be said of a decision that is taken."""
    said = []
    pickup = _confirmed_pickup(progress)
    if decision.kind is Kind.exclude:
        said.append(because("decision_excludes"))
    if decision.kind is Kind.hold:
        confirmed = [visit for visit in progress.visits if visit.confirmed]
        said += [
            because("decision_hold_not_of_filled", on=each.on) for each in _held_back(decision, confirmed)
        ]
    if decision.kind is Kind.day and pickup and pickup.on != decision.on:
        said.append(because("decision_day_asks_anew", on=pickup.on))
    return (*said, *_later(progress, today))


def remarks_on_revoked(decision: StaffDecision, progress: Progress, today: date) -> tuple[Reason, ...]:
    """What has to be said where a decision is revoked."""
    said = [because("decision_exclusion_revoked")] if decision.kind is Kind.exclude else []
    return (*said, *_later(progress, today))


def _later(progress: Progress, today: date) -> list[Reason]:
    return [because("decision_after_visit", on=visit.on) for visit in _due(progress, today)[:1]]


def _due(progress: Progress, today: date) -> list[OpenVisit]:
    """The confirmed visits whose day has come, the first one first; but one that waits to the end of its day for what
    some of it depends on."""
    due = [visit for visit in progress.visits if visit.confirmed and visit.on <= today]
    if all(visit.on == today and visit.wait_to_the_end for visit in due):
        return []
    return sorted(due, key=lambda visit: visit.on)


def _confirmed_pickup(progress: Progress) -> OpenVisit | None:
    return next((v for v in progress.visits if v.confirmed and v.kind is VisitKind.synchronized), None)


def _held_back(hold: StaffDecision, visits: Sequence[OpenVisit]) -> list[OpenVisit]:
    """The visits before the day of a hold that have its drug."""
    return [
        visit
        for visit in visits
        if hold.on and visit.on < hold.on and any(item.rx_id == hold.rx_id for item in visit.items)
    ]
