"""From one synchronized pickup to the next (domain rules: supply limits and cycles)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

from services.planner.domain.calendar import LONG_AGO, NEVER, PickupDays
from services.planner.domain.model import Profile, Reason, Rules, because

LATEST_DAY_OF_MONTH = 28
"""A later day does not come in every month."""

A_MONTH = 31


@dataclass(frozen=True, slots=True)
class Cycle:
    """So many days; or the same day of every month, `days` then being the most that lie between."""

    days: int
    day_of_month: int | None = None
    bridge_cushion: int = 0  # days that a bridge lasts past the pickup


def cycle_of(profile: Profile, usual_days: Collection[int], rules: Rules) -> tuple[Cycle, Reason | None]:
    """The patient's cycle for drugs with these usual days' supplies, and why it is another than the one asked for.

    A cycle of 84 or 90 days with a drug of a month's supply has a spine: a pickup at each third of it, and the longer
    supplies are not due at two of three.
    """
    asked, standard = profile.cycle_policy, rules.cycle_days[rules.default_cycle]
    if asked == "day_of_month":
        return _monthly(profile.day_of_month, standard, rules)
    if asked not in rules.cycle_days:
        return Cycle(standard, bridge_cushion=rules.bridge_cushion_days), because(
            "cycle_policy_not_offered", policy=asked, cycle_days=standard
        )
    days, why = rules.cycle_days[asked], None
    spine = rules.spine_days.get(asked)
    if spine and min(usual_days, default=days) * 2 <= days:
        why = because("cycle_spine", days=days, usual=min(usual_days), cycle_days=spine)
        days = spine
    return Cycle(days, bridge_cushion=rules.bridge_cushion_days), why


def _monthly(day: int | None, standard: int, rules: Rules) -> tuple[Cycle, Reason | None]:
    otherwise = Cycle(standard, bridge_cushion=rules.bridge_cushion_days)
    if day is None:
        return otherwise, because("day_of_month_missing", cycle_days=standard)
    if not 1 <= day <= LATEST_DAY_OF_MONTH:
        last = LATEST_DAY_OF_MONTH
        return otherwise, because("day_of_month_refused", day=day, last=last, cycle_days=standard)
    return Cycle(A_MONTH, day, rules.day_of_month_cushion_days), None


def next_anchor(anchor: int, cycle: Cycle, pickup: PickupDays) -> int:
    """The synchronized pickup after `anchor`: a cycle later, or on the nearest pickup day before that.

    Never after it: later leaves a gap (domain rules: pick-up date and store calendar), unless the patient's own limits
    leave only a day within half a cycle. By day of the month it is the one nearest to thirty days ahead: the anchor
    itself may have moved a little from its own.
    """
    wanted = anchor + cycle.days
    if cycle.day_of_month is not None:
        ahead = anchor + 30
        days = month_days(cycle.day_of_month, anchor + 1, anchor + 2 * A_MONTH)
        wanted = min(days, key=lambda day: abs(day - ahead))
    day = pickup.on_or_before(wanted)
    if pickup.limited and day - anchor < cycle.days // 2 and pickup.on_or_after(wanted) < NEVER:
        return pickup.on_or_after(wanted)
    return day if day > anchor else wanted


def pickup_candidates(cycle: Cycle, first: int, last: int, pickup: PickupDays) -> list[int]:
    """The pickup days from `first` to `last`; by day of the month, that day of each month, or the nearest before it."""
    if cycle.day_of_month is None:
        return pickup.days[bisect_left(pickup.days, first) : bisect_right(pickup.days, last)]
    days = month_days(cycle.day_of_month, first, max(last, first + A_MONTH))
    open_days = {pickup.on_or_before(day) for day in days} - {LONG_AGO}
    return sorted(day for day in open_days if day >= first)


def month_days(day_of_month: int, first: int, last: int) -> Iterator[int]:
    """That day of each month, or the month's last where it is shorter, from `first` to `last`."""
    start, end = date.fromordinal(first), date.fromordinal(last)
    for month in range(start.year * 12 + start.month - 1, end.year * 12 + end.month):
        year, of_year = divmod(month, 12)
        days_in_month = monthrange(year, of_year + 1)[1]
        day = date(year, of_year + 1, min(day_of_month, days_in_month)).toordinal()
        if first <= day <= last:
            yield day
