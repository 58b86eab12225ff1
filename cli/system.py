"""The running system that the commands speak to: found in `.medsync/stack.json`, or given by the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import typer

STATE = Path(".medsync")
PLACES = (STATE, STATE / "demo")
"""Where `medsync up` and `medsync demo` keep what they run."""


@dataclass(frozen=True)
class System:
    """Where everything listens."""

    kafka: str
    databases: Mapping[str, str]  # by service
    services: Mapping[str, tuple[str, ...]]  # base URLs by service, one per process
    clock_file: Path | None

    def url(self, service: str) -> str:
        """The base URL of a service's first process."""
        if not self.services.get(service):
            known = ", ".join(self.services) or "none"
            meant = nearest(service, self.services)
            raise typer.BadParameter(f"no address of {service} is known{meant} (known: {known})")
        return self.services[service][0]

    @property
    def every_url(self) -> list[str]:
        return [url for urls in self.services.values() for url in urls]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the known name that is most like it; nothing where none is."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def described() -> Path:
    """The description of the system that runs here; it need not exist."""
    return next((path for place in PLACES if (path := place / "stack.json").exists()), STATE / "stack.json")


def find() -> System:
    """The system that `medsync up` or `medsync demo` started here.

    `KAFKA_BOOTSTRAP_SERVERS` and `MEDSYNC_<SERVICE>_URL` go before what the file says.
    Exits with a clear text where there is none.
    """
    path = described()
    state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    services = {name: tuple(urls) for name, urls in state.get("services", {}).items()}
    for name in ("enrollment", "planner", "outreach", "fulfillment", "console"):
        if given := os.environ.get(f"MEDSYNC_{name.upper()}_URL"):
            services[name] = tuple(given.split(","))
    kafka = os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or state.get("kafka", "")
    if not services and not kafka:
        raise SystemExit(
            f"Nothing runs here: there is no {path}. Start it with `medsync up` (or `make demo`), or name your own "
            "with KAFKA_BOOTSTRAP_SERVERS and MEDSYNC_ENROLLMENT_URL, MEDSYNC_PLANNER_URL, …"
        )
    clock = os.environ.get("MEDSYNC_CLOCK_FILE") or state.get("clock_file")
    return System(kafka, state.get("databases", {}), services, Path(clock) if clock else None)
