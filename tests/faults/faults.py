"""Every fault of the suite, one function each. A fault counts itself under a name in `met` once it truly happened."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
from aiokafka.errors import KafkaError

from deploy.local.ports import free_port
from shared.events import owner_of
from tests.faults.chain import CHAIN, LEDGER_TOPIC, SENDER_TOPIC, Applied, Counted
from tests.faults.history import STRANGER
from tests.faults.load import CANARY
from tests.faults.proxy import Mode, Proxy
from tests.faults.system import LEASE_SECONDS, SESSION_SECONDS, STOP_SECONDS, Member, System
from tests.running import everything_on, producing

MALFORMED = 3
"""Records of each topic at a time."""

LONG_SECONDS = 30.0

OUTAGES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
BROKER_AWAY = (OSError, TimeoutError, KafkaError)


@dataclass
class Run:
    """What a fault works on."""

    system: System
    met: Counter[str] = field(default_factory=Counter)
    stops: list[float] = field(default_factory=list)  # seconds from SIGTERM to the end
    background: set[asyncio.Task[None]] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)  # members that a fault in the background works on

    def later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    def member(self, rng: random.Random, *services: str) -> Member:
        """Some process of these services; one that waits at no crash point, where there is one."""
        free = [m for m in self.system.members if m.service in services and m.name not in self.reserved]
        unarmed = [m for m in free if not m.point]
        return rng.choice(unarmed or free or self.system.of(services[0]))


# ---- processes --------------------------------------------------------------------------------------------------


async def random_kill(run: Run, rng: random.Random) -> None:
    """SIGKILL to one process, or to several at the same moment, wherever they are."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        run.system.kill(run.member(rng, *CHAIN))


async def kill_a_leader(run: Run, rng: random.Random) -> None:
    """SIGKILL to the process that holds a relay's lease."""
    await kill_the_leader(run, rng.choice(("sender", "ledger")))


async def kill_the_leader(run: Run, service: str) -> None:
    with suppress(*OUTAGES):
        if leader := await run.system.leader(service):
            run.system.kill(leader)
            run.met["relay leaders killed"] += 1


SERVICES_AT = {
    "command": ("sender",),
    "job": ("sender",),
    "relay": ("sender", "ledger"),
    "unit": CHAIN,
    "intake": ("ledger", "reader"),
    "letter": ("ledger", "reader"),
    "rebalance": ("ledger", "reader"),
}


async def crash_point(run: Run, rng: random.Random, point: str) -> None:
    """SIGKILL to a process, and to its successor at the named point of its code."""
    services = SERVICES_AT[point.partition(".")[0]]
    times = rng.randint(1, 3) if point.startswith(("command", "unit", "intake", "relay")) else 1
    crash_at = f"{point}:{times}"
    if point.startswith("relay"):  # whoever leads next is to die there
        for member in run.system.of(rng.choice(services)):
            if member.name not in run.reserved:
                run.system.kill(member, crash_at=crash_at)
        return
    run.system.kill(run.member(rng, *services), crash_at=crash_at)
    if point.startswith("letter"):
        await poison(run, rng)
    if point.startswith("job"):
        run.system.advance(timedelta(hours=1))  # something falls due


async def freeze_at_a_point(run: Run, rng: random.Random) -> None:
    """SIGSTOP in the middle of a transaction or of publishing, until lease and session are lost; then it wakes up."""
    point, services = rng.choice(
        (
            ("relay.fetched", ("sender", "ledger")),
            ("relay.sent", ("sender", "ledger")),
            ("unit.outbox_written", CHAIN),
            ("intake.handled", ("ledger", "reader")),
        )
    )
    seconds = LEASE_SECONDS * 2 if point.startswith("relay") else SESSION_SECONDS + 1
    member = run.member(rng, *services)
    if member.name not in run.reserved:
        run.reserved.add(member.name)
        run.later(freeze_at(run, member, point, seconds=seconds))


async def freeze_at(run: Run, member: Member, point: str, *, seconds: float) -> None:
    """One process freezes for so long, the second time that it comes to this point; within ten seconds or never."""
    crash_at = f"{point}:2:stop"
    run.system.kill(member, crash_at=crash_at)
    try:
        for _ in range(200):
            if member.frozen:
                run.met[f"frozen at {point}, then woken"] += 1
                await asyncio.sleep(seconds)
                run.system.signal(member, signal.SIGCONT)
                if member.point == crash_at:
                    member.point = ""
                return
            await asyncio.sleep(0.05)
        if member.point == crash_at:
            run.system.kill(member)  # still armed: it would freeze later, with nobody to wake it up
    finally:
        run.reserved.discard(member.name)


async def freeze(run: Run, rng: random.Random) -> None:
    """SIGSTOP to a process for longer than its session and its lease; then it goes on as if nothing was."""
    member = run.member(rng, *CHAIN)
    if member.name in run.reserved or not run.system.signal(member, signal.SIGSTOP):
        return
    run.reserved.add(member.name)
    run.later(_thaw(run, member))


async def _thaw(run: Run, member: Member) -> None:
    try:
        await asyncio.sleep(SESSION_SECONDS + 1.5)
        if run.system.signal(member, signal.SIGCONT):
            run.met["processes frozen beyond session and lease"] += 1
    finally:
        run.reserved.discard(member.name)


async def stop(run: Run, rng: random.Random) -> None:
    """SIGTERM under load: gone within 20 s, with exit code 0."""
    member = run.member(rng, *CHAIN)
    if member.name in run.reserved:
        return
    run.reserved.add(member.name)
    run.later(_stopped(run, member))


async def _stopped(run: Run, member: Member) -> None:
    try:
        seconds = await run.system.stop(member)
        run.stops.append(seconds)
        run.met["processes asked to stop"] += 1
        run.met["processes that took too long to stop"] += seconds > STOP_SECONDS
    finally:
        run.reserved.discard(member.name)


async def join_and_leave(run: Run, rng: random.Random) -> None:
    """A third process joins a service and leaves after a while: its group is divided anew, twice."""
    service = rng.choice(CHAIN)
    if any(member.slot == 2 for member in run.system.of(service)):
        return
    run.later(_third(run, Member(service, 2, free_port()), rng.uniform(1.5, 4), rng.random() < 0.5))


async def _third(run: Run, member: Member, seconds: float, killed: bool) -> None:
    run.system.members.append(member)
    run.reserved.add(member.name)
    await run.system.start(member)
    await asyncio.sleep(seconds)
    if killed:
        run.system.kill(member, again=False)
    else:
        run.stops.append(await run.system.stop(member, again=False))
    await member.ended.wait()
    run.met["members that joined and left"] += 1
    run.system.members.remove(member)
    run.reserved.discard(member.name)


# ---- servers ----------------------------------------------------------------------------------------------------


async def kill_postgres(run: Run, rng: random.Random) -> None:
    """SIGKILL to the database and all its backends; it recovers from its log."""
    await asyncio.to_thread(run.system.servers.postgres.kill)
    await asyncio.sleep(rng.uniform(0, 2))
    await asyncio.to_thread(run.system.servers.postgres.start)
    run.met["database killed and started"] += 1


async def kill_kafka(run: Run, rng: random.Random) -> None:
    """SIGKILL to the broker."""
    await asyncio.to_thread(run.system.servers.kafka.kill)
    await asyncio.sleep(rng.uniform(0, 2))
    await asyncio.to_thread(run.system.servers.kafka.start)
    run.met["broker killed and started"] += 1


async def freeze_a_server(run: Run, rng: random.Random) -> None:
    """SIGSTOP to the broker, or to the database and its backends: nothing is closed, nothing answers."""
    server = rng.choice((run.system.servers.kafka, run.system.servers.postgres))
    if server.pid is None:
        return
    pids = [server.pid, *_children(server.pid)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(rng.choice((2.0, 4.0, 11.0)))
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    run.met[f"{type(server).__mro__[-3].__name__.lower()} frozen"] += 1


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def terminate_backends(run: Run, rng: random.Random) -> None:
    """Connections ended by the administrator in the middle of their transactions."""
    with suppress(*OUTAGES):
        db = await asyncpg.connect(run.system.servers.admin_url, timeout=5, command_timeout=10)
        try:
            for _ in range(40):
                ended = await db.fetchval(
                    """
                    select count(pg_terminate_backend(pid))
                    from pg_stat_activity
                    where application_name like 'medsync-%'
                      and xact_start is not null
                      and datname like '%' || $1 || '%'
                    """,
                    run.system.name.replace("-", "_"),
                )
                if ended:
                    run.met["transactions terminated half-way"] += ended
                    return
        finally:
            await db.close()


async def hold_a_lock(run: Run, rng: random.Random) -> None:
    """A table that everyone writes to is locked, also for longer than a statement waits for a lock."""
    await lock(run, rng.choice(CHAIN), rng.choice((1.0, 3.0, 6.0)))


async def hold_a_lock_for_long(run: Run, rng: random.Random) -> None:
    """The same for half a minute, while the other faults go on."""
    run.later(lock(run, rng.choice(CHAIN), LONG_SECONDS))


async def lock(run: Run, service: str, seconds: float) -> None:
    with suppress(*OUTAGES):
        db = await asyncpg.connect(run.system.urls[service], timeout=5)
        try:
            async with db.transaction():
                await db.execute("lock table effects in share row exclusive mode")
                await asyncio.sleep(seconds)
                run.met["tables locked for " + ("30 s" if seconds == LONG_SECONDS else "seconds")] += 1
        finally:
            await db.close()


async def failing_statements(run: Run, rng: random.Random) -> None:
    """Statements fail with what a full disk, a deadlock or a serialization failure is told by."""
    state = rng.choice(("53100", "53200", "40001", "40P01"))
    await fail_statements(run, rng.choice(CHAIN), state, rng.uniform(0.5, 2))


async def fail_statements(run: Run, service: str, state: str, seconds: float) -> None:
    with suppress(*OUTAGES):
        db = await asyncpg.connect(run.system.urls[service], timeout=5, command_timeout=10)
        try:
            await db.execute(
                "create or replace function proof.fail() returns trigger language plpgsql as "
                f"$$ begin raise exception 'on purpose' using errcode = '{state}'; end $$"
            )
            await db.execute(
                "create or replace trigger fail before insert on effects for each row execute function proof.fail()"
            )
            await asyncio.sleep(seconds)
            run.met[f"statements failed with {state}"] += 1
        finally:
            await heal(run, service)
            await db.close()


async def heal(run: Run, service: str) -> None:
    """Let statements succeed again; the database may have been killed meanwhile."""
    while True:
        with suppress(*OUTAGES):
            await run.system.sql(service, "drop trigger if exists fail on effects")
            return
        await asyncio.sleep(0.2)


# ---- network ----------------------------------------------------------------------------------------------------


async def bad_network(run: Run, rng: random.Random) -> None:
    """The proxy in front of one server misbehaves for a while, then heals."""
    servers = run.system.servers
    where, proxy = rng.choice((("database", servers.to_postgres), ("broker", servers.to_kafka)))
    modes = [mode for mode in Mode if mode is not Mode.passing]
    await misbehave(run, where, proxy, rng.choice(modes[:-1] if where == "broker" else modes), rng)


async def lose_answers_to_commits(run: Run, rng: random.Random) -> None:
    """The transaction is committed, and nobody is told."""
    await misbehave(run, "database", run.system.servers.to_postgres, Mode.forgetting, rng)


async def misbehave(run: Run, where: str, proxy: Proxy, mode: Mode, rng: random.Random) -> None:
    before = proxy.met[mode]
    proxy.become(mode)
    await asyncio.sleep(rng.uniform(0.5, 3))
    proxy.become(Mode.passing)
    if mode is Mode.swallowing and rng.random() < 0.5:
        proxy.reset()
    run.met[f"{where}: network {mode}"] += proxy.met[mode] > before


# ---- deliveries -------------------------------------------------------------------------------------------------


async def deliver_again(run: Run, rng: random.Random) -> None:
    """Records of a topic are sent again, to the byte: twice, or ten times."""
    topic, times = rng.choice((SENDER_TOPIC, LEDGER_TOPIC)), rng.choice((2, 10))
    with suppress(*BROKER_AWAY):
        async with asyncio.timeout(10):
            found = await everything_on(run.system.servers.bootstrap, run.system.prefix + topic)
            chosen = found[:: max(1, len(found) // 50)]
            async with producing(run.system.servers.bootstrap) as producer:
                for one in chosen * (times - 1):
                    await producer.send(one.topic, key=one.key, value=one.value, headers=list(one.headers))
                await producer.flush()
        run.met[f"records delivered {times} times"] += len(chosen)


async def poison(run: Run, rng: random.Random) -> None:
    """Malformed records of patients who do not exist, between those of others."""
    with suppress(*BROKER_AWAY):
        async with asyncio.timeout(10), producing(run.system.servers.bootstrap) as producer:
            for event in (Counted, Applied):
                for _ in range(MALFORMED):
                    key = f"{STRANGER}{uuid4().hex[:8]}"
                    one = {
                        "key": key.encode(),
                        "value": f'{{"patient_id": "{key}", "number": "{CANARY}"}}'.encode(),
                        "headers": [
                            ("ce_id", str(uuid4()).encode()),
                            ("ce_type", event.TYPE.encode()),
                            ("ce_source", f"medsync/{owner_of(event.TOPIC)}".encode()),
                        ],
                    }
                    await producer.send(run.system.prefix + event.TOPIC, **one)
            await producer.flush()
        run.met["malformed records between others"] += 2 * MALFORMED


async def stumble(run: Run, rng: random.Random) -> None:
    """One patient's events fail for a while: parked, then redriven by a person."""
    patient_id = f"p-{rng.randrange(200)}"
    with suppress(*OUTAGES):
        await run.system.sql("ledger", "insert into stumbling values ($1) on conflict do nothing", patient_id)
        run.met["patients whose events fail for a while"] += 1
    run.later(_recover(run, patient_id, rng.uniform(2, 5)))


async def _recover(run: Run, patient_id: str, after: float) -> None:
    await asyncio.sleep(after)
    while True:
        with suppress(*OUTAGES):
            await run.system.sql("ledger", "delete from stumbling where patient_id = $1", patient_id)
            return
        await asyncio.sleep(0.2)


async def jump_in_time(run: Run, rng: random.Random) -> None:
    """Business time jumps an hour or a day, ahead or back."""
    run.system.advance(rng.choice((-1, 1, 1, 1)) * rng.choice((timedelta(hours=1), timedelta(days=1))))
    run.met["jumps of business time"] += 1


Fault = Callable[[Run, random.Random], Awaitable[None]]

FAULTS: dict[Fault, int] = {
    random_kill: 24,
    kill_a_leader: 8,
    freeze_at_a_point: 4,
    freeze: 3,
    stop: 4,
    join_and_leave: 4,
    terminate_backends: 5,
    hold_a_lock: 2,
    failing_statements: 4,
    bad_network: 5,
    lose_answers_to_commits: 3,
    deliver_again: 3,
    poison: 2,
    stumble: 2,
    jump_in_time: 3,
}
"""Faults of a schedule and how often, per hundred or so; the crash points and the servers' own come on top."""
