"""No name, number or drug gets into a log, a reason, a header or an answer about operations."""

from __future__ import annotations

import json
import signal
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

from shared.database import connect
from shared.events import TOPICS
from shared.events.enrollment import (
    CONTACTS_TOPIC,
    TOPIC,
    ContactDetailsChanged,
    Drug,
    Phone,
    Prescription,
    Profile,
    ProfileChanged,
)
from tests.dumps import tables_with
from tests.integration.fabric.given import Ledger, changed
from tests.running import at_rest

OWNER = "medsync/enrollment"
NAME, NUMBER, DRUG = "Canarius", "+15550199", "Canaricillin"
CANARIES = (NAME, NUMBER, DRUG)


def prescribed(patient: str, how: str) -> ProfileChanged:
    """A profile that names the drug; `how` its handler fares."""
    drug = Drug(code="1", name=DRUG, ingredient=DRUG)
    prescription = Prescription(
        rx_id="rx",
        drug=drug,
        directions=f"{DRUG} for {NAME}",
        usual_quantity=Decimal(30),
        usual_days=30,
        quantity_left=Decimal(30),
        written_on=date(2009, 1, 1),
        expires_on=date(2010, 1, 1),
        prescriber_id="d",
    )
    profile = Profile(store_id=how, prescriptions=(prescription,))
    return ProfileChanged(patient_id=patient, revision=1, profile=profile)


def malformed() -> list[tuple[str, dict[str, Any]]]:
    """Canaries everywhere where a stranger can put text."""
    body = prescribed("x", "well").model_dump(mode="json")
    wrong_types = json.loads(json.dumps(body))
    wrong_types["revision"] = NAME
    wrong_types["profile"]["prescriptions"][0]["quantity_left"] = DRUG
    wrong_types["profile"]["fills"] = {NAME: NUMBER}
    whole = json.dumps(body).encode()
    return [
        bad(0, value=json.dumps(wrong_types).encode()),
        bad(1, value=whole[:-5]),
        bad(2, value=whole, headers={NAME: NUMBER, f"ce_{NAME}": DRUG, "traceparent": NAME}),
        bad(8, value=whole, headers={"ce_correlationid": f"{DRUG} {NAME}", "ce_subject": NAME}),
        bad(3, value=whole, headers={"ce_id": NAME}),
        bad(4, value=whole, headers={"ce_type": f"{NAME}.v1"}),
        bad(5, value=whole, headers={"ce_type": "", "ce_subject": NAME}),
        bad(9, value=whole, headers={"ce_source": NAME}),
        bad(6, value=b"[" + whole, headers={"content-type": "application/cloudevents+json"}),
        (CONTACTS_TOPIC, {**bad(7, value=whole)[1], "headers": sealed_with(NAME)}),
    ]  # fmt: skip


def bad(n: int, *, value: bytes, headers: dict[str, str] | None = None) -> tuple[str, dict[str, Any]]:
    texts = {"ce_id": str(uuid4()), "ce_type": ProfileChanged.TYPE, "ce_source": OWNER} | (headers or {})
    encoded = [(name, text.encode()) for name, text in texts.items()]
    return TOPIC, {"key": f"bad-{n}".encode(), "value": value, "headers": encoded}


def sealed_with(key_id: str) -> list[tuple[str, bytes]]:
    texts = {
        "ce_id": str(uuid4()),
        "ce_type": ContactDetailsChanged.TYPE,
        "ce_source": OWNER,
        "ce_sealingkeyid": key_id,
    }
    return [(name, text.encode()) for name, text in texts.items()]


async def test_no_canary_gets_out(ledger: Ledger) -> None:
    async with ledger.process() as process:
        await process.ready()
        client = process.client
        details = ContactDetailsChanged(
            patient_id="p", revision=1, given_name=NAME, family_name=NAME, phones=(Phone(number=NUMBER),)
        )
        body = details.model_dump(mode="json")
        traced = {"traceparent": NAME, "tracestate": f"a={NUMBER}", "baggage": f"drug={DRUG}"}
        kept = {"Idempotency-Key": "once"}
        assert (await client.post("/patients/p/contact", json=body, headers=traced | kept)).status_code == 200
        assert (await client.post("/patients/p/contact", json=body | {"revision": NAME})).status_code == 400
        broken = {"revision": 1, "fail_with": f"{NAME} {NUMBER} {DRUG}"}
        answers = [
            await client.post("/patients/p/things", json=broken),
            await client.post(f"/patients/p/things?name={NAME}", content=f"{{{NAME}"),
            await client.get(f"/nowhere/{NAME}"),
        ]
        assert [answer.status_code for answer in answers] == [500, 400, 404]
        await ledger.publish(
            prescribed("well", "well"),
            prescribed("fail", "fail"),
            prescribed("refuse", "refuse"),
            changed("a", 1),
        )
        await ledger.publish_raw(malformed())
        await at_rest(client)
        letters = await ledger.letters()
        await client.post(f"/ops/deadletters/{letters[0]['id']}/redrive")
        told = [
            await client.get(f"/ops/{what}") for what in ("status", "ready", "live", "deadletters?status=all")
        ]
        told.append(await client.get("/metrics"))
        told += [await client.get(f"/ops/deadletters/{letters[0]['id']}"), *answers[:1]]
        process.process.send(signal.SIGTERM)
        await process.ended()
    db = await connect(ledger.database_url, name="test")
    in_tables = set(await tables_with(db, *CANARIES))
    await db.close()
    assert in_tables <= {"fabric.dead_letters", "public.effects"}, "where they belong"

    assert len(letters) >= 8
    for where, text in {
        "the log": process.said(),
        "letters": repr([(row["reason"], row["message"], row["event_type"]) for row in letters]),
        "answers": " ".join(answer.text for answer in told),
        "headers": await headers_sent(ledger),
    }.items():
        for canary in CANARIES:
            assert canary not in text, where
    payloads = b"".join(row["payload"] or b"" for row in letters)
    assert DRUG.encode() in payloads  # where it belongs: for a person who looks at the letter


async def headers_sent(ledger: Ledger) -> str:
    """Of everything that the ledger itself published."""
    sent = [one for topic in TOPICS for one in await ledger.topic(topic)]
    own = [dict(one.headers) for one in sent if dict(one.headers).get("ce_source") == b"medsync/ledger"]
    assert own
    return repr(own)
