"""`medsync import DIR`: feeds the four files of the import layout (docs/reference/import-layout.md) to enrollment."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import stamina
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.system import staff_headers
from services.enrollment.domain.records import LAYOUTS, Layout

RECORDS_A_REQUEST = 500
PATIENCE_SECONDS = 60.0  # with a service that went away in the middle, or lost its database
MISFIT = "has more or fewer fields than the header: put text that holds a comma in quotes"


class ImportFailed(Exception):
    """The import cannot begin or go on; says why, and what to do."""


@dataclass(frozen=True)
class Line:
    """One record of a file, and the line on which it ends; no values: its fields do not fit the header."""

    number: int
    values: dict[str, str] | None


@dataclass(frozen=True)
class Reject:
    line: int
    field: str
    value: str
    reason: str


@dataclass
class Outcome:
    """What came of one file."""

    path: Path
    accepted: int = 0
    unchanged: int = 0
    rejects: list[Reject] = field(default_factory=list)

    @property
    def rejects_path(self) -> Path:
        return self.path.with_suffix(".rejects.csv")


def import_directory(
    directory: Path, base_url: str, *, source: str = "chain", console: Console | None = None
) -> int:
    """Feed stores, patients, prescriptions and fills, in this order, and say what came of each file.

    Rejected records are written beside their file and stop nothing. All four files are looked at before the first
    record is sent. Answers the exit code: 0, also with rejects; 1 if the import could not be done.
    """
    console = console or Console()
    try:
        outcomes = _import(directory, base_url, source, console)
    except ImportFailed as failure:
        console.print(f"Import failed: {failure}", style="red", soft_wrap=True, markup=False, highlight=False)
        return 1
    console.print(_summary(outcomes))
    for outcome in outcomes:
        if outcome.rejects:
            console.print(
                f"Rejected records of {outcome.path.name} are in {outcome.rejects_path}", soft_wrap=True
            )
    if any(outcome.rejects for outcome in outcomes):
        console.print("Correct them at the source and import again: what was taken before changes nothing.")
    return 0


def _import(directory: Path, base_url: str, source: str, console: Console) -> list[Outcome]:
    files = [(layout, directory / f"{layout.kind}.csv") for layout in LAYOUTS]
    lines = {path: sum(1 for _ in read_lines(path, layout)) for layout, path in files}
    outcomes = []
    with (
        httpx.Client(base_url=base_url, headers=staff_headers(role="system"), timeout=60) as http,
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
            write_rejects(outcome)
            outcomes.append(outcome)
    return outcomes


# --- files ---


def read_lines(path: Path, layout: Layout[Any], beside: Sequence[str] = ()) -> Iterator[Line]:
    """The records of a file, with the columns of the layout alone, and those named beside it where there are any.

    Raises:
        ImportFailed: the file is missing, is not UTF-8 or not CSV, or lacks a required column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            header = reader.fieldnames or ()
            present = _columns(path, header, layout) + [name for name in beside if name in header]
            for row in reader:
                fits = None not in row and None not in row.values()
                yield Line(reader.line_num, {name: row[name] for name in present} if fits else None)
    except FileNotFoundError:
        raise ImportFailed(
            f"{path} is missing; a file with nothing to say has its header line alone"
        ) from None
    except UnicodeDecodeError:
        raise ImportFailed(f"{path} is not UTF-8; save it as UTF-8 and import again") from None
    except csv.Error as error:
        raise ImportFailed(f"{path} is no CSV file after line {reader.line_num}: {error}") from None
    except OSError as error:
        raise ImportFailed(f"{path} cannot be read: {error.strerror}") from None


def _columns(path: Path, header: Sequence[str], layout: Layout[Any]) -> list[str]:
    missing = [name for name in layout.required if name not in header]
    if missing:
        raise ImportFailed(
            f"{path} has no column {', '.join(missing)}; its header must name "
            f"{', '.join(layout.required)} (docs/reference/import-layout.md)"
        )
    return [column.name for column in layout.columns if column.name in header]


def write_rejects(outcome: Outcome) -> None:
    """Write what was not taken beside the file; remove what an earlier import left there."""
    path = outcome.rejects_path
    try:
        path.unlink(missing_ok=True)
        if not outcome.rejects:
            return
        with path.open("w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("line", "field", "value", "reason"))
            writer.writerows((each.line, each.field, each.value, each.reason) for each in outcome.rejects)
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be written: {error.strerror}; copy the files to a folder of yours"
        ) from None


# --- the service ---


def feed(
    http: httpx.Client, layout: Layout[Any], source: str, batch: Sequence[Line], outcome: Outcome
) -> None:
    """Send up to 500 records, and add what came of them."""
    outcome.rejects.extend(Reject(line.number, "", "", MISFIT) for line in batch if line.values is None)
    batch = [line for line in batch if line.values is not None]
    answer = _post(
        http, f"/imports/{layout.kind}", {"source": source, "records": [line.values for line in batch]}
    )
    outcome.accepted += answer["accepted"]
    outcome.unchanged += answer["unchanged"]
    for rejected in answer["rejected"]:
        line = batch[rejected["index"]]
        value = (line.values or {}).get(rejected["field"], "")  # the service does not repeat what is personal
        outcome.rejects.append(Reject(line.number, rejected["field"], value, rejected["reason"]))


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
        "say where it is with MEDSYNC_ENROLLMENT_URL, and import again: what was taken before changes nothing"
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


def _summary(outcomes: Sequence[Outcome]) -> Table:
    table = Table("file", "accepted", "unchanged", "rejected")
    for outcome in outcomes:
        counts = outcome.accepted, outcome.unchanged, len(outcome.rejects)
        table.add_row(outcome.path.name, *map(str, counts))
    return table
