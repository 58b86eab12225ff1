"""Random questions for the two judges: small, and odd in every way that the question knows."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from tests.oracle.question import Medication, Question, filled

SIZES = (
    None,
    None,
    None,
    frozenset([*range(1, 31), 60, *range(84, 91)]),
    frozenset(range(1, 35)),
    frozenset({30, 60, 90}),
)
NINETY = frozenset(range(84, 91))

KINDS = (
    ((30,), ((30,), (28,), (28, 30))),
    ((60,), ((60,), (30,), (28, 60))),
    ((90,), ((90,), (84,), (30,), (84, 90))),
    ((30, 90), ((30,), (28, 30))),
    ((30, 60, 90), ((30,), (28,))),
    ((28, 30), ((28,), (28, 30))),
)
"""Usual days, and cycles that they are asked about."""


def random_question(rng: Random, most: int = 4) -> Question:
    """Two or more drugs of 30, 60, 90 or 28 days; packs, payers of few sizes, closed days, any lead time.

    Blemishes weigh something where there are two drugs alone: with more, the exact search takes minutes.
    """
    usuals, cycles = rng.choice(KINDS)
    drugs = tuple(_random_drug(rng, f"x{place}", usuals) for place in range(rng.randint(2, most)))
    return Question(
        drugs,
        lead=rng.choice((4, 4, 0, 2)),
        closed=_closed(rng),
        cycles=rng.choice(cycles),
        v=Fraction(1, 9) if len(drugs) == 2 and rng.random() < 0.5 else Fraction(0),
        join_by=150,
    )


def _random_drug(rng: Random, name: str, usuals: tuple[int, ...]) -> Medication:
    usual = rng.choice(usuals)
    whole = usual == 28 or rng.random() < 0.1
    sizes = rng.choice(SIZES) if usual != 90 else rng.choice((*SIZES, NINETY))
    if sizes is not None and usual not in sizes:
        sizes = None
    ago = rng.randint(0, usual + 3)
    percent = rng.choice((75, 75, 75, 85, 85, 100))
    return filled(name, usual, ago, percent, sizes=sizes, whole=whole, critical=rng.random() < 0.2)


def _closed(rng: Random) -> frozenset[int]:
    """Most often none; else a day of every week, or a few days of the year."""
    kind = rng.choice(("none", "none", "weekly", "some"))
    if kind == "weekly":
        return frozenset(range(rng.randint(0, 6), 1200, 7))
    if kind == "some":
        return frozenset(rng.randint(1, 365) for _ in range(8))
    return frozenset()
