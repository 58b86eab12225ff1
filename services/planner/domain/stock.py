"""What the patient has on hand, when the payer pays again, and how much to fill: exact arithmetic.

Two ledgers (R3): the patient's stock runs from the hand-over of fills here, by their true days;
the payer's clock from the date of service of every paid fill, those of other pharmacies included, by the billed days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from operator import attrgetter

from services.planner.domain.days_supply import is_certain, lasting
from services.planner.domain.model import Drug, Fill, Prescription, Profile, Span, StockReport
from services.planner.domain.payers import PayerRule, RefillRule

StockKey = tuple[str, str]
"""Ingredient and strength: what is counted together, whichever prescription it came from."""


FAR_FROM_FILLS = 31
AGREES = 7
"""Days: a report farther from the fills is planned with once a second one is within a week of it."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A report that nobody plans with until it is said again, and the days left by the fills on its day."""

    report: StockReport
    by_fills: int


@dataclass(frozen=True, slots=True)
class Stock:
    """What is known of one ingredient and strength."""

    run_out_on: date | None = None  # nothing is left at the start of this day; none: never taken
    last_fill: Fill | None = None  # by date of service
    fills: tuple[Fill, ...] = ()  # that count for the payer, those of other pharmacies included
    doses: Mapping[str, Decimal | None] = field(default_factory=dict)  # units a day, by rx_id
    recounted_on: date | None = None  # what was at home then is counted by the new dose
    doubt: Doubt | None = None  # what the patient said last, so far from this that it is asked again


NEVER_TAKEN = Stock()


def stock_key(drug: Drug) -> StockKey:
    """Renewals and prescriptions side by side draw on one stock."""
    return _key_of(drug.ingredient, drug.strength)


@lru_cache(maxsize=10_000)
def _key_of(ingredient: str, strength: str) -> StockKey:
    return ingredient.casefold().strip(), strength.casefold().strip()


def stocks_of(profile: Profile, today: date) -> Mapping[StockKey, Stock]:
    """The stock of everything in the profile, as known at the start of `today`'s work."""
    certain = {each.rx_id: each for each in profile.prescriptions if is_certain(each)}
    keys = {each.rx_id: stock_key(each.drug) for each in profile.prescriptions}
    fills: dict[StockKey, list[Fill]] = defaultdict(list)
    for fill in profile.fills:
        if fill.rx_id in keys and fill.handed_over_on <= today:
            fills[keys[fill.rx_id]].append(fill)
    ended = [stay for stay in profile.stays if stay.ends_on and stay.ends_on <= today]
    reports: dict[StockKey, list[StockReport]] = defaultdict(list)
    for report in profile.stock_reports:
        if report.rx_id in keys and report.reported_on <= today:
            reports[keys[report.rx_id]].append(report)
    prescriptions: dict[StockKey, list[Prescription]] = defaultdict(list)
    for each in profile.prescriptions:
        prescriptions[keys[each.rx_id]].append(each)
    stocks = {}
    for key, of_key in prescriptions.items():
        here, reported = [_true(fill, certain) for fill in fills[key] if not fill.elsewhere], reports[key]
        change = _change_of_dose(of_key, here, reported, today) if len(of_key) > 1 else None
        left_until = None
        if change:
            left_until = _by_new_dose(change, here, reported, ended)
            here, reported = (
                [each for each in here if change.is_after(each)],
                [each for each in reported if change.is_after(each)],
            )
        elsewhere = [fill for fill in fills[key] if fill.elsewhere]
        believed, doubt = (
            _believed(reported, here, elsewhere, ended, left_until) if reported else (reported, None)
        )
        run_out = run_out_day(here, believed, ended, left_until)
        if doubt and run_out == run_out_day(here, [*believed, doubt.report], ended, left_until):
            doubt = None
        stocks[key] = Stock(
            run_out,
            last_paid(fills[key]),
            tuple(fills[key]),
            {each.rx_id: each.units_per_day for each in of_key},
            change.on if change and left_until and left_until > today and not reported else None,
            doubt,
        )
    return stocks


def _believed(
    reports: Iterable[StockReport],
    here: Sequence[Fill],
    elsewhere: Sequence[Fill],
    stays: Sequence[Span],
    run_out: date | None,
) -> tuple[list[StockReport], Doubt | None]:
    """The reports to plan with, and the last one if that is to be asked again. What another pharmacy filled may be at
    home or not: only the patient knows."""
    believed: list[StockReport] = []
    doubt: Doubt | None = None
    for report in sorted(reports, key=attrgetter("reported_on")):
        day, left = report.reported_on, report.days_left
        filled = [fill for fill in here if fill.handed_over_on < day]
        besides = [*filled, *(fill for fill in elsewhere if fill.handed_over_on < day)]
        known = run_out_day(filled, believed, stays, run_out)
        least = days_on_hand(known, day)
        most = max(least, days_on_hand(run_out_day(besides, believed, stays, run_out), day))
        again = run_out_day(filled, [*believed, doubt.report], stays, run_out) if doubt else None
        confirmed = again is not None and abs(days_on_hand(again, day) - left) <= AGREES
        if known is None or confirmed or least - FAR_FROM_FILLS <= left <= most + FAR_FROM_FILLS:
            believed.append(report)
            doubt = None
        else:
            doubt = Doubt(report, least)
    return believed, doubt


@dataclass(frozen=True, slots=True)
class ChangeOfDose:
    """What is at home at the start of this day lasts so many times as long as it was filled for."""

    on: date
    times: Decimal
    former: frozenset[str]  # rx_ids of the former doses

    def is_after(self, each: Fill | StockReport) -> bool:
        """Is it of the new dose?"""
        return each.rx_id not in self.former


def _change_of_dose(
    prescriptions: Sequence[Prescription], fills: Sequence[Fill], reports: Sequence[StockReport], today: date
) -> ChangeOfDose | None:
    """From the prescription of another dose on, once the former ones are taken no more (R3.6).

    None where one of the doses is not known, or which is taken. A later fill of the former dose puts it off.
    """
    doses = {each.units_per_day for each in prescriptions if each.status in ("active", "outside", "on_hold")}
    new = doses.pop() if len(doses) == 1 else None
    former = {each.rx_id: each for each in prescriptions if each.units_per_day != new}
    of_former = [
        (on, rx_id)
        for on, rx_id in (
            *((fill.handed_over_on, fill.rx_id) for fill in fills),
            *((report.reported_on, report.rx_id) for report in reports),
        )
        if rx_id in former
    ]
    if not new or not of_former:
        return None
    last, rx_id = max(of_former)
    old = former[rx_id].units_per_day
    begun = max(each.written_on for each in former.values())
    since = min(
        (each.written_on for each in prescriptions if each.units_per_day == new and each.written_on >= begun),
        default=None,
    )
    if not old or since is None or since > today:
        return None
    return ChangeOfDose(max(since, last), old / new, frozenset(former))


def _true(fill: Fill, certain: Mapping[str, Prescription]) -> Fill:
    """With the days that it truly lasts: a drug may be discarded, or used up, before what was recorded."""
    each = certain.get(fill.rx_id)
    days = lasting(fill, each) if each else fill.days_supply
    return fill if days == fill.days_supply else replace(fill, days_supply=days)


def _by_new_dose(
    change: ChangeOfDose, fills: Sequence[Fill], reports: Sequence[StockReport], stays: Sequence[Span]
) -> date | None:
    """The run-out day of what was filled for the former doses."""
    of_former = [each for each in fills if not change.is_after(each)]
    run_out = run_out_day(of_former, [each for each in reports if not change.is_after(each)], stays)
    if run_out is None or run_out <= change.on:
        return run_out
    ahead = [change.on + timedelta(days=days) for days in range((run_out - change.on).days)]
    left = sum(not any(stay.holds(day) for stay in stays) for day in ahead)
    in_hospital = sorted(stays, key=lambda stay: stay.begins_on)
    return _used_up(change.on, int(round(left * change.times, 4)), in_hospital)


def run_out_day(
    fills: Iterable[Fill],
    reports: Iterable[StockReport] = (),
    stays: Iterable[Span] = (),
    run_out: date | None = None,
) -> date | None:
    """The day at whose start nothing is left: roll forward, never below nothing; from what was there until `run_out`.

    The first dose of a fill is taken on the day of its hand-over; what the patient says is left replaces the
    estimate from that day on, before a fill of the same day is added (R3.1, R3.3). In hospital nothing
    of it is used, up to the day of the discharge (R3.7).
    """
    said = [(report.reported_on, 0, report.days_left) for report in reports]
    handed_over = [(fill.handed_over_on, 1, fill.days_supply) for fill in fills]
    in_hospital = sorted(stays, key=lambda stay: stay.begins_on)
    for day, is_fill, days in sorted(said + handed_over):
        start = run_out if is_fill and run_out and run_out > day else day
        run_out = _used_up(start, days, in_hospital) if in_hospital else start + timedelta(days=days)
    return run_out


def _used_up(start: date, days: int, stays: Sequence[Span]) -> date:
    """The day on which a supply that is begun on `start` is used up, days of stays left out; each counts once."""
    end, counted_to = start + timedelta(days=days), start
    for stay in stays:
        first = max(stay.begins_on, counted_to)
        if stay.ends_on and first < end and stay.ends_on >= first:
            counted_to = stay.ends_on + timedelta(days=1)
            end += counted_to - first
    return end


def days_on_hand(run_out: date | None, day: date) -> int:
    """Whole days left at the start of `day`."""
    return max(0, (run_out - day).days) if run_out else 0


def last_paid(fills: Sequence[Fill]) -> Fill | None:
    """The fill from which the payer counts: the latest by date of service, the longest of equals."""
    return max(fills, key=attrgetter("filled_on", "billed"), default=None)


def refill_wait(days_supply: int, refill: RefillRule | int) -> int:
    """Days from a fill until the payer pays the next; a bare number is a share in percent."""
    return (refill if isinstance(refill, RefillRule) else RefillRule(refill)).wait(days_supply)


def payable_from(
    fills: Sequence[Fill], refill: RefillRule | int, rule: PayerRule, of_dose: Sequence[Fill] | None = None
) -> date:
    """The first day on which the payer pays; before it, reject 79 (R7.2, R7.4).

    Two tests: the wait after the last fill, and, where the plan has it, the surplus that the fills of the
    look-back have piled up: those of the present dose, if `of_dose` tells them, for a changed dose begins anew.
    """
    last = last_paid(fills)
    if last is None:
        return date.min
    counted = last.filled_on if rule.counts_from == "filled_on" else last.handed_over_on
    day = counted + timedelta(days=refill_wait(last.billed, refill))
    if rule.look_back_days:
        piled = fills if of_dose is None else of_dose
        while days_on_hand(paid_until(piled, rule, day), day) > rule.most_surplus_days:
            day += timedelta(days=1)
    return day


def paid_until(fills: Iterable[Fill], rule: PayerRule, day: date) -> date | None:
    """The day at whose start nothing is left, by the fills paid within the look-back before `day` alone."""
    covered: date | None = None
    for fill in sorted(fills, key=attrgetter("filled_on")):
        if 0 < (day - fill.filled_on).days <= rule.look_back_days:
            covered = max(covered or fill.filled_on, fill.filled_on) + timedelta(days=fill.billed)
    return covered


@lru_cache(maxsize=4096)
def short_fill(
    days: int, units_per_day: Decimal, available: Decimal, whole_units: int = 1
) -> tuple[Decimal, int]:
    """Units for `days` days, and how many days they truly last: whole units, at most what is authorized.

    A half tablet is rounded up and the extra day carried: 9 days at 0.5 a day are 5 tablets, 10 days. So is a dose that
    is not taken every day: 4 days at 6 tablets a week are 6 tablets, 7 days.
    """
    wanted = (days * units_per_day / whole_units).to_integral_value(ROUND_CEILING)
    quantity = min(wanted, (available / whole_units).to_integral_value(ROUND_FLOOR)) * whole_units
    return quantity, int(quantity // units_per_day)


def usual_fill(prescription: Prescription, available: Decimal, whole_units: int = 1) -> tuple[Decimal, int]:
    """The usual quantity and days, or what is still authorized of it."""
    if available >= prescription.usual_quantity or prescription.units_per_day is None:
        return prescription.usual_quantity, prescription.usual_days
    return short_fill(prescription.usual_days, prescription.units_per_day, available, whole_units)
