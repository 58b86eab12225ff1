"""No prescriber is asked to renew what the patient probably takes no longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.limits import Disuse
from services.planner.domain.model import NO_COMMITMENTS, Blocked, Plan, Profile, StockReport
from services.planner.domain.plan import plan_cycle
from services.planner.policy import disuse
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, fill, in_days, patient, prescription
from tests.unit.planner.test_plan import codes, of, pinned
from tests.unit.planner.test_sizes import fills_of

NINETY_DAYS = replace(COMMERCIAL, disuse=(Disuse("ninety days", date(2020, 1, 1), 90),))


def ran_out(days_ago: int, beside: bool = True, **facts: Any) -> Profile:
    """a, thirty days at a time, was last filled so long ago that it ran out then; b is taken regularly."""
    prescriptions = [prescription("a", **{"quantity_left": Decimal(0), **facts}), prescription("b")]
    fills = [fill("a", in_days(-days_ago - 30)), fill("b", in_days(-20))]
    return patient(prescriptions, fills) if beside else patient(prescriptions[:1], fills[:1])


def said(profile: Profile, rules: Any = NINETY_DAYS, today: date = TODAY) -> Plan | Blocked:
    return plan_cycle(profile, EVERY_DAY, rules, today, NO_COMMITMENTS, 1)


def asked(outcome: Plan | Blocked) -> set[str]:
    return {each.rx_id for each in outcome.renewals} - {"rx-b"}


@pytest.mark.parametrize("facts", [{}, {"quantity_left": Decimal(90), "expires_on": in_days(-1)}])
@pytest.mark.parametrize("beside", [True, False], ids=["with another", "alone"])
@pytest.mark.parametrize(("days_ago", "is_asked"), [(0, True), (90, True), (91, False), (400, False)])
def test_what_ran_out_long_ago_is_asked_of_the_patient_not_of_the_prescriber(
    days_ago: int, is_asked: bool, beside: bool, facts: dict[str, Any]
) -> None:
    """Policy: 90 days. Out for want of quantity, or expired."""
    outcome = said(ran_out(days_ago, beside, **facts))
    assert isinstance(outcome, Plan) == (beside or is_asked), (
        "what is renewed is planned as if it came in time"
    )
    assert asked(outcome) == ({"rx-a"} if is_asked else set())
    remarks = set(codes(of(outcome, "a").reasons))
    assert remarks & {"renewal_needed_now", "probably_not_taken"} == (
        {"renewal_needed_now"} if is_asked else {"probably_not_taken"}
    )


def test_what_is_planned_still_is_no_reason_to_ask_before_it_is_taken_again() -> None:
    """One fill is left of a, which ran out a year ago: it is planned and called for, and renewed once it is fetched."""
    plan = said(ran_out(365, quantity_left=Decimal(30)))
    assert isinstance(plan, Plan)
    assert any(item.drug_name == "a" for visit in plan.visits for item in visit.items)
    assert asked(plan) == set()
    assert "probably_not_taken" in codes(of(plan, "a").reasons)
    fetched = ran_out(365, quantity_left=Decimal(0))
    fetched = replace(fetched, fills=(*fetched.fills, fill("a", TODAY)))
    assert asked(said(fetched)) == {"rx-a"}


def test_what_the_patient_says_is_left_is_taken_still() -> None:
    profile = replace(ran_out(200), stock_reports=(StockReport("rx-a", in_days(-40), 20),))
    assert asked(said(profile)) == {"rx-a"}


def test_without_an_entry_for_the_day_every_renewal_is_asked_for() -> None:
    over = replace(COMMERCIAL, disuse=(Disuse("once", date(2020, 1, 1), 90, ends_on=in_days(-1)),))
    assert asked(said(ran_out(400), over)) == asked(said(ran_out(400), COMMERCIAL)) == {"rx-a"}


def test_the_chains_own_entry() -> None:
    [entry] = disuse()
    assert (entry.days, entry.begins_on, entry.ends_on) == (90, date(2000, 1, 1), date.max)
    assert entry.source


@pytest.mark.parametrize(
    ("left", "filled", "out"),
    [
        (3, [(6, 3), (13, 30)], 11),  # of a bridge of five days
        (5, [(6, 5), (13, 30)], 13),
        (20, [(6, 5), (13, 15)], 28),
        (35, [(6, 5), (13, 30)], 42),
        (65, [(6, 5), (13, 30)], None),
    ],
)
def test_a_renewal_is_needed_before_the_drug_is_out(
    left: int, filled: list[tuple[int, int]], out: int | None
) -> None:
    """Policy: 75 %, four days of lead. a runs out on day 8, the agreed pickup is on day 13, the next on day 42; what is
    more than the units left is filled if the renewal comes."""
    a = prescription("a", quantity_left=Decimal(left))
    profile = patient([a, prescription("b")], [fill("a", in_days(-22)), fill("b", in_days(-14))])
    plan = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, pinned(13), 1)
    assert isinstance(plan, Plan)
    assert fills_of(plan, "a") == filled
    conditional = [
        item.condition is not None for visit in plan.visits for item in visit.items if item.rx_id == "rx-a"
    ]
    assert conditional == [False, left in (3, 5)]
    assert {each.needed_by for each in plan.renewals} == ({in_days(out - 4)} if out else set())
