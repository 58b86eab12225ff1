"""Values from outside, as request models take them: text that can be stored and shown, numbers and dates within bounds.

Text is refused where it cannot be kept as it came, and says why; only what a patient wrote is cleaned instead: nobody
asks them to send it again.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, TypeGuard

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What no text holds: control characters but tab and line feed, half surrogates, what is no character."""

UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")

BREAKS = re.compile(r"\r\n?|[\u2028\u2029]")

LONGEST = 2000
"""Characters of a message that is cleaned."""


def clean(text: str, longest: int = LONGEST) -> str:
    """A message as a person wrote it, such that it can be stored: NFC, without what no text holds, cut to `longest`."""
    return unicodedata.normalize("NFC", CONTROL.sub("", BREAKS.sub("\n", text[: 4 * longest])))[:longest]


def _free_text(text: str) -> str:
    """Raises ValueError where it holds what no text holds."""
    text = BREAKS.sub("\n", text)
    if CONTROL.search(text):
        raise ValueError("has control characters or half a character: write it as plain text")
    return unicodedata.normalize("NFC", text)


def _one_line(text: str) -> str:
    text = _free_text(text)
    if "\n" in text or "\t" in text:
        raise ValueError("is of several lines: write it in one")
    return text


def _cleaned(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def _none_of(characters: str) -> str:
    """As a document says it. Half surrogates are left to the reader: no text that is valid has one."""
    return f"^[^{characters}]*$"


Message = Annotated[str, BeforeValidator(_cleaned)]
"""What a patient wrote: cleaned, and never refused for what it holds (pydantic itself refuses half surrogates)."""

FreeText = Annotated[
    str,
    AfterValidator(_free_text),
    Field(
        max_length=500,
        json_schema_extra={"pattern": _none_of(r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff")},
    ),
]
"""A reason or a note in a person's words; further bounds beside it: `Annotated[FreeText, Field(min_length=3)]`."""

Text = Annotated[
    str,
    AfterValidator(_one_line),
    Field(
        max_length=200, json_schema_extra={"pattern": _none_of(r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff")}
    ),
]
"""Text in one line: what is searched for, a name of something."""

ID = re.compile(r"[!-~]{1,64}")

Id = Annotated[str, Field(pattern=f"^{ID.pattern}$")]
"""An id of this system, or of a system that feeds it: printable ASCII without blanks."""


def is_id(value: object) -> TypeGuard[str]:
    """Whether a value has the form of an id."""
    return isinstance(value, str) and ID.fullmatch(value) is not None


Cursor = Annotated[str, Field(pattern=r"^[!-~]{0,80}$")]
"""Where a page or a turn goes on; empty at the first."""


def _storable(document: Any) -> Any:
    """Raises ValueError where a text in it, or a name, cannot be kept or sent on."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) and UNSTORABLE.search(part):
            raise ValueError("a text in it has a NUL or half a character: write it as plain text")
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
    return document


Document = Annotated[dict[str, Any], AfterValidator(_storable)]
"""JSON that is read by its own rules later; its depth and size are bounded with the body."""

RowNumber = Annotated[int, Field(ge=0, lt=2**63)]
"""A number that PostgreSQL takes as bigint."""

WRITTEN_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _as_written(value: Any) -> Any:
    """Raises ValueError for what pydantic would take for a moment, or for seconds since 1970."""
    if isinstance(value, date) or (isinstance(value, str) and WRITTEN_DAY.fullmatch(value)):
        return value
    raise ValueError("is not a valid date: use YYYY-MM-DD, for example 2026-03-02")


Day = Annotated[
    date,
    Field(
        ge=date(1900, 1, 1),
        le=date(2200, 1, 1),
        json_schema_extra={"pattern": "^((19|20|21)\\d\\d-|2200-01-01)"},
    ),
    BeforeValidator(_as_written),
]
"""A date that can be reckoned with: years may be added to it and taken away."""


WRITTEN_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d.*", re.ASCII)


def _as_moment(value: Any) -> Any:
    """Raises ValueError for what pydantic would take for seconds since 1970, or for a date."""
    if isinstance(value, datetime) or (isinstance(value, str) and WRITTEN_INSTANT.fullmatch(value)):
        return value
    raise ValueError("is not a moment: use YYYY-MM-DDTHH:MM:SS with Z or an offset, as 2026-03-02T06:00:00Z")


Instant = Annotated[AwareDatetime, BeforeValidator(_as_moment)]
"""A moment, written with its offset."""


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 3.0 is as whole as 3. Text is no number, nor is true."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Of a strict number in a request body: `Annotated[int, Field(strict=True, ge=1), WHOLE]`."""


def _text_alone(value: Any) -> Any:
    """Raises ValueError for what is no text."""
    if isinstance(value, str):
        return value
    raise ValueError("is not text: write it in quotes")


class _Word:
    """Of an `OpenEnum` in a request body. By itself it takes whatever it does not know, a number too, as `other`; here
    it takes any text so, and the document says it."""

    def __get_pydantic_core_schema__(self, source: type[Enum], handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(_text_alone, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        known = handler.resolve_ref_schema(handler(schema)).get("enum", [])
        return {"type": "string", "examples": known, "description": "others are taken as `other`"}


WORD = _Word()


def for_example(**said: Any) -> ConfigDict:
    """The configuration of a request model whose document shows this body."""
    return ConfigDict(json_schema_extra={"examples": [said]})


class Input(BaseModel):
    """What is said to a command; a field that it does not know is refused, with its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LenientInput(Input):
    """The same on routes that always passed over fields they do not know: who sends more is still served."""

    model_config = ConfigDict(extra="ignore")


class Output(BaseModel):
    """What is answered to a query or a command."""

    model_config = ConfigDict(frozen=True)
