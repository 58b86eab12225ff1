"""What holds for every plan, whoever the patient is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import NOTHING_TOLD, Plan, Profile, Rules
from services.planner.domain.plan import plan_cycle
from tests.unit.planner import oracle
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, drug, fill, in_days, patient, prescription

SEVERAL = settings(max_examples=60, deadline=None)

Life = list[tuple[int, int, str]]
"""Per drug: days since its last fill, its usual days, its form."""

lives = st.lists(
    st.tuples(
        st.integers(0, 35),
        st.sampled_from([30, 30, 30, 90]),
        st.sampled_from(["tablet", "tablet", "tablet", "inhaler"]),
    ),
    min_size=1,
    max_size=6,
)
weeks = st.frozensets(st.integers(0, 6), min_size=2)
closures = st.frozensets(st.integers(0, 90).map(in_days), max_size=10)


def life(drugs: Life) -> Profile:
    """A patient on these drugs; the first one can always be synchronized."""
    prescriptions, fills = [], []
    for number, (ago, days, form) in enumerate(drugs):
        name = f"drug{number}"
        facts = drug(name, form=form if number else "tablet")
        usual = {"usual_days": days, "usual_quantity": Decimal(days)}
        prescriptions.append(prescription(name, drug=facts, **usual))
        fills.append(fill(name, in_days(-ago), days))
    return patient(prescriptions, fills)


def planned(profile: Profile, calendar: Calendar = EVERY_DAY, today: date = TODAY) -> Plan:
    plan = plan_cycle(profile, calendar, COMMERCIAL, today, NOTHING_TOLD, 1)
    assert isinstance(plan, Plan)
    return plan


def essence(plan: Plan, back: int = 0) -> tuple[object, ...]:
    """What the plan says about days and fills, moved back by so many days."""
    moved = timedelta(days=back)
    return (
        plan.anchor_on - moved,
        plan.next_anchor_on - moved,
        [
            (visit.kind, visit.on - moved, [(item.rx_id, item.quantity) for item in visit.items])
            for visit in plan.visits
        ],
        [offer.on - moved for offer in plan.offered],
        plan.uncovered_days,
    )


@SEVERAL
@given(lives, st.integers(1, 400))
def test_a_delay_in_everything_delays_everything(drugs: Life, days: int) -> None:
    profile = life(drugs)
    delay = timedelta(days=days)
    later = replace(
        profile,
        prescriptions=tuple(
            replace(each, written_on=each.written_on + delay, expires_on=each.expires_on + delay)
            for each in profile.prescriptions
        ),
        fills=tuple(
            replace(each, filled_on=each.filled_on + delay, handed_over_on=each.handed_over_on + delay)
            for each in profile.fills
        ),
    )
    assert essence(planned(later, today=TODAY + delay), back=days) == essence(planned(profile))


@SEVERAL
@given(
    lives, st.sampled_from([{"as_needed": True}, {"status": "on_hold"}, {"drug": drug("x", schedule="c2")}])
)
def test_an_excluded_drug_changes_nothing(drugs: Life, facts: dict[str, object]) -> None:
    profile = life(drugs)
    excluded = replace(
        profile,
        prescriptions=(*profile.prescriptions, prescription("x", **facts)),
        fills=(*profile.fills, fill("x", in_days(-29))),
    )
    assert essence(planned(excluded)) == essence(planned(profile))


@SEVERAL
@given(lives, weeks, closures)
def test_every_fill_is_payable_and_authorised_on_an_open_day(
    drugs: Life, weekdays: frozenset[int], closed: frozenset[date]
) -> None:
    profile = life(drugs)
    plan = planned(profile, Calendar(weekdays, closed))
    for visit in plan.visits:
        assert visit.on.weekday() in weekdays
        assert visit.on not in closed
        assert visit.on >= in_days(4)
    fills = defaultdict(list)
    for each in profile.fills:
        fills[each.rx_id].append((each.filled_on, each.days_supply))
    for visit in plan.visits:
        for item in visit.items:
            last_on, last_days = fills[item.rx_id][-1]
            payable = last_on + timedelta(days=ceil(Fraction(75, 100) * last_days))
            assert visit.on >= payable
            assert item.payable_from == payable
            fills[item.rx_id].append((visit.on, item.days_supply))


@SEVERAL
@given(lives, weeks, closures)
def test_each_drug_is_dispensed_at_most_once_a_visit_and_visits_are_in_order(
    drugs: Life, weekdays: frozenset[int], closed: frozenset[date]
) -> None:
    plan = planned(life(drugs), Calendar(weekdays, closed))
    days = [visit.on for visit in plan.visits]
    assert days == sorted(set(days))
    assert plan.anchor_on in days
    assert plan.next_anchor_on <= plan.anchor_on + timedelta(days=30)
    for visit in plan.visits:
        rx_ids = [item.rx_id for item in visit.items]
        assert rx_ids and len(rx_ids) == len(set(rx_ids))


@SEVERAL
@given(st.lists(st.integers(5, 30), min_size=2, max_size=6), weeks, closures)
def test_never_more_uncovered_days_than_the_latest_due_rule(
    run_outs: list[int], weekdays: frozenset[int], closed: frozenset[date]
) -> None:
    """The usual rule's uncovered days by the oracle, one drug at a time."""
    open_days = frozenset(
        day for day in range(120) if in_days(day).weekday() in weekdays and in_days(day) not in closed
    )
    pills = tuple(oracle.Pill(run_out=day, ready=day - 7, usual_days=30) for day in run_outs)
    case = oracle.Small(pills, open_days, lead=4, cycle=30)
    latest = max(
        (day for day in open_days if oracle.first_workable(case) <= day <= max(run_outs)), default=None
    )
    if latest is None:
        return
    second = max(day for day in open_days if latest < day <= latest + 30)
    usual = sum(oracle.fewest_uncovered(case, pill, latest, second)[0].uncovered for pill in pills)
    profile = life([(30 - day, 30, "tablet") for day in run_outs])
    plan = planned(profile, Calendar(weekdays, closed))
    assert plan.uncovered_days - plan.unavoidable_days <= usual


@SEVERAL
@given(lives, weeks, closures)
def test_the_same_values_give_the_same_plan(
    drugs: Life, weekdays: frozenset[int], closed: frozenset[date]
) -> None:
    calendar = Calendar(weekdays, closed)
    assert planned(life(drugs), calendar) == planned(life(drugs), calendar)


@SEVERAL
@given(lives)
def test_the_offered_days_begin_with_the_plans_own_and_never_repeat(drugs: Life) -> None:
    plan = planned(life(drugs))
    days = [offer.on for offer in plan.offered]
    assert days[0] == plan.anchor_on
    assert len(days) == len(set(days)) <= Rules().offered_days
    assert all(offer.uncovered_days >= plan.offered[0].uncovered_days for offer in plan.offered)
