"""The published language keeps its promises: schemas, golden files, topics."""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis.strategies import times

from cli.schemas import (
    INPUTS,
    SCHEMAS,
    TIME_OF_DAY,
    breaks,
    generated,
    generated_inputs,
    in_words_of_today,
    read,
    read_release,
)
from services import SERVICES
from services.planner.inputs import read_patient
from shared.events import EVENTS, MODULES
from shared.events.enrollment import OpenHours
from shared.messaging import Handlers

GOLDEN = Path(__file__).parent / "golden"
RELEASES = sorted((SCHEMAS / "released").iterdir())
SAMPLE = "medsync.planner.plan-computed.v1"
NOW = generated()


def schema_of(name: str) -> dict[str, Any]:
    """The schema of an event as it is now; the test may change it."""
    return copy.deepcopy(NOW[name])


def handlers_of(service: str) -> Handlers:
    found = importlib.import_module(f"services.{service}.handlers").on
    assert isinstance(found, Handlers)
    return found


CONSUMED = [
    (service, name)
    for service in SERVICES
    for name in sorted(handlers_of(service).events.keys() & EVENTS.keys())
]


def test_the_schemas_kept_are_those_of_the_code() -> None:
    assert read(SCHEMAS) == json.loads(json.dumps(NOW)), "run `make schemas` and look at what changed"


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_no_released_schema_is_broken(release: Path) -> None:
    then = read_release(release)
    broken = {name: breaks(schema, NOW[name]) for name, schema in then.items() if name in NOW}
    assert not {name: what for name, what in broken.items() if what}
    assert then.keys() <= NOW.keys(), "a released event is gone: publish it until nobody reads it"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_each_event_has_a_golden_file_that_reads_and_writes_the_same(name: str) -> None:
    text = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    assert json.loads(EVENTS[name].model_validate_json(text).model_dump_json()) == json.loads(text)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_each_golden_file_is_as_its_schema_says(name: str) -> None:
    document = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema_of(name), format_checker=jsonschema.FormatChecker())
    left_out = schema_of(name)["properties"].keys() - document.keys()
    assert not left_out, "a golden file shows every field"


@pytest.mark.parametrize(("service", "name"), CONSUMED)
def test_each_consumer_reads_the_golden_file_also_with_fields_it_does_not_know(
    service: str, name: str
) -> None:
    document = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    model = handlers_of(service).events[name]
    assert model.model_validate_json(json.dumps(document | {"from_a_later_version": {"x": 1}}))


def test_there_is_no_golden_file_without_its_event() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == EVENTS.keys()


def test_each_event_is_on_a_topic_of_the_service_that_owns_it() -> None:
    for module in MODULES:
        owner = module.__name__.rpartition(".")[2]
        for event in EVENTS.values():
            if event.__module__ == module.__name__:
                assert event.TYPE.startswith(f"medsync.{owner}."), event.TYPE
                assert event.TOPIC.startswith(f"medsync.{owner}."), event.TOPIC


def test_an_unknown_value_of_an_enumeration_reads_as_other() -> None:
    document = json.loads((GOLDEN / f"{SAMPLE}.json").read_text(encoding="utf-8"))
    document["visits"][0]["kind"] = "by_drone"
    plan = EVENTS[SAMPLE].model_validate(document)
    assert plan.model_dump(mode="json")["visits"][0]["kind"] == "other"


def drop_required(schema: dict[str, Any]) -> None:
    del schema["properties"]["anchor_on"]


def add_required(schema: dict[str, Any]) -> None:
    schema["properties"]["mood"] = {"type": "string"}


def change_type(schema: dict[str, Any]) -> None:
    schema["properties"]["cycle"]["type"] = "string"


def make_optional(schema: dict[str, Any]) -> None:
    schema["properties"]["cycle"]["default"] = 1


def drop_value(schema: dict[str, Any]) -> None:
    schema["$defs"]["VisitKind"]["enum"].remove("bridge")


def change_inside(schema: dict[str, Any]) -> None:
    schema["$defs"]["Visit"]["properties"]["on"]["format"] = "date-time"


def move(schema: dict[str, Any]) -> None:
    schema["$comment"] = schema["$comment"].replace("medsync.planner.v1", "medsync.elsewhere.v1")


def seal(schema: dict[str, Any]) -> None:
    schema["$comment"] = schema["$comment"].replace("sealed: no", "sealed: yes")


def require(schema: dict[str, Any]) -> None:
    del schema["properties"]["short_fills"]["default"]


def change_default(schema: dict[str, Any]) -> None:
    schema["properties"]["short_fills"]["default"] = 1


def tighten(schema: dict[str, Any]) -> None:
    schema["properties"]["patient_id"]["maxLength"] = 32


def loosen(schema: dict[str, Any]) -> None:
    del schema["$defs"]["PlannedItem"]["properties"]["days_supply"]["maximum"]


def become_a_list(schema: dict[str, Any]) -> None:
    schema["properties"]["plan_id"] = {"type": "array", "items": {"type": "string"}}


def forbid_null(schema: dict[str, Any]) -> None:
    field = schema["$defs"]["PlannedItem"]["properties"]["payable_from"]
    field.update(field.pop("anyOf")[0])


def become_an_enumeration(schema: dict[str, Any]) -> None:
    schema["properties"]["store_id"]["enum"] = ["s1", "s2"]


def refuse_unknown_fields(schema: dict[str, Any]) -> None:
    schema["$defs"]["Visit"]["additionalProperties"] = False


def close_a_map(schema: dict[str, Any]) -> None:
    schema["$defs"]["Reason"]["properties"]["params"]["additionalProperties"] = False


@pytest.mark.parametrize(
    "change",
    [
        drop_required,
        add_required,
        require,
        make_optional,
        change_type,
        change_default,
        change_inside,
        become_a_list,
        forbid_null,
        drop_value,
        become_an_enumeration,
        tighten,
        loosen,
        refuse_unknown_fields,
        close_a_map,
        move,
        seal,
    ],
)
def test_a_breaking_change_is_found(change: Callable[[dict[str, Any]], None]) -> None:
    changed = schema_of(SAMPLE)
    change(changed)
    assert breaks(schema_of(SAMPLE), changed)


def test_what_the_first_release_said_in_other_words_is_held_to() -> None:
    """0.1 said how an event travels with keywords of its own, and a time of day as a format that it has not."""
    name = "medsync.enrollment.store-changed.v1"
    released = read(SCHEMAS / "released" / "0.1")[name]
    assert not breaks(in_words_of_today(released), schema_of(name))
    for other in ({"x-topic": "medsync.elsewhere.v1"}, {"x-keyed-by": "patient"}, {"x-sealed": True}):
        [broken] = breaks(in_words_of_today(released | other), schema_of(name))
        assert "$comment" in broken
    [broken, again] = breaks(in_words_of_today(released), change_time(schema_of(name)))
    assert {broken.partition(":")[0], again.partition(":")[0]} == {"hours[].opens"}


def change_time(schema: dict[str, Any]) -> dict[str, Any]:
    opens = schema["$defs"]["OpenHours"]["properties"]["opens"]
    opens["format"] = "time"
    del opens["pattern"]
    return schema


def test_only_an_enumeration_that_has_other_may_grow() -> None:
    before, after = schema_of(SAMPLE), schema_of(SAMPLE)
    after["$defs"]["VisitKind"]["enum"].append("by_drone")
    assert not breaks(before, after)
    for schema in (before, after):
        schema["$defs"]["VisitKind"]["enum"].remove("other")
    assert breaks(before, after)


def test_words_for_people_may_change() -> None:
    after = schema_of(SAMPLE)
    after["description"] = after["properties"]["cycle"]["title"] = "in other words"
    assert not breaks(schema_of(SAMPLE), after)


def test_optional_fields_may_come_and_go() -> None:
    before = schema_of(SAMPLE)
    with_more = copy.deepcopy(before)
    with_more["properties"]["note"] = {"type": "string", "default": ""}
    assert not breaks(before, with_more)
    assert not breaks(with_more, before)


# --- times of day ---


@given(opens=times())
def test_a_time_of_day_is_written_as_its_schema_says(opens: time) -> None:
    text = json.loads(OpenHours(weekday=0, opens=opens, closes=opens).model_dump_json())["opens"]
    assert re.search(TIME_OF_DAY, text)


@pytest.mark.parametrize("text", ["9:00:00", "09:00", "24:00:00", "09:60:00", "09:00:00Z", "09:00:00+01:00"])
def test_a_time_of_day_of_another_form_is_not_as_its_schema_says(text: str) -> None:
    assert not re.search(TIME_OF_DAY, text)


# --- what a plan is asked for with ---


def test_the_schemas_of_inputs_kept_are_those_of_the_code() -> None:
    kept = json.loads(json.dumps(generated_inputs()))
    assert read(INPUTS) == kept, "run `make schemas` and look at what changed"


def test_a_published_profile_is_an_input_and_as_its_schema_says() -> None:
    golden = json.loads((GOLDEN / "medsync.enrollment.profile-changed.v1.json").read_text(encoding="utf-8"))
    document = {"patient_id": golden["patient_id"], **golden["profile"]}
    assert read_patient(document).patient_id == golden["patient_id"]
    jsonschema.validate(document, generated_inputs()["patient"], format_checker=jsonschema.FormatChecker())
