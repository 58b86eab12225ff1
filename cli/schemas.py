"""The JSON Schema of every event and of what a plan is asked for with, and whether a change keeps its promise.

python -m cli.schemas                  writes schemas/<type>.json, schemas/inputs/<name>.json, and the OpenAPI document
                                       of each service, openapi/<service>.json, from the code
python -m cli.schemas --release 0.2    also keeps them as released: every later version is compared with them
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import TimeSchema

from cli import openapi
from services.planner.inputs import PatientInput
from services.planner.what_if import WhatIf
from shared.events import EVENTS
from shared.events.audit import AuditHead

COMPARED_BELOW = {"$ref", "$defs", "properties", "required", "items", "additionalProperties", "anyOf", "enum"}
SAID_TO_PEOPLE = {"$id", "title", "description", "examples"}

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?$"
"""As events have it, in the store's zone. The format `time` is another thing: it must name its zone."""

SCHEMAS = Path(__file__).parents[1] / "schemas"
INPUTS = SCHEMAS / "inputs"
Schema = Mapping[str, Any]


class _OfTheWire(GenerateJsonSchema):
    """Says nothing that a strict reader of JSON Schema refuses, and nothing that is otherwise on the wire."""

    def time_schema(self, schema: TimeSchema) -> JsonSchemaValue:
        return {"type": "string", "pattern": TIME_OF_DAY}


def generated() -> dict[str, dict[str, Any]]:
    """The schema of each event as it is on the wire, by type."""
    return {
        name: {
            "$schema": DRAFT,
            "$id": name,
            "$comment": _carriage(event.TOPIC, event.KEYED_BY, event.SEALED),
            **event.model_json_schema(schema_generator=_OfTheWire, mode="serialization"),
        }
        for name, event in sorted(EVENTS.items())
    } | {AuditHead.TYPE: _of_audit_head()}


def _of_audit_head() -> dict[str, Any]:
    return {
        "$schema": DRAFT,
        "$id": AuditHead.TYPE,
        "$comment": _carriage(AuditHead.TOPIC, "service, life and day", False),
        **AuditHead.model_json_schema(schema_generator=_OfTheWire, mode="serialization"),
    }


def _carriage(topic: str, keyed_by: str, sealed: bool) -> str:
    """How an event travels. A comment, since keywords of our own would end every strict reader."""
    return f"topic: {topic}; keyed by: {keyed_by}; sealed: {'yes' if sealed else 'no'}"


def generated_inputs() -> dict[str, dict[str, Any]]:
    """The schema of what `medsync plan` and the planner's HTTP plan from, by name."""
    inputs: dict[str, type[BaseModel]] = {"patient": PatientInput, "what-if": WhatIf}
    return {
        name: {
            "$schema": DRAFT,
            "$id": f"medsync.inputs.{name}",
            **model.model_json_schema(schema_generator=_OfTheWire),
        }
        for name, model in inputs.items()
    }


def read(directory: Path) -> dict[str, dict[str, Any]]:
    """The schemas kept in a directory, by type."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))
    }


def read_release(directory: Path) -> dict[str, dict[str, Any]]:
    """The schemas of a release, by type, in the words of today."""
    return {name: in_words_of_today(schema) for name, schema in read(directory).items()}


def in_words_of_today(schema: Schema) -> dict[str, Any]:
    """What 0.1 said in words that strict readers refuse, said as it is now; all else as it was."""
    if "x-topic" not in schema:
        return dict(schema)
    told: dict[str, Any] = json.loads(json.dumps(schema), object_hook=_with_time_of_day)
    carriage = _carriage(told.pop("x-topic"), told.pop("x-keyed-by"), told.pop("x-sealed"))
    return {"$schema": DRAFT, "$comment": carriage, **told}


def _with_time_of_day(schema: dict[str, Any]) -> dict[str, Any]:
    """What was published as the format `time` never named a zone."""
    if schema.get("format") != "time":
        return schema
    return {key: value for key, value in schema.items() if key != "format"} | {"pattern": TIME_OF_DAY}


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of a released schema the new one breaks, either way: optional fields may come and go, nothing else.

    Full compatibility: old readers take what new writers send, and new readers what old writers sent.
    """
    return list(_breaks(old, new, old, new, ""))


def _breaks(old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    for key in (old.keys() | new.keys()) - COMPARED_BELOW - SAID_TO_PEOPLE:
        if old.get(key) != new.get(key):
            yield f"{at or 'the event'}: {key} was {old.get(key)}, is {new.get(key)}"
    yield from _fields(old, new, old_root, new_root, at)
    yield from _values(old, new, at)
    for key in ("items", "additionalProperties"):
        before, after = old.get(key, True), new.get(key, True)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _breaks(before, after, old_root, new_root, f"{at}[]")
        elif before != after:
            yield f"{at or 'the event'}: {key} was {before}, is {after}"
    yield from _choices(old, new, old_root, new_root, at)


def _values(old: Schema, new: Schema, at: str) -> Iterator[str]:
    before, after = old.get("enum"), new.get("enum")
    if before is None or after is None:
        if before != after:
            yield f"{at}: {'became' if before is None else 'was'} an enumeration"
        return
    if gone := [value for value in before if value not in after]:
        yield f"{at}: {', '.join(map(str, gone))} is no value any more"
    if "other" not in before and len(after) > len(before):
        yield f"{at}: has new values, and old readers know no `other` to take them as"


def _fields(old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    must_before, must_after = _required(old), _required(new)
    for name in before.keys() | after.keys():
        place = f"{at}.{name}" if at else name
        if name not in after and name in must_before:
            yield f"{place}: was required, is gone"
        elif name not in before and name in must_after:
            yield f"{place}: is new and required"
        elif name in before and name in after:
            if (name in must_before) != (name in must_after):
                yield f"{place}: {'was' if name in must_before else 'became'} required"
            yield from _breaks(before[name], after[name], old_root, new_root, place)


def _required(schema: Schema) -> set[str]:
    """Fields without a default: what a reader cannot do without."""
    return {name for name, field in schema.get("properties", {}).items() if "default" not in field}


def _choices(old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str) -> Iterator[str]:
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) != len(after):
        yield f"{at}: had {len(before)} forms, has {len(after)}"
        return
    for one, other in zip(before, after, strict=True):
        yield from _breaks(one, other, old_root, new_root, at)


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def write(directory: Path, schemas: Mapping[str, Schema]) -> None:
    """Write every schema, and remove those of what is no more."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in directory.glob("*.json"):
        if stale.stem not in schemas:
            stale.unlink()
    for name, schema in schemas.items():
        text = json.dumps(schema, indent=2, sort_keys=True) + "\n"
        (directory / f"{name}.json").write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> None:
    write(SCHEMAS, generated())
    write(INPUTS, generated_inputs())
    write(openapi.OPENAPI, openapi.documents())
    if arguments[:1] == ["--release"]:
        write(SCHEMAS / "released" / arguments[1], generated())


if __name__ == "__main__":
    main(sys.argv[1:])
