"""The published schemas in Ajv's strict mode: they compile, and take every event as it is on the wire.

Ajv is what readers in JavaScript use; its strict mode refuses what most validators pass over in silence: a keyword
that JSON Schema does not know, a format that no event keeps.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.schemas import INPUTS, SCHEMAS
from services.planner.publishing import serialized
from shared.events import EVENTS
from shared.events.audit import AuditHead
from tests.pharmacy import pharmacy
from tests.unit.planner.test_published import outcomes, payload

HERE = Path(__file__).parent
GOLDEN, NODE = HERE / "golden", HERE / "node"
STORE = "medsync.enrollment.store-changed.v1"
PLAN = "medsync.planner.plan-computed.v1"
EXAMPLES = HERE.parents[1] / "examples"

HEAD = AuditHead(
    service="planner",
    epoch=2,
    count=7,
    hash="00ff",
    sealed_at=datetime(2009, 10, 5, tzinfo=UTC),
    key_id="k1",
    signature="ab12",
)

needs_node = pytest.mark.needs("node")


def in_ajv(schemas: Path, *events: Path) -> dict[str, Any]:
    """How many schemas compiled, how many events were validated, and what is wrong with which file."""
    done = subprocess.run(
        ["node", NODE / "validate.mjs", schemas, *events], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert (done.returncode == 1) == bool(told["wrong"])
    return told


@pytest.fixture
def altered(tmp_path: Path) -> Callable[..., Path]:
    """A folder with one document of these, changed."""

    def alter(source: Path, change: Callable[[dict[str, Any]], object]) -> Path:
        document = json.loads(source.read_text(encoding="utf-8"))
        change(document)
        folder = tmp_path / source.parent.name
        folder.mkdir()
        (folder / source.name).write_text(json.dumps(document), encoding="utf-8")
        return folder

    return alter


@needs_node
def test_every_schema_compiles_and_every_event_is_as_its_schema_says(tmp_path: Path) -> None:
    told = pharmacy(48)
    for each in told:
        (tmp_path / f"{each.event.TYPE}.{each.event_id}.json").write_text(each.event.model_dump_json())
    assert {each.event.TYPE for each in told} == EVENTS.keys(), "at least one event of every type"
    (tmp_path / f"{AuditHead.TYPE}.json").write_text(HEAD.model_dump_json())
    assert in_ajv(SCHEMAS, GOLDEN, tmp_path) == {
        "schemas": len(EVENTS) + 1,
        "events": len(EVENTS) + len(told) + 1,
        "wrong": [],
    }


@needs_node
def test_what_the_planner_publishes_is_as_its_schema_says(tmp_path: Path) -> None:
    """It writes its JSON itself, from its own values."""
    texts = [serialized(payload(outcome)) for outcome in outcomes(seed=0)]
    for number, text in enumerate(texts):
        (tmp_path / f"{text.TYPE}.{number}.json").write_text(text.json)
    told = in_ajv(SCHEMAS, tmp_path)
    assert (told["events"], told["wrong"]) == (len(texts), [])


@needs_node
def test_what_a_plan_is_asked_for_with_compiles_and_takes_what_is_given(
    tmp_path: Path,
) -> None:
    golden = json.loads((GOLDEN / "medsync.enrollment.profile-changed.v1.json").read_text(encoding="utf-8"))
    patient = {"patient_id": golden["patient_id"], **golden["profile"]}
    (tmp_path / "patient.json").write_text(json.dumps(patient))
    (tmp_path / "what-if.json").write_text(json.dumps({"patient": patient, "changes": {"cycle": 2}}))
    examples = sorted(EXAMPLES.glob("*.json"))
    for example in examples:
        shutil.copy(example, tmp_path / f"patient.{example.name}")
    assert in_ajv(INPUTS, tmp_path) == {"schemas": 2, "events": 2 + len(examples), "wrong": []}


@needs_node
@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (PLAN, lambda plan: plan.update(cycle="first"), "/cycle must be integer"),
        (PLAN, lambda plan: plan.pop("plan_id"), "must have required property 'plan_id'"),
        (PLAN, lambda plan: plan.update(anchor_on="2026-02-30"), '/anchor_on must match format "date"'),
        (STORE, lambda store: store["hours"][0].update(opens="9:00"), "/hours/0/opens must match pattern"),
    ],
    ids=["a wrong type", "a field missing", "no such day", "no such time"],
)
def test_an_event_that_is_not_as_its_schema_says_is_refused(
    altered: Callable[..., Path], name: str, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    [wrong] = in_ajv(SCHEMAS, altered(GOLDEN / f"{name}.json", change))["wrong"]
    assert wrong.startswith(f"{name}.json: ") and says in wrong


@needs_node
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda schema: schema.update({"x-keyed-by": "store"}), 'unknown keyword: "x-keyed-by"'),
        (lambda schema: schema["properties"]["name"].update(format="name"), 'unknown format "name"'),
        (lambda schema: schema["properties"]["name"].update(type="text"), "type must be"),
    ],
    ids=["an unknown keyword", "an unknown format", "an unknown type"],
)
def test_a_schema_that_strict_mode_does_not_take_is_refused(
    altered: Callable[..., Path], change: Callable[[dict[str, Any]], object], says: str
) -> None:
    told = in_ajv(altered(SCHEMAS / f"{STORE}.json", change))
    [wrong] = told["wrong"]
    assert told["schemas"] == 0
    assert wrong.startswith(f"{STORE}.json: ") and says in wrong


def test_the_packages_are_pinned_and_their_registry_is_not() -> None:
    wanted = json.loads((NODE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    lock = json.loads((NODE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for name, package in lock.items():
        assert "resolved" not in package, "`npm install` writes no addresses where .npmrc is read"
        assert not name or package["integrity"].startswith("sha512-")
