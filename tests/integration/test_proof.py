"""The proof over a real record: enrollment runs, the other services' events are put on their topics as they would.

What it claims of a sound record it takes back once a row is gone, or a record there, that should not be.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from cli.proof import Result, prove
from deploy.local import Addresses
from services.enrollment.app import create_app
from services.enrollment.imports import pseudonym
from services.enrollment.settings import Settings
from shared.clock import SteppedClock
from shared.events import Event, Reason
from shared.events.enrollment import Channel
from shared.events.fulfillment import FillCompleted, ItemState, PackagedItem, PackagePickedUp, PackageReady
from shared.events.outreach import ConfirmedItem, ContactOptedOut, PickupConfirmed
from shared.events.planner import FillKind, PlanComputed, PlannedItem, Visit, VisitKind
from shared.messaging.topics import create_topics
from tests import feed
from tests.running import SEALING_KEY, STAFF, at_rest, producing, record, running

KEY = "pseudonyms-of-a-test-0123456789abcdef"
PATIENT = pseudonym(KEY, "chain", "P1")
FEED = {"Medsync-Actor": "feed", "Medsync-Role": "system"}
OPERATOR = {"Medsync-Actor": "ops-1", "Medsync-Role": "operator"}
NOW = datetime(2009, 10, 1, 15, tzinfo=UTC)
PLAN: dict[str, Any] = {"patient_id": PATIENT, "store_id": "S1", "plan_id": "plan-1"}
DRUG: dict[str, Any] = {"rx_id": "RX1", "drug_name": "x", "quantity": Decimal(30), "days_supply": 30}
PACKED = PackagedItem(**DRUG, state=ItemState.filled, fill_id="fill-1", filled_on=date(2009, 10, 5))
PACKAGE = {**PLAN, "visit_id": "visit-1", "package_id": "package-1"}

OTHERS: list[Event] = [
    PlanComputed(
        **PLAN,
        revision=1,
        profile_revision=1,
        cycle=1,
        computed_on=date(2009, 10, 1),
        anchor_on=date(2009, 10, 8),
        next_anchor_on=date(2009, 11, 7),
        agreed=True,
        visits=(
            Visit(
                visit_id="visit-1",
                kind=VisitKind.synchronized,
                on=date(2009, 10, 8),
                items=(PlannedItem(**DRUG, kind=FillKind.full, reason=Reason(code="due")),),
            ),
        ),
        drugs=(),
    ),
    PickupConfirmed(
        **PLAN,
        plan_revision=1,
        visit_id="visit-1",
        visit_kind="synchronized",
        on=date(2009, 10, 8),
        items=(ConfirmedItem(**DRUG),),
    ),
    FillCompleted(
        patient_id=PATIENT,
        visit_id="visit-1",
        rx_id="RX1",
        fill_id="fill-1",
        filled_on=date(2009, 10, 5),
        quantity=Decimal(30),
        days_supply=30,
    ),
    PackageReady(**PACKAGE, on=date(2009, 10, 8), items=(PACKED,), return_on=date(2009, 10, 15)),
    PackagePickedUp(**PACKAGE, handed_over_on=date(2009, 10, 8), taken=(PACKED,)),
    ContactOptedOut(patient_id=PATIENT, channel=Channel.phone),
]
"""One visit from the plan to the hand-over, as the other services tell of it."""


@dataclass
class Scene:
    """Enrollment's database and the topics, when all is done."""

    kafka: str
    prefix: str
    database_url: str
    ids: dict[type[Event], str]

    async def results(self) -> dict[str, Result]:
        results = await prove(self.kafka, {"enrollment": self.database_url}, prefix=self.prefix)
        return {result.name: result for result in results}

    async def broken(self) -> dict[str, tuple[str, ...]]:
        """The checks that do not hold, with all that speaks against them."""
        return {name: each.violations for name, each in (await self.results()).items() if not each.holds}

    async def sql(self, statement: str, *values: Any) -> str:
        db = await asyncpg.connect(self.database_url)
        try:
            done: str = await db.execute(statement, *values)
            return done
        finally:
            await db.close()

    async def put(self, event: Event, sequence: int, *, copies: int = 1, **headers: str) -> str:
        """Publish an event as its owner would, all copies alike; answers its id."""
        sent = record(
            event,
            event_id=None,
            **{
                "ce_source": f"medsync/{event.TYPE.split('.')[1]}",
                "ce_sequence": str(sequence),
                "ce_time": (NOW + timedelta(hours=sequence)).isoformat(),
                "ce_correlationid": "story",
                "ce_causationid": f"command:{sequence}",
            }
            | headers,
        )
        async with producing(self.kafka) as producer:
            for _ in range(copies):
                await producer.send_and_wait(self.prefix + event.TOPIC, **sent)
        return dict(sent["headers"])["ce_id"].decode()


@pytest_asyncio.fixture
async def scene(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    clock = SteppedClock(tmp_path / "clock")
    clock.set(NOW)
    url = await asyncio.to_thread(fresh_database, "enrollment")
    scene = Scene(stack.kafka, f"{unique_name}.", url, {})
    await create_topics(stack.kafka, 4, prefix=scene.prefix)
    settings = Settings(
        database_url=url,
        kafka_bootstrap=stack.kafka,
        topic_prefix=scene.prefix,
        clock_file=clock.path,
        sealing_key=SEALING_KEY,
        pseudonym_key=KEY,
    )
    async with running(create_app(settings)) as service:
        for path, body, headers in (
            ("/imports/stores", {"source": "chain", "records": [feed.store()]}, FEED),
            ("/imports/patients", {"source": "chain", "records": [feed.patient()]}, FEED),
            ("/imports/prescriptions", {"source": "chain", "records": [feed.prescription()]}, FEED),
            (f"/patients/{PATIENT}/consent", {}, STAFF),
        ):
            answer = await service.post(path, json=body, headers=headers)
            assert answer.status_code == 200, answer.text
        await at_rest(service)
        for sequence, event in enumerate(OTHERS, start=1):
            scene.ids[type(event)] = await scene.put(event, sequence, copies=2)
        await at_rest(service)
        assert (await service.post("/ops/republish", json={}, headers=OPERATOR)).status_code == 200
        await at_rest(service)
    yield scene


async def test_a_sound_record_is_proved(scene: Scene) -> None:
    results = await scene.results()
    assert {name: each.violations for name, each in results.items() if not each.holds} == {}
    assert results["I7 one id, one payload"].note == f"{len(OTHERS)} records are copies"
    assert results["I5 what was picked up is in the history"].looked_at == 1
    assert results["I8 the console's stream is what was published"].recorded is False


async def test_an_event_that_was_not_taken_is_named(scene: Scene) -> None:
    taken = scene.ids[PackagePickedUp]
    assert await scene.sql("delete from fabric.inbox where event_id = $1", taken) == "DELETE 1"
    broken = await scene.broken()
    [violation] = broken.pop("I5 every service took every event that it handles")
    assert f"enrollment never took PackagePickedUp {taken}" in violation
    assert broken == {}


async def test_an_effect_that_is_gone_is_named(scene: Scene) -> None:
    assert await scene.sql("delete from fills where fill_id = 'fill-1'") == "DELETE 1"
    assert await scene.sql("delete from opt_outs") == "DELETE 1"
    broken = await scene.broken()
    assert "fill fill-1 of package package-1" in broken.pop("I5 what was picked up is in the history")[0]
    assert f"{PATIENT} said stop (phone)" in broken.pop("I5 what patients said is on record")[0]
    assert broken == {}


async def test_an_effect_without_its_event_is_named(scene: Scene) -> None:
    await scene.sql("update patients set revision = revision + 1 where patient_id = $1", PATIENT)
    await scene.sql(
        "insert into fills select 'ghost', rx_id, patient_id, 0, filled_on, handed_over_on, 1, 1, false from fills"
    )
    await scene.sql("insert into fabric.inbox values (uuidv7())")
    broken = await scene.broken()
    assert (
        f"{PATIENT} has revision 3; 2 was published last"
        in broken.pop("I2 who takes part is as published")[0]
    )
    assert "fill ghost was never picked up" in broken.pop("I5 what is in the history was picked up")[0]
    assert "which is on no topic" in broken.pop("I5 no service took what is on no topic")[0]
    assert broken == {}


async def test_a_ghost_on_a_topic_is_named(scene: Scene) -> None:
    ready = next(event for event in OTHERS if isinstance(event, PackageReady))
    ghost = await scene.put(ready, 90, ce_source="medsync/nobody")
    broken = await scene.broken()
    assert f"(event {ghost}) is from medsync/nobody" in broken.pop("I4 only its owner writes on a topic")[0]
    assert "PackageReady of visit visit-1 was published 2 times" in broken.pop(
        "one package per visit, in one hand"
    )
    assert broken == {}


async def test_a_row_that_no_relay_published_is_named(scene: Scene) -> None:
    await scene.sql(
        "insert into fabric.outbox (topic, key, headers, payload) values ('medsync.enrollment.v1', 'p', '{}', '')"
    )
    broken = await scene.broken()
    assert "was not published" in broken.pop("I10 outboxes are empty, and topics stand still")[0]
    assert broken == {}


async def test_what_fault_tests_keep_is_compared(scene: Scene) -> None:
    await scene.sql(
        """
        create schema proof
            create table outbox_copy (id bigint, event_id uuid, topic text, key text, payload bytea)
            create table commands (idempotency_key text, status integer);
        insert into proof.outbox_copy values (1, uuidv7(), 'medsync.enrollment.v1', 'p', '');
        insert into proof.commands values ('lost', 200), ('unknown', null), ('refused', 422);
        """
    )
    broken = await scene.broken()
    assert "enrollment: outbox row 1" in broken.pop("I3 every outbox row is on its topic")[0]
    assert broken.pop("I1 an accepted command has its row, a refused one none") == (
        "enrollment: command lost was answered 200 and is not there",
    )
    assert (
        "was never in the outbox of enrollment"
        in broken.pop("I4 nothing is on a topic without its outbox row")[0]
    )
    assert broken == {}


async def test_the_command_line_says_it_by_its_exit_code(scene: Scene) -> None:
    sound = await run(scene, "--json")
    assert (sound.returncode, json.loads(sound.stdout)["holds"]) == (0, True)
    await scene.sql("delete from fills where fill_id = 'fill-1'")
    broken = await run(scene)
    assert broken.returncode == 1
    assert "1 of " in broken.stdout and "fill fill-1" in broken.stdout


async def run(scene: Scene, *options: str) -> subprocess.CompletedProcess[str]:
    place = (
        "--kafka",
        scene.kafka,
        "--database",
        f"enrollment={scene.database_url}",
        "--prefix",
        scene.prefix,
    )
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli.proof", *place, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "150"},
    )
