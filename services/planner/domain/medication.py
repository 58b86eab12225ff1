"""One drug as the search sees it: what is at home, who pays when, what may be filled. Days are ordinals."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache

from services.planner.domain.calendar import LONG_AGO, NEVER
from services.planner.domain.model import ConditionKind, Prescription, Reason
from services.planner.domain.payers import PayerRule, RefillRule, dearer_at_once, extra_cost_of
from services.planner.domain.payment import Payment
from services.planner.domain.stock import short_fill, usual_fill


@dataclass(frozen=True, slots=True)
class Medication:
    """One prescription, interpreted once: whatever asks about it afterwards asks this value."""

    prescription: Prescription  # its usual fill is one that the plan allows
    packs: bool  # dispensed whole: never short-filled
    payer: PayerRule
    refill: RefillRule  # refill too soon
    run_out: int  # nothing is left at the start of this day
    payment: Payment  # of its next fill
    quantity_left: Decimal
    expires: int  # the last day on which it may be dispensed
    available_from: int = LONG_AGO  # the store cannot have it before
    urgent_from: int | None = None  # inside the lead time, where it cannot wait for the first workable day
    unavoidable: int = 0  # days without it before a visit that stands
    days_left_at_fixed_visit: int | None = None  # where the synchronized visit stands and holds it
    max_on_hand: int = NEVER  # days at a fill, by the payer's count
    paid_until: int = (
        LONG_AGO  # nothing is left at the start of this day, by the payer's count of the look-back
    )
    prorated: bool = False  # a short fill costs the patient its days only
    monthly_copay: Decimal | None = None  # None if unknown
    granted_by: str = ""  # the law that covers it
    consents: tuple[str, ...] = ()  # who have to agree to it
    after_short: bool = False  # its last fill was a short one
    after_change: bool = False  # what the payer last paid was another dose
    fixed_quantity: Decimal | None = None  # that staff want filled at the first slot
    bridge_cushion: int = 0  # days that a bridge lasts past the joining day
    whole_units: int = 1  # of which a fill other than the usual is a multiple
    least_bridge: int = 1  # days of a short fill by the chain's rule, where that fits
    short_sizes: frozenset[int] | None = None  # days of a short fill that may be planned; None: any
    whole_because: Reason | None = None  # why none may, beside the payer's sizes
    waits_for: ConditionKind | None = None  # all its fills, as if it came in time
    authorized_until: int = NEVER  # the last day on which a prior authorization has the payer pay
    spent: Payment | None = None  # the exception that a visit that stands makes use of

    @property
    def rx_id(self) -> str:
        return self.prescription.rx_id

    @property
    def critical(self) -> bool:
        return self.prescription.drug.critical

    @property
    def usual_days(self) -> int:
        return self.prescription.usual_days

    @property
    def needed_from(self) -> int:
        """The day from which a fill is lacking: nothing is left, and it can be had."""
        return max(self.run_out, self.available_from)

    def wait(self, days: int) -> int:
        """Days from a fill of so many days until the next one is paid, as far as this fill alone decides it."""
        return max(self.refill.wait(days), days - self.max_on_hand)

    def next_paid(self, day: int, days: int, paid_until: int) -> tuple[int, int]:
        """After a fill of that day, of so many days: when the payer pays the next one, and when nothing is left by its
        count."""
        paid_until = (paid_until if paid_until > day else day) + days
        return max(day + self.wait(days), paid_until - self.max_on_hand), paid_until

    def lacks(self, day: int, quantity: Decimal, left: Decimal) -> ConditionKind | None:
        """What a fill of that day, of so many units with so many authorized, still waits for."""
        if self.waits_for:
            return self.waits_for
        if day > self.expires or quantity > left:
            return ConditionKind.renewal
        return ConditionKind.authorization if day > self.authorized_until else None

    # --- how much ---

    def usual_fill(self, left: Decimal) -> tuple[Decimal, int]:
        """Units and days of the usual fill, or of what is still authorized."""
        return usual_fill(self.prescription, left, self.whole_units)

    def short_fill(self, wanted: int, left: Decimal) -> tuple[Decimal, int]:
        """The shortest fill of so many days that may be planned; the usual one where none shorter may."""
        each, days = self.prescription, wanted
        if self.short_sizes is not None:
            sizes = in_order(self.short_sizes)
            at = bisect_left(sizes, wanted)
            days = sizes[at] if at < len(sizes) else NEVER
        if days < each.usual_days:
            fill = short_fill(days, per_day(each), left, self.whole_units)
            if fill[0] < each.usual_quantity:
                return fill
        return self.usual_fill(left)

    def bridge(self, gap: int, left: Decimal) -> tuple[Decimal, int, int]:
        """The short fill for a gap of so many days, and how many of its days only the chain's minimum adds."""
        wanted = gap + self.bridge_cushion
        quantity, days = self.short_fill(wanted, left)
        if wanted < self.least_bridge:
            least, most = self.short_fill(self.least_bridge, left)
            if most >= min(self.least_bridge, self.usual_days):
                return least, most, most - days if most < self.usual_days else 0
        return quantity, days, 0

    def long_fill(self, wanted: int, left: Decimal) -> tuple[Decimal, int] | None:
        """One fill of more than the usual days, where the plan allows so many, they are authorized, and it is not
        dearer than usual fills and a short one."""
        sizes = in_order(self.payer.days_supplies)
        if self.packs or not sizes or wanted > sizes[-1]:
            return None
        quantity, days = short_fill(wanted, per_day(self.prescription), left, self.whole_units)
        if days < wanted or not self.payer.allows(days) or self._dearer_at_once(days):
            return None
        return quantity, days

    def several_fills(self, fills: int) -> tuple[Decimal, int]:
        """Units and days of so many usual fills dispensed at once."""
        return self.prescription.usual_quantity * fills, self.usual_days * fills

    # --- what it costs ---

    def opening_codes(self, day: int) -> tuple[str, ...]:
        """The clarification codes of the next fill, on that day, beside those of its length."""
        change = (self.payer.therapy_change_code,) if self.after_change else ()
        exception = self.payment.exception_for(day)
        if exception is None:
            return change
        code = exception.early.code if exception.early else self.payer.override_code
        return change if code in change else (*change, code)

    def _dearer_at_once(self, days: int) -> bool:
        month = self.payer.month_days
        return dearer_at_once(days, self.usual_days, self.monthly_copay, month, prorated=self.prorated)

    def extra_cost(self, days: int) -> Decimal | None:
        """What a fill of so many days costs the patient beyond its share of the usual one; None if unknown."""
        if self.monthly_copay is None:
            return None
        month = self.payer.month_days
        return extra_cost_of(days, self.usual_days, self.monthly_copay, month, prorated=self.prorated)

    @property
    def payable_from(self) -> date | None:
        """The payer's own day for the next fill; None if it never paid one."""
        return self.payment.payable_from


@lru_cache(maxsize=256)
def in_order(sizes: frozenset[int]) -> tuple[int, ...]:
    """From the least. Asked for each fill of each day that is tried, of the few sets that payers name."""
    return tuple(sorted(sizes))


def per_day(prescription: Prescription) -> Decimal:
    """The daily use of a drug that may be short-filled; eligibility lets none pass without one."""
    if prescription.units_per_day is None:
        raise ValueError(f"prescription {prescription.rx_id} has no daily use and cannot be short-filled")
    return prescription.units_per_day
