"""What was filled is believed only where quantity, daily use and days agree; days' supply 0 is not known."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.planner.domain.eligibility import Eligibility, assess
from services.planner.domain.model import (
    NO_COMMITMENTS,
    Fill,
    Participation,
    Prescription,
    Profile,
    StockReport,
)
from services.planner.domain.supplies import medication_of
from services.planner.inputs import read_patient
from shared.events import Reason
from shared.words import render
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, in_days, patient, prescription


def filled(days: int, quantity: int = 30, on: int = -10, rx_id: str = "rx-a", **facts: object) -> Fill:
    return Fill(rx_id, in_days(on), in_days(on), days, Decimal(quantity), **facts)  # type: ignore[arg-type]


def parts(profile: Profile) -> list[Eligibility]:
    return assess(profile, COMMERCIAL, TODAY, in_days(4))


def only(prescribed: Prescription, *fills: Fill, **facts: object) -> Eligibility:
    (part,) = parts(patient([prescribed], fills, **facts))
    return part


def told(part: Eligibility) -> dict[str, dict[str, object]]:
    return {reason.code: dict(reason.params) for reason in (part.reason, *part.remarks)}


def words(part: Eligibility, code: str) -> str:
    return render(Reason(code=code, params=told(part)[code]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("days", "quantity", "per_day", "planned", "asked"),
    [
        (90, 30, "1", 30, True),
        (30, 90, "1", 30, True),  # the days are the shorter, and the quantity is asked about
        (30, 30, "2", 15, True),
        (34, 30, "1", 30, True),
        (33, 30, "1", 33, False),  # three days
        (99, 90, "1", 99, False),  # a tenth
        (100, 90, "1", 90, True),
        (28, 4, "0.1429", 28, False),
        (30, 0, "1", 30, False),  # the quantity is not known
        (30, 1, "2", 1, True),  # a bottle, perhaps: nothing lasts shorter than a day
    ],
)
def test_of_days_and_quantity_that_contradict_each_other_the_shorter_is_planned(
    days: int, quantity: int, per_day: str, planned: int, asked: bool
) -> None:
    part = only(
        prescription("a", units_per_day=Decimal(per_day), usual_quantity=30 * Decimal(per_day)),
        filled(days, quantity),
    )
    assert part.stock.run_out_on == in_days(-10 + planned)
    assert ("fill_days_differ" in told(part)) is asked


def test_the_pharmacist_is_told_both_numbers_and_what_to_check() -> None:
    said = words(only(prescription("a"), filled(90)), "fill_days_differ")
    assert "90 days" in said and "30 units" in said and "30 days" in said
    assert "Pharmacist: check" in said


def test_the_payers_clock_runs_by_the_shorter_too_unless_the_billed_days_are_on_file() -> None:
    for billed, payable in ((None, -10 + 23), (90, -10 + 68)):
        part = only(prescription("a"), filled(90, days_supply_billed=billed))
        medication = medication_of(part, COMMERCIAL, NO_COMMITMENTS, None, TODAY)
        assert medication.payment.payable_from == in_days(payable)


def test_nothing_is_asked_about_a_fill_that_no_longer_matters() -> None:
    long_ago = only(prescription("a"), filled(90, on=-120), filled(30, on=-10))
    counted_since = only(prescription("a"), filled(90), stock_reports=(StockReport("rx-a", in_days(-1), 19),))
    assert "fill_days_differ" not in told(long_ago) | told(counted_since)


def test_the_drug_that_took_its_place_asks_about_the_fill() -> None:
    """A renewal draws on the stock of the prescription before it."""
    old = prescription("a", rx_id="rx-old", status="superseded")
    _, renewal = parts(patient([old, prescription("a")], [filled(90, rx_id="rx-old")]))
    assert "fill_days_differ" in told(renewal)
    assert renewal.stock.run_out_on == in_days(20)


def test_of_what_is_not_counted_in_tablets_the_record_stands() -> None:
    """One inhaler, four puffs a day: how many puffs it holds is not on file."""
    inhaler = prescription(
        "a", drug=drug("a", form="inhaler"), units_per_day=Decimal(4), usual_quantity=Decimal(1)
    )
    part = only(inhaler, filled(30, 1))
    assert part.stock.run_out_on == in_days(20)
    assert "fill_days_differ" not in told(part)


@pytest.mark.parametrize(
    ("usual", "quantity", "planned", "code"),
    [
        (90, 30, 30, "usual_days_differ"),
        (30, 90, 30, "days_supply_differs"),
        (33, 30, 33, "days_supply_differs"),
        (30, 30, 30, None),
    ],
)
def test_the_usual_fill_is_believed_as_far(usual: int, quantity: int, planned: int, code: str | None) -> None:
    part = only(
        prescription("a", usual_days=usual, usual_quantity=Decimal(quantity)), filled(planned, planned)
    )
    assert part.prescription.usual_days == planned
    given = {"usual_days_differ", "days_supply_differs"} & told(part).keys()
    assert given == ({code} if code else set())
    if code == "usual_days_differ":
        said = words(part, code)
        assert "30 units" in said and "90 days" in said and "30 days" in said and "Pharmacist: check" in said


# --- days' supply 0 ---


def test_days_supply_0_of_a_fill_is_counted_from_quantity_and_daily_use_and_said() -> None:
    part = only(prescription("a", units_per_day=Decimal(2)), filled(0, 60))
    assert part.stock.run_out_on == in_days(20)
    assert told(part)["fill_days_counted"]["days"] == 30
    medication = medication_of(part, COMMERCIAL, NO_COMMITMENTS, None, TODAY)
    assert medication.payment.payable_from == in_days(-10 + 23)


def test_what_is_not_counted_in_tablets_lasts_its_share_of_the_usual_fill() -> None:
    cream = prescription(
        "a", drug=drug("a", form="cream"), units_per_day=None, usual_quantity=Decimal(60), usual_days=40
    )
    assert only(cream, filled(0, 30)).stock.run_out_on == in_days(10)


def test_days_supply_0_that_cannot_be_counted_leaves_the_drug_out_with_words() -> None:
    part = only(prescription("a"), filled(30, 30, on=-40), filled(0, 0))
    assert part.participation is Participation.excluded
    assert part.reason.code == "fill_days_unknown"
    assert "days' supply" in words(part, "fill_days_unknown")


def test_an_older_fill_that_cannot_be_counted_stands_in_nobodys_way() -> None:
    part = only(prescription("a"), filled(0, 0, on=-40), filled(30))
    assert part.participation is Participation.sync


def test_days_supply_0_is_no_fault_of_a_document() -> None:
    rx = {"rx_id": "a", "drug": {"name": "x", "ingredient": "x", "form": "tablet"}, "usual_quantity": 30}
    rx |= {"usual_days": 0, "quantity_left": 90, "written_on": "2026-01-05", "expires_on": "2027-01-05"}
    one = {"rx_id": "a", "filled_on": "2026-02-20", "handed_over_on": "2026-02-20", "days_supply": 0}
    read_patient({"patient_id": "p1", "prescriptions": [rx], "fills": [one]}, TODAY)
