"""`medsync replay`: has a service send a part of its journal again, and shows how far it is."""

from __future__ import annotations

import time
from datetime import datetime

import httpx
import typer

from cli.republish import group_of
from cli.sign_in import staff_headers
from cli.system import find


def replay_journal(
    service: str, since: datetime, until: datetime | None, topic: str | None, for_group: str | None
) -> None:
    """Ask for it, then look until all is sent. Interrupted, the service goes on by itself."""
    url = f"{find().url(service)}/ops"
    asked = {"since": _zoned(since), "until": _zoned(until), "topic": topic, "for_group": group_of(for_group)}
    with httpx.Client(headers=staff_headers(), timeout=60) as http:
        answer = http.post(f"{url}/replay", json=asked)
        if answer.is_error:
            raise SystemExit(f"{answer.status_code}: {answer.json()['detail']}")
        typer.echo(f"The journal goes back to {answer.json()['journal_since']}.")
        number, done = answer.json()["replay"], False
        while not done:
            time.sleep(0.5)
            found = next(each for each in http.get(f"{url}/replays").json()["items"] if each["id"] == number)
            done = found["done"]
            typer.echo(f"\r{found['events']} events", nl=done)


def _zoned(moment: datetime | None) -> str | None:
    """In the time zone of whoever asks, where none was given."""
    return moment.astimezone().isoformat() if moment else None
