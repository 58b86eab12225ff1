"""`medsync console`: its read model, built anew from the topics."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from cli.sign_in import staff_headers
from cli.system import find

app = typer.Typer(no_args_is_help=True, help="The console's read model.")


@app.command()
def rebuild(
    check: Annotated[bool, typer.Option(help="only compare; nothing is changed")] = False,
    force: Annotated[
        bool, typer.Option(help="even where rows are older than the topics and would be lost")
    ] = False,
) -> None:
    """Build the model from the topics, compare it with the live one, and put it in place.

    Pages show the old model meanwhile, and new events wait. Exits with 1 where --check finds a difference, or where
    the old model stays because rows would be lost.
    """
    url = f"{find().url('console')}/rebuild"
    query = {"check": check, "force": force}
    try:
        answer = httpx.post(url, params=query, headers=staff_headers(), timeout=None)
    except httpx.TransportError as error:
        raise SystemExit(f"{url} does not answer ({type(error).__name__}); does the console run?") from None
    if answer.is_error:
        raise SystemExit(f"{answer.status_code}: {answer.json().get('detail', answer.text)}")
    raise typer.Exit(_tell(answer.json(), check=check))


def _tell(report: dict[str, Any], *, check: bool) -> int:
    table = Table("table", "rows rebuilt", "missing", "added", "changed")
    for name, each in report["tables"].items():
        table.add_row(name, *(str(each[column]) for column in ("rows", "missing", "added", "changed")))
    Console().print(table)
    same = "equals the live one" if report["equal"] else "differs from the live one"
    typer.echo(f"{report['events']} events applied; the rebuilt model {same}.")
    if check:
        return 0 if report["equal"] else 1
    if not report["kept"]:
        typer.echo(
            "The old model stays: the topics no longer hold what the missing rows came from. `medsync republish` "
            "brings the current state back to them; --force lets the rows go."
        )
        return 1
    typer.echo("It is in place.")
    return 0
