"""What outreach takes from the other services. Each handler keeps the facts; `recompute` draws the conclusions.

Nothing depends on the order between topics: a plan that comes before the enrollment, the store or the numbers opens its
contacts, and they wait until all is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date

from services.outreach.domain.model import (
    ASKS,
    LIVE,
    Contact,
    Kind,
    Plan,
    contact_id,
    contact_when_missed,
    contacts_when_lapsed,
    contacts_when_ready,
    plan_of,
    reopened,
    replanned,
    withdraw,
)
from services.outreach.domain.renewals import renewal_of
from services.outreach.recompute import recompute_contacts, recompute_opt_outs
from services.outreach.store import reads, renewals, writes
from services.outreach.store.forgetting import PERSONAL
from shared.events.enrollment import (
    CaregiversChanged,
    ConsentChanged,
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    PatientErased,
    StoreChanged,
)
from shared.events.fulfillment import (
    PackagePickedUp,
    PackageReady,
    PackageReopened,
    PickupMissed,
    StockShort,
)
from shared.events.planner import PlanBlocked, PlanCancelled, PlanComputed, RenewalNeeded
from shared.events.tombstones import ContactDetailsForgotten
from shared.messaging import Handlers, Unit
from shared.messaging.forgetting import forget

on = Handlers()

LAPSED = "coverage_lapsed"
"""Reason of a blocked plan for which the patient is contacted the same day (R11.9)."""

STAY = frozenset({"in_hospital", "stay_to_reconcile"})
"""Reasons of a blocked plan for which nobody is contacted (R11.5)."""


# ---- plans ----------------------------------------------------------------------------------------------------


@on(PlanComputed)
async def take_plan(events: Sequence[PlanComputed], unit: Unit) -> None:
    """Open the contacts that the new plan calls for, and withdraw those that it no longer does."""
    plans = {event.patient_id: plan_of(event) for event in events}
    newer = await writes.save_plans(unit.db, {each: (plan.revision, plan) for each, plan in plans.items()})
    await _heed_lapses(unit, {patient_id: (plans[patient_id].store_id, None) for patient_id in newer})
    await _take_up_plans(unit, {patient_id: plans[patient_id] for patient_id in newer})


@on(PlanBlocked)
async def drop_plan(events: Sequence[PlanBlocked], unit: Unit) -> None:
    """No plan can be made: nothing is left to agree on or to confirm. In hospital nobody is contacted at all; where
    insurance lapsed the patient is, the same day."""
    in_hospital = [each.patient_id for each in events if STAY & {reason.code for reason in each.reasons}]
    newer = await writes.save_plans(
        unit.db, {event.patient_id: (event.revision, None) for event in events}, in_hospital
    )
    await _heed_lapses(
        unit,
        {each.patient_id: (each.store_id, _lapsed_on(each)) for each in events if each.patient_id in newer},
    )
    await _take_up_plans(unit, dict.fromkeys(newer))


@on(PlanCancelled)
async def cancel_plan(events: Sequence[PlanCancelled], unit: Unit) -> None:
    """The plan is withdrawn: nothing is left to agree on or to confirm."""
    newer = await writes.save_plans(unit.db, {event.patient_id: (event.revision, None) for event in events})
    await _take_up_plans(unit, dict.fromkeys(newer))


def _lapsed_on(event: PlanBlocked) -> date | None:
    lapse = next((reason for reason in event.reasons if reason.code == LAPSED), None)
    return date.fromisoformat(str(lapse.params["since"])) if lapse else None


async def _heed_lapses(unit: Unit, lapses: Mapping[str, tuple[str, date | None]]) -> None:
    """Contact those whose insurance lapsed (patient to store, and since when); where it did not, there is no need."""
    known = _by_patient(await reads.contacts_about_insurance(unit.db, lapses))
    changed = [
        contact
        for patient_id, (store_id, since) in lapses.items()
        for contact in contacts_when_lapsed(patient_id, store_id, since, known[patient_id], unit.now)
    ]
    await writes.save_contacts(unit.db, changed)


async def _take_up_plans(unit: Unit, plans: Mapping[str, Plan | None]) -> None:
    known = _by_patient(await reads.contacts_of(unit.db, plans, unit.now, kinds=ASKS))
    changed = [
        contact
        for patient_id, plan in plans.items()
        for contact in replanned(plan, known[patient_id], unit.now)
    ]
    await writes.save_contacts(unit.db, changed)
    await recompute_contacts(unit, plans)


# ---- patients and stores --------------------------------------------------------------------------------------


@on(PatientEnrolled)
async def take_patient(events: Sequence[PatientEnrolled], unit: Unit) -> None:
    """Keep how the patient wants to be contacted; a plan that came first is taken up now."""
    newer = await writes.save_consents(unit.db, events)
    await recompute_opt_outs(unit, newer)
    plans = await reads.load_plans(unit.db, newer)
    await _take_up_plans(unit, {patient_id: plans.get(patient_id) for patient_id in newer})


@on(CaregiversChanged)
async def heed_caregivers(events: Sequence[CaregiversChanged], unit: Unit) -> None:
    """Keep who may act for whom."""
    await writes.save_caregivers(unit.db, events)


@on(ConsentChanged)
async def heed_consent(events: Sequence[ConsentChanged], unit: Unit) -> None:
    """Contacts go on by the channels, and in the language, that the patient now agrees to; or by none."""
    newer = await writes.save_consents(unit.db, events)
    await recompute_opt_outs(unit, newer)
    await recompute_contacts(unit, newer)


@on(PatientDisenrolled)
async def stop_contacts(events: Sequence[PatientDisenrolled], unit: Unit) -> None:
    """Close everything at once, with the patient and with prescribers."""
    gone = await writes.save_disenrolled(unit.db, events)
    known = _by_patient(await reads.contacts_of(unit.db, gone, unit.now, kinds=list(Kind)))
    asks = [contact for each in gone for contact in replanned(None, known[each], unit.now)]
    tells = [
        withdraw(contact)
        for each in gone
        for contact in known[each]
        if contact.kind not in ASKS and contact.status in LIVE
    ]
    await writes.save_contacts(unit.db, asks + tells)
    await renewals.close_renewals(unit.db, gone)


@on(ContactDetailsChanged)
async def take_details(events: Sequence[ContactDetailsChanged], unit: Unit) -> None:
    """Keep names and numbers apart; contacts that waited for them, or for another time zone, are scheduled. A number
    that somebody stopped is stopped for the patient too."""
    newer = await writes.save_details(unit.db, unit.keys, events)
    await recompute_opt_outs(unit, newer)
    await recompute_contacts(unit, newer)


@on(PatientErased)
async def forget_patients(events: Sequence[PatientErased], unit: Unit) -> None:
    """Destroy what says who these patients are; what was on its way is taken by the tombstone behind it."""
    await forget(unit, PERSONAL, [event.patient_id for event in events], for_good=False)


@on(ContactDetailsForgotten)
async def forget_details(events: Sequence[ContactDetailsForgotten], unit: Unit) -> None:
    """Nothing of these patients comes any more behind it: they are forgotten for good."""
    await forget(unit, PERSONAL, [event.patient_id for event in events])


@on(StoreChanged)
async def take_store(events: Sequence[StoreChanged], unit: Unit) -> None:
    """Keep the store's zone, days and number. Patients who waited for the zone fall due for review by themselves."""
    await writes.save_stores(unit.db, events)


# ---- packages -------------------------------------------------------------------------------------------------


@on(PackageReady)
async def announce(events: Sequence[PackageReady], unit: Unit) -> None:
    """Say that the order is ready, and remind the day before; not of what is only told again. After `PackageReopened`
    that is said to whoever was not told before."""
    ready = unit.news(events)
    await _open(unit, [contact for event in ready for contact in contacts_when_ready(event, unit.now)])


@on(PackageReopened)
async def take_back(events: Sequence[PackageReopened], unit: Unit) -> None:
    """The package is not to be had before it is verified again: nobody is told that it waits for them.

    Who was told already is not called again: as a rule it is ready within the hour, and a second call about it says
    nothing that the patient can act on. Whoever comes meanwhile hears it at the counter.
    """
    visits = {event.patient_id: event.visit_id for event in events}
    known = await reads.contacts_of(unit.db, visits, unit.now, kinds={Kind.ready, Kind.reminder, Kind.missed})
    untrue = [
        contact
        for contact in known
        if contact.visit_id == visits[contact.patient_id] and contact.status in LIVE
    ]
    await writes.save_contacts(unit.db, [withdraw(contact) for contact in untrue])
    await recompute_contacts(unit, visits)


@on(PickupMissed)
async def follow_up(events: Sequence[PickupMissed], unit: Unit) -> None:
    """Contact the patient who did not come, unless such a contact is still open."""
    ready_ids = {event: contact_id(event.patient_id, Kind.ready, event.visit_id) for event in events}
    ready = {
        contact.contact_id: contact for contact in await reads.load_contacts(unit.db, ready_ids.values())
    }
    patients = [event.patient_id for event in events]
    known = _by_patient(await reads.contacts_of(unit.db, patients, unit.now, kinds={Kind.missed}))
    missed = []
    for event in events:
        waiting = any(
            each.visit_id == event.visit_id and each.status in LIVE for each in known[event.patient_id]
        )
        announced = ready.get(ready_ids[event])
        if announced and not waiting:
            missed.append(contact_when_missed(event, announced, unit.now))
    await _open(unit, missed)


@on(PackagePickedUp)
async def close_visit(events: Sequence[PackagePickedUp], unit: Unit) -> None:
    """The patient came: nothing about this visit is left to say."""
    await writes.close_visits(unit.db, {event.patient_id: event.visit_id for event in events})
    await recompute_contacts(unit, [event.patient_id for event in events])


@on(StockShort)
async def note_short_item(events: Sequence[StockShort], unit: Unit) -> None:
    """Keep what the store has too little of, so that the next contact about the visit says so."""
    await writes.save_short_items(unit.db, events, unit.now)


async def _open(unit: Unit, contacts: Sequence[Contact]) -> None:
    """Open contacts that are not known yet, and those that were withdrawn."""
    known = await reads.load_contacts(unit.db, [contact.contact_id for contact in contacts])
    held = {contact.contact_id: contact for contact in known}
    taken = [reopened(held[each.contact_id], each) if each.contact_id in held else each for each in contacts]
    await writes.save_contacts(unit.db, [each for each in taken if each])
    await recompute_contacts(unit, {contact.patient_id for contact in contacts})


# ---- prescribers ----------------------------------------------------------------------------------------------


@on(RenewalNeeded)
async def ask_prescriber(events: Sequence[RenewalNeeded], unit: Unit) -> None:
    """Open the contact with the prescriber, once per prescription; one request holds all that is open."""
    await renewals.open_renewals_for(unit.db, [renewal_of(event, unit.now) for event in events])


def _by_patient(contacts: Collection[Contact]) -> dict[str, list[Contact]]:
    found: dict[str, list[Contact]] = defaultdict(list)
    for contact in contacts:
        found[contact.patient_id].append(contact)
    return found
