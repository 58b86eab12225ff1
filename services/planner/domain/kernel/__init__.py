"""The search for many patients at once: the same verdicts as `anchor.judge`, from arrays instead of objects.

`anchor`, `course` and `visits` are the statement of the rules; this is their fast form, held equal to them by
`tests/unit/planner/test_kernel.py`. Each function names the one that it repeats. A row is one drug on one candidate
day of one patient, or one such day.

Judged by the readable form, patient by patient, is what is rare: visits that were told and may still move, a visit
asked to be moved, more than eight fills before the anchor, quantities finer than a ten-thousandth or packs for more
than a year. Likewise single days on which the drugs' windows alone would allow fewer trips than the first way tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from services.planner.domain.anchor import Question, Verdict, judge
from services.planner.domain.kernel.choice import verdicts
from services.planner.domain.kernel.columns import columns_of, fit
from services.planner.domain.kernel.course import courses_of, rows_of
from services.planner.domain.kernel.scores import scores_of

AT_ONCE = 256
"""Patients whose columns stay in a processor's cache."""


def judge_all(questions: Sequence[Question]) -> list[Verdict | None]:
    """What the criteria say about the candidate days of each of these patients."""
    starts = range(0, len(questions), AT_ONCE)
    return [verdict for start in starts for verdict in _judge_some(questions[start : start + AT_ONCE])]


def _judge_some(questions: Sequence[Question]) -> list[Verdict | None]:
    found: list[Verdict | None] = [None] * len(questions)
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        if fit(question):
            alike[question.case.rules.criteria].append(place)
        else:
            found[place] = judge(question)
    for places in alike.values():
        places.sort(key=lambda place: -len(questions[place].case.supplies))  # as columns want them
        for place, verdict in zip(places, _judge_alike([questions[place] for place in places]), strict=True):
            found[place] = verdict
    return found


def _judge_alike(questions: Sequence[Question]) -> list[Verdict | None]:
    columns = columns_of(questions)
    rows = rows_of(columns)
    scored = scores_of(columns, rows, courses_of(rows))
    judged = verdicts(columns, scored)
    for place, beyond in enumerate(scored.beyond.tolist()):
        if beyond:
            judged[place] = judge(questions[place])
    return judged
