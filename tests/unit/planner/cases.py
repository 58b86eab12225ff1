"""Patients for the tests of the planner: made by hand, drawn at random, or small enough for brute force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Drug, Fill, Prescription, Profile, Rules
from services.planner.domain.payers import PayerRule

TODAY = date(2026, 3, 2)  # a Monday
COMMERCIAL = Rules(payers=(PayerRule("commercial", refill_percent=75),), bridge_cushion_days=0)
"""75 %, any days' supply up to the usual. A bridge ends on the day of its pickup, so its size is its gap."""

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
