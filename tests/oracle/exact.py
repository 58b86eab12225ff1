"""An exact search for the least (avoidable days without a drug, burden) of a question.

Every cycle, every pattern of slots that are due, every first slot; for each, the days of one-time trips are searched
one after the other, and what each drug does with such days and the slots is tried in full (`courses`). Two things keep
it short. An earlier trip is never worse, so long as what is filled on it is paid: what is filled lasts as long and is
paid again earlier; so a trip is only ever tried on the first day on which one of its fills is paid (or is no late
claim). And a sum of what each drug needs at least is no more than what all need together.

Read so, where the statement leaves room:
- A slot is due, and free for any drug's fill before it joins, if a drug that has joined is due at it.
- A drug that joins at no slot of any rhythm comes by itself; drugs that can join are not tried by themselves.
- On an urgent day, which costs a trip as any other, other drugs may be filled too.
- A drug's usual fill on a slot from which it keeps the rhythm is its joining, not a fill before it.
- Overrides, costs, load, weekdays and days of the month are no part of this question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import ceil, lcm

from tests.oracle.burden import YEAR, Course, avoidable, burden
from tests.oracle.courses import Scale, Walk, Ways
from tests.oracle.question import Medication, Question
from tests.oracle.rhythm import Rhythm, patterns, rhythms


@dataclass(frozen=True)
class Best:
    """The least, and one plan that has it."""

    avoidable: int
    burden: Fraction
    cycle: int  # 0: every drug comes by itself
    slots: tuple[int, ...]  # days
    courses: tuple[Course, ...]

    def visits(self) -> list[tuple[int, list[tuple[str, int]]]]:
        """Days with their fills, (rx_id, days), up to the slot at which the last drug joins."""
        days: dict[int, list[tuple[str, int]]] = {}
        last = max((course.joins for course in self.courses if course.joins is not None), default=0)
        for course in self.courses:
            for fill in course.before:
                days.setdefault(fill.day, []).append((course.drug.rx_id, fill.days))
            if course.joins is not None:
                for slot in range(course.joins, last + 1, course.drug.share(self.cycle)):
                    fills = days.setdefault(self.slots[slot], [])
                    fills.append((course.drug.rx_id, course.drug.rhythm_fill(self.cycle)))
        return sorted(days.items())


def best(question: Question) -> Best:
    """The optimum."""
    for count in range(len(question.medications) + 1):
        found = [
            each
            for alone in combinations(question.medications, count)
            if (each := _best_with(question, frozenset(drug.rx_id for drug in alone))) is not None
        ]
        if found:
            return min(found, key=lambda each: (each.avoidable, each.burden))
    raise AssertionError("every drug by itself is a plan")


def _best_with(question: Question, alone: frozenset[str]) -> Best | None:
    """The best with these drugs by themselves, and those that fit no slot of a cycle; none where another joins nowhere.

    What is found at the first try costs no more one-time trips than `allowed`; else more are allowed.
    """
    searches = []
    for cycle in question.cycles_to_try():
        members = [drug for drug in question.medications if drug.rx_id not in alone and drug.share(cycle)]
        if members:
            searches.append(Search(question, cycle, members))
    if not searches:
        return _all_alone(question) if len(alone) == len(question.medications) else None
    searches.sort(key=lambda each: (each.per_year_alone + each.least_per_year, -each.cycle))
    least = searches[0].per_year_alone + searches[0].least_per_year
    for allowed in ALLOWED:
        found: Best | None = None
        for search in searches:
            found = search.run(found, least + allowed + Fraction(1, 1000))
        if found is not None:
            return found
    return None


ALLOWED = (1, 2, 3, 4, 6, 9, 12)
"""Beyond the least trips of a rhythm a year; with more than the last, a drug might as well come by itself."""


def _all_alone(question: Question) -> Best:
    courses = tuple(Course(drug, (), None) for drug in question.medications)
    return Best(0, burden(question, 0, (), courses), 0, (), courses)


class Search:
    """All rhythms of one cycle."""

    def __init__(self, question: Question, cycle: int, members: Sequence[Medication]) -> None:
        self.question, self.cycle, self.members = question, cycle, members
        self.others = [drug for drug in question.medications if drug not in members]
        self.per_year_alone = sum((Fraction(YEAR, drug.usual) for drug in self.others), Fraction(0))
        shares = [drug.share(cycle) for drug in members]
        rates = [Fraction(len(due), period) for due, period in patterns(question, members, cycle)]
        self.least_per_year = min(rates, default=Fraction(1)) * Fraction(YEAR, cycle)
        parts = lcm(question.w.denominator, question.v.denominator) * lcm(*shares) * cycle
        self.scale = Scale(parts, int(question.w * parts), int(question.v * parts))
        self.rhythms = [
            (rhythm, [Walk(question, drug, rhythm, self.scale) for drug in members])
            for rhythm in rhythms(question, members, cycle)
        ]
        self.found: Best | None = None
        self.below = Fraction(0)

    def run(self, found: Best | None, below: Fraction) -> Best | None:
        """The better of what was found and the best of this cycle with a burden below this."""
        self.found, self.below = found, below
        asked = []
        for rhythm, walks in self.rhythms:
            if not self._can_win(rhythm, 0):
                continue
            if (bound := self._bound(rhythm, walks)) is not None:
                asked.append((rhythm.per_year * self.scale.trip + bound, len(asked), rhythm, walks))
        for whole, _, rhythm, walks in sorted(asked, key=lambda each: each[:2]):
            if self._can_win(rhythm, whole - rhythm.per_year * self.scale.trip):
                self._days_of(rhythm, walks, frozenset())
        return self.found

    def _bound(self, rhythm: Rhythm, walks: Sequence[Walk]) -> int | None:
        """No less than this is needed; none where a drug joins nowhere."""
        cheap, most = 0, 0
        for walk in walks:
            free = walk.alone(0, self.room(rhythm) - cheap - most)
            if free is None:
                return None
            with_trips = walk.alone(self.scale.trip, self.room(rhythm) - cheap)
            if with_trips is None:
                return None
            cheap, most = cheap + free, max(most, with_trips - free)
            if not self._can_win(rhythm, cheap + most):
                return None
        return cheap + most

    def _can_win(self, rhythm: Rhythm, weight: Fraction | int) -> bool:
        return weight <= self.room(rhythm)

    def room(self, rhythm: Rhythm) -> int:
        """The most that fills and trips before joining may weigh for this rhythm to be better than what was found."""
        below = self.below
        if self.found is not None:
            below = min(below, self.found.burden) if not self.found.avoidable else below
        weight = (below - self.per_year_alone - rhythm.per_year) * self.scale.trip
        return ceil(weight) - 1

    # --- days of one-time trips ---

    def _days_of(self, rhythm: Rhythm, walks: Sequence[Walk], must: frozenset[int]) -> None:
        """Search the days of one rhythm, then the cases into which a slot parts it that nobody made due.

        The first search takes every slot of the pattern to be due. Where the best then fills a drug on a slot at which
        no drug is due yet, either the slot is not due at all, or a drug has to make it so.
        """
        doubtful = Days(self, rhythm, walks, must).run()
        if doubtful is not None:
            weight, slot = doubtful
            if self._can_win(rhythm, weight):
                without = rhythm.without(slot)
                anew = [Walk(self.question, walk.drug, without, self.scale) for walk in walks]
                self._days_of(without, anew, must)
                self._days_of(rhythm, walks, must | {slot})

    def offer(self, rhythm: Rhythm, courses: Iterable[Course]) -> None:
        """Take this plan if it is better than what was found."""
        whole = (*courses, *(Course(drug, (), None) for drug in self.others))
        weight = burden(self.question, self.cycle, rhythm.slots, whole)
        lacking = avoidable(self.question, whole, rhythm.slots)
        if self.found is None or (lacking, weight) < (self.found.avoidable, self.found.burden):
            self.found = Best(lacking, weight, self.cycle, rhythm.slots, whole)


class Days:
    """The days of one-time trips for one rhythm."""

    def __init__(self, search: Search, rhythm: Rhythm, walks: Sequence[Walk], must: frozenset[int]) -> None:
        self.search, self.rhythm, self.walks = search, rhythm, walks
        self.must = must | {0}  # slots that a drug has to make due
        self.cheapest = [walk.alone(0, search.room(rhythm)) or 0 for walk in walks]
        self.doubtful: tuple[int, int] | None = None

    def run(self) -> tuple[int, int] | None:
        """Offer what is found; the least weight of a plan that uses a slot nobody made due, and that slot."""
        if all(walk.targets for walk in self.walks):
            self._after(())
        return self.doubtful

    def _after(self, days: tuple[int, ...]) -> None:
        """With these trips, and then with one more, later than they."""
        trip, cheapest = self.search.scale.trip, sum(self.cheapest)
        spare = self.search.room(self.rhythm) - len(days) * trip - cheapest
        ways = [walk.ways(days, spare + least) for walk, least in zip(self.walks, self.cheapest, strict=True)]
        self._conclude(days, ways)
        lacking = [each for each in ways if not each.joining]
        if not self._wins((len(days) + max(_apart(lacking, days), 1)) * trip + cheapest):
            return
        until = min((each.lasts for each in lacking), default=max(each.lasts for each in ways))
        after = days[-1] if days else -1
        slots = {self.rhythm.slots[number] for number in self.rhythm.due}
        for day in sorted({day for each in ways for day in each.ready} - slots):
            if after < day <= until:
                self._after((*days, day))

    def _wins(self, weight: int) -> bool:
        return self.search._can_win(self.rhythm, weight)

    def _conclude(self, days: tuple[int, ...], ways: Sequence[Ways]) -> None:
        """The best joinings with these days, some drug joining at each slot that must be due."""
        if not all(each.joining for each in ways):
            return
        used = len(days) * self.search.scale.trip
        if not self._wins(used + sum(min(each.joining.values()) for each in ways)):
            return
        chosen = self._joinings(ways, used)
        if chosen is None:
            return
        weight, slots = chosen
        courses = [
            Course(walk.drug, way.least[slot].fills, slot)
            for walk, way, slot in zip(self.walks, ways, slots, strict=True)
        ]
        if (unmade := self._unmade(courses)) is not None and (
            self.doubtful is None or weight < self.doubtful[0]
        ):
            self.doubtful = weight, unmade
        self.search.offer(self.rhythm, courses)

    def _unmade(self, courses: Sequence[Course]) -> int | None:
        """The first slot that a fill before a joining takes for due, though no drug has made it so."""
        filled = {fill.day for course in courses for fill in course.before}
        for slot in sorted(self.rhythm.due):
            if self.rhythm.slots[slot] in filled and not any(
                self._makes(c.drug, c.joins or 0, slot) for c in courses
            ):
                return slot
        return None

    def _makes(self, drug: Medication, joins: int, slot: int) -> bool:
        return joins <= slot and (slot - joins) % drug.share(self.rhythm.cycle) == 0

    def _joinings(self, ways: Sequence[Ways], used: int) -> tuple[int, list[int]] | None:
        """One joining slot for each drug, of the least weight together, with those made due that must be."""
        best: tuple[int, list[int]] | None = None
        rest = [0]
        for each in reversed(ways):
            rest.insert(0, rest[0] + min(each.joining.values()))

        def choose(place: int, weight: int, slots: list[int], unmade: frozenset[int]) -> None:
            nonlocal best
            whole = weight + rest[place]
            if not self._wins(whole) or (best is not None and whole >= best[0]):
                return
            if place == len(ways):
                if not unmade:
                    best = weight, slots
                return
            drug = self.walks[place].drug
            for slot, added in sorted(ways[place].joining.items(), key=lambda each: (each[1], each[0])):
                left = frozenset(each for each in unmade if not self._makes(drug, slot, each))
                choose(place + 1, weight + added, [*slots, slot], left)

        choose(0, used, [], self.must)
        return best


def _apart(lacking: Sequence[Ways], days: tuple[int, ...]) -> int:
    """How many more trips drugs that do not join need at least: those of which no two can share one."""
    after = days[-1] + 1 if days else 0
    count, last = 0, -1
    for way in sorted(lacking, key=lambda each: each.lasts):
        if max(after, min(way.ready)) > last:
            count, last = count + 1, way.lasts
    return count
