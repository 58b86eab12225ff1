"""What the benchmarks share: servers, processes, accounts of CPU time, medians, tables."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local import LocalStack
from deploy.local.databases import create_database, ensure_role, migrate, migrations_of, role_of, url_of
from deploy.local.ports import free_port
from deploy.local.process import Process
from deploy.local.sql import on_server
from shared.messaging.topics import create_topics
from tests.running import SEALING_KEY

ROOT = Path(__file__).parents[1]
MIGRATIONS = (migrations_of("planner")[0], ROOT / "benchmarks" / "migrations")
PARTITIONS = 4
TICK = os.sysconf("SC_CLK_TCK")


# ---- the command ----------------------------------------------------------------------------------------------


def arguments(what: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs; medians are of these")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is missed")
    return parser


def run(
    benchmark: Callable[[Bench], Coroutine[Any, Any, Sequence[Target]]], given: argparse.Namespace
) -> None:
    """Run one on servers of its own, say what it ran on, and judge."""

    def on_servers() -> Sequence[Target]:
        with (
            tempfile.TemporaryDirectory(prefix="medsync-bench-") as folder,
            LocalStack(Path(folder), kafka_heap="1g", durable=True, say=lambda _: None) as stack,
        ):
            return asyncio.run(benchmark(Bench(stack, Path(folder))))

    run_alone(on_servers, given)


def run_alone(benchmark: Callable[[], Sequence[Target]], given: argparse.Namespace) -> None:
    """Run one that needs no servers, say what it ran on, and judge."""
    print(
        f"$ python -m benchmarks.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}\n{machine()}\n", flush=True
    )
    began = time.monotonic()
    targets = benchmark()
    print()
    for target in targets:
        print(target)
    print(f"\n{time.monotonic() - began:.0f} s")
    if given.strict and not all(target.met for target in targets):
        sys.exit(1)


def machine() -> str:
    """What a figure was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = int(_lines("/proc/meminfo")[0].split()[1]) // 1_000_000
    load, niceness = os.getloadavg()[0], os.nice(0)
    clients = " · ".join(
        f"{name} {version(name)}" for name in ("faststream", "aiokafka", "asyncpg", "pydantic")
    )
    return (
        f"{os.cpu_count()} × {model}, {memory} GB, {platform.system()} {platform.release().split('-')[0]}, "
        f"load before {load:.1f}{f', niced {niceness}' if niceness else ''}\n"
        f"Python {platform.python_version()} · {clients} · "
        "Apache Kafka 4.3.1 (one node, 1 GB) · PostgreSQL 18.6 (fsync on)"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


@dataclass(frozen=True)
class Target:
    """A promise and what was measured."""

    what: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"

    @property
    def met(self) -> bool:
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        word = "PASS" if self.met else "MISS"
        return f"{word}  {self.what}: {self.measured:.3g}{self.unit} (target: {bound}{self.unit})"


# ---- figures --------------------------------------------------------------------------------------------------


def median_and_range(values: Sequence[float], digits: int = 0) -> str:
    """`median (least–most)`."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """The contenders, another one first in each round."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that is Markdown, too."""
    cells = [list(head), *[list(row) for row in rows]]
    wide = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)) for row in cells]
    rule = " | ".join("-" * width for width in wide)
    for line in [lines[0], rule, *lines[1:]]:
        print(f"| {line} |")
    print(flush=True)


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU time used so far."""

    client: float
    postgres: float
    broker: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.client - before.client, self.postgres - before.postgres, self.broker - before.broker)

    def per_event(self, events: int) -> tuple[float, float, float]:
        """Microseconds of client, PostgreSQL and broker."""
        return (
            self.client / events * 1e6,
            self.postgres / events * 1e6,
            self.broker / events * 1e6,
        )


def resident_mb(pid: int) -> float:
    """Memory that a process holds."""
    return next(
        int(line.split()[1]) / 1024 for line in _lines(f"/proc/{pid}/status") if line.startswith("VmRSS")
    )


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Of one process; with its children, those that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = sum(int(field) for field in fields[11 : 15 if with_children else 13]) / TICK
    if with_children:
        for child in children(pid):
            try:
                used += cpu_seconds(child)
            except FileNotFoundError:
                continue  # ended in between: the next look finds it at its parent
    return used


def children(pid: int) -> list[int]:
    """The processes that a process started, from whichever of its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for of in tasks for child in of.read_text().split()]


# ---- servers and processes ------------------------------------------------------------------------------------


class Bench:
    """The servers of one benchmark, and processes on them."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.kafka = stack.addresses.kafka

    async def topics(self, prefix: str) -> None:
        """All topics under a prefix."""
        await create_topics(self.kafka, PARTITIONS, prefix=prefix)

    def database(self, *migrations: Path, template: str | None = None) -> str:
        """The URL of a new migrated database, or of a copy of one."""
        admin_url, name, role = self.stack.addresses.postgres, f"bench_{uuid4().hex[:10]}", role_of("bench")

        async def create(admin: asyncpg.Connection) -> None:
            await ensure_role(admin, admin_url, role)
            await create_database(admin, name, role, template or "template1")

        on_server(admin_url, create)
        url = url_of(admin_url, name, role)
        if template is None:
            migrate(url, *(migrations or MIGRATIONS))
        return url

    def drop(self, database_url: str) -> None:
        name = database_url.rpartition("/")[2].partition("?")[0]
        on_server(
            self.stack.addresses.postgres, lambda admin: admin.execute(f"drop database {name} with (force)")
        )

    def start(
        self, module: str, *arguments: str, database_url: str, prefix: str, **settings: str
    ) -> Contender:
        """A process of ours or of an opponent."""
        port = free_port()
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "MEDSYNC_DATABASE_URL": database_url,
            "MEDSYNC_KAFKA_BOOTSTRAP": self.kafka,
            "MEDSYNC_TOPIC_PREFIX": prefix,
            "MEDSYNC_SEALING_KEY": SEALING_KEY,
            "MEDSYNC_PORT": str(port),
            **settings,
        }
        log = self.folder / "logs" / f"{module}-{uuid4().hex[:6]}.log"
        process = Process(module, [sys.executable, "-m", module, *arguments], log, environment=environment)
        return Contender(process, f"http://127.0.0.1:{port}")

    def cpu(self, client: int) -> Cpu:
        """What was used so far by a client process, and by the servers."""
        postgres, broker = self.stack.postgres.pid, self.stack.kafka.pid
        assert postgres and broker
        return Cpu(cpu_seconds(client), cpu_seconds(postgres, with_children=True), cpu_seconds(broker))

    async def settle(self) -> None:
        """Begin each run alike: what the last one left dirty is on disk."""
        await _checkpoint(self.stack.addresses.postgres)

    @asynccontextmanager
    async def watching(self, topic: str) -> AsyncIterator[Watch]:
        """How much comes to a topic from now on."""
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        reader = AIOKafkaConsumer(
            bootstrap_servers=self.kafka,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            isolation_level="read_committed",
        )
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await reader.start()
        await admin.start()
        reader.assign(places)
        for place in places:
            await reader.position(place)
        try:
            yield Watch(reader, admin, places, Counter())
        finally:
            await admin.close()
            await reader.stop()


async def _checkpoint(admin_url: str) -> None:
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute("checkpoint", timeout=120)
    finally:
        await admin.close()


@dataclass(frozen=True)
class Contender:
    process: Process
    url: str

    async def ready(self, *, seconds: float = 60) -> None:
        """Until a service says that it is ready. StackError if it ends or is late."""
        await asyncio.to_thread(self.process.wait_until, self._answers, seconds)

    def _answers(self) -> bool:
        try:
            return all(
                httpx.get(f"{self.url}/ops/{side}", timeout=10, trust_env=False).is_success
                for side in ("ready", "consuming")
            )
        except httpx.TransportError:
            return False

    def check(self) -> None:
        """Raises StackError where it has ended."""
        if self.process.exit_code is not None:
            raise self.process.failure(f"{self.process.name} ended")


@dataclass(frozen=True)
class Watch:
    """How much is on a topic, and how much of it a group has taken."""

    reader: AIOKafkaConsumer
    admin: AIOKafkaAdminClient
    partitions: list[TopicPartition]
    seen: Counter[TopicPartition]

    async def end(self) -> int:
        """Records that came: by reading them, as the markers of transactions have offsets too."""
        while found := await self.reader.getmany(timeout_ms=0):
            for place, records in found.items():
                self.seen[place] += len(records)
        return self.seen.total()

    async def taken(self, group: str) -> int:
        offsets = await self.admin.list_consumer_group_offsets(group, partitions=self.partitions)
        return sum(max(0, place.offset) for place in offsets.values())


@contextmanager
def stopping(*contenders: Contender) -> Iterator[None]:
    """Kill them in the end: a measured run leaves nothing to be finished in order."""
    try:
        yield
    finally:
        for contender in contenders:
            contender.process.kill()
