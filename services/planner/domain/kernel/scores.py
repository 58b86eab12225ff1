"""`anchor.Score` in columns: what the criteria see of every candidate day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple

import numpy as np

from services.planner.domain.anchor import Score, arrange
from services.planner.domain.kernel.columns import Bools, Columns, Ints, N, Patient
from services.planner.domain.kernel.course import MOST_NEEDS, Courses, Rows
from services.planner.domain.kernel.visits import left_on_anchor_day, trips_of


class Scores(NamedTuple, Generic[N]):
    """A column of each value of a `Score`."""

    anchor: N
    uncovered_critical: N
    uncovered: N  # of the others
    told_changes: N
    visits_before: N
    short_fills: N
    tiny_fills: N
    overrides: N
    run_dry: N
    from_preferred: N
    from_cushion: N
    load: N
    full: N
    extra_cost: N  # cents; 0 where it is not known
    above_limit: N  # cents


@dataclass(frozen=True, slots=True)
class Scored:
    """Every candidate day."""

    scores: Scores[Ints]
    of: Ints  # the patient of each
    possible: Bools  # at least one synchronized drug is dispensed
    exact: Bools  # otherwise no value is above the true one
    beyond: Bools  # by patient: more fills than there is room for


def scores_of(columns: Columns, rows: Rows, courses: Courses) -> Scored:
    """See `anchor.arrange`."""
    of, needs, total = columns.of, courses.needs, columns.layers.total
    patient = Patient(*(column[of] for column in columns.patient))
    beyond = np.bincount(of, total(needs.count > MOST_NEEDS), len(columns.questions)) > 0
    needs.count[needs.count > MOST_NEEDS] = 0  # of patients whom the readable form judges
    later = total(courses.joins == rows.second) > 0
    trips = trips_of(rows, needs, np.where(later, columns.second, columns.anchor))
    carried, left = left_on_anchor_day(rows, needs, trips)

    cushion = patient.cushion_days
    left_at_anchor = courses.left_at_anchor - courses.padding
    from_cushion = np.abs(left_at_anchor - columns.layers.spread(cushion))
    critical = total(courses.uncovered * rows.drug.critical)
    least = np.minimum(rows.drug.usual_days, columns.layers.spread(patient.minimum_short_fill_days))
    cost = _cost(columns, rows, courses)
    scores = Scores(
        anchor=columns.anchor,
        uncovered_critical=critical,
        uncovered=total(courses.uncovered) - critical,
        told_changes=(patient.told_anchor >= 0) & (patient.told_anchor != columns.anchor),
        visits_before=trips.before + later,
        short_fills=total(courses.fills_below(rows.drug.usual_days)),
        tiny_fills=total(courses.fills_below(least) + (courses.padding > 0)),
        overrides=total(courses.override),
        run_dry=total(courses.dispensed & (left_at_anchor == 0)) + _count(carried, left == 0, of),
        from_preferred=_weekdays_apart(columns.anchor, patient.preferred_weekday),
        from_cushion=total(courses.dispensed * from_cushion)
        + _count(carried, np.abs(left - cushion[carried]), of),
        load=columns.load,
        full=(patient.daily_cap > 0) & (patient.daily_cap <= columns.load),
        extra_cost=cost,
        above_limit=np.maximum(0, cost - patient.extra_cost_limit) * columns.costs_known[of],
    )
    return Scored(
        Scores(*(column.astype(np.int64) for column in scores)),
        of,
        total(courses.dispensed) > 0,
        trips.proven | beyond[of],
        beyond,
    )


def _cost(columns: Columns, rows: Rows, courses: Courses) -> Ints:
    """By candidate day, in cents; 0 where it is not known."""
    known = np.flatnonzero(columns.costs_known[rows.patient])
    cost = np.zeros(len(rows), dtype=np.int64)
    at = rows.take(known)
    cost[known] = sum(at.cost(days[known]) for days in courses.fills)
    return columns.layers.total(cost)


def _count(days: Ints, values: Ints | Bools, of: Ints) -> Ints:
    """The values summed by candidate day."""
    return np.bincount(days, values, len(of)).astype(np.int64)


def _weekdays_apart(day: Ints, weekday: Ints) -> Ints:
    """See `anchor.weekdays_apart`."""
    apart = ((day + 6) % 7 - weekday) % 7
    return np.where(weekday < 0, 0, np.minimum(apart, 7 - apart))


def arrange_in_full(columns: Columns, scored: Scored, days: Iterable[int]) -> None:
    """Have the readable form arrange candidate days whose trips only a search can tell."""
    for day in days:
        option: Score = arrange(int(columns.anchor[day]), columns.questions[scored.of[day]].case)
        scored.scores.visits_before[day] = option.visits_before
        scored.scores.run_dry[day] = option.run_dry
        scored.scores.from_cushion[day] = option.from_cushion
        scored.exact[day] = True
