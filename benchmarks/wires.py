"""What trust costs on the wires: `python -m benchmarks.wires`.

One hop over TLS with SCRAM and access rules, and over the same broker in the clear, by turns; and a command of the
ledger of tests by an access token, and by headers that nobody checks.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
from fastapi import FastAPI

from benchmarks import events
from benchmarks.audit import LEDGER, app_of, work_of
from benchmarks.common import Bench, Target, arguments, in_turn, median_and_range, run, table
from benchmarks.hop import OURS, hop
from benchmarks.runs import Run, ratios, report, undisturbed
from deploy.local.ports import free_port
from shared import grants
from shared.access import Role
from shared.tokens import Tokens
from tests.provider import Provider, bearer, grants_of_every_role
from tests.running import STAFF
from tests.secure_kafka import ADMIN, SecureKafka

CLEAR, SECURE = "in the clear", "TLS, SCRAM"
HEADERS, TOKEN = "headers", "token"
TIMES = 300


class OnBothWires(SecureKafka):
    """It answers on a second port in the clear: whoever comes there may do all."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port, principals=(), keys={"keys": []})
        self._heap = "1g"
        self.clear = f"127.0.0.1:{free_port()}"

    def _settings(self) -> dict[str, object]:
        told = super()._settings()
        added = {
            "listeners": f"CLEAR://{self.clear}",
            "advertised.listeners": f"CLEAR://{self.clear}",
            "listener.security.protocol.map": "CLEAR:PLAINTEXT",
        }
        return told | {name: f"{told[name]},{more}" for name, more in added.items()}


@asynccontextmanager
async def on_both_wires(bench: Bench) -> AsyncIterator[OnBothWires]:
    """In place of the broker of the benchmark."""
    bench.stack.kafka.stop()
    kafka = OnBothWires(bench.folder / "wires", free_port())
    await asyncio.to_thread(kafka.start)
    bench.kafka, before = kafka.clear, bench.stack.kafka
    bench.stack.kafka = kafka
    try:
        yield kafka
    finally:
        kafka.stop()
        bench.stack.kafka = before


async def benchmark(bench: Bench, number_of_events: int, rounds: int) -> Sequence[Target]:
    """The hop, then the commands."""
    targets = [await commands(bench, rounds)]
    async with on_both_wires(bench) as kafka:
        stream = itertools.islice(events.half_kilobyte(5000), number_of_events)
        load = await events.load(bench, "half a kilobyte", "small.", stream)
        secure = {f"MEDSYNC_{name.upper()}": str(value) for name, value in kafka.settings(ADMIN).items()}
        wires = {CLEAR: {}, SECURE: secure | {"MEDSYNC_KAFKA_BOOTSTRAP": kafka.bootstrap}}
        await hop(bench, load, OURS, settings=wires[CLEAR])  # unmeasured: the broker's code is compiled
        runs: dict[str, list[Run]] = defaultdict(list)
        for number in range(rounds):
            for name in in_turn((CLEAR, SECURE), number):
                runs[name].append(await undisturbed(partial(hop, bench, load, OURS, settings=wires[name])))
        report({name: runs[name] for name in (SECURE, CLEAR)})
        slower = statistics.median(ratios(runs[SECURE], runs[CLEAR]))
        targets.append(Target("the hop over TLS, against the one in the clear", slower, at_least=0.8))
    return targets


async def commands(bench: Bench, rounds: int) -> Target:
    """Milliseconds of a command by its caller's proof."""
    work = await work_of(bench, "ledger", await asyncio.to_thread(bench.database, *LEDGER))
    provider = Provider()
    by_token, by_headers = app_of(work, audited=True), app_of(work, audited=True)
    by_token.state.identity = Tokens(
        provider.keys(),
        audience="medsync-ledger",
        algorithms=("ES256",),
        grants=grants.read(grants_of_every_role(bench.folder)),
    )
    token = provider.token(aud="medsync-ledger", groups=[f"{Role.pharmacist}-all"])
    sides = {HEADERS: (by_headers, STAFF), TOKEN: (by_token, bearer(token))}
    took: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for side in in_turn((HEADERS, TOKEN), number):
            took[side] += await _asked(*sides[side], number)
    await work.pool.close()
    table(
        ("a command, ms: median (range)", HEADERS, TOKEN),
        [("one caller", *(median_and_range(took[side], 2) for side in (HEADERS, TOKEN)))],
    )
    more = statistics.median(took[TOKEN]) - statistics.median(took[HEADERS])
    return Target("a command by token: more", more, at_most=3, unit=" ms")


async def _asked(app: FastAPI, headers: dict[str, str], number: int) -> list[float]:
    took = []
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
        for each in range(TIMES):
            began = time.perf_counter()
            answer = await http.post(f"/patients/w{number}-{each}/things", json={"revision": each})
            assert answer.status_code == 200, answer.text
            took.append((time.perf_counter() - began) * 1000)
    return took[5:]


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--events", type=int, default=12_000)
    given = parser.parse_args()
    run(partial(benchmark, number_of_events=given.events, rounds=given.rounds), given)
