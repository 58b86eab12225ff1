"""Enrollment put back to an older state, and outreach beside it: outreach follows what enrollment says now and later,
and who left in the time that was lost stays away. And what is told again is no news to anybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.local import Addresses
from services.enrollment.app import create_app as create_enrollment
from services.enrollment.imports import pseudonym
from services.enrollment.settings import Settings as EnrollmentSettings
from services.outreach.app import create_app as create_outreach
from services.outreach.settings import Settings as OutreachSettings
from shared.datakeys import DATA_KEY, DataKeys
from shared.events import Event
from shared.events.enrollment import Channel, Consent, PatientEnrolled, Profile
from shared.events.fulfillment import PackageReady
from shared.events.outreach import ContactOptedOut
from shared.messaging import Jobs
from shared.messaging.envelope import Record
from shared.messaging.intake import Intake
from shared.messaging.topics import create_topics
from shared.sealing import Sealer
from tests import feed
from tests.copies import Copies
from tests.running import SEALING_KEY, STAFF, at_rest, record, running, until
from tests.without_broker import Unbrokered, without_broker

KEY = "pseudonyms-of-a-test-0123456789abcdef"
P1, P2, P3 = (pseudonym(KEY, "chain", number) for number in ("P1", "P2", "P3"))
FEED = {"Medsync-Actor": "feed", "Medsync-Role": "system"}
NOW = datetime(2026, 10, 8, 15, tzinfo=UTC)

Database = Callable[[str], str]


async def test_readers_follow_an_owner_that_was_put_back(
    stack: Addresses, fresh_database: Database, copies: Copies, unique_name: str
) -> None:
    shared = {"kafka_bootstrap": stack.kafka, "topic_prefix": f"{unique_name}.", "sealing_key": SEALING_KEY}
    await create_topics(stack.kafka, 4, prefix=f"{unique_name}.")
    database, of_outreach = fresh_database("enrollment"), fresh_database("outreach")

    def enrollment(url: str, *, wait_ready: bool = True) -> Any:
        made = create_enrollment(EnrollmentSettings(database_url=url, pseudonym_key=KEY, **shared))
        return running(made, wait_ready=wait_ready)

    outreach = running(create_outreach(OutreachSettings(database_url=of_outreach, **shared)))
    async with outreach as reader:
        async with enrollment(database) as owner:
            await _feed(owner, "stores", feed.store())
            await _feed_patients(owner, "1", P1="5550101", P2="5550102")
            for patient_id in (P1, P2):
                await _accepted(owner.post(f"/patients/{patient_id}/consent", json={}, headers=STAFF))
            await at_rest(owner, reader)
        backup = await copies.of(database)
        async with enrollment(database) as owner:
            for revision, number in (("2", "5550111"), ("3", "5550222")):
                await _feed_patients(owner, revision, P1=number, P3="5550103")
            left = {"reason": "revoked"}
            await _accepted(owner.post(f"/patients/{P2}/disenrolment", json=left, headers=STAFF))
            await _accepted(owner.post(f"/patients/{P3}/consent", json={}, headers=STAFF))
            await at_rest(owner, reader)
        assert await _phone(of_outreach, P1) == "+19185550222"

        async with enrollment(backup, wait_ready=False) as owner:

            async def refuses() -> bool:
                return "medsync recovered enrollment" in (await owner.get("/ops/ready")).text

            await until(refuses, "it sees that it was put back")
            report = await _accepted(owner.post("/ops/recovered", json={}, headers=STAFF))
            assert (report["epoch"], report["taken_again"]) == (2, 1)
            assert {P1, P2, P3} == {*report["patients"]}
            assert "medsync.enrollment.patient-disenrolled.v1" in [each["type"] for each in report["lost"]]
            await _accepted(owner.post("/ops/republish", json={}, headers=STAFF))
            await at_rest(owner, reader)
            assert await _phone(of_outreach, P1) == "+19185550101", "what enrollment knows now"
            assert await _enrolled(of_outreach) == {P1: True, P2: False, P3: True}
            standing = (await owner.get(f"/patients/{P2}", headers=STAFF)).json()
            assert standing["status"] == "disenrolled", "who left is not taken back"

            await _feed_patients(owner, "2", P1="5550111", P3="5550113")
            await _accepted(owner.post(f"/patients/{P3}/consent", json={}, headers=STAFF))
            await at_rest(owner, reader)
        assert await _phone(of_outreach, P1) == "+19185550111", "and what it is told later"
        assert await _phone(of_outreach, P3) == "+19185550113", "also of a patient whom it had lost"


@pytest.mark.parametrize(
    ("service", "event", "what"),
    [
        (
            "outreach",
            PackageReady(
                patient_id="p",
                store_id="s",
                package_id="k",
                plan_id="l",
                visit_id="v",
                on=date(2026, 10, 9),
                items=(),
                return_on=date(2026, 10, 20),
            ),
            "contacts",
        ),
        ("console", ContactOptedOut(patient_id="p", channel=Channel.text), "stream"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_is_told_again_is_no_news(
    service: str, event: Event, what: str, fresh_database: Database, tmp_path: Path
) -> None:
    async with Alone(service, fresh_database, tmp_path) as (running_, take):
        await take(event, 0, ce_state="true")
        assert await running_.rows(f"select * from {what}") == []
        await take(event, 1)
        assert await running_.rows(f"select * from {what}") != []


async def test_a_stop_told_again_does_not_go_before_a_consent_given_since(
    fresh_database: Database, tmp_path: Path
) -> None:
    stop = ContactOptedOut(patient_id=P1, channel=Channel.text)
    async with Alone("enrollment", fresh_database, tmp_path, pseudonym_key=KEY) as (service, take):
        for kind, row in (("stores", feed.store()), ("patients", feed.patient())):
            await service.send(f"/imports/{kind}", role="system", source="chain", records=[row])
        await take(stop, 0)
        await service.send(f"/patients/{P1}/consent", role="technician", channels=["text", "phone"])
        await take(stop, 1, ce_state="true")
        (row,) = await service.rows("select channels from consents")
        assert "text" in row["channels"]
        await take(stop, 2)
        (row,) = await service.rows("select channels from consents")
        assert "text" not in row["channels"]


async def test_the_console_keeps_since_when_a_patient_is_enrolled(
    fresh_database: Database, tmp_path: Path
) -> None:
    def enrolled(revision: int) -> PatientEnrolled:
        return PatientEnrolled(
            patient_id="p",
            revision=revision,
            consent=Consent(given_at=NOW),
            profile=Profile(store_id="s"),
        )

    async with Alone("console", fresh_database, tmp_path) as (service, take):
        await take(enrolled(1), 0, ce_time="2026-10-01T00:00:00+00:00")
        await take(enrolled((1 << 32) + 1), 1, ce_time="2026-10-08T00:00:00+00:00", ce_state="true")
        (row,) = await service.rows("select since, revision from patients")
    assert (row["since"].day, row["revision"]) == (1, (1 << 32) + 1)


class Alone:
    """A service without its broker, and a way to hand it one record."""

    def __init__(self, service: str, database: Database, folder: Path, **settings: Any) -> None:
        app, handlers, of = (
            import_module(f"services.{service}.{part}") for part in ("app", "handlers", "settings")
        )
        url = database(service)
        given = of.Settings(
            database_url=url, kafka_bootstrap="unused", sealing_key=SecretStr(SEALING_KEY), **settings
        )
        created = app.create_app(given)
        created.state.settings = given
        self._handlers = handlers.on
        self._running = without_broker(service, created, handlers.on, Jobs(), url=url, now=NOW, folder=folder)

    async def __aenter__(self) -> tuple[Unbrokered, Callable[..., Awaitable[None]]]:
        running_ = await self._running.__aenter__()
        intake = Intake(running_.work, self._handlers)

        async def take(event: Event, offset: int, **headers: str) -> None:
            one = record(event, **headers)
            await intake.take(
                [Record(event.TOPIC, 0, offset, one["key"], tuple(one["headers"]), one["value"])]
            )
            assert await running_.rows("select reason from fabric.dead_letters") == []

        return running_, take

    async def __aexit__(self, *error: Any) -> None:
        await self._running.__aexit__(*error)


async def _feed(owner: httpx.AsyncClient, kind: str, *rows: dict[str, str]) -> None:
    await _accepted(owner.post(f"/imports/{kind}", json={"source": "chain", "records": rows}, headers=FEED))


async def _feed_patients(owner: httpx.AsyncClient, revision: str, **phones: str) -> None:
    rows = [
        feed.patient(patient_number=number, revision=revision, mobile_phone=f"(918) {phone[:3]}-{phone[3:]}")
        for number, phone in phones.items()
    ]
    await _feed(owner, "patients", *rows)


async def _accepted(call: Any) -> Any:
    answer: httpx.Response = await call
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _ask(url: str, query: str, *values: Any) -> list[Any]:
    db = await asyncpg.connect(url)
    try:
        return list(await db.fetch(query, *values))
    finally:
        await db.close()


async def _phone(url: str, patient_id: str) -> str:
    query = (
        f"select patient_id, d.sealed, {DATA_KEY} from details d join fabric.data_keys k using (patient_id)"
    )
    (row,) = await _ask(url, f"{query} where patient_id = $1", patient_id)
    return str(DataKeys(Sealer(SEALING_KEY)).open(row)["phones"][0]["number"])


async def _enrolled(url: str) -> dict[str, bool]:
    return {row["patient_id"]: row["enrolled"] for row in await _ask(url, "select * from patients")}
