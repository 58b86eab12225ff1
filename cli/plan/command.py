"""The command line of `medsync plan`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup


class FileFirst(TyperGroup):
    """`medsync plan FILE …` is `medsync plan file FILE …`: what is no command is a file, or an option before one."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands:
            args = ["file", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FileFirst, no_args_is_help=True, help="Plan from a file, or replan patients on a running system."
)


@app.command("file")
def file_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="one patient as a JSON object, several as an array or one a line (.ndjson, .jsonl), - for standard "
            "input, or a folder of such files or of the import layout",
        ),
    ],
    today: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="plan as of this day; by default the day in the patient's document, or today",
        ),
    ] = None,
    store: Annotated[
        list[str] | None, typer.Option(help="only patients of this store; may be repeated")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    as_inputs: Annotated[
        bool, typer.Option("--inputs", help="do not plan: print the patients as input documents, one a line")
    ] = False,
) -> None:
    """Plan from a file, without any server: `medsync plan FILE`.

    docs/how-to/plan-from-a-file.md begins with one patient; docs/reference/plan-input.md describes every field.
    `medsync plan replan --help`: replan patients on the running planner.
    """
    from cli.plan.files import plan_file

    as_of = today.date() if today else date.today()
    raise typer.Exit(plan_file(path, today=as_of, stores=store or (), as_json=as_json, as_inputs=as_inputs))


@app.command()
def replan(
    all_: Annotated[bool, typer.Option("--all", help="all patients")] = False,
    store: Annotated[str | None, typer.Option(help="patients of this store")] = None,
    payer: Annotated[
        str | None, typer.Option(help="patients with a prescription billed to this payer")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would change")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="each plan that changes as a JSON object a line")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="start over, even where an earlier run was cut off")
    ] = False,
    side_by_side: Annotated[
        int, typer.Option(help="stores at once; more where several planners share the address", min=1, max=64)
    ] = 2,
) -> None:
    """Replan patients on the running planner, after a change of rules or calendars.

    What did not change is neither written nor published. Cut off, the same command goes on where it was.
    """
    from cli.plan.replan import Selection
    from cli.plan.replan import replan as replan_all

    if not (all_ or store or payer):
        raise typer.BadParameter("give --all, --store or --payer")
    replan_all(
        Selection(store, payer), dry_run=dry_run, as_json=as_json, anew=anew, side_by_side=side_by_side
    )
