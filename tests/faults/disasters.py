"""Every disaster: what befalls the installation, and the cure as `docs/how-to/recover.md` has it.

python -m tests.faults.disasters [NAME …]
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from cli.proof.result import Result
from deploy.local.sql import on_server
from shared.database import connect
from shared.messaging import journal
from shared.messaging.crashpoints import POINTS
from shared.messaging.topics import STAMPED, create_topics
from tests.faults import cluster
from tests.faults.aftermath import Claims, newest_is_last
from tests.faults.chain import CHAIN, LEDGER_TOPIC, SENDER_TOPIC
from tests.faults.collect import _published
from tests.faults.faults import OUTAGES
from tests.faults.history import Published
from tests.faults.round import Outcome, outbox_of
from tests.faults.scene import AWHILE, Disaster, Scene, run_disaster
from tests.faults.servers import Servers
from tests.faults.standby import Standby, at
from tests.faults.system import LEASE_SECONDS, PARTITIONS, Member
from tests.running import everything_on, producing, until

# ---- zombies ----------------------------------------------------------------------------------------------------

BEYOND = 13.0
"""Seconds: longer than a lease, and than the broker waits for the end of a transaction."""


async def freeze_with_rows_in_hand(scene: Scene) -> None:
    """The leader stops between reading and sending; another sends what it read, and what came after; it wakes up."""
    for service in ("ledger", "sender"):
        await _freeze(scene, service, "relay.fetched", LEASE_SECONDS * 3)


async def freeze_at_every_point(scene: Scene) -> None:
    """At each point of the relay, and anywhere, for longer than the broker waits for a transaction."""
    for point in (point for point in POINTS if point.startswith("relay.")):
        await _freeze(scene, "sender", point, BEYOND)
    for service in ("sender", "ledger"):
        await _freeze_anywhere(scene, service, BEYOND)


async def _freeze(scene: Scene, service: str, point: str, seconds: float) -> None:
    """Whoever leads next stops there, with several rows of a patient behind it, and wakes up after so long."""
    members = scene.system.of(service)
    for member in members:
        scene.system.kill(member, crash_at=f"{point}:3:stop")
    frozen: list[Member] = []

    async def one_is() -> bool:
        frozen.extend(m for m in members if m.frozen)
        return bool(frozen)

    await until(one_is, f"a relay of {service} stands at {point}")
    for other in members:
        if other is not frozen[0]:
            scene.system.kill(other)
            other.point = ""
    await scene.more("reader", "counted" if service == "sender" else "applied", AWHILE)
    await asyncio.sleep(seconds)
    scene.system.signal(frozen[0], signal.SIGCONT)
    frozen[0].point = ""
    scene.run.met[f"frozen at {point} of {service}, then woken"] += 1
    await scene.more("reader", "counted", AWHILE)


async def _freeze_anywhere(scene: Scene, service: str, seconds: float) -> None:
    leader = await until(lambda: scene.system.leader(service), f"{service} has a relay")
    await asyncio.sleep(scene.rng.uniform(0, 0.5))
    scene.system.signal(leader, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    scene.system.signal(leader, signal.SIGCONT)
    scene.run.met[f"a relay of {service} frozen anywhere, then woken"] += 1
    await scene.more("reader", "counted", AWHILE)


async def compact(scene: Scene) -> None:
    """Have the broker's cleaner run over the topics, and judge what is left: of each key its newest record."""
    admin = await scene.admin()
    before: dict[str, int] = {}
    for topic in (SENDER_TOPIC, LEDGER_TOPIC):
        name = scene.system.prefix + topic
        before[topic] = len(await everything_on(scene.servers.bootstrap, name))
        soon = {
            "cleanup.policy": "compact",
            "segment.ms": "200",
            "min.cleanable.dirty.ratio": "0.0001",
            "max.compaction.lag.ms": "200",
            "min.compaction.lag.ms": "0",
        }
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, soon | STAMPED)])
    left: dict[str, list[Published]] = {}
    newest = {
        topic: await _newest(scene, service)
        for service, topic in (("sender", SENDER_TOPIC), ("ledger", LEDGER_TOPIC))
    }

    async def compacted() -> bool:
        await asyncio.sleep(1)
        for topic in before:
            await _roll(scene, topic)
            found = await everything_on(scene.servers.bootstrap, scene.system.prefix + topic)
            left[topic] = [_published(one) for one in found if one.key not in (b"x-roll", None)]
        return all(len(left[topic]) < before[topic] / 2 for topic in before)

    with suppress(AssertionError):
        await until(compacted, "the cleaner has been there", seconds=60)
        scene.run.met["topics compacted"] += 2
    for topic, records in left.items():
        last = {record.key: record.sequence for record in records}
        scene.results.append(newest_is_last(records))
        found = [
            f"{topic}: after compaction the last record of {key} is number {last.get(key)}, not {sequence}"
            for key, sequence in newest[topic].items()
            if last.get(key) != sequence
        ]
        scene.results.append(
            Result("I15 compaction leaves the newest record of each key", len(last), tuple(found))
        )


async def _newest(scene: Scene, service: str) -> dict[str, int]:
    rows = await scene.system.sql(service, "select key, max(id) as id from proof.outbox_copy group by key")
    return {row["key"]: row["id"] for row in rows}


async def _roll(scene: Scene, topic: str) -> None:
    """A segment is closed by the record after it."""
    async with producing(scene.servers.bootstrap) as producer:
        for partition in range(PARTITIONS):
            await producer.send(
                scene.system.prefix + topic,
                key=b"x-roll",
                value=b"{}",
                partition=partition,
                headers=[
                    ("ce_id", str(uuid4()).encode()),
                    ("ce_type", b"medsync.sender.counted.v1"),
                    ("ce_source", b"medsync/sender"),
                ],
            )


# ---- databases set back -----------------------------------------------------------------------------------------


BACKED_UP, RESTORED = "Before anything happens: a backup", "A database was restored"


async def restore_from_dump(scene: Scene, *, service: str) -> None:
    """A dump taken under load; more happens; then the dump is all that is left."""
    names = {"DATABASE": scene.system._database(service), "BACKUP": f"{service}.dump"}
    await scene.follow(BACKED_UP, 0, **names)
    await scene.more("reader", "applied", 2 * AWHILE)
    scene.load.pause()
    await scene.down(service)
    before = await scene.knowledge(service)
    await scene.follow(RESTORED, 0, **names)
    scene.forgot(before, await scene.knowledge(service))
    await scene.up(service)
    if service == "reader":
        scene.load.go_on()


async def recover(scene: Scene, *, service: str) -> None:
    """Who publishes says that it is older than what it published, and stands still until it is told."""
    await scene.is_said(service, rf"medsync recovered {service}")
    answer = await scene.follow(RESTORED, 1, SERVICE=service)
    scene.load.go_on()
    await _lost_are_listed(scene, service, answer)
    await scene.goes_on("reader", "applied", AWHILE, f"{service} recovered")


async def recover_all(scene: Scene) -> None:
    for service in ("sender", "ledger"):
        await scene.is_said(service, rf"medsync recovered {service}")
    answer = await scene.follow("PostgreSQL failed over", SERVICES="sender ledger")
    scene.load.go_on()
    for service in ("sender", "ledger"):
        await _lost_are_listed(scene, service, answer)
    await scene.goes_on("reader", "applied", AWHILE, "all recovered")


async def _lost_are_listed(scene: Scene, service: str, answer: str) -> None:
    """Its answer names how many events of its own it knows no longer."""
    topic = {"sender": SENDER_TOPIC, "ledger": LEDGER_TOPIC}[service]
    found = await everything_on(scene.servers.bootstrap, scene.system.prefix + topic)
    lost = len({dict(one.headers)["ce_id"].decode() for one in found} & scene.lost.events)
    scene.sayings.looked_for += 1
    if lost and not re.search(rf"\b{lost}\b", answer.replace(",", "")):
        scene.sayings.missing.append(f"{service} does not say that {lost} of its events were lost")


async def fail_over_without_the_last_commits(scene: Scene) -> None:
    """The standby followed no longer when the first server was lost."""
    standby = await _standby(scene)
    await asyncio.to_thread(standby.cut_off)
    await scene.more("reader", "applied", 2 * AWHILE)
    scene.load.pause()
    first = scene.servers.postgres
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(standby.lead)
    await _knew(scene, first, standby)


async def fail_over_to_a_synchronous_standby(scene: Scene) -> None:
    """Commits wait for a standby that does not answer; the first server is lost; the standby leads."""
    standby = await _standby(scene)
    await asyncio.to_thread(on_server, scene.servers.admin_url, _synchronous)
    await scene.more("reader", "applied", AWHILE)
    await asyncio.to_thread(standby.kill)
    answered = len(scene.load.answered)
    await asyncio.sleep(35)
    scene.run.met["commands answered while no standby took commits"] += len(scene.load.answered) - answered
    first = scene.servers.postgres
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(standby.start)
    await asyncio.to_thread(standby.lead)
    await _go_over_to(scene, standby)
    await scene.goes_on("reader", "applied", AWHILE, "failed over")


async def _synchronous(db: asyncpg.Connection) -> None:
    await db.execute("alter system set synchronous_standby_names = '*'")
    await db.execute("select pg_reload_conf()")

    async def at_one() -> bool:
        return bool(
            await db.fetchval(
                "select exists (select from pg_stat_replication where sync_state in ('sync', 'quorum'))"
            )
        )

    await until(at_one, "the standby is synchronous")


async def _standby(scene: Scene) -> Standby:
    standby = Standby(scene.servers)
    scene.undo.push_async_callback(asyncio.to_thread, standby.stop)
    await asyncio.to_thread(standby.start)
    return standby


async def _go_over_to(scene: Scene, standby: Standby) -> None:
    """What a virtual address does: the only one that the services know leads to the other server now."""
    scene.servers.postgres = standby
    scene.servers.to_postgres.target = standby.port
    scene.servers.to_postgres.reset()
    scene.system.address_databases()


async def _knew(scene: Scene, first: Any, standby: Standby) -> None:
    """What the lost server knew, read by starting it for a moment where nobody finds it; then go over."""
    await asyncio.to_thread(first.start)
    before = {service: await scene.knowledge(service) for service in CHAIN}
    await asyncio.to_thread(first.kill)
    scene.servers.postgres = standby
    scene.system.address_databases()
    for service in CHAIN:
        scene.forgot(before[service], await scene.knowledge(service))
    await _go_over_to(scene, standby)


# ---- the broker -------------------------------------------------------------------------------------------------


async def lose_the_brokers_disk(scene: Scene) -> None:
    """All topics are gone, with what the ledger had not read; the broker comes back empty, its topics are made anew."""
    await scene.down("ledger")
    await scene.more("reader", "counted", AWHILE)
    kafka = scene.servers.kafka
    await asyncio.to_thread(kafka.kill)
    shutil.rmtree(kafka._directory / "data")
    await asyncio.to_thread(kafka.start)
    await _make_topics(scene)
    await scene.up("ledger")


async def retention_passes(scene: Scene) -> None:
    """The ledger was away for longer than the topic keeps its records."""
    await scene.down("ledger")
    await scene.more("reader", "counted", AWHILE)
    admin = await scene.admin()
    name = scene.system.prefix + SENDER_TOPIC
    ends = await _ends(scene, name)
    await admin.delete_records({place: RecordsToDelete(end) for place, end in ends.items()})
    await scene.more("reader", "counted", AWHILE)
    await scene.up("ledger")


async def topic_made_anew(scene: Scene) -> None:
    """The sender's topic is deleted and created again while the ledger is away, and grows beyond where it was."""
    await scene.down("ledger")
    await scene.more("reader", "counted", AWHILE)
    admin = await scene.admin()
    await admin.delete_topics([scene.system.prefix + SENDER_TOPIC])
    await asyncio.sleep(2)
    await _make_topics(scene)
    await asyncio.sleep(10)
    await scene.up("ledger")


async def _make_topics(scene: Scene) -> None:
    async def made() -> bool:
        await asyncio.sleep(0.5)
        with suppress(KafkaError, OSError):
            await scene.system.create_topics()
            return True
        return False

    await until(made, "the topics are there again")


async def _ends(scene: Scene, name: str) -> dict[TopicPartition, int]:
    found = await everything_on(scene.servers.bootstrap, name)
    ends: dict[TopicPartition, int] = {}
    for one in found:
        ends[TopicPartition(name, one.partition)] = one.offset + 1
    return ends


READS = {"sender": (LEDGER_TOPIC,), "ledger": (SENDER_TOPIC,), "reader": (SENDER_TOPIC, LEDGER_TOPIC)}
OWNERS = {SENDER_TOPIC: "sender", LEDGER_TOPIC: "ledger"}


async def close_the_gap(scene: Scene, *, readers: Sequence[str]) -> None:
    """They say which events are missing; the owner sends them again from its journal; they go on."""
    for service in readers:
        await scene.is_said(service, SENDER_TOPIC)
    for service in readers:
        await scene.follow("Events are missing from a topic", **_gap(scene, service, SENDER_TOPIC))


async def close_every_gap(scene: Scene) -> None:
    """As for one, for every topic and everyone who reads it."""
    for service, topics in READS.items():
        for topic in topics:
            await scene.is_said(service, topic)
    for service, topics in READS.items():
        for topic in topics:
            await scene.follow("Kafka lost its disk", 1, **_gap(scene, service, topic))


def _gap(scene: Scene, service: str, topic: str) -> dict[str, str]:
    return {
        "SERVICE": service,
        "TOPIC": topic,
        "OWNER": OWNERS[topic],
        "SINCE": f"{scene.began.astimezone():%Y-%m-%dT%H:%M:%S}",
    }


async def add_partitions(scene: Scene) -> None:
    """Somebody adds two partitions under load: keys move."""
    admin = await scene.admin()
    await admin.create_partitions({scene.system.prefix + SENDER_TOPIC: NewPartitions(PARTITIONS + 2)})
    scene.run.met["partitions added"] += 2


async def accept_the_partitions(scene: Scene) -> None:
    """It is said by everyone who reads the topic, and accepted."""
    for service in ("ledger", "reader"):
        await scene.is_said(service, r"partitions")
    for service in ("ledger", "reader"):
        await scene.follow("Partitions were added to a topic", **_gap(scene, service, SENDER_TOPIC))


# ---- a partition without a leader -------------------------------------------------------------------------------

ALONE = 3
"""The broker that alone has partition 0 of the sender's topic."""


async def one_partition_on_one_broker(servers: Servers, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.bootstrap)
    await admin.start()
    try:
        places = {0: [ALONE]} | {partition: [1 + partition % 2] for partition in range(1, PARTITIONS)}
        one = NewTopic(prefix + SENDER_TOPIC, -1, -1, places, {"min.insync.replicas": "1"} | STAMPED)
        made = (await admin.create_topics([one])).topic_errors
        assert not any(code for _, code, *_ in made), made
    finally:
        await admin.close()


async def lose_a_partitions_leader(scene: Scene) -> None:
    """The only broker that has one partition is away for long; all other partitions go on."""
    node = scene.servers.brokers[ALONE - 1]
    await asyncio.to_thread(node.kill)
    place = scene.system.prefix + SENDER_TOPIC, 0

    async def nobody_leads() -> bool:
        found = await cluster.places(scene.servers.bootstrap)
        return bool(found) and found[place].leader == cluster.NOBODY

    await until(nobody_leads, "partition 0 has no leader")
    await asyncio.sleep(8)
    for _ in range(3):
        await scene.goes_on("reader", "counted", AWHILE, "a partition has no leader")
    await scene.is_said("sender", rf"{SENDER_TOPIC}.*0|partition 0.*{SENDER_TOPIC}")
    await asyncio.to_thread(node.start)


# ---- a snapshot that is held ------------------------------------------------------------------------------------

ROWS, CHUNK = 40_000, 8_000


async def hold_a_snapshot(scene: Scene) -> None:
    """Somebody's transaction stays open while rows pass through the outbox: the last cost no more than the first."""
    db = await asyncpg.connect(scene.system.urls["sender"], timeout=5)
    try:
        await db.execute("begin isolation level repeatable read")
        await db.fetchval("select count(*) from effects")
        scene.load.pause()
        passed = [await _pass_through(scene, number) for number in range(ROWS // CHUNK)]
    finally:
        await db.close()
        scene.load.go_on()
    scene.run.met["rows that passed while a snapshot was held"] += ROWS
    scene.sayings.measured += 1
    scene.sayings.heard.append(
        f"for {CHUNK} rows each: {[round(seconds, 1) for seconds, _ in passed]} s, "
        f"{[round(read / CHUNK) for _, read in passed]} rows of the outbox read for each"
    )
    first, last = passed[0][1], passed[-1][1]
    if last > 3 * first:
        scene.sayings.too_slow.append(
            f"{CHUNK} rows were read from {first}, and from {last} behind {ROWS - CHUNK} that were published"
        )


async def _read_of_outbox(db: asyncpg.Connection) -> int:
    """Rows and index entries of the outbox looked at so far: a measure that no load of the machine changes."""
    return int(
        await db.fetchval(
            """
            select (select sum(seq_tup_read) from pg_stat_user_tables where relname like 'outbox%')
                 + (select sum(idx_tup_read) from pg_stat_user_indexes where relname like 'outbox%')
            """
        )
    )


NOISE = "medsync.noise.v1"
"""A topic that nobody reads."""


async def _pass_through(scene: Scene, turn: int) -> tuple[float, int]:
    """Seconds from so many rows in the outbox to none, and what was looked at for it."""
    if not turn:
        await create_topics(scene.servers.bootstrap, PARTITIONS, prefix=scene.system.prefix, topics=(NOISE,))
    db = await connect(scene.system.urls["sender"], name="noise")
    try:
        rows = [(NOISE, f"n-{n % 997}", {"ce_type": NOISE}, b"{}") for n in range(CHUNK)]
        await journal.append(db, rows)
        began, read = time.monotonic(), await _read_of_outbox(db)

        async def published() -> bool:
            await asyncio.sleep(0.3)
            return not await outbox_of(scene.system, "sender")

        await until(published, "the rows are published", seconds=120)
        seconds = time.monotonic() - began
        await db.execute("delete from proof.outbox_copy where topic = $1", NOISE)
        await asyncio.sleep(2)  # processes tell their statistics once a second
        return seconds, await _read_of_outbox(db) - read
    finally:
        await db.close()


# ---- a statement that kills its backend -------------------------------------------------------------------------

DEADLY = "hot-1"
PARKED_SECONDS = 90.0


async def a_statement_kills_its_backend(scene: Scene) -> None:
    """One patient's events end the server process that writes them down; everybody else's go on."""
    database = scene.system._database("ledger")
    await asyncio.to_thread(on_server, at(scene.servers.admin_url, database), _arm)
    scene.sayings.looked_for += 1
    began = time.monotonic()

    async def parked() -> bool:
        await asyncio.sleep(0.5)
        with suppress(*OUTAGES):
            who = "select from fabric.parked where key = $1"
            return bool(await scene.system.sql("ledger", who, f"patient:{DEADLY}"))
        return False

    try:
        await until(parked, f"{DEADLY} is parked", seconds=PARKED_SECONDS)
        scene.sayings.heard.append(f"{DEADLY} was parked after {time.monotonic() - began:.0f} s")
    except AssertionError as in_vain:
        scene.sayings.missing.append(str(in_vain))
    await scene.goes_on("reader", "applied", AWHILE, "a statement kills its backend")
    await until(partial(_disarmed, at(scene.servers.admin_url, database)), "the statement kills no more")


async def _disarmed(url: str) -> bool:
    await asyncio.sleep(0.2)
    with suppress(*OUTAGES):
        await asyncio.to_thread(
            on_server, url, lambda db: db.execute("drop trigger if exists kill on effects")
        )
        return True
    return False


async def _arm(db: asyncpg.Connection) -> None:
    """As its owner the function may do what ends a server process as a fault in an extension would."""
    await db.execute(
        f"""
        create function proof.kill() returns trigger language plpgsql security definer as $$
        begin
            if exists (select from added where patient_id = '{DEADLY}') then
                execute format('copy (select 1) to program %L', 'kill -9 ' || pg_backend_pid());
            end if;
            return null;
        end $$;
        create trigger kill after insert on effects referencing new table as added
        for each statement execute function proof.kill()
        """
    )


# ---- all of them ------------------------------------------------------------------------------------------------


def _three_brokers(directory: Path, rng: random.Random) -> Servers:
    return Servers(directory, rng, brokers=cluster.three_brokers(directory))


AGAIN = Claims(ordered=False)
"""What is sent again comes after what was sent since: readers compare revisions."""

DISASTERS = (
    Disaster("zombie", freeze_with_rows_in_hand, claims=Claims(once=True), after=compact),
    Disaster("frozen-relay", freeze_at_every_point, claims=Claims(once=True)),
    Disaster("restored-reader", partial(restore_from_dump, service="reader")),
    Disaster(
        "restored-ledger",
        partial(restore_from_dump, service="ledger"),
        partial(recover, service="ledger"),
    ),
    Disaster(
        "restored-sender",
        partial(restore_from_dump, service="sender"),
        partial(recover, service="sender"),
    ),
    Disaster(
        "failover",
        fail_over_without_the_last_commits,
        recover_all,
    ),
    Disaster("failover-synchronous", fail_over_to_a_synchronous_standby),
    Disaster("broker-lost", lose_the_brokers_disk, close_every_gap, AGAIN),
    Disaster("retention", retention_passes, partial(close_the_gap, readers=("ledger",)), AGAIN),
    Disaster("topic-anew", topic_made_anew, partial(close_the_gap, readers=("ledger", "reader")), AGAIN),
    Disaster("partitions", add_partitions, accept_the_partitions, Claims(once=True)),
    Disaster(
        "leaderless",
        lose_a_partitions_leader,
        claims=Claims(once=True),
        servers=_three_brokers,
        prepare=one_partition_on_one_broker,
    ),
    Disaster("held-snapshot", hold_a_snapshot),
    Disaster("deadly-statement", a_statement_kills_its_backend),
)
BY_NAME = {disaster.name: disaster for disaster in DISASTERS}


def told(name: str, outcome: Outcome) -> str:
    """What became of it, for a reader: what did not hold first."""
    lines = [f"## {name}: {outcome.events:,} events, {outcome.seconds:.0f} s", ""]
    for result in outcome.results:
        if result["violations"]:
            lines.append(f"- **{result['name']}**: {result['violations']} of {result['looked_at']:,}")
            lines += [f"    - {first}" for first in result["first"]]
    held = [result["name"].partition(" ")[0] for result in outcome.results if not result["violations"]]
    lines.append(f"- held: {', '.join(held)}")
    lines += [f"- heard: {one[:500]}" for one in outcome.heard]
    lines += [f"- logged: {one}" for one in outcome.unexpected[:3]]
    lines.append(f"- met: { {what: n for what, n in outcome.met.items() if n} }")
    return "\n".join(lines) + "\n"


async def main(names: Sequence[str]) -> int:
    wrong = 0
    for name in names or BY_NAME:
        outcome = await run_disaster(BY_NAME[name], f"1/{name}")
        print(told(name, outcome), flush=True)
        wrong += not outcome.holds
    return wrong


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1:])))
