"""The table at the end of the demo: trips of a year, and the cycles in which the patient came once."""

from __future__ import annotations

from datetime import date, timedelta

from cli.demo.outcome import Outcome, count
from cli.demo.recorder import Recorder
from shared.events.planner import RhythmSaid, VisitKind
from tests.unit.console.given import plan

FIRST = date(2009, 10, 1)


def came(recorder: Recorder, day: int, kind: VisitKind, patient_id: str = "p1") -> None:
    visit_id = f"{patient_id} {day} {kind}"
    recorder.visit_kinds[visit_id] = kind
    recorder.picked_up.append((patient_id, visit_id, FIRST + timedelta(days=day), frozenset({"rx"})))


def counted(recorder: Recorder) -> Outcome:
    outcome = Outcome(100)
    count(outcome, recorder, [], FIRST + timedelta(days=100))
    return outcome


def test_a_cycle_ends_with_a_synchronized_pickup_and_counts_the_days_since_the_one_before() -> None:
    recorder = Recorder("")
    came(recorder, 2, VisitKind.bridge)
    came(recorder, 10, VisitKind.synchronized)
    came(recorder, 40, VisitKind.synchronized)
    came(recorder, 40, VisitKind.ride_along)  # the same day: one trip
    came(recorder, 55, VisitKind.ride_along)
    came(recorder, 70, VisitKind.synchronized)
    came(recorder, 80, VisitKind.bridge)  # of a cycle that is not over
    came(recorder, 30, VisitKind.synchronized, "p2")
    outcome = counted(recorder)
    assert (outcome.cycles, outcome.cycles_with_one_pickup) == (2, 1)
    assert outcome.pickups == 7


def test_the_year_is_that_of_the_newest_plans_that_know_the_one_before() -> None:
    recorder = Recorder("")
    known = RhythmSaid(cycle_days=30, trips_a_year=13, trips_before=25)
    unknown = RhythmSaid(cycle_days=90, trips_a_year=4)
    for number, rhythm in enumerate((known, known, unknown, None)):
        recorder.plans[f"p{number}"] = plan((2, [])).model_copy(update={"rhythm": rhythm})
    outcome = counted(recorder)
    assert (outcome.plans_of_a_year, outcome.trips_before, outcome.trips_ahead) == (2, 50, 26)


def test_pickups_of_a_year_are_those_of_the_days_that_were_lived_through() -> None:
    outcome = Outcome(73, patient_days=730)
    assert (outcome.a_year(26), Outcome(1).a_year(3)) == (13.0, 0.0)
