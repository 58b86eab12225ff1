"""A plan's days' supplies bind short fills too; and none is of fewer days than the chain's minimum where more fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    NO_COMMITMENTS,
    Action,
    Commitments,
    FillKind,
    Plan,
    Profile,
    Rules,
    StaffDecision,
    StaffDecisionKind,
    VisitKind,
)
from services.planner.domain.payers import PayerRule, SyncLaw
from services.planner.domain.plan import plan_cycle
from services.planner.policy import high_cost
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import SYNCHRONIZED, codes, of, pinned, planned, trips

LAW = SyncLaw("the law", "OK", frozenset({"commercial"}), in_days(-400), pays_short_fills=True)
OKLAHOMA = Calendar(state="OK")


def paid(*days: int, **facts: Any) -> PayerRule:
    return PayerRule("commercial", "commercial", refill_percent=75, days_supplies=frozenset(days), **facts)


def rules(payer: PayerRule, *laws: SyncLaw) -> Rules:
    return replace(COMMERCIAL, payers=(payer,), laws=laws)


def fills_of(plan: Plan, name: str) -> list[tuple[int, int]]:
    """Days from today, and days' supply."""
    return [
        ((visit.on - TODAY).days, item.days_supply)
        for visit in plan.visits
        for item in visit.items
        if item.drug_name == name
    ]


MONTHS = paid(30, 90)
FROM_14 = paid(*range(14, 31), 90)


@pytest.mark.parametrize(
    ("run_out", "payer", "laws", "filled", "action", "remark"),
    [
        (12, MONTHS, (), [(11, 30), (34, 30)], Action.join_later, None),
        (
            12,
            replace(MONTHS, pays_short_fills=True),
            (),
            [(11, 8), (20, 30)],
            Action.bridge,
            "short_fill_by_code",
        ),
        (12, MONTHS, (LAW,), [(11, 8), (20, 30)], Action.bridge, "short_fill_by_law"),
        (12, MONTHS, (replace(LAW, pays_short_fills=False),), [(11, 30), (34, 30)], Action.join_later, None),
        (12, MONTHS, (replace(LAW, ends_on=in_days(-1)),), [(11, 30), (34, 30)], Action.join_later, None),
        (4, FROM_14, (), [(4, 16), (20, 30)], Action.bridge, None),
        (8, FROM_14, (), [(6, 14), (20, 30)], Action.bridge, "next_size_paid"),
        (12, FROM_14, (), [(9, 14), (20, 30)], Action.bridge, "next_size_paid"),
        (12, PayerRule("another"), (), [(11, 8), (20, 30)], Action.bridge, "short_fill_assumed"),
        (12, paid(*range(1, 31)), (), [(11, 8), (20, 30)], Action.bridge, None),
        (12, paid(), (), [(11, 8), (20, 30)], Action.bridge, None),
        (20, MONTHS, (), [(20, 30)], Action.on_time, None),
    ],
    ids=[
        "whole, until it meets a slot",
        "by its code",
        "by a state's law",
        "by a law that says nothing of it",
        "by a law that has ended",
        "its own size",
        "the next size",
        "the next size, sooner",
        "of an unknown plan",
        "every size",
        "no sizes stated",
        "none is needed",
    ],
)
def test_a_short_fill_needs_a_size_a_code_or_a_law(
    run_out: int,
    payer: PayerRule,
    laws: tuple[SyncLaw, ...],
    filled: list[tuple[int, int]],
    action: Action,
    remark: str | None,
) -> None:
    """Policy: 75 %. a runs out before the agreed pickup on day 20, with b."""
    plan = planned(taking({"a": run_out, "b": 20}), pinned(20), rules=rules(payer, *laws), calendar=OKLAHOMA)
    assert fills_of(plan, "a") == filled
    assert of(plan, "a").action is action
    said = set(codes(of(plan, "a").reasons)) & {
        *(
            "short_fill_by_code",
            "short_fill_by_law",
            "short_fill_assumed",
            "next_size_paid",
            "payer_may_reject",
        )
    }
    assert said == ({remark} if remark else set())
    assert plan.uncovered_days == 0
    assert ("whole_fills_only" in codes(of(plan, "a").reasons)) == (action is Action.join_later)


def test_what_may_not_be_short_filled_decides_the_day() -> None:
    """Policy: 75 %, 30 or 90 days. Any day from the 13th to the 18th fills both whole; others take one more visit."""
    for weekday in range(7):
        profile = taking({"a": 18, "b": 20}, preferred_weekday=weekday)
        plan = planned(profile, rules=rules(MONTHS))
        assert trips(plan) == [(SYNCHRONIZED, (plan.anchor_on - TODAY).days, ["a", "b"])]
        assert 13 <= (plan.anchor_on - TODAY).days <= 18
        assert plan.short_fills == 0


def test_the_law_that_has_a_short_fill_paid_may_ask_that_others_agree() -> None:
    law = replace(LAW, consents=("patient", "prescriber"))
    plan = planned(taking({"a": 12, "b": 20}), pinned(20), rules=rules(MONTHS, law), calendar=OKLAHOMA)
    assert "override_needs_consent" in codes(of(plan, "a").reasons)


def test_the_last_units_of_a_prescription_may_be_rejected_where_no_size_fits_them() -> None:
    few = replace(prescription("a"), quantity_left=Decimal(20))
    profile = replace(taking({"a": 20, "b": 20}), prescriptions=(few, prescription("b")))
    plan = planned(profile, pinned(18), rules=rules(MONTHS))
    assert fills_of(plan, "a") == [(18, 20)]
    assert "payer_may_reject" in codes(of(plan, "a").reasons)
    assert "payer_may_reject" not in codes(of(plan, "b").reasons)


def test_a_quantity_that_staff_set_is_filled_and_the_payers_sizes_are_said() -> None:
    ruling = StaffDecision(StaffDecisionKind.quantity, "pharmacist", "x", TODAY, "rx-a", quantity=Decimal(9))
    profile = replace(taking({"a": 20, "b": 20}), rulings=(ruling,))
    plan = planned(profile, pinned(20), rules=rules(MONTHS))
    assert fills_of(plan, "a") == [(20, 9)]
    assert "payer_may_reject" in codes(of(plan, "a").reasons)


# --- what is dear ---


@pytest.mark.parametrize(
    ("price", "facts", "filled"),
    [
        ("949.99", {}, [(11, 8), (20, 30)]),
        (None, {}, [(11, 8), (20, 30)]),
        ("950.00", {}, [(11, 30), (34, 30)]),
        (
            "950.00",
            {"rulings": (StaffDecision(StaffDecisionKind.include, "pharmacist", "x", TODAY, "rx-a"),)},
            [(11, 8), (20, 30)],
        ),
    ],
    ids=["below the limit", "not known", "at the limit", "with staff's consent"],
)
def test_a_dear_drug_is_short_filled_with_the_consent_of_staff_alone(
    price: str | None, facts: dict[str, Any], filled: list[tuple[int, int]]
) -> None:
    """Policy: 75 %, any days' supply, a limit of 950.00 a month. a runs out before the agreed pickup on day 20."""
    costly = replace(prescription("a"), month_price=Decimal(price) if price else None)
    profile = replace(taking({"a": 12, "b": 20}), prescriptions=(costly, prescription("b")), **facts)
    plan = planned(profile, pinned(20), rules=replace(COMMERCIAL, high_cost=high_cost()))
    assert fills_of(plan, "a") == filled
    assert ("high_cost" in codes(of(plan, "a").reasons)) == (filled[0][1] == 30)
    assert plan.uncovered_days == 0


def test_the_chains_own_limit_begins_on_a_day() -> None:
    [entry] = high_cost()
    assert (entry.month_price, entry.begins_on, entry.ends_on) == (
        Decimal("950.00"),
        date(2024, 1, 1),
        date.max,
    )
    costly = replace(prescription("a"), month_price=Decimal(2000))
    profile = replace(taking({"a": 12, "b": 20}), prescriptions=(costly, prescription("b")))
    later = replace(COMMERCIAL, high_cost=(replace(entry, begins_on=in_days(1)),))
    assert fills_of(planned(profile, pinned(20), rules=later), "a") == [(11, 8), (20, 30)]


# --- the chain's minimum ---


def new_drug(run_out: int, **facts: Any) -> Profile:
    """b is taken home for the first time, and joins a with its second fill."""
    b = prescription("b", **facts)
    first = fill("b", in_days(run_out - 30))
    return patient([prescription("a"), b], [fill("a", in_days(-20)), first])


@pytest.mark.parametrize(
    ("run_out", "filled", "left", "remark"),
    [
        (7, [(4, 3), (10, 30)], 0, None),
        (8, [(4, 3), (10, 30)], 1, "at_least_minimum"),
        (9, [(7, 3), (10, 30)], 2, "at_least_minimum"),
        (10, [(10, 30)], 0, None),
    ],
)
def test_a_new_drug_is_bridged_for_the_minimum_at_least(
    run_out: int, filled: list[tuple[int, int]], left: int, remark: str | None
) -> None:
    """Policy: 75 %, a minimum of 3 days; the pickup on day 10 is agreed."""
    plan = planned(new_drug(run_out), pinned(10))
    assert fills_of(plan, "b") == filled
    assert of(plan, "b").days_left_at_anchor == left
    assert ("at_least_minimum" in codes(of(plan, "b").reasons)) == (remark is not None)
    assert "below_minimum" not in codes(of(plan, "b").reasons)
    assert plan.uncovered_days == 0


@pytest.mark.parametrize(("minimum", "bridged"), [(1, (8, 11)), (3, (8, 11)), (11, (8, 11)), (13, (7, 13))])
def test_a_gap_below_the_minimum_is_no_way_to_a_cushion(minimum: int, bridged: tuple[int, int]) -> None:
    """Policy: 85 %; trips and short fills, then the cushion alone. On day 19 the pack b has its three days left; for a
    bridge of thirteen days the eighteenth would leave three of a too, which only the minimum adds: no reason."""
    pack = prescription("b", drug=drug("b", unbreakable=True))
    profile = replace(taking({"a": 8, "b": 22}), prescriptions=(prescription("a"), pack))
    by_cushion = replace(
        COMMERCIAL,
        payers=(PayerRule("commercial", refill_percent=85),),
        criteria=("avoidable_uncovered_days", "burden", "distance_from_cushion"),
        blemishes_a_trip=0,
        minimum_short_fill_days=minimum,
    )
    plan = planned(profile, rules=by_cushion)
    assert (plan.anchor_on - TODAY).days == 19
    assert fills_of(plan, "a")[0] == bridged


def test_a_new_drug_that_runs_out_just_before_the_pickup_gets_a_long_fill_where_the_plan_pays_it() -> None:
    """Policy: 75 %, 1 to 34 days. Two days before the pickup: 32 days at once, to the next pickup, and no bridge."""
    plan = planned(new_drug(8), pinned(10), rules=rules(paid(*range(1, 35))))
    assert fills_of(plan, "b") == [(7, 32)]
    assert of(plan, "b").joins_on == plan.next_anchor_on
    assert of(plan, "b").action is Action.long_fill


@pytest.mark.parametrize(
    ("facts", "today"),
    [({}, 6), ({"quantity_left": Decimal(2)}, 0)],
    ids=["too late for the payer's clock", "so many are not authorized"],
)
def test_fewer_days_than_the_minimum_only_where_no_more_fit(facts: dict[str, Any], today: int) -> None:
    """From the ninth day on three days would put off the fill on the tenth; the plan says that nothing else fits."""
    plan = planned(
        new_drug(8, **facts), pinned(10), today=in_days(today - 2), rules=replace(COMMERCIAL, lead_days=4)
    )
    (_, days), *_ = fills_of(plan, "b")
    assert days == 2
    assert "below_minimum" in codes(of(plan, "b").reasons)


@pytest.mark.slow
def test_a_minimum_of_the_chain_is_kept_for_every_patient_with_time_enough() -> None:
    """No tiny fill while the drug is payable, and the store open, so many days before; whatever the minimum is."""
    bridges = 0
    for seed in range(150):
        rng = Random(seed)
        minimum = rng.choice((1, 3, 5, 7))
        profile = taking({f"drug{n}": rng.randint(14, 30) for n in range(rng.randint(2, 4))})
        commitments = Commitments(agreed=True, anchor_on=in_days(rng.randint(22, 30)))
        plan = planned(profile, commitments, rules=replace(COMMERCIAL, minimum_short_fill_days=minimum))
        short = [
            item
            for visit in plan.visits
            if visit.kind is VisitKind.bridge
            for item in visit.items
            if item.kind is FillKind.bridge
        ]
        bridges += len(short)
        assert all(item.days_supply >= minimum for item in short), f"seed {seed}"
    assert bridges > 150


@pytest.mark.slow
def test_a_plan_with_sizes_never_plans_a_day_of_none() -> None:
    """Policy: 75 %, of 14 to 30 days. Every fill is of a paid size, but for the last units of a prescription."""
    for seed in range(80):
        rng = Random(seed)
        profile = taking({f"drug{n}": rng.randint(1, 30) for n in range(rng.randint(2, 4))})
        plan = plan_cycle(profile, Calendar(), rules(FROM_14), TODAY, NO_COMMITMENTS, 1)
        assert isinstance(plan, Plan)
        assert all(item.days_supply >= 14 for visit in plan.visits for item in visit.items), f"seed {seed}"
