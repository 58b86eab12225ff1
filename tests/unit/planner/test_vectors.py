"""The worked examples of the rule book that concern the planner (R17), each with the policy that it assumes.

TV16, drift, is in test_cycles; TV20, return to stock, belongs to fulfillment.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Commitments, Plan, VisitKind
from services.planner.domain.payers import PayerRule, patient_pays
from services.planner.domain.plan import plan_cycle
from services.planner.domain.stock import days_on_hand, payable_from, run_out_day, short_fill, stocks_of
from tests.unit.planner.cases import COMMERCIAL, drug, fill, in_days, patient, prescription
from tests.unit.planner.test_plan import codes, of, pinned, planned


@pytest.mark.parametrize(
    ("strengths", "covered"), [(("10 mg", "10 mg"), 60), (("10 mg", "20 mg"), 44)], ids=["same", "different"]
)
def test_tv6_a_fill_shifts_only_behind_one_of_the_same_drug(strengths: tuple[str, str], covered: int) -> None:
    """Policy: stock rolls forward per ingredient and strength. 1 and 15 January 2025, 30 days each."""
    drugs = [
        prescription(name, rx_id=f"rx-{name}", drug=drug("x", strength=strength))
        for name, strength in zip("ab", strengths, strict=True)
    ]
    profile = patient(drugs, [fill("a", date(2025, 1, 1)), fill("b", date(2025, 1, 15))])
    run_outs = [stock.run_out_on for stock in stocks_of(profile, date(2025, 1, 15)).values()]
    assert max((run_out - date(2025, 1, 1)).days for run_out in run_outs if run_out) == covered


@pytest.mark.parametrize(
    ("filled_on", "days_supply", "percent", "payable"),
    [
        (date(2026, 9, 1), 30, 75, date(2026, 9, 24)),
        (date(2026, 9, 10), 90, 80, date(2026, 11, 21)),
        (date(2026, 9, 15), 30, 70, date(2026, 10, 6)),  # eye drops
        (date(2026, 9, 1), 30, 80, date(2026, 9, 25)),
        (date(2026, 9, 1), 30, 85, date(2026, 9, 27)),
        (date(2026, 9, 1), 30, 90, date(2026, 9, 28)),
        (date(2026, 9, 1), 28, 75, date(2026, 9, 22)),
        (date(2026, 9, 1), 90, 75, date(2026, 11, 8)),
        (date(2026, 9, 1), 90, 85, date(2026, 11, 17)),
        (date(2026, 9, 1), 30, 100, date(2026, 10, 1)),
    ],
)
def test_tv10_refill_too_soon(filled_on: date, days_supply: int, percent: int, payable: date) -> None:
    """Policy: the share of the days' supply alone, counted from the date of service, no second test."""
    assert payable_from([fill("a", filled_on, days_supply)], percent, PayerRule("any")) == payable


def test_tv11_the_bridge_to_an_agreed_day_is_eight_units() -> None:
    """Policy: 75 %, no prorating, every day open, told 28 October: the published answer of the latest-due rule."""
    lisinopril, atorvastatin = (
        prescription(name, written_on=date(2026, 1, 1), expires_on=date(2027, 1, 1))
        for name in ("lisinopril", "atorvastatin")
    )
    fills = [fill("lisinopril", date(2026, 9, 20)), fill("atorvastatin", date(2026, 9, 28))]
    commitments = Commitments(agreed=True, anchor_on=date(2026, 10, 28))
    profile = patient([lisinopril, atorvastatin], fills)
    plan = plan_cycle(profile, Calendar(), COMMERCIAL, date(2026, 10, 1), commitments, 1)
    assert isinstance(plan, Plan) and plan.anchor_on == date(2026, 10, 28)
    bridge = next(visit for visit in plan.visits if visit.kind is VisitKind.bridge)
    assert [(item.drug_name, item.quantity, item.days_supply) for item in bridge.items] == [
        ("lisinopril", 8, 8)
    ]
    assert bridge.on <= date(2026, 10, 20)


TV13 = [fill("a", date(2026, 1, 5)), fill("a", date(2026, 2, 1)), fill("a", date(2026, 3, 10))]


@pytest.mark.parametrize(
    ("day", "fills", "on_hand"),
    [
        (date(2026, 2, 1), 2, 33),
        (date(2026, 3, 5), 2, 1),
        (date(2026, 3, 6), 2, 0),
        (date(2026, 3, 9), 2, 0),
        (date(2026, 3, 10), 3, 30),
        (date(2026, 3, 20), 3, 20),
        (date(2026, 4, 9), 3, 0),
    ],
)
def test_tv13_days_on_hand_roll_forward_and_never_fall_below_nothing(
    day: date, fills: int, on_hand: int
) -> None:
    """Policy: the first dose is taken on the day of the hand-over."""
    assert days_on_hand(run_out_day(TV13[:fills]), day) == on_hand


@pytest.mark.parametrize(
    ("copay", "month", "days", "pays"),
    [
        ("47", 30, 14, "21.98"),  # published; not 21.93
        ("30", 30, 7, "7.00"),
        ("45", 30, 12, "18.00"),
        ("10", 31, 11, "3.52"),
    ],
)
def test_tv14_the_daily_rate_is_rounded_and_then_multiplied(
    copay: str, month: int, days: int, pays: str
) -> None:
    """Policy: Part D daily cost sharing, 42 CFR 423.100."""
    assert patient_pays(days, Decimal(copay), month, prorated=True) == Decimal(pays)


@pytest.mark.parametrize(
    ("gap", "per_day", "quantity", "lasts"), [(9, "0.5", 5, 10), (9, "1.5", 14, 9), (8, "1", 8, 8)]
)
def test_tv18_short_fills_are_whole_units_and_the_extra_day_is_carried(
    gap: int, per_day: str, quantity: int, lasts: int
) -> None:
    """Policy: whole units, no cushion."""
    assert short_fill(gap, Decimal(per_day), Decimal(1000)) == (quantity, lasts)


def test_tv18_a_gap_of_35_days_takes_a_usual_fill_and_then_five_days() -> None:
    """Policy: 75 %, 30 days at most, told day 40. a is out in 5 days, b on day 40: a usual fill, then 5 days."""
    profile = patient(
        [prescription("a"), prescription("b")], [fill("a", in_days(-25)), fill("b", in_days(10 - 30), 60)]
    )
    plan = planned(profile, pinned(40))
    fills = [item.days_supply for visit in plan.visits if visit.on < in_days(40) for item in visit.items]
    assert fills == [30, 5]
    assert "full_then_bridge" in codes(of(plan, "a").reasons)
