"""What staff decide is kept, said, and weighed against what would be planned without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    Action,
    Fill,
    FillKind,
    Participation,
    Profile,
    Span,
    StaffDecision,
    StaffDecisionKind,
)
from tests.unit.planner.cases import TODAY, drug, fill, in_days, patient, prescription, taking
from tests.unit.planner.test_plan import (
    BRIDGE,
    SYNCHRONIZED,
    codes,
    of,
    pinned,
    planned,
    told_visit,
    trips,
)
from tests.unit.planner.test_sizes import fills_of


def ruling(kind: str, rx_id: str | None = None, **facts: Any) -> StaffDecision:
    return StaffDecision(StaffDecisionKind(kind), "pharmacist", "the patient travels", TODAY, rx_id, **facts)


def with_rulings(profile: Profile, *rulings: StaffDecision) -> Profile:
    return replace(profile, rulings=rulings)


FREE = taking({"a": 12, "b": 15, "c": 18})  # the 11th, without a visit before it


def test_staff_set_the_day_and_the_plan_says_what_it_costs() -> None:
    plan = planned(with_rulings(FREE, ruling("day", on=in_days(18))))
    assert trips(plan)[-1] == (SYNCHRONIZED, 18, ["a", "b", "c"])
    assert [offer.on for offer in plan.offered] == [in_days(18)]
    first, last = plan.reasons[0], plan.reasons[-1]
    assert first.code == "staff_day"
    assert first.params == {
        "by": "pharmacist",
        "made_on": TODAY.isoformat(),
        "on": in_days(18).isoformat(),
        "visits": 1,
        "short_fills": 2,
        "overrides": 0,
        "uncovered": 0,
    }
    assert last.code == "without_staff"
    takes = {"visits": 0, "short_fills": 0, "overrides": 0, "uncovered": 0}
    assert last.params == {"on": in_days(11).isoformat(), **takes}


def test_what_would_be_without_staff_is_what_is_planned_without_them() -> None:
    """Without them one drug joins a pickup later, and a visit goes before that, not before the first pickup."""
    drugs = [prescription("a", monthly_copay=Decimal(47)), prescription("b", monthly_copay=Decimal(10))]
    profile = patient(drugs, [fill("a", in_days(-22)), fill("b", in_days(-8))])
    free, ruled = planned(profile), planned(with_rulings(profile, ruling("day", on=in_days(22))))
    assert [days for _, days, _ in trips(free)] == [8, 15]
    said, of_free = ruled.reasons[-1].params, free.reasons[0].params
    assert of_free["visits"] == 1
    assert said == {"on": free.anchor_on.isoformat()} | {
        name: of_free[name] for name in ("visits", "short_fills", "overrides", "uncovered")
    }


def test_a_day_that_staff_set_takes_the_place_of_the_agreed_one_even_a_confirmed_one() -> None:
    profile = with_rulings(FREE, ruling("day", on=in_days(13)))
    anchor = told_visit(SYNCHRONIZED, 11, "a", "b", "c", confirmed=True)
    plan = planned(profile, pinned(11, anchor))
    assert plan.anchor_on == in_days(13)
    assert plan.reasons[0].code == "staff_day"
    assert planned(FREE, pinned(11, anchor)).anchor_on == in_days(11)


def test_staff_may_set_a_day_within_the_lead_time_but_not_one_on_which_the_store_is_closed() -> None:
    soon = taking({"a": 3, "b": 5})
    plan = planned(with_rulings(soon, ruling("day", on=in_days(1))))
    assert plan.anchor_on == in_days(1)
    closed = Calendar(closed_on=frozenset({in_days(18)}))
    plan = planned(with_rulings(FREE, ruling("day", on=in_days(18))), calendar=closed)
    assert plan.anchor_on == in_days(11)
    assert plan.reasons[0].code == "staff_day_closed"


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"away": (Span(in_days(17), in_days(20)),)}, "staff_day_away"),
        ({"stays": (Span(in_days(17), in_days(20)),)}, "staff_day_stay"),
        ({"delivered": True}, "staff_day_delivery"),
        ({}, "staff_day_nothing_due"),
    ],
)
def test_why_a_day_that_staff_set_is_not_possible_is_said(facts: dict[str, Any], code: str) -> None:
    """Both days are Fridays; on the fourth no payer pays anything yet."""
    day = in_days(18 if facts else 4)
    profile = replace(with_rulings(FREE, ruling("day", on=day)), **facts)
    plan = planned(profile, calendar=Calendar(delivery_weekdays=frozenset({0, 1, 2, 3})))
    assert plan.anchor_on != day
    assert plan.reasons[0].code == code


def test_a_day_that_passed_and_a_ruling_about_another_cycle_bind_nothing() -> None:
    for past in (ruling("day", on=in_days(-1)), ruling("day", on=in_days(18), cycle=2)):
        plan = planned(with_rulings(FREE, past))
        assert plan == planned(FREE)
    assert planned(with_rulings(FREE, ruling("day", on=in_days(18), cycle=2)), cycle=2).anchor_on == in_days(
        18
    )


def test_a_drug_that_staff_leave_out() -> None:
    plan = planned(with_rulings(FREE, ruling("exclude", "rx-c")))
    assert of(plan, "c").participation is Participation.excluded
    assert codes(of(plan, "c").reasons) == ["staff_excluded"]
    assert "without_staff" in codes(plan.reasons)


def test_the_newest_word_on_a_drug_counts() -> None:
    plan = planned(with_rulings(FREE, ruling("exclude", "rx-c"), ruling("include", "rx-c")))
    assert of(plan, "c").participation is Participation.sync


@pytest.mark.parametrize(
    ("facts", "taken_in"),
    [
        ({"drug": drug("c", schedule="c4")}, True),
        ({"drug": drug("c", maintenance=False)}, True),
        ({"drug": drug("c", schedule="c2")}, False),
        ({"status": "discontinued"}, False),
    ],
)
def test_staff_take_in_what_policy_leaves_out_but_not_what_law_or_prescriber_do(
    facts: dict[str, Any], taken_in: bool
) -> None:
    left_out = replace(FREE, prescriptions=(*FREE.prescriptions[:2], prescription("c", **facts)))
    assert of(planned(left_out), "c").participation is Participation.excluded
    plan = planned(with_rulings(left_out, ruling("include", "rx-c")))
    assert (of(plan, "c").participation is Participation.sync) == taken_in
    assert ("staff_included" if taken_in else "staff_idle") in codes(of(plan, "c").reasons)


def test_a_drug_that_is_not_due_is_filled_because_staff_say_so() -> None:
    ninety = prescription("b", usual_days=90, usual_quantity=Decimal(90))
    profile = patient([prescription("a"), ninety], [fill("a", in_days(-20)), fill("b", in_days(-10), 90)])
    assert of(planned(profile), "b").action is Action.not_due
    plan = planned(with_rulings(profile, ruling("fill", "rx-b")))
    assert [item.drug_name for item in plan.visits[-1].items] == ["a", "b"]
    assert "staff_fills" in codes(of(plan, "b").reasons)


def test_a_fill_that_staff_hold_waits() -> None:
    plan = planned(with_rulings(FREE, ruling("hold", "rx-a", on=in_days(20))), pinned(11))
    assert [item.drug_name for item in plan.visits[0].items] == ["b", "c"]
    assert "staff_holds" in codes(of(plan, "a").reasons)
    assert "without_staff" in codes(plan.reasons)


def test_staff_change_a_quantity_within_what_is_authorized() -> None:
    plan = planned(with_rulings(FREE, ruling("quantity", "rx-a", quantity=Decimal(14))), pinned(11))
    a = next(item for item in plan.visits[-1].items if item.drug_name == "a")
    assert (a.quantity, a.days_supply, a.kind, a.reason.code) == (14, 14, FillKind.bridge, "item_staff")
    too_much = planned(with_rulings(FREE, ruling("quantity", "rx-a", quantity=Decimal(900))), pinned(11))
    assert next(item for item in too_much.visits[-1].items if item.drug_name == "a").quantity == 360


def test_a_ruling_about_a_drug_that_cannot_follow_it_stays_and_is_said_to_be_idle() -> None:
    inhaler = prescription("i", drug=drug("i", form="inhaler"), usual_quantity=Decimal(1))
    profile = replace(
        FREE, prescriptions=(*FREE.prescriptions, inhaler), fills=(*FREE.fills, fill("i", in_days(-2)))
    )
    plan = planned(with_rulings(profile, ruling("quantity", "rx-i", quantity=Decimal(2))))
    assert "staff_idle" in codes(of(plan, "i").reasons)
    assert [trip for trip in trips(plan) if trip[0] is not BRIDGE] == [
        trip for trip in trips(planned(profile)) if trip[0] is not BRIDGE
    ]


def test_no_reason_repeats_what_staff_wrote() -> None:
    rulings = (
        ruling("day", on=in_days(18)),
        ruling("exclude", "rx-c"),
        ruling("hold", "rx-b", on=in_days(12)),
        ruling("fill", "rx-a"),
        ruling("quantity", "rx-a", quantity=Decimal(20)),
    )
    plan = planned(with_rulings(FREE, *rulings))
    said = repr((plan.reasons, plan.drugs, plan.visits))
    assert "travels" not in said
    assert date.fromisoformat(str(plan.reasons[0].params["made_on"])) == TODAY


@pytest.mark.parametrize(
    ("former", "left_out", "run_out", "filled", "codes_of_first"),
    [
        ("discontinued", False, 8, [(7, 8), (16, 30)], ("05", "61", "47")),
        ("superseded", False, 8, [(7, 8), (16, 30)], ("05", "61", "47")),
        ("active", True, 8, [(7, 8), (16, 30)], ("05", "61", "47")),
        (
            "active",
            False,
            0,
            [(0, 16), (16, 30)],
            ("61", "47"),
        ),  # both are taken: a pharmacist took in the question
        (None, False, 0, [(0, 16), (16, 30)], ("61", "47")),  # new altogether
    ],
)
def test_a_new_strength_is_bridged_once_a_pharmacist_takes_it_in(
    former: str | None,
    left_out: bool,
    run_out: int,
    filled: list[tuple[int, int]],
    codes_of_first: tuple[str, ...],
) -> None:
    """Policy: 75 %. Of 10 mg eight days are at home, 20 mg was never filled; b is due at the pickup on day 16."""
    new = prescription("a", rx_id="rx-new", drug=drug("new", ingredient="a", strength="20 mg"))
    old = prescription("a", rx_id="rx-old", status=former or "active", drug=drug("old", ingredient="a"))
    profile = patient(
        [new, prescription("b"), *([old] if former else [])],
        [fill("b", in_days(-14)), Fill("rx-old", in_days(-22), in_days(-22), 30)],
    )
    waits = of(planned(profile, pinned(16)), "new")
    assert waits.participation is Participation.excluded
    decided = [ruling("include", "rx-new"), *([ruling("exclude", "rx-old")] if left_out else [])]
    plan = planned(with_rulings(profile, *decided), pinned(16))
    assert of(plan, "new").run_out_on == in_days(run_out)
    assert fills_of(plan, "new") == filled
    [first, *_] = [item for visit in plan.visits for item in visit.items if item.drug_name == "new"]
    assert first.clarification_codes == codes_of_first
    assert ("after_former_strength" in codes(of(plan, "new").reasons)) == (run_out > 0)
