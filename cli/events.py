"""`medsync events tail`: the stream in plain words while it runs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from cli.system import find
from shared import words
from shared.messaging.tail import Seen, tail

app = typer.Typer(no_args_is_help=True, help="The event stream, in plain words.")


@app.command("tail")
def tail_(
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object a line, envelope and payload")
    ] = False,
    type_: Annotated[
        str, typer.Option("--type", help="only types that contain this, e.g. plan-computed")
    ] = "",
    patient: Annotated[
        str, typer.Option(help="only this patient; the first characters of the id will do")
    ] = "",
    from_: Annotated[str, typer.Option("--from", help="beginning or now")] = "now",
    follow: Annotated[bool, typer.Option(help="go on as events come; else stop at the present end")] = True,
) -> None:
    """Show events as they come; Ctrl-C ends it. Changes nothing: no group, no offsets."""
    if from_ not in ("beginning", "now"):
        raise typer.BadParameter("beginning or now", param_hint="--from")

    async def show() -> None:
        async for seen in tail(find().kafka, from_beginning=from_ == "beginning", follow=follow):
            key = (seen.record.key or b"").decode(errors="replace")
            if type_ in seen.event_type and key.startswith(patient):
                typer.echo(_as_json(seen) if as_json else _as_words(seen))

    try:
        asyncio.run(show())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _as_words(seen: Seen) -> str:
    at = f"{seen.at:%Y-%m-%d %H:%M}" if seen.at else " " * 16
    key = (seen.record.key or b"").decode(errors="replace")[:8]
    told = words.tell(seen.event) if seen.event else f"({seen.event_type or 'no type'}: sealed or unknown)"
    return f"{at}  {key:8}  {told}"


def _as_json(seen: Seen) -> str:
    return json.dumps(
        {
            "topic": seen.record.topic,
            "partition": seen.record.partition,
            "offset": seen.record.offset,
            "id": seen.event_id,
            "type": seen.event_type,
            "time": seen.at.isoformat() if seen.at else None,
            "correlation_id": seen.correlation_id,
            "causation_id": seen.causation_id,
            "data": seen.event.model_dump(mode="json") if seen.event else None,
        }
    )
