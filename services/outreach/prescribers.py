"""Asking prescribers for renewals: the same leases and outcomes as with patients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel

from services.outreach import store
from services.outreach.domain.model import By
from services.outreach.domain.renewals import (
    Renewal,
    RenewalStatus,
    Request,
    ask,
    reported,
    requests_due,
)
from services.outreach.lending import STAFF, LeaseRequest
from shared.events.outreach import RenewalAnswer
from shared.http import Commanding, Problem, Working
from shared.messaging import Refused, Unit, Work, patient, tables

router = APIRouter()


@router.post("/prescriber-contacts/lease")
async def lease_renewals(body: LeaseRequest, caller: Commanding, work: Working) -> dict[str, Any]:
    """Lend the requests to prescribers that are due of up to `limit` patients: each holds all that is open."""
    caller.require("system", *STAFF)

    async def lend(patients: Sequence[str], unit: Unit) -> dict[str, Any]:
        until = unit.now + timedelta(minutes=body.minutes)
        due = requests_due(await store.open_renewals(unit.db, patients), unit.now)
        lent = [ask(request, uuid4(), until) for request in due]
        unit.emit(event for _, events in lent for event in events)
        return {"contacts": await _hand_out(unit, [request for request, _ in lent], body.worker)}

    return await work.claim(caller, "due_renewals", body.limit, lend)


async def _hand_out(unit: Unit, requests: Sequence[Request], worker: str) -> list[dict[str, Any]]:
    """Write the leases down and read the names that the prescriber needs."""
    people = await store.load_people(unit.db, [request.first.patient_id for request in requests])
    await store.save_renewals(unit.db, [renewal for request in requests for renewal in request.renewals])
    await store.add_attempts(unit.db, [_attempt(unit, request.first, worker) for request in requests])
    return [_lent(request, people[request.first.patient_id]) for request in requests]


def _lent(request: Request, person: store.Person) -> dict[str, Any]:
    """The request as whoever makes it gets it."""
    first = request.first
    return {
        "contact_id": first.contact_id,
        "lease_id": first.lease_id,
        "until": first.lease_until,
        "patient_id": first.patient_id,
        "name": person.name,
        "birth_date": person.birth_date,
        "store_id": first.store_id,
        "prescriber_id": first.prescriber_id,
        "needed_by": min(renewal.needed_by for renewal in request.renewals),
        "attempt": first.asked + 1,
        "stage": first.stage,
        "renewals": [
            {
                "rx_id": renewal.rx_id,
                "drug_name": renewal.drug_name,
                "needed_by": renewal.needed_by,
                "attempt": renewal.asked + 1,
            }
            for renewal in request.renewals
        ],
    }


def _attempt(unit: Unit, renewal: Renewal, worker: str) -> store.Attempt:
    assert renewal.lease_id is not None
    return store.Attempt(
        lease_id=renewal.lease_id,
        contact_id=renewal.contact_id,
        patient_id=renewal.patient_id,
        kind="renewal",
        made_by=By.dialler if unit.role == "system" else By.person,
        actor=f"{unit.actor}/{worker}",
        at=unit.now,
        until=renewal.lease_until,
    )


Said = Literal["approved", "denied", "needs_visit", "no_answer"]


class RenewalReport(BaseModel):
    """What the prescriber said, to all of the request or by prescription; `no_answer` leads to the next request."""

    lease_id: UUID
    answer: Said | None = None  # to whatever is not in `answers`
    answers: dict[str, Said] = {}  # by rx_id

    def of(self, renewals: Sequence[Renewal]) -> dict[str, RenewalAnswer]:
        """The answer to each of these.

        Raises:
            Refused: one has none, or a prescription is answered that was not asked about.
        """
        asked = {renewal.rx_id for renewal in renewals}
        if not asked.issuperset(self.answers):
            raise Refused("no_such_prescription", "answers name a prescription that is not in the request")
        said = {rx_id: self.answers.get(rx_id, self.answer) for rx_id in asked}
        if not all(said.values()):
            raise Refused("answer_missing", "each prescription of the request needs an answer")
        return {rx_id: RenewalAnswer(answer) for rx_id, answer in said.items() if answer}


@router.post("/prescriber-contacts/{contact_id}/outcome")
async def renewal_outcome(
    contact_id: UUID, body: RenewalReport, caller: Commanding, work: Working
) -> dict[str, Any]:
    """Take a prescriber's answer; the same answer under the same lease again gets the same reply."""
    caller.require("system", "prescriber", *STAFF)

    async def take(unit: Unit) -> dict[str, Any]:
        renewal = await store.load_renewal(unit.db, contact_id)
        attempt = await store.load_attempt(unit.db, body.lease_id)
        if renewal is None or attempt is None or attempt.contact_id != contact_id:
            raise Problem(
                409, "Not your lease", "the contact was never leased under this lease_id", code="foreign"
            )
        outcome = body.answer or "answered"
        if attempt.outcome == outcome and (attempt.answer or {}) == body.answers:
            return dict(attempt.reply)
        if attempt.outcome:
            raise Problem(
                409, "Reported already", "the lease was reported with another answer", code="reported"
            )
        if renewal.lease_id != body.lease_id or attempt.until is None or attempt.until <= unit.now:
            raise Problem(
                409, "Lease over", "the lease ran out before the answer came: lease it anew", code="expired"
            )
        asked = await store.leased_renewals(unit.db, renewal.patient_id, body.lease_id)
        said = body.of(asked)
        done = [reported(each, said[each.rx_id], unit.now) for each in asked]
        await store.save_renewals(unit.db, [after for after, _ in done])
        unit.emit(event for _, events in done for event in events)
        reply = _reply(contact_id, [after for after, _ in done])
        await store.report_attempt(unit.db, body.lease_id, outcome, body.answers, reply, unit.now)
        return reply

    return await work.command(caller, [patient(await _patient_of(work, contact_id))], take)


def _reply(contact_id: UUID, renewals: Sequence[Renewal]) -> dict[str, Any]:
    """How the request stands: open while anything of it is, due again when the first of it is."""
    waiting = [renewal for renewal in renewals if renewal.status is RenewalStatus.open]
    due = min((renewal.due_at for renewal in waiting if renewal.due_at), default=None)
    return {
        "contact_id": str(contact_id),
        "status": (waiting or renewals)[0].status.value,
        "next_due": due.isoformat() if due else None,
        "renewals": [
            {
                "rx_id": renewal.rx_id,
                "status": renewal.status.value,
                "next_due": renewal.due_at.isoformat() if renewal.due_at else None,
            }
            for renewal in renewals
        ],
    }


@router.get("/prescriber-contacts/next-due")
async def next_due(work: Working) -> dict[str, datetime | None]:
    """When a prescriber is to be asked next (or might have been since)."""
    async with work.read() as db:
        return {"next_due": await tables.next_due(db, "due_renewals")}


async def _patient_of(work: Work, contact_id: UUID) -> str:
    async with work.read() as db:
        renewal = await store.load_renewal(db, contact_id)
    if renewal is None:
        raise Problem(404, "Not found", "there is no contact with this id")
    return renewal.patient_id
