"""The table at the end of the demo: trips of a year, and the cycles in which the patient came once."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from cli.demo.history import Supply
from cli.demo.outcome import Outcome, count
from cli.demo.recorder import Recorder
from shared.events.planner import FillKind, Participation, RhythmSaid, VisitKind
from tests.unit.console.given import TODAY, plan

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


def test_the_year_before_enrollment_stands_beside_that_of_the_newest_plan_where_both_are_known() -> None:
    recorder = Recorder("")
    year = RhythmSaid(cycle_days=30, trips_a_year=13)
    for patient_id, rhythm in (("known", year), ("short history", year), ("no rhythm", None)):
        recorder.plans[patient_id] = plan((2, [("rx", FillKind.full, 30)])).model_copy(
            update={"rhythm": rhythm}
        )
        recorder.enrolled_on[patient_id] = FIRST
        oldest = 100 if patient_id == "short history" else 300
        recorder.on_file[patient_id] = tuple(
            Supply(f"f{ago}", "rx", FIRST - timedelta(days=ago), 30) for ago in (oldest, 50, 20)
        )
    outcome = Outcome(100)
    patients = [enrolled(patient_id) for patient_id in recorder.plans]
    histories = count(outcome, recorder, patients, FIRST + timedelta(days=40))
    assert (outcome.plans_of_a_year, outcome.trips_before, outcome.trips_ahead) == (1, 3, 13)
    assert (outcome.pickups_before, outcome.patient_days, outcome.patient_days_before) == (3, 120, 120)
    assert len(histories) == 3


def enrolled(patient_id: str) -> dict[str, Any]:
    drug = {"rx_id": "rx", "usual_days": 30, "drug": {"ingredient": "lisinopril"}}
    return {"patient_id": patient_id, "profile": {"prescriptions": [drug], "fills": []}}


def test_first_plans_are_compared_with_the_latest_due_rule_over_the_drugs_that_may_be_short_filled() -> None:
    recorder = Recorder("")
    first = plan((9, [("a", FillKind.bridge, 9), ("b", FillKind.full, 30), ("c", FillKind.full, 30)]))
    due = {"a": TODAY, "b": TODAY + timedelta(days=9), "c": TODAY + timedelta(days=40)}
    taking_part = {"c": Participation.ride_along}  # a pack: it is never short-filled
    drugs = [
        drug.model_copy(
            update={
                "run_out_on": due[drug.rx_id],
                "participation": taking_part.get(drug.rx_id, Participation.sync),
            }
        )
        for drug in first.drugs
    ]
    recorder.first_plans["p1"] = first.model_copy(update={"drugs": tuple(drugs), "short_fills": 1})
    prescriptions = [{"rx_id": rx_id, "usual_days": 30, "drug": {"ingredient": rx_id}} for rx_id in due]
    recorder.enrolled_on["p1"] = TODAY
    outcome = Outcome(100)
    count(
        outcome,
        recorder,
        [{"patient_id": "p1", "profile": {"prescriptions": prescriptions, "fills": []}}],
        TODAY,
    )
    assert (outcome.short_fills_first, outcome.short_fills_latest_due) == (1, 1)
