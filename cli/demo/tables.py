"""The tables at the end: what the program is for in a few rows, and every figure of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.demo.outcome import Outcome
from shared.words.formats import counted

BOOK = "outcome.txt"
"""In the demo's directory: everything in full."""

NONE = "–"
"""For a figure of nothing."""

Row = tuple[str, str, str]

# ---- tables -----------------------------------------------------------------------------------------------------


def lead(outcome: Outcome) -> Table | str:
    """What the program is for, before and after, in a few rows of 80 columns; a sentence where nobody enrolled."""
    later = f"{counted(outcome.days, 'day')} later"
    if not outcome.enrolled:
        asked = f"{outcome.candidates} found, {outcome.asked} asked"
        return f"{later}: nobody enrolled ({asked}), so there is nothing to compare."
    shown = Table(
        "",
        "before",
        "in the program",
        title=f"{later}: {outcome.enrolled} of {outcome.asked} patients asked enrolled, "
        f"{outcome.synchronized} in sync",
        title_justify="left",
        title_style="bold",
        caption=WHAT_IS_COMPARED,
        caption_justify="left",
        width=80,
    )
    shown.columns[0].ratio = 1
    shown.columns[1].justify = shown.columns[2].justify = "right"
    for rows in (_patients_gain(outcome), _short_fills(outcome), _work(outcome)):
        for row in rows:
            shown.add_row(*row)
        shown.add_section()
    return shown


WHAT_IS_COMPARED = (
    "Before: as many days of each patient's own history (a year at most), drugs in the program alone. "
    "Latest-due rule: everybody waits for the drug that runs out last, and what runs out sooner is short-filled up to "
    "that day; for the same patients on the day they enrolled."
)


def _patients_gain(outcome: Outcome) -> list[Row]:
    before, since = outcome.patient_days_before, outcome.patient_days
    return [
        (
            "Trips per patient and year",
            a_year(outcome.pickups_before, before),
            a_year(outcome.pickups, since),
        ),
        (
            "   365 days before; next 365 as planned",
            mean(outcome.trips_before, outcome.plans_of_a_year),
            mean(outcome.trips_ahead, outcome.plans_of_a_year),
        ),
        (
            "Days without a drug, per drug and year",
            a_year(outcome.uncovered_before, outcome.drug_days_before),
            a_year(outcome.uncovered_after, outcome.drug_days),
        ),
        (
            "   from the first sync date on",
            "",
            a_year(outcome.uncovered_synchronized, outcome.drug_days_synchronized),
        ),
        (
            "Days covered (PDC)",
            covered(outcome.uncovered_before, outcome.drug_days_before),
            covered(outcome.uncovered_after, outcome.drug_days),
        ),
        (
            "Cycles with exactly one pickup day",
            "",
            part(outcome.cycles_with_one_pickup, outcome.cycles),
        ),
    ]


def _short_fills(outcome: Outcome) -> list[Row]:
    by_the_rule, planned = f"{outcome.short_fills_latest_due:,}", f"{outcome.short_fills_first:,}"
    return [
        ("", "[bold]latest-due rule[/]", "[bold]MedSync[/]"),
        ("Short fills to get in sync, as planned", by_the_rule, planned),
        ("Short fills among all fills so far", "", part(outcome.short_fills, outcome.fills)),
    ]


def _work(outcome: Outcome) -> list[Row]:
    return [
        ("Calls, texts, letters; answered", "", f"{outcome.calls:,}; {outcome.reached:,}"),
        ("Counseling held, of those offered", "", part(outcome.talks, outcome.consultations)),
    ]


def details(outcome: Outcome) -> Table:
    """All figures."""
    shown = Table(
        "", "", title=f"{counted(outcome.days, 'day')} later", show_header=False, title_justify="left"
    )
    for row in (*_who(outcome), *_trips(outcome), *_what_was_filled(outcome), *_coverage(outcome)):
        shown.add_row(*row)
    shown.add_row("Without a plan now", f"{outcome.blocked.total()}")
    for reason, number in sorted(outcome.blocked.items(), key=lambda row: (-row[1], row[0])):
        shown.add_row(f"   {reason.replace('_', ' ')}", f"{number}")
    return shown


def _who(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        ("Candidates found", f"{outcome.candidates}"),
        ("Asked, and enrolled", f"{outcome.asked}, {outcome.enrolled}"),
        ("Left the program; opted out of contacts", f"{outcome.left}; {outcome.opted_out}"),
        ("Patients with a sync pickup", f"{outcome.synchronized}"),
        ("Contacts made; answered", f"{outcome.calls}; {outcome.reached}"),
        ("Renewals requested from prescribers", f"{outcome.renewals}"),
        ("Counseling offered; held", f"{outcome.consultations}; {outcome.talks}"),
    ]


def _trips(outcome: Outcome) -> list[tuple[str, str]]:
    per_patient = outcome.enrolled
    return [
        (
            "Pickup days per patient (in as many days before enrollment)",
            f"{mean(outcome.pickups, per_patient, 2)} ({mean(outcome.pickups_before, per_patient, 2)})",
        ),
        (
            "Pickup days per patient and year, before → since enrollment",
            f"{a_year(outcome.pickups_before, outcome.patient_days_before)} → "
            f"{a_year(outcome.pickups, outcome.patient_days)}",
        ),
        (
            "   365 days before enrollment → the next 365 by the newest plans",
            f"{mean(outcome.trips_before, outcome.plans_of_a_year)} → "
            f"{mean(outcome.trips_ahead, outcome.plans_of_a_year)}",
        ),
        (
            "Cycles from one sync pickup to the next; with exactly one pickup day",
            f"{outcome.cycles}; {outcome.cycles_with_one_pickup} "
            f"({share(outcome.cycles_with_one_pickup, outcome.cycles)})",
        ),
        (
            "Pickups: sync, bridge, ride-along",
            f"{outcome.synchronized_visits}, {outcome.bridge_visits}, {outcome.ride_along_visits}",
        ),
    ]


def _what_was_filled(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        ("Fills handed over; of them short fills", f"{outcome.fills}; {outcome.short_fills}"),
        (
            "Short fills of the first plans; by the latest-due rule",
            f"{outcome.short_fills_first}; {outcome.short_fills_latest_due}",
        ),
        (
            "Days without a drug in the first plans; of them, avoidable ones",
            f"{outcome.uncovered_planned}; {outcome.uncovered_avoidable}",
        ),
        ("Packages ready; returned to stock", f"{outcome.packages_ready}; {outcome.returned}"),
    ]


def _coverage(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        (
            "Drug days without the drug, of all drug days, since enrollment",
            f"{outcome.uncovered_after:,} of {outcome.drug_days:,}",
        ),
        (
            "   in as many days before",
            f"{outcome.uncovered_before:,} of {outcome.drug_days_before:,}",
        ),
        (
            "PDC before → since enrollment",
            f"{covered(outcome.uncovered_before, outcome.drug_days_before)} → "
            f"{covered(outcome.uncovered_after, outcome.drug_days)}",
        ),
        (
            "PDC since the first sync pickup",
            covered(outcome.uncovered_synchronized, outcome.drug_days_synchronized),
        ),
    ]


# ---- figures ----------------------------------------------------------------------------------------------------


def a_year(number: int, days: int) -> str:
    """At the pace of these days.

    >>> a_year(26, 730)
    '13.0'
    """
    return f"{number * 365 / days:.1f}" if days else NONE


def mean(number: int, of: int, places: int = 1) -> str:
    return f"{number / of:.{places}f}" if of else NONE


def share(part: int, whole: int, places: int = 0) -> str:
    return f"{part / whole:.{places}%}" if whole else NONE


def covered(without: int, days: int) -> str:
    return share(days - without, days, 1)


def part(number: int, whole: int) -> str:
    """The share of a whole.

    >>> part(18, 29)
    '62% of 29'
    """
    return f"{share(number, whole)} of {whole:,}" if whole else NONE


# ---- in full ----------------------------------------------------------------------------------------------------


@contextmanager
def book(directory: Path) -> Iterator[Console]:
    """Where everything is printed in full, after what stands there."""
    with (directory / BOOK).open("a", encoding="utf-8") as file:
        yield Console(file=file, width=120)
