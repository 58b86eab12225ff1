"""What fulfillment knows of its surroundings; each fact may arrive before or after the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.events.planner import Condition


@dataclass(frozen=True, slots=True)
class Patient:
    """Whether a patient takes part, as enrollment last said."""

    patient_id: str
    revision: int
    enrolled: bool
    died: bool = False
    left_revision: int = 0  # of the last disenrollment; 0: never
    caregiver_may_collect: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What the newest plan says of a patient's visits."""

    patient_id: str
    revision: int
    profile_revision: int = 0
    visits: Mapping[str, Mapping[str, date | None]] = field(default_factory=dict)
    """By visit the prescriptions planned for it, each with the day from which its payer pays, where known."""
    prescriptions: frozenset[str] = frozenset()
    """Those (rx ids) that were not discontinued, whether this plan has a fill of them or not."""
    fill_on: Mapping[str, Mapping[str, date]] = field(default_factory=dict)
    """By visit and prescription the day on which it is to be filled, where the plan gives one."""
    cancelled_through: int = 0  # the planner withdrew this revision and all before it
    conditions: Mapping[str, Mapping[str, Condition]] = field(default_factory=dict)
    """By visit and prescription what a planned fill still lacks."""
    renewals: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By visit and prescription the renewal that took its place there."""
    urgent: frozenset[str] = frozenset()  # visits that cannot wait
    offers: Mapping[str, tuple[ConfirmedItem, ...]] = field(default_factory=dict)
    """By visit what nobody confirmed, to be asked about at the counter."""

    def renewal_of(self, visit_id: str, rx_id: str) -> str | None:
        """The prescription that took the place of this one in a visit."""
        return self.renewals.get(visit_id, {}).get(rx_id)

    @property
    def stands(self) -> bool:
        """Whether it is a plan at all, and not the withdrawal of one."""
        return self.revision > self.cancelled_through


@dataclass(frozen=True, slots=True)
class Exclusions:
    """The prescriptions (rx ids) that a pharmacist keeps out, as the planner last said."""

    patient_id: str
    revision: int
    rx_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Store:
    """A store's calendar."""

    store_id: str
    revision: int
    time_zone: str  # IANA
    weekdays: frozenset[int]  # with a pharmacist on duty; 0 is Monday
    closed_on: frozenset[date] = frozenset()

    def open_on(self, day: date) -> bool:
        return day.weekday() in self.weekdays and day not in self.closed_on

    def at(self, day: date, clock: time) -> datetime:
        """The instant of a local time there, in UTC."""
        return datetime.combine(day, clock, ZoneInfo(self.time_zone)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Contact:
    """Who a patient is, for the pickup desk."""

    patient_id: str
    revision: int
    given_name: str
    family_name: str
    birth_date: date | None
    address: str = ""
    phones: tuple[str, ...] = ()


class Facts(NamedTuple):
    """What is known so far around one work order."""

    patient: Patient | None = None
    plan: Plan | None = None
    store: Store | None = None
    excluded: frozenset[str] = frozenset()  # the prescriptions (rx ids) that a pharmacist keeps out


@dataclass(frozen=True, slots=True)
class ConfirmedItem:
    """One fill that the patient wants, or is to be asked about."""

    rx_id: str
    drug_name: str
    quantity: Decimal
    days_supply: int  # true
    days_supply_billed: int | None = None  # where the payer is told another; none: the same
    clarification_codes: tuple[str, ...] = ()  # NCPDP 420-DK, in the order to try
    condition: Condition | None = None  # wanted if this is met


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The patient wants these fills on this visit; `plan_revision` is that of the plan that was read out."""

    visit_id: str
    patient_id: str
    store_id: str
    plan_id: str
    plan_revision: int
    visit_kind: str
    visit_on: date
    items: tuple[ConfirmedItem, ...]
