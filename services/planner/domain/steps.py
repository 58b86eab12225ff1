"""The dated steps around a visit: who does what by when (R13.1, R13.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Item, Rules, Step, StepRule, VisitKind

DAY = timedelta(days=1)
A_YEAR = 366  # no store is closed for longer
LONG_AGO = date.min
NO_LEADS: Mapping[str, int] = {}
NONE_EARLY: Mapping[str, date] = {}

FILL = "fill"
ORDER_STOCK = "order_stock"
AFTER_FILL = frozenset({"verify", "ready"})
RETURN = "return"


class Hours(NamedTuple):
    """What of a store's calendar steps depend on: many visits share it, and so their steps."""

    weekdays: frozenset[int]
    closed_on: frozenset[date]

    def is_open(self, day: date) -> bool:
        return day.weekday() in self.weekdays and day not in self.closed_on


def steps_of(
    kind: VisitKind,
    on: date,
    items: Sequence[Item],
    calendar: Calendar,
    rules: Rules,
    leads: Mapping[str, int] = NO_LEADS,
    early_from: Mapping[str, date] = NONE_EARLY,
    today: date = LONG_AGO,
) -> tuple[Step, ...]:
    """The steps of one visit by their day: each on an open day, those before the visit never later than their rule.

    Fills wait for the payer, and what follows a fill waits for it. Where the store takes longer it is filled sooner;
    what the store gets later (`leads`: days by rx_id) is ordered sooner. A fill that is too soon is paid
    before a vacation or after a discharge, from a day of its own (`early_from`, by rx_id). Nothing is to be done before
    `today`, where that is given.
    """
    hours = Hours(calendar.weekdays, calendar.closed_on)
    before = next((row.days for row in rules.steps if row.code == FILL), 0) - calendar.lead_days
    by_day: dict[date, list[str]] = defaultdict(list)
    for item in items:
        too_soon = item.payable_from is not None and item.payable_from > on
        paid_from = early_from.get(item.rx_id) if too_soon else item.payable_from
        by_day[fill_day(on, before, paid_from, hours, today)].append(item.rx_id)
    fills = tuple((day, tuple(by_day[day]) if len(by_day) > 1 else ()) for day in sorted(by_day))
    longest = max((leads.get(item.rx_id, 0) for item in items), default=0)
    return _around(on, fills, longest, rules.steps, hours, today, synchronized=kind is VisitKind.synchronized)


Fills = tuple[tuple[date, tuple[str, ...]], ...]
"""The days of a visit's fills, each with its rx_ids where not all are of one day."""


@lru_cache(maxsize=4096)
def _around(
    on: date,
    fills: Fills,
    longest: int,
    rows: tuple[StepRule, ...],
    hours: Hours,
    today: date,
    *,
    synchronized: bool,
) -> tuple[Step, ...]:
    steps = []
    for row in rows:
        if row.code == FILL:
            steps += [Step(row.code, day, row.by, rx_ids) for day, rx_ids in fills]
        elif row.code == ORDER_STOCK:
            day = min(on, open_day(on + (row.days - longest) * DAY, hours, today))
            steps.append(Step(row.code, day, row.by))
        elif synchronized or not row.synchronized_alone:
            steps.append(_step(row, on, [day for day, _ in fills], hours, today))
    return tuple(sorted(steps, key=lambda step: step.on))


def _step(row: StepRule, on: date, filled_on: Sequence[date], hours: Hours, today: date) -> Step:
    if row.code == RETURN:  # the payer's window runs from the first fill
        return Step(row.code, min(filled_on, default=on) + row.days * DAY, row.by)
    day = on + row.days * DAY
    if row.days < 0:
        day = min(on, open_day(day, hours, today))
    if row.code in AFTER_FILL:
        day = max([day, *filled_on])
    return Step(row.code, day, row.by)


@lru_cache(maxsize=16384)
def fill_day(on: date, days: int, payable_from: date | None, hours: Hours, today: date = LONG_AGO) -> date:
    """So many days before the visit, or when the payer pays; on a closed day earlier, or later where it does not pay
    earlier.

    A payer that pays only from after the visit granted an override: that delays nothing.
    """
    paid_from = payable_from if payable_from and payable_from <= on else LONG_AGO
    return min(on, open_day(on + days * DAY, hours, max(paid_from, today)))


def open_day(day: date, hours: Hours, first: date = LONG_AGO) -> date:
    """The last open day up to `day`, however long the store is closed; none before `first`: then the next open one."""
    before = (day - n * DAY for n in range(min(A_YEAR, (day - first).days + 1)))
    after = (max(day, first) + n * DAY for n in range(A_YEAR))
    return next((each for each in chain(before, after) if hours.is_open(each)), day)
