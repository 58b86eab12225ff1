"""`medsync privacy`: what is held of a patient, and forgetting who they are."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.deadletters import ask
from cli.system import System, find
from shared.files import write_private

app = typer.Typer(
    no_args_is_help=True, help="What is held of a patient: export it, forget it, keep it for a court."
)

ASK_SECONDS = 660
"""Looking through a journal of weeks."""

Patient = Annotated[str, typer.Argument(help="the patient's id")]
Reason = Annotated[str, typer.Option(help="why, without a word that says who it is about; kept on record")]


@app.command()
def export(
    patient: Patient,
    to: Annotated[Path | None, typer.Option(help="a new file for your eyes alone; else the terminal")] = None,
) -> None:
    """Everything that every service holds of a patient, as one document for the patient."""
    system = find()
    erasure = _ask(system.url("enrollment"), "GET", f"/patients/{patient}/erasure")
    document = {
        "patient_id": patient,
        "records": erasure["records"],
        "kept_until": erasure["stays"],
        "held": {
            record: {
                name: held
                for name in system.services
                if (held := _ask(system.url(name), "GET", f"/ops/privacy/{record}/export")["held"])
            }
            for record in erasure["records"]
        },
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if to is None:
        typer.echo(text)
        return
    if to.exists():
        raise SystemExit(f"{to} exists: name a new file")
    write_private(to, text)
    typer.echo(f"Written to {to}, readable by you alone.")


@app.command()
def erase(
    patient: Patient,
    reason: Reason,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it would come to, and do nothing")
    ] = False,
    wait: Annotated[int, typer.Option(help="seconds to wait until every service has done it", min=0)] = 60,
) -> None:
    """Forget who a patient is, in every service. It cannot be undone. Run again, it goes on where it was cut off.

    Exit code 0: every service has; 1: it was refused; 3: a service has not yet.
    """
    system = find()
    preview = _ask(system.url("enrollment"), "GET", f"/patients/{patient}/erasure")
    for line in lines_of(preview):
        typer.echo(line)
    waits = [
        (name, why)
        for name in system.services
        for record in preview["records"]
        if (why := _ask(system.url(name), "GET", f"/ops/privacy/{record}")["waits_for"])
    ]
    for name, why in waits:
        typer.echo(f"Refused: {name} waits, {why}.")
    if preview["against"] or waits:
        raise typer.Exit(1)
    if dry_run:
        return
    done = _ask(system.url("enrollment"), "POST", f"/patients/{patient}/erasure", {"because": reason})
    waiting = until_forgotten(system, done["records"], wait)
    if waiting:
        typer.echo(f"Not done yet: {', '.join(waiting)}. Run the same command again to look.")
        raise typer.Exit(3)
    typer.echo(f"Every service has forgotten the patient: {', '.join(system.services)}.")


def lines_of(preview: Mapping[str, Any]) -> Sequence[str]:
    """What erasing would come to, for people."""
    lines = []
    if len(preview["records"]) > 1:
        lines.append(f"Records of the patient, with those merged into it: {len(preview['records'])}.")
    if preview["erased"]:
        lines.append("The patient was erased before.")
    lines += [f"Refused: {each['words']}." for each in preview["against"]]
    lines += [
        f"Stays until {each['until']}, {'with the name' if each['names'] else 'without a name'}: "
        f"{each['record'].replace('_', ' ')} ({each['source']})."
        for each in preview["stays"]
    ]
    return lines


def until_forgotten(system: System, records: Sequence[str], seconds: float) -> list[str]:
    """The services that have not forgotten one of these records after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        waiting = [
            name for name in system.services if not all(_forgot(system, name, each) for each in records)
        ]
        if not waiting or time.monotonic() > deadline:
            return waiting
        time.sleep(0.5)


def _forgot(system: System, service: str, record: str) -> bool:
    said = _ask(system.url(service), "GET", f"/ops/privacy/{record}")
    return said["erased_at"] is not None and not said["holds"]


@app.command()
def hold(patient: Patient, reason: Reason) -> None:
    """Keep everything of a patient's until the hold is lifted, whoever asks to be forgotten."""
    _ask(find().url("enrollment"), "POST", f"/patients/{patient}/legal-hold", {"because": reason})
    typer.echo("Held: nothing of the patient's is destroyed.")


@app.command()
def lift(patient: Patient, reason: Reason) -> None:
    """Lift the legal hold on a patient's records."""
    _ask(find().url("enrollment"), "POST", f"/patients/{patient}/legal-hold/lift", {"because": reason})
    typer.echo("Lifted.")


@app.command()
def again(service: Annotated[str, typer.Argument(help="whose database was put back")]) -> None:
    """Have a service whose database was put back forget again whom the others know to be forgotten.

    `medsync recovered` does it by itself; the console, which has nothing to recover, needs it by hand.
    """
    typer.echo(f"Forgotten again: {erase_again(find(), service)}.")


def erase_again(system: System, service: str) -> int:
    """How many patients' records it was. What no other service remembers, nobody can do again."""
    hashes: set[str] = set()
    for name in system.services:
        after: str | None = ""
        while after is not None:
            page = _ask(system.url(name), "GET", f"/ops/erasures?after={after}")
            hashes |= {*page["items"]}
            after = page["next"]
    some, number = sorted(hashes), 0
    for start in range(0, len(some), 1000):
        body = {"hashes": some[start : start + 1000]}
        number += _ask(system.url(service), "POST", "/ops/erasures", body)["erased"]
    return number


def _ask(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return ask(method, f"{url}{path}", role="privacy,operator", body=body, seconds=ASK_SECONDS)
