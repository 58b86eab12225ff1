"""Fulfillment's work orders against the topics: each from one confirmation, each fill and package told of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import groupby

from cli.proof.contract import (
    CONSULTATION_HELD,
    FILL_COMPLETED,
    FILL_REJECTED,
    PACKAGE_PICKED_UP,
    PACKAGE_READY,
    PACKAGE_RETURNED,
    PICKUP_CONFIRMED,
    STOCK_SHORT,
    name,
)
from cli.proof.record import Confirmation, Event, Item, Line, Record, grouped
from cli.proof.result import Found, check


@check("I5 every confirmation is kept, once", reads="fulfillment", whole=True)
def confirmations_are_kept(record: Record) -> Found:
    """What stands in fulfillment's list of confirmations is what patients confirmed, one row per event."""
    events = record.took("fulfillment", PICKUP_CONFIRMED)
    said = Counter((e.says.visit_id, e.key, e.says.plan_revision, frozenset(e.says.items)) for e in events)
    kept = Counter(row[:4] for row in record.fulfillment.confirmations)

    def found() -> Iterator[str]:
        for each in said.keys() | kept.keys():
            if said[each] != kept[each]:
                visit_id, patient, *_ = each
                yield f"visit {visit_id} of {patient} was confirmed {said[each]} times so, and kept {kept[each]} times"

    return Found(said.total(), sorted(found()))


@check("I9 one work order and one live confirmation per visit", reads="fulfillment")
def one_order_per_visit(record: Record) -> Found:
    """Every confirmed visit has its work order with the items confirmed, or agreed to at the counter; no other has one,
    but of an owed rest."""
    kept = record.fulfillment
    live: dict[str, list[Confirmation]] = {row.visit_id: [] for row in kept.confirmations}
    for row in kept.confirmations:
        live[row.visit_id] += [row] if row.live else []
    wanted = {(visit, item) for visit, rows in live.items() for row in rows for item in row.items}

    def found() -> Iterator[str]:
        for visit_id, rows in live.items():
            if len(rows) != 1:
                yield f"visit {visit_id} has {len(rows)} live confirmations"
            if visit_id not in kept.orders:
                yield f"visit {visit_id} was confirmed and has no work order"
        owed = {line.visit_id for line in kept.lines if line.completes}
        for visit_id in sorted(kept.orders.keys() - live.keys() - owed):
            yield f"visit {visit_id} has a work order and was never confirmed"
        for line in kept.lines:
            bare = line.item._replace(fill_id="")
            of_its_own = line.agreed or line.completes
            if line.status != "cancelled" and not of_its_own and (line.visit_id, bare) not in wanted:
                yield f"{line.item.rx_id} of visit {line.visit_id} is {line.status}, not as the patient confirmed it"

    return Found(len(live), found())


@check("a partial fill and what is owed of it are the whole", reads="fulfillment")
def parts_add_up(record: Record) -> Found:
    """What was filled of a claim, and the rest that is owed, are as much as was ordered, in units and in days."""
    lines = record.fulfillment.lines
    rests: dict[str, list[Line]] = {line.order_id: [] for line in lines if line.part and not line.completes}

    def found() -> Iterator[str]:
        for rest in lines:
            if rest.completes in rests:
                rests[rest.completes].append(rest)
            elif rest.completes:
                yield f"{rest.item.rx_id} of visit {rest.visit_id} is the rest of no partial fill"
        for line in (line for line in lines if line.order_id in rests):
            of_claim = [part.worked_on for part in (line, *rests[line.order_id])]
            quantity, days = (
                sum(part.quantity for part in of_claim),
                sum(part.days_supply for part in of_claim),
            )
            if (quantity, days) != (line.item.quantity, line.item.days_supply):
                yield (
                    f"{line.item.rx_id} of visit {line.visit_id}: filled and owed are {quantity} for {days} days, "
                    f"and {line.item.quantity} for {line.item.days_supply} were ordered"
                )

    return Found(len(lines), found())


@check("I2 every fill is told of, once", reads="fulfillment", whole=True)
def fills_are_told(record: Record) -> Found:
    """What was filled, rejected or short in the work orders is what was published."""
    kept = Counter(
        (
            outcome,
            line.visit_id,
            line.worked_on if outcome == FILL_COMPLETED else _unfilled(line.worked_on.rx_id),
        )
        for line in record.fulfillment.lines
        for outcome, happened in (
            (FILL_COMPLETED, bool(line.item.fill_id)),
            (FILL_REJECTED, line.rejected),
            (STOCK_SHORT, line.short),
        )
        for _ in range(happened)
    )
    told = Counter(
        (event.type, event.says.visit_id, filled_by(event) or _unfilled(event.says.rx_id))
        for event in record.of(FILL_COMPLETED, FILL_REJECTED, STOCK_SHORT)
    )
    return Found(
        told.total(),
        (
            f"{item.rx_id} of visit {visit_id} {item.fill_id}: {name(event_type)} happened "
            f"{kept[event_type, visit_id, item]} times and was published {told[event_type, visit_id, item]} times"
            for event_type, visit_id, item in sorted(kept.keys() | told.keys())
            if kept[event_type, visit_id, item] != told[event_type, visit_id, item]
        ),
    )


def filled_by(event: Event) -> Item | None:
    """The fill that an event tells of."""
    says = event.says
    if event.type != FILL_COMPLETED:
        return None
    return Item(says.rx_id, says.quantity, says.days_supply, fill_id=says.fill_id)


def _unfilled(rx_id: str) -> Item:
    return Item(rx_id, Decimal(0), 0)


TOLD_OF: Mapping[str, set[tuple[str, ...]]] = {
    "to_verify": {(), (PACKAGE_READY,)},  # again, with what came late
    "ready": {(PACKAGE_READY,)},
    "picked_up": {(PACKAGE_READY, PACKAGE_PICKED_UP)},
    "returned": {(PACKAGE_RETURNED,), (PACKAGE_READY, PACKAGE_RETURNED)},
}
"""The status of a package to what was published of it, in order; nothing where the status is another.

Ready may be told again, one after the other: what a conditional fill waited for came late, and was added.
"""


@check("I2 every package is told of, step by step", reads="fulfillment", whole=True)
def packages_are_told(record: Record) -> Found:
    """A package is ready, picked up or returned in the table exactly as the topic says."""
    told = grouped(record.of(PACKAGE_READY, PACKAGE_PICKED_UP, PACKAGE_RETURNED), "visit_id")
    orders = record.fulfillment.orders

    def found() -> Iterator[str]:
        for visit_id, order in orders.items():
            events = told.get(visit_id, [])
            steps = tuple(step for step, _ in groupby(event.type for event in events))
            if steps not in TOLD_OF.get(order.status, {()}):
                published = ", ".join(map(name, steps)) or "nothing"
                yield f"package {order.package_id} of visit {visit_id} is {order.status}; published: {published}"
            elif any(event.says.package_id != order.package_id for event in events):
                yield f"visit {visit_id} has package {order.package_id}, and another was published"
            elif order.handed_over_on != (events[-1].says.on if order.status == "picked_up" else None):
                yield f"package {order.package_id} was not handed over on the day that was published"
        for visit_id in sorted(told.keys() - orders.keys()):
            yield f"a package of visit {visit_id} was published, and has no work order"

    return Found(len(orders), found())


@check("I2 every talk is told of, once", reads="fulfillment", whole=True)
def talks_are_told(record: Record) -> Found:
    """The consultations kept are those published."""
    told = Counter(event.says.visit_id for event in record.of(CONSULTATION_HELD))
    kept = record.fulfillment.consultations
    return Found(
        told.total(),
        (
            f"the talk of visit {visit_id} is {'kept' if visit_id in kept else 'not kept'}, and was published "
            f"{told[visit_id]} times"
            for visit_id in sorted(told.keys() | kept)
            if told[visit_id] != (visit_id in kept)
        ),
    )


FULFILLMENT = (
    confirmations_are_kept,
    one_order_per_visit,
    parts_add_up,
    fills_are_told,
    packages_are_told,
    talks_are_told,
)
