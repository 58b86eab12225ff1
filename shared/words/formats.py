"""How values read in a sentence: counted nouns, dates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from string import Formatter


class Sentence(Formatter):
    """`{days:day}` counts ("1 day", "no days", "3 days"), or a form of `FORMS`; a date reads "Tue Mar 3, 2026"."""

    def format_field(self, value: object, format_spec: str) -> str:
        if format_spec in FORMS:
            return FORMS[format_spec](str(value))
        return counted(int(str(value)), format_spec) if format_spec else spoken(value)


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def spoken(value: object) -> str:
    """A date, or text that is one, as people write it; anything else as it is."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return str(value)
    if isinstance(value, date):
        return f"{value:%a %b} {value.day}, {value:%Y}"
    return str(value)


def short_date(value: date | str) -> str:
    """A day that is near, as people say it; of an instant its day.

    >>> short_date("2026-06-17")
    'Wed 6/17'
    """
    day = date.fromisoformat(value[:10]) if isinstance(value, str) else value
    return f"{day:%a} {day.month}/{day.day}"


def phone(number: str) -> str:
    """A number as people write it, given in E.164; one from abroad stays as it is.

    >>> phone("+19185550105")
    '918-555-0105'
    """
    american = re.fullmatch(r"\+1(\d{3})(\d{3})(\d{4})", number)
    return "-".join(american.groups()) if american else number


def through(value: str) -> str:
    """The last day that a supply covers, given the day on which nothing is left.

    >>> through("2026-06-18")
    'Wed Jun 17, 2026'
    """
    return spoken(date.fromisoformat(value) - timedelta(days=1))


def not_met(kind: str) -> str:
    """What did not come, by the kind of a condition.

    >>> not_met("renewal")
    'the prescriber did not renew it'
    """
    return _NOT_MET.get(kind, "what it waited for did not come")


_NOT_MET = {
    "renewal": "the prescriber did not renew it",
    "authorization": "prior authorization did not come through",
    "answer": "the question about it was not answered",
}


def without(days: str | int) -> str:
    """Days without a drug, as plans count them: over all drugs.

    >>> without(12)
    '12 days without a drug, over all drugs'
    >>> without(0)
    'no gaps'
    """
    if not int(days):
        return "no gaps"
    return f"{counted(int(days), 'day')} without a drug{', over all drugs' if int(days) > 1 else ''}"


def dollars(amount: str | Decimal) -> str:
    """An amount in whole cents.

    >>> dollars("5")
    '$5.00'
    """
    return f"${Decimal(amount):.2f}"


def a_day(units: str) -> str:
    """How much is taken, by the week where that is whole.

    >>> a_day("0.1429")
    '1 a week'
    """
    value = Decimal(units)
    a_week = round(value * 7)
    if value % Decimal("0.25") and a_week and abs(value * 7 - a_week) < Decimal("0.01"):
        return f"{a_week} a week"
    return f"{value.normalize():f} a day"


def overrides(number: str) -> str:
    """What is said of overrides beside short fills; nothing where there are none."""
    return f", {counted(int(number), 'refill-too-soon override')}" if int(number) else ""


def schedule(code: str) -> str:
    """A schedule of controlled substances: c3 is Schedule III."""
    return f"Schedule {_SCHEDULES[code]}" if code in _SCHEDULES else code


_SCHEDULES = {"c1": "I", "c2": "II", "c3": "III", "c4": "IV", "c5": "V"}

FORMS: Mapping[str, Callable[[str], str]] = {
    "without": without,
    "dollars": dollars,
    "a_day": a_day,
    "overrides": overrides,
    "schedule": schedule,
    "short_date": short_date,
    "through": through,
    "not_met": not_met,
}
"""How a value reads, where it is neither counted nor said as it is."""


_REJECTS = {
    "70": "not covered",
    "75": "prior authorization required",
    "76": "plan limits exceeded",
    "79": "refill too soon",
    "88": "drug utilization review",
}


def rejected(code: str) -> str:
    """A payer's reject code (NCPDP) with its meaning, where it is one of the usual.

    >>> rejected("79")
    'refill too soon (reject 79)'
    """
    meaning = _REJECTS.get(code)
    return f"{meaning} (reject {code})" if meaning else f"reject {code}"


def sentence(template: str, values: Mapping[str, object]) -> str:
    """The template with its values.

    Raises:
        KeyError: a value that the template names is missing.
    """
    return Sentence().vformat(template, (), values)
