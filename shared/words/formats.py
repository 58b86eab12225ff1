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


def sentence(template: str, values: Mapping[str, object]) -> str:
    """The template with its values.

    Raises:
        KeyError: a value that the template names is missing.
    """
    return Sentence().vformat(template, (), values)
