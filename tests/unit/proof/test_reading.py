"""The proof's own reading of records, and its own tables of who says and takes what, against the published language."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from cli.proof.contract import OVERTAKING, SEALED, TAKES, TOPICS, owner
from cli.proof.record import Item
from cli.proof.topics import decode
from shared.events import EVENTS
from shared.events.fulfillment import ItemState, PackagedItem, PackagePickedUp
from tests.running import record

PICKED_UP = PackagePickedUp(
    patient_id="p",
    store_id="s",
    package_id="package",
    plan_id="plan",
    visit_id="visit",
    handed_over_on=date(2009, 10, 1),
    taken=(
        PackagedItem(
            rx_id="rx",
            drug_name="a drug",
            state=ItemState.filled,
            quantity=Decimal("30"),
            days_supply=30,
            fill_id="fill",
        ),
    ),
)
GOOD = {
    "ce_source": "medsync/fulfillment",
    "ce_sequence": "7",
    "ce_time": "2009-10-01T15:00:00+00:00",
    "ce_correlationid": "c",
    "ce_causationid": "command:c",
}


def headers(**different: str) -> list[tuple[str, bytes]]:
    made: list[tuple[str, bytes]] = record(PICKED_UP, event_id=None, **GOOD | different)["headers"]
    return made


def on_topic(**parts: Any) -> ConsumerRecord[bytes, bytes]:
    parts = {"offset": 3, **record(PICKED_UP), "headers": headers(), **parts}
    return ConsumerRecord(
        topic="medsync.fulfillment.v1",
        partition=1,
        timestamp=0,
        timestamp_type=0,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        **parts,
    )


def test_a_record_is_read_without_names() -> None:
    event = decode("medsync.fulfillment.v1", on_topic())
    assert (event.type, event.key, event.sequence) == (PackagePickedUp.TYPE, "p", 7)
    assert event.at == datetime(2009, 10, 1, 15, tzinfo=UTC)
    assert event.flaws == ()
    assert event.says.items == (Item("rx", Decimal(30), 30, "filled", "fill"),)
    assert (event.says.visit_id, event.says.on) == ("visit", date(2009, 10, 1))
    assert "a drug" not in repr(event)


@pytest.mark.parametrize(
    ("flaw", "parts"),
    [
        ("no ce_id", {"headers": []}),
        ("no ce_time", {"headers": record(PICKED_UP)["headers"]}),
        ("ce_id is not a UUID", {"headers": headers(ce_id="x")}),
        (
            "ce_sequence is not a number",
            {"headers": headers(ce_sequence="-1")},
        ),
        (
            "ce_time is not an instant",
            {"headers": headers(ce_time="today")},
        ),
        ("ce_specversion is not 1.0", {"headers": headers(ce_specversion="2")}),
        ("ce_subject is not the record key", {"key": b"q"}),
        ("the record key is not the id in the payload", {"key": b"q"}),
        ("the payload cannot be read", {"value": b"\xff"}),
        ("the payload cannot be read", {"value": None}),
        ("the payload cannot be read", {"value": b"[1]"}),
        ("the payload cannot be read", {"value": b'{"patient_id": "p", "quantity": "x"}'}),
        ("no ce_type", {"headers": [("ce_type", None), ("ce_id", b"\xff")]}),
    ],
)
def test_whatever_is_wrong_with_a_record_is_a_flaw(flaw: str, parts: dict[str, Any]) -> None:
    event = decode("medsync.fulfillment.v1", on_topic(**parts))
    assert any(found.startswith(flaw) for found in event.flaws), event.flaws


def test_one_changed_byte_is_another_record() -> None:
    ids = headers()
    whole = decode("t", on_topic(headers=ids)).whole
    assert decode("t", on_topic(headers=ids)).whole == whole
    assert decode("t", on_topic(headers=[*ids, ("x", b"")])).whole != whole
    other = PICKED_UP.model_dump_json().replace("30", "31").encode()
    assert decode("t", on_topic(headers=ids, value=other)).whole != whole


def test_the_topics_are_those_of_the_published_language() -> None:
    published: dict[str, set[str]] = {}
    for event in EVENTS.values():
        published.setdefault(event.TOPIC, set()).add(event.TYPE)
    assert published == TOPICS
    assert {event.TYPE for event in EVENTS.values() if event.SEALED} == SEALED
    assert {event.TYPE for event in EVENTS.values() if event.OVERTAKES} == OVERTAKING
    assert all(owner(event.TYPE) == owner(event.TOPIC) for event in EVENTS.values())


@pytest.mark.parametrize("service", TAKES)
def test_what_a_service_takes_is_what_it_handles(service: str) -> None:
    handled = import_module(f"services.{service}.handlers").on.events.keys()
    assert handled & EVENTS.keys() == TAKES[service], "a tombstone is a record of the type that it takes away"
