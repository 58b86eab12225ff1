"""How values read in a sentence: counted nouns, dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from string import Formatter


class Sentence(Formatter):
    """`{days:day}` counts ("1 day", "no day", "3 days"); a date reads "Tue 3 Mar 2026"."""

    def format_field(self, value: object, format_spec: str) -> str:
        if format_spec:
            return counted(int(str(value)), format_spec)
        return spoken(value)


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number or 'no'} {noun}{'' if number in (0, 1) else 's'}"


def spoken(value: object) -> str:
    """A date, or text that is one, as people write it; anything else as it is."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return str(value)
    if isinstance(value, date):
        return f"{value:%a} {value.day} {value:%b %Y}"
    return str(value)


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
