"""Names and numbers travel sealed: unreadable on the topic, opened by the consumer, and only as what they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged, Phone
from tests.integration.fabric.given import Ledger, disenrolled
from tests.running import at_rest
from tests.running import record as by_owner

NAME, NUMBER = "Canarius", "+15550100"


async def change_contact(client: httpx.AsyncClient, patient: str = "p") -> None:
    details = ContactDetailsChanged(
        patient_id=patient, revision=1, family_name=NAME, phones=(Phone(number=NUMBER),)
    )
    answer = await client.post(f"/patients/{patient}/contact", json=details.model_dump(mode="json"))
    assert answer.status_code == 200


async def test_details_are_unreadable_on_the_topic_and_opened_by_the_consumer(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await change_contact(client)
        await at_rest(client)
    (sent,) = await ledger.topic(CONTACTS_TOPIC)
    for secret in (NAME.encode(), NUMBER.encode(), b"family_name"):
        assert secret not in (sent.value or b"")
        assert all(secret not in value for _, value in sent.headers)
    assert dict(sent.headers)["ce_sealingkeyid"] == b"1"
    assert (await ledger.sql("select note from effects where kind = 'contact'"))[0]["note"] == NAME


async def test_another_patients_envelope_opens_nothing(ledger: Ledger) -> None:
    async with ledger.running() as client:
        await change_contact(client)
        await at_rest(client)
        (sent,) = await ledger.topic(CONTACTS_TOPIC)
        headers = dict(sent.headers) | {"ce_id": b"00000000-0000-7000-8000-000000000001"}
        await ledger.publish_raw(
            [(CONTACTS_TOPIC, record(b"other", headers | {"ce_subject": b"other"}, sent.value))]
        )
        (letter,) = await ledger.until_letters(1)
        assert (letter["key"], letter["reason"]) == ("patient:other", "seal_broken")
        headers["ce_id"] = b"00000000-0000-7000-8000-000000000002"
        await ledger.publish_raw([(CONTACTS_TOPIC, record(b"another", headers, sent.value))])
        letter = (await ledger.until_letters(2))[1]
        assert (letter["key"], letter["reason"]) == ("patient:another", "key_mismatch")
    assert await ledger.count("effects where kind = 'contact'") == 1


async def test_a_service_with_another_key_opens_nothing_says_why_and_stops(ledger: Ledger) -> None:
    async with ledger.running() as client:
        for n in range(8):
            await change_contact(client, f"p{n}")
        await at_rest(client)
    sent = await ledger.topic(CONTACTS_TOPIC)
    again = [
        (CONTACTS_TOPIC, record(one.key, dict(one.headers) | {"ce_id": new_id(n)}, one.value))
        for n, one in enumerate(sent)
    ]
    await ledger.publish_raw(again[:1])
    async with ledger.running(sealing_key="77" * 32):
        (letter,) = await ledger.until_letters(1)
        assert (letter["reason"], letter["message"]) == (
            "seal_broken",
            "the payload or its subject was changed",
        )
    await ledger.publish_raw(again[1:])
    async with ledger.running(sealing_key="77" * 32, sealing_key_id="2", wait_ready=False) as client:
        letters = await ledger.until_letters(5)
        assert letters[4]["message"] == "sealed with a key that this service does not hold: it holds 2"
        answer = (await client.get("/ops/ready")).json()
        assert any("seal_broken" in missing for missing in answer["missing"])


async def test_a_forged_event_changes_nothing_parks_nobody_and_spends_no_id(ledger: Ledger) -> None:
    real = disenrolled("p", 1)
    id_ = UUID("00000000-0000-7000-8000-000000000009")
    async with ledger.running() as client:
        await ledger.publish_raw([(real.TOPIC, by_owner(real, event_id=id_, ce_source="medsync/planner"))])
        (letter,) = await ledger.until_letters(1)
        assert (letter["reason"], letter["key"], letter["event_id"]) == ("foreign_source", None, None)
        assert await ledger.effects() == []
        await ledger.publish_raw([(real.TOPIC, by_owner(real, event_id=id_))])
        await at_rest(client)
    assert await ledger.effects_of("p") == [("disenrolled", 1)]
    assert await ledger.count("fabric.parked") == 0


def record(key: bytes | None, headers: dict[str, bytes], value: bytes | None) -> dict[str, Any]:
    return {"key": key, "headers": list(headers.items()), "value": value}


def new_id(n: int) -> bytes:
    return f"00000000-0000-7000-8000-{n:012d}".encode()
