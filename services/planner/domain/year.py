"""The year behind a plan, in a line: trips before and to come, and what another rhythm would bring (R4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from math import lcm

from services.planner.domain.explain_day import rounded
from services.planner.domain.medication import Medication
from services.planner.domain.model import Commitments, Profile, PromisedRhythm, Reason, Visit, because
from services.planner.domain.rhythm import A_YEAR, AUTO, Rhythm, every_rhythm, fit_of
from services.planner.domain.search import Layout, Question

KNOWN_FROM = 180
"""Days of fills from which on the trips of the year before are known."""


def promised_rhythm(
    chosen: Layout, question: Question, profile: Profile, visits: Sequence[Visit]
) -> PromisedRhythm:
    """The rhythm as it is said, and kept once it is agreed."""
    rhythm = chosen.score.rhythm
    return PromisedRhythm(
        cycle_days=rhythm.days,
        day_of_month=rhythm.day_of_month,
        joins={
            path.medication.rx_id: date.fromordinal(path.joins)
            for path in chosen.paths
            if path.joins is not None
        },
        trips_a_year=len(_days_ahead(chosen, question, visits)),
        trips_before=_trips_before(profile, date.fromordinal(question.today)),
    )


def about_the_year(
    chosen: Layout,
    question: Question,
    profile: Profile,
    commitments: Commitments,
    visits: Sequence[Visit],
    uncovered: int,
) -> list[Reason]:
    """What the year looks like, and what another rhythm would bring; `uncovered` are the plan's days without a drug."""
    rhythm = chosen.score.rhythm
    said = promised_rhythm(chosen, question, profile, visits)
    fills = sum(item.kind == "bridge" for visit in visits for item in visit.items)
    trips, before = said.trips_a_year, said.trips_before
    line = because("year_ahead", trips=trips, short_fills=fills, uncovered=uncovered)
    if before is not None:
        line = because(
            "year_ahead_and_before", trips=trips, before=before, short_fills=fills, uncovered=uncovered
        )
    cadence = (
        because("rhythm_of_month", day=rhythm.day_of_month)
        if rhythm.day_of_month
        else because("rhythm_of_days", days=rhythm.days)
    )
    return [cadence, line, *_another_rhythm(rhythm, question, profile, commitments)]


def _another_rhythm(
    rhythm: Rhythm, question: Question, profile: Profile, commitments: Commitments
) -> list[Reason]:
    """Another rhythm that saves at least so many trips a year as the chain proposes for; asked, never taken."""
    if rhythm.day_of_month or (profile.cycle_policy == AUTO and not commitments.agreed):
        return []
    rules, here = question.rules, least_trips(question.medications, rhythm)
    others = [(least_trips(question.medications, each), -each.days, each) for each in every_rhythm(rules)]
    trips, _, best = min(others, key=lambda each: each[:2])
    if here - trips < rules.proposed_from_trips:
        return []
    fewer, more = rounded(trips), rounded(here)
    return [because("rhythm_proposed", days=best.days, trips=fewer, here=more, fewer=more - fewer)]


def least_trips(medications: Sequence[Medication], rhythm: Rhythm) -> Fraction:
    """Trips a year of a rhythm once all that fit it are due together."""
    usual = tuple(each.usual_days for each in medications)
    trips, cycles = Fraction(0), []
    for each in medications:
        fit = fit_of(each, rhythm, usual)
        if fit:
            cycles.append(fit.cycles)
        else:
            trips += Fraction(A_YEAR, max(1, each.usual_days))
    period = lcm(*cycles)
    live = sum(any(slot % each == 0 for each in cycles) for slot in range(period))
    return trips + live * A_YEAR / (rhythm.apart * period)


def _days_ahead(chosen: Layout, question: Question, visits: Sequence[Visit]) -> set[int]:
    """Days with a visit in the next 365: those of the plan, the slots at which a drug is due, and what comes by
    itself."""
    end, rhythm = question.today + question.rules.horizon_days, chosen.score.rhythm
    days = {visit.on.toordinal() for visit in visits} | {*chosen.trips}
    slots = list(chosen.slots)
    while slots[-1] < end:
        slots.append(slots[-1] + rhythm.days)
    days |= {day for slot, day in enumerate(slots) if chosen.is_live(slot)}
    for path, filled in zip(chosen.paths, chosen.fill_days, strict=True):
        if path.joins is None and filled:
            days |= set(range(filled[-1], end, path.medication.usual_days))
    return {day for day in days if question.today <= day < end}


def _trips_before(profile: Profile, today: date) -> int | None:
    """Days on which anything was handed over in the 365 before."""
    handed_over = {fill.handed_over_on for fill in profile.fills if not fill.elsewhere}
    if not handed_over or (today - min(handed_over)).days < KNOWN_FROM:
        return None
    return sum(today - timedelta(days=A_YEAR) <= on < today for on in handed_over)
