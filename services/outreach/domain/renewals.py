"""Asking prescribers for renewals: first at once, then again, then urgently, then the answer is that there is none.

One request to a prescriber holds all that is open for the patient. Each prescription keeps a count of its own: what is
not to be asked about yet is in the request of another, and may be answered with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from services.outreach.domain.model import CONTACT_IDS
from shared.events import Event
from shared.events.outreach import RenewalAnswer, RenewalAnswered, RenewalRequested
from shared.events.planner import RenewalNeeded

STAGES = ("first", "repeat", "escalation")

PATIENCE = (timedelta(days=4), timedelta(days=3), timedelta(days=4))
"""How long an answer to each request is waited for: asked at T-14, T-10 and T-7, given up at T-3, when the pharmacist
decides on a bridge or an emergency supply (R10.10)."""


class RenewalStatus(StrEnum):
    """Where a renewal stands."""

    open = "open"
    answered = "answered"
    closed = "closed"  # the patient takes part no longer, or staff closed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """One prescription that the prescriber is asked to renew."""

    contact_id: UUID
    patient_id: str
    store_id: str
    rx_id: str
    drug_name: str
    prescriber_id: str
    needed_by: date
    opened_at: datetime
    status: RenewalStatus = RenewalStatus.open
    asked: int = 0  # requests reported as made
    asked_at: datetime | None = None  # the last of them
    lease_id: UUID | None = None
    lease_until: datetime | None = None
    due_at: datetime | None = None  # when the prescriber is to be asked next
    review_at: datetime | None = None  # when to look at it again if nothing happens

    @property
    def stage(self) -> str:
        """How urgent the next request is."""
        return STAGES[min(self.asked, len(STAGES) - 1)]


def renewal_of(event: RenewalNeeded, now: datetime) -> Renewal:
    """A renewal to be asked for at once."""
    return Renewal(
        contact_id=uuid5(CONTACT_IDS, f"{event.patient_id}/renewal/{event.rx_id}"),
        patient_id=event.patient_id,
        store_id=event.store_id,
        rx_id=event.rx_id,
        drug_name=event.drug_name,
        prescriber_id=event.prescriber_id,
        needed_by=event.needed_by,
        opened_at=now,
        due_at=now,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """All that is open with one prescriber for one patient, to be asked for at once."""

    due: tuple[Renewal, ...]  # to be asked for now
    along: tuple[Renewal, ...] = ()  # asked for before, and not due again yet

    @property
    def renewals(self) -> tuple[Renewal, ...]:
        return self.due + self.along

    @property
    def first(self) -> Renewal:
        """The one whose contact stands for the request, and whose count for its urgency: asked for most often."""
        return max(self.due, key=lambda renewal: renewal.asked)


def requests_due(renewals: Sequence[Renewal], now: datetime) -> list[Request]:
    """The requests to be made now of open renewals; none to a prescriber who is being asked about the patient."""
    found: dict[tuple[str, str], list[Renewal]] = defaultdict(list)
    for renewal in renewals:
        found[renewal.patient_id, renewal.prescriber_id].append(renewal)
    requests = []
    for together in found.values():
        due = tuple(renewal for renewal in together if renewal.due_at and renewal.due_at <= now)
        if due and not any(renewal.lease_id for renewal in together):
            requests.append(Request(due, tuple(renewal for renewal in together if renewal not in due)))
    return requests


def ask(request: Request, lease_id: UUID, until: datetime) -> tuple[Request, list[RenewalRequested]]:
    """Lease the request to whoever asks the prescriber now."""

    def leased(renewals: Sequence[Renewal]) -> tuple[Renewal, ...]:
        return tuple(
            replace(renewal, lease_id=lease_id, lease_until=until, due_at=None, review_at=until)
            for renewal in renewals
        )

    events = [
        RenewalRequested(
            patient_id=renewal.patient_id,
            rx_id=renewal.rx_id,
            prescriber_id=renewal.prescriber_id,
            attempt=renewal.asked + 1,
            asked_with=tuple(other.rx_id for other in request.renewals if other is not renewal),
        )
        for renewal in request.due
    ]
    return Request(leased(request.due), leased(request.along)), events


def reported(renewal: Renewal, answer: RenewalAnswer, now: datetime) -> tuple[Renewal, list[Event]]:
    """What a request led to: an answer ends it, none leads to the next request.

    What only went along keeps the time of its own next request.
    """
    free = replace(renewal, lease_id=None, lease_until=None)
    asked = replace(free, asked=renewal.asked + 1, asked_at=now)
    if renewal.status is not RenewalStatus.open:
        return asked, []
    if answer is not RenewalAnswer.no_answer:
        return _answered(asked, answer)
    return review_renewal(free if _went_along(renewal, now) else asked, now)


def _went_along(renewal: Renewal, now: datetime) -> bool:
    """Whether an earlier request is still waited for, so that this one was about others."""
    if renewal.asked_at is None:
        return False
    return renewal.asked >= len(STAGES) or now < renewal.asked_at + PATIENCE[renewal.asked - 1]


def review_renewal(renewal: Renewal, now: datetime) -> tuple[Renewal, list[Event]]:
    """Set when to ask next, or give up; a lease that ran out goes back, and the request is due again."""
    if renewal.lease_until and renewal.lease_until > now:
        return replace(renewal, due_at=None, review_at=renewal.lease_until), []
    free = replace(renewal, lease_id=None, lease_until=None, review_at=None)
    if free.asked_at is None:
        return replace(free, due_at=free.opened_at), []
    waited = free.asked_at + PATIENCE[free.asked - 1]
    if free.asked < len(STAGES):
        return replace(free, due_at=waited), []
    if now < waited:
        return replace(free, due_at=None, review_at=waited), []
    return _answered(free, RenewalAnswer.no_answer)


def _answered(renewal: Renewal, answer: RenewalAnswer) -> tuple[Renewal, list[Event]]:
    answered = replace(renewal, status=RenewalStatus.answered, due_at=None, review_at=None)
    return answered, [RenewalAnswered(patient_id=renewal.patient_id, rx_id=renewal.rx_id, answer=answer)]
