"""How a visit stands and what it lacks."""

from __future__ import annotations

import pytest

from services.console.domain.today import Group, Part, arrange
from services.console.domain.visits import ConditionalFill, FillFact, Standing, missing, standing
from shared.events.base import Reason
from tests.unit.console.given import TODAY, days, visit

CONDITIONAL = ConditionalFill(rx_id="b", kind="renewal", by="prescriber", needed_by=days(1))
NOT_MET = Reason(code="condition_not_met", params=CONDITIONAL.model_dump(mode="json", exclude={"rx_id"}))
CONFIRMED = {"answer": "confirmed", "wanted": 2, "conditional_rx_ids": ("b",), "settled_rx_ids": ("a",)}
FILLED, REJECTED, SHORT = FillFact("a", "filled"), FillFact("b", "rejected", "75"), FillFact("c", "short")


@pytest.mark.parametrize(
    ("facts", "stands"),
    [
        ({"agreed": False}, Standing.proposed),
        ({}, Standing.to_confirm),
        ({"answer": "moved", "answer_revision": 2}, Standing.moving),
        ({"answer": "moved", "answer_revision": 1}, Standing.to_confirm),  # the planner has answered since
        ({"answer": "declined"}, Standing.declined),
        ({"answer": "unreached"}, Standing.unreached),
        ({"answer": "confirmed", "wanted": 3}, Standing.confirmed),
        ({"answer": "confirmed", "wanted": 3, "outcomes": (FILLED,)}, Standing.filling),
        ({"answer": "confirmed", "wanted": 3, "outcomes": (FILLED, REJECTED, SHORT)}, Standing.to_verify),
        ({**CONFIRMED, "outcomes": (FILLED,)}, Standing.to_verify),  # the other's condition is not met
        ({**CONFIRMED, "settled_rx_ids": ("a", "b"), "outcomes": (FILLED,)}, Standing.filling),
        ({"package": "ready"}, Standing.ready),
        ({"package": "ready", "on": days(-1)}, Standing.late),
        ({"package": "to_verify"}, Standing.to_verify),  # again: it was ready
        ({"package": "to_verify", "in_plan": False}, Standing.to_verify),
        ({"package": "picked_up"}, Standing.picked_up),
        ({"package": "returned"}, Standing.returned),
        ({"in_plan": False}, Standing.withdrawn),
        ({"in_plan": False, "answer": "confirmed", "wanted": 3}, Standing.withdrawn),
        ({"in_plan": False, "answer": "confirmed", "wanted": 3, "outcomes": (FILLED,)}, Standing.filling),
        ({"in_plan": False, "package": "ready"}, Standing.ready),  # what is ready stays collectable
        ({"enrolled": False}, Standing.withdrawn),
        ({"enrolled": False, "package": "ready"}, Standing.ready),
    ],
)
def test_a_visit_stands_where_the_facts_of_three_services_put_it(
    facts: dict[str, object], stands: Standing
) -> None:
    assert standing(visit(**facts).facts, TODAY) is stands


@pytest.mark.parametrize(
    ("on", "facts", "words"),
    [
        (9, {}, ["Not confirmed yet: the call is due on Sat 10/10."]),
        (2, {}, ["Not confirmed yet."]),
        (
            2,
            {"answer": "unreached", "attempts": 3},
            ["Not reached after 3 attempts: nothing is filled."],
        ),
        (
            0,
            {"answer": "unreached", "attempts": 0, "urgent": True},
            ["No call could be made in time: nothing is filled."],
        ),
        (5, {"answer": "confirmed", "wanted": 3}, ["Fills are ordered on Sat 10/10."]),
        (
            2,
            {"answer": "confirmed", "wanted": 3, "outcomes": (FILLED, REJECTED)},
            ["1 of 3 fills done.", "Insurance rejected 1 fill: prior authorization required (reject 75)."],
        ),
        (
            1,
            {"answer": "confirmed", "wanted": 2, "outcomes": (FILLED, SHORT)},
            ["Pharmacist verification.", "Not enough stock for 1 fill."],
        ),
        (
            5,
            {**CONFIRMED, "conditions": (CONDITIONAL,)},
            [
                "Fills are ordered on Sat 10/10.",
                "1 fill only if the prescriber renews it by Fri 10/9.",
            ],
        ),
        (5, {**CONFIRMED, "urgent": True}, ["Nothing is filled yet."]),
        (5, {"urgent": True}, ["Not confirmed yet. Call today: a drug cannot wait."]),
        (2, {"conditions": (CONDITIONAL,), "declined_rx_ids": ("b",)}, ["Not confirmed yet."]),
        (0, {"package": "ready"}, []),
        (
            0,
            {"package": "to_verify", "not_filled": (NOT_MET,)},
            ["Pharmacist verification.", "Not filled: the prescriber did not renew it by Fri 10/9."],
        ),
        (
            0,
            {"package": "picked_up", "not_filled": (NOT_MET,)},
            ["Not filled: the prescriber did not renew it by Fri 10/9."],
        ),
        (0, {"in_plan": False}, []),
    ],
)
def test_what_is_missing_is_said_with_its_reason(on: int, facts: dict[str, object], words: list[str]) -> None:
    assert missing(visit(on, **facts), TODAY) == words


def test_a_day_puts_each_visit_where_somebody_looks_for_it() -> None:
    day = arrange(
        [
            group(0, "expected, ready", package="ready"),
            group(0, "expected, not confirmed"),
            group(0, "came", package="picked_up"),
            group(2, "soon, not ready", answer="confirmed"),
            group(3, "in will-call early", package="ready"),
            group(6, "to call"),
            group(-2, "not picked up", package="ready"),
            group(0, "withdrawn", in_plan=False),
        ],
        TODAY,
    )
    assert {part: day.ids(part, 10) for part in Part if day.count(part)} == {
        Part.expected: ["expected, not confirmed", "expected, ready", "came"],
        Part.waiting: ["expected, ready", "in will-call early"],
        Part.late: ["not picked up"],
        Part.lacking: ["expected, not confirmed", "soon, not ready"],
        Part.to_call: ["expected, not confirmed", "to call"],
    }
    assert day.picked_up == 1


def test_a_list_counts_all_its_visits_and_goes_by_day_and_patient_from_page_to_page() -> None:
    today, tomorrow = group(0, "b", "d", count=9), group(1, "a", "c")
    unreached = group(0, "e", answer="unreached")
    day = arrange([tomorrow, today, unreached], TODAY)
    assert (day.count(Part.lacking), day.count(Part.expected)) == (12, 10)
    assert [day.ids(Part.lacking, 2, skip) for skip in (0, 2, 4)] == [["b", "d"], ["e", "a"], ["c"]]
    assert day.ids(Part.expected, 2) == ["e", "b"], "what wants attention comes first"


def group(on: int, *patients: str, count: int = 0, **facts: object) -> Group:
    """Visits of one kind, each named like its patient."""
    first = tuple((each, each) for each in patients)
    return Group(visit(on, **facts).facts, count or len(first), first)
