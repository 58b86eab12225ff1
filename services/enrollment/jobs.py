"""Work that falls due: looking at patients whose history changed, telling of those who outlived a merge, and the
holidays of a year that begins."""

from __future__ import annotations

from collections.abc import Sequence

from services.enrollment.domain.candidates import reasons_to_synchronize, says_anew
from services.enrollment.domain.holidays import Observed, holidays_of
from services.enrollment.publishing import profiles_changed
from services.enrollment.store import candidates, feed, profiles
from services.enrollment.store.candidates import Candidate
from shared.events.enrollment import CandidateEnd, CandidateIdentified, CandidateWithdrawn
from shared.messaging import Jobs, Unit

due = Jobs()


@due("due_candidate_checks")
async def identify_candidates(patients: Sequence[str], unit: Unit) -> None:
    """Find out who would benefit; tell it once, and again where a reason came or went, or a day to ask again came."""
    await candidates.end_waiting(unit.db, patients, unit.now)
    checked = await candidates.take_due_checks(unit.db, patients, unit.now)
    histories = await candidates.load_histories(unit.db, unit.keys, checked, unit.now)
    held = await candidates.load_candidate_reasons(unit.db, checked)

    found = [
        Candidate(history.patient_id, history.store_id, reasons)
        for history, time_zone in histories
        if (reasons := reasons_to_synchronize(history, unit.today(time_zone)))
    ]
    gone = set(checked) - {candidate.patient_id for candidate in found}
    await candidates.save_candidates(unit.db, found, gone, unit.now)
    store_of = {history.patient_id: history.store_id for history, _ in histories}
    unit.emit(
        CandidateWithdrawn(
            patient_id=patient_id, store_id=store_of[patient_id], reason=CandidateEnd.no_benefit
        )
        for patient_id in sorted(gone & held.keys() & store_of.keys())
    )

    unit.emit(
        CandidateIdentified(
            patient_id=candidate.patient_id, store_id=candidate.store_id, reasons=candidate.reasons
        )
        for candidate in found
        if says_anew(held.get(candidate.patient_id, ()), candidate.reasons)
    )


@due("due_tellings")
async def tell_survivors(patients: Sequence[str], unit: Unit) -> None:
    """Publish profiles that changed by what happened to a record merged into them."""
    due_ones = await profiles.take_due_tellings(unit.db, patients, unit.now)
    unit.emit(await profiles_changed(unit, dict.fromkeys(due_ones, ("merged",))))


@due("due_holidays", of="store")
async def tell_holidays(stores: Sequence[str], unit: Unit) -> None:
    """A year began: the holidays of one more are told."""
    turned = await feed.take_turned_years(unit.db, stores, unit.now)
    held = [each.value for each in (await feed.load_stores(unit.db, turned)).values()]
    await feed.add_closed_days(
        unit.db,
        {
            each.store_id: holidays_of(each.state, Observed(each.holidays), unit.today(each.time_zone))
            for each in held
        },
    )
    unit.emit(await feed.published_stores(unit.db, turned))
