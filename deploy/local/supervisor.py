"""The local stack: PostgreSQL and Kafka in one directory, started together and stopped in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.kafka import Kafka
from deploy.local.lock import Held, locked
from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from deploy.local.process import StackError, explained

LOCK = "stack.lock"
"""Held in its directory by whoever runs a stack there."""


@dataclass(frozen=True)
class Addresses:
    """Where the stack listens: `kafka` is host:port, `postgres` the URL of an administrator."""

    kafka: str
    postgres: str


class AlreadyRunning(StackError):
    """Another process, `pid`, runs in this directory."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(
            f"MedSync already runs in {directory}, as process {pid}. Stop that one first, or use it."
        )
        self.pid = pid


class LocalStack:
    """PostgreSQL and Kafka while the context lasts. Data in `directory` is found again by the next start.

        with LocalStack(Path(".medsync")) as stack:
            stack.addresses.kafka, stack.addresses.postgres
            stack.kafka.kill(); stack.kafka.start()         # on the same port

    No child survives this process, however it ends. Raises AlreadyRunning for a directory in use, and
    StackError, with what to do, for everything else that keeps a server from starting.

    `durable=False` turns PostgreSQL's fsync off. Ports not given are free ones. A server that has an address
    already (`postgres_at`, `kafka_at`) is not started. The other options are Kafka's.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        kafka_port: int | None = None,
        postgres_port: int | None = None,
        postgres_at: str | None = None,
        kafka_at: str | None = None,
        kafka_session_timeout: float = 9,
        kafka_heap: str = "256m",
        say: Callable[[str], None] = print,
    ) -> None:
        self.directory = directory.absolute()
        self.postgres = Postgres(self.directory / "postgres", postgres_port or free_port(), durable=durable)
        self.kafka = Kafka(
            self.directory / "kafka",
            kafka_port or free_port(),
            session_timeout=kafka_session_timeout,
            heap=kafka_heap,
            say=say,
        )
        self._postgres_at, self._kafka_at = postgres_at, kafka_at
        self._own = [
            server
            for server, elsewhere in ((self.postgres, postgres_at), (self.kafka, kafka_at))
            if not elsewhere
        ]
        self._say = say
        self._undo = ExitStack()

    @property
    def addresses(self) -> Addresses:
        return Addresses(
            kafka=self._kafka_at or self.kafka.bootstrap, postgres=self._postgres_at or self.postgres.url
        )

    def tend(self) -> None:
        """Start a server again that died."""
        for server in self._own:
            if server.died:
                self._say(f"{server.name} ended by itself: starting it again")
                server.start()

    def __enter__(self) -> Self:
        began = time.monotonic()
        with ExitStack() as undo:
            try:
                undo.enter_context(locked(self.directory / LOCK))
                for server in self._own:
                    undo.callback(server.stop)  # the last one in is the first one out
                    server.spawn()
                for server in self._own:
                    server.wait_ready()
                if self._own:
                    names = " and ".join(server.name for server in self._own)
                    self._say(f"  {names} answer, after {time.monotonic() - began:.1f} s")
            except Held as held:
                raise AlreadyRunning(self.directory, held.pid) from None
            except OSError as error:
                raise explained("The stack cannot write its files", str(error), self.directory, "") from None
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()
