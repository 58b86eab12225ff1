"""On which days a patient can be served: their musts, where they are, and what halts planning altogether.

Musts (R12.5), stays (R11.5), vacations (R11.7), lapse of insurance (R11.9), store calendar (R12.1).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Blocked, Plan, Profile, Reason, Rules, Span, because
from services.planner.domain.payers import is_cash

A_YEAR = 366
DAY = timedelta(days=1)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


# --- which days ---


def can_come_on(day: date, profile: Profile) -> bool:
    """Can the patient come, by weekday, payday and ride? A day that they asked for or agreed to stands above this."""
    return not (
        (profile.must_weekdays and day.weekday() not in profile.must_weekdays)
        or _before_payday(day, profile)
        or _without_ride(day, profile)
    )


def _before_payday(day: date, profile: Profile) -> bool:
    """Before the payday of its month; a month in which none is known is free."""
    paydays = [each.day for each in profile.paydays if (each.year, each.month) == (day.year, day.month)]
    if profile.payday is not None:
        paydays.append(min(profile.payday, monthrange(day.year, day.month)[1]))
    return bool(paydays) and day.day < min(paydays)


def _without_ride(day: date, profile: Profile) -> bool:
    """No ride on it; where rides are known by date alone, nothing is known after the last."""
    if not profile.rides and not profile.ride_weekdays:
        return False
    if day in profile.rides or day.weekday() in profile.ride_weekdays:
        return False
    return bool(profile.ride_weekdays) or day <= max(profile.rides)


def unavailable_days(profile: Profile, first: int, last: int) -> set[int]:
    """The days that do not suit the patient, beside their weekdays."""
    if profile.payday is None and not (profile.paydays or profile.rides or profile.ride_weekdays):
        return set()
    free = replace(profile, must_weekdays=frozenset())
    return {day for day in range(first, last + 1) if not can_come_on(date.fromordinal(day), free)}


def as_open_to(calendar: Calendar, profile: Profile, today: date) -> Calendar:
    """The store's calendar as it is for this patient, whom nobody can serve while they are away or in hospital.

    Who has it brought is served on delivery days alone, where the store has such.
    """
    elsewhere = frozenset(days_in((*profile.away, *profile.stays), today))
    weekdays = _delivery_days(calendar) if profile.delivered else calendar.weekdays
    if not elsewhere and weekdays == calendar.weekdays:
        return calendar
    return replace(calendar, weekdays=weekdays, closed_on=calendar.closed_on | elsewhere)


def _delivery_days(calendar: Calendar) -> frozenset[int]:
    return calendar.weekdays & calendar.delivery_weekdays if calendar.delivery_weekdays else calendar.weekdays


def days_in(spans: Iterable[Span], today: date) -> Iterator[date]:
    """The days of these spans from today on, a year ahead at most."""
    for span in spans:
        first, end = max(span.begins_on, today), today + timedelta(days=A_YEAR)
        last = min(span.ends_on or end, end)
        yield from (first + timedelta(days=ahead) for ahead in range((last - first).days + 1))


def lead_of(profile: Profile, calendar: Calendar, rules: Rules) -> int:
    """Days from today to the first workable day: the chain's, and what the store, delivery and packaging add."""
    return (
        rules.lead_days
        + calendar.lead_days
        + (rules.delivery_lead_days if profile.delivered else 0)
        + (rules.packaging_lead_days if profile.packaged else 0)
    )


# --- what halts planning ---


def halt(profile: Profile, today: date) -> Reason | None:
    """Why nothing is called for or filled now: a stay, one that no pharmacist reconciled yet, no insurance."""
    for stay in sorted(profile.stays, key=lambda stay: stay.begins_on, reverse=True):
        if stay.holds(today) and stay.ends_on != today:
            return because("in_hospital", since=stay.begins_on)
        reconciled = profile.reconciled_on and stay.ends_on and stay.ends_on <= profile.reconciled_on
        if stay.begins_on <= today and stay.ends_on and not reconciled:
            return because("stay_to_reconcile", discharged_on=stay.ends_on)
    lapse = next((each for each in profile.uninsured if each.holds(today)), None)
    if lapse is None or all(is_cash(each.payer) for each in profile.prescriptions if each.status == "active"):
        return None
    return because("coverage_lapsed", since=lapse.begins_on)


def halt_ends_on(profile: Profile, today: date) -> date | None:
    """When time alone changes what halts planning; none: somebody has to say so."""
    lapses = [
        each.ends_on + DAY
        for each in profile.uninsured
        if each.holds(today) and each.ends_on and each.ends_on < date.max
    ]
    stays = [each.ends_on for each in profile.stays if each.holds(today) and each.ends_on]
    return min((day for day in (*lapses, *stays) if day > today), default=None)


def next_halt_on(profile: Profile, today: date) -> date | None:
    """The day from which planning is halted by what is known already."""
    begins = (each.begins_on for each in (*profile.stays, *profile.uninsured))
    return min((day for day in begins if day > today), default=None)


# --- in words ---


def limits_of(profile: Profile, calendar: Calendar, today: date) -> list[Reason]:
    """What the patient's own limits are, for the plan to say."""
    reasons = []
    if profile.must_weekdays:
        reasons.append(because("must_weekdays", days=_names(profile.must_weekdays)))
    if profile.payday is not None or profile.paydays:
        reasons.append(_payday(profile))
    if profile.ride_weekdays or profile.rides:
        reasons.append(_ride(profile))
    if profile.delivered and calendar.delivery_weekdays:
        reasons.append(because("must_delivery", days=_names(_delivery_days(calendar))))
    reasons.extend(
        because("away", since=span.begins_on, until=span.ends_on)
        for span in profile.away
        if span.ends_on and span.ends_on >= today
    )
    return reasons


def _payday(profile: Profile) -> Reason:
    if profile.payday is None:
        return because("must_paydays", first=min(profile.paydays))
    return because("must_payday", day=profile.payday)


def _ride(profile: Profile) -> Reason:
    if not profile.ride_weekdays:
        return because("must_ride_dates", last=max(profile.rides))
    days = _names(profile.ride_weekdays)
    if profile.rides:
        return because("must_ride_also", days=days, besides=len(profile.rides))
    return because("must_ride_weekdays", days=days)


def _names(weekdays: Iterable[int]) -> str:
    return ", ".join(DAYS[day] for day in sorted(weekdays))


def against(day: date, profile: Profile, calendar: Calendar) -> str | None:
    """Which of the patient's limits stands against an open day of the store; none where none does."""
    checks = {
        "stay": any(span.holds(day) for span in profile.stays),
        "away": any(span.holds(day) for span in profile.away),
        "delivery": profile.delivered and day.weekday() not in _delivery_days(calendar),
        "payday": _before_payday(day, profile),
        "ride": _without_ride(day, profile),
        "weekday": not can_come_on(day, profile),
    }
    return next((name for name, holds in checks.items() if holds), None)


ANCHOR_MOVED: Mapping[str, Callable[..., Reason]] = {
    "stay": lambda told, on: because("anchor_moved_stay", told=told, on=on),
    "away": lambda told, on: because("anchor_moved_away", told=told, on=on),
    "delivery": lambda told, on: because("anchor_moved_delivery", told=told, on=on),
}
"""How it is said that the agreed day had to move, by what stands against it; other limits move no agreed day."""

STAFF_DAY: Mapping[str, Callable[..., Reason]] = {
    "stay": lambda by, on: because("staff_day_stay", by=by, on=on),
    "away": lambda by, on: because("staff_day_away", by=by, on=on),
    "delivery": lambda by, on: because("staff_day_delivery", by=by, on=on),
}
"""The same of the day that staff set."""

BARRED: Mapping[str, Callable[[date], Reason]] = {
    "away": lambda on: because("barred_away", on=on),
    "delivery": lambda on: because("barred_delivery", on=on),
    "payday": lambda on: because("barred_payday", on=on),
    "ride": lambda on: because("barred_ride", on=on),
    "weekday": lambda on: because("barred_weekday", on=on),
}
"""How the nearest way out is said, by what stands against a day. A stay has none."""


def moved(reason: Reason, profile: Profile, calendar: Calendar) -> Reason:
    """Why the agreed day moved, or the one that staff set is not kept: the store is closed then, or it is the patient
    who cannot be served, or a visit that stands takes nothing more."""
    if reason.code == "anchor_moved_closed":
        planned_on, ways = date.fromisoformat(str(reason.params["told"])), ANCHOR_MOVED
        open_day = because("anchor_moved_nothing_due", told=planned_on)
    elif reason.code == "staff_day_closed":
        planned_on, ways = date.fromisoformat(str(reason.params["on"])), STAFF_DAY
        open_day = because("staff_day_nothing_due", by=reason.params["by"], on=planned_on)
    else:
        return reason
    if not calendar.is_open(planned_on):
        return reason
    limit = against(planned_on, profile, calendar)
    return ways[limit](**reason.params) if limit and limit in ways else open_day


def way_out(plan: Plan | Blocked, free: Plan | Blocked, profile: Profile, calendar: Calendar) -> list[Reason]:
    """What the patient's limits cost, and the nearest day that would do: nothing where they cost nothing."""
    if isinstance(free, Blocked):
        return []
    days = {visit.on: against(visit.on, profile, calendar) for visit in free.visits}
    on = next((day for day, limit in days.items() if limit in BARRED), None)
    if on is None:
        return []
    nearest = BARRED[str(days[on])](on)
    if isinstance(plan, Blocked):
        return [nearest]
    if free.uncovered_days >= plan.uncovered_days:
        return []
    return [because("limits_cost", days=plan.uncovered_days, fewer=free.uncovered_days), nearest]


def without_limits(profile: Profile) -> Profile:
    """The same patient, who can be served on every open day."""
    return replace(
        profile,
        must_weekdays=frozenset(),
        payday=None,
        paydays=(),
        ride_weekdays=frozenset(),
        rides=(),
        delivered=False,
        away=(),
        household_must=False,
    )


def is_limited(profile: Profile) -> bool:
    """Are there open days on which the patient cannot be served?"""
    return bool(
        profile.must_weekdays
        or profile.payday is not None
        or profile.paydays
        or profile.ride_weekdays
        or profile.rides
        or profile.delivered
        or profile.away
        or profile.household_must
    )
