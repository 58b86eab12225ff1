"""Enrollment as a process runs it, on Kafka: what is fed and agreed comes out, what others publish comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from deploy.local import Addresses
from services.enrollment.app import create_app
from services.enrollment.settings import Settings
from shared.clock import SteppedClock
from shared.events import EVENTS, Event
from shared.events.enrollment import (
    CONTACTS_TOPIC,
    STORES_TOPIC,
    TOPIC,
    CandidateIdentified,
    PatientEnrolled,
    ProfileChanged,
)
from shared.messaging.topics import create_topics
from tests import feed
from tests.integration.enrollment.conftest import FEED, KEY, NOW, P1, STAFF
from tests.integration.enrollment.test_service import picked_up
from tests.running import SEALING_KEY, at_rest, everything_on, publish, running


async def test_a_patient_is_fed_found_enrolled_and_served(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    prefix, clock = f"{unique_name}.", SteppedClock(tmp_path / "clock")
    clock.set(NOW)
    await create_topics(stack.kafka, 4, prefix=prefix)
    settings = Settings(
        database_url=await asyncio.to_thread(fresh_database, "enrollment"),
        kafka_bootstrap=stack.kafka,
        topic_prefix=prefix,
        clock_file=clock.path,
        sealing_key=SEALING_KEY,
        pseudonym_key=KEY,
    )
    async with running(create_app(settings)) as service:
        for kind, rows in (
            ("stores", [feed.store()]),
            ("patients", [feed.patient()]),
            ("prescriptions", [feed.prescription(), feed.prescription(rx_id="RX2", ingredient="metformin")]),
            ("fills", [feed.fill()]),
        ):
            body = {"source": "chain", "records": rows}
            await accepted(service.post(f"/imports/{kind}", json=body, headers=FEED))
        await at_rest(service)
        assert (await service.get("/candidates")).json()["items"][0]["patient_id"] == P1

        await accepted(service.post(f"/patients/{P1}/consent", json={}, headers=STAFF))
        await publish(stack.kafka, [picked_up(P1, "RX1")], prefix=prefix)
        await at_rest(service)

        told = await events_on(stack.kafka, prefix + TOPIC)
        assert [type(event) for event in told][-2:] == [PatientEnrolled, ProfileChanged]
        assert {type(event) for event in told[:-2]} == {CandidateIdentified}
        changed = told[-1]
        assert isinstance(changed, ProfileChanged)
        assert (changed.revision, changed.profile.prescriptions[0].quantity_left) == (2, Decimal(60))

        again = await accepted(service.post("/ops/republish", json={}))
        assert again == {"republished": 3, "set_aside": [], "next": None}
        await at_rest(service)

    stores = await events_on(stack.kafka, prefix + STORES_TOPIC)
    assert [event.key for event in stores] == ["S1", "S1"]
    sealed = await everything_on(stack.kafka, prefix + CONTACTS_TOPIC)
    assert [record.key for record in sealed] == [P1.encode()] * 2
    assert not [record for record in sealed if b"Canary" in record.value]


async def accepted(call: Any) -> Any:
    answer: httpx.Response = await call
    assert answer.status_code == 200, answer.text
    return answer.json()


async def events_on(bootstrap: str, topic: str) -> list[Event]:
    """The events of one key or type on a topic, in order."""
    return [
        EVENTS[dict(record.headers)["ce_type"].decode()].model_validate_json(record.value)
        for record in await everything_on(bootstrap, topic)
    ]
