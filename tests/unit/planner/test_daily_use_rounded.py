"""A daily use of any precision is taken and rounded: a seventh a day is one a week, and the plan says so."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from services.planner.faults import BadInput
from services.planner.inputs import answer, plan, read_patient
from shared.directions import exact, units_a_day

TODAY = date(2026, 6, 10)


def document(units_per_day: object, quantity: int = 4, **drug: object) -> dict[str, Any]:
    written = {"written_on": "2026-01-05", "expires_on": "2027-01-05", "payer": "commercial"}
    product = {"name": "Alendronate 70 mg", "ingredient": "alendronate", "form": "tablet", **drug}
    usual = {"usual_quantity": quantity, "usual_days": 28, "quantity_left": 11 * quantity}
    filled = {"filled_on": "2026-05-25", "handed_over_on": "2026-05-25", "days_supply": 28}
    return {
        "patient_id": "p11",
        "prescriptions": [
            {"rx_id": "a", "drug": product, **usual, **written, "units_per_day": units_per_day}
        ],
        "fills": [{"rx_id": "a", **filled, "quantity": quantity}],
    }


@pytest.mark.parametrize(
    ("given", "quantity", "said"),
    [
        (0.142857, 4, "1 a week"),
        ("0.14285714285714285714", 4, "1 a week"),
        ("0.143", 4, "1 a week"),
        ("0.14", 4, "1 a week"),
        (".14286", 4, "1 a week"),
        (0.1429, 4, "1 a week"),
        (0.4285714, 12, "3 a week"),
        (1.1428571428571428, 32, "8 a week"),
    ],
)
def test_so_many_a_week_however_they_were_rounded(given: object, quantity: int, said: str) -> None:
    answered = answer(plan(read_patient(document(given, quantity)), TODAY))
    assert answered["status"] == "planned"
    (fill, *_) = [item for visit in answered["plan"]["visits"] for item in visit["items"]]
    assert (fill["quantity"], fill["days_supply"]) == (str(quantity), 28)
    assert said in "\n".join(answered["sentences"])


@pytest.mark.parametrize("given", ["1", "0.5", "1.5", "0.25", "2.75", "0.1", "0.3", "0.9", "1.00000000"])
def test_what_is_no_share_of_a_week_stays_as_it_is(given: str) -> None:
    assert exact(Decimal(given)) == Decimal(given)
    answered = answer(plan(read_patient(document(given, 28)), TODAY))
    assert not any("a week" in sentence for sentence in answered["sentences"])


@pytest.mark.parametrize("places", range(2, 20))
def test_sevenths_are_known_at_any_precision(places: int) -> None:
    for week in range(1, 40):
        assert exact(round(Decimal(week) / 7, places)) == units_a_day(Fraction(week, 7))


def test_other_decimals_of_daily_use_are_rounded_as_well() -> None:
    asked = read_patient(document(1.333333333, doses_per_unit=16.66666667, priming_doses="1.00000001"))
    [each] = asked.profile().prescriptions
    assert each.units_per_day == Decimal("1.3333")
    assert (each.drug.doses_per_unit, each.drug.priming_doses) == (Decimal("16.6667"), Decimal(1))


@pytest.mark.parametrize("given", ["a seventh", -0.142857, 10**30, "NaN", True])
def test_what_is_no_number_is_still_refused(given: object) -> None:
    with pytest.raises(BadInput):
        read_patient(document(given))
