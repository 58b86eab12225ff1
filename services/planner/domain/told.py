"""What the patient was told, and what of it stands (how the events interplay: the plan)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from services.planner.domain.calendar import Calendar
from services.planner.domain.course import Supply
from services.planner.domain.model import Rules, Told, ToldItem, ToldVisit, VisitKind
from services.planner.domain.stock import refill_wait


@dataclass(frozen=True, slots=True)
class Standing:
    """A visit that stays on its day: it may lose fills, and gains none."""

    visit: ToldVisit
    items: tuple[ToldItem, ...]  # that may still be filled
    payable_from: Mapping[str, int]  # by rx_id


def stands(visit: ToldVisit, told: Told, calendar: Calendar, rules: Rules, today: date) -> bool:
    """Confirmed, or so near that nothing else can be arranged; and neither past, closed nor asked to be moved."""
    near = told.agreed and visit.on < today + timedelta(days=rules.lead_days)
    return (
        (visit.confirmed or near)
        and visit.on >= today
        and visit.on != told.instead_of
        and calendar.is_open(visit.on)
    )


def commit(
    supplies: Sequence[Supply], visits: Sequence[ToldVisit], today: date
) -> tuple[list[Supply], list[Standing]]:
    """The supplies as they are once the visits that stand have taken place, and those visits with what they keep."""
    by_rx = {supply.rx_id: supply for supply in supplies}
    standing = []
    for visit in sorted(visits, key=lambda visit: visit.on):
        day = visit.on.toordinal()
        kept = tuple(item for item in visit.items if _may_be_filled(item, by_rx.get(item.rx_id), day))
        payable = {item.rx_id: by_rx[item.rx_id].payable for item in kept}
        for item in kept:
            by_rx[item.rx_id] = _filled(by_rx[item.rx_id], item, visit, today.toordinal())
        if kept:
            standing.append(Standing(visit, kept, payable))
    return [by_rx[supply.rx_id] for supply in supplies], standing


def _may_be_filled(item: ToldItem, supply: Supply | None, day: int) -> bool:
    """Still part of the plan, payable, authorised and valid on that day."""
    return (
        supply is not None and supply.ready <= day <= supply.expires and item.quantity <= supply.quantity_left
    )


def _filled(supply: Supply, item: ToldItem, visit: ToldVisit, today: int) -> Supply:
    day = visit.on.toordinal()
    ready = day + refill_wait(item.days_supply, supply.percent)
    joins = visit.kind is VisitKind.synchronized and not supply.ride_along
    return replace(
        supply,
        run_out=max(supply.run_out, day) + item.days_supply,
        payable=ready,
        ready=ready,
        quantity_left=supply.quantity_left - item.quantity,
        unavoidable=supply.unavoidable + max(0, day - max(supply.run_out, today)),
        joined_with=max(0, supply.run_out - day) if joins else None,
    )
