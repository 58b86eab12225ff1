"""The fast form of the search against the readable one: the same verdicts, the same plans, whoever the patients are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.planner.domain import kernel
from services.planner.domain.anchor import Case, Option, Question, Score, Verdict, arrange, arrange_all
from services.planner.domain.kernel import scores
from services.planner.domain.model import NOTHING_TOLD, Blocked, Plan, Rules, Told
from services.planner.domain.plan import Planning, finished, one_by_one, planning
from tests.unit.planner.population import POLICY, TODAY, chain_patient, chain_store, odd_patient

HALF_A_CENT = (Decimal("-0.005"), Decimal(0), Decimal("0.005"))

TOGETHER = 200
"""Patients whose questions are judged at once."""


def usual_plannings(rng: Random, count: int) -> list[Planning[Plan | Blocked]]:
    stores = [chain_store(rng) for _ in range(10)]
    return [
        planning(chain_patient(rng, number), stores[number % 10], POLICY, TODAY, NOTHING_TOLD, 1)
        for number in range(count)
    ]


def odd_plannings(
    rng: Random, count: int, other: Callable[[Random, Rules], Rules] = lambda _, rules: rules
) -> list[Planning[Plan | Blocked]]:
    patients = [odd_patient(rng, number) for number in range(count)]
    return [
        planning(each.profile, each.calendar, other(rng, each.rules), TODAY, written_to(each.told, number), 1)
        for number, each in enumerate(patients)
    ]


def written_to(told: Told, number: int) -> Told:
    """One in seven can only be written to."""
    return replace(told, not_before=TODAY + timedelta(days=number % 20)) if number % 7 == 0 else told


def seen(score: Score | None) -> list[str] | None:
    """Every value as it is written: 0 and 0.00 differ."""
    return [repr(getattr(score, each.name)) for each in fields(Score)] if score else None


def said(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "options": verdict.options,
        "chosen": seen(verdict.chosen),
        "offered": [seen(each) for each in verdict.offered],
        "were there no cap": seen(verdict.were_there_no_cap),
        "latest due": seen(verdict.latest_due),
    }


def compare(seeds: Sequence[int], other: Callable[[Random, Rules], Rules] | None = None) -> Counter[str]:
    """Judge both ways, TOGETHER patients for each seed; what the kernel judged by itself, and what not.

    Every second seed draws odd patients; all do where they are planned by `other` rules.
    """
    count: Counter[str] = Counter()

    def both(questions: Sequence[Question]) -> list[Verdict | None]:
        readable, fast = one_by_one(questions), kernel.judge_all(questions)
        for place, (one, other) in enumerate(zip(readable, fast, strict=True)):
            assert said(other) == said(one), f"seed {seed}, question {place}"
        count["questions"] += len(questions)
        count["fit"] += sum(map(kernel.fit, questions))
        return readable

    for seed in seeds:
        rng = Random(seed)
        if other:
            plannings = odd_plannings(rng, TOGETHER, other)
        else:
            plannings = odd_plannings(rng, TOGETHER) if seed % 2 else usual_plannings(rng, TOGETHER)
        finished(plannings, both)
        count["patients"] += TOGETHER
    return count


@pytest.mark.timeout(600)
def test_the_kernel_says_what_the_readable_form_says() -> None:
    count = compare(range(100, 108))
    assert 0.8 * count["questions"] <= count["fit"] < count["questions"]
    assert count["questions"] >= 0.8 * count["patients"]


def test_company_makes_no_difference() -> None:
    """Also those are judged alike who need no fill before any pickup, and beside whom nobody else is judged."""
    no_needs = 0

    def both(questions: Sequence[Question]) -> list[Verdict | None]:
        nonlocal no_needs
        readable = one_by_one(questions)
        alone = [verdict for each in questions for verdict in kernel.judge_all([each])]
        assert [said(each) for each in alone] == [said(each) for each in readable]
        no_needs += sum(
            not any(course.needs for option in arrange_all(case, days) for course in option.courses)
            for case, days in questions
        )
        return readable

    finished(odd_plannings(Random(4), 150), both)
    assert no_needs


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_the_kernel_says_what_the_readable_form_says_of_a_hundred_thousand_patients() -> None:
    assert compare(range(1000, 1000 + 100_000 // TOGETHER))["patients"] >= 100_000


def test_a_limit_beside_a_cost_to_the_half_cent_decides_the_same_way() -> None:
    """The limit is each cost that any candidate day has, and half a cent to either side of it."""
    order = ("extra_cost_above_limit", "distance_from_preferred_day")
    compared = above = 0

    def both(questions: Sequence[Question]) -> list[Verdict | None]:
        nonlocal compared, above
        for case, days in questions:
            costs = {option.extra_cost for option in arrange_all(case, days)} - {None}
            ordered = replace(case, rules=replace(case.rules, criteria=order))
            limits = [cost + by for cost in sorted(costs)[:4] if cost for by in HALF_A_CENT if cost + by >= 0]
            limited = [Question(replace(ordered, extra_cost_limit=limit), days) for limit in limits]
            readable = one_by_one(limited)
            assert [said(each) for each in kernel.judge_all(limited)] == [said(each) for each in readable]
            compared += len(limited)
            above += len({each.chosen.anchor for each in readable if each}) > 1
        return one_by_one(questions)

    finished(usual_plannings(Random(3), 60), both)
    assert compared > 100
    assert above > 5, "the limit decides"


def test_plans_made_together_are_the_plans_made_one_by_one() -> None:
    together = finished(odd_plannings(Random(1), 150), kernel.judge_all)
    assert [repr(plan) for plan in together] == [
        repr(plan) for plan in finished(odd_plannings(Random(1), 150))
    ]


def test_the_usual_patient_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them fit, and of a hundred candidate days at most one is arranged in full."""
    arranged: list[int] = []
    days: list[int] = []

    def count(day: int, case: Case) -> Option:
        arranged.append(day)
        return arrange(day, case)

    def judge_all(questions: Sequence[Question]) -> list[Verdict | None]:
        assert all(map(kernel.fit, questions))
        days.extend(day for question in questions for day in question.days)
        return kernel.judge_all(questions)

    monkeypatch.setattr(scores, "arrange", count)
    finished(usual_plannings(Random(2), 200), judge_all)
    assert 0 < len(arranged) <= len(days) / 100
