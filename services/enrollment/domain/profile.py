"""What belongs to a patient's profile: the standing of a prescription, renewals, who may take part."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from enum import StrEnum

from shared.directions import said_in
from shared.events.enrollment import (
    Channel,
    DirectionsRead,
    DisenrolmentReason,
    Fill,
    Prescription,
    PrescriptionStatus,
    Profile,
)

HISTORY = timedelta(days=400)
"""How far back the fills of a profile go: a year, and a 30-day fill before it."""


class Standing(StrEnum):
    """Whether a patient takes part."""

    known = "known"
    enrolled = "enrolled"
    disenrolled = "disenrolled"  # left, or does not want to: no candidate any more


FINAL: frozenset[str] = frozenset({DisenrolmentReason.died, DisenrolmentReason.merged})
"""Reasons of a disenrollment after which nobody can consent again."""


def status_of(fed: PrescriptionStatus, *, superseded: bool, reported_stopped: bool) -> PrescriptionStatus:
    """The status that counts: the feed's, a renewal that replaced it, then what the patient said.

    A patient who stopped taking a drug puts it on hold; pharmacist and prescriber decide (R11.4). The chain's own
    word that it is discontinued stands above both.
    """
    if fed in (PrescriptionStatus.discontinued, PrescriptionStatus.superseded):
        return fed
    if superseded:
        return PrescriptionStatus.superseded
    return PrescriptionStatus.on_hold if reported_stopped else fed


def renewals(prescriptions: Collection[Prescription]) -> dict[str, str]:
    """Which prescription is replaced by which: rx_id to rx_id, among those given.

    Only a renewal of the same ingredient, strength, form and use supersedes by itself; anything else may be
    deliberate (two strengths side by side) and waits for a pharmacist (R1.5, R1.6).
    """
    by_id = {prescription.rx_id: prescription for prescription in prescriptions}
    return {
        old.rx_id: new.rx_id
        for new in prescriptions
        if new.status is PrescriptionStatus.active
        and new.renews is not None
        and (old := by_id.get(new.renews)) is not None
        and _use(old) == _use(new)
    }


def _use(prescription: Prescription) -> tuple[object, ...]:
    drug = prescription.drug
    daily = prescription.units_per_day  # where it is not known, the words of the directions have to agree
    taken = prescription.directions.casefold() if daily is None else daily
    names = (drug.ingredient.casefold(), drug.strength.casefold(), drug.form.casefold())
    return (*names, taken, prescription.as_needed)


def for_others(profile: Profile, patient_id: str) -> Profile:
    """The profile as it is published: free text stays here, and what is read in it is told."""
    return profile.model_copy(
        update={"prescriptions": tuple(_without_words(each, patient_id) for each in profile.prescriptions)}
    )


def _without_words(prescription: Prescription, patient_id: str) -> Prescription:
    said = said_in(prescription.directions, patient_id)
    told = DirectionsRead(
        digest=said.digest,
        as_needed=said.as_needed,
        refused=said.refused,
        most=None if said.most is None else str(said.most),
        times=None if said.times is None else str(said.times),
        unit=said.unit,
        basis=said.basis,
        course_days=said.course_days,
    )
    return prescription.model_copy(update={"directions": "", "directions_read": told})


def belongs(prescription: Prescription, fills: Iterable[Fill]) -> bool:
    """Is this prescription part of the profile? `fills` are those of the profile's history.

    A superseded one stays as long as its fills count: what is left of them is the renewal's stock.
    """
    if prescription.status in (
        PrescriptionStatus.active,
        PrescriptionStatus.on_hold,
        PrescriptionStatus.outside,
    ):
        return True
    return prescription.status is PrescriptionStatus.superseded and any(
        fill.rx_id == prescription.rx_id for fill in fills
    )


def consented_channels(
    stated: Collection[Channel] | None, opted_out: Collection[Channel]
) -> tuple[Channel, ...]:
    """The channels that a consent allows: those it names, else the phone unless the patient said stop to it."""
    if stated is not None:
        return tuple(dict.fromkeys(stated))
    return tuple(channel for channel in (Channel.phone,) if channel not in opted_out)


def age(birth_date: date, today: date) -> int:
    """Completed years."""
    return today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))
