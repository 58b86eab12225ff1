"""`medsync`: run it, feed it, watch it, mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import clock, deadletters, events

SERVICES = ("enrollment", "planner", "outreach", "fulfillment")

app = typer.Typer(
    no_args_is_help=True,
    help="MedSync: medication synchronization for chain pharmacies.",
    pretty_exceptions_enable=False,
)
app.add_typer(clock.app, name="clock")
app.add_typer(events.app, name="events")
app.add_typer(deadletters.app, name="deadletters")


@app.command()
def up(
    services: Annotated[
        bool, typer.Option(help="also run the services, not only Kafka and PostgreSQL")
    ] = True,
    clock_at: Annotated[
        str | None, typer.Option("--clock", help="a stepped clock set to this day, e.g. 2009-10-01")
    ] = None,
) -> None:
    """Start Kafka, PostgreSQL and the services here, and stay until Ctrl-C. Data is kept in .medsync/."""
    from deploy.local.up import up as start  # the stack is not needed by the other commands

    start(Path(".medsync"), services=services, clock_at=clock_at)


@app.command()
def run(
    service: Annotated[str, typer.Argument(help=", ".join(SERVICES))],
    slot: Annotated[int, typer.Option(help="which of the service's processes this is; never two alike")] = 0,
) -> None:
    """Run one process of one service until SIGTERM. Settings come from MEDSYNC_… variables."""
    if service not in SERVICES:
        raise typer.BadParameter(f"{service!r} is not one of {', '.join(SERVICES)}")
    from cli.serve import serve

    serve(service, slot)


@app.command("import")
def import_(
    directory: Annotated[
        Path, typer.Argument(help="holds stores.csv, patients.csv, prescriptions.csv, fills.csv")
    ],
    source: Annotated[str, typer.Option(help="the source system; part of every natural key")] = "chain",
) -> None:
    """Feed files of the chain in. A bad line is reported and set aside; the others go through."""
    from cli.importing import import_directory
    from cli.system import find

    raise typer.Exit(import_directory(directory, find().url("enrollment"), source=source))


@app.command()
def republish(
    service: Annotated[str, typer.Argument(help="enrollment or planner: those that own state others hold")],
    all_: Annotated[bool, typer.Option("--all", help="everything")] = False,
    store: Annotated[str | None, typer.Option(help="one store")] = None,
    patient: Annotated[str | None, typer.Option(help="one patient")] = None,
) -> None:
    """Emit current state as ordinary events, revisions unchanged: for a new subscriber or a rebuilt service."""
    from cli.republish import republish_all

    if not (all_ or store or patient):
        raise typer.BadParameter("say --all, --store or --patient")
    republish_all(service, store=store, patient=patient)


@app.command()
def doctor() -> None:
    """Look at this machine and the running system, and say what is wrong and what to do."""
    from cli.doctor import examine

    raise typer.Exit(examine())


if __name__ == "__main__":
    app()
