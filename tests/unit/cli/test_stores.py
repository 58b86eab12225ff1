"""Each store's day as the demo's board reckons it from the stream."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import pytest

from cli.demo.stores import StoreDay, Stores, together
from shared.events.base import Event
from shared.events.enrollment import (
    Consent,
    DisenrolmentReason,
    PatientDisenrolled,
    PatientEnrolled,
    Profile,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import PackagePickedUp, PackageReady, PackageReturned
from shared.events.outreach import PatientUnreached, PickupConfirmed, PickupDeclined, RescheduleRequested
from shared.events.planner import PlanCancelled, PlanComputed, Reason, Visit, VisitKind

TODAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 18, tzinfo=UTC)  # in Tulsa
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
BASE = (
    StoreChanged(
        store_id="north", revision=1, name="North", state="OK", time_zone="America/Chicago", hours=()
    ),
    StoreChanged(
        store_id="south", revision=1, name="South", state="OK", time_zone="America/Chicago", hours=()
    ),
    PatientEnrolled(
        patient_id="p", revision=1, consent=Consent(given_at=NOON), profile=Profile(store_id="north")
    ),
)


def plan(
    on: date, *, revision: int = 1, agreed: bool = True, visit: str = "v", store: str = "north"
) -> PlanComputed:
    return PlanComputed(
        patient_id="p",
        plan_id="plan",
        revision=revision,
        profile_revision=1,
        cycle=1,
        store_id=store,
        computed_on=TODAY,
        anchor_on=on,
        next_anchor_on=on + timedelta(days=28),
        agreed=agreed,
        visits=(Visit(visit_id=visit, kind=VisitKind.synchronized, on=on, items=()),),
        drugs=(),
    )


def confirmed(on: date) -> PickupConfirmed:
    return PickupConfirmed(
        patient_id="p",
        store_id="north",
        plan_id="plan",
        plan_revision=1,
        visit_id="v",
        visit_kind="synchronized",
        on=on,
        items=(),
    )


def ready(on: date, visit: str = "v") -> PackageReady:
    return PackageReady(
        patient_id="p",
        store_id="north",
        package_id="k",
        plan_id="plan",
        visit_id=visit,
        on=on,
        items=(),
        return_on=on + timedelta(days=10),
    )


PICKED_UP = PackagePickedUp(
    patient_id="p",
    store_id="north",
    package_id="k",
    plan_id="plan",
    visit_id="v",
    handed_over_on=TODAY,
    taken=(),
)
RETURNED = PackageReturned(
    patient_id="p", store_id="north", package_id="k", plan_id="plan", visit_id="v", items=()
)
LEFT = PatientDisenrolled(patient_id="p", revision=2, reason=DisenrolmentReason.revoked)
CANCELLED = PlanCancelled(patient_id="p", plan_id="plan", revision=2, reason=Reason(code="disenrolled"))
DECLINED = PickupDeclined(patient_id="p", plan_id="plan", plan_revision=1, visit_id="v", on=TOMORROW)
UNREACHED = PatientUnreached(patient_id="p", plan_id="plan", plan_revision=1, visit_id="v", attempts=3)
UNREACHED_AT_ALL = UNREACHED.model_copy(update={"visit_id": None})
MOVED = RescheduleRequested(
    patient_id="p", plan_id="plan", plan_revision=1, visit_id="v", wanted_on=TODAY + timedelta(days=3)
)


def day_of(*events: Event) -> StoreDay:
    """The northern store's day."""
    stores = Stores()
    for event in (*BASE, *events):
        stores.note(event)
    return next(day for day in stores.days(NOON) if day.store_id == "north")


def figures(*events: Event) -> dict[str, int]:
    """What is not 0 of the northern store's day, besides its one patient."""
    day = day_of(*events)
    names = ("expected", "ready", "picked_up", "late", "to_call")
    return {name: number for name in names if (number := getattr(day, name))}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([plan(TODAY)], {"expected": 1, "to_call": 1}),
        ([plan(TODAY + timedelta(days=7))], {"to_call": 1}),
        ([plan(TODAY + timedelta(days=8))], {}),
        ([plan(TODAY + timedelta(days=20), agreed=False)], {"to_call": 1}),
        ([plan(TODAY + timedelta(days=20), agreed=False), UNREACHED_AT_ALL], {"to_call": 1}),
        ([plan(TODAY), confirmed(TODAY)], {"expected": 1}),
        ([plan(TOMORROW), DECLINED], {}),
        ([plan(TOMORROW), UNREACHED], {}),
        ([plan(TOMORROW), MOVED], {}),
        (
            [plan(TOMORROW), MOVED, plan(TODAY + timedelta(days=3), revision=2, visit="w")],
            {"to_call": 1},
        ),
        ([plan(TODAY), confirmed(TODAY), ready(TODAY)], {"expected": 1, "ready": 1}),
        ([plan(TOMORROW), confirmed(TOMORROW), ready(TOMORROW)], {"ready": 1}),
        ([plan(YESTERDAY), confirmed(YESTERDAY), ready(YESTERDAY)], {"late": 1}),
        ([plan(TODAY), confirmed(TODAY), ready(TODAY), PICKED_UP], {"expected": 1, "picked_up": 1}),
        ([plan(YESTERDAY), confirmed(YESTERDAY), ready(YESTERDAY), PICKED_UP], {}),
        ([plan(YESTERDAY), confirmed(YESTERDAY), ready(YESTERDAY), RETURNED], {}),
        ([plan(TOMORROW), CANCELLED], {}),
        ([plan(TOMORROW), LEFT], {}),
        ([plan(TODAY), confirmed(TODAY), ready(TODAY), LEFT], {"expected": 1, "ready": 1}),
    ],
)
def test_what_a_visit_counts_for(events: list[Event], expected: dict[str, int]) -> None:
    assert figures(*events) == expected


def test_the_order_in_which_topics_are_read_changes_nothing() -> None:
    events = [plan(TODAY), confirmed(TODAY), ready(TODAY)]
    assert [figures(*order) for order in permutations(events)] == [{"expected": 1, "ready": 1}] * 6


def test_an_older_plan_or_profile_told_again_changes_nothing() -> None:
    newer = plan(TOMORROW, revision=2, visit="w")
    assert figures(newer, plan(TODAY)) == {"to_call": 1}
    assert day_of(LEFT, *BASE, plan(TODAY)).enrolled == 0


def test_a_patient_counts_at_the_store_where_they_are_now() -> None:
    stores = Stores()
    moved = ProfileChanged(patient_id="p", revision=2, profile=Profile(store_id="south"))
    for event in (*BASE, plan(TODAY), moved, plan(TODAY, revision=2, store="south")):
        stores.note(event)

    figures = [(day.name, day.enrolled, day.expected) for day in stores.days(NOON)]
    assert figures == [("North", 0, 0), ("South", 1, 1)]


def test_the_day_is_that_of_the_store() -> None:
    stores = Stores()
    for event in (*BASE, plan(TODAY)):
        stores.note(event)

    late_in_the_evening = datetime(2026, 3, 3, 5, tzinfo=UTC)
    assert stores.days(late_in_the_evening)[0].expected == 1
    assert stores.days(late_in_the_evening + timedelta(hours=1))[0].expected == 0


def test_a_package_that_waits_is_kept_whatever_is_planned_after_it() -> None:
    waits = (plan(YESTERDAY), confirmed(YESTERDAY), ready(YESTERDAY))
    assert figures(*waits, plan(TOMORROW, revision=2, visit="w")) == {"late": 1, "to_call": 1}


def test_stores_together_are_the_sum() -> None:
    days = [
        StoreDay("a", "A", enrolled=1, expected=2, ready=3, picked_up=4, late=5, to_call=6),
        StoreDay("b", "B", enrolled=10, expected=20, ready=30, picked_up=40, late=50, to_call=60),
    ]
    total = together(days, "both")
    assert total == StoreDay(
        "", "both", enrolled=11, expected=22, ready=33, picked_up=44, late=55, to_call=66
    )
