"""The search against a solver (see `solver`).

Without OR-tools (extra `dev`) nothing is compared, and the summary of the run says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from random import Random

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import NOTHING_TOLD, Plan, Prescription, Profile, Rules
from services.planner.domain.payers import PayerRule
from services.planner.domain.plan import plan_cycle
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, random_patient, wishful
from tests.unit.planner.sample import sample_patients
from tests.unit.planner.solver import Best, Model, modelled

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ortools") is None,
    reason="NOT COMPARED WITH THE SOLVER: OR-tools is not installed (extra `dev`: pip install ortools)",
)


def compare(profile: Profile, calendar: Calendar, rules: Rules, today: date, who: str) -> bool:
    """Compare one patient; false where there is no plan to compare."""
    plan = plan_cycle(profile, calendar, rules, today, NOTHING_TOLD, 1)
    if not isinstance(plan, Plan):
        return False
    pills, days = modelled(profile, calendar, rules, today)
    alone = not any(pill.ride_along for pill in pills)  # which trip a ride-along takes is a matter of its own
    best = Model(pills, days, profile.preferred_weekday, today).solve(to_the_end=alone)
    assert best, f"{who}: the solver finds no day where the planner does"
    anchor = (plan.anchor_on - today).days
    found = Best(
        plan.uncovered_days - plan.unavoidable_days, plan.offered[0].visits_before, plan.short_fills, anchor
    )
    assert found == (best if alone else replace(best, anchor=anchor)), f"{who}: {pills}"
    return True


def compared(seeds: Iterable[int]) -> int:
    count = 0
    for seed in seeds:
        rng = Random(seed)
        profile = wishful(random_patient(rng, most=4), rng)
        closed = frozenset(TODAY + timedelta(days=rng.randint(4, 60)) for _ in range(rng.randint(0, 6)))
        weekdays = rng.choice([frozenset(range(7)), frozenset(range(6)), frozenset(range(5))])
        calendar = Calendar(weekdays, closed) if rng.random() < 0.5 else EVERY_DAY
        count += compare(profile, calendar, COMMERCIAL, TODAY, f"seed {seed}")
    return count


def test_the_search_finds_the_solvers_optimum() -> None:
    assert compared(range(8)) == 8


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_search_finds_the_solvers_optimum_on_a_thousand_patients() -> None:
    assert compared(range(1000, 2000)) == 1000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_search_finds_the_solvers_optimum_on_the_sample_patients() -> None:
    """Policy: 75 % for every plan, any days' supply up to the usual. Once a week over the first quarter of the demo."""
    rules = Rules(
        payers=tuple(PayerRule(name, refill_percent=75) for name in ("commercial", "medicaid", "part_d"))
    )
    count = left_out = 0
    for week in range(0, 13):
        today = date(2009, 10, 1) + timedelta(weeks=week)
        for profile, calendar in sample_patients(today):
            if all(whole_days(each) for each in profile.prescriptions if each.status == "active"):
                count += compare(profile, calendar, rules, today, f"{profile.patient_id} on {today}")
            else:
                left_out += 1
    assert count >= 80
    assert left_out <= count


def whole_days(each: Prescription) -> bool:
    """The model counts in days: whole tablets a day, and packs of whole days."""
    per_day = each.units_per_day
    return per_day is None or (per_day % 1 == 0 and each.usual_quantity == per_day * each.usual_days)
