"""On a broker that lets in whom it knows and allows what a rule allows: every service works, and a forger does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from pydantic import ValidationError

from cli.proof.topics import read_topics
from cli.topics import OPERATOR, declared, every_rule
from deploy.local.ports import free_port
from services import SERVICES
from shared.broker import BrokerSettings, Tokens, client_of
from shared.broker_access import allow
from shared.clock import SteppedClock
from shared.events import owner_of
from shared.events.enrollment import TOPIC, DisenrolmentReason, PatientDisenrolled
from shared.messaging.tail import records
from shared.messaging.topics import create_topics
from tests import feed
from tests.integration.enrollment.conftest import FEED, NOW, P1, STAFF
from tests.running import SEALING_KEY, at_rest, record, running
from tests.secure_kafka import ADMIN, SecureKafka
from tests.tokens import KEYS, TokenServer, token_server

PRINCIPALS = tuple(f"medsync-{name}" for name in (*SERVICES, OPERATOR))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """With the topics, and the access rules that the registry says."""
    server = SecureKafka(
        tmp_path_factory.mktemp("secure"), free_port(), principals=(*PRINCIPALS, "stranger"), keys=KEYS
    )
    server.start()
    try:
        admin = server.broker(ADMIN)
        rules = [
            rule._replace(principal=f"User:medsync-{rule.principal}") for rule in every_rule(declared(), "")
        ]
        asyncio.run(create_topics(admin, 2))
        asyncio.run(allow(admin, rules))
        asyncio.run(allow(admin, rules))  # again changes nothing
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def tokens(kafka: SecureKafka) -> Iterator[TokenServer]:
    with token_server(kafka.certificates) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_service_works_as_a_principal_of_its_own(
    kafka: SecureKafka, tokens: TokenServer, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    clock = SteppedClock(tmp_path / "clock")
    clock.set(NOW)
    clients: dict[str, httpx.AsyncClient] = {}
    async with AsyncExitStack() as stack:
        for name in SERVICES:
            settings = kafka.settings(f"medsync-{name}") | {
                "database_url": await asyncio.to_thread(fresh_database, name),
                "kafka_bootstrap": kafka.bootstrap,
                "clock_file": clock.path,
                "sealing_key": "13" * 32 if name == "planner" else SEALING_KEY,
            }
            if name == "enrollment":
                settings["pseudonym_key"] = "pseudonyms-of-a-test-0123456789abcdef"
            if name == "planner":
                settings |= {"kafka_mechanism": "OAUTHBEARER", "kafka_token_url": tokens.url}
            made = import_module(f"services.{name}.settings").Settings(**settings)
            app = import_module(f"services.{name}.app").create_app(made)
            clients[name] = await stack.enter_async_context(running(app))
        for kind, rows in (
            ("stores", [feed.store()]),
            ("patients", [feed.patient()]),
            ("prescriptions", [feed.prescription(), feed.prescription(rx_id="RX2", ingredient="metformin")]),
            ("fills", [feed.fill()]),
        ):
            body = {"source": "chain", "records": rows}
            await accepted(clients["enrollment"].post(f"/imports/{kind}", json=body, headers=FEED))
        await at_rest(*clients.values())
        found = (await clients["enrollment"].get("/candidates")).json()["items"]
        await accepted(
            clients["enrollment"].post(f"/patients/{found[0]['patient_id']}/consent", json={}, headers=STAFF)
        )
        await at_rest(*clients.values())
        states = {name: (await client.get("/ops/status")).json() for name, client in clients.items()}
        recovered = await clients["enrollment"].post("/ops/recovered", json={"because": "only to see"})
        assert recovered.status_code == 200, recovered.text
    assert all(state["leads_relay"] and not state["stopped_because"] for state in states.values())
    assert states["enrollment"]["published"] and states["planner"]["published"]
    assert all(states[name]["tally"]["taken"] for name in SERVICES if name != "enrollment")
    assert not any(state["tally"]["buried"] for state in states.values())
    assert tokens.given > 0


async def accepted(call: Any) -> None:
    answer: httpx.Response = await call
    assert answer.status_code == 200, answer.text


async def test_what_another_service_owns_cannot_be_written(kafka: SecureKafka) -> None:
    """With the rules alone, whatever the record says of itself."""
    forged = PatientDisenrolled(patient_id=P1, revision=9, reason=DisenrolmentReason.revoked)
    for name in (*PRINCIPALS, "stranger"):
        if name == f"medsync-{owner_of(TOPIC)}":
            continue
        with pytest.raises(TopicAuthorizationFailedError):
            async with AIOKafkaProducer(**client_of(kafka.broker(name))) as producer:
                await producer.send_and_wait(TOPIC, **record(forged))


async def test_nobody_publishes_as_another_or_reads_as_its_group(kafka: SecureKafka) -> None:
    as_planner = {"transactional_id": "medsync-enrollment-relay-0-0a"}
    producer = AIOKafkaProducer(**client_of(kafka.broker("medsync-planner")), **as_planner)
    with pytest.raises(TransactionalIdAuthorizationFailed):
        try:
            await producer.start()
        finally:
            await producer.stop()
    admin = AIOKafkaAdminClient(**client_of(kafka.broker("medsync-planner")))
    await admin.start()
    try:
        with pytest.raises(GroupAuthorizationFailedError):
            await admin.list_consumer_group_offsets("medsync-enrollment")
    finally:
        await admin.close()


async def test_an_operator_reads_everything_and_a_stranger_nothing(kafka: SecureKafka) -> None:
    reading = {"from_beginning": True, "topics": [TOPIC], "follow": False}
    async for _ in records(kafka.broker(f"medsync-{OPERATOR}"), **reading):
        pass
    with pytest.raises(KafkaError):
        async for _ in records(kafka.broker("stranger"), **reading):
            pass


async def test_the_proof_signs_in_by_itself(kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kafka.settings(f"medsync-{OPERATOR}").items():
        monkeypatch.setenv(f"MEDSYNC_{name.upper()}", str(value))
    assert await read_topics(kafka.bootstrap)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kafka_password": "guessed"},
        {"kafka_protocol": "PLAINTEXT"},
        {"kafka_protocol": "SSL"},
        {"kafka_ca_file": None},
    ],
    ids=str,
)
async def test_who_cannot_say_who_he_is_gets_nowhere(kafka: SecureKafka, wrong: dict[str, Any]) -> None:
    admin = AIOKafkaAdminClient(**client_of(kafka.broker(ADMIN, **wrong)), request_timeout_ms=3000)
    with pytest.raises((KafkaError, KafkaConnectionError)):
        try:
            await admin.start()
        finally:
            await admin.close()


async def test_a_token_is_used_until_shortly_before_its_end_and_outlives_an_outage(
    kafka: SecureKafka, tokens: TokenServer
) -> None:
    wanted = {"kafka_mechanism": "OAUTHBEARER", "kafka_token_url": tokens.url}
    of = Tokens(BrokerSettings(**kafka.settings("medsync-planner", **wanted)))  # type: ignore[arg-type]
    before, tokens.seconds = tokens.given, 6
    try:
        first = await of.token()
        assert await of.token() == first
        assert tokens.given == before + 1
        await asyncio.sleep(5.0)
        tokens.away = True
        assert await of.token() == first
        await asyncio.sleep(1.3)
        with pytest.raises(KafkaConnectionError, match="HTTPStatusError"):
            await of.token()
        tokens.away = False
        assert await of.token() != first
    finally:
        tokens.seconds, tokens.away = 3600, False


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValidationError, match="MEDSYNC_KAFKA_PASSWORD"):
        BrokerSettings(kafka_protocol="SASL_SSL", kafka_user="u")
    with pytest.raises(ValidationError, match="MEDSYNC_KAFKA_TOKEN_URL"):
        BrokerSettings(
            kafka_protocol="SASL_SSL", kafka_user="u", kafka_password="p", kafka_mechanism="OAUTHBEARER"
        )
