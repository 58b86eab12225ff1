"""From one synchronized pickup to the next: the slots of a rhythm, and how often a drug is due at them (R4)."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from services.planner.domain.calendar import LONG_AGO, NEVER, PickupDays
from services.planner.domain.medication import Medication
from services.planner.domain.model import Profile, Reason, Rules, because

A_YEAR = 365
MONTH = Fraction(A_YEAR, 12)
LATEST_DAY_OF_MONTH = 28
"""A later day does not come in every month."""

LONGEST_MONTH = 31
LACKS_A_MONTH = 2
"""Days by which a fill may be shorter than the months that it is to last, by day of the month."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Slots so many days apart; or on one day of every month, `days` then being the most that lie between."""

    days: int
    day_of_month: int | None = None
    bridge_cushion: int = 0  # days that a bridge lasts past the pickup

    @property
    def apart(self) -> Fraction:
        """Days from slot to slot, in the mean of a year."""
        return Fraction(self.days) if self.day_of_month is None else MONTH

    def nominal(self, first: int, slots: int) -> list[int]:
        """The days of so many slots, the first one given, before the store's calendar is looked at."""
        if self.day_of_month is None:
            return [first + index * self.days for index in range(slots)]
        months = list(month_days(self.day_of_month, first - 15, first + slots * LONGEST_MONTH + 15))
        nearest = min(range(len(months)), key=lambda index: abs(months[index] - first))
        return [first, *months[nearest + 1 : nearest + slots]]


def rhythms_of(profile: Profile, rules: Rules) -> tuple[tuple[Rhythm, ...], Reason | None]:
    """The rhythms among which the planner chooses: the one that was stated alone, else all of the chain's; and why it
    is another than the one asked for."""
    asked = profile.cycle_policy
    if asked == "day_of_month":
        return _monthly(profile.day_of_month, rules)
    if asked in rules.cycle_days:
        return (Rhythm(rules.cycle_days[asked], bridge_cushion=rules.bridge_cushion_days),), None
    why = None if asked == AUTO else because("cycle_policy_unknown", policy=asked)
    return every_rhythm(rules), why


AUTO = "auto"
"""The cycle policy by which the planner chooses the rhythm."""


def every_rhythm(rules: Rules) -> tuple[Rhythm, ...]:
    """All that the chain offers."""
    return tuple(Rhythm(days, bridge_cushion=rules.bridge_cushion_days) for days in rules.rhythm_days)


def _monthly(day: int | None, rules: Rules) -> tuple[tuple[Rhythm, ...], Reason | None]:
    if day is None:
        return every_rhythm(rules), because("day_of_month_unknown")
    if not 1 <= day <= LATEST_DAY_OF_MONTH:
        return every_rhythm(rules), because("day_of_month_too_late", day=day, last=LATEST_DAY_OF_MONTH)
    return (Rhythm(LONGEST_MONTH, day, rules.day_of_month_cushion_days),), None


# --- how a drug fits ---


@dataclass(frozen=True, slots=True)
class Fit:
    """At every `cycles`-th slot a drug is due with `fills` of its usual fills at once."""

    cycles: int
    fills: int = 1


def fit_of(medication: Medication, rhythm: Rhythm, usual_days: Collection[int]) -> Fit | None:
    """How often the drug is due; none where it fits no slot and comes by itself.

    A usual fill lasts so many cycles and is paid again by then. Of a pack that lasts shorter several are dispensed at
    once where the payer pays so many days and they are authorized; only where one of the patient's drugs, whose
    `usual_days` are given, lasts the cycle by itself.
    """
    usual = medication.usual_days
    if rhythm.day_of_month is not None:
        cycles = int((usual + LACKS_A_MONTH) // MONTH)
        return Fit(cycles) if cycles and medication.wait(usual) <= cycles * 28 else None
    cycles = usual // rhythm.days
    if cycles:
        return Fit(cycles) if medication.wait(usual) <= cycles * rhythm.days else None
    fills = -(-rhythm.days // usual) if usual else 0
    at_once = fills * usual
    may = (
        medication.packs
        and max(usual_days, default=0) >= rhythm.days
        and medication.payer.allows(at_once)
        and medication.wait(at_once) <= rhythm.days
        and medication.quantity_left >= fills * medication.prescription.usual_quantity
    )
    return Fit(1, fills) if may else None


# --- days ---


def slot_days(
    rhythm: Rhythm,
    first: int,
    slots: int,
    pickup: PickupDays,
    not_before: int,
    weekday: int | None,
    earlier: int = 0,
) -> list[int]:
    """Where slots fall: on the last pickup day on or before their day, else, or where `not_before` days from the first
    are not over, on the first after it; on the preferred weekday where that is within three days before. The day of
    each after the first is so many days `earlier` than by the rhythm alone."""
    days = [first]
    for index, day_of_slot in enumerate(rhythm.nominal(first, slots)[1:], 1):
        wanted = day_of_slot - earlier
        least = first + not_before if index == 1 else days[-1] + 1
        day = pickup.on_or_before(wanted)
        if weekday is not None and (found := _on_weekday(wanted, weekday, pickup)) >= least:
            day = found
        if day < least:
            day = pickup.on_or_after(wanted)
        days.append(wanted if day in (LONG_AGO, NEVER) else day)
    return days


def first_days(rhythm: Rhythm, days: Sequence[int], last: int, pickup: PickupDays) -> Sequence[int]:
    """Those of the days that may be the rhythm's first slot: by day of the month that day of each, or the nearest
    before it; all where no such day is among them, for somebody set another."""
    if rhythm.day_of_month is None or not days:
        return days
    of_month = month_days(rhythm.day_of_month, days[0], max(last, days[0] + LONGEST_MONTH))
    near = {pickup.on_or_before(day) for day in of_month}
    return [day for day in days if day in near] or days


def _on_weekday(day: int, weekday: int, pickup: PickupDays) -> int:
    found = day - (day + 6 - weekday) % 7
    return found if day - found <= 3 and found in pickup else LONG_AGO


def month_days(day_of_month: int, first: int, last: int) -> Iterator[int]:
    """That day of each month, or the month's last where it is shorter, from `first` to `last`."""
    start, end = date.fromordinal(first), date.fromordinal(last)
    for month in range(start.year * 12 + start.month - 1, end.year * 12 + end.month):
        year, of_year = divmod(month, 12)
        days_in_month = monthrange(year, of_year + 1)[1]
        day = date(year, of_year + 1, min(day_of_month, days_in_month)).toordinal()
        if first <= day <= last:
            yield day
