"""Which prescriptions will not last: the prescriber is to be asked in time (domain rules: refills, expiry)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from services.planner.domain.anchor import Option
from services.planner.domain.course import Course
from services.planner.domain.model import Renewal, because
from services.planner.domain.participation import Part


def renewals_needed(
    parts: Sequence[Part], chosen: Option | None, cycle_days: int, today: date
) -> list[Renewal]:
    """Prescriptions that run out of authorised quantity, or expire, before the pickup after next.

    Needed by the day on which something is due that cannot be had. One whose stock lasts past the pickup after next,
    so that nothing is due at it, is asked for later (domain rules: refills, expiry). `chosen` is none where there is
    no plan: then whatever a renewal would bring back is asked for.
    """
    courses = {course.supply.rx_id: course for course in chosen.courses} if chosen else {}
    needed = []
    for part in parts:
        course = courses.get(part.prescription.rx_id)
        if chosen and course:
            day = _first_unmet(course, chosen)
            if day is not None and course.covered_to < chosen.second + cycle_days:
                needed.append(_renewal(part, max(date.fromordinal(day), today), course.quantity_left))
        elif part.needs_renewal and part.stock.run_out_on:
            day_out = max(part.stock.run_out_on, today)
            if chosen is None or day_out.toordinal() < chosen.second + cycle_days:
                needed.append(_renewal(part, day_out, part.prescription.quantity_left))
    return needed


def _first_unmet(course: Course, chosen: Option) -> int | None:
    """The first day, to the pickup after next, on which a usual fill is due that cannot be had."""
    prescription = course.supply.prescription
    if course.joins == chosen.anchor and course.supply.joined_with is None:
        days = course.at_anchor[1] if course.at_anchor else 0
        if days < prescription.usual_days:
            return chosen.anchor
    if course.quantity_left >= prescription.usual_quantity and chosen.second <= course.supply.expires:
        return None
    return min(chosen.second, course.covered_to)


def _renewal(part: Part, needed_by: date, quantity_left: Decimal) -> Renewal:
    """What runs out first: what is authorised, or the time."""
    each = part.prescription
    if quantity_left < each.usual_quantity:
        reason = because("renewal_quantity", left=quantity_left)
    else:
        reason = because("renewal_expiry", expires_on=each.expires_on)
    return Renewal(each.rx_id, each.drug.name, each.prescriber_id, needed_by, reason)
