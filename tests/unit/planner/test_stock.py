"""Days on hand (R3), refill too soon (R7.2), short-fill quantities (R4.12)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from services.planner.domain.model import Fill, Prescription, Profile, Span, StockReport
from services.planner.domain.payers import PayerRule
from services.planner.domain.stock import (
    payable_from,
    run_out_day,
    short_fill,
    stock_key,
    stocks_of,
    usual_fill,
)
from tests.unit.planner.cases import TODAY, drug, fill, in_days, patient, prescription


def test_the_payer_counts_from_the_date_of_service_and_the_stock_from_the_hand_over() -> None:
    filled = Fill("rx-a", filled_on=in_days(-10), handed_over_on=in_days(-7), days_supply=30)
    profile = patient([prescription("a")], [filled])
    stock = stocks_of(profile, TODAY)[stock_key(drug("a"))]
    assert stock.run_out_on == in_days(23)
    assert payable_from(stock.fills, 75, PayerRule("any")) == in_days(13)
    by_hand_over = PayerRule("any", counts_from="handed_over_on")
    assert payable_from(stock.fills, 75, by_hand_over) == in_days(16)


def test_a_partial_fill_and_its_owed_rest_are_one_claim_and_add_up() -> None:
    """As fulfillment publishes them: the claim's days are billed with the part, and the rest is of the same day."""
    part = Fill("rx-a", TODAY, TODAY, 20, days_supply_billed=30)
    rest = Fill("rx-a", TODAY, in_days(3), 10, days_supply_billed=0)
    whole = Fill("rx-a", TODAY, TODAY, 30)
    look_back = PayerRule("any", look_back_days=180, most_surplus_days=7)
    for rule in (PayerRule("any"), look_back):
        assert payable_from([part], 75, rule) == payable_from([whole], 75, rule)
        assert payable_from([part, rest], 75, rule) == payable_from([whole], 75, rule)
    assert run_out_day([part]) == in_days(20)
    assert run_out_day([part, rest]) == in_days(30)


def test_what_the_patient_says_is_left_replaces_the_estimate_from_that_day_on() -> None:
    fills = [fill("a", in_days(-20)), fill("a", in_days(-2), 5)]
    assert run_out_day(fills) == in_days(15)
    assert run_out_day(fills, [StockReport("rx-a", in_days(-3), 1)]) == in_days(3)
    assert run_out_day(fills, [StockReport("rx-a", in_days(-2), 4)]) == in_days(7), "before that day's fill"
    assert run_out_day(fills, [StockReport("rx-a", in_days(-1), 0)]) == in_days(-1)


def test_stock_is_counted_by_ingredient_and_strength_whichever_prescription_it_came_from() -> None:
    old = prescription("a", rx_id="rx-old", status="superseded")
    other = prescription("a", rx_id="rx-20", drug=drug("a", strength="20 mg"))
    fills = [
        Fill("rx-old", in_days(-20), in_days(-20), 30),
        Fill("rx-20", in_days(-1), in_days(-1), 90),
        Fill("rx-nobody", in_days(-1), in_days(-1), 90),
        Fill("rx-a", in_days(3), in_days(3), 30),
    ]
    stocks = stocks_of(Profile("p", "s", (old, prescription("a"), other), tuple(fills)), TODAY)
    assert stocks["a", "10 mg"].run_out_on == in_days(10), "what is not handed over yet does not count"
    assert stocks["a", "20 mg"].run_out_on == in_days(89)


@pytest.mark.parametrize(
    ("days", "per_day", "quantity", "lasts"),
    [
        (7, "2", 14, 7),
        (1, "0.5", 1, 2),
        (10, "0.3", 3, 10),
    ],
)
def test_short_fills_are_whole_units(days: int, per_day: str, quantity: int, lasts: int) -> None:
    assert short_fill(days, Decimal(per_day), Decimal(1000)) == (quantity, lasts)


def test_no_fill_takes_more_than_is_authorized() -> None:
    assert short_fill(9, Decimal("0.5"), Decimal("3.5")) == (3, 6)
    assert usual_fill(prescription("a"), Decimal(22)) == (22, 22)
    assert usual_fill(prescription("a"), Decimal(0)) == (0, 0)
    assert usual_fill(prescription("a"), Decimal(31)) == (30, 30)


def test_a_single_fill_on_day_d_runs_out_after_its_days() -> None:
    assert run_out_day([fill("a", TODAY)]) == TODAY + timedelta(days=30)


def of_dose(rx_id: str, per_day: str, written: int, status: str = "active") -> Prescription:
    return prescription(
        "a", rx_id=rx_id, units_per_day=Decimal(per_day), written_on=in_days(written), status=status
    )


def handed(rx_id: str, on: int, days: int = 30) -> Fill:
    return Fill(rx_id, in_days(on), in_days(on), days)


ONE_A_DAY, TWO_A_DAY = of_dose("one", "1", -90, "discontinued"), of_dose("two", "2", -5)


@pytest.mark.parametrize(
    ("prescriptions", "fills", "reports", "runs_out", "recounted"),
    [
        ([ONE_A_DAY, TWO_A_DAY], [handed("one", -20)], [], 2, -5),  # 15 days left are 7 from day -5 on
        ([ONE_A_DAY, of_dose("half", "0.5", -5)], [handed("one", -20)], [], 25, -5),  # 15 are 30
        ([ONE_A_DAY, TWO_A_DAY], [handed("one", -20), handed("two", 0)], [], 32, -5),
        ([ONE_A_DAY, TWO_A_DAY], [handed("one", -40)], [], -10, None),  # nothing was left
        ([ONE_A_DAY, TWO_A_DAY], [handed("one", -2)], [], 13, -2),  # the old dose was filled once more
        ([ONE_A_DAY, TWO_A_DAY], [handed("one", -20)], [StockReport("two", in_days(-1), 9)], 8, None),
        ([ONE_A_DAY, TWO_A_DAY], [handed("one", -20)], [StockReport("one", in_days(-6), 3)], -4, None),
        ([ONE_A_DAY, of_dose("two", "2", 1)], [handed("one", -20)], [], 10, None),  # not yet
        ([of_dose("one", "1", -90), TWO_A_DAY], [handed("one", -20)], [], 10, None),  # which is taken?
        ([of_dose("one", "1", -90, "on_hold"), TWO_A_DAY], [handed("one", -20)], [], 10, None),
        ([ONE_A_DAY, of_dose("new", "1", -5)], [handed("one", -20)], [], 10, None),  # a renewal
    ],
)
def test_what_is_left_when_the_dose_changes_lasts_by_the_new_dose(
    prescriptions: list[Prescription],
    fills: list[Fill],
    reports: list[StockReport],
    runs_out: int,
    recounted: int | None,
) -> None:
    """A fill of 30 days at one a day, and another dose of the same tablets from day -5 on (R3.6)."""
    profile = patient(prescriptions, fills, stock_reports=tuple(reports))
    stock = stocks_of(profile, TODAY)[stock_key(drug("a"))]
    assert stock.run_out_on == in_days(runs_out)
    assert stock.recounted_on == (None if recounted is None else in_days(recounted))


def test_days_in_hospital_do_not_use_up_what_is_left_at_a_change_of_dose() -> None:
    """The patient was in hospital from day -4 to day -1: 15 days of the old dose, 7 of the new from day -5 on."""
    stay = Span(in_days(-4), in_days(-1))
    profile = patient([ONE_A_DAY, TWO_A_DAY], [handed("one", -20)], stays=(stay,))
    assert stocks_of(profile, TODAY)[stock_key(drug("a"))].run_out_on == in_days(6)
