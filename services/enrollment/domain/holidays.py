"""Days on which a store is closed because they are holidays of its state (R12.2)."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import holidays

YEARS = 3
"""This year and the next two, told anew as a year begins: no plan looks past the last that is known."""

MAJOR = frozenset(
    {
        "New Year's Day",
        "Memorial Day",
        "Independence Day",
        "Labor Day",
        "Thanksgiving Day",
        "Christmas Day",
    }
)
"""Holidays on which most pharmacies are closed, by the names of the `holidays` library."""


class Observed(StrEnum):
    """Which holidays a store keeps."""

    none = "none"
    major = "major"
    state = "state"  # every public holiday of its state


def holidays_of(state: str, observed: Observed, today: date) -> tuple[date, ...]:
    """The holidays of this year and the next two, each on its own day.

    Raises:
        NotImplementedError: the state is not one of the United States.
    """
    if observed is Observed.none:
        return ()
    years = range(today.year, today.year + YEARS)
    known = holidays.country_holidays("US", subdiv=state, years=years, observed=False)
    names = {day: set(name.split("; ")) for day, name in known.items()}
    return tuple(sorted(day for day in names if observed is Observed.state or names[day] & MAJOR))
