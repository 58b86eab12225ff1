"""A stock report far from what the fills say is asked again; and when a C-II drug may be filled."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.eligibility import Eligibility, assess
from services.planner.domain.model import Fill, Participation, Rejection, Rules, Span, StockReport
from services.planner.domain.payers import PayerRule
from shared.events import Reason
from shared.words import render
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, fill, in_days, patient, prescription


def report(on: int, left: int) -> StockReport:
    return StockReport("rx-a", in_days(on), left)


def only(
    *reports: StockReport, fills: tuple[Fill, ...] = (fill("a", in_days(-20)),), **facts: Any
) -> Eligibility:
    """30 days filled 20 days ago: 10 left today by the fills."""
    (part,) = assess(
        patient([prescription("a")], fills, stock_reports=reports, **facts), COMMERCIAL, TODAY, in_days(4)
    )
    return part


def asked(part: Eligibility) -> bool:
    return "stock_report_doubted" in {each.code for each in part.remarks}


@pytest.mark.parametrize(
    ("reports", "left", "again"),
    [
        ([(-2, 43)], 41, False),  # 12 by the fills: 31 more
        ([(-2, 44)], 10, True),
        ([(-2, 100)], 10, True),
        ([(-6, 100), (-2, 96)], 94, False),  # the same again
        ([(-6, 100), (-2, 89)], 87, False),  # within a week of it
        ([(-6, 100), (-2, 88)], 10, True),
        ([(-6, 100), (-2, 15)], 13, False),  # it was a slip
        ([(-6, 100), (-4, 60), (-2, 58)], 56, False),
    ],
)
def test_far_more_than_the_fills_say_is_planned_only_once_it_is_said_again(
    reports: list[tuple[int, int]], left: int, again: bool
) -> None:
    part = only(*(report(*each) for each in reports))
    assert part.stock.run_out_on == in_days(left)
    assert asked(part) is again
    assert part.participation is Participation.sync


def test_far_less_than_the_fills_say_is_asked_again_too() -> None:
    filled = (fill("a", in_days(-10), 90),)
    assert only(report(-1, 0), fills=filled).stock.run_out_on == in_days(80)
    assert asked(only(report(-1, 0), fills=filled))
    assert only(report(-3, 0), report(-1, 0), fills=filled).stock.run_out_on == in_days(-1)


def test_the_words_say_both_figures_and_what_to_ask() -> None:
    (why,) = [each for each in only(report(-2, 100)).remarks if each.code == "stock_report_doubted"]
    words = render(Reason(code=why.code, params=dict(why.params)))
    assert "100 days" in words and "12 days" in words and "Ask again" in words


def test_what_only_the_patient_knows_is_believed() -> None:
    """Nothing was filled here, or another pharmacy may have filled it."""
    elsewhere = Fill("rx-a", in_days(-9), in_days(-9), 90, elsewhere=True)
    assert not asked(only(report(-2, 80), fills=(fill("a", in_days(-20)), elsewhere)))
    assert only(report(-2, 80), fills=(elsewhere,)).stock.run_out_on == in_days(78)


def test_days_in_hospital_are_no_difference() -> None:
    part = only(report(-2, 25), fills=(fill("a", in_days(-60)),), stays=(Span(in_days(-59), in_days(-20)),))
    assert not asked(part)


def test_a_report_that_makes_no_difference_any_more_is_not_asked_about() -> None:
    part = only(report(-90, 80), fills=(fill("a", in_days(-100)), fill("a", in_days(-9))))
    assert not asked(part) and part.stock.run_out_on == in_days(21)


# --- C-II ---


def c2(
    fills: tuple[Fill, ...] = (), *others: Any, rules: Rules = COMMERCIAL, **facts: Any
) -> list[Eligibility]:
    schedule_2 = drug("a", schedule="c2")
    profile = patient([prescription("a", drug=schedule_2, **facts), *others], fills)
    return assess(profile, rules, TODAY, in_days(4))


def earliest(part: Eligibility) -> date | None:
    assert (part.participation, part.reason.code) == (Participation.excluded, "schedule_2")
    days = [each.params["on"] for each in part.remarks if each.code == "schedule_2_fill_from"]
    return date.fromisoformat(str(days[0])) if days else None


FILLED = (fill("a", in_days(-10)),)


@pytest.mark.parametrize(
    ("fills", "facts", "day"),
    [
        ((), {"fill_from": in_days(12)}, 12),
        (FILLED, {}, -10 + 26),  # 85 % of a controlled drug's days
        (FILLED, {"fill_from": in_days(20)}, 20),
        (FILLED, {"fill_from": in_days(2)}, 16),
        (FILLED, {"payer": "cash"}, None),
        (FILLED, {"payer": "cash", "fill_from": in_days(5)}, 5),
        ((), {}, None),
        (FILLED, {"quantity_left": Decimal(0)}, 16),  # for the next prescription
    ],
)
def test_the_earliest_fill_of_a_c2_drug_is_said(
    fills: tuple[Fill, ...], facts: dict[str, Any], day: int | None
) -> None:
    (part,) = c2(fills, **facts)
    assert earliest(part) == (None if day is None else in_days(day))


def test_of_a_series_the_next_one_says_it() -> None:
    following = prescription(
        "a", rx_id="rx-next", drug=drug("a", schedule="c2"), fill_from=in_days(18), quantity_left=Decimal(30)
    )
    filled, waiting = c2(FILLED, following, quantity_left=Decimal(0))
    assert (earliest(filled), earliest(waiting)) == (None, in_days(18))


def test_the_payers_own_day_and_its_rule_in_days_hold_for_it() -> None:
    two_days_early = Rules(payers=(PayerRule("commercial", refill_days_early=2),))
    (part,) = c2(FILLED, rules=two_days_early)
    assert earliest(part) == in_days(-10 + 28)
    profile = patient(
        [prescription("a", drug=drug("a", schedule="c2"))],
        FILLED,
        rejections=(Rejection("rx-a", "79", in_days(-1), in_days(17)),),
    )
    (part,) = assess(profile, COMMERCIAL, TODAY, in_days(4))
    assert earliest(part) == in_days(17)
