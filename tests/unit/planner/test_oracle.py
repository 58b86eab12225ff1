"""The search against brute force: the same day, the same trips, the same uncovered days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from services.planner.domain.model import NOTHING_TOLD, Blocked, Participation
from services.planner.domain.plan import plan_cycle
from tests.unit.planner import oracle
from tests.unit.planner.cases import TODAY, as_patient, random_small


@dataclass(frozen=True)
class Outcome:
    anchor: int
    trips: tuple[int, ...]
    avoidable: int
    short_fills: int


def outcome_of(case: oracle.Small) -> Outcome | None:
    """What the planner answers; none where it leaves a drug of the case out, or plans nothing."""
    profile, calendar, rules = as_patient(case)
    plan = plan_cycle(profile, calendar, rules, TODAY, NOTHING_TOLD, 1)
    if isinstance(plan, Blocked) or any(each.participation is Participation.excluded for each in plan.drugs):
        return None
    trips = {(visit.on - TODAY).days for visit in plan.visits} - {(plan.anchor_on - TODAY).days}
    return Outcome(
        anchor=(plan.anchor_on - TODAY).days,
        trips=tuple(sorted(trips)),
        avoidable=plan.uncovered_days - plan.unavoidable_days,
        short_fills=plan.short_fills,
    )


def compare(seeds: range) -> int:
    """Compare on each seed; how many could be compared."""
    compared = 0
    for seed in seeds:
        case = random_small(Random(seed))
        found = outcome_of(case)
        if found is None:
            continue
        best = oracle.best(case)
        assert best is not None, f"seed {seed}: the planner found a day where there is none"
        critical, others, _, shorts, *_ = best.rank
        expected = Outcome(best.anchor, best.days, critical + others, shorts)  # type: ignore[operator,arg-type]
        assert found == expected, f"seed {seed}: {case}"
        compared += 1
    return compared


def test_the_search_finds_the_optimum() -> None:
    assert compare(range(300)) >= 290


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_search_finds_the_optimum_on_many_more() -> None:
    assert compare(range(10_000, 16_000)) >= 5_000


@pytest.mark.parametrize("seed", [22, 61, 75, 78, 84])
def test_which_drug_is_critical_decides_the_day_where_not_all_can_be_covered(seed: int) -> None:
    """Cases found by trying: brute force and the planner move together."""
    case = random_small(Random(seed))
    days = set()
    for number in range(len(case.pills)):
        pills = tuple(replace(pill, critical=at == number) for at, pill in enumerate(case.pills))
        found, best = outcome_of(replace(case, pills=pills)), oracle.best(replace(case, pills=pills))
        assert found and best and found.anchor == best.anchor
        days.add(found.anchor)
    assert len(days) > 1


def test_the_latest_due_rule_is_often_not_best() -> None:
    """Patients for whom the usual rule takes more trips, or short fills, to cover the same days; ours never does."""
    worse = 0
    for seed in range(150):
        case = random_small(Random(seed))
        usual = latest_due(case)
        found = outcome_of(case)
        if usual is None or found is None:
            continue
        best = oracle.best(case)
        assert best is not None
        assert best.anchor == found.anchor and best.rank <= usual.rank
        worse += best.rank[:2] == usual.rank[:2] and best.rank[2:4] < usual.rank[2:4]
    assert worse >= 15


def latest_due(case: oracle.Small) -> oracle.Answer | None:
    """The usual rule's answer: the day on which the last drug runs out, or the open day before."""
    last = max(pill.run_out for pill in case.pills if not pill.ride_along)
    days = [day for day in oracle.days_to_try(case) if day <= last]
    return oracle.answer_for(case, max(days)) if days else None
