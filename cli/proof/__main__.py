"""`python -m cli.proof`: read the record of the running system, judge it, print a table; 0 only if all holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.proof import Result, prove
from cli.system import described

SHOWN = 3
"""Violations of each check that are printed in full."""


def main(
    kafka: Annotated[str, typer.Option(help="bootstrap servers; with it, name the databases too")] = "",
    database: Annotated[
        list[str] | None, typer.Option(help="service=url, once for each service that is to be judged")
    ] = None,
    stack: Annotated[
        Path | None,
        typer.Option(help="where a running system says what runs where; found here unless given"),
    ] = None,
    prefix: Annotated[str, typer.Option(help="before the name of each topic")] = "",
    allow_parked: Annotated[
        bool, typer.Option(help="accept parked patients and open dead letters as accounted for")
    ] = False,
    hearing: Annotated[
        float, typer.Option(help="seconds of business time a service may take to hear of a disenrollment")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Prove from topics and tables alone that nothing was lost, done twice, or done that nobody asked for."""
    databases = dict(each.split("=", 1) for each in database or ())
    if not kafka:
        kafka, databases = running_system(stack or described())
    began = time.monotonic()
    results = asyncio.run(
        prove(
            kafka,
            databases,
            prefix=prefix,
            allow_parked=allow_parked,
            hearing=timedelta(seconds=hearing),
        )
    )
    if as_json:
        typer.echo(json.dumps(as_object(results), indent=2))
    else:
        show(results, Console(), seconds=time.monotonic() - began)
    raise typer.Exit(0 if all(result.holds for result in results) else 1)


def running_system(stack: Path) -> tuple[str, dict[str, str]]:
    """Kafka's address and the databases' URLs, from the file that a running system leaves."""
    if not stack.exists():
        raise SystemExit(
            f"Nothing runs here: there is no {stack}. Start it with `medsync up` (or `make demo "
            'DEMO_ARGS="--keep"`), or say --kafka and --database.'
        )
    state = json.loads(stack.read_text(encoding="utf-8"))
    return state["kafka"], state["databases"]


def show(results: Sequence[Result], console: Console, *, seconds: float | None = None) -> None:
    """The table, the first violations in full, and the verdict."""
    table = Table("check", "looked at", "violations", "", title="Proof, from topics and tables alone")
    for result in results:
        count = len(result.violations)
        table.add_row(
            result.name,
            f"{result.looked_at:,}" if result.recorded else "–",
            (f"[bold red]{count:,}[/]" if count else "[green]0[/]") if result.recorded else "–",
            result.note,
        )
    console.print(table)
    broken = show_broken(results, console)
    judged = sum(result.recorded for result in results)
    took = f" ({seconds:.1f} s)" if seconds is not None else ""
    if broken:
        console.print(f"[bold red]{len(broken)} of {judged} checks do not hold[/]{took}")
    else:
        console.print(f"[bold green]All {judged} checks hold[/]{took}")


def show_broken(results: Sequence[Result], console: Console) -> list[Result]:
    """What does not hold, each with its first violations."""
    broken = [result for result in results if not result.holds]
    for result in broken:
        console.print(f"[bold red]{result.name}[/]")
        for violation in result.violations[:SHOWN]:
            console.print(f"  {violation}", markup=False, highlight=False)
        if len(result.violations) > SHOWN:
            console.print(f"  … and {len(result.violations) - SHOWN:,} more", highlight=False)
    return broken


def as_object(results: Sequence[Result]) -> dict[str, object]:
    """The same for machines."""
    return {
        "holds": all(result.holds for result in results),
        "checks": [
            {
                "name": result.name,
                "looked_at": result.looked_at if result.recorded else None,
                "violations": len(result.violations),
                "first": list(result.violations[:SHOWN]),
                "note": result.note,
            }
            for result in results
        ],
    }


if __name__ == "__main__":
    typer.run(main)
