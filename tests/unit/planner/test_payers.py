"""Payers and laws in plans: what may be filled when and for how many days, what it costs, what a law grants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    Action,
    Fill,
    FillKind,
    Plan,
    PromisedItem,
    PromisedVisit,
    Rules,
    StaffDecision,
    StaffDecisionKind,
    StockReport,
    Visit,
    VisitKind,
)
from services.planner.domain.payers import PayerRule, SyncLaw
from services.planner.domain.stock import payable_from
from tests.unit.planner.cases import COMMERCIAL, TODAY, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import SYNCHRONIZED, codes, of, pinned, planned, trips
from tests.unit.planner.test_sizes import fills_of

COPAY = Decimal("30.00")


def rules(**facts: Any) -> Rules:
    """One commercial plan at 75 % with these facts."""
    return replace(
        COMMERCIAL, payers=(PayerRule("commercial", kind="commercial", refill_percent=75, **facts),)
    )


def paying(run_outs: dict[str, int], copay: Decimal | None = COPAY, **wishes: Any) -> Any:
    profile = taking(run_outs, **wishes)
    return replace(
        profile, prescriptions=tuple(replace(each, monthly_copay=copay) for each in profile.prescriptions)
    )


# --- costs ---


def test_a_known_copay_makes_the_extra_cost_known() -> None:
    """Policy: 75 %, short fills not prorated. a is bridged by 8 days at the price of 30: 22.00 beyond its share."""
    plan = planned(paying({"a": 12, "b": 20}), pinned(20), rules=rules())
    assert plan.short_fills == 1
    assert plan.extra_cost == Decimal("22.00")
    assert "cost_unknown" not in codes(plan.reasons)
    prorated = planned(paying({"a": 12, "b": 20}), pinned(20), rules=rules(prorates=True))
    assert prorated.extra_cost == 0


def test_an_antibiotic_that_staff_take_in_costs_the_whole_copay() -> None:
    """Policy: daily cost sharing, not for antibiotics (42 CFR 423.153(b)(4)). a is bridged by 8 days."""
    a, b = paying({"a": 12, "b": 20}).prescriptions
    profile = replace(
        paying({"a": 12, "b": 20}),
        prescriptions=(replace(a, drug=replace(a.drug, antibiotic=True)), b),
        rulings=(StaffDecision(StaffDecisionKind.include, "pharmacist", "x", TODAY, "rx-a"),),
    )
    shared = rules(prorates=True, prorates_antibiotics=False)
    assert planned(profile, pinned(20), rules=shared).extra_cost == Decimal("22.00")
    assert planned(profile, pinned(20), rules=rules(prorates=True)).extra_cost == 0


def test_one_unknown_copay_leaves_the_cost_unknown() -> None:
    profile = paying({"a": 12, "b": 20})
    profile = replace(
        profile,
        prescriptions=(profile.prescriptions[0], replace(profile.prescriptions[1], monthly_copay=None)),
    )
    plan = planned(profile, pinned(20), rules=rules())
    assert plan.extra_cost is None
    assert "cost_unknown" in codes(plan.reasons)


def test_a_cost_above_the_patients_limit_decides_before_trips_do() -> None:
    """Policy: the default order, 75 %, not prorated. One trip with a dear short fill, or two trips with none."""
    days = {"a": 12, "b": 27}
    unknown = planned(paying(days, None), rules=rules())
    assert unknown.open_visits == 1 and unknown.open_short_fills == 1
    high_cost = planned(paying(days, extra_cost_limit=Decimal(10)), rules=rules())
    assert high_cost.open_visits == 2 and high_cost.open_short_fills == 0 and high_cost.extra_cost == 0
    rich = planned(paying(days, extra_cost_limit=Decimal(500)), rules=rules())
    assert rich.open_visits == 1 and rich.open_short_fills == 1 and rich.extra_cost == 18


@pytest.mark.slow
def test_a_lower_copay_never_raises_the_extra_cost() -> None:
    """Policy: the cost decides first, in steps of five dollars; the same patient with every copay halved."""
    order = ("avoidable_uncovered_days", "extra_cost")
    for seed in range(40):
        rng = Random(seed)
        profile = paying({f"drug{n}": rng.randint(1, 30) for n in range(rng.randint(2, 4))})
        copays = [Decimal(rng.randint(2, 60)) for _ in profile.prescriptions]
        costs = []
        for part in (2, 1):
            prescriptions = tuple(
                replace(each, monthly_copay=copay * part)
                for each, copay in zip(profile.prescriptions, copays, strict=True)
            )
            plan = planned(
                replace(profile, prescriptions=prescriptions), rules=replace(rules(), criteria=order)
            )
            assert plan.extra_cost is not None
            costs.append(plan.extra_cost)
        assert costs[1] // 5 <= costs[0] // 5


# --- accumulation ---


def test_the_surplus_of_the_look_back_is_a_second_test() -> None:
    """Policy: 75 %, and over 180 days at most 30 days' surplus. Four refills, each on day 23, pile up 28 days; the
    fifth waits for no more than 30 on hand, and the eighth is free again: the first is out of the look-back."""
    rule = PayerRule("x", refill_percent=75, look_back_days=180, most_surplus_days=30)
    first = date(2026, 1, 1)
    on, fills = first, [fill("a", first)]
    waited = []
    for _ in range(8):
        on = payable_from(fills, 75, rule)
        waited.append((on - fills[-1].filled_on).days)
        fills.append(fill("a", on))
    assert waited == [23, 23, 23, 23, 28, 30, 30, 23]
    assert payable_from(fills, 75, replace(rule, most_surplus_days=90)) == on + timedelta(days=23)


def test_fills_before_the_look_back_are_forgotten() -> None:
    rule = PayerRule("x", refill_percent=75, look_back_days=60, most_surplus_days=10)
    piled = [fill("a", in_days(-100), 90), fill("a", in_days(-20), 30)]
    assert payable_from(piled, 75, rule) == in_days(3)
    assert payable_from(piled, 75, replace(rule, look_back_days=180)) == in_days(10)


def test_a_plan_waits_for_the_surplus_to_fall_and_a_new_dose_begins_anew() -> None:
    """Policy: 75 %, 180 days, at most 5 days' surplus. a was filled twice in ten days."""
    twice = (fill("a", in_days(-25)), fill("a", in_days(-15)), fill("b", in_days(-12)))
    profile = patient([prescription("a"), prescription("b")], twice)
    strict = rules(look_back_days=180, most_surplus_days=5)
    items = {item.drug_name: item for visit in planned(profile, rules=strict).visits for item in visit.items}
    assert items["a"].payable_from == in_days(30)
    double = prescription(
        "a", rx_id="rx-a2", units_per_day=Decimal(2), usual_quantity=Decimal(60), written_on=TODAY
    )
    old = prescription("a", status="discontinued")
    changed = replace(profile, prescriptions=(old, double, prescription("b")))
    items = {item.rx_id: item for visit in planned(changed, rules=strict).visits for item in visit.items}
    assert items["rx-a2"].payable_from == in_days(-15 + 23), "the first test alone"
    assert items["rx-a2"].clarification_codes == ("05",)
    assert items["rx-b"].clarification_codes == ()


@pytest.mark.parametrize("confirmed", [False, True])
def test_the_first_fill_of_a_changed_dose_alone_carries_the_code_for_it_also_once_it_is_confirmed(
    confirmed: bool,
) -> None:
    """Policy: 75 %, code 05. Two a day since the last fill; six days are filled on the fourth day, then thirty."""
    double = prescription("a", rx_id="rx-a2", units_per_day=Decimal(2), usual_quantity=Decimal(60))
    old = prescription("a", status="discontinued")
    profile = patient([old, double, prescription("b")], [fill("a", in_days(-25)), fill("b", in_days(-20))])
    bridge = PromisedVisit(
        VisitKind.bridge, in_days(4), (PromisedItem("rx-a2", FillKind.bridge, Decimal(12), 6),), confirmed
    )
    plan = planned(profile, pinned(10, bridge))
    of_a = [
        (item.clarification_codes, item.kind)
        for v in plan.visits
        for item in v.items
        if item.rx_id == "rx-a2"
    ]
    assert [kind for _, kind in of_a] == [FillKind.bridge, FillKind.full]
    assert ["05" in codes_of for codes_of, _ in of_a] == [True, False]
    assert "dose_changed" in [each.code for drug in plan.drugs for each in drug.reasons]


# --- days' supplies ---


def sizes(*days: int) -> frozenset[int]:
    return frozenset(days)


def test_a_long_fill_takes_the_place_of_the_bridge_where_the_plan_allows_its_days() -> None:
    """Policy: 75 %, 1 to 34 days. a runs out three days before the pickup: 33 days last to the next."""
    profile, commitments = taking({"a": 12, "b": 15}), pinned(15)
    plan = planned(profile, commitments, rules=rules(days_supplies=frozenset(range(1, 35))))
    [visit, _] = plan.visits
    assert [(item.kind, item.days_supply) for item in visit.items] == [(FillKind.long, 33)]
    assert of(plan, "a").action is Action.long_fill
    assert of(plan, "a").joins_on == plan.next_anchor_on
    assert plan.short_fills == 0
    plan = planned(profile, commitments, rules=rules(days_supplies=frozenset(range(1, 33))))
    assert of(plan, "a").action is Action.bridge


@pytest.mark.parametrize(
    ("copay", "prorates", "month", "filled", "cost"),
    [
        (47, True, 30, [3, 30], Decimal("0.01")),  # 33 days at once: two copays, 42.30 beyond their share
        (
            47,
            False,
            30,
            [59],
            Decimal("1.57"),
        ),  # to the pickup after next: 33 would cost as much as the three do
        (47, True, 34, [33], Decimal("0.00")),  # within the plan's month
        (0, True, 30, [33], Decimal("0.00")),
        (None, True, 30, [33], None),
    ],
)
def test_no_long_fill_costs_the_patient_more_than_its_parts(
    copay: int | None, prorates: bool, month: int, filled: list[int], cost: Decimal | None
) -> None:
    """Policy: 75 %, 1 to 90 days. The case above; what is short-filled alone is prorated (R8.2)."""
    facts = {"monthly_copay": None if copay is None else Decimal(copay)}
    profile = patient(
        [prescription("a", **facts), prescription("b", **facts)],
        [fill("a", in_days(-18)), fill("b", in_days(-15))],
    )
    payer = rules(days_supplies=frozenset(range(1, 91)), prorates=prorates, month_days=month)
    plan = planned(profile, pinned(15), rules=payer)
    assert [days for _, days in fills_of(plan, "a")] == filled
    assert plan.extra_cost == cost


def test_nobody_comes_for_nothing_to_a_pickup_that_long_fills_would_empty() -> None:
    plan = planned(taking({"a": 12}), pinned(15), rules=rules(days_supplies=frozenset(range(1, 35))))
    assert [(visit.kind, [item.days_supply for item in visit.items]) for visit in plan.visits][-1] == (
        SYNCHRONIZED,
        [30],
    )


def test_one_long_fill_closes_a_gap_of_more_than_the_usual_supply() -> None:
    """Policy: 30 and 35 days allowed: 35 days at once in place of 30 and then 5."""
    plan = planned(taking({"a": 5, "b": 30}), pinned(40), rules=rules(days_supplies=sizes(30, 35)))
    fills = [item.days_supply for visit in plan.visits for item in visit.items if item.drug_name == "a"]
    assert fills == [35, 30]


def test_a_supply_of_28_days_has_all_come_every_28_days() -> None:
    """Unless thirty were stated: then it comes by itself, and 28 are proposed."""
    short = prescription("a", usual_days=28, usual_quantity=Decimal(28))
    profile = patient([short, prescription("b")], [fill("a", in_days(-17), 28), fill("b", in_days(-18))])
    plan = planned(profile, pinned(11), rules=rules(days_supplies=sizes(28, 30)))
    assert plan.rhythm and plan.rhythm.cycle_days == 28
    assert trips(plan) == [(SYNCHRONIZED, 11, ["a", "b"])]
    assert plan.uncovered_days == 0
    stated = replace(profile, cycle_policy="rolling_30")
    plan = planned(stated, pinned(11), rules=rules(days_supplies=sizes(28, 30)))
    assert of(plan, "a").joins_on is None
    assert "rhythm_proposed" in codes(plan.reasons)
    assert plan.uncovered_days == 0


def test_a_plan_that_pays_fewer_days_than_usual_is_filled_as_it_pays() -> None:
    ninety = prescription("a", usual_days=90, usual_quantity=Decimal(90))
    profile = patient([ninety, prescription("b")], [fill("a", in_days(-78), 90), fill("b", in_days(-18))])
    plan = planned(profile, pinned(12), rules=rules(days_supplies=frozenset(range(1, 35))))
    assert [(item.quantity, item.days_supply) for item in plan.visits[0].items] == [(34, 34), (30, 30)]
    assert "days_supply_capped" in codes(of(plan, "a").reasons)


# --- clarification codes ---


def test_the_codes_of_a_short_fill_and_of_the_fill_after_it() -> None:
    """Policy: 61, else 47; then 48."""
    plan = planned(taking({"a": 12, "b": 15}), pinned(15))
    assert [(item.drug_name, item.clarification_codes) for visit in plan.visits for item in visit.items] == [
        ("a", ("61", "47")),
        ("a", ("48",)),
        ("b", ()),
    ]
    bridged = replace(
        taking({"a": 5, "b": 15}),
        fills=(fill("a", in_days(-25)), fill("a", in_days(-3), 10), fill("b", in_days(-15))),
    )
    anchor = planned(bridged, pinned(15)).visits[-1]
    assert [item.clarification_codes for item in anchor.items] == [("48",), ()]


# --- laws ---

LAW = SyncLaw(
    "the law",
    "OK",
    frozenset({"commercial"}),
    begins_on=date(2026, 1, 1),
    syncs_a_year=1,
    drugs_at_least=2,
    prorates=True,
    overrides_too_soon=True,
)
OKLAHOMA = Calendar(state="OK")


def lost(**facts: Any) -> Any:
    """b was filled 2 days ago and mostly lost: it runs out before the payer pays, after the pickup of a."""
    profile = replace(taking({"a": 10, "b": 28}), stock_reports=(StockReport("rx-b", TODAY, 12),))
    return replace(profile, **facts)


def with_law(law: SyncLaw = LAW) -> Rules:
    return replace(rules(), laws=(law,))


def test_a_law_lets_a_drug_join_before_the_payer_pays() -> None:
    plan = planned(lost(), pinned(10), calendar=OKLAHOMA, rules=with_law())
    assert trips(plan) == [(SYNCHRONIZED, 10, ["a", "b"])]
    assert plan.uncovered_days == 0
    assert "override_by_law" in codes(of(plan, "b").reasons)


BY_STAFF = StaffDecision(StaffDecisionKind.fill, "pharmacist", "settled", TODAY, rx_id="rx-b")


@pytest.mark.parametrize(
    ("pickup", "calendar", "rulings", "facts", "submitted"),
    [
        (5, OKLAHOMA, (), {}, ("02",)),
        (5, OKLAHOMA, (), {"override_code": "7"}, ("7",)),
        (5, Calendar(), (BY_STAFF,), {}, ("02",)),
        (5, OKLAHOMA, (BY_STAFF,), {}, ("02",)),
        (14, OKLAHOMA, (), {}, ("02",)),
        (15, OKLAHOMA, (), {}, ()),
        (15, Calendar(), (BY_STAFF,), {}, ()),
    ],
    ids=["law", "the payer's own", "staff", "both", "a day too soon", "due by law", "due by staff"],
)
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_fill_too_soon_carries_the_code_of_an_override(
    pickup: int,
    calendar: Calendar,
    rulings: tuple[StaffDecision, ...],
    facts: dict[str, Any],
    submitted: tuple[str, ...],
    confirmed: bool,
) -> None:
    """Policy: 75 %, code 02 (R7.12: other override). The payer pays b from the 15th day on."""
    items = tuple(PromisedItem(rx_id, FillKind.full, Decimal(30), 30) for rx_id in ("rx-a", "rx-b"))
    visits = (PromisedVisit(SYNCHRONIZED, in_days(pickup), items, confirmed=True),) if confirmed else ()
    profile = taking({"a": pickup + 1, "b": 22}, rulings=rulings)
    with_code = replace(with_law(), payers=rules(**facts).payers)
    plan = planned(profile, pinned(pickup, *visits), calendar=calendar, rules=with_code)
    [visit] = plan.visits
    assert [item.clarification_codes for item in visit.items] == [(), submitted]
    [b] = [each for each in of(plan, "b").reasons if each.code.startswith("override_by_")] or [None]
    assert (b.params["code"] if b else None) == (submitted[0] if submitted else None)


def test_a_law_may_ask_that_others_agree() -> None:
    plan = planned(
        lost(),
        pinned(10),
        calendar=OKLAHOMA,
        rules=with_law(replace(LAW, consents=("patient", "prescriber"))),
    )
    said = next(each for each in of(plan, "b").reasons if each.code == "override_needs_consent")
    assert said.params["who"] == "patient, prescriber"
    without = planned(lost(), pinned(10), calendar=OKLAHOMA, rules=with_law())
    assert "override_needs_consent" not in codes(of(without, "b").reasons)


@pytest.mark.parametrize(
    ("law", "facts"),
    [
        ({"state": "TX"}, {}),
        ({"binds": frozenset({"medicaid"})}, {}),
        ({"begins_on": in_days(11)}, {}),
        ({"ends_on": in_days(9)}, {}),
        ({"overrides_too_soon": False}, {}),
        ({"overrides_short_fills_alone": True}, {}),
        ({"excluded_forms": frozenset({"tablet"})}, {}),
        ({"drugs_at_least": 3}, {}),
        ({}, {"fills": (fill("a", in_days(-20)), fill("b", in_days(-2)), fill("a", in_days(-40), 9))}),
    ],
    ids=[
        "another state",
        "another payer",
        "not yet",
        "no longer",
        "no override",
        "of short fills alone",
        "form",
        "too few",
        "used up",
    ],
)
def test_without_the_law_it_joins_later(law: dict[str, Any], facts: dict[str, Any]) -> None:
    plan = planned(lost(**facts), pinned(10), calendar=OKLAHOMA, rules=with_law(replace(LAW, **law)))
    assert of(plan, "b").action is Action.join_later


def test_a_law_that_counts_by_the_drug_forgets_what_other_drugs_used() -> None:
    used: Sequence[Fill] = (
        fill("a", in_days(-20)),
        fill("b", in_days(-2)),
        fill("a", in_days(-40), 9),
    )
    per_drug = replace(LAW, syncs_per="drug")
    plan = planned(lost(fills=tuple(used)), pinned(10), calendar=OKLAHOMA, rules=with_law(per_drug))
    assert of(plan, "b").action is not Action.join_later


@pytest.mark.parametrize(
    ("law", "pickup", "is_granted"),
    [
        ({"begins_on": in_days(9)}, 9, True),
        ({"begins_on": in_days(10)}, 9, False),
        ({"ends_on": in_days(20)}, 9, False),
        ({"ends_on": in_days(21)}, 9, True),
    ],
    ids=["in force that day", "the day after", "ends before the payer pays", "ends when it pays"],
)
def test_the_law_of_the_day_of_the_fill_counts(law: dict[str, Any], pickup: int, is_granted: bool) -> None:
    """b is payable from the 21st day: whether a law that ends before it holds at the pickup is not relied on."""
    plan = planned(lost(), pinned(pickup), calendar=OKLAHOMA, rules=with_law(replace(LAW, **law)))
    assert (of(plan, "b").action is not Action.join_later) == is_granted


def filled(*fills: tuple[str, int, int]) -> Any:
    """a was filled 20 days ago and b 2 days ago, as in `lost`; and before, or besides, c, which is taken no more."""
    taken = [prescription(name) for name in ("a", "b")]
    others = tuple(fill(name, in_days(on), days) for name, on, days in fills)
    return lost(
        prescriptions=(*taken, prescription("c", status="discontinued")),
        fills=(fill("a", in_days(-20)), fill("b", in_days(-2)), *others),
    )


@pytest.mark.parametrize(
    ("fills", "is_granted"),
    [
        ([], True),
        ([("a", -1, 5)], True),
        ([("a", -10, 5), ("a", -1, 5)], True),
        ([("a", -19, 5)], True),
        ([("a", -21, 5)], False),
        ([("c", -29, 5)], True),
        ([("c", -30, 5)], False),
        ([("c", -45, 5), ("a", -1, 5)], False),
        ([("c", -45, 5), ("a", -19, 5)], False),
        ([("c", -80, 5)], True),
    ],
    ids=[
        "none",
        "a bridge",
        "two bridges",
        "not filled in full since",
        "filled in full since",
        "in the cycle",
        "a cycle ago",
        "an earlier one",
        "one of both",
        "last year",
    ],
)
def test_the_bridges_of_one_synchronization_are_one_until_its_pickup(
    fills: list[tuple[str, int, int]], is_granted: bool
) -> None:
    """Policy: one synchronization per insured and year; today is 2 March."""
    plan = planned(filled(*fills), pinned(10), calendar=OKLAHOMA, rules=with_law())
    assert (of(plan, "b").action is not Action.join_later) == is_granted


@pytest.mark.parametrize(
    ("fills", "is_granted"),
    [
        ([("b", -25, 30)], True),
        ([("b", -24, 30)], False),
        ([("a", -42, 30)], False),
        ([("c", -30, 30), ("c", -20, 30)], False),
        ([("c", -72, 30), ("c", -62, 30)], True),
    ],
    ids=["on the payer's day", "the day before it", "another drug", "taken no more", "last year"],
)
def test_a_fill_before_the_payers_day_is_a_synchronization(
    fills: list[tuple[str, int, int]], is_granted: bool
) -> None:
    """Policy: 75 %, one synchronization per insured and year (Oklahoma Statutes 36-3634.5); today is 2 March."""
    plan = planned(filled(*fills), pinned(10), calendar=OKLAHOMA, rules=with_law())
    assert (of(plan, "b").action is not Action.join_later) == is_granted


def test_a_fill_too_soon_for_a_payer_that_the_law_does_not_bind_is_none() -> None:
    profile = filled(("c", -30, 30), ("c", -20, 30))
    profile = replace(
        profile,
        prescriptions=(*profile.prescriptions[:2], replace(profile.prescriptions[2], payer="another")),
    )
    plan = planned(profile, pinned(10), calendar=OKLAHOMA, rules=with_law())
    assert of(plan, "b").action is not Action.join_later


@pytest.mark.parametrize(("pickup", "is_granted"), [(31, False), (32, True)], ids=["31 Dec", "1 Jan"])
def test_the_year_of_the_fill_counts(pickup: int, is_granted: bool) -> None:
    """Policy: one synchronization per insured and year; today is 22 December, and this year's is used."""
    today, new_year = date(2026, 12, 22), date(2027, 1, 1)
    on = new_year + timedelta(days=pickup - 32)
    drugs = tuple(prescription(name, expires_on=date(2027, 12, 1)) for name in ("a", "b"))
    fills = (
        fill("a", today - timedelta(days=20)),
        fill("b", today - timedelta(days=2)),
        fill("a", today - timedelta(days=100), 5),
    )
    profile = patient(drugs, fills, stock_reports=(StockReport("rx-b", today, 12),))
    commitments = replace(pinned(10), anchor_on=on)
    plan = planned(profile, commitments, calendar=OKLAHOMA, rules=with_law(), today=today)
    assert (of(plan, "b").action is not Action.join_later) == is_granted


def test_an_override_counts_like_a_short_fill() -> None:
    """Policy: the default order. b is payable from the 21st: any day from then on spares the override."""
    plan = planned(taking({"a": 24, "b": 28}), calendar=OKLAHOMA, rules=with_law())
    assert plan.anchor_on >= in_days(21)
    assert "override_by_law" not in codes(of(plan, "b").reasons)


def test_a_law_prorates_what_the_plan_does_not() -> None:
    high_cost = planned(paying({"a": 12, "b": 20}), pinned(20), rules=with_law())
    assert high_cost.extra_cost == Decimal("22.00")
    plan = planned(paying({"a": 12, "b": 20}), pinned(20), calendar=OKLAHOMA, rules=with_law())
    assert plan.extra_cost == 0


# --- a kinder rule never makes a plan worse ---


def first_criteria(plan: Plan) -> tuple[int, int, int]:
    """What the first criteria that such patients differ in come to."""
    return plan.uncovered_days - plan.unavoidable_days, plan.offered[0].visits_before, plan.short_fills


KINDER: dict[str, tuple[Rules, Calendar]] = {
    "long fills": (rules(days_supplies=frozenset(range(1, 61))), Calendar()),
    "a lower threshold": (
        replace(COMMERCIAL, payers=(PayerRule("commercial", refill_percent=60),)),
        Calendar(),
    ),
    "surplus enough": (rules(look_back_days=180, most_surplus_days=60), Calendar()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDER)
def test_a_kinder_rule_never_takes_more_visits_short_fills_or_uncovered_days(kind: str) -> None:
    kinder, calendar = KINDER[kind]
    better = 0
    for seed in range(60):
        rng = Random(seed)
        profile = taking({f"drug{n}": rng.randint(1, 30) for n in range(rng.randint(2, 5))})
        usual, kind_one = planned(profile), planned(profile, rules=kinder, calendar=calendar)
        assert first_criteria(kind_one) <= first_criteria(usual), f"seed {seed}"
        better += first_criteria(kind_one) < first_criteria(usual)
    assert better or kind == "surplus enough"


def test_a_stricter_surplus_never_pays_sooner() -> None:
    for seed in range(60):
        rng = Random(seed)
        fills = [fill("a", in_days(-rng.randint(0, 150)), rng.choice([10, 30, 90])) for _ in range(6)]
        days = [
            payable_from(fills, 75, PayerRule("x", look_back_days=180, most_surplus_days=surplus))
            for surplus in (90, 60, 30, 10, 0)
        ]
        assert days == sorted(days)


@pytest.mark.slow
def test_a_law_that_grants_overrides_never_leaves_more_days_uncovered() -> None:
    """b was partly lost, so that it runs out before the payer pays."""
    spared = 0
    for seed in range(60):
        rng = Random(seed)
        profile = taking({"a": rng.randint(5, 30), "b": rng.randint(20, 30)})
        profile = replace(profile, stock_reports=(StockReport("rx-b", TODAY, rng.randint(0, 12)),))
        without = planned(profile, rules=with_law())
        granted = planned(profile, rules=with_law(), calendar=OKLAHOMA)
        assert first_criteria(granted)[0] <= first_criteria(without)[0], f"seed {seed}"
        spared += granted.uncovered_days < without.uncovered_days
    assert spared


@pytest.mark.parametrize(
    ("left", "payer", "codes_at_pickup"),
    [
        (20, rules(), ("48",)),  # 15 days, after a bridge of five
        (20, rules(days_supplies=frozenset(range(1, 31))), ("48",)),
        (20, rules(days_supplies=frozenset({30}), pays_short_fills=True), ("61", "47")),  # by its code alone
        (35, rules(), ("48",)),
    ],
)
@pytest.mark.parametrize("confirmed", [False, True])
def test_the_rest_of_what_is_authorized_is_no_fill_that_synchronizes(
    left: int, payer: Rules, codes_at_pickup: tuple[str, ...], confirmed: bool
) -> None:
    """Policy: 75 %, codes 61, else 47, and 48. a runs out five days before the agreed pickup on day 13."""
    a = prescription("a", quantity_left=Decimal(left))
    profile = patient([a, prescription("b")], [fill("a", in_days(-22)), fill("b", in_days(-14))])
    commitments = pinned(13)
    if confirmed:
        visits = planned(profile, commitments, rules=payer).visits
        commitments = pinned(13, *(_told(visit) for visit in visits))
    first, second, *_ = (
        item
        for visit in planned(profile, commitments, rules=payer).visits
        for item in visit.items
        if item.rx_id == "rx-a"
    )
    assert first.clarification_codes == ("61", "47")
    assert second.clarification_codes == codes_at_pickup


def _told(visit: Visit) -> PromisedVisit:
    items = tuple(
        PromisedItem(each.rx_id, each.kind, each.quantity, each.days_supply) for each in visit.items
    )
    return PromisedVisit(visit.kind, visit.on, items, confirmed=True)


def test_less_at_the_pickup_by_staffs_word_is_a_short_fill() -> None:
    """Policy: 75 %, codes 61, else 47."""
    ruling = StaffDecision(StaffDecisionKind.quantity, "pharmacist", "x", TODAY, "rx-a", quantity=Decimal(9))
    plan = planned(replace(taking({"a": 12, "b": 12}), rulings=(ruling,)), pinned(12), rules=rules())
    assert plan.visits[0].items[0].clarification_codes == ("61", "47")
