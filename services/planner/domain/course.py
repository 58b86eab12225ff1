"""How one drug reaches one candidate day: the fills it needs before, and what is uncovered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.planner.domain.calendar import LONG_AGO, NEVER, PickupDays
from services.planner.domain.model import Prescription, Reason
from services.planner.domain.payers import NO_COST, PayerRule, dearer_at_once, extra_cost_of
from services.planner.domain.payment import Payment
from services.planner.domain.stock import refill_wait, short_fill, usual_fill


@dataclass(frozen=True, slots=True)
class Supply:
    """One taking-part drug as the search sees it. Days are ordinals."""

    prescription: Prescription  # its usual fill is one that the plan allows
    ride_along: bool
    payer: PayerRule
    percent: int  # refill too soon
    run_out: int  # nothing is left at the start of this day
    payment: Payment  # of its next fill
    quantity_left: Decimal
    expires: int  # the last day on which it may be dispensed
    had_from: int = LONG_AGO  # the store cannot have it before
    unavoidable: int = 0  # uncovered days before a visit that stands
    joined_with: int | None = None  # days left at the anchor, where the anchor visit stands and holds it
    most_surplus: int = NEVER  # days on hand at a fill, by the payer's count
    paid_until: int = (
        LONG_AGO  # nothing is left at the start of this day, by the payer's count of the look-back
    )
    prorated: bool = False  # a short fill costs the patient its days only
    monthly_copay: Decimal | None = None  # none: not known
    granted_by: str = ""  # the law that covers it
    consents: tuple[str, ...] = ()  # who have to agree to it
    after_short: bool = False  # its last fill was a short one
    after_change: bool = False  # what the payer last paid was another dose
    fixed_quantity: Decimal | None = None  # that staff want filled at the anchor
    bridge_cushion: int = 0  # days that a bridge lasts past the joining day
    whole_units: int = 1  # of which a fill other than the usual is a multiple
    least_bridge: int = 1  # days of a short fill by the chain's rule, where that fits
    short_sizes: frozenset[int] | None = None  # days of a short fill that may be planned; none: any
    whole_because: Reason | None = None  # why none may, beside the payer's sizes
    spent: Payment | None = None  # the leave that a visit that stands makes use of

    @property
    def rx_id(self) -> str:
        return self.prescription.rx_id

    @property
    def critical(self) -> bool:
        return self.prescription.drug.critical

    @property
    def lacks_from(self) -> int:
        """The day from which a fill is lacking: nothing is left, and it can be had."""
        return max(self.run_out, self.had_from)

    def wait(self, days: int) -> int:
        """Days from a fill of so many days until the next one is paid, as far as this fill alone decides it."""
        return max(refill_wait(days, self.percent), days - self.most_surplus)

    def short_days(self, days: int) -> int:
        """The fewest days, at least so many, of which a short fill may be; `NEVER` where none of them may."""
        if self.short_sizes is None:
            return days
        return min((each for each in self.short_sizes if each >= days), default=NEVER)

    def next_paid(self, day: int, days: int, paid_until: int) -> tuple[int, int]:
        """After a fill of that day, of so many days: when the payer pays the next one, and when nothing is left by its
        count."""
        paid_until = (paid_until if paid_until > day else day) + days
        return max(day + self.wait(days), paid_until - self.most_surplus), paid_until

    def opening_codes(self, day: int) -> tuple[str, ...]:
        """The clarification codes of the next fill, on that day, beside those of its length."""
        change = (self.payer.therapy_change_code,) if self.after_change else ()
        leave = self.payment.leave_of(day)
        if leave is None:
            return change
        return (*change, leave.early.code if leave.early else self.payer.override_code)

    def dearer_at_once(self, days: int) -> bool:
        """Does one long fill of so many days cost the patient more than usual fills and a short one?"""
        usual, month = self.prescription.usual_days, self.payer.month_days
        return dearer_at_once(days, usual, self.monthly_copay, month, prorated=self.prorated)

    def extra_cost(self, days: int) -> Decimal | None:
        """What a fill of so many days costs the patient beyond its share of the usual one; none: not known."""
        if self.monthly_copay is None:
            return None
        usual, month = self.prescription.usual_days, self.payer.month_days
        return extra_cost_of(days, usual, self.monthly_copay, month, prorated=self.prorated)


class Need(NamedTuple):
    """One fill to be dispensed on a pickup day from `first` to `last`; the drug's next one not before `wait` days."""

    first: int
    last: int
    due: int  # nothing is left at the start of this day; before `first` where it comes too late
    wait: int
    quantity: Decimal
    days: int
    padding: int = 0  # of these days, only for the chain's minimum: no cushion


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
    override: bool = False  # it joins before the payer pays, by an override

    @property
    def fills(self) -> list[int]:
        """The days' supply of each fill."""
        days = [need.days for need in self.needs]
        return [*days, self.at_anchor[1]] if self.at_anchor else days

    @property
    def short_fills(self) -> list[int]:
        """The days of each fill of less than the usual days' supply."""
        return [days for days in self.fills if days < self.supply.prescription.usual_days]

    @property
    def padding(self) -> int:
        """Days that its bridge lasts longer only because the chain fills no fewer."""
        return sum(need.padding for need in self.needs)

    @property
    def extra_cost(self) -> Decimal | None:
        """What the patient pays beyond the shares of usual fills; none: the copay is not known."""
        if self.supply.monthly_copay is None:
            return None
        return sum((self.supply.extra_cost(days) or NO_COST for days in self.fills), NO_COST)


def next_due(course: Course, second: int, cycle_days: int) -> int:
    """The synchronized pickup, as far as it can be seen from the second on, at which a drug that joins none before is
    filled: its stock does not last to the one after, and that fill is paid."""
    paid_from = LONG_AGO if course.needs else course.supply.payment.joining
    while course.covered_to >= second + cycle_days or second < paid_from:
        second += cycle_days
    return second


def course_of(supply: Supply, anchor: int, second: int, pickup: PickupDays, earliest: int) -> Course:
    """The course of a drug that leaves the fewest uncovered days; which pickup days it needs is left open.

    A synchronized drug joins at the anchor, unless it is not due (its stock lasts to the second pickup) or no payer
    pays by then and no override is granted: in that case at the second. Its gap, from the run-out day or from
    `earliest`, the first day on which anything can be dispensed, is filled by usual fills first, then the remainder as
    a bridge, or by one long fill where the plan allows it (domain rules: anchor date choice, "precisely").
    """
    if supply.ride_along:
        return _whole_fills(supply, second, pickup, earliest)
    left, run_out = supply.quantity_left, supply.lacks_from
    if supply.joined_with is not None:
        uncovered = max(0, second - run_out) if _usual_fill(supply, left)[1] else 0
        return Course(supply, anchor, (), None, supply.joined_with, uncovered, run_out, left)
    if run_out >= second and not supply.payment.forced:
        return Course(supply, None, (), None, run_out - anchor, 0, run_out, left)
    joins = anchor if anchor in pickup and supply.payment.allows(anchor, joining=True) else second
    course = _synchronized(supply, joins, anchor, second, pickup, earliest)
    if (
        supply.short_sizes is None
        or not course.uncovered
        or supply.payment.forced
        or supply.fixed_quantity is not None
    ):
        return course
    whole = _whole_fills(supply, second, pickup, earliest)  # as a ride-along, where no short fill is paid
    return whole if whole.needs and whole.uncovered < course.uncovered else course


def long_course_of(
    course: Course, anchor: int, second: int, pickup: PickupDays, earliest: int
) -> Course | None:
    """The same drug with one long fill to the second pickup in place of the bridge and the fill at the anchor.

    None where it has no bridge, or the plan, what is authorised or the days stand against it. It needs no other day
    than the bridge would, is one short fill less, and costs the patient no more.
    """
    supply = course.supply
    usual = supply.prescription.usual_days
    staff_decided = supply.payment.forced or supply.fixed_quantity is not None
    if not supply.payer.days_supplies or not course.needs or course.joins != anchor or staff_decided:
        return None
    first = course.needs[0]
    whole = second - max(first.due, first.first)
    if (
        whole <= usual
        or course.needs[-1].days >= usual
        or not _long_fill(supply, whole, supply.quantity_left)
    ):
        return None
    needs, covered, left, uncovered = _bridge_gap(supply, second, pickup, earliest)
    if len(needs) != 1 or needs[0].days <= usual or uncovered > course.uncovered:
        return None
    return Course(supply, None, needs, None, max(0, covered - anchor), uncovered, covered, left)


def _synchronized(
    supply: Supply, joins: int, anchor: int, second: int, pickup: PickupDays, earliest: int
) -> Course:
    needs, covered, left, uncovered = _bridge_gap(supply, joins, pickup, earliest)
    left_at_anchor = max(0, covered - anchor)
    at_anchor = None
    if joins == anchor:
        quantity, days = _joining_fill(supply, second - max(covered, anchor), left)
        if days and anchor <= supply.expires:
            at_anchor = quantity, days
            covered, left = max(covered, anchor) + days, left - quantity
        bridged = at_anchor and supply.bridge_cushion and anchor + supply.wait(days) <= covered
        if _usual_fill(supply, left)[1] and not bridged:  # in the next cycle, with the cushion
            uncovered += max(0, second - max(covered, anchor))
    too_soon = at_anchor is not None and supply.payment.ready > anchor
    return Course(supply, joins, needs, at_anchor, left_at_anchor, uncovered, covered, left, too_soon)


def _joining_fill(supply: Supply, needed: int, left: Decimal) -> tuple[Decimal, int]:
    """The usual fill; a long one where that alone does not reach the next pickup, and the plan allows it; or what staff
    want."""
    if supply.fixed_quantity is not None:
        quantity = min(supply.fixed_quantity, left)
        return quantity, int(quantity // per_day(supply.prescription))
    usual = supply.prescription.usual_days
    long = _long_fill(supply, needed, left) if usual < needed < 2 * usual else None
    return long or _usual_fill(supply, left)


def _long_fill(supply: Supply, needed: int, left: Decimal) -> tuple[Decimal, int] | None:
    """One fill for more than the usual days, where the plan allows so many and they are authorised."""
    quantity, days = short_fill(needed, per_day(supply.prescription), left, supply.whole_units)
    return (quantity, days) if days >= needed and supply.payer.allows(days) else None


def _bridge_gap(
    supply: Supply, joins: int, pickup: PickupDays, earliest: int
) -> tuple[tuple[Need, ...], int, Decimal, int]:
    """The fills before the joining day; with the run-out day, the quantity left and the uncovered days after them.

    Days for which nothing is authorised any more only a renewal can cover: they are not counted as uncovered.
    """
    left, paid_until = supply.quantity_left, supply.paid_until
    covered, ready, uncovered = max(supply.lacks_from, earliest), supply.payment.ready, 0
    needs: list[Need] = []
    while covered < joins:
        day = pickup.on_or_after(max(ready, earliest))
        begins = max(covered, day)
        if begins >= joins or day > supply.expires:
            break
        fill = _next_fill(supply, day, begins, joins, left, paid_until)
        quantity, days, padding, next_ready, next_until = fill
        if days == 0:
            break
        if next_ready > joins:  # no fill may put off the one at the joining day; a later one is smaller
            ready = day + 1
            continue
        needs.append(Need(day, begins, covered, supply.wait(days), quantity, days, padding))
        uncovered += begins - covered
        covered, ready, left, paid_until = begins + days, next_ready, left - quantity, next_until
    if _usual_fill(supply, left)[1]:
        uncovered += max(0, joins - covered)
    return _narrowed(needs, supply.expires, joins, pickup), covered, left, uncovered


def _next_fill(
    supply: Supply, day: int, begins: int, joins: int, left: Decimal, paid_until: int
) -> tuple[Decimal, int, int, int, int]:
    """The first of the fills that bridge the gap which does not put off the one at the joining day, else the smallest;
    with the payer's clock after it."""
    for fill in _bridging_fills(supply, joins - begins, left):
        paid = supply.next_paid(day, fill[1], paid_until)
        if paid[0] <= joins:
            break
    return *fill, *paid


def _bridging_fills(supply: Supply, gap: int, left: Decimal) -> Iterator[tuple[Decimal, int, int]]:
    """The next fill into a gap of so many days: a long one that closes it, a usual one, or the short remainder; with
    its padding.

    The remainder is of the chain's least days, where so many are authorised, the rest carried over, before one of
    fewer (domain rules 2.4).
    """
    usual, wanted = supply.prescription.usual_days, gap + supply.bridge_cushion
    if wanted >= usual:
        long = _long_fill(supply, gap, left) if gap > usual else None
        if long and supply.dearer_at_once(long[1]):
            long = None
        yield *(long or _usual_fill(supply, left)), 0
        return
    quantity, days = _short_fill(supply, wanted, left)
    if wanted < supply.least_bridge:
        least, most = _short_fill(supply, supply.least_bridge, left)
        if most >= min(supply.least_bridge, usual):
            yield least, most, most - days if most < usual else 0
    yield quantity, days, 0


def _short_fill(supply: Supply, wanted: int, left: Decimal) -> tuple[Decimal, int]:
    """The shortest fill of so many days that may be planned; the usual one where none shorter may."""
    each, days = supply.prescription, supply.short_days(wanted)
    if days < each.usual_days:
        fill = short_fill(days, per_day(each), left, supply.whole_units)
        if fill[0] < each.usual_quantity:
            return fill
    return _usual_fill(supply, left)


def _usual_fill(supply: Supply, left: Decimal) -> tuple[Decimal, int]:
    return usual_fill(supply.prescription, left, supply.whole_units)


def _whole_fills(supply: Supply, second: int, pickup: PickupDays, earliest: int) -> Course:
    """Usual fills only, each by its run-out day, up to the second pickup."""
    prescription, left, paid_until = supply.prescription, supply.quantity_left, supply.paid_until
    covered, ready, uncovered = max(supply.lacks_from, earliest), supply.payment.ready, 0
    needs: list[Need] = []
    while covered < second and left >= prescription.usual_quantity:
        day = pickup.on_or_after(max(ready, earliest))
        begins = max(covered, day)
        if begins >= second or day > supply.expires:
            uncovered += second - covered
            break
        wait = supply.wait(prescription.usual_days)
        needs.append(Need(day, begins, covered, wait, prescription.usual_quantity, prescription.usual_days))
        uncovered += begins - covered
        covered = begins + prescription.usual_days
        ready, paid_until = supply.next_paid(day, prescription.usual_days, paid_until)
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
