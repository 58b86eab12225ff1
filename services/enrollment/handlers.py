"""What enrollment takes from the other services: what was handed over, and what patients said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from services.enrollment.publishing import profiles_changed
from services.enrollment.store import consents, feed, profiles, reports
from services.enrollment.store.reports import ReportedChange
from shared.events.enrollment import Fill
from shared.events.fulfillment import ItemState, PackagePickedUp, PackageReturned
from shared.events.outreach import ChangeReported, ContactOptedIn, ContactOptedOut
from shared.events.outreach import ReportedChange as Said
from shared.messaging import Handlers, Refused, Unit

on = Handlers()


@on(PackagePickedUp)
async def add_fills(events: Sequence[PackagePickedUp], unit: Unit) -> None:
    """What was taken home becomes history and lowers what is authorized; what was left stays as it was."""
    fills = {event.patient_id: fills_taken(event) for event in events}
    owners = await _owners(unit, {each: [fill.rx_id for fill in taken] for each, taken in fills.items()})
    await _add_handed_over(events, fills, owners, unit)
    await _tell_survivors(unit, fills, owners)
    unit.emit(
        await profiles_changed(
            unit,
            {event.patient_id: ("handed_over",) for event in events},
            {event.patient_id: event.visit_id for event in events},
        )
    )


async def _add_handed_over(
    events: Sequence[PackagePickedUp],
    fills: Mapping[str, list[Fill]],
    owners: Mapping[str, str],
    unit: Unit,
) -> None:
    """Refuses a fill_id that names two fills: the second would vanish from the history, and nobody would know."""
    packages = {fill.fill_id: event.package_id for event in events for fill in fills[event.patient_id]}
    taken = [fill for each in fills.values() for fill in each]
    if len(packages) < len(taken) or await reports.add_handed_over(unit.db, taken, owners, packages):
        raise Refused(
            "foreign_fill",
            "a fill_id names a fill of another prescription or package: find out which of the two it belongs to, "
            "feed the other under the id of its own in fills.csv, and skip the event",
        )


def fills_taken(event: PackagePickedUp) -> list[Fill]:
    """The fills that reached the patient: the payer's clock runs from the fill, the stock from the hand-over."""
    return [
        Fill(
            fill_id=item.fill_id or f"{event.package_id}.{item.rx_id}",
            rx_id=item.rx_id,
            filled_on=item.filled_on or event.handed_over_on,
            handed_over_on=event.handed_over_on,
            quantity=item.quantity,
            days_supply=item.days_supply,
            days_supply_billed=item.days_supply_billed,
        )
        for item in event.taken
        if item.state is ItemState.filled and item.quantity > 0
    ]


@on(PackageReturned)
async def note_return(events: Sequence[PackageReturned], unit: Unit) -> None:
    """Returned to stock never counts as dispensed: the profile stays, and the next cycle may be planned."""
    await _owners(unit, {event.patient_id: () for event in events})
    unit.emit(
        await profiles_changed(
            unit,
            {event.patient_id: ("returned",) for event in events},
            {event.patient_id: event.visit_id for event in events},
        )
    )


@on(ChangeReported)
async def record_changes(events: Sequence[ChangeReported], unit: Unit) -> None:
    """Keep what the patient said: a stop puts the prescription on hold, a count replaces the estimate.

    A changed dose is kept for the pharmacist, who has the prescriber confirm it; it changes no profile.
    """
    owners = await _owners(unit, {event.patient_id: [event.rx_id] for event in events})
    said = [
        ReportedChange(owners[event.rx_id], event.rx_id, event.change, event.reported_on, event.days_left)
        for event in events
    ]
    await reports.save_reported_changes(unit.db, said)
    await reports.hold(
        unit.db, {each.rx_id: each.reported_on for each in said if each.change == Said.stopped}
    )
    telling = {event.patient_id: (str(event.change),) for event in events if _changes_profile(event)}
    await _tell_survivors(unit, telling, owners)
    unit.emit(await profiles_changed(unit, telling))


def _changes_profile(event: ChangeReported) -> bool:
    return event.change is Said.stopped or (event.change is Said.on_hand and event.days_left is not None)


@on(ContactOptedOut)
async def record_opt_outs(events: Sequence[ContactOptedOut], unit: Unit) -> None:
    """Take the channel out of the consent: no later enrollment brings it back by default.

    A stop that is told again as state counts where it was never heard of: else a consent given since would lose it.
    """
    await _owners(unit, {event.patient_id: () for event in events})
    news = {event.patient_id for event in unit.news(events)}
    heard = await consents.stops_heard(unit.db, [event.patient_id for event in events])
    stopped = {
        event.patient_id: event.channel
        for event in events
        if event.patient_id in news or (event.patient_id, event.channel) not in heard
    }
    await consents.save_opt_outs(unit.db, stopped, consents.Word(unit.now, "outreach", "system"))


@on(ContactOptedIn)
async def record_opt_ins(events: Sequence[ContactOptedIn], unit: Unit) -> None:
    """Give the consent the channel back that the patient had stopped."""
    await _owners(unit, {event.patient_id: () for event in events})
    started = {event.patient_id: event.channel for event in events}
    await consents.lift_opt_outs(unit.db, started, consents.Word(unit.now, "outreach", "system"))


async def _owners(unit: Unit, rx_ids_of: Mapping[str, Iterable[str]]) -> Mapping[str, str]:
    """The patient of each prescription named: the one who names it, or the survivor of a merge.

    Refuses patients and prescriptions that enrollment never heard of, or that do not go together.
    """
    known = await feed.load_patients(unit.db, rx_ids_of)
    if rx_ids_of.keys() - known:
        raise Refused("unknown_patient", "the patient was never imported: import patients.csv, then redrive")
    named = {rx_id: patient_id for patient_id, rx_ids in rx_ids_of.items() for rx_id in rx_ids}
    owners = await feed.owners_of(unit.db, named)
    for rx_id, patient_id in named.items():
        if rx_id not in owners:
            why = "a prescription was never imported: import prescriptions.csv, then redrive"
            raise Refused("unknown_prescription", why)
        if owners[rx_id] != patient_id and known[patient_id].survivor_id is None:
            raise Refused("foreign_prescription", "a prescription is another patient's: skip the event")
    return owners


async def _tell_survivors(unit: Unit, told: Collection[str], owners: Mapping[str, str]) -> None:
    """A package that was ready when its patient was merged is history of the survivor, who is not locked here."""
    await profiles.plan_tellings(unit.db, set(owners.values()) - set(told), unit.now)
