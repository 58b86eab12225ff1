"""`medsync plan replan`: the planner plans everybody anew, batch by batch, after a change of rules or calendars."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import stamina
import typer
from rich.console import Console
from rich.progress import Progress

from cli.importing import PATIENCE_SECONDS, detail_of, is_passing
from cli.system import STATE, find, staff_headers

PATIENTS_A_REQUEST = 100


@dataclass(frozen=True)
class Selection:
    """Whom to plan anew; everybody where nothing is said."""

    store: str | None = None
    payer: str | None = None


@dataclass
class Run:
    """How far a run is."""

    url: str
    selection: Selection
    key: str  # each batch is asked for under it: once done, it is not done again
    after: str = ""
    patients: int = 0
    looked_at: int = 0
    changed: int = 0
    moved: int = 0  # of these, to another day, or to or from having none
    parked: list[str] = field(default_factory=list)

    @property
    def note(self) -> Path:
        """Where it is kept until it is finished, so that one that was cut off can go on."""
        whose = blake2b(f"{self.url} {self.selection}".encode(), digest_size=8).hexdigest()
        return STATE / f"replan-{whose}.json"


def replan(selection: Selection, *, dry_run: bool, as_json: bool, anew: bool) -> None:
    """Go through all patients in the order of their ids, from where an unfinished run of the same was cut off."""
    url = find().url("planner")
    run = Run(url, selection, key=uuid4().hex)
    if not (dry_run or anew):
        run = _unfinished(run) or run
    if run.after:
        typer.echo(
            f"Going on after patient {run.after}, where this was cut off; --anew begins anew.", err=True
        )
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("planning anew", total=run.patients or None, completed=run.looked_at)
        for changed in _batches(run, dry_run=dry_run):
            if as_json:
                for each in changed:
                    typer.echo(json.dumps(each))
            progress.update(task, total=run.patients, completed=run.looked_at)
    would = "would change" if dry_run else "changed"
    typer.echo(
        f"{run.looked_at} patients planned anew, {run.changed} plans {would}, {run.moved} of them the day.",
        err=as_json,
    )
    if run.parked:
        typer.echo(
            f"{len(run.parked)} passed over, because a dead letter waits for a person "
            f"(medsync deadletters list planner): {', '.join(run.parked)}",
            err=as_json,
        )


def _batches(run: Run, *, dry_run: bool) -> Iterator[list[dict[str, Any]]]:
    """What changed, batch by batch; the run notes how far it is before each is given out."""
    body = {**asdict(run.selection), "dry_run": dry_run, "limit": PATIENTS_A_REQUEST}
    with httpx.Client(base_url=run.url, headers=staff_headers(role="system"), timeout=60) as http:
        while True:
            headers = {} if dry_run else {"Idempotency-Key": f"replan-{run.key}-{run.after}"}
            answer = _ask(http, {**body, "after": run.after}, headers)
            run.patients = run.patients or answer["patients"] or 0
            run.looked_at += answer["looked_at"]
            run.changed += len(answer["changed"])
            run.moved += sum(
                each["was"]["anchor_on"] != each["is"]["anchor_on"] for each in answer["changed"]
            )
            run.parked += answer["parked"]
            if answer["next"] is None:
                if not dry_run:
                    run.note.unlink(missing_ok=True)
                yield answer["changed"]
                return
            run.after = answer["next"]
            if not dry_run:
                _keep(run)
            yield answer["changed"]


def _ask(http: httpx.Client, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """Send one request; wait for a planner that is away for a moment: under its key it is done once."""
    try:
        for attempt in stamina.retry_context(
            on=is_passing, attempts=None, timeout=PATIENCE_SECONDS, wait_max=5.0
        ):
            with attempt:
                answer = http.post("/plans/replan", json=body, headers=headers)
                answer.raise_for_status()
    except httpx.TransportError as error:
        away = f"the planner does not answer at {http.base_url} ({type(error).__name__})"
        raise SystemExit(f"{away}; the same command goes on where this one was cut off") from None
    except httpx.HTTPStatusError as error:
        raise SystemExit(f"the planner refused: {detail_of(error.response)}") from None
    found: dict[str, Any] = answer.json()
    return found


# --- going on ---


def _unfinished(run: Run) -> Run | None:
    """The run of the same planner and the same patients that was cut off."""
    try:
        noted = json.loads(run.note.read_text(encoding="utf-8"))
        return Run(**{**noted, "selection": run.selection})
    except (OSError, ValueError, TypeError):
        return None


def _keep(run: Run) -> None:
    run.note.parent.mkdir(parents=True, exist_ok=True)
    beside = run.note.with_suffix(".new")
    beside.write_text(json.dumps(asdict(run)), encoding="utf-8")
    beside.replace(run.note)
