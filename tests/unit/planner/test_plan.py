"""Plans of patients made by hand: what is planned, what stays as it was told, what is asked of prescribers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    NO_COMMITMENTS,
    Action,
    Blocked,
    Commitments,
    Condition,
    ConditionKind,
    Decision,
    Fill,
    FillKind,
    Plan,
    Profile,
    PromisedItem,
    PromisedVisit,
    Rejection,
    StockReport,
    VisitKind,
)
from services.planner.domain.plan import plan_cycle
from tests.unit.planner.cases import (
    COMMERCIAL,
    EVERY_DAY,
    TODAY,
    drug,
    fill,
    in_days,
    patient,
    prescription,
    taking,
)

SYNCHRONIZED, BRIDGE, RIDE_ALONG = VisitKind.synchronized, VisitKind.bridge, VisitKind.ride_along


def planned(profile: Profile, commitments: Commitments = NO_COMMITMENTS, **facts: Any) -> Plan:
    plan = plan_cycle(
        profile,
        facts.get("calendar", EVERY_DAY),
        facts.get("rules", COMMERCIAL),
        facts.get("today", TODAY),
        commitments,
        facts.get("cycle", 1),
    )
    assert isinstance(plan, Plan)
    return plan


def trips(plan: Plan) -> list[tuple[VisitKind, int, list[str]]]:
    """Kind, days from today and drugs of each visit."""
    return [
        (visit.kind, (visit.on - TODAY).days, [item.drug_name for item in visit.items])
        for visit in plan.visits
    ]


def of(plan: Plan | Blocked, name: str) -> Decision:
    return next(each for each in plan.drugs if each.drug_name == name)


def codes(reasons: tuple[Any, ...]) -> list[str]:
    return [reason.code for reason in reasons]


def pinned(days: int, *visits: PromisedVisit, **facts: Any) -> Commitments:
    return Commitments(agreed=True, anchor_on=in_days(days), visits=visits, **facts)


def told_visit(
    kind: VisitKind, days: int, *names: str, confirmed: bool = False, supply: int = 30
) -> PromisedVisit:
    what = FillKind.full if supply == 30 else FillKind.bridge
    items = tuple(PromisedItem(f"rx-{name}", what, Decimal(supply), supply) for name in names)
    return PromisedVisit(kind, in_days(days), items, confirmed)


# --- which day ---


def test_an_earlier_day_on_which_everything_is_payable_spares_the_short_fill() -> None:
    plan = planned(taking({"a": 12, "b": 15, "c": 18}))
    assert trips(plan) == [(SYNCHRONIZED, 11, ["a", "b", "c"])]
    assert plan.short_fills == 0
    assert codes(plan.reasons)[:3] == ["anchor_best_of_year", "other_day_run_dry", "other_day_visits"]
    assert plan.reasons[0].params == {"visits": 0, "short_fills": 0, "overrides": 0, "uncovered": 0}
    assert plan.reasons[1].params == {"on": "2026-03-14", "drugs": 1, "here": 0}
    assert plan.reasons[2].params == {"on": "2026-03-12", "visits": 1, "here": 0}


def test_a_bridge_lasts_to_the_anchor_and_shares_its_trip() -> None:
    """Lisinopril and atorvastatin of the published vector, pinned to the latest-due day: 8 units, fetched
    while there is still some left for the morning."""
    profile = patient(
        [prescription("lisinopril"), prescription("atorvastatin")],
        [fill("lisinopril", date(2026, 9, 20)), fill("atorvastatin", date(2026, 9, 28))],
    )
    profile = replace(
        profile,
        prescriptions=tuple(
            replace(each, expires_on=date(2027, 3, 1), written_on=date(2026, 3, 1))
            for each in profile.prescriptions
        ),
    )
    commitments = Commitments(agreed=True, anchor_on=date(2026, 10, 28))
    plan = planned(profile, commitments, today=date(2026, 10, 1))
    bridge, anchor = plan.visits
    assert (bridge.kind, bridge.on) == (BRIDGE, date(2026, 10, 19))
    assert [(item.quantity, item.days_supply, item.kind) for item in bridge.items] == [
        (8, 8, FillKind.bridge)
    ]
    assert [item.drug_name for item in anchor.items] == ["lisinopril", "atorvastatin"]
    assert of(plan, "lisinopril").action is Action.bridge
    assert of(plan, "atorvastatin").action is Action.on_time


def test_a_gap_of_more_than_the_usual_supply_takes_a_full_fill_first() -> None:
    """A gap of 35 days: one usual fill, then a short fill of 5 days."""
    profile = taking({"a": 5}, cycle_policy="rolling_30")
    commitments = pinned(40)
    plan = planned(profile, commitments)
    fills = [
        (item.kind, item.days_supply)
        for visit in plan.visits
        for item in visit.items
        if item.drug_name == "a"
    ]
    assert fills == [(FillKind.full, 30), (FillKind.bridge, 5), (FillKind.full, 30)]
    assert of(plan, "a").action is Action.full_then_bridge


def test_half_tablets_are_rounded_up_and_the_extra_day_is_carried() -> None:
    halves = prescription("a", units_per_day=Decimal("0.5"), usual_quantity=Decimal(15))
    plan = planned(patient([halves], [fill("a", in_days(-20))]), pinned(19))
    assert [(item.quantity, item.days_supply) for item in plan.visits[0].items] == [(5, 10)]
    assert of(plan, "a").days_left_at_anchor == 1
    assert "whole_units" in codes(of(plan, "a").reasons)


def test_a_drug_of_which_a_day_is_lacking_is_bridged_on_the_first_workable_day() -> None:
    """Policy: four days of lead; a day without a drug that is not critical is borne."""
    profile = taking({"a": 20, "b": 3})
    plan = planned(profile, pinned(17))
    assert trips(plan)[0] == (BRIDGE, 4, ["b"])
    assert plan.unavoidable_days == plan.uncovered_days == 1
    assert "unavoidable" in codes(of(plan, "b").reasons)


def test_a_ninety_day_drug_with_more_than_a_cycle_left_is_not_due() -> None:
    ninety = prescription("b", usual_days=90, usual_quantity=Decimal(90))
    profile = patient([prescription("a"), ninety], [fill("a", in_days(-20)), fill("b", in_days(-10), 90)])
    plan = planned(profile)
    assert trips(plan) == [(SYNCHRONIZED, 7, ["a"])]
    decision = of(plan, "b")
    assert decision.action is Action.not_due
    assert decision.days_left_at_anchor == 80 - 7
    assert decision.joins_on == plan.anchor_on + timedelta(days=60)


def test_what_no_payer_pays_by_the_anchor_joins_at_the_next() -> None:
    """The patient lost some of b: it runs out before the payer pays."""
    profile = replace(taking({"a": 10, "b": 28}), stock_reports=(StockReport("rx-b", in_days(0), 6),))
    plan = planned(profile, pinned(10))
    assert of(plan, "b").action is Action.join_later
    assert of(plan, "b").joins_on == plan.next_anchor_on
    assert trips(plan) == [(SYNCHRONIZED, 10, ["a"]), (BRIDGE, 21, ["b"])]
    assert plan.uncovered_days == plan.unavoidable_days == 21 - 6, "no payer pays before"


def test_nobody_comes_for_nothing() -> None:
    plan = planned(taking({"a": 30, "b": 30}))
    assert trips(plan) == [(SYNCHRONIZED, 27, ["a", "b"])]


def test_the_preferred_weekday_decides_between_equals() -> None:
    """From the 16th, a Wednesday, the claims are in time; on the 19th there is still a day left."""
    for weekday, expected in ((2, 16), (3, 17), (4, 18), (5, 19), (6, 19), (0, 16), (1, 16)):
        plan = planned(taking({"a": 20, "b": 20}, preferred_weekday=weekday))
        assert (plan.anchor_on - TODAY).days == expected
        assert plan.short_fills == 0


def test_the_patients_weekdays_bind_every_visit() -> None:
    plan = planned(taking({"a": 9, "b": 25, "c": 17}, must_weekdays=frozenset({2})))
    assert {visit.on.weekday() for visit in plan.visits} == {2}


def test_no_day_above_the_stores_cap_while_another_is_feasible() -> None:
    """Policy: the default order, a cap of 2. b is payable from the 11th; its claim is in time from the 14th, on whose
    morning nothing is left of a: as good as a late claim, and late claims are looked at first."""
    profile = taking({"a": 14, "b": 18})
    for load, expected in (({}, 14), ({14: 2}, 11), ({14: 2, 11: 3}, 12), ({14: 1, 12: 9}, 14)):
        calendar = Calendar(load={in_days(day): pickups for day, pickups in load.items()}, daily_cap=2)
        plan = planned(profile, calendar=calendar)
        assert (plan.anchor_on - TODAY).days == expected
        assert not {offer.on for offer in plan.offered} & {in_days(day) for day in load if load[day] >= 2}


def test_a_full_day_is_taken_where_every_other_is_full_too() -> None:
    full = Calendar(load={in_days(day): 2 for day in range(400)}, daily_cap=2)
    plan = planned(taking({"a": 14, "b": 18}), calendar=full)
    assert plan.anchor_on == in_days(14)
    assert plan.uncovered_days == 0


def test_an_agreed_day_stays_although_the_store_is_full_and_a_wanted_one_is_not_given() -> None:
    profile = taking({"a": 12, "b": 15})
    full = Calendar(load={in_days(11): 2, in_days(10): 2}, daily_cap=2)
    assert planned(profile, pinned(11), calendar=full).anchor_on == in_days(11)
    commitments = pinned(12, wanted_on=in_days(10), instead_of=in_days(12))
    assert planned(profile, commitments, calendar=full).anchor_on == in_days(9)


def test_a_usual_fill_on_a_trip_of_its_own_takes_the_place_of_two_short_ones() -> None:
    """On the 8th a and b are filled, and c is filled whole on the 15th, once it can be, and joins a cycle later: one
    trip, no short fill. To wait for c would take as many trips, and two short fills."""
    plan = planned(taking({"a": 8, "b": 9, "c": 22}))
    assert trips(plan) == [(SYNCHRONIZED, 8, ["a", "b"]), (BRIDGE, 15, ["c"])]
    assert (plan.offered[0].visits_before, plan.short_fills) == (1, 0)
    assert of(plan, "c").joins_on == in_days(38)


def test_the_chain_may_order_the_criteria_otherwise() -> None:
    order = ("avoidable_uncovered_days", "distance_from_preferred_day", "visits_before_alignment")
    rules = replace(COMMERCIAL, criteria=order)
    for weekday in range(7):
        profile = taking({"a": 6, "b": 29}, preferred_weekday=weekday)
        assert planned(profile, rules=rules).anchor_on.weekday() == weekday


def test_unknown_costs_are_said_to_be_unknown() -> None:
    plan = planned(taking({"a": 12, "b": 15}))
    assert plan.extra_cost is None
    assert plan.offered[0].extra_cost is None
    assert "cost_unknown" in codes(plan.reasons)


# --- ride-alongs ---


def with_inhaler(run_out: int, days: int = 30) -> Profile:
    inhaler = prescription("i", drug=drug("i", form="inhaler"), usual_days=days, usual_quantity=Decimal(1))
    return replace(
        taking({"a": 12, "b": 14}),
        prescriptions=(prescription("a"), prescription("b"), inhaler),
        fills=(fill("a", in_days(-18)), fill("b", in_days(-16)), fill("i", in_days(run_out - days), days)),
    )


def test_a_ride_along_goes_with_the_last_pickup_before_it_runs_out() -> None:
    plan = planned(with_inhaler(15))
    assert trips(plan) == [(SYNCHRONIZED, 11, ["a", "b", "i"])]


def test_a_ride_along_that_is_not_payable_then_has_a_visit_of_its_own() -> None:
    """It is paid from the 18th, and then again in time to join the pickup on day 41."""
    plan = planned(with_inhaler(25), pinned(11))
    assert trips(plan) == [(SYNCHRONIZED, 11, ["a", "b"]), (BRIDGE, 18, ["i"])]
    assert of(plan, "i").joins_on == plan.next_anchor_on == in_days(41)


def test_a_pack_of_28_days_joins_a_cycle_of_28_and_comes_by_itself_in_one_of_30() -> None:
    profile = with_inhaler(11, days=28)
    plan = planned(profile, pinned(11))
    assert trips(plan) == [(SYNCHRONIZED, 11, ["a", "b", "i"])]
    assert plan.rhythm and plan.rhythm.cycle_days == 28
    assert of(plan, "i").joins_on == in_days(11)
    plan = planned(replace(profile, cycle_policy="rolling_30"), pinned(11))
    assert trips(plan) == [(SYNCHRONIZED, 11, ["a", "b", "i"]), (RIDE_ALONG, 38, ["i"])]
    assert of(plan, "i").joins_on is None
    assert {"never_joins"} <= set(codes(of(plan, "i").reasons))
    assert "rhythm_proposed" in codes(plan.reasons)
    assert plan.uncovered_days == 0


# --- calendar and cycle ---


def test_a_closed_day_moves_the_next_pickup_earlier_never_later() -> None:
    closed = Calendar(closed_on=frozenset({in_days(41), in_days(40)}))
    plan = planned(taking({"a": 12, "b": 15}), pinned(11), calendar=closed)
    assert plan.next_anchor_on == in_days(39)


def test_an_agreed_day_on_which_the_store_closes_moves_to_the_nearest_open_day_before() -> None:
    closed = Calendar(closed_on=frozenset({in_days(11), in_days(10)}))
    plan = planned(taking({"a": 12, "b": 15}), pinned(11), calendar=closed)
    assert plan.anchor_on == in_days(9)
    assert plan.reasons[0].code == "anchor_moved_closed"


# --- what the patient was told ---


def test_an_agreed_day_stays_whatever_else_would_be_better() -> None:
    profile = taking({"a": 12, "b": 15})
    plan = planned(profile, pinned(17))
    assert plan.anchor_on == in_days(17)
    assert plan.agreed
    assert plan.offered == ()
    assert codes(plan.reasons)[0] == "anchor_agreed"


def test_a_confirmed_visit_stays_loses_what_may_not_be_filled_and_gains_what_else_is_due_to_be_asked_about() -> (
    None
):
    anchor = told_visit(SYNCHRONIZED, 5, "a", "b", confirmed=True)
    profile = taking({"a": 7, "b": 8, "c": 9})
    plan = planned(profile, pinned(5, anchor))
    assert trips(plan) == [(SYNCHRONIZED, 5, ["a", "b", "c"])]
    assert [item.rx_id for item in plan.visits[0].items if item.at_counter] == ["rx-c"]
    held = replace(
        profile, prescriptions=(prescription("a"), prescription("b", status="on_hold"), prescription("c"))
    )
    assert trips(planned(held, pinned(5, anchor)))[0] == (SYNCHRONIZED, 5, ["a", "c"])


def test_a_confirmed_fill_that_the_payer_refuses_by_then_is_given_up() -> None:
    anchor = told_visit(SYNCHRONIZED, 5, "a", "b", confirmed=True)
    refused = Rejection("rx-a", "79", rejected_on=TODAY, next_fill_on=in_days(6))
    plan = planned(replace(taking({"a": 7, "b": 8}), rejections=(refused,)), pinned(5, anchor))
    assert trips(plan) == [(SYNCHRONIZED, 5, ["b"]), (BRIDGE, 6, ["a"])]


def test_what_was_confirmed_is_filled_from_the_old_prescription_as_long_as_that_can_be() -> None:
    anchor = told_visit(SYNCHRONIZED, 5, "a", "b", confirmed=True)
    old = prescription("a", quantity_left=Decimal(30), status="superseded")
    renewal = prescription("a", rx_id="rx-a2", renews="rx-a", written_on=TODAY)
    profile = replace(taking({"a": 7, "b": 8}), prescriptions=(old, renewal, prescription("b")))
    plan = planned(profile, pinned(5, anchor))
    assert [item.rx_id for item in plan.visits[0].items] == ["rx-a", "rx-b"]
    assert len(plan.visits) == 1
    assert [each.action for each in plan.drugs] == [Action.none, Action.early, Action.early]
    spent = replace(
        profile, prescriptions=(replace(old, quantity_left=Decimal(0)), renewal, prescription("b"))
    )
    items = planned(spent, pinned(5, anchor)).visits[0].items
    assert [(item.rx_id, item.in_place_of) for item in items] == [("rx-a2", "rx-a"), ("rx-b", None)]


def test_a_visit_nearer_than_the_lead_time_stands_even_unconfirmed() -> None:
    bridge = told_visit(BRIDGE, 2, "a", supply=15)
    plan = planned(taking({"a": 2, "b": 20}), pinned(17, bridge))
    assert trips(plan) == [(BRIDGE, 2, ["a"]), (SYNCHRONIZED, 17, ["a", "b"])]
    assert plan.uncovered_days == 0


def test_the_same_visit_keeps_its_id_and_a_moved_one_gets_another() -> None:
    profile = taking({"a": 9, "b": 25})
    first = planned(profile, pinned(20))
    again = planned(profile, pinned(20), today=in_days(1))
    assert [visit.visit_id for visit in first.visits] == [visit.visit_id for visit in again.visits]
    moved = planned(profile, pinned(21))
    assert first.visits[-1].visit_id != moved.visits[-1].visit_id
    assert first.plan_id == moved.plan_id != planned(profile, cycle=2).plan_id


def test_a_told_bridge_stays_on_its_day_while_it_can() -> None:
    profile = taking({"a": 9, "b": 25})
    commitments = pinned(20, told_visit(BRIDGE, 7, "a", supply=11))
    assert trips(planned(profile, commitments))[0] == (BRIDGE, 7, ["a"]), (
        "the latest day with some left is the 8th"
    )
    assert trips(planned(profile, pinned(20)))[0] == (BRIDGE, 8, ["a"])


@pytest.mark.parametrize(
    ("wanted", "granted"),
    [
        (12, 12),
        (8, 9),  # b is payable from the 9th
        (2, 9),  # within the lead time
    ],
)
def test_the_patient_gets_the_nearest_day_that_leaves_no_drug_behind(wanted: int, granted: int) -> None:
    commitments = pinned(11, wanted_on=in_days(wanted), instead_of=in_days(11))
    plan = planned(taking({"a": 12, "b": 16}), commitments)
    assert plan.anchor_on == in_days(granted)
    assert codes(plan.reasons)[0] == ("rescheduled" if wanted == granted else "wanted_day_not_possible")


def test_a_later_day_is_bridged_so_that_no_drug_runs_out() -> None:
    commitments = pinned(11, wanted_on=in_days(18), instead_of=in_days(11))
    plan = planned(taking({"a": 12, "b": 15}), commitments)
    assert trips(plan) == [(BRIDGE, 11, ["a", "b"]), (SYNCHRONIZED, 18, ["a", "b"])]


def test_a_wanted_day_that_would_leave_days_uncovered_is_not_given() -> None:
    """a is a pack, has to be fetched by the 12th, and the store is closed from the 5th to the 12th but for the 11th."""
    closed = Calendar(closed_on=frozenset(in_days(day) for day in range(5, 13) if day != 11))
    pack = prescription("a", drug=drug("a", unbreakable=True))
    profile = replace(taking({"a": 12, "b": 16}), prescriptions=(pack, prescription("b")))
    commitments = pinned(11, wanted_on=in_days(16), instead_of=in_days(11))
    plan = planned(profile, commitments, calendar=closed)
    assert plan.anchor_on == in_days(11)
    assert plan.uncovered_days == 0


def test_a_bridge_moves_to_the_nearest_day_that_it_can() -> None:
    visit = told_visit(BRIDGE, 9, "a", supply=11)
    profile = taking({"a": 9, "b": 25})
    for wanted, granted in ((6, 6), (15, 9), (3, 4)):
        commitments = pinned(20, visit, wanted_on=in_days(wanted), instead_of=in_days(9))
        plan = planned(profile, commitments)
        assert trips(plan)[0] == (BRIDGE, granted, ["a"])
        expected = "rescheduled" if wanted == granted else "wanted_day_not_possible"
        assert expected in codes(plan.reasons)


def test_what_the_patient_declined_is_not_filled_until_then() -> None:
    profile = taking({"a": 9, "b": 25})
    plan = planned(profile, pinned(20, declined_until={"rx-a": in_days(20)}))
    assert trips(plan) == [(SYNCHRONIZED, 20, ["a", "b"])]
    assert "declined" in codes(of(plan, "a").reasons)
    plan = planned(profile, pinned(20, declined_until={"rx-a": in_days(50)}))
    assert trips(plan) == [(SYNCHRONIZED, 20, ["b"])]


def test_the_payers_own_date_overrides_the_rule() -> None:
    refused = Rejection("rx-a", "79", rejected_on=in_days(-1), next_fill_on=in_days(11))
    profile = replace(taking({"a": 12, "b": 12}), rejections=(refused,))
    plan = planned(profile)
    assert (plan.anchor_on - TODAY).days == 11
    assert "payer_says" in codes(of(plan, "a").reasons)
    assert next(item for item in plan.visits[0].items if item.drug_name == "a").payable_from == in_days(11)


# --- what is authorized ---


def test_the_last_authorized_units_are_filled_and_a_renewal_asked_for() -> None:
    scarce = prescription("a", quantity_left=Decimal(25))
    profile = replace(taking({"a": 12, "b": 15}), prescriptions=(scarce, prescription("b")))
    plan = planned(profile, pinned(11))
    assert [(item.quantity, item.reason.code) for item in plan.visits[0].items] == [
        (25, "item_rest"),
        (30, "item_full"),
    ]
    out = in_days(12 + 25)
    assert [(each.rx_id, each.needed_by) for each in plan.renewals] == [("rx-a", out - timedelta(days=4))]
    assert plan.uncovered_days == 0, "days that only a renewal covers are no fault of the plan"


@pytest.mark.parametrize(
    ("facts", "code", "needed_by"),
    [
        ({"quantity_left": Decimal(30)}, "renewal_quantity", 37),
        ({"quantity_left": Decimal(60)}, None, None),
        ({"expires_on": in_days(40)}, "renewal_expiry", 37),
        ({"expires_on": in_days(41)}, None, None),
        ({"quantity_left": Decimal(0)}, "renewal_quantity", 7),
        ({"expires_on": in_days(2)}, "renewal_expiry", 7),
    ],
)
def test_a_renewal_is_needed_before_the_pickup_after_next(
    facts: dict[str, Any], code: str | None, needed_by: int | None
) -> None:
    """The pickup after that on day 11 is on day 41. Asked for by the lead time before what cannot be had."""
    profile = replace(
        taking({"a": 12, "b": 14}), prescriptions=(prescription("a", **facts), prescription("b"))
    )
    plan = planned(profile, pinned(11))
    found = [(each.reason.code, (each.needed_by - TODAY).days) for each in plan.renewals]
    assert found == ([(code, needed_by)] if code else [])


def test_a_long_stock_asks_for_its_renewal_later() -> None:
    ninety = prescription("b", usual_days=90, usual_quantity=Decimal(90), quantity_left=Decimal(0))
    profile = patient([prescription("a"), ninety], [fill("a", in_days(-20)), fill("b", in_days(-10), 90)])
    assert planned(profile).renewals == ()


def test_a_prescription_that_expires_is_filled_before() -> None:
    expiring = prescription("a", expires_on=in_days(6))
    profile = replace(taking({"a": 6, "b": 12}), prescriptions=(expiring, prescription("b")))
    plan = planned(profile)
    assert plan.anchor_on <= in_days(6)


def test_who_needs_every_prescription_renewed_has_a_plan() -> None:
    """Policy: the store fills three days before a visit. Both fills are made if the prescriber renews in time."""
    spent = [prescription(name, quantity_left=Decimal(0)) for name in "ab"]
    plan = planned(replace(taking({"a": 12, "b": 14}), prescriptions=tuple(spent)))
    [visit] = plan.visits
    by = visit.on - timedelta(days=3)
    assert [item.condition for item in visit.items] == [
        Condition(ConditionKind.renewal, "prescriber", by),
        Condition(ConditionKind.renewal, "prescriber", by),
    ]
    assert plan.uncovered_days == 0, "as if the renewals came in time"
    assert {each.rx_id for each in plan.renewals} == {"rx-a", "rx-b"}


# --- no plan ---


def test_without_a_drug_to_synchronize_there_is_no_plan() -> None:
    profile = patient([prescription("a", status="on_hold")], [fill("a", in_days(-20))])
    blocked = plan_cycle(profile, EVERY_DAY, COMMERCIAL, TODAY, NO_COMMITMENTS, 1)
    assert isinstance(blocked, Blocked)
    assert codes(blocked.reasons) == ["nothing_to_synchronize"]
    assert codes(of(blocked, "a").reasons) == ["on_hold", "answer_needed_by"]
    assert blocked.look_again_on == in_days(7)


def test_a_store_that_never_opens_on_the_patients_days_has_no_plan() -> None:
    weekdays_only = Calendar(weekdays=frozenset(range(5)))
    profile = taking({"a": 12, "b": 15}, must_weekdays=frozenset({6}))
    blocked = plan_cycle(profile, weekdays_only, COMMERCIAL, TODAY, NO_COMMITMENTS, 1)
    assert isinstance(blocked, Blocked)
    assert codes(blocked.reasons) == ["no_pickup_day", "barred_weekday"]


def test_a_drug_that_no_payer_pays_for_long_is_planned_from_its_day_and_the_days_without_it_are_said() -> (
    None
):
    refused = Rejection("rx-a", "79", rejected_on=in_days(-1), next_fill_on=in_days(200))
    plan = planned(replace(taking({"a": 12}), rejections=(refused,)))
    assert trips(plan) == [(SYNCHRONIZED, 200, ["a"])]
    assert plan.unavoidable_days == plan.uncovered_days == 200 - 12
    assert {"payer_says", "unavoidable"} <= set(codes(of(plan, "a").reasons))


def test_the_lead_time_is_the_chains() -> None:
    for lead_days in (1, 3, 7):
        plan = planned(taking({"a": 7, "b": 8}), rules=replace(COMMERCIAL, lead_days=lead_days))
        assert plan.visits[0].on >= in_days(lead_days)
        assert not any(visit.urgent for visit in plan.visits)


def test_a_doubled_dose_uses_up_what_is_at_home_in_half_the_time() -> None:
    """Policy: 75 %. 15 days were left when the dose was doubled, five days ago: they last until day 2, which is before
    the first workable day; for a changed dose the payer pays early."""
    old = prescription("a", rx_id="rx-old", status="discontinued")
    new = prescription("a", units_per_day=Decimal(2), usual_quantity=Decimal(60), written_on=in_days(-5))
    fills = [Fill("rx-old", in_days(-20), in_days(-20), 30), fill("b", in_days(-14))]
    plan = planned(patient([old, new, prescription("b")], fills), pinned(16))
    decision = next(each for each in plan.drugs if each.rx_id == "rx-a")
    assert decision.run_out_on == in_days(2)
    assert {"stock_by_new_dose", "therapy_change_fill"} <= set(codes(decision.reasons))
    assert plan.uncovered_days == 0
    urgent, _ = plan.visits
    assert urgent.urgent and urgent.on == in_days(1), "the last day with some left"
    [bridge] = urgent.items
    assert (bridge.quantity, bridge.days_supply) == (28, 14)
    assert bridge.clarification_codes[0] == "05"
