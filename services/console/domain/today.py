"""A store's day: who is expected, what is ready, what is missing, who did not come, whom to call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from services.console.domain.visits import CALLED_BEFORE, OVER, Standing, Visit, missing, standing

SOON = timedelta(days=3)
"""How far ahead what is missing is shown: fills are ordered three days before."""


@dataclass(frozen=True, slots=True)
class Row:
    """One visit as a page shows it."""

    visit: Visit
    standing: Standing
    on: date  # the day that is shown

    @property
    def missing(self) -> list[str]:
        """What the visit still lacks, in words; worked out for the rows that are shown alone."""
        return missing(self.visit, self.on)


@dataclass(slots=True)
class Day:
    """The rows of a day, each list in the order in which someone works it off."""

    on: date
    expected: list[Row] = field(default_factory=list)  # that day, whatever came of it
    waiting: list[Row] = field(default_factory=list)  # ready, day not over
    late: list[Row] = field(default_factory=list)  # ready, day over
    lacking: list[Row] = field(default_factory=list)  # that day or the next three, and not ready
    to_call: list[Row] = field(default_factory=list)  # not confirmed, within seven days

    @property
    def picked_up(self) -> int:
        return sum(row.standing is Standing.picked_up for row in self.expected)


def arrange(visits: Iterable[Visit], on: date) -> Day:
    """Put a store's visits where they belong on this day; one visit may stand in several lists."""
    day = Day(on)
    for visit in visits:
        now = standing(visit, on)
        if now is Standing.withdrawn or visit.on is None:
            continue
        row = Row(visit, now, on)
        if visit.on == on:
            day.expected.append(row)
        if now is Standing.ready:
            day.waiting.append(row)
        elif now is Standing.late:
            day.late.append(row)
        elif now not in OVER and on <= visit.on <= on + SOON:
            day.lacking.append(row)
        if now is Standing.to_confirm and on <= visit.on <= on + CALLED_BEFORE:
            day.to_call.append(row)
    for rows in (day.waiting, day.late, day.lacking, day.to_call):
        rows.sort(key=lambda row: (row.visit.on or on, row.visit.patient_id))
    day.expected.sort(key=lambda row: (_ORDER.index(row.standing), row.visit.patient_id))
    return day


_ORDER = (
    Standing.unreached,
    Standing.declined,
    Standing.moving,
    Standing.to_confirm,
    Standing.proposed,
    Standing.confirmed,
    Standing.filling,
    Standing.to_verify,
    Standing.late,
    Standing.ready,
    Standing.returned,
    Standing.picked_up,
    Standing.withdrawn,
)
"""What wants attention comes first."""
