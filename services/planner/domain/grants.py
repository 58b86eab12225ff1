"""What a state's synchronization law grants a patient (domain rules: state sync laws)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from services.planner.domain.model import Participation, Profile, Rules
from services.planner.domain.participation import Part
from services.planner.domain.payers import SyncLaw, law_on, rule_on


def granted(
    parts: Sequence[Part], profile: Profile, state: str, rules: Rules, today: date
) -> dict[str, SyncLaw]:
    """The law that covers each synchronized drug, by rx_id, while synchronizations are left this year."""
    synchronized = [part for part in parts if part.participation is Participation.sync]
    laws = {}
    for part in synchronized:
        each, drug = part.prescription, part.prescription.drug
        rule, _ = rule_on(each.payer, today, rules.payers, rules.unknown_payer)
        law = law_on(state, rule.kind, today, rules.laws)
        if (
            law
            and len(synchronized) >= law.drugs_at_least
            and law.covers(
                drug.ingredient,
                drug.schedule,
                drug.form,
                unbreakable=drug.unbreakable,
                antibiotic=drug.antibiotic,
            )
            and not (
                law.syncs_a_year
                and _syncs_this_year(each.rx_id, law, profile, rules, today) >= law.syncs_a_year
            )
        ):
            laws[each.rx_id] = law
    return laws


def _syncs_this_year(rx_id: str, law: SyncLaw, profile: Profile, rules: Rules, today: date) -> int:
    """Synchronizations of this calendar year that are over, by their short fills, of the drug or of any.

    Where an insured has so many, the short fills of one cycle are one, and those of the last cycle belong to the one
    that is under way: a bridge that was fetched does not end the law for the next one. Of a drug each is one. Some were
    short for other reasons: counting too many asks for fewer overrides, never for one that is refused.
    """
    usual = {each.rx_id: each.usual_days for each in profile.prescriptions}
    days = {
        fill.filled_on
        for fill in profile.fills
        if fill.filled_on.year == today.year
        and fill.days_supply < usual.get(fill.rx_id, 0)
        and (law.syncs_per == "insured" or fill.rx_id == rx_id)
    }
    if law.syncs_per != "insured":
        return len(days)
    cycle = timedelta(days=rules.cycle_days[rules.default_cycle])
    begun: list[date] = []
    for day in sorted(days):
        if not begun or day - begun[-1] >= cycle:
            begun.append(day)
    return sum(today - day >= cycle for day in begun)
