"""The worked examples of the planner's question (docs/explanation/planning.md), which the judge must meet exactly.

Today is Wed June 10, 2026, lead four days, the store always open. Nothing here asks the planner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction

import pytest

from tests.oracle.burden import per_year
from tests.oracle.compare import Answer, compare
from tests.oracle.exact import best
from tests.oracle.question import Medication, Question, filled

TODAY = date(2026, 6, 10)
COMMERCIAL = frozenset([*range(1, 31), 60, *range(84, 91)])
NINETY = frozenset(range(84, 91))


@dataclass(frozen=True)
class Example:
    """One row of the table: what is to be had, and visits that have it."""

    name: str
    medications: tuple[Medication, ...]
    cycle: int
    least: Fraction
    visits: str  # "Jun 15: A 30, B 30; …"
    today: date = TODAY

    def question(self) -> Question:
        return Question(self.medications, cycles=(self.cycle,))

    def laid_out(self) -> list[tuple[int, list[tuple[str, int]]]]:
        """The visits as days from today with their fills."""
        return [self._visit(*visit.split(": ")) for visit in self.visits.split("; ")]

    def _visit(self, day: str, items: str) -> tuple[int, list[tuple[str, int]]]:
        on = datetime.strptime(f"{day} {self.today.year}", "%b %d %Y").date()
        fills = [item.split() for item in items.split(", ")]
        return (on - self.today).days, [(rx_id, int(days)) for rx_id, days in fills]


def drugs(
    usual: int, agos: Sequence[int], percent: int = 75, sizes: frozenset[int] | None = None
) -> tuple[Medication, ...]:
    """A, B, C … of one usual fill, filled so many days ago."""
    return tuple(
        filled(name, usual, ago, percent, sizes=sizes) for name, ago in zip("ABC", agos, strict=False)
    )


def pack(name: str, ago: int, percent: int = 75) -> Medication:
    return filled(name, 28, ago, percent, whole=True)


EXAMPLES = [
    Example("E1", drugs(30, (25, 11)), 30, Fraction(79, 6), "Jun 15: A 30; Jun 22: B 30; Jul 15: A 30, B 30"),
    Example("E2", drugs(30, (25, 11), 85), 30, Fraction(27, 2), "Jun 15: A 10; Jun 25: A 30, B 30"),
    Example("E3", drugs(30, (25, 11), 100), 30, Fraction(27, 2), "Jun 15: A 14; Jun 29: A 30, B 30"),
    Example("E4", drugs(60, (50, 20)), 60, Fraction(85, 12), "Jun 20: A 60; Jul 5: B 60; Aug 19: A 60, B 60"),
    Example(
        "E4 on June 21",
        drugs(60, (1, 31)),
        60,
        Fraction(85, 12),
        "Jul 5: B 60; Aug 19: A 60, B 60",
        date(2026, 6, 21),
    ),
    Example(
        "E5",
        drugs(90, (80, 50, 20), sizes=COMMERCIAL),
        90,
        Fraction(115, 18),
        "Jun 14: A 90; Jul 6: B 90; Aug 19: C 24; Sep 12: A 90, B 90, C 90",
    ),
    Example(
        "E6",
        drugs(90, (77, 51), sizes=NINETY),
        90,
        Fraction(91, 18),
        "Jun 14: A 90; Jul 6: B 90; Sep 12: A 90, B 90",
    ),
    Example(
        "E7",
        (pack("P", 23), *drugs(30, (21, 13))),
        28,
        Fraction(393, 28),
        "Jun 15: P 28, A 30; Jun 20: B 30; Jul 13: P 28, A 30, B 30",
    ),
    Example(
        "E8",
        (pack("P", 20), pack("Q", 6)),
        28,
        Fraction(393, 28),
        "Jun 18: P 28; Jun 25: Q 28; Jul 16: P 28, Q 28",
    ),
    Example("E10", drugs(30, (29, 9)), 30, Fraction(27, 2), "Jun 11: A 13; Jun 24: A 30, B 30"),
    Example(
        "E11",
        drugs(90, (60, 60, 3)),
        90,
        Fraction(91, 18),
        "Jun 18: A 90, B 90; Aug 25: A 90, B 90, C 90",
    ),
    Example("E14", drugs(30, (1, 1, 1)), 30, Fraction(73, 6), "Jul 6: A 30, B 30, C 30"),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_the_least_burden_is_met_exactly_and_the_visits_shown_have_it(example: Example) -> None:
    answer = Answer(0, example.least, example.cycle, example.laid_out())
    verdict = compare(example.question(), answer)
    assert (verdict.best.avoidable, verdict.best.burden) == (0, example.least)
    assert verdict.is_optimal, verdict.faults


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_the_best_plan_that_is_found_can_be_made_and_comes_to_what_it_says(example: Example) -> None:
    found = best(example.question())
    verdict = compare(example.question(), Answer(found.avoidable, found.burden, found.cycle, found.visits()))
    assert verdict.is_optimal, verdict.faults


def test_surplus_makes_the_eleventh_wait_for_the_new_drug() -> None:
    question = Question(drugs(90, (60, 60, 3)), cycles=(90,))
    surplus = [(8, (("A", 90), ("B", 90))), (76, (("A", 90), ("B", 90), ("C", 90)))]
    weighed = replace(question, v=Fraction(1, 9))
    assert best(question).burden == Fraction(91, 18)
    optimum = best(weighed)
    assert optimum.burden == Fraction(97, 18)
    assert not compare(weighed, Answer(0, Fraction(97, 18), 90, surplus), optimum).is_optimal


def test_a_cushion_leaves_the_fourteenth_nothing_to_weigh() -> None:
    question = Question(drugs(30, (1, 1, 1)), cycles=(30,), v=Fraction(1, 9))
    visits = [((date(2026, 7, 6) - TODAY).days, (("A", 30), ("B", 30), ("C", 30)))]
    assert compare(question, Answer(0, Fraction(73, 6), 30, visits)).is_optimal


def test_a_new_pack_makes_another_cycle_save_eleven_trips_a_year() -> None:
    """E15: two drugs agreed on 30 days in step, a pack of 28 days beside them."""
    question = Question((*drugs(30, (16, 16)), pack("P", 3)))
    kept, proposed = (best(replace(question, cycles=(cycle,))) for cycle in (30, 28))
    assert kept.burden == Fraction(365, 30) + Fraction(365, 28)
    assert proposed.burden == Fraction(393, 28)
    assert round(kept.burden - proposed.burden) == 11
    assert best(question).cycle == 28


def test_of_two_that_fit_no_cycle_together_one_comes_by_itself() -> None:
    """E16: paid only when all is used, every 28 and every 30 days."""
    question = Question((pack("P", 10, 100), *drugs(30, (10,), 100)))
    found = best(question)
    assert found.burden == Fraction(365, 28) + Fraction(365, 30)
    assert [course.joins is None for course in found.courses].count(True) == 1


@pytest.mark.parametrize(
    ("cycle", "joined", "rate"),
    [
        (30, [(0, 1), (1, 1)], Fraction(365, 30)),
        (30, [(0, 3), (3, 3)], Fraction(365, 90)),
        (30, [(0, 3), (1, 3)], Fraction(2 * 365, 90)),
        (30, [(0, 2), (1, 3)], Fraction(4 * 365, 180)),
    ],
)
def test_trips_a_year_are_the_slots_at_which_a_drug_is_due(
    cycle: int, joined: list[tuple[int, int]], rate: Fraction
) -> None:
    assert per_year(cycle, joined, ()) == rate


def test_an_answer_is_not_believed() -> None:
    question = Question(drugs(30, (25, 11)), cycles=(30,))
    two_trips = [(5, (("A", 14),)), (19, (("A", 30), ("B", 30)))]
    better = compare(question, Answer(0, Fraction(79, 6), 30, two_trips))
    assert better.burden == Fraction(27, 2) and "come to 0 and 27/2" in better.faults[0]
    too_soon = compare(question, Answer(0, Fraction(73, 6), 30, [(5, (("A", 30), ("B", 30)))]))
    assert too_soon.faults[0] == "B on day 5: paid from day 12 on"
