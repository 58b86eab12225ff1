"""Asking prescribers for renewals: first at once, then again, then urgently, then the answer is that there is none."""

from __future__ import annotations

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


def ask(renewal: Renewal, lease_id: UUID, until: datetime) -> tuple[Renewal, RenewalRequested]:
    """Lend the renewal to whoever asks the prescriber now."""
    lent = replace(renewal, lease_id=lease_id, lease_until=until, due_at=None, review_at=until)
    return lent, RenewalRequested(
        patient_id=renewal.patient_id,
        rx_id=renewal.rx_id,
        prescriber_id=renewal.prescriber_id,
        attempt=renewal.asked + 1,
    )


def reported(renewal: Renewal, answer: RenewalAnswer, now: datetime) -> tuple[Renewal, list[Event]]:
    """What a request led to: an answer ends it, none leads to the next request."""
    asked = replace(renewal, asked=renewal.asked + 1, asked_at=now, lease_id=None, lease_until=None)
    if renewal.status is not RenewalStatus.open:
        return asked, []
    return review_renewal(asked, now) if answer is RenewalAnswer.no_answer else _answered(asked, answer)


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
