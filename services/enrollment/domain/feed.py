"""What becomes of a record that can be read: does it belong to someone known, and is it newer than what we hold?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.enrollment.domain.records import Fed, FedFill, FedPatient, Reading
from services.enrollment.domain.written import Problem
from shared.events.enrollment import Prescription

V = TypeVar("V")


@dataclass(frozen=True)
class Merged(Generic[V]):
    """What one request leaves to be saved: at most one record per natural key. Every record is counted once."""

    save: tuple[Fed[V], ...]
    changed: tuple[Fed[V], ...]  # those of `save` that say something new
    accepted: tuple[int, ...]  # places in the request, here and below
    unchanged: tuple[int, ...]
    conflicts: tuple[int, ...]  # of a revision that came before with other content


def merge(held: Mapping[str, Fed[V]], incoming: Mapping[int, Fed[V]]) -> Merged[V]:
    """A record wins over what is held under its natural key if its revision is later.

    So a feed sent twice, or Monday's file after Tuesday's, changes nothing. Which of two contents of one revision is
    the later one, nobody can tell: the first stands, and the other is a conflict.
    """
    newest = dict(held)
    accepted, unchanged, conflicts = [], [], []
    for index, fed in incoming.items():
        holds = newest.get(fed.key)
        if holds is None or holds.revision < fed.revision:
            newest[fed.key] = fed
            accepted.append(index)
        elif holds.revision == fed.revision and holds.digest and holds.digest != fed.digest:
            conflicts.append(index)
        else:
            unchanged.append(index)
    save = tuple(fed for key, fed in newest.items() if fed is not held.get(key))
    changed = tuple(fed for fed in save if fed.key not in held or held[fed.key].value != fed.value)
    return Merged(save, changed, tuple(accepted), tuple(unchanged), tuple(conflicts))


CONFLICT = Problem(
    "revision",
    "came before with other content, which stands: give the record a later revision where this is its newer state",
)
UNKNOWN_STORE = Problem("store_id", "names a store that is not known: import stores.csv first")
UNKNOWN_PATIENT = Problem("patient_number", "names a patient who is not known: import patients.csv first")
MERGED_PATIENT = Problem(
    "patient_number", "names a patient who was merged into another: send the record under that number"
)
UNKNOWN_PRESCRIPTION = Problem(
    "rx_id", "names a prescription that is not known: import prescriptions.csv first"
)
FOREIGN_PRESCRIPTION = Problem("rx_id", "names a prescription of another patient: correct one of the two")
FOREIGN_FILL = Problem(
    "fill_id", "names a fill of another patient or prescription: give each fill its own id"
)


def check_patients(
    reading: Reading[FedPatient], *, stores: Collection[str], merged: Collection[str]
) -> dict[int, Problem]:
    """The patients who cannot be taken. `merged` holds the ids of those who live on under another number."""
    problems: dict[int, Problem] = {}
    for index, fed in reading.good.items():
        if fed.patient_id in merged:
            problems[index] = MERGED_PATIENT
        elif fed.value.store_id not in stores:
            problems[index] = UNKNOWN_STORE
    return problems


def check_prescriptions(
    reading: Reading[Prescription],
    *,
    patients: Collection[str],
    merged: Collection[str],
    owners: Mapping[str, str],
) -> dict[int, Problem]:
    """The prescriptions that cannot be taken. `owners` maps the rx_ids that are known to their patients."""
    owners = dict(owners)
    problems: dict[int, Problem] = {}
    for index, fed in reading.good.items():
        if problem := _of_patient(fed.patient_id, patients, merged):
            problems[index] = problem
        elif owners.setdefault(fed.key, fed.patient_id) != fed.patient_id:
            problems[index] = FOREIGN_PRESCRIPTION
    return problems


def check_fills(
    reading: Reading[FedFill],
    *,
    patients: Collection[str],
    merged: Collection[str],
    owners: Mapping[str, str],
    prescriptions_of: Mapping[str, str],
) -> dict[int, Problem]:
    """The fills that cannot be taken. `prescriptions_of` maps the fill_ids that are known to their rx_ids."""
    prescriptions_of = dict(prescriptions_of)
    problems: dict[int, Problem] = {}
    for index, fed in reading.good.items():
        rx_id = fed.value.fill.rx_id
        if problem := _of_patient(fed.patient_id, patients, merged):
            problems[index] = problem
        elif rx_id not in owners:
            problems[index] = UNKNOWN_PRESCRIPTION
        elif owners[rx_id] != fed.patient_id:
            problems[index] = FOREIGN_PRESCRIPTION
        elif prescriptions_of.setdefault(fed.key, rx_id) != rx_id:
            problems[index] = FOREIGN_FILL
    return problems


def check_saved(
    reading: Reading[V], merged: Merged[V], saved: Collection[str], foreign: Problem
) -> dict[int, Problem]:
    """The records whose key was to be saved and was not: another request took it for another owner meanwhile."""
    lost = {fed.key for fed in merged.save} - set(saved)
    return {index: foreign for index, fed in reading.good.items() if fed.key in lost}


def _of_patient(patient_id: str, patients: Collection[str], merged: Collection[str]) -> Problem | None:
    if patient_id in merged:
        return MERGED_PATIENT
    return None if patient_id in patients else UNKNOWN_PATIENT
