"""Directions, as on the label, read to the most that is taken a day.

Read or refused as a whole: every word has to be understood, for one that is not may change everything ("then 1
daily"). A refusal says why. Directions are personal: no reason repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import ceil


class Basis(StrEnum):
    """On what a daily use rests (domain rules 2.2: basis codes)."""

    explicit = "explicit"  # the directions state it
    as_needed = "as_needed"  # an estimate: the most that may be taken when needed
    as_directed = "as_directed"  # stated, but the prescriber may have said otherwise


class Refusal(StrEnum):
    """Why directions give no daily use."""

    empty = "empty"
    as_directed = "as_directed"  # they leave it to the prescriber
    by_weight = "by_weight"  # milligrams: how many units that is depends on the strength
    no_amount = "no_amount"  # how often, but not how much: creams
    no_frequency = "no_frequency"  # how much, but not how often
    not_understood = "not_understood"


@dataclass(frozen=True, slots=True)
class DailyUse:
    """The most that is taken a day."""

    most: Fraction  # of `unit`
    times: Fraction  # a day, at most
    unit: str  # tablet, mL, drop, unit, puff, …; empty: not said
    basis: Basis
    course_days: int | None = None  # taken for so many days, then no more


@lru_cache(maxsize=10_000)
def read(directions: str) -> DailyUse | Refusal:
    """The most that is taken a day, or why it cannot be told; never raises, never nothing or less."""
    text = _plain(directions)
    if not text:
        return Refusal.empty
    if BY_WEIGHT.search(text):
        return Refusal.by_weight
    said = Said()
    at = 0
    while at < len(text):
        word = next(_words_at(text, at), None)
        if word is None:
            return Refusal.as_directed if AS_DIRECTED.search(text) else Refusal.not_understood
        found, note = word
        note(said, found)
        at = found.end()
    return _daily_use(said)


@lru_cache(maxsize=10_000)
def says_as_needed(directions: str) -> bool:
    """Do they leave it to the patient whether it is taken at all?"""
    return bool(AS_NEEDED.search(_plain(directions)))


def _plain(directions: str) -> str:
    """In small letters, `½` as `1/2`, `b.i.d.` as `bid`."""
    text = directions.casefold().replace("½", " 1/2").replace("¼", " 1/4")
    return re.sub(r"\b([a-z])\.(?=[a-z]\b)", r"\1", " ".join(text.split()))


@dataclass
class Said:
    """What was understood so far."""

    amounts: list[Fraction] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    times: list[Fraction] = field(default_factory=list)
    moments: int = 0  # of the day: "at bedtime"
    sides: int = 1  # two eyes, two nostrils
    course_days: int | None = None
    as_needed: bool = False
    as_directed: bool = False


def _daily_use(said: Said) -> DailyUse | Refusal:
    times = set(said.times)
    if said.moments and not times:
        times = {Fraction(said.moments)}
    if len(said.amounts) > 1 or len(times) > 1 or (said.moments and times != {Fraction(said.moments)}):
        return Refusal.not_understood
    if said.as_directed and not (said.amounts and times):
        return Refusal.as_directed
    if not said.amounts:
        return Refusal.no_amount
    if not times:
        return Refusal.no_frequency
    often, amount = times.pop(), said.amounts[0]
    unit = said.units[0] if said.units else ""
    amount, unit = (amount * SPOONS[unit], "mL") if unit in SPOONS else (amount, unit)
    if amount <= 0 or often <= 0:
        return Refusal.not_understood
    basis = Basis.as_directed if said.as_directed else Basis.explicit
    basis = Basis.as_needed if said.as_needed else basis
    return DailyUse(amount * often * said.sides, often, unit, basis, said.course_days)


# --- the words ---

SMALL = {
    **{"one": Fraction(1), "two": Fraction(2), "three": Fraction(3), "four": Fraction(4)},
    **{"once": Fraction(1), "twice": Fraction(2)},
    **dict.fromkeys(("half", "half a", "half an", "one-half"), Fraction(1, 2)),
}
SPOONS = {"teaspoon": 5, "tablespoon": 15}
UNITS = {
    r"tab(let)?s?": "tablet",
    r"cap(sule)?s?": "capsule",
    r"pills?": "tablet",
    r"puffs?|inhalations?": "puff",
    r"sprays?": "spray",
    r"ml|cc": "mL",
    r"tsp|teaspoon(ful)?s?": "teaspoon",
    r"tbsp|tablespoon(ful)?s?": "tablespoon",
    r"gtts?|drops?": "drop",
    r"units?": "unit",
    r"injections?": "injection",
    r"patch(es)?": "patch",
    r"appful|applicatorful": "applicator",
}
NUMBER = (
    r"(?:\d{1,4}[ -]\d{1,2}/\d{1,2}|\d{1,2}/\d{1,2}|\d{1,4}(?:\.\d{1,4})?"
    r"|half an?|half|one-half|one|two|three|four)"
)
UNIT = "|".join(f"(?:{word})" for word in UNITS)
AMOUNT = rf"({NUMBER})(?: ?(?:-|to|or) ?({NUMBER}))? ?(?:({UNIT})\b)?(?! ?(?:x|times?)\b)(?![/\w%])"
TIMES = r"(one|two|three|four|\d)"
ABBREVIATED = {"qd": 1, "bid": 2, "tid": 3, "qid": 4}
DAY, WEEK = r"(?:daily|(?:a|per|each) day|/ ?day)", r"(?:weekly|(?:a|per|each) (?:week|wk)|/ ?(?:week|wk))"
OTHER_WORDS = (
    "daily|day|days|weekly|week|weeks|month|months|hour|hours|qd|bid|tid|qid|qhs|q|every|each|once|twice|then|and|or|"
    "max|maximum|may|repeat|up|until|increase|decrease|take|use|apply|at|with|more|extra|additional|except|one|two|"
    "three|four|half|x|as|but|if|not|no|alternate|alternating|stop|hold|skip|off|days?"
)
PURPOSE = rf"(?:(?!(?:{OTHER_WORDS})\b)[a-z]+(?:[/-](?!(?:{OTHER_WORDS})\b)[a-z]+)?)"
"""A word that says what for, none that may say how much or how often."""

BY_WEIGHT = re.compile(r"\d ?(?:mg|mcg|g|gm|meq)\b")
AS_NEEDED = re.compile(r"\b(?:prn|as needed|if needed|when needed)\b")
AS_DIRECTED = re.compile(r"as (?:directed|instructed)|\bu(?:t)?d\b|\btaper\b|\bsliding scale\b")


def _number(text: str) -> Fraction:
    """`1`, `0.5`, `1/2`, `1 1/2` (also written `1-1/2`), `two`."""
    if text in SMALL:
        return SMALL[text]
    *whole, part = re.split("[ -]", text)
    above, _, below = part.partition("/")
    if below and not int(below):
        return Fraction(0)
    return Fraction(above) / int(below or 1) + sum(map(Fraction, whole))


def _amount(said: Said, found: re.Match[str]) -> None:
    """Of a range the larger: the most that is taken."""
    said.amounts.append(max(_number(text) for text in found.group(1, 2) if text))
    if found[3]:
        said.units.append(next(name for word, name in UNITS.items() if re.fullmatch(word, found[3])))


def _abbreviated(said: Said, found: re.Match[str]) -> None:
    said.times.append(Fraction(max(ABBREVIATED[text] for text in found.group(1, 2) if text)))


def _often(days: int) -> Callable[[Said, re.Match[str]], None]:
    def note(said: Said, found: re.Match[str]) -> None:
        said.times.append(max(_number(text) for text in found.group(1, 2) if text) / days)

    return note


def _hours(said: Said, found: re.Match[str]) -> None:
    """Every so many hours, the shorter of a range; within a day as often as fits, the first dose counted."""
    hours = int(found[1])
    said.times.append(Fraction(ceil(Fraction(24, hours))) if 0 < hours <= 24 else Fraction(24, max(hours, 1)))


def _every_days(said: Said, found: re.Match[str]) -> None:
    said.times.append(Fraction(1, max(1, int(found[1]))))


def _once_in(days: int) -> Callable[[Said, re.Match[str]], None]:
    return lambda said, _: said.times.append(Fraction(1, days))


def _moment(said: Said, _: re.Match[str]) -> None:
    said.moments += 1


def _both_sides(said: Said, _: re.Match[str]) -> None:
    said.sides = 2


def _course(said: Said, found: re.Match[str]) -> None:
    said.course_days = int(found[1]) * (7 if found[2].startswith("w") else 1)


def _needed(said: Said, _: re.Match[str]) -> None:
    said.as_needed = True


def _directed(said: Said, _: re.Match[str]) -> None:
    said.as_directed = True


def _nothing(_: Said, __: re.Match[str]) -> None:
    """Understood, and without a bearing on the daily use."""


WORDS: tuple[tuple[re.Pattern[str], Callable[[Said, re.Match[str]], None]], ...] = tuple(
    (re.compile(pattern, re.ASCII), note)
    for pattern, note in (
        (r"[ ,.;]+", _nothing),
        # for how long, and what for
        (r"(?:x|for) ?(\d{1,3}) ?(days?|weeks?|wks?)\b", _course),
        (
            rf"(?:prn|(?:as|if|when) needed)\b(?: (?:for )?{PURPOSE}(?: {PURPOSE}){{0,2}}(?=$|[,.;]))?",
            _needed,
        ),
        (rf"for {PURPOSE}(?: {PURPOSE}){{0,2}}(?=$|[,.;])", _nothing),
        (r"(?:as (?:directed|instructed)|utd|ud)\b", _directed),
        # how often
        (r"(qd|bid|tid|qid)(?: ?(?:-|to|or) ?(qd|bid|tid|qid))?\b", _abbreviated),
        (r"(?:once )?(?:daily|a day|every day|each day|q ?day)\b", _once_in(1)),
        (rf"(once|twice)(?: or (twice))? ?{DAY}(?!\w)", _often(1)),
        (rf"(once|twice)(?: or (twice))? ?{WEEK}(?!\w)", _often(7)),
        (rf"{TIMES}(?:(?:-| to | or ){TIMES})? ?(?:x|times?) ?{DAY}(?!\w)", _often(1)),
        (rf"{TIMES}(?:(?:-| to | or ){TIMES})? ?(?:x|times?) ?{WEEK}(?!\w)", _often(7)),
        (r"(?:q|every) ?(\d{1,3})(?: ?(?:-|to) ?\d{1,3})? ?(?:h|hrs?|hours?)\b", _hours),
        (r"(?:weekly|every week|q ?(?:wk|week))\b", _once_in(7)),
        (r"(?:every other day|qod)\b", _once_in(2)),
        (r"every (\d{1,2}) days\b", _every_days),
        (
            r"(?:qhs|hs|qam|qpm|nightly|at bedtime|at night|(?:in the|every) (?:morning|evening)|every night)\b",
            _moment,
        ),
        (
            r"(?:\d{1,2} min(?:utes)?\.? )?(?:before|after) (?:a |each )?(?:meals?|breakfast|dinner)\b",
            _nothing,
        ),
        # how much
        (AMOUNT, _amount),
        # where and how
        (
            r"(?:in|into) (?:eyes|ears)\b|ou\b|(?:in |into )?(?:both|each) (?:eyes?|ears?|nostrils?)\b",
            _both_sides,
        ),
        (r"(?:per|each|in each) nostril\b", _both_sides),
        (r"(?:in|into) (?:(?:the|left|right|affected) )*(?:eye|ear|od|os)\b", _nothing),
        (r"(?:po|by mouth|orally|sl|under the tongue|sublingually|sq|subq|sc|im|subcutaneously)\b", _nothing),
        (r"(?:per vagina|vaginally|nasally|topically|to (?:the )?(?:affected area|face|skin))\b", _nothing),
        (r"(?:take|give|inhale|instill|inject|swallow|chew|use|place|apply(?: thin layer)?)\b", _nothing),
        (r"swish(?: and |/)spit\b|\(?rinse mouth(?: and throat)?(?: after use)?\)?", _nothing),
        (
            r"(?:wf|with (?:a |the )?(?:(?:evening |morning )?meals?|food|water|milk|breakfast|dinner))\b",
            _nothing,
        ),
    )
)


def _words_at(text: str, at: int) -> Iterator[tuple[re.Match[str], Callable[[Said, re.Match[str]], None]]]:
    """What the text may say from here, in the order of the table."""
    for pattern, note in WORDS:
        found = pattern.match(text, at)
        if found and found.end() > at:
            yield found, note


# --- as units a day ---

COUNTED = frozenset({"", "tablet", "capsule"})
"""What a tablet or capsule is counted in; directions name the one for the other."""

FOUR_DIGITS = Decimal("0.0001")


def units_a_day(use: Fraction) -> Decimal:
    """Exact where it can be, else below by less than can be told: so many a week last whole weeks."""
    value = Decimal(use.numerator) / Decimal(use.denominator)
    if Fraction(value) == use:
        return value
    return value.quantize(Decimal(1).scaleb(-20), ROUND_DOWN)


@lru_cache(maxsize=1_000)
def exact(units_per_day: Decimal) -> Decimal:
    """A daily use that was rounded to four digits, 0.1429 for one a week, as what it was."""
    a_week = (units_per_day * 7).to_integral_value(ROUND_HALF_UP)
    rounded = (a_week / 7).quantize(FOUR_DIGITS, ROUND_HALF_UP)
    return units_a_day(Fraction(int(a_week), 7)) if a_week and rounded == units_per_day else units_per_day
