"""The year behind a plan, in a line: trips to come, trips before, and what is said of them (R4.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.planner.domain.model import Commitments, Plan, Profile, Reason, Rules
from services.planner.domain.payers import PayerRule
from services.planner.publishing import event_of, payload_of
from shared.words import explain
from tests.unit.planner.cases import fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import codes, pinned, planned

USUAL = Rules(payers=(PayerRule("commercial", refill_percent=75),))


def line(plan: Plan) -> Reason:
    [found] = [each for each in plan.reasons if each.code in ("year_ahead", "year_ahead_and_before")]
    return found


def visited(*days_ago: int) -> Profile:
    """One drug, of which something was handed over on those days; the last fill still lasts."""
    usual = prescription("a", written_on=in_days(-364), expires_on=in_days(364))
    return patient([usual], [fill("a", in_days(-ago)) for ago in sorted(days_ago, reverse=True)])


def test_the_trips_of_the_next_365_days_are_those_of_the_plan_and_the_slots_after_it() -> None:
    """Every thirty days from day 11, the second two days sooner: 11, 39, 69, … 339; and a trip for c on day 18."""
    plan = planned(taking({"a": 12, "b": 15, "c": 22}), pinned(11), rules=USUAL)
    assert plan.rhythm
    days = {11, *range(41 - 2, 365, 30)}
    assert [(visit.on - plan.computed_on).days for visit in plan.visits] == [11, 18]
    assert plan.rhythm.trips_a_year == len(days | {18})
    assert line(plan).params["trips"] == plan.rhythm.trips_a_year


def test_two_visits_of_one_day_are_one_trip_and_a_drug_that_comes_by_itself_has_trips_of_its_own() -> None:
    together = planned(taking({"a": 12, "b": 12}, cycle_policy="rolling_30"), pinned(9), rules=USUAL)
    apart = replace(taking({"a": 12}), cycle_policy="rolling_30")
    pack = prescription("p", usual_days=28, usual_quantity=Decimal(28))
    apart = replace(
        apart,
        prescriptions=(*apart.prescriptions, pack),
        fills=(*apart.fills, fill("p", in_days(-16), 28)),
    )
    alone = planned(apart, pinned(9), rules=USUAL)
    assert together.rhythm and alone.rhythm
    assert together.rhythm.trips_a_year == 12
    assert 23 <= alone.rhythm.trips_a_year <= 25


@pytest.mark.parametrize(
    ("days_ago", "before"),
    [
        ((10,), None),
        ((10, 179), None),
        ((10, 180), 2),
        ((10, 10, 180), 2),  # two fills of one day are one trip
        ((10, 40, 70, 365), 4),
        ((10, 40, 70, 366), 3),  # longer ago than a year
    ],
)
def test_trips_before_are_counted_by_days_and_not_known_with_less_than_half_a_year(
    days_ago: tuple[int, ...], before: int | None
) -> None:
    plan = planned(visited(*days_ago), rules=USUAL)
    assert plan.rhythm and plan.rhythm.trips_before == before
    assert line(plan).code == ("year_ahead" if before is None else "year_ahead_and_before")
    assert line(plan).params.get("before") == before


def test_what_another_pharmacy_handed_over_is_no_trip_here() -> None:
    profile = visited(10, 200)
    elsewhere = replace(fill("a", in_days(-100)), elsewhere=True)
    plan = planned(replace(profile, fills=(*profile.fills, elsewhere)), rules=USUAL)
    assert plan.rhythm and plan.rhythm.trips_before == 2


def test_the_line_counts_short_fills_and_days_without_a_drug_as_the_plan_does() -> None:
    for profile, commitments in (
        (taking({"a": 12, "b": 20}), pinned(20)),
        (taking({"a": 3, "b": 20}), Commitments()),
        (taking({"a": 12, "b": 15}), Commitments()),
    ):
        plan = planned(profile, commitments, rules=USUAL)
        assert line(plan).params["short_fills"] == plan.short_fills
        assert line(plan).params["uncovered"] == plan.uncovered_days


def test_the_rhythm_and_its_year_are_said_in_words() -> None:
    plan = planned(visited(10, 40, 70, 200), rules=USUAL)
    sentences = explain(event_of(payload_of(plan, "p", "s", 1, 1)))
    assert "Pickups every 30 days." in sentences
    assert any("The next 365 days: 12 trips, against 4 in the past 365 days" in each for each in sentences)


def test_a_day_of_the_month_is_said_as_such() -> None:
    profile = taking({"a": 12, "b": 15}, cycle_policy="day_of_month", day_of_month=14)
    assert {"rhythm_of_month"} <= set(codes(planned(profile, rules=USUAL).reasons))
    assert planned(profile, rules=USUAL).anchor_on + timedelta(0) == in_days(12)


def test_a_rhythm_by_day_of_the_month_takes_twelve_trips_a_year() -> None:
    profile = taking({"a": 12, "b": 15}, cycle_policy="day_of_month", day_of_month=14)
    plan = planned(profile, rules=USUAL)
    assert plan.rhythm and plan.rhythm.trips_a_year == 12
