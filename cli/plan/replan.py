"""`medsync plan replan`: the planner plans everybody anew, batch by batch, after a change of rules or calendars."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import stamina
import typer
from rich.console import Console
from rich.progress import Progress

from cli.importing import PATIENCE_SECONDS, detail_of, is_passing
from cli.sign_in import staff_headers
from cli.system import STATE, find

PATIENTS_A_REQUEST = 128
"""As many as a transaction is worth: their rows are locked, and none of their events is taken in, until the last of
them is planned. First plans take seconds; 500 were too many beside a second store on a machine short of time."""

SIDE_BY_SIDE = 2
"""Stores gone through at once: while the database works for the one, the planner plans the other."""


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
    done: list[str] = field(default_factory=list)  # stores
    after: dict[str, str] = field(default_factory=dict)  # by store that was begun: the last patient
    patients: int = 0
    looked_at: int = 0
    changed: int = 0
    moved: int = 0  # of these, to another day, or to or from having none
    parked: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)

    @property
    def note(self) -> Path:
        """Where it is kept until it is finished, so that one that was cut off can go on."""
        whose = blake2b(f"{self.url} {self.selection}".encode(), digest_size=8).hexdigest()
        return STATE / f"replan-by-store-{whose}.json"


def replan(
    selection: Selection, *, dry_run: bool, as_json: bool, anew: bool, side_by_side: int = SIDE_BY_SIDE
) -> None:
    """Go through all patients, store by store, from where an unfinished run of the same was cut off."""
    url = find().url("planner")
    run = Run(url, selection, key=uuid4().hex)
    if not (dry_run or anew):
        run = _unfinished(run) or run
    if run.looked_at:
        so_far = f"after {run.looked_at} of {run.patients} patients"
        typer.echo(f"Resuming {so_far}, where an earlier run was cut off; --anew starts over.", err=True)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replanning", total=run.patients or None, completed=run.looked_at)
        for changed in _batches(run, side_by_side, dry_run=dry_run):
            if as_json:
                for each in changed:
                    typer.echo(json.dumps(each))
            progress.update(task, total=run.patients, completed=run.looked_at)
    would = "would change" if dry_run else "changed"
    typer.echo(
        f"{run.looked_at} patients replanned, {run.changed} plans {would}, {run.moved} of them to another day.",
        err=as_json,
    )
    if run.parked:
        typer.echo(
            f"{len(run.parked)} skipped, because a dead letter needs attention "
            f"(medsync deadletters list planner): {', '.join(run.parked)}",
            err=as_json,
        )
    if run.set_aside:
        typer.echo(
            f"{len(run.set_aside)} kept their plan, because the new one is larger than the broker takes: "
            f"{', '.join(run.set_aside)}",
            err=as_json,
        )


def _batches(run: Run, side_by_side: int, *, dry_run: bool) -> Iterator[list[dict[str, Any]]]:
    """What changed, batch by batch; the run notes how far it is before each is given out."""
    with (
        httpx.Client(base_url=run.url, headers=staff_headers(), timeout=60) as http,
        ThreadPoolExecutor(side_by_side) as lanes,
    ):
        stores = _stores(http, run.selection)
        run.patients = run.patients or sum(stores.values())
        if not dry_run:
            _keep(run)  # with its key: what is done but not heard of is told again, not done again
        waiting = iter([store_id for store_id in stores if store_id not in set(run.done)])
        asked: dict[Future[dict[str, Any]], str] = {}

        def ask(store_ids: Iterable[str]) -> None:
            for store_id in store_ids:
                asked[lanes.submit(_next_batch, http, run, store_id, dry_run=dry_run)] = store_id

        ask(islice(waiting, side_by_side))
        while asked:
            for each in wait(asked, return_when=FIRST_COMPLETED).done:
                store_id, answer = asked.pop(each), each.result()
                _note(run, store_id, answer)
                ask(islice(waiting, 1) if answer["next"] is None else [store_id])
                if not dry_run:
                    _keep(run)
                yield answer["changed"]
    if not dry_run:
        run.note.unlink(missing_ok=True)


def _note(run: Run, store_id: str, answer: dict[str, Any]) -> None:
    run.looked_at += answer["looked_at"]
    run.changed += len(answer["changed"])
    run.moved += sum(each["was"]["anchor_on"] != each["is"]["anchor_on"] for each in answer["changed"])
    run.parked += answer["parked"]
    run.set_aside += answer["set_aside"]
    if answer["next"] is None:
        run.done.append(store_id)
        run.after.pop(store_id, None)
    else:
        run.after[store_id] = answer["next"]


def _next_batch(http: httpx.Client, run: Run, store_id: str, *, dry_run: bool) -> dict[str, Any]:
    after = run.after.get(store_id, "")
    batch = blake2b(f"{store_id} {after}".encode(), digest_size=16).hexdigest()
    return _ask(
        http,
        "POST",
        "/plans/replan",
        headers={} if dry_run else {"Idempotency-Key": f"replan-{run.key}-{batch}"},
        json={
            "store": store_id,
            "payer": run.selection.payer,
            "after": after,
            "limit": PATIENTS_A_REQUEST,
            "dry_run": dry_run,
        },
    )


def _stores(http: httpx.Client, selection: Selection) -> dict[str, int]:
    """The stores to go through, with their patients."""
    chosen = {name: value for name, value in asdict(selection).items() if value}
    stores: dict[str, int] = _ask(http, "GET", "/plans/replan/stores", params=chosen)["stores"]
    return stores


def _ask(http: httpx.Client, method: str, path: str, **given: Any) -> dict[str, Any]:
    """Send one request; wait for a planner that is away for a moment: under its key it is done once."""
    try:
        for attempt in stamina.retry_context(
            on=is_passing, attempts=None, timeout=PATIENCE_SECONDS, wait_max=5.0
        ):
            with attempt:
                answer = http.request(method, path, **given)
                answer.raise_for_status()
    except httpx.TransportError as error:
        away = f"the planner does not answer at {http.base_url} ({type(error).__name__})"
        raise SystemExit(f"{away}; run the same command again to resume") from None
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
