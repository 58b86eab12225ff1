"""The search for the day of the next synchronized pickup, and the rhythm behind it: a day is judged by its year (R4).

Every rhythm, with every day that could be its first slot, has a lower bound that is cheap to tell. They are worked out
in the order of their bounds until none can be better: working one out decides for each drug at which slot it joins and
by which fills before. The criteria choose (`criteria`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from math import lcm
from typing import Any, NamedTuple

from services.planner.domain.calendar import NEVER, PickupDays
from services.planner.domain.criteria import Score, order_of, place_of_burden, weekdays_apart
from services.planner.domain.medication import Medication
from services.planner.domain.model import FillKind, PromisedItem, Reason, Rules, StaffDecision
from services.planner.domain.paths import (
    AMPLE,
    FillPath,
    FillWindow,
    Start,
    alone,
    fill_to_join,
    paths_to,
    start_of,
    with_a_gap,
)
from services.planner.domain.payers import NO_COST
from services.planner.domain.placement import (
    Choice,
    Placement,
    Setting,
    Way,
    place,
    spans_of,
    trips_at_least,
)
from services.planner.domain.rhythm import A_YEAR, Fit, Rhythm, first_days, fit_of, slot_days

FREE_SURPLUS = 14
"""Days that a drug may have left when it joins before the surplus weighs; so does each further such span begun."""

MOST_STEPS = 1000
"""Candidates worked out in one search; one that would need more says how far its answer may be from the best."""


@dataclass(frozen=True, slots=True)
class Promises:
    """What the patient was told and what may still be broken. Days are ordinals."""

    pickup: int | None = None  # the next synchronized one
    # other fills, by rx_id and day
    visits: Mapping[str, Mapping[int, PromisedItem]] = field(default_factory=dict)
    joins: Mapping[str, int] = field(default_factory=dict)  # by rx_id
    moved: tuple[int, int] | None = None  # a visit's day, and the day asked for instead
    again: int | None = None  # the synchronized pickup after the next


@dataclass(frozen=True, slots=True)
class Question:
    """One patient as the search sees them. Days are ordinals."""

    medications: tuple[Medication, ...]  # as they are after the visits that stand
    pickup: PickupDays
    today: int
    earliest: int  # the first workable day
    rhythms: tuple[Rhythm, ...]  # to choose among
    rules: Rules
    promises: Promises = Promises()
    urgent_days: frozenset[int] = frozenset()
    preferred_weekday: int | None = None
    load: Mapping[int, int] = field(default_factory=dict)
    daily_cap: int = 0  # 0: no cap
    extra_cost_limit: Decimal = Decimal("10.00")  # that the patient accepts
    staff_day: StaffDecision | None = None  # the day that staff set
    household: frozenset[int] = frozenset()  # pickups of others of the household
    household_must: bool = False
    other_cycle: Reason | None = None  # why it is another than the patient asked for


@dataclass(frozen=True, slots=True)
class Layout:
    """One first slot of one rhythm with all that it takes."""

    score: Score
    slots: tuple[int, ...]
    paths: tuple[FillPath, ...]  # of each medication, in their order
    fill_days: tuple[tuple[int, ...], ...]  # the day of each fill before, of each path
    trips: tuple[int, ...]  # days of their own, in order

    @property
    def anchor(self) -> int:
        return self.slots[0]

    def is_live(self, slot: int) -> bool:
        """Is a drug due at that slot?"""
        return any(
            path.joins is not None and slot >= path.slot and (slot - path.slot) % path.cycles == 0
            for path in self.paths
        )

    @property
    def second(self) -> int:
        """The next slot at which a drug is due."""
        return next(
            (day for slot, day in enumerate(self.slots) if slot and self.is_live(slot)),
            self.slots[-1] + self.score.rhythm.days,
        )

    def next_due(self, path: FillPath) -> int:
        """The day on which a drug is due again after it has joined."""
        again = path.slot + path.cycles
        if again < len(self.slots):
            return self.slots[again]
        return self.slots[-1] + (again - len(self.slots) + 1) * self.score.rhythm.days

    def is_paid(self, path: FillPath, fill_days: Sequence[int]) -> bool:
        """Can the drug be filled where it joins, and where it is due after that?"""
        if path.joins is None:
            return True
        if path.joins != self.anchor:
            if path.windows:
                return fill_days[-1] + path.windows[-1].wait <= path.joins
            return path.medication.payment.allows(path.joins, joining=True)
        return path.joins + path.medication.wait(path.joining[1]) <= self.next_due(path)

    @property
    def joins_later(self) -> frozenset[str]:
        """The drugs that join at a later slot, or at none."""
        return frozenset(path.medication.rx_id for path in self.paths if path.joins != self.anchor)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the criteria say about all candidate days of one patient."""

    chosen: Layout
    offered: Sequence[Score]  # the best days, the chosen one first
    short_of: Fraction | None = None  # by so much the burden may be above the least; None: it is the least


def choose(question: Question, days: Sequence[int], offered: int = 1) -> Verdict | None:
    """What the criteria say about these first days, each with each rhythm; None where on none of them a drug joins.

    With `offered` above 1 also the best days beside, with the rhythm of the first.
    """
    search = _Search(question)
    verdict = search.over(days)
    if verdict is None or offered == 1:
        return verdict
    return replace(verdict, offered=search.beside(verdict.chosen.score, days, offered))


def layout_on(question: Question, day: int) -> Layout | None:
    """The best layout whose first slot is that day; None where no drug joins on it."""
    verdict = choose(question, [day])
    return verdict.chosen if verdict else None


Live = tuple[int, ...]
"""Of the slots after which a rhythm repeats, those at which a drug is due."""

Phases = Sequence[tuple[int, ...]]
"""Of each drug the slots of its cycles at which it may join; none where it fits no slot."""


class _Candidate(NamedTuple):
    bound: tuple[Any, ...]
    day: int
    rhythm: int
    rate: int
    live: Live
    phases: Phases
    least: int
    weights: Sequence[int]  # of that, what each drug weighs
    is_hard: bool  # a drug joins only after several fills


NOWHERE = NEVER * NEVER
"""More than anything weighs."""

Least = tuple[int, int, int, bool]
"""What a drug weighs at least over the slots at which it may join: with one fill before at most, `NOWHERE` where that
reaches none of them; the same whatever the day of that fill; with however many; and whether it takes a fill before at
each of them."""


class _Search:
    """One patient's search. What weighs is counted in whole numbers, `unit` of which are one trip."""

    def __init__(self, question: Question) -> None:
        rules, drugs = question.rules, question.medications
        self.question, self.offered, self.pickup = question, 1, question.pickup
        usual = tuple(each.usual_days for each in drugs)
        self.rhythms, self.fits = _that_fit(question.rhythms, drugs, usual)
        blemishes = rules.blemishes_a_trip
        self.unit = lcm(
            rules.short_fills_a_trip,
            *(
                max(1, blemishes)
                * (A_YEAR / rhythm.apart).denominator
                * lcm(*(fit.cycles for fit in fits if fit))
                for rhythm, fits in zip(self.rhythms, self.fits, strict=True)
            ),
            *(max(1, days) for days in usual),
        )
        self.short = self.unit // rules.short_fills_a_trip
        self.blemish = self.unit // blemishes if blemishes else 0
        self.costs_known = all(each.monthly_copay is not None for each in drugs)
        self.order = order_of(rules, costs_known=self.costs_known)
        self.at_burden = place_of_burden(rules, costs_known=self.costs_known)
        self.starts = [start_of(each, self.pickup, question.earliest, question.urgent_days) for each in drugs]
        self.first_covered = min(start.covered for start in self.starts)
        self.usual_waits = [each.wait(each.usual_days) for each in drugs]
        self.waits = [(start.covered, start.along) for start in self.starts]
        self.setting = Setting(
            self.pickup,
            question.today,
            rules.claims_made_ahead,
            question.urgent_days,
            self.unit,
            self.blemish,
        )
        self.periods = [lcm(*(fit.cycles for fit in fits if fit)) for fits in self.fits]
        self.numbers = list(range(len(self.fits)))  # of the rhythms to choose among
        self.reaches: list[dict[int, tuple[int, int, int] | None]] = [{} for _ in drugs]
        self.leasts: dict[tuple[int, int, int, tuple[int, ...]], Least] = {}
        self.ways: dict[tuple[int, int, int, bool, bool], list[Way]] = {}
        self.paths: dict[tuple[int, int, int, bool, bool], list[FillPath]] = {}
        self.rates = [self._rates_of(number) for number in self.numbers]
        self.spans = [self._spans_of(number) for number in self.numbers]
        self.yearly: dict[tuple[int, int], int] = {}
        # what late claims of each drug weigh at least at every slot at which it is due, beyond the first one
        self.every_time = [
            [
                max(0, self._yearly(number, fit.cycles) - self.blemish)
                if fit
                and self._is_late_every_time(each, fill_to_join(each, fit.fills)[1], number, fit.cycles)
                else 0
                for each, fit in zip(drugs, fits, strict=True)
            ]
            for number, fits in enumerate(self.fits)
        ]
        self.slots: dict[tuple[int, int], list[int]] = {}
        self.best: dict[int, tuple[tuple[Any, ...], Layout]] = {}
        self.worst: tuple[Any, ...] | None = None  # that is to be beaten to be kept; None while any is kept
        self.above_bound = [0] * len(drugs)  # by how much each drug turned out to weigh more than its bound
        self.steps = 0
        self.days_given = False
        self.tried = 0  # sets of trips
        self.left_at: list[int] = []  # the bounds of candidates that were not worked out in full
        self.patiently = False
        self.put_off: list[_Candidate] = []  # at which a drug joins only after several fills
        clean = self.order(self.optimistic(question.promises.pickup or NEVER, self.rhythms[0], 0))
        self.nothing_to_mend = clean[: self.at_burden]

    # --- over all candidates ---

    def over(self, days: Sequence[int]) -> Verdict | None:
        """Rhythm by rhythm, those with the fewest trips a year first."""
        self._compare_all(days)
        if not self.best:
            return None
        ranked = sorted(self.best.values(), key=lambda each: each[0])
        chosen = ranked[0][1]
        short_of = max(0, self._burden_of(chosen) - min(self.left_at)) if self.left_at else 0
        return Verdict(
            settled(self._in_trips(chosen), self.question),
            self._alike(self.offered),
            Fraction(short_of, self.unit) if short_of else None,
        )

    def beside(self, chosen: Score, days: Sequence[int], offered: int) -> list[Score]:
        """The best days with the rhythm of the chosen one, that one first."""
        if self.patiently:
            return self._alike(offered)
        self.offered, self.steps, self.numbers = offered, 0, [self.rhythms.index(chosen.rhythm)]
        self._keep({day: each for day, each in self.best.items() if each[1].score.rhythm == chosen.rhythm})
        self._compare_all(days)
        others = [each for each in self._alike(offered) if each.anchor != chosen.anchor]
        return [chosen, *others][:offered]

    def _alike(self, offered: int) -> list[Score]:
        """The best of the days that were looked at, with the rhythm of the chosen one."""
        ranked = [layout.score for _, layout in sorted(self.best.values(), key=lambda each: each[0])]
        return [self._of_trips(score) for score in ranked if score.rhythm == ranked[0].rhythm][:offered]

    def _compare_all(self, days: Sequence[int]) -> None:
        """Where on no day of the first cycle everybody has their drugs, those of the second as well."""
        self.days_given = len(days) == 1
        self._compare(days, cycles=1)
        if not self._is_nobody_without_a_drug():
            self._compare(days, cycles=2)

    def _compare(self, days: Sequence[int], *, cycles: int) -> None:
        """Work out the candidates that may be better."""
        self.put_off = []
        by_rate = sorted(self.numbers, key=lambda each: (self.rate(each, (0,)), -self.rhythms[each].days))
        for number in by_rate:
            for candidate in sorted(self._candidates(number, days, cycles)):
                if self.worst is not None and candidate.bound > self.worst:
                    break
                if candidate.is_hard:
                    self.put_off.append(candidate)
                    continue
                if self.steps > MOST_STEPS:
                    self.left_at.append(candidate.least)
                    continue
                self.steps += 1
                self._work_out(candidate)
        if not self.best:
            self._work_out_put_off()
        if not self._is_nobody_without_a_drug() and self.put_off:
            self.patiently = True
            self._work_out_put_off()

    def _work_out_put_off(self) -> None:
        """Those at which a drug joins only after several fills, as many as there is time for; with patience, until one
        leaves nobody without a drug."""
        self.tried, most = 0, MOST_PATIENTLY if self.patiently else MOST_PUT_OFF
        for candidate in sorted(self.put_off):
            if self.worst is not None and candidate.bound > self.worst:
                break
            if self.tried < most and not (self.patiently and self._is_nobody_without_a_drug()):
                self._work_out(candidate, thorough=True)
            else:
                self.left_at.append(candidate.least)

    def _is_nobody_without_a_drug(self) -> bool:
        return any(not any(layout.score.uncovered) for _, layout in self.best.values())

    def _keep(self, best: dict[int, tuple[tuple[Any, ...], Layout]]) -> None:
        self.best = best
        keys = sorted(key for key, _ in best.values())
        self.worst = keys[self.offered - 1] if len(keys) >= self.offered else None

    def _burden_of(self, layout: Layout) -> int:
        return int(layout.score.burden)

    def _of_trips(self, score: Score) -> Score:
        """The score with its burden and its trips a year as fractions of a trip."""
        return score._replace(
            burden=Fraction(score.burden, self.unit), trips_a_year=Fraction(score.trips_a_year, self.unit)
        )

    def _in_trips(self, layout: Layout) -> Layout:
        return Layout(
            self._of_trips(layout.score), layout.slots, layout.paths, layout.fill_days, layout.trips
        )

    def _candidates(self, number: int, days: Sequence[int], cycles: int) -> Iterable[_Candidate]:
        """From the first workable day to a cycle after the last drug can be paid, and the day that was told; in the
        second of the `cycles` after that, where none of those will do."""
        rhythm = self.rhythms[number]
        paid = max(start.first for start in self.starts)
        last = paid + cycles * rhythm.days
        first = paid + rhythm.days + 1 if cycles > 1 else 0
        promised = self.question.promises.pickup if cycles == 1 else None
        within = [
            day
            for day in first_days(rhythm, days, last, self.pickup)
            if first <= day <= last or day == promised
        ]
        most = self._most()
        for live, phases in self._live_sets(number):
            rate = self.rate(number, live)
            for day in within if rate + sum(self.every_time[number]) <= most else ():
                bounded = self._bound(number, day, live, phases, rate)
                if bounded and bounded[0] <= most:
                    key = self.order(self.optimistic(day, rhythm, bounded[0]))
                    yield _Candidate(key, day, number, rate, live, phases, *bounded)

    def _most(self) -> int:
        """The burden above which nothing is better than what was found; no limit while that leaves something to mend
        by an earlier criterion."""
        worst, at = self.worst, self.at_burden
        if worst is None or at is None or worst[:at] != self.nothing_to_mend:
            return NEVER * self.unit
        return int(worst[at])

    def _live_sets(self, number: int) -> list[tuple[Live, Phases]]:
        """All slots, where a drug is due at each; else every set of them that drugs may be due at."""
        period = self.periods[number]
        if period > MOST_PHASES or any(fit and fit.cycles == 1 for fit in self.fits[number]):
            live = tuple(range(period))
            return [(live, self._phases(number, live))]
        sets = [
            live for size in range(1, period + 1) for live in combinations(range(period), size) if 0 in live
        ]
        longer = period * self.rhythms[number].days
        if any(self.rhythms[each].days == longer for each in self.numbers):
            sets = sets[1:]  # at one slot of the period alone it is that rhythm
        fitting = [at for at, fit in enumerate(self.fits[number]) if fit]
        with_phases = [(live, self._phases(number, live)) for live in sets]
        return [(live, phases) for live, phases in with_phases if all(phases[at] for at in fitting)]

    def _phases(self, number: int, live: Live) -> Phases:
        """Where each drug may join, if drugs are due at the live slots alone."""
        period = self.periods[number]
        return [
            tuple(
                phase
                for phase in range(fit.cycles)
                if all(slot in live for slot in range(phase, period, fit.cycles))
            )
            if fit
            else ()
            for fit in self.fits[number]
        ]

    def optimistic(
        self,
        day: int,
        rhythm: Rhythm,
        least: int,
        uncovered: tuple[int, int] = (0, 0),
        broken: int = 0,
        cost: Decimal = NO_COST,
        joined: int = 0,
    ) -> Score:
        """The score of the best that could still come of this."""
        question = self.question
        load = question.load.get(day, 0)
        pickup = question.promises.pickup
        return Score(
            day,
            rhythm,
            uncovered,
            broken + (pickup is not None and day != pickup),
            0,
            least,
            0,
            0,
            least,
            (0, 0),
            0,
            0,
            weekdays_apart(day, question.preferred_weekday),
            0,
            max(day, joined),
            load,
            0 < question.daily_cap <= load,
            cost if self.costs_known else None,
            question.extra_cost_limit,
        )

    # --- the bound ---

    def rate(self, number: int, live: Live) -> int:
        """Trips a year of the rhythm with drugs due at these slots of its period, and of those that fit no slot."""
        a_slot, by_themselves = self.rates[number]
        return len(live) * a_slot + by_themselves

    def _rates_of(self, number: int) -> tuple[int, int]:
        drugs = zip(self.question.medications, self.fits[number], strict=True)
        a_slot = A_YEAR * self.unit / (self.rhythms[number].apart * self.periods[number])
        return int(a_slot), sum(self._alone(each) for each, fit in drugs if fit is None)

    def _alone(self, each: Medication) -> int:
        """Trips a year of a drug that comes by itself."""
        return A_YEAR * self.unit // max(1, each.usual_days)

    def _bound(
        self, number: int, day: int, live: Live, phases: Phases, rate: int
    ) -> tuple[int, Sequence[int], bool] | None:
        """No layout with this first slot has a lower burden: the rate, what each drug weighs at the slot that suits it
        best, and trips for the drugs that reach no slot alone. And what of that each drug weighs; and whether one of
        them reaches none but by several fills: where none does, such ways are not tried."""
        slots = self.slots_of(number, day)
        if self.first_covered >= day and not self._joins_at_the_first(slots, phases):
            return None
        on_any_day, by_several, weights, waiting = rate, rate, [], []
        for at, of_phases in enumerate(phases):
            if not of_phases:
                weights.append(0)
                continue
            few, loosely, several, needs_fill = self._least_of(number, slots, at, of_phases)
            weights.append(few + self.every_time[number][at])
            on_any_day += loosely
            by_several += several if several < NOWHERE else 0
            if needs_fill:
                waiting.append(self.waits[at])
        least, trips = rate + sum(weights), 0
        if waiting:
            period = self.periods[number]
            comes = [on for slot, on in enumerate(slots) if slot % period in live]
            trips = trips_at_least(waiting, comes) * self.unit
        if least < NOWHERE:
            return least + trips, weights, False
        return on_any_day + trips if on_any_day < NOWHERE else by_several, weights, True

    def _joins_at_the_first(self, slots: Sequence[int], phases: Phases) -> bool:
        return any(0 in of_phases and self._reach(at, slots[0]) for at, of_phases in enumerate(phases))

    def _least_of(self, number: int, slots: Sequence[int], at: int, phases: tuple[int, ...]) -> Least:
        key = number, slots[0], at, phases
        if key not in self.leasts:
            few, loosely, several, needs_fill = NOWHERE, NOWHERE, NOWHERE, True
            fit = self.fits[number][at]
            if fit and len(phases) < fit.cycles:
                slots = [on for slot, on in enumerate(slots) if slot % fit.cycles in phases]
            for on in slots:
                if reach := self._reach(at, on):
                    weight, loose, fills = reach
                    several = loose if loose < several else several
                    if fills <= 1:
                        few = weight if weight < few else few
                        loosely = loose if loose < loosely else loosely
                        needs_fill = needs_fill and fills > 0
                        if not (few or needs_fill):
                            break
            self.leasts[key] = few, loosely, several, needs_fill
        return self.leasts[key]

    def _reach(self, at: int, day: int) -> tuple[int, int, int] | None:
        """The least that joining on that day weighs; the same whatever the day of a fill before; and how many of these
        it takes. None where it cannot be without a gap."""
        reaches = self.reaches[at]
        if day not in reaches:
            reaches[day] = self._reach_anew(self.question.medications[at], at, day)
        return reaches[day]

    def _reach_anew(self, each: Medication, at: int, day: int) -> tuple[int, int, int] | None:
        start, usual, wait = self.starts[at], each.usual_days, self.usual_waits[at]
        if each.days_left_at_fixed_visit is not None:
            return 0, 0, 0
        if start.covered >= day:
            if not each.payment.allows(day, joining=True):
                return None
            left = each.run_out - day
            late = self.setting.is_late(each.payment.joining, day)
            too_soon = self.short if each.payment.ready > day else 0
            weight = too_soon + self.blemish * (_spans(left) + (left <= 0) + late)
            return weight, weight, 0
        whole, rest = divmod(day - start.covered, usual)
        fills = whole + (rest > 0)
        if whole and rest and each.long_fill(usual + rest, AMPLE):
            return 0, 0, fills - 1
        loosely = NOWHERE if each.packs else self.short
        if start.first + fills * wait <= day:
            loosely = min(loosely, self.blemish * _spans(start.covered + fills * usual - day))
        if loosely == NOWHERE:
            return None
        if whole:
            return loosely, loosely, fills
        weight = self._by_one(each, start, usual, day)
        if weight > self.short and not each.packs:
            _, days = each.short_fill(rest, AMPLE)
            weight = min(weight, self._by_one(each, start, days, day))
        return weight, loosely, 1

    def _by_one(self, each: Medication, start: Start, days: int, day: int) -> int:
        """The least that one fill of so many days weighs that brings a drug to that day."""
        wait, setting = each.wait(days), self.setting
        if start.first + wait > day:
            return NOWHERE
        latest = min(start.covered - 1, max(setting.today, day - setting.made_ahead) - wait)
        blemished = latest < start.along or setting.is_late(each.payment.ready, latest)
        short = self.short if days < each.usual_days else 0
        return short + self.blemish * (_spans(start.covered + days - day) + blemished)

    def _spans_of(self, number: int) -> tuple[int, int, int]:
        """Of the drugs that fit a rhythm: the last day that what is left and a usual fill last to, and the days of the
        longest fill; and the days after the first slot until all that are due at each are paid again."""
        drugs = zip(self.question.medications, self.starts, self.fits[number], strict=True)
        fitting = [(each, start, fit) for each, start, fit in drugs if fit]
        waits = [each.wait(each.usual_days * fit.fills) for each, _, fit in fitting if fit.cycles == 1]
        lasts = max((start.covered + each.usual_days for each, start, _ in fitting), default=0)
        longest = max((each.usual_days for each, _, _ in fitting), default=0)
        return lasts, longest, min(max(waits, default=1), self.rhythms[number].days)

    def slots_of(self, number: int, day: int) -> list[int]:
        """The days of the slots from the first one on, as far as a drug may join."""
        key = number, day
        if key not in self.slots:
            rhythm, (lasts, longest, not_before) = self.rhythms[number], self.spans[number]
            weekday = self.question.preferred_weekday
            count = 2 + max(lasts - day, longest) // rhythm.days
            self.slots[key] = slot_days(rhythm, day, count, self.pickup, not_before, weekday)
            if day == self.question.promises.pickup:
                self.slots[key] = self._with_the_promised(self.slots[key], rhythm)
        return self.slots[key]

    def _with_the_promised(self, slots: list[int], rhythm: Rhythm) -> list[int]:
        """Moved earlier, as `settled` does, where that is how the patient was told to come again."""
        promised, weekday = self.question.promises.again, self.question.preferred_weekday
        settlings = (
            slot_days(rhythm, slots[0], len(slots), self.pickup, 1, weekday, earlier=days)
            for days in range(1, self.question.rules.settling_days + 1)
        )
        if promised is None or promised in slots:
            return slots
        return next((days for days in settlings if promised in days), slots)

    # --- one candidate ---

    def _work_out(self, candidate: _Candidate, *, thorough: bool = False) -> None:
        """Keep the best layout with this first slot, rhythm and live slots, where it is among the best.

        A day at which a drug joins only after several fills, or with days without it, or not at all, is put off: where
        there is any other, that is better.
        """
        slots, period = self.slots_of(candidate.rhythm, candidate.day), self.periods[candidate.rhythm]
        room = self._room(candidate)
        choices = self._choices(candidate, slots, room, thorough=thorough)
        if not any(way.path.joins == candidate.day for choice in choices for way in choice.ways):
            return
        free = [
            day for slot, day in enumerate(slots) if slot % period in candidate.live and day in self.pickup
        ]
        promised = sorted(
            {day for days in self.question.promises.visits.values() for day in days if day in self.pickup}
        )
        placed = self._placed(candidate, choices, free, promised, room - candidate.rate)
        if placed is None:
            return
        beside = self._by_themselves(placed, free)
        score = self._score(candidate, placed, beside)
        key = self.order(score)
        before = self.best.get(candidate.day)
        if before is None or key < before[0]:
            paths = tuple(
                way.path if way.path.joins is None else way.path._replace(slot=slots.index(way.path.joins))
                for way in placed.ways
            )
            days = tuple(
                beside.get(way.path.medication.rx_id, way.days) if way.path.joins is None else way.days
                for way in placed.ways
            )
            trips = tuple(
                sorted({*placed.trips, *(day for days in beside.values() for day in days)} - {*free})
            )
            self._keep({**self.best, candidate.day: (key, Layout(score, tuple(slots), paths, days, trips))})

    def _choices(
        self, candidate: _Candidate, slots: Sequence[int], room: int, *, thorough: bool
    ) -> Sequence[Choice]:
        """The ways of each drug; nothing where one has none, or where they weigh more than there is room for: to find
        that out soon, those go first that weighed more than their bound before."""
        choices: dict[int, Choice] = {}
        spare = room - candidate.least
        for at in sorted(range(len(candidate.phases)), key=self.above_bound.__getitem__, reverse=True):
            choices[at] = self._choice(at, candidate.rhythm, slots, candidate.phases[at], thorough=thorough)
            if not choices[at].ways:
                self.put_off.append(candidate)
                return ()
            if not thorough:
                above = choices[at].least - candidate.weights[at]
                self.above_bound[at] += above
                spare -= above
                if spare < 0:
                    return ()
        return [choices[at] for at in range(len(choices))]

    def _placed(
        self,
        candidate: _Candidate,
        choices: Sequence[Choice],
        free: Sequence[int],
        promised: Sequence[int],
        room: int,
    ) -> Placement | None:
        """The lightest trips and ways with which a drug joins at the first slot.

        Where the lightest of all have none join at it, the same is found with a later first slot; unless the days are
        given: then one of the drugs that can is made to.
        """

        def lightest(ways: Sequence[Choice]) -> Placement | None:
            found, tried, all_tried = place(
                ways, free, promised, self.setting, room, patiently=self.patiently
            )
            self.tried += tried
            if not all_tried:
                self.left_at.append(candidate.least)
            return found

        placed = lightest(choices)
        if placed is None or any(way.path.joins == candidate.day for way in placed.ways):
            return placed
        given = self.days_given or self.patiently or self.rhythms[candidate.rhythm].day_of_month is not None
        if not given:
            return None
        found = []
        for at, choice in enumerate(choices):
            joining = [way for way in choice.ways if way.path.joins == candidate.day]
            if joining:
                found.append(lightest([*choices[:at], choice._replace(ways=joining), *choices[at + 1 :]]))
        return min((each for each in found if each), key=lambda each: each.weight, default=None)

    def _room(self, candidate: _Candidate) -> int:
        """The burden up to which it is better; no limit where an earlier criterion may decide."""
        worst, at = self.worst, self.at_burden
        if worst is None or at is None or candidate.bound[:at] != worst[:at]:
            return NEVER * self.unit
        return int(worst[at])

    def _choice(
        self, at: int, number: int, slots: Sequence[int], phases: Sequence[int], *, thorough: bool
    ) -> Choice:
        """The ways of one drug into the rhythm; where there is none, it comes by itself."""
        each, fit, start = self.question.medications[at], self.fits[number][at], self.starts[at]
        if fit and each.days_left_at_fixed_visit is not None:
            return Choice([self._standing(each, fit, slots[0])], start.first, start.covered)
        found = self._ways(at, number, slots, fit, phases, gap=False, several=thorough) if fit else []
        if fit and not found and thorough:
            found = self._ways(at, number, slots, fit, phases, gap=True, several=True)
        if fit is None or (thorough and all(way.path.uncovered or way.is_chained for way in found)):
            until = max([slots[0] + self.rhythms[number].days, *slots[1:2]])
            by_itself = self._as_promised(alone(each, until, self.pickup, start))
            found.append(self._way(by_itself, number, self._alone(each) if fit else 0))
        return Choice(found, start.first, start.covered)

    def _ways(
        self,
        at: int,
        number: int,
        slots: Sequence[int],
        fit: Fit,
        phases: Sequence[int],
        *,
        gap: bool,
        several: bool,
    ) -> list[Way]:
        found: list[Way] = []
        settled: set[int] = set()  # phases that are reached without a fill before
        for slot, day in enumerate(slots):
            phase = slot % fit.cycles
            if found and self.question.medications[at].payment.staff_settled:  # at the first where it can be
                break
            if phase not in settled and phase in phases and day in self.pickup:
                ways = self._ways_on(at, number, day, fit, gap=gap, several=several)
                found += ways
                if any(not way.path.windows and not way.path.uncovered for way in ways):
                    settled.add(phase)
        return found

    def _standing(self, each: Medication, fit: Fit, day: int) -> Way:
        left = each.days_left_at_fixed_visit or 0
        joining = each.usual_fill(each.quantity_left)
        return Way(
            FillPath(each, day, 0, fit.cycles, (), joining, left, 0, standing=True), 0, 0, 0, 0, NO_COST
        )

    def _ways_on(self, at: int, number: int, day: int, fit: Fit, *, gap: bool, several: bool) -> list[Way]:
        key = at, self.rhythms[number].days, day, gap, several
        if key not in self.ways:
            paths = self._paths(at, day, fit, gap=gap, several=several)
            if fit.cycles > 1:
                paths = [path._replace(cycles=fit.cycles) for path in paths]
            self.ways[key] = [self._way(self._as_promised(path), number) for path in paths]
        return self.ways[key]

    def _paths(self, at: int, day: int, fit: Fit, *, gap: bool, several: bool) -> list[FillPath]:
        key = at, fit.fills, day, gap, several
        if key not in self.paths:
            each, start = self.question.medications[at], self.starts[at]
            self.paths[key] = (
                with_a_gap(each, day, fit.fills, self.pickup, start)
                if gap
                else paths_to(each, day, fit.fills, self.pickup, start, several=several)
            )
        return self.paths[key]

    def _as_promised(self, path: FillPath) -> FillPath:
        """A fill that the patient was told of stays on its day where it still can; one that they ask to be moved comes
        as near to the day asked for as it can."""
        promises = self.question.promises
        promised = promises.visits.get(path.medication.rx_id)
        if not promised:
            return path
        if promises.moved and promises.moved[1] in promised:
            path = _moved(path, promises.moved[1], self.pickup)
        return _kept(path, promised, self.pickup)

    def _way(self, path: FillPath, number: int, weight: int = 0) -> Way:
        """What it weighs by itself: short fills, the claim and the stock at its joining, what recurs every year."""
        each, late, dry = path.medication, 0, 0
        weight += self.short * (len(path.short_fills) + path.override)
        if path.joins is not None:
            rhythm = self.rhythms[number]
            dry = int(path.left <= 0)
            late = int(not path.windows and self.setting.is_late(each.payment.joining, path.joins))
            days, apart = path.joining[1], path.cycles * rhythm.days
            lates = drys = None
            if self._is_late_every_time(each, days, number, path.cycles):
                lates = self._yearly(number, path.cycles)
            if dry and each.wait(days) >= apart >= days:
                drys = self._yearly(number, path.cycles)
            weight += self.blemish * _spans(path.left)
            weight += late * self.blemish if lates is None else lates
            weight += dry * self.blemish if drys is None else drys
        promises = self.question.promises
        joins = promises.joins.get(each.rx_id)
        broken = int(joins is not None and (path.joins is None or path.joins > joins))
        penalty = broken * OUTWEIGHS * self.unit
        if promised := promises.visits.get(each.rx_id):
            kept = {window.first: window.days for window in path.windows if window.first == window.last}
            moved = len(promised.keys() - kept.keys() - {path.joins})
            resized = sum(promised[day].days_supply != days for day, days in kept.items() if day in promised)
            penalty += (moved * OUTWEIGHS + resized * OUTWEIGHS_SIZE) * self.unit
        weight += penalty
        spans = spans_of(path, weight, self.setting)
        return Way(path, weight, late, dry, broken, path.extra_cost or NO_COST, penalty, spans)

    def _is_late_every_time(self, each: Medication, days: int, number: int, cycles: int) -> bool:
        """Is the claim of each fill late that comes so many slots after one of so many days?"""
        return each.days_left_at_fixed_visit is None and (
            each.wait(days) > cycles * self.rhythms[number].days - self.question.rules.claims_made_ahead
        )

    def _yearly(self, number: int, cycles: int) -> int:
        """What a blemish weighs that recurs at every joining slot of a drug."""
        if (number, cycles) not in self.yearly:
            often = A_YEAR / (self.rhythms[number].apart * cycles)
            self.yearly[number, cycles] = int(often * self.blemish)
        return self.yearly[number, cycles]

    def _by_themselves(self, placed: Placement, free: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """The days of the drugs that fit no slot, by rx_id: with others where they can, else before they run out."""
        anyway = {*free, *placed.trips}
        days: dict[str, tuple[int, ...]] = {}
        for way in placed.ways:
            if way.path.joins is None:
                chosen: list[int] = []
                for window in way.path.windows:
                    payable = chosen[-1] + window.wait if chosen else window.first
                    first = max(window.first, self.pickup.on_or_after(payable))
                    shared = [day for day in anyway if first <= day <= window.last]
                    own = self.pickup.on_or_before(min(window.last, window.due - 1))
                    chosen.append(max(shared, default=max(first, own)))
                anyway |= {*chosen}
                days[way.path.medication.rx_id] = tuple(chosen)
        return days

    def _score(
        self, candidate: _Candidate, placed: Placement, beside: Mapping[str, tuple[int, ...]]
    ) -> Score:
        question, ways = self.question, placed.ways
        here = [way.path for way in ways if way.path.joins == candidate.day]
        left = [path.left - path.padding for path in here] + [
            max(0, window.due - candidate.day)
            for way in ways
            for window, day in zip(way.path.windows, way.days, strict=False)
            if day == candidate.day
        ]
        promised = {day for days in question.promises.visits.values() for day in days}
        comes = {candidate.day, *placed.trips, *(day for days in beside.values() for day in days)}
        on_urgent = [
            day for way in ways for day in (*way.days, way.path.joins) if day in question.urgent_days
        ]
        critical = sum(way.path.uncovered for way in ways if way.path.medication.critical)
        partial = self.optimistic(
            candidate.day,
            self.rhythms[candidate.rhythm],
            candidate.rate + placed.weight - sum(way.penalty for way in ways),
            (critical, sum(way.path.uncovered for way in ways) - critical),
            sum(way.broken for way in ways) + len(promised - comes),
            sum((way.cost for way in ways if way.cost), NO_COST),
            max((way.path.joins or 0 for way in ways), default=0),
        )
        return partial._replace(
            one_time_trips=len(placed.trips),
            trips_a_year=candidate.rate,
            short_fills=sum(len(way.path.short_fills) for way in ways),
            overrides=sum(way.path.override for way in ways),
            urgent=(len(set(on_urgent)), len(on_urgent)),
            late_claims=sum(way.late for way in ways),
            run_dry=sum(way.dry for way in ways),
            from_cushion=sum(abs(each - question.rules.cushion_days) for each in left),
        )


MOST_PUT_OFF, MOST_PATIENTLY = 600, 1200
"""Sets of trips tried for days that were put off, where there is no other; and where they too leave somebody without a
plan or a drug."""

OUTWEIGHS, OUTWEIGHS_SIZE = 1000, 20
"""Trips that a broken promise outweighs where trips and ways are chosen; and a fill of another size than was told."""

MOST_PHASES = 6
"""Slots after which a rhythm repeats, where the bound looks at each set of them."""


def settled(layout: Layout, question: Question) -> Layout:
    """With the slots after the first a few days earlier, until every drug has a day left: else who joins with nothing
    left would have nothing left on the morning of each pickup."""
    rhythm, slots, promises = layout.score.rhythm, layout.slots, question.promises
    if promises.again in slots[1:] and promises.pickup == layout.anchor:
        return layout
    lacking = [
        question.rules.settled_days_left - path.left
        for path in layout.paths
        if path.joins == layout.anchor and path.joining[1] == path.cycles * rhythm.days
    ]
    for days in range(min(question.rules.settling_days, max(lacking, default=0)), 0, -1):
        moved = slot_days(
            rhythm, slots[0], len(slots), question.pickup, 1, question.preferred_weekday, earlier=days
        )
        paths = [
            path
            if path.joins is None or not path.slot
            else path._replace(joins=moved[path.slot], left=path.left + slots[path.slot] - moved[path.slot])
            for path in layout.paths
        ]
        earlier = replace(layout, slots=tuple(moved), paths=tuple(paths))
        if all(map(earlier.is_paid, earlier.paths, earlier.fill_days)):
            all_joined = max(path.joins or 0 for path in paths)
            return replace(earlier, score=layout.score._replace(all_joined=all_joined))
    return layout


def _that_fit(
    rhythms: Sequence[Rhythm], drugs: Sequence[Medication], usual: Sequence[int]
) -> tuple[Sequence[Rhythm], list[list[Fit | None]]]:
    """The rhythms that every drug fits, with how each fits; all where there is none such."""
    fits = [[fit_of(each, rhythm, usual) for each in drugs] for rhythm in rhythms]
    fitting = [number for number, of_rhythm in enumerate(fits) if all(of_rhythm)]
    if not fitting:
        return rhythms, fits
    return [rhythms[number] for number in fitting], [fits[number] for number in fitting]


def _spans(left: int) -> int:
    """Each begun span of surplus beyond the one that is free."""
    return max(0, -(-(left - FREE_SURPLUS) // FREE_SURPLUS))


def _moved(path: FillPath, wanted: int, pickup: PickupDays) -> FillPath:
    """The window that is nearest to the day asked for, narrowed to its day that is."""

    def apart(window: FillWindow) -> int:
        return max(window.first - wanted, wanted - window.last, 0)

    if not path.windows:
        return path
    at, window = min(enumerate(path.windows), key=lambda each: apart(each[1]))
    nearest = max(window.first, min(window.last, wanted))
    near = {pickup.on_or_before(nearest), pickup.on_or_after(nearest)}
    day = min(near, key=lambda day: (abs(day - nearest), day))
    if not window.first <= day <= window.last:
        return path
    windows = (*path.windows[:at], window._replace(first=day, last=day), *path.windows[at + 1 :])
    return path._replace(windows=windows)


def _kept(path: FillPath, promised: Mapping[int, PromisedItem], pickup: PickupDays) -> FillPath:
    """Each window narrowed to the day that was told, if it is among its days; a short fill of the days that were told,
    if they reach as far."""
    kept = []
    payable = 0
    for window in path.windows:
        first = max(window.first, pickup.on_or_after(payable) if payable else 0)
        day = next((day for day in promised if first <= day <= window.last and day in pickup), None)
        window = window._replace(first=first) if day is None else window._replace(first=day, last=day)
        kept.append(window)
        payable = window.first + window.wait
    if not kept or any(each.first > each.last for each in kept):
        return path
    path, last = path._replace(windows=tuple(kept)), kept[-1]
    item = promised.get(last.first) if last.first == last.last else None
    if path.joins is None or item is None or item.kind is not FillKind.bridge:
        return path
    wait, longer = path.medication.wait(item.days_supply), item.days_supply - last.days
    if longer <= 0 or last.days >= path.medication.usual_days or last.first + wait > path.joins:
        return path
    last = last._replace(wait=wait, quantity=item.quantity, days=item.days_supply)
    return path._replace(windows=(*kept[:-1], last), left=path.left + longer)
