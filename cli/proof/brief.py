"""The proof in three lines: what was checked, in plain words, and how much was looked at."""

from __future__ import annotations

from collections.abc import Sequence

from cli.proof.result import Result

EVENTS = "I7 one id, one payload"
FILLS = "nothing is filled before it was confirmed"
CONTACTS = "nobody is contacted who has left or said stop"
PICKED_UP = "I5 what was picked up is in the history"
COUNTED = (EVENTS, FILLS, CONTACTS, PICKED_UP)
"""The checks whose counts the lines give."""

LINES = {
    "delivery": "Nothing lost, doubled, or out of order: {0} events",
    "promises": "Nothing done that nobody asked for: {1} fills, {2} contacts",
    "records": "Each service's tables agree with the topics: {3} fills picked up",
}
"""By what checks are about: what they say together."""


def brief(results: Sequence[Result], *, seconds: float) -> list[str]:
    """The verdict and the three lines; the verdict alone where a check does not hold."""
    judged = [result for result in results if result.recorded]
    broken = [result for result in judged if not result.holds]
    if broken:
        return [f"Proof: {len(broken)} of {len(judged)} checks do not hold ({seconds:.1f} s)"]
    seen = {result.name: result.looked_at for result in judged}
    counts = [f"{seen.get(name, 0):,}" for name in COUNTED]
    return [
        f"Proof: all {len(judged)} checks hold, from topics and tables alone ({seconds:.1f} s)",
        *(f"  {line.format(*counts):<66} {_checks(judged, about)}" for about, line in LINES.items()),
    ]


def _checks(judged: Sequence[Result], about: str) -> str:
    return f"{sum(result.about == about for result in judged)} checks"
