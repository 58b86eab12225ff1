"""No prescriber is asked to renew what the patient probably takes no longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.limits import Disuse
from services.planner.domain.model import NOTHING_TOLD, Blocked, Plan, Profile, StockReport
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
    return plan_cycle(profile, EVERY_DAY, rules, today, NOTHING_TOLD, 1)


def asked(outcome: Plan | Blocked) -> set[str]:
    return {each.rx_id for each in outcome.renewals} - {"rx-b"}


@pytest.mark.parametrize("facts", [{}, {"quantity_left": Decimal(90), "expires_on": in_days(2)}])
@pytest.mark.parametrize("beside", [True, False], ids=["planned", "blocked"])
@pytest.mark.parametrize(("days_ago", "is_asked"), [(0, True), (90, True), (91, False), (400, False)])
def test_what_ran_out_long_ago_is_asked_of_the_patient_not_of_the_prescriber(
    days_ago: int, is_asked: bool, beside: bool, facts: dict[str, Any]
) -> None:
    """Policy: 90 days. Out for want of quantity, or expired."""
    outcome = said(ran_out(days_ago, beside, **facts))
    assert isinstance(outcome, Plan) == beside
    assert asked(outcome) == ({"rx-a"} if is_asked else set())
    remarks = codes(of(outcome, "a").reasons)[1:]
    assert remarks == (["renewal_needed_now"] if is_asked else ["probably_not_taken"])


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
    ("left", "filled", "needed_by"),
    [
        (3, [(8, 3)], 11),  # of a bridge of five days
        (5, [(8, 5)], 13),
        (20, [(8, 5), (13, 15)], 13),
        (35, [(8, 5), (13, 30)], 43),
        (65, [(8, 5), (13, 30)], None),
    ],
)
def test_a_renewal_is_needed_before_the_drug_is_out(
    left: int, filled: list[tuple[int, int]], needed_by: int | None
) -> None:
    """Policy: 75 %. a runs out on day 8, the agreed pickup is on day 13, the next on day 43."""
    a = prescription("a", quantity_left=Decimal(left))
    profile = patient([a, prescription("b")], [fill("a", in_days(-22)), fill("b", in_days(-14))])
    plan = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, pinned(13), 1)
    assert isinstance(plan, Plan)
    assert fills_of(plan, "a") == filled
    assert {each.needed_by for each in plan.renewals} == ({in_days(needed_by)} if needed_by else set())
