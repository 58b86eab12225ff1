"""What the planner takes from the other services: who takes part, what they take, and what they answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from services.planner import store
from services.planner.domain import progress
from services.planner.domain.model import Rejection
from services.planner.domain.progress import Progress, Status
from services.planner.recompute import recompute, recompute_exclusions, withdraw
from services.planner.store import Answer, Record
from services.planner.store.forgetting import PERSONAL
from shared.events.enrollment import (
    CaregiversChanged,
    PatientDisenrolled,
    PatientEnrolled,
    PatientErased,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import PUT_RIGHT, FillRejected, FillResolved, Resolution
from shared.events.outreach import (
    AlignmentAgreed,
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    RenewalAnswered,
    RescheduleRequested,
    VisitAnnounced,
)
from shared.messaging import Handlers, Unit
from shared.messaging.forgetting import forget

on = Handlers()

ENDED = (Resolution.given_up, Resolution.other_store)

HEARD_FROM = frozenset({"handed_over", "on_hand", "stopped"})
"""Changes of a profile that the patient made: they came, or told of a drug."""

A = TypeVar(
    "A",
    AlignmentAgreed,
    PickupConfirmed,
    PickupDeclined,
    PatientUnreached,
    RescheduleRequested,
    VisitAnnounced,
)


# --- who takes part, and what they take ---


@on(PatientEnrolled)
async def plan_first_cycle(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    """Plan the first synchronized pickup of each newly enrolled patient. Who is enrolled as before goes on."""
    newer = await store.save_profiles(unit.db, events, consented=True)
    records = await store.load_records(unit.db, newer, unit.now)
    new = {event.patient_id for event in unit.news(events)}
    await recompute(
        unit,
        [
            replace(record, progress=progress.enrolled(record.progress))
            if patient_id in new or record.progress.status is Status.gone
            else record
            for patient_id, record in records.items()
        ],
    )


@on(ProfileChanged)
async def plan_with_profile(events: Sequence[ProfileChanged], unit: Unit) -> None:
    """Answer each newer profile with a plan; a visit that was handed over or returned has come to its end."""
    newer = await store.save_profiles(unit.db, events, consented=False)
    records = await store.load_records(unit.db, newer, unit.now)
    known = [(records[event.patient_id], event) for event in events if event.patient_id in records]
    await recompute(
        unit, [replace(record, progress=_after(record.progress, event)) for record, event in known]
    )


def _after(before: Progress, event: ProfileChanged) -> Progress:
    if {"handed_over", "preferences"} & set(event.changes):
        before = progress.reset_missed_cycles(before)
    if HEARD_FROM & set(event.changes):
        before = progress.answered(before)
    return progress.close_visit(before, event.visit_id)


@on(PatientDisenrolled)
async def cancel_plan(events: Sequence[PatientDisenrolled], unit: Unit) -> None:
    """Withdraw the plans of those who left; what staff decided about them is forgotten."""
    left = await store.save_disenrollments(unit.db, events)
    records = await store.load_records(unit.db, left, unit.now)
    await withdraw(unit, records.values())
    await recompute_exclusions(unit, dict.fromkeys(left, ()))


@on(CaregiversChanged)
async def heed_caregivers(events: Sequence[CaregiversChanged], unit: Unit) -> None:
    """Keep who may act for whom."""
    await store.save_caregivers(unit.db, events)


@on(PatientErased)
async def forget_patients(events: Sequence[PatientErased], unit: Unit) -> None:
    """Destroy what says who these patients are."""
    await forget(unit, PERSONAL, [event.patient_id for event in events])


@on(StoreChanged)
async def plan_store_anew(events: Sequence[StoreChanged], unit: Unit) -> None:
    """Have the patients of a store planned anew where its days changed: as due work, batch by batch."""
    changed = await store.save_stores(unit.db, events, unit.now)
    await store.ask_for_replans(unit.db, changed, unit.now)


# --- what patients answered ---


@on(AlignmentAgreed)
async def pin_anchor(events: Sequence[AlignmentAgreed], unit: Unit) -> None:
    """The day that the patient accepted becomes a pin."""
    await _take_answers(
        unit,
        events,
        lambda record, event: progress.alignment_agreed(
            record.progress, event.plan_id, event.anchor_on, read_out=_newest(record, event)
        ),
    )


@on(PickupConfirmed)
async def keep_visit(events: Sequence[PickupConfirmed], unit: Unit) -> None:
    """A confirmed visit stands; what the patient does not want waits."""

    def confirm(record: Record, event: PickupConfirmed) -> Progress | None:
        wanted = {item.rx_id: (item.quantity, item.days_supply) for item in event.items}
        return progress.pickup_confirmed(
            record.progress,
            event.visit_id,
            wanted,
            event.declined_rx_ids,
            read_out=_newest(record, event),
            by_patient=not event.standing_instruction,
        )

    await _take_answers(unit, events, confirm)


@on(PickupDeclined)
async def give_up_visit(events: Sequence[PickupDeclined], unit: Unit) -> None:
    """Nothing of the visit is wanted."""
    await _take_answers(
        unit, events, lambda record, event: progress.pickup_declined(record.progress, event.visit_id)
    )


@on(PatientUnreached)
async def handle_unreached(events: Sequence[PatientUnreached], unit: Unit) -> None:
    """Nobody answered: nothing is filled, and the next cycle or another day is planned."""
    await _take_answers(
        unit,
        events,
        lambda record, event: progress.unreached(
            record.progress,
            event.plan_id,
            event.visit_id,
            event.reachable_on,
            too_late=event.too_late,
            planned_late=event.planned_late,
        ),
    )


@on(RescheduleRequested)
async def move_visit(events: Sequence[RescheduleRequested], unit: Unit) -> None:
    """Move the visit to the wanted day, or to the nearest that can be."""
    await _take_answers(
        unit,
        events,
        lambda record, event: progress.reschedule_requested(record.progress, event.visit_id, event.wanted_on),
    )


def _newest(record: Record, event: AlignmentAgreed | PickupConfirmed) -> bool:
    """Whether the plan that was read to the patient is the one that stands: what is newer nobody heard."""
    return event.plan_revision == record.revision


@on(VisitAnnounced)
async def keep_announced_day(events: Sequence[VisitAnnounced], unit: Unit) -> None:
    """A day that the patient was told is promised, though they did not say anything to it yet."""
    await _take_answers(
        unit, events, lambda record, event: progress.visit_announced(record.progress, event.visit_id)
    )


async def _take_answers(
    unit: Unit, events: Sequence[A], move: Callable[[Record, A], Progress | None]
) -> None:
    """Record every answer; plan anew where it still fits what stands."""
    records = await store.load_records(unit.db, [event.patient_id for event in events], unit.now)
    moved, answers = [], []
    for event in events:
        record = records.get(event.patient_id)
        after = move(record, event) if record and record.enrolled else None
        if record and after:
            moved.append(replace(record, progress=after))
        answers.append(
            Answer(
                event.patient_id,
                type(event).TYPE,
                event.plan_id,
                event.plan_revision,
                getattr(event, "visit_id", None),
                stale=after is None,
            )
        )
    await store.record_answers(unit.db, answers, unit.now)
    await recompute(unit, moved)


# --- what payers and prescribers answered ---


@on(FillRejected)
async def on_fill_rejected(events: Sequence[FillRejected], unit: Unit) -> None:
    """A payer's refusal, with its own next-fill date, overrides our rule; once its visit is over, where it was made for
    one that is confirmed: until then the store may put it right."""
    records = await store.load_records(unit.db, [event.patient_id for event in events], unit.now)
    stores = await store.load_stores(unit.db, _store_ids(records.values()), unit.now)
    refused = {}
    for event in events:
        record = records.get(event.patient_id)
        days = stores.get(record.store_id) if record else None
        today = unit.today(days.time_zone if days else "UTC")
        refused[event.patient_id] = Rejection(event.rx_id, event.reject_code, today, event.next_fill_on)
    await store.save_rejections(unit.db, refused, {event.patient_id: event.visit_id for event in events})
    heard = await store.load_records(unit.db, list(records), unit.now)
    await recompute(unit, [record for record in heard.values() if record.enrolled])


@on(FillResolved)
async def on_fill_resolved(events: Sequence[FillResolved], unit: Unit) -> None:
    """What is filled after all is refused no more; what is given up for its visit is planned anew."""
    again = [event for event in events if event.resolution in PUT_RIGHT]
    ended = [event for event in events if event.resolution in ENDED]
    await store.forget_rejections(unit.db, again)
    records = await store.load_records(unit.db, [event.patient_id for event in ended], unit.now)
    await recompute(
        unit,
        [
            replace(record, progress=progress.given_up(record.progress, event.visit_id, event.rx_id))
            for event in ended
            if (record := records.get(event.patient_id)) and record.enrolled
        ],
    )


@on(RenewalAnswered)
async def record_renewal_answers(events: Sequence[RenewalAnswered], unit: Unit) -> None:
    """Keep the prescriber's answer. An approved renewal arrives as a prescription, with a changed profile."""
    await store.save_renewal_answers(unit.db, events, unit.now)


def _store_ids(records: Collection[Record]) -> set[str]:
    return {record.store_id for record in records}
