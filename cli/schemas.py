"""The JSON Schema of every event, and whether a change of one keeps its promise.

python -m cli.schemas                  writes schemas/<type>.json from the code
python -m cli.schemas --release 0.2    also keeps them as released: every later version is compared with them
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.events import EVENTS

SCHEMAS = Path(__file__).parents[1] / "schemas"
Schema = Mapping[str, Any]


def generated() -> dict[str, dict[str, Any]]:
    """The schema of each event as it is on the wire, by type."""
    return {
        name: {"$id": name, "x-topic": event.TOPIC, **event.model_json_schema(mode="serialization")}
        for name, event in sorted(EVENTS.items())
    }


def read(directory: Path) -> dict[str, dict[str, Any]]:
    """The schemas kept in a directory, by type."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))
    }


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of a released schema the new one breaks, either way: optional fields may come and go, nothing else.

    Full compatibility: old readers take what new writers send, and new readers what old writers sent.
    """
    return list(_breaks(old, new, old, new, ""))


def _breaks(old: Schema, new: Schema, old_root: Schema, new_root: Schema, at: str) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if old.get("x-topic") != new.get("x-topic"):
        yield f"{at or 'the event'} moved from {old.get('x-topic')} to {new.get('x-topic')}"
    if "properties" in old or "properties" in new:
        yield from _fields(old, new, old_root, new_root, at)
        return
    for key in ("type", "format", "pattern", "const"):
        if old.get(key) != new.get(key):
            yield f"{at}: {key} was {old.get(key)}, is {new.get(key)}"
    if "enum" in old or "enum" in new:
        # readers take an unknown value as `other`: values may come, none may go
        if gone := [value for value in old.get("enum", []) if value not in new.get("enum", [])]:
            yield f"{at}: {', '.join(map(str, gone))} is no value any more"
        if "enum" not in old:
            yield f"{at}: became an enumeration"
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from _breaks(old[key], new[key], old_root, new_root, f"{at}[]")
    yield from _choices(old, new, old_root, new_root, at)


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


def write(directory: Path) -> None:
    """Write every schema, and remove those of events that are no more."""
    directory.mkdir(parents=True, exist_ok=True)
    schemas = generated()
    for stale in directory.glob("*.json"):
        if stale.stem not in schemas:
            stale.unlink()
    for name, schema in schemas.items():
        text = json.dumps(schema, indent=2, sort_keys=True) + "\n"
        (directory / f"{name}.json").write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> None:
    write(SCHEMAS)
    if arguments[:1] == ["--release"]:
        write(SCHEMAS / "released" / arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
