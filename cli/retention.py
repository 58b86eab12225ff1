"""`medsync retention`: how long each kind of record is kept, what is past its day, and removing it now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.deadletters import Actor, ask
from cli.system import find

app = typer.Typer(no_args_is_help=True, help="How long records are kept: look, remove what is past its day.")

Service = Annotated[str | None, typer.Argument(help="one service; all by default")]


@app.command()
def show(service: Service = None) -> None:
    """Each kind of record: for how long it is kept, how much is past its day, and how much was removed so far."""
    for name, told in _told(service).items():
        typer.echo(f"{name}: {_signed(told)}")
        for each in told["kinds"]:
            kept = f"{each['days']} days after {each['after']}" if each["days"] else "kept: no rule holds"
            typer.echo(f"  {each['kind']}: {kept}")
            typer.echo(f"    {each['past']} past their day, {each['removed']} removed so far{_late(each)}")


@app.command()
def run(
    service: Service = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be removed, and change nothing")
    ] = False,
    actor: Actor = None,
) -> None:
    """Remove what is past its day, without waiting for the daily run. Nothing where nobody has signed that off."""
    for name, told in _told(service).items():
        if dry_run or not told["signed_off_by"]:
            removed, word = {each["kind"]: each["past"] for each in told["kinds"]}, "would be removed"
        else:
            removed, word = _remove(find().url(name), actor), "removed"
        typer.echo(f"{name}: {_signed(told)}")
        for kind, number in removed.items():
            if number:
                typer.echo(f"  {kind}: {number} {word}")
        if not any(removed.values()):
            typer.echo("  nothing is past its day")


def _told(service: str | None) -> dict[str, Any]:
    system = find()
    names = [service] if service else list(system.services)
    return {name: ask("GET", f"{system.url(name)}/ops/retention") for name in names}


def _remove(url: str, actor: str | None) -> dict[str, int]:
    """Turn by turn; says how many of each kind."""
    removed: dict[str, int] = {}
    kind: str | None = ""
    while kind is not None:
        turn = ask("POST", f"{url}/ops/retention/run", actor=actor, body={"kind": kind})
        removed[turn["kind"]] = removed.get(turn["kind"], 0) + turn["removed"]
        kind = turn["next"]
    return removed


def _signed(told: dict[str, Any]) -> str:
    if not told["signed_off_by"]:
        return "nobody has signed off how long records are kept, so nothing is removed"
    return f"signed off by {told['signed_off_by']} on {told['signed_off_on']}"


def _late(each: dict[str, Any]) -> str:
    if not each["late"]:
        return ""
    return f"; late: last done on {each['done_on']}" if each["done_on"] else "; late: never done"
