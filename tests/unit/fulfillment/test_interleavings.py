"""Between topics there is no order: whatever arrives first, the work order ends the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.fulfillment.domain import (
    Confirmation,
    Exclusions,
    Facts,
    Patient,
    Plan,
    Store,
    WorkOrder,
    confirm,
    reconcile,
)
from tests.unit.fulfillment.given import (
    AHEAD,
    APPROVED,
    EVERY_DAY,
    NOON,
    RENEWED,
    RX,
    VISIT,
    confirmation,
    plan,
)

Arrival = Patient | Plan | Store | Confirmation | Exclusions


@dataclass
class Desk:
    """What the service keeps of one patient: the newest of each fact, and the work order."""

    facts: Facts = field(default_factory=Facts)
    order: WorkOrder | None = None
    now: datetime = AHEAD

    def take(self, arrived: Arrival) -> None:
        match arrived:
            case Confirmation():
                self.order = confirm(self.order, arrived) or self.order
            case Patient():
                left = max(
                    arrived.left_revision, self.facts.patient.left_revision if self.facts.patient else 0
                )
                self.facts = self.facts._replace(patient=replace(arrived, left_revision=left))
            case Plan():
                through = max(
                    arrived.cancelled_through, self.facts.plan.cancelled_through if self.facts.plan else 0
                )
                self.facts = self.facts._replace(plan=replace(arrived, cancelled_through=through))
            case Exclusions():
                self.facts = self.facts._replace(excluded=arrived.rx_ids)
            case Store():
                self.facts = self.facts._replace(store=arrived)
        if self.order:
            self.order = reconcile(self.order, self.facts, self.now)


some_rx = st.lists(st.sampled_from(RX), unique=True)
some_more_rx = st.lists(st.sampled_from(RX[1:]), unique=True)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Arrival]]:
    """Each with an order of its own: enrollment, plans, exclusions, outreach, stores."""
    enrollment: list[Arrival] = []
    for revision in range(1, draw(st.integers(1, 4)) + 1):
        stays = revision % 2 == 1
        died = not stays and draw(st.booleans())
        enrollment.append(Patient("patient-1", revision, stays, died, left_revision=0 if stays else revision))
    planner: list[Arrival] = []
    for revision in range(1, draw(st.integers(1, 5)) + 1):
        if planner and draw(st.integers(0, 3)) == 0:
            planner.append(Plan("patient-1", revision, cancelled_through=revision))
        else:
            known = frozenset(draw(st.lists(st.sampled_from(RX), min_size=2)))
            on_visit = draw(some_rx)
            lacking = draw(st.dictionaries(st.sampled_from(RX), st.sampled_from([RENEWED, APPROVED])))
            renewed = draw(st.lists(st.sampled_from(RX), unique=True))
            now_called = {rx: f"{rx}-renewed" if rx in renewed else rx for rx in on_visit}
            planner.append(
                plan(
                    revision,
                    *now_called.values(),
                    profile=draw(st.integers(1, 4)),
                    prescriptions=known | set(now_called.values()),
                    conditions={VISIT: {now_called[rx]: lacking[rx] for rx in on_visit if rx in lacking}},
                    renewals={VISIT: {rx: now_called[rx] for rx in on_visit if rx in renewed}},
                    urgent=frozenset({VISIT} if draw(st.booleans()) else ()),
                )
            )
    answered = sorted(draw(st.lists(st.integers(1, len(planner)), min_size=1, max_size=2)))
    outreach: list[Arrival] = [
        confirmation(
            "rx-a",
            *draw(some_more_rx),
            plan_revision=revision,
            conditional=draw(st.dictionaries(st.sampled_from(RX), st.just(RENEWED))),
        )
        for revision in answered
    ]
    exclusions: list[Arrival] = [
        Exclusions("patient-1", revision, frozenset(draw(some_rx)))
        for revision in range(1, draw(st.integers(0, 3)) + 1)
    ]
    return [enrollment, planner, exclusions, outreach, [EVERY_DAY]]


def shuffled(data: st.DataObject, topics: Sequence[Sequence[Arrival]]) -> list[Arrival]:
    """One interleaving: each topic keeps its order."""
    turns = data.draw(st.permutations([place for place, topic in enumerate(topics) for _ in topic]))
    waiting = [iter(topic) for topic in topics]
    return [next(waiting[place]) for place in turns]


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.data())
def test_the_order_of_topics_does_not_matter(data: st.DataObject) -> None:
    topics = data.draw(histories())
    one_after_the_other = [arrival for topic in topics for arrival in topic]
    now = data.draw(st.sampled_from([AHEAD, NOON]))  # before, and after, what lacks something is given up
    assert outcome(shuffled(data, topics), now) == outcome(one_after_the_other, now)


def outcome(arrivals: Iterable[Arrival], now: datetime) -> WorkOrder | None:
    """How the work order ends; what came late is as good as what came in time, while nothing is filled."""
    desk = Desk(now=now)
    for arrival in arrivals:
        desk.take(arrival)
        assert (
            desk.order is None or reconcile(desk.order, desk.facts, now) == desk.order
        )  # nothing is left to conclude
    return desk.order and desk.order.each(lambda item: replace(item, late=False))
