"""One patient's days before enrollment and since."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cli.demo.history import Days, Span, Supply, look_back, uncovered
from shared.events.planner import FillKind
from tests.unit.console.given import days, plan

LISINOPRIL, RENEWED, ANTIBIOTIC = "rx-1", "rx-1-R1", "rx-9"
START, END = days(0), days(60)


def patient(*fills: Supply) -> dict[str, Any]:
    """As enrollment answers: a drug, its renewal, and a course that is not in the plan."""
    drug = {LISINOPRIL: "lisinopril", RENEWED: "lisinopril", ANTIBIOTIC: "amoxicillin"}
    return {
        "patient_id": "p1",
        "profile": {
            "prescriptions": [{"rx_id": rx, "drug": {"ingredient": name}} for rx, name in drug.items()],
            "fills": [
                {
                    "fill_id": fill.fill_id,
                    "rx_id": fill.rx_id,
                    "handed_over_on": fill.on.isoformat(),
                    "days_supply": fill.days,
                    "elsewhere": False,
                }
                for fill in fills
            ],
        },
    }


def fill(rx_id: str, on: int, supply: int = 30) -> Supply:
    return Supply(f"{rx_id} {on}", rx_id, days(on), supply)


PLAN = plan((30, [(RENEWED, FillKind.full, 30)]), excluded=(LISINOPRIL, ANTIBIOTIC))
OLD = [fill(LISINOPRIL, -300), fill(LISINOPRIL, -70), fill(ANTIBIOTIC, -50, 10), fill(LISINOPRIL, -30)]
NEW = [fill(RENEWED, 5), fill(RENEWED, 35)]


def test_days_before_are_as_many_as_since_and_of_the_drugs_in_the_plan() -> None:
    seen = look_back(patient(*OLD, *NEW), OLD, PLAN, Span(START, END), {days(5), days(35)}, {days(35)})

    assert (seen.days, seen.days_before, seen.drugs) == (60, 60, {"lisinopril"})
    assert seen.came_before == {days(-30)}, "the antibiotic is no trip that a plan could spare"
    assert seen.before == Days(60, 10), "nothing left from 40 days before to the fill 30 days before"
    assert seen.since == Days(60, 5)
    assert seen.in_sync == Days(25, 0)
    assert seen.trips_of_the_year_before == 3


def test_fills_that_are_too_old_by_now_to_be_told_count_as_they_stood_at_enrollment() -> None:
    span = Span(START, END)
    assert look_back(patient(*NEW), OLD, PLAN, span, (), ()) == look_back(
        patient(*OLD, *NEW), OLD, PLAN, span, (), ()
    )


def test_the_year_before_is_not_known_from_a_short_history() -> None:
    seen = look_back(patient(*NEW), OLD[1:], PLAN, Span(START, END), (), ())
    assert seen.trips_of_the_year_before is None


def test_before_is_a_year_at_most() -> None:
    seen = look_back(patient(*NEW), OLD, PLAN, Span(START, START + timedelta(500)), (), ())
    assert (seen.days, seen.days_before, seen.before.all) == (500, 365, 365)


@pytest.mark.parametrize(
    ("fills", "missing"),
    [
        ([], 60),
        ([(-10, 30)], 40),
        ([(-10, 30), (0, 30)], 10),  # the second begins when the first is used up
        ([(0, 30), (40, 30)], 10),
        ([(60, 30)], 60),
    ],
)
def test_a_day_is_uncovered_while_nothing_is_left(fills: list[tuple[int, int]], missing: int) -> None:
    assert uncovered([(days(on), supply) for on, supply in fills], START, END) == missing
