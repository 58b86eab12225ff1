"""`python -m tests.oracle [COUNT]`: what years by the planner's plans come to, beside the best that can be had.

First the patients at the head of the question's page, then COUNT (20) of each family drawn at random.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tests.oracle.adapter import plan_of
from tests.oracle.families import FAMILIES, HEAD, Document, family
from tests.oracle.year import Year, best_rhythm, follow

WIDTHS = (44, 9, 11, 8, 9, 9, 10, 9, 10, 8)
TITLES = (
    "patients",
    "trips",
    "trips, mean",
    "short",
    "override",
    "without",
    "avoidable",
    "unplanned",
    "best, mean",
    "within 1",
)


def main(count: int = 20) -> None:
    """Print both tables."""
    print(_row(TITLES))
    for name, documents in HEAD.items():
        print(_row(_measured(name, documents)), flush=True)
    print()
    for name in FAMILIES:
        print(_row(_measured(f"{count} of the family {name}", family(name, count))), flush=True)


def _measured(name: str, documents: Iterable[Document]) -> tuple[str, ...]:
    years: list[Year] = []
    bests = []
    for document in documents:
        years.append(follow(document, plan_of))
        bests.append(best_rhythm(document))
    trips, count = [len(year.trips) for year in years], len(years)
    within = sum(year.weight <= best + 1 for year, best in zip(years, bests, strict=True))
    return (
        name,
        f"{min(trips)}-{max(trips)}",
        f"{sum(trips) / count:.1f}",
        f"{sum(year.short_fills for year in years) / count:.1f}",
        f"{sum(year.overrides for year in years) / count:.1f}",
        f"{sum(sum(year.without.values()) for year in years) / count:.1f}",
        f"{sum(sum(year.avoidable.values()) for year in years) / count:.1f}",
        f"{sum(len(year.unplanned) for year in years) / count:.1f}",
        f"{float(sum(bests)) / count:.1f}",
        f"{within}/{count}",
    )


def _row(cells: Iterable[str]) -> str:
    first, *rest = (
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    )
    return "  ".join([first, *rest])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
