"""A round leaves nothing of its own behind that would keep it from coming to rest, and says what it waits for."""

from __future__ import annotations

import random
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.faults import Run, freeze_at
from tests.faults.round import arrived, run_round, say
from tests.faults.schedule import Blow
from tests.faults.servers import Servers
from tests.faults.system import Member, System, seeded
from tests.running import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    async with Servers(tmp_path, seeded("rounds", "proxies")) as servers:
        yield servers


async def test_a_process_that_never_came_to_its_point_does_not_freeze_there_later(servers: Servers) -> None:
    async with System(servers, "f").running() as system:
        run = Run(system)
        leader = await until(lambda: system.leader("sender"), "there is a relay")
        waiting = next(member for member in system.of("sender") if member is not leader)
        await freeze_at(run, waiting, "relay.fetched", seconds=1.0)  # it does not lead
        await system.ready(waiting)

        system.kill(leader, again=False)
        for what in ("first", "second"):  # the second time would freeze it
            await say(system, waiting, what, [])
            await until(partial(arrived, system, "ledger", what), f"the {what} is published by whom we armed")
        assert not waiting.frozen


async def test_a_round_with_a_process_that_stays_frozen_says_so_and_fails(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def freeze_for_good(run: Run, rng: random.Random) -> None:
        frozen: Member = run.system.of("ledger")[1]
        run.system.signal(frozen, signal.SIGSTOP)

    outcome = await run_round(
        servers,
        "g",
        "frozen",
        kills=0,
        commands=20,
        rate=20.0,
        blows=[Blow("freeze for good", freeze_for_good, "", 0.0)],
        drills=False,
        rest_seconds=20,
    )
    (at_rest,) = [result for result in outcome.results if result["name"].startswith("I10")]
    assert at_rest["first"] == ["1 left in ledger-1: no status (ReadTimeout, its process is frozen)"]
    assert (
        "g waits for 15 s: 1 ledger-1: no status (ReadTimeout, its process is frozen)"
        in capsys.readouterr().out
    )
