"""How a batch moves the positions, what is a gap, and when partitions are nobody's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from shared.messaging.envelope import Record
from shared.messaging.lag import Survey
from shared.messaging.positions import Span, gaps_of, moves
from shared.messaging.tables import Move, Topic
from shared.messaging.watch import UNASSIGNED_SECONDS, Unassigned

WEEK = 7 * 86_400_000
TOPIC = Topic("t", 2, UUID(int=1), "cluster", "delete", WEEK)
STARTS, ENDS = {("t", 0): 10, ("t", 1): 10}, {("t", 0): 20, ("t", 1): 20}


def at(partition: int, offset: int) -> Record:
    return Record("t", partition, offset, None, (), None)


def test_each_transaction_moves_over_what_it_settles_and_the_last_over_what_is_shown_to_nobody() -> None:
    """Offsets 0, 3 and 6 are markers of transactions."""
    records = [at(0, 1), at(0, 2), at(0, 4), at(1, 7)]
    spans = {("t", 0): Span(0, 5), ("t", 1): Span(6, 9), ("t", 2): Span(3, 4)}
    assert moves(records[:1], records[1], spans) == [Move("t", 0, 0, 2)]
    assert moves(records[:3], records[3], spans) == [Move("t", 0, 0, 5)]
    assert moves(records, None, spans) == [
        Move("t", 0, 0, 5),
        Move("t", 1, 6, 9),
        Move("t", 2, 3, 4),
    ]
    assert moves(records, None, {}) == []  # nobody keeps a position


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, []),
        ({"retention_ms": 2 * WEEK}, []),
        ({"retention_ms": -1}, []),
        ({"cluster_id": "other", "topic_id": UUID(int=2)}, ["cluster_replaced"]),
        ({"topic_id": UUID(int=2), "partitions": 3}, ["topic_replaced"]),
        ({"partitions": 3}, ["partitions_changed"]),
        ({"cleanup": "compact"}, ["cleanup_changed"]),
        ({"retention_ms": WEEK - 1}, ["retention_shortened"]),
    ],
)
def test_a_topic_that_is_not_what_it_was_is_a_gap(seen: dict[str, Any], why: list[str]) -> None:
    survey = Survey({"t": replace(TOPIC, **seen)}, STARTS, ENDS)
    stood = {("t", 0): 10, ("t", 1): 20}
    assert [gap.why for gap in gaps_of(TOPIC, survey, stood, stood)] == why


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (9, 9, "records_gone"),
        (21, 21, "topic_went_back"),
        (9, 10, None),  # it went on while the broker forgot what it had read
        (20, 25, None),  # it went on after the broker was asked
    ],
)
def test_a_position_outside_the_log_is_a_gap(before: int, after: int, why: str | None) -> None:
    survey = Survey({"t": TOPIC}, STARTS, ENDS)
    found = gaps_of(TOPIC, survey, {("t", 0): before}, {("t", 0): after})
    assert [(gap.partition, gap.why) for gap in found] == ([(0, why)] if why else [])


def test_nothing_is_held_against_a_partition_that_nobody_leads() -> None:
    assert gaps_of(TOPIC, Survey({"t": TOPIC}, {}, {}), {("t", 0): 99}, {("t", 0): 99}) == []


def test_partitions_that_nobody_holds_are_said_when_it_lasts_and_end_the_process_when_events_pile_up() -> (
    None
):
    unassigned, later = Unassigned(), UNASSIGNED_SECONDS + 1
    unassigned.look(2, 5, 0.0)
    assert not unassigned.lasts(UNASSIGNED_SECONDS)
    assert unassigned.lasts(later)
    assert not unassigned.is_stuck(61.0, 60.0)  # nothing came meanwhile
    unassigned.look(2, 6, 50.0)
    assert unassigned.is_stuck(61.0, 60.0)
    unassigned.look(2, 3, 61.0)  # somebody takes events in
    assert not unassigned.is_stuck(100.0, 60.0)
    unassigned.look(0, 9, 101.0)
    assert not unassigned.lasts(500.0)
