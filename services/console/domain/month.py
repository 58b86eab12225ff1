"""A plan as a calendar: whole weeks, each day with what is to happen on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.console.domain.ahead import Step
from services.console.domain.visits import Standing, Visit, standing

LONGEST_WEEKS = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """One day."""

    on: date
    today: bool
    closed: bool
    visits: tuple[tuple[Visit, Standing], ...]
    steps: tuple[Step, ...]  # but the pickups themselves
    out: tuple[str, ...]  # drugs of which nothing is on hand from this day on


def weeks_of(
    visits: Sequence[Visit],
    steps: Sequence[Step],
    today: date,
    out: Mapping[date, Sequence[str]],
    *,
    open_weekdays: Collection[int],
    closed_on: Collection[date],
) -> list[list[Cell]]:
    """Weeks from Monday, from today's (or an open visit's, if that was before) to the last one with something in it."""
    shown = [(each, standing(each.facts, today)) for each in visits if each.on]
    shown = [(each, now) for each, now in shown if now is not Standing.withdrawn]
    days = [each.on for each, _ in shown if each.on] + [step.on for step in steps if step.on]
    first = min([today, *(day for day in days if day >= today - timedelta(days=14))])
    last = max([today, *days])
    monday = first - timedelta(days=first.weekday())
    number = min((last - monday).days // 7 + 1, LONGEST_WEEKS)

    def cell(day: date) -> Cell:
        return Cell(
            day,
            day == today,
            day.weekday() not in open_weekdays or day in closed_on,
            tuple((visit, now) for visit, now in shown if visit.on == day),
            tuple(step for step in steps if step.on == day and step.short != "pickup"),
            tuple(out.get(day, ())),
        )

    return [[cell(monday + timedelta(days=7 * week + day)) for day in range(7)] for week in range(number)]
