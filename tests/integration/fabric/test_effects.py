"""Effects happen once, in the order of each patient, whatever is delivered again."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from shared.events.planner import TOPIC as PLANNER
from tests.integration.fabric.given import Ledger, changed, disenrolled, enrolled, first_appearances, status
from tests.running import at_rest, until

PATIENTS = [f"p{n}" for n in range(40)]


async def test_an_event_sent_again_has_no_second_effect(ledger: Ledger) -> None:
    once = [(enrolled(patient), uuid4()) for patient in PATIENTS]
    async with ledger.running() as client:
        await ledger.publish_with_ids(once + once)
        await ledger.publish_with_ids(once)
        await at_rest(client)
        assert (await status(client))["tally"]["repeated"] == 2 * len(once)
    assert sorted(e.patient_id for e in await ledger.effects()) == sorted(PATIENTS)
    assert len(await ledger.topic(PLANNER)) == len(PATIENTS)


async def test_a_topic_read_again_from_its_beginning_has_no_second_effect(ledger: Ledger) -> None:
    await ledger.publish(*[enrolled(patient) for patient in PATIENTS])
    async with ledger.running() as client:
        await at_rest(client)
    await ledger.read_again()
    async with ledger.running() as client:
        await at_rest(client)
        assert (await status(client))["tally"] | {"commit_errors": 0, "due_done": 0} == {
            "taken": 0,
            "repeated": len(PATIENTS),
            "passed": 0,
            "buried": 0,
            "commit_errors": 0,
            "due_done": 0,
        }
    assert await ledger.count("effects") == len(PATIENTS)


async def test_a_batch_of_many_types_keeps_the_order_of_each_patient(ledger: Ledger) -> None:
    """Whatever the rounds put together; and what follows leaves in the same order."""
    courses = [
        [enrolled(p, 1), changed(p, 2), changed(p, 3), disenrolled(p, 4), enrolled(p, 5), changed(p, 6)]
        for p in PATIENTS
    ]
    await ledger.publish(*[event for step in zip(*courses, strict=True) for event in step])
    async with ledger.running() as client:
        await at_rest(client)
    in_order = [
        ("enrolled", 1),
        ("changed", 2),
        ("changed", 3),
        ("disenrolled", 4),
        ("enrolled", 5),
        ("changed", 6),
    ]
    assert {p: await ledger.effects_of(p) for p in PATIENTS} == dict.fromkeys(PATIENTS, in_order)
    assert await ledger.count("(select distinct xmin::text from effects) as transactions") < len(PATIENTS)
    for sequence in first_appearances(await ledger.topic(PLANNER)).values():
        assert sequence == sorted(sequence)


async def test_two_processes_of_a_service_share_its_partitions(ledger: Ledger) -> None:
    async with ledger.running(slot=0) as first, ledger.running(slot=1) as second:

        async def both_hold_some() -> bool:
            return all(
                client._transport.app.state.machinery.consumer.assignment  # type: ignore[attr-defined]
                for client in (first, second)
            )

        await until(both_hold_some, "both processes hold partitions")
        await ledger.publish(*[enrolled(f"p{n}") for n in range(200)])
        await at_rest(first, second)
        shares = [(await status(client))["tally"]["taken"] for client in (first, second)]
    assert sum(shares) == await ledger.count("effects") == 200
    assert min(shares) > 0


async def test_partitions_that_move_while_events_come_bring_each_effect_once(ledger: Ledger) -> None:
    patients = [f"p{n}" for n in range(100)]

    async def feed() -> None:
        for revision in range(1, 11):
            await ledger.publish(*[changed(patient, revision) for patient in patients])

    async with ledger.running(slot=0) as client:
        feeding = asyncio.create_task(feed())
        async with ledger.running(slot=1):  # joins, and is missed only after its session
            await ledger.until_effects(300)
        await feeding
        await at_rest(client)
    expected = [("changed", revision) for revision in range(1, 11)]
    assert {p: await ledger.effects_of(p) for p in patients} == dict.fromkeys(patients, expected)
