"""How soon an answer follows: from 2xx to the event consumed two services downstream; and the relay alone.

Downstream: a command is answered 2xx by one service, whose event a second service takes in and answers; a stranger
consumes the answer. At so many commands a second, each sent at its own time whether or not the last was answered.
Against the same services with relays that poll once a second.

Relay: so many transactions a second, each with locks, state and one outbox row; from the commit until the broker has
acknowledged the row, beside what the writer's own transaction took.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer

from benchmarks import business, events
from benchmarks.common import Bench, Target, arguments, in_turn, median_and_range, run, stopping, table
from shared.clock import SystemClock
from shared.database import open_pool
from shared.events.enrollment import ProfileChanged
from shared.events.planner import TOPIC as ANSWERS
from shared.events.planner import PlanBlocked
from shared.messaging import Work, patient
from shared.messaging.aside import aside
from shared.messaging.bell import Bell
from shared.messaging.journal import OutboxRow
from shared.messaging.relay import Relay
from shared.messaging.unit import Cause
from shared.sealing import Sealer
from tests.running import SEALING_KEY

T = TypeVar("T")

NOTIFIED, POLLED = "MedSync", "relays that poll once a second"
PATIENTS = 2000
CONNECTIONS = WRITERS = 16


@dataclass(frozen=True)
class Percentiles:
    """Of one run, in milliseconds; and how many a second it was."""

    median: float
    p95: float
    p99: float
    rate: float

    @staticmethod
    def of(seconds: Sequence[float], rate: float) -> Percentiles:
        cuts = statistics.quantiles(seconds, n=100)
        return Percentiles(cuts[49] * 1000, cuts[94] * 1000, cuts[98] * 1000, rate)


async def benchmark(bench: Bench) -> list[Target]:
    targets = []
    if "downstream" in given.parts:
        targets.append(await compare_downstream(bench))
    if "relay" in given.parts:
        targets.append(await compare_relay(bench))
    return targets


# ---- downstream -----------------------------------------------------------------------------------------------


async def compare_downstream(bench: Bench) -> Target:
    print(f"from 2xx to the answer consumed, two services on, at {given.commands} commands a second, ms\n")
    found: dict[str, list[tuple[Percentiles, Percentiles]]] = defaultdict(list)
    for number in range(given.rounds):
        for name in in_turn((NOTIFIED, POLLED), number):
            found[name].append(await downstream(bench, f"{name[0]}{number}.", polled=name == POLLED))
    rows = []
    for name, runs in found.items():
        for what, part in (("the command itself", 0), ("2xx → consumed", 1)):
            each = [one[part] for one in runs]
            rows.append([name, what, *_columns(each)])
    table(["", "", "median", "95th percentile", "99th percentile", "a second"], rows)
    times = [
        polled[1].median / ours[1].median for ours, polled in zip(found[NOTIFIED], found[POLLED], strict=True)
    ]
    return Target("2xx → consumed, against relays that poll", statistics.median(times), at_least=50)


async def downstream(bench: Bench, prefix: str, *, polled: bool) -> tuple[Percentiles, Percentiles]:
    """The commands' own time, and from their answer to the consumption of what follows."""
    await bench.topics(prefix)
    front, back = await asyncio.to_thread(bench.database), await asyncio.to_thread(bench.database)
    poll = ("--poll", "1") if polled else ()
    first = bench.start("benchmarks.service", "front", "--commands", *poll, database_url=front, prefix=prefix)
    second = bench.start("benchmarks.service", "back", *poll, database_url=back, prefix=prefix)
    with stopping(first, second):
        await asyncio.gather(first.ready(), second.ready())
        async with _consuming(bench.kafka, prefix + ANSWERS) as consumed:
            sender = await Sender.to(first.url)
            command_seconds, answered_at, rate = await _send(sender, given.warm_up + given.seconds)
            await _until(lambda: len(consumed) >= len(answered_at), seconds=30)
    for url in (front, back):
        await asyncio.to_thread(bench.drop, url)
    warm = given.warm_up * given.commands
    waits = [consumed[key] - at for number, (key, at) in enumerate(answered_at.items()) if number >= warm]
    return Percentiles.of(command_seconds[warm:], rate), Percentiles.of(waits, rate)


async def _send(sender: Sender, seconds: int) -> tuple[list[float], dict[tuple[str, int], float], float]:
    """How long each command took, when each was answered (by patient and revision), and how many a second went."""
    took: dict[tuple[str, int], float] = {}
    answered_at: dict[tuple[str, int], float] = {}

    async def command(event: ProfileChanged) -> None:
        began = time.monotonic()
        await sender.post("/profiles", event.model_dump_json().encode())
        key = event.patient_id, event.revision
        answered_at[key] = time.monotonic()
        took[key] = answered_at[key] - began

    stream = itertools.islice(events.half_kilobyte(PATIENTS), seconds * given.commands)
    rate = await _paced(command, stream, given.commands, CONNECTIONS)
    return list(took.values()), answered_at, rate


@asynccontextmanager
async def _consuming(bootstrap: str, topic: str) -> AsyncIterator[dict[tuple[str, int], float]]:
    """When each answer was consumed, by patient and revision."""
    seen: dict[tuple[str, int], float] = {}
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()

    async def consume() -> None:
        async for record in consumer:
            at = time.monotonic()
            told = PlanBlocked.model_validate_json(record.value)
            seen.setdefault((told.patient_id, told.revision), at)

    task = asyncio.create_task(consume())
    try:
        yield seen
    finally:
        task.cancel()
        await consumer.stop()


class Sender:
    """HTTP on a few open connections, and as little of it as will do: it shares the machine with what it measures."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    @staticmethod
    async def to(url: str) -> Sender:
        address = urlsplit(url)
        sender = Sender(address.netloc)
        for _ in range(CONNECTIONS):
            sender._free.put_nowait(await asyncio.open_connection(address.hostname, address.port))
        return sender

    async def post(self, path: str, body: bytes) -> None:
        """Raises AssertionError for anything but 200."""
        reader, writer = await self._free.get()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nMedsync-Actor: bench\r\nMedsync-Role: system\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in answer.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        said = await reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 200"), (answer, said)
        self._free.put_nowait((reader, writer))


# ---- the relay alone ------------------------------------------------------------------------------------------


class TimedRelay(Relay):
    """Notes when the broker has acknowledged which rows."""

    acknowledged: dict[str, float]

    async def _publish(self, rows: Sequence[OutboxRow]) -> None:
        await super()._publish(rows)
        at = time.monotonic()
        for row in rows:
            self.acknowledged.setdefault(row.key, at)


async def compare_relay(bench: Bench) -> Target:
    print(f"the relay alone, at {given.rows} transactions of one row a second, ms\n")
    found = [await relay_alone(bench, f"relay{number}.") for number in range(given.rounds)]
    rows = [
        ["the writer's transaction", *_columns([one[0] for one in found])],
        ["commit → acknowledged by the broker", *_columns([one[1] for one in found])],
    ]
    table(["", "median", "95th percentile", "99th percentile", "a second"], rows)
    times = [relay.median / writer.median for writer, relay in found]
    return Target("relay, in transactions of the writer", statistics.median(times), at_most=2.5)


async def relay_alone(bench: Bench, prefix: str) -> tuple[Percentiles, Percentiles]:
    """The writers' transactions, and from their commit to the acknowledgement."""
    await bench.topics(prefix)
    url = await asyncio.to_thread(bench.database)
    pool = await open_pool(url, size=WRITERS, name="writer")
    bell = Bell(url, name="bench")
    work = Work(pool, service="bench", clock=SystemClock(), sealer=Sealer(SEALING_KEY, key_id="1"), bell=bell)
    relay = TimedRelay(
        url, bench.kafka, bell, service="bench", name="bench", lease_seconds=5, topic_prefix=prefix
    )
    relay.acknowledged = {}
    parts = [asyncio.create_task(part) for part in (bell.run(), aside(relay.run, name="relay"))]
    await _until(lambda: relay.leads, seconds=30)
    transactions: list[float] = []
    committed_at: dict[str, float] = {}

    async def write(number: int) -> None:
        told = events.small(number, revision=1)
        began = time.monotonic()
        async with work.begin([patient(told.patient_id)], cause=Cause("bench", "bench")) as unit:
            await business.save(unit.db, [told])
            unit.emit(business.answer(told))
        committed_at[told.patient_id] = time.monotonic()
        transactions.append(committed_at[told.patient_id] - began)

    rate = await _paced(write, range(given.rows * (given.warm_up + given.seconds)), given.rows, WRITERS)
    await _until(lambda: len(relay.acknowledged) >= len(committed_at), seconds=30)
    for part in parts:
        part.cancel()
    await asyncio.wait(parts)
    await pool.close()
    await asyncio.to_thread(bench.drop, url)
    warm = given.rows * given.warm_up
    waits = [
        relay.acknowledged[key] - at
        for number, (key, at) in enumerate(committed_at.items())
        if number >= warm
    ]
    return Percentiles.of(transactions[warm:], rate), Percentiles.of(waits, rate)


def _columns(each: Sequence[Percentiles]) -> list[str]:
    times = [median_and_range([getattr(one, name) for one in each], 1) for name in ("median", "p95", "p99")]
    return [*times, median_and_range([one.rate for one in each])]


async def _paced(do: Callable[[T], Awaitable[None]], what: Iterable[T], rate: float, hands: int) -> float:
    """Do each at its time, by so many hands; answers how many a second it came to. Who is late does not hurry."""
    numbered = enumerate(what)
    began, done = time.monotonic(), 0
    late = 0.0  # what it lagged behind so far is not made up for

    async def hand() -> None:
        nonlocal done, late
        for number, one in numbered:
            wait = began + late + number / rate - time.monotonic()
            late += max(0.0, -wait)
            await asyncio.sleep(wait)
            await do(one)
            done += 1

    await asyncio.gather(*(hand() for _ in range(hands)))
    return done / (time.monotonic() - began)


async def _until(condition: Callable[[], bool], *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


parser = arguments(__doc__)
parser.add_argument("--commands", type=int, default=200, help="a second")
parser.add_argument("--rows", type=int, default=1000, help="a second")
parser.add_argument("--seconds", type=int, default=10, help="measured, of each run")
parser.add_argument("--warm-up", type=int, default=3, help="seconds before")
parser.add_argument("--parts", default="downstream,relay")

if __name__ == "__main__":
    given = parser.parse_args()
    run(benchmark, given)
