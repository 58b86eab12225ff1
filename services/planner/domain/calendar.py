"""Days on which a patient can come.

Inside the search a day is its proleptic ordinal (`date.toordinal`): whole numbers, cheap to compare and add.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

NEVER = 10_000_000
"""A day after every other: `PickupDays.on_or_after` where there is none."""

LONG_AGO = 0
"""A day before every other: `PickupDays.on_or_before` where there is none."""


@dataclass(frozen=True)
class Calendar:
    """When a store has a pharmacist on duty, and how full its days are."""

    weekdays: frozenset[int] = frozenset(range(7))  # with pharmacist hours; 0 is Monday
    closed_on: frozenset[date] = frozenset()  # holidays and emergency closures
    load: Mapping[date, int] = field(default_factory=dict)  # synchronized pickups planned for other patients
    state: str = ""  # two letters
    daily_cap: int = 0  # synchronized pickups a day; 0: no cap
    delivery_weekdays: frozenset[int] = frozenset()  # on which it brings packages; none: on every open day
    lead_days: int = 0  # more than the chain's until a package can be ready: central fill

    def is_open(self, day: date) -> bool:
        """Are there pharmacist hours on this day?"""
        return day.weekday() in self.weekdays and day not in self.closed_on


class PickupDays:
    """The days from `first` to `last` on which a patient can come, with neighbors in constant time.

    From `workable` on, open days of the store that are among the patient's weekdays; at any time the `extra` days,
    asked for by the patient or told to them, if open; never those in `without`. Days that are
    `barred` are none of the patient's own.
    """

    def __init__(
        self,
        calendar: Calendar,
        first: int,
        workable: int,
        last: int,
        weekdays: Collection[int] = (),
        extra: Collection[int] = (),
        without: Collection[int] = (),
        unavailable_days: Collection[int] = (),
        limited: bool = False,  # many days in a row may be missing, because of the patient
    ) -> None:
        closed = {day.toordinal() for day in calendar.closed_on} | set(without)
        usual = calendar.weekdays & set(weekdays) if weekdays else calendar.weekdays
        days = {day for day in range(workable, last + 1) if weekday_of(day) in usual}.difference(
            unavailable_days
        )
        days |= {day for day in extra if first <= day <= last and weekday_of(day) in calendar.weekdays}
        self.first, self.last, self.limited = first, last, limited
        self.days = sorted(days - closed)
        self.before, self.after = _neighbors(self.days, first, last)

    def __contains__(self, day: int) -> bool:
        return self.on_or_before(day) == day

    def on_or_before(self, day: int) -> int:
        """The nearest pickup day not after `day`; `LONG_AGO` where there is none."""
        return self.before[min(day, self.last) - self.first] if day >= self.first else LONG_AGO

    def on_or_after(self, day: int) -> int:
        """The nearest pickup day not before `day`; `NEVER` where there is none up to the last."""
        return self.after[max(day, self.first) - self.first] if day <= self.last else NEVER


FURTHER = 64
"""Days to which the end of pickup days is rounded up, so that patients of one store share them."""


def pickup_days(
    calendar: Calendar,
    first: int,
    workable: int,
    last: int,
    weekdays: Collection[int],
    extra: Collection[int],
    without: Collection[int],
    unavailable_days: Collection[int],
    *,
    limited: bool,
) -> PickupDays:
    """The same days, laid out once for all to whom they apply; unless the patient limits them, some more at the end."""
    further = last if limited else -(-last // FURTHER) * FURTHER
    sets = (frozenset(weekdays), frozenset(extra), frozenset(without), frozenset(unavailable_days))
    return _laid_out(calendar.weekdays, calendar.closed_on, first, workable, further, *sets, limited)


@lru_cache(maxsize=1024)
def _laid_out(
    open_weekdays: frozenset[int],
    closed_on: frozenset[date],
    first: int,
    workable: int,
    last: int,
    weekdays: frozenset[int],
    extra: frozenset[int],
    without: frozenset[int],
    unavailable_days: frozenset[int],
    limited: bool,
) -> PickupDays:
    calendar = Calendar(open_weekdays, closed_on)
    return PickupDays(calendar, first, workable, last, weekdays, extra, without, unavailable_days, limited)


def _neighbors(days: list[int], first: int, last: int) -> tuple[list[int], list[int]]:
    before, after = [LONG_AGO] * (last - first + 1), [NEVER] * (last - first + 1)
    for day in days:
        before[day - first] = after[day - first] = day
    for index in range(1, len(before)):
        before[index] = before[index] or before[index - 1]
    for index in range(len(after) - 2, -1, -1):
        after[index] = min(after[index], after[index + 1])
    return before, after


def first_workable(
    calendar: Calendar, can_come_on: Callable[[date], bool], start: date, within: int
) -> date | None:
    """The first open day that suits, from `start` on; none within that many days."""
    days = (start + timedelta(days=ahead) for ahead in range(within))
    return next((day for day in days if calendar.is_open(day) and can_come_on(day)), None)


def weekday_of(day: int) -> int:
    """0 is Monday."""
    return (day + 6) % 7
