"""The patients of a file as documents: one object, an array, one object a line; or of a folder of such files, or of
the import layout."""

from __future__ import annotations

import json
import sys
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from cli.importing import ImportFailed
from cli.plan.layout import documents_of_folder
from services.enrollment.domain.records import PATIENTS
from services.planner.faults import TWICE, BadInput, Fault

STDIN = Path("-")
LINES = (".ndjson", ".jsonl")
OF_DOCUMENTS = (".json", *LINES)
EMPTY = "is empty: give one patient as an object {…}, or several as an array or one a line"
NO_JSON = {
    "Expecting value": "a value is missing, or a text has no quotes",
    "Expecting property name enclosed in double quotes": "a field's name in double quotes is missing",
    "Expecting ',' delimiter": "a comma or a closing bracket is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Unterminated string starting at": "this text has no closing quote",
    "Invalid control character at": "a text has a line break, a tab or the like in it",
    "Extra data": "something follows after the end",
}


class Unreadable(Exception):
    """The input as a whole cannot be read; says why, and what to do."""


@dataclass(frozen=True)
class Given:
    """One patient of the input: the place to look at, the document or what is wrong with it, and the bytes read."""

    place: str
    document: object | BadInput
    size: int = 0


def documents(path: Path, today: date) -> Iterator[Given]:
    """The patients of a file, a folder or standard input (`-`), in their order.

    One object a line is read line by line, whatever its length; anything else is read whole. Of a folder, what its
    column `known_on` says is not known before a later day is passed over.

    Raises:
        Unreadable: there is no such file, or nothing in it can be read.
    """
    try:
        if path.is_dir():
            yield from _of_folder(path, today)
            return
        with ExitStack() as stack:
            file = sys.stdin.buffer if path == STDIN else stack.enter_context(path.open("rb"))
            yield from _of_file(file, in_lines=path.suffix in LINES)
    except ImportFailed as failure:
        raise Unreadable(str(failure)) from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None


def _of_folder(path: Path, today: date) -> Iterator[Given]:
    """The import layout, where its first file is there; else the files of documents, by name."""
    files = sorted(each for each in path.iterdir() if each.suffix in OF_DOCUMENTS and each.is_file())
    if files and not (path / f"{PATIENTS.kind}.csv").exists():
        for file in files:
            for given in documents(file, today):
                yield replace(given, place=f"{file.name}, {given.place}")
        return
    for place, document in documents_of_folder(path, today):
        yield Given(place, document)


def _of_file(file: BinaryIO, *, in_lines: bool) -> Iterator[Given]:
    """A first line that is an object by itself makes it lines; so do two that begin one, if the first is broken."""
    lines = ((number, line.removeprefix(BOM_UTF8)) for number, line in enumerate(file, 1))
    number, first = next(((number, line) for number, line in lines if line.strip()), (1, b""))
    if not first:
        if not in_lines:
            yield Given("the file", BadInput([Fault("", "", EMPTY)]))
        return
    second = () if in_lines or _parses(first) else tuple(islice(lines, 1))
    begin_objects = all(line.startswith(b"{") for line in (first, *(line for _, line in second)))
    if in_lines or (begin_objects and (second or _parses(first))):
        yield from _of_lines(chain([(number, first)], second, lines))
    else:
        yield from _of_whole(b"".join([first, *(line for _, line in second), file.read()]))


def _of_lines(lines: Iterable[tuple[int, bytes]]) -> Iterator[Given]:
    for number, line in lines:
        if line.strip():
            yield Given(f"line {number}", _parsed(line.rstrip()), len(line))


def _of_whole(text: bytes) -> Iterator[Given]:
    document = _parsed(text)
    if isinstance(document, list):
        for number, each in enumerate(document, 1):
            yield Given(f"patient {number}", each, len(text) // len(document))
    else:
        yield Given("patient 1", document, len(text))


def _parses(text: bytes) -> bool:
    return not isinstance(_parsed(text), BadInput)


def _parsed(text: bytes) -> Any:
    """The JSON document; what is wrong with it does not quote it."""
    try:
        return json.loads(
            text.decode(), parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once_each
        )
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        what = NO_JSON.get(error.msg, "something is not as JSON has it")
        return BadInput([Fault("", "", f"is no JSON at {where}: {what}; correct it there")])
    except (ValueError, RecursionError):
        return BadInput([Fault("", "", "is no JSON: write UTF-8, finite numbers, and no deep nesting")])


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which no field takes the place of an earlier one of its name: what comes twice is refused."""
    counted = Counter(name for name, _ in pairs)
    return {name: value if counted[name] == 1 else TWICE for name, value in pairs}


def _no_constant(name: str) -> None:
    raise ValueError(name)
