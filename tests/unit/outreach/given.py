"""One patient with a plan: what the tests of outreach start from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from services.outreach.domain.model import Case, Contact, Kind, Plan, contact_id
from shared.events import Reason
from shared.events.enrollment import Channel
from shared.events.planner import FillKind, OfferedDay, PlannedItem, Visit, VisitKind

NEW_YORK = ZoneInfo("America/New_York")
PATIENT = "patient-1"
REASON = Reason(code="because")


def at(
    day: int, clock: str = "10:00", zone: str = "America/New_York", month: int = 10, year: int = 2026
) -> datetime:
    """A local moment, in UTC; the 1st of October 2026 is a Thursday."""
    local = datetime.fromisoformat(f"{year}-{month:02}-{day:02}T{clock}").replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


def local(moment: datetime | None, zone: str = "America/New_York") -> str | None:
    """The moment on the patient's own clock, as `2026-10-01 10:00`."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" if moment else None


def item(rx_id: str, *, standing: bool = False) -> PlannedItem:
    return PlannedItem(
        rx_id=rx_id,
        drug_name=f"drug {rx_id}",
        kind=FillKind.full,
        quantity=Decimal(30),
        days_supply=30,
        standing_instruction_allowed=standing,
        reason=REASON,
    )


def visit(on: date, kind: VisitKind = VisitKind.synchronized, rx_ids: Sequence[str] = ("a", "b")) -> Visit:
    return Visit(visit_id=f"{kind}-{on}", kind=kind, on=on, items=tuple(item(rx_id) for rx_id in rx_ids))


def plan(*visits: Visit, agreed: bool = True, revision: int = 1, offered: Sequence[date] = ()) -> Plan:
    anchor = next(each.on for each in visits if each.kind is VisitKind.synchronized)
    return Plan(
        patient_id=PATIENT,
        plan_id="plan-1",
        revision=revision,
        store_id="store-1",
        agreed=agreed,
        anchor_on=anchor,
        visits=visits,
        offered=tuple(
            OfferedDay(on=on, visits_before=0, short_fills=0, uncovered_days=0, reason=REASON)
            for on in offered
        ),
    )


def contact(
    kind: Kind, visit_on: date | None, opened_at: datetime, visit_id: str | None = None, **changes: object
) -> Contact:
    subject = visit_id or (f"synchronized-{visit_on}" if kind is not Kind.alignment else None)
    return Contact(
        contact_id=contact_id(PATIENT, kind, subject or "plan-1"),
        patient_id=PATIENT,
        kind=kind,
        store_id="store-1",
        opened_at=opened_at,
        plan_id="plan-1",
        visit_id=subject,
        visit_on=visit_on,
        **changes,
    )


def case(*contacts: Contact, **changes: object) -> Case:
    """An enrolled patient in New York with a mobile phone, who wants calls alone."""
    known: dict[str, object] = {
        "store_id": "store-1",
        "enrolled": True,
        "channels": (Channel.phone,),
        "reachable": frozenset({Channel.phone, Channel.text}),
        "zone": "America/New_York",
    }
    return Case(patient_id=PATIENT, contacts=contacts, **(known | changes))
