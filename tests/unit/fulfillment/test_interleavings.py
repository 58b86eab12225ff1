"""Between topics there is no order: whatever arrives first, the work order ends the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.fulfillment.domain import (
    Confirmation,
    Facts,
    Patient,
    Plan,
    Store,
    WorkOrder,
    confirm,
    reconcile,
)
from tests.unit.fulfillment.given import EVERY_DAY, RX, confirmation, plan

Arrival = Patient | Plan | Store | Confirmation


@dataclass
class Desk:
    """What the service keeps of one patient: the newest of each fact, and the work order."""

    facts: Facts = field(default_factory=Facts)
    order: WorkOrder | None = None

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
            case Store():
                self.facts = self.facts._replace(store=arrived)
        if self.order:
            self.order = reconcile(self.order, self.facts)


some_rx = st.lists(st.sampled_from(RX), unique=True)
some_more_rx = st.lists(st.sampled_from(RX[1:]), unique=True)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Arrival]]:
    """Four topics, each with an order of its own: enrollment, planner, outreach, stores."""
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
            planner.append(
                plan(revision, *draw(some_rx), profile=draw(st.integers(1, 4)), prescriptions=known)
            )
    answered = sorted(draw(st.lists(st.integers(1, len(planner)), min_size=1, max_size=2)))
    outreach: list[Arrival] = [
        confirmation("rx-a", *draw(some_more_rx), plan_revision=revision) for revision in answered
    ]
    return [enrollment, planner, outreach, [EVERY_DAY]]


def shuffled(data: st.DataObject, topics: Sequence[Sequence[Arrival]]) -> list[Arrival]:
    """One interleaving: each topic keeps its order."""
    turns = data.draw(st.permutations([place for place, topic in enumerate(topics) for _ in topic]))
    waiting = [iter(topic) for topic in topics]
    return [next(waiting[place]) for place in turns]


@settings(max_examples=500)
@given(st.data())
def test_the_order_of_topics_does_not_matter(data: st.DataObject) -> None:
    topics = data.draw(histories())
    one_after_the_other = [arrival for topic in topics for arrival in topic]
    assert outcome(shuffled(data, topics)) == outcome(one_after_the_other)


def outcome(arrivals: Iterable[Arrival]) -> WorkOrder | None:
    desk = Desk()
    for arrival in arrivals:
        desk.take(arrival)
        assert (
            desk.order is None or reconcile(desk.order, desk.facts) == desk.order
        )  # nothing is left to conclude
    return desk.order
