"""A chain's patients, drawn at random: what is usual in a pharmacy, in its usual proportions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from services.planner.domain.calendar import Calendar
from services.planner.domain.criteria import CRITERIA
from services.planner.domain.model import (
    Commitments,
    Drug,
    Fill,
    FillKind,
    Prescription,
    Profile,
    PromisedItem,
    PromisedVisit,
    Rules,
    StaffDecision,
    StaffDecisionKind,
    VisitKind,
)
from services.planner.domain.payers import PayerRule
from services.planner.policy import high_cost, payer_rules, sync_laws

TODAY = date(2026, 3, 2)  # a Monday

_payers, _unknown = payer_rules()
POLICY = Rules(payers=_payers, unknown_payer=_unknown, laws=sync_laws(), high_cost=high_cost())
"""As the service plans."""

STATES = ("CA", "TX", "NY", "FL", "OH")
FORMS = ("tablet",) * 6 + ("capsule",) * 2 + ("inhaler", "drops", "cream")
COPAYS = (Decimal(0), Decimal(5), Decimal(10), Decimal(47))


def chain_store(rng: Random) -> Calendar:
    """A store with its hours, a few closed days, its load and its cap."""
    return Calendar(
        weekdays=frozenset(range(rng.choice((5, 6, 6, 7)))),
        closed_on=frozenset(TODAY + timedelta(days=rng.randint(1, 120)) for _ in range(4)),
        load={TODAY + timedelta(days=ahead): rng.randint(0, 40) for ahead in range(60)},
        state=rng.choice(STATES),
        daily_cap=rng.choice((0, 30, 38)),
    )


def chain_patient(rng: Random, number: int) -> Profile:
    """Two to eight drugs, most for thirty days, some for ninety; about one in four cannot be divided."""
    payer = rng.choice(("commercial", "commercial", "part_d", "part_d", "medicaid", "a plan unknown"))
    count = rng.choice((2, 3, 3, 4, 4, 5, 5, 6, 7, 8))
    costs_known = rng.random() < 0.3
    drugs = [_drug(rng, f"{number}-{place}", payer, costs_known=costs_known) for place in range(count)]
    return Profile(
        patient_id=f"patient-{number:07}",
        store_id="store-1",
        prescriptions=tuple(each for each, _ in drugs),
        fills=tuple(fill for _, fills in drugs for fill in fills),
        preferred_weekday=rng.choice((None, None, 0, 1, 2, 3, 4)),
        must_weekdays=rng.choice((frozenset(), frozenset(), frozenset(), frozenset({1, 3}))),
        cycle_policy=rng.choice(("rolling_30",) * 6 + ("rolling_28", "rolling_90")),
    )


def _drug(rng: Random, name: str, payer: str, *, costs_known: bool) -> tuple[Prescription, list[Fill]]:
    """One drug with a year of it authorized, filled regularly so far."""
    days = rng.choice((30, 30, 30, 90))
    per_day = rng.choice((Decimal(1), Decimal(1), Decimal(1), Decimal(2), Decimal("0.5")))
    each = Prescription(
        rx_id=f"rx-{name}",
        drug=Drug(
            name=f"drug {name}",
            ingredient=f"ingredient {name}",
            strength="10 mg",
            form=rng.choice(FORMS),
            critical=rng.random() < 0.15,
        ),
        usual_quantity=days * per_day,
        usual_days=days,
        quantity_left=days * per_day * rng.choice((1, 2, 4, 6, 10)),
        written_on=TODAY - timedelta(days=rng.randint(30, 200)),
        expires_on=TODAY + timedelta(days=rng.randint(100, 330)),
        units_per_day=per_day,
        prescriber_id=f"dr-{rng.randint(1, 500)}",
        payer=payer,
        monthly_copay=rng.choice(COPAYS) if costs_known else None,
    )
    fills, on = [], TODAY - timedelta(days=rng.randint(0, days + 2))
    for _ in range(rng.randint(2, 12)):
        fills.append(Fill(each.rx_id, on, on + timedelta(days=rng.choice((0, 0, 1))), days))
        on -= timedelta(days=days + rng.randint(-4, 6))
    return each, fills[::-1]


# --- what is rare, and what a chain may set otherwise ---


@dataclass(frozen=True)
class Odd:
    """One patient with all that a plan is made from."""

    profile: Profile
    calendar: Calendar
    rules: Rules
    commitments: Commitments


def odd_patient(rng: Random, number: int) -> Odd:
    """A usual patient of whom much is unusual: told visits, rulings, scarce drugs, packs of a week, narrow stores."""
    profile = chain_patient(rng, number)
    profile = replace(
        profile,
        prescriptions=tuple(_odd(rng, each) for each in profile.prescriptions),
        rulings=tuple(_ruling(rng, profile) for _ in range(rng.choice((0, 0, 0, 1, 2)))),
        cycle_policy=rng.choice((profile.cycle_policy, "day_of_month")),
        day_of_month=rng.choice((1, 15, 28, None)),
        extra_cost_limit=rng.choice((None, Decimal(0), Decimal("3.335"), Decimal(20))),
        payday=rng.choice((None, None, None, 5)),
        ride_weekdays=rng.choice((frozenset(), frozenset(), frozenset(), frozenset({2}))),
        household_on=rng.choice(((), (), (), (_in_days(rng.randint(1, 30)),))),
    )
    calendar = replace(chain_store(rng), daily_cap=rng.choice((0, 0, 1, 10, 30)))
    return Odd(profile, calendar, _odd_rules(rng), _told(rng, profile))


def _odd(rng: Random, each: Prescription) -> Prescription:
    """Now and then little left, an early end, a pack of a few days, an odd dose."""
    if rng.random() < 0.1:
        days = rng.choice((5, 7, 14, 28, 28, 60, 60, 400))
        each = replace(each, usual_days=days, usual_quantity=days * (each.units_per_day or Decimal(1)))
    if rng.random() < 0.15:
        per_day = rng.choice((Decimal("0.3333"), Decimal("1.5"), Decimal("0.25"), Decimal("0.1")))
        each = replace(
            each, units_per_day=per_day, usual_quantity=(each.usual_days * per_day).quantize(Decimal(1))
        )
    if rng.random() < 0.1:
        units = rng.choice((2, 3))
        per_day = Decimal(units) / 2
        directions = f"{units} tablets every other day"
        each = replace(
            each, units_per_day=per_day, usual_quantity=each.usual_days * per_day, directions=directions
        )
    if rng.random() < 0.2:
        each = replace(each, quantity_left=each.usual_quantity * rng.randint(0, 2) + rng.randint(1, 20))
    if rng.random() < 0.15:
        each = replace(each, expires_on=_in_days(rng.randint(3, 70)))
    if rng.random() < 0.05:
        each = replace(each, fill_from=_in_days(rng.randint(3, 40)))
    if rng.random() < 0.05:
        each = replace(each, month_price=Decimal(1000))
    return each


def _ruling(rng: Random, profile: Profile) -> StaffDecision:
    kind = rng.choice(
        (StaffDecisionKind.fill, StaffDecisionKind.hold, StaffDecisionKind.quantity, StaffDecisionKind.day)
    )
    return StaffDecision(
        kind=kind,
        by="pharmacist",
        why="asked for",
        made_on=TODAY,
        rx_id=None if kind is StaffDecisionKind.day else rng.choice(profile.prescriptions).rx_id,
        on=_in_days(rng.randint(0, 40)) if kind in (StaffDecisionKind.day, StaffDecisionKind.hold) else None,
        quantity=Decimal(rng.randint(1, 60)) if kind is StaffDecisionKind.quantity else None,
    )


def _odd_rules(rng: Random) -> Rules:
    """What a chain may set, and payers that look back on what was filled, or pay some days' supplies alone."""
    payers = tuple(_odd_payer(rng, each) for each in POLICY.payers)
    names = [criterion.__name__ for criterion in CRITERIA]
    return replace(
        POLICY,
        payers=payers,
        lead_days=rng.choice((0, 2, 4, 4, 6)),
        criteria=rng.choice(((), (), tuple(rng.sample(names, len(names))))),
        offered_days=rng.choice((1, 3, 3, 5)),
        bridge_cushion_days=rng.choice((0, 0, 2, 5)),
        cushion_days=rng.choice((3, 0, 7)),
        minimum_short_fill_days=rng.choice((3, 3, 7)),
    )


SIZES = (frozenset({30, 90}), frozenset({*range(14, 31), 90}), frozenset({7, 14, 28, 30}))


def _odd_payer(rng: Random, rule: PayerRule) -> PayerRule:
    if rng.random() < 0.3:
        rule = replace(rule, look_back_days=180, most_surplus_days=rng.randint(5, 20))
    if rng.random() < 0.2:
        rule = replace(rule, days_supplies=rng.choice(SIZES), pays_short_fills=rng.random() < 0.2)
    return rule


def _told(rng: Random, profile: Profile) -> Commitments:
    """Nothing, most often; else visits that stand or may move, a day that has become impossible, refusals."""
    declined = {
        each.rx_id: _in_days(rng.randint(1, 40)) for each in profile.prescriptions if rng.random() < 0.1
    }
    if rng.random() < 0.75:
        return Commitments(declined_until=declined)
    visits = tuple(
        PromisedVisit(
            kind=rng.choice(list(VisitKind)),
            on=_in_days(rng.randint(0, 30)),
            items=tuple(
                PromisedItem(each.rx_id, FillKind.full, each.usual_quantity, each.usual_days)
                for each in rng.sample(profile.prescriptions, rng.randint(1, 2))
            ),
            confirmed=rng.random() < 0.4,
        )
        for _ in range(rng.randint(0, 2))
    )
    anchor_on = rng.choice((None, None, _in_days(rng.randint(1, 40))))
    return Commitments(agreed=True, anchor_on=anchor_on, visits=visits, declined_until=declined)


def _in_days(days: int) -> date:
    return TODAY + timedelta(days=days)
