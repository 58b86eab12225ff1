"""What fills say as far as they agree: with one another, and each in its quantity, daily use and days; 0 days are none
on file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

from services.planner.domain.days_supply import contradict, is_counted, true_days
from services.planner.domain.model import Fill, Prescription, Profile, Reason, Rules, because
from services.planner.domain.stock import StockKey, stock_key
from shared.directions import Refusal

Fills = tuple[Fill, ...]

WITNESSES = 3
MOST_A_DAY = 12


def use_by_fills(each: Prescription, profile: Profile) -> Fraction | None:
    """What is taken a day by the last three fills, where the directions cannot be read and each was the usual fill.

    None where the directions leave it to prescriber or patient: then fills say nothing of the next ones.
    """
    if not isinstance(each.said.use, Refusal) or each.said.use is Refusal.as_directed:
        return None
    key = stock_key(each.drug)
    of_stock = {other.rx_id: other for other in profile.prescriptions if stock_key(other.drug) == key}
    here = [fill for fill in profile.fills if fill.rx_id in of_stock and not fill.elsewhere]
    last = sorted(here, key=lambda fill: fill.handed_over_on)[-WITNESSES:]
    agree = len(last) == WITNESSES and all(
        of_stock[fill.rx_id].said.digest == each.said.digest
        and fill.days_supply == each.usual_days
        and fill.quantity == each.usual_quantity
        for fill in last
    )
    if not agree or not each.usual_days:
        return None
    use = Fraction(each.usual_quantity) / each.usual_days
    by_halves = Fraction(1, 2) <= use <= MOST_A_DAY and (use * 2).denominator == 1
    by_week = use < 1 and (use * 7).denominator == 1
    return use if use and (by_halves or by_week) else None


def believed_fills(
    profile: Profile, prescriptions: Sequence[Prescription], rules: Rules, today: date
) -> tuple[Fills, Mapping[StockKey, Reason]]:
    """The fills with the days that they are planned to last, and what is asked about the newest one of each stock that
    still matters. `prescriptions`: as they are read."""
    by_rx = {each.rx_id: each for each in prescriptions}
    counted_on: dict[StockKey, date] = {}  # by the patient
    for report in profile.stock_reports:
        if report.rx_id in by_rx:
            key = stock_key(by_rx[report.rx_id].drug)
            counted_on[key] = max(counted_on.get(key, date.min), report.reported_on)
    fills, asked = [], {}
    for fill in sorted(profile.fills, key=lambda fill: fill.handed_over_on):
        each = by_rx.get(fill.rx_id)
        if each is not None:
            key = stock_key(each.drug)
            fill, why, longest = _believed(fill, each, rules)
            matters = fill.handed_over_on + timedelta(days=longest) > today
            if why and matters and fill.handed_over_on >= counted_on.get(key, date.min):
                asked[key] = why
        fills.append(fill)
    return tuple(fills), asked


def _believed(fill: Fill, each: Prescription, rules: Rules) -> tuple[Fill, Reason | None, int]:
    """The fill as it is planned with, what to ask about it, and the most days that it can last."""
    counted = true_days(fill.quantity, each) if is_counted(each, rules) else None
    if fill.days_supply == 0:
        days = counted or _share_of_usual(fill, each)
        if not days:
            return fill, None, 0
        why = because("fill_days_counted", on=fill.filled_on, days=days)
        return replace(fill, days_supply=days), why, days
    if fill.elsewhere or counted is None or not contradict(fill.days_supply, counted):
        return fill, None, 0
    days = max(1, min(fill.days_supply, counted))
    why = because(
        "fill_days_differ",
        on=fill.filled_on,
        days=fill.days_supply,
        quantity=fill.quantity,
        counted=counted,
        planned=days,
    )
    return replace(fill, days_supply=days), why, max(fill.days_supply, counted)


def _share_of_usual(fill: Fill, each: Prescription) -> int:
    """Of what is not counted in tablets: as long as so much of the usual fill lasts."""
    return int(fill.quantity * each.usual_days // each.usual_quantity) if each.usual_quantity else 0
