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
from services.outreach.domain.renewals import Renewal, ask, reported
from services.outreach.lending import STAFF, LeaseRequest
from shared.events.outreach import RenewalAnswer
from shared.http import Commanding, Problem, Working
from shared.messaging import Unit, Work, patient, tables

router = APIRouter()


@router.post("/prescriber-contacts/lease")
async def lease_renewals(body: LeaseRequest, caller: Commanding, work: Working) -> dict[str, Any]:
    """Lend the renewals that prescribers are to be asked for now: all that are due of up to `limit` patients."""
    caller.require("system", *STAFF)

    async def lend(patients: Sequence[str], unit: Unit) -> dict[str, Any]:
        until = unit.now + timedelta(minutes=body.minutes)
        lent = [
            ask(renewal, uuid4(), until)
            for renewal in await store.open_renewals(unit.db, patients)
            if renewal.due_at and renewal.due_at <= unit.now
        ]
        unit.emit(event for _, event in lent)
        return {"contacts": await _hand_out(unit, [renewal for renewal, _ in lent], body.worker)}

    return await work.claim(caller, "due_renewals", body.limit, lend)


async def _hand_out(unit: Unit, renewals: Sequence[Renewal], worker: str) -> list[dict[str, Any]]:
    """Write the leases down and read the names that the prescriber needs."""
    people = await store.load_people(unit.db, [renewal.patient_id for renewal in renewals])
    await store.save_renewals(unit.db, renewals)
    await store.add_attempts(unit.db, [_attempt(unit, renewal, worker) for renewal in renewals])
    return [
        {
            "contact_id": renewal.contact_id,
            "lease_id": renewal.lease_id,
            "until": renewal.lease_until,
            "patient_id": renewal.patient_id,
            "name": people[renewal.patient_id].name,
            "birth_date": people[renewal.patient_id].birth_date,
            "store_id": renewal.store_id,
            "prescriber_id": renewal.prescriber_id,
            "rx_id": renewal.rx_id,
            "drug_name": renewal.drug_name,
            "needed_by": renewal.needed_by,
            "attempt": renewal.asked + 1,
            "stage": renewal.stage,
        }
        for renewal in renewals
    ]


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


class RenewalReport(BaseModel):
    """What the prescriber said; `no_answer` leads to the next request."""

    lease_id: UUID
    answer: Literal["approved", "denied", "needs_visit", "no_answer"]


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
        if attempt.outcome == body.answer:
            return dict(attempt.reply)
        if attempt.outcome:
            raise Problem(
                409, "Reported already", "the lease was reported with another answer", code="reported"
            )
        if renewal.lease_id != body.lease_id or attempt.until is None or attempt.until <= unit.now:
            raise Problem(
                409, "Lease over", "the lease ran out before the answer came: lease it anew", code="expired"
            )
        after, events = reported(renewal, RenewalAnswer(body.answer), unit.now)
        await store.save_renewals(unit.db, [after])
        unit.emit(events)
        reply = {
            "contact_id": str(contact_id),
            "status": after.status.value,
            "next_due": after.due_at.isoformat() if after.due_at else None,
        }
        await store.report_attempt(unit.db, body.lease_id, body.answer, None, reply, unit.now)
        return reply

    return await work.command(caller, [patient(await _patient_of(work, contact_id))], take)


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
