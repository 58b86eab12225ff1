"""The planner's search three ways, on the same patients: `python -m benchmarks.kernel`.

The **kernel** judges them together, in columns; the **plain loop** is the readable form of the same rules, one patient
after another; **CP-SAT** solves a model of the criteria with one worker (`tests/unit/planner/solver.py`).
Two populations: tablets once a day under one payer, which is all that the model knows, and a chain's usual patients
under the payers, laws, caps and loads that the service plans with. A few of them, whose trips only a long search can
tell, take much of the loop's time: the fewer patients, the more the ratio is a matter of who was drawn. The solver
takes the first patients only: it needs most of a second for each.

What is measured is the search, from questions to verdicts, of as many patients at a time as the service prepares for
one transaction; in CPU time of this process: others disturb it less than the clock. Of some patients two questions are
asked: with their limits, and without.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

from benchmarks.common import Target, arguments, in_turn, median_and_range, run_alone, table
from services.planner.domain import kernel
from services.planner.domain.anchor import Question, Verdict
from services.planner.domain.model import NOTHING_TOLD, Blocked, Plan
from services.planner.domain.plan import Planning, finished, one_by_one, planning
from tests.unit.planner import cases, population
from tests.unit.planner.solver import Model, modelled

KERNEL, LOOP, SOLVER = f"kernel, {kernel.AT_ONCE} at once", "plain loop, one by one", "CP-SAT, one by one"
SEARCHES = {KERNEL: kernel.judge_all, LOOP: one_by_one}
AT_A_TIME = 500
"""Patients that are prepared together."""

Prepare = Callable[[int], Planning[Plan | Blocked]]
"""The planning of the patient of that number."""

Took = dict[str, list[float]]
"""Microseconds for each question, by contender and round."""


def benchmark() -> list[Target]:
    """Each population, in turns."""
    gc.freeze()  # as cli.serve does
    rng = Random(1)
    simple = [cases.wishful(cases.random_patient(rng), rng) for _ in range(given.patients)]
    stores = [population.chain_store(rng) for _ in range(20)]
    usual = [population.chain_patient(rng, number) for number in range(given.patients)]

    def tablets(number: int) -> Planning[Plan | Blocked]:
        return planning(simple[number], cases.EVERY_DAY, cases.COMMERCIAL, cases.TODAY, NOTHING_TOLD, 1)

    def of_a_chain(number: int) -> Planning[Plan | Blocked]:
        store, today = stores[number % len(stores)], population.TODAY
        return planning(usual[number], store, population.POLICY, today, NOTHING_TOLD, 1)

    models = [
        (modelled(each, cases.EVERY_DAY, cases.COMMERCIAL, cases.TODAY), each.preferred_weekday)
        for each in simple[: given.solved]
    ]

    def solve() -> None:
        for (pills, days), weekday in models:
            Model(pills, days, weekday, cases.TODAY).solve(to_the_end=True)

    took = in_turns("tablets once a day", tablets)
    solver = [timed(solve) / len(models) * 1e6 for _ in range(given.rounds)]
    print(f"{SOLVER}, the first {len(models)} of them: {median_and_range(solver)} µs\n")
    by_solver = ratio(solver, took[KERNEL])
    took = in_turns("a chain's usual patients", of_a_chain)
    return [
        Target("CP-SAT's time for a patient, to the kernel's", by_solver, at_least=1000),
        Target(
            "the plain loop's time for a patient, to the kernel's",
            ratio(took[LOOP], took[KERNEL]),
            at_least=20,
        ),
    ]


def in_turns(who: str, prepare: Prepare) -> Took:
    """Both searches beside each other, another one first each time."""
    took: Took = {name: [] for name in SEARCHES}
    for _ in range(given.rounds):
        spent, asked, fit = dict.fromkeys(SEARCHES, 0.0), 0, 0
        for turn, questions in enumerate(questions_of(prepare)):
            for name in in_turn(list(SEARCHES), turn):
                spent[name] += timed(partial(SEARCHES[name], questions))
            asked += len(questions)
            fit += sum(map(kernel.fit, questions))
        for name, seconds in spent.items():
            took[name].append(seconds / asked * 1e6)
    print(f"{who}: {given.patients:,}; {asked:,} questions, of which {fit / asked:.1%} take the fast path\n")
    table(("", "µs a question"), [(name, median_and_range(each)) for name, each in took.items()])
    return took


def questions_of(prepare: Prepare) -> Iterator[list[Question]]:
    """What the search is asked about the patients, so many at a time."""
    for start in range(0, given.patients, AT_A_TIME):
        numbers = range(start, min(start + AT_A_TIME, given.patients))
        yield asked_of([prepare(number) for number in numbers])


def asked_of(plannings: Sequence[Planning[Plan | Blocked]]) -> list[Question]:
    asked: list[Question] = []

    def note(questions: Sequence[Question]) -> list[Verdict | None]:
        asked.extend(questions)
        return kernel.judge_all(questions)

    finished(plannings, note)
    return asked


def timed(run: Callable[[], object]) -> float:
    """Seconds of CPU time."""
    began = time.process_time()
    run()
    return time.process_time() - began


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of the rounds'."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


parser = arguments(__doc__)
parser.add_argument("--patients", type=int, default=2000)
parser.add_argument("--solved", type=int, default=8, help="patients that the solver takes, in each round")

if __name__ == "__main__":
    given = parser.parse_args()
    run_alone(benchmark, given)
