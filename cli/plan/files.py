"""`medsync plan FILE`: plans patients from a file without any server, and says why in words."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from shutil import get_terminal_size

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from cli.plan.documents import Given, Unreadable, documents
from services.planner.faults import BadInput, Fault, shown
from services.planner.inputs import answer, plan, read_patient
from shared.events.planner import PlanBlocked, PlanComputed
from shared.words.plans import of_day, of_drug, of_offer, of_visit, why
from shared.words.steps import of_steps

LISTED = 500
"""Faults in the table at the end; the rest is counted, so that memory stays bounded."""


@dataclass
class Outcome:
    """What came of the patients so far."""

    counts: Counter[str] = field(default_factory=Counter)  # planned, blocked, printed, refused
    refused: list[tuple[str, str, Fault]] = field(default_factory=list)  # place, patient id, fault
    unlisted: int = 0
    without_plan: list[str] = field(default_factory=list)  # of a folder: a line each, said after the plans
    places: dict[tuple[str, date], str] = field(default_factory=dict)  # of each patient and day of planning

    def only_once(self, patient_id: str, today: date, place: str) -> None:
        """Refuse a patient who came before: of two documents nobody knows which holds."""
        before = self.places.setdefault((patient_id, today), place)
        if before != place:
            problem = f"appears twice, first at {before}: give each patient once per planning day"
            raise BadInput([Fault("patient_id", shown("patient_id", patient_id), problem)], patient_id)

    def refuse(self, place: str, bad: BadInput) -> None:
        self.counts["refused"] += 1
        room = LISTED - len(self.refused)
        self.refused += [(place, bad.patient_id, fault) for fault in bad.faults[:room]]
        self.unlisted += max(0, len(bad.faults) - room)


def plan_file(path: Path, *, today: date, stores: Collection[str], as_json: bool, as_inputs: bool) -> int:
    """Plan every patient of the file as they are read; answers the exit status: 1 if any was refused.

    Plans go to standard output, progress and what was refused to standard error: as a table, or as JSON a line.
    """
    outcome, blocked_last = Outcome(), path.is_dir() and not as_json
    try:
        with _progress(path) as advance:
            for given in documents(path, today):
                said = _plan_one(given, outcome, today, stores, as_inputs=as_inputs)
                if isinstance(said, PlanBlocked) and blocked_last:
                    outcome.without_plan.append(_in_a_line(said))
                elif said:
                    typer.echo(json.dumps(answer(said)) if as_json else _as_text(said))
                advance(given.size)
    except Unreadable as unreadable:
        typer.echo(str(unreadable), err=True)
        return 1
    for line in outcome.without_plan:
        typer.echo(line)
    if outcome.without_plan and not outcome.counts["planned"]:
        hint = "for records of another time, set the day with --today YYYY-MM-DD"
        typer.echo(f"No patient has a plan as of {today}: {hint}.", err=True)
    (_sum_up_as_json if as_json else _sum_up)(outcome)
    return 1 if outcome.counts["refused"] else 0


def _plan_one(
    given: Given, outcome: Outcome, today: date, stores: Collection[str], *, as_inputs: bool
) -> PlanComputed | PlanBlocked | None:
    """One patient's plan; none where it was refused, which stops nobody else's, or is not asked for."""
    try:
        if isinstance(given.document, BadInput):
            raise given.document
        asked = read_patient(given.document, today)
        if stores and asked.store_id not in stores:
            return None
        outcome.only_once(asked.patient_id, asked.today or today, given.place)
        if as_inputs:
            typer.echo(asked.model_dump_json(exclude_defaults=True))
            outcome.counts["printed"] += 1
            return None
        said = plan(asked, today)
    except BadInput as bad:
        outcome.refuse(given.place, bad)
        return None
    outcome.counts["planned" if isinstance(said, PlanComputed) else "blocked"] += 1
    return said


# --- what is shown ---


def _as_text(said: PlanComputed | PlanBlocked) -> str:
    lines = [typer.style(_patient(said), bold=True)]
    if isinstance(said, PlanComputed):
        lines += [_wrapped(typer.style(of_day(said), fg="green")), *map(_listed, map(of_visit, said.visits))]
    else:
        lines += [_wrapped(typer.style("There is no plan.", fg="yellow"))]
    lines += ["  Why", *map(_listed, why(said))]
    if isinstance(said, PlanComputed) and said.offered:
        lines += ["  Best days", *map(_listed, map(of_offer, said.offered))]
    if said.drugs:
        lines += ["  Drugs"]
    for drug in said.drugs:
        action = drug.action.replace("_", " ") if drug.action != "none" else "left out"
        lines.append(_listed(f"{drug.drug_name} ({action}): {' '.join(of_drug(drug, said))}"))
    if isinstance(said, PlanComputed):
        lines += ["  Steps", *map(_listed, of_steps(said))]
    return "\n".join([*lines, ""])


def _patient(said: PlanComputed | PlanBlocked) -> str:
    return f"Patient {said.patient_id}" + (f" at {said.store_id}" if said.store_id else "")


def _in_a_line(said: PlanBlocked) -> str:
    """Why there is no plan, and what holds back most of the drugs."""
    words = [f"{_patient(said)}: no plan.", *why(said)]
    held_back = Counter(" ".join(of_drug(drug, said)) for drug in said.drugs)
    for sentence, count in held_back.most_common(1):
        drugs = len(said.drugs)
        which = (
            "" if drugs == 1 else f"All {drugs} drugs: " if count == drugs else f"{count} of {drugs} drugs: "
        )
        words.append(which + sentence)
    return " ".join(words)


def _wrapped(text: str, first: str = "  ", rest: str = "  ") -> str:
    width = get_terminal_size((110, 0)).columns
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _listed(text: str) -> str:
    return _wrapped(text, "   - ", "     ")


def _sum_up(outcome: Outcome) -> None:
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    if outcome.refused:
        table = Table(
            "where", "patient", Column("field", overflow="fold"), "value", "problem, and how to fix it"
        )
        for place, patient_id, fault in outcome.refused:
            table.add_row(place, patient_id, fault.field or "-", fault.value, fault.problem)
        console.print(table, markup=False)
        console.print("Every field is described in docs/reference/plan-input.md.")
    if outcome.unlisted:
        console.print(f"{outcome.unlisted} more problems are not listed.")
    said = {"planned": "planned", "blocked": "without a plan", "printed": "printed", "refused": "refused"}
    counted = [f"{outcome.counts[each]} {words}" for each, words in said.items() if outcome.counts[each]]
    console.print(f"{', '.join(counted) or 'No patients'}.")


def _sum_up_as_json(outcome: Outcome) -> None:
    """One fault a line, and last the number of patients of each outcome."""
    for place, patient_id, fault in outcome.refused:
        typer.echo(json.dumps({"where": place, "patient_id": patient_id, **vars(fault)}), err=True)
    unlisted = {"faults_not_listed": outcome.unlisted} if outcome.unlisted else {}
    typer.echo(json.dumps({**outcome.counts, **unlisted}), err=True)


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal while plans go elsewhere; where they go to the same terminal, they show the progress."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda size: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = path.stat().st_size if path.is_file() else None
        task = progress.add_task("planning", total=total)
        yield lambda size: progress.advance(task, size or 1)
