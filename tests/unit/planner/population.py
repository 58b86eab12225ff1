"""A chain's patients, drawn at random: what is usual in a pharmacy, in its usual proportions."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from random import Random

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Drug, Fill, Prescription, Profile, Rules
from services.planner.policy import payer_rules, sync_laws

TODAY = date(2026, 3, 2)  # a Monday

_payers, _unknown = payer_rules()
POLICY = Rules(payers=_payers, unknown_payer=_unknown, laws=sync_laws())
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
    """One drug with a year of it authorised, filled regularly so far."""
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
