"""Two hundred kills over twenty thousand events in every run of the tests; `make faults` is the long version.

And shorter rounds of the other kinds: three brokers, and machine time that is set.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from tests.faults import cluster, kinds, machine, report
from tests.faults.round import run_round
from tests.faults.servers import Servers
from tests.faults.system import seeded

SEED = 20
ROUNDS, KILLS, COMMANDS, RATE = 2, 97, 680, 12.0
"""A command's eight patients or so give sixteen events and more."""


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_two_hundred_kills_lose_nothing() -> None:
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="medsync-faults-") as directory:
        async with Servers(Path(directory), seeded(SEED, "proxies")) as servers:
            for number in range(1, ROUNDS + 1):
                seed = f"{SEED}/{number}"
                outcomes.append(
                    await run_round(servers, f"s{number}", seed, kills=KILLS, commands=COMMANDS, rate=RATE)
                )
    report.show(outcomes, Console(width=150))
    assert [result for outcome in outcomes for result in outcome.results if result["violations"]] == []
    assert report.unmet(outcomes) == []
    assert sum(outcome.kills for outcome in outcomes) >= 190
    assert sum(outcome.events for outcome in outcomes) >= 20_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind",
    [
        replace(kinds.THREE_BROKERS, faults=[cluster.one_lost], needs={cluster.MOVED: 1}, commands=60),
        pytest.param(
            replace(
                kinds.MACHINE_TIME,
                faults=[partial(machine.jump, ahead=ahead) for ahead in (machine.DAY, machine.NOW)],
                needs={machine.flowed(machine.DAY): 1, machine.flowed(machine.NOW): 1},
                commands=60,
            ),
            marks=pytest.mark.skipif(
                not machine.MOVABLE, reason="libfaketime comes for Linux on x86-64 only"
            ),
        ),
    ],
    ids=lambda kind: kind.name,
)
async def test_rounds_of_another_kind_lose_nothing(kind: kinds.Kind) -> None:
    outcome = await kinds.run_kind(kind, f"{SEED}/{kind.name}")
    report.show([outcome], Console(width=150))
    assert [result for result in outcome.results if result["violations"]] == []
    assert kinds.unmet(kind, outcome) == []
    assert outcome.events >= 1000
