"""How the text of one column is read: a reader answers a value, or says in words what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any
from zoneinfo import available_timezones

import phonenumbers

from shared.events.enrollment import Span

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


NO_VALUES = frozenset({"null", "(null)", "n/a", "#n/a", "\\n", "none", "nan"})
"""How programs write that there is no value, in lower case."""


class Invalid(Exception):
    """A value cannot be taken; the message is the reason in words, without the value."""


@dataclass(frozen=True)
class Required:
    """The mark of a column that a record cannot do without."""


@dataclass(frozen=True)
class Column:
    name: str
    read: Callable[[str], Any]
    default: Any = Required()  # the value where the text is empty
    personal: bool = False  # never repeated in an answer
    pseudonymous: bool = False  # kept as a pseudonym alone
    safety: bool = False  # may be empty, but a record that lost it would be unsafe: it is never taken without
    names: bool = False  # holds names, and people are called Null
    words: tuple[str, ...] = ()  # that are a value here, though elsewhere they say that there is none

    @property
    def required(self) -> bool:
        return isinstance(self.default, Required)

    @property
    def can_be_left_out(self) -> bool:
        """Whether a record is taken without this column where it cannot be read."""
        return not (self.required or self.safety)

    def value_of(self, written: str) -> Any:
        """What a text says; the default where it is empty. Raises Invalid."""
        written = written.strip()
        if not written:
            if self.required:
                raise Invalid("is empty: it is required")
            return self.default
        if written.casefold() in NO_VALUES and not self.names and written not in self.words:
            raise Invalid("is a placeholder for no value: leave the field empty")
        return self.read(written)


def text(longest: int) -> Callable[[str], str]:
    """Printable text of at most `longest` characters."""

    def read(value: str) -> str:
        if len(value) > longest:
            raise Invalid(f"has {len(value)} characters: use at most {longest}")
        if not value.isprintable():
            raise Invalid("contains line breaks, tabs or control characters: remove them")
        return value

    return read


def identifier(value: str) -> str:
    """An id of the source: at most 64 printable characters without blanks."""
    if " " in value:
        raise Invalid("is not a valid id: remove the spaces")
    return text(64)(value)


def day(value: str) -> date:
    try:
        read = date.fromisoformat(value)
    except ValueError:
        read = None
    if read is None or read.isoformat() != value:  # weeks and dates without dashes are ISO too
        raise Invalid("is not a valid date: use YYYY-MM-DD, for example 2026-03-02")
    return read


def days(value: str) -> tuple[date, ...]:
    """Dates separated by blanks."""
    return tuple(sorted({day(word) for word in value.split()}))


def spans(value: str) -> tuple[Span, ...]:
    """Spans of days separated by blanks, as 2009-10-01/2009-10-14; 2009-10-01/ has no end yet."""
    read = []
    for word in value.split():
        begins_on, slash, ends_on = word.partition("/")
        if not slash:
            raise Invalid(
                "is not a valid date range: use 2026-03-02/2026-03-15, or 2026-03-02/ while it has no end"
            )
        read.append(Span(begins_on=day(begins_on), ends_on=day(ends_on) if ends_on else None))
        if read[-1].ends_on and read[-1].ends_on < read[-1].begins_on:
            raise Invalid("ends before it begins: put the earlier date first")
    return tuple(sorted(read, key=lambda span: span.begins_on))


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def read(value: str) -> int:
        digits = value.isascii() and value.isdigit() and len(value) <= len(str(most))
        if not (digits and least <= int(value) <= most):
            raise Invalid(f"is not a whole number from {least} to {most}")
        return int(value)

    return read


def amount(value: str) -> Decimal:
    """Units of a drug: at most eight digits before the point and four after it."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise Invalid("is not a number: use units such as 30 or 2.5") from None
    if not number.is_finite() or number < 0 or number >= 10**8:
        raise Invalid("is out of range: units go from 0 to 99999999")
    if number != round(number, 4):
        raise Invalid("has too many decimals: use at most four")
    return number


def portion(value: str) -> Decimal:
    """Units of a drug, more than none."""
    number = amount(value)
    if number == 0:
        raise Invalid("is 0: use more than 0, or leave it empty")
    return number


def flag(value: str) -> bool:
    if value not in ("yes", "no"):
        raise Invalid("is neither yes nor no: use one of them")
    return value == "yes"


def one_of(choices: type[StrEnum]) -> Callable[[str], StrEnum]:
    """A member of an enumeration; `other` is for readers of events, not for feeds."""
    known = [str(choice) for choice in choices if choice != "other"]

    def read(value: str) -> StrEnum:
        if value not in known:
            raise Invalid("is not one of " + ", ".join(known))
        return choices(value)

    return read


def weekday(value: str) -> int:
    if value not in WEEKDAYS:
        raise Invalid("is not a weekday: use monday, tuesday, …")
    return WEEKDAYS.index(value)


def weekdays(value: str) -> tuple[int, ...]:
    """Weekdays separated by blanks."""
    return tuple(sorted({weekday(word) for word in value.split()}))


def hours(value: str) -> tuple[time, time]:
    """Opening and closing on one day, as 09:00-18:00."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value, re.ASCII):
        raise Invalid("are not valid hours: use 09:00-18:00, or leave a closed day empty")
    opens, closes = (time.fromisoformat(moment) for moment in value.split("-"))
    if opens >= closes:
        raise Invalid("close before they open: use 09:00-18:00")
    return opens, closes


def time_zone(value: str) -> str:
    if value not in available_timezones():
        raise Invalid("is not an IANA time zone: use a name such as America/Chicago")
    return value


def state(value: str) -> str:
    if not (len(value) == 2 and value.isascii() and value.isupper()):
        raise Invalid("is not a state code: use two letters, such as OK")
    return value


def language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", value):
        raise Invalid("is not a language tag: use one such as en or es")
    return value


def phone(value: str) -> str:
    """A number that can be dialled, in E.164; a number without a country is of the United States."""
    try:
        number = phonenumbers.parse(value, "US")
    except phonenumbers.NumberParseException:
        raise Invalid("is not a phone number: correct it, or leave it empty") from None
    if not phonenumbers.is_valid_number(number):
        raise Invalid("is not a valid phone number: correct it, or leave it empty")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
