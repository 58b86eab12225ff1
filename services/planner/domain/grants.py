"""What a state's synchronization law grants a patient (R9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.planner.domain.eligibility import Eligibility
from services.planner.domain.model import Fill, Participation, Prescription, Profile, Rules
from services.planner.domain.payers import SyncLaw, law_on, rule_on
from services.planner.domain.stock import payable_from, stock_key

A_CYCLE = 30
"""Days within which what the law grants belongs to one synchronization, where the chain's cycle is not stated."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A law that covers a drug, and the first day on which a synchronization by it is left."""

    law: SyncLaw
    begins_on: date

    def overrides_until(self, payable: date) -> bool:
        """Does it have the payer pay a usual fill on any day from then on to the one from which it pays by itself?

        One that ends before may have ended by the fill; a law about short fills has none of the usual days paid.
        """
        law = self.law
        return law.overrides_too_soon and not law.overrides_short_fills_alone and law.ends_on >= payable


def granted(
    parts: Sequence[Eligibility], profile: Profile, state: str, rules: Rules, today: date
) -> dict[str, Grant]:
    """What each synchronized drug is granted, by rx_id: by the law, and of the year, that hold on the day of a fill."""
    laws = [law for law in rules.laws if law.state == state]
    if not laws:
        return {}
    new_year = date(today.year + 1, 1, 1)
    days = sorted({today, new_year, *(law.begins_on for law in laws if today < law.begins_on < new_year)})
    synchronized = [part for part in parts if part.participation is Participation.sync]
    grants = {}
    for part in synchronized:
        each = part.prescription
        for day in days:
            rule, _ = rule_on(each.payer, day, rules.payers, rules.unknown_payer)
            law = law_on(state, rule.kind, day, laws)
            if (
                law
                and len(synchronized) >= law.drugs_at_least
                and _covers(law, each)
                and _is_left(law, each.rx_id, profile, rules, day.year, today)
            ):
                grants[each.rx_id] = Grant(law, day)
                break
    return grants


def _covers(law: SyncLaw, each: Prescription) -> bool:
    drug = each.drug
    return law.covers(
        drug.ingredient,
        drug.schedule,
        drug.form,
        unbreakable=drug.unbreakable,
        antibiotic=drug.antibiotic,
    )


# --- so many a year ---


def _is_left(law: SyncLaw, rx_id: str, profile: Profile, rules: Rules, year: int, today: date) -> bool:
    """Is one of the year's synchronizations left, of the drug or, where an insured has so many, of any?

    Of a drug each fill that made use of the law is one. Of an insured those of one cycle are one, and the one that is
    under way is not over: a bridge that was fetched does not end the law for the fills still planned. Some were short
    or too soon for other reasons: counting too many asks for fewer overrides, never for one that is refused.
    """
    if not law.syncs_a_year:
        return True
    used = [
        fill for fill in _used(law, profile, rules, year) if law.syncs_per == "insured" or fill.rx_id == rx_id
    ]
    days = sorted({fill.filled_on for fill in used})
    if law.syncs_per != "insured":
        return len(days) < law.syncs_a_year
    cycle = timedelta(days=rules.cycle_days.get(rules.default_cycle, A_CYCLE))
    begun: list[date] = []
    for day in days:
        if not begun or day - begun[-1] >= cycle:
            begun.append(day)
    of_last = [fill for fill in used if fill.filled_on >= begun[-1]] if begun else []
    under_way = bool(begun) and today - begun[-1] < cycle and not _is_over(of_last, profile)
    return len(begun) - under_way < law.syncs_a_year


def _used(law: SyncLaw, profile: Profile, rules: Rules, year: int) -> list[Fill]:
    """The fills of the year that were short, or before the day from which their payer paid."""
    prescriptions = {each.rx_id: each for each in profile.prescriptions}
    return [
        fill
        for fill in profile.fills
        if fill.filled_on.year == year
        and (each := prescriptions.get(fill.rx_id))
        and (_is_short(fill, each) or _is_too_soon(fill, each, law, profile, rules))
    ]


def _is_short(fill: Fill, each: Prescription) -> bool:
    return fill.days_supply < each.usual_days


def _is_too_soon(fill: Fill, each: Prescription, law: SyncLaw, profile: Profile, rules: Rules) -> bool:
    """Did a payer that the law binds pay it before its day, by the fills of the same dose before it?"""
    rule, _ = rule_on(each.payer, fill.filled_on, rules.payers, rules.unknown_payer)
    if rule.kind not in law.binds:
        return False
    of_dose = {
        other.rx_id
        for other in profile.prescriptions
        if stock_key(other.drug) == stock_key(each.drug) and other.units_per_day == each.units_per_day
    }
    before = [other for other in profile.fills if other.rx_id in of_dose and other.filled_on < fill.filled_on]
    refill = rule.refill_for(each.drug.schedule, each.drug.form)
    return fill.filled_on < payable_from(before, refill, rule)


def _is_over(used: Sequence[Fill], profile: Profile) -> bool:
    """Was its pickup? Then a drug that it short-filled is filled in full, or one is filled in full too soon."""
    usual = {each.rx_id: each.usual_days for each in profile.prescriptions}
    whole = [fill for fill in profile.fills if fill.days_supply >= usual.get(fill.rx_id, 0)]
    return any(
        fill in whole
        or any(later.rx_id == fill.rx_id and later.filled_on > fill.filled_on for later in whole)
        for fill in used
    )
