"""Text, numbers and dates from outside: what is taken, what is refused, what is cleaned."""

from __future__ import annotations

from typing import Annotated, Any

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.events.enrollment import Channel
from shared.values import (
    LONGEST,
    WHOLE,
    WORD,
    Day,
    FreeText,
    Id,
    Message,
    RowNumber,
    Text,
    clean,
    for_example,
)

HALF = "\ud800"
Number = Annotated[int, Field(strict=True, ge=1), WHOLE]
AnyChannel = Annotated[Channel, WORD]


@pytest.mark.parametrize(
    ("came", "taken"),
    [
        ("the wife collects it", "the wife collects it"),
        ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Jose\u0301", "José"),
    ],
)
def test_plain_text_is_taken_in_its_composed_form(came: str, taken: str) -> None:
    assert TypeAdapter(FreeText).validate_python(came) == taken


@pytest.mark.parametrize("came", ["a\0b", "a\x1b[31m", HALF, "\ufffe", "\x85", "x" * 501, 17, ["x"]])
def test_free_text_that_cannot_be_kept_is_refused(came: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FreeText).validate_python(came)


@pytest.mark.parametrize("came", ["a\nb", "a\rb", "a\tb", "a\0b", "x" * 201, HALF])
def test_a_line_is_one_line(came: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Text).validate_python(came)


@pytest.mark.parametrize(
    ("kind", "came"),
    [
        (Id, "a b"),
        (Id, ""),
        (Id, "a\0"),
        (Id, "a\n"),
        (Id, "x" * 65),
        (RowNumber, -1),
        (RowNumber, 2**63),
        (RowNumber, 10**400),
        (Day, "0001-01-01"),
        (Day, "9999-12-31"),
        (Day, 0),
        (Day, "0"),
        (Day, "1772409600"),
        (Day, "2026-03-02T00:00:00"),
        (Number, "3"),
        (Number, 3.5),
        (Number, True),
        (Number, 0),
        (Number, float("inf")),
        (AnyChannel, 1),
        (AnyChannel, None),
    ],
)
def test_ids_numbers_and_days_are_bounded(kind: Any, came: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(came)


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("STOP\0", "STOP"),
        (f"no {HALF}thanks", "no thanks"),
        ("ol\u0301e\r\n", "oĺe\n"),
        ("x" * 10_000, "x" * LONGEST),
        ("\x1b" * 10_000, ""),
    ],
)
def test_what_a_patient_wrote_is_cleaned_and_never_refused(came: str, kept: str) -> None:
    assert clean(came) == TypeAdapter(Message).validate_python(came) == kept
    clean(came).encode()


@pytest.mark.parametrize(("came", "taken"), [("text", Channel.text), ("fax", Channel.other)])
def test_a_word_that_is_not_known_yet_is_other(came: str, taken: Channel) -> None:
    assert TypeAdapter(AnyChannel).validate_python(came) is taken


def test_an_example_goes_beside_what_a_model_takes_over() -> None:
    class Base(BaseModel):
        model_config = ConfigDict(extra="forbid")

    class Asked(Base):
        model_config = for_example(rx_id="RX1002")
        rx_id: str

    schema = Asked.model_json_schema()
    assert (schema["examples"], schema["additionalProperties"]) == ([{"rx_id": "RX1002"}], False)


@pytest.mark.parametrize("came", [3, 3.0])
def test_a_whole_number_is_one_however_it_is_written(came: Any) -> None:
    assert TypeAdapter(Number).validate_python(came) == 3


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (FreeText, ["two\nlines\tand a tab", "José", "\U0001f48a"], ["a\0b", "a\x1b[31m", "\x85", "\ufffe"]),
        (Text, ["a b", "José", "\U0001f48a"], ["a\nb", "a\rb", "a\tb", "a\u2028b", "a\0b"]),
        (Day, ["1900-01-01", "2026-03-02", "2200-01-01"], ["1899-12-31", "2200-01-02", "9999-12-31", "0"]),
    ],
)
def test_the_schema_of_a_value_says_what_is_taken(kind: Any, taken: list[str], refused: list[str]) -> None:
    judge = jsonschema.Draft202012Validator(
        TypeAdapter(kind).json_schema(), format_checker=jsonschema.FormatChecker()
    )
    for value in (*taken, *refused):
        assert judge.is_valid(value) == (value in taken), value
        if value in taken:
            TypeAdapter(kind).validate_python(value)
