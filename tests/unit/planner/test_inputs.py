"""What a plan is asked for with: read strictly, refused in words that name the field and nobody."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest

from services.planner import publishing
from services.planner.domain import model
from services.planner.domain.calendar import Calendar
from services.planner.domain.plan import plan_cycle
from services.planner.faults import BadInput
from services.planner.inputs import PatientInput, plan, read_patient
from services.planner.rules import RULES
from services.planner.what_if import changed, document_of, read_changed
from shared.directions import Basis, Directions, Refusal
from shared.events.planner import PlanComputed
from tests.unit.planner.cases import EVERY_DAY, TODAY, in_days, random_patient, taking

DOCS = Path(__file__).parents[3] / "docs"
SECRET = "Metformin of Jane Doe"
RULING = {"by": "pharmacist", "why": SECRET, "made_on": "2026-03-01"}


READERS_WORDS = re.compile(
    r"[Ii]nput|(?<!not a )valid|tuple|in total|string|pattern|instance|\^|cannot be read"
)
DAY = {**RULING, "kind": "day", "on": "2026-03-20"}
UNITS = {**RULING, "kind": "quantity", "rx_id": "rx-a"}
LATER = "2027-03-01"  # than the day of planning
USUAL_QUANTITY = "prescriptions.0.usual_quantity"
REPORTED_ON, REJECTED_ON = "stock_reports.0.reported_on", "rejections.0.rejected_on"
BACKWARDS = {"begins_on": "2026-03-20", "ends_on": "2026-03-10"}


def document(**changes: Any) -> dict[str, Any]:
    """Two drugs that run out in 8 and 16 days."""
    held = document_of(taking({"a": 8, "b": 16}), model.NO_COMMITMENTS, EVERY_DAY, 1)
    return {**held, **changes}


def faults(said: object) -> list[tuple[str, str, str]]:
    with pytest.raises(BadInput) as caught:
        read_patient(said, TODAY)
    return [(fault.field, fault.value, fault.problem) for fault in caught.value.faults]


def prescription_with(**facts: Any) -> list[dict[str, Any]]:
    first, *rest = document()["prescriptions"]
    return [{**first, **facts}, *rest]


def fill_with(**facts: Any) -> list[dict[str, Any]]:
    first, *rest = document()["fills"]
    return [{**first, **facts}, *rest]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_a_patient_written_down_and_read_back_is_planned_the_same(seed: int) -> None:
    profile = random_patient(Random(seed))
    written = json.loads(json.dumps(document_of(profile, model.NO_COMMITMENTS, EVERY_DAY, 1)))
    outcome = plan_cycle(profile, EVERY_DAY, RULES, TODAY, model.NO_COMMITMENTS, 1)
    assert isinstance(outcome, model.Plan)
    expected = publishing.event_of(publishing.payload_of(outcome, "patient-1", "store-1", 0, 0))
    assert plan(read_patient(written), TODAY) == expected


def test_everything_that_the_rules_know_can_be_given() -> None:
    told = model.Commitments(
        agreed=True,
        anchor_on=in_days(16),
        visits=(
            model.PromisedVisit(
                model.VisitKind.synchronized,
                in_days(16),
                (model.PromisedItem("rx-a", model.FillKind.full, Decimal(30), 30, "rx-a1"),),
                confirmed=True,
            ),
        ),
        declined_until={"rx-b": in_days(9)},
        wanted_on=in_days(20),
        instead_of=in_days(16),
        not_before=in_days(10),
        next_anchor_on=in_days(35),
        rhythm=model.PromisedRhythm(30, 15, {"rx-a": in_days(16)}, 12, 13),
    )
    calendar = Calendar(
        frozenset({0, 1}), frozenset({in_days(9)}), {in_days(8): 3}, "OK", 40, frozenset({1}), 2
    )
    full = model.Prescription(
        rx_id="rx-b",
        drug=model.Drug(
            name="b",
            ingredient="b",
            strength="5 mg",
            form="capsule",
            schedule="c4",
            maintenance=False,
            unbreakable=True,
            antibiotic=True,
            critical=True,
            over_the_counter=True,
            rems=True,
            special_handling=True,
            doses_per_unit=Decimal(100),
            doses_basis="manufacturer",
            priming_doses=Decimal(2),
            container_quantity=Decimal(3),
            in_use_days=28,
            pack_quantity=Decimal(15),
            lead_days=2,
        ),
        usual_quantity=Decimal("7.5"),
        usual_days=15,
        quantity_left=Decimal(45),
        written_on=in_days(-9),
        expires_on=in_days(99),
        units_per_day=Decimal("0.5"),
        status="on_hold",
        directions="half a day",
        directions_read=Directions(
            "0c9b1f7a5d3e2846",
            True,
            Refusal.by_weight,
            Fraction(3, 2),
            Fraction(1),
            "tablet",
            Basis.as_needed,
            7,
        ),
        as_needed=True,
        prescriber_id="dr-2",
        payer="part_d",
        monthly_copay=Decimal("10.00"),
        month_price=Decimal("80.00"),
        negotiated_price=Decimal("70.00"),
        fair_price=Decimal("60.00"),
        renews="rx-a",
        refills_left=3,
        prior_authorization_until=in_days(60),
        fill_from=in_days(2),
        second_payer="medicaid",
        coupon="a card",
    )
    elsewhere = model.Fill("rx-a", in_days(-9), in_days(-9), 30, Decimal(30), 28, elsewhere=True)
    profile = model.Profile(
        patient_id="patient-1",
        store_id="store-1",
        prescriptions=(*taking({"a": 8}).prescriptions, full),
        fills=(*taking({"a": 8}).fills, elsewhere),
        stock_reports=(model.StockReport("rx-b", in_days(-1), 4),),
        rejections=(model.Rejection("rx-b", "79", in_days(-1), in_days(9)),),
        rulings=(
            model.StaffDecision(model.StaffDecisionKind.day, "pharmacist", "x", in_days(-1), on=in_days(9)),
            model.StaffDecision(
                model.StaffDecisionKind.quantity,
                "pharmacist",
                "x",
                in_days(-1),
                "rx-b",
                quantity=Decimal(9),
                cycle=3,
            ),
        ),
        cycle_policy="day_of_month",
        must_weekdays=frozenset({1, 2}),
        preferred_weekday=2,
        day_of_month=5,
        payday=3,
        paydays=(in_days(20),),
        ride_weekdays=frozenset({1}),
        rides=(in_days(9),),
        delivered=True,
        packaged=True,
        household_on=(in_days(16),),
        household_must=True,
        away=(model.Span(in_days(30), in_days(40)),),
        stays=(model.Span(in_days(-9), in_days(-5)),),
        reconciled_on=in_days(-4),
        uninsured=(model.Span(in_days(90)),),
        extra_cost_limit=Decimal("4.00"),
        long_term_care=True,
    )
    for value in (profile, full, full.drug, elsewhere, calendar, told):
        unset = [each.name for each in fields(value) if getattr(value, each.name) == each.default]
        assert not unset, f"{type(value).__name__}: the test gives {unset} no value of its own"
    read = read_patient(json.loads(json.dumps(document_of(profile, told, calendar, 3))))
    assert (read.told, read.cycle, read.calendar) == (told, 3, calendar)
    assert read.profile() == profile


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (model.Profile, ()),
        (model.Prescription, ("prescriptions",)),
        (model.Drug, ("prescriptions", "drug")),
        (model.Fill, ("fills",)),
        (model.StockReport, ("stock_reports",)),
        (model.Rules, ("rules",)),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_no_field_of_the_rules_is_missing_from_the_document(kind: type, at: tuple[str, ...]) -> None:
    assert is_dataclass(kind)
    schema = PatientInput.model_json_schema()
    here = schema
    for name in at:
        here = here["properties"][name]
        ref = here.get("items", here).get("$ref")
        here = schema["$defs"][ref.rpartition("/")[2]]
    assert {field.name for field in fields(kind)} <= here["properties"].keys()


def test_the_reference_names_every_field() -> None:
    text = (DOCS / "reference" / "plan-input.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", text))
    schema = PatientInput.model_json_schema()
    of_rules = {
        name
        for each in (
            "RulesInput",
            "PayerRule",
            "SyncLaw",
            "DispensingLimit",
            "StateSchedule",
            "Disuse",
            "HighCost",
            "LargerFill",
        )
        for name in schema["$defs"][each]["properties"]
    }
    known = {name for each in [schema, *schema["$defs"].values()] for name in each.get("properties", ())}
    assert known - of_rules - named == set()


def test_the_example_of_the_how_to_is_planned() -> None:
    text = (DOCS / "how-to" / "plan-from-a-file.md").read_text()
    example = json.loads(text.partition("```json")[2].partition("```")[0])
    said = plan(read_patient(example), date.max)
    assert isinstance(said, PlanComputed)
    assert said.anchor_on.weekday() == example["preferred_weekday"]
    assert {drug.participation.value for drug in said.drugs} == {"sync"}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"prescriptions": prescription_with(usual_days=SECRET)}, "prescriptions.0.usual_days", "a text of"),
        ({"prescriptions": prescription_with(usual_days=-3)}, "prescriptions.0.usual_days", "-3"),
        ({"prescriptions": prescription_with(written_on="3/2/2026")}, "prescriptions.0.written_on", "a text"),
        ({"prescriptions": prescription_with(expires_on="2020-01-01")}, "prescriptions.0.expires_on", "2020"),
        ({"prescriptions": prescription_with(drug=SECRET)}, "prescriptions.0.drug", "a text of"),
        ({"prescriptions": prescription_with(status="stopped_now")}, "prescriptions.0.status", "stopped_now"),
        ({"prescriptions": prescription_with(rx_id="rx-b")}, "prescriptions.0.rx_id", "a text of 4"),
        ({"cycle_policy": "rolling_31"}, "cycle_policy", "rolling_31"),
        ({"preferred_weekday": 7}, "preferred_weekday", "7"),
        ({"must_weekdays": [1, 9]}, "must_weekdays.1", "9"),
        ({"calendar": {"weekdays": [-1]}}, "calendar.weekdays.0", "-1"),
        ({"calendar": {"weekdays": [7]}}, "calendar.weekdays", "7"),
        ({"calendar": {"opens": SECRET}}, "calendar.opens", ""),
        ({"told": {"anchor_on": "9999-12-31"}}, "told.anchor_on", "9999-12-31"),
        ({"told": {"declined_until": {"rx-9": "2026-03-09"}}}, "told.declined_until.rx-9", "rx-9"),
        ({"fills": [{"rx_id": "rx-9"}]}, "fills.0.filled_on", ""),
        ({"rules": {"cycle_days": {"rolling_28": 0}}}, "rules.cycle_days.rolling_28", "0"),
        (
            {"rules": {"payers": [{"payer": "x", "refill_percent": 175}]}},
            "rules.payers.0.refill_percent",
            "175",
        ),
        ({"rules": {"payers": [{"payer": "x", "month_days": 0}]}}, "rules.payers.0.month_days", "0"),
        ({"day_of_month": 32}, "day_of_month", "32"),
        ({"rulings": [{**RULING, "kind": "hold", "rx_id": "rx-a"}]}, "rulings.0.on", ""),
        ({"rulings": [{**RULING, "kind": "fill", "rx_id": "rx-9"}]}, "rulings.0.rx_id", "rx-9"),
        ({"rules": {"lead": 4}}, "rules.lead", ""),
        ({"rules": {"lead_days": 10**9}}, "rules.lead_days", "a large number"),
        ({"extra_cost_limit": "10.005"}, "extra_cost_limit", "10.005"),
        ({"prescriptions": prescription_with(usual_quantity="thirty")}, USUAL_QUANTITY, "a text of"),
        ({"prescriptions": prescription_with(usual_quantity=True)}, USUAL_QUANTITY, "true"),
        ({"prescriptions": prescription_with(usual_quantity="NaN")}, USUAL_QUANTITY, "a text of"),
        ({"prescriptions": prescription_with(usual_quantity=10**30)}, USUAL_QUANTITY, "a large number"),
        ({"prescriptions": prescription_with(usual_days=30.5)}, "prescriptions.0.usual_days", "30.5"),
        ({"prescriptions": prescription_with(usual_days=None)}, "prescriptions.0.usual_days", "null"),
        ({"prescriptions": prescription_with(usual_days=10**40)}, "prescriptions.0.usual_days", "a large"),
        ({"prescriptions": prescription_with(as_needed=SECRET)}, "prescriptions.0.as_needed", "a text of"),
        ({"prescriptions": prescription_with(directions=3)}, "prescriptions.0.directions", "3"),
        ({"prescriptions": None}, "prescriptions", "null"),
        ({"must_weekdays": 3}, "must_weekdays", "3"),
        ({"calendar": {"weekdays": SECRET}}, "calendar.weekdays", "a text of"),
        ({"calendar": {"load": []}}, "calendar.load", "a list"),
        ({"told": {"visits": [{"kind": SECRET}]}}, "told.visits.0.kind", "a text of"),
        ({"told": 3}, "told", "3"),
        ({"today": "2026-02-30"}, "today", "2026-02-30"),
        ({"today": 1.5}, "today", "1.5"),
        ({"rulings": [{**RULING, "kind": "dance"}]}, "rulings.0.kind", "a text of"),
        ({"rules": {"extra_cost_limit": 10.005}}, "rules.extra_cost_limit", "10.005"),
        ({"rules": {"criteria": ["cheapest"]}}, "rules.criteria.0", ""),
        ({"rules": {"default_cycle": "weekly"}}, "rules.default_cycle", ""),
        ({"today": "1026-03-02"}, "today", "1026-03-02"),
        ({"phone": "+12125550100"}, "phone", ""),
        ({"patient_id": SECRET}, "patient_id", "a text of"),
        ({SECRET: 1}, "(a key)", ""),
        ({"prescriptions": prescription_with(renews="rx-a")}, "prescriptions.0.renews", "a text of 4"),
        ({"fills": fill_with(days_supply_billed=0)}, "fills.0.days_supply_billed", "0"),
        ({"fills": fill_with(handed_over_on="2020-01-01")}, "fills.0.handed_over_on", "2020-01-01"),
        ({"fills": fill_with(filled_on=LATER, handed_over_on=LATER)}, "fills.0.filled_on", LATER),
        ({"stock_reports": [{"rx_id": "rx-a", "reported_on": LATER, "days_left": 3}]}, REPORTED_ON, LATER),
        ({"rejections": [{"rx_id": "rx-a", "code": "79", "rejected_on": LATER}]}, REJECTED_ON, LATER),
        (
            {"prescriptions": prescription_with(written_on=LATER, expires_on=LATER)},
            "prescriptions.0.written_on",
            LATER,
        ),
        ({"told": {"wanted_on": "2026-02-20"}}, "told.wanted_on", "2026-02-20"),
        ({"away": [BACKWARDS]}, "away.0.ends_on", "2026-03-10"),
        ({"stays": [BACKWARDS]}, "stays.0.ends_on", "2026-03-10"),
        ({"uninsured": [BACKWARDS]}, "uninsured.0.ends_on", "2026-03-10"),
        ({"rulings": [{**DAY, "on": "2026-02-20"}]}, "rulings.0.on", "2026-02-20"),
        ({"rulings": [{**DAY, "made_on": LATER}]}, "rulings.0.made_on", LATER),
        ({"rulings": [{**DAY, "by": SECRET}]}, "rulings.0.by", "a text of"),
        (
            {"rulings": [{**RULING, "kind": "include", "rx_id": "rx-a", "by": "clerk"}]},
            "rulings.0.by",
            "a text",
        ),
        ({"rulings": [{**DAY, "quantity": 30}]}, "rulings.0.quantity", "30"),
        ({"rulings": [{**UNITS, "quantity": 0}]}, "rulings.0.quantity", "0"),
        ({"rulings": [{**UNITS, "quantity": 4500}]}, "rulings.0.quantity", "4500"),
        ({"calendar": {"state": "ok"}}, "calendar.state", "ok"),
        ({"calendar": {"state": "Oklahoma"}}, "calendar.state", "a text of"),
        ({"calendar": {"state": "ZZ"}}, "calendar.state", "ZZ"),
        ({"calendar": {"delivery_weekdays": [7]}}, "calendar.delivery_weekdays", "7"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_fault_names_the_field_the_value_and_the_way_out(
    changes: dict[str, Any], field: str, value: str
) -> None:
    found = faults(document(**changes))
    [(_, shown, problem)] = [each for each in found if each[0] == field]
    assert shown.startswith(value) and bool(shown) == bool(value)
    assert problem
    assert not READERS_WORDS.search(problem), "as no pharmacist would say it"
    assert not any(word in str(found) for word in ("Metformin", "Jane", "5550100"))


def test_a_refused_patient_is_named_by_an_id_alone() -> None:
    for said, named in (("p1", "p1"), ("John Smith", ""), ("Smith", ""), ("p\x1b[31m1", "")):
        with pytest.raises(BadInput) as caught:
            read_patient({"patient_id": said, "cycle": 0})
        assert caught.value.patient_id == named


def test_what_is_wrong_with_what_is_held_is_no_fault_of_who_asks() -> None:
    held = document(rulings=[{**DAY, "rx_id": None, "quantity": None, "on": "2026-02-20"}])
    assert faults(held)
    assert read_changed(held, {"preferred_weekday": 2}, TODAY).preferred_weekday == 2
    with pytest.raises(BadInput, match="has passed"):
        read_changed(held, {"rulings": [{**DAY, "on": "2026-02-21"}]}, TODAY)


@pytest.mark.parametrize("said", [None, 3, "x", [], [{}], {}, {"patient_id": None}])
def test_what_is_no_patient_is_refused(said: object) -> None:
    assert faults(said)


def test_every_fault_of_a_patient_is_named_at_once() -> None:
    found = faults({"patient_id": "p1", "fills": [{}], "cycle": 0, "x": 1})
    assert {field for field, _, _ in found} == {
        "fills.0.rx_id",
        "fills.0.filled_on",
        "fills.0.handed_over_on",
        "fills.0.days_supply",
        "cycle",
        "x",
    }


def test_a_rule_given_goes_before_the_chains_and_the_others_stand() -> None:
    read = read_patient(document(rules={"lead_days": 9, "payers": [{"payer": "acme", "refill_percent": 60}]}))
    rules = read.in_force()
    assert (rules.lead_days, rules.cushion_days) == (9, RULES.cushion_days)
    first, *others = rules.payers
    assert (first.payer, first.refill_percent, tuple(others)) == ("acme", 60, RULES.payers)
    said = plan(read, TODAY)
    assert isinstance(said, PlanComputed)
    assert min(visit.on for visit in said.visits) >= TODAY + timedelta(days=9)


def test_changes_to_what_is_held_touch_nothing_else() -> None:
    held = document()
    after = changed(
        held,
        {
            "prescriptions": [{"rx_id": "rx-a", "payer": "acme", "drug": {"critical": True}}],
            "stock_reports": [{"rx_id": "rx-b", "reported_on": "2026-03-01", "days_left": 3}],
            "rules": {"lead_days": 2},
            "preferred_weekday": 2,
        },
    )
    a, b = after["prescriptions"]
    assert a == {
        **held["prescriptions"][0],
        "payer": "acme",
        "drug": {**held["prescriptions"][0]["drug"], "critical": True},
    }
    assert (b, after["fills"]) == (held["prescriptions"][1], held["fills"])
    assert held == document(), "what is held stays as it is"
    assert read_patient(after).preferred_weekday == 2
    day = {**RULING, "kind": "day", "on": "2026-03-12"}
    assert read_patient(changed(held, {"rulings": [day]})).rulings[0].kind is model.StaffDecisionKind.day
    left = changed(held, {"without_rx_ids": ["rx-a"]})
    assert [each["rx_id"] for each in (*left["prescriptions"], *left["fills"])] == ["rx-b", "rx-b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"prescriptions": SECRET},
        {"prescriptions": [{"payer": "acme"}]},
        {"fills": [3]},
        {"fills": [{"rx_id": ["rx-a"]}]},
        {"without_rx_ids": "rx-a"},
        {"rulings": [{"kind": "day", "rx_id": 3}]},
        {"told": 3},
        {"calendar": None},
    ],
)
def test_changes_that_cannot_be_made_are_refused_in_the_same_way(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        read_patient(changed(document(), changes))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("number", [0, 1])
def test_the_changes_of_the_how_to_are_planned(number: int) -> None:
    example, *changes = re.findall(
        r"```json\n(.*?)```", (DOCS / "how-to" / "plan-from-a-file.md").read_text(), re.S
    )
    before = plan(read_patient(json.loads(example)), date.max)
    after = plan(read_patient(json.loads(example) | json.loads(f"{{{changes[number]}}}")), date.max)
    assert isinstance(before, PlanComputed)
    assert isinstance(after, PlanComputed)
    assert after.visits != before.visits


@pytest.mark.slow
def test_planning_a_file_loads_no_kafka_and_no_database_client() -> None:
    loaded = "import sys, services.planner.inputs; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout
    assert not {"asyncpg", "aiokafka", "faststream", "fastapi", "uvicorn"} & set(modules.split())
