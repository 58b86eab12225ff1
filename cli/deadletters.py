"""`medsync deadletters`: what could not be handled, and the two ways out."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.sign_in import staff_headers
from cli.system import find, nearest

STATUSES = ("open", "redriven", "skipped", "all")
PAGE = 500

app = typer.Typer(no_args_is_help=True, help="Events that could not be handled: look, redrive, skip.")
Service = Annotated[str, typer.Argument(help="enrollment, planner, outreach, fulfillment or console")]
Number = Annotated[int, typer.Argument(help="the number that `list` shows")]
Actor = Annotated[str | None, typer.Option(help="who is doing this; your login name by default")]


@app.command("list")
def list_(
    service: Annotated[str | None, typer.Argument(help="one service; all by default")] = None,
    status: Annotated[str, typer.Option(help=", ".join(STATUSES))] = "open",
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
) -> None:
    """Every dead letter, with its reason and how many events wait behind it; then what the broker refused."""
    if status not in STATUSES:
        raise typer.BadParameter(
            f"{status} is none{nearest(status, STATUSES)} (known: {', '.join(STATUSES)})",
            param_hint="--status",
        )
    system = find()
    letters: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    for name in [service] if service else list(system.services):
        of_it, refused = _letters(system.url(name), status)
        letters += [{"service": name} | letter for letter in of_it]
        held += [{"service": name} | row for row in refused]
    if as_json:
        typer.echo(json.dumps({"items": letters, "held": held}, indent=2))
    else:
        Console().print(_table(letters, held) if letters or held else "No dead letters.")


def _letters(url: str, status: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All letters of a service, page by page, and its held rows."""
    letters: list[dict[str, Any]] = []
    while True:
        after = letters[-1]["id"] if letters else 0
        page = ask("GET", f"{url}/ops/deadletters?status={status}&after={after}&limit={PAGE}")
        letters += page["items"]
        if len(page["items"]) < PAGE:
            return letters, page["held"]


def _table(letters: Sequence[dict[str, Any]], held: Sequence[dict[str, Any]]) -> Table:
    """Fits 80 columns: what and why stand in one column, which is folded."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("service", "number", "who", "behind"):
        table.add_column(name, no_wrap=True)
    table.add_column("what, and why", overflow="fold")
    for letter in letters:
        kind = (letter["event_type"] or letter["topic"]).removeprefix("medsync.")
        behind = str(letter["behind"]) if letter["parked"] else "-"
        ended = f" ({letter['status']})" if letter["status"] != "open" else ""
        tries = f", {letter['attempts']} attempts" if letter["attempts"] > 1 else ""
        what = f"{kind}{ended}\n{letter['reason']}{tries}: {letter['message']}"
        table.add_row(letter["service"], str(letter["id"]), _who(letter["key"]), behind, Text(what))
    for row in held:
        what = f"{row['topic'].removeprefix('medsync.')}\nheld in the outbox: {row['held']}"
        table.add_row(row["service"], f"held {row['id']}", row["key"][:8], "-", Text(what))
    return table


def _who(key: str | None) -> str:
    return (key or "-").partition(":")[2][:8] or "-"


@app.command()
def show(service: Service, number: Number) -> None:
    """One dead letter whole: its record in plain text where it is text; what is sealed stays sealed."""
    letter = ask("GET", f"{find().url(service)}/ops/deadletters/{number}")
    typer.echo(json.dumps(readable(letter), indent=2, ensure_ascii=False))


def readable(letter: dict[str, Any]) -> dict[str, Any]:
    """The letter with its record decoded: JSON as JSON, text as text, anything else as `{"base64": …}`."""
    headers: dict[str, list[Any]] = {}
    for name, value in letter["headers"]:
        headers.setdefault(name, []).append(_text(value))
    return letter | {
        "headers": {name: values[0] if len(values) == 1 else values for name, values in headers.items()},
        "record_key": _text(letter["record_key"]),
        "payload": _json(_text(letter["payload"])),
    }


def _text(encoded: str | None) -> Any:
    if encoded is None:
        return None
    try:
        text = base64.b64decode(encoded).decode()
    except UnicodeDecodeError:
        return {"base64": encoded}
    return text if all(char.isprintable() or char in "\t\r\n" for char in text) else {"base64": encoded}


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text


@app.command()
def redrive(service: Service, number: Number, actor: Actor = None) -> None:
    """Run it again, and then what waits behind it, in order."""
    url = f"{find().url(service)}/ops/deadletters/{number}/redrive"
    _report(ask("POST", url, actor=actor))


@app.command()
def skip(
    service: Service,
    number: Number,
    because: Annotated[str, typer.Option(help="why it can be dropped; kept on record")],
    actor: Actor = None,
) -> None:
    """Drop it, with a reason; what waits behind it goes on."""
    url = f"{find().url(service)}/ops/deadletters/{number}/skip"
    _report(ask("POST", url, actor=actor, body={"because": because}))


def _report(answer: dict[str, Any]) -> None:
    if "failed" in answer:
        typer.echo(
            f"Failed again: {answer['failed']}. {answer['went_on']} events behind it went through before."
        )
        raise typer.Exit(1)
    typer.echo(
        f"Done: letter {answer['letter']} is closed, {answer['went_on']} events behind it went through."
    )


def ask(
    method: str,
    url: str,
    *,
    actor: str | None = None,
    role: str = "operator",
    body: dict[str, Any] | None = None,
    seconds: float = 30,
) -> dict[str, Any]:
    """What a service answers; ends with its words where it refuses or does not answer."""
    try:
        answer = httpx.request(method, url, headers=staff_headers(actor, role), json=body, timeout=seconds)
    except httpx.TransportError as error:
        raise SystemExit(f"{url} does not answer ({type(error).__name__}); does the service run?") from None
    if answer.is_error:
        raise SystemExit(f"{answer.status_code}: {answer.json().get('detail', answer.text)}")
    found: dict[str, Any] = answer.json()
    return found
