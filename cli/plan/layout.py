"""A folder of the import layout (docs/reference/import-layout.md) as documents to plan from.

The records are read by enrollment's own rules; the profile is put together as enrollment would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from cli.importing import KNOWN_ON, MISFIT, read_lines
from services.enrollment.domain.profile import HISTORY, belongs, renewals, status_of
from services.enrollment.domain.records import (
    FILLS,
    PATIENTS,
    PRESCRIPTIONS,
    STORES,
    Fed,
    FedFill,
    FedPatient,
    Layout,
    read_records,
)
from services.planner.faults import BadInput, Fault
from services.planner.publishing import weekdays_of
from shared.events.enrollment import Prescription, StoreChanged


@dataclass
class Folder:
    """The newest revision of each record that is known by the day, and what could not be read, by patient number."""

    stores: dict[str, StoreChanged] = field(default_factory=dict)
    patients: dict[str, FedPatient] = field(default_factory=dict)
    prescriptions: dict[str, list[Prescription]] = field(default_factory=dict)
    fills: dict[str, list[FedFill]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))


def documents_of_folder(directory: Path, today: date) -> Iterator[tuple[str, dict[str, Any] | BadInput]]:
    """One document per patient, with its number at the source; with a record that cannot be read, it is refused whole.

    Raises:
        ImportFailed: a file is missing or is no CSV file of the layout.
    """
    folder = _read(directory, today)
    for number in sorted(folder.patients.keys() | folder.faults.keys()):
        document = (
            BadInput(folder.faults[number]) if number in folder.faults else _document(folder, number, today)
        )
        yield f"patient {number}".rstrip(), document


def _read(directory: Path, today: date) -> Folder:
    folder = Folder()
    stores = _newest(directory, STORES, today, folder)
    patients = _newest(directory, PATIENTS, today, folder)
    folder.stores = {fed.key: fed.value for fed in stores}
    folder.patients = {fed.patient_id: fed.value for fed in patients}
    folder.prescriptions = _by_patient(_newest(directory, PRESCRIPTIONS, today, folder))
    folder.fills = _by_patient(_newest(directory, FILLS, today, folder))
    return folder


def _newest(directory: Path, layout: Layout[Any], today: date, folder: Folder) -> list[Fed[Any]]:
    """The newest known revision of each record of a file; what cannot be read is noted with its patient."""
    path = directory / f"{layout.kind}.csv"
    newest: dict[str, Fed[Any]] = {}
    for line in read_lines(path, layout, beside=(KNOWN_ON,)):
        if line.values is None:
            folder.faults[""].append(Fault(f"{path.name} line {line.number}", "", MISFIT))
            continue
        if line.values.get(KNOWN_ON, "") > today.isoformat():
            continue
        reading = read_records(layout, [line.values], today=today, pseudonym=str)
        for problem in chain.from_iterable((*reading.bad.values(), *reading.left_out.values())):
            number = line.values.get("patient_number", "")
            folder.faults[number].append(
                Fault(f"{path.name} line {line.number}, {problem.field}", "", problem.reason)
            )
        for fed in reading.good.values():
            if fed.key not in newest or fed.revision > newest[fed.key].revision:
                newest[fed.key] = fed
    return list(newest.values())


def _by_patient(records: list[Fed[Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for fed in records:
        found[fed.patient_id].append(fed.value)
    return found


def _document(folder: Folder, number: str, today: date) -> dict[str, Any] | BadInput:
    patient = folder.patients[number]
    store = folder.stores.get(patient.store_id)
    if store is None:
        return BadInput([Fault("store_id", patient.store_id, "is not in stores.csv: add the store")])
    history = [
        each.fill
        for each in folder.fills.get(number, ())
        if not each.reversed and today - HISTORY <= each.fill.handed_over_on
    ]
    fed = folder.prescriptions.get(number, [])
    superseded = renewals(fed)
    prescriptions = [
        each.model_copy(
            update={
                "status": status_of(each.status, superseded=each.rx_id in superseded, reported_stopped=False)
            }
        )
        for each in fed
    ]
    belonging = [each for each in prescriptions if belongs(each, history)]
    rx_ids = {each.rx_id for each in belonging}
    return {
        "patient_id": number,
        "store_id": patient.store_id,
        "prescriptions": [each.model_dump(mode="json") for each in belonging],
        "fills": [each.model_dump(mode="json") for each in history if each.rx_id in rx_ids],
        "calendar": {
            "weekdays": sorted(weekdays_of(store)),
            "closed_on": store.closed_on,
            "state": store.state,
            "daily_cap": store.daily_cap,
            "delivery_weekdays": store.delivery_weekdays,
            "lead_days": store.lead_days,
        },
        "long_term_care": patient.long_term_care,
        **patient.circumstances.model_dump(mode="json", exclude_defaults=True),
        **_wishes(patient),
    }


def _wishes(patient: FedPatient) -> Mapping[str, Any]:
    said = {
        "cycle_policy": patient.wishes.cycle_policy,
        "must_weekdays": patient.wishes.must_weekdays,
        "preferred_weekday": patient.wishes.preferred_weekday,
    }
    return {name: value for name, value in said.items() if value not in (None, ())}
