"""What one plan costs, from a document to its words: `python -m benchmarks.plan`.

CPU time of this process, a patient at a time, as `medsync plan` and the question what-if go: the document is **read**,
the patient **planned**, the plan **explained** and **written** as JSON. **In step and agreed**: two to seven drugs that
are filled together, with a rhythm and a day that the patient was told. **New**: four families of patients of whom
nothing was told, with drugs in whatever phases (`tests/oracle/families.py`). **With a change**: those in step, to whom
a drug was added, or of whom one is taken twice as often. Each figure of a patient is the median of the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random

from pydantic_core import to_json

from benchmarks.common import Target, arguments, run_alone, table
from services.planner.inputs import answer, plan, read_patient
from shared.events.planner import PlanComputed
from shared.memory import spare_the_collector
from tests.oracle.families import FAMILIES, TODAY, Document, drug, family, patient

PARTS = ("read", "plan", "explain", "write")
Spent = dict[str, list[float]]


def benchmark() -> Sequence[Target]:
    """Each population in each round; what is in step is also told first."""
    agreed = list(in_step(given.patients))
    populations = {
        "in step and agreed": agreed,
        **{f"new: {name}": list(family(name, given.patients // len(FAMILIES))) for name in FAMILIES},
        "with a change": [with_change(each, Random(number)) for number, each in enumerate(agreed)],
    }
    for documents in populations.values():
        one_by_one(documents[:20])  # policy files are read, caches filled
    spare_the_collector()  # as cli.serve does
    spent = {name: median_of_rounds(documents) for name, documents in populations.items()}
    new = [sum(costs) for name, each in spent.items() if name.startswith("new") for costs in each]
    totals = {name: [sum(costs) for costs in each] for name, each in spent.items()}
    rows = [
        (
            name,
            f"{len(spent[name]):,}",
            *(f"{statistics.mean(costs[part] for costs in spent[name]):.2f}" for part in range(len(PARTS))),
            *of_all(totals[name]),
        )
        for name in populations
    ]
    table(("CPU ms a patient", "patients", *PARTS, "mean", "99 of 100 below", "at most"), rows)
    return [
        Target("in step and agreed, mean", statistics.mean(totals["in step and agreed"]), None, 5.1, " ms"),
        *targets("new", new),
        *targets("with a change", totals["with a change"]),
    ]


def targets(name: str, costs: Sequence[float]) -> list[Target]:
    return [
        Target(f"{name}, mean", statistics.mean(costs), None, 15, " ms"),
        Target(f"{name}, 99 of 100 below", ninety_nine(costs), None, 100, " ms"),
        Target(f"{name}, at most", max(costs), None, 1000, " ms"),
    ]


def of_all(costs: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{each:.2f}" for each in (statistics.mean(costs), ninety_nine(costs), max(costs)))


def ninety_nine(costs: Sequence[float]) -> float:
    """What 99 of 100 stay below."""
    return sorted(costs)[max(0, -(-len(costs) * 99 // 100) - 1)]


# ---- measured ---------------------------------------------------------------------------------------------------


def median_of_rounds(documents: Sequence[Document]) -> list[tuple[float, ...]]:
    """Milliseconds of each patient, by part."""
    rounds = [one_by_one(documents) for _ in range(given.rounds)]
    return [
        tuple(statistics.median(costs[part] for costs in of_patient) for part in range(len(PARTS)))
        for of_patient in zip(*rounds, strict=True)
    ]


def one_by_one(documents: Sequence[Document]) -> list[tuple[float, ...]]:
    return [cost_of(each) for each in documents]


def cost_of(document: Document) -> tuple[float, ...]:
    moments = [time.process_time()]

    def done() -> None:
        moments.append(time.process_time())

    asked = read_patient(document, TODAY)
    done()
    said = plan(asked, TODAY)
    done()
    told = answer(said)
    done()
    to_json(told)
    done()
    return tuple((after - before) * 1e3 for before, after in pairwise(moments))


# ---- patients ---------------------------------------------------------------------------------------------------

KINDS: Sequence[Callable[[Random], tuple[int, str, str]]] = (
    lambda rng: (30, rng.choice(("commercial", "medicaid", "part_d")), "tablet"),
    lambda rng: (90, rng.choice(("commercial", "part_d")), "tablet"),
    lambda rng: (28, rng.choice(("commercial", "medicaid")), "pack"),
)
"""Days, payer and form of all of a patient's drugs."""


def in_step(count: int) -> Iterator[Document]:
    """Patients whose drugs are filled together, who were told a rhythm and agreed to the day of the next pickup."""
    for number in range(count):
        rng = Random(f"in step {number}")
        days, payer, form = KINDS[number % len(KINDS)](rng)
        ago = rng.randint(0, days - 6)
        drugs = [
            drug(f"x{place}", days, ago, payer, pack=form == "pack") for place in range(rng.randint(2, 7))
        ]
        document = patient(f"p{number}", drugs)
        said = plan(read_patient(document, TODAY), TODAY)
        if isinstance(said, PlanComputed):
            yield document | {"told": told_of(said)}


def told_of(said: PlanComputed) -> Document:
    """What the patient was told once they agreed to this plan."""
    plan_as_json = said.model_dump(mode="json")
    items = ("rx_id", "kind", "quantity", "days_supply")
    return {
        "agreed": True,
        "anchor_on": plan_as_json["anchor_on"],
        "rhythm": plan_as_json["rhythm"],
        "visits": [
            {
                "kind": visit["kind"],
                "on": visit["on"],
                "items": [{name: item[name] for name in items} for item in visit["items"]],
            }
            for visit in plan_as_json["visits"]
        ],
    }


def with_change(document: Document, rng: Random) -> Document:
    """One more drug, or one that is taken twice as often."""
    first, *others = document["prescriptions"]
    if rng.random() < 0.5:
        days = rng.choice((30, 90))
        added, fills = drug("new", days, rng.randint(0, days - 1), first["payer"])
        return document | {
            "prescriptions": [first, *others, added],
            "fills": [*document["fills"], *fills],
        }
    twice = first | {"units_per_day": 2, "usual_days": first["usual_days"] // 2}
    return document | {"prescriptions": [twice, *others]}


parser = arguments(__doc__)
parser.add_argument(
    "--patients", type=int, default=1000, help="in each population; of each new family a quarter"
)

if __name__ == "__main__":
    given = parser.parse_args()
    run_alone(benchmark, given)
