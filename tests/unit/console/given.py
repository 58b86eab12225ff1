"""Visits, lines and plans to test with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.console.domain.lines import Line
from services.console.domain.visits import Visit
from shared.events.base import Reason
from shared.events.enrollment import Drug, Fill, Prescription, Profile, StockReport
from shared.events.planner import (
    Action,
    DrugDecision,
    FillKind,
    Participation,
    PlanComputed,
    PlannedItem,
    VisitKind,
)
from shared.events.planner import Visit as PlannedVisit

TODAY = date(2026, 10, 8)  # a Thursday
NOW = datetime(2026, 10, 8, 14, tzinfo=UTC)
REASON = Reason(code="maintenance")


def days(number: int) -> date:
    """So many days from today."""
    return TODAY + timedelta(days=number)


def visit(days_from_today: int = 0, /, **facts: Any) -> Visit:
    """A visit of the plan that stands, agreed."""
    given = {
        "visit_id": "v1",
        "patient_id": "p1",
        "store_id": "s1",
        "kind": "synchronized",
        "on": days(days_from_today),
        "plan_revision": 2,
        "in_plan": True,
        "agreed": True,
        "enrolled": True,
        "fills": 3,
    }
    return Visit(**(given | facts))


def line(
    number: int, kind: str = "plan-computed", *, cause: int | str | None = None, minutes: int = 0
) -> Line:
    """An event with this number; its cause is another's number, or any text."""
    return Line(
        event_id=UUID(int=number),
        service="planner",
        kind=kind,
        at=NOW + timedelta(minutes=minutes),
        patient_id="p1",
        store_id="s1",
        correlation_id="c1",
        causation_id=str(UUID(int=cause)) if isinstance(cause, int) else cause,
        topic="medsync.planner.v1",
        partition=0,
        offset=number,
        words=f"event {number}",
        number=number,
    )


def prescription(rx_id: str, ingredient: str = "lisinopril", strength: str = "10 mg") -> Prescription:
    return Prescription(
        rx_id=rx_id,
        drug=Drug(code="1", name=f"{ingredient} {strength}", ingredient=ingredient, strength=strength),
        usual_quantity=Decimal(30),
        usual_days=30,
        quantity_left=Decimal(90),
        written_on=days(-100),
        expires_on=days(200),
        prescriber_id="d1",
    )


def fill(rx_id: str, on: int, supply: int = 30) -> Fill:
    return Fill(
        fill_id=f"{rx_id}/{on}",
        rx_id=rx_id,
        filled_on=days(on - 1),
        handed_over_on=days(on),
        quantity=Decimal(supply),
        days_supply=supply,
    )


def profile(
    *prescriptions: Prescription, fills: tuple[Fill, ...] = (), said: tuple[StockReport, ...] = ()
) -> Profile:
    return Profile(store_id="s1", prescriptions=prescriptions, fills=fills, stock_reports=said)


def plan(
    *visits: tuple[int, list[tuple[str, FillKind, int]]], excluded: tuple[str, ...] = ()
) -> PlanComputed:
    """Visits as (days from today, [(rx_id, kind, days' supply)]); the last one is the synchronized pickup."""
    last = max(on for on, _ in visits)
    rx_ids = {rx_id for _, items in visits for rx_id, _, _ in items}
    return PlanComputed(
        patient_id="p1",
        plan_id="plan-1",
        revision=2,
        profile_revision=1,
        cycle=1,
        store_id="s1",
        computed_on=TODAY,
        anchor_on=days(last),
        next_anchor_on=days(last + 30),
        agreed=True,
        visits=tuple(
            PlannedVisit(
                visit_id=f"v{on}",
                kind=VisitKind.synchronized if on == last else VisitKind.bridge,
                on=days(on),
                items=tuple(
                    PlannedItem(
                        rx_id=rx_id,
                        drug_name=rx_id,
                        kind=kind,
                        quantity=Decimal(supply),
                        days_supply=supply,
                        reason=REASON,
                    )
                    for rx_id, kind, supply in items
                ),
            )
            for on, items in visits
        ),
        drugs=tuple(
            DrugDecision(
                rx_id=rx_id,
                drug_name=rx_id,
                participation=Participation.excluded if rx_id in excluded else Participation.sync,
                action=Action.on_time,
                reasons=(REASON,),
            )
            for rx_id in sorted(rx_ids | set(excluded))
        ),
    )
