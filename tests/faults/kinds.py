"""Rounds of a kind of their own: on servers of another make, with faults that only these can meet."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults import cluster, machine
from tests.faults.faults import Fault
from tests.faults.round import Outcome, run_round
from tests.faults.schedule import Blow
from tests.faults.servers import Servers
from tests.faults.system import seeded

RATE = 10.0


@dataclass(frozen=True)
class Kind:
    """A round on servers of its own. `needs`: what must have been met, each at least so often."""

    name: str
    servers: Callable[[Path, random.Random], Servers]
    faults: Sequence[Fault]
    needs: dict[str, int]
    commands: int = 200


def _on_three_brokers(directory: Path, rng: random.Random) -> Servers:
    return Servers(directory, rng, brokers=cluster.three_brokers(directory))


def _on_a_machine_whose_time_is_set(directory: Path, rng: random.Random) -> Servers:
    return Servers(directory, rng, environment=machine.environment(directory))


THREE_BROKERS = Kind(
    "three-brokers",
    _on_three_brokers,
    (cluster.each_in_turn, cluster.one_gone_for_a_while, cluster.stopped_in_order),
    {cluster.MOVED: 10},
)
MACHINE_TIME = Kind("machine-time", _on_a_machine_whose_time_is_set, machine.JUMPS, machine.NEEDS)
KINDS = (THREE_BROKERS, MACHINE_TIME) if machine.MOVABLE else (THREE_BROKERS,)


async def run_kind(kind: Kind, seed: str) -> Outcome:
    """Start its servers, run it and judge it."""
    with tempfile.TemporaryDirectory(prefix=f"medsync-{kind.name}-") as directory, machine.swept():
        async with kind.servers(Path(directory), seeded(seed, "proxies")) as servers:
            return await run_round(
                servers,
                kind.name[0],
                seed,
                kills=0,
                commands=kind.commands,
                rate=RATE,
                blows=[
                    Blow(kind.name, fault, f"{seed}/{number}", 0.5)
                    for number, fault in enumerate(kind.faults)
                ],
                drills=False,
            )


def unmet(kind: Kind, outcome: Outcome) -> list[str]:
    """What it was to meet and did not, or not often enough."""
    return [what for what, times in kind.needs.items() if outcome.met.get(what, 0) < times]
