"""The sample patients as the planner would see them on a day, straight from their files."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Drug, Fill, Prescription, Profile

FILES = Path(__file__).parents[3] / "data" / "sample-patients"

Row = dict[str, str]


def sample_patients(on: date) -> Iterator[tuple[Profile, Calendar]]:
    """Every patient with a prescription that was known on that day, with the calendar of their store."""
    prescriptions: dict[str, list[Prescription]] = defaultdict(list)
    for row in _known("prescriptions", "rx_id", on):
        prescriptions[row["patient_number"]].append(_prescription(row))
    fills: dict[str, list[Fill]] = defaultdict(list)
    for row in _known("fills", "fill_id", on):
        if row["reversed"] == "no":
            fills[row["patient_number"]].append(_fill(row))
    calendars = {row["store_id"]: _calendar(row) for row in _known("stores", "store_id", on)}
    for row in _known("patients", "patient_number", on):
        number = row["patient_number"]
        if prescriptions[number]:
            profile = Profile(number, row["store_id"], tuple(prescriptions[number]), tuple(fills[number]))
            yield profile, calendars[row["store_id"]]


def _known(file: str, key: str, on: date) -> list[Row]:
    """The newest revision of each record that was fed by that day."""
    newest: dict[str, Row] = {}
    for row in _rows(file):
        known = date.fromisoformat(row["known_on"]) <= on
        if known and int(row["revision"]) >= int(newest.get(row[key], row)["revision"]):
            newest[row[key]] = row
    return list(newest.values())


@cache
def _rows(file: str) -> list[Row]:
    with (FILES / f"{file}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def _prescription(row: Row) -> Prescription:
    return Prescription(
        rx_id=row["rx_id"],
        drug=Drug(
            name=row["drug_name"],
            ingredient=row["ingredient"],
            strength=row["strength"],
            form=row["form"],
            schedule=row["schedule"],
            **{fact: row[fact] == "yes" for fact in ("maintenance", "unbreakable", "antibiotic", "critical")},
        ),
        usual_quantity=Decimal(row["usual_quantity"]),
        usual_days=int(row["usual_days"]),
        quantity_left=Decimal(row["quantity_left"]),
        written_on=date.fromisoformat(row["written_on"]),
        expires_on=date.fromisoformat(row["expires_on"]),
        units_per_day=Decimal(row["units_per_day"]) if row["units_per_day"] else None,
        status=row["status"],
        directions=row["directions"],
        as_needed=row["as_needed"] == "yes",
        prescriber_id=row["prescriber_id"],
        payer=row["payer"] or None,
        renews=row["renews"] or None,
    )


def _fill(row: Row) -> Fill:
    filled_on, handed_over_on = (
        date.fromisoformat(row["filled_on"]),
        date.fromisoformat(row["handed_over_on"]),
    )
    return Fill(row["rx_id"], filled_on, handed_over_on, int(row["days_supply"]))


def _calendar(row: Row) -> Calendar:
    weekdays = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return Calendar(
        weekdays=frozenset(number for number, name in enumerate(weekdays) if row[name]),
        closed_on=frozenset(map(date.fromisoformat, row["closed_on"].split())),
        state=row["state"],
        daily_cap=int(row["daily_cap"]),
    )
