"""`medsync gaps`: the topics of which events are missing, and going on without them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.deadletters import Actor, Service, ask
from cli.system import find

app = typer.Typer(no_args_is_help=True, help="Events that a service cannot read: look, go on without them.")


@app.command("list")
def list_(
    service: Annotated[str | None, typer.Argument(help="one service; all by default")] = None,
) -> None:
    """Every topic that waits because events of it are missing, and the commands that bring them."""
    system = find()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("service", "topic", "since"):
        table.add_column(name, no_wrap=True)
    table.add_column("what is missing, and what to do", overflow="fold")
    for name in [service] if service else list(system.services):
        for gap in ask("GET", f"{system.url(name)}/ops/gaps")["items"]:
            table.add_row(name, gap["topic"], gap["since"][:16], f"{gap['missing']}\n{gap['cure']}")
    Console().print(table if table.row_count else "No gaps.")


@app.command()
def accept(
    service: Service,
    topic: Annotated[str, typer.Argument(help="the topic that `list` shows")],
    actor: Actor = None,
) -> None:
    """Go on in the topic as it is now, from the first record that it has where others are gone."""
    ask("POST", f"{find().url(service)}/ops/gaps/{topic}/accept", actor=actor)
    typer.echo(f"Done: {service} takes {topic} in again.")
