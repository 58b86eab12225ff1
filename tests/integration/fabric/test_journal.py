"""The journal: what is told from where it stands, what Kafka knows of it, and what cannot be written."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from shared.database import connect
from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged
from shared.events.planner import TOPIC as PLANNER
from shared.messaging import journal, partitions, producers, relay
from shared.messaging.crashpoints import POINTS
from shared.messaging.topics import create_topics
from shared.service import outbox_day
from tests.integration.fabric.given import Ledger, first_appearances, status
from tests.integration.fabric.ticks import next_tick
from tests.running import at_rest, producing, until


async def send(client: httpx.AsyncClient, *patients: str) -> None:
    for patient in patients:
        assert (await client.post(f"/patients/{patient}/things", json={})).status_code == 200


async def ids_on(ledger: Ledger, topic: str = PLANNER) -> list[int]:
    """Places in the service's sequence, as they stand on the topic."""
    return sorted(int(dict(one.headers)["ce_sequence"]) for one in await ledger.topic(topic))


async def nothing_left(ledger: Ledger) -> bool:
    return await ledger.count("fabric.unpublished") == 0


@asynccontextmanager
async def admin_of(ledger: Ledger) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=ledger.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_rows_stay_in_the_journal_and_nothing_of_it_waits(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await send(client, "a", "b")
        await at_rest(client)
        assert await ledger.count("fabric.outbox") == 2
        assert (await status(client))["outbox"] == 0
        async with ledger.running(slot=1) as other:  # it reads how far the first one came
            await at_rest(other)
    assert await ids_on(ledger) == [1, 2]


async def test_what_commits_late_is_sent_late_and_an_open_transaction_stalls_nothing(ledger: Ledger) -> None:
    slow: asyncpg.Connection = await asyncpg.connect(ledger.database_url)
    put = "insert into fabric.outbox (topic, key, headers, payload) values ($1, $2, '{}', '{}')"
    async with ledger.running() as client:
        async with slow.transaction():
            await slow.execute(put, PLANNER, "slow")
            await send(client, "a", "b")
            await until(lambda: nothing_left(ledger), "the others are published")
            assert await ids_on(ledger) == [2, 3]
        await until(lambda: nothing_left(ledger), "the late one is published")
    await slow.close()
    assert await ids_on(ledger) == [1, 2, 3]


async def test_a_tick_that_kafka_forgot_is_sent_again_and_no_more(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await send(client, "a")
        await at_rest(client)
        await send(client, "b")
        await at_rest(client)
    # The note that all is sent did not get through, and Kafka's mark is lost with it.
    await ledger.sql("delete from fabric.ticks where done and no = 2")
    async with admin_of(ledger) as admin:
        await admin.delete_topics([ledger.prefix + relay.own_first("ledger")[0]])  # it carries the marks
        await asyncio.sleep(1)
    await create_topics(ledger.bootstrap, 4, prefix=ledger.prefix)
    async with ledger.running() as client:
        await until(lambda: nothing_left(ledger), "the tick is noted as sent")
    assert await ids_on(ledger) == [1, 2, 2]


async def test_what_kafka_has_of_a_tick_is_not_sent_again(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await send(client, "a")
        await at_rest(client)
    await ledger.sql("delete from fabric.ticks where done and no = 1")
    assert await ledger.count("fabric.unpublished") == 1
    async with ledger.running() as client:
        await until(lambda: nothing_left(ledger), "the tick is noted as sent")
        await send(client, "b")
        await at_rest(client)
    assert await ids_on(ledger) == [1, 2]


OLDER = "the database is older than what it published"


@pytest.mark.parametrize(
    ("restore", "words"),
    [
        ("delete from fabric.ticks where no = 2", OLDER),
        ("update fabric.ticks set system = system + 1", "another PostgreSQL cluster"),
    ],
    ids=["an older state", "another cluster"],
)
async def test_a_restored_database_publishes_nothing_and_says_so(
    ledger: Ledger, restore: str, words: str
) -> None:
    async with ledger.running() as client:
        await send(client, "a")
        await at_rest(client)
        await send(client, "b")
        await at_rest(client)
    await ledger.sql(restore)
    async with ledger.running(wait_ready=False) as client:

        async def missing() -> str:
            return "; ".join((await client.get("/ops/ready")).json()["missing"])

        async def said() -> bool:
            return words in await missing()

        await until(said, "it says what is wrong")
        assert "medsync recovered ledger" in await missing()
        await put(ledger, PLANNER, "c", 1)  # by a process that has not heard of it
        await asyncio.sleep(2)
        assert await ids_on(ledger) == [1, 2]

        assert (await client.post("/ops/recovered", json={})).is_success
        await until(lambda: nothing_left(ledger), "what was committed since leaves")
        assert await missing() == ""
    assert set(await ids_on(ledger)) == {1, 2, 3}


async def test_a_missing_topic_holds_its_own_events_alone_and_they_leave_once_it_is_there(
    ledger: Ledger,
) -> None:
    async with admin_of(ledger) as admin:
        await admin.delete_topics([ledger.prefix + CONTACTS_TOPIC])
    async with ledger.running(wait_ready=False) as client:
        await put(ledger, CONTACTS_TOPIC, "a", 1)
        await put(ledger, PLANNER, "a", 1)
        await put(ledger, CONTACTS_TOPIC, "a", 2)
        await put(ledger, PLANNER, "b", 1)

        async def left() -> bool:
            return len(await ids_on(ledger)) == 2

        await until(left, "the others are published")

        async def said() -> bool:
            missing = (await client.get("/ops/ready")).json()["missing"]
            return any(CONTACTS_TOPIC in words for words in missing)

        await until(said, "it is said which topic is not there")
        assert (await status_or_none(client)) in (None, 2)
        await create_topics(ledger.bootstrap, 4, prefix=ledger.prefix)
        await until(lambda: nothing_left(ledger), "all is published", seconds=90)
    assert await revisions(ledger, CONTACTS_TOPIC) == [1, 2]
    assert await ids_on(ledger) == [2, 4]


async def test_partitions_that_do_not_acknowledge_hold_their_own_events_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One broker has no such partitions: the batches for one topic are kept from it here."""
    monkeypatch.setattr(producers, "ANSWER_SECONDS", 1.0)
    send_to, silent = producers._send_to, [True]

    async def sends(producer: Any, place: tuple[str, int], *rest: Any) -> None:
        if silent[0] and place[0].endswith(CONTACTS_TOPIC):
            await asyncio.Event().wait()
        await send_to(producer, place, *rest)

    monkeypatch.setattr(producers, "_send_to", sends)
    async with ledger.running() as client:
        await put(ledger, CONTACTS_TOPIC, "a", 1)
        await put(ledger, PLANNER, "a", 1)
        await put(ledger, CONTACTS_TOPIC, "a", 2)
        await until(lambda: stands(ledger, [2]), "the others are published", seconds=60)
        missing = (await client.get("/ops/ready")).json()["missing"]
        assert [words for words in missing if "cannot be written" in words], missing
        assert await stalls(client) == 1
        await put(ledger, PLANNER, "b", 1)
        await until(lambda: stands(ledger, [2, 4]), "what comes later is published", seconds=60)
        silent[0] = False
        await until(lambda: nothing_left(ledger), "all is published", seconds=90)
        assert await stalls(client) == 0
    assert await revisions(ledger, CONTACTS_TOPIC) == [1, 2]


async def stalls(client: httpx.AsyncClient) -> float:
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return next(family.samples[0].value for family in families if family.name == "medsync_relay_stalled")


async def stands(ledger: Ledger, ids: list[int]) -> bool:
    return await ids_on(ledger) == ids


async def test_ids_that_the_broker_cannot_bring_to_an_end_are_left_for_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a partition of their transaction has lost its leader: the broker says for ever to try again."""
    monkeypatch.setattr(producers, "START_SECONDS", 2.0)
    fence = producers.Producers.fence

    async def stuck(self: producers.Producers) -> None:
        if self._both[0]._txn_manager.transactional_id.endswith("-0a"):
            await asyncio.Event().wait()
        await fence(self)

    monkeypatch.setattr(producers.Producers, "fence", stuck)
    async with ledger.running() as client:
        await send(client, "a")
        await at_rest(client)
    assert await ids_on(ledger) == [1]


async def status_or_none(client: httpx.AsyncClient) -> int | None:
    answer = await client.get("/ops/status")
    return int(answer.json()["outbox"]) if answer.is_success else None


async def put(ledger: Ledger, topic: str, patient: str, revision: int) -> None:
    await ledger.sql(
        """
        insert into fabric.outbox (topic, key, headers, payload)
        select $1, $2, '{"ce_type": "x"}', convert_to(format('{"revision": %s}', $3::int), 'utf8')
        """,
        topic,
        patient,
        revision,
    )


async def revisions(ledger: Ledger, topic: str) -> list[int]:
    records: list[Any] = await ledger.topic(topic)
    return [
        json.loads(one.value)["revision"] for one in sorted(records, key=lambda r: (r.partition, r.offset))
    ]


async def test_a_held_snapshot_and_a_long_journal_do_not_slow_a_relay(ledger: Ledger) -> None:
    """Side by side: ticks and windows behind 200,000 sent rows, with and without a snapshot that keeps them."""
    holder: asyncpg.Connection = await asyncpg.connect(ledger.database_url)
    db = await connect(ledger.database_url, name="test")
    await db.execute(journal.BY_INDEX)
    before = await fastest_of_windows(db)
    async with holder.transaction(isolation="repeatable_read"):
        await holder.execute("select pg_current_snapshot()")
        await fill(db, 200_000)
        tick, _ = await next_tick(db)
        await journal.finish_tick(db, tick)
        held = await fastest_of_windows(db)
    await db.close()
    await holder.close()
    assert held < 2 * before + 0.005, (before, held)


async def fill(db: asyncpg.Connection, rows: int) -> None:
    for start in range(0, rows, 10_000):
        await db.execute(
            """
            insert into fabric.outbox (topic, key, headers, payload)
            select 't', 'p' || n, '{}', '{}' from generate_series(1, $1::int) n
            """,
            min(rows - start, 10_000),
        )


async def fastest_of_windows(db: asyncpg.Connection) -> float:
    """Of twenty ticks of ten rows each: found, read, and noted as sent."""
    times = []
    for _ in range(20):
        await fill(db, 10)
        began = time.monotonic()
        tick, rows = await next_tick(db)
        assert len(rows) == 10
        await journal.finish_tick(db, tick)
        times.append(time.monotonic() - began)
    return min(times)  # the machine has other work


async def test_two_relays_share_the_work_and_keep_each_patients_order(ledger: Ledger) -> None:
    """The journal is divided once what was committed before is published, and undivided again."""
    patients = [f"p{n}" for n in range(12)]
    async with ledger.running() as client:
        await send(client, "before")
        await at_rest(client)
    async with ledger.running(relays=2) as client:
        for revision in range(1, 11):
            sent = [client.post(f"/patients/{p}/things", json={"revision": revision}) for p in patients]
            await asyncio.gather(*sent)
        await at_rest(client)
        machinery = client._transport.app.state.machinery  # type: ignore[attr-defined]
        shares = [each.published for each in machinery.relay.each]
        assert len(shares) == 2 and min(shares) > 0 and sum(shares) == 120, shares
    async with ledger.running(relays=1) as client:

        async def undivided() -> bool:
            return await ledger.count("fabric.relay_lease") == 1

        await until(undivided, "the journal is undivided", seconds=60)
        await send(client, "after")
        await at_rest(client)
    records = await ledger.topic(PLANNER)
    assert len(records) == 122
    for sequence in first_appearances(records).values():
        assert sequence == sorted(sequence)


async def add_day(ledger: Ledger, day: date) -> None:
    @asynccontextmanager
    async def connection() -> AsyncIterator[asyncpg.Connection]:
        db = await connect(ledger.database_url, name="test")
        yield db
        await db.close()

    await partitions.tend(connection, "outbox", "day", [outbox_day(day, 0)], oldest="")


async def test_days_are_made_ahead_though_rows_of_theirs_stand_in_the_default_partition(
    ledger: Ledger,
) -> None:
    await ledger.sql(
        """
        insert into fabric.outbox (topic, key, headers, payload, day)
        values ('t', 'k', '{}', '{}', current_date + 7), ('t', 'k', '{}', '{}', current_date + 8)
        """
    )
    db = await connect(ledger.database_url, name="test")
    day = await db.fetchval("select current_date + 7")
    there = set(await journal.days(db))
    await add_day(ledger, day)
    await add_day(ledger, day)  # again: nothing happens
    assert {*await journal.days(db)} == {*there, day}
    assert await db.fetchval("select count(*) from fabric.outbox_default") == 1
    assert await db.fetchval("select count(*) from fabric.outbox") == 2
    assert not await journal.drop_day(db, day), "a day with an unpublished row stays"
    tick, _ = await next_tick(db)
    await journal.finish_tick(db, tick)
    assert await journal.drop_day(db, day)
    assert {*await journal.days(db)} == there
    await db.close()


async def test_a_day_that_is_written_to_is_made_without_refusing_a_row(ledger: Ledger) -> None:
    db = await connect(ledger.database_url, name="test")
    today = await db.fetchval("select current_date")
    await db.execute(f"drop table fabric.outbox_{today:%Y%m%d}")
    enough = asyncio.Event()
    writing = [asyncio.create_task(write_until(enough, ledger)) for _ in range(3)]
    await asyncio.sleep(0.5)
    await add_day(ledger, today)
    enough.set()
    written = sum(await asyncio.gather(*writing))
    assert await db.fetchval("select count(*) from fabric.outbox") == written
    assert await db.fetchval(f"select count(*) from fabric.outbox_{today:%Y%m%d}") == written
    await db.close()


async def test_what_is_asked_for_is_sent_again_with_its_ids_behind_what_is_new_and_takes_no_effect_twice(
    ledger: Ledger,
) -> None:
    async with ledger.running() as client:
        await put_contacts(client, 1)
        await at_rest(client)
        before = {dict(one.headers)["ce_id"] for one in await ledger.topic(CONTACTS_TOPIC)}
        asked = {"since": "2020-01-01T00:00:00Z", "topic": CONTACTS_TOPIC, "for_group": "x"}
        number = (await client.post("/ops/replay", json=asked)).json()["replay"]

        async def done() -> bool:
            (item,) = (await client.get("/ops/replays")).json()["items"]
            assert item["id"] == number
            return bool(item["done"])

        await until(done, "the replay is over")
        await put_contacts(client, 2)
        await at_rest(client)
        assert (await client.post("/ops/replay", json=asked | {"topic": "t"})).status_code == 422
    records = await ledger.topic(CONTACTS_TOPIC)
    again = [dict(one.headers) for one in records if "ce_replayed" in dict(one.headers)]
    assert {headers["ce_id"] for headers in again} == before
    assert {headers["ce_for"] for headers in again} == {b"x"}
    times = Counter(dict(one.headers)["ce_id"] for one in records)
    assert {times[each] for each in before} == {2} and sorted(times.values()) == [1, 1, 2, 2]
    assert await ledger.effects_of("a") == [("contact", 1), ("contact", 2)]


async def put_contacts(client: httpx.AsyncClient, revision: int) -> None:
    for patient in ("a", "b"):
        event = ContactDetailsChanged(patient_id=patient, revision=revision, address="x")
        answer = await client.post(f"/patients/{patient}/contact", json=event.model_dump(mode="json"))
        assert answer.status_code == 200


async def test_a_replay_leaves_no_old_record_last_on_a_compacted_topic(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "REPLAY_WINDOW", 1)
    async with ledger.running() as client:
        for revision in (1, 2, 3):
            await put_contacts(client, revision)
        await at_rest(client)
        asked = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}
        await ledger.sql("insert into fabric.replays (since, asked_by) values ('2020-01-01', 'test')")
        assert (await client.post("/ops/replay", json=asked)).status_code == 200
        for revision in (4, 5):
            await put_contacts(client, revision)
            await asyncio.sleep(0.3)

        async def done() -> bool:
            return all(item["done"] for item in (await client.get("/ops/replays")).json()["items"])

        await until(done, "the replays are over")
    on_topic: dict[bytes, list[int]] = {}
    for one in sorted(await ledger.topic(CONTACTS_TOPIC), key=lambda r: (r.partition, r.offset)):
        on_topic.setdefault(one.key or b"", []).append(int(dict(one.headers)["ce_sequence"]))
    for sequence in on_topic.values():
        assert len(sequence) > 5 and sequence[-1] == max(sequence), sequence


RELAY_POINTS = [point for point in POINTS if point.startswith("relay.")]


@pytest.mark.parametrize("relays", [1, 2])
async def test_readers_of_committed_records_see_each_event_once_over_twenty_kills(
    ledger: Ledger, relays: int
) -> None:
    rng = random.Random(relays)
    enough = asyncio.Event()
    writing = asyncio.create_task(write_until(enough, ledger))
    how = {"module": "tests.relay_alone", "relay_lease_seconds": 0.5, "relays": relays}
    for kill in range(20):
        at = f"{RELAY_POINTS[kill % len(RELAY_POINTS)]}:{rng.randint(1, 6)}"
        async with ledger.process(crash_at=at, **how) as process:
            assert await process.ended(seconds=60) == -9, process.said()
    enough.set()
    written = await writing
    async with ledger.process(**how):
        await until(lambda: nothing_left(ledger), "all is published", seconds=60)
    records = await ledger.topic(PLANNER)
    assert Counter(await ids_on(ledger)) == Counter(range(1, written + 1))
    for sequence in first_appearances(records).values():
        assert sequence == sorted(sequence)


async def write_until(enough: asyncio.Event, ledger: Ledger) -> int:
    """A few rows every few milliseconds; answers how many there were."""
    db = await connect(ledger.database_url, name="test")
    written = 0
    while not enough.is_set():
        rows = [(PLANNER, f"p{n}", {"ce_type": "x"}, b"{}") for n in range(7)]
        await journal.append(db, rows)
        written += len(rows)
        await asyncio.sleep(0.02)
    await db.close()
    return written


async def test_the_broker_undoes_what_a_killed_relay_left_open_and_readers_go_on(ledger: Ledger) -> None:
    """Though nobody takes its place."""
    await put(ledger, PLANNER, "a", 1)
    alone = {"module": "tests.relay_alone"}
    async with ledger.process(crash_at="relay.sent:1", **alone) as process:
        assert await process.ended(seconds=60) == -9
    killed = time.monotonic()
    async with producing(ledger.bootstrap) as producer:
        for partition in range(4):
            await producer.send_and_wait(
                ledger.prefix + PLANNER, b"{}", partition=partition, headers=[("ce_sequence", b"99")]
            )

    async def read_on() -> bool:
        return await ids_on(ledger) == [99] * 4

    await until(read_on, "what came after it is read", seconds=40)
    print(f"readers waited {time.monotonic() - killed:.1f} s")
