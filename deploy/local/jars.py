"""Apache Kafka's jars: fetched once per user, each checked against the SHA-256 sum pinned in jars.sha256.

A line of that file is a sum, a size in bytes, and the jar's path in a repository.

The pinned list is the whole class path, so a first start asks for these files and nothing else (3 to 5 s;
resolving the dependencies took 22 s). `python -m deploy.local.jars` resolves them anew and prints a new list.
"""

from __future__ import annotations

import errno
import hashlib
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from deploy.bootstrap.progress import Pace, duration
from deploy.local.lock import locked
from deploy.local.process import StackError

# slf4j-simple makes the broker log. log4j-slf4j-impl would drag in an older kafka-clients: the broker dies.
KAFKA = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
PINNED = Path(__file__).with_name("jars.sha256")
_TELL = 3.0  # seconds between two words on how far it is, at first
OWN = Path(__file__).parents[2] / ".medsync" / "jars"
"""Where the jars are kept for a user who has no place for them."""
WAY_OUT = "or name a Kafka cluster of your own in KAFKA_BOOTSTRAP_SERVERS"


@dataclass(frozen=True)
class _Pin:
    """What a jar must be; `size` is in bytes."""

    sum: str
    size: int


def kafka_jars(say: Callable[[str], None] = print) -> list[Path]:
    """Kafka's class path, every jar checked. StackError where one cannot be had or is not what was pinned."""
    pinned = _pinned()
    cache = _cache(pinned, say)
    try:
        if not _whole(cache, pinned):
            cache.mkdir(parents=True, exist_ok=True)
            with locked(
                cache / "lock",
                waiting=lambda held: say(f"waiting for process {held.pid}, which fetches Apache Kafka …"),
            ):
                _fetch_missing(cache, pinned, say)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StackError(
                f"The disk is full: Kafka's jars need {_size(pinned)} in {cache}. Free some space."
            ) from None
        raise StackError(
            f"Kafka's jars cannot be kept in {cache} ({error}). Set XDG_CACHE_HOME, {WAY_OUT}."
        ) from None
    return [cache / name for name in pinned]


def _cache(pinned: dict[str, _Pin], say: Callable[[str], None]) -> Path:
    """The user's cache; where nothing can be written there, and the jars are not there, a folder of the checkout."""
    users = platformdirs.user_cache_path("medsync") / "jars"
    if _whole(users, pinned) or _may_write(users):
        return users
    if not _whole(OWN, pinned):
        say(f"{users} cannot be written to: Apache Kafka is kept in {OWN}, for this checkout alone")
    return OWN


def _may_write(folder: Path) -> bool:
    """Whether files can be kept in the folder, which is made if need be. A full disk is another matter."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return os.access(folder, os.W_OK)


def _fetch_missing(cache: Path, pinned: dict[str, _Pin], say: Callable[[str], None]) -> None:
    missing = {name: pin for name, pin in pinned.items() if not _is(cache / name, pin)}
    if not missing:
        return  # another start fetched them while this one waited
    say(f"fetching Apache Kafka, once for all checkouts: {len(missing)} files, {_size(missing)} …")
    began = told = time.monotonic()
    pace = Pace()
    arrived: dict[str, _Pin] = {}
    for name, pin in missing.items():
        _fetch_one(name, pin, cache)
        arrived[name] = pin
        if (now := time.monotonic()) - told > max(_TELL, (now - began) / 4) and len(arrived) < len(missing):
            left = pace.left(_bytes(arrived), _bytes(missing))
            say(f"  {len(arrived)} of {len(missing)} files, {_size(arrived)} of {_size(missing)}{left}")
            told = now
    say(f"Apache Kafka is here, after {duration(time.monotonic() - began)}")


def _fetch_one(name: str, pin: _Pin, cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        jar = _fetch(name, Path(folder))
        if not _is(jar, pin):
            raise StackError(
                f"{jar.name} is not the file that {PINNED.name} pins: expected SHA-256 {pin.sum}, "
                f"found {_sha256(jar)}. Something between here and the registry changes files: "
                f"use another network, {WAY_OUT}."
            )
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        jar.replace(cache / name)


def _fetch(name: str, folder: Path) -> Path:
    """Fetch one jar below `folder`. Its name is its path in a repository: group/artifact/version/file."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - takes 0.4 s, and is needed once per user
    from requests import RequestException  # noqa: PLC0415

    trust_this_machine()
    *group, artifact, version, _ = name.split("/")
    context = MavenContext(repo_cache=folder)
    try:
        return context.project(".".join(group), artifact).at_version(version).artifact().resolve()
    except (RequestException, RuntimeError) as error:
        raise StackError(
            f"Apache Kafka could not be fetched ({error}). What was fetched is kept: try again when there "
            f"is a network (HTTPS_PROXY names a proxy), {WAY_OUT}."
        ) from None


def trust_this_machine() -> None:
    """Use the machine's certificates, as pip does, not those of `requests`: a company's proxy is in them."""
    machines = ssl.get_default_verify_paths().cafile
    if machines and not os.environ.get("CURL_CA_BUNDLE"):
        os.environ.setdefault("REQUESTS_CA_BUNDLE", machines)


def _pinned() -> dict[str, _Pin]:
    lines = (line.split() for line in PINNED.read_text().splitlines())
    return {name: _Pin(sum_, int(size)) for sum_, size, name in lines}


def _whole(cache: Path, pinned: dict[str, _Pin]) -> bool:
    return all(_is(cache / name, pin) for name, pin in pinned.items())


def _is(jar: Path, pin: _Pin) -> bool:
    return jar.exists() and _sha256(jar) == pin.sum


def _bytes(pins: dict[str, _Pin]) -> int:
    return sum(pin.size for pin in pins.values())


def _size(pins: dict[str, _Pin]) -> str:
    return f"{_bytes(pins) / 1_000_000:.0f} MB"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _resolve_anew() -> str:
    """Kafka's dependencies as they resolve today, in the form of jars.sha256."""
    from jgo.env import EnvironmentBuilder  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        builder = EnvironmentBuilder(
            context=MavenContext(repo_cache=repository), cache_dir=Path(folder, "environment")
        )
        environment = builder.from_endpoint(KAFKA)
        wanted = {jar.name for jar in environment.path.rglob("*.jar")}
        jars = sorted(jar for jar in repository.rglob("*.jar") if jar.name in wanted)
        return "\n".join(
            f"{_sha256(jar)}  {jar.stat().st_size:>8}  {jar.relative_to(repository)}" for jar in jars
        )


if __name__ == "__main__":
    print(_resolve_anew())
