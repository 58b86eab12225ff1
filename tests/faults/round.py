"""One round: a fresh installation, a load, a schedule of faults beside it; then rest, drills, and the verdict."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from cli.proof.result import Result
from deploy.local.ports import free_port
from shared.messaging.crashpoints import POINTS
from tests.faults.chain import CHAIN
from tests.faults.collect import collect, evidence, faults_logged
from tests.faults.faults import OUTAGES, Run, crash_point, random_kill
from tests.faults.history import Command, decide
from tests.faults.load import Load, Operator
from tests.faults.schedule import Blow, schedule
from tests.faults.servers import Servers
from tests.faults.system import ROOT, Member, System, seeded
from tests.running import until

TRIES = 3
REST_SECONDS = 240.0
POLL_SECONDS = 0.3
SAYS_SECONDS = 15.0
STUCK_SECONDS = 30.0


@dataclass
class Outcome:
    """What a round found; everything in it can be written as JSON."""

    seed: str
    seconds: float = 0.0
    events: int = 0
    kills: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    points: dict[str, int] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, list[float]] = field(default_factory=dict)  # seconds
    heard: list[str] = field(default_factory=list)  # what was said of it, and answered to the cure's commands
    unexpected: list[str] = field(default_factory=list)  # faults that the fabric logged about itself

    @property
    def holds(self) -> bool:
        return not any(result["violations"] for result in self.results)


async def run_round(
    servers: Servers,
    name: str,
    seed: str,
    *,
    kills: int,
    commands: int,
    rate: float,
    code: Path = ROOT,
    blows: Sequence[Blow] | None = None,
    drills: bool = True,
    rest_seconds: float = REST_SECONDS,
    **settings: Any,
) -> Outcome:
    """Run it and judge it."""
    began = time.monotonic()
    outcome = Outcome(seed)
    async with System(servers, name, code=code, **settings).running() as system:
        run = Run(system)
        load = Load(system, seeded(seed, "load"), commands=commands, rate=rate)
        operator = Operator(system)
        sending, operating = asyncio.create_task(load.run()), asyncio.create_task(operator.run())
        try:
            await strike(run, schedule(seed, kills=kills) if blows is None else blows, kills, seed)
            load.enough.set()
            servers.heal()
            healed = time.monotonic()
            async with saying(name, lambda: [*under_way(run), *still_sent(load)]):
                await asyncio.gather(*run.background)
                await asyncio.wait([sending], timeout=rest_seconds)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            operating.cancel()
        waiting = await come_to_rest(system, operator, seconds=rest_seconds) | unanswered(load)
        outcome.recovery["all lag and outboxes back to zero after the last fault"] = [
            time.monotonic() - healed
        ]
        if drills and not any(waiting.values()):
            for what, drill in DRILLS.items():
                outcome.recovery[what] = [await drill(system, load.answered)]
            await replay(system)
            run.met["whole topics replayed"] += 2
            waiting = await come_to_rest(system, operator, seconds=rest_seconds)
        if not any(waiting.values()):
            await rebuild(system, seconds=rest_seconds)
        history = await collect(system, load.sent, waiting)
        outcome.results = [as_object(result) for result in decide(history)]
        outcome.events = len({record.event_id for record in history.published})
        outcome.met = dict(run.met) | await evidence(system)
        outcome.met["records sent again by a relay or by us"] = len(history.published) - outcome.events
        outcome.met["commands sent again"] = load.repeats
        outcome.met["letters redriven by the operator"] = operator.redriven
        outcome.met["malformed records skipped by the operator"] = operator.skipped
        outcome.met["processes restarted after a bad release"] = operator.restarted
        outcome.unexpected = faults_logged(system)
        count_deaths(system, outcome)
        if run.stops:
            outcome.recovery["SIGTERM to the end of the process"] = run.stops
    outcome.seconds = time.monotonic() - began
    return outcome


def as_object(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "looked_at": result.looked_at,
        "violations": len(result.violations),
        "first": list(result.violations[:3]),
    }


async def strike(run: Run, blows: Sequence[Blow], kills: int, seed: str) -> None:
    """One blow after another, then again the crash points that nobody reached; random kills until there were enough."""
    for blow in blows:
        await blow.fault(run, seeded(blow.seed))
        await asyncio.sleep(blow.pause)
    rng = seeded(seed, "more kills")
    for point in sorted(unmet_points(run)) * TRIES if blows and kills else ():
        if point in unmet_points(run):
            await crash_point(run, rng, point)
            with suppress(AssertionError):
                await until(partial(met_point, run, point), f"{point} is met", seconds=4)
    while killed(run) < kills:
        await random_kill(run, rng)
        await asyncio.sleep(rng.uniform(0.2, 0.6))


def unmet_points(run: Run) -> set[str]:
    """Crash points at which nobody died so far."""
    return set(POINTS) - {
        death.point.partition(":")[0] for death in run.system.deaths if death.how == "point"
    }


async def met_point(run: Run, point: str) -> bool:
    return point not in unmet_points(run)


def killed(run: Run) -> int:
    """Processes and servers ended by SIGKILL."""
    return (
        sum(death.how in ("killed", "point") for death in run.system.deaths)
        + run.met["database killed and started"]
        + run.met["broker killed and started"]
    )


def count_deaths(system: System, outcome: Outcome) -> None:
    outcome.points = dict(
        Counter(death.point.partition(":")[0] for death in system.deaths if death.how == "point")
    )
    how = Counter(death.how for death in system.deaths)
    outcome.met["processes killed at random"] = how["killed"]
    outcome.met["processes killed at crash points"] = how["point"]
    outcome.met["processes that ended by themselves"] = how["itself"]
    outcome.unexpected += [
        f"{d.member} ended by itself: {d.status}" for d in system.deaths if d.how == "itself"
    ]
    outcome.kills = (
        how["killed"]
        + how["point"]
        + outcome.met.get("database killed and started", 0)
        + outcome.met.get("broker killed and started", 0)
    )


# ---- rest -------------------------------------------------------------------------------------------------------


async def come_to_rest(system: System, operator: Operator, *, seconds: float) -> dict[str, int]:
    """Heal everything, let all due work fall due, and wait; answers what is left, nothing but zeros if all is well.

    A process that gives no status is left as well, though the others may have done its work.
    """
    system.servers.heal()
    system.advance(timedelta(days=30))
    for member in list(system.members):
        if member.slot == 2:
            system.members.remove(member)
        elif member.point:
            system.kill(member)  # still armed
    waiting: dict[str, int] = {"everything": 1}

    async def resting() -> bool:
        nonlocal waiting
        await asyncio.sleep(POLL_SECONDS)  # each look costs the system something
        found = dict.fromkeys(await operator.look(), 1)
        try:
            found |= await what_waits(system)
        except (*OUTAGES, KafkaError) as error:
            found[f"servers, which do not tell ({type(error).__name__})"] = 1
        waiting = found
        return not any(waiting.values())

    with suppress(AssertionError):
        async with saying(system.name, lambda: [f"{n} {what}" for what, n in waiting.items() if n]):
            await until(resting, "the system is at rest", seconds=seconds)
    return waiting


@asynccontextmanager
async def saying(name: str, waits_for: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """While the body waits, say every so often what for."""

    async def say_it() -> None:
        for times in count(1):
            await asyncio.sleep(SAYS_SECONDS)
            print(f"{name} waits for {times * SAYS_SECONDS:.0f} s: {'; '.join(waits_for())}", flush=True)

    telling = asyncio.create_task(say_it())
    try:
        yield
    finally:
        telling.cancel()


def under_way(run: Run) -> list[str]:
    """Faults in the background that go on."""
    return [task.get_coro().__qualname__.strip("_") for task in run.background]  # type: ignore[union-attr]


def still_sent(load: Load) -> list[str]:
    """How far the load is."""
    return [f"the load, {len(load.answered)} commands answered", *unanswered(load)]


def unanswered(load: Load) -> dict[str, int]:
    """Commands that wait for their answer."""
    return {f"command {key} ({last})": 1 for key, last in load.unanswered.items()}


async def outbox_of(system: System, service: str) -> int:
    """How many rows of its outbox a service has not published."""
    return int((await system.sql(service, "select count(*) from fabric.unpublished"))[0][0])


async def what_waits(system: System) -> dict[str, int]:
    waiting: dict[str, int] = {}
    for service in CHAIN:
        row = (
            await system.sql(
                service,
                """
                select (select count(*) from fabric.unpublished) as outbox,
                       (select count(*) from fabric.parked) as parked,
                       (select count(*) from things where not done) as things
                """,
            )
        )[0]
        waiting |= {f"{what} of {service}": row[what] for what in ("outbox", "parked", "things")}
    if not any(waiting.values()):
        waiting["topics, unread"] = await system.lag()
    return waiting


# ---- drills -----------------------------------------------------------------------------------------------------


async def relay_takeover(system: System, sent: list[Command]) -> float:
    """From the leader's SIGKILL, with nobody to start it again, to the next event on its topic."""
    for member in system.of("sender"):
        await system.ready(member)
    leader = await until(lambda: system.leader("sender"), "there is a relay")
    began = time.monotonic()
    system.kill(leader, again=False)
    other = next(member for member in system.of("sender") if member is not leader)
    await say(system, other, "takeover", sent)
    await until(lambda: arrived(system, "ledger", "takeover"), "another relay has published")
    seconds = time.monotonic() - began
    await system.start(leader)
    return seconds


async def consumer_resumption(system: System, sent: list[Command]) -> float:
    """From SIGKILL to a consumer, started again at once, to the next effect in each of its partitions."""
    member = system.of("ledger")[0]
    await system.ready(member)
    began = time.monotonic()
    system.kill(member)
    await say(system, system.of("sender")[0], "resume", sent)
    await until(lambda: arrived(system, "ledger", "resume"), "the consumer has taken the next events")
    return time.monotonic() - began


DRILLS = {
    "relay leader killed, to the next event published": relay_takeover,
    "consumer killed, to the next effect": consumer_resumption,
}
SAID = 16
"""Patients of a drill: enough to meet every partition."""


async def say(system: System, member: Member, what: str, sent: list[Command]) -> None:
    patients = tuple(f"{what}-{n}" for n in range(SAID))

    async def answered() -> bool:
        answer = await system.post(
            member, "/count", {"patients": patients}, **{"Idempotency-Key": f"drill-{what}"}
        )
        if answer is None or answer.status_code != 200:
            return False
        sent.append(Command(f"drill-{what}", patients, answer.json()))
        return True

    await until(answered, f"{member.name} takes a command")


async def arrived(system: System, service: str, what: str) -> bool:
    rows = await system.sql(service, "select count(*) from effects where patient_id like $1 || '-%'", what)
    return bool(rows[0][0] >= SAID)


async def replay(system: System) -> None:
    """Set a service's positions back to zero while it is away: it is given both topics once more."""
    for member in system.of("reader"):
        system.kill(member, again=False)
    await system.sql(
        "reader",
        """
        with gone as (delete from fabric.positions where "first" >= 0)
        insert into fabric.positions (topic, partition, "first", "next")
        select topic, generate_series(0, partitions - 1), -1, 0 from fabric.topics
        on conflict (topic, partition, "first") do update set "next" = 0
        """,
    )
    for member in system.of("reader"):
        await system.start(member)


async def rebuild(system: System, *, seconds: float) -> None:
    """A new reader with an empty database reads the topics from the beginning, in whatever order they come.

    It is waited for as long as it gets on: on a busy machine this takes its time.
    """
    member = Member("rebuilt", 0, free_port())
    system.members.append(member)
    await system.start(member)

    most, grew = 0, time.monotonic()

    async def equal_or_stuck() -> bool:
        nonlocal most, grew
        live, rebuilt = [
            (await system.sql(service, "select count(*) from effects"))[0][0]
            for service in ("reader", "rebuilt")
        ]
        if rebuilt > most:
            most, grew = rebuilt, time.monotonic()
        return rebuilt >= live or time.monotonic() - grew > STUCK_SECONDS

    with suppress(AssertionError):
        async with saying(system.name, lambda: [f"a new reader, which holds {most} effects"]):
            await until(equal_or_stuck, "the rebuilt model holds as much as the live one", seconds=seconds)
    system.members.remove(member)
