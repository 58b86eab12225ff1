"""How a visit stands and what it lacks."""

from __future__ import annotations

import pytest

from services.console.domain.today import arrange
from services.console.domain.visits import FillFact, Standing, missing, standing
from tests.unit.console.given import TODAY, days, visit

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
        ({"package": "ready"}, Standing.ready),
        ({"package": "ready", "on": days(-1)}, Standing.late),
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
    assert standing(visit(**facts), TODAY) is stands


@pytest.mark.parametrize(
    ("on", "facts", "words"),
    [
        (9, {}, ["To be confirmed: the call is due on Sat 10 Oct 2026."]),
        (2, {}, ["Not confirmed yet."]),
        (
            2,
            {"answer": "unreached", "attempts": 3},
            ["Nobody was reached after 3 attempts: nothing is filled."],
        ),
        (5, {"answer": "confirmed", "wanted": 3}, ["The fills are ordered on Sat 10 Oct 2026."]),
        (
            2,
            {"answer": "confirmed", "wanted": 3, "outcomes": (FILLED, REJECTED)},
            ["1 of 3 fills made.", "The payer refused 1 fill: prior authorization required (reject 75)."],
        ),
        (
            1,
            {"answer": "confirmed", "wanted": 2, "outcomes": (FILLED, SHORT)},
            ["The pharmacist's verification.", "The store has too little for 1 fill."],
        ),
        (0, {"package": "ready"}, []),
        (0, {"in_plan": False}, []),
    ],
)
def test_what_is_missing_is_said_with_its_reason(on: int, facts: dict[str, object], words: list[str]) -> None:
    assert missing(visit(on, **facts), TODAY) == words


def test_a_day_puts_each_visit_where_somebody_looks_for_it() -> None:
    day = arrange(
        [
            visit(0, visit_id="expected, ready", package="ready"),
            visit(0, visit_id="expected, not confirmed"),
            visit(0, visit_id="came", package="picked_up"),
            visit(2, visit_id="soon, not ready", answer="confirmed"),
            visit(3, visit_id="on the shelf early", package="ready"),
            visit(6, visit_id="to call"),
            visit(-2, visit_id="did not come", package="ready"),
            visit(0, visit_id="withdrawn", in_plan=False),
        ],
        TODAY,
    )
    names = {
        name: [row.visit.visit_id for row in getattr(day, name)]
        for name in ("expected", "waiting", "late", "lacking", "to_call")
    }
    assert names == {
        "expected": ["expected, not confirmed", "expected, ready", "came"],
        "waiting": ["expected, ready", "on the shelf early"],
        "late": ["did not come"],
        "lacking": ["expected, not confirmed", "soon, not ready"],
        "to_call": ["expected, not confirmed", "to call"],
    }
    assert day.picked_up == 1
