"""`medsync up`: the whole system on this machine, until somebody stops it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import asyncpg

from deploy.local.keys import keys_of
from deploy.local.services import Services, running
from deploy.local.signing_in import LocalIdentity
from deploy.local.sql import on_server
from deploy.local.supervisor import Addresses, LocalStack
from deploy.setup import set_up
from services import SERVICES
from shared.broker import BrokerSettings
from shared.files import write_private
from shared.messaging.topics import PARTITIONS

DIRECTORY = Path(__file__).parents[2] / ".medsync"
"""Belongs to this checkout, so that two checkouts never meet."""

ONE_OF_EACH = dict.fromkeys(SERVICES, 1)
_LOCAL_PARTITIONS = 4
STORES_SHOWN = 100


@dataclass(frozen=True)
class Installation:
    """A running system: its servers, the URL of each service's database, and its services."""

    stack: LocalStack
    databases: dict[str, str]
    services: Services
    identity: LocalIdentity

    def tend(self) -> None:
        """Start again what died. To be called every second or so."""
        self.stack.tend()
        self.identity.tend()
        self.services.tend()


def up(
    directory: Path = DIRECTORY,
    *,
    processes: Mapping[str, int] = ONE_OF_EACH,
    clock_file: Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run the system until Ctrl-C or SIGTERM, then stop services, Kafka and PostgreSQL in this order.

    `processes` says how many of each service; `{}` runs the servers alone. What runs where is in
    `directory`/stack.json meanwhile.
    Raises AlreadyRunning where another process has `directory`, or StackError.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with installation(directory, processes=processes, clock_file=clock_file, say=say) as system:
            say(_summary(system))
            while True:
                system.tend()
                time.sleep(0.5)
    except KeyboardInterrupt:
        say("stopped")


@contextmanager
def installation(
    directory: Path = DIRECTORY,
    *,
    processes: Mapping[str, int] = ONE_OF_EACH,
    clock_file: Path | None = None,
    stores: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Iterator[Installation]:
    """The system while the context lasts, ready to be used: servers, databases, topics, a provider of identities that
    knows a pharmacist of each of the `stores`, services.

    KAFKA_BOOTSTRAP_SERVERS and MEDSYNC_POSTGRES_URL (a superuser's) name servers to use in place of local ones.
    """
    kafka_at, postgres_at = os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), os.environ.get("MEDSYNC_POSTGRES_URL")
    say(f"starting PostgreSQL and Kafka in {directory} …")
    with LocalStack(directory, kafka_at=kafka_at, postgres_at=postgres_at, say=say) as stack:
        kafka, postgres = stack.addresses.kafka, stack.addresses.postgres
        began = time.monotonic()
        broker = BrokerSettings().at(kafka) if kafka_at else kafka
        databases = set_up(broker, postgres, partitions=PARTITIONS if kafka_at else _LOCAL_PARTITIONS)
        say(f"  databases, migrations and topics are there, after {time.monotonic() - began:.1f} s")
        services = Services(
            processes,
            databases=databases,
            environment=_environment(stack.addresses, clock_file),
            of_each=keys_of(directory / "keys"),
            logs=directory / "logs",
            say=say,
        )
        identity = LocalIdentity(
            directory / "identity",
            partial(_stores, databases["enrollment"], stores),
            services.urls.get("console", [""])[0],
            directory / "logs",
        )
        services.tell(identity.settings())
        number = sum(processes.values())
        if number:
            say(f"starting the services, {number} processes …")
        description = asdict(stack.addresses) | {
            "databases": databases,
            "services": services.urls,
            "clock_file": str(clock_file.absolute()) if clock_file else None,
            "identity": identity.described(),
            "pid": os.getpid(),
        }
        began = time.monotonic()
        with identity.running(), running(services), _described(directory / "stack.json", description):
            if number:
                say(f"  all are ready, after {time.monotonic() - began:.1f} s")
            yield Installation(stack, databases, services, identity)


def _stores(url: str, known: Sequence[str]) -> list[str]:
    """The stores that are known before the feed comes, and those that it brought; of a large chain a hundred."""

    async def find(db: asyncpg.Connection) -> list[str]:
        rows = await db.fetch("select store_id from stores order by store_id limit $1", STORES_SHOWN)
        return [row["store_id"] for row in rows]

    try:
        return [*known, *(store_id for store_id in on_server(url, find) if store_id not in known)]
    except (OSError, asyncpg.PostgresError):
        return list(known)


def _environment(addresses: Addresses, clock_file: Path | None) -> dict[str, str]:
    clock = {"MEDSYNC_CLOCK_FILE": str(clock_file.absolute())} if clock_file else {}
    return {"MEDSYNC_KAFKA_BOOTSTRAP": addresses.kafka, **clock}


@contextmanager
def _described(file: Path, description: object) -> Iterator[None]:
    """Leave a file for other commands that says what runs where, while it does."""
    write_private(file, json.dumps(description, indent=2))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _summary(system: Installation) -> str:
    services = "".join(f"\n  {service:12} {' '.join(urls)}" for service, urls in system.services.urls.items())
    kafka = f"\n  {'kafka':12} {system.stack.addresses.kafka}"
    console = system.services.urls.get("console")
    look = f"\nLook at it in a browser: {console[0]}" if console else ""
    return f"MedSync runs{services}{kafka}{look}\nStop it with Ctrl-C."


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM stops in the same order as Ctrl-C."""
    raise KeyboardInterrupt
