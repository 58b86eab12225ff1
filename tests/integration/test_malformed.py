"""Each of the five services is given every family of malformed records, forty of each, between good events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local import Addresses
from services import SERVICES
from shared.clock import SteppedClock
from shared.events import Event, owner_of
from shared.messaging.topics import create_topics
from tests.pharmacy import NOW, as_record, pharmacy
from tests.running import SEALING_KEY, at_rest, producing, running

OF_EACH = 40
PSEUDONYM_KEY = SecretStr("pseudonyms-of-a-test-0123456789abcdef")

Made = dict[str, Any]
"""Key, value and headers of a record to send."""


def _body(change: Callable[[bytes], bytes | None]) -> Callable[[Made], Made]:
    return lambda good: good | {"value": change(good["value"])}


def _fields(**fields: Any) -> Callable[[Made], Made]:
    return _body(lambda value: json.dumps(json.loads(value) | fields).encode())


def _headers(**changed: bytes | None) -> Callable[[Made], Made]:
    return lambda good: good | {"headers": good["headers"] | changed}


def _without(*names: str) -> Callable[[Made], Made]:
    return lambda good: (
        good | {"headers": {name: value for name, value in good["headers"].items() if name not in names}}
    )


FAMILIES: dict[str, tuple[str, Callable[[Made], Made]]] = {
    "empty": ("undecodable", _body(lambda value: b"")),
    "a tombstone": ("tombstone", _body(lambda value: None)),
    "cut off": ("undecodable", _body(lambda value: value[:-7])),
    "twice in a row": ("undecodable", _body(lambda value: value + value)),
    "not JSON": ("undecodable", _body(lambda value: b"\x00\xff\xfe garbage")),
    "UTF-16": ("undecodable", _body(lambda value: value.decode().encode("utf-16"))),
    "Latin-1": ("undecodable", _body(lambda value: value[:-1] + b', "more": "\xe9"}')),
    "a NUL byte": ("undecodable", _body(lambda value: value[:-1] + b', "more": "\0"}')),
    "an escaped NUL": ("undecodable", _fields(more="\0")),
    "a lone surrogate": ("undecodable", _body(lambda value: value[:-1] + b', "more": "\\ud800"}')),
    "deep nesting": ("undecodable", _body(lambda value: b'{"more":' + b"[" * 20_000 + b"]" * 20_000 + b"}")),
    "a list": ("schema", _body(lambda value: b"[1, 2]")),
    "a string": ("schema", _body(lambda value: b'"text"')),
    "a number": ("schema", _body(lambda value: b"1e999")),
    "null": ("schema", _body(lambda value: b"null")),
    "no fields": ("schema", _body(lambda value: b"{}")),
    "an empty patient id": ("schema", _fields(patient_id="")),
    "a patient id that is a number": ("schema", _fields(patient_id=17)),
    "a patient id that is NaN": ("schema", _fields(patient_id=float("nan"))),
    "a patient id of a megabyte": ("schema", _fields(patient_id="p" * 700_000)),
    "a patient id with a line break": ("key_mismatch", _fields(patient_id="a\nb")),
    "another patient's key": ("key_mismatch", _fields(patient_id="somebody-else")),
    "no source": ("foreign_source", _without("ce_source")),
    "a source that does not own the topic": ("foreign_source", _headers(ce_source=b"medsync/stranger")),
    "no id": ("missing_attribute", _without("ce_id")),
    "no type": ("missing_attribute", _without("ce_type")),
    "no headers": ("missing_attribute", lambda good: good | {"headers": {}}),
    "an id that is no UUID": ("bad_attribute", _headers(ce_id=b"17")),
    "a null id": ("missing_attribute", _headers(ce_id=None)),
    "a type that is not UTF-8": ("bad_header", _headers(ce_type=b"\xff\xfe")),
    "structured, but not": ("undecodable", _headers(**{"content-type": b"application/cloudevents+json"})),
}  # fmt: skip


def malformed(good: Event) -> list[tuple[str, Made]]:
    """Reason and record: every family by turns, each record of a patient who does not exist."""
    records = []
    for number in range(OF_EACH * len(FAMILIES)):
        reason, spoil = list(FAMILIES.values())[number % len(FAMILIES)]
        key = f"stranger-{number}"
        sound: Made = {
            "key": key.encode(),
            "value": json.dumps(good.model_dump(mode="json") | {"patient_id": key}).encode(),
            "headers": {
                "ce_id": str(uuid4()).encode(),
                "ce_type": good.TYPE.encode(),
                "ce_source": f"medsync/{owner_of(good.TOPIC)}".encode(),
                "content-type": b"application/json",
            },
        }
        spoilt = spoil(sound)
        records.append((reason, spoilt | {"headers": list(spoilt["headers"].items())}))
    return records


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_sets_every_malformed_record_aside_and_takes_the_others(
    name: str, stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    url, prefix = fresh_database(name), f"{unique_name}."
    handled = import_module(f"services.{name}.handlers").on.events
    known = [each for each in pharmacy(24) if each.event.TYPE in handled]
    sample = next(each.event for each in known if each.event.KEYED_BY == "patient" and not each.event.SEALED)
    bad = malformed(sample)
    good = known if name != "enrollment" else []  # who was not fed to it, it refuses to hear of
    assert len(good) < len(bad)
    await create_topics(stack.kafka, 2, prefix=prefix)
    async with producing(stack.kafka) as producer:
        for (_, record), each in zip_longest(bad, good):
            await producer.send(prefix + sample.TOPIC, **record)
            if each:
                await producer.send(prefix + each.event.TOPIC, **as_record(each))
        await producer.flush()

    clock = SteppedClock(tmp_path / "clock")
    clock.set(NOW)
    service = import_module(f"services.{name}.app")
    settings = import_module(f"services.{name}.settings").Settings(
        database_url=url,
        kafka_bootstrap=stack.kafka,
        sealing_key=SecretStr(SEALING_KEY),
        topic_prefix=prefix,
        clock_file=clock.path,
        **({"pseudonym_key": PSEUDONYM_KEY} if name == "enrollment" else {}),
    )
    async with running(service.create_app(settings)) as client:
        await at_rest(client, seconds=200)
        status = (await client.get("/ops/status")).json()
    assert status["stopped_because"] is None
    assert status["tally"]["taken"] == len(good)
    assert await reasons(url) == Counter(reason for reason, _ in bad)


async def reasons(url: str) -> Counter[str]:
    """Of all dead letters."""
    db = await asyncpg.connect(url)
    try:
        return Counter(row["reason"] for row in await db.fetch("select reason from fabric.dead_letters"))
    finally:
        await db.close()
