"""`python -m tests.oracle [COUNT [RULES]]`: what years by the planner's plans come to, beside the best to be had.

First the patients at the head of the question's page, then COUNT (20) of each family drawn at random. RULES is the JSON
of a document's `rules`, say `'{"settled_days_left": 3}'`, by which all are planned. Late: of a
hundred first plans, those with a fill that is paid only after the store's day of filling. Dry: of a hundred fills at
the synchronized pickups once all have joined, those with nothing left that morning.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from tests.oracle.adapter import plan_of
from tests.oracle.families import FAMILIES, HEAD, Document, family
from tests.oracle.year import Year, best_rhythm, follow

WIDTHS = (44, 9, 11, 8, 9, 9, 10, 9, 6, 6, 10, 8)
TITLES = (
    "patients",
    "trips",
    "trips, mean",
    "short",
    "override",
    "without",
    "avoidable",
    "unplanned",
    "late",
    "dry",
    "best, mean",
    "within 1",
)


def main(count: int = 20, rules: str = "{}") -> None:
    """Print both tables."""
    by = json.loads(rules)
    print(_row(TITLES))
    for name, documents in HEAD.items():
        print(_row(_measured(name, documents, by)), flush=True)
    print()
    for name in FAMILIES:
        print(_row(_measured(f"{count} of the family {name}", family(name, count), by)), flush=True)


def _measured(name: str, documents: Iterable[Document], rules: Document) -> tuple[str, ...]:
    years: list[Year] = []
    bests = []
    for document in documents:
        years.append(follow({**document, "rules": rules}, plan_of))
        bests.append(best_rhythm(document))
    trips, count = [len(year.trips) for year in years], len(years)
    settled = max(1, sum(len(year.settled) for year in years))
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
        f"{100 * sum(year.is_late for year in years) / count:.0f}",
        f"{100 * sum(year.dry for year in years) / settled:.1f}",
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
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
