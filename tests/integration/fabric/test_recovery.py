"""A service whose database was put back to an older state: its readers take what it says from then on, those who left
stay away, and what it forgot is named."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from shared.events.enrollment import TOPIC as ENROLLMENT
from shared.events.planner import TOPIC as PLANNER
from shared.messaging.journal import EPOCH_BITS
from shared.messaging.lives import REVISION_BITS
from shared.messaging.unit import FIRST_LOOK_SECONDS, Cause, Work, patient
from tests.copies import Copies
from tests.integration.fabric import restores
from tests.integration.fabric.given import Ledger, changed, disenrolled, status
from tests.running import at_rest, record, until

LIFE = 1 << REVISION_BITS


async def test_every_event_says_in_which_life_it_was_written(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await client.post("/patients/p/things", json={"revision": 1})
        assert (await client.post("/ops/recovered", json={})).json()["epoch"] == 2
        await client.post("/patients/p/things", json={"revision": 2})
        await at_rest(client)
    first, second = map(_headers, await ledger.topic(PLANNER))
    assert (first["ce_epoch"], second["ce_epoch"]) == ("1", "2")
    assert int(second["ce_sequence"]) == (1 << EPOCH_BITS) + 1


async def test_until_it_is_recovered_a_database_that_was_put_back_takes_no_command_and_no_event(
    ledger: Ledger, copies: Copies
) -> None:
    """What it would say has numbers that readers know from the time that was lost."""
    async with ledger.running() as client:
        await _things(client, {"p": 3})
    older = replace(ledger, database_url=await copies.of(ledger.database_url))
    async with ledger.running() as client:
        await _things(client, {"p": 9})
    async with older.running(wait_ready=False) as client:

        async def refuses() -> dict[str, Any] | None:
            answer = await client.post("/patients/p/things", json={"revision": 4})
            return answer.json() if answer.status_code == 503 else None

        told = await until(refuses, "commands are refused")
        assert told["code"] == "put_back" and "medsync recovered ledger" in told["detail"]
        await ledger.publish(changed("q", 1))
        await asyncio.sleep(2)
        assert await older.effects_of("q") == []
        assert (await client.post("/ops/recovered", json={})).is_success
        assert (await client.post("/patients/p/things", json={"revision": LIFE + 5})).is_success
        await older.until_effects(1)


async def test_nor_does_a_process_whose_leader_has_not_looked_yet(ledger: Ledger, copies: Copies) -> None:
    """Another has the lease: as where its first transaction waits long for the broker."""
    async with ledger.running() as client:
        await _things(client, {"p": 3})
    older = replace(ledger, database_url=await copies.of(ledger.database_url))
    async with ledger.running() as client:
        await _things(client, {"p": 9})
    await ledger.publish(*[changed(f"q{n}", 1) for n in range(20)])
    await older.sql(restores.LED_BY_ANOTHER)
    async with older.running(wait_ready=False) as client:
        answer = await client.post("/patients/p/things", json={"revision": 4})
        assert (answer.status_code, answer.json().get("code")) == (503, "put_back")
        await asyncio.sleep(FIRST_LOOK_SECONDS + 3)  # longer than anybody waits for the leader
        assert await older.effects_of("p") == [("command", 3)]
        assert len(await older.effects()) == 1
        assert (await client.post("/ops/recovered", json={})).is_success
        await older.until_effects(21)


async def test_what_is_published_after_a_restore_goes_before_all_that_was_lost(
    ledger: Ledger, copies: Copies
) -> None:
    async with ledger.running() as client:
        await _things(client, {"p": 3, "q": 1})
    older = replace(ledger, database_url=await copies.of(ledger.database_url))
    async with ledger.running() as client:
        await _things(client, {"p": 9})
    async with older.running(wait_ready=False) as client:
        answer = (await client.post("/ops/recovered", json={"because": "the disk was lost"})).json()
        assert (await client.post("/ops/republish", json={})).json()["republished"] == 2
        await at_rest(client)
    assert answer["lost"][0] | {"first": 0, "last": 0} == {
        "type": "medsync.planner.plan-blocked.v1",
        "number": 1,
        "first": 0,
        "last": 0,
    }
    assert (answer["patients"], answer["stores"]) == (["p"], [])
    said = {one.key: _revision(one) for one in await ledger.topic(PLANNER)}
    assert said == {b"p": LIFE + 3, b"q": LIFE + 1}
    [life] = await older.sql("select by, why from fabric.incarnations where epoch = 2")
    assert tuple(life) == ("staff-1", "the disk was lost")


ELSEWHERE = """
update fabric.outbox set xid = (xid::text::bigint + 1000000000)::text::xid8;
update fabric.ticks
set system = system + 1,
    before = format('%1$s:%1$s:', pg_snapshot_xmax(before)::text::bigint + 1000000000)::pg_snapshot,
    upto = format('%1$s:%1$s:', pg_snapshot_xmax(upto)::text::bigint + 1000000000)::pg_snapshot
"""
"""What a database holds that was restored into a cluster with a thousand million transactions less behind it."""


@pytest.mark.parametrize("restored", ["", ELSEWHERE], ids=["in place", "into another cluster"])
async def test_nothing_is_published_before_the_recovery_and_everything_after_it(
    ledger: Ledger, copies: Copies, restored: str
) -> None:
    async with ledger.running() as client:
        await _things(client, {"p": 1, "q": 1})
    older = replace(ledger, database_url=await copies.of(ledger.database_url))
    async with ledger.running() as client:
        await _things(client, {"p": 8})
    if restored:
        db = await asyncpg.connect(older.database_url)
        await db.execute(restored)
        await db.close()
    async with older.running(wait_ready=False) as client:
        await until(lambda: _answers(client), "it answers")
        refused = await client.post("/patients/p/things", json={"revision": 2})
        assert (refused.status_code, refused.json()["code"]) == (503, "put_back")
        await asyncio.sleep(3)
        assert sorted(map(_revision, await ledger.topic(PLANNER))) == [1, 1, 8]
        assert (await client.post("/ops/recovered", json={})).is_success
        await _things(client, {"p": 3})
    told = [_revision(one) for one in await ledger.topic(PLANNER) if one.key == b"p"]
    assert told == [1, 8, 3], "each once, though it may be sent again"


async def test_a_restore_from_before_the_last_recovery_begins_a_life_that_nobody_had(
    ledger: Ledger, copies: Copies
) -> None:
    async with ledger.running() as client:
        await _things(client, {"p": 1})
    older = replace(ledger, database_url=await copies.of(ledger.database_url))
    async with ledger.running() as client:
        assert (await client.post("/ops/recovered", json={})).json()["epoch"] == 2
        await client.post("/ops/republish", json={})
        await at_rest(client)
    async with older.running(wait_ready=False) as client:
        assert (await client.post("/ops/recovered", json={})).json()["epoch"] == 3
        await client.post("/ops/republish", json={})
        await at_rest(client)
    assert [_revision(one) for one in await ledger.topic(PLANNER)] == [1, LIFE + 1, 2 * LIFE + 1]


async def test_a_recovery_twice_changes_nothing_more_and_names_the_same(
    ledger: Ledger, copies: Copies
) -> None:
    older = replace(ledger, database_url=await copies.of(ledger.database_url))
    async with ledger.running() as client:
        await _things(client, {"p": 1})
    async with older.running(wait_ready=False) as client:
        first, second = [(await client.post("/ops/recovered", json={})).json() for _ in range(2)]
        await at_rest(client)
    assert first["lost"] == second["lost"] != []
    assert (first["epoch"], second["epoch"]) == (2, 3)


async def test_departures_that_were_lost_are_taken_again_and_once(ledger: Ledger) -> None:
    """As if this database had published them, and had been put back to before."""
    own = {"ce_source": "medsync/ledger", "ce_time": "2009-10-02T09:00:00+00:00"}
    leaving = record(disenrolled("p", 2), ce_sequence="7", **own)
    async with ledger.running() as client:
        await _tell(ledger, leaving)
        await ledger.until_effects(1)
        answers = [(await client.post("/ops/recovered", json={})).json() for _ in range(2)]
        await at_rest(client)
    assert [answer["taken_again"] for answer in answers] == [1, 0]
    assert [kind for kind, _ in await ledger.effects_of("p")] == ["disenrolled", "left again"]


async def test_whoever_has_read_a_revision_is_waited_for(ledger: Ledger) -> None:
    """And held up himself for a moment: nobody publishes a revision of the life before."""
    async with ledger.running() as client:
        await _things(client, {"p": 1})
        transaction = asyncio.Event()

        async def read_and_write(work: Work) -> None:
            async with work.begin([patient("p")], cause=Cause("c", "c")) as unit:
                read = await unit.db.fetchval("select max(revision) from effects")
                transaction.set()
                await asyncio.sleep(1.5)
                await unit.db.execute(
                    "insert into effects (patient_id, kind, revision) values ('p', 'late', $1)", read + 1
                )

        app_work = client._transport.app.state.work  # type: ignore[attr-defined]
        writing = asyncio.create_task(read_and_write(app_work))
        await transaction.wait()
        assert (await client.post("/ops/recovered", json={})).status_code == 200
        await writing
        await at_rest(client)
    assert await ledger.effects_of("p") == [("command", LIFE + 1), ("late", LIFE + 2)]


async def test_state_is_told_to_one_group_alone(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await _tell(
            ledger,
            record(changed("p", 1), ce_state="true", ce_for="medsync-planner"),
            record(changed("p", 2), ce_state="true", ce_for="medsync-ledger"),
            record(changed("p", 3)),
        )
        await at_rest(client)
        assert (await status(client))["parked"] == 0
        await client.post("/ops/republish", json={"for_group": "medsync-ledger"})
        await at_rest(client)
    assert await ledger.effects_of("p") == [("changed", 2), ("changed", 3)]
    told = [_headers(one) for one in await ledger.topic(PLANNER)]
    assert [(each.get("ce_state"), each.get("ce_for")) for each in told] == [
        (None, None),
        (None, None),
        ("true", "medsync-ledger"),
    ]


async def _answers(client: Any) -> bool:
    return bool((await client.get("/ops/ready")).status_code == 200)


async def _things(client: Any, revisions: dict[str, int]) -> None:
    for patient_id, revision in revisions.items():
        assert (await client.post(f"/patients/{patient_id}/things", json={"revision": revision})).is_success
    await at_rest(client)


async def _tell(ledger: Ledger, *records: dict[str, Any]) -> None:
    await ledger.publish_raw([(ENROLLMENT, one) for one in records])


def _headers(one: ConsumerRecord[bytes, bytes]) -> dict[str, str]:
    return {name: value.decode() for name, value in one.headers}


def _revision(one: ConsumerRecord[bytes, bytes]) -> int:
    return int(json.loads(one.value or b"")["revision"])
