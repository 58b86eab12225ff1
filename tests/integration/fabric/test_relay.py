"""What is in the outbox leaves: in order, once or more, by one relay at a time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.broker import asking
from shared.database import connect
from shared.events import Event, owner_of
from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged
from shared.events.outreach import Channel, ContactOptedOut
from shared.events.planner import TOPIC as PLANNER
from shared.events.planner import PlanBlocked
from shared.messaging import Unit, journal, relay, sizes, unit
from shared.messaging.journal import Most
from tests.integration.fabric.given import (
    Ledger,
    LedgerProcess,
    changed,
    disenrolled,
    first_appearances,
    status,
)
from tests.integration.fabric.ticks import ask, next_tick
from tests.ledger import app as ledger_app
from tests.running import at_rest, until

PATIENTS = [f"p{n}" for n in range(20)]


async def commands(client: httpx.AsyncClient, revisions: range) -> None:
    """A command of each patient per revision; each publishes one event."""
    for revision in revisions:
        answers = await asyncio.gather(
            *(client.post(f"/patients/{patient}/things", json={"revision": revision}) for patient in PATIENTS)
        )
        assert {answer.status_code for answer in answers} == {200}


async def published(ledger: Ledger) -> dict[str, list[int]]:
    """The revisions of each patient as they stand on the topic, each event where it first appears."""
    records = await ledger.topic(PLANNER)
    for sequence in first_appearances(records).values():
        assert sequence == sorted(sequence)
    found: dict[str, dict[str, int]] = {}
    for one in sorted(records, key=lambda r: (r.partition, r.offset)):
        body = json.loads(one.value or b"")
        found.setdefault(body["patient_id"], {})[str(dict(one.headers)["ce_id"])] = body["revision"]
    return {patient: list(by_id.values()) for patient, by_id in found.items()}


async def test_a_leader_that_dies_is_followed_by_another_and_order_is_kept(ledger: Ledger) -> None:
    async with ledger.process(crash_at="relay.sent:3", slot=1) as leader:
        await leader.ready()
        async with ledger.running() as client:
            load = asyncio.create_task(commands(client, range(1, 31)))
            assert await leader.ended() == -9
            await load
            await at_rest(client)
            assert (await status(client))["leads_relay"]
    assert await published(ledger) == {key: [*range(1, 31)] for key in PATIENTS}


async def test_a_leader_frozen_beyond_its_lease_sends_nothing_when_it_wakes(ledger: Ledger) -> None:
    async with ledger.process(crash_at="relay.sent:1:stop", slot=1) as late:
        await late.ready()
        await put_revision(ledger, 1)
        await late.frozen()
        async with ledger.running() as client:
            await at_rest(client)
            assert await published(ledger) == {"p0": [1]}
            late.wake()
            await until(lambda: deposed(late), "the late relay notices")
            await at_rest(late.client)
    assert len(await ledger.topic(PLANNER)) == 1


async def put_revision(ledger: Ledger, revision: int, topic: str = PLANNER) -> None:
    """A row of patient p0 in the outbox."""
    await ledger.sql(
        """
        insert into fabric.outbox (topic, key, headers, payload)
        select $1, 'p0', '{"ce_type": "x"}', convert_to(format('{"patient_id": "p0", "revision": %s}', $2::int), 'utf8')
        """,
        topic,
        revision,
    )


async def deposed(process: LedgerProcess) -> bool:
    return "relay.deposed" in process.said()


async def test_a_relay_that_was_replaced_leaves_no_old_record_last_on_a_compacted_topic(
    ledger: Ledger,
) -> None:
    async with ledger.process(crash_at="relay.fetched:1:stop", slot=1) as late:
        await late.ready()
        await put_revision(ledger, 1, CONTACTS_TOPIC)
        await late.frozen()
        async with ledger.running() as client:
            await put_revision(ledger, 2, CONTACTS_TOPIC)
            await until(lambda: nothing_left(ledger), "both are published")
            late.wake()
            await until(lambda: deposed(late), "the late relay notices")
            await asyncio.sleep(1)
            assert not (await client.get("/ops/deadletters")).json()["held"]
    revisions = [json.loads(one.value or b"")["revision"] for one in await ledger.topic(CONTACTS_TOPIC)]
    assert revisions == [1, 2]


@pytest.mark.parametrize("point", ["relay.ticked", "relay.fetched", "relay.sent", "relay.committed"])
async def test_a_leader_frozen_under_load_disturbs_no_order_when_it_wakes(ledger: Ledger, point: str) -> None:
    async with ledger.process(crash_at=f"{point}:3:stop", slot=1) as late:
        await late.ready()
        async with ledger.running() as client:
            load = asyncio.create_task(commands(client, range(1, 31)))
            await late.frozen()

            async def taken_over() -> bool:
                return bool((await status(client))["leads_relay"])

            await until(taken_over, "the other relay leads")
            late.wake()
            await load
            await at_rest(client)
    assert await published(ledger) == {key: [*range(1, 31)] for key in PATIENTS}


async def test_a_commit_in_one_process_wakes_the_relay_in_another(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "POLL_SECONDS", 60.0)
    async with ledger.running(relay_lease_seconds=180.0) as leader:

        async def leads() -> bool:
            return bool((await status(leader))["leads_relay"])

        await until(leads, "this process leads")
        async with ledger.process(slot=1) as other:
            await other.ready()
            began = time.monotonic()
            await other.client.post("/patients/p/things", json={})

            async def empty() -> bool:
                return await ledger.count("fabric.unpublished") == 0

            await until(empty, "the outbox is empty", seconds=5)
            assert time.monotonic() - began < 5
            assert (await status(leader))["published"] == 1


def large(patient: str, revision: int, kilobytes: int) -> dict[str, Any]:
    event = ContactDetailsChanged(patient_id=patient, revision=revision, address="x" * kilobytes * 1000)
    return event.model_dump(mode="json")


async def send_contacts(client: httpx.AsyncClient) -> None:
    """A patient whose second event is too large, among others."""
    for patient, revision, kilobytes in [("p", 1, 1), ("p", 2, 1100), ("p", 3, 1), ("q", 1, 1), ("q", 2, 1)]:
        body = large(patient, revision, kilobytes)
        assert (await client.post(f"/patients/{patient}/contact", json=body)).status_code == 200


async def until_held(client: httpx.AsyncClient) -> dict[str, Any]:
    (row,) = await until(lambda: held_by(client), "the row is held")
    return dict(row)


@pytest.fixture
def unweighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits are those of an older release, which weighed nothing."""
    monkeypatch.setattr(unit, "sizes", SimpleNamespace(fits=lambda *_: True))


@pytest.mark.usefixtures("unweighed")
async def test_a_row_too_large_is_held_and_only_its_patient_waits_until_it_is_released(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ledger.running() as client:
        await send_contacts(client)
        row = await until_held(client)
        assert (row["key"], row["held"]) == ("p", "larger than 1000000 bytes")
        await ledger.until_effects(3)
        contacts = f"fabric.unpublished where topic = '{CONTACTS_TOPIC}' and id <> {row['id']}"
        assert await ledger.count(contacts) == 1
        assert await ledger.effects_of("p") == [("contact", 1)]
        assert await ledger.effects_of("q") == [("contact", 1), ("contact", 2)]

        await allow_records_of(ledger, 4_000_000)
        monkeypatch.setattr(sizes, "RECORD_BYTES", 3_000_000)
        assert (await client.post(f"/ops/held/{row['id']}/release")).status_code == 200
        await at_rest(client)
    assert await ledger.effects_of("p") == [("contact", 1), ("contact", 2), ("contact", 3)]


@pytest.mark.usefixtures("unweighed")
async def test_what_the_broker_itself_refuses_is_found_and_held_and_the_rest_of_the_window_leaves(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "RECORD_BYTES", 3_000_000)  # the broker takes 1 MiB
    async with ledger.running() as client:
        await send_contacts(client)
        row = await until_held(client)
        assert (row["key"], row["held"]) == ("p", "MessageSizeTooLargeError")
        await ledger.until_effects(3)
        assert await ledger.effects_of("p") == [("contact", 1)]
        assert await ledger.effects_of("q") == [("contact", 1), ("contact", 2)]
        assert (await client.post("/ops/held/999/release")).status_code == 404


async def test_a_command_whose_event_the_broker_would_refuse_is_refused_and_holds_nobody(
    ledger: Ledger,
) -> None:
    async with ledger.running() as client:
        refused = await client.post("/patients/p/contact", json=large("p", 1, 1100))
        assert (refused.status_code, refused.json()["code"]) == (422, "too_large")
        assert "contact-details-changed" in refused.json()["detail"] and "1000000" in refused.json()["detail"]
        assert "xxx" not in refused.text
        assert (await client.post("/patients/p/contact", json=large("p", 2, 1))).status_code == 200
        await at_rest(client)
        assert (await client.get("/ops/deadletters")).json() == {"items": [], "held": []}
    assert await ledger.effects_of("p") == [("contact", 2)]


async def test_an_event_or_due_work_whose_own_event_is_too_large_is_a_letter_and_the_others_go_through(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "RECORD_BYTES", 5_000)
    small = ledger_app.blocked

    def blocked(patient_id: str, revision: int) -> PlanBlocked:
        found = small(patient_id, revision)
        return found.model_copy(update={"store_id": "x" * 6_000}) if "large" in patient_id else found

    async def publish(patients: Sequence[str], unit: Unit) -> None:
        await unit.db.execute("update things set done_by = 'me' where patient_id = any($1)", patients)
        unit.emit(blocked(patient, 9) for patient in patients)

    monkeypatch.setattr(ledger_app, "blocked", blocked)
    monkeypatch.setitem(ledger_app.due.by_view, "due_things", publish)
    await ledger.publish(changed("p", 1), changed("large", 1), changed("q", 1))
    async with ledger.running() as client:
        await at_rest(client)
        due = ["p", "due-large", "q"]
        await ledger.sql(
            "insert into things (patient_id, due_at) select p, now() from unnest($1::text[]) p", due
        )
        await ledger.until_letters(2)
        await at_rest(client)
    letters = {row["key"]: row["reason"] for row in await ledger.letters()}
    assert letters == {"patient:large": "refused:too_large", "patient:due-large": "refused:too_large"}
    assert (await published(ledger)).items() >= {"p": [1, 9], "q": [1, 9]}.items()


@pytest.mark.parametrize("bound", [1_000_000, 3_000_000], ids=["by the relay", "by the broker"])
async def test_a_departure_and_an_opt_out_overtake_what_is_held(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(sizes, "RECORD_BYTES", bound)
    opted_out = ContactOptedOut(patient_id="p", channel=Channel.phone)
    huge = changed("p", 1).model_copy(update={"visit_id": "x" * 1_100_000})
    await commit(
        ledger, huge, changed("p", 2), disenrolled("p", 3), opted_out, changed("p", 4), changed("q", 1)
    )
    async with ledger.running() as client:
        (row,) = await until(lambda: held_by(client), "the row is held")
        assert row["key"] == "p"
        await ledger.until_effects(2)
        # The held row, two behind it, and what the ledger itself tells of the departure.
        await at_rest_but(ledger, 4)
    assert sorted(await ledger.effects_of("p")) == [("disenrolled", 3)]
    assert len({dict(one.headers)["ce_id"] for one in await ledger.topic(opted_out.TOPIC)}) == 1


async def commit(ledger: Ledger, *events: Event) -> None:
    """Put events into the outbox, as an older release would have."""
    said = []
    for event in events:
        headers = {
            "ce_type": event.TYPE,
            "ce_source": f"medsync/{owner_of(event.TOPIC)}",
            "ce_subject": event.key,
            "content-type": "application/json",
        }
        said.append((event.TOPIC, event.key, headers, event.model_dump_json().encode()))
    db = await connect(ledger.database_url, name="test")
    await journal.append(db, said)
    await db.close()


async def held_by(client: httpx.AsyncClient) -> Any:
    return (await client.get("/ops/deadletters")).json()["held"]


async def at_rest_but(ledger: Ledger, waiting: int) -> None:
    """Until so many rows are left in the outbox."""

    async def left() -> bool:
        return await ledger.count("fabric.unpublished") == waiting

    await until(left, f"{waiting} rows are left")


async def allow_records_of(ledger: Ledger, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=ledger.bootstrap)
    await admin.start()
    topic = ledger.prefix + CONTACTS_TOPIC
    change = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(size)})
    await admin.alter_configs([change])
    await admin.close()


async def test_no_key_moves_to_a_partition_that_somebody_adds(ledger: Ledger) -> None:
    """Not for a process that knows of it from its start, either."""
    async with ledger.running() as client:
        await commands(client, range(1, 3))
        await at_rest_but(ledger, 0)
    before = {record.key: record.partition for record in await ledger.topic(PLANNER)}
    async with asking(ledger.bootstrap) as admin:
        await admin.create_partitions({ledger.prefix + PLANNER: NewPartitions(total_count=6)})
    async with ledger.running(wait_ready=False) as client:
        await commands(client, range(3, 5))
        await at_rest_but(ledger, 0)
    after = [(record.key, record.partition) for record in await ledger.topic(PLANNER)]
    assert len(after) == 4 * len(before)
    assert set(after) == set(before.items())


async def test_windows_are_bounded_in_bytes_and_go_on_until_nothing_is_left(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "WINDOW_BYTES", 300_000)
    db = await connect(ledger.database_url, name="test")
    await journal.append(db, [(CONTACTS_TOPIC, f"p{n}", {}, b"x" * 100_000) for n in range(10)])
    tick, first = await next_tick(db)
    assert [row.id for row in first] == [1, 2, 3]

    async def window(after: int, limit: int, bytes_: int) -> list[int]:
        return [row.id for row in await journal.window(db, tick, after, 1, Most(limit, bytes_))]

    assert await window(0, 2000, relay.WINDOW_BYTES) == [1, 2, 3]
    assert await window(2, 2, relay.WINDOW_BYTES) == [3, 4]
    assert await window(0, 2000, 1) == [1]  # one always goes
    await db.close()
    async with ledger.running() as client:
        await until(lambda: nothing_left(ledger), "the outbox is empty")
        assert (await status(client))["published"] == 10


async def nothing_left(ledger: Ledger) -> bool:
    return await ledger.count("fabric.unpublished") == 0


async def test_a_tick_and_its_windows_are_found_by_index_behind_a_long_journal(ledger: Ledger) -> None:
    """And without fresh statistics, as in a journal that filled up while the broker was away."""
    db = await connect(ledger.database_url, name="test")
    await db.execute(journal.BY_INDEX)
    old = await journal.last_tick(db, 0)
    for new in (100_000, 5_000):
        await db.execute(
            """
            insert into fabric.outbox (topic, key, headers, payload)
            select 't', 'p' || n % 20000, '{}', repeat('x', 500)::bytea
            from generate_series(1, $1::int) n
            """,
            new,
        )
        old, _ = await next_tick(db, old)
    for _ in range(2):
        await db.execute("select pg_stat_force_next_flush()")  # else the view below counts what came before
        async with db.transaction():
            rows = await journal.window(db, old, 0, 1, Most(relay.WINDOW, relay.WINDOW_BYTES))
            assert not await ask(db, old)
            await journal.finish_tick(db, old)
            assert await db.fetchval("select events from fabric.waiting(1000)") == 0
            read = await db.fetchrow(
                """
                select seq_scan, seq_tup_read, idx_tup_fetch
                from pg_stat_xact_user_tables
                where relname = 'outbox_' || to_char(current_date, 'YYYYMMDD')
                """
            )
        assert [row.id for row in rows] == [*range(100_001, 102_001)]
        assert read["seq_tup_read"] == 0 and read["idx_tup_fetch"] < 5 * relay.WINDOW, read
        await db.execute("analyze fabric.outbox")
    await db.close()
