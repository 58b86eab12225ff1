"""The question that is judged, in whole days: day 0 is today.

A day's stock is judged at its start: a drug whose run-out is day r has nothing left on the morning of r, and lacks
no day if it is filled on r. What is filled on day d, with a stock to r, lasts to max(r, d) + its days. A payer that
pays from p percent on pays the next fill ceil(p * days / 100) days after the last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

CYCLES = (28, 30, 34, 60, 84, 90)
HORIZON = 365
MADE_BEFORE = 3
"""Days before a visit on which the store makes its fills."""


@dataclass(frozen=True)
class Medication:
    """One drug: what is at home, when it is paid again, and in which sizes it can be filled."""

    rx_id: str
    usual: int  # days of a usual fill
    run_out: int  # nothing left at the start of this day
    payable: int  # the payer pays the next fill from this day on
    percent: int = 75
    sizes: frozenset[int] | None = None  # all that the payer pays; none: any
    whole: bool = False  # a pack or an inhaler: usual fills alone
    critical: bool = False
    larger: frozenset[int] = frozenset()  # more than the usual days that are payable and authorized at once

    def wait(self, days: int) -> int:
        """Days from a fill of so many days to the day from which the next is paid."""
        return -(-self.percent * days // 100)

    @cached_property
    def shorter(self) -> tuple[int, ...]:
        """The sizes of a short fill, the smallest first."""
        if self.whole:
            return ()
        return tuple(days for days in range(1, self.usual) if self.sizes is None or days in self.sizes)

    def rhythm_fill(self, cycle: int) -> int:
        """Days of the fill that keeps a rhythm of so many days; 0 where none does.

        The usual fill; where it lasts no cycle, the fewest usual fills at once that do and are payable. It lasts a
        whole number of cycles, and is paid again when they are over.
        """
        many = [days for days in sorted(self.larger) if days % self.usual == 0]
        for days in [self.usual, *many]:
            if days >= cycle and self.wait(days) <= days // cycle * cycle:
                return days
        return 0

    def share(self, cycle: int) -> int:
        """The drug is due at every so manieth slot of such a rhythm; 0: it fits none and comes by itself."""
        return self.rhythm_fill(cycle) // cycle


def filled(
    rx_id: str,
    usual: int,
    ago: int,
    percent: int = 75,
    *,
    sizes: frozenset[int] | None = None,
    whole: bool = False,
    critical: bool = False,
) -> Medication:
    """A drug with its usual fill so many days ago and nothing left from before."""
    drug = Medication(rx_id, usual, usual - ago, 0, percent, sizes, whole, critical)
    return replace(drug, payable=drug.wait(usual) - ago)


@dataclass(frozen=True)
class Question:
    """One patient on one day."""

    medications: tuple[Medication, ...]
    lead: int = 4  # days until a visit, as the store likes to work
    closed: frozenset[int] = frozenset()  # days without a visit
    cycles: tuple[int, ...] = CYCLES
    w: Fraction = Fraction(1, 3)
    v: Fraction = Fraction(0)
    join_by: int = HORIZON  # the last day on which a drug can join

    def is_open(self, day: int) -> bool:
        """Can there be a visit on this day?"""
        return day >= 0 and day not in self.closed

    def on_or_after(self, day: int) -> int:
        """The first open day from this one on."""
        day = max(day, 0)
        while day in self.closed:
            day += 1
        return day

    def on_or_before(self, day: int) -> int:
        """The last open day up to this one; -1: there is none."""
        while day >= 0 and day in self.closed:
            day -= 1
        return day

    @cached_property
    def workable(self) -> int:
        """The first day for which the store needs not hurry."""
        return self.on_or_after(self.lead)

    def is_urgent(self, drug: Medication) -> bool:
        """Would it be lacking too long on the first workable day, although a visit within the lead time could help?

        A critical drug from one day without it on, another from two.
        """
        lacking = self.on_or_after(max(self.lead, drug.payable)) - max(drug.run_out, 0)
        can_help = self.on_or_after(max(0, drug.payable)) < self.lead
        return can_help and lacking >= (1 if drug.critical else 2)

    @cached_property
    def first_day(self) -> int:
        """The first day on which there may be a visit: within the lead time only where a drug is urgent."""
        urgent = [drug for drug in self.medications if self.is_urgent(drug)]
        return self.on_or_after(0) if urgent else self.workable

    def served_from(self, drug: Medication) -> int:
        """The first day on which this drug can be filled."""
        first = 0 if self.is_urgent(drug) else self.lead
        return self.on_or_after(max(first, drug.payable))

    def unavoidable(self, drug: Medication) -> int:
        """Days without the drug that even an urgent fill cannot cover."""
        return max(0, self.served_from(drug) - max(drug.run_out, 0))

    def cycles_to_try(self) -> tuple[int, ...]:
        """The cycles that every drug fits; all of them where none is such."""
        fitting = [cycle for cycle in self.cycles if all(drug.share(cycle) for drug in self.medications)]
        return tuple(fitting) or self.cycles
