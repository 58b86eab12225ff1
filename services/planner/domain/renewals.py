"""Which prescriptions will not last: the prescriber is to be asked in time (domain rules: refills, expiry).

Not for what is probably no longer taken: renewals that nobody wanted are what users complain about (domain rules 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from services.planner.domain.anchor import Option
from services.planner.domain.course import Course, next_due
from services.planner.domain.model import Item, Participation, Reason, Renewal, Rules, because
from services.planner.domain.participation import Part, followed


@dataclass(frozen=True, slots=True)
class Authorization:
    """A payer's prior authorization that ends before the pickup after next."""

    until: date
    begin_on: date  # its renewal takes weeks


NONE_ENDS: Mapping[str, Authorization] = {}


def authorizations_ending(
    parts: Sequence[Part], chosen: Option, cycle_days: int, lead_days: int
) -> dict[str, Authorization]:
    """The authorizations of drugs that take part, by rx_id, that do not last to the pickup after next (domain rules
    2.10)."""
    return {
        part.prescription.rx_id: Authorization(until, until - timedelta(days=lead_days))
        for part in parts
        for until in [part.prescription.prior_authorization_until]
        if until
        and part.participation is not Participation.excluded
        and until.toordinal() < chosen.second + cycle_days
    }


Fills = Mapping[str, Sequence[tuple[date, Item]]]
NO_FILLS: Fills = {}


def renewals_needed(
    parts: Sequence[Part], chosen: Option | None, cycle_days: int, today: date, numbered: Fills = NO_FILLS
) -> list[Renewal]:
    """Prescriptions that run out of authorised quantity, or expire, before the pickup after next.

    Needed by the day on which something is due that cannot be had. One whose stock lasts past the pickup after next,
    so that nothing is due at it, is asked for later (domain rules: refills, expiry). `chosen` is none where there is
    no plan: then whatever a renewal would bring back is asked for. `numbered` holds the planned fills, by rx_id, that
    take a refill number each.
    """
    courses = {course.supply.rx_id: course for course in chosen.courses} if chosen else {}
    needed = []
    for part in parts:
        course = courses.get(part.prescription.rx_id)
        if chosen and course:
            day = _first_unmet(course, chosen, cycle_days)
            unnumbered = _first_unnumbered(part, numbered)
            if day is not None and course.covered_to < chosen.second + cycle_days:
                needed.append(_renewal(part, max(date.fromordinal(day), today), course.quantity_left))
            elif unnumbered:
                reason = because("renewal_refills", left=part.prescription.refills_left)
                needed.append(_asked(part, unnumbered, reason))
        elif part.needs_renewal and part.stock.run_out_on:
            day_out = max(part.stock.run_out_on, today)
            if chosen is None or day_out.toordinal() < chosen.second + cycle_days:
                needed.append(_renewal(part, day_out, part.prescription.quantity_left))
    return needed


NONE_DISUSED: Mapping[str, date] = {}


def disused(parts: Sequence[Part], rules: Rules, today: date) -> dict[str, date]:
    """The run-out day, by rx_id, of what ran out so long ago that it is probably no longer taken; of what takes part,
    or would with a renewal."""
    days = next((each.days for each in rules.disuse if each.begins_on <= today <= each.ends_on), None)
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
    renewals: Sequence[Renewal], parts: Sequence[Part], disused: Mapping[str, date]
) -> tuple[Renewal, ...]:
    """Those of drugs that are still taken, and of which no further prescription waits for its day."""
    served = followed(parts)
    return tuple(each for each in renewals if each.rx_id not in disused and each.rx_id not in served)


def _first_unmet(course: Course, chosen: Option, cycle_days: int) -> int | None:
    """The first day, to the pickup after next, on which a usual fill is due that cannot be had."""
    prescription = course.supply.prescription
    expires = prescription.expires_on.toordinal()  # what a prior authorization ends, no renewal brings back
    enough = course.quantity_left >= prescription.usual_quantity
    if course.joins == chosen.anchor and course.supply.joined_with is None:
        days = course.at_anchor[1] if course.at_anchor else 0
        if days < prescription.usual_days and not (enough and chosen.anchor <= expires):
            return min(chosen.anchor, course.covered_to)
    due = chosen.second if course.joins else next_due(course, chosen.second, cycle_days)
    return None if enough and due <= expires else min(due, course.covered_to)


def _first_unnumbered(part: Part, numbered: Fills) -> date | None:
    """The day of the first planned fill for which no refill number is left, where they are told.

    The first fill of a prescription is no refill.
    """
    each = part.prescription
    first = not any(fill.rx_id == each.rx_id for fill in part.stock.fills)
    days = [on for on, item in numbered.get(each.rx_id, ()) if item.rx_id == each.rx_id]
    numbers = each.refills_left + first
    return days[numbers] if each.refills_left and numbers < len(days) else None


def _renewal(part: Part, needed_by: date, quantity_left: Decimal) -> Renewal:
    """What runs out first: what is authorised, or the time."""
    each = part.prescription
    if quantity_left < each.usual_quantity:
        reason = because("renewal_quantity", left=quantity_left)
    else:
        reason = because("renewal_expiry", expires_on=each.expires_on)
    return _asked(part, needed_by, reason)


def _asked(part: Part, needed_by: date, reason: Reason) -> Renewal:
    each = part.prescription
    return Renewal(each.rx_id, each.drug.name, each.prescriber_id, needed_by, reason)
