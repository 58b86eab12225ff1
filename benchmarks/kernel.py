"""The planner's search three ways, on the same patients: `python -m benchmarks.kernel`.

The **kernel** judges them together, in columns; the **plain loop** is the readable form of the same rules, one patient
after another; **CP-SAT** solves a model of the criteria with one worker (`tests/unit/planner/solver.py`).
Two populations: tablets once a day under one payer, which is all that the model knows, and a chain's usual patients
under the payers, laws, caps and loads that the service plans with. The solver takes the first patients only: it needs
most of a second for each. What is measured is the search, from prepared patients to verdicts, in CPU time of this
process: others disturb it less than the clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from random import Random

from benchmarks.common import Target, arguments, in_turn, median_and_range, run_alone, table
from services.planner.domain import kernel
from services.planner.domain.anchor import Question, Verdict
from services.planner.domain.model import NOTHING_TOLD, Blocked, Plan
from services.planner.domain.plan import Planning, finished, one_by_one, planning
from tests.unit.planner import cases, population
from tests.unit.planner.solver import Best, Model, modelled

Contender = Callable[[], object]


def benchmark() -> list[Target]:
    """Each population, in turns."""
    rng = Random(1)
    simple = [cases.wishful(cases.random_patient(rng), rng) for _ in range(given.patients)]
    questions = questions_of(
        [planning(each, cases.EVERY_DAY, cases.COMMERCIAL, cases.TODAY, NOTHING_TOLD, 1) for each in simple]
    )
    models = [
        modelled(each, cases.EVERY_DAY, cases.COMMERCIAL, cases.TODAY) for each in simple[: given.solved]
    ]
    preferred = [each.preferred_weekday for each in simple]

    def solve() -> list[Best | None]:
        return [
            Model(pills, days, weekday, cases.TODAY).solve(to_the_end=True)
            for (pills, days), weekday in zip(models, preferred, strict=False)
        ]

    print(f"tablets once a day: {len(questions)} patients, of whom the solver takes {len(models)}\n")
    took = in_turns(
        {
            f"kernel, {kernel.AT_ONCE} at once": (len(questions), lambda: kernel.judge_all(questions)),
            "plain loop, one by one": (len(questions), lambda: one_by_one(questions)),
            "CP-SAT, one by one": (len(models), solve),
        }
    )
    fast, _, solver = took.values()
    by_solver = statistics.median(ratios(solver, fast))
    usual = usual_questions(rng)
    fit = sum(map(kernel.fit, usual)) / len(usual)
    print(f"a chain's usual patients: {len(usual)}, of whom {fit:.1%} take the fast path\n")
    fast, loop = in_turns(
        {
            f"kernel, {kernel.AT_ONCE} at once": (len(usual), lambda: kernel.judge_all(usual)),
            "plain loop, one by one": (len(usual), lambda: one_by_one(usual)),
        }
    ).values()
    return [
        Target("CP-SAT's time for a patient, to the kernel's", by_solver, at_least=1000),
        Target(
            "the plain loop's time for a patient, to the kernel's",
            statistics.median(ratios(loop, fast)),
            at_least=20,
        ),
    ]


def usual_questions(rng: Random) -> list[Question]:
    stores = [population.chain_store(rng) for _ in range(20)]
    today: date = population.TODAY
    return questions_of(
        [
            planning(
                population.chain_patient(rng, number),
                stores[number % 20],
                population.POLICY,
                today,
                NOTHING_TOLD,
                1,
            )
            for number in range(given.patients)
        ]
    )


def questions_of(plannings: Sequence[Planning[Plan | Blocked]]) -> list[Question]:
    """What the search is asked about these patients."""
    asked: list[Question] = []

    def note(questions: Sequence[Question]) -> list[Verdict | None]:
        asked.extend(questions)
        return [None] * len(questions)

    finished(plannings, note)
    return asked


def in_turns(contenders: dict[str, tuple[int, Contender]]) -> dict[str, list[float]]:
    """Microseconds for each patient, by contender and round; another one first in each round."""
    took: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(given.rounds):
        for name in in_turn(list(contenders), number):
            patients, run = contenders[name]
            began = time.process_time()
            run()
            took[name].append((time.process_time() - began) / patients * 1e6)
    table(
        ("", "patients", "µs a patient"),
        [(name, f"{contenders[name][0]:,}", median_and_range(each)) for name, each in took.items()],
    )
    return took


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(slow, fast, strict=True)]


parser = arguments(__doc__)
parser.add_argument("--patients", type=int, default=1000)
parser.add_argument("--solved", type=int, default=8, help="patients that the solver takes, in each round")

if __name__ == "__main__":
    given = parser.parse_args()
    run_alone(benchmark, given)
