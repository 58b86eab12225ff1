"""The dated steps around a visit: on open days, never later than their rule, as outreach and fulfillment keep them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from services.fulfillment.domain import Store
from services.fulfillment.domain.filling import order_day
from services.fulfillment.domain.work_order import MISSED_AFTER, last_saleable_day
from services.outreach.domain.model import Calendar as OutreachCalendar
from services.outreach.domain.model import Case, Contact, Kind, contact_id
from services.outreach.domain.schedule import moments
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import FillKind, Item, Rules, Step, VisitKind, because
from services.planner.domain.steps import steps_of
from services.planner.publishing import event_of, payload_of
from shared.words import explain
from tests.unit.planner.cases import COMMERCIAL, EVERY_DAY, TODAY, in_days, taking
from tests.unit.planner.test_plan import planned

VISIT_ON = date(2026, 4, 15)  # a Wednesday
CLOSED_SUNDAYS = Calendar(weekdays=frozenset(range(6)))


def item(rx_id: str, payable_from: date | None = None) -> Item:
    return Item(
        rx_id, rx_id, FillKind.full, COMMERCIAL.extra_cost_limit, 30, payable_from, because("item_full")
    )


def steps(
    calendar: Calendar = EVERY_DAY,
    kind: VisitKind = VisitKind.synchronized,
    items: tuple[Item, ...] = (item("rx-a"),),
    rules: Rules = COMMERCIAL,
) -> dict[str, list[int]]:
    """Days from the visit, by step."""
    found: dict[str, list[int]] = {}
    for step in steps_of(kind, VISIT_ON, items, calendar, rules):
        found.setdefault(step.code, []).append((step.on - VISIT_ON).days)
    return found


def test_a_visit_has_the_steps_of_the_appointment_based_workflow() -> None:
    """The table of (R13.1)."""
    assert steps() == {
        "checks": [-14],
        "prescriber": [-10],
        "call": [-7],
        "call_again": [-5],
        "order_stock": [-5],
        "last_call": [-3],
        "fill": [-3],
        "verify": [-2],
        "ready": [-1],
        "pickup": [0],
        "talk": [0],
        "missed": [1],
        "missed_again": [3],
        "return": [7],  # ten days from the fill
    }


def test_a_bridge_has_no_talk_and_no_checks_of_its_own() -> None:
    assert steps().keys() - steps(kind=VisitKind.bridge).keys() == {"checks", "prescriber", "talk"}


def test_steps_of_closed_days_are_taken_earlier_and_the_return_follows_the_fill() -> None:
    closed = frozenset(VISIT_ON + timedelta(days=days) for days in (-2, -3, -7, 1))
    found = steps(replace(CLOSED_SUNDAYS, closed_on=closed))  # three days before is a Sunday besides
    assert found["call"] == [-8]
    assert found["verify"] == found["fill"] == [-4]
    assert found["return"] == [6]
    assert found["missed"] == [1]


CLOSED_TWO_WEEKS = replace(
    EVERY_DAY, closed_on=frozenset(VISIT_ON - timedelta(days=days) for days in range(1, 15))
)


def test_in_a_long_closure_what_comes_before_the_visit_is_done_on_the_last_open_day() -> None:
    found = steps(CLOSED_TWO_WEEKS)
    for code in ("checks", "call", "call_again", "order_stock", "last_call", "fill", "verify", "ready"):
        assert found[code] == [-15], code
    assert found["prescriber"] == [-15]
    assert (found["pickup"], found["return"]) == ([0], [-5])


@pytest.mark.parametrize(
    ("today", "found"),
    [
        (-20, {"checks": -15, "call": -15, "fill": -15, "ready": -15}),
        (-15, {"checks": -15, "call": -15, "fill": -15, "ready": -15}),
        (-14, {"checks": 0, "call": 0, "fill": 0, "ready": 0}),  # nobody is in before the visit
    ],
)
def test_no_step_is_before_today(today: int, found: dict[str, int]) -> None:
    made = steps_of(
        VisitKind.synchronized,
        VISIT_ON,
        (item("rx-a"),),
        CLOSED_TWO_WEEKS,
        COMMERCIAL,
        today=VISIT_ON + timedelta(days=today),
    )
    days = {step.code: (step.on - VISIT_ON).days for step in made}
    assert {code: days[code] for code in found} == found


def test_what_is_overdue_is_done_on_the_next_open_day() -> None:
    closed_tomorrow = replace(EVERY_DAY, closed_on=frozenset({VISIT_ON - timedelta(days=6)}))
    made = steps_of(
        VisitKind.synchronized,
        VISIT_ON,
        (item("rx-a"),),
        closed_tomorrow,
        COMMERCIAL,
        today=VISIT_ON - timedelta(days=6),
    )
    days = {step.code: (step.on - VISIT_ON).days for step in made}
    assert [days[code] for code in ("checks", "prescriber", "call", "call_again")] == [-5, -5, -5, -5]


def test_a_fill_that_is_paid_in_a_closure_waits_for_the_visit() -> None:
    late = item("rx-late", VISIT_ON - timedelta(days=3))
    assert steps(CLOSED_TWO_WEEKS, items=(late,))["fill"] == [0]


def test_a_fill_waits_for_the_payer_and_the_pharmacist_for_the_fill() -> None:
    late = item("rx-late", VISIT_ON - timedelta(days=1))
    made = steps_of(VisitKind.bridge, VISIT_ON, (item("rx-a"), late), EVERY_DAY, COMMERCIAL)
    fills = [step for step in made if step.code == "fill"]
    assert fills == [
        Step("fill", VISIT_ON - timedelta(days=3), "technician", ("rx-a",)),
        Step("fill", VISIT_ON - timedelta(days=1), "technician", ("rx-late",)),
    ]
    assert next(step.on for step in made if step.code == "verify") == fills[1].on


def test_the_steps_are_the_chains() -> None:
    rules = replace(COMMERCIAL, steps=tuple(row for row in COMMERCIAL.steps if row.code == "call"))
    assert steps(rules=rules) == {"call": [-7]}


def test_steps_do_not_change_while_days_pass_so_that_the_plan_stands() -> None:
    profile = taking({"a": 25, "b": 27})
    first = planned(profile)
    later = planned(profile, today=in_days(1))
    assert first.anchor_on == later.anchor_on
    assert [visit.steps for visit in first.visits] == [visit.steps for visit in later.visits]


def test_in_words_what_is_overdue_is_due_at_once_and_repeats_are_left_out() -> None:
    plan = planned(taking({"a": 6}))
    (visit,) = plan.visits
    assert (visit.on - TODAY).days < 7
    words = explain(event_of(payload_of(plan, "p", "s", 1, 1)))[-1]
    assert "Right away: refills and prior authorizations checked (system), call" in words
    assert "second call, if not reached" not in words


# --- as the others keep them ---


@pytest.mark.parametrize("seed", range(60))
def test_fulfillment_orders_and_returns_on_the_days_that_the_plan_gives(seed: int) -> None:
    calendar, on, payable_from = random_days(Random(seed))
    made = steps_of(VisitKind.synchronized, on, (item("rx-a", payable_from),), calendar, COMMERCIAL)
    store = Store("store-1", 1, "UTC", calendar.weekdays, calendar.closed_on)
    filled_on = order_day(on, payable_from, store)
    assert [step.on for step in made if step.code == "fill"] == [filled_on]
    assert [step.on for step in made if step.code == "return"] == [last_saleable_day([filled_on])]
    missed = [step.on for step in made if step.code.startswith("missed")]
    assert missed == [on + timedelta(days=days) for days in MISSED_AFTER]


@pytest.mark.parametrize("seed", range(60))
def test_outreach_calls_on_the_days_that_the_plan_gives(seed: int) -> None:
    calendar, on, _ = random_days(Random(seed))
    made = steps_of(VisitKind.synchronized, on, (item("rx-a"),), calendar, COMMERCIAL)
    calls = [
        next(step.on for step in made if step.code == code) for code in ("call", "call_again", "last_call")
    ]
    contact = Contact(
        contact_id=contact_id("patient-1", Kind.confirmation, "visit-1"),
        patient_id="patient-1",
        kind=Kind.confirmation,
        store_id="store-1",
        opened_at=datetime.combine(on - timedelta(days=30), time(12), UTC),
        visit_id="visit-1",
        visit_on=on,
    )
    case = Case(
        patient_id="patient-1",
        store_id="store-1",
        zone="UTC",
        calendar=OutreachCalendar(calendar.weekdays, calendar.closed_on),
    )
    for attempt, day in enumerate(calls):
        tried = replace(contact, attempts=attempt)
        first = next(moments(tried, case, contact.opened_at))
        assert first.astimezone(ZoneInfo("UTC")).date() == day


def random_days(rng: Random) -> tuple[Calendar, date, date | None]:
    """A store's calendar, an open day for a visit, and the day from which a payer pays."""
    weekdays = frozenset(rng.sample(range(7), rng.randint(4, 7)))
    closed = frozenset(VISIT_ON + timedelta(days=rng.randint(-16, 4)) for _ in range(rng.randint(0, 3)))
    calendar = Calendar(weekdays=weekdays, closed_on=closed)
    on = next(day for n in range(20) if calendar.is_open(day := VISIT_ON + timedelta(days=n)))
    return calendar, on, rng.choice([None, on - timedelta(days=rng.randint(0, 5))])
