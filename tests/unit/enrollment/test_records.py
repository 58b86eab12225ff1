"""What the feed may say, and in which words a bad record is sent back."""

from __future__ import annotations

import re
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest

from services.enrollment.domain.columns import WEEKDAYS
from services.enrollment.domain.records import (
    FILLS,
    LAYOUTS,
    PATIENTS,
    PRESCRIPTIONS,
    STORES,
    Layout,
    Reading,
    read_records,
)
from shared.events.enrollment import OpenHours, Phone
from tests import feed

TODAY = date(2009, 10, 1)
GOOD = {
    "stores": feed.store,
    "patients": feed.patient,
    "prescriptions": feed.prescription,
    "fills": feed.fill,
}


def read(layout: Layout, *rows: dict[str, str]) -> Reading:
    return read_records(layout, rows, today=TODAY, pseudonym=lambda number: f"<{number}>")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_a_good_record_is_taken(layout: Layout) -> None:
    assert read(layout, GOOD[layout.kind]()).bad == {}


BAD = [
    (STORES, {"store_id": ""}, "store_id", "is empty: no record is taken without it"),
    (STORES, {"store_id": "S 1"}, "store_id", "is no id: an id holds no blank"),
    (STORES, {"revision": "0"}, "revision", f"is no whole number from 1 to {2**63 - 1}"),
    (STORES, {"revision": "1.5"}, "revision", f"is no whole number from 1 to {2**63 - 1}"),
    (STORES, {"revision": "٣"}, "revision", f"is no whole number from 1 to {2**63 - 1}"),
    (STORES, {"name": "x" * 121}, "name", "has 121 characters: at most 120 are taken"),
    (STORES, {"name": "a\nb"}, "name", "holds line breaks, tabs or control characters: remove them"),
    (STORES, {"state": "Ok"}, "state", "is no state: write its two letters, as OK"),
    (STORES, {"time_zone": "CST6"}, "time_zone", "is no time zone of the IANA database: write it as America/Chicago"),
    (STORES, {"monday": "9-19"}, "monday", "are no opening hours: write them as 09:00-18:00"),
    (STORES, {"monday": "19:00-09:00"}, "monday", "close before they open: write them as 09:00-18:00"),
    (STORES, {"monday": "", "saturday": ""}, "monday", "no day has opening hours: give those of at least one day"),
    (STORES, {"closed_on": "2009-11-26,2009-12-25"}, "closed_on", "is no date: write it as 2009-10-01"),
    (STORES, {"holidays": "all"}, "holidays", "is not one of none, major, state"),
    (STORES, {"state": "XX", "holidays": "state"}, "holidays", "are not known for this state: list them in closed_on"),
    (PATIENTS, {"away": "2009-12-20"}, "away", "is no span of days: write it as 2009-10-01/2009-10-14"),
    (PATIENTS, {"stays": "2009-12-20/2009-12-19"}, "stays", "ends before it begins: write the earlier day first"),
    (PATIENTS, {"payday": "32"}, "payday", "is no whole number from 1 to 31"),
    (PATIENTS, {"birth_date": "1940-02-30"}, "birth_date", "is no date: write it as 2009-10-01"),
    (PATIENTS, {"birth_date": "1940-W09-4"}, "birth_date", "is no date: write it as 2009-10-01"),
    (PATIENTS, {"birth_date": "2009-10-03"}, "birth_date", "lies in the future: feed the record when its day has come"),
    (PATIENTS, {"home_phone": "call me"}, "home_phone", "is no phone number: correct it, or leave it empty"),
    (PATIENTS, {"home_phone": "800-112-8147"}, "home_phone", "is a phone number that cannot exist"),
    (PATIENTS, {"language": "English"}, "language", "is no language tag: write it as en or es"),
    (PATIENTS, {"cycle_policy": "other"}, "cycle_policy", "is not one of rolling_28, auto, roll"),
    (PATIENTS, {"must_weekdays": "monday tue"}, "must_weekdays", "is no weekday: write monday, tuesday, …"),
    (PRESCRIPTIONS, {"maintenance": "Y"}, "maintenance", "is neither yes nor no"),
    (PRESCRIPTIONS, {"units_per_day": "one"}, "units_per_day", "is no number: write units as 30 or 2.5"),
    (PRESCRIPTIONS, {"units_per_day": "NaN"}, "units_per_day", "is out of range: units go from 0 to 99999999"),
    (PRESCRIPTIONS, {"units_per_day": "0.33333"}, "units_per_day", "is too fine: units have at most four digits"),
    (PRESCRIPTIONS, {"usual_quantity": "0"}, "usual_quantity", "is 0: give the units of a usual fill"),
    (PRESCRIPTIONS, {"usual_days": "0"}, "usual_days", "is no whole number from 1 to 366"),
    (PRESCRIPTIONS, {"written_on": "2014-11-02", "expires_on": "2015-11-02"}, "written_on", "lies in the future"),
    (PRESCRIPTIONS, {"expires_on": "2009-07-31"}, "expires_on", "is before written_on: correct one of the two"),
    (PRESCRIPTIONS, {"renews": "RX1"}, "renews", "names the prescription itself: name the one it replaces, or none"),
    (PRESCRIPTIONS, {"schedule": "II"}, "schedule", "is not one of none, c2, c3, c4, c5"),
    (FILLS, {"handed_over_on": "2009-08-31"}, "handed_over_on", "is before filled_on: correct one of the two"),
    (FILLS, {"quantity": "-1"}, "quantity", "is out of range: units go from 0 to 99999999"),
    (FILLS, {"days_supply": "367"}, "days_supply", "is no whole number from 0 to 366"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "different", "field", "reason"), BAD)
def test_a_bad_record_is_answered_with_its_field_and_the_way_out(
    layout: Layout, different: dict[str, str], field: str, reason: str
) -> None:
    good = GOOD[layout.kind]
    reading = read(layout, good(), good(**different), good())
    assert list(reading.good) == [0, 2]
    assert (reading.bad[1].field, reading.bad[1].reason[: len(reason)]) == (field, reason)


def test_empty_columns_take_their_defaults_and_unknown_ones_are_passed_over() -> None:
    prescription = read(PRESCRIPTIONS, feed.prescription(units_per_day="", colour="blue")).good[0].value
    assert prescription.units_per_day is None
    assert (prescription.status, prescription.drug.schedule, prescription.as_needed) == (
        "active",
        "none",
        False,
    )


def test_numbers_are_read_as_they_can_be_dialled() -> None:
    row = feed.patient(home_phone="1 918 555 0102")
    assert read(PATIENTS, row).good[0].value.person.phones == (
        Phone(number="+19185550101", kind="mobile"),
        Phone(number="+19185550102", kind="home"),
    )


def test_a_store_has_the_hours_of_the_days_it_opens() -> None:
    store = read(STORES, feed.store()).good[0].value
    assert store.hours == (
        OpenHours(weekday=0, opens=time(9), closes=time(19)),
        OpenHours(weekday=5, opens=time(10), closes=time(14)),
    )
    assert store.closed_on == (date(2009, 11, 26), date(2009, 12, 25))


def test_a_patients_records_go_by_the_pseudonym() -> None:
    patient, fill = read(PATIENTS, feed.patient()).good[0], read(FILLS, feed.fill()).good[0]
    assert (patient.key, patient.patient_id, fill.key, fill.patient_id) == ("<P1>", "<P1>", "F1", "<P1>")
    assert fill.value.fill.quantity == Decimal(30)


def test_somewhere_it_is_tomorrow_already() -> None:
    assert read(FILLS, feed.fill(handed_over_on="2009-10-02")).bad == {}
    assert read(FILLS, feed.fill(handed_over_on="2009-10-03")).bad != {}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_the_page_for_people_names_every_column(layout: Layout) -> None:
    page = Path("docs/reference/import-layout.md").read_text(encoding="utf-8")
    section = page.split(f"## {layout.kind}.csv")[1].split("\n## ")[0]
    told = {
        name: requirement.strip() == "required"
        for name, requirement in re.findall(r"^\| `(\w+)` \| ([^|]*)\|", section, re.MULTILINE)
    }
    if layout is STORES:
        assert "`monday` … `sunday`" in section
        told |= dict.fromkeys(WEEKDAYS, False)
    assert told == {column.name: column.required for column in layout.columns}
