"""When a drug can be handed over, beside stock and payer: what takes longer to get, and what is paid although it is too
soon, before a vacation and after a discharge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from services.planner.domain.eligibility import Eligibility
from services.planner.domain.medication import Medication
from services.planner.domain.model import Commitments, Profile, Rules, Span, because
from services.planner.domain.payment import Early


def timed(
    medication: Medication,
    part: Eligibility,
    profile: Profile,
    commitments: Commitments,
    rules: Rules,
    today: date,
) -> Medication:
    """The drug with its own lead time, and payable early where that is granted."""
    if profile.away or profile.stays or medication.after_change:
        medication = paid_early(medication, part, profile, today)
    if not medication.prescription.drug.lead_days:
        return medication
    first = _first_had(medication, commitments, rules, today)
    return replace(medication, available_from=first, payment=medication.payment.later(first))


def _first_had(medication: Medication, commitments: Commitments, rules: Rules, today: date) -> int:
    """The first day on which the store can have it; for a visit that the patient was told of it is ordered already."""
    first = today.toordinal() + rules.lead_days + medication.prescription.drug.lead_days
    days = [
        visit.on.toordinal()
        for visit in commitments.visits
        if commitments.agreed
        and visit.on >= today
        and any(item.rx_id == medication.rx_id for item in visit.items)
    ]
    return min([first, *days])


def paid_early(
    medication: Medication, part: Eligibility, profile: Profile, today: date, grace_days: int = 0
) -> Medication:
    """Payable although it is too soon, where it would run out before: before a vacation, after a discharge, or where
    the dose changed.

    No controlled drug, none against a date that the payer itself gave, none that is held or declined until a later day,
    and once. `grace_days`: for a fill that was planned so long ago.
    """
    payment = medication.payment
    is_spent = medication.spent is not None and medication.spent.early is not None
    is_declined = payment.waits > payment.payer
    controlled = part.prescription.drug.schedule != "none"
    early = None
    if not (part.payer_says or controlled or is_declined or is_spent):
        discharged_since = today - timedelta(days=grace_days)
        early = (
            _after_discharge(medication, profile, discharged_since)
            or _before_vacation(medication, profile, today)
            or _of_changed_dose(medication, today)
        )
    return (
        medication if early == payment.early else replace(medication, payment=replace(payment, early=early))
    )


def _after_discharge(medication: Medication, profile: Profile, today: date) -> Early | None:
    """From the discharge on, for as long as the payer's dated rule says (R11.6: code 57)."""
    discharged_on = max((stay.ends_on for stay in profile.stays if stay.ends_on), default=None)
    if discharged_on is None or not medication.payer.discharge_days:
        return None
    begins, until = discharged_on.toordinal(), discharged_on.toordinal() + medication.payer.discharge_days
    if (
        today.toordinal() > until
        or medication.run_out > until
        or medication.run_out >= medication.payment.payer
    ):
        return None
    code, paid_on = medication.payer.discharge_code, date.fromordinal(medication.payment.payer)
    why = because("discharge_fill", discharged_on=discharged_on, payable_from=paid_on, code=code)
    return Early(code, begins, why)


def _before_vacation(medication: Medication, profile: Profile, today: date) -> Early | None:
    """From some days before the departure on, where it would run out while the patient is away (R11.7:
    early fill, code 03; plans pay it once or twice a year)."""
    rule, paid = medication.payer, medication.payment.payer
    for away in allowed(profile.away, rule.vacation_fills_a_year):
        leaves = away.begins_on.toordinal()
        if away.begins_on > today and paid >= leaves and medication.run_out < _back(away):
            why = because(
                "vacation_fill",
                leaves_on=away.begins_on,
                payable_from=date.fromordinal(paid),
                code=rule.vacation_code,
            )
            return Early(rule.vacation_code, leaves - rule.vacation_days, why)
    return None


def _of_changed_dose(medication: Medication, today: date) -> Early | None:
    """Where what was filled for the former dose is used up sooner: at once (R11: code 05)."""
    payment = medication.payment
    if not medication.after_change or medication.run_out >= payment.payer:
        return None
    code, paid_on = medication.payer.therapy_change_code, date.fromordinal(payment.payer)
    return Early(code, today.toordinal(), because("therapy_change_fill", payable_from=paid_on, code=code))


def _back(away: Span) -> int:
    return (away.ends_on or date.max - timedelta(days=1)).toordinal() + 1


def allowed(spans: Iterable[Span], fills_a_year: int) -> list[Span]:
    """The vacations before which payers pay early: the first ones of each calendar year."""
    taken: dict[int, int] = {}
    found = []
    for span in sorted(spans, key=lambda span: span.begins_on):
        year = span.begins_on.year
        taken[year] = taken.get(year, 0) + 1
        if taken[year] <= fills_a_year:
            found.append(span)
    return found
