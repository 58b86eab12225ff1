"""What no field of a document says by itself: numbers out of range, days in the wrong order, ids of nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from services.planner.domain.criteria import NAMED
from services.planner.domain.model import Rules
from services.planner.domain.rhythm import AUTO
from services.planner.domain.staff_decisions import misfits, too_much
from services.planner.faults import Fault, shown

if TYPE_CHECKING:
    from services.planner.inputs import PatientInput

MOST = 3660
"""Of any whole number: ten years of days."""

YEARS = range(1900, 2200)
ALWAYS = (date.min, date.max)  # from when, and until when, an entry of a table holds that gives no day
STATES = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK "
    "OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS GU MP PR VI"
)
"""Of the United States, with the district and the territories (USPS Publication 28, appendix B)."""


def contradictions(asked: PatientInput, today: date) -> Iterator[Fault]:
    """Every fault of a document whose fields each are well formed."""
    as_of = asked.today or today
    yield from _out_of_range(asked.model_dump(exclude_unset=True), "")
    yield from _unknown_prescriptions(asked)
    yield from _prescriptions(asked)
    yield from _fills(asked)
    yield from _spans(asked)
    yield from _staff_decisions(asked, as_of)
    yield from _to_come(asked, as_of)
    yield from _calendar(asked)
    yield from _rules(asked.in_force())


def _prescriptions(asked: PatientInput) -> Iterator[Fault]:
    for at, each in enumerate(asked.prescriptions):
        here = f"prescriptions.{at}"
        if each.expires_on < each.written_on:
            yield Fault(f"{here}.expires_on", str(each.expires_on), "is before written_on: correct one")
        if each.renews == each.rx_id:
            yield _wrong_id(
                f"{here}.renews", each.rx_id, "is the prescription itself: name the one before it"
            )


def _fills(asked: PatientInput) -> Iterator[Fault]:
    for at, fill in enumerate(asked.fills):
        here = f"fills.{at}"
        if fill.handed_over_on < fill.filled_on:
            yield Fault(
                f"{here}.handed_over_on", str(fill.handed_over_on), "is before filled_on: correct one"
            )
        if fill.days_supply_billed == 0:
            yield Fault(
                f"{here}.days_supply_billed",
                "0",
                "is not a supply: give the days' supply billed, or leave it out",
            )


def _spans(asked: PatientInput) -> Iterator[Fault]:
    for name in ("away", "stays", "uninsured"):
        for at, span in enumerate(getattr(asked, name)):
            if span.ends_on and span.ends_on < span.begins_on:
                yield Fault(
                    f"{name}.{at}.ends_on",
                    str(span.ends_on),
                    "is before begins_on: write the earlier day first",
                )


def _staff_decisions(asked: PatientInput, as_of: date) -> Iterator[Fault]:
    left = {each.rx_id: each.quantity_left for each in asked.prescriptions}
    for at, decision in enumerate(asked.rulings):
        for name, problem in misfits(decision):
            yield Fault(f"rulings.{at}.{name}", _plain(name, getattr(decision, name)), problem)
        if decision.on and decision.on < as_of:
            yield Fault(f"rulings.{at}.on", str(decision.on), f"has passed: give {as_of} or a later day")
        for problem in too_much(decision.quantity, left.get(decision.rx_id or "")):
            yield Fault(f"rulings.{at}.quantity", _plain("quantity", decision.quantity), problem)


def _plain(name: str, value: object) -> str:
    return "" if value is None else shown(name, str(value) if isinstance(value, date) else value)


def _to_come(asked: PatientInput, as_of: date) -> Iterator[Fault]:
    """What has happened is not told of a day that is still to come, and no day is wanted that has passed."""
    if as_of == date.min:
        return
    wanted = asked.told.wanted_on
    if wanted and wanted < as_of:
        yield Fault("told.wanted_on", str(wanted), f"has passed: give {as_of} or a later day")
    said = [
        *((f"fills.{at}.filled_on", fill.filled_on) for at, fill in enumerate(asked.fills)),
        *(
            (f"stock_reports.{at}.reported_on", each.reported_on)
            for at, each in enumerate(asked.stock_reports)
        ),
        *((f"rejections.{at}.rejected_on", each.rejected_on) for at, each in enumerate(asked.rejections)),
        *((f"rulings.{at}.made_on", each.made_on) for at, each in enumerate(asked.rulings)),
        *((f"prescriptions.{at}.written_on", each.written_on) for at, each in enumerate(asked.prescriptions)),
    ]
    for field, day in said:
        if day > as_of:
            yield Fault(field, str(day), f"is after the day of planning, {as_of}: correct one of them")


def _calendar(asked: PatientInput) -> Iterator[Fault]:
    state = asked.calendar.state
    if state and state not in STATES.split():
        yield Fault(
            "calendar.state",
            state if len(state) == 2 and state.isalpha() else shown("state", state),
            "is not a state code: use two letters, such as OK, so that its laws are looked up",
        )
    for name in ("weekdays", "delivery_weekdays"):
        for weekday in sorted(getattr(asked.calendar, name)):
            if weekday > 6:
                yield Fault(f"calendar.{name}", str(weekday), "is not a weekday: 0 is Monday, 6 is Sunday")


def _out_of_range(value: Any, at: str) -> Iterator[Fault]:
    """No number is negative, no whole number above ten years of days, no day in another age."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _out_of_range(name, f"{at}.{name}") if isinstance(name, date) else ()
            yield from _out_of_range(each, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, each in enumerate(value):
            yield from _out_of_range(each, f"{at}.{index}")
    elif at.startswith("rules.") and value in ALWAYS:
        return
    elif isinstance(value, date) and value.year not in YEARS:
        yield Fault(at, str(value), f"is not between {YEARS[0]} and {YEARS[-1]}: correct the year")
    elif isinstance(value, int | Decimal) and value < Decimal(0):
        yield Fault(at, str(value), "is negative: give 0 or more")
    elif isinstance(value, int) and "percent" in at and value > 100:
        yield Fault(at, shown(at, value), "is not a percentage: give 0 to 100")
    elif isinstance(value, int) and value > MOST:
        yield Fault(at, shown(at, value), f"is more than {MOST}: give less")


def _unknown_prescriptions(asked: PatientInput) -> Iterator[Fault]:
    known = Counter(each.rx_id for each in asked.prescriptions)
    for at, each in enumerate(asked.prescriptions):
        if known[each.rx_id] > 1:
            yield _wrong_id(
                f"prescriptions.{at}.rx_id", each.rx_id, "appears twice: give each prescription once"
            )
    named = [
        *((f"fills.{at}.rx_id", fill.rx_id) for at, fill in enumerate(asked.fills)),
        *((f"stock_reports.{at}.rx_id", report.rx_id) for at, report in enumerate(asked.stock_reports)),
        *((f"rejections.{at}.rx_id", each.rx_id) for at, each in enumerate(asked.rejections)),
        *((f"rulings.{at}.rx_id", each.rx_id) for at, each in enumerate(asked.rulings) if each.rx_id),
        *((f"told.declined_until.{rx_id}", rx_id) for rx_id in asked.told.declined_until),
        *(
            (f"told.visits.{at}.items.{place}.rx_id", item.rx_id)
            for at, visit in enumerate(asked.told.visits)
            for place, item in enumerate(visit.items)
        ),
    ]
    for field, rx_id in named:
        if rx_id not in known:
            yield _wrong_id(
                field, rx_id, "names no prescription of this patient: correct it, or add that one"
            )


def _wrong_id(field: str, rx_id: str, problem: str) -> Fault:
    return Fault(field, shown("rx_id", rx_id), problem)


def _rules(rules: Rules) -> Iterator[Fault]:
    for rule, lengths in {"cycle_days": rules.cycle_days, "spine_days": rules.spine_days}.items():
        for name, days in lengths.items():
            if days < 1:
                yield Fault(f"rules.{rule}.{name}", str(days), "is not a cycle: give a day or more")
    for at, payer in enumerate([*rules.payers, rules.unknown_payer]):
        if payer.month_days < 1:
            yield Fault(
                f"rules.payers.{at}.month_days", str(payer.month_days), "is not a month: give a day or more"
            )
    if rules.default_cycle not in (*rules.cycle_days, AUTO):
        yield Fault("rules.default_cycle", "", f"is none of {', '.join(sorted(rules.cycle_days))}")
    known = list(NAMED)
    for at, name in enumerate(rules.criteria):
        if name not in known:
            yield Fault(f"rules.criteria.{at}", "", f"is none of {', '.join(known)}")
