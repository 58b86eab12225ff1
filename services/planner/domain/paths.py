"""How one drug reaches the slot at which it joins: the fills before, each with the days on which it can be (R4).

What is authorized and how long it is valid is not looked at here: what lacks only a renewal counts as if it came in
time (R6); `layout` says which fills wait for one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.planner.domain.calendar import NEVER, PickupDays
from services.planner.domain.medication import Medication
from services.planner.domain.payers import NO_COST

AMPLE = Decimal(1_000_000)
"""Units authorized, where a renewal is taken to come in time."""


MOST_BEFORE = 4
"""Fills of one drug before it joins: one that would take more comes by itself."""


class FillWindow(NamedTuple):
    """One fill to be dispensed on a pickup day from `first` to `last`; the drug's next one not before `wait` days."""

    first: int
    last: int
    due: int  # nothing is left at the start of this day; before `first` where it comes too late
    wait: int
    ready: int  # the payer's day; a fill of the drug before may make it a later one
    quantity: Decimal
    days: int
    padding: int = 0  # of these days, only for the chain's minimum: no cushion


class FillPath(NamedTuple):
    """What happens to one drug until it joins, and how it joins."""

    medication: Medication
    joins: int | None  # the day of the slot at which it joins; None if it comes by itself
    slot: int  # the number of that slot, 0 is the first
    cycles: int  # that its fill lasts
    windows: tuple[FillWindow, ...]  # the fills before, in their order
    joining: tuple[Decimal, int]  # units and days with which it joins
    left: int  # days on hand at the start of the joining day
    uncovered: int  # avoidable days without it before
    override: bool = False  # it joins before the payer pays, by an exception
    standing: bool = False  # it joins in a visit that stands

    @property
    def fills(self) -> list[int]:
        """The days' supply of each fill that is planned."""
        days = [window.days for window in self.windows]
        return days if self.joins is None or self.standing else [*days, self.joining[1]]

    @property
    def short_fills(self) -> list[int]:
        """The days of each fill of less than the usual days' supply."""
        return [days for days in self.fills if days < self.medication.usual_days]

    @property
    def padding(self) -> int:
        """Days that its bridge lasts longer only because the chain fills no fewer."""
        return sum(window.padding for window in self.windows)

    @property
    def extra_cost(self) -> Decimal | None:
        """What the patient pays beyond the shares of usual fills; None if the copay is not known."""
        if self.medication.monthly_copay is None:
            return None
        return sum((self.medication.extra_cost(days) or NO_COST for days in self.fills), NO_COST)


class Start(NamedTuple):
    """From when on a drug can be dispensed, and until when it is covered by then."""

    first: int  # the first day on which it can be dispensed at all
    covered: int  # nothing is left at the start of this day; never before `first`
    along: int  # the first day on which it can be dispensed with what cannot wait


def start_of(
    medication: Medication, pickup: PickupDays, earliest: int, urgent_days: Collection[int] = ()
) -> Start:
    """Days without the drug before `covered` no fill could have covered."""
    workable = earliest if medication.urgent_from is None else medication.urgent_from
    had = max(medication.payment.ready, medication.available_from)
    first = pickup.on_or_after(max(had, workable))
    along = min([first, *(day for day in urgent_days if day >= had)])
    return Start(first, max(medication.needed_from, first), along)


def paths_to(
    medication: Medication, day: int, fills: int, pickup: PickupDays, start: Start, *, several: bool
) -> list[FillPath]:
    """The ways to bring a drug to a slot on that day, on which it joins with so many usual fills, without a day without
    it; by at most one fill before, unless `several` may be. None where it cannot be paid on that day."""
    joining = fill_to_join(medication, fills)
    payment = medication.payment
    if start.covered >= day:
        if not payment.allows(day, joining=True):
            return []
        left = max(0, medication.run_out - day)
        return [_path(medication, day, (), joining, left, 0, override=payment.ready > day)]
    found: list[FillPath] = []
    for sequence in _sequences(medication, day - start.covered, several=several):
        if len(sequence) > MOST_BEFORE or _is_too_small(sequence, medication, found):
            continue
        timed = _timed(medication, sequence, day, pickup, start)
        if timed:
            windows, covered = timed
            found.append(_path(medication, day, windows, joining, covered - day, 0))
    return found


def _is_too_small(sequence: Sequence[Fill], medication: Medication, found: Sequence[FillPath]) -> bool:
    """Is a fill in it below the chain's minimum, where one of the minimum fits?"""
    least = medication.least_bridge
    if min(days for _, days, _ in sequence) >= least:
        return False
    return any(path.short_fills and min(path.short_fills) >= least for path in found)


def with_a_gap(
    medication: Medication, day: int, fills: int, pickup: PickupDays, start: Start
) -> list[FillPath]:
    """The ways to the slot that leave the patient without the drug for the fewest days."""
    ways, joining = [], fill_to_join(medication, fills)
    for sequence in ([], *_sequences(medication, max(0, day - start.covered), several=True)):
        windows, ready, covered, uncovered = _one_by_one(medication, sequence, day, pickup, start)
        payable = ready <= day if windows else medication.payment.allows(day, joining=True)
        if payable and all(window.last < day for window in windows):
            override = not windows and medication.payment.ready > day
            uncovered += max(0, day - covered)
            left = max(0, covered - day)
            ways.append(_path(medication, day, windows, joining, left, uncovered, override=override))
    fewest = min((way.uncovered for way in ways), default=0)
    return [way for way in ways if way.uncovered == fewest][:2]


def alone(medication: Medication, until: int, pickup: PickupDays, start: Start) -> FillPath:
    """A drug that comes by itself: usual fills, each by its run-out day, until that day."""
    fills = max(0, -(-(until - start.covered) // max(1, medication.usual_days)))
    usual = (*medication.usual_fill(AMPLE), 0)
    windows, _, _, uncovered = _one_by_one(medication, [usual] * fills, until, pickup, start)
    return FillPath(medication, None, NEVER, 1, windows, usual[:2], 0, uncovered)


def fill_to_join(medication: Medication, fills: int) -> tuple[Decimal, int]:
    """The usual fill, or several at once; or what staff want."""
    if medication.fixed_quantity is not None and medication.prescription.units_per_day:
        return medication.fixed_quantity, int(
            medication.fixed_quantity // medication.prescription.units_per_day
        )
    return medication.usual_fill(AMPLE) if fills == 1 else medication.several_fills(fills)


def _path(
    medication: Medication,
    day: int,
    windows: tuple[FillWindow, ...],
    joining: tuple[Decimal, int],
    left: int,
    uncovered: int,
    *,
    override: bool = False,
) -> FillPath:
    return FillPath(medication, day, 0, 1, windows, joining, left, uncovered, override)


def joining_fill(path: FillPath, next_due: int) -> tuple[Decimal, int]:
    """The fill with which it joins; a larger one where that alone does not last to the next one, and the plan pays
    it."""
    medication, (quantity, days) = path.medication, path.joining
    lacking = next_due - (path.joins or next_due) - path.left - days
    if lacking <= 0 or medication.fixed_quantity is not None or lacking >= medication.usual_days:
        return quantity, days
    return medication.long_fill(days + lacking, AMPLE) or (quantity, days)


# --- the fills before ---

Fill = tuple[Decimal, int, int]
"""Units, days, and how many of the days only the chain's minimum adds."""


def _sequences(medication: Medication, gap: int, *, several: bool) -> Iterator[list[Fill]]:
    """The fills that cover a gap of so many days: usual ones, and with a short one last or first, or a long one last.

    The size of a short fill is determined by the slot.
    """
    usual = (*medication.usual_fill(AMPLE), 0)
    whole, rest = divmod(gap, medication.usual_days)
    if not rest:
        if whole == 1 or several:
            yield [usual] * whole
        return
    if (whole == 1 or (whole and several)) and (
        long := medication.long_fill(medication.usual_days + rest, AMPLE)
    ):
        yield [usual] * (whole - 1) + [(*long, 0)]
    if whole and not several:
        return
    yield [usual] * (whole + 1)
    if medication.packs:
        return
    bridge = medication.bridge(rest, AMPLE)
    if bridge[1] < medication.usual_days:
        yield [usual] * whole + [bridge]
        if whole:
            yield [bridge] + [usual] * whole
        exact = medication.short_fill(rest, AMPLE)
        if exact[1] < bridge[1]:  # where the cushion or the chain's minimum puts off the fill at the slot
            yield [usual] * whole + [(*exact, 0)]


def _timed(
    medication: Medication, fills: Sequence[Fill], day: int, pickup: PickupDays, start: Start
) -> tuple[tuple[FillWindow, ...], int] | None:
    """The windows of these fills before the slot, and the run-out day after them; None where the drug would be lacking,
    or not be paid on the day of the slot."""
    windows: list[FillWindow] = []
    ready, covered, paid_until = start.first, start.covered, medication.paid_until
    payer = medication.payment.ready
    for quantity, days, padding in fills:
        first = pickup.on_or_after(ready)
        if first > covered:
            return None
        windows.append(
            FillWindow(first, covered, covered, medication.wait(days), payer, quantity, days, padding)
        )
        payer, paid_until = medication.next_paid(first, days, paid_until)
        ready, covered = payer, covered + days
    if ready > day or covered < day:
        return None
    limit = day
    for at in range(len(windows) - 1, -1, -1):
        window = windows[at]
        last = pickup.on_or_before(min(window.last, limit - window.wait))
        if last < window.first:
            return None
        windows[at] = FillWindow(window.first, last, *window[2:])
        limit = last
    return tuple(windows), covered


def _one_by_one(
    medication: Medication, fills: Sequence[Fill], until: int, pickup: PickupDays, start: Start
) -> tuple[tuple[FillWindow, ...], int, int, int]:
    """The windows of these fills, as far as they begin before that day; when the next is paid, the run-out day after
    them, and the days without the drug."""
    windows: list[FillWindow] = []
    payer, paid_until = medication.payment.ready, medication.paid_until
    ready, covered, uncovered = max(start.first, payer), start.covered, 0
    for quantity, days, padding in fills:
        first = pickup.on_or_after(ready)
        if max(first, covered) >= until:
            break
        last = max(first, pickup.on_or_before(covered))
        windows.append(
            FillWindow(first, last, covered, medication.wait(days), payer, quantity, days, padding)
        )
        uncovered += max(0, first - covered)
        payer, paid_until = medication.next_paid(first, days, paid_until)
        ready, covered = payer, max(covered, first) + days
    return _chained(windows, pickup), ready, covered, uncovered


def _chained(windows: list[FillWindow], pickup: PickupDays) -> tuple[FillWindow, ...]:
    """Take from each the days after which the next one would not be payable in time."""
    narrowed: list[FillWindow] = []
    limit = NEVER
    for window in reversed(windows):
        last = max(window.first, pickup.on_or_before(min(window.last, limit - window.wait)))
        narrowed.append(window._replace(last=last))
        limit = last
    return tuple(reversed(narrowed))
