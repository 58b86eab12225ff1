"""A year by the planner's own plans: each plan's first visit is kept, and the morning after it is planned again.

What came of it is judged from fills, payers' days and open days, not from the plan's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.oracle.documents import is_open, question_of
from tests.oracle.exact import best
from tests.oracle.families import Document, fill_of
from tests.oracle.question import Medication, Question

Planner = Callable[[Mapping[str, Any]], Mapping[str, Any]]
YEAR = 365
MADE_AHEAD = timedelta(days=3)
"""From the day on which the store fills to the visit."""

NO_PLAN_FOR = 7
"""Days until it is planned again where there was no plan, or none with a visit."""


@dataclass(frozen=True)
class Filled:
    """One fill as it was made."""

    rx_id: str
    day: int
    days: int
    is_short: bool
    is_overridden: bool  # before the payer's day
    is_synchronized: bool  # at a synchronized pickup


@dataclass
class Year:
    """What a year came to; day 0 is its first."""

    fills: list[Filled] = field(default_factory=list)
    synchronized: list[int] = field(default_factory=list)  # days of synchronized pickups
    without: dict[str, int] = field(default_factory=dict)  # days without each drug
    avoidable: dict[str, int] = field(
        default_factory=dict
    )  # of these, those that a fill in time would have covered
    unplanned: list[tuple[int, str]] = field(default_factory=list)  # days without a plan, and why
    next_kept: list[bool] = field(
        default_factory=list
    )  # of each next pickup that was promised: it came on that day
    joined_by: int = 0  # the day on which all were to have joined, by the first plan
    said: int = 0  # trips of the year, by the first plan
    dry: int = 0  # fills at synchronized pickups with nothing left that morning, once all had joined
    is_late: bool = (
        False  # the first plan has a fill that is paid only after the day on which the store fills
    )
    plans: int = 0

    @property
    def trips(self) -> list[int]:
        """The days on which anything was handed over."""
        return sorted({fill.day for fill in self.fills})

    @property
    def short_fills(self) -> int:
        """Fills of less than the usual days."""
        return sum(fill.is_short for fill in self.fills)

    @property
    def overrides(self) -> int:
        """Fills before the payer's day."""
        return sum(fill.is_overridden for fill in self.fills)

    @property
    def settled(self) -> list[Filled]:
        """Fills at the synchronized pickups once all have joined."""
        return [fill for fill in self.fills if fill.is_synchronized and fill.day > self.joined_by]

    @property
    def weight(self) -> Fraction:
        """Trips, with a third for each short fill or override."""
        return len(self.trips) + Fraction(self.short_fills + self.overrides, 3)

    @property
    def pickups_of_cycles(self) -> list[int]:
        """Of each cycle from the day on which all were to have joined, by the first plan: its pickup days."""
        slots = [day for day in self.synchronized if day >= self.joined_by]
        return [sum(first < day <= second for day in self.trips) for first, second in pairwise(slots)]

    def keeping(self, question: Question) -> Fraction:
        """The share of the drugs that keep the rhythm at the end: the last two fills usual, at synchronized pickups."""
        kept = 0
        for drug in question.medications:
            last = [fill for fill in self.fills if fill.rx_id == drug.rx_id][-2:]
            kept += bool(last) and all(fill.is_synchronized and not fill.is_short for fill in last)
        return Fraction(kept, len(question.medications))


def follow(document: Document, planner: Planner, days: int = YEAR) -> Year:
    """A year by the plans of this planner."""
    year, start = Year(), date.fromisoformat(document["today"])
    now, promised = {**document, "cycle": document.get("cycle", 1)}, None
    question = question_of(document, cycles=(30,))
    while (today := _day(start, now["today"])) < days:
        said = planner(now)
        year.plans += 1
        if year.plans == 1 and "plan" in said:
            rhythm = said["plan"]["rhythm"]
            year.joined_by = max((_day(start, on) for on in rhythm["joins"].values()), default=0)
            year.said = rhythm["trips_a_year"]
            year.is_late = _has_late_claim(said["plan"], date.fromisoformat(now["today"]))
        visits = sorted(said.get("plan", {}).get("visits", ()), key=lambda visit: visit["on"])
        if not visits:
            year.unplanned.append((today, _why(said)))
            now = {**now, "today": _iso(start, today + NO_PLAN_FOR)}
            continue
        first = [visit for visit in visits if visit["on"] == visits[0]["on"]]
        if (on := _day(start, visits[0]["on"])) >= days:
            break
        if any(visit["kind"] == "synchronized" for visit in first):
            year.synchronized.append(on)
            if promised is not None:
                year.next_kept.append(promised == on)
            promised = _day(start, said["plan"]["next_anchor_on"])
        now = _after(now, said["plan"], first, year, question, start)
    _judge_stock(document, question, year, start, days)
    return year


def _has_late_claim(plan: Mapping[str, Any], today: date) -> bool:
    """Is a fill paid only after the day on which the store fills?"""
    return any(
        date.fromisoformat(item["payable_from"]) > max(date.fromisoformat(visit["on"]) - MADE_AHEAD, today)
        for visit in plan["visits"]
        for item in visit["items"]
        if item["payable_from"]
    )


def _after(
    now: Document,
    plan: Mapping[str, Any],
    taken: Sequence[Mapping[str, Any]],
    year: Year,
    question: Question,
    start: date,
) -> Document:
    """The document of the morning after a visit."""
    on = date.fromisoformat(taken[0]["on"])
    by_rx = {drug.rx_id: drug for drug in question.medications}
    fills, left = list(now["fills"]), {each["rx_id"]: each["quantity_left"] for each in now["prescriptions"]}
    synchronized = any(visit["kind"] == "synchronized" for visit in taken)
    for visit in taken:
        for item in visit["items"]:
            drug, days = by_rx[item["rx_id"]], item["days_supply"]
            payable = max(
                (payable_after(drug, fill) for fill in fills if fill["rx_id"] == drug.rx_id), default=on
            )
            year.fills.append(
                Filled(drug.rx_id, (on - start).days, days, days < drug.usual, on < payable, synchronized)
            )
            fills.append(fill_of(drug.rx_id, on, days, float(item["quantity"])))
            left[drug.rx_id] -= float(item["quantity"])
    return {
        **now,
        "today": (on + timedelta(days=1)).isoformat(),
        "fills": fills,
        "prescriptions": [{**each, "quantity_left": left[each["rx_id"]]} for each in now["prescriptions"]],
        "told": carried(plan, on, cycle_is_over=synchronized),
        "cycle": now["cycle"] + synchronized,
    }


def carried(plan: Mapping[str, Any], on: date, *, cycle_is_over: bool) -> Document:
    """What was agreed, for the plan of the morning after the visit of day `on`.

    The rhythm, the day of the next pickup, and the visits that are to come before it: no more than a caller has to.
    """
    visits = [
        {
            "kind": visit["kind"],
            "on": visit["on"],
            "items": [
                {name: item[name] for name in ("rx_id", "kind", "quantity", "days_supply")}
                for item in visit["items"]
            ],
        }
        for visit in plan["visits"]
        if visit["on"] > on.isoformat()
    ]
    anchor_on = plan["next_anchor_on"] if cycle_is_over else plan["anchor_on"]
    return {"agreed": True, "rhythm": plan["rhythm"], "anchor_on": anchor_on, "visits": visits}


def payable_after(drug: Medication, fill: Mapping[str, Any]) -> date:
    """The payer's day after a fill."""
    return date.fromisoformat(fill["filled_on"]) + timedelta(days=drug.wait(fill["days_supply"]))


def _judge_stock(document: Document, question: Question, year: Year, start: date, days: int) -> None:
    """Days without each drug, and which of them could have been covered on an open day on which it was paid."""
    for drug in question.medications:
        run_out, could = max(drug.run_out, 0), question.served_from(drug)
        fills = {fill.day: fill for fill in year.fills if fill.rx_id == drug.rx_id}
        without = avoidable = 0
        for day in range(days):
            if fill := fills.get(day):
                year.dry += fill.is_synchronized and day > year.joined_by and run_out <= day
                run_out = max(run_out, day) + fill.days
                could = day + drug.wait(fill.days)
                while not is_open(document, start + timedelta(days=could)):
                    could += 1
            without += run_out <= day
            avoidable += run_out <= day and could <= day
        year.without[drug.rx_id], year.avoidable[drug.rx_id] = without, avoidable


def best_rhythm(document: Document) -> Fraction:
    """The least burden that the year can have, by the question's part 3."""
    return best(question_of(document)).burden


def _day(start: date, iso: str) -> int:
    return (date.fromisoformat(iso) - start).days


def _iso(start: date, day: int) -> str:
    return (start + timedelta(days=day)).isoformat()


def _why(said: Mapping[str, Any]) -> str:
    return " ".join(said.get("sentences", ())) or str(said.get("status"))
