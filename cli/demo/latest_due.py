"""The rule that many programs go by, to compare with: everybody waits for the drug that runs out last.

The sync date is the latest due date of all drugs. What runs out before it is filled as usual while a usual fill fits;
what is left over is a short fill.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple


class Due(NamedTuple):
    """When a drug runs out, and how long its usual fill lasts."""

    run_out_on: date
    usual_days: int


def sync_date(drugs: Iterable[Due], today: date) -> date:
    """The day on which the last drug runs out; today at the earliest."""
    return max((today, *(each.run_out_on for each in drugs)))


def short_fills(drugs: Iterable[Due], today: date) -> int:
    """Short fills by which every drug reaches the sync date; what is out already is filled today.

    >>> short_fills([Due(date(2026, 10, 20), 30), Due(date(2026, 10, 28), 30)], date(2026, 10, 1))
    1
    """
    due = [each._replace(run_out_on=max(each.run_out_on, today)) for each in drugs]
    last = sync_date(due, today)
    return sum((last - each.run_out_on).days % each.usual_days > 0 for each in due)
