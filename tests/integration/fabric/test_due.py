"""Due work: each piece once, shared between processes, stopped where it fails for everyone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.messaging import Unit, intake
from shared.messaging.due import DueLoop
from shared.messaging.registry import Owner
from shared.messaging.unit import Work
from tests.integration.fabric.given import Ledger, changed, due_in, status
from tests.ledger import app as ledger_app
from tests.running import at_rest, until


async def add_things(ledger: Ledger, patients: Sequence[str]) -> None:
    await ledger.sql(
        "insert into things (patient_id, due_at) select p, now() from unnest($1::text[]) p", patients
    )


async def test_what_falls_due_is_done_when_its_time_comes_and_once(ledger: Ledger) -> None:
    async with ledger.running() as client:
        for seconds in (-10, 0.5, 3600):
            thing = {"due_at": due_in(seconds)}
            assert (await client.post("/patients/p/things", json=thing)).status_code == 200
        await until(lambda: done(ledger, 2), "the first two are done")
        told = await status(client)
    assert (told["due_now"], told["next_due"] > due_in(3000)) == (0, True)


async def done(ledger: Ledger, number: int) -> bool:
    return await ledger.count("effects where kind = 'thing'") >= number


async def test_two_processes_share_due_work_and_do_each_piece_once(ledger: Ledger) -> None:
    patients = [f"p{n}" for n in range(15_000)]
    async with ledger.process(slot=1) as other, ledger.running() as client:
        await other.ready()
        for each in (client, other.client):  # once it takes a command, nothing holds its due work back either
            later = {"due_at": "2100-01-01T00:00:00Z"}
            assert (await each.post("/patients/later/things", json=later)).is_success
        await add_things(ledger, patients)
        await at_rest(client, other.client)
    assert await ledger.count("effects where kind = 'thing' and patient_id <> 'later'") == len(patients)
    shares = await ledger.sql("select done_by from things where done_by is not null group by done_by")
    assert len(shares) == 2


async def test_one_patients_failing_work_parks_that_patient_and_the_others_go_through(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await add_things(ledger, [*(f"p{n}" for n in range(99)), "bad-1"])
        await at_rest(client)
        (letter,) = await ledger.letters()
        assert (letter["topic"], letter["key"], letter["reason"]) == (
            "due:due_things",
            "patient:bad-1",
            "refused:bad_thing",
        )
        assert await ledger.count("effects where kind = 'thing'") == 99
        assert (await client.post("/patients/bad-1/things", json={})).status_code == 409
        await ledger.publish(changed("bad-1", 1))
        await at_rest(client)
        assert await ledger.effects_of("bad-1") == []

        await ledger.sql("update things set done_by = 'a person' where patient_id = 'bad-1'")
        redriven = await client.post(f"/ops/deadletters/{letter['id']}/redrive")
        assert redriven.json()["went_on"] == 1
    assert await ledger.effects_of("bad-1") == [("changed", 1)]


async def test_work_of_stores_falls_due_the_same_way_and_parks_a_store(ledger: Ledger) -> None:
    stores = ["s1", "s2", "bad-1"]
    async with ledger.running() as client:
        await ledger.sql("insert into stocktakes select s, now() from unnest($1::text[]) s", stores)
        await at_rest(client)
        (letter,) = await ledger.letters()
        assert (letter["topic"], letter["key"]) == ("due:due_stocktakes", "store:bad-1")
        assert (await client.post("/patients/bad-1/things", json={})).status_code == 200, (
            "a patient is no store"
        )

        await ledger.sql("update stocktakes set done_by = 'a person' where store_id = 'bad-1'")
        assert (await client.post(f"/ops/deadletters/{letter['id']}/redrive")).status_code == 200
        assert await ledger.count("fabric.parked") == 0
    done = await ledger.sql("select patient_id from effects where kind = 'stocktake' order by patient_id")
    assert [row["patient_id"] for row in done] == ["s1", "s2"]


async def test_due_work_that_fails_for_patient_after_patient_stops_and_says_so(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await add_things(ledger, [f"bad-{n}" for n in range(30)])

        async def stopped() -> bool:
            answer = await client.get("/ops/consuming")
            return answer.status_code == 503 and "due work stopped" in answer.text

        await until(stopped, "the service has stopped and says why")
        assert "refused:bad_thing" in (await status(client))["stopped_because"]
        await ledger.publish(changed("p", 1))  # events go on
        await ledger.until_effects(1)
    assert await ledger.count("fabric.parked") == intake.MANY_PATIENTS


async def test_due_work_that_takes_too_long_three_times_alone_parks_its_patient(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_SECONDS", 0.2)
    well = ledger_app.due.by_view["due_things"]

    async def slow_for_one(patients: Sequence[str], unit: Unit) -> None:
        if "slow" in patients:
            await asyncio.sleep(60)
        await well(patients, unit)

    monkeypatch.setitem(ledger_app.due.by_view, "due_things", slow_for_one)
    await add_things(ledger, ["a", "slow", "z"])
    async with ledger.running() as client:
        await at_rest(client)
    (letter,) = await ledger.letters()
    assert (letter["key"], letter["reason"], letter["attempts"]) == ("patient:slow", "timed_out", 3)
    assert await ledger.count("effects where kind = 'thing'") == 2


async def test_a_timeout_while_the_database_is_away_parks_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    well, tries = ledger_app.due.by_view["due_things"], 0

    async def late_twice(patients: Sequence[str], unit: Unit) -> None:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise TimeoutError
        await well(patients, unit)

    async def away(_: Any) -> bool:
        return tries > 2

    monkeypatch.setitem(ledger_app.due.by_view, "due_things", late_twice)
    monkeypatch.setattr(Work, "_database_answers", away)
    await add_things(ledger, ["p"])
    async with ledger.running() as client:
        await at_rest(client)
    assert await ledger.letters() == []
    assert await ledger.effects_of("p") == [("thing", 0)]


async def test_one_views_fault_keeps_no_other_view_from_its_work(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = DueLoop.turn

    async def faulty(self: DueLoop, view: str) -> bool:
        if view == "due_faulty":
            raise LookupError("a fault of the fabric's own")
        return await turn(self, view)

    monkeypatch.setattr(DueLoop, "turn", faulty)
    views = {"due_faulty": ledger_app.do_things, **ledger_app.due.by_view}
    monkeypatch.setattr(ledger_app.due, "by_view", views)
    await ledger.sql("create view due_faulty as select patient_id, due_at from due_things")
    await add_things(ledger, ["p"])
    async with ledger.running():
        await ledger.until_effects(1)


async def test_a_patient_parked_between_look_and_lock_is_left_out(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Work.free_owners

    async def park_in_between(
        self: Work, unit: Unit, view: str, limit: int, of: Owner = "patient"
    ) -> list[str]:
        monkeypatch.undo()
        lock = self.unparked

        async def parked_now(unit: Unit, owners: Sequence[str], of: Owner = "patient") -> list[str]:
            await ledger.sql(
                """
                with letter as (
                    insert into fabric.dead_letters (topic, key, attempts, reason, message, headers)
                    values ('t', 'patient:p', 1, 'r', 'm', '[]')
                    returning id
                )
                insert into fabric.parked (key, reason, dead_letter_id) select 'patient:p', 'r', id from letter
                """
            )
            return await lock(unit, owners, of)

        monkeypatch.setattr(self, "unparked", parked_now)
        return await look(self, unit, view, limit, of)

    monkeypatch.setattr(Work, "free_owners", park_in_between)
    await add_things(ledger, ["p"])
    async with ledger.running() as client:

        async def parked() -> bool:
            return await ledger.count("fabric.parked") == 1

        await until(parked, "the patient is parked")
        await at_rest(client)
    assert await ledger.effects() == []


async def test_a_service_with_nothing_to_do_is_idle(ledger: Ledger) -> None:
    async with ledger.running():
        commits = "select xact_commit from pg_stat_database where datname = current_database()"
        before = (await ledger.sql(commits))[0][0]
        await asyncio.sleep(2)
        assert (await ledger.sql(commits))[0][0] - before < 50
