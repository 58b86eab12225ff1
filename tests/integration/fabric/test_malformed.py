"""Whatever lies on a topic: no crash, one dead letter with its reason where one is due, and the neighbors go on."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from shared.events.enrollment import TOPIC, ProfileChanged
from shared.messaging.envelope import Record
from tests.integration.fabric.given import Ledger, changed, id_of, status
from tests.running import at_rest

GOOD = changed("p", 1).model_dump(mode="json")
BODY = json.dumps(GOOD).encode()


@dataclass(frozen=True)
class Case:
    """A record that is wrong in one way, and the reason that its letter gives; none: it is passed or taken."""

    what: str
    reason: str | None
    value: bytes | None = BODY
    key: bytes | None = b"p"
    headers: tuple[tuple[str, bytes | None], ...] = ()  # added
    without: tuple[str, ...] = ()
    parks: bool = True


def body(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def profile(**fields: Any) -> bytes:
    return body(profile=GOOD["profile"] | fields)


def structured(**attributes: Any) -> bytes:
    document = {"specversion": "1.0", "id": str(uuid4()), "type": ProfileChanged.TYPE, "data": GOOD}
    document["source"] = "medsync/enrollment"
    return json.dumps(document | attributes).encode()


NAN = {"revision": float("nan")}
FOREIGN = (("ce_source", b"medsync/outreach"),)
IS_STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)

CASES = [
    Case("an empty payload", "undecodable", value=b""),
    Case("a tombstone", "tombstone", value=None),
    Case("JSON cut off", "undecodable", value=BODY[:-7]),
    Case("not JSON at all", "undecodable", value=b"\x00\xff\xfe garbage"),
    Case("not UTF-8", "undecodable", value=BODY.replace(b"well", b"w\xe9ll")),
    Case("a NUL byte", "undecodable", value=BODY.replace(b"well", b"we\x00l")),
    Case("an escaped NUL", "undecodable", value=body(visit_id="\0")),
    Case("deep nesting", "undecodable", value=b'{"profile":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    Case("a list instead of an object", "schema", value=b"[1, 2]"),
    Case("null instead of an object", "schema", value=b"null"),
    Case("a missing field", "schema", value=json.dumps({"patient_id": "p"}).encode()),
    Case("a wrong type", "schema", value=body(revision="many")),
    Case("NaN where a number is due", "schema", value=BODY.replace(b'"revision": 1', b'"revision": NaN')),
    Case("infinity where a number is due", "schema", value=profile(preferred_weekday=1e999)),
    Case("a number beyond any column", "failed:DataError", value=body(revision=10**20)),
    Case("an empty patient id", "schema", value=body(patient_id=""), key=b""),
    Case("a patient id too long", "schema", value=body(patient_id="p" * 65), parks=False, key=b"p" * 65),
    Case("a lone surrogate", "undecodable", value=BODY.replace(b"well", b"\\ud800")),
    Case("another patient's key", "key_mismatch", key=b"q"),
    Case("no key", "key_mismatch", key=None, parks=False),
    Case("a key that is not UTF-8", "key_mismatch", key=b"\xff\xfe", parks=False),
    Case("a key that is not printable", "key_mismatch", key=b"a\x00b", parks=False),
    Case("no ce_id", "missing_attribute", without=("ce_id",)),
    Case("no ce_type", "missing_attribute", without=("ce_type",)),
    Case("no headers", "missing_attribute", without=("ce_id", "ce_type", "content-type")),
    Case("a ce_id that is no UUID", "bad_attribute", headers=(("ce_id", b"17"),)),
    Case("a null header that is read", "missing_attribute", headers=(("ce_id", None),)),
    Case("a header that is read and not UTF-8", "bad_header", headers=(("ce_type", b"\xff\xfe"),)),
    Case("a null header that is not read", None, headers=(("other", None),)),
    Case("a header that is not read and not UTF-8", None, headers=(("ce_other", b"\xff"), ("x", b"\xfe"))),
    Case("a header name with a NUL in a bad record", "undecodable", value=b"", headers=(("ce_\0", b"1"),)),
    Case("a header twice", None, headers=(("ce_subject", b"a"), ("ce_subject", b"b"))),
    Case("a field twice", None, value=BODY[:-1] + b', "patient_id": "p"}'),
    Case("fields that nobody knows", None, value=body(unknown={"deep": [1, None]})),
    Case("a type that nobody handles", None, value=b"\xff", headers=(("ce_type", b"medsync.x.v9"),)),
    Case("a value that an open enumeration lacks", None, value=profile(cycle_policy="new")),
    Case("a trace that cannot be copied", None, headers=(("traceparent", b"a\0b"), ("ce_correlationid", b"\0"))),
    Case("structured mode", None, value=structured(), headers=IS_STRUCTURED, without=("ce_id", "ce_type")),
    Case("structured mode cut off", "undecodable", value=structured()[:-9], headers=IS_STRUCTURED),
    Case("structured mode without data", "undecodable", value=b'{"type": "x"}', headers=IS_STRUCTURED),
    Case("structured mode, a list", "undecodable", value=b"[]", headers=IS_STRUCTURED),
    Case("structured mode, deep nesting", "undecodable", value=b"[" * 100_000, headers=IS_STRUCTURED),
    Case("structured mode, NaN", "schema", value=structured(data=GOOD | NAN), headers=IS_STRUCTURED),
    Case("no source", "foreign_source", without=("ce_source",), parks=False),
    Case("a source that does not own the topic", "foreign_source", headers=FOREIGN, parks=False),
    Case("a type on another's topic", "schema", headers=(("ce_type", b"medsync.outreach.pickup-confirmed.v1"),)),
]  # fmt: skip


def record(case: Case, patient: str) -> tuple[str, dict[str, Any]]:
    """The case as a record of a patient of its own, so that one letter per patient tells them apart."""
    own = patient.encode()
    headers: dict[str, bytes | None] = {
        "ce_id": str(uuid4()).encode(),
        "ce_type": ProfileChanged.TYPE.encode(),
        "ce_source": b"medsync/enrollment",
        "content-type": b"application/json",
    }
    added = {name for name, _ in case.headers}
    kept = [
        (name, value) for name, value in headers.items() if name not in added and name not in case.without
    ]
    value = (
        case.value.replace(b'"patient_id": "p"', b'"patient_id": "' + own + b'"')
        if case.value
        else case.value
    )
    key = own if case.key == b"p" else case.key
    return TOPIC, {"key": key, "value": value, "headers": [*kept, *case.headers]}


async def test_every_kind_of_malformed_record_is_contained(ledger: Ledger) -> None:
    records, good = [], []
    for n, case in enumerate(CASES):
        records += [record(case, f"bad-{n}"), record(Case("good", None), f"good-{n}")]
        good.append(f"good-{n}")
    async with ledger.running() as client:
        await ledger.publish_raw(records)
        await at_rest(client)
        told = await status(client)
        assert (told["stopped_because"], told["tally"]["commit_errors"]) == (None, 0)
    letters = {(row["partition"], row["offset"]): row for row in await ledger.letters()}
    effects = {e.patient_id for e in await ledger.effects()}
    assert effects >= set(good)

    found = {}
    for one in await ledger.topic(TOPIC):
        letter = letters.get((one.partition, one.offset))
        found[one.value, one.key, tuple(one.headers)] = letter and letter["reason"]
    for (_, sent), case in zip(records[::2], CASES, strict=True):
        place = (sent["value"], sent["key"], tuple(sent["headers"]))
        assert found[place] == case.reason, case.what
    passed = {n for n, case in enumerate(CASES) if case.reason is None}
    taken = passed - {n for n in passed if "nobody handles" in CASES[n].what}
    assert {f"bad-{n}" for n in taken} == {e for e in effects if e.startswith("bad-")}
    parked = {row["key"] for row in await ledger.sql("select key from fabric.parked")}
    assert {
        f"patient:bad-{n}" for n, c in enumerate(CASES) if c.reason and c.parks and c.key == b"p"
    } <= parked


async def test_a_malformed_record_read_again_is_still_one_letter(ledger: Ledger) -> None:
    case = next(case for case in CASES if case.what == "no ce_id")
    await ledger.publish_raw([record(case, "p")])
    async with ledger.running() as client:
        intake = client._transport.app.state.machinery.consumer.intake  # type: ignore[attr-defined]
        await ledger.until_letters(1)
        again = await ledger.topic(TOPIC)
        for _ in range(2):
            await intake.take(
                [
                    Record(TOPIC, one.partition, one.offset, one.key, tuple(one.headers), one.value)
                    for one in again
                ]
            )
    assert len(await ledger.letters()) == 1
    assert await ledger.count("fabric.parked_events") <= 1


async def test_a_malformed_record_of_a_parked_patient_waits_its_turn(ledger: Ledger) -> None:
    """Nothing that comes after it overtakes it."""
    cut_off = next(case for case in CASES if case.what == "JSON cut off")
    async with ledger.running() as client:
        await ledger.publish(changed("p", 1, "fail"), changed("p", 2))
        await ledger.publish_raw([record(cut_off, "p")])
        await ledger.publish(changed("p", 3))
        first = (await ledger.until_letters(1))[0]
        await at_rest(client)
        assert await ledger.count("fabric.parked_events") == 3
        answer = await client.post(f"/ops/deadletters/{first['id']}/skip", json={"because": "tested"})
        assert answer.json()["failed"] == "undecodable"
        assert await ledger.effects_of("p") == [("changed", 2)]
        (second,) = await ledger.letters()
        await client.post(f"/ops/deadletters/{second['id']}/skip", json={"because": "tested"})
    assert await ledger.effects_of("p") == [("changed", 2), ("changed", 3)]


async def test_a_header_name_that_is_not_utf8_is_contained(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client library sends one, but a broken one may: here the bytes of the batch are changed on the way."""
    build = BatchBuilder._build

    def with_a_bad_name(self: BatchBuilder) -> bytearray:
        raw: bytearray = build(self)
        at = raw.find(b"badname")
        if at >= 0:
            raw[at : at + 2] = b"\xff\xfe"
            raw[17:21] = struct.pack(">I", calc_crc32c(raw[21:]))
        return raw

    monkeypatch.setattr(BatchBuilder, "_build", with_a_bad_name)
    bad = record(Case("good", None, headers=(("badname", b"1"),)), "p")
    patients = [*(f"p{n}" for n in range(20)), "p"]
    good = [record(Case("good", None), patient) for patient in patients * 2]
    for batch in (good[:21], [bad], good[21:]):
        await ledger.publish_raw(batch)
    async with ledger.running() as client:
        await at_rest(client)
    (letter,) = await ledger.letters()
    assert (letter["reason"], letter["payload"]) == ("undecodable", None)
    assert await ledger.count("effects") == len(good)


async def test_an_id_from_the_future_is_a_letter_and_not_in_the_inbox_until_a_person_takes_it(
    ledger: Ledger,
) -> None:
    """Its week would be kept long after it was forgotten on the topic, and an older one could not be made."""
    now = datetime.now(UTC)
    soon, late, later = (id_of(now + timedelta(days=n)) for n in (2, 4, 400))
    await ledger.publish_with_ids(
        [(changed("p", 1), soon), (changed("q", 1), late), (changed("q", 2), later)]
    )
    async with ledger.running() as client:
        await ledger.until_letters(1)
        await at_rest(client)
        (letter,) = await ledger.letters()
        assert (letter["reason"], letter["event_id"]) == ("from_the_future", None)
        assert [(e.patient_id, e.revision) for e in await ledger.effects()] == [("p", 1)]
        assert await ledger.count("fabric.inbox") == 1
        answer = await client.post(f"/ops/deadletters/{letter['id']}/redrive")
        assert answer.json()["failed"] == "from_the_future"  # each waits for a person of its own
        (behind,) = await ledger.letters()
        await client.post(f"/ops/deadletters/{behind['id']}/redrive")
        assert await ledger.effects_of("q") == [("changed", 1), ("changed", 2)]
        assert await ledger.count("fabric.inbox") == 1
