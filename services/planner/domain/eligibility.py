"""Which drug takes part, and why: three states, each with a reason (R1.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache

from services.planner.domain.days_supply import whole_units
from services.planner.domain.forms import FORMS
from services.planner.domain.model import (
    ConditionKind,
    Participation,
    Prescription,
    Profile,
    Reason,
    Rejection,
    Rules,
    StaffDecision,
    StaffDecisionKind,
    because,
)
from services.planner.domain.payers import CASH, is_cash, rule_on
from services.planner.domain.reading import as_read
from services.planner.domain.staff_decisions import MAY_BE_INCLUDED, Key, remarks
from services.planner.domain.stock import (
    NEVER_TAKEN,
    Stock,
    StockKey,
    days_on_hand,
    payable_from,
    stock_key,
    stocks_of,
)
from shared.directions import DailyUse, Refusal


@dataclass(frozen=True, slots=True)
class Eligibility:
    """How one prescription takes part."""

    prescription: Prescription
    participation: Participation
    reason: Reason
    stock: Stock
    payer_says: Rejection | None = None  # a refusal with a next-fill date of its own
    remarks: tuple[Reason, ...] = ()  # what its directions, its facts and the law say, and what staff decided
    look_again_on: date | None = None  # out until this day
    in_place_of: Prescription | None = (
        None  # another strength, taken no more: its first fill is a change of therapy
    )
    waits_for: ConditionKind | None = None  # all its fills: planned as if it came in time (R6)

    @property
    def needs_renewal(self) -> bool:
        """Nothing is authorized, or its time is over: a renewal brings it back."""
        return self.waits_for is ConditionKind.renewal or self.reason.code in ("no_quantity_left", "expired")


def renewed_by(parts: Sequence[Eligibility]) -> dict[str, str]:
    """Prescriptions whose place a renewal took: rx_id to that of the renewal, where it takes part."""
    in_use = {
        _use(part.prescription): part.prescription.rx_id
        for part in parts
        if part.participation is not Participation.excluded
    }
    return {
        part.prescription.rx_id: in_use[_use(part.prescription)]
        for part in parts
        if part.reason.code in ("superseded", "superseded_by") and _use(part.prescription) in in_use
    }


def followed(parts: Sequence[Eligibility]) -> frozenset[str]:
    """Prescriptions, by rx_id, of which the next one of a series waits for its day."""
    waiting = {_use(part.prescription) for part in parts if part.reason.code == "follows"}
    return frozenset(part.prescription.rx_id for part in parts if _use(part.prescription) in waiting)


TAKEN = frozenset({"active", "outside"})
"""What the patient takes, also what another pharmacy dispenses."""

OF_LAW = frozenset({"scheduled_by_state", "valid_by_payer", "valid_by_law", "refills_by_law"})
"""What there is to say also about a drug that is left out: it may be the reason."""

NO_STAFF_DECISIONS: Mapping[Key, StaffDecision] = {}

NOT_IN_USE = {
    "on_hold": because("on_hold"),
    "discontinued": because("discontinued"),
    "superseded": because("superseded"),
    "outside": because("outside"),
}
NOT_READ = {
    Refusal.empty: because("directions_unknown"),
    Refusal.as_directed: because("directions_as_directed"),
    Refusal.by_weight: because("directions_by_weight"),
    Refusal.no_amount: because("directions_no_amount"),
    Refusal.no_frequency: because("directions_no_frequency"),
    Refusal.not_understood: because("directions_not_understood"),
}
"""Why no daily use could be read."""


def assess(
    profile: Profile,
    rules: Rules,
    today: date,
    first_workable: date,
    staff_decisions: Mapping[Key, StaffDecision] = NO_STAFF_DECISIONS,
    state: str = "",
) -> list[Eligibility]:
    """Decide for every prescription of the profile, in its order; each part holds it as the rules take it.

    `first_workable` is the first day on which anything can be filled: what has expired by then is out. `state`, two
    letters, is whose law holds.
    """
    profile, said = as_read(profile, rules, state, today)
    stocks = stocks_of(profile, today)
    superseded = superseded_by(profile.prescriptions, rules, first_workable)
    known = _Known(
        profile=profile,
        rules=rules,
        today=today,
        first_workable=first_workable,
        staff_decisions=staff_decisions,
        state=state,
        said=said,
        stocks=stocks,
        superseded=superseded,
        beside=waiting_for_pharmacist(profile.prescriptions, superseded, stocks, today),
        refused={each.rx_id: each for each in profile.rejections if stands(each, profile, stocks)},
        held={_use(each) for each in profile.prescriptions if each.status == "on_hold"},
        taken=[
            each
            for each in profile.prescriptions
            if each.status in TAKEN and each.drug.maintenance and each.rx_id not in superseded
        ],
    )
    return [_assessed(each, known) for each in profile.prescriptions]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of all prescriptions together when each is assessed."""

    profile: Profile
    rules: Rules
    today: date
    first_workable: date
    staff_decisions: Mapping[Key, StaffDecision]
    state: str
    said: Mapping[str, Sequence[Reason]]
    stocks: Mapping[StockKey, Stock]
    superseded: Mapping[str, Prescription]
    beside: Mapping[str, Prescription]
    refused: Mapping[str, Rejection]
    held: set[tuple[object, ...]]
    taken: Sequence[Prescription]


def _assessed(each: Prescription, known: _Known) -> Eligibility:
    rules, today, stock = known.rules, known.today, known.stocks[stock_key(each.drug)]
    lacks = reason = _why_out(each, stock, known)
    participation = Participation.excluded
    waits_for = _waits_for(reason) if not _is_likely_discontinued(stock, rules, today) else None
    if reason is None or waits_for:
        participation, reason = divisible(each, rules)
    rejection = known.refused.get(each.rx_id)
    dated = rejection if rejection and rejection.next_fill_on else None
    options = [lacks] if lacks and waits_for else []
    options += meanwhile(each, lacks or reason, rules, today)
    if reason.code == "schedule_2":
        options += _earliest_fill(each, stock, dated, known.profile, rules, today)
    if participation is Participation.sync:
        options += _larger_fill(each, stock, known.profile, rules, known.state, today)
    taking_part = participation is not Participation.excluded
    former = None
    if taking_part and stock.run_out_on is None:
        former = _former_strength(each, known.profile, known.stocks, known.staff_decisions)
        stock = replace(stock, run_out_on=_begins_on(former, known.stocks, today))
        options += _after_former(former, stock, today)
    return Eligibility(
        prescription=each,
        participation=participation,
        reason=reason,
        stock=stock,
        payer_says=dated,
        remarks=(
            *(word for word in known.said.get(each.rx_id, ()) if taking_part or word.code in OF_LAW),
            *(_shared_ingredient(each, known.taken) if taking_part else ()),
            *_elsewhere(each, stock),
            *_recounted(each, stock),
            *_doubted(each, stock),
            *options,
            *remarks(each.rx_id, participation, known.staff_decisions),
        ),
        look_again_on=_tried_again_on(rejection, rules) if lacks and lacks.code == "payer_refused" else None,
        in_place_of=former,
        waits_for=waits_for,
    )


def _why_out(each: Prescription, stock: Stock, known: _Known) -> Reason | None:
    """The first reason for which a drug takes no part, but those that staff overruled."""
    rules, first_workable = known.rules, known.first_workable
    reasons = (
        _left_out_by_staff(each, known.staff_decisions),
        not_in_use(each, known.held),
        _served_elsewhere(known.profile),
        never_synchronized(each, rules),
        _superseded(each, known.superseded, first_workable),
        _waits(each, known.beside),
        _unclear(each, rules),
        _first_fill_awaited(stock),
        _fill_unknown(stock),
        _used_up(each, rules, first_workable),
        _unauthorized(each, first_workable),
        _refused(known.refused.get(each.rx_id), rules, known.today),
    )
    overruled = MAY_BE_INCLUDED if (StaffDecisionKind.include, each.rx_id) in known.staff_decisions else ()
    return next((reason for reason in reasons if reason and reason.code not in overruled), None)


def _waits_for(reason: Reason | None) -> ConditionKind | None:
    """What would bring back a drug that is out for that reason alone."""
    if reason is None:
        return None
    if reason.code in ("no_quantity_left", "expired"):
        return ConditionKind.renewal
    return ConditionKind.authorization if wants_authorization(reason) else None


def _is_likely_discontinued(stock: Stock, rules: Rules, today: date) -> bool:
    """It ran out so long ago that it is probably no longer taken."""
    days = likely_discontinued_after(rules, today)
    return days is not None and stock.run_out_on is not None and (today - stock.run_out_on).days > days


def likely_discontinued_after(rules: Rules, today: date) -> int | None:
    """Days without a drug after which the chain takes it for one that is no longer taken; None: never."""
    return next((each.days for each in rules.disuse if each.begins_on <= today <= each.ends_on), None)


def _left_out_by_staff(each: Prescription, staff_decisions: Mapping[Key, StaffDecision]) -> Reason | None:
    excluded = staff_decisions.get((StaffDecisionKind.exclude, each.rx_id))
    return because("staff_excluded", by=excluded.by, made_on=excluded.made_on) if excluded else None


def not_in_use(each: Prescription, held: set[tuple[object, ...]]) -> Reason | None:
    """Only what the patient takes now; "I stopped taking it" holds every prescription of the same use."""
    if each.status == "active":
        return because("on_hold") if held and _use(each) in held else None
    return NOT_IN_USE.get(each.status, because("inactive"))


def _served_elsewhere(profile: Profile) -> Reason | None:
    return because("long_term_care") if profile.long_term_care else None


def never_synchronized(each: Prescription, rules: Rules) -> Reason | None:
    """Drugs that the program leaves alone whatever their dates (R1.2, R1.3)."""
    drug = each.drug
    if drug.over_the_counter:
        return because("over_the_counter")
    if drug.schedule == "c2":
        return because("schedule_2")
    if drug.schedule not in rules.synchronized_schedules:
        return because("controlled", schedule=drug.schedule)
    if drug.rems:
        return because("rems")
    if drug.special_handling:
        return because("special_handling")
    if each.as_needed:
        return because("as_needed")
    if drug.antibiotic:
        return because("antibiotic")
    return _short_course(each) if drug.maintenance else because("not_maintenance")


def _short_course(each: Prescription) -> Reason | None:
    """Directions that end by themselves, or leave it to the patient whether it is taken at all."""
    use = each.said.use
    if isinstance(use, DailyUse) and use.course_days:
        return because("short_course", days=use.course_days)
    return because("as_needed_by_directions") if each.said.as_needed else None


def superseded_by(
    prescriptions: Sequence[Prescription], rules: Rules, first_workable: date
) -> dict[str, Prescription]:
    """Of several for the same use, all but the newest that can be filled: rx_id to the one that replaces it."""
    same_use: dict[tuple[object, ...], list[Prescription]] = defaultdict(list)
    for each in prescriptions:
        if each.status == "active":
            same_use[_use(each)].append(each)
    replaced: dict[str, Prescription] = {}
    for group in (group for group in same_use.values() if len(group) > 1):
        renewed = {each.renews for each in group}
        newest = max(
            group,
            key=lambda each: (
                _used_up(each, rules, first_workable) is None,
                -(_not_yet(each, first_workable) or date.min).toordinal(),
                each.rx_id not in renewed,
                each.written_on,
                each.rx_id,
            ),
        )
        replaced |= {each.rx_id: newest for each in group if each is not newest}
    return replaced


def waiting_for_pharmacist(
    prescriptions: Sequence[Prescription],
    superseded: Mapping[str, Prescription],
    stocks: Mapping[StockKey, Stock],
    today: date,
) -> dict[str, Prescription]:
    """Prescriptions of one ingredient in different strength, form or use: rx_id to another of them.

    Often deliberate (levothyroxine 100 and 12.5), sometimes a changed dose whose old strength must not be filled
    again. Only a pharmacist can tell, so both wait. One that can be filled no more and is used up is no question.
    """
    beside: dict[str, list[Prescription]] = defaultdict(list)
    for each in prescriptions:
        in_question = each.status in TAKEN and each.rx_id not in superseded and not each.as_needed
        alive = each.quantity_left > 0 and each.expires_on >= today
        on_hand = days_on_hand(stocks[stock_key(each.drug)].run_out_on, today)
        if in_question and each.drug.maintenance and not each.drug.antibiotic and (alive or on_hand):
            beside[each.drug.ingredient.casefold().strip()].append(each)
    return {
        each.rx_id: next(other for other in group if other is not each)
        for group in beside.values()
        if len(group) > 1
        for each in group
    }


def stands(rejection: Rejection, profile: Profile, stocks: Mapping[StockKey, Stock]) -> bool:
    """A refusal stands until the payer has paid a later fill of the drug, or the patient pays cash."""
    for each in profile.prescriptions:
        if each.rx_id == rejection.rx_id and not is_cash(each.payer):
            paid = stocks.get(stock_key(each.drug), NEVER_TAKEN).last_fill
            return paid is None or paid.filled_on < rejection.rejected_on
    return False


def divisible(each: Prescription, rules: Rules) -> tuple[Participation, Reason]:
    """May it be short-filled? What cannot be divided rides along."""
    if each.drug.unbreakable:
        return Participation.ride_along, because("unbreakable_pack")
    if not each.drug.form:
        return Participation.ride_along, because("form_unknown")
    if _rides(each, rules):
        if each.drug.form not in FORMS:
            return Participation.ride_along, because("form_not_recognised", form=each.drug.form)
        return Participation.ride_along, because("not_divisible", form=each.drug.form)
    return Participation.sync, because("maintenance")


def _use(each: Prescription) -> tuple[object, ...]:
    """Same ingredient, strength, form and directions: only that is a renewal."""
    drug = each.drug
    directions = each.said.digest if each.units_per_day is None else each.units_per_day
    return (*stock_key(drug), drug.form.casefold(), directions, each.as_needed)


def _superseded(
    each: Prescription, superseded: Mapping[str, Prescription], first_workable: date
) -> Reason | None:
    newer = superseded.get(each.rx_id)
    if newer is None:
        return None
    begins = _not_yet(each, first_workable)
    return because("follows", on=begins) if begins else because("superseded_by", written_on=newer.written_on)


def _not_yet(each: Prescription, first_workable: date) -> date | None:
    """The day that the prescriber wrote, where nothing may be filled before (21 CFR 1306.12(b), a series)."""
    return each.fill_from if each.fill_from and each.fill_from > first_workable else None


def _waits(each: Prescription, beside: Mapping[str, Prescription]) -> Reason | None:
    other = beside.get(each.rx_id)
    return because("same_ingredient", other=other.drug.name) if other else None


def _unclear(each: Prescription, rules: Rules) -> Reason | None:
    """Without a daily use nothing can be counted; a ride-along needs only its usual days."""
    if each.usual_days <= 0 or each.usual_quantity <= 0:
        return because("days_supply_unknown")
    if each.units_per_day or _rides(each, rules):
        return None
    use = each.said.use if each.units_per_day is None else Refusal.empty
    return because("directions_other_unit") if isinstance(use, DailyUse) else NOT_READ[use]


def _first_fill_awaited(stock: Stock) -> Reason | None:
    """A new drug joins after one tolerated fill (R1.8)."""
    if stock.run_out_on is not None:
        return None
    return because("stock_unknown") if stock.fills else because("first_fill_awaited")


def _fill_unknown(stock: Stock) -> Reason | None:
    """The days' supply of its last fill is not on file, and cannot be counted either."""
    last = stock.last_fill
    return because("fill_days_unknown", on=last.filled_on) if last and not last.days_supply else None


def _former_strength(
    each: Prescription,
    profile: Profile,
    stocks: Mapping[StockKey, Stock],
    staff_decisions: Mapping[Key, StaffDecision],
) -> Prescription | None:
    """The other strength that it takes the place of: the one that lasts longest of those that are taken no more."""
    ingredient = each.drug.ingredient.casefold().strip()
    former = [
        other
        for other in profile.prescriptions
        if other.drug.ingredient.casefold().strip() == ingredient
        and stock_key(other.drug) != stock_key(each.drug)
        and (
            other.status in ("discontinued", "superseded")
            or (StaffDecisionKind.exclude, other.rx_id) in staff_decisions
        )
        and stocks[stock_key(other.drug)].run_out_on
    ]
    return max(former, key=lambda other: stocks[stock_key(other.drug)].run_out_on or date.min, default=None)


def _begins_on(former: Prescription | None, stocks: Mapping[StockKey, Stock], today: date) -> date:
    """The day from which a drug that staff take in before its first fill is needed.

    The old strength at home is never set to zero unasked (R1.6): once that is used up.
    """
    used_up_on = stocks[stock_key(former.drug)].run_out_on if former else None
    return max(used_up_on or today, today)


def _after_former(former: Prescription | None, stock: Stock, today: date) -> list[Reason]:
    if former is None or stock.run_out_on is None or stock.run_out_on <= today:
        return []
    return [because("after_former_strength", other=former.drug.name, on=stock.run_out_on)]


def _rides(each: Prescription, rules: Rules) -> bool:
    return each.drug.unbreakable or each.drug.form.casefold() not in rules.divisible_forms


def _used_up(each: Prescription, rules: Rules, first_workable: date) -> Reason | None:
    """A ride-along is dispensed whole or not at all."""
    if each.expires_on < first_workable:
        return because("expired", on=each.expires_on)
    least = each.usual_quantity if _rides(each, rules) else whole_units(each.said.use, each.units_per_day)
    return because("no_quantity_left") if each.quantity_left < least else None


def _unauthorized(each: Prescription, first_workable: date) -> Reason | None:
    """Once the payer's prior authorization has ended the drug is out until it is renewed (R10.11)."""
    until = each.prior_authorization_until
    return because("authorization_ended", on=until) if until and until < first_workable else None


def _refused(rejection: Rejection | None, rules: Rules, today: date) -> Reason | None:
    """Refused with a date: payable from then. Refused without one: out until that can be settled."""
    if rejection is None or rejection.next_fill_on is not None:
        return None
    until = _tried_again_on(rejection, rules)
    return because("payer_refused", code=rejection.code, until=until) if until and today < until else None


def _tried_again_on(rejection: Rejection | None, rules: Rules) -> date | None:
    return rejection.rejected_on + timedelta(days=rules.rejection_days) if rejection else None


# --- remarks ---


def _shared_ingredient(each: Prescription, others: Sequence[Prescription]) -> list[Reason]:
    """A combination that holds what another drug is: perhaps the same twice, perhaps deliberate."""
    own = _ingredients(each.drug.ingredient)
    for other in others:
        theirs = _ingredients(other.drug.ingredient)
        if own != theirs and own & theirs:
            return [because("shared_ingredient", other=other.drug.name)]
    return []


@lru_cache(maxsize=10_000)
def _ingredients(named: str) -> frozenset[str]:
    return frozenset(part.strip() for part in named.casefold().split("/"))


def _elsewhere(each: Prescription, stock: Stock) -> list[Reason]:
    """Another pharmacy filled it after this one: the payer counts that, and only the patient knows what is left."""
    last = stock.last_fill
    in_use = each.status == "active" and last is not None and last.elsewhere
    return [because("filled_elsewhere", on=last.filled_on)] if in_use and last else []


def _larger_fill(
    each: Prescription, stock: Stock, profile: Profile, rules: Rules, state: str, today: date
) -> list[Reason]:
    """To whom wants longer cycles: that a state's law lets more than the usual fill be dispensed at once, where a usual
    one was taken, so much is authorized and the plan pays it. Said, and left to a pharmacist (R9.9)."""
    wanted = rules.cycle_days.get(profile.cycle_policy, 0)
    rule, _ = rule_on(each.payer, today, rules.payers, rules.unknown_payer)
    filled = any(fill.rx_id == each.rx_id and fill.days_supply >= each.usual_days for fill in stock.fills)
    return [
        because("larger_fill", law=law.name, days=law.days)
        for law in rules.larger_fills
        if law.state == state
        and law.begins_on <= today <= law.ends_on
        and each.drug.schedule in law.schedules
        and each.usual_days < min(wanted, law.days)
        and filled
        and rule.allows(law.days)
        and each.quantity_left >= each.usual_quantity * law.days / each.usual_days
    ]


def _recounted(each: Prescription, stock: Stock) -> list[Reason]:
    """The dose changed while some was left: only the patient knows how much of it (R3.6)."""
    in_use = each.status == "active" and stock.recounted_on is not None
    return [because("stock_by_new_dose", on=stock.recounted_on)] if in_use and stock.recounted_on else []


def _doubted(each: Prescription, stock: Stock) -> list[Reason]:
    """What the patient said is left cannot be, by the fills: asked again."""
    if each.status != "active" or stock.doubt is None:
        return []
    said = stock.doubt.report
    return [
        because(
            "stock_report_doubted", on=said.reported_on, days=said.days_left, by_fills=stock.doubt.by_fills
        )
    ]


def _earliest_fill(
    each: Prescription, stock: Stock, refused: Rejection | None, profile: Profile, rules: Rules, today: date
) -> list[Reason]:
    """When a drug that is never synchronized may be filled: of several prescriptions those say it that can be."""
    rest = [other for other in profile.prescriptions if other.quantity_left > 0 and other.status == "active"]
    if each.quantity_left <= 0 and any(stock_key(other.drug) == stock_key(each.drug) for other in rest):
        return []
    rule, _ = rule_on(each.payer, today, rules.payers, rules.unknown_payer)
    paid = date.min
    if refused and refused.next_fill_on:
        paid = refused.next_fill_on
    elif rule is not CASH:
        paid = payable_from(stock.fills, rule.refill_for(each.drug.schedule, each.drug.form), rule)
    day = max(paid, each.fill_from or date.min)
    return [because("schedule_2_fill_from", on=day)] if day > date.min else []


PRIOR_AUTHORIZATION_REQUIRED = "75"
"""NCPDP reject code 75."""


def wants_authorization(reason: Reason) -> bool:
    """Is it out for want of a prior authorization?"""
    return reason.code == "authorization_ended" or reason.params.get("code") == PRIOR_AUTHORIZATION_REQUIRED


def meanwhile(each: Prescription, reason: Reason, rules: Rules, today: date) -> list[Reason]:
    """What the plan pays while an authorization is pending, by its dated rule: said, and left to a pharmacist."""
    if not wants_authorization(reason):
        return []
    rule, _ = rule_on(each.payer, today, rules.payers, rules.unknown_payer)
    options = []
    if rule.transition_days:
        days, within = rule.transition_days, rule.transition_within_days
        options.append(because("transition_supply", days=days, within=within))
    if rule.emergency_hours:
        options.append(because("emergency_supply", hours=rule.emergency_hours))
    return options
