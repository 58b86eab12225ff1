"""What fulfillment does with events: it keeps the newest of each fact, and draws the conclusions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.fulfillment.domain import (
    Change,
    Confirmation,
    ConfirmedItem,
    Contact,
    Exclusions,
    Patient,
    Plan,
    Store,
    confirm,
    reconcile,
)
from services.fulfillment.recompute import recompute_orders, save_changes
from services.fulfillment.store import reads, writes
from services.fulfillment.store.forgetting import PERSONAL
from shared.events.enrollment import (
    CaregiversChanged,
    ConsentChanged,
    ContactDetailsChanged,
    DisenrolmentReason,
    PatientDisenrolled,
    PatientEnrolled,
    PatientErased,
    StoreChanged,
)
from shared.events.outreach import ConfirmedItem as Confirmed
from shared.events.outreach import PickupConfirmed
from shared.events.planner import (
    DrugDecision,
    ExclusionsChanged,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    PlannedItem,
    Visit,
)
from shared.events.tombstones import ContactDetailsForgotten
from shared.messaging import Handlers, Refused, Unit
from shared.messaging.forgetting import forget

on = Handlers()

DISCONTINUED = "discontinued"
"""The reason with which a plan excludes a prescription that was discontinued, where it still lists it."""

FILL = "fill"
"""The step of a visit that says when its fills are made."""


@on(PickupConfirmed)
async def open_work_orders(events: Sequence[PickupConfirmed], unit: Unit) -> None:
    """One work order per visit; a confirmation that comes when someone works on it is recorded without effect."""
    confirmations = [confirmation_of(event) for event in events]
    visit_ids = [confirmation.visit_id for confirmation in confirmations]
    held = {order.visit_id: order for order in await reads.orders_of_visits(unit.db, visit_ids)}
    taken = [(each, confirm(held.get(each.visit_id), each)) for each in confirmations]
    await writes.save_confirmations(
        unit.db, [(each, order is not None) for each, order in taken], received_at=unit.now
    )
    orders = [order for _, order in taken if order]
    facts = await reads.facts_around(unit.db, orders)
    await save_changes(
        unit,
        [
            Change(held.get(order.visit_id), reconcile(order, facts[order.visit_id], unit.now))
            for order in orders
        ],
    )


@on(PlanComputed)
async def follow_plans(events: Sequence[PlanComputed], unit: Unit) -> None:
    """A newer plan cancels what it no longer has, while it is not filled, and recalls what was discontinued.

    One that has a conditional fill without its condition lets it be filled.
    """
    await writes.save_plans(unit.db, [plan_of(event) for event in events])
    await recompute_orders(unit, [event.patient_id for event in events])


@on(PlanBlocked)
async def recall_without_plan(events: Sequence[PlanBlocked], unit: Unit) -> None:
    """Without a plan too, what was discontinued is recalled: the last drug of a patient leaves nothing to plan."""
    await writes.save_plans(unit.db, [no_plan_of(event) for event in events])
    await recompute_orders(unit, [event.patient_id for event in events])


@on(PlanCancelled)
async def stop_for_cancelled_plans(events: Sequence[PlanCancelled], unit: Unit) -> None:
    """A plan withdrawn takes its confirmations with it, for good."""
    await writes.save_plans(
        unit.db,
        [Plan(event.patient_id, event.revision, cancelled_through=event.revision) for event in events],
    )
    await recompute_orders(unit, [event.patient_id for event in events])


@on(ConsentChanged)
async def heed_consent(events: Sequence[ConsentChanged], unit: Unit) -> None:
    """Whether a caregiver may collect, from now on."""
    await writes.save_patients(unit.db, [_enrolled(event) for event in events])


@on(ExclusionsChanged)
async def heed_exclusions(events: Sequence[ExclusionsChanged], unit: Unit) -> None:
    """What a pharmacist keeps out is not filled, and leaves its package; what was handed over is not called back."""
    lists = [
        Exclusions(event.patient_id, event.revision, frozenset(each.rx_id for each in event.excluded))
        for event in events
    ]
    await writes.save_exclusions(unit.db, lists)
    await recompute_orders(unit, [event.patient_id for event in events])


@on(PatientEnrolled)
async def open_to_patients(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    """Who takes part (again) may have fills; confirmations that came earlier wait for this."""
    await writes.save_patients(unit.db, [_enrolled(event) for event in events])
    await recompute_orders(unit, [event.patient_id for event in events])


def _enrolled(event: PatientEnrolled | ConsentChanged) -> Patient:
    return Patient(
        event.patient_id, event.revision, enrolled=True, caregiver_may_collect=event.consent.caregiver
    )


@on(PatientDisenrolled)
async def stop_for_patients(events: Sequence[PatientDisenrolled], unit: Unit) -> None:
    """Nothing more is filled; what is filled stays collectable, unless the patient died."""
    patients = [
        Patient(
            event.patient_id,
            event.revision,
            enrolled=False,
            died=event.reason is DisenrolmentReason.died,
            left_revision=event.revision,
        )
        for event in events
    ]
    await writes.save_patients(unit.db, patients)
    await recompute_orders(unit, [event.patient_id for event in events])


@on(ContactDetailsChanged)
async def keep_names(events: Sequence[ContactDetailsChanged], unit: Unit) -> None:
    """Who the patients are, for the pickup desk."""
    contacts = [
        Contact(
            event.patient_id,
            event.revision,
            event.given_name,
            event.family_name,
            event.birth_date,
            event.address,
            tuple(phone.number for phone in event.phones),
        )
        for event in events
    ]
    await writes.save_contacts(unit.db, unit.keys, contacts)


@on(CaregiversChanged)
async def keep_caregivers(events: Sequence[CaregiversChanged], unit: Unit) -> None:
    """Who is recorded as a caregiver, and so may collect."""
    await writes.save_caregivers(unit.db, events)


@on(PatientErased)
async def forget_patients(events: Sequence[PatientErased], unit: Unit) -> None:
    """Destroy what says who these patients are; what was on its way is taken by the tombstone behind it."""
    await forget(unit, PERSONAL, [event.patient_id for event in events], for_good=False)


@on(ContactDetailsForgotten)
async def forget_details(events: Sequence[ContactDetailsForgotten], unit: Unit) -> None:
    """Nothing of these patients comes any more behind it: they are forgotten for good."""
    await forget(unit, PERSONAL, [event.patient_id for event in events])


@on(StoreChanged)
async def keep_calendars(events: Sequence[StoreChanged], unit: Unit) -> None:
    """A calendar; its open work orders are scheduled by it as due work, some patients at a time."""
    await writes.save_stores(unit.db, [store_of(event) for event in events], known_at=unit.now)


def confirmation_of(event: PickupConfirmed) -> Confirmation:
    """Raises Refused where it names a prescription twice: a visit has one fill of each."""
    if len({item.rx_id for item in event.items}) < len(event.items):
        raise Refused("prescription_twice", "the confirmation names a prescription twice for one visit")
    return Confirmation(
        visit_id=event.visit_id,
        patient_id=event.patient_id,
        store_id=event.store_id,
        plan_id=event.plan_id,
        plan_revision=event.plan_revision,
        visit_kind=event.visit_kind,
        visit_on=event.on,
        items=tuple(replace(_wanted(item), condition=item.condition) for item in event.items),
    )


def plan_of(event: PlanComputed) -> Plan:
    """What matters here of a plan. A discontinued prescription is excluded as such, or has left the profile."""
    visits = {
        visit.visit_id: {item.rx_id: item.payable_from for item in visit.items} for visit in event.visits
    }
    return Plan(
        event.patient_id,
        event.revision,
        event.profile_revision,
        visits,
        not_discontinued(event.drugs).union(*visits.values()),
        {visit.visit_id: _fill_days(visit) for visit in event.visits},
        conditions={
            visit.visit_id: {item.rx_id: item.condition for item in visit.items if item.condition}
            for visit in event.visits
        },
        renewals={
            visit.visit_id: {item.in_place_of: item.rx_id for item in visit.items if item.in_place_of}
            for visit in event.visits
        },
        urgent=frozenset(visit.visit_id for visit in event.visits if visit.urgent),
        offers={visit.visit_id: offers for visit in event.visits if (offers := _offers_of(visit))},
    )


def _offers_of(visit: Visit) -> tuple[ConfirmedItem, ...]:
    """What the plan has to be asked about at the counter."""
    return tuple(_wanted(item) for item in visit.items if item.at_counter)


def _wanted(item: Confirmed | PlannedItem) -> ConfirmedItem:
    """A fill that the patient wants, or is asked about; without what it depends on."""
    return ConfirmedItem(
        item.rx_id,
        item.drug_name,
        item.quantity,
        item.days_supply,
        item.days_supply_billed,
        item.clarification_codes,
    )


def no_plan_of(event: PlanBlocked) -> Plan:
    """Where nothing is said of the drugs, as in a stay, nothing is concluded of them: it is a withdrawal alone."""
    return Plan(
        event.patient_id,
        event.revision,
        event.profile_revision,
        prescriptions=not_discontinued(event.drugs),
        cancelled_through=0 if event.drugs else event.revision,
    )


def not_discontinued(drugs: Iterable[DrugDecision]) -> frozenset[str]:
    """Of the drugs that a plan lists, or the lack of one, the prescriptions that were not discontinued."""
    return frozenset(
        drug.rx_id for drug in drugs if all(reason.code != DISCONTINUED for reason in drug.reasons)
    )


def _fill_days(visit: Visit) -> dict[str, date]:
    """By prescription the day on which the plan has it filled."""
    every = [item.rx_id for item in visit.items]
    return {rx_id: step.on for step in visit.steps if step.code == FILL for rx_id in step.rx_ids or every}


def store_of(event: StoreChanged) -> Store:
    """Raises Refused where the time zone is not an IANA name."""
    try:
        ZoneInfo(event.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Refused("unknown_time_zone", f"{event.time_zone!r} is not an IANA time zone") from None
    return Store(
        event.store_id,
        event.revision,
        event.time_zone,
        frozenset(hours.weekday for hours in event.hours),
        frozenset(event.closed_on),
    )
