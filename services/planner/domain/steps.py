"""The dated steps around a visit: who does what by when (domain rules 3, appointment-based workflow; 2.12, store
calendar)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import chain

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Item, Rules, Step, StepRule, VisitKind

DAY = timedelta(days=1)
A_WEEK = 7
NO_LEADS: Mapping[str, int] = {}


def steps_of(
    kind: VisitKind,
    on: date,
    items: Sequence[Item],
    calendar: Calendar,
    rules: Rules,
    leads: Mapping[str, int] = NO_LEADS,
) -> tuple[Step, ...]:
    """The steps of one visit by their day: each on an open day, those before the visit never later than their rule.

    Fills wait for the payer, and what follows a fill waits for it. What takes longer, by the store or by `leads`
    (days by rx_id), is filled sooner.
    """
    rows = [row for row in rules.steps if kind is VisitKind.synchronized or not row.synchronized_alone]
    fills = [step for row in rows if row.code == FILL for step in _fills(row, on, items, calendar, leads)]
    steps = []
    for row in rows:
        steps += fills if row.code == FILL else [_step(row, on, calendar, [step.on for step in fills])]
    return tuple(sorted(steps, key=lambda step: step.on))


FILL = "fill"
AFTER_FILL = frozenset({"verify", "ready"})
RETURN = "return"


def _step(row: StepRule, on: date, calendar: Calendar, filled_on: Sequence[date]) -> Step:
    if row.code == RETURN:  # the payer's window runs from the first fill
        return Step(row.code, min(filled_on, default=on) + row.days * DAY, row.by)
    day = on + row.days * DAY
    if row.days < 0:
        day = open_on_or_before(day, calendar)
    if row.code in AFTER_FILL:
        day = max([day, *filled_on])
    return Step(row.code, day, row.by)


def _fills(
    row: StepRule, on: date, items: Sequence[Item], calendar: Calendar, leads: Mapping[str, int]
) -> list[Step]:
    """One step for the fills of each day; it names them where not all are of one day."""
    by_day: dict[date, list[str]] = defaultdict(list)
    for item in items:
        days = row.days - calendar.lead_days - leads.get(item.rx_id, 0)
        by_day[fill_day(on, days, item.payable_from, calendar)].append(item.rx_id)
    return [
        Step(row.code, day, row.by, tuple(rx_ids) if len(by_day) > 1 else ())
        for day, rx_ids in sorted(by_day.items())
    ]


def fill_day(on: date, days: int, payable_from: date | None, calendar: Calendar) -> date:
    """So many days before the visit, or when the payer pays; on a closed day earlier, or later where it does not pay
    earlier.

    A payer that pays only from after the visit granted an override: that delays nothing.
    """
    paid_from = payable_from if payable_from and payable_from <= on else date.min
    target = max(on + days * DAY, paid_from)
    before = (target - n * DAY for n in range(A_WEEK))
    after = (target + n * DAY for n in range(1, (on - target).days + 1))
    return next((day for day in chain(before, after) if day >= paid_from and calendar.is_open(day)), target)


def open_on_or_before(day: date, calendar: Calendar) -> date:
    """The nearest open day, never a later one; the day itself where the store is closed for a week before."""
    return next((each for each in (day - n * DAY for n in range(A_WEEK)) if calendar.is_open(each)), day)
