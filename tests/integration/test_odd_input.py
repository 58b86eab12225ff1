"""Every field of every route is given what no field takes: each answer is the caller's fault, and none is a 500."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr

from services import SERVICES
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events import Event
from shared.messaging import Handlers, Jobs, Work
from shared.messaging.bell import Bell
from shared.messaging.envelope import typed_key
from shared.messaging.parking import Parking
from shared.messaging.removing import OF_THE_FABRIC, Removing
from shared.messaging.unit import Cause
from shared.resealing import SET_ASIDE
from shared.retention import SHIPPED, read
from shared.sealing import Sealer
from tests import feed
from tests.pharmacy import NOW, pharmacy
from tests.running import EVERYBODY, SEALING_KEY

RAW = ("1e309", "NaN", str(10**400))
ODD: tuple[Any, ...] = (
    *RAW,
    "a\0b",
    "half \ud83d",
    "",
    "x" * 3000,
    "9999-12-31",
    "0001-01-01",
    -1,
    2**63,
    1e-300,
    None,
    {"a\0b": "half \ud83d"},
    [["a\0b"]],
    [{}],
)

Question = tuple[str, str, str | None]
"""Method, address, and the body as text."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SERVICES)
async def test_odd_values_anywhere_are_the_callers_fault(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    app, work = await service(name, fresh_database(name), tmp_path)
    faults: set[str] = set()
    answers: Counter[int] = Counter()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://localhost"
    ) as http:
        for method, where, body in questions(app, await known_ids(name, work, http)):
            kind = "application/json" if (body or "{")[:1] in "{[" else "application/x-www-form-urlencoded"
            headers = EVERYBODY | {"Content-Type": kind}
            answer = await http.request(method.upper(), where, content=body, headers=headers)
            answers[answer.status_code] += 1
            if answer.status_code >= 500:
                faults.add(f"{method} {where[:150]} {(body or '')[:300]}")
    await work.pool.close()
    print(name, answers)
    print(*(ascii(f"FAULT {each}") for each in sorted(faults)), sep="\n")
    assert sorted(faults) == []


async def service(name: str, url: str, folder: Path) -> tuple[FastAPI, Work]:
    """A service that knows a pharmacy (the console: none), without a broker."""
    app = unstarted(name, url)
    return app, await start(name, app, folder)


def unstarted(name: str, url: str) -> FastAPI:
    settings = import_module(f"services.{name}.settings").Settings(
        database_url=url,
        kafka_bootstrap="unused",
        sealing_key=SecretStr(SEALING_KEY),
        **({"pseudonym_key": SecretStr(SEALING_KEY)} if name == "enrollment" else {}),
    )
    app: FastAPI = import_module(f"services.{name}.app").create_app(settings)
    app.state.settings = settings
    return app


async def start(name: str, app: FastAPI, folder: Path) -> Work:
    """Give the app its units of work, without its lifespan, and tell it of a pharmacy."""
    clock = SteppedClock(folder / "clock")
    clock.set(NOW)
    url = app.state.settings.database_url
    handlers = import_module(f"services.{name}.handlers").on
    sealer, bell = Sealer(SEALING_KEY, key_id="1"), Bell(url, name="test")
    work = Work(
        await open_pool(url, size=4, name="test"), service=name, clock=clock, sealer=sealer, bell=bell
    )
    app.state.work = work
    kinds = (*import_module(f"services.{name}.store.retention").KINDS, *OF_THE_FABRIC)
    app.state.machinery = SimpleNamespace(
        service=name,
        work=work,
        parking=Parking(work, handlers),
        republish=nothing,
        consumer=SimpleNamespace(accept_gaps=nothing),
        recovery=SimpleNamespace(recover=recovered),
        kept=SET_ASIDE,
        personal=personal_of(name),
        removing=Removing(work, kinds, read(SHIPPED, name, kinds)),
        relay=SimpleNamespace(refuses=None),
    )
    if name in ("planner", "outreach", "fulfillment"):
        await tell(work, handlers, import_module(f"services.{name}.jobs").due)
    return work


def personal_of(name: str) -> Any:
    return import_module(
        f"services.{name}.store.{'erasures' if name == 'enrollment' else 'forgetting'}"
    ).PERSONAL


async def nothing(*_: Any, **__: Any) -> tuple[Event, ...]:
    return ()


async def recovered(*_: Any) -> dict[str, Any]:
    """In place of one that asks the broker."""
    return {"epoch": 2, "taken_again": 0, "lost": [], "patients": [], "stores": []}


async def tell(work: Work, handlers: Handlers, jobs: Jobs) -> None:
    cause = Cause("c", "c")
    for told in pharmacy(8):
        if told.event.TYPE in handlers.by_type:
            async with work.begin([typed_key(told.event)], cause=cause) as unit:
                await handlers.by_type[told.event.TYPE]([told.event], unit)
    for view, job in jobs.by_view.items():
        async with work.begin((), cause=cause) as unit:
            if found := await work.free_owners(unit, view, 500, jobs.of(view)):
                await job(found, unit)


async def known_ids(name: str, work: Work, http: httpx.AsyncClient) -> dict[str, Any]:
    """Values of fields by name, so that a question gets past `no such patient`."""
    known: dict[str, Any] = {"why": "a reason", "because": "a reason", "reason": "a reason", "worker": "w-1"}
    known |= {
        "on": NOW.date().isoformat(),
        "store": "s1",
        "store_id": "s1",
        "source": "chain",
        "rx_id": "RX1",
    }
    if name == "enrollment":
        known["store_id"] = known["store"] = "S1"
        for kind in ("stores", "patients", "prescriptions", "fills"):
            record = getattr(feed, kind.removesuffix("s"))()
            sent = {"source": "chain", "records": [record]}
            headers = {"Medsync-Actor": "chain", "Medsync-Role": "system"}
            answer = await http.post(f"/imports/{kind}", json=sent, headers=headers)
            assert answer.json()["accepted"] == 1, answer.text
    rows = {
        "enrollment": "select patient_id from patients",
        "planner": "select patient_id, published -> 'drugs' -> 0 ->> 'rx_id' as rx_id from plans "
        "where published ? 'visits' limit 1",
        "outreach": "select patient_id, contact_id from contacts where status = 'open' limit 1",
        "fulfillment": "select w.patient_id, w.package_id, w.visit_id, i.order_id, i.rx_id "
        "from work_orders w join items i using (visit_id) limit 1",
    }
    if name in rows:
        async with work.read() as db:
            row = await db.fetchrow(rows[name])
        assert row is not None, f"{name} knows nothing"
        known |= {field: str(value) for field, value in row.items()}
    return known


# ---- the questions --------------------------------------------------------------------------------------------


def questions(app: FastAPI, known: Mapping[str, Any]) -> Iterator[Question]:
    """Each parameter and each field of each route by turns with every odd value, the others with good ones."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            route.include_in_schema = route.path != "/stream/events"  # which never ends
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            given = [p for p in operation.get("parameters", ()) if p["in"] in ("path", "query")]
            good = {p["name"]: sample(p["schema"], document, known, p["name"]) for p in given}
            good = {p["name"]: good[p["name"]] for p in given if p["required"] or p["name"] in known}
            kinds = operation.get("requestBody", {}).get("content", {})
            bodies = [sample(kind["schema"], document, known) for kind in kinds.values()]
            if path == "/plans/what-if":
                bodies = what_ifs(known)
            is_form = "application/x-www-form-urlencoded" in kinds
            in_path = [p["name"] for p in given if p["in"] == "path"]
            for parameter in given:
                for odd in ODD:
                    asked = good | {parameter["name"]: odd}
                    yield (
                        method,
                        address(path, in_path, asked),
                        written(bodies[0], is_form) if bodies else None,
                    )
            for body in bodies:
                for changed in with_odd_parts(body):
                    yield method, address(path, in_path, good), written(changed, is_form)


def what_ifs(known: Mapping[str, Any]) -> list[Any]:
    document = json.loads((Path(__file__).parents[2] / "examples" / "1-five-drugs.json").read_text())
    whole = {name: value for name, value in document.items() if not isinstance(value, list)}
    whole |= {name: value[:1] for name, value in document.items() if isinstance(value, list)}
    changes = {
        "wanted_on": "2026-11-02",
        "without_rx_ids": ["rx-1"],
        "prescriptions": [{"rx_id": known["rx_id"], "payer": "acme", "drug": {"name": "x"}}],
        "fills": [{"rx_id": known["rx_id"], "filled_on": "2026-09-01", "days_supply": 30}],
        "told": {"anchor_on": "2026-11-02"},
        "calendar": {"daily_cap": 3},
        "rules": {"min_short_fill_days": 5},
    }
    return [{"patient": whole}, {"patient_id": known["patient_id"], "changes": changes}]


def sample(
    schema: Mapping[str, Any], document: Mapping[str, Any], known: Mapping[str, Any], name: str = ""
) -> Any:
    """A good value of a schema, or nearly."""
    if "$ref" in schema:
        return sample(document["components"]["schemas"][schema["$ref"].split("/")[-1]], document, known, name)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], document, known, name)
    if name in known and schema.get("type") not in ("object", "array"):
        return known[name]
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            return {
                **{k: sample(v, document, known, k) for k, v in schema.get("properties", {}).items()},
                **({"x": "y"} if "additionalProperties" in schema and not schema.get("properties") else {}),
            }
        case "array":
            return [sample(schema["items"], document, known, name.removesuffix("s"))]
        case "integer" | "number":
            return max(schema.get("minimum", 1), 1)
        case "boolean":
            return False
    return {"date": "2026-11-02", "uuid": str(uuid4())}.get(schema.get("format", ""), "x")


def with_odd_parts(body: Any) -> Iterator[Any]:
    """The body with each of its parts, itself included, by turns each odd value; and with odd names."""
    yield from ODD
    if isinstance(body, dict):
        for name, value in body.items():
            for changed in with_odd_parts(value):
                yield body | {name: changed}
        yield body | {"a\0b": 1}
        yield body | {"half \ud83d": 1}
    if isinstance(body, list) and body:
        for changed in with_odd_parts(body[0]):
            yield [changed, *body[1:]]


def address(path: str, in_path: list[str], given: Mapping[str, Any]) -> str:
    for name in in_path:
        path = path.replace(f"{{{name}}}", quoted(given[name]) or "%20")
    query = "&".join(f"{name}={quoted(value)}" for name, value in given.items() if name not in in_path)
    return f"{path}?{query}" if query else path


def quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def written(body: Any, is_form: bool) -> str:
    if is_form:
        fields = body.items() if isinstance(body, dict) else ()
        return "&".join(f"{quoted(name)}={quoted(value)}" for name, value in fields)
    text = json.dumps(body)
    for raw in RAW:
        text = text.replace(f'"{raw}"', raw)
    return text
