"""Patients for the tests of the planner: made by hand, drawn at random, or small enough for brute force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from random import Random
from typing import Any

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Drug, Fill, Prescription, Profile, Rules, StockReport
from services.planner.domain.payers import PayerRule
from tests.unit.planner.oracle import Pill, Small

TODAY = date(2026, 3, 2)  # a Monday
COMMERCIAL = Rules(payers=(PayerRule("commercial", refill_percent=75),))  # any days' supply up to the usual
EVERY_DAY = Calendar()


def in_days(days: int) -> date:
    return TODAY + timedelta(days=days)


def drug(name: str, **facts: object) -> Drug:
    return Drug(name=name, **{"ingredient": name, "strength": "10 mg", **facts})  # type: ignore[arg-type]


def prescription(name: str, **facts: object) -> Prescription:
    """A year of a tablet a day, 30 at a time, from a commercial payer, unless said otherwise."""
    usual: dict[str, object] = {
        "rx_id": f"rx-{name}",
        "drug": drug(name),
        "usual_quantity": Decimal(30),
        "usual_days": 30,
        "quantity_left": Decimal(360),
        "written_on": in_days(-100),
        "expires_on": in_days(265),
        "units_per_day": Decimal(1),
        "payer": "commercial",
        "prescriber_id": "dr-1",
    }
    return Prescription(**{**usual, **facts})  # type: ignore[arg-type]


def fill(name: str, on: date, days: int = 30) -> Fill:
    return Fill(f"rx-{name}", filled_on=on, handed_over_on=on, days_supply=days)


def patient(prescriptions: Sequence[Prescription], fills: Sequence[Fill] = (), **wishes: object) -> Profile:
    return Profile("patient-1", "store-1", tuple(prescriptions), tuple(fills), **wishes)  # type: ignore[arg-type]


def taking(run_outs: dict[str, int], **wishes: object) -> Profile:
    """A patient on thirty-day tablets that run out in so many days."""
    return patient(
        [prescription(name) for name in run_outs],
        [fill(name, in_days(days - 30)) for name, days in run_outs.items()],
        **wishes,
    )


def random_patient(rng: Random, most: int = 6) -> Profile:
    """Two or more thirty-day drugs, each filled on some day of the last thirty."""
    return taking({f"drug{n}": rng.randint(1, 30) for n in range(rng.randint(2, most))})


def wishful(profile: Profile, rng: Random) -> Profile:
    """Now and then a preferred weekday, little left to fill, an early expiry, a critical drug."""
    return replace(
        profile,
        preferred_weekday=rng.choice([None, None, 1, 4]),
        prescriptions=tuple(_scarce(each, rng) for each in profile.prescriptions),
    )


def _scarce(each: Prescription, rng: Random) -> Prescription:
    facts: dict[str, Any] = {}
    if rng.random() < 0.15:
        facts["quantity_left"] = prescription("x").usual_quantity + rng.randint(0, 40)
    if rng.random() < 0.1:
        facts["expires_on"] = TODAY + timedelta(days=rng.randint(5, 50))
    return replace(each, drug=replace(each.drug, critical=rng.random() < 0.2), **facts)


# --- small cases, for the brute force ---


def random_small(rng: Random) -> Small:
    """Two or three drugs in a cycle of about a week; now and then a ride-along, half tablets, little left to fill."""
    cycle = rng.randint(5, 9)
    horizon = 4 * cycle + 20
    open_days = frozenset(day for day in range(horizon) if rng.random() > 0.2 or day % cycle == 0)
    pills = [random_pill(rng, cycle, ride_along=False)]
    pills += [random_pill(rng, cycle, ride_along=rng.random() < 0.25) for _ in range(rng.randint(1, 2))]
    return Small(
        pills=tuple(pills),
        open_days=open_days,
        lead=rng.randint(0, 3),
        cycle=cycle,
        preferred=rng.choice([None, None, 2]),
    )


def random_pill(rng: Random, cycle: int, *, ride_along: bool) -> Pill:
    percent = rng.choice([60, 75, 85, 100])
    usual = rng.choice([cycle, cycle, cycle, max(3, cycle - 3), 2 * cycle])
    ago = rng.randint(1, usual + 2)  # the last fill, its stock counted anew by the patient now and then
    run_out = rng.choice([usual - ago, usual - ago, rng.randint(0, cycle)])
    per_day = (
        Fraction(1) if ride_along else rng.choice([Fraction(1), Fraction(1), Fraction(1, 2), Fraction(3, 2)])
    )
    units = -(-usual * per_day // 1)
    return Pill(
        run_out=max(run_out, 0),
        ready=ceil(Fraction(percent, 100) * usual) - ago,
        usual_days=usual,
        per_day=per_day,
        left=rng.choice([1000, 1000, 1000, int(units), int(units) + 3]),
        expires=rng.choice([1000, 1000, 1000, rng.randint(4, 2 * cycle)]),
        percent=percent,
        ride_along=ride_along,
        critical=rng.random() < 0.3,
    )


def as_patient(case: Small) -> tuple[Profile, Calendar, Rules]:
    """The same small case in the planner's own terms: its stock is said by the patient today."""
    prescriptions, fills, reports = [], [], []
    for number, pill in enumerate(case.pills):
        name = f"drug{number}"
        facts = drug(name, form="inhaler" if pill.ride_along else "tablet", critical=pill.critical)
        prescriptions.append(
            prescription(
                name,
                drug=facts,
                usual_quantity=Decimal(pill.usual_units),
                usual_days=pill.usual_days,
                quantity_left=Decimal(pill.left),
                units_per_day=Decimal(pill.per_day.numerator) / pill.per_day.denominator,
                payer=str(pill.percent),
                expires_on=in_days(pill.expires),
            )
        )
        fills.append(fill(name, in_days(-pill.filled_ago), pill.usual_days))
        reports.append(StockReport(f"rx-{name}", TODAY, pill.run_out))
    horizon = max(case.open_days)
    closed = frozenset(in_days(day) for day in range(horizon) if day not in case.open_days)
    rules = Rules(
        lead_days=case.lead,
        cycle_days={"rolling_30": case.cycle},
        payers=tuple(PayerRule(str(percent), refill_percent=percent) for percent in (60, 75, 85, 100)),
    )
    profile = patient(prescriptions, fills, stock_reports=tuple(reports), preferred_weekday=case.preferred)
    return profile, Calendar(closed_on=closed), rules
