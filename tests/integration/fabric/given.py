"""The ledger in the hands of a test: its database, its topics, and ways to run it, watch it and kill it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from aiokafka import ConsumerRecord

from deploy.local.ports import free_port
from deploy.local.process import Process
from shared.events import Event
from shared.events.enrollment import (
    Consent,
    DisenrolmentReason,
    PatientDisenrolled,
    PatientEnrolled,
    Profile,
    ProfileChanged,
)
from shared.events.outreach import PickupConfirmed
from shared.settings import ServiceSettings
from tests.ledger.app import create_app
from tests.running import SEALING_KEY, STAFF, everything_on, is_ready, producing, record, running, until

TODAY = datetime(2009, 10, 1, 9, tzinfo=UTC)


def enrolled(patient_id: str, revision: int = 1, how: str = "well") -> PatientEnrolled:
    return PatientEnrolled(
        patient_id=patient_id,
        revision=revision,
        consent=Consent(given_at=TODAY),
        profile=Profile(store_id=how),
    )


def changed(patient_id: str, revision: int, how: str = "well") -> ProfileChanged:
    """A change of the profile; `how` its handler fares: well, refuse, fail, slow or die."""
    return ProfileChanged(patient_id=patient_id, revision=revision, profile=Profile(store_id=how))


def disenrolled(patient_id: str, revision: int) -> PatientDisenrolled:
    return PatientDisenrolled(patient_id=patient_id, revision=revision, reason=DisenrolmentReason.revoked)


def confirmed(patient_id: str, revision: int, how: str = "well") -> PickupConfirmed:
    """An event of the same patient on another topic."""
    return PickupConfirmed(
        patient_id=patient_id,
        store_id=how,
        plan_id="plan",
        plan_revision=revision,
        visit_id="visit",
        visit_kind="bridge",
        on=TODAY.date(),
        items=(),
    )


@dataclass(frozen=True)
class Effect:
    """One line of the ledger."""

    patient_id: str
    kind: str
    revision: int


@dataclass(frozen=True)
class Ledger:
    """One installation of the ledger: a database and topics that no other test uses."""

    bootstrap: str
    database_url: str
    prefix: str
    folder: Path

    # ---- running it

    def settings(self, **overrides: Any) -> ServiceSettings:
        return ServiceSettings(**self._settings() | overrides)

    @asynccontextmanager
    async def running(self, *, wait_ready: bool = True, **overrides: Any) -> AsyncIterator[httpx.AsyncClient]:
        """It runs in this process; the client speaks to it."""
        async with running(create_app(self.settings(**overrides)), wait_ready=wait_ready) as client:
            yield client

    @asynccontextmanager
    async def process(
        self, *, crash_at: str = "", module: str = "tests.ledger", **overrides: Any
    ) -> AsyncIterator[LedgerProcess]:
        """It runs in a process of its own, which is killed at the end where it still lives."""
        port, slot = free_port(), overrides.get("slot", 0)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDSYNC_")}
        environment |= {
            f"MEDSYNC_{name.upper()}": str(value)
            for name, value in (self._settings() | {"port": port} | overrides).items()
        }
        environment |= {"MEDSYNC_CRASH_AT": crash_at} if crash_at else {}
        log = self.folder / f"ledger-{slot}.log"
        process = Process(f"ledger {slot}", [sys.executable, "-m", module], log, environment=environment)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=STAFF) as client:
                yield LedgerProcess(process, client, log)
        except BaseException:
            print(
                f"--- the end of {log.name}, exit code {process.exit_code}", log.read_text()[-6000:], sep="\n"
            )
            raise
        finally:
            if process.exit_code is None:
                process.kill()

    def _settings(self) -> dict[str, Any]:
        return {
            "database_url": self.database_url,
            "kafka_bootstrap": self.bootstrap,
            "sealing_key": SEALING_KEY,
            "topic_prefix": self.prefix,
            "relay_lease_seconds": 1.0,
            "session_timeout_ms": 6000,
        }

    # ---- talking to it

    async def publish(self, *events: Event) -> None:
        await self.publish_raw([(event.TOPIC, record(event)) for event in events])

    async def publish_with_ids(self, events: Sequence[tuple[Event, UUID]]) -> None:
        await self.publish_raw([(event.TOPIC, record(event, event_id=id_)) for event, id_ in events])

    async def publish_raw(self, records: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Put records on topics, in order."""
        async with producing(self.bootstrap) as producer:
            for topic, one in records:
                await producer.send(self.prefix + topic, **one)
            await producer.flush()

    # ---- watching it

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        db = await asyncpg.connect(self.database_url, timeout=5)
        try:
            return await db.fetch(query, *arguments)
        finally:
            await db.close()

    async def effects(self) -> list[Effect]:
        """Every effect, in the order in which they were written."""
        rows = await self.sql("select patient_id, kind, revision from effects order by id")
        return [Effect(*row) for row in rows]

    async def effects_of(self, patient_id: str) -> list[tuple[str, int]]:
        return [(e.kind, e.revision) for e in await self.effects() if e.patient_id == patient_id]

    async def until_effects(self, number: int, *, seconds: float = 30) -> list[Effect]:
        """Wait until there are so many; there may be more."""

        async def enough() -> bool:
            return len(await self.effects()) >= number

        await until(enough, f"there are {number} effects", seconds=seconds)
        return await self.effects()

    async def topic(self, name: str) -> list[ConsumerRecord[bytes, bytes]]:
        return await everything_on(self.bootstrap, self.prefix + name)

    async def read_again(self) -> None:
        """Everything is to be given to it once more, from the first record on."""
        await self.sql(
            """
            with gone as (delete from fabric.positions where "first" >= 0)
            insert into fabric.positions (topic, partition, "first", "next")
            select topic, generate_series(0, partitions - 1), -1, 0 from fabric.topics
            on conflict (topic, partition, "first") do update set "next" = 0
            """
        )

    async def letters(self, status: str = "open") -> list[asyncpg.Record]:
        return await self.sql("select * from fabric.dead_letters where status = $1 order by id", status)

    async def until_letters(self, number: int, *, seconds: float = 30) -> list[asyncpg.Record]:
        async def enough() -> bool:
            return len(await self.letters()) >= number

        await until(enough, f"there are {number} dead letters", seconds=seconds)
        return await self.letters()

    async def count(self, what: str) -> int:
        """Rows of a table, or of a table and a condition."""
        return int((await self.sql(f"select count(*) from {what}"))[0][0])


@dataclass(frozen=True)
class LedgerProcess:
    """The ledger as a process."""

    process: Process
    client: httpx.AsyncClient
    log: Path

    async def ready(self, *, seconds: float = 30) -> None:
        async def answers() -> bool:
            assert self.process.exit_code is None, self.log.read_text()
            try:
                return await is_ready(self.client)
            except httpx.TransportError:
                return False

        await until(answers, "the process is ready", seconds=seconds)

    async def ended(self, *, seconds: float = 30) -> int:
        """Wait for its end: the exit code, minus the number of the signal that ended it."""

        async def over() -> bool:
            return self.process.exit_code is not None

        await until(over, "the process has ended", seconds=seconds)
        assert self.process.exit_code is not None
        return self.process.exit_code

    async def frozen(self, *, seconds: float = 30) -> None:
        """Wait until a crash point has stopped it."""

        async def stopped() -> bool:
            return await asyncio.to_thread(_is_stopped, self.process.pid)

        await until(stopped, "the process is frozen", seconds=seconds)

    def freeze(self) -> None:
        self.process.send(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send(signal.SIGCONT)

    def said(self) -> str:
        return self.log.read_text()


def first_appearances(records: Sequence[ConsumerRecord[bytes, bytes]]) -> dict[str, list[int]]:
    """`ce_sequence` per key, in the order of the topic, each event where it first stands."""
    seen: set[bytes] = set()
    order: dict[str, list[int]] = {}
    for one in sorted(records, key=lambda r: (r.partition, r.offset)):
        headers = dict(one.headers)
        if headers["ce_id"] not in seen:
            seen.add(headers["ce_id"])
            order.setdefault((one.key or b"").decode(), []).append(int(headers["ce_sequence"]))
    return order


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/ops/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def id_of(moment: datetime, number: int = 1) -> UUID:
    """As uuidv7 would be at that moment."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | number)


def due_in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _is_stopped(pid: int) -> bool:
    return "State:\tT" in Path(f"/proc/{pid}/status").read_text()
