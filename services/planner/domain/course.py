"""How one drug reaches one candidate day: the fills it needs before, and what is uncovered."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.planner.domain.calendar import NEVER, PickupDays
from services.planner.domain.model import Prescription
from services.planner.domain.stock import refill_wait, short_fill, usual_fill


@dataclass(frozen=True, slots=True)
class Supply:
    """One taking-part drug as the search sees it. Days are ordinals."""

    prescription: Prescription
    ride_along: bool
    percent: int  # refill too soon
    run_out: int  # nothing is left at the start of this day
    payable: int  # the first day on which the payer pays the next fill
    ready: int  # the same, or later where the patient declined a fill until then
    quantity_left: Decimal
    expires: int  # the last day on which it may be dispensed
    unavoidable: int = 0  # uncovered days before a visit that stands
    joined_with: int | None = None  # days left at the anchor, where the anchor visit stands and holds it

    @property
    def rx_id(self) -> str:
        return self.prescription.rx_id

    @property
    def critical(self) -> bool:
        return self.prescription.drug.critical


class Need(NamedTuple):
    """One fill to be dispensed on a pickup day from `first` to `last`; the drug's next one not before `wait` days."""

    first: int
    last: int
    due: int  # nothing is left at the start of this day; before `first` where it comes too late
    wait: int
    quantity: Decimal
    days: int


class Course(NamedTuple):
    """What happens to one drug up to the second synchronized pickup, for one candidate day."""

    supply: Supply
    joins: int | None  # the pickup at which it joins; none: not due, or a ride-along
    needs: tuple[Need, ...]  # in their order; a synchronized drug's are before its joining day
    at_anchor: tuple[Decimal, int] | None  # quantity and days with which it joins at the anchor
    left_at_anchor: int  # days on hand at the start of the anchor day; a ride-along's is told by its needs
    uncovered: int  # days without it from the first workable day to the second pickup
    covered_to: int  # the run-out day after all these fills
    quantity_left: Decimal  # still authorised after all these fills

    @property
    def short_fills(self) -> list[int]:
        """The days of each fill of less than the usual days' supply."""
        days = [need.days for need in self.needs]
        if self.at_anchor:
            days.append(self.at_anchor[1])
        return [each for each in days if each < self.supply.prescription.usual_days]


def course_of(supply: Supply, anchor: int, second: int, pickup: PickupDays, earliest: int) -> Course:
    """The course of a drug that leaves the fewest uncovered days; which pickup days it needs is left open.

    A synchronized drug joins at the anchor, unless it is not due (its stock lasts to the second pickup) or no payer
    pays by then: in that case at the second. Its gap, from the run-out day or from `earliest`, the first day on which
    anything can be dispensed, is filled by usual fills first, then the remainder as a bridge (domain rules: anchor
    date choice, "precisely").
    """
    if supply.ride_along:
        return _ride_along(supply, second, pickup, earliest)
    left, run_out = supply.quantity_left, supply.run_out
    if supply.joined_with is not None:
        uncovered = max(0, second - run_out) if usual_fill(supply.prescription, left)[1] else 0
        return Course(supply, anchor, (), None, supply.joined_with, uncovered, run_out, left)
    if run_out >= second:
        return Course(supply, None, (), None, run_out - anchor, 0, run_out, left)
    joins = anchor if supply.ready <= anchor and anchor in pickup else second
    return _synchronized(supply, joins, anchor, second, pickup, earliest)


def _synchronized(
    supply: Supply, joins: int, anchor: int, second: int, pickup: PickupDays, earliest: int
) -> Course:
    needs, covered, left, uncovered = _bridge_gap(supply, joins, pickup, earliest)
    left_at_anchor = max(0, covered - anchor)
    at_anchor = None
    if joins == anchor:
        quantity, days = usual_fill(supply.prescription, left)
        if days and anchor <= supply.expires:
            at_anchor = quantity, days
            covered, left = max(covered, anchor) + days, left - quantity
        if usual_fill(supply.prescription, left)[1]:
            uncovered += max(0, second - max(covered, anchor))
    return Course(supply, joins, needs, at_anchor, left_at_anchor, uncovered, covered, left)


def _bridge_gap(
    supply: Supply, joins: int, pickup: PickupDays, earliest: int
) -> tuple[tuple[Need, ...], int, Decimal, int]:
    """The fills before the joining day; with the run-out day, the quantity left and the uncovered days after them.

    Days for which nothing is authorised any more only a renewal can cover: they are not counted as uncovered.
    """
    prescription, left = supply.prescription, supply.quantity_left
    covered, ready, uncovered = max(supply.run_out, earliest), supply.ready, 0
    needs: list[Need] = []
    while covered < joins:
        day = pickup.on_or_after(max(ready, earliest))
        begins = max(covered, day)
        if begins >= joins or day > supply.expires:
            break
        if joins - begins >= prescription.usual_days:
            quantity, days = usual_fill(prescription, left)
        else:
            quantity, days = short_fill(joins - begins, per_day(prescription), left)
        if days == 0:
            break
        wait = refill_wait(days, supply.percent)
        if day + wait > joins:  # no fill may put off the one at the joining day; a later one is smaller
            ready = day + 1
            continue
        needs.append(Need(day, begins, covered, wait, quantity, days))
        uncovered += begins - covered
        covered, ready, left = begins + days, day + wait, left - quantity
    if usual_fill(prescription, left)[1]:
        uncovered += max(0, joins - covered)
    return _narrowed(needs, supply.expires, joins, pickup), covered, left, uncovered


def _ride_along(supply: Supply, second: int, pickup: PickupDays, earliest: int) -> Course:
    """Usual fills only, each by its run-out day, up to the second pickup."""
    prescription, left = supply.prescription, supply.quantity_left
    covered, ready, uncovered = max(supply.run_out, earliest), supply.ready, 0
    needs: list[Need] = []
    while covered < second and left >= prescription.usual_quantity:
        day = pickup.on_or_after(max(ready, earliest))
        begins = max(covered, day)
        if begins >= second or day > supply.expires:
            uncovered += second - covered
            break
        wait = refill_wait(prescription.usual_days, supply.percent)
        needs.append(Need(day, begins, covered, wait, prescription.usual_quantity, prescription.usual_days))
        uncovered += begins - covered
        covered, ready = begins + prescription.usual_days, day + wait
        left -= prescription.usual_quantity
    narrowed = _narrowed(needs, supply.expires, NEVER, pickup)
    return Course(supply, None, narrowed, None, 0, uncovered, covered, left)


def _narrowed(needs: list[Need], expires: int, limit: int, pickup: PickupDays) -> tuple[Need, ...]:
    """Take from each need the days after which the next one would not be payable in time.

    `limit` is the day by which the fill after the last need must be payable.
    """
    narrowed: list[Need] = []
    for need in reversed(needs):
        last = max(need.first, pickup.on_or_before(min(need.last, expires, limit - need.wait)))
        narrowed.append(need._replace(last=last))
        limit = last
    return tuple(reversed(narrowed))


def per_day(prescription: Prescription) -> Decimal:
    """The daily use of a drug that may be short-filled; participation lets none pass without one."""
    if prescription.units_per_day is None:
        raise ValueError(f"prescription {prescription.rx_id} has no daily use and cannot be short-filled")
    return prescription.units_per_day
