"""Refill too soon by days: a plan that pays the next fill so many days before the last one ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from services.planner.domain.payers import PayerRule, RefillRule
from services.planner.domain.stock import payable_from
from services.planner.inputs import read_patient
from services.planner.policy import BadPolicy, payer_rules
from tests.unit.planner.cases import COMMERCIAL, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import pinned, planned

THREE_DAYS = PayerRule("commercial", refill_days_early=3)


@pytest.mark.parametrize(
    ("stated", "days", "wait"),
    [
        ({}, 30, 26),  # neither is stated: the cautious share
        ({"refill_percent": 75}, 30, 23),
        ({"refill_days_early": 3}, 30, 27),
        ({"refill_days_early": 7}, 30, 23),  # no share is stated, so none holds
        ({"refill_days_early": 7}, 90, 83),
        ({"refill_percent": 75, "refill_days_early": 3}, 30, 27),  # both: the later day
        ({"refill_percent": 75, "refill_days_early": 10}, 30, 23),
        ({"refill_days_early": 7}, 5, 0),  # a short fill of fewer days: paid again at once
    ],
)
def test_the_next_fill_is_paid_by_share_by_days_or_by_the_later(
    stated: dict[str, int], days: int, wait: int
) -> None:
    assert PayerRule("x", **stated).refill_for("none", "tablet").wait(days) == wait  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stated", "schedule", "form", "refill"),
    [
        ({"refill_days_early": 3}, "c4", "tablet", RefillRule(0, 3)),
        ({"refill_days_early": 3, "controlled_percent": 90}, "c4", "tablet", RefillRule(90, 3)),
        ({"refill_days_early": 3, "controlled_percent": 90}, "none", "tablet", RefillRule(0, 3)),
        ({"refill_percent": 75, "percent_of_form": {"drops": 70}}, "none", "Drops", RefillRule(70)),
    ],
)
def test_controlled_drugs_and_forms_keep_their_shares_beside_the_days(
    stated: dict[str, int], schedule: str, form: str, refill: RefillRule
) -> None:
    assert PayerRule("x", **stated).refill_for(schedule, form) == refill  # type: ignore[arg-type]


def test_the_payers_clock_runs_by_days() -> None:
    refill = THREE_DAYS.refill_for("none", "tablet")
    assert payable_from([fill("a", in_days(-10))], refill, THREE_DAYS) == in_days(17)


def test_every_fill_of_a_plan_waits_by_days() -> None:
    """a runs out on day 12 and b on day 20: a is paid on day 9, and after its bridge three days before that ends."""
    plan = planned(taking({"a": 12, "b": 20}), pinned(20), rules=replace(COMMERCIAL, payers=(THREE_DAYS,)))
    fills = [(visit.on, item) for visit in plan.visits for item in visit.items if item.rx_id == "rx-a"]
    assert len(fills) == 2 and fills[0][1].days_supply == 8
    assert [item.payable_from for _, item in fills] == [in_days(9), fills[0][0] + timedelta(days=5)]


def test_days_are_policy_data_and_may_be_given_with_the_patient(tmp_path: Path) -> None:
    file = tmp_path / "payers.toml"
    entry = '[unknown]\nsource = "s"\n[[payer]]\npayer = "x"\nfrom = 2026-01-01\nsource = "s"\n'
    file.write_text(f"{entry}refill_days_early = 3\n")
    (rule,), _ = payer_rules(file)
    assert rule.refill_for("none", "tablet") == RefillRule(0, 3)
    file.write_text(f'{entry}refill_days_early = "three"\n')
    with pytest.raises(BadPolicy, match="refill_days_early"):
        payer_rules(file)
    read = read_patient(
        {"patient_id": "p1", "rules": {"payers": [{"payer": "acme", "refill_days_early": 2}]}}
    )
    assert read.in_force().payers[0].refill_for("none", "tablet") == RefillRule(0, 2)


def test_a_plan_that_pays_two_days_early_has_its_fills_later_than_one_that_pays_a_quarter_early() -> None:
    profile = patient([prescription("a")], [fill("a", in_days(-20))])
    firsts = [
        planned(profile, rules=rules).visits[0].items[0].payable_from
        for rules in (COMMERCIAL, replace(COMMERCIAL, payers=(replace(THREE_DAYS, refill_days_early=2),)))
    ]
    assert firsts == [in_days(3), in_days(8)]
