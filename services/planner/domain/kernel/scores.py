"""`anchor.Score` in columns: what the criteria see of every candidate day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Generic, NamedTuple

import numpy as np

from services.planner.domain.anchor import Score, arrange
from services.planner.domain.kernel.columns import NARROW, Bools, Columns, Ints, N, Patient
from services.planner.domain.kernel.course import MOST_NEEDS, Courses, Needs, Rows
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
    of, needs = columns.of, courses.needs
    patient = Patient(*(column[of] for column in columns.patient))
    starts = np.searchsorted(rows.option, np.arange(len(of)))

    def total(values: Ints | Bools) -> Ints:
        return np.add.reduceat(values, starts, dtype=np.int64)

    beyond = np.bincount(of[rows.option], needs.count > MOST_NEEDS, len(columns.questions)) > 0
    needs.count[needs.count > MOST_NEEDS] = 0  # of patients whom the readable form judges
    critical = total(courses.uncovered * rows.drug.critical)
    cushion = patient.cushion_days
    left_at_anchor = courses.left_at_anchor - courses.padding
    from_cushion = np.abs(left_at_anchor - cushion[rows.option])
    later = total(courses.joins == rows.second) > 0
    trips = _trips(columns, rows, needs, later)
    carried, left = trips.on_anchor_day, trips.left

    usual_days = rows.drug.usual_days
    least = np.minimum(usual_days, patient.minimum_short_fill_days[rows.option])
    fills = [*needs.days[: needs.most], courses.at_anchor]
    known = columns.costs_known[of]
    cost = total(_added(rows.cost(days) for days in fills)) * known if known.any() else np.zeros_like(of)
    scores = Scores(
        anchor=columns.anchor,
        uncovered_critical=critical,
        uncovered=total(courses.uncovered) - critical,
        told_changes=((patient.told_anchor >= 0) & (patient.told_anchor != columns.anchor)).astype(np.int64),
        visits_before=trips.before + later,
        short_fills=total(_added((days > 0) & (days < usual_days) for days in fills)),
        tiny_fills=total(_added([courses.padding > 0, *((days > 0) & (days < least) for days in fills)])),
        overrides=total(courses.override),
        run_dry=total(courses.dispensed & (left_at_anchor == 0)) + _count(carried, left == 0, of),
        from_preferred=_weekdays_apart(columns.anchor, patient.preferred_weekday),
        from_cushion=total(courses.dispensed * from_cushion)
        + _count(carried, np.abs(left - cushion[carried]), of),
        load=columns.load,
        full=((patient.daily_cap > 0) & (patient.daily_cap <= columns.load)).astype(np.int64),
        extra_cost=cost,
        above_limit=np.maximum(0, cost - patient.extra_cost_limit) * known,
    )
    return Scored(scores, of, total(courses.dispensed) > 0, trips.exact | beyond[of], beyond)


class _Trips(NamedTuple):
    before: Ints  # by candidate day
    exact: Bools
    on_anchor_day: Ints  # the candidate day of each fill that falls on the anchor
    left: Ints  # days left then


def _trips(columns: Columns, rows: Rows, needs: Needs, later: Bools) -> _Trips:
    before, exact = np.zeros_like(columns.anchor), np.ones(len(columns.anchor), dtype=bool)
    chains = chains_of(rows, needs)
    if not chains.days.size:
        return _Trips(before, exact, chains.days, chains.days)
    aligned = np.where(later, columns.second, columns.anchor)
    trips = trips_of(chains, aligned[chains.days])
    before[chains.days], exact[chains.days] = trips.before, trips.proven
    return _Trips(before, exact, *left_on_anchor_day(trips))


def _count(days: Ints, values: Ints | Bools, of: Ints) -> Ints:
    """The values summed by candidate day."""
    return np.bincount(days, values, len(of)).astype(np.int64)


def _weekdays_apart(day: Ints, weekday: Ints) -> Ints:
    """See `anchor.weekdays_apart`."""
    apart = ((day + 6) % 7 - weekday) % 7
    return np.where(weekday < 0, 0, np.minimum(apart, 7 - apart))


def _added(columns: Iterable[Ints | Bools]) -> Ints:
    return reduce(np.add, (column.astype(NARROW, copy=False) for column in columns))


def arrange_in_full(columns: Columns, scored: Scored, days: Iterable[int]) -> None:
    """Have the readable form arrange candidate days whose trips only a search can tell."""
    for day in days:
        option: Score = arrange(int(columns.anchor[day]), columns.questions[scored.of[day]].case)
        scored.scores.visits_before[day] = option.visits_before
        scored.scores.run_dry[day] = option.run_dry
        scored.scores.from_cushion[day] = option.from_cushion
        scored.exact[day] = True
