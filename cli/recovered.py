"""`medsync recovered`: after a service's database was put back to an older state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import typer

from cli.privacy import erase_again
from cli.republish import republish_all
from cli.sign_in import staff_headers
from cli.system import find

ASK_SECONDS = 900
"""Reading a fortnight of a chain's events takes minutes."""

MENDED_BY = {
    "medsync.enrollment.": "import the feed's files since then again; record again what staff did: "
    "enrollments, consents, closures",
    "medsync.planner.": "plans are made anew by themselves; record again what pharmacists decided about them",
    "medsync.outreach.": "the planner and fulfillment know the answers; a patient may be contacted about one again",
    "medsync.fulfillment.": "compare the shelf with GET /packages; record fills and hand-overs of that time again",
}


def recover(service: str, because: str) -> None:
    """Have the service begin anew, say what was lost, and have it tell its state."""
    answer = httpx.post(
        f"{find().url(service)}/ops/recovered",
        json={"because": because},
        headers=staff_headers(),
        timeout=ASK_SECONDS,
    )
    if answer.is_error:
        raise SystemExit(f"{answer.status_code}: {answer.json().get('detail', answer.text)}")
    report = answer.json()
    for line in lines_of(report):
        typer.echo(line)
    if report["lost"]:
        typer.echo(f"Whose they were is in {write_ids(report)}: ids alone, for your eyes alone.")
    if again := erase_again(find(), service):  # before it tells anything of them
        typer.echo(f"Forgotten again, as the other services remember: {again}.")
    typer.echo("Telling everybody how things stand: ", nl=False)
    republish_all(service, store=None, patient=None)


def lines_of(report: Mapping[str, Any]) -> Sequence[str]:
    """The report for people."""
    told = [
        f"{report['service']} begins epoch {report['epoch']}: what it publishes from now on goes before all before."
    ]
    if not report["lost"]:
        return [*told, "Nothing that it published is unknown to its database."]
    told.append("Published, and unknown to its database:")
    for each in report["lost"]:
        kind = each["type"].removeprefix("medsync.")
        told.append(f"  {each['number']:>6}  {kind}, from {each['first']} to {each['last']}")
    told.append(f"Of these, departures and stops that took effect again: {report['taken_again']}.")
    mends = {mend for each in report["lost"] for of, mend in MENDED_BY.items() if each["type"].startswith(of)}
    return [*told, *(f"What to do: {mend}." for mend in sorted(mends))]


def write_ids(report: Mapping[str, Any]) -> Path:
    """The ids of patients and stores, one a line, readable by nobody else."""
    path = Path(f"lost-{report['service']}-{report['epoch']}.txt")
    path.touch(mode=0o600, exist_ok=False)
    ids = [*report["patients"], *report["stores"]]
    path.write_text("".join(f"{each}\n" for each in ids), encoding="utf-8")
    return path
