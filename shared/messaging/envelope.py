"""CloudEvents 1.0 on Kafka: attributes in headers (binary mode), the payload a bare model as JSON.

Structured mode (one JSON document that holds attributes and `data`) is accepted on the way in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from pydantic import ValidationError

from shared.events import COMPACTED_TOPICS, EVENTS, Event, owner_of
from shared.events.serialized import SerializedEvent
from shared.events.tombstones import TOMBSTONES
from shared.sealing import SealBroken, Sealer

STRUCTURED = "application/cloudevents+json"
JSON = "application/json"
SEALED = "application/octet-stream"

READ_HEADERS = (
    "content-type",
    "ce_type",
    "ce_id",
    "ce_source",
    "ce_subject",
    "ce_correlationid",
    "ce_sealingkeyid",
)
OPTIONAL_HEADERS = ("ce_causationid", "ce_time", "ce_state", "ce_for", "traceparent")
"""As if they were not there where they are not UTF-8. Others may hold anything."""

CORRELATION = re.compile(r"[\w.:/-]{1,80}", re.ASCII)
TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""Both are copied to the events that follow: a stranger's text is not."""


FOREIGN = "foreign_source"
"""The reason of a record whose source does not own its topic."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it came from a topic; nothing of it is trusted."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record understood: an event of a type that this service handles."""

    record: Record
    event_id: UUID
    event: Event
    key: str  # typed: it orders, locks and parks it
    correlation_id: str
    trace_parent: str | None = None
    causation_id: str | None = None  # the event, command or due work that it follows from
    at: datetime | None = None  # business time; none where the sender gave none
    is_state: bool = False  # as things stand, told again: no news


@dataclass(frozen=True, slots=True)
class Invalid:
    """A record that cannot be understood, and why; `message` holds no personal data."""

    record: Record
    reason: str
    message: str
    event_id: UUID | None = None
    event_type: str | None = None

    @property
    def key(self) -> str | None:
        """The typed key of whom it belongs to, where the record's key says so; a stranger's word parks nobody."""
        return None if self.reason == FOREIGN else _key_of_record(self.record)


@dataclass(frozen=True, slots=True)
class Unhandled:
    """A well-formed event of a type that this service does not handle, or for another group: counted and passed."""

    record: Record


def typed_key(event: Event | SerializedEvent) -> str:
    """`patient:…` or `store:…`: what events are ordered, locked and parked by."""
    return f"{_kind(event).KEYED_BY}:{event.key}"


def _kind(event: Event | SerializedEvent) -> type[Event]:
    return event.of if isinstance(event, SerializedEvent) else type(event)


def headers_of(
    event: Event | SerializedEvent,
    *,
    service: str,
    at: str,
    correlation_id: str,
    causation_id: str,
    trace_parent: str | None,
) -> dict[str, str]:
    """The headers of an outgoing event, but for `ce_id` and `ce_sequence`, which its outbox row has.

    `at` is its business time, in ISO form.
    """
    headers = {
        "ce_specversion": "1.0",
        "ce_type": event.TYPE,
        "ce_source": f"medsync/{service}",
        "ce_subject": event.key,
        "ce_time": at,
        "ce_correlationid": correlation_id,
        "ce_causationid": causation_id,
        "content-type": SEALED if _kind(event).SEALED else JSON,
    }
    return headers | {"traceparent": trace_parent} if trace_parent else headers


def marks_of_state(group: str | None = None) -> dict[str, str]:
    """The headers of what is no news: things as they stand, told again; to one group of consumers alone, or to all."""
    return {"ce_state": "true"} | ({"ce_for": group} if group else {})


def payload_of(event: Event | SerializedEvent, sealer: Sealer) -> tuple[bytes, dict[str, str]]:
    """The payload, sealed where the event says so, and the headers that tell how."""
    plain = (event.json if isinstance(event, SerializedEvent) else event.model_dump_json()).encode()
    if not _kind(event).SEALED or not plain:  # nothing is a tombstone
        return plain, {}
    key_id, sealed = sealer.seal(plain, bound_to=f"{event.TYPE}/{event.key}")
    return sealed, {"ce_sealingkeyid": key_id}


def read(
    record: Record,
    handled: Mapping[str, type[Event]],
    sealer: Sealer,
    group: str = "",
    *,
    guests: Collection[str] = (),
) -> Delivery | Invalid | Unhandled:
    """Understand a record, or say why not. Never raises for what is in the record. `group` is the reader's own;
    `guests` may publish on others' topics."""
    try:
        return _read(record, handled, sealer, group, guests)
    except _Flaw as flaw:
        return Invalid(record, flaw.reason, flaw.message, flaw.event_id, flaw.event_type)
    except Exception as error:  # a net: one record must not stop the service
        return Invalid(record, "undecodable", f"cannot be read: {type(error).__name__}")


AHEAD = timedelta(days=3)
"""What a sender's clock may be ahead of the reader's: each may be a day off."""


def is_from_the_future(event_id: UUID | None, now: datetime) -> bool:
    """Whether a uuidv7 is of a time far ahead; other ids hold no time."""
    if event_id is None or event_id.version != 7:
        return False
    return event_id.int >> 80 > (now + AHEAD).timestamp() * 1000


class _Flaw(Exception):
    def __init__(
        self, reason: str, message: str, event_id: UUID | None = None, event_type: str | None = None
    ) -> None:
        self.reason, self.message, self.event_id, self.event_type = reason, message, event_id, event_type


def _read(
    record: Record, handled: Mapping[str, type[Event]], sealer: Sealer, group: str, guests: Collection[str]
) -> Delivery | Unhandled:
    headers, payload = _text_headers(record), record.value
    if headers.get("content-type", "").startswith(STRUCTURED):
        attributes, payload = _unfold(record)
        headers = {"traceparent": headers.get("traceparent", "")} | attributes
    event_type = headers.get("ce_type")
    if record.value is None and not headers and record.topic in COMPACTED_TOPICS:
        return Unhandled(
            record
        )  # a tool's tombstone: who sent it is not said, so it forgets and parks nobody
    if not event_type:
        raise _Flaw("missing_attribute", "no ce_type")
    model = _tombstone(record, event_type, handled) or handled.get(event_type)
    if model is None or headers.get("ce_for", group) != group:
        return Unhandled(record)
    owner = owner_of(record.topic)
    if headers.get("ce_source") not in {f"medsync/{name}" for name in (owner, *guests)}:
        # Nor is its id believed.
        raise _Flaw(FOREIGN, f"ce_source is not medsync/{owner}", event_type=event_type)
    event_id = _event_id(headers, event_type)
    event = (
        _gone(record, model, event_id)
        if model in TOMBSTONES.values()
        else _said(payload, headers, model, sealer, event_id)
    )
    if record.key is None or record.key.decode(errors="replace") != event.key:
        raise _Flaw("key_mismatch", "the record key is not the id in the body", event_id, event_type)
    if record.topic != model.TOPIC:
        raise _Flaw("wrong_topic", f"{event_type} belongs on {model.TOPIC}", event_id, event_type)
    correlation, trace = headers.get("ce_correlationid", ""), headers.get("traceparent", "")
    causation = headers.get("ce_causationid", "")
    return Delivery(
        record,
        event_id,
        event,
        typed_key(event),
        correlation_id=correlation if CORRELATION.fullmatch(correlation) else str(event_id),
        trace_parent=trace if TRACE_PARENT.fullmatch(trace) else None,
        causation_id=causation if 0 < len(causation) <= 200 and causation.isprintable() else None,
        at=_instant(headers.get("ce_time", "")),
        is_state=headers.get("ce_state") == "true",
    )


def _tombstone(record: Record, event_type: str, handled: Mapping[str, type[Event]]) -> type[Event] | None:
    """As what a record without a payload is read, where this reader heeds it."""
    model = TOMBSTONES.get(event_type) if record.value is None else None
    return model if model and model.TYPE in handled else None


def _gone(record: Record, model: type[Event], event_id: UUID) -> Event:
    try:
        return model.model_validate({f"{model.KEYED_BY}_id": (record.key or b"").decode()})
    except ValueError:
        raise _Flaw("key_mismatch", "the record key is no id", event_id, model.TYPE) from None


def _said(
    payload: bytes | None, headers: Mapping[str, str], model: type[Event], sealer: Sealer, event_id: UUID
) -> Event:
    if payload is None:
        raise _Flaw("tombstone", "no payload", event_id, model.TYPE)
    if model.SEALED:
        payload = _opened(payload, headers, model, sealer, event_id)
    return _parsed(payload, model, event_id)


def _instant(text: str) -> datetime | None:
    """An instant with its offset; none for anything else, for the time of an event is optional."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else None


def _text_headers(record: Record) -> dict[str, str]:
    """Those that are read."""
    texts = {}
    for name, value in record.headers:
        if name in _WANTED:
            try:
                texts[name] = (value or b"").decode()
            except UnicodeDecodeError:
                if name in READ_HEADERS:
                    raise _Flaw("bad_header", f"header {name} is not UTF-8") from None
    return texts


_WANTED = frozenset((*READ_HEADERS, *OPTIONAL_HEADERS))


def _unfold(record: Record) -> tuple[dict[str, str], bytes]:
    """The attributes of a structured event under their names in binary mode, and its data."""
    try:
        document = json.loads(record.value or b"")
        if not isinstance(document, dict) or "data" not in document:
            raise ValueError
        data = document.pop("data")
        return {f"ce_{name}": str(value) for name, value in document.items()}, json.dumps(data).encode()
    except (ValueError, RecursionError):
        raise _Flaw("undecodable", "not a structured CloudEvent") from None


def _event_id(headers: Mapping[str, str], event_type: str) -> UUID:
    text = headers.get("ce_id")
    if not text:
        raise _Flaw("missing_attribute", "no ce_id", event_type=event_type)
    try:
        return UUID(text)
    except ValueError:
        raise _Flaw("bad_attribute", "ce_id is not a UUID", event_type=event_type) from None


def _opened(
    payload: bytes, headers: Mapping[str, str], model: type[Event], sealer: Sealer, event_id: UUID
) -> bytes:
    bound_to = f"{model.TYPE}/{headers.get('ce_subject', '')}"
    try:
        return sealer.open(payload, key_id=headers.get("ce_sealingkeyid", ""), bound_to=bound_to)
    except SealBroken as broken:
        raise _Flaw("seal_broken", str(broken), event_id, model.TYPE) from None


def _parsed(payload: bytes, model: type[Event], event_id: UUID) -> Event:
    try:
        if b"\\u0000" in payload or b"\0" in payload:
            raise _Flaw("undecodable", "holds a NUL character", event_id, model.TYPE)
        return model.model_validate_json(payload)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_context=False, include_url=False)
        if problems[0]["type"] == "json_invalid":
            raise _Flaw("undecodable", "not valid JSON", event_id, model.TYPE) from None
        where = "; ".join(f"{_path(p['loc'], model)}: {p['type']}" for p in problems[:5])
        raise _Flaw("schema", where, event_id, model.TYPE) from None


def _path(steps: tuple[str | int, ...], model: type[Event]) -> str:
    """The way to a field. What is not the name of one is a key of a map, and could be a person's name."""
    names = _names(model)
    return ".".join(str(step) if isinstance(step, int) or step in names else "?" for step in steps)


@cache
def _names(model: type[Event]) -> frozenset[str]:
    schema = model.model_json_schema()
    parts = (schema, *schema.get("$defs", {}).values())
    return frozenset(name for part in parts for name in part.get("properties", ()))


_KEYED_BY = {event.TOPIC: event.KEYED_BY for event in EVENTS.values()}


def _key_of_record(record: Record) -> str | None:
    if not record.key or len(record.key) > 64:
        return None
    try:
        text = record.key.decode()
    except UnicodeDecodeError:
        return None
    return f"{_KEYED_BY.get(record.topic, 'patient')}:{text}" if text.isprintable() else None
