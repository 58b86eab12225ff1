"""Asking prescribers for renewals: the same leases and outcomes as with patients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field

from services.outreach.commands.leasing import LeaseRequest, require_lease_of
from services.outreach.domain.model import by_of
from services.outreach.domain.renewals import (
    Renewal,
    RenewalStatus,
    Request,
    ask,
    reported,
    requests_due,
)
from services.outreach.queries import Moment, known_renewal
from services.outreach.store import attempts, reads, renewals
from services.outreach.store.attempts import Attempt
from services.outreach.store.reads import Person
from shared.events.outreach import RenewalAnswer
from shared.messaging import Unit
from shared.problems import Conflict, Invalid
from shared.values import LenientInput, Output, for_example

# ---- leases ---------------------------------------------------------------------------------------------------


class LeasedRenewal(Output):
    """One prescription that a request asks to renew."""

    rx_id: str
    drug_name: str
    needed_by: date
    attempt: int  # 1 is the first


class LeasedRequest(Output):
    """A request to a prescriber as whoever makes it gets it: all that is open for one patient."""

    contact_id: UUID
    lease_id: UUID
    until: datetime  # of the lease
    patient_id: str
    name: str
    birth_date: date | None
    store_id: str
    prescriber_id: str
    needed_by: date
    attempt: int
    stage: str  # first, repeat, escalation
    renewals: tuple[LeasedRenewal, ...]


class LeasedRequests(Output):
    """Requests that were leased."""

    contacts: tuple[LeasedRequest, ...]


async def lease_renewals(unit: Unit, patient_ids: Sequence[str], wanted: LeaseRequest) -> LeasedRequests:
    """Lease the requests to prescribers that are due of these patients: each holds all that is open."""
    until = unit.now + timedelta(minutes=wanted.minutes)
    due = requests_due(await renewals.open_renewals(unit.db, patient_ids), unit.now)
    leased = [ask(request, uuid4(), until) for request in due]
    unit.emit(event for _, events in leased for event in events)
    return await _lease_requests(unit, [request for request, _ in leased], wanted.worker)


async def _lease_requests(unit: Unit, requests: Sequence[Request], worker: str) -> LeasedRequests:
    """Write the leases down and read the names that the prescriber needs."""
    people = await reads.load_people(unit.db, unit.keys, [request.first.patient_id for request in requests])
    await renewals.save_renewals(unit.db, [renewal for request in requests for renewal in request.renewals])
    await attempts.add_attempts(unit.db, [_attempt(unit, request.first, worker) for request in requests])
    return LeasedRequests(
        contacts=tuple(_lease_payload(request, people[request.first.patient_id]) for request in requests)
    )


def _lease_payload(request: Request, person: Person) -> LeasedRequest:
    first = request.first
    assert first.lease_id is not None and first.lease_until is not None
    return LeasedRequest(
        contact_id=first.contact_id,
        lease_id=first.lease_id,
        until=first.lease_until,
        patient_id=first.patient_id,
        name=person.name,
        birth_date=person.birth_date,
        store_id=first.store_id,
        prescriber_id=first.prescriber_id,
        needed_by=min(renewal.needed_by for renewal in request.renewals),
        attempt=first.asked + 1,
        stage=first.stage,
        renewals=tuple(
            LeasedRenewal(
                rx_id=renewal.rx_id,
                drug_name=renewal.drug_name,
                needed_by=renewal.needed_by,
                attempt=renewal.asked + 1,
            )
            for renewal in request.renewals
        ),
    )


def _attempt(unit: Unit, renewal: Renewal, worker: str) -> Attempt:
    assert renewal.lease_id is not None
    return Attempt(
        lease_id=renewal.lease_id,
        contact_id=renewal.contact_id,
        patient_id=renewal.patient_id,
        kind="renewal",
        made_by=by_of(unit.role),
        actor=f"{unit.actor}/{worker}",
        taken_by=unit.actor,
        at=unit.now,
        until=renewal.lease_until,
    )


# ---- outcomes -------------------------------------------------------------------------------------------------

PrescriberAnswer = Literal["approved", "denied", "needs_visit", "no_answer"]


class RenewalReport(LenientInput):
    """What the prescriber said, to all of the request or by prescription; `no_answer` leads to the next request."""

    model_config = for_example(
        lease_id="d2b1f0a4-6f0e-4a35-9c58-3a1f0b7c9e21",
        answers={"RX1002": "approved", "RX1003": "needs_visit"},
    )

    lease_id: UUID
    answer: PrescriberAnswer | None = None  # to whatever is not in `answers`
    answers: Annotated[dict[str, PrescriberAnswer], Field(default_factory=dict)]  # by rx_id

    def of(self, asked: Sequence[Renewal]) -> dict[str, RenewalAnswer]:
        """The answer to each of these.

        Raises:
            Invalid: one has none, or a prescription is answered that was not asked about.
        """
        rx_ids = {renewal.rx_id for renewal in asked}
        if not rx_ids.issuperset(self.answers):
            raise Invalid("no_such_prescription", "answers name a prescription that is not in the request")
        said = {rx_id: self.answers.get(rx_id, self.answer) for rx_id in rx_ids}
        if not all(said.values()):
            raise Invalid("answer_missing", "each prescription of the request needs an answer")
        return {rx_id: RenewalAnswer(answer) for rx_id, answer in said.items() if answer}


class RenewalState(Output):
    """How one renewal of a request stands."""

    rx_id: str
    status: RenewalStatus
    next_due: Moment | None


class RequestState(Output):
    """How the request stands: open while anything of it is, due again when the first of it is."""

    contact_id: UUID
    status: RenewalStatus
    next_due: Moment | None
    renewals: tuple[RenewalState, ...]


async def report_renewal(unit: Unit, contact_id: UUID, report: RenewalReport) -> RequestState:
    """Take a prescriber's answer; the same answer under the same lease again gets the same reply."""
    renewal = await known_renewal(unit.db, contact_id)
    attempt = await attempts.load_attempt(unit.db, report.lease_id)
    if attempt is None or attempt.contact_id != contact_id:
        raise Conflict("foreign", "the contact was never leased under this lease_id")
    if unit.role != "prescriber":  # who is asked; others ask for the lease
        require_lease_of(attempt, unit)
    outcome = report.answer or "answered"
    if attempt.outcome == outcome and (attempt.answer or {}) == report.answers:
        return RequestState.model_validate(attempt.reply)
    if attempt.outcome:
        raise Conflict("reported", "the lease was reported with another answer")
    if renewal.lease_id != report.lease_id or attempt.until is None or attempt.until <= unit.now:
        raise Conflict("expired", "the lease ran out before the answer came: lease it anew")
    asked = await renewals.leased_renewals(unit.db, renewal.patient_id, report.lease_id)
    answers = report.of(asked)
    done = [reported(each, answers[each.rx_id], unit.now) for each in asked]
    await renewals.save_renewals(unit.db, [after for after, _ in done])
    unit.emit(event for _, events in done for event in events)
    reply = _state_of(contact_id, [after for after, _ in done])
    kept = reply.model_dump(mode="json")
    await attempts.report_attempt(unit.db, report.lease_id, outcome, report.answers, kept, unit.now)
    return reply


def _state_of(contact_id: UUID, renewals: Sequence[Renewal]) -> RequestState:
    waiting = [renewal for renewal in renewals if renewal.status is RenewalStatus.open]
    due = min((renewal.due_at for renewal in waiting if renewal.due_at), default=None)
    return RequestState(
        contact_id=contact_id,
        status=(waiting or renewals)[0].status,
        next_due=due.isoformat() if due else None,
        renewals=tuple(
            RenewalState(
                rx_id=renewal.rx_id,
                status=renewal.status,
                next_due=renewal.due_at.isoformat() if renewal.due_at else None,
            )
            for renewal in renewals
        ),
    )
