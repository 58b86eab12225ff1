"""Commands: done with all that follows or not at all; the same idempotency key, the same answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from shared.database import SERVER_SETTINGS
from shared.events import Event
from shared.events.planner import TOPIC as PLANNER
from shared.events.planner import PlanBlocked
from shared.messaging.unit import lock_key, patient
from tests.integration.fabric.given import Ledger, changed, status
from tests.ledger import app as ledger_app
from tests.running import at_rest

THING = "/patients/p/things"


async def test_the_same_key_gives_the_first_answer_and_no_second_effect(ledger: Ledger) -> None:
    key = {"Idempotency-Key": "k1"}
    async with ledger.running() as client:
        answers = [await client.post(THING, json={"revision": 1}, headers=key) for _ in range(3)]
        assert [answer.json() for answer in answers] == [{"number": 1}] * 3
        other = await client.post(THING, json={"revision": 2}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
        elsewhere = await client.post(f"{THING}?really=1", json={"revision": 1}, headers=key)
        assert elsewhere.status_code == 422
        await at_rest(client)
    assert await ledger.effects_of("p") == [("command", 1)]
    assert len(await ledger.topic(PLANNER)) == 1


async def test_the_same_key_at_once_in_two_processes_has_one_effect(ledger: Ledger) -> None:
    async with ledger.running(slot=0) as first, ledger.running(slot=1) as second:
        for round_ in range(10):
            answers = await asyncio.gather(
                *(
                    client.post(THING, json={"revision": round_}, headers={"Idempotency-Key": f"k{round_}"})
                    for client in (first, second) * 5
                )
            )
            assert len({json.dumps(answer.json()) for answer in answers}) == 1
    assert [revision for _, revision in await ledger.effects_of("p")] == [*range(10)]


async def test_a_command_that_fails_leaves_nothing_and_says_nothing_of_why(ledger: Ledger) -> None:
    async with ledger.running() as client:
        for key in ("k1", "k1"):
            thing = {"revision": 1, "fail_with": "canary"}
            answer = await client.post(THING, json=thing, headers={"Idempotency-Key": key})
            assert answer.status_code == 500
            assert "canary" not in answer.text
        await at_rest(client)
    assert await ledger.effects() == []
    assert await ledger.topic(PLANNER) == []


async def test_events_of_one_patient_leave_in_the_order_of_the_commits(ledger: Ledger) -> None:
    async with ledger.running(slot=0) as first, ledger.running(slot=1) as second:
        await asyncio.gather(*((first, second)[n % 2].post(THING, json={"revision": n}) for n in range(60)))
        await at_rest(first, second)
    committed = [revision for _, revision in await ledger.effects_of("p")]
    left = [json.loads(one.value or b"")["revision"] for one in await ledger.topic(PLANNER)]
    assert left == committed


async def test_republishing_tells_current_state_with_its_revisions(ledger: Ledger) -> None:
    async with ledger.running() as client:
        for revision in (1, 2):
            for n in range(3):
                await client.post(f"/patients/p{n}/things", json={"revision": revision})
        await at_rest(client)
        known = {dict(one.headers)["ce_id"] for one in await ledger.topic(PLANNER)}
        answer = await client.post("/ops/republish", json={})
        assert answer.json() == {"republished": 3, "set_aside": [], "next": None}
        one = await client.post("/ops/republish", json={"patient": "p1"})
        assert one.json()["republished"] == 1
        await at_rest(client)
    again = [one for one in await ledger.topic(PLANNER) if dict(one.headers)["ce_id"] not in known]
    told = sorted((one.key, json.loads(one.value or b"")["revision"]) for one in again)
    assert told == [(b"p0", 2), (b"p1", 2), (b"p1", 2), (b"p2", 2)]


async def test_state_that_the_broker_would_not_take_is_set_aside_and_the_others_is_told(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ledger.running() as client:
        for n in range(3):
            await client.post(f"/patients/p{n}/things", json={"revision": 1})
        await ledger.sql("update effects set note = repeat('x', 1100000) where patient_id = 'p1'")
        answer = await client.post("/ops/republish", json={})
        assert answer.json() == {"republished": 2, "set_aside": ["p1"], "next": None}
        await at_rest(client)
        metrics = (await client.get("/metrics")).text
    assert [one.key for one in await ledger.topic(PLANNER)].count(b"p1") == 1
    assert f'medsync_events_set_aside_total{{type="{PlanBlocked.TYPE}"}} 1.0' in metrics
    said = next(line for line in capsys.readouterr().err.splitlines() if "event.set_aside" in line)
    assert "p1" not in said


async def test_no_older_state_is_republished_after_a_newer_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a compacted topic the last record is all that is kept."""
    look, looked, go_on = ledger_app.current_state, asyncio.Event(), asyncio.Event()

    async def look_slowly(*args: Any, **kwargs: Any) -> list[Event]:
        found = await look(*args, **kwargs)
        if not looked.is_set():
            looked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(ledger_app, "current_state", look_slowly)
    async with ledger.running() as client:
        await client.post(THING, json={"revision": 1})
        republishing = asyncio.create_task(client.post("/ops/republish", json={}))
        await looked.wait()
        await client.post(THING, json={"revision": 2})
        go_on.set()
        assert (await republishing).json()["republished"] == 1
        await at_rest(client)
    assert [json.loads(one.value or b"")["revision"] for one in await ledger.topic(PLANNER)] == [1, 2, 2]


async def test_a_frozen_holder_of_a_lock_is_an_outage_and_nobodys_fault(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is waited for in vain; the events wait, and none becomes poison."""
    monkeypatch.setitem(SERVER_SETTINGS, "lock_timeout", "200ms")
    holder = await asyncpg.connect(ledger.database_url)
    async with ledger.running() as client:
        await holder.execute("select pg_advisory_lock($1)", lock_key(patient("p")))
        await ledger.publish(changed("p", 1), changed("q", 1))

        for _ in range(5):
            assert (await client.post(THING, json={})).status_code == 503
        assert (await status(client))["lag"] >= 1  # those of the other patient may go on
        await holder.close()
        await at_rest(client)
    assert await ledger.letters() == []
    assert await ledger.count("effects where kind = 'changed'") == 2
