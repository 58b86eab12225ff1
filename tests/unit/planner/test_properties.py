"""What holds for every plan, whoever the patient is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.domain import choosing
from services.planner.domain import progress as progress_module
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import NO_COMMITMENTS, Plan, Profile, Rules
from services.planner.domain.payers import PayerRule
from services.planner.domain.plan import plan_cycle
from services.planner.domain.search import Verdict
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, drug, fill, in_days, patient, prescription

pytestmark = pytest.mark.slow

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
    plan = plan_cycle(profile, calendar, COMMERCIAL, today, NO_COMMITMENTS, 1)
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
def test_every_fill_is_payable_and_authorized_on_an_open_day(
    drugs: Life, weekdays: frozenset[int], closed: frozenset[date]
) -> None:
    profile = life(drugs)
    plan = planned(profile, Calendar(weekdays, closed))
    for visit in plan.visits:
        assert visit.on.weekday() in weekdays
        assert visit.on not in closed
        assert visit.urgent or visit.on >= in_days(4)
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
    assert plan.rhythm
    assert plan.anchor_on < plan.next_anchor_on <= plan.anchor_on + timedelta(days=plan.rhythm.cycle_days + 6)
    for visit in plan.visits:
        rx_ids = [item.rx_id for item in visit.items]
        assert rx_ids and len(rx_ids) == len(set(rx_ids))


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


# --- the burden ---

COMMON = Rules(payers=(PayerRule("commercial", refill_percent=75, days_supplies=frozenset({30, 90})),))
KIND = Rules(
    payers=(PayerRule("commercial", refill_percent=75, days_supplies=frozenset({*range(1, 31), 90})),)
)


def burden(profile: Profile, rules: Rules = COMMERCIAL) -> Fraction:
    """One-time trips, trips a year and a third for each short fill or override, by the plan's own search."""
    with recorded() as verdicts:
        assert isinstance(plan_cycle(profile, EVERY_DAY, rules, TODAY, NO_COMMITMENTS, 1), Plan)
    return Fraction(verdicts[-1].chosen.score.burden)


@contextmanager
def recorded() -> Iterator[list[Verdict]]:
    """The verdicts of the searches that are made."""
    verdicts: list[Verdict] = []
    choose = choosing.choose

    def recording(*args: Any) -> Verdict | None:
        verdict = choose(*args)
        if verdict:
            verdicts.append(verdict)
        return verdict

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "choose", recording)
        yield verdicts


tablets = st.lists(
    st.tuples(st.integers(0, 29), st.sampled_from([30, 30, 90]), st.just("tablet")), min_size=1, max_size=4
)


@SEVERAL
@given(tablets, st.integers(0, 26), st.sampled_from([30, 90]))
def test_adding_a_drug_never_lowers_the_burden(drugs: Life, ago: int, days: int) -> None:
    """One that can wait for the lead time: an urgent visit would open days to the others too."""
    assert burden(life([*drugs, (ago, days, "tablet")])) >= burden(life(drugs))


@SEVERAL
@given(tablets)
def test_a_payer_that_allows_more_sizes_never_raises_the_burden(drugs: Life) -> None:
    assert burden(life(drugs), KIND) <= burden(life(drugs), COMMON)


@SEVERAL
@given(tablets)
def test_asking_for_the_proposed_cycle_changes_nothing(drugs: Life) -> None:
    profile = life(drugs)
    plan = planned(profile)
    assert plan.rhythm
    asked = planned(replace(profile, cycle_policy=f"rolling_{plan.rhythm.cycle_days}"))
    assert essence(asked) == essence(plan)


def test_two_inhalers_among_six_drugs_out_of_step_leave_nobody_without_a_plan() -> None:
    """No first slot suits them all: some take several fills before they join."""
    tablets_and_inhalers: Life = [
        *((ago, 30, "tablet") for ago in (12, 1, 17)),
        *((ago, 30, "inhaler") for ago in (26, 8)),
        (6, 90, "tablet"),
    ]
    plan = planned(life(tablets_and_inhalers))
    assert plan.uncovered_days == plan.unavoidable_days == 0


@SEVERAL
@given(tablets)
def test_planning_again_the_day_after_changes_nothing(drugs: Life) -> None:
    profile = life(drugs)
    progress, plan = progress_module.plan_anew(
        progress_module.Progress("p"), profile, EVERY_DAY, COMMERCIAL, TODAY
    )
    assert isinstance(plan, Plan)
    agreed = progress_module.alignment_agreed(progress, plan.plan_id, plan.anchor_on)
    assert agreed
    if plan.visits[0].on > in_days(1):
        _, again = progress_module.plan_anew(agreed, profile, EVERY_DAY, COMMERCIAL, in_days(1))
        assert isinstance(again, Plan)
        assert essence(replace(again, offered=plan.offered)) == essence(plan)
