"""The console's read model against the topics."""

from __future__ import annotations

from cli.proof.contract import TAKES, name
from cli.proof.record import Record
from cli.proof.result import Found, check


@check("I8 the console's stream is what was published", reads="console", whole=True)
def stream_is_published(record: Record) -> Found:
    """Every event is one line of the stream, and no line is of another."""
    told = {event.id: event for event in record.took("console", *TAKES["console"])}
    shown = record.console.stream
    missing = [f"{name(event.type)} {id_} is not shown" for id_, event in told.items() if id_ not in shown]
    return Found(
        len(told), missing + [f"event {id_} is shown, and is on no topic" for id_ in shown - told.keys()]
    )


CONSOLE = (stream_is_published,)
