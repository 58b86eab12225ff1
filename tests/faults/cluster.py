"""Three brokers, each of them also a controller: leaders move, one may be gone, and nothing may be lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.kafka import Kafka, brokers_alive
from deploy.local.ports import free_port
from tests.faults.faults import BROKER_AWAY, Run, random_kill
from tests.running import until

NODES = 3
NODE_SESSION_SECONDS = 3.0
LOOKS_SECONDS = 0.2
NOBODY = -1


class Node(Kafka):
    """One of several brokers. Whoever leads a partition by right gets it back within a second or so."""

    def __init__(self, directory: Path, number: int, nodes: Sequence[Node]) -> None:
        super().__init__(directory, free_port(), session_timeout=NODE_SESSION_SECONDS, say=lambda _: None)
        self.number, self._nodes = number, nodes

    def _settings(self) -> dict[str, object]:
        voters = ",".join(f"{node.number}@127.0.0.1:{node._controller_port}" for node in self._nodes)
        replicated = {
            name: NODES for name in super()._settings() if name.endswith("topic.replication.factor")
        }
        return (
            super()._settings()
            | replicated
            | {
                "node.id": self.number,
                "controller.quorum.voters": voters,
                "transaction.state.log.replication.factor": NODES,
                "min.insync.replicas": NODES - 1,
                "auto.leader.rebalance.enable": "true",
                "leader.imbalance.check.interval.seconds": 1,
                "leader.imbalance.per.broker.percentage": 0,
                "group.min.session.timeout.ms": 1000,
            }
        )

    def _answers(self) -> bool:
        return brokers_alive(self.port) == NODES


def three_brokers(directory: Path) -> Sequence[Node]:
    """The nodes of one cluster."""
    nodes: list[Node] = []
    nodes += [Node(directory / f"kafka-{number}", number, nodes) for number in range(1, NODES + 1)]
    return nodes


class Place(NamedTuple):
    """A partition: who leads it, who holds it in the order of their right to lead, and who is in sync."""

    leader: int
    replicas: tuple[int, ...]
    in_sync: frozenset[int]


async def places(bootstrap: str) -> dict[tuple[str, int], Place]:
    """Every partition of every topic; none while the cluster does not answer."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await admin.start()
        return {
            (topic["topic"], one["partition"]): Place(
                one["leader"], tuple(one["replicas"]), frozenset(one["isr"])
            )
            for topic in await admin.describe_topics()
            for one in topic["partitions"]
        }
    except BROKER_AWAY:
        return {}
    finally:
        await admin.close()


async def whole(bootstrap: str) -> None:
    """Until every replica is in sync, and led by whom it is to be led."""
    await _until_all(
        bootstrap,
        lambda place: len(place.in_sync) == NODES and place.leader == place.replicas[0],
        "the cluster is whole",
    )


async def _until_all(bootstrap: str, right: Callable[[Place], bool], what: str) -> None:
    async def all_right() -> bool:
        await asyncio.sleep(LOOKS_SECONDS)
        found = await places(bootstrap)
        return bool(found) and all(right(place) for place in found.values())

    await until(all_right, what, seconds=90)


# ---- what is done to it -----------------------------------------------------------------------------------------

MOVED = "partitions whose leader moved to another broker, and back"


async def each_in_turn(run: Run, rng: random.Random) -> None:
    """SIGKILL to one broker after another; the next once the last one leads again what it is to lead."""
    for node in run.system.servers.brokers:
        await _lose(run, node, node.kill)


async def one_lost(run: Run, rng: random.Random) -> None:
    """SIGKILL to a broker; it comes back at once."""
    node = rng.choice(run.system.servers.brokers)
    await _lose(run, node, node.kill)


async def one_gone_for_a_while(run: Run, rng: random.Random) -> None:
    """A broker is gone, and processes of the services die meanwhile."""

    async def meanwhile() -> None:
        for _ in range(10):
            await asyncio.sleep(rng.uniform(0.5, 1.5))
            await random_kill(run, rng)

    node = rng.choice(run.system.servers.brokers)
    await _lose(run, node, node.kill, meanwhile())
    run.met["one of three brokers gone for ten seconds and more"] += 1


async def stopped_in_order(run: Run, rng: random.Random) -> None:
    """SIGTERM to a broker: it hands its partitions over before it goes."""
    node = rng.choice(run.system.servers.brokers)
    await _lose(run, node, node.stop)
    run.met["one of three brokers stopped in order"] += 1


async def _lose(
    run: Run, node: Kafka, end: Callable[[], None], meanwhile: Awaitable[None] | None = None
) -> None:
    """End a broker, wait until others lead what it led; start it again, wait until it has that back."""
    servers = run.system.servers
    number = servers.brokers.index(node) + 1
    led = sum(place.leader == number for place in (await places(servers.bootstrap)).values())
    await asyncio.to_thread(end)
    await _until_all(
        servers.bootstrap, lambda place: place.leader not in (number, NOBODY), "others lead in its place"
    )
    run.met[MOVED] += led
    if meanwhile:
        await meanwhile
    await asyncio.to_thread(node.start)
    await whole(servers.bootstrap)
    run.met["broker killed and started"] += end == node.kill
