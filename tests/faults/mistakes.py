"""The suite can fail: classic mistakes, put back one at a time into a copy of the code, and caught.

Each is a few exact replacements; one that does not apply exactly once fails loudly, so none goes stale in silence.
Each comes with what provokes it: the least that lets it do its harm for certain.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import faults
from tests.faults.collect import attempts
from tests.faults.disasters import BY_NAME
from tests.faults.faults import Run
from tests.faults.history import MOST_TRIES
from tests.faults.round import Outcome, run_round
from tests.faults.scene import run_disaster
from tests.faults.schedule import Blow
from tests.faults.servers import Servers
from tests.faults.system import ROOT, Member
from tests.running import until

COMMANDS, RATE = 60, 20.0
REST_SECONDS, RESTLESS_SECONDS = 60.0, 8.0
AT_ONCE = 1
COPIED = (
    "shared",
    "tests/faults",
    "tests/__init__.py",
    "tests/running.py",
    "deploy",
    "cli/proof",
    "cli/__init__.py",
)

Provocation = Callable[[Run, random.Random], Awaitable[None]]


class PatchFailed(Exception):
    """The code has changed: this mistake has to be written anew."""


@dataclass(frozen=True)
class Mistake:
    """`patches`: file below shared/messaging, what stands there, what the mistake makes of it."""

    name: str
    patches: Sequence[tuple[str, str, str]]
    provocations: Sequence[Provocation]
    caught_by: str  # what the name of the invariant begins with
    rate: float = RATE
    disaster: str = ""  # the one that provokes it, cure and all, in place of the provocations
    rests: bool = True  # else this is how it shows: the system never comes to rest


@dataclass(frozen=True)
class Caught:
    """What the suite said about a mistake."""

    mistake: str
    expected: str
    by: tuple[str, ...]  # the invariants that did not hold
    first: str  # violation of the one that was to catch it

    @property
    def caught(self) -> bool:
        """By the invariant that was to catch it; and not just for want of time to come to rest."""
        return bool(self.first)


# ---- what provokes them -----------------------------------------------------------------------------------------


async def _crash(run: Run, rng: random.Random, *, service: str, point: str, processes: int = 2) -> None:
    """Processes of a service die at a point, one after another."""
    for member in run.system.of(service)[:processes]:
        await _until_one_died(run, [member], f"{point}:2")


async def _pause_at(run: Run, rng: random.Random, *, service: str, point: str, seconds: float) -> None:
    """A process stops at a point for a while, and goes on."""
    await faults.freeze_at(run, run.system.of(service)[0], point, seconds=seconds)


async def _under_way(run: Run, rng: random.Random) -> None:
    """Events flow: what comes before would provoke nothing."""
    await _until_more(run, "ledger", "counted", "", 1)


async def _fail_for_a_while(run: Run, rng: random.Random, *, patient: str = "hot-0") -> None:
    """One patient's events fail, several of them, and then would not any more, while others still come."""
    await run.system.sql("ledger", "insert into stumbling values ($1)", patient)
    await _until_more(run, "sender", "sent", patient, 3)
    await asyncio.sleep(1)
    await run.system.sql("ledger", "delete from stumbling")
    await asyncio.sleep(1.5)


async def _until_more(run: Run, service: str, kind: str, patient: str, more: int) -> None:
    """A service has written down so many effects more, of one patient or of anyone."""

    async def number() -> int:
        count = "select count(*) from effects where kind = $1 and starts_with(patient_id, $2)"
        return int((await run.system.sql(service, count, kind, patient))[0][0])

    before = await number()

    async def enough() -> bool:
        await asyncio.sleep(0.05)
        return await number() >= before + more

    with suppress(AssertionError):
        await until(enough, f"{service} has {more} effects more", seconds=20)


async def _statements_fail(run: Run, rng: random.Random) -> None:
    """While events come: for seconds, and on a slow machine until that was hammered at, or for half a minute.

    Once more where the trigger could not be set for all the load.
    """
    for _ in range(6):
        await faults.fail_statements(run, "ledger", "40001", 5.0)
        if run.met["statements failed with 40001"] and max(attempts(run.system).values()) > MOST_TRIES:
            return


async def _unanswered(run: Run, rng: random.Random) -> None:
    """Commands are carried out, and nobody is told."""
    for _ in range(3):
        await _crash(run, rng, service="sender", point="unit.committed")


async def _die_publishing(run: Run, rng: random.Random) -> None:
    """Both senders are armed with the point between publishing a window and the next, until one has died there; twice."""
    for _ in range(2):
        await _until_one_died(run, run.system.of("sender"), "relay.committed:1")


async def _until_one_died(run: Run, members: Sequence[Member], crash_at: str) -> None:
    """SIGKILL to each, and to its successor at the point; until that has come to one of them."""
    before = len(run.system.deaths)
    for member in members:
        run.system.kill(member, crash_at=crash_at)

    async def died() -> bool:
        return any(death.how == "point" for death in run.system.deaths[before:])

    with suppress(AssertionError):
        await until(died, f"a process has died at {crash_at}", seconds=8)


def _at(service: str, *points: str) -> Sequence[Provocation]:
    return [partial(_crash, service=service, point=point) for point in points]


CLAIM = (
    "            new = await tables.claim(unit.db, [delivery.event_id for delivery in deliveries], moved)\n"
)
NO_OTHER_POSITION = """            where m."first" = (
                select p."next"
                from fabric.positions p
                where p.topic = m.topic and p.partition = m.partition
                order by p."first" desc
                limit 1
            )
            on conflict do nothing
"""

# ---- the mistakes -----------------------------------------------------------------------------------------------

MISTAKES = (
    Mistake(
        "the relay remembers the last id that it sent, and goes on behind it",
        [
            (
                "journal.py",
                '            where {_UNSEEN.format("$4::text::pg_snapshot")}\n',
                "            where o.id > (select max(high) from fabric.ticks where range = $1)\n",
            ),
        ],
        [partial(_pause_at, service="ledger", point="unit.outbox_written", seconds=1.5)],
        caught_by="I3",
        rests=False,
    ),
    Mistake(
        "a relay's transactional ids are its process's own, and fence nobody",
        [
            (
                "producers.py",
                'f"{group}-{range_}-{ids}{each}"',
                'f"{group}-{range_}-{ids}{each}-{uuid4().hex}"',
            ),
            (
                "producers.py",
                "from itertools import cycle\n",
                "from itertools import cycle\nfrom uuid import uuid4\n",
            ),
        ],
        (),
        disaster="zombie",
        caught_by="I13",
    ),
    Mistake(
        "positions are moved before the work, in a transaction of their own",
        [
            (
                "intake.py",
                CLAIM,
                "            async with self.work.connection() as own:\n"
                "                await tables.claim(own, [], moved)\n"
                "            new = await tables.claim(unit.db, [delivery.event_id for delivery in deliveries])\n",
            )
        ],
        _at("ledger", "intake.claimed", "intake.handled"),
        caught_by="I5 per",
    ),
    Mistake(
        "the inbox is written outside the transaction",
        [
            (
                "intake.py",
                CLAIM,
                "            async with self.work.connection() as own:\n"
                "                new = await tables.claim(own, [delivery.event_id for delivery in deliveries])\n"
                "            await tables.claim(unit.db, [], moved)\n",
            )
        ],
        _at("ledger", "intake.claimed", "intake.handled"),
        caught_by="I5 per",
    ),
    Mistake(
        "a service goes on where Kafka says that it was",
        [
            (
                "positions.py",
                "            met = survey.topics.keys() & known.keys()\n",
                "            met = survey.topics.keys() & known.keys()\n"
                "            stored = stored | await self._meter.acknowledged()\n",
            ),
            ("tables.py", NO_OTHER_POSITION, "            on conflict do nothing\n"),
            ("tables.py", '    if row["moved"] != len(moves):\n        raise Displaced\n', ""),
        ],
        (),
        disaster="restored-reader",
        caught_by="I5 per",
    ),
    Mistake(
        "events are written down after the commit",
        [
            (
                "unit.py",
                "                    if unit.emitted:\n"
                "                        await journal.append(unit.db, self._rows(unit))\n"
                '                    reach("unit.outbox_written")\n'
                "                    said.clear()\n"
                "            if asked:\n"
                "                asked.note_written(patients)\n"
                '            reach("unit.committed")\n',
                '                    reach("unit.outbox_written")\n'
                "                    said.clear()\n"
                "            if asked:\n"
                "                asked.note_written(patients)\n"
                '            reach("unit.committed")\n'
                "            if unit.emitted:\n"
                "                await journal.append(db, self._rows(unit))\n",
            )
        ],
        _at("ledger", "unit.committed", "unit.committed"),
        caught_by="I2",
    ),
    Mistake(
        "what fails is tried again later, and later events overtake it",
        [
            (
                "intake.py",
                "        attempts = 1\n        while is_timeout(error) and attempts < TIMEOUTS_ALONE:\n",
                "        again = partial(lambda: asyncio.ensure_future(\n"
                "            self._settle(Batch([delivery.record], NOWHERE), [delivery])))\n"
                "        asyncio.get_running_loop().call_later(0.7, again)\n"
                "        await self._apply(batch, [], settled)\n"
                "        return\n"
                "        attempts = 1\n        while is_timeout(error) and attempts < TIMEOUTS_ALONE:\n",
            ),
            ("intake.py", "import asyncio\n", "import asyncio\nfrom functools import partial\n"),
        ],
        [_fail_for_a_while],
        caught_by="I6 per patient, effects",
    ),
    Mistake(
        "what fails is given back without a pause",
        [("consumer.py", "await asyncio.sleep(self._pause)", "await asyncio.sleep(0)")],
        [_statements_fail],
        caught_by="I12",
    ),
    Mistake(
        "no lock on the patient",
        [
            (
                "unit.py",
                "        await tables.lock(db, sorted({lock_key(key) for key in keys}))\n",
                "        return\n",
            )
        ],
        [partial(_pause_at, service="sender", point="command.decided", seconds=0.5)],
        rate=60.0,
        caught_by="I6 per patient, effects",
    ),
    Mistake(
        "rows are noted as published before they are acknowledged",
        [
            (
                "relay.py",
                "        await self._send(going, last)\n        self._after = last\n",
                "        await self._send({}, last)\n        await self._send(going, last)\n        self._after = last\n",
            )
        ],
        [_die_publishing],
        caught_by="I3",
    ),
    Mistake(
        "records are sent without their key",
        [
            ("producers.py", '"key": row.key.encode()', '"key": None'),
            (
                "relay.py",
                "partition = journal.hash_of(row.key) % self._shared_among[row.topic] if",
                "partition = row.id % self._shared_among[row.topic] if",
            ),
        ],
        [],
        caught_by="I3",
    ),
    Mistake(
        "a batch is acknowledged though a part of it failed",
        [
            (
                "consumer.py",
                "            self._hold_back(consumer)\n            self._resuming = asyncio",
                "            with suppress(Exception):\n"
                "                await self.intake.take([], self._places(spans))\n"
                "            return\n"
                "            self._resuming = asyncio",
            )
        ],
        [_statements_fail],
        caught_by="I5 per",
    ),
    Mistake(
        "nobody looks into the inbox",
        [
            (
                "intake.py",
                "            fresh = _first_of_each(deliveries, new)\n",
                "            fresh = _first_of_each(deliveries, {delivery.event_id for delivery in deliveries})\n",
            )
        ],
        [faults.deliver_again, faults.deliver_again, faults.deliver_again],
        caught_by="I5 per",
    ),
    Mistake(
        "an event that fails is logged and passed",
        [
            (
                "intake.py",
                "        await self._bury(batch, delivery, settled=settled, attempts=attempts, reason=reason, message=message)\n",
                "        await self._apply(batch, [], settled)\n",
            )
        ],
        [_fail_for_a_while],
        caught_by="I5 per",
    ),
    Mistake(
        "a parked patient's later events go on",
        [
            ("intake.py", "if d.key in parked and not d.event.OVERTAKES]", "if False]"),
            ("intake.py", "if d.key not in parked or d.event.OVERTAKES]", "]"),
        ],
        [_fail_for_a_while],
        caught_by="I6 per patient, effects",
    ),
    Mistake(
        "idempotency keys are ignored",
        [
            ("unit.py", "        key = caller.idempotency_key\n", "        key = None\n"),
        ],
        [_unanswered],
        caught_by="I1",
    ),
    Mistake(
        "a revision is counted on from where the restored database is",
        [("lives.py", "    for column in columns:\n", "    for column in columns[:0]:\n")],
        (),
        disaster="restored-sender",
        caught_by="R1",
    ),
    Mistake(
        "a database that was set back publishes as if nothing was",
        [
            (
                "lives.py",
                "    why = cannot_go_on(service, tick, published)\n",
                "    why = None\n",
            )
        ],
        (),
        disaster="restored-ledger",
        caught_by="S1",
    ),
    Mistake(
        "rows are deleted once they are acknowledged",
        [
            (
                "relay.py",
                "        await self._send(going, last)\n        self._after = last\n",
                "        await self._send(going, last)\n        self._after = last\n"
                '        gone = "delete from fabric.outbox where id = any($1::bigint[])"\n'
                "        assert self._db\n"
                "        await self._db.execute(gone, [row.id for row in rows])\n",
            )
        ],
        (),
        disaster="retention",
        caught_by="I3",
    ),
    Mistake(
        "where records are gone, the earliest that is left will do",
        [
            ("consumer.py", 'auto_offset_reset="none"', 'auto_offset_reset="earliest"'),
            ("positions.py", "        if after[place] < survey.starts[place]:\n", "        if False:\n"),
        ],
        (),
        disaster="retention",
        caught_by="S1",
    ),
    Mistake(
        "a topic is known by its name",
        [("positions.py", '        ("topic_replaced", known.topic_id, seen.topic_id),\n', "")],
        (),
        disaster="topic-anew",
        caught_by="S1",
    ),
    Mistake(
        "one partition that cannot be written stops all",
        [
            (
                "relay.py",
                "            if not has_leader.get(partition):\n                self._stall(place)\n            by_place",
                "            by_place",
            ),
            (
                "relay.py",
                "            for place in error.places:\n                self._stall(place)\n",
                "            log.warning('relay.unanswered', places=len(error.places))\n",
            ),
        ],
        (),
        disaster="leaderless",
        caught_by="S3",
    ),
    Mistake(
        "an answer given before is given again from a read-only look",
        [
            (
                "unit.py",
                "                await tables.leave_trace(unit.db)\n                return cast",
                "                return cast",
            )
        ],
        (),
        disaster="failover-synchronous",
        caught_by="I1",
    ),
)


# ---- putting them back ------------------------------------------------------------------------------------------


def put_back(mistake: Mistake, into: Path) -> None:
    """Copy the code and make the mistake in the copy. PatchFailed where a patch does not apply exactly once."""
    for name in COPIED:
        source, target = ROOT / name, into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for name, old, new in mistake.patches:
        file = into / "shared" / "messaging" / name
        text = file.read_text()
        if text.count(old) != 1:
            raise PatchFailed(f"{mistake.name}: stands {text.count(old)} times in {name}, not once:\n{old}")
        file.write_text(text.replace(old, new))


async def catch(servers: Servers, number: int, mistake: Mistake | None) -> Caught:
    """Run the chain with one mistake (or none, to see that its provocation alone breaks nothing)."""
    name = f"m{number}"
    code = ROOT
    if mistake:
        code = servers.directory / f"{name}-code"
        await asyncio.to_thread(put_back, mistake, code)
    if mistake and mistake.disaster:
        outcome = await run_disaster(BY_NAME[mistake.disaster], f"mistake/{number}", code=code)
        return _verdict(mistake, outcome)
    provocations = (
        [_under_way, *mistake.provocations] if mistake else [p for m in MISTAKES for p in m.provocations]
    )
    outcome = await run_round(
        servers,
        name,
        f"mistake/{number}",
        kills=0,
        commands=COMMANDS,
        rate=mistake.rate if mistake else RATE,
        code=code,
        blows=[Blow("provoke", provoke, f"{name}/{n}", 0.3) for n, provoke in enumerate(provocations)],
        drills=False,
        rest_seconds=RESTLESS_SECONDS if mistake and not mistake.rests else REST_SECONDS,
    )
    if mistake:
        with suppress(OSError):
            shutil.rmtree(code)
    return _verdict(mistake, outcome)


async def catch_all(servers: Servers, *, at_once: int = AT_ONCE) -> list[Caught]:
    """Every mistake by itself, a few at a time."""
    turn = asyncio.Semaphore(at_once)

    async def one(number: int, mistake: Mistake) -> Caught:
        async with turn:
            return await catch(servers, number, mistake)

    return list(await asyncio.gather(*(one(n, mistake) for n, mistake in enumerate(MISTAKES, 1))))


def _verdict(mistake: Mistake | None, outcome: Outcome) -> Caught:
    broken = [result for result in outcome.results if result["violations"]]
    by = tuple(result["name"] for result in broken)
    if mistake is None:
        return Caught("none", "", by, broken[0]["first"][0] if broken else "")
    in_time = not mistake.rests or not any(name.startswith("I10") for name in by)
    first = [
        result["first"][0] for result in broken if result["name"].startswith(mistake.caught_by) and in_time
    ]
    return Caught(mistake.name, mistake.caught_by, by, first[0] if first else "")
