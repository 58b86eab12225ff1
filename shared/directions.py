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
from hashlib import sha256
from math import ceil


class Basis(StrEnum):
    """On what a daily use rests (R2.6)."""

    explicit = "explicit"  # the directions state it
    as_needed = "as_needed"  # an estimate: the most that may be taken when needed
    as_directed = "as_directed"  # stated, but the prescriber may have said otherwise

    @classmethod
    def _missing_(cls, value: object) -> Basis:
        return cls.as_directed  # as a later reader says it


class Refusal(StrEnum):
    """Why directions give no daily use."""

    empty = "empty"
    as_directed = "as_directed"  # they leave it to the prescriber
    by_weight = "by_weight"  # milligrams: how many units that is depends on the strength
    no_amount = "no_amount"  # how often, but not how much: creams
    no_frequency = "no_frequency"  # how much, but not how often
    not_understood = "not_understood"

    @classmethod
    def _missing_(cls, value: object) -> Refusal:
        return cls.not_understood  # as a later reader says it


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
        if note not in SETTING_APART:
            said.joined, said.words = "", said.words + 1
        at = found.end()
    return _daily_use(said)


@lru_cache(maxsize=10_000)
def says_as_needed(directions: str) -> bool:
    """Do they leave it to the patient whether it is taken at all?"""
    return bool(AS_NEEDED.search(_plain(directions)))


@dataclass(frozen=True, slots=True)
class Directions:
    """What directions say, without their words: what others are told of them."""

    digest: str = ""
    """Of the words: the same for the same, whatever the blanks and the case, of one patient."""

    as_needed: bool = False
    """They leave it to the patient whether it is taken at all."""

    refused: Refusal | None = None
    """Why they give no daily use; where there is none, they give what follows."""

    most: Fraction | None = None
    times: Fraction | None = None
    unit: str = ""
    basis: Basis = Basis.explicit
    course_days: int | None = None

    @property
    def use(self) -> DailyUse | Refusal:
        """The most that is taken a day, or why it cannot be told."""
        if self.most is None or self.times is None or self.refused:
            return self.refused or Refusal.not_understood
        return DailyUse(self.most, self.times, self.unit, self.basis, self.course_days)


@lru_cache(maxsize=10_000)
def said_in(words: str, of: str = "") -> Directions:
    """What these words say. `of` is whose they are, so that nobody else's have their digest.

    >>> said_in("Take 1 tablet twice daily").use.most
    Fraction(2, 1)
    """
    use = read(words)
    same = " ".join(words.casefold().split())
    digest = sha256(f"{of}\0{same}".encode()).hexdigest()[:16] if same else ""
    if isinstance(use, Refusal):
        return Directions(digest, says_as_needed(words), use)
    return Directions(
        digest, says_as_needed(words), None, use.most, use.times, use.unit, use.basis, use.course_days
    )


STRENGTH = r"\d[\d,.]* ?(?:mg|mcg|gm?|grams?|meq|milligrams?|micrograms?|units?)"
REWRITTEN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"½", " 1/2"),
        (r"¼", " 1/4"),
        (r"¾", " 3/4"),
        (r"\s+", " "),
        (r"\b([a-z])\.(?=[a-z]\b)", r"\1"),  # b.i.d.
        (r"\(s\)", "s"),  # tablet(s)
        (r"\bevery six h", "every 6 h"),
        (r"\bevery eight h", "every 8 h"),
        (r"\bevery twelve h", "every 12 h"),
        (r"(?<![\d.])\.(?=\d)", "0."),
        (r"(?<=\d),(?=\d{3}\b)", ""),
        (r"\bw/(?!o\b) ?", "with "),
        # the strength beside the units that it is made up of
        (rf" ?\({STRENGTH}(?: total| each)?\)", ""),
        (rf"\b{STRENGTH} \((?=[^()]*(?:tab|cap)[^()]*\))([^()]*)\)", r"\1"),
    )
)
OF_STRENGTH = re.compile(rf"\b(\d|one|two) (?:x )?({STRENGTH}) (?=tab|cap)")  # one 20 mg tablet


def _plain(directions: str) -> str:
    """In small letters, without a strength where units are counted, `½` as `1/2`, `b.i.d.` as `bid`, `one (1)` as
    `one`."""
    text = directions.casefold()
    for pattern, plain in REWRITTEN:
        text = pattern.sub(plain, text)
    if len({strength for _, strength in OF_STRENGTH.findall(text)}) == 1:  # of two: another drug product
        text = OF_STRENGTH.sub(r"\1 ", text)
    return TWICE_SAID.sub(
        lambda found: found[1 if _number(found[1]) == _number(found[2]) else 0], text
    ).strip()


@dataclass
class Dose:
    """One amount, and when it is taken."""

    amount: Fraction | None = None
    times: set[Fraction] = field(default_factory=set)
    moments: set[str] = field(default_factory=set)  # of the day: "at bedtime"
    meals: set[str] = field(default_factory=set)  # the same where nothing else says when: "with breakfast"

    @property
    def is_timed(self) -> bool:
        return bool(self.times or self.moments or self.meals)

    def a_day(self, *, each_meal: bool) -> Fraction | None:
        """How often a day; none where what is said contradicts itself, or how many meals there are is not said."""
        moments = self.moments or self.meals
        if len(self.times) > 1 or (self.moments and 1 < len(self.meals) != len(self.moments)):
            return None
        if not self.times:
            return None if each_meal else Fraction(len(moments))
        [times] = self.times
        if each_meal and self.moments:
            return times if times == MEALS + len(self.moments) else None
        fits = len(moments) <= 1 if times < 1 else times == len(moments)
        return times if fits or not (self.moments or len(self.meals) > 1) else None


@dataclass
class Said:
    """What was understood so far."""

    doses: list[Dose] = field(default_factory=lambda: [Dose()])
    units: list[str] = field(default_factory=list)
    weekdays: set[str] = field(default_factory=set)
    sides: int = 1  # two eyes, two nostrils
    course_days: int | None = None
    as_needed: bool = False
    as_directed: bool = False
    each_meal: bool = False
    joined: str = ""  # what stands before the next word: "and", or a comma
    words: int = 0  # so far
    timed_at: int = -1  # the word that last said how often
    unclear: bool = False

    @property
    def dose(self) -> Dose:
        """The one that is being read."""
        return self.doses[-1]

    def often(self, times: Fraction) -> None:
        """So often a day."""
        self.dose.times.add(times)
        self.timed_at = self.words + 1


def _daily_use(said: Said) -> DailyUse | Refusal:
    first, is_timed = said.doses[0], said.weekdays or any(dose.is_timed for dose in said.doses)
    if said.as_directed and not (first.amount is not None and is_timed):
        return Refusal.as_directed
    units = set(said.units)
    if said.unclear or len(units) > 1:
        return Refusal.not_understood
    if first.amount is None:
        return Refusal.no_amount
    if not is_timed:
        return Refusal.no_frequency
    counted = _on_weekdays(said) if said.weekdays else _all_doses(said)
    if counted is None:
        return Refusal.not_understood
    amount, often = counted
    unit = units.pop() if units else ""
    amount, unit = (amount * SPOONS[unit], "mL") if unit in SPOONS else (amount, unit)
    if amount <= 0 or often <= 0:
        return Refusal.not_understood
    basis = Basis.as_directed if said.as_directed else Basis.explicit
    basis = Basis.as_needed if said.as_needed else basis
    return DailyUse(amount * said.sides, often, unit, basis, said.course_days)


def _all_doses(said: Said) -> tuple[Fraction, Fraction] | None:
    """How much a day, and how often. Several doses are each of a moment of their own, but for one that is taken twice a
    day or more."""
    amounts, often = Fraction(0), Fraction(0)
    for dose in said.doses:
        times = dose.a_day(each_meal=said.each_meal)
        if not times or dose.amount is None:
            return None
        amounts, often = amounts + dose.amount * times, often + times
    if len(said.doses) > 1:
        by_times = [dose for dose in said.doses if dose.times and not (dose.times == {1} and dose.moments)]
        moments = [moment for dose in said.doses for moment in dose.moments or dose.meals]
        if (
            len(by_times) > 1
            or any(min(dose.times) < 2 for dose in by_times)
            or len({*moments}) < len(moments)
        ):
            return None
    return amounts, often


def _on_weekdays(said: Said) -> tuple[Fraction, Fraction] | None:
    """The same of one dose that is taken on some days of the week."""
    dose, share = said.dose, Fraction(len(said.weekdays), 7)
    times = dose.a_day(each_meal=said.each_meal) if dose.is_timed else Fraction(1)
    if len(said.doses) > 1 or not times or dose.amount is None or (times < 1 and times != share):
        return None
    often = share if times < 1 else times * share
    return dose.amount * often, often


# --- the words ---

SMALL = {
    **{"one": Fraction(1), "two": Fraction(2), "three": Fraction(3), "four": Fraction(4)},
    **{"five": Fraction(5), "six": Fraction(6), "i": Fraction(1), "ii": Fraction(2)},
    **{"once": Fraction(1), "twice": Fraction(2)},
    **dict.fromkeys(("half", "half a", "half an", "a half", "one-half", "one half"), Fraction(1, 2)),
}
MEALS = 3
"""A day, where they are counted with bedtime: four times a day, before meals and at bedtime."""

SPOONS = {"teaspoon": 5, "tablespoon": 15}
MADE = r"((oral|chewable|er|xr|sr|xl|dr|ec|extended[ -]release|delayed[ -]release) )*"
UNITS = {
    rf"{MADE}(tab(let)?s?|caplets?|pills?)( (er|xr|sr|xl|dr|ec|odt))?|t": "tablet",
    rf"{MADE}(cap(sule)?s?|soft ?gels?)( (er|xr|sr|xl|dr|ec))?|c": "capsule",
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
    r"(?:\d{1,4}(?:[ -]| and | & )\d{1,2}/\d{1,2}|\d{1,2}/\d{1,2}|\d{1,4}(?:\.\d{1,4})?"
    r"|(?:one|two|three) and (?:a|one)[ -]half|half an?|a half|half|one[ -]half|one|two|three|four"
    r"|ii?(?= (?:tab|cap|po|t\b|c\b)))"
)
TWICE_SAID = re.compile(rf"\b({NUMBER}) ?\(({NUMBER})\)")
UNIT = "|".join(f"(?:{word})" for word in UNITS)
AMOUNT = rf"({NUMBER})(?: ?(?:-|to|or) ?({NUMBER}))? ?(?:({UNIT})\b)?(?! ?(?:x|times?)\b)(?![/\w%])"
TIMES = r"(one|two|three|four|five|six|\d)"
ABBREVIATED = {"qd": 1, "bid": 2, "tid": 3, "qid": 4}
DAY, WEEK = (
    r"(?:daily|(?:a|per|each|every) day|/ ?day)",
    r"(?:weekly|(?:a|per|each|every) (?:week|wk)|/ ?(?:week|wk))",
)
CRUSH = r"(?:crush|chew|break|split|cut)"
AWAY_FROM = r"(?:\d{1,2} (?:min(?:ute)?s?|hours?|hrs?)\.? )?"
AND = r"(?:,? ?(?:and|&|plus) ?)"
PART = r"(?:morning|afternoon|evening|night(?:time)?|noon|bedtime)"
MOMENT = rf"(?:q ?(?:am|pm|hs)|(?:in the |in |every |each |q ?)(?:am|pm|{PART})|nightly|hs|(?:at |before )?{PART})\b"
MOMENTS = rf"(?:once )?{MOMENT}(?:(?:{AND}|, )(?:{MOMENT}|am\b|pm\b))*"
MEAL = r"(?:breakfast|lunch|dinner|supper|(?:morning|evening) meal)"
KINDS = {
    **{"am": "morning", "morning": "morning", "breakfast": "morning", "noon": "noon", "lunch": "noon"},
    **{
        "afternoon": "afternoon",
        "pm": "evening",
        "evening": "evening",
        "dinner": "evening",
        "supper": "evening",
    },
    **{"hs": "night", "night": "night", "bedtime": "night"},
}
KIND = re.compile("|".join(sorted(KINDS, key=len, reverse=True)))
WEEKDAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?s?\b"
THREE_LETTERS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OTHER_WORDS = (
    "daily|day|days|weekly|week|weeks|month|months|hour|hours|qd|bid|tid|qid|qhs|q|every|each|once|twice|then|and|or|"
    "max|maximum|may|repeat|up|until|increase|decrease|take|use|apply|at|with|more|extra|additional|except|one|two|"
    "three|four|half|x|as|but|if|not|no|alternate|alternating|stop|hold|skip|off|days?|am|pm|hs|nightly|morning|noon|"
    f"afternoon|evening|night|bedtime|meals?|{WEEKDAY}"
)
PURPOSE = rf"(?:(?!(?:{OTHER_WORDS})\b)[a-z]+(?:[/-](?!(?:{OTHER_WORDS})\b)[a-z]+)?)"
"""A word that says what for, none that may say how much or how often."""
PURPOSES = rf"{PURPOSE}(?: {PURPOSE}){{0,2}}(?: and {PURPOSE}(?: {PURPOSE}){{0,2}})?(?=$|[,.;)])"

BY_WEIGHT = re.compile(r"\d ?(?:mg|mcg|g|gm|meq)\b")
AS_NEEDED = re.compile(r"\b(?:prn|as needed|if needed|when needed)\b")
AS_DIRECTED = re.compile(r"as (?:directed|instructed)|\bu(?:t)?d\b|\btaper\b|\bsliding scale\b")


def _number(text: str) -> Fraction:
    """`1`, `0.5`, `1/2`, `1 1/2` (also written `1-1/2`), `two`."""
    if text in SMALL:
        return SMALL[text]
    if text.endswith("half"):
        return SMALL[text.partition(" ")[0]] + Fraction(1, 2)
    text = re.sub(" (?:and|&) ", " ", text)
    *whole, part = re.split("[ -]", text)
    above, _, below = part.partition("/")
    if below and not int(below):
        return Fraction(0)
    return Fraction(above) / int(below or 1) + sum(map(Fraction, whole))


def _amount(said: Said, found: re.Match[str]) -> None:
    """Of a range the larger: the most that is taken. A second amount is a dose of its own, where it is set apart."""
    amount = max(_number(text) for text in found.group(1, 2) if text)
    if said.dose.amount is not None:
        said.unclear |= (
            not said.dose.is_timed or not said.joined or (bool(said.dose.times) and said.joined != "and")
        )
        said.doses.append(Dose())
    said.dose.amount = amount
    if found[3]:
        said.units.append(next(name for word, name in UNITS.items() if re.fullmatch(word, found[3])))


def _and(said: Said, _: re.Match[str]) -> None:
    said.joined = "and"


def _comma(said: Said, found: re.Match[str]) -> None:
    said.joined = said.joined or ("," if set(found[0]) & {",", ";"} else "")


def _abbreviated(said: Said, found: re.Match[str]) -> None:
    said.often(Fraction(max(ABBREVIATED[text] for text in found.group(1, 2) if text)))


def _often(days: int) -> Callable[[Said, re.Match[str]], None]:
    def note(said: Said, found: re.Match[str]) -> None:
        said.often(max(_number(text) for text in found.group(1, 2) if text) / days)

    return note


def _hours(said: Said, found: re.Match[str]) -> None:
    """Every so many hours, the shorter of a range; within a day as often as fits, the first dose counted."""
    hours = int(found[1])
    said.often(Fraction(ceil(Fraction(24, hours))) if 0 < hours <= 24 else Fraction(24, max(hours, 1)))


def _every_days(said: Said, found: re.Match[str]) -> None:
    said.often(Fraction(1, max(1, int(found[1]))))


def _once_in(days: int) -> Callable[[Said, re.Match[str]], None]:
    return lambda said, _: said.often(Fraction(1, days))


def _moment(said: Said, found: re.Match[str]) -> None:
    """Evening and bedtime side by side may be one and the same; "three times a day and at bedtime" is once more."""
    kinds = {KINDS[kind] for kind in KIND.findall(found[0])}
    if said.joined == "and" and said.dose.times and not said.each_meal:
        said.unclear |= said.timed_at != said.words
        said.doses.append(Dose(said.dose.amount))
    dose = said.dose
    said.unclear |= {"evening", "night"} <= kinds | dose.moments and not {"evening", "night"} <= kinds
    dose.moments |= kinds


def _meal(said: Said, found: re.Match[str]) -> None:
    said.dose.meals |= {KINDS[kind] for kind in KIND.findall(found[0])}


def _each_meal(said: Said, _: re.Match[str]) -> None:
    said.each_meal = True


def _weekdays(said: Said, found: re.Match[str]) -> None:
    """A list of days; with "through" from one to the other. Two days with a dash may be either."""
    days = [THREE_LETTERS.index(name[:3]) for name in re.findall(WEEKDAY, found[0])]
    if re.search(r"\bthr(?:u|ough)\b", found[0]):
        days = [(days[0] + n) % 7 for n in range((days[1] - days[0]) % 7 + 1)]
    said.unclear |= bool(said.weekdays) or ("-" in found[0] and len(days) == 2)
    said.weekdays |= {THREE_LETTERS[day] for day in days}


def _in_letters(*days: str) -> Callable[[Said, re.Match[str]], None]:
    return lambda said, _: said.weekdays.update(days)


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
        (r"[ ,.;()]+|- (?=for )", _comma),
        (rf"(?:and|&|plus) ?(?=(?:(?:take|tk) )?{NUMBER}|{MOMENT})", _and),
        # for how long, and what for
        (r"(?:x|for) ?(\d{1,3}) ?(days?|weeks?|wks?)\b", _course),
        (
            rf"(?:prn|(?:as|if|when) needed)\b(?: (?:for )?{PURPOSES})?",
            _needed,
        ),
        (rf"for {PURPOSES}", _nothing),
        (r"(?:at|on) the same (?:time|day)(?: of the week)?(?: (?:each|every) (?:day|week))?\b", _nothing),
        (
            r"(?:as (?:directed|instructed)(?: by (?:your )?(?:doctor|physician|prescriber|md))?|utd|ud)\b",
            _directed,
        ),
        # how often
        (r"(qd|bid|tid|qid)(?: ?(?:-|to|or) ?(qd|bid|tid|qid))?\b", _abbreviated),
        (r"(?:once )?(?:daily|(?:a|per|every|each) day|q ?day|q ?daily)\b", _once_in(1)),
        (rf"(once|twice)(?: or (twice))? ?{DAY}(?!\w)", _often(1)),
        (rf"(once|twice)(?: or (twice))? ?{WEEK}(?!\w)", _often(7)),
        (rf"{TIMES}(?:(?:-| to | or ){TIMES})? ?(?:x|times?) ?{DAY}(?!\w)", _often(1)),
        (rf"{TIMES}(?:(?:-| to | or ){TIMES})? ?(?:x|times?) ?{WEEK}(?!\w)", _often(7)),
        (r"(?:q|every) ?(\d{1,3})(?: ?(?:-|to) ?\d{1,3})? ?(?:h|hrs?|hours?)\b", _hours),
        (r"(?:weekly|(?:every|each) week|q ?(?:wk|week))\b", _once_in(7)),
        (r"every other week\b", _once_in(14)),
        (r"(?:every other day|qod)\b", _once_in(2)),
        (r"every (\d{1,2}) days\b", _every_days),
        (
            rf"(?:(?:on|every|each|q) )?{WEEKDAY}"
            rf"(?: (?:through|thru) {WEEKDAY}|(?:(?:{AND}|, ?| ?[/-] ?| ){WEEKDAY})*)",
            _weekdays,
        ),
        (r"(?:on )?m[-/, ]?w[-/, ]?f\b", _in_letters("mon", "wed", "fri")),
        (r"(?:on )?t(?:ue?)?[-/]?th(?:u)?\b", _in_letters("tue", "thu")),
        (MOMENTS, _moment),
        (
            rf"{AWAY_FROM}(?:with|before|after) (?:(?:a|the|your) )?{MEAL}(?:(?:{AND}|, )(?:with )?{MEAL})*\b",
            _meal,
        ),
        (
            rf"(?:{AWAY_FROM}(?:before|after)|with) (?:(?:each|every) meal|(?:the )?meals)\b|[ap]c\b",
            _each_meal,
        ),
        (rf"{AWAY_FROM}(?:before|after) a meal\b", _nothing),
        # how much
        (AMOUNT, _amount),
        # where and how
        (
            r"(?:in|into) (?:eyes|ears)\b|ou\b|(?:in |into )?(?:both|each) (?:eyes?|ears?|nostrils?)\b",
            _both_sides,
        ),
        (r"(?:per|each|in each) nostril\b", _both_sides),
        (r"(?:in|into) (?:(?:the|left|right|affected) )*(?:eye|ear|od|os)\b", _nothing),
        (
            r"(?:po|by mouth|by oral route|oral(?:ly)?|sl|under the (?:tongue|skin)|sublingually|sq|subq|sc|im|"
            r"subcutaneously)\b",
            _nothing,
        ),
        (r"(?:per vagina|vaginally|nasally|topically|to (?:the )?(?:affected area|face|skin))\b", _nothing),
        (r"tk(?=\b|\d)|t(?= ?\d)", _nothing),
        (
            rf"do not {CRUSH}(?:(?:, | or | and |, or ){CRUSH})*\b",
            _nothing,
        ),
        (r"swallow whole\b|on an empty stomach\b|with or without food\b", _nothing),
        (
            r"(?:take|give|dissolve|inhale|instill|inject|swallow|chew|use|place|apply(?: thin layer)?)\b",
            _nothing,
        ),
        (r"swish(?: and |/)spit\b|\(?rinse mouth(?: and throat)?(?: after use)?\)?", _nothing),
        (
            r"(?:wf|c food|with (?:a |the )?(?:meal|food|milk|(?:full )?(?:glass of )?water))\b",
            _nothing,
        ),
    )
)


SETTING_APART = (_and, _comma)


def _words_at(text: str, at: int) -> Iterator[tuple[re.Match[str], Callable[[Said, re.Match[str]], None]]]:
    """What the text may say from here, in the order of the table."""
    for pattern, note in WORDS:
        found = pattern.match(text, at)
        if found and found.end() > at:
            yield found, note


# --- as units a day ---

COUNTED = frozenset({"", "tablet", "capsule"})
"""What a tablet or capsule is counted in; directions name the one for the other."""


def units_a_day(use: Fraction) -> Decimal:
    """Exact where it can be, else below by less than can be told: so many a week last whole weeks."""
    value = Decimal(use.numerator) / Decimal(use.denominator)
    if Fraction(value) == use:
        return value
    return value.quantize(Decimal(1).scaleb(-20), ROUND_DOWN)


@lru_cache(maxsize=1_000)
def exact(units_per_day: Decimal) -> Decimal:
    """A daily use that was rounded, 0.14 or 0.1429 or 0.142857 for one a week, as what it was."""
    places = -int(units_per_day.normalize().as_tuple().exponent)
    a_week = (units_per_day * 7).to_integral_value(ROUND_HALF_UP)
    if places < 2 or not a_week:
        return units_per_day
    rounded = (a_week / 7).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return units_a_day(Fraction(int(a_week), 7)) if rounded == units_per_day else units_per_day
