"""How long, and how often, a prescription may be filled by law: dated federal and state limits on controlled drugs.

The values are data (`services/planner/policy/limits.toml`); the strictest of those valid on a day holds (R10.1).
What the chain itself limits is in `chain.toml` beside.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class DispensingLimit:
    """One law's limit on prescriptions of some schedules, for those filled from `begins_on` to `ends_on`."""

    name: str
    schedules: frozenset[str]
    begins_on: date
    state: str = ""  # two letters; empty: in every state
    ends_on: date = date.max
    source: str = ""
    refills: int | None = None  # at most; none: no limit is stated
    months: int | None = None  # nothing is dispensed later than so many months after writing


@dataclass(frozen=True, slots=True)
class StateSchedule:
    """A drug that a state schedules otherwise than federal law."""

    state: str
    ingredient: str
    schedule: str
    begins_on: date
    ends_on: date = date.max
    source: str = ""


@dataclass(frozen=True, slots=True)
class LargerFill:
    """A state's law by which more than what was prescribed for a fill may be dispensed at once (R9.9)."""

    name: str
    state: str
    schedules: frozenset[str]
    begins_on: date
    days: int  # at once
    ends_on: date = date.max
    source: str = ""


@dataclass(frozen=True, slots=True)
class Disuse:
    """After how many days without it the chain takes a drug for one that is no longer taken (R1.11)."""

    name: str
    begins_on: date
    days: int
    ends_on: date = date.max
    source: str = ""


@dataclass(frozen=True, slots=True)
class HighCost:
    """From which price of a month on the chain has no short fill without staff's consent (R4.16)."""

    name: str
    begins_on: date
    month_price: Decimal
    ends_on: date = date.max
    source: str = ""


STRICTNESS = ("none", "c5", "c4", "c3", "c2")


def schedule_in(
    state: str, ingredient: str, schedule: str, day: date, schedules: Sequence[StateSchedule]
) -> str:
    """The schedule of a drug in a state on a day: the state's where it is stricter than the drug file's."""
    of_state = [
        each.schedule
        for each in schedules
        if each.state == state
        and each.begins_on <= day <= each.ends_on
        and each.ingredient in ingredient.casefold()
    ]
    known = [each for each in (schedule, *of_state) if each in STRICTNESS]
    return max(known, key=STRICTNESS.index) if schedule in STRICTNESS else schedule


def limits_on(
    schedule: str, state: str, day: date, limits: Sequence[DispensingLimit]
) -> list[DispensingLimit]:
    """The federal limits and those of the state that are valid on the day."""
    return [
        each
        for each in limits
        if schedule in each.schedules and each.state in ("", state) and each.begins_on <= day <= each.ends_on
    ]


def last_day(written_on: date, months: int) -> date:
    """The same day so many months later, or the last of that month."""
    year, month = divmod(written_on.year * 12 + written_on.month - 1 + months, 12)
    return date(year, month + 1, min(written_on.day, monthrange(year, month + 1)[1]))


def quantity_by_law(usual_quantity: Decimal, refills: int, dispensed: Decimal) -> Decimal:
    """What may still be dispensed: partial fills count by their quantity, not as refills (21 CFR 1306.23)."""
    return max(Decimal(0), usual_quantity * (1 + refills) - dispensed)
