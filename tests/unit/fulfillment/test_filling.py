"""What is filled and when: facts in any order, leases, results."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from services.fulfillment.domain import (
    Change,
    Facts,
    Filled,
    Item,
    PackageStatus,
    Plan,
    Rejected,
    Short,
    Store,
    WorkOrder,
    check_fill_id,
    confirm,
    expire_leases,
    lease,
    order_day,
    reconcile,
    report,
)
from services.fulfillment.publishing import events_of
from shared.events import Event
from shared.problems import Conflict
from tests.unit.fulfillment.given import (
    AHEAD,
    BACK,
    ENROLLED,
    EVERY_DAY,
    GONE,
    KNOWN,
    LEASE,
    NOON,
    RENEWED,
    RX,
    VISIT,
    VISIT_ON,
    confirmation,
    confirmed,
    filled,
    leased,
    plan,
    report_of,
    states,
)

FILLED = Filled("fill-1", date(2026, 10, 12))
WEEKDAYS = Store("store-1", 1, "America/New_York", frozenset(range(5)))


# ---- when ----


@pytest.mark.parametrize(
    ("zone", "visit_on", "due_at"),
    [
        ("America/New_York", date(2026, 10, 14), datetime(2026, 10, 11, 13, tzinfo=UTC)),  # summer time
        (
            "America/New_York",
            date(2026, 11, 3),
            datetime(2026, 10, 31, 13, tzinfo=UTC),
        ),  # the day before it ends
        (
            "America/New_York",
            date(2026, 11, 4),
            datetime(2026, 11, 1, 14, tzinfo=UTC),
        ),  # the day on which it ends
        (
            "America/New_York",
            date(2027, 3, 17),
            datetime(2027, 3, 14, 13, tzinfo=UTC),
        ),  # the day on which it begins
        ("America/Phoenix", date(2026, 11, 4), datetime(2026, 11, 1, 16, tzinfo=UTC)),  # never changes
        ("Pacific/Honolulu", date(2026, 10, 14), datetime(2026, 10, 11, 19, tzinfo=UTC)),
    ],
)
def test_items_are_ordered_three_days_ahead_at_nine_store_local_time(
    zone: str, visit_on: date, due_at: datetime
) -> None:
    store = replace(EVERY_DAY, time_zone=zone)
    order = confirm(None, replace(confirmation("rx-a"), visit_on=visit_on))
    assert order
    assert reconcile(order, KNOWN._replace(store=store), AHEAD).items[0].due_at == due_at


@pytest.mark.parametrize(
    ("store", "payable_from", "expected"),
    [
        (EVERY_DAY, None, date(2026, 10, 11)),
        (WEEKDAYS, None, date(2026, 10, 9)),  # T-3 is a Sunday: the Friday before
        (replace(WEEKDAYS, closed_on=frozenset({date(2026, 10, 9)})), None, date(2026, 10, 8)),
        (EVERY_DAY, date(2026, 10, 1), date(2026, 10, 11)),
        (EVERY_DAY, date(2026, 10, 13), date(2026, 10, 13)),  # the payer refuses it before
        (EVERY_DAY, VISIT_ON, VISIT_ON),
        (WEEKDAYS, date(2026, 10, 10), date(2026, 10, 12)),  # not on the Friday: the payer refuses
        (
            EVERY_DAY,
            date(2026, 10, 20),
            date(2026, 10, 11),
        ),  # paid only after the visit: there is an override
        (replace(EVERY_DAY, weekdays=frozenset()), None, date(2026, 10, 11)),  # no calendar to go by
    ],
)
def test_the_day_of_ordering_minds_the_store_and_the_payer(
    store: Store, payable_from: date | None, expected: date
) -> None:
    assert order_day(VISIT_ON, payable_from, store) == expected


@pytest.mark.parametrize(
    ("planned", "payable_from", "expected"),
    [
        (date(2026, 10, 8), None, date(2026, 10, 8)),
        (date(2026, 10, 10), None, date(2026, 10, 9)),  # closed since: earlier
        (date(2026, 10, 8), date(2026, 10, 12), date(2026, 10, 12)),
    ],
)
def test_the_plans_own_day_goes_before_the_usual_one(
    planned: date, payable_from: date | None, expected: date
) -> None:
    assert order_day(VISIT_ON, payable_from, WEEKDAYS, planned) == expected


@pytest.mark.parametrize(
    "unknown",
    [
        KNOWN._replace(patient=None),
        KNOWN._replace(plan=None),
        KNOWN._replace(store=None),
        Facts(ENROLLED, plan(0), EVERY_DAY),
    ],
    ids=["patient", "plan", "store", "only an older plan"],
)
def test_a_confirmation_waits_for_what_is_not_known_yet(unknown: Facts) -> None:
    waiting = confirmed("rx-a", facts=unknown)
    assert (waiting.status, waiting.items[0].due_at) == (PackageStatus.filling, None)
    assert reconcile(waiting, KNOWN, AHEAD) == confirmed("rx-a")


# ---- what ----

DROPPED = "cancelled not_planned"
KEPT_OUT = "cancelled excluded"
EXCLUDED = KNOWN._replace(excluded=frozenset({"rx-a"}))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (KNOWN, ("to_fill", "to_fill")),
        (KNOWN._replace(plan=plan(2, *RX)), ("to_fill", "to_fill")),
        (KNOWN._replace(plan=plan(2, "rx-a", "rx-c")), ("to_fill", DROPPED)),
        (KNOWN._replace(plan=plan(2)), (DROPPED, DROPPED)),
        (KNOWN._replace(plan=plan(1, "rx-a")), ("to_fill", "to_fill")),  # not newer than the confirmation
        (KNOWN._replace(patient=GONE), ("cancelled not_enrolled", "cancelled not_enrolled")),
        (KNOWN._replace(patient=BACK), ("cancelled not_enrolled", "cancelled not_enrolled")),
        (KNOWN._replace(patient=replace(GONE, died=True)), ("cancelled died", "cancelled died")),
        (
            KNOWN._replace(plan=plan(2, "rx-a", prescriptions=frozenset({"rx-a"}))),
            ("to_fill", "cancelled discontinued"),
        ),
        (
            KNOWN._replace(plan=Plan("patient-1", 2, cancelled_through=2)),
            ("cancelled plan_cancelled", "cancelled plan_cancelled"),
        ),
        (
            Facts(BACK, plan(3, *RX, profile=3, cancelled_through=2), EVERY_DAY),
            ("cancelled plan_cancelled", "cancelled plan_cancelled"),
        ),
    ],
)
def test_what_is_to_be_filled_follows_from_the_newest_facts(facts: Facts, expected: tuple[str, str]) -> None:
    order = confirmed("rx-a", "rx-b", facts=facts)
    assert tuple(states(order).values()) == expected
    stopped = all(state != "to_fill" for state in expected)
    assert order.status is (PackageStatus.cancelled if stopped else PackageStatus.filling)


def test_enrolled_again_the_patient_confirms_again() -> None:
    stopped = confirmed("rx-a", facts=KNOWN._replace(patient=GONE))
    now = Facts(BACK, plan(3, *RX, profile=3, cancelled_through=2), EVERY_DAY)
    assert states(reconcile(stopped, now, AHEAD)) == {"rx-a": "cancelled plan_cancelled"}
    again = confirm(stopped, confirmation("rx-a", plan_revision=3))
    assert again
    assert states(reconcile(again, now, AHEAD)) == {"rx-a": "to_fill"}


def test_a_plan_that_has_the_item_again_takes_the_cancellation_back() -> None:
    order = confirmed("rx-a", "rx-b")
    order = reconcile(order, KNOWN._replace(plan=plan(2)), AHEAD)
    order = reconcile(order, KNOWN._replace(plan=plan(3, "rx-b")), AHEAD)
    assert states(order) == {"rx-a": DROPPED, "rx-b": "to_fill"}
    assert order.status is PackageStatus.filling


def test_a_second_confirmation_replaces_the_items_while_nobody_works_on_them() -> None:
    again = confirm(confirmed("rx-a", "rx-b"), confirmation("rx-b", "rx-c"))
    assert again
    assert states(again) == {"rx-b": "to_fill", "rx-c": "to_fill", "rx-a": "cancelled declined"}
    assert reconcile(again, KNOWN, AHEAD).status is PackageStatus.filling


def test_a_second_confirmation_has_no_effect_once_someone_works_on_the_first() -> None:
    assert confirm(leased("rx-a"), confirmation("rx-b")) is None


# ---- what a pharmacist excluded ----


def test_what_is_excluded_before_it_is_confirmed_is_not_filled() -> None:
    assert states(confirmed("rx-a", "rx-b", facts=EXCLUDED)) == {"rx-a": KEPT_OUT, "rx-b": "to_fill"}


def test_an_exclusion_names_the_prescription_confirmed_or_the_renewal_in_its_place() -> None:
    renewed = plan(2, "rx-a2", "rx-b", renewals={VISIT: {"rx-a": "rx-a2"}})
    for rx_id in ("rx-a", "rx-a2"):
        facts = KNOWN._replace(plan=renewed, excluded=frozenset({rx_id}))
        order = reconcile(confirmed("rx-a", "rx-b"), facts, AHEAD)
        assert states(order) == {"rx-a": KEPT_OUT, "rx-b": "to_fill"}


def test_the_result_of_a_fill_that_was_excluded_meanwhile_is_refused() -> None:
    order = reconcile(leased("rx-a", "rx-b"), EXCLUDED, AHEAD)
    with pytest.raises(Conflict, match=r"lease_lost: .*put the drug back and reverse the claim"):
        filled("rx-a", of=order)


def test_an_exclusion_revoked_before_the_fill_lets_it_be_filled_while_the_plan_has_it() -> None:
    order = reconcile(confirmed("rx-a", "rx-b"), EXCLUDED, AHEAD)
    assert reconcile(order, KNOWN, AHEAD) == confirmed("rx-a", "rx-b")
    planned_without = reconcile(order, KNOWN._replace(plan=plan(2, "rx-b")), AHEAD)
    assert states(planned_without) == {"rx-a": DROPPED, "rx-b": "to_fill"}


# ---- what was filled already ----


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (KNOWN._replace(patient=GONE), {"rx-a": "filled", "rx-b": "cancelled not_enrolled"}),
        (KNOWN._replace(plan=plan(2)), {"rx-a": "filled", "rx-b": DROPPED}),
        (KNOWN._replace(plan=plan(2, "rx-b")), {"rx-a": "filled", "rx-b": "leased"}),
        (
            KNOWN._replace(plan=plan(2, "rx-b", prescriptions=frozenset({"rx-b"}))),
            {"rx-a": "withheld discontinued", "rx-b": "leased"},
        ),
        (
            KNOWN._replace(patient=replace(GONE, died=True)),
            {"rx-a": "withheld died", "rx-b": "cancelled died"},
        ),
        (EXCLUDED, {"rx-a": "withheld excluded", "rx-b": "leased"}),
        (
            EXCLUDED._replace(plan=plan(2), patient=GONE),
            {"rx-a": "withheld excluded", "rx-b": "cancelled not_enrolled"},
        ),
    ],
    ids=["left", "visit gone", "moved", "discontinued", "died", "excluded", "excluded and left"],
)
def test_what_is_filled_stays_unless_the_drug_or_the_patient_is_no_more(
    facts: Facts, expected: dict[str, str]
) -> None:
    assert states(reconcile(filled("rx-a", of=leased("rx-a", "rx-b")), facts, AHEAD)) == expected


# ---- leases and results ----


def test_what_is_due_is_leased_up_to_the_limit() -> None:
    early = datetime(2026, 10, 11, 12, 59, tzinfo=UTC)
    (order,) = lease([confirmed(*RX)], LEASE, now=early, limit=10)
    assert order == confirmed(*RX)
    (order,) = lease([confirmed(*RX)], LEASE, now=early + timedelta(minutes=1), limit=2)
    assert sorted(states(order).values()) == ["leased", "leased", "to_fill"]


def test_an_expired_lease_gives_its_items_back() -> None:
    order = leased("rx-a")
    assert expire_leases(order, LEASE.until - timedelta(seconds=1)) == order
    assert expire_leases(order, LEASE.until) == confirmed("rx-a")


def test_a_result_is_told_once() -> None:
    order = leased("rx-a", "rx-b")
    first = filled("rx-a", of=order)
    assert filled("rx-a", of=first) == first
    assert report_of(first, "rx-a", Filled("fill-rx-a", date(2026, 10, 13))) == first
    assert told(order, first) == [
        ("fill-completed", {"fill_id": "fill-rx-a", "filled_on": date(2026, 10, 12), "rx_id": "rx-a"})
    ]


def told(before: object, after: object) -> list[tuple[str, dict[str, object]]]:
    def short(event: Event) -> tuple[str, dict[str, object]]:
        name = event.TYPE.removeprefix("medsync.fulfillment.").removesuffix(".v1")
        shown = ("rx_id", "fill_id", "filled_on", "reject_code", "next_fill_on", "missing", "return_on")
        return name, {key: value for key, value in dict(event).items() if key in shown and value is not None}

    return [short(event) for event in events_of([Change(before, after)])]  # type: ignore[arg-type]


def test_a_result_under_another_lease_is_refused() -> None:
    item = leased("rx-a").items[0]
    with pytest.raises(Conflict, match=r"lease_lost: .*not leased under this lease_id"):
        report(leased("rx-a"), item.order_id, "lease-2", FILLED, now=NOON, store=EVERY_DAY)


def test_a_result_that_comes_after_the_lease_is_refused() -> None:
    item = leased("rx-a").items[0]
    assert item.lease
    with pytest.raises(Conflict, match=r"lease_lost: .*the lease ended"):
        report(leased("rx-a"), item.order_id, item.lease.lease_id, FILLED, now=LEASE.until, store=EVERY_DAY)


def test_each_item_has_a_lease_of_its_own() -> None:
    leases = {item.lease.lease_id for item in leased(*RX).items if item.lease}
    assert len(leases) == len(RX)


def test_another_result_of_the_same_lease_is_refused() -> None:
    with pytest.raises(Conflict, match=r"lease_lost: .*the order is filled"):
        report_of(filled("rx-a"), "rx-a", Rejected("79"))


def test_the_result_of_an_order_cancelled_meanwhile_is_refused() -> None:
    cancelled = reconcile(leased("rx-a"), KNOWN._replace(plan=plan(2)), AHEAD)
    with pytest.raises(Conflict, match=r"lease_lost: .*reverse the claim"):
        report_of(cancelled, "rx-a", FILLED)


def test_what_was_refused_or_is_short_does_not_stop_the_others() -> None:
    order = leased(*RX)
    refused = report_of(order, "rx-a", Rejected("79", date(2026, 10, 20)))
    short = report_of(refused, "rx-b", Short(Decimal(12)))
    assert (refused.status, short.status) == (PackageStatus.filling, PackageStatus.filling)
    done = filled("rx-c", of=short)
    assert done.status is PackageStatus.to_verify
    assert told(order, refused) == [
        ("fill-rejected", {"reject_code": "79", "next_fill_on": date(2026, 10, 20), "rx_id": "rx-a"})
    ]
    assert told(refused, short) == [("stock-short", {"missing": Decimal(12), "rx_id": "rx-b"})]


def test_where_nothing_is_filled_there_is_no_package() -> None:
    order = report_of(report_of(leased("rx-a", "rx-b"), "rx-a", Rejected("75")), "rx-b", Short(Decimal(30)))
    assert order.status is PackageStatus.cancelled
    assert [name for name, _ in told(leased("rx-a", "rx-b"), order)] == ["fill-rejected", "stock-short"]


def test_the_item_that_held_a_package_up_is_dropped_and_the_package_goes_on() -> None:
    waiting = filled("rx-a", of=leased("rx-a", "rx-b"))
    assert waiting.status is PackageStatus.filling
    assert reconcile(waiting, KNOWN._replace(plan=plan(2, "rx-a")), AHEAD).status is PackageStatus.to_verify


def test_moving_the_calendar_moves_what_is_not_leased_yet() -> None:
    closed = replace(EVERY_DAY, revision=2, closed_on=frozenset({date(2026, 10, 11)}))
    moved = reconcile(confirmed("rx-a"), KNOWN._replace(store=closed), AHEAD)
    assert (moved.store_revision, due(moved.items[0])) == (2, datetime(2026, 10, 10, 13, tzinfo=UTC))
    assert due(reconcile(leased("rx-a"), KNOWN._replace(store=closed), AHEAD).items[0]) == EVERY_DAY.at(
        date(2026, 10, 11), time(9)
    )
    assert moved.visit_id == VISIT


def due(item: Item) -> datetime | None:
    return item.due_at


TODAYS = RENEWED.model_copy(update={"needed_by": VISIT_ON})
MIDDAY = datetime(2026, 10, 14, 16, tzinfo=UTC)
NIGHT = datetime(2026, 10, 15, 3, tzinfo=UTC)


def asked_today(*waiting: str) -> tuple[WorkOrder, Plan]:
    """An urgent visit of today, confirmed at midday, and the plan by which these wait for a renewal."""
    conditional = dict.fromkeys(waiting, TODAYS)
    order = confirm(None, confirmation(*RX, conditional=conditional))
    assert order
    lacking = plan(1, *RX, conditions={VISIT: conditional})
    return reconcile(order, Facts(ENROLLED, lacking, EVERY_DAY), MIDDAY), lacking


def test_a_visit_of_today_that_is_nothing_without_a_renewal_waits_for_it_until_the_store_closes() -> None:
    order, lacking = asked_today(*RX)
    assert set(states(order).values()) == {"to_fill"}, "its morning was over before the patient was asked"
    renewed = reconcile(order, Facts(ENROLLED, plan(2, *RX), EVERY_DAY), MIDDAY)
    assert all(item.due_at and item.due_at <= MIDDAY for item in renewed.items), "ordered at once"
    over = reconcile(order, Facts(ENROLLED, lacking, EVERY_DAY), NIGHT)
    assert set(states(over).values()) == {"cancelled condition_not_met"}


def test_what_else_is_to_be_picked_up_today_waits_for_no_renewal() -> None:
    order, _ = asked_today("rx-c")
    assert states(order) == {"rx-a": "to_fill", "rx-b": "to_fill", "rx-c": "cancelled condition_not_met"}


@pytest.mark.parametrize("holder", [None, "order-1"])
def test_a_fill_may_be_reported_again_for_its_order(holder: str | None) -> None:
    check_fill_id("order-1", holder)


def test_a_fill_of_another_order_is_refused_with_the_way_out() -> None:
    with pytest.raises(Conflict, match=r"foreign_fill: .*report this one under the id of its own fill"):
        check_fill_id("order-1", "order-2")
