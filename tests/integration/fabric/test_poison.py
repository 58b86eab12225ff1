"""A bad event stops its own patient only, says why, and a person can let the patient go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.messaging import intake, tables
from shared.messaging.polling import LANES
from shared.messaging.suspects import A_FEW
from tests.integration.fabric.given import (
    Ledger,
    changed,
    confirmed,
    disenrolled,
    enrolled,
    status,
)
from tests.ledger import app as ledger_app
from tests.running import at_rest, until


@pytest.fixture
def repaired(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and the ledger's handlers misbehave no longer: a repaired release."""

    async def well(_how: str) -> None:
        pass

    return lambda: monkeypatch.setattr(ledger_app, "misbehave", well)


async def test_halving_finds_the_one_culprit_among_five_hundred(ledger: Ledger) -> None:
    hows = {f"p{n}": "refuse" if n == 321 else "well" for n in range(500)}
    await ledger.publish(*[changed(patient, 1, how) for patient, how in hows.items()])
    async with ledger.running() as client:
        await at_rest(client)
    (letter,) = await ledger.letters()
    assert (letter["key"], letter["reason"], letter["attempts"]) == ("patient:p321", "refused:told_to", 1)
    assert letter["message"] == "this event says so"
    assert {e.patient_id for e in await ledger.effects()} == hows.keys() - {"p321"}


async def test_a_failure_is_told_without_its_own_words(ledger: Ledger) -> None:
    await ledger.publish(changed("p", 1, "fail"))
    async with ledger.running():
        (letter,) = await ledger.until_letters(1)
    assert letter["reason"] == "failed:ValueError"
    assert "secret" not in letter["message"]


async def test_a_parked_patient_waits_in_every_respect_and_nobody_else_does(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1), changed("p", 2, "fail"))
        await ledger.until_letters(1)
        await ledger.sql(
            "insert into things (patient_id, due_at) select p, now() from unnest($1::text[]) p", ["p", "q"]
        )
        await ledger.publish(changed("p", 3), changed("q", 3), disenrolled("p", 5), changed("p", 6))
        await ledger.publish(confirmed("p", 4))
        await at_rest(client)

        refused = await client.post("/patients/p/things", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "parked")
        assert "failed:ValueError" in refused.json()["detail"]
        assert (await client.post("/patients/q/things", json={})).status_code == 200

        (shown,) = (await client.get("/ops/deadletters")).json()["items"]
        assert (shown["parked"], shown["behind"]) == (True, 3)
    assert await ledger.effects_of("p") == [("changed", 1), ("disenrolled", 5)]  # leaving always takes effect
    assert sorted(await ledger.effects_of("q")) == [("changed", 3), ("command", 0), ("thing", 0)]


async def test_after_a_repair_redriving_does_everything_in_order_and_once(
    ledger: Ledger, repaired: Callable[[], None]
) -> None:
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1), changed("p", 2, "fail"), changed("p", 3), changed("p", 4))
        await ledger.sql("insert into things (patient_id, due_at) values ('p', now())")
        number = (await ledger.until_letters(1))[0]["id"]
        await at_rest(client)
        repaired()
        answer = (await client.post(f"/ops/deadletters/{number}/redrive")).json()
        assert answer == {"letter": number, "status": "closed", "went_on": 2}
        await at_rest(client)
        assert (await client.post(f"/ops/deadletters/{number}/redrive")).status_code == 404
        assert (await client.post("/patients/p/things", json={})).status_code == 200
    numbered = [(kind, revision) for kind, revision in await ledger.effects_of("p") if kind == "changed"]
    assert numbered == [("changed", 1), ("changed", 2), ("changed", 3), ("changed", 4)]
    assert ("thing", 0) in await ledger.effects_of("p")
    (letter,) = await ledger.letters("redriven")
    assert letter["closed_by"] == "staff-1"
    assert await ledger.count("fabric.parked") == await ledger.count("fabric.parked_events") == 0


async def test_redriving_without_a_repair_fails_again_and_keeps_everything(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1, "refuse"), changed("p", 2))
        number = (await ledger.until_letters(1))[0]["id"]
        await at_rest(client)
        answer = (await client.post(f"/ops/deadletters/{number}/redrive")).json()
        assert (answer["status"], answer["failed"]) == ("open", "refused:told_to")
    (letter,) = await ledger.letters()
    assert letter["attempts"] == 2
    assert (await ledger.effects(), await ledger.count("fabric.parked_events")) == ([], 1)


async def test_a_second_poison_behind_the_first_becomes_what_the_patient_waits_for(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await ledger.publish(
            changed("p", 1, "fail"), changed("p", 2), changed("p", 3, "refuse"), changed("p", 4)
        )
        first = (await ledger.until_letters(1))[0]["id"]
        await at_rest(client)
        answer = (await client.post(f"/ops/deadletters/{first}/skip", json={"because": "known bad"})).json()
        assert (answer["went_on"], answer["failed"]) == (1, "refused:told_to")
        (second,) = await ledger.letters()
        refused = await client.post("/patients/p/things", json={})
        assert "refused:told_to" in refused.json()["detail"]

        await client.post(f"/ops/deadletters/{second['id']}/skip", json={"because": "known bad too"})
    assert await ledger.effects_of("p") == [("changed", 2), ("changed", 4)]
    skipped = [(s["closed_by"], s["closed_because"]) for s in await ledger.letters("skipped")]
    assert skipped == [("staff-1", "known bad"), ("staff-1", "known bad too")]


async def test_two_people_and_new_events_at_once_leave_one_effect_each_in_order(
    ledger: Ledger, repaired: Callable[[], None]
) -> None:
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1, "fail"), *[changed("p", n) for n in range(2, 40)])
        number = (await ledger.until_letters(1))[0]["id"]
        await at_rest(client)
        repaired()
        redrive = f"/ops/deadletters/{number}/redrive"
        await asyncio.gather(
            client.post(redrive),
            client.post(redrive),
            client.post(f"/ops/deadletters/{number}/skip", json={"because": "in a hurry"}),
            ledger.publish(*[changed("p", n) for n in range(40, 60)]),
        )
        await at_rest(client)
    revisions = [revision for _, revision in await ledger.effects_of("p")]
    assert revisions in ([*range(1, 60)], [*range(2, 60)])  # redriven, or skipped
    assert await ledger.count("fabric.parked") == 0


async def test_a_redrive_that_was_cut_off_is_seen_and_can_be_gone_on_with(
    ledger: Ledger, repaired: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ledger.running() as client:
        number = await _cut_off(ledger, client, repaired, monkeypatch)
        (shown,) = (await client.get("/ops/deadletters")).json()["items"]
        assert (shown["id"], shown["status"], shown["behind"]) == (number, "redriven", 2)
        answer = (await client.post(f"/ops/deadletters/{number}/redrive")).json()
        assert answer["went_on"] == 2
    assert [revision for _, revision in await ledger.effects_of("p")] == [1, 2, 3]


async def test_a_redrive_that_was_cut_off_is_finished_by_the_next_process(
    ledger: Ledger, repaired: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ledger.running() as client:
        await _cut_off(ledger, client, repaired, monkeypatch)
    async with ledger.running():
        await ledger.until_effects(3)
    assert [revision for _, revision in await ledger.effects_of("p")] == [1, 2, 3]


async def _cut_off(
    ledger: Ledger,
    client: httpx.AsyncClient,
    repaired: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """A redrive whose database goes away after the letter itself had its effect."""
    await ledger.publish(changed("p", 1, "fail"), changed("p", 2), changed("p", 3))
    number = (await ledger.until_letters(1))[0]["id"]
    await at_rest(client)
    repaired()

    async def away(*_: Any) -> bool:
        raise ConnectionResetError

    with monkeypatch.context() as outage:
        outage.setattr(tables, "drop_behind", away)
        answer = await client.post(f"/ops/deadletters/{number}/redrive")
        assert answer.status_code == 503
    return int(number)


async def test_an_event_that_takes_too_long_three_times_while_the_database_answers_is_poison(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_SECONDS", 0.2)
    await ledger.publish(changed("a", 1), changed("p", 1, "slow"), changed("z", 1))
    async with ledger.running() as client:
        await at_rest(client)
    (letter,) = await ledger.letters()
    assert (letter["key"], letter["reason"], letter["attempts"]) == ("patient:p", "timed_out", 3)
    assert {e.patient_id for e in await ledger.effects()} == {"a", "z"}


async def test_a_failing_departure_is_a_letter_of_its_own_though_its_patient_is_parked(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise LookupError

    monkeypatch.setitem(ledger_app.on.by_type, disenrolled("p", 1).TYPE, fail)
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1, "fail"))
        await ledger.until_letters(1)
        await ledger.publish(disenrolled("p", 2))
        await at_rest(client)
    assert [letter["reason"] for letter in await ledger.letters()] == [
        "failed:ValueError",
        "failed:LookupError",
    ]


async def test_a_release_that_fails_for_patient_after_patient_stops_and_says_so(
    ledger: Ledger, repaired: Callable[[], None]
) -> None:
    patients = [f"p{n}" for n in range(30)]
    await ledger.publish(*[changed(patient, 1, "fail") for patient in patients])
    async with ledger.running(wait_ready=False) as client:

        async def stopped() -> bool:
            answer = await client.get("/ops/consuming")
            return answer.status_code == 503 and "failed:ValueError" in answer.text

        await until(stopped, "the service has stopped and says why")
        assert "failed:ValueError" in (await status(client))["stopped_because"]
        number = await ledger.count("fabric.parked")  # one more where two lanes counted at once
        assert intake.MANY_PATIENTS <= number < intake.MANY_PATIENTS + LANES
    repaired()
    async with ledger.running() as client:
        await at_rest(client)
    parked = {row["key"] for row in await ledger.letters()}
    assert {f"patient:{e.patient_id}" for e in await ledger.effects()} | parked == {
        f"patient:{patient}" for patient in patients
    }
    assert len(await ledger.effects()) == 30 - number


async def test_a_migration_under_a_running_service_makes_no_event_poison(ledger: Ledger) -> None:
    """Its prepared statements are stale: the next event meets an error that is not its own."""
    async with ledger.running() as client:
        for revision, new_type in enumerate(("varchar", "text", "varchar"), start=1):
            await ledger.publish(enrolled("p", revision))
            await at_rest(client)
            await ledger.sql(f"alter table fabric.parked alter column reason type {new_type}")
    assert await ledger.letters() == []
    assert await ledger.count("effects") == 3


async def test_a_killer_becomes_a_dead_letter_and_the_others_go_through(ledger: Ledger) -> None:
    hows = {f"p{n}": "die" if n == 12 else "well" for n in range(40)}
    await ledger.publish(*[changed(patient, 1, how) for patient, how in hows.items()])
    deaths = 0
    while not await ledger.letters():
        async with ledger.process() as process:

            async def over(process: Any = process) -> bool:
                return process.process.exit_code is not None or bool(await ledger.letters())

            await until(over, "it dies, or sets the killer aside")
            deaths += process.process.exit_code == 9
    async with ledger.running() as client:
        await at_rest(client)
    (letter,) = await ledger.letters()
    assert (letter["key"], letter["reason"]) == ("patient:p12", "killed_process")
    assert 3 <= deaths <= 4
    assert sorted(e.patient_id for e in await ledger.effects()) == sorted(hows.keys() - {"p12"})


async def test_after_a_death_by_chance_a_long_batch_is_taken_a_few_at_a_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.publish(*[changed("p", n) for n in range(1, 201)])
    async with ledger.process(crash_at="intake.handled") as process:
        assert await process.ended() == -9
    taken, sizes = intake.Intake.take, []

    async def measured(self: intake.Intake, records: Any, spans: Any) -> None:
        sizes.append(len(records))
        await taken(self, records, spans)

    monkeypatch.setattr(intake.Intake, "take", measured)
    async with ledger.running() as client:
        await at_rest(client)
    assert [revision for _, revision in await ledger.effects_of("p")] == [*range(1, 201)]
    assert max(sizes) <= A_FEW  # a killer among them would take few others with it
    assert len(sizes) <= 200 / A_FEW + 1


async def test_a_killer_in_a_long_batch_comes_to_stand_alone(ledger: Ledger) -> None:
    """It dies with the batch, with a few, and alone; who stands before it is blamed for none of that."""
    await ledger.publish(*[changed("p", n, "die" if n == 81 else "well") for n in range(1, 101)])
    deaths = 0
    while not await ledger.letters():
        async with ledger.process() as process:

            async def over(process: Any = process) -> bool:
                return process.process.exit_code is not None or bool(await ledger.letters())

            await until(over, "it dies, or sets the killer aside")
            deaths += process.process.exit_code == 9
    (letter,) = await ledger.letters()
    assert letter["reason"] == "killed_process"
    assert deaths == 1 + 1 + intake.DEADLY
    assert [revision for _, revision in await ledger.effects_of("p")] == [*range(1, 81)]


@pytest.mark.parametrize("number", [40, 200])
async def test_a_statement_that_ends_its_connection_becomes_a_letter_and_the_others_go_through(
    ledger: Ledger, number: int
) -> None:
    hows = {f"p{n}": "end" if n == 12 else "well" for n in range(number)}
    async with ledger.running() as client:
        await ledger.publish(*[changed(patient, 1, how) for patient, how in hows.items()])
        (letter,) = await ledger.until_letters(1)
        await at_rest(client)
    assert (letter["key"], letter["reason"]) == ("patient:p12", "ended_connection")
    assert sorted(e.patient_id for e in await ledger.effects()) == sorted(hows.keys() - {"p12"})
    assert await ledger.count("fabric.suspects where deaths > 0") == 0


async def test_a_killer_behind_a_parked_patient_kills_only_so_often(ledger: Ledger) -> None:
    async with ledger.process() as process:
        await process.ready()
        await ledger.publish(changed("p", 1, "refuse"), changed("p", 2, "die"), changed("p", 3))
        number = (await ledger.until_letters(1))[0]["id"]
        await at_rest(process.client)
        with pytest.raises(httpx.TransportError):
            await process.client.post(f"/ops/deadletters/{number}/skip", json={"because": "as it asked"})
        assert await process.ended() == 9
    deaths = 1
    while await ledger.letters() == []:
        async with ledger.process() as process:

            async def over(process: Any = process) -> bool:
                return process.process.exit_code is not None or bool(await ledger.letters())

            await until(over, "it dies, or sets the killer aside")
            deaths += process.process.exit_code == 9
    (letter,) = await ledger.letters()
    assert (letter["reason"], deaths) == ("killed_process", 3)
    async with ledger.running() as client:
        await client.post(f"/ops/deadletters/{letter['id']}/skip", json={"because": "it kills"})
    assert await ledger.effects_of("p") == [("changed", 3)]


async def test_an_outage_after_a_death_loses_nothing_and_counts_as_no_death(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records taken one by one after a death are read again where the database goes away in between."""
    await ledger.publish(*[changed("p", n) for n in range(1, 9)])
    async with ledger.process(crash_at="intake.handled") as process:
        assert await process.ended() == -9
    taken, failures = intake.Intake.take, 0

    async def away_now_and_then(self: intake.Intake, records: Any, spans: Any) -> None:
        nonlocal failures
        failures += 1
        if 3 <= failures <= 8:
            raise intake.Outage("as if")
        await taken(self, records, spans)

    monkeypatch.setattr(intake.Intake, "take", away_now_and_then)
    monkeypatch.setattr("shared.messaging.consumer.LONGEST_PAUSE", 0.2)
    async with ledger.running() as client:
        await at_rest(client)
    assert [revision for _, revision in await ledger.effects_of("p")] == [*range(1, 9)]
    assert await ledger.letters() == []
    assert await ledger.count("fabric.suspects") == 0
