"""Directions that cannot be read may stand on a second witness: three fills in a row that agree."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.planner.domain.eligibility import Eligibility, assess
from services.planner.domain.model import Fill, Participation, Prescription
from shared.events import Reason
from shared.words import render
from tests.unit.planner.cases import COMMERCIAL, TODAY, in_days, patient, prescription

UNREAD = "per protocol of the clinic"


def fills(*each: tuple[int, int], rx_id: str = "rx-a", first: int = -75) -> list[Fill]:
    """Fills of so many units for so many days, 25 days apart."""
    return [
        Fill(rx_id, in_days(first + 25 * n), in_days(first + 25 * n), days, Decimal(quantity))
        for n, (quantity, days) in enumerate(each)
    ]


def unread(quantity: int = 30, days: int = 30, directions: str = UNREAD, **facts: object) -> Prescription:
    usual = {"usual_quantity": Decimal(quantity), "usual_days": days, "units_per_day": None}
    return prescription("a", directions=directions, **usual, **facts)


def only(each: Prescription, filled: list[Fill]) -> Eligibility:
    (part,) = assess(patient([each], filled), COMMERCIAL, TODAY, in_days(4))
    return part


@pytest.mark.parametrize(
    ("quantity", "days", "units", "said"),
    [
        (30, 30, "1", "1 a day is planned"),
        (45, 30, "1.5", "1.5 a day is planned"),
        (4, 28, "0.142857", "1 a week is planned"),
        (180, 90, "2", "2 a day is planned"),
    ],
)
def test_three_fills_in_a_row_that_agree_say_how_much_is_taken(
    quantity: int, days: int, units: str, said: str
) -> None:
    part = only(unread(quantity, days), fills(*[(quantity, days)] * 3))
    assert part.participation is Participation.sync
    assert part.prescription.units_per_day is not None
    assert round(part.prescription.units_per_day, 6) == Decimal(units)
    (why,) = [each for each in part.remarks if each.code == "daily_use_by_fills"]
    words = render(Reason(code=why.code, params=dict(why.params)))
    assert said in words and "last three fills" in words


@pytest.mark.parametrize(
    "filled",
    [
        fills((30, 30), (30, 30)),  # two
        fills((30, 30), (30, 30), (60, 30)),
        fills((30, 30), (60, 30), (30, 30), (30, 30)),
        fills((30, 30), (30, 15), (30, 30)),
        fills((60, 30), (60, 30), (60, 30)),  # not the usual fill
        [replace(each, elsewhere=True) for each in fills((30, 30), (30, 30), (30, 30))],
        [replace(each, quantity=Decimal(0)) for each in fills((30, 30), (30, 30), (30, 30))],
    ],
)
def test_fewer_fills_or_others_say_nothing(filled: list[Fill]) -> None:
    part = only(unread(), filled)
    assert (part.participation, part.prescription.units_per_day) == (Participation.excluded, None)


@pytest.mark.parametrize(("quantity", "days"), [(4, 30), (10, 30), (480, 30), (25, 28)])
def test_what_nobody_takes_a_day_is_no_daily_use(quantity: int, days: int) -> None:
    assert only(unread(quantity, days), fills(*[(quantity, days)] * 3)).reason.code.startswith("directions_")


@pytest.mark.parametrize(
    ("directions", "code"),
    [
        ("as directed", "directions_as_directed"),  # the prescriber may have said otherwise since
        ("5 mL daily", "directions_other_unit"),
        ("1 tab per protocol prn", "as_needed_by_directions"),
    ],
)
def test_directions_that_say_otherwise_are_no_matter_of_witnesses(directions: str, code: str) -> None:
    assert only(unread(directions=directions), fills(*[(30, 30)] * 3)).reason.code == code


def test_fills_of_the_prescription_that_it_renews_count_where_the_directions_are_the_same() -> None:
    old = unread(rx_id="rx-old", status="superseded")
    filled = fills((30, 30), (30, 30), (30, 30), rx_id="rx-old")
    for directions, state in ((UNREAD, Participation.sync), ("another protocol", Participation.excluded)):
        new = unread(directions=directions)
        parts = assess(patient([old, new], filled), COMMERCIAL, TODAY, in_days(4))
        assert parts[1].participation is state
