"""From an input document to the judge's question: what of it the judge knows, read from the document alone.

The payers' rules are read from the chain's policy as a file, and from the document's own `rules.payers` before it. Of
a document that says more than the judge knows (rulings, rides, stays, costs …) no question can be made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.oracle.question import CYCLES, HORIZON, Medication, Question

PAYERS = Path(__file__).parents[2] / "services/planner/policy/payers.toml"
DIVISIBLE = ("tablet", "capsule")
LEAD = 4

KNOWN = {
    "patient_id",
    "store_id",
    "today",
    "cycle",
    "cycle_policy",
    "prescriptions",
    "fills",
    "calendar",
    "rules",
    "told",
}


@dataclass(frozen=True)
class Payer:
    """What a payer pays: from how many percent on, and which days' supplies; none: any."""

    percent: int
    sizes: frozenset[int] | None


def question_of(document: Mapping[str, Any], cycles: tuple[int, ...] | None = None) -> Question:
    """The question that a document asks; `cycles` in place of those that it leaves open."""
    if unknown := set(document) - KNOWN:
        raise ValueError(
            f"the judge does not know {', '.join(sorted(unknown))}: leave them out of the document"
        )
    today = date.fromisoformat(document["today"])
    drugs = tuple(_medication(each, document, today) for each in document["prescriptions"])
    closed = frozenset(
        day for day in range(2 * HORIZON + 200) if not is_open(document, today + timedelta(days=day))
    )
    return Question(drugs, lead=LEAD, closed=closed, cycles=cycles or _cycles(document))


def is_open(document: Mapping[str, Any], day: date) -> bool:
    """Has the store a pharmacist on this day?"""
    calendar = document.get("calendar", {})
    return day.weekday() in calendar.get("weekdays", range(7)) and day.isoformat() not in calendar.get(
        "closed_on", ()
    )


def _cycles(document: Mapping[str, Any]) -> tuple[int, ...]:
    stated = document.get("cycle_policy", "auto")
    return CYCLES if stated == "auto" else (int(stated.removeprefix("rolling_")),)


def _medication(each: Mapping[str, Any], document: Mapping[str, Any], today: date) -> Medication:
    payer = payer_of(each["payer"], document, today)
    fills = [fill for fill in document["fills"] if fill["rx_id"] == each["rx_id"]]
    whole = each["drug"].get("unbreakable", False) or each["drug"].get("form", "tablet") not in DIVISIBLE
    drug = Medication(
        each["rx_id"],
        each["usual_days"],
        0,
        0,
        payer.percent,
        payer.sizes,
        whole,
        each["drug"].get("critical", False),
    )
    run_out, payable = state_of(drug, fills)
    return Medication(
        drug.rx_id,
        drug.usual,
        (run_out - today).days,
        (payable - today).days,
        drug.percent,
        drug.sizes,
        drug.whole,
        drug.critical,
    )


def state_of(drug: Medication, fills: Iterable[Mapping[str, Any]]) -> tuple[date, date]:
    """Run-out and the payer's day after these fills; long ago without any."""
    run_out = payable = date.min
    for fill in sorted(fills, key=lambda fill: fill["filled_on"]):
        on = date.fromisoformat(fill["filled_on"])
        run_out = max(run_out, on) + timedelta(days=fill["days_supply"])
        payable = on + timedelta(days=drug.wait(fill["days_supply"]))
    return run_out, payable


# --- payers ---


def payer_of(name: str, document: Mapping[str, Any], on: date) -> Payer:
    """The rule of a payer on a day: the document's own, else the chain's, else that of one that is not listed."""
    for each in document.get("rules", {}).get("payers", ()):
        if each["payer"] == name:
            return Payer(each["refill_percent"], _sizes(each.get("days_supplies")))
    policy = _policy()
    for each in policy["payer"]:
        if each["payer"] == name and each["from"] <= on <= each.get("until", date.max):
            return Payer(each["refill_percent"], _sizes(each.get("days_supplies")))
    return Payer(policy["unknown"]["refill_percent"], None)


@lru_cache(maxsize=1)
def _policy() -> dict[str, Any]:
    return tomllib.loads(PAYERS.read_text())


def _sizes(spans: Iterable[str | int] | None) -> frozenset[int] | None:
    """Days' supplies from spans of them: 84-90, 60."""
    if spans is None:
        return None
    ends = [[int(end) for end in str(span).split("-")] for span in spans]
    return frozenset(days for end in ends for days in range(end[0], end[-1] + 1))
