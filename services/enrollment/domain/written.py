"""A record as it was written, before its columns are read: what its columns are called, and that each holds text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache

NEAR = 0.75
"""How alike two names are, from 0 to 1, where one may be meant for the other."""

OTHER_NAMES: Mapping[str, str] = {
    "cancelled": "reversed",
    "controlled": "schedule",
    "dea": "schedule",
    "discontinued": "status",
    "ltc": "long_term_care",
    "prn": "as_needed",
    "returned": "reversed",
    "sig": "directions",
    "voided": "reversed",
}
"""What other systems call columns without which a record would be read wrongly."""


@dataclass(frozen=True)
class Problem:
    """Why a record was not taken, or a field of it not: the column to look at, and the reason without the value."""

    field: str
    reason: str


def fold(name: str) -> str:
    """A column's name as it is compared: `Reversed ` is `reversed`."""
    return name.strip().casefold()


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known column that an unknown one is most like, if it is like any."""
    return next(iter(get_close_matches(fold(name), known, n=1)), None)


@lru_cache(maxsize=4096)  # every record of a feed has the same
def meant_for(name: str, unsafe_to_miss: frozenset[str]) -> str | None:
    """The one of these columns that an unknown name may be meant for."""
    squeezed = _squeeze(name)
    if (other := OTHER_NAMES.get(squeezed)) in unsafe_to_miss:
        return other
    alike = {
        column: SequenceMatcher(None, squeezed, _squeeze(column)).ratio() for column in sorted(unsafe_to_miss)
    }
    best = max(alike, key=lambda column: alike[column], default=None)
    return best if best is not None and alike[best] >= NEAR else None


def _squeeze(name: str) -> str:
    return re.sub("[^a-z0-9]", "", fold(name))


def is_near(column: str) -> str:
    """Why a column that is not known cannot be passed over."""
    return (
        f"is not a column here, and may be meant for {column}, which is unsafe to miss: "
        f"rename it {column}, or remove it"
    )


def is_unknown(name: str, known: Collection[str]) -> str:
    """Why a column that is not known is passed over."""
    near = nearest(name, known)
    return "is not a known column and is ignored" + (f": did you mean {near}?" if near else "")


def texts_of(record: object) -> tuple[dict[str, str], list[Problem]]:
    """The texts of a record by folded name, and what is wrong with it. A number is taken for its digits."""
    if not isinstance(record, Mapping):
        return {}, [Problem("", f"is {_kind(record)}: write a record as an object, column to text")]
    texts: dict[str, str] = {}
    problems = []
    for name, value in record.items():
        folded = fold(name)
        if folded in texts:
            problems.append(Problem(folded, "appears twice: remove one"))
        text = _text(value)
        if text is None:
            problems.append(Problem(folded, f"is {_kind(value)}: write it as text"))
        texts[folded] = text or ""
    return texts, problems


def _text(value: object) -> str | None:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return None
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return str(value)
    return None


def _kind(value: object) -> str:
    """What a value is in JSON, in words."""
    match value:
        case bool():
            return "true or false, which is yes or no here"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case str():
            return "text"
        case None:
            return "null"
    return "a number"


def repeated(names: Sequence[str]) -> list[str]:
    """The names that are there more than once, folded; columns without a name do not count."""
    folded = [fold(name) for name in names]
    return sorted({name for name in folded if name and folded.count(name) > 1})
