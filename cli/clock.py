"""`medsync clock`: moving the stepped clock of a demo or a test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.brokers import broker
from cli.rest import Observer
from cli.system import System, find
from shared.clock import ClockError, SteppedClock

app = typer.Typer(no_args_is_help=True, help="The stepped clock of a demo or a test. Never in production.")


@app.command()
def show() -> None:
    """Print business time."""
    typer.echo(_now(_clock(find())).isoformat())


@app.command("set")
def set_(instant: Annotated[datetime, typer.Argument(help="ISO 8601; UTC unless it has an offset")]) -> None:
    """Move to an instant, whatever is going on."""
    _clock(find()).set(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


@app.command()
def advance(days: float = 0.0, hours: float = 0.0) -> None:
    """Move forward by so much, whatever is going on."""
    typer.echo(_clock(find()).advance(timedelta(days=days, hours=hours)).isoformat())


@app.command()
def run(
    until: Annotated[datetime | None, typer.Option(help="stop there; UTC unless it has an offset")] = None,
    days: Annotated[float, typer.Option(help="or stop after so many days")] = 1.0,
) -> None:
    """Step from one due moment to the next, each time only when every service is at rest."""
    system = find()
    clock = _clock(system)
    if not system.kafka:
        raise SystemExit("Where is Kafka? Name it in KAFKA_BOOTSTRAP_SERVERS: rest is judged by it.")
    end = (until.replace(tzinfo=until.tzinfo or UTC)) if until else _now(clock) + timedelta(days=days)
    asyncio.run(_run(system, clock, end))
    typer.echo(clock.now().isoformat())


async def _run(system: System, clock: SteppedClock, end: datetime) -> None:
    observer = Observer({service: urls[0] for service, urls in system.services.items()}, broker())
    try:
        while (now := clock.now()) < end:
            await observer.until_rest()
            moments = [observer.next_due(service) for service in system.services]
            due = min((moment for moment in moments if moment), default=end)
            clock.set(min(end, max(due, now)))
        await observer.until_rest()
    finally:
        await observer.close()


def _clock(system: System) -> SteppedClock:
    if system.clock_file is None:
        raise SystemExit(
            "This system runs on the machine's clock; start it with `medsync up --clock 2009-10-01`."
        )
    return SteppedClock(system.clock_file)


def _now(clock: SteppedClock) -> datetime:
    try:
        return clock.now()
    except ClockError as error:
        raise SystemExit(str(error)) from None
