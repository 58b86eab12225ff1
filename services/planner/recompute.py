"""What follows from facts, worked out anew: the plans of patients and the lists of what is kept out of them, the same
way after every event, command and due date: plan, compare, save, publish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.planner import publishing, store
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Blocked, Plan, Renewal, StaffDecision, because
from services.planner.domain.progress import Progress, Status, disenrolled, plan_anew
from services.planner.domain.staff_decisions import excluded_by
from services.planner.rules import RULES
from services.planner.store import Record, StoreDays
from shared.events import Event
from shared.events.planner import ExclusionsChanged
from shared.messaging import SerializedEvent, Unit, patient
from shared.messaging.unit import Key


@dataclass(frozen=True)
class Planned:
    """One patient planned anew: where they stand then, what is news, and what prescribers are to be asked for."""

    record: Record
    news: Sequence[Event | SerializedEvent]
    renewals: Sequence[Renewal]


async def recompute(unit: Unit, records: Sequence[Record]) -> None:
    """Plan these patients as of now, save where they stand, and publish what is news."""
    stores = await _stores_of(unit, records)
    await save_planned(unit, await plan_together(records, stores, unit.now))


async def _stores_of(unit: Unit, records: Iterable[Record]) -> dict[str, StoreDays]:
    """The stores of these patients, as they stay until the plans are saved."""
    store_ids = {record.store_id for record in records}
    await store.hold_stores(unit.db, store_ids)
    return await store.load_stores(unit.db, store_ids, unit.now)


@dataclass(frozen=True)
class Changed:
    """What came of planning some patients anew."""

    pairs: list[tuple[Record, Planned]]  # whose plan is news: how each stood, and how they stand then
    set_aside: list[str]  # whose plan is more than the broker takes: the one before stands


async def recompute_changed(
    unit: Unit,
    patient_ids: Sequence[str],
    too_large: Callable[[Iterable[Event | SerializedEvent]], Collection[Key]],
    *,
    dry_run: bool,
) -> Changed:
    """Plan these locked patients as of now, and keep only what changed; on a dry run nothing.

    `too_large` says of whom one of the events cannot be published.
    """
    records = await store.load_records(unit.db, patient_ids, unit.now)
    stores = await _stores_of(unit, records.values())
    # they may have left while their lock was waited for
    enrolled = [record for _, record in sorted(records.items()) if record.enrolled]
    pairs = zip(enrolled, await plan_together(enrolled, stores, unit.now), strict=True)
    moved = [(before, planned) for before, planned in pairs if held(planned.record) != before]
    unfit = too_large(event for _, planned in moved for event in planned.news)
    fit = [(before, planned) for before, planned in moved if patient(before.patient_id) not in unfit]
    if not dry_run:
        await save_planned(unit, [planned for _, planned in fit])
    return Changed(
        [(before, planned) for before, planned in fit if planned.news],
        [before.patient_id for before, _ in moved if patient(before.patient_id) in unfit],
    )


async def recompute_exclusions(unit: Unit, decisions: Mapping[str, Sequence[StaffDecision]]) -> None:
    """Publish what pharmacists keep out of each patient's plans, by the decisions that were not revoked, where it is
    another list than before. It is for those who fill, and holds whatever a plan says."""
    lists = {
        patient_id: publishing.excluded_prescriptions(excluded_by(made))
        for patient_id, made in decisions.items()
    }
    revisions = await store.save_exclusions(
        unit.db,
        {patient_id: [each.model_dump(mode="json") for each in kept] for patient_id, kept in lists.items()},
    )
    unit.emit(
        ExclusionsChanged(patient_id=patient_id, revision=revision, excluded=lists[patient_id])
        for patient_id, revision in sorted(revisions.items())
    )


def held(record: Record) -> Record:
    """The record as it is once read again: the day of the next look is held as its moment alone."""
    return replace(record, progress=replace(record.progress, look_again_on=None))


async def plan_together(
    records: Sequence[Record], stores: Mapping[str, StoreDays], now: datetime
) -> list[Planned]:
    """Plan these patients as of now; without their store's days they wait.

    Between two patients everybody else of this process is heard: a hundred first plans take seconds, in which the
    broker and the database would give it up for dead.
    """
    planned = []
    for record in records:
        planned.append(_planned(record, stores.get(record.store_id), now))
        await asyncio.sleep(0)
    return planned


def _planned(record: Record, days: StoreDays | None, now: datetime) -> Planned:
    zone = days.time_zone if days else "UTC"
    calendar = calendar_of(record, days) if days else None
    today = now.astimezone(ZoneInfo(zone)).date()
    progress, outcome = plan_anew(record.progress, record.profile, calendar, RULES, today)
    after = replace(record, progress=progress, due_at=_due_at(progress, days))
    after, news = _published(record, after, outcome)
    return Planned(after, news, outcome.renewals if outcome else ())


async def save_planned(unit: Unit, planned: Sequence[Planned]) -> None:
    """Save where these patients stand, and publish what is news."""
    await store.save_records(unit.db, [each.record for each in planned], unit.now)
    unit.emit(*(each.news for each in planned))
    shared = [each.record for each in planned if each.news and each.record.in_household]
    if agreed := [record.patient_id for record in shared if record.progress.agreed]:
        await store.ask_households(unit.db, agreed, unit.now)
    needed = [(each.record.patient_id, renewal) for each in planned for renewal in each.renewals]
    first_asked = await store.save_renewals(unit.db, needed, unit.now)
    store_of = {each.record.patient_id: each.record.store_id for each in planned}
    unit.emit(
        publishing.renewal_needed(renewal, patient_id, store_of[patient_id])
        for patient_id, renewal in needed
        if (patient_id, renewal.rx_id) in first_asked
    )


async def withdraw(unit: Unit, records: Iterable[Record]) -> None:
    """These patients are no longer enrolled: a plan that stands is canceled."""
    gone = []
    for record in records:
        after = replace(record, progress=disenrolled(record.progress), due_at=None, published=None)
        if record.progress.status is Status.planned and record.progress.plan_id:
            cancelled = publishing.plan_cancelled(
                record.patient_id,
                record.progress.plan_id,
                record.revision + 1,
                because("disenrolled"),
                record.published,
            )
            unit.emit(cancelled)
            after = replace(after, revision=cancelled.revision, published=cancelled.model_dump_json())
        gone.append(after)
    await store.save_records(unit.db, gone, unit.now)


def _published(
    before: Record, after: Record, outcome: Plan | Blocked | None
) -> tuple[Record, list[Event | SerializedEvent]]:
    """The record with what it now says in public, and the events that say it: none where nothing changed."""
    if outcome is None:
        return after, []
    news: list[Event | SerializedEvent] = []
    revision = before.revision + 1
    standing = before.progress.plan_id if before.progress.status is Status.planned else None
    if isinstance(outcome, Blocked) and standing:
        why = because("plan_withdrawn")
        news.append(publishing.plan_cancelled(before.patient_id, standing, revision, why, before.published))
        revision += 1
    payload = publishing.payload_of(
        outcome, before.patient_id, before.store_id, revision, before.profile_revision
    )
    if before.progress.status is after.progress.status and publishing.unchanged(before.published, payload):
        return after, []
    event = publishing.serialized(payload)
    return replace(after, revision=revision, published=event.json), [*news, event]


def calendar_of(record: Record, days: StoreDays) -> Calendar:
    """The store's calendar; the patient's own plan is no load on its day."""
    own, load = record.booked_on, days.calendar.load
    if own is None or own not in load:
        return days.calendar
    return replace(days.calendar, load={**load, own: load[own] - 1})


def _due_at(progress: Progress, days: StoreDays | None) -> datetime | None:
    """The start of the day, at the store, on which time alone calls for another look."""
    if progress.look_again_on is None:
        return None
    return midnight(progress.look_again_on, days.time_zone if days else "UTC")


@lru_cache(maxsize=4096)
def midnight(day: date, time_zone: str) -> datetime:
    """The moment at which a day begins there, in UTC."""
    return datetime.combine(day, time.min, ZoneInfo(time_zone)).astimezone(UTC)
