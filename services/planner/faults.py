"""What is wrong with a document to plan from: where, the value where it names nobody, and the way out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from pydantic_core import ErrorDetails


@dataclass(frozen=True)
class Fault:
    """What is wrong with a document: where, the value where it names nobody, and what to do."""

    field: str
    value: str
    problem: str


class BadInput(Exception):
    """The document cannot be planned from."""

    def __init__(self, faults: list[Fault], patient_id: str = "") -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.problem}" for fault in faults))
        self.faults, self.patient_id = faults, patient_id


NO_FIELD = "is not a field here: correct its name, or remove it"
NO_OBJECT = "is not an object: use {…} with the fields of the reference"
NO_LIST = "is not a list: use […], also around a single one"
NO_TEXT = 'is not text: put it in quotes, "…"'
NO_DATE = "is not a valid date: use YYYY-MM-DD, for example 2026-03-02"
NO_NUMBER = "is not a number: use a number such as 30 or 2.5"
NOT_WHOLE = "is not a whole number: use a number such as 30, without quotes, decimals or words"
NO_FLAG = "is neither true nor false: write one of them, without quotes"
NO_ID = "has not the form of an id: write 1 to 64 letters, digits and signs without a blank, never a name"
WAYS_OUT = {
    "missing": "is missing: give it",
    "extra_forbidden": NO_FIELD,
    "unexpected_keyword_argument": NO_FIELD,
    "model_type": NO_OBJECT,
    "model_attributes_type": NO_OBJECT,
    "dataclass_type": NO_OBJECT,
    "dict_type": NO_OBJECT,
    "mapping_type": NO_OBJECT,
    "list_type": NO_LIST,
    "tuple_type": NO_LIST,
    "set_type": NO_LIST,
    "frozen_set_type": NO_LIST,
    "string_type": NO_TEXT,
    "string_pattern_mismatch": NO_ID,
    "string_too_long": "is too long: shorten it",
    "string_too_short": "is too short: write more",
    "date_from_datetime_parsing": NO_DATE,
    "date_from_datetime_inexact": NO_DATE,
    "date_parsing": NO_DATE,
    "date_type": NO_DATE,
    "int_type": NOT_WHOLE,
    "int_parsing": NOT_WHOLE,
    "int_from_float": NOT_WHOLE,
    "int_parsing_size": "is far too large: give less",
    "bool_type": NO_FLAG,
    "bool_parsing": NO_FLAG,
    "decimal_type": NO_NUMBER,
    "decimal_parsing": NO_NUMBER,
    "finite_number": NO_NUMBER,
    "decimal_max_digits": "is too large or too fine: units have eight digits before the point and four after it, "
    "money seven and two",
    "decimal_whole_digits": "is too large: units have eight digits before the point, money seven",
    "decimal_max_places": "has too many decimal places: money is in whole cents, a quantity in ten-thousandths",
}
LIMITS = {
    "greater_than_equal": "is too little: give {ge} or more",
    "greater_than": "is too little: give more than {gt}",
    "less_than_equal": "is too much: give {le} or less",
    "less_than": "is too much: give less than {lt}",
    "enum": "is none of {expected}: write one of them",
    "literal_error": "is none of {expected}: write one of them",
    "known_word": "is none of {words}: write one of them",
}


TWICE = object()
"""The value of a field that comes twice in one object: it fits nothing."""


def fault_of(error: ErrorDetails) -> Fault:
    """What a reader of values found, in words for people."""
    kind = error["type"]
    if error["input"] is TWICE:
        return Fault(".".join(map(_place, error["loc"])), "", "appears twice in one object: give it once")
    said = LIMITS[kind].format(**error.get("ctx", {})) if kind in LIMITS else WAYS_OUT.get(kind)
    field = ".".join(map(_place, error["loc"]))
    value = "" if kind == "missing" or said == NO_FIELD else shown(field, error["input"])
    return Fault(field, value, said or "cannot be read: see the reference of this field")


ID = re.compile(r"(?=.*\d)[!-~]{1,64}")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")  # of a field: small letters
WORD = re.compile(r"[a-z]+(_[a-z0-9]+)+")  # rolling_31; neither drugs nor people are called so
NUMBER = re.compile(r"-?\d{1,6}(\.\d{1,6})?")  # too short to call
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _place(part: str | int) -> str:
    """A part of the way to a value: a key that a person wrote may be anything, also a name."""
    place = str(part)
    return place if NAME.fullmatch(place) or ID.fullmatch(place) or isinstance(part, int) else "(a key)"


def shown(field: str, value: object) -> str:
    """The value, where it can name neither a person nor a drug: a number, a day, a word of ours, an id."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, int | float):
        return str(value) if abs(value) < 1_000_000 else "a large number"
    if not isinstance(value, str):
        return "a list" if isinstance(value, list | tuple) else "an object"
    if any(form.fullmatch(value) for form in (WORD, DAY, NUMBER)):
        return value
    if field.endswith("_id") and ID.fullmatch(value):
        return value
    if not value:
        return "empty"
    return f"a text of {len(value)} character{'' if len(value) == 1 else 's'}"


def id_of(document: object) -> str:
    """The id that the document gives its patient, where it has the form of one: not of a name."""
    said = document.get("patient_id") if isinstance(document, dict) else None
    return said if isinstance(said, str) and ID.fullmatch(said) else ""
