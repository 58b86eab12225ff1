"""What is wrong is seen: in the log, in the metrics, by the doctor."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import Addresses
from deploy.local.ports import free_port
from deploy.local.process import Process
from shared import attention
from shared.events.enrollment import TOPIC
from shared.http import PROBLEM_JSON
from shared.messaging import lag, relay, sizes, tables, waits
from shared.messaging.envelope import TRACE_PARENT
from shared.metrics import KINDS
from tests.integration.fabric.given import Ledger, LedgerProcess, changed
from tests.integration.fabric.test_relay import large
from tests.running import SEALING_KEY, at_rest, until

NAME = "Canarius"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ROUTE = "/patients/{patient_id}/things"


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of `/metrics`."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def of(samples: Mapping[Any, float], name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def malformed(patient: str) -> tuple[str, dict[str, Any]]:
    texts = {"ce_id": str(uuid4()), "ce_type": changed("p", 1).TYPE, "ce_source": "medsync/enrollment"}
    headers = [(name, text.encode()) for name, text in texts.items()]
    return TOPIC, {"key": patient.encode(), "value": b'{"revision": "Canarius"}', "headers": headers}


async def test_a_record_buried_for_its_form_is_logged_with_its_place_and_counted(ledger: Ledger) -> None:
    async with ledger.running() as client:
        with structlog.testing.capture_logs() as logs:
            await ledger.publish_raw([malformed("p"), malformed("p")])
            await at_rest(client)
        samples = await scraped(client)
    (line,) = [each for each in logs if each["event"] == "event.buried"]
    (letter,) = await ledger.letters()
    assert (line["topic"], line["partition"], line["offset"]) == (
        TOPIC,
        letter["partition"],
        letter["offset"],
    )
    assert (line["reason"], line["log_level"]) == ("schema", "warning")
    assert NAME not in repr(logs)
    assert of(samples, "medsync_events_buried_total", reason="schema") == 1
    assert of(samples, "medsync_events_stored_behind_total") == 1
    assert of(samples, "medsync_parked") == of(samples, "medsync_dead_letters_open") == 1


async def test_what_a_process_did_and_what_waits_is_counted(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "RECORD_BYTES", 5_000)
    async with ledger.running(slot=3) as client:
        await ledger.publish(changed("p", 1), changed("q", 1, "refuse"))
        await ledger.sql("insert into things (patient_id, due_at) values ('bad', now() - interval '1 hour')")
        await client.post("/patients/p/things", json={})
        await client.post("/patients/p/contact", json=large("p", 1, 6))
        await client.post("/patients/p/things", json={"revision": NAME})
        await client.get(f"/nowhere/{NAME}")
        await at_rest(client)
        samples = await scraped(client)
        text = (await client.get("/metrics")).text
    assert of(samples, "medsync_events_total", outcome="taken") == 1
    assert of(samples, "medsync_events_handled_total", type=changed("p", 1).TYPE) == 1
    assert of(samples, "medsync_events_buried_total", reason="refused:told_to") == 1
    assert of(samples, "medsync_due_buried_total") == 1
    assert of(samples, "medsync_parked") == 2
    assert of(samples, "medsync_relay_published_total") == 2
    assert of(samples, "medsync_lag_records", topic=ledger.prefix + TOPIC) == 0
    assert of(samples, "medsync_broker_answers") == of(samples, "medsync_database_answers") == 1
    assert of(samples, "medsync_http_requests_total", method="POST", route=ROUTE, status="200") == 1
    refusals = {
        dict(labels)["code"]: value for (name, labels), value in samples.items() if "refusals_total" in name
    }
    assert refusals == {"too_large": 1, "invalid_request": 1, "http_404": 1}
    assert not re.search(rf"{NAME}|patient:|\"[pq]\"", text)


async def test_the_page_of_metrics_names_every_metric_and_no_other(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1), changed("q", 1, "refuse"))
        await at_rest(client)
        await client.post("/patients/p/things", json={"revision": NAME})
        await ledger.sql("update effects set note = repeat('x', 1100000)")
        await client.post("/ops/republish", json={})
        text = (await client.get("/metrics")).text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    page = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text()
    assert told == set(re.findall(r"^\| `(medsync_\w+)", page, re.MULTILINE))
    assert KINDS.keys() <= told


async def test_metrics_are_told_while_the_broker_or_the_database_is_away(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise ConnectionResetError

    def no_connection(*_: Any) -> Any:
        raise ConnectionRefusedError

    async with ledger.running() as client:
        app = client._transport.app  # type: ignore[attr-defined]
        with monkeypatch.context() as outage:
            outage.setattr(lag.LagMeter, "read", away)
            samples = await scraped(client)
            assert of(samples, "medsync_broker_answers") == 0
            assert of(samples, "medsync_outbox_rows") == 0
            assert not [name for name, _ in samples if name.startswith("medsync_lag")]
        with monkeypatch.context() as outage:
            outage.setattr(type(app.state.work), "connection", no_connection)
            samples = await scraped(client)
            assert of(samples, "medsync_database_answers") == 0
            assert of(samples, "medsync_pool_connections", state="in_use") is not None
            assert not [name for name, _ in samples if name.startswith("medsync_outbox")]


async def test_what_lasts_too_long_is_told_and_makes_no_probe_fail(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("SNAPSHOT_SECONDS", "TRANSACTION_SECONDS", "UNPUBLISHED_SECONDS"):
        monkeypatch.setattr(attention, limit, 0.5)
    monkeypatch.setattr(waits, "LASTS_SECONDS", 0.5)

    async def no_broker(*_: Any) -> Any:
        raise ConnectionRefusedError("at its address")

    async with ledger.running() as client:
        await at_rest(client)
        ready = (await client.get("/ops/ready")).json()
        assert (ready["missing"], ready["warnings"]) == ([], [])
        monkeypatch.setattr(relay.Relay, "_send", no_broker)
        await client.post("/patients/p/things", json={"revision": 1})
        await ledger.publish(changed("q", 1, "refuse"))
        await ledger.until_letters(1)
        reader = await asyncpg.connect(ledger.database_url)
        async with reader.transaction(isolation="repeatable_read"):
            await reader.execute("select from effects")

            async def all_told() -> bool:
                answer = await client.get("/ops/consuming")
                assert (answer.status_code, answer.json()["missing"]) == (200, []), answer.text
                told = {each["code"] for each in answer.json()["warnings"]}
                return told == {
                    "relay_waits",
                    "unpublished_events",
                    "parked",
                    "old_snapshot",
                    "open_transaction",
                }

            await until(all_told, "every warning is told")
            warnings = (await client.get("/ops/ready")).json()["warnings"]
            (of_relay,) = [each["says"] for each in warnings if each["code"] == "relay_waits"]
            assert re.fullmatch(r"publishing fails for \d+ s \(ConnectionRefusedError\)", of_relay)
            samples = await scraped(client)
            assert of(samples, "medsync_oldest_snapshot_seconds") > 0.5
            assert of(samples, "medsync_waits_seconds", part="relay") > 0.5
            assert of(samples, "medsync_waits_seconds", part="consumption") == 0
        await reader.close()
        monkeypatch.undo()

        async def told_no_more() -> bool:
            return {each["code"] for each in (await client.get("/ops/ready")).json()["warnings"]} == {
                "parked"
            }

        await until(told_no_more, "only the parked patient is left")


async def test_consumption_and_due_work_that_wait_for_long_say_since_when_and_why(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "LASTS_SECONDS", 0.5)

    async def locked_out(*_: Any) -> Any:
        raise asyncpg.LockNotAvailableError("of a row about Canarius")

    async with ledger.running() as client:
        with monkeypatch.context() as outage:
            outage.setattr(tables, "claim", locked_out)
            outage.setattr(tables, "due_states", locked_out)
            await ledger.publish(changed("p", 1))

            async def told() -> bool:
                answer = await client.get("/ops/consuming")
                missing = " ".join(answer.json()["missing"])
                return answer.status_code == 503 and bool(
                    re.search(r"consumption waits for \d+ s \(LockNotAvailableError\)", missing)
                    and re.search(r"due work waits for \d+ s \(LockNotAvailableError\)", missing)
                )

            await until(told, "it says what it waits for")
            assert (await client.get("/ops/ready")).status_code == 200
        await at_rest(client)

        async def over() -> bool:
            return (await client.get("/ops/consuming")).status_code == 200

        await until(over, "nothing is waited for any more")


async def test_a_refused_command_leaves_one_line_without_what_it_said(ledger: Ledger) -> None:
    parent = f"00-{TRACE}-00f067aa0ba902b7-01"
    assert TRACE_PARENT.fullmatch(parent)
    async with ledger.running() as client:
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
            body = {"revision": NAME}
            refused = await client.post(
                f"/patients/{NAME}/things", json=body, headers={"traceparent": parent}
            )
            await client.post("/patients/p/things", json={}, headers={"Medsync-Actor": f"{NAME} Smith"})
            await client.post("/patients/p/things", json={})
    assert refused.headers["content-type"] == PROBLEM_JSON
    lines = [each for each in logs if each["event"] == "command.refused"]
    assert [(each["route"], each["status"], each["code"]) for each in lines] == [
        (ROUTE, 400, "invalid_request"),
        (ROUTE, 401, "not_signed_in"),
    ]
    assert (lines[0]["role"], lines[0]["actor"], lines[0]["trace_id"]) == ("pharmacist", "staff-1", TRACE)
    assert (lines[1]["actor"], len(lines[1]["trace_id"])) == (None, 32)
    assert NAME not in repr(logs)


async def test_a_failing_event_s_lines_name_its_trace(ledger: Ledger) -> None:
    topic, record = TOPIC, dict(malformed("p")[1])
    event = changed("p", 1, "fail")
    record["value"] = event.model_dump_json().encode()
    record["headers"] = [*record["headers"], ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())]
    async with ledger.running() as client:
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
            await ledger.publish_raw([(topic, record)])
            await at_rest(client)
    told = {each["event"]: each.get("trace_id") for each in logs}
    assert told["event.failed"] == told["event.buried"] == TRACE


async def test_a_process_says_who_it_is_when_it_starts_and_why_it_stops(
    stack: Addresses, ledger: Ledger, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    settings = {
        "database_url": fresh_database("planner"),
        "kafka_bootstrap": stack.kafka,
        "sealing_key": SEALING_KEY,
        "topic_prefix": ledger.prefix,
        "port": str(free_port()),
    }
    environment = os.environ | {f"MEDSYNC_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "cli.main", "run", "planner", "--slot", "2"]
    process = Process("planner", command, tmp_path / "log", environment=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings['port']}") as client:
            started = LedgerProcess(process, client, tmp_path / "log")
            await started.ready()
            process.send(signal.SIGTERM)
            await started.ended()
    finally:
        if process.exit_code is None:
            process.kill()
    lines = [json.loads(line) for line in started.said().splitlines()]
    told = [line for line in lines if line["event"].startswith("service.")]
    assert [line["event"] for line in told] == ["service.starts", "service.stops", "service.stopped"]
    assert {(line["service"], line["slot"]) for line in told} == {("planner", 2)}
    assert (told[0]["version"], told[1]["why"]) == (version("medsync"), "SIGTERM")
