"""Which prescriptions will not last: the prescriber is to be asked in time (R10.9).

Not for what is probably no longer taken: renewals that nobody wanted are what users complain about (R1.11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

from services.planner.domain.calendar import NEVER, Calendar
from services.planner.domain.eligibility import Eligibility, followed, likely_discontinued_after
from services.planner.domain.medication import per_day
from services.planner.domain.model import Item, Participation, Reason, Renewal, Rules, because
from services.planner.domain.paths import FillPath
from services.planner.domain.search import Layout
from services.planner.domain.stock import short_fill

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authorization:
    """A payer's prior authorization that ends before the pickup after next."""

    until: date
    begin_on: date  # its renewal takes weeks


NONE_ENDS: Mapping[str, Authorization] = {}


def authorizations_ending(
    parts: Sequence[Eligibility], chosen: Layout, lead_days: int
) -> dict[str, Authorization]:
    """The authorizations of drugs that take part, by rx_id, that do not last to the pickup after next (R10.11)."""
    return {
        part.prescription.rx_id: Authorization(until, until - timedelta(days=lead_days))
        for part in parts
        for until in [part.prescription.prior_authorization_until]
        if until
        and part.participation is not Participation.excluded
        and until.toordinal() < chosen.second + chosen.score.rhythm.days
    }


Fills = Mapping[str, Sequence[tuple[date, Item]]]
NO_FILLS: Fills = {}


def renewals_needed(
    parts: Sequence[Eligibility],
    chosen: Layout | None,
    calendar: Calendar,
    rules: Rules,
    today: date,
    numbered: Fills = NO_FILLS,
) -> list[Renewal]:
    """Prescriptions that run out of authorized quantity, or expire, before the pickup after next.

    Needed by the last day that still does: the drug's lead time, in open days, before something is due that cannot be
    had, or the drug runs out. One of which nothing is due until the pickup after next is asked for later. `chosen` is
    None where there is no plan: then whatever a renewal would bring back is asked for. `numbered` holds the planned
    fills, by rx_id, that take a refill number each.
    """
    paths = {path.medication.rx_id: path for path in chosen.paths} if chosen else {}
    until = chosen.second + chosen.score.rhythm.days if chosen else NEVER
    needed = []
    for part in parts:
        each = part.prescription
        path = paths.get(each.rx_id)
        by = partial(last_day_that_does, part=part, calendar=calendar, rules=rules, today=today)
        if chosen and path:
            unmet = _first_unmet(path, chosen, until)
            unnumbered = _first_unnumbered(part, numbered)
            if unmet is not None:
                day, left = unmet
                needed.append(_renewal(part, by(date.fromordinal(day)), left))
            elif unnumbered:
                reason = because("renewal_refills", left=each.refills_left)
                needed.append(_asked(part, by(unnumbered), reason))
        elif part.needs_renewal and part.stock.run_out_on:
            day_out = max(part.stock.run_out_on, today)
            if day_out.toordinal() < until:
                needed.append(_renewal(part, by(day_out), each.quantity_left))
    return needed


def last_day_that_does(
    due: date, *, part: Eligibility, calendar: Calendar, rules: Rules, today: date
) -> date:
    """The day the drug's lead time before it is due, in open days of the store; today where that has passed."""
    return open_days_before(due, rules.lead_days + part.prescription.drug.lead_days, calendar, today)


def open_days_before(day: date, days: int, calendar: Calendar, today: date) -> date:
    """The day so many open days before, not before today."""
    while days and day > today:
        day -= DAY
        days -= calendar.is_open(day)
    return max(day, today)


NONE_DISUSED: Mapping[str, date] = {}


def likely_discontinued(parts: Sequence[Eligibility], rules: Rules, today: date) -> dict[str, date]:
    """The run-out day, by rx_id, of what ran out so long ago that it is probably no longer taken; of what takes part,
    or would with a renewal."""
    days = likely_discontinued_after(rules, today)
    return {
        part.prescription.rx_id: out
        for part in parts
        for out in [part.stock.run_out_on]
        if days is not None
        and out
        and (today - out).days > days
        and (part.needs_renewal or part.participation is not Participation.excluded)
    }


def wanted(
    renewals: Sequence[Renewal], parts: Sequence[Eligibility], likely_discontinued: Mapping[str, date]
) -> tuple[Renewal, ...]:
    """Those of drugs that are still taken, and of which no further prescription waits for its day."""
    served = followed(parts)
    return tuple(
        each for each in renewals if each.rx_id not in likely_discontinued and each.rx_id not in served
    )


def _first_unmet(path: FillPath, chosen: Layout, until: int) -> tuple[int, Decimal] | None:
    """The first day before `until` by which something is due, or runs out, that cannot be had; and what is authorized
    then. Not where the stock lasts past it."""
    medication = path.medication
    expires = medication.prescription.expires_on.toordinal()
    left, covered = medication.quantity_left, medication.run_out
    for day, quantity, days in _due(path, chosen, until):
        if day <= expires and 0 < left < quantity and not medication.packs:
            _, rest = short_fill(days, per_day(medication.prescription), left, medication.whole_units)
            if rest:  # filled, and out before the next is due
                return max(covered, day) + rest, left
        if quantity > left or day > expires:
            return min(day, max(covered, chosen.anchor)), left
        left, covered = left - quantity, max(covered, day) + days
    return None


def _due(path: FillPath, chosen: Layout, until: int) -> Iterator[tuple[int, Decimal, int]]:
    """Day, units and days of each fill that is due before `until`."""
    for window in path.windows:
        if window.last < until:
            yield window.last, window.quantity, window.days
    if path.joins is None:
        return
    day, again = path.joins, chosen.next_due(path)
    if path.standing:
        day = again
    while day < until:
        yield day, *path.joining
        day = again if day < again else day + path.cycles * chosen.score.rhythm.days


def _first_unnumbered(part: Eligibility, numbered: Fills) -> date | None:
    """The day of the first planned fill for which no refill number is left, where they are told.

    The first fill of a prescription is no refill.
    """
    each = part.prescription
    first = not any(fill.rx_id == each.rx_id for fill in part.stock.fills)
    days = [on for on, item in numbered.get(each.rx_id, ()) if item.rx_id == each.rx_id]
    numbers = each.refills_left + first
    return days[numbers] if each.refills_left and numbers < len(days) else None


def _renewal(part: Eligibility, needed_by: date, quantity_left: Decimal) -> Renewal:
    """What runs out first: what is authorized, or the time."""
    each = part.prescription
    if quantity_left < each.usual_quantity:
        reason = because("renewal_quantity", left=quantity_left)
    else:
        reason = because("renewal_expiry", expires_on=each.expires_on)
    return _asked(part, needed_by, reason)


def _asked(part: Eligibility, needed_by: date, reason: Reason) -> Renewal:
    each = part.prescription
    return Renewal(each.rx_id, each.drug.name, each.prescriber_id, needed_by, reason)
