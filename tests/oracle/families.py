"""Four families of patients drawn at random, as input documents, and the patients at the head of the question's page.

Two to seven drugs with random phases, what the chain's policy knows of payers, plenty authorized, no stated cycle; of
some the store has closed days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

TODAY = date(2026, 6, 10)
Document = dict[str, Any]


def drug(
    name: str, days: int, ago: int, payer: str = "commercial", *, form: str = "tablet", pack: bool = False
) -> tuple[Document, list[Document]]:
    """A prescription of one unit a day with its last fill, and the fill before that."""
    prescription = {
        "rx_id": name,
        "drug": {
            "name": f"drug {name}",
            "ingredient": name,
            "strength": "10 mg",
            "form": form,
            "unbreakable": pack,
        },
        "usual_quantity": days,
        "usual_days": days,
        "quantity_left": days * 60,
        "units_per_day": 1,
        "written_on": (TODAY - timedelta(days=ago + 3 * days)).isoformat(),
        "expires_on": (TODAY + timedelta(days=900)).isoformat(),
        "prescriber_id": "dr-1",
        "payer": payer,
    }
    return prescription, [fill_of(name, TODAY - timedelta(days=ago), days)]


def fill_of(rx_id: str, on: date, days: int, quantity: Any = None) -> Document:
    """A fill that was handed over at once."""
    return {
        "rx_id": rx_id,
        "filled_on": on.isoformat(),
        "handed_over_on": on.isoformat(),
        "days_supply": days,
        "quantity": days if quantity is None else quantity,
    }


def patient(name: str, drugs: Sequence[tuple[Document, list[Document]]], **more: Any) -> Document:
    """A document of a patient who leaves the cycle to the planner."""
    return {
        "patient_id": name,
        "store_id": "s1",
        "today": TODAY.isoformat(),
        "prescriptions": [prescription for prescription, _ in drugs],
        "fills": [fill for _, fills in drugs for fill in fills],
        **more,
    }


# --- families ---


def _thirty(rng: Random, name: str) -> tuple[Document, list[Document]]:
    return drug(
        name, 30, rng.randint(0, 29), rng.choice(("commercial", "medicaid", "part_d", "a plan unknown"))
    )


def _ninety(rng: Random, name: str) -> tuple[Document, list[Document]]:
    payers = ("commercial", "commercial", "part_d", "commercial_ninety", "a plan unknown")
    return drug(name, 90, rng.randint(0, 89), rng.choice(payers))


def _mixed(rng: Random, name: str) -> tuple[Document, list[Document]]:
    days = rng.choice((30, 60, 90))
    return drug(name, days, rng.randint(0, days - 1), rng.choice(("commercial", "part_d", "a plan unknown")))


def _with_packs(rng: Random, name: str) -> tuple[Document, list[Document]]:
    payer = rng.choice(("commercial", "medicaid", "part_d"))
    kind = rng.choice(("tablet", "tablet", "pack", "inhaler"))
    if kind == "pack":
        return drug(name, 28, rng.randint(0, 27), payer, pack=True)
    return drug(name, 30, rng.randint(0, 29), payer, form=kind)


FAMILIES: dict[str, Callable[[Random, str], tuple[Document, list[Document]]]] = {
    "30 days": _thirty,
    "90 days": _ninety,
    "30, 60 and 90 days": _mixed,
    "packs and inhalers": _with_packs,
}


def family(name: str, count: int, seed: int = 1) -> Iterator[Document]:
    """So many patients of a family; the same for the same seed."""
    for number in range(count):
        rng = Random(f"{name} {seed} {number}")
        drugs = [FAMILIES[name](rng, f"x{place}") for place in range(rng.randint(2, 7))]
        yield patient(f"p{number}", drugs, **_calendar(rng))


def _calendar(rng: Random) -> Document:
    """One store in four closes on Sundays, one in four on holidays."""
    kind = rng.choice(("always", "always", "sundays", "holidays"))
    if kind == "sundays":
        return {"calendar": {"weekdays": [0, 1, 2, 3, 4, 5]}}
    if kind == "holidays":
        closed = sorted(TODAY + timedelta(days=rng.randint(5, 360)) for _ in range(6))
        return {"calendar": {"closed_on": [day.isoformat() for day in closed]}}
    return {}


# --- the head of the page ---


def _row(name: str, *drugs: tuple[Document, list[Document]]) -> Document:
    return patient(name, drugs)


HEAD: dict[str, list[Document]] = {
    "six drugs of 90 days, two weeks apart": [
        _row("six", *(drug(f"x{n}", 90, 5 + 14 * n + shift) for n in range(6))) for shift in (0, 4, 8)
    ],
    "three drugs of 90 days": [
        _row("three", *(drug(f"x{n}", 90, ago) for n, ago in enumerate(agos)))
        for agos in ((82, 51, 21), (75, 40, 10), (60, 45, 5))
    ],
    "two drugs of 90 days, payer pays 90 alone": [
        _row("alone", drug("x1", 90, 77, "commercial_ninety"), drug("x2", 90, 51, "commercial_ninety"))
    ],
    "tablets of 30 days with one 28-day pack": [
        _row("pack", drug("x1", 30, first), drug("x2", 30, second), drug("p", 28, third, pack=True))
        for first, second, third in ((10, 20, 5), (3, 25, 15), (14, 14, 20))
    ],
    "tablets of 30 days with two inhalers": [
        _row(
            "inhalers",
            drug("x1", 30, first),
            drug("x2", 30, second),
            drug("i", 30, third, form="inhaler"),
            drug("j", 30, fourth, form="inhaler"),
        )
        for first, second, third, fourth in ((21, 13, 16, 4), (10, 20, 5, 27), (1, 9, 17, 25))
    ],
    "two drugs of 60 days": [
        _row("sixty", drug("x1", 60, first), drug("x2", 60, second)) for first, second in ((50, 20), (40, 5))
    ],
    "a new 90-day drug beside two in step": [
        _row("new", drug("x1", 90, 60), drug("x2", 90, 60), drug("x3", 90, new)) for new in (3, 10)
    ],
}
