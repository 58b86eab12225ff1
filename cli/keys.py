"""`medsync keys`: the ring of keys that names and numbers are sealed with. No key is ever shown."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from cli.brokers import broker
from cli.deadletters import Actor, ask
from cli.republish import republish_all
from cli.system import described, find
from shared.events import EVENTS, owner_of
from shared.messaging.journal import JOURNAL_DAYS
from shared.messaging.tail import records
from shared.resealing import KEY_HEADER
from shared.sealing import BadRing, Key, Ring

app = typer.Typer(
    no_args_is_help=True, help="The keys that names and numbers are sealed with: look, rotate, reseal."
)

SEALED_TOPICS = sorted({event.TOPIC for event in EVENTS.values() if event.SEALED})

RingFile = Annotated[
    Path | None,
    typer.Option(
        "--ring", help="the file of the keys; else MEDSYNC_SEALING_KEYS_FILE, or that of what runs here"
    ),
]


@app.command()
def show() -> None:
    """Which keys each service holds, and how much is still sealed with which."""
    for name, told in _of_services().items():
        seals = f"seals with {told['seals']}" if told["seals"] else "holds no key"
        typer.echo(f"{name:12} {seals}, opens {', '.join(told['opens']) or 'nothing'}")
        for table, by_key in told["kept"].items():
            if by_key:
                typer.echo(f"{'':12}   {table}: {_counted(by_key)}")
    for topic, by_key in _on_topics().items():
        typer.echo(f"{topic}: {_counted(by_key) or 'empty'}")


@app.command()
def rotate(
    ring: RingFile = None,
    after: Annotated[
        int,
        typer.Option(
            help="seconds until the new key seals: longer than the file takes to every service", min=0
        ),
    ] = 120,
) -> None:
    """Add a new key to the ring. It opens as soon as a service has read the file, which takes it five seconds, and
    seals from then on."""
    file = _ring_file(ring)
    now = datetime.now(UTC)
    new = _read(file, or_given=True).rotated(now, timedelta(seconds=after))
    new.write(file)
    begins = max(now, new.keys[-1].seals_from).astimezone()
    typer.echo(f"{file}: key {new.keys[-1].id} seals from {begins:%Y-%m-%d %H:%M:%S}; the others open on.")
    typer.echo("Bring the file to every service until then. Later: `medsync keys reseal`.")


@app.command()
def reseal(actor: Actor = None) -> None:
    """Seal anew with the newest key: what services keep, then, by republishing it, what is on the topics."""
    system = find()
    for name in system.services:
        done, unopened, after = 0, 0, ""
        while True:
            turn = ask("POST", f"{system.url(name)}/ops/keys/reseal", actor=actor, body={"after": after})
            done, unopened = done + turn["resealed"], unopened + turn["unopened"]
            if turn["next"] is None:
                break
            after = turn["next"]
        left = f"; {unopened} that no key opens are left as they are" if unopened else ""
        typer.echo(f"{name}: {done} sealed anew{left}")
    for name in sorted({owner_of(topic) for topic in SEALED_TOPICS}):
        typer.echo(f"{name} publishes again: ", nl=False)
        republish_all(name, store=None, patient=None)


@app.command()
def drop(
    key_id: Annotated[str, typer.Argument(help="the id of a key that opens nothing any more")],
    ring: RingFile = None,
) -> None:
    """Take a key out of the ring, once nothing is sealed with it; refused before."""
    file = _ring_file(ring)
    now, keys = datetime.now(UTC), _read(file)
    if key_id not in {key.id for key in keys.keys}:
        raise SystemExit(f"{file} has no key {key_id}")
    if needed := [*_why_needed(keys, key_id, now), *_still_sealed(key_id)]:
        raise SystemExit(f"Key {key_id} is still needed: {'; '.join(needed)}.")
    keys.without(key_id).write(file)
    typer.echo(f"{file}: key {key_id} is gone. Bring the file to every service, and forget its copies.")


def _why_needed(ring: Ring, key_id: str, now: datetime) -> list[str]:
    """Of what its age alone tells."""
    sealing = ring.seals(now)
    if sealing is None or sealing.id == key_id:
        return ["it is the one that seals"]
    if (forgets := sealing.seals_from + timedelta(days=JOURNAL_DAYS + 1)) > now:
        return [f"the journals of services may hold what it sealed until {forgets:%Y-%m-%d}"]
    return []


def _still_sealed(key_id: str) -> list[str]:
    places = {
        f"{name}: {table}": by_key
        for name, told in _of_services().items()
        for table, by_key in told["kept"].items()
    }
    return [
        f"{by_key[key_id]} in {place}"
        for place, by_key in (places | _on_topics()).items()
        if by_key.get(key_id)
    ]


def _of_services() -> dict[str, Any]:
    system = find()
    return {name: ask("GET", f"{system.url(name)}/ops/keys") for name in system.services}


def _on_topics() -> dict[str, Counter[str]]:
    """How many records of each sealed topic each key is needed for."""

    async def read() -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {topic: Counter() for topic in SEALED_TOPICS}
        async for record in records(broker(), from_beginning=True, topics=SEALED_TOPICS, follow=False):
            key_id = dict(record.headers).get(KEY_HEADER) or b""
            found[record.topic][key_id.decode(errors="replace")] += 1
        return found

    return asyncio.run(read())


def _counted(by_key: dict[str, int]) -> str:
    return ", ".join(f"{number} with key {key_id}" for key_id, number in sorted(by_key.items()))


def _ring_file(given: Path | None) -> Path:
    if given:
        return given
    named = os.environ.get("MEDSYNC_SEALING_KEYS_FILE")
    return Path(named) if named else described().parent / "keys" / "sealing.json"


def _read(file: Path, *, or_given: bool = False) -> Ring:
    """The ring; where there is no file yet, one of the key that the services were given so far."""
    try:
        return Ring.read(file)
    except FileNotFoundError:
        if or_given:
            key = os.environ.get("MEDSYNC_SEALING_KEY")
            key_id = os.environ.get("MEDSYNC_SEALING_KEY_ID", "1")
            return Ring(keys=(Key(id=key_id, key=SecretStr(key)),)) if key else Ring()
        raise SystemExit(f"there is no {file}: name the ring with --ring") from None
    except BadRing as error:
        raise SystemExit(str(error)) from None
