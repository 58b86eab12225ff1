"""`medsync`: run it, feed it, watch it, mend it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import audit, clock, console, deadletters, events, gaps, keys, privacy, retention, topics
from cli.plan import command as plan
from cli.proof.__main__ import main as prove
from services import SERVICES
from shared.clock import SteppedClock

app = typer.Typer(
    no_args_is_help=True,
    help="MedSync: medication synchronization for chain pharmacies.",
    pretty_exceptions_enable=False,
)
app.command("prove")(prove)
app.add_typer(clock.app, name="clock")
app.add_typer(events.app, name="events")
app.add_typer(audit.app, name="audit")
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(gaps.app, name="gaps")
app.add_typer(keys.app, name="keys")
app.add_typer(privacy.app, name="privacy")
app.add_typer(topics.app, name="topics")
app.add_typer(retention.app, name="retention")
app.add_typer(console.app, name="console")
app.add_typer(plan.app, name="plan")


@app.command()
def up(
    servers_only: Annotated[
        bool, typer.Option(help="Kafka and PostgreSQL only, without the services")
    ] = False,
    outreach: Annotated[int, typer.Option(help="how many processes of outreach", min=1)] = 1,
    clock_at: Annotated[
        datetime | None, typer.Option("--clock", help="use a stepped clock, set to this instant (UTC)")
    ] = None,
) -> None:
    """Start Kafka, PostgreSQL and the services here, and stay until Ctrl-C. Data is kept in .medsync/."""
    from deploy.local.process import StackError
    from deploy.local.up import DIRECTORY, ONE_OF_EACH
    from deploy.local.up import up as start

    clock_file = DIRECTORY / "clock" if clock_at else None
    if clock_file and clock_at:
        clock_file.parent.mkdir(parents=True, exist_ok=True)
        SteppedClock(clock_file).set(clock_at.replace(tzinfo=clock_at.tzinfo or UTC))
    processes = {} if servers_only else {**ONE_OF_EACH, "outreach": outreach}
    try:
        start(processes=processes, clock_file=clock_file)
    except StackError as error:
        raise SystemExit(str(error)) from None


@app.command()
def demo(
    patients: Annotated[int, typer.Option(help="how many patients, drawn from the sample", min=1)] = 100,
    days: Annotated[int, typer.Option(help="how many days to run", min=1)] = 62,
    seed: Annotated[
        int, typer.Option(help="a different seed gives a different run; the same one repeats exactly")
    ] = 1,
    keep: Annotated[bool, typer.Option(help="leave everything running afterward, to play with")] = False,
    directory: Annotated[Path, typer.Option(help="holds everything; emptied first")] = Path(".medsync/demo"),
) -> None:
    """Run a chain's pharmacies through several sync cycles before your eyes, on real records."""
    from cli.demo.run import Options
    from cli.demo.run import demo as run_demo
    from deploy.local.process import StackError

    try:
        console = Console() if sys.stdout.isatty() else Console(width=120)
        raise typer.Exit(run_demo(Options(patients, days, seed, directory, keep), console))
    except StackError as error:
        raise SystemExit(str(error)) from None


@app.command()
def run(
    service: Annotated[str, typer.Argument(help=", ".join(SERVICES))],
    slot: Annotated[
        int | None,
        typer.Option(
            help="which of the service's processes this is; else MEDSYNC_SLOT, or the N of a host …-N"
        ),
    ] = None,
) -> None:
    """Run one process of one service until SIGTERM. Settings come from MEDSYNC_… variables."""
    if service not in SERVICES:
        raise typer.BadParameter(f"{service!r} is not one of {', '.join(SERVICES)}")
    from cli.serve import serve

    serve(service, slot)


@app.command("import")
def import_(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY",
            help="holds stores.csv, patients.csv, prescriptions.csv, fills.csv; or one file alone, as "
            "fills.rejects.csv",
        ),
    ],
    source: Annotated[str, typer.Option(help="the source system; part of every natural key")] = "chain",
    allow_no_final_newline: Annotated[
        bool,
        typer.Option(
            "--allow-no-final-newline",
            help="accept files whose last line has no newline: they may be cut off",
        ),
    ] = False,
) -> None:
    """Import the chain's files. A bad line is reported and set aside; the others go through.

    Exit code 0: every record was accepted, or known already;

    1: the import could not be done; 2: the command was called wrongly;

    3: some records were rejected, and are in FILE.rejects.csv beside their file.
    """
    from cli.importing import import_directory
    from cli.system import find

    raise typer.Exit(
        import_directory(
            place, find().url("enrollment"), source=source, allow_no_final_newline=allow_no_final_newline
        )
    )


@app.command()
def republish(
    service: Annotated[str, typer.Argument(help="enrollment, planner, outreach or fulfillment")],
    all_: Annotated[bool, typer.Option("--all", help="everything")] = False,
    store: Annotated[str | None, typer.Option(help="one store")] = None,
    patient: Annotated[str | None, typer.Option(help="one patient")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="for one service alone, or one group of consumers")
    ] = None,
) -> None:
    """Emit current state as events marked as state, revisions unchanged: for a new subscriber or a rebuilt service."""
    from cli.republish import republish_all

    if not (all_ or store or patient):
        raise typer.BadParameter("give --all, --store or --patient")
    republish_all(service, store=store, patient=patient, group=for_)


@app.command()
def recovered(
    service: Annotated[str, typer.Argument(help="enrollment, planner, outreach or fulfillment")],
    because: Annotated[str, typer.Option(help="what happened; kept on record")] = "restored",
) -> None:
    """After a service's database was put back to an older state: have its readers follow it, and say what was lost."""
    from cli.recovered import recover

    recover(service, because)


@app.command()
def replay(
    service: Annotated[str, typer.Argument(help="whose events")],
    since: Annotated[datetime, typer.Option("--from", help="published since then")],
    until: Annotated[datetime | None, typer.Option("--to", help="and before then")] = None,
    topic: Annotated[str | None, typer.Option(help="of one topic alone")] = None,
    for_group: Annotated[str | None, typer.Option("--for", help="for one group of readers alone")] = None,
) -> None:
    """Send events of the last 16 days again, with the same ids: for a broker, or a reader, that lost them."""
    from cli.replay import replay_journal

    replay_journal(service, since, until, topic, for_group)


@app.command()
def doctor() -> None:
    """Check this machine and the running system: what is wrong, and what to do."""
    from cli.doctor import examine

    raise typer.Exit(examine())


if __name__ == "__main__":
    app()
