"""What staff decided about a patient's plan: a day, a drug, a fill, a quantity. It is kept until they take it back.

A decision bends preferences, the chain's policy and the payer's clock; never the law, what is authorized, expiry, or a
day on which the store is closed. One that cannot be followed now is kept all the same, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

from services.planner.domain.calendar import LONG_AGO
from services.planner.domain.medication import Medication
from services.planner.domain.model import (
    Commitments,
    Participation,
    Reason,
    StaffDecision,
    StaffDecisionKind,
    because,
)
from services.planner.domain.payment import Override
from shared.problems import STAFF

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

NEEDS: Mapping[StaffDecisionKind, frozenset[str]] = {
    StaffDecisionKind.day: frozenset({"on"}),
    StaffDecisionKind.include: frozenset({"rx_id"}),
    StaffDecisionKind.exclude: frozenset({"rx_id"}),
    StaffDecisionKind.fill: frozenset({"rx_id"}),
    StaffDecisionKind.hold: frozenset({"rx_id", "on"}),
    StaffDecisionKind.quantity: frozenset({"rx_id", "quantity"}),
}
"""The fields that each kind of decision needs."""

MAY_RULE: Mapping[StaffDecisionKind, tuple[str, ...]] = {
    kind: STAFF if kind in (StaffDecisionKind.day, StaffDecisionKind.hold) else ("pharmacist",)
    for kind in StaffDecisionKind
}
"""Who may decide what: staff a day or a wait, a pharmacist everything."""

MOST_UNITS = 100_000
"""Of a quantity that staff set."""

Key = tuple[StaffDecisionKind, str | None]


def misfits(decision: StaffDecision) -> Iterator[tuple[str, str]]:
    """The fields that do not fit the kind, or say that somebody decided who may not, and what to do."""
    if decision.by not in STAFF:
        yield "by", f"is not a staff role: use {', '.join(STAFF)}; who it was is never written here"
    elif decision.by not in MAY_RULE[decision.kind]:
        yield "by", f"may not decide this ({decision.kind}): only a pharmacist may"
    yield from unfitting(
        decision.kind, {name: getattr(decision, name) for name in ("rx_id", "on", "quantity")}
    )


def unfitting(kind: StaffDecisionKind, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Each kind has just the fields that it needs."""
    for name, value in given.items():
        if (name in NEEDS[kind]) != (value is not None):
            yield (
                name,
                f"is missing ({kind}): give it"
                if value is None
                else f"is not for this kind ({kind}): leave it out",
            )


def too_much(quantity: Decimal | None, left: Decimal | None) -> Iterator[str]:
    """Why so many units cannot be dispensed of a prescription with so many left."""
    if quantity is None:
        return
    if not 0 < quantity <= MOST_UNITS:
        yield f"is not between 1 and {MOST_UNITS}: give the units to dispense"
    elif left is not None and quantity > left:
        yield f"is more than the {left.normalize():f} units that are still authorized: give less, or ask for a renewal"


def in_force(decisions: Iterable[StaffDecision], today: date, cycle: int) -> dict[Key, StaffDecision]:
    """The newest ruling of each kind and drug that holds for this cycle; in or out of the plan is one question."""
    newest: dict[Key, StaffDecision] = {}
    for decision in decisions:
        ahead = decision.on is None or decision.on >= today
        if ahead and decision.cycle in (None, cycle):
            if decision.kind in (StaffDecisionKind.include, StaffDecisionKind.exclude):
                newest.pop((StaffDecisionKind.include, decision.rx_id), None)
                newest.pop((StaffDecisionKind.exclude, decision.rx_id), None)
            newest[decision.kind, decision.rx_id] = decision
    return newest


def excluded_by(decisions: Iterable[StaffDecision]) -> dict[str, StaffDecision]:
    """By rx id what a pharmacist keeps out, by the newest decision about each drug (the oldest comes first)."""
    kept: dict[str, StaffDecision] = {}
    for decision in decisions:
        if decision.rx_id and decision.kind in (StaffDecisionKind.include, StaffDecisionKind.exclude):
            kept.pop(decision.rx_id, None)
            if decision.kind is StaffDecisionKind.exclude:
                kept[decision.rx_id] = decision
    return kept


def with_day(commitments: Commitments, decisions: Mapping[Key, StaffDecision]) -> Commitments:
    """The day that staff set takes the place of the one that the patient was told."""
    day = decisions.get((StaffDecisionKind.day, None))
    if day is None or day.on == commitments.anchor_on:
        return commitments
    if commitments.instead_of not in (None, commitments.anchor_on):
        return replace(commitments, anchor_on=day.on)
    return replace(commitments, anchor_on=day.on, wanted_on=None, instead_of=commitments.anchor_on)


def as_staff_decided(medication: Medication, decisions: Mapping[Key, StaffDecision]) -> Medication:
    """The drug with what staff decided about its fills."""
    if not decisions:
        return medication
    hold, fill, quantity = (
        decisions.get((kind, medication.rx_id))
        for kind in (StaffDecisionKind.hold, StaffDecisionKind.fill, StaffDecisionKind.quantity)
    )
    if fill and not medication.packs:
        settled = Override(LONG_AGO, by_staff=True)
        medication = replace(medication, payment=replace(medication.payment, override=settled))
    if quantity and not medication.packs:
        medication = replace(medication, fixed_quantity=quantity.quantity)
    if hold and hold.on:
        medication = replace(
            medication,
            payment=medication.payment.later(hold.on.toordinal() + medication.payment.billed_ahead),
        )
    return medication


def remarks(rx_id: str, state: Participation, decisions: Mapping[Key, StaffDecision]) -> tuple[Reason, ...]:
    """What staff decided about one drug, for the plan to say: with effect, or without."""
    said = []
    for (kind, of), decision in decisions.items():
        if of == rx_id and kind is not StaffDecisionKind.exclude:
            said.append(_remark(decision, state))
    return tuple(said)


def _remark(decision: StaffDecision, state: Participation) -> Reason:
    by, made_on = decision.by, decision.made_on
    if state is not Participation.excluded:
        if decision.kind is StaffDecisionKind.include:
            return because("staff_included", by=by, made_on=made_on)
        if decision.kind is StaffDecisionKind.hold and decision.on:
            return because("staff_holds", by=by, made_on=made_on, until=decision.on)
    if state is Participation.sync:
        if decision.kind is StaffDecisionKind.fill:
            return because("staff_fills", by=by, made_on=made_on)
        if decision.kind is StaffDecisionKind.quantity and decision.quantity:
            return because("staff_quantity", by=by, made_on=made_on, quantity=decision.quantity)
    return because("staff_idle", by=by, made_on=made_on, what=decision.kind)
