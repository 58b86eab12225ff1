"""The search as a model for OR-tools CP-SAT, told the criteria and the constraints, and none of our shortcuts.

One model per patient holds every candidate day, every day of every fill and every visit.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from services.planner.domain.calendar import Calendar
from services.planner.domain.model import Participation, Profile, Rules
from services.planner.domain.participation import Part, take_part

HORIZON = 130
CYCLE = 30
MINIMUM = 3
"""Days of a short fill, where they fit."""


@dataclass(frozen=True)
class Pill:
    """One drug in whole days; day 0 is today."""

    run_out: int
    ready: int
    usual: int
    left: int  # days' supply that is authorised
    expires: int
    percent: int
    ride_along: bool
    critical: bool

    def wait(self, days: int) -> int:
        return -(-self.percent * days // 100)


@dataclass(frozen=True)
class Best:
    """What criteria 1, 4 and 5 come to, and the day."""

    uncovered: int
    visits_before: int
    short_fills: int
    anchor: int


# --- the model ---


class Model:
    """One patient's whole choice; `solve` takes the criteria in their order."""

    def __init__(self, pills: list[Pill], open_days: list[int], preferred: int | None, today: date) -> None:
        self.cp = importlib.import_module("ortools.sat.python.cp_model")
        self.m = self.cp.CpModel()
        end = max(min(pill.run_out for pill in pills if not pill.ride_along), 0) + CYCLE
        self.open_days = [day for day in open_days if day < end + CYCLE]
        self.anchors = [day for day in open_days if day <= end]
        self.is_anchor = {day: self.m.new_bool_var(f"anchor {day}") for day in self.anchors}
        self.m.add_exactly_one(self.is_anchor.values())
        second_of = {day: max(d for d in open_days if day < d <= day + CYCLE) for day in self.anchors}
        self.anchor = self._is(sum(day * x for day, x in self.is_anchor.items()))
        self.second = self._is(sum(second_of[day] * x for day, x in self.is_anchor.items()))
        self.visit = {day: self.m.new_bool_var(f"visit {day}") for day in self.open_days}
        self.far = dict.fromkeys(self.anchors, 0)
        if preferred is not None:
            apart = {day: ((today + timedelta(days=day)).weekday() - preferred) % 7 for day in self.anchors}
            self.far = {day: min(each, 7 - each) for day, each in apart.items()}
        self.uncovered: dict[bool, list[Any]] = {True: [], False: []}
        self.later: list[Any] = []
        self.short: list[Any] = []
        self.tiny: list[Any] = []
        self.dry: list[Any] = []
        self.cushion: list[Any] = []
        dispensed = []
        for pill in pills:
            if pill.ride_along:
                self._ride_along(pill)
            else:
                dispensed.append(self._synchronized(pill))
        self.m.add_bool_or(dispensed)  # nobody comes for nothing

    def solve(self, *, to_the_end: bool) -> Best | None:
        """The optimum by the first criteria, or by all of them and then the earliest day."""
        any_later = self._any(self.later)
        aligned = self.m.new_int_var(0, HORIZON, "")
        self.m.add(aligned == self.second).only_enforce_if(any_later)
        self.m.add(aligned == self.anchor).only_enforce_if(any_later.negated())
        before = []
        for day, visited in self.visit.items():
            counted = self.m.new_bool_var("")
            is_before = self._reified(aligned >= day + 1, aligned <= day)
            self.m.add_bool_or([counted, visited.negated(), is_before.negated()])
            before.append(counted)
        visits = sum(before) + any_later
        groups = [
            sum(self.uncovered[True]),
            sum(self.uncovered[False]),
            visits * 3600 + sum(self.short) * 60 + sum(self.tiny),
        ]
        if to_the_end:
            far = sum(self.far[day] * x for day, x in self.is_anchor.items())
            groups += [sum(self.dry) * 4 + far, sum(self.cushion) * HORIZON + self.anchor]
        solver = self.cp.CpSolver()
        solver.parameters.num_workers = 1
        for group in groups:  # one after another, each held at its least
            self.m.minimize(group)
            status = solver.solve(self.m)
            if status == self.cp.INFEASIBLE:
                return None
            assert status == self.cp.OPTIMAL
            self.m.add(group == round(solver.objective_value))
        return Best(
            uncovered=sum(solver.value(each) for each in (*self.uncovered[True], *self.uncovered[False])),
            visits_before=solver.value(visits),
            short_fills=sum(solver.value(each) for each in self.short),
            anchor=solver.value(self.anchor),
        )

    # --- drugs ---

    def _synchronized(self, pill: Pill) -> Any:
        """Not due, or joined at the anchor, or at the second pickup; says whether it is dispensed at the anchor."""
        m = self.m
        due = self._reified(self.second >= pill.run_out + 1, self.second <= pill.run_out)
        payable = self._reified(self.anchor >= pill.ready, self.anchor <= pill.ready - 1)
        at_anchor, at_second = m.new_bool_var(""), m.new_bool_var("")
        m.add_bool_and([due, payable]).only_enforce_if(at_anchor)
        m.add_bool_and([due, payable.negated()]).only_enforce_if(at_second)
        m.add(at_anchor + at_second == due)
        self.later.append(at_second)
        join = m.new_int_var(0, HORIZON, "")
        m.add(join == self.anchor).only_enforce_if(at_anchor)
        m.add(join == self.second).only_enforce_if(at_second)
        m.add(join == self.anchor).only_enforce_if(due.negated())

        covered, left, uncovered, padding = self._fills(pill, join, due, most=2 * CYCLE // pill.usual + 2)
        authorised = self._reified(left >= 1, left <= 0)
        uncovered.append(self._times(self._over(join, covered), [authorised, due]))
        valid = self._reified(self.anchor <= pill.expires, self.anchor >= pill.expires + 1)
        dispensed = self._all([at_anchor, valid, authorised])
        joining = self._times(self._least(left, pill.usual), [dispensed])
        after = self._is(self._most(covered, self.anchor) + joining)
        rest = self._is(left - joining)
        still = self._reified(rest >= 1, rest <= 0)
        uncovered.append(self._times(self._over(self.second, after), [at_anchor, still]))
        self.uncovered[pill.critical] += uncovered
        self._count_short(joining, dispensed, pill.usual)
        on_hand = self._over(covered - padding, self.anchor)
        nothing = self._reified(on_hand <= 0, on_hand >= 1)
        self.dry.append(self._all([nothing, dispensed]))
        apart = m.new_int_var(0, HORIZON, "")
        m.add_abs_equality(apart, on_hand - 3)
        self.cushion.append(self._times(apart, [dispensed]))
        return dispensed

    def _ride_along(self, pill: Pill) -> None:
        """Usual fills only, up to the second pickup."""
        always = self.m.new_constant(1)
        most = 2 * CYCLE // pill.usual + 3
        covered, left, uncovered, _ = self._fills(pill, self.second, always, most, whole=True)
        authorised = self._reified(left >= pill.usual, left <= pill.usual - 1)
        uncovered.append(self._times(self._over(self.second, covered), [authorised]))
        self.uncovered[pill.critical] += uncovered

    def _fills(
        self, pill: Pill, join: Any, due: Any, most: int, *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], Any]:
        """Up to so many fills, each payable on its day and begun before `join`; what they cover, leave and miss, and
        the days that only the chain's minimum adds."""
        m, first = self.m, self.open_days[0]
        covered, left = m.new_constant(max(pill.run_out, first)), m.new_constant(pill.left)
        ready, uncovered, former = m.new_constant(pill.ready), [], due
        padding: Any = 0
        for _ in range(most):
            used = m.new_bool_var("")
            m.add_implication(used, former)
            on = {day: m.new_bool_var("") for day in self.open_days}
            m.add(sum(on.values()) == used)
            for day, chosen in on.items():
                here = [self.is_anchor[day]] if day in self.is_anchor else []
                m.add_bool_or([chosen.negated(), self.visit[day], *here])
            day_of = self._is(sum(day * chosen for day, chosen in on.items()))
            begins = self._most(covered, day_of)
            room = self._over(join, begins)
            wanted, padded = pill.usual, m.new_constant(0)
            if not whole:
                wanted, padded = self._wanted(pill, join, day_of, ready, room, left, used)
                padding += self._times(self._is(min(MINIMUM, pill.usual) - room), [padded])
                self.tiny.append(padded)
            days = self._least(left, wanted)
            m.add(day_of >= ready).only_enforce_if(used)
            m.add(day_of <= pill.expires).only_enforce_if(used)
            m.add(room >= 1).only_enforce_if(used)
            m.add(days >= (pill.usual if whole else 1)).only_enforce_if(used)
            wait = m.new_int_var(0, HORIZON, "")
            m.add_element(days, [pill.wait(n) for n in range(pill.usual + 1)], wait)
            if not whole:
                m.add(day_of + wait <= join).only_enforce_if(used)  # the joining fill is not put off
                self._count_short(days, used, pill.usual)
            uncovered.append(self._times(self._is(begins - covered), [used]))
            covered = self._if(used, begins + days, covered)
            left = self._if(used, left - days, left)
            ready = self._if(used, day_of + wait, ready)
            former = used
        return covered, left, uncovered, padding

    def _wanted(
        self, pill: Pill, join: Any, day_of: Any, ready: Any, room: Any, left: Any, used: Any
    ) -> tuple[Any, Any]:
        """The usual days, or those to the joining day: the chain's minimum where it is authorised and the joining fill
        stays payable, and fewer only where that is so from the first day on which it could be dispensed; and whether it
        is a short fill of more days than to the joining day."""
        least = min(MINIMUM, pill.usual)
        wait = pill.wait(least)
        authorised = self._reified(left >= least, left <= least - 1)
        below = self._all([self._reified(room <= least - 1, room >= least), authorised])
        fits = self._reified(day_of + wait <= join, day_of + wait >= join + 1)
        last_that_fits = self.m.new_int_var(-400, HORIZON, "")
        latest = [
            max((day for day in self.open_days if day + wait <= on), default=-400)
            for on in range(HORIZON + 1)
        ]
        self.m.add_element(join, latest, last_that_fits)
        self.m.add(ready >= last_that_fits + 1).only_enforce_if(self._all([used, below, fits.negated()]))
        at_least = self._all([below, fits])
        padded = self._all([used, at_least]) if least < pill.usual else self.m.new_constant(0)
        return self._if(at_least, least, self._least(room, pill.usual)), padded

    def _count_short(self, days: Any, given: Any, usual: int) -> None:
        self.short.append(self._all([given, self._reified(days <= usual - 1, days >= usual)]))
        least = min(MINIMUM, usual)
        self.tiny.append(self._all([given, self._reified(days <= least - 1, days >= least)]))

    # --- arithmetic ---

    def _is(self, expression: Any) -> Any:
        value = self.m.new_int_var(-400, 2000, "")
        self.m.add(value == expression)
        return value

    def _most(self, one: Any, other: Any) -> Any:
        value = self.m.new_int_var(-400, 2000, "")
        self.m.add_max_equality(value, [one, other])
        return value

    def _least(self, one: Any, other: Any) -> Any:
        value = self.m.new_int_var(0, 2000, "")
        self.m.add_min_equality(value, [one, other])
        return value

    def _over(self, one: Any, other: Any) -> Any:
        return self._most(self._is(one - other), 0)

    def _if(self, condition: Any, then: Any, otherwise: Any) -> Any:
        value = self.m.new_int_var(-400, 2000, "")
        self.m.add(value == then).only_enforce_if(condition)
        self.m.add(value == otherwise).only_enforce_if(condition.negated())
        return value

    def _times(self, value: Any, conditions: list[Any]) -> Any:
        return self._if(self._all(conditions), value, 0)

    def _all(self, conditions: list[Any]) -> Any:
        every = self.m.new_bool_var("")
        self.m.add_bool_and(conditions).only_enforce_if(every)
        self.m.add_bool_or([*(each.negated() for each in conditions), every])
        return every

    def _any(self, conditions: list[Any]) -> Any:
        return self._all([each.negated() for each in conditions]).negated()

    def _reified(self, holds: Any, fails: Any) -> Any:
        condition = self.m.new_bool_var("")
        self.m.add(holds).only_enforce_if(condition)
        self.m.add(fails).only_enforce_if(condition.negated())
        return condition


# --- patients in the model's terms ---


def modelled(profile: Profile, calendar: Calendar, rules: Rules, today: date) -> tuple[list[Pill], list[int]]:
    """The drugs that take part and the days on which the patient can come."""
    days = [
        day
        for day in range(rules.lead_days, HORIZON - 2)
        if calendar.is_open(today + timedelta(days=day))
        and (not profile.must_weekdays or (today + timedelta(days=day)).weekday() in profile.must_weekdays)
    ]
    parts = take_part(profile, rules, today, today + timedelta(days=days[0]))
    return [
        _pill(part, rules, today) for part in parts if part.participation is not Participation.excluded
    ], days


def _pill(part: Part, rules: Rules, today: date) -> Pill:
    each, stock = part.prescription, part.stock
    rule = next((rule for rule in rules.payers if rule.payer == each.payer), rules.unknown_payer)
    per_day = each.units_per_day or each.usual_quantity / each.usual_days
    assert stock.run_out_on and stock.last_fill
    pill = Pill(
        run_out=max((stock.run_out_on - today).days, -300),
        ready=0,
        usual=each.usual_days,
        left=min(int(each.quantity_left // per_day), 900),
        expires=min((each.expires_on - today).days, 900),
        percent=rule.refill_for(each.drug.schedule, each.drug.form).percent,
        ride_along=part.participation is Participation.ride_along,
        critical=each.drug.critical,
    )
    ready = (stock.last_fill.filled_on - today).days + pill.wait(stock.last_fill.days_supply)
    return replace(pill, ready=max(ready, -300))
