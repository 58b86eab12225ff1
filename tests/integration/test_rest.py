"""When is everything at rest? Asked of real processes of two services, of which one stirs the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from cli.rest import NeverAtRest, Observer
from deploy.local import Addresses
from shared.events.fulfillment import TOPIC
from tests import feed
from tests.console_process import Installed, installed
from tests.running import STAFF

SERVICES = {"enrollment": 1, "planner": 1}
NOW = datetime(2009, 10, 1, 14, tzinfo=UTC)


@pytest.mark.timeout(120)
async def test_who_is_given_work_by_another_is_waited_for_as_well(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    async with (
        installed(stack, fresh_database, unique_name, tmp_path, processes=SERVICES, now=NOW) as here,
        httpx.AsyncClient(headers=STAFF, trust_env=False, timeout=20) as http,
    ):
        observer = Observer({service: here.url(service=service) for service in SERVICES}, stack.kafka)
        try:
            assert await observer.until_rest() == {"enrollment", "planner"}

            await consent_of_a_patient(http, here)
            asked = await observer.until_rest({"enrollment"})

            plans = (await http.get(f"{here.url(service='planner')}/plans")).json()["items"]
            assert asked == {"enrollment", "planner"}, "records of enrollment reached the planner"
            assert len(plans) == 1, "the planner was at rest before it had planned"
            due = observer.next_due("planner")
            assert due is not None
            assert due > NOW

            assert await observer.until_rest(()) == set(), "nothing stirs a system that is let alone"
        finally:
            await observer.close()


@pytest.mark.timeout(120)
async def test_who_keeps_it_from_rest_is_named(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    async with installed(
        stack, fresh_database, unique_name, tmp_path, processes={"enrollment": 1}, now=NOW
    ) as here:
        urls = {"enrollment": here.url(service="enrollment"), "planner": "http://127.0.0.1:9"}
        observer = Observer(urls, stack.kafka, patience=0.5)
        try:
            with pytest.raises(NeverAtRest, match=r"planner does not answer$"):
                await observer.until_rest()
        finally:
            await observer.close()


@pytest.mark.timeout(120)
async def test_what_is_sent_and_cannot_be_read_yet_is_waited_for(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    """So it is for some moments after a relay has published all: the broker answers a commit before it is visible."""
    async with installed(
        stack, fresh_database, unique_name, tmp_path, processes={"enrollment": 1}, now=NOW
    ) as here:
        observer = Observer({"enrollment": here.url(service="enrollment")}, stack.kafka, patience=2)
        producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, transactional_id=unique_name)
        await producer.start()
        try:
            await observer.until_rest()
            async with producer.transaction():
                await producer.send_and_wait(here.prefix + TOPIC, b"{}", key=b"p1")
                with pytest.raises(
                    NeverAtRest, match=r"enrollment: a transaction on its topics is not over$"
                ):
                    await observer.until_rest(())
                raise Undone
        except Undone:
            assert await observer.until_rest(()) == {"enrollment"}
        finally:
            await producer.stop()
            await observer.close()


class Undone(Exception):
    """Ends the transaction without its record."""


async def consent_of_a_patient(http: httpx.AsyncClient, here: Installed) -> None:
    """A store, a patient with two drugs, and a consent, one after another as a chain and its staff would."""
    enrollment = here.url(service="enrollment")
    for kind, records in records_by_kind().items():
        fed = await http.post(
            f"{enrollment}/imports/{kind}",
            json={"source": "chain", "records": records},
            headers={"Medsync-Role": "system"},
        )
        assert fed.is_success, fed.text
    patient = (await http.get(f"{enrollment}/patients")).json()["items"][0]["patient_id"]
    consent = {"channels": ["phone"], "language": "en"}
    answer = await http.post(f"{enrollment}/patients/{patient}/consent", json=consent)
    assert answer.is_success, answer.text


def records_by_kind() -> Mapping[str, list[dict[str, str]]]:
    second = {"rx_id": "RX2", "drug_code": "860975", "drug_name": "Metformin 500 MG Oral Tablet"}
    return {
        "stores": [feed.store()],
        "patients": [feed.patient()],
        "prescriptions": [
            feed.prescription(),
            feed.prescription(**second, ingredient="metformin", strength="500 mg"),
        ],
        "fills": [
            feed.fill(),
            feed.fill(fill_id="F2", rx_id="RX2", filled_on="2009-09-14", handed_over_on="2009-09-14"),
        ],
    }
