"""`medsync deadletters`: what could not be handled, and the two ways out."""

from __future__ import annotations

import json
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from cli.system import find, staff_headers

app = typer.Typer(no_args_is_help=True, help="Events that could not be handled: look, redrive, skip.")
Service = Annotated[str, typer.Argument(help="enrollment, planner, outreach, fulfillment or console")]
Number = Annotated[int, typer.Argument(help="the number that `list` shows")]
Actor = Annotated[str | None, typer.Option(help="who does it; your login name unless given")]


@app.command("list")
def list_(
    service: Annotated[str | None, typer.Argument(help="one service; all unless given")] = None,
    status: Annotated[str, typer.Option(help="open, redriven, skipped or all")] = "open",
) -> None:
    """Every dead letter, with its reason and how many events wait behind it."""
    system = find()
    table = Table("service", "number", "patient", "type", "reason", "attempts", "behind", "status")
    for name in [service] if service else list(system.services):
        answer = _ask("GET", f"{system.url(name)}/ops/deadletters?status={status}")
        for letter in answer["items"]:
            kind = (letter["event_type"] or letter["topic"]).removeprefix("medsync.")
            behind = str(letter["behind"]) if letter["parked"] else "-"
            who = (letter["key"] or "-").partition(":")[2][:8]
            what = f"{letter['reason']}: {letter['message']}"
            table.add_row(
                name, str(letter["id"]), who, kind, what, str(letter["attempts"]), behind, letter["status"]
            )
        for row in answer["held"]:
            table.add_row(
                name, f"held {row['id']}", row["key"][:8], row["topic"], row["held"], "-", "-", "held"
            )
    Console().print(table if table.row_count else "No dead letters.")


@app.command()
def show(service: Service, number: Number) -> None:
    """One dead letter whole: headers and payload as they came, in base64."""
    typer.echo(json.dumps(_ask("GET", f"{find().url(service)}/ops/deadletters/{number}"), indent=2))


@app.command()
def redrive(service: Service, number: Number, actor: Actor = None) -> None:
    """Run it again, and then what waits behind it, in order."""
    url = f"{find().url(service)}/ops/deadletters/{number}/redrive"
    _report(_ask("POST", url, actor=actor))


@app.command()
def skip(
    service: Service,
    number: Number,
    because: Annotated[str, typer.Option(help="why it may be dropped; kept with the letter")],
    actor: Actor = None,
) -> None:
    """Drop it, with a reason; what waits behind it goes on."""
    url = f"{find().url(service)}/ops/deadletters/{number}/skip"
    _report(_ask("POST", url, actor=actor, body={"because": because}))


def _report(answer: dict[str, Any]) -> None:
    if "failed" in answer:
        typer.echo(
            f"Failed again: {answer['failed']}. {answer['went_on']} events behind it went through before."
        )
        raise typer.Exit(1)
    typer.echo(
        f"Done: letter {answer['letter']} is closed, {answer['went_on']} events behind it went through."
    )


def _ask(
    method: str, url: str, *, actor: str | None = None, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    try:
        answer = httpx.request(method, url, headers=staff_headers(actor), json=body, timeout=30)
    except httpx.TransportError as error:
        raise SystemExit(f"{url} does not answer ({type(error).__name__}); does the service run?") from None
    if answer.is_error:
        raise SystemExit(f"{answer.status_code}: {answer.json().get('detail', answer.text)}")
    found: dict[str, Any] = answer.json()
    return found
