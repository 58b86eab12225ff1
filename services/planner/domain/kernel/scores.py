"""`anchor.Score` in columns: what the criteria see of every candidate day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple

import numpy as np

from services.planner.domain.anchor import Score, arrange
from services.planner.domain.kernel.columns import Bools, Columns, Ints, N, Patient
from services.planner.domain.kernel.course import MOST_NEEDS, Courses, Rows
from services.planner.domain.kernel.visits import chains_of, left_on_anchor_day, trips_of


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
    of, usual_days, needs = columns.of, rows.drug.usual_days, courses.needs
    patient = Patient(*(column[of] for column in columns.patient))

    starts = np.searchsorted(rows.option, np.arange(len(of)))

    def total(values: Ints | Bools) -> Ints:
        return np.add.reduceat(values, starts, dtype=np.int64)

    beyond = np.bincount(of[rows.option], needs.count > MOST_NEEDS, len(columns.questions)) > 0
    needs.count[needs.count > MOST_NEEDS] = 0  # of patients whom the readable form judges
    fills = [*needs.days[: needs.count.max(initial=0)], courses.at_anchor]
    minimum = patient.minimum_short_fill_days[rows.option]
    short = sum((days > 0) & (days < usual_days) for days in fills)
    tiny = sum((days > 0) & (days < np.minimum(usual_days, minimum)) for days in fills)
    cost = sum(rows.cost(days) for days in fills) if columns.costs_known.any() else np.zeros_like(usual_days)
    uncovered = total(courses.uncovered)
    critical = total(courses.uncovered * rows.drug.critical)
    later = total(courses.joins == rows.second) > 0
    run_dry = total(courses.dispensed & (courses.left_at_anchor == 0))
    cushion = patient.cushion_days
    from_cushion = total(courses.dispensed * np.abs(courses.left_at_anchor - cushion[rows.option]))
    visits, exact = later.astype(np.int64), np.ones(len(of), dtype=bool)
    chains = chains_of(rows, needs)
    if chains.days.size:
        aligned = np.where(later, columns.second, columns.anchor)
        trips = trips_of(chains, aligned[chains.days])
        visits[chains.days] += trips.before
        exact[chains.days] = trips.proven
        day, left = left_on_anchor_day(trips)
        run_dry += np.bincount(day, left == 0, len(of)).astype(np.int64)
        from_cushion += np.bincount(day, np.abs(left - cushion[day]), len(of)).astype(np.int64)
    apart = ((columns.anchor + 6) % 7 - patient.preferred_weekday) % 7
    extra_cost = np.where(columns.costs_known[of], total(cost), 0)
    scores = Scores(
        anchor=columns.anchor,
        uncovered_critical=critical,
        uncovered=uncovered - critical,
        told_changes=((patient.told_anchor >= 0) & (patient.told_anchor != columns.anchor)).astype(np.int64),
        visits_before=visits,
        short_fills=total(short),
        tiny_fills=total(tiny),
        overrides=total(courses.override),
        run_dry=run_dry,
        from_preferred=np.where(patient.preferred_weekday < 0, 0, np.minimum(apart, 7 - apart)),
        from_cushion=from_cushion,
        load=columns.load,
        full=((patient.daily_cap > 0) & (patient.daily_cap <= columns.load)).astype(np.int64),
        extra_cost=extra_cost,
        above_limit=np.where(
            columns.costs_known[of], np.maximum(0, extra_cost - patient.extra_cost_limit), 0
        ),
    )
    possible = total(courses.dispensed) > 0
    return Scored(scores, of, possible, exact | beyond[of], beyond)


def arrange_in_full(columns: Columns, scored: Scored, days: Iterable[int]) -> None:
    """Have the readable form arrange candidate days whose trips only a search can tell."""
    for day in days:
        option: Score = arrange(int(columns.anchor[day]), columns.questions[scored.of[day]].case)
        scored.scores.visits_before[day] = option.visits_before
        scored.scores.run_dry[day] = option.run_dry
        scored.scores.from_cushion[day] = option.from_cushion
        scored.exact[day] = True
