"""What law, prescription and payer's authorization allow to be dispensed, how often and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.planner.domain.calendar import Calendar
from services.planner.domain.eligibility import assess
from services.planner.domain.limits import last_day, limits_on, quantity_by_law, schedule_in
from services.planner.domain.model import (
    NO_COMMITMENTS,
    Blocked,
    Commitments,
    ConditionKind,
    Fill,
    Participation,
    Plan,
    Prescription,
    Profile,
    Rejection,
    Rules,
    Span,
    StaffDecision,
    StaffDecisionKind,
)
from services.planner.domain.payers import PayerRule
from services.planner.domain.plan import plan_cycle
from services.planner.domain.progress import Progress, Status, plan_anew
from services.planner.domain.reading import as_read
from services.planner.policy import dispensing_limits, larger_fills, state_schedules
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
from tests.unit.planner.test_plan import codes, of, pinned, planned

LIMITS, SCHEDULES = dispensing_limits(), state_schedules()
BY_LAW = replace(COMMERCIAL, limits=LIMITS, schedules=SCHEDULES)
OPEN_TO_C4 = replace(BY_LAW, synchronized_schedules=frozenset({"none", "c3", "c4", "c5"}))
EXCLUDED = Participation.excluded


# --- controlled substances (21 CFR 1306.12, 1306.22, 1306.23) ---


@pytest.mark.parametrize(
    ("schedule", "state", "names"),
    [
        ("none", "OK", []),
        ("none", "AK", ["Alaska 12 AAC 52.470"]),
        ("c2", "OK", ["21 CFR 1306.12"]),
        ("c3", "OK", ["21 CFR 1306.22"]),
        ("c4", "", ["21 CFR 1306.22"]),
        ("c5", "OK", []),  # no federal refill count: a common error
        ("c5", "NY", ["New York Public Health 3339"]),
        ("c4", "NY", ["21 CFR 1306.22", "New York Public Health 3339"]),
    ],
)
def test_the_limits_of_a_schedule_in_a_state(schedule: str, state: str, names: list[str]) -> None:
    assert [each.name for each in limits_on(schedule, state, TODAY, LIMITS)] == names
    assert all(each.source for each in LIMITS)


@pytest.mark.parametrize(
    ("written_on", "months", "last"),
    [
        (date(2026, 1, 15), 6, date(2026, 7, 15)),
        (date(2026, 8, 31), 6, date(2027, 2, 28)),
        (date(2026, 12, 1), 12, date(2027, 12, 1)),
        (date(2028, 8, 29), 6, date(2029, 2, 28)),
    ],
)
def test_six_months_from_writing(written_on: date, months: int, last: date) -> None:
    assert last_day(written_on, months) == last


@pytest.mark.parametrize(
    ("dispensed", "left"),
    [(0, 180), (30, 150), (38, 142), (180, 0), (200, 0)],
)
def test_five_refills_are_counted_by_quantity_partial_fills_too(dispensed: int, left: int) -> None:
    assert quantity_by_law(Decimal(30), 5, Decimal(dispensed)) == left


def controlled(schedule: str = "c4", **facts: Any) -> Prescription:
    return prescription("zolpidem", drug=drug("zolpidem", schedule=schedule), **facts)


def read(each: Prescription, *fills: Fill, state: str = "OK") -> tuple[Prescription, list[str]]:
    profile, said = as_read(patient([each], fills), OPEN_TO_C4, state, TODAY)
    return profile.prescriptions[0], [reason.code for reason in said[each.rx_id]]


def test_a_controlled_prescription_holds_six_months_and_five_refills_whatever_the_file_says() -> None:
    """Policy: 21 CFR 1306.22. Written 100 days ago for a year, 360 left by the file, 60 dispensed of 30 + 5 × 30."""
    fills = [replace(fill("zolpidem", in_days(-days)), quantity=Decimal(30)) for days in (70, 40)]
    taken, said = read(controlled(), *fills)
    assert taken.expires_on == last_day(in_days(-100), 6)
    assert taken.quantity_left == 120
    assert said == ["valid_by_law", "refills_by_law"]
    assert read(controlled(quantity_left=Decimal(90), expires_on=in_days(20)), *fills) == (
        controlled(quantity_left=Decimal(90), expires_on=in_days(20)),
        [],
    )


def test_a_fill_without_a_quantity_counts_by_its_days() -> None:
    taken, _ = read(controlled(), fill("zolpidem", in_days(-40), 15))
    assert taken.quantity_left == 180 - 15


def test_each_planned_fill_keeps_to_the_law() -> None:
    """Policy: the chain synchronizes C-IV, 75 % (85 % controlled). The six months end before the second pickup."""
    written = in_days(-160)
    each = controlled(written_on=written, expires_on=written + timedelta(days=365))
    fills = [fill("zolpidem", in_days(-22)), fill("b", in_days(-20))]
    plan = planned(patient([each, prescription("b")], fills), rules=OPEN_TO_C4)
    last = last_day(written, 6)
    days = [visit.on for visit in plan.visits for item in visit.items if item.drug_name == "zolpidem"]
    assert days and max(days) <= last
    assert [renewal.reason.code for renewal in plan.renewals] == ["renewal_expiry"]
    assert "valid_by_law" in codes(of(plan, "zolpidem").reasons)
    longer = planned(patient([each, prescription("b")], fills), rules=replace(OPEN_TO_C4, limits=()))
    assert longer.renewals == ()


def test_no_law_is_bent_by_a_ruling() -> None:
    over = controlled(written_on=in_days(-200), expires_on=in_days(165))
    part = assess(
        patient([over], [fill("zolpidem", in_days(-20))]), OPEN_TO_C4, TODAY, in_days(4), state="OK"
    )[0]
    assert part.waits_for is ConditionKind.renewal and part.needs_renewal
    assert {"valid_by_law", "refills_by_law", "expired"} <= set(codes(part.remarks))


@pytest.mark.parametrize(
    ("state", "day", "schedule", "is_in"),
    [
        ("KY", date(2017, 7, 1), "none", "c5"),
        ("KY", date(2017, 6, 30), "none", "none"),
        ("OK", date(2026, 3, 2), "none", "none"),
        ("KY", date(2026, 3, 2), "c4", "c4"),
        ("KY", date(2026, 3, 2), "other", "other"),
    ],
)
def test_a_state_may_schedule_a_drug_that_federal_law_does_not(
    state: str, day: date, schedule: str, is_in: str
) -> None:
    assert schedule_in(state, "Gabapentin", schedule, day, SCHEDULES) == is_in


def test_a_drug_scheduled_by_the_state_is_left_out_there() -> None:
    profile = patient([prescription("gabapentin")], [fill("gabapentin", in_days(-10))])
    [here], [there] = (assess(profile, BY_LAW, TODAY, in_days(4), state=state) for state in ("OK", "KY"))
    assert here.participation is Participation.sync
    assert (there.reason.code, codes(there.remarks)) == ("controlled", ["scheduled_by_state"])


# --- thirty days made ninety ---


@pytest.mark.parametrize(
    ("state", "facts", "wishes", "sizes", "is_said"),
    [
        ("CA", {}, {}, (30, 90), True),
        ("NV", {}, {}, (30, 90), False),
        ("CA", {}, {"cycle_policy": "rolling_30"}, (30, 90), False),
        ("CA", {}, {}, (30,), False),
        ("CA", {"quantity_left": Decimal(89)}, {}, (30, 90), False),
        ("CA", {"drug": drug("a", schedule="c4")}, {}, (30, 90), False),
        ("CA", {"usual_days": 90, "usual_quantity": Decimal(90)}, {}, (30, 90), False),
        ("CA", {"rx_id": "rx-new", "renews": "rx-a"}, {}, (30, 90), False),
    ],
    ids=[
        "all is met",
        "another state",
        "who wants no longer cycle",
        "the plan does not pay it",
        "not authorized",
        "controlled",
        "ninety already",
        "no fill of it was taken yet",
    ],
)
def test_that_ninety_days_may_be_filled_is_said_where_a_states_law_allows_it(
    state: str, facts: dict[str, Any], wishes: dict[str, Any], sizes: tuple[int, ...], is_said: bool
) -> None:
    """Policy: California 4064.5; 75 %; the chain synchronizes C-IV. Said, and filled as before: thirty days."""
    each = prescription("a", **facts)
    old = [prescription("a", status="superseded")] if each.renews else []
    wishes = {"cycle_policy": "rolling_90"} | wishes
    profile = patient(
        [each, *old, prescription("b")], [fill("a", in_days(-18)), fill("b", in_days(-20))], **wishes
    )
    payer = PayerRule("commercial", refill_percent=75, days_supplies=frozenset(sizes), pays_short_fills=True)
    rules = replace(OPEN_TO_C4, payers=(payer,), larger_fills=larger_fills())
    plan = planned(profile, rules=rules, calendar=Calendar(state=state))
    decision = next(one for one in plan.drugs if one.rx_id == each.rx_id)
    assert ("larger_fill" in codes(decision.reasons)) == is_said
    if is_said:
        assert {item.days_supply for visit in plan.visits for item in visit.items} == {30}


# --- refills and quantity, both ---


def test_a_short_fill_takes_a_refill_number_so_a_renewal_is_asked_for_in_time() -> None:
    """Policy: 75 %, a number goes with every fill. a takes a bridge and a usual fill; one refill is left, and plenty of
    quantity."""
    few = prescription("a", refills_left=1)
    profile = replace(taking({"a": 8, "b": 16}), prescriptions=(few, prescription("b")))
    plan = planned(profile, pinned(16))
    assert [(each.reason.code, each.needed_by) for each in plan.renewals] == [
        ("renewal_refills", in_days(16 - 4))
    ]
    assert "renewal_needed_by" in codes(of(plan, "a").reasons)
    by_quantity = replace(COMMERCIAL, short_fill_takes_refill=False)
    assert planned(profile, pinned(16), rules=by_quantity).renewals == ()
    renewed = replace(few, rx_id="rx-new", renews="rx-a", written_on=in_days(-1))
    old = prescription("a", status="superseded")
    of_old = replace(profile, prescriptions=(old, renewed, prescription("b")))
    assert planned(of_old, pinned(16)).renewals == (), "its first fill is no refill"
    not_told = replace(profile, prescriptions=(replace(few, refills_left=0), prescription("b")))
    assert planned(not_told, pinned(16)).renewals == ()


def test_a_program_may_take_a_prescription_for_a_shorter_time() -> None:
    rules = replace(COMMERCIAL, payers=(PayerRule("commercial", refill_percent=75, prescription_months=6),))
    each = prescription("a")
    profile, said = as_read(patient([each]), rules, "TX", TODAY)
    assert profile.prescriptions[0].expires_on == last_day(each.written_on, 6)
    assert codes(said["rx-a"]) == ["valid_by_payer"]


# --- prior authorization ---


def authorized(until: int) -> Profile:
    each = prescription("a", prior_authorization_until=in_days(until))
    return replace(taking({"a": 12, "b": 14}), prescriptions=(each, prescription("b")))


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (80, []),
        (60, ["authorization_renew_by"]),
        (20, ["authorization_renew_by"]),
        (14, ["authorization_renew_now"]),
    ],
)
def test_its_renewal_begins_a_fortnight_before_it_ends(until: int, said: list[str]) -> None:
    """Policy: 14 days ahead; the pickup after next is on day 71 at the latest."""
    plan = planned(authorized(until))
    words = [reason for reason in of(plan, "a").reasons if reason.code.startswith("authorization")]
    assert [reason.code for reason in words] == said
    if said == ["authorization_renew_by"]:
        assert words[0].params["on"] == in_days(until - 14).isoformat()


def test_nothing_is_filled_unasked_after_the_authorization_ends() -> None:
    """Policy: 75 %. The pickup on day 14 is agreed; a is payable from day 5, and authorized until day 11."""
    plan = planned(authorized(11), pinned(14))
    fills = [(visit.on, item) for visit in plan.visits for item in visit.items if item.rx_id == "rx-a"]
    assert any(on <= in_days(11) for on, _ in fills)
    for on, item in fills:
        assert (item.condition is not None) == (on > in_days(11)), "unless the payer authorizes it again"
        assert item.condition is None or item.condition.kind is ConditionKind.authorization
    assert plan.renewals == (), "the prescriber's prescription is not at its end"


TRANSITION = PayerRule(
    "commercial", refill_percent=75, transition_days=30, transition_within_days=90, emergency_hours=72
)


@pytest.mark.parametrize("rejected", [False, True])
def test_while_it_is_pending_each_fill_is_conditional_and_the_ways_to_bridge_are_said(rejected: bool) -> None:
    """Policy: the plan states a transition supply and one of 72 hours; neither is applied unasked."""
    profile = authorized(200 if rejected else 2)
    if rejected:
        profile = replace(profile, rejections=(Rejection("rx-a", "75", in_days(-1)),))
    plan = planned(profile, rules=replace(COMMERCIAL, payers=(TRANSITION,)))
    decision = of(plan, "a")
    said = ["transition_supply", "emergency_supply", "authorization_needed_by"]
    assert [code for code in codes(decision.reasons) if code in said] == said
    items = [item for visit in plan.visits for item in visit.items if item.rx_id == "rx-a"]
    assert items and all(
        item.condition and item.condition.kind is ConditionKind.authorization for item in items
    )
    assert "transition_supply" not in codes(of(planned(profile), "a").reasons), "this plan states none"


# --- not before a day that the prescriber wrote ---


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        ({}, 11),
        ({"away": (Span(in_days(9), in_days(40)),)}, 11),
        ({"rulings": (StaffDecision(StaffDecisionKind.fill, "pharmacist", "x", TODAY, "rx-a"),)}, 11),
    ],
    ids=["usually", "before a vacation", "whatever staff decided"],
)
def test_nothing_is_filled_before_the_day_that_the_prescriber_wrote(
    facts: dict[str, Any], first: int
) -> None:
    """Policy: 75 %. a would be payable from today on, and runs out on day 7."""
    dated = prescription("a", fill_from=in_days(first))
    profile = replace(taking({"a": 7, "b": 12}), prescriptions=(dated, prescription("b")), **facts)
    plan = planned(profile)
    days = [visit.on for visit in plan.visits for item in visit.items if item.rx_id == "rx-a"]
    assert all(day >= in_days(first) for day in days)
    assert "fill_from" in codes(of(plan, "a").reasons)
    free = planned(replace(profile, prescriptions=(prescription("a"), prescription("b"))))
    assert min(v.on for v in free.visits for item in v.items if item.rx_id == "rx-a") < in_days(first)


@pytest.mark.parametrize(
    ("left", "taking_part"),
    [((30, 30, 30), 0), ((0, 30, 30), 1), ((0, 0, 30), 2)],
    ids=["first", "second", "third"],
)
def test_of_a_series_the_one_that_may_be_filled_first_takes_part_and_no_renewal_is_asked_for(
    left: tuple[int, ...], taking_part: int
) -> None:
    """Three prescriptions for a month each, written on one day, to be filled from days -20, 10 and 40 on."""
    series = [
        prescription("a", rx_id=f"rx-a{at}", quantity_left=Decimal(units), fill_from=in_days(day))
        for at, (units, day) in enumerate(zip(left, (-20, 10, 40), strict=True))
    ]
    first = Fill(series[0].rx_id, in_days(-20), in_days(-20), 30)
    plan = planned(patient([*series, prescription("b")], [first, fill("b", in_days(-18))]))
    chosen = [each.participation is Participation.sync for each in plan.drugs[:3]]
    assert chosen == [at == taking_part for at in range(3)]
    assert plan.renewals == ()
    if not taking_part:
        alone = planned(patient([series[0], prescription("b")], [first, fill("b", in_days(-18))]))
        assert [each.rx_id for each in alone.renewals] == [series[0].rx_id], "the others spare it"
    waiting = [each.reasons[0].code for each in plan.drugs[taking_part + 1 : 3]]
    assert waiting == ["follows"] * (2 - taking_part)


# --- a refused drug is tried again ---


def looked_at(
    today: date, rules: Rules, progress: Progress, profile: Profile
) -> tuple[Progress, Plan | Blocked]:
    after, outcome = plan_anew(progress, profile, Calendar(), rules, today)
    assert outcome is not None
    return after, outcome


def test_a_patient_is_planned_anew_on_the_day_from_which_a_refused_drug_may_be_tried_again() -> None:
    """Policy: 14 days. Refused today, with nothing else to happen before: the plan names the day and keeps it."""
    refused = Rejection("rx-a", "76", rejected_on=TODAY)
    profile = replace(taking({"a": 25, "b": 28, "c": 29}), rejections=(refused,))
    progress, outcome = looked_at(TODAY, COMMERCIAL, Progress("patient-1"), profile)
    assert isinstance(outcome, Plan)
    until = TODAY + timedelta(days=COMMERCIAL.rejection_days)
    assert of(outcome, "a").reasons[0].params["until"] == until.isoformat()
    assert progress.status is Status.planned and progress.look_again_on == until
    _, again = looked_at(until, COMMERCIAL, progress, profile)
    assert of(again, "a").participation is Participation.sync


def test_a_patient_without_a_plan_is_looked_at_again_no_later_than_that() -> None:
    refused = Rejection("rx-a", "76", rejected_on=in_days(-11))
    blocked = plan_cycle(
        replace(taking({"a": 10}), rejections=(refused,)), EVERY_DAY, COMMERCIAL, TODAY, NO_COMMITMENTS, 1
    )
    assert isinstance(blocked, Blocked) and blocked.look_again_on == in_days(3)


def test_a_refusal_with_the_payers_own_date_needs_no_other_look() -> None:
    refused = Rejection("rx-a", "79", rejected_on=in_days(-1), next_fill_on=in_days(11))
    plan = planned(replace(taking({"a": 12, "b": 12}), rejections=(refused,)), Commitments())
    assert plan.look_again_on is None


# --- whatever is known of drugs ---


def random_facts(rng: Random) -> Profile:
    """Two to five drugs of every kind, with facts that fit together or not."""
    prescriptions, fills = [], []
    for name in "abcde"[: rng.randint(2, 5)]:
        facts: dict[str, Any] = {
            "drug": drug(
                name,
                form=rng.choice(["tablet", "tablet", "drops", "injection", "inhaler"]),
                schedule=rng.choice(["none", "none", "c4", "c5"]),
                doses_per_unit=rng.choice([None, Decimal(20), Decimal(100)]),
                priming_doses=rng.choice([None, Decimal(2)]),
                container_quantity=rng.choice([None, Decimal(3), Decimal("2.5")]),
                in_use_days=rng.choice([None, None, 28]),
                pack_quantity=rng.choice([None, Decimal(10)]),
            ),
            "directions": rng.choice(
                ["", "1 daily", "1 bid", "20 units SQ once daily", "1 drop OU bid", "prn"]
            ),
            "units_per_day": rng.choice([None, Decimal(1), Decimal("0.1429"), Decimal(2)]),
            "usual_days": rng.choice([0, 14, 30, 75, 90]),
            "usual_quantity": Decimal(rng.choice([1, 4, 15, 30, 60])),
            "quantity_left": Decimal(rng.randint(0, 200)),
            "refills_left": rng.randint(0, 3),
            "written_on": in_days(-rng.randint(0, 300)),
            "prior_authorization_until": rng.choice([None, None, in_days(rng.randint(-5, 60))]),
        }
        prescriptions.append(prescription(name, **facts))
        for _ in range(rng.randint(0, 3)):
            on, days = in_days(-rng.randint(0, 60)), rng.randint(0, 60)
            billed = rng.choice([None, 30])
            quantity = Decimal(rng.randint(0, 30))
            fills.append(Fill(f"rx-{name}", on, on, days, quantity, billed, elsewhere=rng.random() < 0.2))
    return patient(prescriptions, fills)


@pytest.mark.slow
def test_whatever_is_known_no_plan_fails_and_none_fills_what_may_not_be() -> None:
    """Policy: the chain synchronizes C-IV and C-V; at most 34 days, or 60, or 84 to 90."""
    sizes = frozenset([*range(1, 35), 60, *range(84, 91)])
    payer = PayerRule("commercial", refill_percent=75, days_supplies=sizes)
    rules = replace(OPEN_TO_C4, payers=(payer,))
    planned_at_all = 0
    for seed in range(400):
        profile = random_facts(Random(seed))
        plan = plan_cycle(profile, Calendar(state="NY"), rules, TODAY, NO_COMMITMENTS, 1)
        taken, _ = as_read(profile, rules, "NY", TODAY)
        by_rx = {each.rx_id: each for each in taken.prescriptions}
        visits = plan.visits if isinstance(plan, Plan) else ()
        planned_at_all += bool(visits)
        for rx_id, each in by_rx.items():
            items = [(visit.on, item) for visit in visits for item in visit.items if item.rx_id == rx_id]
            until = min(each.expires_on, each.prior_authorization_until or date.max)
            certain = [(on, item) for on, item in items if item.condition is None]
            assert all(on <= until for on, _ in certain), seed
            assert sum(item.quantity for _, item in certain) <= each.quantity_left, seed
            for _, item in items:
                billed = item.days_supply_billed
                assert billed is None or (billed in sizes and billed < item.days_supply), seed
    assert planned_at_all > 100
