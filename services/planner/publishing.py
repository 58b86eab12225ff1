"""From the planner's own values to the published language, and back: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic_core import from_json

from services.planner.domain import model
from services.planner.domain.model import Blocked, Plan, Renewal, because
from shared.events import Reason, planner
from shared.events.enrollment import StoreChanged
from shared.events.planner import (
    DemandForecast,
    ExclusionsChanged,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    RenewalNeeded,
)
from shared.events.serialized import SerializedEvent

REVISIONS = {
    "plans.revision": (PlanComputed, PlanBlocked, PlanCancelled),
    "exclusions.revision": (ExclusionsChanged,),
    "forecasts.revision": (DemandForecast,),
}
"""The columns that hold the revisions of what is published."""

UNCOMPARED = frozenset({"revision", "profile_revision", "computed_on"})
"""Fields in which two plans that say the same may differ."""

COUNTS_OF_THE_YEAR = frozenset({"trips_a_year", "trips_before"})
"""What of the rhythm changes with the day alone, and is therefore no news."""

YEAR_AHEAD = frozenset({"year_ahead", "year_ahead_and_before"})
"""The reasons that say the same in words."""


_PROFILE = TypeAdapter(model.Profile)


def profile_of(published: Mapping[str, Any]) -> model.Profile:
    """The profile as the rules see it, from the published one in JSON's values, with what the planner holds beside it:
    the patient's id, refusals, staff decisions, days of the household."""
    return _PROFILE.validate_python(published)


def weekdays_of(store: StoreChanged) -> frozenset[int]:
    """The weekdays with pharmacist hours."""
    return frozenset(hours.weekday for hours in store.hours if hours.opens < hours.closes)


# --- what is published about a plan ---


@dataclass(frozen=True, slots=True)
class PlanPayload:
    """What `PlanComputed` says, in the planner's own values."""

    patient_id: str
    plan_id: str
    revision: int
    profile_revision: int
    cycle: int
    store_id: str
    computed_on: date
    anchor_on: date
    next_anchor_on: date
    agreed: bool
    visits: tuple[model.Visit, ...]
    drugs: tuple[model.Decision, ...]
    offered: tuple[model.Offer, ...]
    short_fills: int
    uncovered_days: int
    unavoidable_days: int
    extra_cost: Decimal | None
    reasons: tuple[model.Reason, ...]
    rhythm: model.PromisedRhythm | None


@dataclass(frozen=True, slots=True)
class BlockPayload:
    """What `PlanBlocked` says, in the planner's own values."""

    patient_id: str
    revision: int
    profile_revision: int
    store_id: str
    reasons: tuple[model.Reason, ...]
    drugs: tuple[model.Decision, ...]


Payload: TypeAlias = PlanPayload | BlockPayload

_EVENTS: Mapping[type[Payload], type[PlanComputed | PlanBlocked]] = {
    PlanPayload: PlanComputed,
    BlockPayload: PlanBlocked,
}
_FORMS: Mapping[type[Payload], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _EVENTS}
"""How each is written as JSON: as its event would be, in a fifth of the time that building the event takes."""


def payload_of(
    outcome: Plan | Blocked, patient_id: str, store_id: str, revision: int, profile_revision: int
) -> Payload:
    """What is published about a plan, or about why there is none."""
    if isinstance(outcome, Blocked):
        return BlockPayload(patient_id, revision, profile_revision, store_id, outcome.reasons, outcome.drugs)
    return PlanPayload(
        patient_id=patient_id,
        plan_id=outcome.plan_id,
        revision=revision,
        profile_revision=profile_revision,
        cycle=outcome.cycle,
        store_id=store_id,
        computed_on=outcome.computed_on,
        anchor_on=outcome.anchor_on,
        next_anchor_on=outcome.next_anchor_on,
        agreed=outcome.agreed,
        visits=outcome.visits,
        drugs=outcome.drugs,
        offered=outcome.offered,
        short_fills=outcome.short_fills,
        uncovered_days=outcome.uncovered_days,
        unavoidable_days=outcome.unavoidable_days,
        extra_cost=outcome.extra_cost,
        reasons=outcome.reasons,
        rhythm=outcome.rhythm,
    )


def serialized(payload: Payload) -> SerializedEvent:
    """The event as JSON."""
    text = _FORMS[type(payload)].dump_json(payload).decode()
    return SerializedEvent(_EVENTS[type(payload)], payload.patient_id, text)


def event_of(payload: Payload) -> PlanComputed | PlanBlocked:
    """The event with all its parts, for whoever reads them."""
    return _EVENTS[type(payload)].model_validate(payload, from_attributes=True)


def unchanged(published: str | None, payload: Payload) -> bool:
    """Does the newest published plan say what this one says? Then it stands."""
    if published is None:
        return False
    return _compared(from_json(published)) == _compared(
        _FORMS[type(payload)].dump_python(payload, mode="json")
    )


def _compared(plan: Mapping[str, Any]) -> dict[str, Any]:
    rhythm = plan.get("rhythm") or {}
    said = {name: value for name, value in plan.items() if name not in UNCOMPARED}
    if "visits" in said:
        said["visits"] = [_without_new_defaults(visit) for visit in said["visits"]]
    return {
        **said,
        "reasons": [each for each in plan["reasons"] if each["code"] not in YEAR_AHEAD],
        "rhythm": {name: value for name, value in rhythm.items() if name not in COUNTS_OF_THE_YEAR},
    }


def _without_new_defaults(visit: Mapping[str, Any]) -> dict[str, Any]:
    """As a release before would have said it: what is new and says nothing is no news."""
    items = [
        {name: value for name, value in item.items() if name != "at_counter" or value}
        for item in visit["items"]
    ]
    return {**visit, "items": items}


def plan_cancelled(
    patient_id: str, plan_id: str, revision: int, why: model.Reason, published: str | None
) -> PlanCancelled:
    """The withdrawal of a plan that nothing replaces, with the run-out days that `published` gave."""
    drugs = from_json(published).get("drugs", ()) if published else ()
    return PlanCancelled(
        patient_id=patient_id,
        plan_id=plan_id,
        revision=revision,
        reason=reason_of(why),
        run_outs=tuple(planner.RunOut.model_validate(drug) for drug in drugs if drug.get("run_out_on")),
    )


def excluded_prescriptions(
    excluded: Mapping[str, model.StaffDecision],
) -> tuple[planner.ExcludedPrescription, ...]:
    """What pharmacists keep out (decisions by rx id), as it is published; their words stay here."""
    return tuple(
        planner.ExcludedPrescription(
            rx_id=rx_id, reason=reason_of(because("staff_excluded", by=each.by, made_on=each.made_on))
        )
        for rx_id, each in sorted(excluded.items())
    )


def renewal_needed(renewal: Renewal, patient_id: str, store_id: str) -> RenewalNeeded:
    """The request for a renewal, as it is published."""
    return RenewalNeeded(
        patient_id=patient_id,
        store_id=store_id,
        rx_id=renewal.rx_id,
        drug_name=renewal.drug_name,
        prescriber_id=renewal.prescriber_id,
        needed_by=renewal.needed_by,
        reason=reason_of(renewal.reason),
    )


def reason_of(reason: model.Reason) -> Reason:
    """A reason as it is published."""
    return Reason(code=reason.code, params=dict(reason.params))
