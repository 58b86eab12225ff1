"""`anchor.choose` in columns: the candidate days in the order of the criteria, and what is said of the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

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


@dataclass(frozen=True, slots=True)
class Pick:
    """The candidate days of one patient of which a verdict tells, by their numbers. See `anchor.Verdict`."""

    options: int
    chosen: int
    offered: Sequence[int]
    were_there_no_cap: int | None
    latest_due: int | None

    @property
    def days(self) -> Iterator[int]:
        yield from (self.chosen, *self.offered)
        yield from (day for day in (self.were_there_no_cap, self.latest_due) if day is not None)


def verdicts(columns: Columns, scored: Scored) -> list[Verdict | None]:
    """See `anchor.judge`. These patients' chains have one order of criteria.

    A day that is not exact is at least as good as it truly is: only where that puts it among those that a verdict tells
    of, it is arranged in full.
    """
    picks = _picks(columns, scored, range(len(columns.questions)))
    while open_ := _not_exact(picks, scored):
        arrange_in_full(columns, scored, (day for days in open_.values() for day in days))
        picks |= _picks(columns, scored, open_)
    rows, known = np.stack(scored.scores, axis=1), columns.costs_known.tolist()
    return [
        _verdict(rows, picks[place], question.case, costs_known=known[place]) if place in picks else None
        for place, question in enumerate(columns.questions)
    ]


def _not_exact(picks: Mapping[int, Pick], scored: Scored) -> dict[int, set[int]]:
    """By patient: days of which a verdict would tell what is not exact."""
    if scored.exact.all():
        return {}
    exact = scored.exact.tolist()
    found = {place: {day for day in pick.days if not exact[day]} for place, pick in picks.items()}
    return {place: days for place, days in found.items() if days}


def _picks(columns: Columns, scored: Scored, patients: Iterable[int]) -> dict[int, Pick]:
    """Of these patients, where on any day anything could be dispensed."""
    asked = np.zeros(len(columns.questions), dtype=bool)
    asked[list(patients)] = True
    days = np.flatnonzero(scored.possible & asked[scored.of])
    scores, of = Scores(*(column[days] for column in scored.scores)), scored.of[days]
    ranks = _ranks(columns.questions[0].case, scores)
    below_cap = _below_cap(scores, of, len(asked))
    best_of_all = days[np.argsort(of * len(of) + ranks)].tolist()  # of each patient in turn
    best = days[np.argsort((2 * of + ~below_cap) * len(of) + ranks)].tolist()  # those below the cap first
    starts = np.searchsorted(of, np.arange(len(asked) + 1)).tolist()
    how_many_below_cap = np.bincount(of, below_cap, len(asked)).astype(int).tolist()
    any_full = (np.bincount(of, scores.full, len(asked)) > 0).tolist()
    due = np.flatnonzero(scores.anchor == columns.patient.latest_due[of])
    latest_due = dict(zip(of[due].tolist(), days[due].tolist(), strict=True))
    picks = {}
    for place, (first, end) in enumerate(pairwise(starts)):
        if first < end:
            offered = min(columns.questions[place].case.rules.offered_days, how_many_below_cap[place])
            picks[place] = Pick(
                options=end - first,
                chosen=best[first],
                offered=best[first : first + offered],
                were_there_no_cap=best_of_all[first] if any_full[place] else None,
                latest_due=latest_due.get(place),
            )
    return picks


def _ranks(case: Case, scores: Scores[Ints]) -> Ints:
    """The place of every candidate day among all, by the criteria. See `anchor.order_of`."""
    keys = [key for criterion in anchor.in_order(case.rules) for key in KEYS[criterion](scores)]
    order = np.lexsort(_packed([*keys, scores.load, scores.anchor])[::-1])
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks


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


def _verdict(rows: Ints, pick: Pick, case: Case, *, costs_known: bool) -> Verdict:
    scores = {day: _score(rows[day], case, costs_known=costs_known) for day in {*pick.days}}
    cap, due = pick.were_there_no_cap, pick.latest_due
    return Verdict(
        options=pick.options,
        chosen=scores[pick.chosen],
        offered=[scores[day] for day in pick.offered],
        were_there_no_cap=None if cap is None else scores[cap],
        latest_due=None if due is None else scores[due],
    )


def _score(row: Ints, case: Case, *, costs_known: bool) -> Score:
    values: Scores[int] = Scores(*row.tolist())
    return Score(
        anchor=values.anchor,
        uncovered=(values.uncovered_critical, values.uncovered),
        told_changes=values.told_changes,
        visits_before=values.visits_before,
        short_fills=values.short_fills,
        tiny_fills=values.tiny_fills,
        overrides=values.overrides,
        run_dry=values.run_dry,
        from_preferred=values.from_preferred,
        from_cushion=values.from_cushion,
        load=values.load,
        full=bool(values.full),
        extra_cost=Decimal(values.extra_cost).scaleb(-2) if costs_known else None,
        extra_cost_limit=case.extra_cost_limit,
    )
