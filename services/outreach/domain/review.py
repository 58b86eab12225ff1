"""Look at one patient's contacts anew: what is settled, what failed, when the rest is due.

Every handler, job and command ends here. The answer follows from what is known and from the time alone, so it does not
matter in which order the facts arrived, and looking twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from services.outreach.domain.model import ASKS, By, Case, Contact, Kind, Plan, Status, withdraw
from services.outreach.domain.schedule import (
    POLICY,
    Policy,
    attempt_days,
    channel_of,
    closing,
    last_day,
    letter_by,
    may_call,
    only_by_letter,
    priority,
    reachable_on,
    scheduled,
    waits_for_letter,
)
from shared.events import Event
from shared.events.enrollment import Channel
from shared.events.outreach import ConfirmedItem, PatientUnreached, PickupConfirmed, PickupDeclined
from shared.events.planner import PlannedItem, Visit


@dataclass(frozen=True, slots=True)
class Review:
    """A patient's live contacts as they stand now, and what follows."""

    contacts: tuple[Contact, ...]
    events: tuple[Event, ...] = ()


def review(case: Case, now: datetime, policy: Policy = POLICY) -> Review:
    """Settle what can be settled and schedule the rest.

    While the patient's enrollment or time zone is not known yet, everything waits.
    """
    if not case.enrolled or case.zone is None:
        return Review(tuple(_unscheduled(contact) for contact in case.contacts))
    settled: list[Contact] = []
    events: list[Event] = []
    for contact in case.contacts:
        settled_contact, event = _settled(_without_expired_lease(contact, now), case, now, policy)
        settled.append(settled_contact)
        events.extend([event] if event else [])
    still_open = [contact for contact in settled if contact.status is Status.open]
    over = [_unscheduled(contact) for contact in settled if contact.status is not Status.open]
    return Review((*over, *scheduled(case, still_open, now, policy)), tuple(events))


def pickup(
    plan: Plan, visit: Visit, unwanted: frozenset[str], *, standing: bool = False
) -> PickupConfirmed | PickupDeclined:
    """What confirming a visit means: every item that is wanted, or a decline where nothing is.

    A conditional fill is wanted if its condition is met. What is not wanted is not of its renewal either.
    """
    left_out = {item.rx_id for item in visit.items if unwanted & {item.rx_id, item.in_place_of}}
    wanted = [item for item in visit.items if item.rx_id not in left_out]
    if not wanted:
        return declined(plan, visit)
    return PickupConfirmed(
        patient_id=plan.patient_id,
        store_id=plan.store_id,
        plan_id=plan.plan_id,
        plan_revision=plan.revision,
        visit_id=visit.visit_id,
        visit_kind=visit.kind.value,
        on=visit.on,
        items=tuple(_confirmed(item) for item in wanted),
        declined_rx_ids=tuple(item.rx_id for item in visit.items if item.rx_id in left_out),
        standing_instruction=standing,
    )


def declined(plan: Plan, visit: Visit) -> PickupDeclined:
    """Nothing of this visit is wanted."""
    return PickupDeclined(
        patient_id=plan.patient_id,
        plan_id=plan.plan_id,
        plan_revision=plan.revision,
        visit_id=visit.visit_id,
        on=visit.on,
    )


@dataclass(frozen=True, slots=True)
class Lease:
    """A contact leased to a dialer or a person: how to make it, and until when."""

    case: Case  # as it stands with the contact leased
    contact: Contact
    channel: Channel
    lease_id: UUID
    until: datetime


def lease_next(case: Case, by: By, now: datetime, until: datetime, lease_id: UUID) -> Lease | None:
    """Lease the most important contact that is due; None where none is, or where a person may not call now."""
    times = {
        contact: contact.due_at or (contact.by_hand_at if by is By.person else None)
        for contact in case.contacts
    }
    due = (contact for contact, at in times.items() if at and at <= now)
    for contact in sorted(due, key=priority):
        if by is By.dialer or may_call(case, contact, now) is None:
            return lease(case, contact, by, now, until, lease_id)
    return None


def lease(
    case: Case,
    contact: Contact,
    by: By,
    now: datetime,
    until: datetime,
    lease_id: UUID,
    policy: Policy = POLICY,
) -> Lease | None:
    """Lease this contact, to the end of the hours for calls at the latest; None where no channel is left."""
    zone = ZoneInfo(case.zone or "UTC")
    today = now.astimezone(zone).date()
    channel = channel_of(contact, case, today, by, policy)
    if channel is None:
        return None
    ends = min(until, closing(today, zone, policy))
    leased = replace(_unscheduled(contact), lease_id=lease_id, lease_until=ends)
    contacts = [leased if each.contact_id == contact.contact_id else each for each in case.contacts]
    waiting = scheduled(case, [each for each in contacts if each.status is Status.open], now, policy)
    rest = [each for each in contacts if each.status is not Status.open]
    return Lease(replace(case, contacts=(*rest, *waiting)), leased, channel, lease_id, ends)


def _unscheduled(contact: Contact) -> Contact:
    return replace(contact, due_at=None, by_hand_at=None, review_at=None)


def _without_expired_lease(contact: Contact, now: datetime) -> Contact:
    """A lease that ran out goes back: nobody reported the call, so it is due again."""
    if contact.lease_until and contact.lease_until <= now:
        return replace(contact, lease_id=None, lease_until=None)
    return contact


def _settled(contact: Contact, case: Case, now: datetime, policy: Policy) -> tuple[Contact, Event | None]:
    """The contact as time and plan leave it, and the event that follows."""
    plan, zone = case.plan, ZoneInfo(case.zone or "UTC")
    if contact.status is Status.promised:
        visit = plan.visit(contact.visit_id) if plan and plan.agreed else None
        if plan is None or visit is None:
            return contact, None
        return replace(contact, status=Status.answered), pickup(
            plan, visit, frozenset(contact.declined_rx_ids)
        )
    by_letter = contact.kind in ASKS and only_by_letter(case)
    days = attempt_days(contact, zone, policy)
    tried_all = contact.attempts >= len(days) and not by_letter
    too_late = now >= closing(last_day(contact, zone, policy), zone, policy)
    too_late_for_post = waits_for_letter(contact, case) and now >= closing(
        letter_by(contact, policy), zone, policy
    )
    if contact.lease_id or contact.kind is Kind.question or not (tried_all or too_late or too_late_for_post):
        return contact, None
    if contact.kind not in ASKS:
        return replace(contact, status=Status.lapsed), None
    if plan is None:
        return withdraw(contact), None
    settled, event = _unreached(contact, plan, standing_instruction=case.standing_instruction)
    if by_letter and isinstance(event, PatientUnreached):
        next_on = reachable_on(now, zone, policy)
        event = event.model_copy(update={"reachable_on": next_on, "too_late": too_late_for_post})
    elif isinstance(event, PatientUnreached):
        late = not days or contact.opened_at >= closing(last_day(contact, zone, policy), zone, policy)
        event = event.model_copy(update={"planned_late": late and not contact.attempts})
    return settled, event


def _unreached(contact: Contact, plan: Plan, *, standing_instruction: bool) -> tuple[Contact, Event]:
    """Nothing is filled, but for what a standing instruction on record covers and payer and state allow."""
    visit = plan.visit(contact.visit_id)
    if visit and standing_instruction:
        not_allowed = frozenset(item.rx_id for item in visit.items if not item.standing_instruction_allowed)
        if len(not_allowed) < len(visit.items):
            covered = visit.model_copy(
                update={"items": tuple(item for item in visit.items if item.rx_id not in not_allowed)}
            )
            return replace(contact, status=Status.standing), pickup(plan, covered, frozenset(), standing=True)
    return replace(contact, status=Status.unreached), PatientUnreached(
        patient_id=contact.patient_id,
        plan_id=plan.plan_id,
        plan_revision=plan.revision,
        visit_id=contact.visit_id,
        attempts=contact.attempts,
    )


def _confirmed(item: PlannedItem) -> ConfirmedItem:
    return ConfirmedItem(
        rx_id=item.rx_id,
        drug_name=item.drug_name,
        quantity=item.quantity,
        days_supply=item.days_supply,
        days_supply_billed=item.days_supply_billed,
        clarification_codes=item.clarification_codes,
        condition=item.condition,
    )
