"""Between the published language and the planner's own: values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from services.planner.domain import model
from services.planner.domain.model import Blocked, Decision, Item, Plan, Renewal
from shared.events import Reason, enrollment, planner
from shared.events.enrollment import StoreChanged
from shared.events.planner import (
    DrugDecision,
    OfferedDay,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    PlannedItem,
    RenewalNeeded,
)

UNCOMPARED = frozenset({"revision", "profile_revision", "computed_on"})
"""Fields in which two plans that say the same may differ."""


def profile_of(
    patient_id: str,
    told: enrollment.Profile,
    rejections: Iterable[model.Rejection] = (),
    rulings: Iterable[model.Ruling] = (),
) -> model.Profile:
    """The profile as the rules see it."""
    return model.Profile(
        patient_id=patient_id,
        store_id=told.store_id,
        prescriptions=tuple(_prescription(each) for each in told.prescriptions),
        fills=tuple(
            model.Fill(
                rx_id=each.rx_id,
                filled_on=each.filled_on,
                handed_over_on=each.handed_over_on,
                days_supply=each.days_supply,
                quantity=each.quantity,
                days_supply_billed=each.days_supply_billed,
                elsewhere=each.elsewhere,
            )
            for each in told.fills
        ),
        stock_reports=tuple(
            model.StockReport(each.rx_id, each.reported_on, each.days_left) for each in told.stock_reports
        ),
        rejections=tuple(rejections),
        rulings=tuple(rulings),
        cycle_policy=told.cycle_policy.value,
        must_weekdays=frozenset(told.must_weekdays),
        preferred_weekday=told.preferred_weekday,
        long_term_care=told.long_term_care,
        day_of_month=told.day_of_month,
        payday=told.payday,
        paydays=told.paydays,
        ride_weekdays=frozenset(told.ride_weekdays),
        rides=told.rides,
        delivered=told.delivered,
        packaged=told.packaged,
        household_must=told.household_must,
        away=_spans(told.away),
        stays=_spans(told.stays),
        reconciled_on=told.reconciled_on,
        uninsured=_spans(told.uninsured),
    )


def _spans(spans: Iterable[enrollment.Span]) -> tuple[model.Span, ...]:
    return tuple(model.Span(each.begins_on, each.ends_on) for each in spans)


def _prescription(each: enrollment.Prescription) -> model.Prescription:
    drug = each.drug
    return model.Prescription(
        rx_id=each.rx_id,
        drug=model.Drug(
            name=drug.name,
            ingredient=drug.ingredient,
            strength=drug.strength,
            form=drug.form,
            schedule=drug.schedule.value,
            maintenance=drug.maintenance,
            unbreakable=drug.unbreakable,
            antibiotic=drug.antibiotic,
            critical=drug.critical,
            over_the_counter=drug.over_the_counter,
            rems=drug.rems,
            special_handling=drug.special_handling,
            doses_per_unit=drug.doses_per_unit,
            doses_basis=drug.doses_basis,
            priming_doses=drug.priming_doses,
            container_quantity=drug.container_quantity,
            in_use_days=drug.in_use_days,
            pack_quantity=drug.pack_quantity,
            lead_days=drug.lead_days,
        ),
        usual_quantity=each.usual_quantity,
        usual_days=each.usual_days,
        quantity_left=each.quantity_left,
        written_on=each.written_on,
        expires_on=each.expires_on,
        units_per_day=each.units_per_day,
        status=each.status.value,
        directions=each.directions,
        as_needed=each.as_needed,
        prescriber_id=each.prescriber_id,
        payer=each.payer,
        renews=each.renews,
        refills_left=each.refills_left,
        prior_authorization_until=each.prior_authorization_until,
    )


def weekdays_of(store: StoreChanged) -> frozenset[int]:
    """The weekdays with pharmacist hours."""
    return frozenset(hours.weekday for hours in store.hours if hours.opens < hours.closes)


def plan_computed(
    plan: Plan, patient_id: str, store_id: str, revision: int, profile_revision: int
) -> PlanComputed:
    """The plan as it is published."""
    return PlanComputed(
        patient_id=patient_id,
        plan_id=plan.plan_id,
        revision=revision,
        profile_revision=profile_revision,
        cycle=plan.cycle,
        store_id=store_id,
        computed_on=plan.computed_on,
        anchor_on=plan.anchor_on,
        next_anchor_on=plan.next_anchor_on,
        agreed=plan.agreed,
        visits=tuple(
            planner.Visit(
                visit_id=visit.visit_id,
                kind=planner.VisitKind(visit.kind),
                on=visit.on,
                items=tuple(_item(item) for item in visit.items),
                steps=tuple(
                    planner.Step(code=step.code, on=step.on, by=step.by, rx_ids=step.rx_ids)
                    for step in visit.steps
                ),
            )
            for visit in plan.visits
        ),
        drugs=tuple(_decision(each) for each in plan.drugs),
        offered=tuple(
            OfferedDay(
                on=offer.on,
                visits_before=offer.visits_before,
                short_fills=offer.short_fills,
                uncovered_days=offer.uncovered_days,
                extra_cost=offer.extra_cost,
                reason=reason_of(offer.reason),
            )
            for offer in plan.offered
        ),
        short_fills=plan.short_fills,
        uncovered_days=plan.uncovered_days,
        unavoidable_days=plan.unavoidable_days,
        extra_cost=plan.extra_cost,
        reasons=tuple(reason_of(each) for each in plan.reasons),
    )


def plan_blocked(
    blocked: Blocked, patient_id: str, store_id: str, revision: int, profile_revision: int
) -> PlanBlocked:
    """Why there is no plan, as it is published."""
    return PlanBlocked(
        patient_id=patient_id,
        revision=revision,
        profile_revision=profile_revision,
        store_id=store_id,
        reasons=tuple(reason_of(each) for each in blocked.reasons),
        drugs=tuple(_decision(each) for each in blocked.drugs),
    )


def plan_cancelled(
    patient_id: str, plan_id: str, revision: int, why: model.Reason, published: Mapping[str, Any] | None
) -> PlanCancelled:
    """The withdrawal of a plan that nothing replaces, with the run-out days that `published` gave."""
    drugs = published.get("drugs", ()) if published else ()
    return PlanCancelled(
        patient_id=patient_id,
        plan_id=plan_id,
        revision=revision,
        reason=reason_of(why),
        run_outs=tuple(planner.RunOut.model_validate(drug) for drug in drugs if drug.get("run_out_on")),
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


def says_the_same(published: Mapping[str, Any] | None, event: PlanComputed | PlanBlocked) -> bool:
    """Does the newest published plan say what this one says? Then it stands."""
    if published is None:
        return False
    said = {name: value for name, value in published.items() if name not in UNCOMPARED}
    return said == event.model_dump(mode="json", exclude=set(UNCOMPARED))


def _item(item: Item) -> PlannedItem:
    return PlannedItem(
        rx_id=item.rx_id,
        drug_name=item.drug_name,
        kind=planner.FillKind(item.kind),
        quantity=item.quantity,
        days_supply=item.days_supply,
        payable_from=item.payable_from,
        clarification_codes=item.clarification_codes,
        days_supply_billed=item.days_supply_billed,
        reason=reason_of(item.reason),
    )


def _decision(decision: Decision) -> DrugDecision:
    return DrugDecision(
        rx_id=decision.rx_id,
        drug_name=decision.drug_name,
        participation=planner.Participation(decision.participation),
        action=planner.Action(decision.action),
        run_out_on=decision.run_out_on,
        joins_on=decision.joins_on,
        days_left_at_anchor=decision.days_left_at_anchor,
        reasons=tuple(reason_of(each) for each in decision.reasons),
    )


def reason_of(reason: model.Reason) -> Reason:
    """A reason as it is published."""
    return Reason(code=reason.code, params=dict(reason.params))
