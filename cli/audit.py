"""`medsync audit`: who did and saw what, and whether the record of it is whole."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO
from urllib.parse import urlencode

import structlog
import typer
from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.brokers import broker
from cli.deadletters import ask
from cli.system import described, find
from shared.audit.chain import Verified, Verifier
from shared.audit.model import AuditLink, AuditStray
from shared.events.audit import AuditHead
from shared.messaging.heads import published
from shared.messaging.outages import BROKER_AWAY
from shared.sealing import BadRing, Sealer

PAGE = 500
WRONG, UNCHECKED = 1, 3
"""Exit codes."""

app = typer.Typer(no_args_is_help=True, help="Who did and saw what, and whether the record of it is whole.")

Service = Annotated[str | None, typer.Option("--service", help="one service; all by default")]
Rings = Annotated[
    list[Path] | None,
    typer.Option(
        "--ring",
        help="a file of keys that the seals were made with; several may be given. Else MEDSYNC_SEALING_KEYS_FILE, or "
        "those of what runs here",
    ),
]


# ---- show -------------------------------------------------------------------------------------------------------


@app.command()
def show(
    patient: Annotated[str | None, typer.Option(help="who did or saw something of this patient")] = None,
    actor: Annotated[str | None, typer.Option(help="what this actor did and saw")] = None,
    since: Annotated[datetime | None, typer.Option(help="from then on (UTC)")] = None,
    until: Annotated[datetime | None, typer.Option(help="and before then (UTC)")] = None,
    service: Service = None,
    limit: Annotated[int, typer.Option(help="as many rows of each service at most", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, with everything")] = False,
) -> None:
    """Who did what, who was refused, and who saw whom; the newest first."""
    which = {"patient": patient, "actor": actor, "since": _instant(since), "until": _instant(until)}
    asked = {name: value for name, value in which.items() if value is not None}
    rows = [row for name in _services(service) for row in _rows(name, asked, limit)]
    rows.sort(key=lambda row: row["at"], reverse=True)
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        Console().print(_table(rows) if rows else "Nobody did or saw anything of that kind.")


def _instant(at: datetime | None) -> str | None:
    return at.replace(tzinfo=at.tzinfo or UTC).isoformat() if at else None


def _rows(service: str, asked: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
    url, before, left = find().url(service), None, limit
    while left > 0:
        more = {"limit": min(left, PAGE)} | ({"before": before} if before else {})
        page = ask("GET", f"{url}/ops/audit?{urlencode({**asked, **more})}", role="auditor")
        yield from ({"service": service} | row for row in page["items"])
        before, left = page["next"], left - len(page["items"])
        if before is None:
            return


def _table(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("when (UTC)", "who"):
        table.add_column(name, no_wrap=True)
    table.add_column("what, of whom, and what came of it", overflow="fold")
    for row in rows:
        who = f"{row['actor'] or 'nobody signed in'}\n{row['role']}"
        table.add_row(row["at"][:19].replace("T", " "), who, Text(_what(row)))
    return table


def _what(row: Mapping[str, Any]) -> str:
    first, *others = row["patients"] or [""]
    of = f" of {first}" if first else ""
    and_others = f" and {len(others)} more" if others else ""
    store = f" at {row['store_id']}" if row["store_id"] else ""
    often = f", {row['times']} times" if row["times"] > 1 else ""
    place = f"place {row['position']}" if row["position"] else "not chained yet"
    why = f"\nbecause: {row['because']}" if row["because"] else ""
    return f"{row['service']}: {row['route']}{of}{and_others}{store}\n{row['outcome']}{often}; {place}{why}"


# ---- verify -----------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What is told of one service's chain, by the service or by a file."""

    service: str
    epoch: int
    heads: list[AuditHead] | None
    links: Iterable[AuditLink]
    strays: list[AuditStray] = field(default_factory=list)  # known once the links are read


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="what `export` wrote; left out: the running services are asked")
    ] = None,
    service: Service = None,
    ring: Rings = None,
) -> None:
    """Whether anything of the record was changed, taken out, put in or cut off, and where first.

    Exit code 0: all is as it was written;

    1: something is wrong; 2: the command was called wrongly;

    3: nothing is wrong, but something could not be checked: no ring of keys, or nothing that was published.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )  # no "keys.read"
    of_each = _sealers(ring)
    told = _in_file(file) if file else _of_services(service)
    code, any_told = 0, False
    for each in told:
        if service not in (None, each.service):
            continue
        any_told = True
        found = _verified(each, of_each.get(each.service, of_each.get("", [])))
        typer.echo(_verdict(found))
        code = WRONG if not found.whole or code == WRONG else UNCHECKED if found.unchecked else code
    if not any_told:
        raise SystemExit("no service's chain is there to be verified")
    raise typer.Exit(code)


def _verified(told: Told, rings: list[Sealer]) -> Verified:
    verifier = Verifier(told.service, rings, told.heads)
    verifier.take(told.links)
    return verifier.verdict(told.strays, told.epoch)


def _verdict(found: Verified) -> str:
    state = "WRONG" if found.wrong else "not all checked" if found.unchecked else "whole"
    lines = [f"{found.service:12} {state}: {found.count} rows, head {found.hash[:16]}"]
    lines += [f"{'':12}   {each}" for each in found.wrong[:20]]
    if len(found.wrong) > 20:
        lines.append(f"{'':12}   and {len(found.wrong) - 20} more places")
    lines += [f"{'':12}   {each}" for each in (*found.unchecked, *found.remarks)]
    return "\n".join(lines)


def _of_services(service: str | None) -> Iterator[Told]:
    heads = _published()
    for name in _services(service):
        told = Told(name, 1, None if heads is None else [each for each in heads if each.service == name], ())
        told.links = _links(told)
        yield told


def _links(told: Told) -> Iterator[AuditLink]:
    """From the service, page by page; at the end it tells the strays, and which life of its database this is."""
    url, after = find().url(told.service), 0
    while True:
        page = ask("GET", f"{url}/ops/audit/chain?after={after}&limit={PAGE}", role="auditor")
        yield from (AuditLink.model_validate(each) for each in page["items"])
        told.epoch = page["epoch"]
        if page["next"] is None:
            told.strays = [AuditStray.model_validate(each) for each in page["strays"]]
            return
        after = page["next"]


def _published() -> list[AuditHead] | None:
    """The heads on the topic; none where the broker does not answer, or is not known."""
    if not find().kafka:
        return None
    try:
        return asyncio.run(published(broker(), prefix=os.environ.get("MEDSYNC_TOPIC_PREFIX", "")))
    except BROKER_AWAY as error:
        typer.echo(f"The broker does not tell what was published ({type(error).__name__}).", err=True)
        return None


# ---- export -----------------------------------------------------------------------------------------------------


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="the file to write")],
    service: Service = None,
) -> None:
    """Write the record, with its chain, seals and what was published, as JSON lines: `verify FILE` needs no service.

    Patients are in it by their ids alone; reasons are in clear: keep the file as you keep the record.
    """
    with open(to, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        for told in _of_services(service):
            count = _write(told, out)
            typer.echo(f"{told.service:12} {count} rows")
    typer.echo(f"{to} is written. `medsync audit verify {to}` looks through it.")


def _write(told: Told, out: TextIO) -> int:
    def line(kind: str, said: Any) -> None:
        out.write(json.dumps({"service": told.service, kind: said}, ensure_ascii=False) + "\n")

    # What was published comes first: who verifies compares with it on the way.
    line("published", None if told.heads is None else [each.model_dump(mode="json") for each in told.heads])
    count = 0
    for count, link in enumerate(told.links, 1):  # noqa: B007 - it is the number of them
        line("link", link.model_dump(mode="json"))
    for stray in told.strays:
        line("stray", stray.model_dump(mode="json"))
    line("end", {"epoch": told.epoch})
    return count


def _in_file(file: Path) -> list[Told]:
    told: dict[str, Told] = {}
    ended: set[str] = set()
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{file}: {error.strerror}") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            _take_line(json.loads(line), told, ended)
        except (ValueError, KeyError, TypeError, ValidationError):
            why = f"{file}: line {number} is none that `medsync audit export` writes, or it was cut off"
            raise SystemExit(why) from None
    for cut in sorted(set(told) - ended):
        typer.echo(f"{file}: the part of {cut} has no end: the file was cut off", err=True)
        told[cut].heads = None
    return list(told.values())


def _take_line(said: Mapping[str, Any], told: dict[str, Told], ended: set[str]) -> None:
    name = said["service"]
    each = told.setdefault(name, Told(name, 1, None, []))
    match said:
        case {"published": list(heads)}:
            each.heads = [AuditHead.model_validate(head) for head in heads]
        case {"published": None}:
            each.heads = None
        case {"link": link}:
            assert isinstance(each.links, list)
            each.links.append(AuditLink.model_validate(link))
        case {"stray": stray}:
            each.strays.append(AuditStray.model_validate(stray))
        case {"end": {"epoch": int(epoch)}}:
            each.epoch = epoch
            ended.add(name)
        case _:
            raise ValueError


# ---- what they share --------------------------------------------------------------------------------------------


def _services(service: str | None) -> list[str]:
    return [service] if service else list(find().services)


def _sealers(given: list[Path] | None) -> dict[str, list[Sealer]]:
    """The rings at hand, by service; those for every service by the empty name."""
    if not given and (named := os.environ.get("MEDSYNC_SEALING_KEYS_FILE")):
        given = [Path(named)]
    if given:
        return {"": [_sealer(each) for each in given]}
    here = described().parent / "keys"
    own = [_sealer(here / "sealing.json")] if (here / "sealing.json").exists() else []
    answers = here / "answers.json"
    return {"": own} | ({"planner": [_sealer(answers)]} if answers.exists() else {})


def _sealer(file: Path) -> Sealer:
    try:
        return Sealer(file=file)
    except OSError as error:
        raise SystemExit(f"{file}: {error.strerror}: name the ring with --ring") from None
    except BadRing as error:
        raise SystemExit(str(error)) from None
