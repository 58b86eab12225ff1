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


def read(layout: Layout, *rows: object) -> Reading:
    return read_records(layout, rows, today=TODAY, pseudonym=lambda number: f"<{number}>")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_a_good_record_is_taken(layout: Layout) -> None:
    assert read(layout, GOOD[layout.kind]()).bad == {}


NOT_A_DATE = "is not a valid date: use YYYY-MM-DD, for example 2026-03-02"

BAD = [
    (STORES, {"store_id": ""}, "store_id", "is empty: it is required"),
    (STORES, {"store_id": "S 1"}, "store_id", "is not a valid id: remove the spaces"),
    (STORES, {"revision": "0"}, "revision", f"is not a whole number from 1 to {2**63 - 1}"),
    (STORES, {"revision": "1.5"}, "revision", f"is not a whole number from 1 to {2**63 - 1}"),
    (STORES, {"revision": "٣"}, "revision", f"is not a whole number from 1 to {2**63 - 1}"),
    (STORES, {"name": "x" * 121}, "name", "has 121 characters: use at most 120"),
    (STORES, {"name": "a\nb"}, "name", "contains line breaks, tabs or control characters: remove them"),
    (STORES, {"state": "Ok"}, "state", "is not a state code: use two letters, such as OK"),
    (STORES, {"time_zone": "CST6"}, "time_zone", "is not an IANA time zone"),
    (STORES, {"monday": "9-19"}, "monday", "are not valid hours: use 09:00-18:00"),
    (STORES, {"monday": "19:00-09:00"}, "monday", "close before they open: use 09:00-18:00"),
    (STORES, {"monday": "", "saturday": ""}, "monday", "has no hours, nor has any other day"),
    (STORES, {"closed_on": "2009-11-26,2009-12-25"}, "closed_on", NOT_A_DATE),
    (STORES, {"holidays": "all"}, "holidays", "is not one of none, major, state"),
    (STORES, {"state": "XX", "holidays": "state"}, "holidays", "are not known for this state: list them in closed_on"),
    (PATIENTS, {"stays": "2009-12-20/2009-12-19"}, "stays", "ends before it begins: put the earlier date first"),
    (PATIENTS, {"birth_date": "1940-02-30"}, "birth_date", NOT_A_DATE),
    (PATIENTS, {"birth_date": "1940-W09-4"}, "birth_date", NOT_A_DATE),
    (PATIENTS, {"birth_date": "2009-10-03"}, "birth_date", "is in the future: send the record on that day or later"),
    (PRESCRIPTIONS, {"maintenance": "Y"}, "maintenance", "is neither yes nor no: use one of them"),
    (PRESCRIPTIONS, {"units_per_day": "one"}, "units_per_day", "is not a number: use units such as 30 or 2.5"),
    (PRESCRIPTIONS, {"units_per_day": "Infinity"}, "units_per_day", "is out of range: units go from 0 to 99999999"),
    (PRESCRIPTIONS, {"units_per_day": "0.33333"}, "units_per_day", "has too many decimals: use at most four"),
    (PRESCRIPTIONS, {"usual_quantity": "0"}, "usual_quantity", "is 0: use the units of a usual fill"),
    (PRESCRIPTIONS, {"usual_days": "0"}, "usual_days", "is not a whole number from 1 to 366"),
    (PRESCRIPTIONS, {"written_on": "2014-11-02", "expires_on": "2015-11-02"}, "written_on", "is in the future"),
    (PRESCRIPTIONS, {"expires_on": "2009-07-31"}, "expires_on", "is before written_on: correct one of the two"),
    (PRESCRIPTIONS, {"renews": "RX1"}, "renews", "is the prescription itself: use the one it replaces"),
    (PRESCRIPTIONS, {"schedule": "II"}, "schedule", "is not one of none, c2, c3, c4, c5"),
    (FILLS, {"handed_over_on": "2009-08-31"}, "handed_over_on", "is before filled_on: correct one of the two"),
    (FILLS, {"quantity": "-1"}, "quantity", "is out of range: units go from 0 to 99999999"),
    (FILLS, {"days_supply": "367"}, "days_supply", "is not a whole number from 0 to 366"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "different", "field", "reason"), BAD)
def test_a_bad_record_is_answered_with_its_field_and_the_way_out(
    layout: Layout, different: dict[str, str], field: str, reason: str
) -> None:
    good = GOOD[layout.kind]
    reading = read(layout, good(), good(**different), good())
    assert list(reading.good) == [0, 2]
    (problem,) = reading.bad[1]
    assert (problem.field, problem.reason[: len(reason)]) == (field, reason)


LEFT_OUT = [
    (PATIENTS, {"away": "2009-12-20"}, "away", "is not a valid date range: use 2026-03-02/2026-03-15"),
    (PATIENTS, {"payday": "32"}, "payday", "is not a whole number from 1 to 31"),
    (PATIENTS, {"home_phone": "call me"}, "home_phone", "is not a phone number: correct it, or leave it empty"),
    (PATIENTS, {"home_phone": "800-112-8147"}, "home_phone", "is not a valid phone number"),
    (PATIENTS, {"language": "English"}, "language", "is not a language tag: use one such as en or es"),
    (PATIENTS, {"cycle_policy": "other"}, "cycle_policy", "is not one of rolling_28, auto, roll"),
    (PATIENTS, {"must_weekdays": "monday tue"}, "must_weekdays", "is not a weekday: use monday, tuesday, …"),
    (STORES, {"phone": "555"}, "phone", "is not a valid phone number"),
    (PATIENTS, {"mobile_phone": "N/A"}, "mobile_phone", "is a placeholder for no value"),
    (PATIENTS, {"delivered": ["yes"]}, "delivered", "is a list: write it as text"),
    (PRESCRIPTIONS, {"refills_left": "many"}, "refills_left", "is not a whole number from 0 to 99"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "different", "field", "reason"), LEFT_OUT)
def test_a_field_that_can_be_missed_costs_no_record(
    layout: Layout, different: dict[str, object], field: str, reason: str
) -> None:
    good = GOOD[layout.kind]
    reading = read(layout, good(**different))
    (problem,) = reading.left_out[0]
    assert (problem.field, problem.reason[: len(reason)]) == (field, reason)
    assert reading.good[0].value == read(layout, good(**{field: ""})).good[0].value


def test_all_that_is_wrong_with_a_record_is_said_at_once() -> None:
    bad = feed.fill(quantity="many", days_supply="", handed_over_on="2009-10-09", reversed="true")
    assert {problem.field for problem in read(FILLS, bad).bad[0]} == {
        "quantity",
        "days_supply",
        "handed_over_on",
        "reversed",
    }
    both = read(PATIENTS, feed.patient(birth_date="1940", mobile_phone="555"))
    assert [problem.field for problem in both.bad[0]] == ["birth_date", "mobile_phone"]
    assert both.left_out == {}


@pytest.mark.parametrize("word", ["NULL", "null", "N/A", r"\N", "None", "nan", "NaN"])
def test_what_a_program_writes_for_nothing_is_no_value(word: str) -> None:
    for layout, name in ((FILLS, "rx_id"), (PRESCRIPTIONS, "directions"), (PRESCRIPTIONS, "schedule")):
        (problem,) = read(layout, GOOD[layout.kind](**{name: word})).bad[0]
        assert (problem.field, problem.reason) == (
            name,
            "is a placeholder for no value: leave the field empty",
        )
    assert read(PATIENTS, feed.patient(family_name=word, given_name=word)).bad == {}
    assert read(PRESCRIPTIONS, feed.prescription(schedule="none")).bad == {}


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        (7, "", "is a number: write a record as an object, column to text"),
        (["F1"], "", "is a list: write a record as an object, column to text"),
        (None, "", "is null: write a record as an object, column to text"),
        (feed.fill() | {"rx_id": ["RX1"]}, "rx_id", "is a list: write it as text"),
        (feed.fill() | {"rx_id": {"id": "RX1"}}, "rx_id", "is an object: write it as text"),
        (feed.fill() | {"reversed": True}, "reversed", "is true or false, which is yes or no here: write it as text"),
        (feed.fill() | {"Rx_Id": "RX2"}, "rx_id", "appears twice: remove one"),
    ],
)  # fmt: skip
def test_a_record_of_another_type_stops_no_other(record: object, field: str, reason: str) -> None:
    reading = read(FILLS, feed.fill(), record, feed.fill())
    assert list(reading.good) == [0, 2]
    assert [(problem.field, problem.reason) for problem in reading.bad[1]] == [(field, reason)]


def test_a_number_is_taken_for_its_digits() -> None:
    numbers = feed.fill() | {"quantity": 30.5, "days_supply": 30, "days_supply_billed": 28.0, "revision": 1}
    fill = read(FILLS, numbers).good[0].value.fill
    assert (fill.quantity, fill.days_supply, fill.days_supply_billed) == (Decimal("30.5"), 30, 28)


# --- columns that are not known ---


@pytest.mark.parametrize(
    ("layout", "name", "column"),
    [
        (FILLS, "reversal", "reversed"),
        (FILLS, "Is Reversed", "reversed"),
        (FILLS, "returned", "reversed"),
        (FILLS, "days supply billed", "days_supply_billed"),
        (PRESCRIPTIONS, "DEA_Schedule", "schedule"),
        (PRESCRIPTIONS, "scheduel", "schedule"),
        (PRESCRIPTIONS, "rx_status", "status"),
        (PRESCRIPTIONS, "prior_auth_until", "prior_authorization_until"),
        (PRESCRIPTIONS, "PRN", "as_needed"),
        (PATIENTS, "timezone", "time_zone"),
        (STORES, "open_sunday", "sunday"),
    ],
)
def test_a_name_near_a_column_that_is_unsafe_to_miss_refuses_the_record(
    layout: Layout, name: str, column: str
) -> None:
    row = {each: value for each, value in GOOD[layout.kind]().items() if each != column}
    (problem,) = read(layout, {**row, name: "yes"}).bad[0]
    assert problem.field == name.strip().casefold()
    assert f"may be meant for {column}, which is unsafe to miss" in problem.reason


def test_a_name_is_read_in_any_case_and_with_blanks_around_it() -> None:
    assert read(FILLS, feed.fill() | {" Reversed ": "yes"}).good[0].value.reversed


@pytest.mark.parametrize("name", ["known_on", "store_name", "drug_class", "line", "reason", "ndc", "city"])
def test_other_columns_are_passed_over_and_named(name: str) -> None:
    for layout in LAYOUTS:
        reading = read(layout, GOOD[layout.kind]() | {name: "x"})
        assert (reading.bad, reading.passed_over) == ({}, {name: 0})


def test_beside_the_column_itself_a_name_near_it_is_passed_over() -> None:
    reading = read(PRESCRIPTIONS, feed.prescription(status="active", status_date="2009-10-01"))
    assert (reading.bad, list(reading.passed_over)) == ({}, ["status_date"])


# --- other content under the same revision ---


def said(row: dict[str, str]) -> str:
    reading = read_records(PRESCRIPTIONS, [row], today=TODAY, pseudonym=str, digest=str)
    return reading.good[0].digest


def test_the_same_content_has_one_digest_however_it_is_written() -> None:
    plain = feed.prescription()
    assert said(plain) == said(plain | {"usual_quantity": "30.00", "status": "", "color": "blue"})
    for name, value in {"quantity_left": "60", "status": "on_hold", "directions": "2 daily"}.items():
        assert said(plain) != said(plain | {name: value})


def test_empty_columns_take_their_defaults_and_unknown_ones_are_passed_over() -> None:
    prescription = read(PRESCRIPTIONS, feed.prescription(units_per_day="", color="blue")).good[0].value
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
        name: requirement.strip()
        for name, requirement in re.findall(r"^\| `(\w+)` \| ([^|]*)\|", section, re.MULTILINE)
    }
    if layout is STORES:
        assert "`monday` … `sunday`" in section
        told |= dict.fromkeys(WEEKDAYS, "safety")
    assert told == {
        column.name: "required" if column.required else "safety" if column.safety else ""
        for column in layout.columns
    }
