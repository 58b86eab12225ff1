"""One installation of the chain under test: its databases, its topics, its processes, and who starts them again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.databases import create_database, ensure_role, migrate, url_of
from deploy.local.ports import free_port
from deploy.local.process import Process
from deploy.local.sql import on_server
from shared.clock import SteppedClock
from shared.messaging.topics import create_topics
from tests.faults.chain import CHAIN, LEDGER_TOPIC, SENDER_TOPIC
from tests.faults.servers import Servers
from tests.running import SEALING_KEY, STAFF, until

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ROLE = "medsync_faults"
PARTITIONS = 4
LEASE_SECONDS, SESSION_SECONDS = 1.0, 4.0
STOP_SECONDS = 20.0
BATCH = 50
"""Small, as after each kill the batch in hand is taken one by one (it might have been what killed)."""
BEGINNING = datetime(2024, 2, 28, 20, tzinfo=UTC)
"""Business time at the start: 29 February and a change to daylight-saving time lie ahead."""

TAKES = {"sender": (LEDGER_TOPIC,), "ledger": (SENDER_TOPIC,), "reader": (SENDER_TOPIC, LEDGER_TOPIC)}


@dataclass
class Member:
    """One process of a service, on a port that it keeps."""

    service: str
    slot: int
    port: int
    pid: int | None = None
    point: str = ""  # the crash point it is armed with
    ended_by: str = ""  # how this suite ended the present process; empty: not at all
    wanted: bool = True  # to be started again when it ends
    trouble: str = ""  # what it last said, or did not say, in place of a good answer
    ended: asyncio.Event = field(default_factory=lambda: _already())

    @property
    def lives(self) -> bool:
        return not self.ended.is_set()

    @property
    def frozen(self) -> bool:
        """Whether its process has been stopped by SIGSTOP."""
        with suppress(OSError):
            return "State:\tT" in Path(f"/proc/{self.pid}/status").read_text()
        return False

    @property
    def name(self) -> str:
        return f"{self.service}-{self.slot}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _already() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(frozen=True)
class Death:
    """The end of one process: `how` is killed, point, stopped or itself."""

    member: str
    how: str
    point: str
    status: int


class System:
    """The chain, two processes of each service. `code` is the tree that it runs."""

    def __init__(self, servers: Servers, name: str, *, code: Path = ROOT, **settings: Any) -> None:
        self.servers, self.name, self.code = servers, name, code
        self.prefix = f"{name}-"
        self.folder = servers.directory / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = SteppedClock(self.folder / "clock")
        self.clock.set(BEGINNING)
        self.deaths: list[Death] = []
        self.members = [Member(service, slot, free_port()) for service in CHAIN for slot in (0, 1)]
        self.http = httpx.AsyncClient(headers=STAFF, timeout=5, trust_env=False)
        self.urls: dict[str, str] = {}  # by service, past the proxy
        self._settings = settings
        self._by_pid: dict[int, Member] = {}
        self._born: tuple[Member, str, asyncio.Future[None]]
        self._spawning = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._forker: Process | None = None
        self._to_forker: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[System]:
        """Set up, all processes started and ready; at the end everything of it is gone but its logs."""
        await self._create()
        try:
            await self._start_forker()
            await asyncio.gather(*(self.start(member) for member in self.members))
            await asyncio.gather(*(self.ready(member) for member in self.members))
            yield self
        finally:
            for member in self.members:
                member.wanted = False
            if self._to_forker:
                self._to_forker.close()
            if self._forker:
                await asyncio.to_thread(self._forker.kill)
            for task in self._tasks:
                task.cancel()
            await self.http.aclose()
            await asyncio.to_thread(on_server, self.servers.admin_url, self._drop)

    # ---- processes ----------------------------------------------------------------------------------------------

    def of(self, service: str) -> list[Member]:
        return [member for member in self.members if member.service == service]

    async def start(self, member: Member, *, crash_at: str = "") -> None:
        """Fork a process for this member, and another one whenever it ends unasked."""
        member.wanted = True
        await self._spawn(member, crash_at)

    async def _spawn(self, member: Member, crash_at: str) -> None:
        order = {
            "app": "tests.faults.chain",
            "name": member.service,
            "log": str(self.folder / f"{member.name}.log"),
            "crash_at": crash_at,
            "settings": self._settings_of(member),
        }
        async with self._spawning:
            if not member.wanted or not member.ended.is_set():
                return
            assert self._to_forker is not None
            self._born = member, crash_at, asyncio.get_running_loop().create_future()
            self._to_forker.write(json.dumps(order).encode() + b"\n")
            await self._born[2]
            if not member.wanted:  # nobody wants it any more
                self.kill(member, again=False)

    async def ready(self, member: Member, *, seconds: float = 60) -> None:
        async def answers() -> bool:
            return await self.get(member, "/ops/consuming") is not None

        await until(answers, f"{member.name} is ready", seconds=seconds)

    def kill(self, member: Member, *, again: bool = True, crash_at: str = "") -> None:
        """SIGKILL; `again` starts it anew at once, with that crash point armed."""
        if member.lives or not again:
            member.wanted = again
        if member.lives and _send(member.pid or 0, signal.SIGKILL):
            member.ended_by, member.point = "killed", crash_at

    async def stop(self, member: Member, *, again: bool = True) -> float:
        """SIGTERM; answers after how many seconds it was gone. Raises AssertionError where it took too long."""
        began = time.monotonic()
        if member.lives or not again:
            member.wanted = again
        if member.lives and _send(member.pid or 0, signal.SIGTERM):
            member.ended_by, ended = "stopped", member.ended
            async with asyncio.timeout(STOP_SECONDS + 10):
                await ended.wait()
        return time.monotonic() - began

    def signal(self, member: Member, number: signal.Signals) -> bool:
        """Send a signal; says whether there was a process to get it."""
        return member.lives and _send(member.pid or 0, number)

    async def leader(self, service: str) -> Member | None:
        """The member whose process holds the relay's lease."""
        rows = await self.sql(
            service, "select holder from fabric.relay_lease where until > clock_timestamp()"
        )
        pid = rows[0]["holder"].split("/")[1] if rows and rows[0]["holder"] else ""
        return next((m for m in self.of(service) if str(m.pid) == pid and m.lives), None)

    def _settings_of(self, member: Member) -> dict[str, Any]:
        return {
            "database_url": self.servers.proxied(self.urls[member.service]),
            "kafka_bootstrap": self.servers.bootstrap,
            "port": member.port,
            "slot": member.slot,
            "clock_file": str(self.clock.path),
            "sealing_key": SEALING_KEY,
            "topic_prefix": self.prefix,
            "relay_lease_seconds": LEASE_SECONDS,
            "session_timeout_ms": int(SESSION_SECONDS * 1000),
            "stuck_after_seconds": 20.0,
            "batch_size": BATCH,
            **self._settings,
        }

    async def _start_forker(self) -> None:
        path = self.folder / "forker"
        connected: asyncio.Future[asyncio.StreamReader] = asyncio.get_running_loop().create_future()

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._to_forker = writer
            connected.set_result(reader)

        server = await asyncio.start_unix_server(connect, path)
        self._forker = await asyncio.to_thread(
            Process,
            "fork server",
            [
                sys.executable,
                "-P",
                "-m",
                "tests.faults.forkserver",
                str(path),
                str(self.code),
                "tests.faults.chain",
            ],
            self.folder / "forker.log",
            environment={**_clean(os.environ), **self.servers.environment, "PYTHONPATH": str(self.code)},
        )
        async with asyncio.timeout(60):
            while not connected.done():
                if self._forker.exit_code is not None:
                    raise self._forker.failure("the fork server ended")
                await asyncio.wait([connected], timeout=0.1)
        server.close()
        self._go(self._hear(connected.result()))

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """What the fork server tells: who began, who ended. Whoever is wanted is started again."""
        while line := await reader.readline():
            told = json.loads(line)
            if "status" not in told:
                member, crash_at, began = self._born
                member.pid, member.point, member.ended_by = told["pid"], crash_at, ""
                member.ended = asyncio.Event()
                self._by_pid[told["pid"]] = member
                began.set_result(None)
                continue
            member = self._by_pid.pop(told["pid"])
            how = member.ended_by
            if not how:
                how = "point" if member.point and told["status"] == -signal.SIGKILL else "itself"
            self.deaths.append(
                Death(member.name, how, member.point if how == "point" else "", told["status"])
            )
            member.ended.set()
            if member.wanted:
                self._go(self._spawn(member, member.point if how == "killed" else ""))

    def _go(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- talking to it ------------------------------------------------------------------------------------------

    async def get(self, member: Member, path: str) -> Any:
        """The answer, or none where it does not answer well."""
        answer = await self._ask("GET", member, path)
        return answer.json() if answer is not None and answer.status_code == 200 else None

    async def post(
        self, member: Member, path: str, body: dict[str, Any], **headers: str
    ) -> httpx.Response | None:
        return await self._ask("POST", member, path, json=body, headers=headers)

    async def _ask(self, method: str, member: Member, path: str, **more: Any) -> httpx.Response | None:
        try:
            answer = await self.http.request(method, member.url + path, **more)
        except httpx.HTTPError as error:
            state = "frozen" if member.frozen else "running" if member.lives else "ended"
            member.trouble = f"{type(error).__name__}, its process is {state}"
            return None
        if answer.status_code != 200:
            member.trouble = f"{answer.status_code} {answer.text[:200]}"
        return answer

    async def sql(self, service: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """A query past the proxy."""
        db = await asyncpg.connect(self.urls[service], timeout=5, command_timeout=60)
        try:
            rows: list[asyncpg.Record] = await db.fetch(query, *arguments)
            return rows
        finally:
            await db.close()

    def advance(self, by: timedelta) -> None:
        """Move business time; back as well."""
        self.clock.advance(by)

    # ---- databases and topics -----------------------------------------------------------------------------------

    async def _create(self) -> None:
        self.address_databases()
        await asyncio.to_thread(on_server, self.servers.admin_url, self._create_databases)
        for url in self.urls.values():
            fabric, chain = ROOT / "shared" / "messaging" / "migrations", HERE / "migrations"
            await asyncio.to_thread(migrate, url, fabric, chain)
        for service in CHAIN:
            await self._record(service)
        await self.create_topics()

    def address_databases(self) -> None:
        """Where they are, past the proxy; anew where another server has them now."""
        for service in (*CHAIN, "rebuilt"):
            self.urls[service] = url_of(self.servers.admin_url, self._database(service), ROLE)

    async def create_topics(self) -> None:
        """Those that are not there."""
        topics = (SENDER_TOPIC, LEDGER_TOPIC)
        await create_topics(self.servers.bootstrap, PARTITIONS, prefix=self.prefix, topics=topics)

    async def _create_databases(self, admin: asyncpg.Connection) -> None:
        await ensure_role(admin, self.servers.admin_url, ROLE)
        for service in self.urls:
            await create_database(admin, self._database(service), ROLE)

    async def _record(self, service: str) -> None:
        db = await asyncpg.connect(self.urls[service], timeout=5)
        try:
            await db.execute((HERE / "record.sql").read_text())
        finally:
            await db.close()

    async def _drop(self, admin: asyncpg.Connection) -> None:
        for service in self.urls:
            await admin.execute(f"drop database if exists {self._database(service)} with (force)")

    def _database(self, service: str) -> str:
        return f"{ROLE}_{self.name.replace('-', '_')}_{service}"

    async def lag(self) -> int:
        """Records that some service has not acknowledged, asked of the broker."""
        return sum([await lag_of(self.servers.bootstrap, self.group(s), self.topics(s)) for s in CHAIN])

    def group(self, service: str) -> str:
        return f"{self.prefix}medsync-{service}"

    def topics(self, service: str) -> list[str]:
        return [self.prefix + topic for topic in TAKES.get(service, TAKES["reader"])]


async def lag_of(bootstrap: str, group: str, topics: Sequence[str]) -> int:
    """End offsets minus committed ones, by a client of our own."""
    done = await acknowledged_of(bootstrap, group, topics)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        await consumer.start()
        ends = await consumer.end_offsets(list(done))
        return sum(ends[place] - done[place] for place in done)
    finally:
        await consumer.stop()


async def acknowledged_of(bootstrap: str, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
    """The offset that a group has committed in each partition; 0 where none."""
    places = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(group, partitions=places)
        return {place: max(0, offsets[place].offset if place in offsets else 0) for place in places}
    finally:
        await admin.close()


logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its clients meet outages on purpose here


def seeded(*parts: object) -> random.Random:
    """A generator that is the same for the same parts."""
    return random.Random("/".join(map(str, parts)))


def _send(pid: int, number: signal.Signals) -> bool:
    """Send a signal, unless the process has just ended by itself."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _clean(environment: Any) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("MEDSYNC_")}
