"""Which drug takes part, and why: three states, each with a reason (domain rules: eligible prescriptions)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.planner.domain.model import (
    Participation,
    Prescription,
    Profile,
    Reason,
    Rejection,
    Rules,
    Ruling,
    RulingKind,
    because,
)
from services.planner.domain.rulings import MAY_BE_INCLUDED, Key, remarks
from services.planner.domain.stock import NEVER_TAKEN, Stock, StockKey, days_on_hand, stock_key, stocks_of


@dataclass(frozen=True, slots=True)
class Part:
    """How one prescription takes part."""

    prescription: Prescription
    participation: Participation
    reason: Reason
    stock: Stock
    payer_says: Rejection | None = None  # a refusal with a next-fill date of its own
    remarks: tuple[Reason, ...] = ()  # what staff decided about it

    @property
    def needs_renewal(self) -> bool:
        """Out only for want of authorised quantity or time: a renewal brings it back."""
        return self.reason.code in ("no_quantity_left", "expired")


def renewed_by(parts: Sequence[Part]) -> dict[str, str]:
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


NO_RULINGS: Mapping[Key, Ruling] = {}

NOT_IN_USE = {
    "on_hold": because("on_hold"),
    "discontinued": because("discontinued"),
    "superseded": because("superseded"),
}


def take_part(
    profile: Profile,
    rules: Rules,
    today: date,
    first_workable: date,
    rulings: Mapping[Key, Ruling] = NO_RULINGS,
) -> list[Part]:
    """Decide for every prescription of the profile, in its order.

    `first_workable` is the first day on which anything can be filled: what has expired by then is out.
    """
    stocks = stocks_of(profile, today)
    superseded = superseded_by(profile.prescriptions, rules, first_workable)
    beside = waiting_for_pharmacist(profile.prescriptions, superseded, stocks, today)
    refused = {each.rx_id: each for each in profile.rejections if stands(each, profile, stocks)}
    held = {_use(each) for each in profile.prescriptions if each.status == "on_hold"}

    parts = []
    for each in profile.prescriptions:
        stock = stocks[stock_key(each.drug)]
        reasons = (
            _left_out_by_staff(each, rulings),
            not_in_use(each, held),
            never_synchronized(each, rules),
            _superseded(each, superseded),
            _waits(each, beside),
            _unclear(each, rules),
            _first_fill_awaited(stock),
            _used_up(each, rules, first_workable),
            _refused(refused.get(each.rx_id), rules, today),
        )
        overruled = MAY_BE_INCLUDED if (RulingKind.include, each.rx_id) in rulings else ()
        reason = next((reason for reason in reasons if reason and reason.code not in overruled), None)
        state = Participation.excluded
        if reason is None:
            state, reason = divisible(each, rules)
        rejection = refused.get(each.rx_id)
        dated = rejection if rejection and rejection.next_fill_on else None
        parts.append(Part(each, state, reason, stock, dated, remarks(each.rx_id, state, rulings)))
    return parts


def _left_out_by_staff(each: Prescription, rulings: Mapping[Key, Ruling]) -> Reason | None:
    ruling = rulings.get((RulingKind.exclude, each.rx_id))
    return because("staff_excluded", by=ruling.by, made_on=ruling.made_on) if ruling else None


def not_in_use(each: Prescription, held: set[tuple[object, ...]]) -> Reason | None:
    """Only what the patient takes now; "I stopped taking it" holds every prescription of the same use."""
    if each.status == "active":
        return because("on_hold") if _use(each) in held else None
    return NOT_IN_USE.get(each.status, because("inactive"))


def never_synchronized(each: Prescription, rules: Rules) -> Reason | None:
    """Drugs that the programme leaves alone whatever their dates."""
    if each.drug.schedule == "c2":
        return because("schedule_2")
    if each.drug.schedule not in rules.synchronized_schedules:
        return because("controlled", schedule=each.drug.schedule)
    if each.as_needed:
        return because("as_needed")
    if each.drug.antibiotic:
        return because("antibiotic")
    return None if each.drug.maintenance else because("not_maintenance")


def superseded_by(
    prescriptions: Sequence[Prescription], rules: Rules, first_workable: date
) -> dict[str, Prescription]:
    """Of several for the same use, all but the newest that can be filled: rx_id to the one that replaces it."""
    same_use: dict[tuple[object, ...], list[Prescription]] = defaultdict(list)
    for each in prescriptions:
        if each.status == "active":
            same_use[_use(each)].append(each)
    replaced: dict[str, Prescription] = {}
    for group in same_use.values():
        renewed = {each.renews for each in group}
        newest = max(
            group,
            key=lambda each: (
                _used_up(each, rules, first_workable) is None,
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
        in_question = each.status == "active" and each.rx_id not in superseded and not each.as_needed
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
    """A refusal stands until the payer has paid a later fill of the drug."""
    for each in profile.prescriptions:
        if each.rx_id == rejection.rx_id:
            paid = stocks.get(stock_key(each.drug), NEVER_TAKEN).last_fill
            return paid is None or paid.filled_on < rejection.rejected_on
    return False


def divisible(each: Prescription, rules: Rules) -> tuple[Participation, Reason]:
    """May it be short-filled? What cannot be divided rides along."""
    if each.drug.unbreakable:
        return Participation.ride_along, because("unbreakable_pack")
    if not each.drug.form:
        return Participation.ride_along, because("form_unknown")
    if each.drug.form.casefold() not in rules.divisible_forms:
        return Participation.ride_along, because("not_divisible", form=each.drug.form)
    return Participation.sync, because("maintenance")


def _use(each: Prescription) -> tuple[object, ...]:
    """Same ingredient, strength, form and directions: only that is a renewal."""
    drug = each.drug
    directions = each.directions.casefold().strip() if each.units_per_day is None else each.units_per_day
    return (*stock_key(drug), drug.form.casefold(), directions, each.as_needed)


def _superseded(each: Prescription, superseded: Mapping[str, Prescription]) -> Reason | None:
    newer = superseded.get(each.rx_id)
    return because("superseded_by", written_on=newer.written_on) if newer else None


def _waits(each: Prescription, beside: Mapping[str, Prescription]) -> Reason | None:
    other = beside.get(each.rx_id)
    return because("same_ingredient", other=other.drug.name) if other else None


def _unclear(each: Prescription, rules: Rules) -> Reason | None:
    """Without a daily use nothing can be counted; a ride-along needs only its usual days."""
    if each.usual_days <= 0 or each.usual_quantity <= 0:
        return because("days_supply_unknown")
    return None if each.units_per_day or _rides(each, rules) else because("directions_unknown")


def _first_fill_awaited(stock: Stock) -> Reason | None:
    """A new drug joins after one tolerated fill (domain rules: changes in mid-cycle)."""
    return because("first_fill_awaited") if stock.run_out_on is None else None


def _rides(each: Prescription, rules: Rules) -> bool:
    return divisible(each, rules)[0] is Participation.ride_along


def _used_up(each: Prescription, rules: Rules, first_workable: date) -> Reason | None:
    """A ride-along is dispensed whole or not at all."""
    if each.expires_on < first_workable:
        return because("expired", on=each.expires_on)
    least = each.usual_quantity if _rides(each, rules) else 1
    return because("no_quantity_left") if each.quantity_left < least else None


def _refused(rejection: Rejection | None, rules: Rules, today: date) -> Reason | None:
    """Refused with a date: payable from then. Refused without one: out until that can be settled."""
    if rejection is None or rejection.next_fill_on is not None:
        return None
    until = rejection.rejected_on + timedelta(days=rules.rejection_days)
    return because("payer_refused", code=rejection.code, until=until) if today < until else None
