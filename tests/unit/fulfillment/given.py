"""One patient, one visit, three drugs: what the tests of fulfillment start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from services.fulfillment.domain import (
    Confirmation,
    ConfirmedItem,
    Facts,
    Filled,
    FillOutcome,
    Lease,
    Patient,
    Plan,
    Store,
    WorkOrder,
    confirm,
    lease,
    reconcile,
    report,
)
from shared.events.planner import Condition, ConditionKind

VISIT = "visit-1"
VISIT_ON = date(2026, 10, 14)  # a Wednesday; three days before is a Sunday
RX = ("rx-a", "rx-b", "rx-c")
LEASE = Lease("lease-1", "robot", datetime(2026, 10, 13, tzinfo=UTC))
NOON = datetime(2026, 10, 12, 16, tzinfo=UTC)
AHEAD = datetime(2026, 10, 8, 16, tzinfo=UTC)  # before the store fills

RENEWED = Condition(kind=ConditionKind.renewal, by="prescriber", needed_by=date(2026, 10, 10))
APPROVED = Condition(kind=ConditionKind.authorization, by="payer", needed_by=date(2026, 10, 9))

EVERY_DAY = Store("store-1", 1, "America/New_York", frozenset(range(7)))
ENROLLED = Patient("patient-1", 1, enrolled=True)
GONE = Patient("patient-1", 2, enrolled=False, left_revision=2)
BACK = Patient("patient-1", 3, enrolled=True, left_revision=2)


def plan(revision: int, *rx_ids: str, profile: int = 1, **changes: object) -> Plan:
    """A plan with these prescriptions on the visit, none: without the visit; every prescription still stands."""
    visits = {VISIT: dict.fromkeys(rx_ids)} if rx_ids else {}
    made = Plan("patient-1", revision, profile, visits, frozenset(RX))
    return replace(made, **changes)  # type: ignore[arg-type]


def confirmation(
    *rx_ids: str, plan_revision: int = 1, conditional: Mapping[str, Condition] | None = None
) -> Confirmation:
    return Confirmation(
        visit_id=VISIT,
        patient_id="patient-1",
        store_id="store-1",
        plan_id="plan-1",
        plan_revision=plan_revision,
        visit_kind="synchronized",
        visit_on=VISIT_ON,
        items=tuple(
            ConfirmedItem(rx, f"drug {rx}", Decimal(30), 30, condition=(conditional or {}).get(rx))
            for rx in rx_ids
        ),
    )


KNOWN = Facts(ENROLLED, plan(1, *RX), EVERY_DAY)


def confirmed(*rx_ids: str, facts: Facts = KNOWN) -> WorkOrder:
    """The work order of a visit just confirmed."""
    order = confirm(None, confirmation(*rx_ids))
    assert order
    return reconcile(order, facts, AHEAD)


def leased(*rx_ids: str) -> WorkOrder:
    """Every item is with the dispensing system."""
    (order,) = lease([confirmed(*rx_ids)], LEASE, now=NOON, limit=10)
    return order


def filled(*rx_ids: str, of: WorkOrder | None = None) -> WorkOrder:
    """These items are filled, on 12 October."""
    order = of or leased(*rx_ids)
    for rx_id in rx_ids:
        order = report_of(order, rx_id, Filled(f"fill-{rx_id}", date(2026, 10, 12)))
    return order


def report_of(order: WorkOrder, rx_id: str, outcome: FillOutcome) -> WorkOrder:
    """What whoever holds the lease of this prescription's item reports."""
    item = next(item for item in order.items if item.rx_id == rx_id)
    held = item.lease.lease_id if item.lease else "none"
    return report(order, item.order_id, held, outcome, now=NOON, store=EVERY_DAY)


def states(order: WorkOrder) -> dict[str, str]:
    """By prescription where its item stands, and why if it is cancelled or withheld."""
    return {item.rx_id: f"{item.status} {item.why}" if item.why else item.status for item in order.items}
