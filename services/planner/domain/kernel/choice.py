"""`anchor.choose` in columns: the candidate days in the order of the criteria, and what is said of the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from services.planner.domain import anchor
from services.planner.domain.anchor import Case, Criterion, Score, Verdict
from services.planner.domain.kernel.columns import Bools, Columns, Ints
from services.planner.domain.kernel.scores import Scored, Scores, arrange_in_full

KEYS: Mapping[Criterion, Callable[[Scores[Ints]], Sequence[Ints]]] = {
    anchor.avoidable_uncovered_days: lambda scores: (scores.uncovered_critical, scores.uncovered),
    anchor.changes_to_what_was_told: lambda scores: (scores.told_changes,),
    anchor.extra_cost_above_limit: lambda scores: (scores.above_limit,),
    anchor.visits_before_alignment: lambda scores: (scores.visits_before,),
    anchor.short_fills_and_overrides: lambda scores: (
        scores.short_fills + scores.overrides,
        scores.tiny_fills,
    ),
    anchor.drugs_run_dry: lambda scores: (scores.run_dry,),
    anchor.distance_from_preferred_day: lambda scores: (scores.from_preferred,),
    anchor.extra_cost: lambda scores: (scores.extra_cost,),
    anchor.distance_from_cushion: lambda scores: (scores.from_cushion,),
}
"""Each criterion in columns, the first to compare first. A cost that is not known is the same for all days."""


class Pick(NamedTuple):
    """The candidate days of one patient of which a verdict tells, by their numbers. See `anchor.Verdict`."""

    options: int
    chosen: int
    offered: Sequence[int]
    were_there_no_cap: int | None
    latest_due: int | None

    @property
    def days(self) -> set[int]:
        others = (self.were_there_no_cap, self.latest_due)
        return {self.chosen, *self.offered, *(day for day in others if day is not None)}


def verdicts(columns: Columns, scored: Scored) -> list[Verdict | None]:
    """See `anchor.judge`. These patients' chains have one order of criteria.

    A day that is not exact is at least as good as it truly is: only where that puts it among those that a verdict tells
    of, it is arranged in full.
    """
    picks: dict[int, Pick] = {}
    open_: Iterable[int] = range(len(columns.questions))
    while open_:
        picks |= _picks(columns, scored, open_)
        bounds = _not_exact(picks, scored)
        arrange_in_full(columns, scored, (day for days in bounds.values() for day in days))
        open_ = bounds.keys()
    told = np.array([*{day for pick in picks.values() for day in pick.days}], dtype=int)
    said = _said(columns, scored, told)
    return [
        _verdict(picks[place], said) if place in picks else None for place in range(len(columns.questions))
    ]


def _not_exact(picks: Mapping[int, Pick], scored: Scored) -> dict[int, set[int]]:
    """By patient: days of which a verdict would tell what is not exact."""
    bounds = np.flatnonzero(~scored.exact)
    of, days = set(scored.of[bounds].tolist()), set(bounds.tolist())
    found = {place: picks[place].days & days for place in of & picks.keys()}
    return {place: some for place, some in found.items() if some}


def _picks(columns: Columns, scored: Scored, patients: Iterable[int]) -> dict[int, Pick]:
    """Of these patients, where on any day anything could be dispensed."""
    asked = np.zeros(len(columns.questions), dtype=bool)
    asked[list(patients)] = True
    days = np.flatnonzero(scored.possible & asked[scored.of])
    scores, of = Scores(*(column[days] for column in scored.scores)), scored.of[days]
    order = _order(columns.questions[0].case, of, scores)
    below_cap = _below_cap(scores, of, len(asked))
    below_first = np.argsort((2 * of + ~below_cap)[order], kind="stable")
    starts = np.searchsorted(of, np.arange(len(asked) + 1)).tolist()
    best, best_of_all = days[order[below_first]].tolist(), days[order]
    how_many_below_cap = np.bincount(of, below_cap, len(asked)).astype(int).tolist()
    any_full = (np.bincount(of, scores.full, len(asked)) > 0).tolist()
    due = np.flatnonzero(scores.anchor == columns.latest_due[of])
    latest_due = dict(zip(of[due].tolist(), days[due].tolist(), strict=True))
    picks = {}
    for place, (first, end) in enumerate(pairwise(starts)):
        if first < end:
            offered = min(columns.questions[place].case.rules.offered_days, how_many_below_cap[place])
            picks[place] = Pick(
                options=end - first,
                chosen=best[first],
                offered=best[first : first + offered],
                were_there_no_cap=int(best_of_all[first]) if any_full[place] else None,
                latest_due=latest_due.get(place),
            )
    return picks


def _order(case: Case, of: Ints, scores: Scores[Ints]) -> Ints:
    """Each patient's candidate days by the criteria, patient by patient. See `anchor.order_of`."""
    keys = [key for criterion in anchor.in_order(case.rules) for key in KEYS[criterion](scores)]
    return np.lexsort(_packed([of, *keys, scores.load, scores.anchor])[::-1])


def _packed(keys: Sequence[Ints]) -> list[Ints]:
    """The same order in fewer keys: several small numbers make one."""
    packed: list[Ints] = []
    room = 0
    for key in keys:
        least = key.min(initial=0)
        span = int(key.max(initial=0) - least) + 1
        if room >= span:
            packed[-1] = packed[-1] * span + (key - least)
            room //= span
        else:
            packed.append(key - least)
            room = 2**62 // span
    return packed


def _below_cap(scores: Scores[Ints], of: Ints, patients: int) -> Bools:
    """Days on which the store takes more pickups; all of a patient where none of those is feasible. See
    `anchor.below_cap`."""
    uncovered = scores.uncovered_critical * UNCOVERED_AT_MOST + scores.uncovered
    fewest = np.full(patients, UNCOVERED_AT_MOST**2)
    np.minimum.at(fewest, of, uncovered)
    full = scores.full > 0
    feasible = np.bincount(of, ~full & (uncovered == fewest[of]), patients) > 0
    return ~(full & feasible[of])


UNCOVERED_AT_MOST = 10**6
"""Days of one patient, on one candidate day."""


def _verdict(pick: Pick, said: Mapping[int, Score]) -> Verdict:
    cap, due = pick.were_there_no_cap, pick.latest_due
    return Verdict(
        options=pick.options,
        chosen=said[pick.chosen],
        offered=[said[day] for day in pick.offered],
        were_there_no_cap=None if cap is None else said[cap],
        latest_due=None if due is None else said[due],
    )


def _said(columns: Columns, scored: Scored, days: Ints) -> dict[int, Score]:
    """These candidate days as the criteria see them."""
    values: Scores[list[int]] = Scores(*(column[days].tolist() for column in scored.scores))
    of = scored.of[days]
    costs = zip(values.extra_cost, columns.costs_known[of].tolist(), strict=True)
    scores = map(
        Score,
        values.anchor,
        zip(values.uncovered_critical, values.uncovered, strict=True),
        values.told_changes,
        values.visits_before,
        values.short_fills,
        values.tiny_fills,
        values.overrides,
        values.run_dry,
        values.from_preferred,
        values.from_cushion,
        values.load,
        map(bool, values.full),
        (Decimal(cost).scaleb(-2) if known else None for cost, known in costs),
        (columns.questions[place].case.extra_cost_limit for place in of.tolist()),
    )
    return dict(zip(days.tolist(), scores, strict=True))
