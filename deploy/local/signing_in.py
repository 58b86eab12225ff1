"""The small identity provider beside the services of one machine: its process, and what services are told of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from deploy.local.identity import key_file, know, prepare
from deploy.local.ports import free_port
from deploy.local.process import Process

START_SECONDS = 60.0
LOOK_SECONDS = 5.0


class LocalIdentity:
    """The provider of `folder`, which signs people in to the console at an address.

    `stores` answers which there are now: it knows a pharmacist of each.
    """

    def __init__(self, folder: Path, stores: Callable[[], Sequence[str]], console: str, logs: Path) -> None:
        self._stores, self._known = stores, list(stores())
        self._look_at = 0.0
        self._folder, self._console, self._logs = folder.absolute(), console, logs
        self._port = free_port()
        self._process: Process | None = None
        prepare(self._folder, self._known)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def key_file(self, client: str) -> Path:
        """Where the private key of a program is."""
        return key_file(self._folder, client)

    def settings(self) -> dict[str, str]:
        """What the services are told; the last three are the console's."""
        return {
            "MEDSYNC_ISSUER": self.issuer,
            "MEDSYNC_GRANTS_FILE": str(self._folder / "grants.toml"),
            "MEDSYNC_CLIENT_ID": "medsync-console",
            "MEDSYNC_CLIENT_KEY_FILE": str(self.key_file("medsync-console")),
            "MEDSYNC_PUBLIC_URL": self._console,
        }

    def described(self) -> dict[str, str]:
        """What commands of the terminal find in stack.json."""
        key = str(self.key_file("medsync-cli"))
        return {"issuer": self.issuer, "client_id": "medsync-cli", "key_file": key}

    @contextmanager
    def running(self) -> Iterator[None]:
        """It answers while the context lasts. Raises StackError where it does not start."""
        self._start()
        assert self._process is not None
        try:
            self._process.wait_until(self._answers, START_SECONDS)
            yield
        finally:
            self._process.kill()

    def tend(self) -> None:
        """Start it again where it ended, and have it know the pharmacists of new stores."""
        if self._process and self._process.exit_code is not None:
            self._start()
        if time.monotonic() > self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            if new := [store for store in self._stores() if store not in self._known]:
                self._known += new
                know(self._folder, self._known)

    def _start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "deploy.local.identity",
            str(self._folder),
            str(self._port),
            self._console,
        ]
        self._process = Process("identity", command, self._logs / "identity.log")

    def _answers(self) -> bool:
        try:
            address = f"{self.issuer}/.well-known/openid-configuration"
            return httpx.get(address, timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False
