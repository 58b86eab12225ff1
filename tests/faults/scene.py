"""One disaster: an installation under load, what befalls it, the cure that is written down, and the verdict."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
from aiokafka.admin import AIOKafkaAdminClient

from tests.faults.aftermath import STRICT, Claims, Lost, Sayings, judge
from tests.faults.chain import CHAIN
from tests.faults.collect import collect, evidence, faults_logged
from tests.faults.faults import OUTAGES, Run
from tests.faults.load import Load, Operator
from tests.faults.round import Outcome, as_object, come_to_rest, count_deaths, rebuild
from tests.faults.servers import Servers
from tests.faults.standby import at, programs
from tests.faults.system import ROOT, System, seeded
from tests.running import until

COMMANDS, RATE = 60, 4.0
AWHILE = 24
"""Effects that pass between one act of a disaster and the next."""

REST_SECONDS = 45.0
FLOWS_SECONDS = 20.0
MORE_SECONDS = 90.0
SAID_SECONDS = 15.0
SHELL_SECONDS = 120.0

BOOK = ROOT / "docs" / "how-to" / "recover.md"


@dataclass
class Scene:
    """What a disaster and its cure work on."""

    system: System
    run: Run
    load: Load
    undo: AsyncExitStack
    rng: random.Random
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    lost: Lost = field(default_factory=Lost)
    sayings: Sayings = field(default_factory=Sayings)
    results: list[Any] = field(default_factory=list)  # of checks that a disaster makes itself

    @property
    def servers(self) -> Servers:
        return self.system.servers

    # ---- looking --------------------------------------------------------------------------------------------

    async def count(self, service: str, kind: str) -> int:
        """Effects of a kind that a service has written down."""
        rows = await self.system.sql(service, "select count(*) from effects where kind = $1", kind)
        return int(rows[0][0])

    async def more(self, service: str, kind: str, number: int, *, seconds: float = MORE_SECONDS) -> None:
        """Until a service has written down so many effects more."""
        before: int | None = None

        async def enough() -> bool:
            nonlocal before
            await asyncio.sleep(0.1)
            with suppress(*OUTAGES):
                now = await self.count(service, kind)
                before = now if before is None else before
                return now >= before + number
            return False

        await until(enough, f"{service} has {number} × {kind} more", seconds=seconds)

    async def goes_on(self, service: str, kind: str, number: int, what: str) -> None:
        """A claim: in spite of it all, so many effects more come within seconds."""
        self.sayings.measured += 1
        began = time.monotonic()
        try:
            await self.more(service, kind, number, seconds=FLOWS_SECONDS)
            self.run.met[f"{what}: went on"] += 1
        except (AssertionError, *OUTAGES):
            self.sayings.too_slow.append(f"{what}: nothing for {time.monotonic() - began:.0f} s")

    async def is_said(self, service: str, pattern: str) -> None:
        """A claim: some process of the service says so where operators look."""
        self.sayings.looked_for += 1
        said = ""

        async def heard() -> bool:
            nonlocal said
            await asyncio.sleep(0.2)
            said = await self._told(service)
            return re.search(pattern, said, re.IGNORECASE) is not None

        try:
            await until(heard, "it is said", seconds=SAID_SECONDS)
            self.sayings.heard.append(f"{service}: {said}")
        except AssertionError:
            self.sayings.missing.append(f"{service} does not say {pattern!r}, but {said}")

    async def _told(self, service: str) -> str:
        told = []
        for member in self.system.of(service):
            for side in ("ready", "consuming"):
                with suppress(httpx.HTTPError, ValueError):
                    told.append(
                        str((await self.system.http.get(f"{member.url}/ops/{side}")).json()["missing"])
                    )
        return " ".join(dict.fromkeys(told))

    # ---- doing ----------------------------------------------------------------------------------------------

    async def down(self, *services: str) -> None:
        """End all processes of services; nobody starts them again."""
        for service in services:
            for member in self.system.of(service):
                self.system.kill(member, again=False)
        for service in services:
            for member in self.system.of(service):
                await member.ended.wait()

    async def up(self, *services: str) -> None:
        members = [member for service in services for member in self.system.of(service)]
        for member in members:
            await self.system.start(member)
        for member in members:
            await until(partial(self.system.get, member, "/ops/live"), f"{member.name} lives", seconds=60)

    async def follow(self, heading: str, *blocks: int, **names: str) -> str:
        """Run lines of the how-to as they stand there: of all its blocks under a heading, or of some."""
        said = ""
        for lines in [book(heading)[n] for n in blocks] if blocks else book(heading):
            self.sayings.commands += 1
            code, out = await self._shell(lines, names)
            said += out
            brief = " ".join(out.split())
            if code:
                self.sayings.refused.append(f"{' '.join(lines.split())} ended with {code}: {brief[-1500:]}")
            else:
                self.sayings.heard.append(f"{' '.join(lines.split())}: {brief[:400]}")
        return said

    async def wait_until_well(self) -> None:
        """Groups share out partitions anew within half a minute; what is said for longer is judged."""

        async def well() -> bool:
            return (await self._shell(book("First and last, always")[0], {}))[0] == 0

        with suppress(AssertionError):
            await until(well, "doctor has nothing more to say", seconds=45)

    async def _shell(self, lines: str, names: dict[str, str]) -> tuple[int, str]:
        """As a person at a terminal: with our `medsync`, and PostgreSQL's programs."""
        folder = self.system.folder
        (folder / ".medsync").mkdir(exist_ok=True)
        where = {
            "kafka": self.servers.bootstrap,
            "services": {s: [m.url for m in self.system.of(s) if m.lives] for s in CHAIN},
            "databases": self.system.urls,
        }
        (folder / ".medsync" / "stack.json").write_text(json.dumps(where))
        program = folder / "medsync"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m cli.main "$@"\n')
        program.chmod(0o700)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-eu", "-c", lines),
            cwd=folder,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "COLUMNS": "200",
                "USER": "night",
                "ADMIN": at(self.servers.admin_url, "").rstrip("/"),
            }
            | {"PATH": f"{folder}:{programs()}:{os.environ['PATH']}"}
            | names,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SHELL_SECONDS):
            said = (await process.communicate())[0].decode()
        return process.returncode or 0, said

    async def admin(self) -> AIOKafkaAdminClient:
        """An administrator of the broker."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers.bootstrap)
        await admin.start()
        self.undo.push_async_callback(admin.close)
        return admin

    # ---- what a database knew -------------------------------------------------------------------------------

    async def knowledge(self, service: str) -> tuple[set[str], set[str]]:
        """Ids of the events that it has written, and keys of the commands that it has carried out."""
        events = await self.system.sql(service, "select event_id::text from proof.outbox_copy")
        causes = await self.system.sql(
            service, "select distinct cause from effects where cause like 'command:%'"
        )
        return {row[0] for row in events}, {row[0].removeprefix("command:") for row in causes}

    def forgot(self, before: tuple[set[str], set[str]], after: tuple[set[str], set[str]]) -> None:
        self.lost.events |= before[0] - after[0]
        self.lost.commands |= before[1] - after[1]
        self.run.met["events that the restored database does not know"] += len(before[0] - after[0])
        self.run.met["commands that the restored database does not know"] += len(before[1] - after[1])


def book(heading: str) -> list[str]:
    """The blocks of lines under a heading of the how-to."""
    _, found, rest = BOOK.read_text().partition(f"\n## {heading}\n")
    assert found, f"{BOOK.name} has no heading {heading!r}"
    section = rest.partition("\n## ")[0]
    return [dedent(block) for block in re.findall(r"(?:^    .*\n?)+", section, re.MULTILINE)]


Act = Callable[[Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    """No cure is needed."""


async def nothing_before(servers: Servers, prefix: str) -> None:
    """The topics are as they always are."""


def plain(directory: Path, rng: random.Random) -> Servers:
    return Servers(directory, rng)


@dataclass(frozen=True)
class Disaster:
    """`strike` what befalls the installation under load, `cure` what a person does then."""

    name: str
    strike: Act
    cure: Act = nothing
    claims: Claims = STRICT
    after: Act = nothing  # at rest, once the record is read
    servers: Callable[[Path, random.Random], Servers] = plain
    prepare: Callable[[Servers, str], Awaitable[None]] = nothing_before
    rest_seconds: float = REST_SECONDS
    settings: dict[str, Any] = field(default_factory=dict)


async def run_disaster(disaster: Disaster, seed: str, *, code: Path = ROOT) -> Outcome:
    """On servers of its own, from an empty installation to the verdict."""
    with tempfile.TemporaryDirectory(prefix=f"medsync-{disaster.name}-") as directory:
        async with (
            disaster.servers(Path(directory), seeded(seed, "proxies")) as servers,
            AsyncExitStack() as undo,
        ):
            system = System(servers, "d", code=code, **disaster.settings)
            await disaster.prepare(servers, system.prefix)
            async with system.running():
                load = Load(system, seeded(seed, "load"), commands=COMMANDS, rate=RATE, patients=60)
                return await _play(disaster, Scene(system, Run(system), load, undo, seeded(seed)), seed)


async def _play(disaster: Disaster, scene: Scene, seed: str) -> Outcome:
    began, outcome = time.monotonic(), Outcome(seed)
    system, run, operator = scene.system, scene.run, Operator(scene.system)
    sending, operating = asyncio.create_task(scene.load.run()), asyncio.create_task(operator.run())
    try:
        await scene.more("ledger", "counted", AWHILE)
        try:
            await disaster.strike(scene)
            await disaster.cure(scene)
        except AssertionError as in_vain:
            scene.sayings.refused.append(str(in_vain)[:300])
        scene.load.enough.set()
        system.servers.heal()
        await asyncio.gather(*run.background)
        async with asyncio.timeout(disaster.rest_seconds):
            await sending
    except TimeoutError:
        run.met["commands without an answer at the end"] += 1
    finally:
        sending.cancel()
        operating.cancel()
    waiting = await come_to_rest(system, operator, seconds=disaster.rest_seconds)
    if not any(waiting.values()):
        await rebuild(system, seconds=disaster.rest_seconds)
    await scene.wait_until_well()
    await scene.follow("First and last, always")
    history = await collect(system, scene.load.sent, waiting)
    await disaster.after(scene)
    results = [*judge(history, scene.lost, disaster.claims), *scene.results, *scene.sayings.results()]
    outcome.results = [as_object(result) for result in results]
    outcome.events = len({record.event_id for record in history.published})
    outcome.met = dict(run.met) | await evidence(system)
    outcome.heard = scene.sayings.heard
    outcome.unexpected = faults_logged(system)
    count_deaths(system, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome
