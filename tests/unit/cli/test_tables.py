"""The tables at the end, also of a run in which nothing happened."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from cli.demo.outcome import Outcome
from cli.demo.tables import a_year, details, lead, mean, part, share


def printed(table: Table | str, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_the_lead_says_before_and_after_in_eighty_columns() -> None:
    outcome = Outcome(
        75,
        asked=120,
        enrolled=100,
        synchronized=97,
        pickups=290,
        patient_days=7_300,
        pickups_before=400,
        patient_days_before=7_300,
        cycles=100,
        cycles_with_one_pickup=62,
        fills=12_345,
        short_fills=1_234,
        short_fills_first=3,
        short_fills_latest_due=401,
        calls=12_345,
        reached=10_000,
    )
    said = printed(lead(outcome), width=120)
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines())
    rows = [" ".join(line.replace("│", " ").split()) for line in said.splitlines()]
    assert "Trips per patient and year 20.0 14.5" in rows
    assert "Cycles with exactly one pickup day 62% of 100" in rows
    assert "latest-due rule MedSync" in rows
    assert "Short fills to get in sync, as planned 401 3" in rows


def test_where_nobody_enrolled_there_is_nothing_to_compare() -> None:
    nobody = Outcome(3, candidates=1, asked=1)
    assert lead(nobody) == "3 days later: nobody enrolled (1 found, 1 asked), so there is nothing to compare."
    assert printed(details(nobody), width=120).count("–") >= 4


def test_who_has_no_plan_is_told_with_the_reason_in_words() -> None:
    said = printed(details(Outcome(1, blocked=Counter(not_reached=2))), width=120)
    assert "not reached" in said


def test_figures_of_nothing_are_none() -> None:
    assert (a_year(3, 0), mean(3, 0), share(0, 0), part(0, 0)) == ("–",) * 4
    assert (a_year(26, 730), mean(5, 2), share(1, 3), part(18, 29)) == (
        "13.0",
        "2.5",
        "33%",
        "62% of 29",
    )
