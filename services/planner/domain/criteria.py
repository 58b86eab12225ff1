"""What the criteria see of a day, and the criteria themselves, each minimized, in the chain's order (R4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from services.planner.domain.calendar import weekday_of
from services.planner.domain.model import Rules
from services.planner.domain.rhythm import Rhythm

STEP_OF_COST = 5
"""Dollars a year: less never decides a day."""


class Score(NamedTuple):
    """One first slot of one rhythm as the criteria see it."""

    anchor: int
    rhythm: Rhythm
    uncovered: tuple[int, int]  # avoidable days: of critical drugs, of the others
    broken_promises: int
    one_time_trips: int
    trips_a_year: Fraction | int  # while searching both are counted in whole units
    short_fills: int
    overrides: int  # of refill too soon
    burden: Fraction | int
    urgent: tuple[int, int]  # visits, fills on them
    late_claims: int
    run_dry: int  # fills of drugs with nothing left that morning
    from_preferred: int
    from_cushion: int
    all_joined: int  # the day
    load: int
    full: bool  # the store has as many synchronized pickups on that day as it takes
    extra_cost: Decimal | None  # what the patient pays beyond the usual; None if unknown
    extra_cost_limit: Decimal


# --- the criteria, each minimized, in their default order (R4) ---


def avoidable_uncovered_days(score: Score) -> tuple[int, int]:
    """Days without a drug that a fill, even an urgent one, could have covered; critical drugs first."""
    return score.uncovered


def changes_to_what_was_told(score: Score) -> int:
    """Promises broken: visits moved or dropped, the day of the next pickup, drugs that join later than told."""
    return score.broken_promises


def extra_cost_above_limit(score: Score) -> Decimal:
    """What the patient pays beyond the usual, above what they accept."""
    return max(Decimal(0), _known(score.extra_cost) - score.extra_cost_limit)


def burden(score: Score) -> Fraction | int:
    """One-time trips and those of a year, with short fills, overrides, late claims, dry mornings and surplus."""
    return score.burden


def urgent_visits(score: Score) -> tuple[int, int]:
    """Visits inside the lead time, then the fills on them."""
    return score.urgent


def late_claims(score: Score) -> int:
    """Fills paid only after the day on which the store makes the claim."""
    return score.late_claims


def drugs_run_dry(score: Score) -> int:
    """Fills of drugs with nothing left that morning."""
    return score.run_dry


def distance_from_preferred_day(score: Score) -> int:
    """Days to the nearest day that the patient prefers."""
    return score.from_preferred


def extra_cost(score: Score) -> int:
    """What the patient pays beyond the usual, in whole steps."""
    return int(_known(score.extra_cost) // STEP_OF_COST)


def distance_from_cushion(score: Score) -> int:
    """How far the drugs dispensed at the first slot are from a few days left, in days, summed."""
    return score.from_cushion


Criterion = Callable[[Score], Any]

CRITERIA: tuple[Criterion, ...] = (
    avoidable_uncovered_days,
    changes_to_what_was_told,
    extra_cost_above_limit,
    burden,
    urgent_visits,
    late_claims,
    drugs_run_dry,
    distance_from_preferred_day,
    extra_cost,
    distance_from_cushion,
)
FORMER = {"visits_before_alignment": burden, "short_fills_and_overrides": burden}
"""Criteria by names that a chain's policy may still give them."""

NAMED: Mapping[str, Criterion] = {**{each.__name__: each for each in CRITERIA}, **FORMER}
OF_COST = frozenset({extra_cost_above_limit, extra_cost})


def in_order(rules: Rules) -> Sequence[Criterion]:
    """All criteria in the chain's order."""
    return list(dict.fromkeys(NAMED[name] for name in rules.criteria)) if rules.criteria else CRITERIA


def order_of(rules: Rules, *, costs_known: bool) -> Callable[[Score], tuple[Any, ...]]:
    """How scores compare: the chain's criteria, then the longer cycle, the earlier day on which all have joined, the
    least-loaded day, the earliest.

    A cost that is unknown is not nothing: unless every drug's is known, criteria of cost do not decide. A day on which
    the store takes no more pickups comes after all that leave nobody without a drug for longer.
    """
    criteria = deciding(rules, costs_known=costs_known)
    return lambda score: (
        *[criterion(score) for criterion in criteria],
        -score.rhythm.days,
        score.all_joined,
        score.load,
        score.anchor,
    )


def deciding(rules: Rules, *, costs_known: bool) -> list[Criterion]:
    criteria: list[Criterion] = [each for each in in_order(rules) if costs_known or each not in OF_COST]
    after = criteria.index(avoidable_uncovered_days) + 1 if avoidable_uncovered_days in criteria else 0
    return [*criteria[:after], store_is_full, *criteria[after:]]


def place_of_burden(rules: Rules, *, costs_known: bool) -> int | None:
    """The place of the burden among the criteria that decide; None where the chain leaves it out."""
    criteria = deciding(rules, costs_known=costs_known)
    return criteria.index(burden) if burden in criteria else None


def store_is_full(score: Score) -> bool:
    """The store has as many pickups on that day as it takes."""
    return score.full


def _known(cost: Decimal | None) -> Decimal:
    if cost is None:
        raise ValueError("a criterion of cost was asked of a day whose cost is unknown")
    return cost


@lru_cache(maxsize=4096)
def weekdays_apart(day: int, weekday: int | None) -> int:
    """Days to the nearest such weekday; none is preferred: 0."""
    if weekday is None:
        return 0
    apart = (weekday_of(day) - weekday) % 7
    return min(apart, 7 - apart)
