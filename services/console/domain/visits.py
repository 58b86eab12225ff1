"""How a visit stands, and what it still lacks: worked out from facts that three services publish."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from shared.events.base import Reason
from shared.events.planner import Condition
from shared.words import of_condition, render
from shared.words.formats import counted, rejected, short_date

FILLED_BEFORE = timedelta(days=3)
"""Fills are ordered so long before the visit (the path of one patient, section 4)."""

CALLED_BEFORE = timedelta(days=7)
"""The confirmation call is due so long before the visit (the path of one patient, section 3)."""


class Standing(StrEnum):
    """Where a visit is on its way."""

    proposed = "proposed"  # of a plan that the patient has not agreed to yet
    to_confirm = "to confirm"
    moving = "new day requested"
    declined = "declined"
    unreached = "not reached"
    confirmed = "confirmed"
    filling = "being filled"
    to_verify = "to verify"
    ready = "ready"
    late = "not picked up"
    picked_up = "picked up"
    returned = "returned to stock"
    withdrawn = "withdrawn"


OVER = frozenset({Standing.picked_up, Standing.returned, Standing.withdrawn})
"""Nothing is left to do about it."""


@dataclass(frozen=True, slots=True)
class FillFact:
    """What came of one ordered fill."""

    rx_id: str
    state: str  # filled, rejected, short
    reject_code: str | None = None
    next_fill_on: date | None = None


class ConditionalFill(Condition):
    """A planned fill that still lacks something."""

    rx_id: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides how a visit stands; many of a store's visits have them in common."""

    on: date | None
    package: str | None  # ready, to_verify (again), picked_up, returned
    answer: str | None  # confirmed, declined, moved, unreached
    planned: bool  # the newest plan holds it, and the patient takes part
    agreed: bool  # the patient agreed to that plan
    moving: bool  # another day is wanted, and the planner has not answered yet
    told: bool  # it is known of some fill what came of it
    made: bool  # some fill is made
    complete: bool  # it is known of every fill what came of it
    urgent: bool = False  # it cannot wait


@dataclass(frozen=True, slots=True)
class Visit:
    """What is known of one visit."""

    visit_id: str
    patient_id: str
    store_id: str | None
    kind: str | None  # bridge, synchronized, ride_along
    on: date | None
    plan_revision: int
    in_plan: bool  # the newest plan holds it
    agreed: bool  # the patient agreed to that plan
    enrolled: bool
    fills: int = 0  # planned
    short_fills: int = 0
    answer: str | None = None  # confirmed, declined, moved, unreached
    answered_at: datetime | None = None
    answer_revision: int | None = None
    wanted: int | None = None  # fills confirmed
    declined_rx_ids: tuple[str, ...] = ()
    wanted_on: date | None = None
    attempts: int | None = None
    package: str | None = None  # ready, to_verify (again), picked_up, returned
    package_at: datetime | None = None
    return_on: date | None = None
    days_late: int | None = None
    handed_over_on: date | None = None
    taken: int | None = None
    consultation: str | None = None
    urgent: bool = False  # it cannot wait
    conditions: tuple[ConditionalFill, ...] = ()  # of the fills that still lack something, as planned
    settled_rx_ids: tuple[str, ...] = ()  # planned fills that lack nothing, by what was confirmed
    conditional_rx_ids: tuple[str, ...] = ()  # confirmed if their condition is met
    not_filled: tuple[Reason, ...] = ()  # why fills are not in the package
    outcomes: tuple[FillFact, ...] = field(default=())

    @property
    def expected(self) -> int:
        """How many fills go into the package, as far as is known: without those whose condition is not met."""
        if self.wanted is None:
            return self.fills
        return self.wanted - len(set(self.conditional_rx_ids) - set(self.settled_rx_ids))

    @property
    def filled(self) -> int:
        return sum(fill.state == "filled" for fill in self.outcomes)

    @property
    def facts(self) -> Facts:
        return Facts(
            on=self.on,
            package=self.package,
            answer=self.answer,
            planned=self.in_plan and self.enrolled,
            agreed=self.agreed,
            moving=self.answer == "moved" and self.plan_revision <= (self.answer_revision or 0),
            told=bool(self.outcomes),
            made=self.filled > 0,
            complete=bool(self.outcomes) and len(self.outcomes) >= self.expected,
            urgent=self.urgent,
        )


def standing(facts: Facts, today: date) -> Standing:
    """How a visit stands on this day; a package that exists says more than any answer or plan."""
    match facts.package:
        case "picked_up":
            return Standing.picked_up
        case "returned":
            return Standing.returned
        case "to_verify":
            return Standing.to_verify
        case "ready":
            return Standing.late if facts.on and facts.on < today else Standing.ready
    if facts.answer == "confirmed" and (facts.planned or facts.made):
        return _being_filled(facts)
    if not facts.planned:
        return Standing.withdrawn
    match facts.answer:
        case "declined":
            return Standing.declined
        case "unreached":
            return Standing.unreached
    if facts.moving:
        return Standing.moving
    return Standing.to_confirm if facts.agreed else Standing.proposed


def _being_filled(facts: Facts) -> Standing:
    if not facts.told:
        return Standing.confirmed
    return Standing.to_verify if facts.complete else Standing.filling


def missing(visit: Visit, today: date) -> list[str]:
    """What the visit still lacks until its package is ready, and why, in words; nothing where nothing is.

    Of a package, what is not in it, as its condition was not met.
    """
    now = standing(visit.facts, today)
    if visit.package:
        verify = ["Pharmacist verification."] if now is Standing.to_verify else []
        return [*verify, *(render(reason) for reason in visit.not_filled)]
    if now in OVER:
        return []
    first = {
        Standing.proposed: "The patient has not agreed to the plan yet.",
        Standing.to_confirm: _not_confirmed(visit, today),
        Standing.moving: f"The patient asked for {day_of(visit.wanted_on)} instead.",
        Standing.declined: "The patient declined it.",
        Standing.unreached: _not_reached(visit),
        Standing.confirmed: _not_ordered(visit, today),
        Standing.filling: f"{visit.filled} of {counted(visit.expected, 'fill')} done.",
        Standing.to_verify: "Pharmacist verification.",
    }[now]
    return [first, *_of_fills(visit), *depends_on(visit)]


def depends_on(visit: Visit) -> list[str]:
    """What some of its fills depend on, in words."""
    wanted = [each for each in visit.conditions if each.rx_id not in visit.declined_rx_ids]
    numbers = Counter(of_condition(each) for each in wanted)
    return [f"{counted(number, 'fill')} only {condition}." for condition, number in numbers.items()]


def _not_confirmed(visit: Visit, today: date) -> str:
    if visit.urgent:
        return "Not confirmed yet. Call today: a drug cannot wait."
    call = visit.on - CALLED_BEFORE if visit.on else today
    return (
        "Not confirmed yet."
        if call <= today
        else f"Not confirmed yet: the call is due on {short_date(call)}."
    )


def _not_reached(visit: Visit) -> str:
    if not visit.attempts:
        return "No call could be made in time: nothing is filled."
    return f"Not reached after {counted(visit.attempts, 'attempt')}: nothing is filled."


def _not_ordered(visit: Visit, today: date) -> str:
    order = visit.on - FILLED_BEFORE if visit.on and not visit.urgent else today
    return "Nothing is filled yet." if order <= today else f"Fills are ordered on {short_date(order)}."


def day_of(day: date | None) -> str:
    """A day where space is short: `Mon 3/16`."""
    return short_date(day) if day else "another day"


def _of_fills(visit: Visit) -> list[str]:
    refused = [fill for fill in visit.outcomes if fill.state == "rejected"]
    said = []
    for code in sorted({fill.reject_code or "?" for fill in refused}):
        number = sum((fill.reject_code or "?") == code for fill in refused)
        said.append(f"Insurance rejected {counted(number, 'fill')}: {rejected(code)}.")
    if short := sum(fill.state == "short" for fill in visit.outcomes):
        said.append(f"Not enough stock for {counted(short, 'fill')}.")
    return said
