"""Cause before effect, bursts folded, and what happens next."""

from __future__ import annotations

import pytest

from services.console.domain.ahead import Renewal, steps_ahead
from services.console.domain.lines import BURST, fold, fold_arrived
from services.console.domain.month import weeks_of
from services.console.domain.story import chains_of
from tests.unit.console.given import TODAY, days, line, visit


def told(*lines: object) -> list[list[tuple[int, int]]]:
    """Per chain: how deep, and which event."""
    return [[(depth, each.number) for depth, each in chain.links] for chain in chains_of(lines)]  # type: ignore[arg-type]


def test_effects_stand_below_their_causes_in_whatever_order_they_arrived() -> None:
    first = line(5, cause="command:1")
    assert told(line(9, cause=7), line(7, cause=5), line(8, cause=5), first) == [
        [(0, 5), (1, 7), (2, 9), (1, 8)]
    ]


def test_chains_are_in_order_of_business_time_then_of_ids() -> None:
    assert told(line(3, minutes=5), line(2, cause="due:x"), line(1)) == [[(0, 1)], [(0, 2)], [(0, 3)]]


def test_chains_that_began_at_one_instant_in_one_way_are_told_as_one() -> None:
    assert told(line(1), line(2), line(3, cause=1)) == [[(0, 1), (1, 3), (0, 2)]]


def test_no_event_is_lost_where_causes_go_in_a_circle() -> None:
    assert sorted(told(line(1, cause=2), line(2, cause=1), line(3, cause=3))) == [
        [(0, 1)],
        [(0, 2)],
        [(0, 3)],
    ]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("command:x", "Staff, through the planner"),
        ("due:due_plans", "It was due"),
        ("redrive:ada", "A dead letter was redriven by ada"),
        ("00000000-0000-0000-0000-0000000000ff", "It followed from an event elsewhere"),
        (None, "No cause on record"),
    ],
)
def test_what_began_a_chain_is_said_in_words(cause: str | None, words: str) -> None:
    (chain,) = chains_of([line(1, cause=cause)])
    assert chain.because == words


def test_runs_of_one_kind_are_folded_and_count_what_they_hold() -> None:
    lines = [line(1, "a"), *(line(n, "b") for n in range(2, 7)), line(7, "a"), line(8, "a"), line(9, "a")]
    folds = fold(lines)
    assert [(each.sample.kind, each.count) for each in folds] == [
        ("a", 1),
        ("b", 5),
        ("a", 1),
        ("a", 1),
        ("a", 1),
    ]
    assert folds[1].span == (2, 6)


def test_a_burst_is_gathered_by_kind_and_nothing_of_it_is_lost() -> None:
    lines = [line(n, "ab"[n % 2]) for n in range(BURST * 2)]
    folds = fold_arrived(lines)
    assert [(each.sample.kind, each.count) for each in folds] == [("a", BURST), ("b", BURST)]
    assert sum(each.count for each in fold_arrived(lines[:9])) == 9


def test_what_happens_next_follows_each_visit_on_its_way() -> None:
    steps = steps_ahead(
        [
            visit(9),
            visit(2, visit_id="v2", answer="confirmed", wanted=2),
            visit(-1, package="ready", return_on=days(6)),
        ],
        [Renewal("lisinopril", days(4), 1, None), Renewal("metformin", days(4), 1, "approved")],
        "agreed",
        TODAY,
        days(39),
    )
    assert [((step.on - TODAY).days if step.on else None, step.short) for step in steps] == [
        (None, "missed"),
        (0, "fill"),
        (2, "call"),
        (2, "pickup"),
        (4, "renewal"),
        (6, "fill"),
        (6, "goes back"),
        (9, "pickup"),
        (39, "next cycle"),
    ]


def test_a_step_is_on_the_day_that_the_plan_gives() -> None:
    steps = steps_ahead(
        [visit(9)], [], "agreed", TODAY, None, {("v1", "call"): days(1), ("v1", "fill"): days(5)}
    )
    assert [((step.on - TODAY).days, step.short) for step in steps if step.on] == [
        (1, "call"),
        (5, "fill"),
        (9, "pickup"),
    ]


def test_a_calendar_shows_whole_weeks_from_today_to_the_last_step() -> None:
    visits = [visit(9)]
    steps = steps_ahead(visits, [], "agreed", TODAY, days(39))
    weeks = weeks_of(
        visits, steps, TODAY, {days(3): ["aspirin"]}, open_weekdays=range(5), closed_on=[days(1)]
    )
    assert [week[0].on for week in weeks] == [days(-3 + 7 * n) for n in range(7)]
    cells = {cell.on: cell for week in weeks for cell in week}
    assert cells[TODAY].today
    assert [each.visit_id for each, _ in cells[days(9)].visits] == ["v1"]
    assert [cells[day].closed for day in (days(0), days(1), days(2))] == [False, True, True]
    assert [step.short for step in cells[days(2)].steps] == ["call"]
    assert [day for day, cell in cells.items() if cell.out] == [days(3)]
