"""The PostgreSQL and the Kafka of one test run: started when the first test asks, shared by all its processes."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Client, Listener
from pathlib import Path
from uuid import uuid4

import asyncpg

from deploy.local import Addresses, LocalStack, StackError
from deploy.local.sql import on_server

Say = Callable[[str], None]


class StackOfTheRun:
    """Belongs to the process that the run was started as; pytest-xdist's workers ask it over a socket."""

    def __init__(self, say: Say) -> None:
        self.prefix = f"medsync_test_{uuid4().hex[:8]}"  # of the databases that this run makes
        self._say = say
        self._lock = threading.Lock()
        self._addresses: Addresses | None = None
        self._undo = ExitStack()

    def addresses(self) -> Addresses:
        """Where the stack listens; the first call starts it."""
        with self._lock:
            if self._addresses is None:
                self._addresses = self._undo.enter_context(_stack(self.prefix, self._say))
            return self._addresses

    def served_at(self) -> str:
        """A socket that workers `ask`."""
        folder = self._undo.enter_context(tempfile.TemporaryDirectory(prefix="medsync-run-"))
        listener = self._undo.enter_context(Listener(str(Path(folder) / "stack"), backlog=64))
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return str(listener.address)

    def _serve(self, listener: Listener) -> None:
        while True:
            with listener.accept() as worker:
                try:
                    worker.send(self.addresses())
                except StackError as error:
                    worker.send(error)

    def stop(self) -> None:
        self._undo.close()


def ask(socket: str) -> Addresses:
    """A worker's way to the stack of the run."""
    with Client(socket) as run:
        answer = run.recv()
    if isinstance(answer, StackError):
        raise answer
    return answer


@contextmanager
def _stack(prefix: str, say: Say) -> Iterator[Addresses]:
    """Docker's servers where MEDSYNC_TEST_STACK says so; else those given by environment, the others local."""
    kafka_at, postgres_at = os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), os.environ.get("MEDSYNC_POSTGRES_URL")
    if os.environ.get("MEDSYNC_TEST_STACK") == "docker":
        from tests.docker import docker_stack  # noqa: PLC0415 - its library is slow to import

        with docker_stack() as addresses:
            yield addresses
        return
    with tempfile.TemporaryDirectory(prefix="medsync-tests-") as folder:
        local = LocalStack(
            Path(folder),
            durable=False,
            kafka_at=kafka_at,
            postgres_at=postgres_at,
            say=say,
        )
        with local:
            yield local.addresses
            if postgres_at:
                on_server(postgres_at, lambda admin: _drop_databases(admin, prefix))


async def _drop_databases(admin: asyncpg.Connection, prefix: str) -> None:
    """Leave nothing of this run on a server that goes on without it."""
    for row in await admin.fetch("select datname from pg_database where starts_with(datname, $1)", prefix):
        await admin.execute(f"drop database {row['datname']} with (force)")
