"""`medsync events tail`: the stream in plain words while it runs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from cli.brokers import broker
from cli.system import nearest
from shared import words
from shared.events import EVENTS
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
        str, typer.Option(help="only this patient; the first characters of the id are enough")
    ] = "",
    from_: Annotated[str, typer.Option("--from", help="beginning or now")] = "now",
    follow: Annotated[bool, typer.Option(help="keep following; else stop at the current end")] = True,
) -> None:
    """Show events as they come; Ctrl-C stops. Changes nothing: no group, no offsets."""
    if from_ not in ("beginning", "now"):
        raise typer.BadParameter("beginning or now", param_hint="--from")
    _refuse_unknown_type(type_)

    async def show() -> tuple[int, int]:
        looked_at = shown = 0
        async for seen in tail(broker(), from_beginning=from_ == "beginning", follow=follow):
            looked_at += 1
            key = (seen.record.key or b"").decode(errors="replace")
            if type_ in seen.event_type and key.startswith(patient):
                shown += 1
                typer.echo(_as_json(seen) if as_json else _as_words(seen))
        return looked_at, shown

    if follow:
        typer.echo("Following events as they come; Ctrl-C stops.", err=True)
    try:
        looked_at, shown = asyncio.run(show())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    if not shown:
        typer.echo(_nothing(looked_at, type_, patient), err=True)
        raise typer.Exit(1 if type_ or patient else 0)


def _refuse_unknown_type(type_: str) -> None:
    """Nothing would ever be shown. Exits with the type that may have been meant."""
    if any(type_ in known for known in EVENTS):
        return
    names = {known.split(".")[2]: known for known in EVENTS}
    meant = nearest(type_.removeprefix("medsync.").partition(".v")[0].rpartition(".")[2], names)
    raise typer.BadParameter(
        f"no type of event contains {type_}{meant} (known: {', '.join(sorted(names))})", param_hint="--type"
    )


def _nothing(looked_at: int, type_: str, patient: str) -> str:
    of = " and ".join(
        filter(None, [type_ and f"of a type with {type_}", patient and f"of a patient {patient}…"])
    )
    where = (
        f"among the {looked_at} on the topics" if looked_at else "on the topics: they hold none from there on"
    )
    return f"Nothing found: no event {of + ' ' if of else ''}{where}."


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
