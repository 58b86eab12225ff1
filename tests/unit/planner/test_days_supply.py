"""How long a quantity lasts, as the patient takes it and as the payer was told (R2, R3.5)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.days_supply import billed_days, true_days, whole_units
from services.planner.domain.eligibility import assess
from services.planner.domain.model import (
    Drug,
    Fill,
    Participation,
    Plan,
    Prescription,
    StaffDecision,
    StaffDecisionKind,
    StockReport,
    VisitKind,
)
from services.planner.domain.payers import PayerRule
from services.planner.domain.reading import as_read
from services.planner.domain.stock import payable_from, stock_key, stocks_of
from tests.unit.planner.cases import COMMERCIAL, TODAY, drug, fill, in_days, patient, prescription
from tests.unit.planner.test_plan import codes, of, pinned, planned
from tests.unit.planner.test_sizes import paid


def insulin(directions: str = "40 units SQ once daily", **facts: Any) -> Prescription:
    """Pens of 3 mL, 100 units in each, five in a box, without a daily use in the file."""
    of_pens = {"doses_per_unit": Decimal(100), "container_quantity": Decimal(3), **facts}
    return prescription(
        "insulin",
        drug=drug("insulin", form="injection", unbreakable=True, **of_pens),
        directions=directions,
        units_per_day=None,
        usual_quantity=Decimal(15),
        usual_days=60,
    )


def drops(per_ml: int = 20, **facts: Any) -> Prescription:
    return prescription(
        "latanoprost",
        drug=drug("latanoprost", form="drops", unbreakable=True, doses_per_unit=Decimal(per_ml), **facts),
        directions="1 drop OU bid",
        units_per_day=None,
        usual_quantity=Decimal(5),
        usual_days=30,
    )


def read(each: Prescription, **facts: Any) -> tuple[Prescription, list[str]]:
    """The prescription as the rules take it, and what is said of it."""
    profile, said = as_read(patient([each], **facts), COMMERCIAL, "OK", TODAY)
    return profile.prescriptions[0], [reason.code for reason in said[each.rx_id]]


# --- days = usable quantity / maximum daily use, rounded down ---


@pytest.mark.parametrize(
    ("each", "quantity", "days"),
    [
        (prescription("a"), 30, 30),
        (prescription("a", units_per_day=Decimal("1.5")), 31, 20),  # 20.67
        (prescription("a", units_per_day=Decimal("0.5")), 15, 30),
        (insulin(), 15, 37),  # 1500 units at 40 a day: 37.5
        (insulin(priming_doses=Decimal(2)), 15, 35),  # at 42 a day: 35.7
        (insulin("10 units SQ twice daily", priming_doses=Decimal(2)), 15, 62),  # at 24 a day: 62.5
        (
            insulin("10 units SQ once daily", in_use_days=28),
            15,
            140,
        ),  # a pen would last 30 days, and is kept for 28
        (insulin("10 units SQ once daily", in_use_days=28), 4, 38),  # a pen of 28 days, and 1 mL of 10
        (insulin("as directed", in_use_days=28), 15, 140),  # five pens of at most 28 days
        (insulin("as directed"), 15, None),
        (drops(20), 5, 25),  # 100 drops at 4 a day
        (drops(15), 5, 18),  # 75 drops: 18.75
        (drops(20, in_use_days=42), 20, 42),
        (drops(20), 0, None),
    ],
)
def test_a_quantity_lasts_by_the_most_that_is_taken_rounded_down(
    each: Prescription, quantity: int, days: int | None
) -> None:
    assert true_days(Decimal(quantity), each) == days


@pytest.mark.parametrize(
    ("each", "days", "said"),
    [
        (insulin(priming_doses=Decimal(2)), 35, ["days_supply_by_use"]),
        (insulin("1 unit SQ once daily", in_use_days=10), 50, ["days_supply_in_use"]),
        (drops(20), 25, ["days_supply_by_use"]),
        (drops(30), 30, ["days_supply_differs"]),  # 37: longer than the file says is for a pharmacist to see
        (prescription("a", usual_days=0), 30, ["days_supply_counted"]),
        (prescription("a", usual_days=33), 33, ["days_supply_differs"]),  # nothing but the file to go by
        (prescription("a", usual_days=33, directions="1 daily"), 30, ["days_supply_by_use"]),
        (prescription("a", usual_days=33, directions="1 daily prn"), 33, ["days_supply_differs"]),
        (
            prescription("a", usual_days=33, directions="2 daily"),
            33,
            ["directions_differ", "days_supply_differs"],
        ),
        (prescription("a", usual_days=20, directions="1 daily"), 20, ["days_supply_differs"]),
        (prescription("a"), 30, []),
        (replace(insulin(), drug=drug("insulin", form="injection")), 60, []),
    ],
)
def test_a_shorter_supply_by_the_drugs_facts_is_kept_to_and_said(
    each: Prescription, days: int, said: list[str]
) -> None:
    taken, codes_of_it = read(each)
    assert (taken.usual_days, codes_of_it) == (days, said)


# --- whole doses ---


def weekly(directions: str, per_day: str, quantity: int, days: int, **facts: Any) -> Prescription:
    return prescription(
        "a",
        directions=directions,
        units_per_day=Decimal(per_day),
        usual_quantity=Decimal(quantity),
        usual_days=days,
        **facts,
    )


METHOTREXATE = weekly("take 6 tablets by mouth once weekly", "0.8571", 24, 28)


@pytest.mark.parametrize(
    ("directions", "per_day", "units"),
    [
        ("take 6 tablets by mouth once weekly", "0.8571", 6),
        ("1 cap 2x/week", "0.2857", 1),
        ("2 tabs twice weekly", "0.5714", 2),
        ("2 tablets every other day", "1", 2),
        ("1/2 tab every other day", "0.25", 1),
        ("1 1/2 tabs every other day", "0.75", 3),
        ("1 1/2 tabs daily", "1.5", 1),
        ("2 tabs daily", "2", 1),
        ("1 daily", "0.8571", 6),  # the two contradict each other: by whole weeks
        ("", "0.8571", 6),
        ("", "0.1429", 1),
        ("", "0.4286", 3),
        ("", "1", 1),
        ("", "1.1429", 1),
        ("", "0.5", 1),
    ],
)
def test_what_is_not_taken_every_day_is_dispensed_by_whole_doses(
    directions: str, per_day: str, units: int
) -> None:
    each, _ = read(weekly(directions, per_day, 30, 30))
    assert whole_units(each.said.use, each.units_per_day) == units


@pytest.mark.parametrize(
    ("each", "ago", "pickup", "payer", "filled"),
    [
        (METHOTREXATE, 20, 12, paid(), [(6, 6, 7), (12, 24, 28)]),  # a gap of 4 days, and never 4 tablets
        (METHOTREXATE, 20, 18, paid(), [(4, 12, 14), (18, 24, 28)]),  # of 10
        (METHOTREXATE, 20, 30, paid(), [(6, 24, 28), (30, 24, 28)]),  # of 22: the usual fill, and no more
        (METHOTREXATE, 20, 8, paid(*range(1, 31)), [(8, 24, 28)]),
        (replace(METHOTREXATE, quantity_left=Decimal(16)), 20, 8, paid(), [(8, 12, 14)]),  # two of them
        (
            replace(METHOTREXATE, quantity_left=Decimal(9)),
            20,
            12,
            paid(),
            [(6, 6, 7), (12, 24, 28)],
        ),  # if it is renewed
        (weekly("1 weekly", "0.1429", 12, 84), 76, 8, paid(*range(1, 31)), [(8, 4, 28)]),
        (weekly("1 weekly", "0.1429", 4, 28), 20, 12, paid(), [(6, 1, 7), (12, 4, 28)]),
    ],
)
def test_no_dose_is_filled_in_part(
    each: Prescription, ago: int, pickup: int, payer: PayerRule, filled: list[tuple[int, int, int]]
) -> None:
    """Policy: 75 %. The day, the units and the days of every fill up to the agreed pickup, at which b is due."""
    profile = patient(
        [each, prescription("b")],
        [fill("a", in_days(-ago), each.usual_days), fill("b", in_days(pickup - 30))],
    )
    plan = planned(profile, pinned(pickup), rules=replace(COMMERCIAL, payers=(payer,)))
    assert [
        ((visit.on - TODAY).days, item.quantity, item.days_supply)
        for visit in plan.visits
        for item in visit.items
        if item.drug_name == "a"
    ] == filled


def test_less_than_a_dose_is_nothing_left() -> None:
    """Five tablets are no dose of six."""
    few = replace(METHOTREXATE, quantity_left=Decimal(5))
    plan = planned(patient([few, prescription("b")], [fill("a", in_days(-20), 28), fill("b", in_days(-20))]))
    assert "no_quantity_left" in codes(of(plan, "a").reasons)
    assert all(item.condition for visit in plan.visits for item in visit.items if item.rx_id == "rx-a")


def test_why_a_weekly_drug_is_bridged_for_longer_than_the_gap_is_said() -> None:
    profile = patient(
        [METHOTREXATE, prescription("b")], [fill("a", in_days(-20), 28), fill("b", in_days(-18))]
    )
    [why] = [r for r in of(planned(profile, pinned(12)), "a").reasons if r.code == "whole_doses"]
    assert why.params == {"units": 6, "days": 3}


def test_a_pen_that_is_discarded_runs_out_on_that_day_whatever_was_recorded() -> None:
    """Policy: 75 %. Ten days ago a pen of 300 units was opened, at 5 a day: 60 days by the file, 28 in truth."""
    pen = replace(
        insulin("5 units SQ once daily", in_use_days=28), usual_quantity=Decimal(3), quantity_left=Decimal(30)
    )
    filled = Fill(pen.rx_id, in_days(-10), in_days(-10), 60, Decimal(3))
    profile = patient([pen, prescription("b")], [filled, fill("b", in_days(-10))])
    assert stocks_of(profile, TODAY)[stock_key(pen.drug)].run_out_on == in_days(18)
    recorded_without_quantity = replace(
        profile, fills=(replace(filled, quantity=Decimal(0)), profile.fills[1])
    )
    assert stocks_of(recorded_without_quantity, TODAY)[stock_key(pen.drug)].run_out_on == in_days(50)
    plan = planned(profile)
    item = next(each for visit in plan.visits for each in visit.items if each.rx_id == pen.rx_id)
    assert item.days_supply == 28
    assert "days_supply_in_use" in codes(of(plan, "insulin").reasons)


def test_tablets_that_are_used_up_sooner_than_recorded_run_out_then() -> None:
    """Ten days ago 30 tablets for 30 days, taken twice a day by the file and by the directions: five days are left."""
    twice = prescription("a", units_per_day=Decimal(2), directions="1 bid")
    filled = Fill("rx-a", in_days(-10), in_days(-10), 30, Decimal(30))
    assert stocks_of(patient([twice], [filled]), TODAY)[stock_key(drug("a"))].run_out_on == in_days(5)
    in_doubt = replace(twice, directions="1 daily")
    assert stocks_of(patient([in_doubt], [filled]), TODAY)[stock_key(drug("a"))].run_out_on == in_days(20)


# --- billed and true days are kept apart ---


@pytest.mark.parametrize(
    ("days", "sizes", "billed"),
    [
        (50, range(1, 35), 34),
        (30, range(1, 35), 30),
        (50, [*range(1, 31), 60, 90], 30),
        (50, [], 50),
        (20, [30], 20),
    ],
)
def test_a_pack_that_lasts_longer_than_the_plan_pays_is_billed_as_the_most_that_it_pays(
    days: int, sizes: Any, billed: int
) -> None:
    assert billed_days(days, PayerRule("x", days_supplies=frozenset(sizes))) == billed


MEDICAID = replace(
    COMMERCIAL,
    payers=(PayerRule("commercial", refill_percent=75, days_supplies=frozenset(range(1, 35))),),
)


def pack(quantity: int, days: int, **facts: Any) -> Prescription:
    return prescription(
        "inhaler",
        drug=drug("inhaler", form="inhaler", unbreakable=True, **facts),
        units_per_day=None,
        usual_quantity=Decimal(quantity),
        usual_days=days,
    )


def item_of(plan: Plan, name: str) -> Any:
    return next(item for visit in plan.visits for item in visit.items if item.drug_name == name)


def with_pack(each: Prescription, ago: int) -> Plan:
    fills = [fill("inhaler", in_days(-ago), each.usual_days), fill("b", in_days(-10))]
    return planned(patient([each, prescription("b")], fills), rules=MEDICAID)


def test_the_smallest_unbroken_pack_is_billed_below_its_true_days_with_both_figures() -> None:
    """Policy: 75 %, at most 34 days. One inhaler lasts 50 days: code 10 first, else billed as 34."""
    plan = with_pack(pack(1, 50), ago=40)
    item = item_of(plan, "inhaler")
    assert (item.quantity, item.days_supply, item.days_supply_billed) == (1, 50, 34)
    assert item.clarification_codes == ("10",)
    assert "billed_as" in codes(of(plan, "inhaler").reasons)


def test_of_several_packs_as_many_as_the_plan_pays() -> None:
    """Policy: 75 %, at most 34 days. Three packs of 15 days: two are filled; at least one whatever the plan pays."""
    plan = with_pack(pack(3, 45, pack_quantity=Decimal(1)), ago=40)
    item = item_of(plan, "inhaler")
    assert (item.quantity, item.days_supply, item.days_supply_billed) == (2, 30, None)
    assert "fewer_packs" in codes(of(plan, "inhaler").reasons)
    one = item_of(with_pack(pack(3, 150, pack_quantity=Decimal(1)), ago=145), "inhaler")
    assert (one.quantity, one.days_supply, one.days_supply_billed) == (1, 50, 34)


def test_the_payers_clock_runs_on_billed_days_and_the_stock_on_true_days() -> None:
    billed = Fill("rx-a", in_days(-10), in_days(-10), 50, days_supply_billed=34)
    stock = stocks_of(patient([prescription("a")], [billed]), TODAY)[stock_key(drug("a"))]
    assert stock.run_out_on == in_days(40)
    assert payable_from(stock.fills, 75, PayerRule("any")) == in_days(-10 + 26)
    piled = PayerRule("any", look_back_days=180, most_surplus_days=0)
    assert payable_from(stock.fills, 75, piled) == in_days(-10 + 34)


@pytest.mark.parametrize(
    ("billed", "staff"),
    [
        (None, None),  # 50 days, filled 22 days ago: by three quarters of them, from day 16 on
        (50, None),
        (30, None),  # although its payer pays from day 1 on
        (30, StaffDecisionKind.fill),  # staff had it settled
    ],
)
def test_what_was_billed_as_fewer_days_is_filled_no_earlier(
    billed: int | None, staff: StaffDecisionKind | None
) -> None:
    """Policy: 75 %. a lasts until day 28; b is due on day 12."""
    last = Fill("rx-a", in_days(-22), in_days(-22), 50, days_supply_billed=billed)
    rulings = (StaffDecision(staff, "pharmacist", "x", TODAY, "rx-a"),) if staff else ()
    profile = patient(
        [prescription("a"), prescription("b")], [last, fill("b", in_days(-18))], rulings=rulings
    )
    plan = planned(profile)
    [first, *_] = [visit.on for visit in plan.visits for item in visit.items if item.drug_name == "a"]
    assert (first >= in_days(16)) == (staff is None)
    assert ("billed_fewer" in codes(of(plan, "a").reasons)) == (billed == 30 and staff is None)


# --- fills elsewhere ---


def test_a_fill_elsewhere_counts_for_the_payer_alone() -> None:
    """Policy: 75 %. Filled here 25 days ago, at another pharmacy yesterday: the payer pays again in 22 days."""
    elsewhere = replace(fill("a", in_days(-1)), elsewhere=True)
    profile = patient([prescription("a"), prescription("b")], [fill("a", in_days(-25)), elsewhere])
    part = assess(profile, COMMERCIAL, TODAY, in_days(4))[0]
    assert part.stock.run_out_on == in_days(5)
    assert payable_from(part.stock.fills, 75, PayerRule("any")) == in_days(22)
    assert "filled_elsewhere" in codes(part.remarks)


def test_a_drug_filled_elsewhere_alone_joins_once_the_patient_says_what_is_left() -> None:
    elsewhere = replace(fill("a", in_days(-1)), elsewhere=True)
    profile = patient([prescription("a")], [elsewhere])
    assert assess(profile, COMMERCIAL, TODAY, in_days(4))[0].reason.code == "stock_unknown"
    said = replace(profile, stock_reports=(StockReport("rx-a", TODAY, 12),))
    part = assess(said, COMMERCIAL, TODAY, in_days(4))[0]
    assert (part.participation, part.stock.run_out_on) == (Participation.sync, in_days(12))


# --- how much a day, from the directions ---


@pytest.mark.parametrize(
    ("facts", "units", "said"),
    [
        ({"units_per_day": None, "directions": "1 tab daily"}, Decimal(1), ["daily_use_read"]),
        (
            {"units_per_day": None, "directions": "1 tab daily as directed"},
            Decimal(1),
            ["daily_use_as_directed"],
        ),
        ({"units_per_day": None, "directions": "1 tab daily prn"}, None, []),
        ({"units_per_day": None, "directions": "5 mL daily"}, None, []),
        ({"units_per_day": Decimal(2), "directions": "2 tabs daily", "usual_quantity": Decimal(60)}, 2, []),
        (
            {"units_per_day": Decimal(2), "directions": "1 daily", "usual_quantity": Decimal(60)},
            Decimal(2),
            ["directions_differ"],
        ),
        (
            {"units_per_day": Decimal("0.1429"), "directions": "1 weekly", "usual_quantity": Decimal(4)},
            None,
            [],
        ),
    ],
)
def test_what_is_given_stands_and_what_is_missing_is_read(
    facts: dict[str, Any], units: Decimal | None, said: list[str]
) -> None:
    usual = {"usual_days": 28} if facts["directions"] == "1 weekly" else {}
    taken, codes_of_it = read(prescription("a", **usual, **facts))
    assert codes_of_it == said
    if usual:
        assert taken.units_per_day and 4 // taken.units_per_day == 28
    else:
        assert taken.units_per_day == units


@pytest.mark.parametrize("units", [Decimal("0.1429"), None])
def test_a_renewal_of_the_same_daily_use_is_no_change_of_dose(units: Decimal | None) -> None:
    """Rounded in the file, or read from the directions: old and new are the same."""
    weekly: dict[str, Any] = {
        "units_per_day": units,
        "directions": "1 weekly",
        "usual_quantity": Decimal(4),
        "usual_days": 28,
    }
    old = prescription("a", rx_id="rx-old", status="superseded", **weekly)
    filled = replace(fill("a", in_days(-20), 28), rx_id="rx-old")
    plan = planned(patient([old, prescription("a", **weekly)], [filled]))
    assert "dose_changed" not in codes(next(each for each in plan.drugs if each.rx_id == "rx-a").reasons)
    assert [item.clarification_codes for visit in plan.visits for item in visit.items] == [()]


@pytest.mark.parametrize(
    ("directions", "code"),
    [
        ("", "directions_unknown"),
        ("taper as directed", "directions_as_directed"),
        ("100mg po bid", "directions_by_weight"),
        ("bid", "directions_no_amount"),
        ("1 tab", "directions_no_frequency"),
        ("1 tab daily then 2 daily", "directions_not_understood"),
        ("5 mL daily", "directions_other_unit"),
        ("1 tab daily prn pain", "as_needed_by_directions"),
        ("1 bid x 10 days", "short_course"),
    ],
)
def test_directions_that_give_no_daily_use_leave_the_drug_out_with_the_reason(
    directions: str, code: str
) -> None:
    each = prescription("a", units_per_day=None, directions=directions)
    part = assess(patient([each], [fill("a", in_days(-10))]), COMMERCIAL, TODAY, in_days(4))[0]
    assert (part.participation, part.reason.code) == (Participation.excluded, code)


def test_a_drug_whose_daily_use_was_read_is_short_filled_by_it() -> None:
    """Policy: 75 %, thirty days. a runs out in 8 days, twice a day by its directions: to day 16 it takes 16 tablets."""
    twice = prescription("a", units_per_day=None, directions="1 tab bid", usual_quantity=Decimal(60))
    profile = patient([twice, prescription("b")], [fill("a", in_days(-22)), fill("b", in_days(-14))])
    plan = planned(profile, pinned(16))
    bridge = next(visit for visit in plan.visits if visit.kind is VisitKind.bridge)
    assert [(item.drug_name, item.quantity, item.days_supply) for item in bridge.items] == [("a", 16, 8)]
    assert "daily_use_read" in codes(of(plan, "a").reasons)


def test_the_facts_of_a_drug_are_not_asked_of_one_that_has_none() -> None:
    assert true_days(Decimal(10), prescription("a", drug=Drug("a", "a"), units_per_day=None)) is None
