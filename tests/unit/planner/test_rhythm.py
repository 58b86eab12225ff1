"""Slots, how drugs fit them, and which rhythm is chosen, kept and proposed (R4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from services.planner.domain.calendar import NEVER, Calendar, PickupDays
from services.planner.domain.criteria import Score, order_of
from services.planner.domain.medication import Medication
from services.planner.domain.model import NO_COMMITMENTS, Commitments, Plan, Profile, PromisedRhythm, Rules
from services.planner.domain.payers import PayerRule, RefillRule
from services.planner.domain.payment import Payment
from services.planner.domain.rhythm import Fit, Rhythm, fit_of, slot_days
from services.planner.domain.year import least_trips
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import codes, of, pinned, planned

THURSDAY = date(2026, 1, 15)
USUAL = Rules(payers=(PayerRule("commercial", refill_percent=75),))


def days(
    first: date, last: date, *closed: date, weekdays: frozenset[int] = frozenset(range(7))
) -> PickupDays:
    store = Calendar(weekdays, frozenset(closed))
    return PickupDays(store, first.toordinal(), first.toordinal(), last.toordinal())


def slots(rhythm: Rhythm, count: int, pickup: PickupDays, **facts: Any) -> list[date]:
    facts = {"not_before": 1, "weekday": None, **facts}
    return [date.fromordinal(day) for day in slot_days(rhythm, THURSDAY.toordinal(), count, pickup, **facts)]


OPEN = days(THURSDAY, date(2031, 1, 1))


# --- where slots fall ---


@pytest.mark.parametrize(
    ("cycle", "expected"),
    [
        (30, {1: date(2026, 2, 14), 2: date(2026, 3, 16), 3: date(2026, 4, 15), 12: date(2027, 1, 10)}),
        (28, {1: date(2026, 2, 12), 13: date(2027, 1, 14)}),
        (84, {1: date(2026, 4, 9), 2: date(2026, 7, 2), 3: date(2026, 9, 24), 4: date(2026, 12, 17)}),
    ],
)
def test_tv16_slots_roll_by_the_days_of_the_cycle(cycle: int, expected: dict[int, date]) -> None:
    found = slots(Rhythm(cycle), 14, OPEN)
    assert {number: found[number] for number in expected} == expected
    assert cycle % 7 or {day.weekday() for day in found} == {THURSDAY.weekday()}


def test_a_slot_falls_on_the_last_day_on_or_before_its_own_and_moves_no_other() -> None:
    closed = days(THURSDAY, date(2027, 1, 1), date(2026, 2, 14), date(2026, 2, 13))
    assert slots(Rhythm(30), 4, closed) == [
        THURSDAY,
        date(2026, 2, 12),
        date(2026, 3, 16),
        date(2026, 4, 15),
    ]


def test_a_slot_falls_after_its_own_day_where_nothing_is_paid_before() -> None:
    """Nothing is paid again before day 29, and the store is closed on the last days up to the slot."""
    closed = days(THURSDAY, date(2027, 1, 1), date(2026, 2, 13), date(2026, 2, 14))
    assert slots(Rhythm(30), 3, closed, not_before=29)[1:] == [date(2026, 2, 15), date(2026, 3, 16)]


@pytest.mark.parametrize(
    ("weekday", "second"),
    [
        (5, date(2026, 2, 14)),  # the slot's own day, a Saturday
        (3, date(2026, 2, 12)),
        (2, date(2026, 2, 11)),
        (1, date(2026, 2, 14)),  # four days before: too far
    ],
)
def test_the_preferred_weekday_up_to_three_days_before_takes_the_place_of_a_slot(
    weekday: int, second: date
) -> None:
    found = slots(Rhythm(30), 3, OPEN, weekday=weekday)
    assert found[1] == second
    assert abs((found[2] - date(2026, 3, 16)).days) <= 3, "the slots after it do not move with it"


def test_a_day_of_the_month_comes_every_month() -> None:
    found = slots(Rhythm(31, day_of_month=15), 13, OPEN)
    assert {day.day for day in found} == {15} and len({(day.year, day.month) for day in found}) == 13
    assert Rhythm(31, day_of_month=15).apart == Fraction(365, 12)


# --- how a drug fits ---


SIZES = frozenset({28, 84, 90})


def medication(
    usual: int,
    percent: int = 75,
    sizes: frozenset[int] = frozenset(),
    *,
    packs: bool = False,
    left: int = 10_000,
) -> Medication:
    each = prescription("a", usual_days=usual, usual_quantity=Decimal(usual))
    payer = PayerRule("commercial", refill_percent=percent, days_supplies=sizes)
    refill = RefillRule(percent=percent)
    return Medication(each, packs, payer, refill, 0, Payment(0), Decimal(left), NEVER)


@pytest.mark.parametrize(
    ("cycle", "drug", "others", "fit"),
    [
        (30, medication(30), (), Fit(1)),
        (30, medication(90), (), Fit(3)),
        (30, medication(60), (), Fit(2)),
        (28, medication(30), (), Fit(1)),
        (28, medication(90), (), Fit(3)),
        (84, medication(90), (), Fit(1)),
        (30, medication(28), (), None),
        (90, medication(84), (), None),
        (30, medication(30, 100), (), Fit(1)),
        (28, medication(30, 100), (), None),  # never paid again by the next
        (60, medication(90, 75), (), None),  # paid again on day 68
        (
            84,
            medication(28, sizes=SIZES, packs=True),
            (90,),
            Fit(1, 3),
        ),  # three at once, beside a drug that lasts so long
        (84, medication(28, sizes=SIZES, packs=True), (), None),
        (84, medication(28, sizes=SIZES, packs=True, left=83), (90,), None),  # not authorized
        (84, medication(28, sizes=frozenset({28}), packs=True), (90,), None),  # not payable
        (84, medication(28, sizes=SIZES), (90,), None),  # no pack
    ],
)
def test_a_drug_is_due_at_every_slot_that_its_usual_fill_lasts_to(
    cycle: int, drug: Medication, others: Sequence[int], fit: Fit | None
) -> None:
    assert fit_of(drug, Rhythm(cycle), {drug.usual_days, *others}) == fit


@pytest.mark.parametrize(
    ("usual", "percent", "fit"), [(30, 75, Fit(1)), (90, 75, Fit(3)), (28, 75, None), (30, 95, None)]
)
def test_by_day_of_the_month_a_fill_lasts_a_month_though_it_is_short_of_it(
    usual: int, percent: int, fit: Fit | None
) -> None:
    """At 95 % the next is paid on day 29, which is too late in February."""
    assert fit_of(medication(usual, percent), Rhythm(31, day_of_month=15), {usual}) == fit


@pytest.mark.parametrize(
    ("usual", "cycle", "trips"),
    [
        ((30, 30), 30, Fraction(365, 30)),
        ((30, 90), 30, Fraction(365, 30)),
        ((90, 90), 30, Fraction(365, 90)),
        ((60, 90), 30, 4 * Fraction(365, 180)),  # due at four of six slots
        ((30, 90), 90, Fraction(365, 90) + Fraction(365, 30)),  # one comes by itself
    ],
)
def test_trips_a_year_are_the_slots_at_which_a_drug_is_due(
    usual: Sequence[int], cycle: int, trips: Fraction
) -> None:
    assert least_trips([medication(each) for each in usual], Rhythm(cycle)) == trips


# --- the choice ---


def rolling(cycle: int, profile: Profile, commitments: Commitments = NO_COMMITMENTS, **facts: Any) -> Plan:
    return planned(replace(profile, cycle_policy=f"rolling_{cycle}"), commitments, **facts)


def cycle_of(plan: Plan) -> int:
    assert plan.rhythm
    return plan.rhythm.cycle_days


def ninety(*agos: int) -> Profile:
    names = "abc"[: len(agos)]
    return patient(
        [prescription(name, usual_days=90, usual_quantity=Decimal(90)) for name in names],
        [fill(name, in_days(-ago), 90) for name, ago in zip(names, agos, strict=True)],
    )


def test_the_longest_cycle_of_those_with_as_few_trips_is_chosen() -> None:
    assert cycle_of(planned(ninety(80, 78), rules=USUAL)) == 90
    assert cycle_of(planned(taking({"a": 12, "b": 15}), rules=USUAL)) == 30


def with_pack(**wishes: Any) -> Profile:
    """Two tablets of thirty days, and a pack of 28."""
    pack = prescription("p", drug=drug("p", unbreakable=True), usual_days=28, usual_quantity=Decimal(28))
    profile = taking({"a": 12, "b": 15}, **wishes)
    prescriptions = (*profile.prescriptions, pack)
    return replace(profile, prescriptions=prescriptions, fills=(*profile.fills, fill("p", in_days(-14), 28)))


def test_a_pack_of_28_days_brings_all_to_28() -> None:
    plan = planned(with_pack(), rules=USUAL)
    assert cycle_of(plan) == 28
    assert all(of(plan, name).joins_on for name in ("a", "b", "p"))


@pytest.mark.parametrize("cycle", [28, 30])
def test_a_stated_cycle_stands(cycle: int) -> None:
    plan = rolling(cycle, taking({"a": 12, "b": 12}), pinned(9), rules=USUAL)
    assert cycle_of(plan) == cycle
    assert plan.next_anchor_on == in_days(9 + cycle)


def test_nothing_is_proposed_that_saves_less_than_two_trips() -> None:
    plan = rolling(28, taking({"a": 12, "b": 12}), rules=USUAL)
    assert "rhythm_proposed" not in codes(plan.reasons), "thirty days would save one"


def test_a_drug_that_fits_no_slot_is_never_called_joined() -> None:
    plan = planned(with_pack(cycle_policy="rolling_30"), rules=USUAL)
    assert of(plan, "p").joins_on is None
    assert "never_joins" in codes(of(plan, "p").reasons)
    assert plan.rhythm and "rx-p" not in plan.rhythm.joins
    assert "rhythm_proposed" in codes(plan.reasons)
    assert plan.uncovered_days == 0


# --- kept ---


@pytest.mark.parametrize("cycle", [28, 30])
def test_once_agreed_the_cycle_and_the_next_day_are_kept(cycle: int) -> None:
    """Both would fit; the patient left the choice to the planner, and agreed."""
    commitments = replace(pinned(11), rhythm=PromisedRhythm(cycle))
    plan = planned(taking({"a": 14, "b": 15}), commitments, rules=USUAL)
    assert (cycle_of(plan), plan.anchor_on) == (cycle, in_days(11))
    assert plan.reasons[0].code == "anchor_agreed"


def test_before_anything_is_agreed_yesterdays_cycle_stays_unless_another_saves_a_whole_trip() -> None:
    """Every 28 days are 0.87 trips a year more than every 30; every 34 do not fit."""
    profile = taking({"a": 12, "b": 12})
    assert cycle_of(planned(profile, rules=USUAL)) == 30
    assert cycle_of(planned(profile, Commitments(rhythm=PromisedRhythm(28)), rules=USUAL)) == 28
    of_ninety = planned(ninety(80, 78), Commitments(rhythm=PromisedRhythm(84)), rules=USUAL)
    assert cycle_of(of_ninety) == 84, "4.3 trips a year where 90 days take 4.1"
    of_pack = planned(with_pack(), Commitments(rhythm=PromisedRhythm(30)), rules=USUAL)
    assert cycle_of(of_pack) == 28, "by thirty days the pack comes by itself"


def test_a_drug_that_was_told_to_join_joins_no_later_although_a_later_slot_would_do() -> None:
    commitments = replace(
        pinned(11), rhythm=PromisedRhythm(30, joins={"rx-a": in_days(11), "rx-b": in_days(11)})
    )
    plan = planned(taking({"a": 12, "b": 15}), commitments, rules=USUAL)
    assert plan.rhythm and dict(plan.rhythm.joins) == {"rx-a": in_days(11), "rx-b": in_days(11)}


# --- settling ---


@pytest.mark.parametrize(
    ("left", "run_out", "sooner"),
    [(1, 20, 1), (1, 21, 0), (3, 20, 3), (3, 21, 2), (3, 22, 1), (3, 23, 0), (4, 20, 3)],
)
def test_the_first_cycle_is_shorter_by_what_lacks_to_the_days_left_and_three_days_at_most(
    left: int, run_out: int, sooner: int
) -> None:
    """Policy: one day left, unless the chain says otherwise; the pickup on day 20 is agreed."""
    rules = replace(USUAL, settled_days_left=left)
    plan = rolling(30, taking({"a": run_out, "b": 26}), pinned(20), rules=rules)
    assert plan.next_anchor_on == in_days(50 - sooner)


def test_a_cycle_that_a_closure_makes_shorter_is_not_made_shorter_twice() -> None:
    """Day 50 is closed, and so is the day before: the store's last day leaves the cushion by itself."""
    closed = Calendar(closed_on=frozenset({in_days(50), in_days(49)}))
    plan = rolling(30, taking({"a": 21, "b": 26}), pinned(20), rules=USUAL, calendar=closed)
    assert plan.next_anchor_on == in_days(48)


def test_settling_stays_on_the_preferred_weekday() -> None:
    """The pickup is on Fri Mar 20, and the slot two days later than the Friday that takes its place."""
    profile = taking({"a": 20, "b": 20}, preferred_weekday=4, cycle_policy="rolling_30")
    plan = planned(profile, pinned(18), rules=USUAL)
    assert (plan.anchor_on.weekday(), plan.next_anchor_on.weekday()) == (4, 4)
    assert plan.next_anchor_on == in_days(46)


def test_what_lasts_longer_than_the_cycle_needs_no_settling() -> None:
    plan = rolling(28, taking({"a": 20, "b": 22}), pinned(20), rules=USUAL)
    assert plan.next_anchor_on == in_days(48)


# --- ties ---


def score(**facts: Any) -> Score:
    usual = Score(
        anchor=TODAY.toordinal(),
        rhythm=Rhythm(30),
        uncovered=(0, 0),
        broken_promises=0,
        one_time_trips=0,
        trips_a_year=Fraction(12),
        short_fills=0,
        overrides=0,
        burden=Fraction(12),
        urgent=(0, 0),
        late_claims=0,
        run_dry=0,
        from_preferred=0,
        from_cushion=0,
        all_joined=TODAY.toordinal(),
        load=0,
        full=False,
        extra_cost=Decimal(0),
        extra_cost_limit=Decimal(10),
    )
    return usual._replace(**facts)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"uncovered": (0, 9)}, {"uncovered": (1, 0)}),
        ({"broken_promises": 9}, {"uncovered": (0, 1)}),
        ({"extra_cost": Decimal(99)}, {"broken_promises": 1}),
        ({"burden": Fraction(99)}, {"extra_cost": Decimal("10.01")}),
        ({"urgent": (9, 9)}, {"burden": Fraction(12) + Fraction(1, 9)}),
        ({"late_claims": 9}, {"urgent": (0, 1)}),
        ({"run_dry": 9}, {"late_claims": 1}),
        ({"from_preferred": 3}, {"run_dry": 1}),
        ({"extra_cost": Decimal("9.99")}, {"from_preferred": 1}),
        ({"from_cushion": 99}, {"extra_cost": Decimal(5)}),
        ({"extra_cost": Decimal("4.99")}, {"from_cushion": 1}),  # less than five dollars decide nothing
        ({"all_joined": NEVER}, {"rhythm": Rhythm(28)}),
        ({"load": 99}, {"all_joined": TODAY.toordinal() + 1}),
        ({"anchor": NEVER}, {"load": 1}),
        ({}, {"anchor": TODAY.toordinal() + 1}),
    ],
)
def test_the_criteria_decide_in_their_order_and_then_the_ties(
    better: dict[str, Any], worse: dict[str, Any]
) -> None:
    key = order_of(COMMERCIAL, costs_known=True)
    assert key(score(**better)) < key(score(**worse))


def test_a_full_day_comes_after_every_other_that_leaves_nobody_without_a_drug_for_longer() -> None:
    key = order_of(COMMERCIAL, costs_known=True)
    assert key(score(broken_promises=9)) < key(score(full=True)) < key(score(uncovered=(0, 1)))
    assert TODAY + timedelta(days=1) == in_days(1)
