"""The search for the anchor date, the day of the synchronized pickup.

Every candidate day is arranged in full (which drug joins when, which fills it needs before, on which trips), then
the criteria choose: see `choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from services.planner.domain.calendar import PickupDays, weekday_of
from services.planner.domain.course import Course, Need, Supply, course_of, long_course_of
from services.planner.domain.cycles import Cycle, next_anchor, pickup_candidates
from services.planner.domain.model import Reason, Rules, Ruling
from services.planner.domain.payers import NO_COST
from services.planner.domain.visits import assign, visit_days


@dataclass(frozen=True, slots=True)
class Case:
    """One patient as the search sees them. Days are ordinals."""

    supplies: tuple[Supply, ...]  # what takes part, as it stands after the visits that stand
    pickup: PickupDays
    earliest: int  # the first workable day
    cycle: Cycle
    rules: Rules
    preferred_weekday: int | None = None
    load: Mapping[int, int] = field(default_factory=dict)
    daily_cap: int = 0  # 0: no cap
    told_anchor: int | None = None
    told_days: Mapping[str, Sequence[int]] = field(
        default_factory=dict
    )  # by rx_id: visits that may still move
    moved: tuple[int, int] | None = None  # a visit's day, and the day asked for instead
    extra_cost_limit: Decimal = Decimal("10.00")  # that the patient accepts
    staff_day: Ruling | None = None  # the day that staff set
    household: frozenset[int] = frozenset()  # pickups of others of the household
    household_must: bool = False
    other_cycle: Reason | None = None  # why it is another cycle than the patient asked for


class Question(NamedTuple):
    """One patient, and the candidate days among which the criteria have to choose."""

    case: Case
    days: Sequence[int]


@dataclass(frozen=True, slots=True)
class Score:
    """One candidate day as the criteria see it."""

    anchor: int
    uncovered: tuple[int, int]  # avoidable days: of critical drugs, of the others
    told_changes: int
    visits_before: int
    short_fills: int
    tiny_fills: int  # short fills for a gap below the chain's minimum
    overrides: int  # of refill too soon
    run_dry: int  # drugs dispensed on the anchor day with nothing left at its start
    from_preferred: int
    from_cushion: int
    load: int
    full: bool  # the store has as many synchronized pickups on that day as it takes
    extra_cost: Decimal | None  # what the patient pays beyond the usual; none: unknown
    extra_cost_limit: Decimal


@dataclass(frozen=True, slots=True)
class Option(Score):
    """One candidate day with all that it takes."""

    second: int  # the synchronized pickup after it
    courses: tuple[Course, ...]
    fill_days: tuple[tuple[int, ...], ...]  # the day of each need of each course
    days: tuple[int, ...]  # of visits besides the anchor, in order

    @property
    def joins_later(self) -> frozenset[str]:
        """The drugs that join at the second pickup."""
        return frozenset(each.supply.rx_id for each in self.courses if each.joins == self.second)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the criteria say about all candidate days of one patient."""

    options: int  # days that were compared
    chosen: Score
    offered: Sequence[Score]  # the best days, the chosen one first
    were_there_no_cap: Score | None  # the best, where the store is full on some day
    latest_due: Score | None  # what the usual rule, the latest run-out day, would take


# --- the criteria, each minimised, in their default order (domain rules: anchor date choice) ---


def avoidable_uncovered_days(score: Score) -> tuple[int, int]:
    """Days without a drug from the first workable day to the second pickup; critical drugs first."""
    return score.uncovered


def changes_to_what_was_told(score: Score) -> int:
    """Visits that the patient was told of and that would not take place on their day."""
    return score.told_changes


def extra_cost_above_limit(score: Score) -> Decimal:
    """What the patient pays beyond the usual, above what they accept."""
    return max(Decimal(0), _known(score.extra_cost) - score.extra_cost_limit)


def visits_before_alignment(score: Score) -> int:
    """Distinct pickup days before the day on which every synchronized drug has joined."""
    return score.visits_before


def short_fills_and_overrides(score: Score) -> tuple[int, int]:
    """Short fills and overrides; of equals, those for a gap below the chain's minimum: an early fill is preferred."""
    return score.short_fills + score.overrides, score.tiny_fills


def drugs_run_dry(score: Score) -> int:
    """Drugs dispensed at the anchor with nothing left at the start of that day."""
    return score.run_dry


def distance_from_preferred_day(score: Score) -> int:
    """Days to the nearest day that the patient prefers."""
    return score.from_preferred


def extra_cost(score: Score) -> Decimal:
    """What the patient pays beyond the usual."""
    return _known(score.extra_cost)


def distance_from_cushion(score: Score) -> int:
    """How far the drugs dispensed at the anchor are from a few days left, in days, summed."""
    return score.from_cushion


Criterion = Callable[[Score], Any]

CRITERIA: tuple[Criterion, ...] = (
    avoidable_uncovered_days,
    changes_to_what_was_told,
    extra_cost_above_limit,
    visits_before_alignment,
    short_fills_and_overrides,
    drugs_run_dry,
    distance_from_preferred_day,
    extra_cost,
    distance_from_cushion,
)
OF_COST = frozenset({extra_cost_above_limit, extra_cost})


def judge(question: Question) -> Verdict | None:
    """What the criteria say about the candidate days; none where on no day anything could be dispensed.

    `services.planner.domain.kernel` says the same of many patients at once, faster.
    """
    case = question.case
    options = arrange_all(case, question.days)
    if not options:
        return None
    chosen, offered = choose(options, case.rules)
    latest = latest_due(case)
    return Verdict(
        options=len(options),
        chosen=chosen,
        offered=offered,
        were_there_no_cap=min(options, key=order_of(options, case.rules))
        if any(option.full for option in options)
        else None,
        latest_due=next((option for option in options if option.anchor == latest), None),
    )


def choose(options: Sequence[Option], rules: Rules) -> tuple[Option, list[Option]]:
    """The anchor date, and the best days to offer, the anchor date first."""
    criteria = order_of(options, rules)
    open_days = below_cap(options)
    chosen = min(open_days, key=criteria)  # this line decides the anchor date
    return chosen, sorted(open_days, key=criteria)[: rules.offered_days]


def below_cap(options: Sequence[Option]) -> Sequence[Option]:
    """The days on which the store takes more pickups; all of them where none of those is feasible.

    A constraint before the criteria, not one of them: no day is filled above the cap for the sake of a trip or a
    preference, only where every other day leaves a drug uncovered for longer (domain rules: store calendar).
    """
    fewest = min(option.uncovered for option in options)
    feasible = any(option.uncovered == fewest and not option.full for option in options)
    return [option for option in options if not option.full] if feasible else options


def order_of(options: Sequence[Score], rules: Rules) -> Callable[[Score], tuple[Any, ...]]:
    """How options compare: the chain's criteria in its order, then the least-loaded day, then the earliest."""
    criteria = deciding(options, rules)
    return lambda option: (*(criterion(option) for criterion in criteria), option.load, option.anchor)


def deciding(options: Sequence[Score], rules: Rules) -> list[Criterion]:
    """The criteria that decide among these options, the first one first.

    A cost that is unknown is not nothing: unless every option's is known, criteria of cost do not decide.
    """
    costs_known = all(option.extra_cost is not None for option in options)
    return [each for each in in_order(rules) if costs_known or each not in OF_COST]


def in_order(rules: Rules) -> Sequence[Criterion]:
    """All criteria in the chain's order."""
    named = {criterion.__name__: criterion for criterion in CRITERIA}
    return [named[name] for name in rules.criteria] if rules.criteria else CRITERIA


def latest_due(case: Case) -> int:
    """The day of the usual rule: when the last synchronized drug runs out, or the pickup day before."""
    return case.pickup.on_or_before(max(each.lacks_from for each in case.supplies if not each.ride_along))


def nearest_feasible(options: Sequence[Option], wanted: int, told: Option | None) -> Option:
    """The day nearest to the one that the patient asks for, the earlier of two.

    Feasible is a day that leaves no more days uncovered than the best, and at which no drug joins later that would
    have joined at the pickup they were told of (domain rules: earlier within the payer's window, later only if no
    drug runs out).
    """
    options = below_cap(options)
    fewest = min(option.uncovered for option in options)
    may_join_later = told.joins_later if told else min((o.joins_later for o in options), key=len)
    feasible = [
        option for option in options if option.uncovered == fewest and option.joins_later <= may_join_later
    ]
    return min(feasible or options, key=lambda option: (abs(option.anchor - wanted), option.anchor))


# --- candidates ---


def candidates(case: Case, today: int) -> list[int]:
    """Every day from the first workable one to a cycle after the earliest run-out, or after today, that the cycle
    allows."""
    run_outs = [supply.lacks_from for supply in case.supplies if not supply.ride_along]
    end = max(min(run_outs), today) + case.cycle.days
    return pickup_candidates(case.cycle, case.earliest, end, case.pickup)


def arrange_all(case: Case, days: Iterable[int]) -> list[Option]:
    """The options at which at least one synchronized drug is dispensed: nobody comes for nothing."""
    options = [arrange(day, case) for day in days]
    return [option for option in options if any(_dispensed_at_anchor(each) for each in option.courses)]


def arrange(anchor: int, case: Case) -> Option:
    """All that one candidate day takes: how each drug joins, and the fewest trips for the fills before."""
    pickup, rules = case.pickup, case.rules
    second = next_anchor(anchor, case.cycle, pickup)
    earliest = min(case.earliest, anchor)
    courses = [course_of(supply, anchor, second, pickup, earliest) for supply in case.supplies]
    courses = _with_long_fills(courses, anchor, second, pickup, earliest)
    if case.told_days:
        courses = _on_told_days(courses, case)

    chains = [course.needs for course in courses]
    aligned = second if any(course.joins == second for course in courses) else anchor
    free = anchor if anchor in pickup else NO_DAY
    days = visit_days(chains, free, aligned, pickup)
    pickups = sorted([*days, free])
    fill_days = [tuple(assign(chain, pickups)) if chain else () for chain in chains]
    short_fills = [days for course in courses for days in course.short_fills]
    days_left = _days_left(courses, fill_days, anchor)
    return Option(
        anchor=anchor,
        uncovered=_uncovered(courses),
        told_changes=_told_changes(case, anchor, days),
        visits_before=sum(day < aligned for day in days) + (aligned > anchor),
        short_fills=len(short_fills),
        tiny_fills=sum(days < rules.minimum_short_fill_days for days in short_fills)
        + sum(course.padding > 0 for course in courses),
        overrides=sum(course.override for course in courses),
        run_dry=sum(left == 0 for left in days_left),
        from_preferred=weekdays_apart(anchor, case.preferred_weekday),
        from_cushion=sum(abs(left - rules.cushion_days) for left in days_left),
        load=case.load.get(anchor, 0),
        full=0 < case.daily_cap <= case.load.get(anchor, 0),
        extra_cost=_extra_cost(courses),
        extra_cost_limit=case.extra_cost_limit,
        second=second,
        courses=tuple(courses),
        fill_days=tuple(fill_days),
        days=tuple(days),
    )


def _with_long_fills(
    courses: list[Course], anchor: int, second: int, pickup: PickupDays, earliest: int
) -> list[Course]:
    """Long fills wherever they spare a bridge, unless nothing would be left to dispense at the anchor."""
    longer = [long_course_of(course, anchor, second, pickup, earliest) or course for course in courses]
    return longer if any(_dispensed_at_anchor(each) for each in longer) else courses


def _extra_cost(courses: Sequence[Course]) -> Decimal | None:
    """Of all drugs; unknown where one drug's is."""
    costs = [course.extra_cost for course in courses]
    known = [cost for cost in costs if cost is not None]
    return sum(known, NO_COST) if len(known) == len(costs) else None


NO_DAY = -1
"""The anchor of a visit that stands takes nothing more: no pickup day as far as other fills are concerned."""


def _dispensed_at_anchor(course: Course) -> bool:
    return course.at_anchor is not None or course.supply.joined_with is not None


def _uncovered(courses: Sequence[Course]) -> tuple[int, int]:
    critical = sum(course.uncovered for course in courses if course.supply.critical)
    return critical, sum(course.uncovered for course in courses) - critical


def _days_left(
    courses: Sequence[Course], fill_days: Sequence[tuple[int, ...]], anchor: int
) -> tuple[int, ...]:
    """Days on hand at the start of the anchor day of each drug dispensed on it, ride-alongs included.

    What only the chain's minimum adds to a bridge is no cushion: else a gap of a day would look better than one of
    five.
    """
    joined = [course.left_at_anchor - course.padding for course in courses if _dispensed_at_anchor(course)]
    carried = [
        max(0, need.due - anchor)
        for course, chosen in zip(courses, fill_days, strict=True)
        for need, day in zip(course.needs, chosen, strict=True)
        if day == anchor
    ]
    return (*joined, *carried)


def weekdays_apart(day: int, weekday: int | None) -> int:
    """Days to the nearest such weekday; none is preferred: 0."""
    if weekday is None:
        return 0
    apart = (weekday_of(day) - weekday) % 7
    return min(apart, 7 - apart)


def _told_changes(case: Case, anchor: int, days: Sequence[int]) -> int:
    told = {day for days_of in case.told_days.values() for day in days_of}
    moved = case.told_anchor is not None and case.told_anchor != anchor
    return len(told - {anchor, *days}) + moved


def _known(cost: Decimal | None) -> Decimal:
    if cost is None:
        raise ValueError("a criterion of cost was asked of an option whose cost is unknown")
    return cost


# --- what the patient was told stays on its day ---


def _on_told_days(courses: Sequence[Course], case: Case) -> list[Course]:
    """Fills that the patient was told of stay on their day where they still can; a moved visit's go to its new one."""
    told = dict(case.told_days)
    if case.moved:
        told = _with_moved(courses, told, *case.moved, case.pickup)
    return [
        course._replace(needs=_kept(course.needs, told[course.supply.rx_id], case.pickup))
        if course.supply.rx_id in told
        else course
        for course in courses
    ]


def _with_moved(
    courses: Sequence[Course], told: dict[str, Sequence[int]], day: int, wanted: int, pickup: PickupDays
) -> dict[str, Sequence[int]]:
    """What was told, with the fills of one visit on the day nearest to the wanted one on which they all can be."""
    of_visit = [
        min(course.needs, key=lambda need: max(need.first - day, day - need.last, 0))
        for course in courses
        if course.needs and day in told.get(course.supply.rx_id, ())
    ]
    first = max((need.first for need in of_visit), default=wanted)
    last = min((need.last for need in of_visit), default=wanted)
    common = [each for each in pickup.days if first <= each <= last]
    nearest = min(common, key=lambda each: (abs(each - wanted), each), default=day)
    return {rx_id: [nearest if each == day else each for each in days] for rx_id, days in told.items()}


def _kept(needs: tuple[Need, ...], told: Sequence[int], pickup: PickupDays) -> tuple[Need, ...]:
    """Narrow each need to the day that was told, if it is among its days; then the others to what that leaves."""
    kept: list[Need] = []
    payable = 0
    for need in needs:
        first = max(need.first, pickup.on_or_after(payable) if payable else 0)
        day = next((day for day in told if first <= day <= need.last and day in pickup), None)
        need = need._replace(first=first) if day is None else need._replace(first=day, last=day)
        kept.append(need)
        payable = need.first + need.wait
    limit = kept[-1].last + kept[-1].wait if kept else 0
    narrowed: list[Need] = []
    for need in reversed(kept):
        need = need._replace(last=max(need.first, pickup.on_or_before(min(need.last, limit - need.wait))))
        narrowed.append(need)
        limit = need.last
    return tuple(reversed(narrowed))
