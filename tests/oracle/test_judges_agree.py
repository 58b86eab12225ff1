"""The two judges, which share nothing but the question, come to the same."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest

from tests.oracle.compare import Answer, compare
from tests.oracle.exact import best
from tests.oracle.question import Question
from tests.oracle.questions import random_question
from tests.oracle.solver import solve
from tests.oracle.test_worked_examples import EXAMPLES, Example

pytestmark = pytest.mark.needs("solver")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_the_solver_meets_the_worked_examples(example: Example) -> None:
    assert solve(example.question()).burden == example.least


def test_the_solver_weighs_surplus_as_the_eleventh_says() -> None:
    eleventh = next(each for each in EXAMPLES if each.name == "E11").question()
    assert solve(replace(eleventh, v=Fraction(1, 9))).burden == Fraction(97, 18)


def agree(question: Question, seed: int) -> bool:
    """Compare the judges on a question; false where the solver did not finish, or a day without is had by closures."""
    found = best(question)
    if found.avoidable:
        return False
    try:
        least = solve(question, seconds=60)
    except TimeoutError:
        return False
    assert found.burden == least.burden, f"seed {seed}: {question}"
    verdict = compare(question, Answer(0, found.burden, found.cycle, found.visits()), found)
    assert not found.cycle or verdict.is_optimal, f"seed {seed}: {verdict.faults}"
    return True


def test_the_judges_agree_on_random_questions() -> None:
    questions = [replace(random_question(Random(seed), most=3), v=Fraction(0)) for seed in range(14)]
    assert sum(agree(question, seed) for seed, question in enumerate(questions)) >= 13


@pytest.mark.parametrize("seed", range(60))
def test_the_best_plan_of_a_random_question_can_be_made_and_comes_to_what_it_says(seed: int) -> None:
    question = replace(random_question(Random(seed), most=4), v=Fraction(0))
    found = best(question)
    answer = Answer(found.avoidable, found.burden, found.cycle, found.visits())
    assert not found.cycle or compare(question, answer, found).is_optimal


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_the_judges_agree_on_a_thousand_random_questions() -> None:
    assert sum(agree(random_question(Random(seed)), seed) for seed in range(1000, 2000)) >= 950
