"""The stream as lines, and bursts of it folded into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

RUN = 4
"""So many lines of one kind on end are folded into one."""

BURST = 40
"""So many lines that arrive at once are gathered by kind first: nobody reads them one by one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event, in words that name nobody."""

    event_id: UUID
    service: str
    kind: str  # plan-computed
    at: datetime | None  # business time
    patient_id: str | None
    store_id: str | None
    correlation_id: str
    causation_id: str | None
    topic: str
    partition: int
    offset: int
    words: str
    rx_id: str | None = None  # where it is about one drug
    number: int = 0  # its place in the stream; given when it is kept


@dataclass(frozen=True, slots=True)
class Fold:
    """Lines of one kind, shown as one that says how many they are; one line is a fold of itself."""

    lines: tuple[Line, ...]

    @property
    def count(self) -> int:
        return len(self.lines)

    @property
    def sample(self) -> Line:
        """The newest of them."""
        return max(self.lines, key=lambda line: line.number)

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest number: the lines of this kind between them are exactly these."""
        numbers = [line.number for line in self.lines]
        return min(numbers), max(numbers)


def fold(lines: Sequence[Line]) -> list[Fold]:
    """The same lines in the same order, runs of one kind folded.

    >>> [each.count for each in fold([])]
    []
    """
    runs: list[list[Line]] = []
    for line in lines:
        if runs and runs[-1][0].kind == line.kind:
            runs[-1].append(line)
        else:
            runs.append([line])
    return [each for run in runs for each in _folded(run)]


def fold_arrived(lines: Sequence[Line]) -> list[Fold]:
    """Lines that arrived at once, oldest first: a burst is gathered by kind, in the order in which the kinds came."""
    if len(lines) <= BURST:
        return fold(lines)
    by_kind: dict[str, list[Line]] = {}
    for line in lines:
        by_kind.setdefault(line.kind, []).append(line)
    return fold([line for run in by_kind.values() for line in run])


def _folded(run: Sequence[Line]) -> list[Fold]:
    return [Fold(tuple(run))] if len(run) >= RUN else [Fold((line,)) for line in run]
