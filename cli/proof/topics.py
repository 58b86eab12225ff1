"""Reading every topic from its beginning to its end, and decoding the records by hand."""

from __future__ import annotations

import json
import os
import ssl
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from cli.proof.contract import ATTRIBUTES, SEALED, TOPICS
from cli.proof.record import Event, Item, Said

NOTHING = Said()
_NO_VISITS: Mapping[str, tuple[Item, ...]] = {}


class Topics(NamedTuple):
    """What stands on the topics; see `Record` for the fields."""

    events: Sequence[Event]
    copies: Sequence[Event]
    gone: Mapping[str, int]
    grew: frozenset[str]


async def read_topics(kafka: str, prefix: str = "") -> Topics:
    """Read all of TOPICS, each named with the prefix; joins no group and commits nothing.

    Raises KafkaError where the broker does not answer.
    """
    consumer = AIOKafkaConsumer(
        *(prefix + topic for topic in TOPICS),
        bootstrap_servers=kafka,
        **_signed_in(os.environ),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        return await _read(consumer, prefix)
    finally:
        await consumer.stop()


def _signed_in(environment: Mapping[str, str]) -> dict[str, Any]:
    """How it proves who it is: by TLS and SCRAM, where the environment says so as to other clients."""
    told = {
        name: environment.get(f"MEDSYNC_KAFKA_{name}", "")
        for name in ("PROTOCOL", "CA_FILE", "USER", "PASSWORD")
    }
    if told["PROTOCOL"] in ("", "PLAINTEXT"):
        return {}
    reached = {
        "security_protocol": told["PROTOCOL"],
        "ssl_context": ssl.create_default_context(cafile=told["CA_FILE"] or None),
    }
    if told["PROTOCOL"] == "SSL":
        return reached
    signed = {"sasl_plain_username": told["USER"], "sasl_plain_password": told["PASSWORD"]}
    return reached | {"sasl_mechanism": "SCRAM-SHA-512"} | signed


async def _read(consumer: AIOKafkaConsumer, prefix: str) -> Topics:
    places = sorted(consumer.assignment())
    ends = await consumer.end_offsets(places)
    found: list[Event] = []
    while [place for place in places if await consumer.position(place) < ends[place]]:
        for place, records in (await consumer.getmany(timeout_ms=500)).items():
            topic = sys.intern(place.topic.removeprefix(prefix))
            found += [decode(topic, record) for record in records if record.offset < ends[place]]
    later = await consumer.end_offsets(places)
    found.sort(key=lambda event: (event.topic, event.partition, event.offset))
    firsts: dict[str, Event] = {}
    copies = [event for event in found if firsts.setdefault(event.id, event) is not event]
    return Topics(
        list(firsts.values()),
        copies,
        _gone(found, places, prefix),
        frozenset(place.topic.removeprefix(prefix) for place in places if later[place] > ends[place]),
    )


def _gone(found: Sequence[Event], places: Iterable[TopicPartition], prefix: str) -> dict[str, int]:
    """Offsets before the first record of each partition: what stood there is no longer held, after retention or
    compaction; by topic, where any are. Later gaps tell nothing: transactions leave their markers."""
    firsts: dict[tuple[str, int], int] = {}
    for event in found:
        firsts.setdefault((event.topic, event.partition), event.offset)
    gone: Counter[str] = Counter()
    for topic, partition in ((place.topic.removeprefix(prefix), place.partition) for place in places):
        gone[topic] += firsts.get((topic, partition), 0)
    return {topic: count for topic, count in gone.items() if count}


# ---- one record -------------------------------------------------------------------------------------------------


def decode(topic: str, record: ConsumerRecord[bytes, bytes]) -> Event:
    """A record as the checks look at it. Never raises for what is in it: that is a flaw."""
    flaws: list[str] = []
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    event_type = sys.intern(headers.get("ce_type", ""))
    key = sys.intern((record.key or b"").decode(errors="replace"))
    said = _read_payload(record.value, event_type, flaws)
    _look_at_envelope(headers, event_type, key, said.subject, flaws, tombstone=record.value is None)
    here = f"{topic}/{record.partition}/{record.offset}"
    payload = record.value or b""
    return Event(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        key=key,
        id=sys.intern(headers.get("ce_id") or here),
        type=event_type,
        source=sys.intern(headers.get("ce_source", "")),
        sequence=_number(headers.get("ce_sequence", "")),
        at=_instant(headers.get("ce_time", "")),
        cause=sys.intern(headers.get("ce_causationid", "")),
        whole=fingerprint(record.key or b"", *_flat(record.headers), payload),
        payload=fingerprint(payload),
        flaws=tuple(flaws),
        says=said,
    )


def fingerprint(*parts: bytes) -> int:
    """64 bits of a hash of byte strings, each with its length."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return int.from_bytes(digest.digest(), "big")


def _flat(headers: Sequence[tuple[str, bytes | None]]) -> list[bytes]:
    return [part for name, value in headers for part in (name.encode(), value or b"")]


def _look_at_envelope(
    headers: Mapping[str, str], event_type: str, key: str, subject: str, flaws: list[str], *, tombstone: bool
) -> None:
    flaws += [f"no {name}" for name in sorted(ATTRIBUTES) if not headers.get(name)]
    if headers.get("ce_specversion", "1.0") != "1.0":
        flaws.append("ce_specversion is not 1.0")
    if headers.get("ce_id") and not _is_uuid(headers["ce_id"]):
        flaws.append("ce_id is not a UUID")
    if headers.get("ce_sequence") and not _number(headers["ce_sequence"]):
        flaws.append("ce_sequence is not a number")
    if headers.get("ce_time") and _instant(headers["ce_time"]) is None:
        flaws.append("ce_time is not an instant with its offset")
    if headers.get("ce_subject", key) != key:
        flaws.append("ce_subject is not the record key")
    if event_type in SEALED:
        flaws += [] if tombstone or headers.get("ce_sealingkeyid") else ["no ce_sealingkeyid"]
    elif subject != key:
        flaws.append("the record key is not the id in the payload")


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _number(text: str) -> int:
    """0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() else 0


@lru_cache(maxsize=4096)
def _instant(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


# ---- its payload ------------------------------------------------------------------------------------------------


def _read_payload(payload: bytes | None, event_type: str, flaws: list[str]) -> Said:
    if event_type in SEALED:
        return NOTHING
    try:
        return said(json.loads(payload or b""))
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError):
        flaws.append("the payload cannot be read")
        return NOTHING


def said(body: Mapping[str, Any]) -> Said:
    """What the checks read of a payload. Raises where a field is not what it must be."""
    items, consent = body.get("taken", body.get("items", ())), body.get("consent", {})
    visits = {_id(visit, "visit_id"): tuple(map(_item, visit["items"])) for visit in body.get("visits", ())}
    return Said(
        subject=_id(body, "patient_id") or _id(body, "store_id"),
        revision=body.get("revision", 0),
        plan_id=_id(body, "plan_id"),
        plan_revision=body.get("plan_revision", 0),
        visit_id=_id(body, "visit_id"),
        package_id=_id(body, "package_id"),
        rx_id=_id(body, "rx_id"),
        in_place_of=_id(body, "in_place_of"),
        fill_id=_id(body, "fill_id"),
        quantity=_decimal(body.get("quantity", "0")),
        days_supply=body.get("days_supply", 0),
        intended=_intended(body),
        completes=_id(body, "completes"),
        detail=_id(body, "channel") or _id(body, "change") or _id(body, "outcome") or _id(body, "resolution"),
        on=_day(body.get("handed_over_on") or body.get("reported_on")),
        given_at=_instant(consent.get("given_at", "")),
        amended_at=_instant(consent.get("amended_at") or ""),
        contact_agreed_at=_instant(consent.get("contact_agreed_at") or ""),
        standing=body.get("standing_instruction", consent.get("standing_instruction", False)),
        items=tuple(map(_item, items)),
        visits=visits or _NO_VISITS,
        offers=frozenset(
            (_id(visit, "visit_id"), _item(item))
            for visit in body.get("visits", ())
            for item in visit["items"]
            if item.get("at_counter")
        ),
        at_counter=body.get("at_counter", False),
    )


def _id(body: Mapping[str, Any], name: str) -> str:
    """An id, empty where there is none; kept once, however many events name it."""
    return sys.intern(body.get(name) or "")


def _intended(body: Mapping[str, Any]) -> tuple[Decimal, int] | None:
    """Quantity and days of a whole claim of which this is a part."""
    quantity = body.get("intended_quantity")
    return None if quantity is None else (_decimal(quantity), body["intended_days_supply"])


def _item(body: Mapping[str, Any]) -> Item:
    state, fill_id = body.get("state", ""), body.get("fill_id") or ""
    return _shared(body["rx_id"], body["quantity"], body["days_supply"], state, fill_id)


@lru_cache(maxsize=1 << 18)
def _shared(rx_id: str, quantity: str, days_supply: int, state: str, fill_id: str) -> Item:
    """The same drug stands in plan after plan: kept once."""
    return Item(rx_id, _decimal(quantity), days_supply, state, fill_id)


@lru_cache(maxsize=4096)
def _decimal(text: str) -> Decimal:
    return Decimal(text)


@lru_cache(maxsize=4096)
def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
