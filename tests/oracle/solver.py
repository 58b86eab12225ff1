"""The same question as a model for OR-tools CP-SAT, which knows nothing of how `exact` searches.

One model for each cycle: the first slot, each drug's joining slot, its fills before with their sizes, and the days of
one-time trips are variables; each fill is made on one of the trips or on a slot that is due.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise
from math import lcm
from typing import Any

from tests.oracle.question import HORIZON, MADE_BEFORE, Medication, Question
from tests.oracle.rhythm import slot_days

TRIPS = 6
FILLS = 5
YEAR = 365
SURPLUS = 14
FAR = 2 * HORIZON


@dataclass(frozen=True)
class Least:
    """What the solver found: how many drugs that fit the cycle come by themselves, and the burden."""

    by_themselves: int
    burden: Fraction
    cycle: int


def solve(question: Question, seconds: float = 120.0) -> Least:
    """The least burden without an avoidable day, over all cycles, with as few drugs by themselves as can be.

    Raises:
        TimeoutError: it is not proved in time.
    """
    for count in range(len(question.medications)):
        found = [
            least
            for alone in combinations(question.medications, count)
            for cycle in question.cycles_to_try()
            if (least := _least(question, cycle, alone, seconds))
        ]
        if found:
            return min(found, key=lambda each: each.burden)
    by_themselves = sum((Fraction(YEAR, drug.usual) for drug in question.medications), Fraction(0))
    return Least(len(question.medications), by_themselves, 0)


def _least(question: Question, cycle: int, alone: Sequence[Medication], seconds: float) -> Least | None:
    """The least of one cycle with these drugs by themselves, and those that do not fit it; none where there is none."""
    members = [drug for drug in question.medications if drug.share(cycle) and drug not in alone]
    if not members:
        return None
    weight = Model(question, cycle, members).least(seconds)
    others = [Fraction(YEAR, drug.usual) for drug in question.medications if drug not in members]
    return None if weight is None else Least(len(alone), weight + sum(others), cycle)


class Model:
    """One cycle's whole choice."""

    def __init__(self, question: Question, cycle: int, members: Sequence[Medication]) -> None:
        self.cp = importlib.import_module("ortools.sat.python.cp_model")
        self.m = self.cp.CpModel()
        self.question, self.cycle, self.members = question, cycle, members
        self.period = lcm(*(drug.share(cycle) for drug in members))
        parts = lcm(question.w.denominator, question.v.denominator) * self.period * cycle
        self.trip, self.short, self.blemish = parts, int(question.w * parts), int(question.v * parts)
        self.firsts = self._first_days()
        self.rows = [slot_days(question, members, cycle, first) for first in self.firsts]
        self.count = min(len(row) for row in self.rows)
        self._slots()
        self._trips()
        self.weights: list[Any] = []
        self.joins: list[dict[int, Any]] = []
        self.due: list[dict[int, Any]] = [self._joining(drug) for drug in members]
        self.is_due = {slot: self._any([due[slot] for due in self.due]) for slot in range(self.count)}
        self.m.add_bool_or([joins[0] for joins in self.joins if 0 in joins])
        for drug, joins in zip(members, self.joins, strict=True):
            self._course(drug, joins)
        self._rate()

    def least(self, seconds: float) -> Fraction | None:
        """The least, proved; none where there is none."""
        self.m.minimize(sum(self.weights))
        solver = self.cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = seconds
        status = solver.solve(self.m)
        if status == self.cp.INFEASIBLE:
            return None
        if status != self.cp.OPTIMAL:
            raise TimeoutError(f"cycle {self.cycle}: not proved in {seconds} seconds")
        return Fraction(round(solver.objective_value), self.trip)

    # --- days ---

    def _first_days(self) -> list[int]:
        last = max(self.question.first_day, *(self.question.served_from(drug) for drug in self.members))
        days = range(self.question.first_day, last + self.cycle + 1)
        return [day for day in days if self.question.is_open(day)]

    def _slots(self) -> None:
        """Which candidate is the first slot, and the days of all."""
        self.which = self.m.new_int_var(0, len(self.firsts) - 1, "")
        self.slot = []
        for number in range(self.count):
            day = self.m.new_int_var(0, FAR, "")
            self.m.add_element(self.which, [row[number] for row in self.rows], day)
            self.slot.append(day)

    def _trips(self) -> None:
        """Days of one-time trips, one after the other."""
        days = [day for day in range(self.question.first_day, HORIZON + 1) if self.question.is_open(day)]
        domain = self.cp.Domain.from_values(days)
        self.trips = [self.m.new_int_var_from_domain(domain, "") for _ in range(TRIPS)]
        self.goes = [self.m.new_bool_var("") for _ in range(TRIPS)]
        for before, after in pairwise(self.trips):
            self.m.add(before <= after)
        for before, after in pairwise(self.goes):
            self.m.add_implication(after, before)

    # --- one drug ---

    def _joining(self, drug: Medication) -> dict[int, Any]:
        """One slot at which it joins; answers by slot whether it is due there."""
        share = drug.share(self.cycle)
        joins = {slot: self.m.new_bool_var("") for slot in range(self.count - share)}
        self.m.add_exactly_one(joins.values())
        self.joins.append(joins)
        due = {}
        for slot in range(self.count):
            due[slot] = self.m.new_bool_var("")
            own = [joins[each] for each in range(slot % share, slot + 1, share) if each in joins]
            self.m.add(sum(own) == due[slot])
        return due

    def _course(self, drug: Medication, joins: dict[int, Any]) -> None:
        """Its fills, and that it is paid and not used up when it joins."""
        day, reach = self._joining_day(drug, joins)
        start = self.question.served_from(drug)
        ready, paid = self.m.new_constant(start), self.m.new_constant(drug.payable)
        lasts, last = self.m.new_constant(max(drug.run_out, start, 0)), None
        for _ in range(FILLS):
            used = self.m.new_bool_var("")
            if last is not None:
                self.m.add_implication(used, last[0])
            on, wait, size, at_slot, usual = self._fill(drug, used)
            self.m.add(on >= ready).only_enforce_if(used)
            self.m.add(on <= lasts).only_enforce_if(used)
            self._blemishes(used, on, paid, lasts)
            ready = self._if(used, on + wait, ready)
            paid = self._if(used, on + wait, paid)
            lasts = self._if(used, lasts + size, lasts)
            last = used, at_slot, usual, None if last is None else last
        self.m.add(day >= ready)
        self.m.add(reach <= lasts)
        if self.blemish:
            self._joined_by_its_last_fill(drug, joins, last)
            self._blemishes_of_joining(drug, day, paid, lasts)

    def _fill(self, drug: Medication, used: Any) -> tuple[Any, Any, Any, dict[int, Any], Any]:
        """Its day, the days until the next is paid, its size; by slot whether it is there; whether it is usual."""
        sizes = [*drug.shorter, drug.usual, *sorted(drug.larger)]
        number = self.m.new_int_var(0, len(sizes) - 1, "")
        size, wait = self.m.new_int_var(0, 400, ""), self.m.new_int_var(0, 400, "")
        self.m.add_element(number, sizes, size)
        self.m.add_element(number, [drug.wait(days) for days in sizes], wait)
        short = self._both(used, self._holds(size <= drug.usual - 1, size >= drug.usual))
        self.weights.append(self.short * short)
        on = self.m.new_int_var(0, FAR, "")
        places = []
        for day, goes in zip(self.trips, self.goes, strict=True):
            here = self.m.new_bool_var("")
            self.m.add(on == day).only_enforce_if(here)
            self.m.add_implication(here, goes)
            places.append(here)
        at_slot = {}
        for slot in range(self.count):
            at_slot[slot] = self.m.new_bool_var("")
            self.m.add(on == self.slot[slot]).only_enforce_if(at_slot[slot])
            self.m.add_implication(at_slot[slot], self.is_due[slot])
        self.m.add(sum([*places, *at_slot.values()]) == used)
        return on, wait, size, at_slot, self._holds(size == drug.usual, size != drug.usual)

    def _joining_day(self, drug: Medication, joins: dict[int, Any]) -> tuple[Any, Any]:
        """The day of its joining slot, and the day to which the stock must last there so that none is lacking later."""
        share, fill = drug.share(self.cycle), drug.rhythm_fill(self.cycle)
        allowed = []
        for which, row in enumerate(self.rows):
            for slot in joins:
                own = row[slot::share]
                if own[0] <= self.question.join_by and all(
                    b - a >= drug.wait(fill) for a, b in pairwise(own)
                ):
                    lacking = max(day - own[0] - place * fill for place, day in enumerate(own))
                    allowed.append((which, slot, own[0], own[0] + max(0, lacking)))
        number = self.m.new_int_var(0, self.count, "")
        day, reach = self.m.new_int_var(0, FAR, ""), self.m.new_int_var(0, FAR, "")
        self.m.add(number == sum(slot * chosen for slot, chosen in joins.items()))
        self.m.add_allowed_assignments([self.which, number, day, reach], allowed)
        return day, reach

    # --- what weighs ---

    def _rate(self) -> None:
        """Trips, and the slots of a period at which any drug is due in the end."""
        self.weights += [self.trip * goes for goes in self.goes]
        for residue in range(self.period):
            ways = []
            for drug, joins in zip(self.members, self.joins, strict=True):
                share = drug.share(self.cycle)
                ways += [
                    chosen for slot, chosen in joins.items() if slot >= 0 and (slot - residue) % share == 0
                ]
            self.weights.append(int(Fraction(self.trip * YEAR, self.period * self.cycle)) * self._any(ways))

    def _blemishes(self, used: Any, on: Any, paid: Any, lasts: Any) -> None:
        if self.blemish:
            late = self._holds(paid >= on - MADE_BEFORE + 1, paid <= on - MADE_BEFORE)
            dry = self._holds(lasts <= on, lasts >= on + 1)
            self.weights += [self.blemish * self._both(used, late), self.blemish * self._both(used, dry)]

    def _blemishes_of_joining(self, drug: Medication, day: Any, paid: Any, lasts: Any) -> None:
        """Late or dry at the joining, once, or as often a year as it is due where that goes on; and surplus."""
        share, fill = drug.share(self.cycle), drug.rhythm_fill(self.cycle)
        whole, a_year = self.blemish, int(Fraction(self.blemish * YEAR, share * self.cycle))
        if drug.wait(fill) > share * self.cycle - MADE_BEFORE:
            self.weights.append(a_year)
        else:
            self.weights.append(whole * self._holds(paid >= day - MADE_BEFORE + 1, paid <= day - MADE_BEFORE))
        dry = self._holds(lasts <= day, lasts >= day + 1)
        self.weights.append((a_year if fill == share * self.cycle else whole) * dry)
        steps = self.m.new_int_var(0, FAR, "")
        self.m.add(SURPLUS * steps >= lasts - day - SURPLUS)
        self.weights.append(whole * steps)

    def _joined_by_its_last_fill(self, drug: Medication, joins: dict[int, Any], last: Any) -> None:
        """A usual fill one share before the joining, and nothing after it, would have been the joining."""
        share, after = drug.share(self.cycle), None
        while last is not None:
            used, at_slot, usual, before = last
            for slot, here in at_slot.items():
                if slot + share in joins and drug.rhythm_fill(self.cycle) == drug.usual:
                    clause = [here.negated(), usual.negated(), joins[slot + share].negated()]
                    self.m.add_bool_or(clause if after is None else [*clause, after])
            after, last = used, before

    # --- arithmetic ---

    def _if(self, condition: Any, then: Any, otherwise: Any) -> Any:
        value = self.m.new_int_var(-FAR, 2 * FAR, "")
        self.m.add(value == then).only_enforce_if(condition)
        self.m.add(value == otherwise).only_enforce_if(condition.negated())
        return value

    def _holds(self, so: Any, otherwise: Any) -> Any:
        condition = self.m.new_bool_var("")
        self.m.add(so).only_enforce_if(condition)
        self.m.add(otherwise).only_enforce_if(condition.negated())
        return condition

    def _both(self, one: Any, other: Any) -> Any:
        both = self.m.new_bool_var("")
        self.m.add_implication(both, one)
        self.m.add_implication(both, other)
        self.m.add_bool_or([one.negated(), other.negated(), both])
        return both

    def _any(self, ways: Sequence[Any]) -> Any:
        some = self.m.new_bool_var("")
        self.m.add_bool_or([*ways, some.negated()])
        for way in ways:
            self.m.add_implication(way, some)
        return some
