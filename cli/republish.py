"""`medsync republish`: asks a service, page by page, to emit its current state."""

from __future__ import annotations

import time
from typing import Any

import httpx
import typer

from cli.sign_in import staff_headers
from cli.system import find

TRIES = 20


def republish_all(service: str, *, store: str | None, patient: str | None, group: str | None = None) -> None:
    """Page through the state until the service says that there is no more, showing progress."""
    part = {"store": store, "patient": patient, "for_group": group_of(group)}
    url, after, total = f"{find().url(service)}/ops/republish", "", 0
    set_aside: list[str] = []
    with httpx.Client(headers=staff_headers(), timeout=60) as http:
        while True:
            answer = _post(http, url, part | {"after": after})
            if answer.is_error:
                raise SystemExit(f"{answer.status_code}: {answer.json()['detail']}")
            page = answer.json()
            total += page["republished"]
            set_aside += page["set_aside"]
            typer.echo(f"{total} events", nl=page["next"] is None)
            if page["next"] is None:
                break
            typer.echo("\r", nl=False)
            after = page["next"]
    if set_aside:
        typer.echo(
            f"{len(set_aside)} set aside, because an event is larger than the broker takes: {', '.join(set_aside)}"
        )


def _post(http: httpx.Client, url: str, body: dict[str, Any]) -> httpx.Response:
    """The service's answer; asked again where it is busy, or its other processes have not heard of a recovery yet."""
    for _ in range(TRIES):
        answer = http.post(url, json=body)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(1)
    return answer


def group_of(reader: str | None) -> str | None:
    """The group of consumers that is meant: a service's may be called by the name of the service."""
    return f"medsync-{reader}" if reader in find().services else reader
