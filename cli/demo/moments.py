"""What a story remembers of an event: when, of what kind, and the few facts that it is told by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from shared.events import Event, enrollment, fulfillment, outreach, planner

SET_ASIDE = frozenset({"on_hold", "payer_refused"})
"""Reasons to leave a drug out of a plan that a trouble gives."""


class Planned(NamedTuple):
    """One visit of a plan."""

    visit_id: str
    on: date
    rx_ids: tuple[str, ...]
    synchronized: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of one patient."""

    at: datetime  # the store's time
    kind: type[Event]
    visit_id: str = ""
    rx_ids: tuple[str, ...] = ()
    on: date | None = None  # the day that it is about
    detail: str = ""  # an answer, a change, a code
    number: int = 0  # short fills, days left, attempts
    visits: tuple[Planned, ...] = ()  # of a plan
    set_aside: tuple[tuple[str, str], ...] = ()  # of a plan: (rx_id, why)
    revision: int = 0  # of a plan

    @property
    def place(self) -> tuple[datetime, int, int, str, tuple[str, ...], str, str, int]:
        """Where it stands in a story: events of one instant are heard in any order."""
        kind = list(_FACTS).index(self.kind)
        return (
            self.at,
            kind,
            self.revision,
            self.visit_id,
            self.rx_ids,
            str(self.on),
            self.detail,
            self.number,
        )


def moment_of(event: Event, at: datetime) -> Moment | None:
    """What is remembered of it; None where stories do not speak of such events."""
    facts = _FACTS.get(type(event))
    return Moment(at, type(event), **facts(event)) if facts else None


Facts = dict[str, Any]


def _plan(plan: planner.PlanComputed) -> Facts:
    visits = (
        Planned(
            visit.visit_id,
            visit.on,
            tuple(item.rx_id for item in visit.items),
            visit.kind == planner.VisitKind.synchronized,
        )
        for visit in plan.visits
    )
    aside = (
        (drug.rx_id, reason.code)
        for drug in plan.drugs
        for reason in drug.reasons
        if reason.code in SET_ASIDE
    )
    return {
        "on": plan.anchor_on,
        "number": plan.short_fills,
        "visits": tuple(visits),
        "set_aside": tuple(aside),
        "revision": plan.revision,
    }


def _confirmed(event: outreach.PickupConfirmed) -> Facts:
    return {
        "visit_id": event.visit_id,
        "on": event.on,
        "rx_ids": tuple(item.rx_id for item in event.items),
        "number": sum(item.condition is not None for item in event.items),
    }


def _picked_up(event: fulfillment.PackagePickedUp) -> Facts:
    return {
        "visit_id": event.visit_id,
        "on": event.handed_over_on,
        "rx_ids": tuple(item.rx_id for item in event.taken),
        "number": len(event.not_filled),
    }


_FACTS: dict[type[Event], Callable[[Any], Facts]] = {
    enrollment.PatientEnrolled: lambda event: {},
    enrollment.PatientDisenrolled: lambda event: {},
    planner.PlanComputed: _plan,
    planner.PlanBlocked: lambda event: {"detail": event.reasons[0].code if event.reasons else ""},
    outreach.AlignmentAgreed: lambda event: {"on": event.anchor_on},
    outreach.PickupConfirmed: _confirmed,
    outreach.PickupDeclined: lambda event: {"visit_id": event.visit_id, "on": event.on},
    outreach.RescheduleRequested: lambda event: {"visit_id": event.visit_id, "on": event.wanted_on},
    outreach.ChangeReported: lambda event: {
        "rx_ids": (event.rx_id,),
        "detail": str(event.change),
        "number": event.days_left or 0,
    },
    outreach.QuestionRaised: lambda event: {},
    outreach.PatientUnreached: lambda event: {"visit_id": event.visit_id or "", "number": event.attempts},
    outreach.ContactOptedOut: lambda event: {"detail": str(event.channel)},
    outreach.RenewalRequested: lambda event: {"rx_ids": (event.rx_id,)},
    outreach.RenewalAnswered: lambda event: {"rx_ids": (event.rx_id,), "detail": str(event.answer)},
    fulfillment.FillRejected: lambda event: {
        "visit_id": event.visit_id,
        "rx_ids": (event.rx_id,),
        "detail": event.reject_code,
    },
    fulfillment.StockShort: lambda event: {"visit_id": event.visit_id, "rx_ids": (event.rx_id,)},
    fulfillment.PackageReady: lambda event: {
        "visit_id": event.visit_id,
        "on": event.on,
        "rx_ids": tuple(item.rx_id for item in event.items),
    },
    fulfillment.PackagePickedUp: _picked_up,
    fulfillment.PickupMissed: lambda event: {
        "visit_id": event.visit_id,
        "on": event.on,
        "number": event.days_late,
    },
    fulfillment.PackageReturned: lambda event: {
        "visit_id": event.visit_id,
        "rx_ids": tuple(item.rx_id for item in event.items),
    },
    fulfillment.ConsultationHeld: lambda event: {"visit_id": event.visit_id, "detail": str(event.outcome)},
}
"""The facts of each kind of event."""
