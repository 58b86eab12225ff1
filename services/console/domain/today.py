"""A store's day: who is expected, what is ready, what is missing, who did not pick up, whom to call.

Visits come here in groups that stand alike, counted where they are kept: of thousands only those on a page are loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.console.domain.visits import CALLED_BEFORE, OVER, Facts, Standing, Visit, missing, standing

SOON = timedelta(days=3)
"""How far ahead what is missing is shown: fills are ordered three days before."""


class Part(StrEnum):
    """The lists of a day, each in the order in which someone works it off."""

    expected = "expected"  # that day, whatever came of it
    lacking = "lacking"  # that day or the next three, and not ready
    to_call = "to_call"  # not confirmed, within seven days
    to_agree = "to_agree"  # patients, not visits: the alignment is proposed
    late = "late"  # ready, day over
    waiting = "waiting"  # ready, day not over


@dataclass(frozen=True, slots=True)
class Group:
    """A store's visits with these facts: how many, and the first of them, as patient and visit."""

    facts: Facts
    count: int
    first: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One visit as a page shows it."""

    visit: Visit
    on: date  # the day that is shown

    @property
    def standing(self) -> Standing:
        return standing(self.visit.facts, self.on)

    @property
    def missing(self) -> list[str]:
        """What the visit still lacks, in words."""
        return missing(self.visit, self.on)


@dataclass(frozen=True, slots=True)
class Day:
    """The groups of each list, in its order."""

    on: date
    parts: dict[Part, list[tuple[int, Group]]]  # the first to be worked off has the lowest number
    picked_up: int  # of those expected

    def count(self, part: Part) -> int:
        return sum(group.count for _, group in self.parts[part])

    def ids(self, part: Part, limit: int, skip: int = 0) -> list[str]:
        """The visits on a page of the list; each group holds at least its first `skip + limit`."""
        found = sorted((place, *each) for place, group in self.parts[part] for each in group.first)
        return [visit_id for _, _, visit_id in found[skip : skip + limit]]


def arrange(groups: Iterable[Group], on: date) -> Day:
    """Put a store's visits where they belong on this day; one visit may stand in several lists."""
    parts: dict[Part, list[tuple[int, Group]]] = {part: [] for part in Part}
    picked_up = 0
    for group in groups:
        now = standing(group.facts, on)
        for part, place in _places(group.facts, now, on):
            parts[part].append((place, group))
        if group.facts.on == on and now is Standing.picked_up:
            picked_up += group.count
    return Day(on, parts, picked_up)


def _places(facts: Facts, now: Standing, on: date) -> Iterator[tuple[Part, int]]:
    """The lists in which such a visit stands, and where."""
    if now is Standing.withdrawn or facts.on is None:
        return
    if facts.on == on:
        yield Part.expected, _ORDER.index(now)
    by_day = facts.on.toordinal()
    if now is Standing.ready:
        yield Part.waiting, by_day
    elif now is Standing.late:
        yield Part.late, by_day
    elif now not in OVER and on <= facts.on <= on + SOON:
        yield Part.lacking, by_day
    if now is Standing.to_confirm and on <= facts.on <= on + CALLED_BEFORE:
        yield Part.to_call, 0 if facts.urgent else by_day


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
