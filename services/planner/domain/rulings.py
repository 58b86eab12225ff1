"""What staff decided about a patient's plan: a day, a drug, a fill, a quantity. It is kept until they take it back.

A ruling bends preferences, the chain's policy and the payer's clock; never the law, what is authorised, expiry, or a
day on which the store is closed. One that cannot be followed now is kept all the same, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from services.planner.domain.calendar import LONG_AGO
from services.planner.domain.course import Supply
from services.planner.domain.model import Participation, Reason, Ruling, RulingKind, Told, because

MAY_BE_INCLUDED = frozenset(
    {
        *(
            "controlled",
            "antibiotic",
            "not_maintenance",
            "short_course",
            "special_handling",
            "long_term_care",
        ),
        *("same_ingredient", "payer_refused", "first_fill_awaited"),
    }
)
"""Reasons to leave a drug out that staff may overrule: the chain's policy, and questions that a pharmacist answers."""

NEEDS: Mapping[RulingKind, frozenset[str]] = {
    RulingKind.day: frozenset({"on"}),
    RulingKind.include: frozenset({"rx_id"}),
    RulingKind.exclude: frozenset({"rx_id"}),
    RulingKind.fill: frozenset({"rx_id"}),
    RulingKind.hold: frozenset({"rx_id", "on"}),
    RulingKind.quantity: frozenset({"rx_id", "quantity"}),
}
"""The fields that each kind of ruling needs."""

Key = tuple[RulingKind, str | None]


def in_force(rulings: Iterable[Ruling], today: date, cycle: int) -> dict[Key, Ruling]:
    """The newest ruling of each kind and drug that holds for this cycle; in or out of the plan is one question."""
    newest: dict[Key, Ruling] = {}
    for ruling in rulings:
        ahead = ruling.on is None or ruling.on >= today
        if ahead and ruling.cycle in (None, cycle):
            if ruling.kind in (RulingKind.include, RulingKind.exclude):
                newest.pop((RulingKind.include, ruling.rx_id), None)
                newest.pop((RulingKind.exclude, ruling.rx_id), None)
            newest[ruling.kind, ruling.rx_id] = ruling
    return newest


def with_day(told: Told, rulings: Mapping[Key, Ruling]) -> Told:
    """The day that staff set takes the place of the one that the patient was told."""
    day = rulings.get((RulingKind.day, None))
    if day is None or day.on == told.anchor_on:
        return told
    if told.instead_of not in (None, told.anchor_on):
        return replace(told, anchor_on=day.on)
    return replace(told, anchor_on=day.on, wanted_on=None, instead_of=told.anchor_on)


def ruled(supply: Supply, rulings: Mapping[Key, Ruling]) -> Supply:
    """The drug with what staff decided about its fills."""
    if not rulings:
        return supply
    hold, fill, quantity = (
        rulings.get((kind, supply.rx_id)) for kind in (RulingKind.hold, RulingKind.fill, RulingKind.quantity)
    )
    if fill and not supply.ride_along:
        supply = replace(supply, forced=True, override_from=LONG_AGO)
    if quantity and not supply.ride_along:
        supply = replace(supply, fixed_quantity=quantity.quantity)
    if hold and hold.on:
        until = hold.on.toordinal()
        supply = replace(
            supply, ready=max(supply.ready, until), override_from=max(supply.override_from, until)
        )
    return supply


def remarks(rx_id: str, state: Participation, rulings: Mapping[Key, Ruling]) -> tuple[Reason, ...]:
    """What staff decided about one drug, for the plan to say: with effect, or without."""
    said = []
    for (kind, of), ruling in rulings.items():
        if of == rx_id and kind is not RulingKind.exclude:
            said.append(_remark(ruling, state))
    return tuple(said)


def _remark(ruling: Ruling, state: Participation) -> Reason:
    by, made_on = ruling.by, ruling.made_on
    if state is not Participation.excluded:
        if ruling.kind is RulingKind.include:
            return because("staff_included", by=by, made_on=made_on)
        if ruling.kind is RulingKind.hold and ruling.on:
            return because("staff_holds", by=by, made_on=made_on, until=ruling.on)
    if state is Participation.sync:
        if ruling.kind is RulingKind.fill:
            return because("staff_fills", by=by, made_on=made_on)
        if ruling.kind is RulingKind.quantity and ruling.quantity:
            return because("staff_quantity", by=by, made_on=made_on, quantity=ruling.quantity)
    return because("staff_idle", by=by, made_on=made_on, what=ruling.kind)
