"""`medsync import DIR`: feeds the four files of the import layout (docs/reference/import-layout.md) to enrollment."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import stamina
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.sign_in import staff_headers
from services.enrollment.domain.records import LAYOUTS, Layout
from services.enrollment.domain.written import fold, is_near, is_unknown, meant_for, repeated

RECORDS_A_REQUEST = 500
PATIENCE_SECONDS = 60.0  # with a service that went away in the middle, or lost its database
MISFIT = "has more or fewer fields than the header: put text that contains a comma in quotes"
REJECTED = 3
"""The exit code where some records were not taken; 2 is that of a command that was called wrongly."""

OF_REJECTS = ("line", "field", "reason")
"""Columns of a file of rejects beside those of the file itself: fed again, they are passed over."""

KNOWN_ON = "known_on"
"""A column of the sample patients, passed over here: the day on which the record is first fed."""

LINES_SHOWN = 20


class ImportFailed(Exception):
    """The import cannot begin or go on; says why, and what to do."""


@dataclass(frozen=True)
class Line:
    """One record of a file, and the line on which it ends; no values: its fields do not fit the header.

    `written` is the whole record as the file has it, by folded column; of one that does not fit its natural key alone.
    """

    number: int
    values: dict[str, str] | None
    written: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """What is wrong with a record that was not taken, by field; one without a name is the record as a whole."""

    line: Line
    problems: Sequence[tuple[str, str]]


@dataclass
class Outcome:
    """What came of one file."""

    path: Path
    accepted: int = 0
    unchanged: int = 0
    conflicts: int = 0
    rejects: list[Reject] = field(default_factory=list)  # conflicts are among them
    # lines of records that were taken without a field, by the field and the reason
    left_out: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def rejects_path(self) -> Path:
        return self.path.with_suffix(".rejects.csv")


def import_directory(
    place: Path,
    base_url: str,
    *,
    source: str = "chain",
    allow_no_final_newline: bool = False,
    console: Console | None = None,
) -> int:
    """Feed stores, patients, prescriptions and fills, in this order, and say what came of each file.

    `place` is the directory of the four, or one file whose name begins with its kind. Rejected records are written
    beside their file and stop nothing. All files are looked at before the first record is sent. What was passed over
    is said on stderr. Answers the exit code: 0, 3 if records were rejected, 1 if the import could not be done.
    """
    warnings = console or Console(stderr=True)
    console = console or Console()
    try:
        files = _files(place)
        for layout, path in files:
            for warning in check_file(path, layout, allow_no_final_newline=allow_no_final_newline):
                _say(warnings, warning, "yellow")
        outcomes = _import(files, base_url, source, console)
    except ImportFailed as failure:
        _say(console, f"Import failed: {failure}", "red")
        return 1
    for outcome in outcomes:
        for warning in _left_out(outcome):
            _say(warnings, warning, "yellow")
    console.print(_summary(outcomes))
    rejected = [outcome for outcome in outcomes if outcome.rejects]
    for outcome in rejected:
        _say(console, f"Rejected records of {outcome.path.name} are in {outcome.rejects_path}")
    if rejected:
        _say(
            console,
            "Correct them at the source and import again, or correct that file and import it. Records accepted before "
            "do not change.",
        )
    return REJECTED if rejected else 0


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)


def _files(place: Path) -> list[tuple[Layout[Any], Path]]:
    if not place.is_file():
        return [(layout, place / f"{layout.kind}.csv") for layout in LAYOUTS]
    kind = place.name.partition(".")[0]
    for layout in LAYOUTS:
        if layout.kind == kind:
            return [(layout, place)]
    kinds = ", ".join(layout.kind for layout in LAYOUTS)
    raise ImportFailed(
        f"{place} does not say what it holds: its name must begin with one of {kinds}, and a dot"
    )


def _import(
    files: Sequence[tuple[Layout[Any], Path]], base_url: str, source: str, console: Console
) -> list[Outcome]:
    lines = {path: sum(1 for _ in read_lines(path, layout)) for layout, path in files}
    outcomes = []
    with (
        httpx.Client(base_url=base_url, headers=staff_headers(role="feed"), timeout=60) as http,
        Progress(console=console, transient=True) as progress,
    ):
        _find(http)
        for layout, path in files:
            task = progress.add_task(path.name, total=lines[path])
            outcome = Outcome(path)
            records = read_lines(path, layout)
            while batch := list(islice(records, RECORDS_A_REQUEST)):
                feed(http, layout, source, batch, outcome)
                progress.advance(task, len(batch))
            write_rejects(layout, outcome)
            outcomes.append(outcome)
        _post(http, f"/imports/{files[-1][0].kind}", {"source": source, "records": [], "more": False})
    return outcomes


# --- files ---


def check_file(path: Path, layout: Layout[Any], *, allow_no_final_newline: bool) -> Iterator[str]:
    """What of a file is passed over, in words.

    Raises:
        ImportFailed: as `read_lines` does; or the file is cut off within its last line.
    """
    header = next(_rows(path), (0, []))[1]
    _check_header(path, header, layout)
    known = {*layout.column_names, *OF_REJECTS, KNOWN_ON}
    for name in header:
        if fold(name) not in known:
            yield f"{path.name}: column {name.strip() or 'without a name'} {is_unknown(name, layout.column_names)}"
    if not allow_no_final_newline and not _ends_with_its_line(path):
        raise ImportFailed(
            f"{path} ends within a line and may be cut off: 30 may have become 3. Fetch it again; "
            "if it is complete, end its last line with a newline, or use --allow-no-final-newline"
        )


def _ends_with_its_line(path: Path) -> bool:
    with path.open("rb") as content:
        if content.seek(0, os.SEEK_END) == 0:
            return True
        content.seek(-1, os.SEEK_END)
        return content.read(1) in b"\r\n"


def read_lines(path: Path, layout: Layout[Any], beside: Sequence[str] = ()) -> Iterator[Line]:
    """The records of a file, with the columns of the layout alone, and those named beside it where there are any.

    Raises:
        ImportFailed: the file is missing, is not UTF-8 or not CSV, lacks a required column, has a column twice, or
            one that may be meant for another without which records would be read wrongly.
    """
    rows = _rows(path)
    header = next(rows, (0, []))[1]
    _check_header(path, header, layout)
    names = [fold(name) for name in header]
    wanted = {*layout.column_names, *beside}
    for number, row in rows:
        if not row:
            continue
        written = {name: value for name, value in zip(names, row, strict=False) if name}
        if len(row) == len(names):
            yield Line(number, {name: written[name] for name in names if name in wanted}, written)
        else:
            # with what else stands in the wrong columns it could be taken when it is fed again
            yield Line(number, None, {layout.key: written.get(layout.key, "")})


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The header and the records, each with the line on which it ends."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            for row in reader:
                yield reader.line_num, row
    except FileNotFoundError:
        raise ImportFailed(f"{path} is missing; a file without records has its header line only") from None
    except UnicodeDecodeError:
        raise ImportFailed(f"{path} is not UTF-8; save it as UTF-8 and import again") from None
    except csv.Error as error:
        raise ImportFailed(f"{path} is not a CSV file after line {reader.line_num}: {error}") from None
    except OSError as error:
        raise ImportFailed(f"{path} cannot be read: {error.strerror}") from None


def _check_header(path: Path, header: Sequence[str], layout: Layout[Any]) -> None:
    names = [fold(name) for name in header]
    if missing := [name for name in layout.required if name not in names]:
        raise ImportFailed(
            f"{path} has no column {', '.join(missing)}; its header must name "
            f"{', '.join(layout.required)} (docs/reference/import-layout.md)"
        )
    if twice := repeated(header):
        raise ImportFailed(f"{path} has column {', '.join(twice)} more than once; remove one of each")
    near = [
        f"column {name} {is_near(column)}"
        for name in names
        if name not in layout.column_names
        and (column := meant_for(name, layout.unsafe_to_miss.difference(names)))
    ]
    if near:
        raise ImportFailed(f"{path}: {'; '.join(near)} (docs/reference/import-layout.md)")


def write_rejects(layout: Layout[Any], outcome: Outcome) -> None:
    """Write what was not taken beside the file, for its owner alone, as it can be mended and fed again.

    What an earlier import left there is removed.
    """
    path = outcome.rejects_path
    try:
        path.unlink(missing_ok=True)
        if not outcome.rejects:
            return
        rejects = sorted(outcome.rejects, key=lambda each: each.line.number)
        columns = dict.fromkeys(
            name for each in rejects for name in each.line.written if name not in OF_REJECTS
        )
        columns |= dict.fromkeys(layout.required)  # where no record fits its header
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow((*columns, *OF_REJECTS))
            for each in rejects:
                fields = ", ".join(name for name, _ in each.problems if name)
                reasons = "; ".join(f"{name} {reason}".strip() for name, reason in each.problems)
                values = (each.line.written.get(name, "") for name in columns)
                writer.writerow((*values, each.line.number, fields, reasons))
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be written: {error.strerror}; copy the files to a folder of yours"
        ) from None


# --- the service ---


def feed(
    http: httpx.Client, layout: Layout[Any], source: str, batch: Sequence[Line], outcome: Outcome
) -> None:
    """Send up to 500 records, and add what came of them."""
    outcome.rejects.extend(Reject(line, [("", MISFIT)]) for line in batch if line.values is None)
    batch = [line for line in batch if line.values is not None]
    records = [line.values for line in batch]
    answer = _post(http, f"/imports/{layout.kind}", {"source": source, "records": records, "more": True})
    outcome.accepted += answer["accepted"]
    outcome.unchanged += answer["unchanged"]
    outcome.conflicts += len(answer["conflicts"])
    for rejected in (*answer["rejected"], *answer["conflicts"]):
        problems = [(each["field"], each["reason"]) for each in (rejected, *rejected["also"])]
        outcome.rejects.append(Reject(batch[rejected["index"]], problems))
    for warning in answer["warnings"]:
        outcome.left_out[warning["field"], warning["reason"]].append(batch[warning["index"]].number)


def _post(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send one request; wait for a service that is away for a moment: sent twice, it changes nothing."""
    try:
        for attempt in stamina.retry_context(
            on=is_passing, attempts=None, timeout=PATIENCE_SECONDS, wait_max=5.0
        ):
            with attempt:
                answer = http.post(path, json=body)
                answer.raise_for_status()
    except httpx.TransportError as error:
        raise _away(http, error) from None
    except httpx.HTTPStatusError as error:
        raise ImportFailed(f"enrollment refused {path}: {detail_of(error.response)}") from None
    taken: dict[str, Any] = answer.json()
    return taken


def _find(http: httpx.Client) -> None:
    """A service that was never there does not come by waiting: say so at once."""
    try:
        http.get("/ops/live")
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise _away(http, error) from None


def _away(http: httpx.Client, error: Exception) -> ImportFailed:
    return ImportFailed(
        f"enrollment does not answer at {http.base_url} ({type(error).__name__}); start it with `medsync up`, or "
        "say where it is with MEDSYNC_ENROLLMENT_URL, and import again: records accepted before do not change"
    )


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    return isinstance(error, httpx.TransportError)


def detail_of(response: httpx.Response) -> str:
    """What the problem details say; the status where the answer holds none."""
    try:
        return f"{response.status_code} {response.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return str(response.status_code)


def _left_out(outcome: Outcome) -> Iterator[str]:
    """Which records were taken without a field, in words."""
    for (name, reason), lines in outcome.left_out.items():
        shown = ", ".join(map(str, lines[:LINES_SHOWN]))
        more = f" and {len(lines) - LINES_SHOWN} more" if len(lines) > LINES_SHOWN else ""
        yield f"{outcome.path.name}: accepted without {name}, which {reason} (line {shown}{more})"


def _summary(outcomes: Sequence[Outcome]) -> Table:
    table = Table(
        "file", "accepted", "unchanged", "rejected", "of these in conflict", "accepted without a field"
    )
    for outcome in outcomes:
        left_out = sum(map(len, outcome.left_out.values()))
        counts = outcome.accepted, outcome.unchanged, len(outcome.rejects), outcome.conflicts, left_out
        table.add_row(outcome.path.name, *map(str, counts))
    return table
