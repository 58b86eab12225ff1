"""The services as child processes: each can be started, stopped, killed and watched by itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx

from deploy.local.ports import free_port
from deploy.local.process import Process

_GRACE = 25.0  # seconds; a service promises to end within 20
_STEADY = 30.0  # seconds of running after which a service's earlier failures are forgotten
_LONGEST_WAIT = 30.0  # seconds between two starts of a service that keeps failing


@dataclass
class _Member:
    """One process of a service, on a port that it keeps."""

    service: str
    slot: int
    port: int
    process: Process | None = None
    started_at: float = 0.0
    failures: int = 0
    again_at: float | None = None

    @property
    def name(self) -> str:
        return f"{self.service}-{self.slot}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        try:
            return all(
                httpx.get(f"{self.url}/ops/{side}", timeout=10, trust_env=False).is_success
                for side in ("ready", "consuming")
            )
        except httpx.TransportError:
            return False


class Services:
    """The processes of all services: `processes` says how many of each, as slots 0, 1, …

    `environment` holds the settings that all share, `of_each` those of one service alone, `databases` each service's
    URL. Logs go to `logs`.
    """

    def __init__(
        self,
        processes: Mapping[str, int],
        *,
        databases: Mapping[str, str],
        environment: Mapping[str, str],
        of_each: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        logs: Path,
        say: Callable[[str], None] = print,
    ) -> None:
        self._members = [
            _Member(service, slot, free_port())
            for service, number in processes.items()
            for slot in range(number)
        ]
        self._databases = databases
        self._environment, self._of_each = environment, of_each
        self._logs = logs
        self._say = say

    @property
    def urls(self) -> dict[str, list[str]]:
        """Where the processes of each service answer HTTP, by slot."""
        services = dict.fromkeys(member.service for member in self._members)
        return {service: [member.url for member in self._chosen(service, None)] for service in services}

    def tell(self, settings: Mapping[str, str]) -> None:
        """Settings for all of them, from their next start on."""
        self._environment = {**self._environment, **settings}

    def start(self, service: str | None = None, slot: int | None = None) -> None:
        """Start what does not run of a service's processes, or of all; without waiting until they are ready."""
        for member in self._chosen(service, slot):
            if member.process is None or member.process.exit_code is not None:
                self._start(member)

    def wait_ready(
        self, service: str | None = None, slot: int | None = None, *, deadline: float = 60
    ) -> None:
        """Wait until they answer that they are ready. StackError if one ends, or is late (seconds)."""
        for member in self._chosen(service, slot):
            if member.process:
                member.process.wait_until(member.is_ready, deadline)

    def stop(self, service: str | None = None, slot: int | None = None) -> None:
        """Ask them all to end, and wait for it."""
        running = [(member, member.process) for member in self._chosen(service, slot) if member.process]
        for member, process in running:
            member.process = None
            process.send(signal.SIGTERM)
        for _, process in running:
            process.end_within(_GRACE)

    def kill(self, service: str, slot: int = 0) -> None:
        """End one as a crash would. `tend` does not start it again; `start` does."""
        for member in self._chosen(service, slot):
            if member.process:
                member.process.kill()
                member.process = None

    def pid(self, service: str, slot: int = 0) -> int | None:
        """None while it is stopped."""
        return next((member.process.pid for member in self._chosen(service, slot) if member.process), None)

    def tend(self) -> None:
        """Start again what ended by itself, at growing intervals. To be called every second or so."""
        now = time.monotonic()
        for member in self._members:
            if member.process is None or (code := member.process.exit_code) is None:
                continue
            if member.again_at is None:
                member.failures = 0 if now - member.started_at > _STEADY else member.failures + 1
                wait = min(2.0**member.failures / 2, _LONGEST_WAIT)
                member.again_at = now + wait
                self._say(
                    f"{member.name} ended with code {code}: again in {wait:.1f} s ({member.process.log})"
                )
            elif now >= member.again_at:
                self._start(member)

    def _chosen(self, service: str | None, slot: int | None) -> list[_Member]:
        return [
            member
            for member in self._members
            if service in (None, member.service) and slot in (None, member.slot)
        ]

    def _start(self, member: _Member) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "MEDSYNC_POSTGRES_URL"}
        environment |= {**self._environment, **self._of_each.get(member.service, {})}
        environment |= {f"MEDSYNC_{name.upper()}_URL": ",".join(urls) for name, urls in self.urls.items()}
        environment |= {
            "MEDSYNC_DATABASE_URL": self._databases[member.service],
            "MEDSYNC_HOST": "127.0.0.1",
            "MEDSYNC_PORT": str(member.port),
            "MEDSYNC_SLOT": str(member.slot),
        }
        command = [sys.executable, "-m", "cli.main", "run", member.service, "--slot", str(member.slot)]
        log = self._logs / f"{member.name}.log"
        member.process = Process(member.name, command, log, environment=environment)
        member.started_at, member.again_at = time.monotonic(), None


@contextmanager
def running(services: Services) -> Iterator[Services]:
    """The services run, and are ready, while the context lasts."""
    try:
        services.start()
        services.wait_ready()
        yield services
    finally:
        services.stop()
