"""What comes of a chosen day: every trip with its fills, their reasons and codes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from uuid import UUID, uuid5

from services.planner.domain import explain
from services.planner.domain.calendar import Calendar
from services.planner.domain.commitments import FixedVisit
from services.planner.domain.days_supply import billed_days
from services.planner.domain.medication import Medication, per_day
from services.planner.domain.model import (
    Condition,
    ConditionKind,
    FillKind,
    Item,
    Profile,
    PromisedItem,
    Rules,
    Visit,
    VisitKind,
)
from services.planner.domain.paths import FillPath, joining_fill
from services.planner.domain.payers import NO_COST, PayerRule
from services.planner.domain.payment import Payment
from services.planner.domain.search import Layout
from services.planner.domain.steps import steps_of
from services.planner.domain.stock import short_fill

IDS = UUID("0a7a2c6e-6d1c-5d43-9a8e-6a5d1f0b7c11")
"""Namespace of plan and visit ids: the same visit has the same id, however often it is planned."""


def visit_id_of(patient_id: str, kind: str, on: date) -> str:
    """The id of a visit stays while patient, kind and day stay: so does its confirmation."""
    return str(uuid5(IDS, f"visit {patient_id} {kind} {on.isoformat()}"))


def visits_of(
    profile: Profile,
    chosen: Layout,
    standing: Sequence[FixedVisit],
    urgent_days: Collection[int],
    needed_by: Callable[[date], date],
) -> tuple[Visit, ...]:
    """Every trip up to the second synchronized pickup, by day. `needed_by`: see `planned_items`."""
    items: dict[int, list[Item]] = defaultdict(list)
    joining: set[int] = set()  # days with a drug of the rhythm
    for path, days in zip(chosen.paths, chosen.fill_days, strict=True):
        for day, item in planned_items(path, days, chosen, needed_by):
            if day < chosen.second or day == chosen.anchor:
                items[day].append(item)
                if path.joins is not None:
                    joining.add(day)
    visits = [_standing_visit(profile, each, chosen, needed_by) for each in standing]
    for day, dispensed in items.items():
        kind = VisitKind.bridge if day in joining else VisitKind.ride_along
        kind = VisitKind.synchronized if day == chosen.anchor else kind
        on = date.fromordinal(day)
        visit_id = visit_id_of(profile.patient_id, kind, on)
        visits.append(Visit(visit_id, kind, on, tuple(dispensed), urgent=day in urgent_days))
    return tuple(sorted(visits, key=lambda visit: visit.on))


def with_steps(
    visits: Iterable[Visit], calendar: Calendar, rules: Rules, medications: Sequence[Medication], today: date
) -> tuple[Visit, ...]:
    """Each visit with its dated steps."""
    leads = {each.rx_id: each.prescription.drug.lead_days for each in medications}
    early_from = {
        each.rx_id: date.fromordinal(paid.early.begins)
        for each in medications
        for paid in (each.spent or each.payment,)
        if paid.early
    }
    return tuple(
        replace(
            visit,
            steps=steps_of(
                visit.kind,
                visit.on,
                [item for item in visit.items if not item.at_counter],
                calendar,
                rules,
                leads,
                early_from,
                today if visit.urgent else date.min,
            ),
        )
        for visit in visits
    )


def extra_cost_of(visits: Sequence[Visit], chosen: Layout, renewed: Mapping[str, str]) -> Decimal | None:
    """What all fills cost the patient beyond the usual, those of visits that stand included; None if unknown."""
    medications = {path.medication.rx_id: path.medication for path in chosen.paths}
    total = NO_COST
    for item in (item for visit in visits for item in visit.items):
        cost = medications[renewed.get(item.rx_id, item.rx_id)].extra_cost(item.days_supply)
        if cost is None:
            return None
        total += cost
    return total


def fills_of(visits: Sequence[Visit], renewed: Mapping[str, str]) -> dict[str, list[tuple[date, Item]]]:
    """Each drug's fills with their days, by the rx_id that takes part."""
    fills: dict[str, list[tuple[date, Item]]] = defaultdict(list)
    for visit in visits:
        for item in visit.items:
            fills[renewed.get(item.rx_id, item.rx_id)].append((visit.on, item))
    return fills


def _standing_visit(
    profile: Profile, standing: FixedVisit, chosen: Layout, needed_by: Callable[[date], date]
) -> Visit:
    """The visit as it was told, with the reasons that it had: a confirmation alone makes no new plan."""
    by_rx = {path.medication.rx_id: path for path in chosen.paths}
    paths = {rx_id: by_rx[taking_part] for rx_id, taking_part in standing.drugs.items()}
    visit = standing.visit
    at_anchor = visit.kind is VisitKind.synchronized
    return Visit(
        visit_id_of(profile.patient_id, visit.kind, visit.on),
        visit.kind,
        visit.on,
        tuple(
            _standing_item(item, standing, paths[item.rx_id], needed_by, at_anchor=at_anchor)
            for item in standing.items
        ),
    )


def _standing_item(
    item: PromisedItem,
    standing: FixedVisit,
    path: FillPath,
    needed_by: Callable[[date], date],
    *,
    at_anchor: bool,
) -> Item:
    medication = path.medication
    after_short = item.rx_id in standing.after_short
    billed, codes = billing_of(
        medication, item.kind, item.days_supply, after_short=after_short, at_anchor=at_anchor
    )
    return Item(
        rx_id=item.rx_id,
        drug_name=medication.prescription.drug.name,
        kind=item.kind,
        quantity=item.quantity,
        days_supply=item.days_supply,
        payable_from=standing.payable_from[item.rx_id],
        reason=explain.item(path, item.days_supply, at_anchor=at_anchor),
        clarification_codes=(*standing.codes[item.rx_id], *codes),
        days_supply_billed=billed,
        condition=condition_of(standing.lacks.get(item.rx_id), needed_by(standing.visit.on)),
        in_place_of=standing.in_place_of.get(item.rx_id),
        at_counter=item.rx_id in standing.at_counter,
    )


def planned_items(
    path: FillPath, days: Sequence[int], chosen: Layout, needed_by: Callable[[date], date]
) -> list[tuple[int, Item]]:
    """The fills of one drug with their days; each is payable from some days after the one before. What lacks a renewal
    or an authorization is conditional on it, by the day that `needed_by` gives for the visit's (R6)."""
    medication = path.medication
    planned: list[tuple[int, Item]] = []
    payment, paid_until, after_short = medication.payment, medication.paid_until, medication.after_short
    for day, quantity, days_supply, lacks in _authorized(path, days, chosen):
        kind = kind_of(days_supply, medication.usual_days)
        at_anchor = day == path.joins
        billed, codes = billing_of(
            medication, kind, days_supply, after_short=after_short, at_anchor=at_anchor
        )
        if not planned:
            codes = (*medication.opening_codes(day), *codes)
        item = Item(
            rx_id=medication.rx_id,
            drug_name=medication.prescription.drug.name,
            kind=kind,
            quantity=quantity,
            days_supply=days_supply,
            payable_from=payment.payable_from,
            reason=explain.item(path, days_supply, at_anchor=at_anchor),
            clarification_codes=codes,
            days_supply_billed=billed,
            condition=condition_of(lacks, needed_by(date.fromordinal(day))),
        )
        planned.append((day, item))
        payer, paid_until = medication.next_paid(day, days_supply, paid_until)
        payment = Payment(payer)
        after_short = kind is FillKind.bridge
    return planned


def condition_of(lacks: ConditionKind | None, needed_by: date) -> Condition | None:
    """The condition of a fill that lacks something."""
    return Condition(lacks, ACTS[lacks], needed_by) if lacks else None


ACTS = {ConditionKind.renewal: "prescriber", ConditionKind.authorization: "payer"}
"""Who has to act."""


def _authorized(
    path: FillPath, days: Sequence[int], chosen: Layout
) -> Iterator[tuple[int, Decimal, int, ConditionKind | None]]:
    """Day, units and days of each fill up to the first slot, and what it still lacks. What is authorized, where that is
    less, is filled without condition."""
    medication, left = path.medication, path.medication.quantity_left
    fills = [(day, window.quantity, window.days) for day, window in zip(days, path.windows, strict=True)]
    if path.joins == chosen.anchor and not path.standing:
        fills.append((chosen.anchor, *joining_fill(path, chosen.next_due(path))))
    for day, quantity, days_supply in fills:
        lacks = medication.lacks(day, quantity, left)
        if lacks is ConditionKind.renewal and day <= medication.expires and not medication.packs:
            rest, of_rest = short_fill(
                days_supply, per_day(medication.prescription), left, medication.whole_units
            )
            if of_rest > 0:
                quantity, days_supply, lacks = rest, of_rest, medication.lacks(day, rest, left)
        left = max(Decimal(0), left - quantity)
        yield day, quantity, days_supply, lacks


def kind_of(days_supply: int, usual_days: int) -> FillKind:
    """Short, usual or long."""
    if days_supply == usual_days:
        return FillKind.full
    return FillKind.bridge if days_supply < usual_days else FillKind.long


def billing_of(
    medication: Medication, kind: FillKind, days_supply: int, *, after_short: bool, at_anchor: bool
) -> tuple[int | None, tuple[str, ...]]:
    """The days that the payer is told, where they are not the true ones, and the codes: a pack that lasts longer than
    the plan pays and cannot be split is billed as the most that it pays (R2.4)."""
    billed = billed_days(days_supply, medication.payer)
    if not medication.packs or billed == days_supply:
        rest = at_anchor and medication.fixed_quantity is None
        return None, codes_of(kind, days_supply, medication.payer, after_short=after_short, rest=rest)
    return billed, (medication.payer.plan_limit_code,)


def codes_of(
    kind: FillKind, days_supply: int, rule: PayerRule, *, after_short: bool, rest: bool
) -> tuple[str, ...]:
    """The submission clarification codes of a fill, in the order to try (R7.11, R7.12).

    The rest of what is authorized is no short fill that synchronizes: where the plan pays so many days, none is needed.
    """
    paid_as_it_is = not rule.days_supplies or days_supply in rule.days_supplies
    if kind is FillKind.bridge and not (rest and paid_as_it_is):
        return rule.short_fill_codes
    return (rule.follow_up_code,) if after_short and rule.follow_up_code else ()
