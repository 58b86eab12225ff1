"""Every route × everybody who may not: generated from the table of access, asked of each service in this process.

What the table grants is not refused either: it is the one place where roles stand.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from services.console import handlers as of_console
from services.console.domain.lines import Line
from services.console.store.reads import Filter
from services.outreach.handlers import on as of_outreach
from services.planner.handlers import on as of_planner
from shared import grants
from shared.access import ACCESS, FINER, OF_EVERY_SERVICE, STAFF_ALONE, About, Role, Row
from shared.events.enrollment import CaregiversChanged
from shared.grants import OF_PROGRAMS
from shared.http import named
from shared.messaging import Handlers, Jobs, Work, patient
from shared.messaging.envelope import Record
from shared.messaging.intake import Intake
from shared.messaging.unit import Cause
from shared.service import service_app
from shared.settings import ServiceSettings
from shared.tokens import Tokens
from tests import feed
from tests.integration.test_odd_input import SERVICES, address, known_ids, sample, service, unstarted
from tests.pharmacy import Told, as_record, pharmacy
from tests.provider import Provider, bearer, grants_of_every_role
from tests.running import EVERYBODY

NEVER_ENDS = "GET /stream/events"
NEED_A_BROKER = {"GET /ops/status", "GET /health", "POST /rebuild", NEVER_ENDS}
"""Asked of who may in test_console and tests/integration/fabric; who may not is refused before."""

PLAIN: Mapping[str, Any] = {
    "POST /patients/{patient_id}/disenrolment": {"reason": "moved_away"},
    "POST /patients/{patient_id}/circumstances": {"payday": 3},
    "POST /patients/lookup": {"source": "chain", "number": "P1"},
    "POST /patients/search": {"phone": "+19185550101"},
    "POST /plans/{patient_id}/rulings": {"kind": "day", "on": "2026-11-02", "why": "a reason"},
    "POST /patients/{patient_id}/inbound": {"answer": {"text": "what is it about?"}},
    "POST /plans/replan": {"dry_run": True},
    "POST /patients/{patient_id}/reveal": "because=asked%20at%20the%20counter",
    "POST /health/{service}/deadletters/{number}/{way_out}": "because=corrected",
}
"""Bodies that ask for nothing that is finer than the route."""

MAY_BE_EMPTY = frozenset(
    f"GET /{kind}/next-due" for kind in ("contacts", "prescriber-contacts", "fill-orders")
) | {
    "POST /plans/replan",
    "POST /contacts/lease",
    "POST /prescriber-contacts/lease",
    "POST /fill-orders/lease",
    "GET /candidates",
    "GET /owed",
}
"""Lists that say no name, or that hold nothing of this pharmacy now; that they are bounded is asked below."""

NOT_THERE = {"no_such_closure", "no_such_caregiver"}
"""Of what was ended a moment before: whoever may ask is told so."""

MERGE = {"reason": "merged", "survivor_id": "another"}


@dataclass(frozen=True)
class Asked:
    """One service that knows a pharmacy, and how each of its routes is asked."""

    app: FastAPI
    http: httpx.AsyncClient
    known: Mapping[str, Any]
    rows: Mapping[str, Row]
    document: dict[str, Any]
    who: Callable[..., dict[str, str]]

    def names(self) -> list[str]:
        """What tells that an answer is about the store or its patient."""
        return [str(self.known[name]) for name in ("patient_id", "store_id") if name in self.known]

    async def ask(self, route: str, who: Mapping[str, str], body: Any = None) -> httpx.Response:
        method, path = route.split(" ")
        given = self.known | OTHER_IDS.get(route, dict)(self.known)
        operation = self.document["paths"].get(path, {}).get(method.lower(), {})
        of_path = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
        values = {name: given.get(name, "1") for name in of_path}
        for each in operation.get("parameters", ()):
            if each["in"] == "query" and each["required"]:
                values[each["name"]] = given.get(each["name"], "x")
        content = self._body(route, operation) if body is None else body
        kind = "application/json"
        if isinstance(content, str):
            kind = "application/x-www-form-urlencoded"
        elif content is not None:
            content = json.dumps(content)
        where = address(path, of_path, values)
        return await self.http.request(method, where, content=content, headers={**who, "Content-Type": kind})

    def _body(self, route: str, operation: Mapping[str, Any]) -> Any:
        if route in PLAIN:
            return PLAIN[route]
        if route == "POST /plans/what-if":
            return {"patient_id": self.known["patient_id"], "changes": {"wanted_on": "2026-11-02"}}
        if route == "POST /hand-overs":
            return {"packages": [{"package_id": self.known["package_id"]}]}
        kinds = operation.get("requestBody", {}).get("content", {})
        for each in kinds.values():
            name = each["schema"].get("$ref", "").rpartition("/")[2]
            model = self.document["components"]["schemas"].get(name, each["schema"])
            return model.get("examples", [None])[0] or sample(each["schema"], self.document, self.known)
        return None


OTHER_IDS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    f"POST /prescriber-contacts/{{contact_id}}/{what}": lambda known: {"contact_id": known["renewal_id"]}
    for what in ("outcome",)
}


@asynccontextmanager
async def asked(name: str, url: str, folder: Path) -> AsyncIterator[Asked]:
    app, work = await service(name, url, folder)
    provider = Provider()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        http.headers.update(EVERYBODY)
        known = await known_ids(name, work, http) | await more_ids(name, work, http)
        await name_caregiver(name, work, http, known)
        app.state.identity = Tokens(
            provider.keys(),
            audience=f"medsync-{name}",
            algorithms=("ES256",),
            grants=grants.read(grants_of_every_role(folder)),
        )
        for header in EVERYBODY:
            del http.headers[header]
        rows = OF_EVERY_SERVICE | ACCESS[name]
        yield Asked(app, http, known, rows, app.openapi(), everyone(provider, name))
    await work.pool.close()


async def more_ids(name: str, work: Work, http: httpx.AsyncClient) -> dict[str, Any]:
    """What the tests of odd input need not: something of every kind that an id in a path names."""
    if name == "console":
        told = pharmacy(3)
        records = [_taken(each, place) for place, each in enumerate(told)]
        await Intake(work, of_console.on).take(records)
        async with work.read() as db:
            patient = await db.fetchval("select patient_id from patients where store_id = 's1' limit 1")
        return {"patient_id": patient, "service": "planner", "way_out": "redrive"}
    async with work.read() as db:
        if name == "planner":
            patient = await db.fetchval("select patient_id from plans where published ? 'visits' limit 1")
            made = await http.post(
                f"/plans/{patient}/rulings", json=PLAIN["POST /plans/{patient_id}/rulings"]
            )
            return {"ruling_id": made.json()["ruling_id"], "patient_id": patient}
        if name == "outreach":
            patient = await db.fetchval("select patient_id from contacts where status = 'open' limit 1")
            said = await http.post(
                f"/patients/{patient}/inbound",
                json={"answer": {"text": "who is this?"}},
                headers={"Medsync-Actor": "p-1", "Medsync-Role": "patient", "Medsync-Patients": patient},
            )
            asked = await http.post(
                f"/patients/{patient}/inbound", json={"answer": {"asked": "May I drink?"}}
            )
            assert asked.status_code == 200, asked.text
            renewal = await db.fetchval("select contact_id from renewals limit 1")
            question = await db.fetchval("select question_id from questions limit 1")
            return {
                "text_id": said.json().get("text_id"),
                "renewal_id": str(renewal),
                "question_id": str(question),
            }
    return {}


async def name_caregiver(name: str, work: Work, http: httpx.AsyncClient, known: Mapping[str, Any]) -> None:
    """Have the patient a caregiver, where caregivers may act: as enrollment records it, and as others are told."""
    if name == "enrollment":
        said = {"caregiver_id": f"caregiver-{ALL}"}
        named = await http.post(f"/patients/{known['patient_id']}/caregivers", json=said)
        assert named.status_code == 200, named.text
    elif name in ("planner", "outreach"):
        handlers = {"planner": of_planner, "outreach": of_outreach}[name]
        told = CaregiversChanged(
            patient_id=known["patient_id"], revision=9, store_id="s1", caregiver_ids=(f"caregiver-{ALL}",)
        )
        async with work.begin([patient(told.patient_id)], cause=Cause("c", "c")) as unit:
            await handlers.by_type[told.TYPE]([told], unit)


def _taken(told: Told, offset: int) -> Record:
    sent: dict[str, Any] = as_record(told)
    return Record(told.event.TOPIC, 0, offset, sent["key"], tuple(sent["headers"]), sent["value"])


ALL = "all"


def everyone(provider: Provider, name: str) -> Callable[..., dict[str, str]]:
    """Headers of somebody of one role: of every store unless told, and of no patient. A caregiver is one of the
    patient, or of nobody where they are elsewhere."""

    def who(role: str, where: str = "all", patients: str = "nobody", **more: Any) -> dict[str, str]:
        is_program = Role(role) in OF_PROGRAMS
        sub = f"{role}-{where}" if is_program or role == Role.caregiver else f"{role}-9"
        claims = {
            "sub": sub,
            "client_id": sub if is_program else "medsync-console",
            "groups": [f"{role}-{where}"],
            "aud": f"medsync-{name}",
            "patients": patients,
        }
        return bearer(provider.token(**claims | more))

    return who


def routes(rows: Mapping[str, Row], *about: About) -> Iterator[tuple[str, Row]]:
    """Those about these; what forgets the patient at the end, for nobody acts for them then."""
    for route, row in sorted(rows.items(), key=lambda each: each[0] == "POST /patients/{patient_id}/erasure"):
        if row.about is not About.public and (not about or row.about in about):
            yield route, row


@pytest.mark.parametrize("name", SERVICES)
async def test_nobody_gets_through_without_saying_who_they_are_or_in_a_role_that_has_no_part(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    through = []
    async with asked(name, fresh_database(name), tmp_path) as here:
        for route, row in routes(here.rows):
            granted = sorted(row.roles)[0]
            for why, headers in (
                ("no token", {}),
                ("headers alone", EVERYBODY),
                ("expired", here.who(granted, exp=int(time.time()) - 60)),
                ("another service's", here.who(granted, aud="medsync-another")),
            ):
                answer = await here.ask(route, headers)
                if answer.status_code != 401:
                    through.append((route, why, answer.status_code))
            for role in set(Role) - row.roles:
                answer = await here.ask(route, here.who(role))
                if answer.status_code != 403 or answer.json()["code"] != "not_allowed":
                    through.append((route, role, answer.status_code))
    assert through == []


@pytest.mark.parametrize("name", SERVICES)
async def test_the_code_refuses_no_role_that_the_table_grants(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    refused = []
    async with asked(name, fresh_database(name), tmp_path) as here:
        patient = here.known.get("patient_id", "")
        for route, row in routes(here.rows):
            for role in sorted(row.roles):
                if route in NEED_A_BROKER:
                    continue
                answer = await here.ask(route, here.who(role, patients=patient))
                if answer.status_code == 401 or "not_allowed" in answer.text:
                    refused.append((route, role, answer.text))
    assert refused == []


@pytest.mark.parametrize("name", SERVICES)
async def test_what_belongs_to_another_store_or_patient_is_not_there(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    through, vacuous = [], []
    async with asked(name, fresh_database(name), tmp_path) as here:
        for route, row in routes(here.rows, About.patient, About.store):
            for role in sorted(row.roles):
                # Of whom somebody is a caregiver is no claim of the token.
                claim = here.known.get("patient_id", "") if role is Role.caregiver else "somebody-else"
                answer = await here.ask(route, here.who(role, "elsewhere", patients=claim))
                if answer.status_code != 404 or answer.json()["code"] != "not_found":
                    through.append((route, role, answer.status_code, answer.text[:100]))
            staff = sorted(row.roles - {Role.patient, Role.caregiver})[0]
            for role in (staff, *row.roles & {Role.patient, Role.caregiver}):
                where = "here" if role is staff else ALL
                answer = await here.ask(
                    route, here.who(role, where, patients=here.known.get("patient_id", ""))
                )
                if answer.status_code == 404 and answer.json()["code"] not in NOT_THERE:
                    vacuous.append((route, role, answer.text))
    assert (through, vacuous) == ([], [])


@pytest.mark.parametrize("name", SERVICES)
async def test_a_list_has_nothing_of_another_store(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    through, empty = [], []
    async with asked(name, fresh_database(name), tmp_path) as here:
        for route, row in routes(here.rows, About.stores):
            if route == NEVER_ENDS:
                continue
            role = sorted(row.roles)[0]
            alien = await here.ask(route, here.who(role, "elsewhere"))
            theirs = await here.ask(route, here.who(role, "here"))
            if any(known in alien.text for known in here.names()) or alien.is_error:
                through.append((route, alien.text[:300]))
            if route not in MAY_BE_EMPTY and not any(known in theirs.text for known in here.names()):
                empty.append((route, theirs.text[:300]))
    assert (through, empty) == ([], [])


FINER_ASKED: Mapping[str, tuple[str, str, Any]] = {
    "merge": ("enrollment", "POST /patients/{patient_id}/disenrolment", MERGE),
    "reconcile a stay": (
        "enrollment",
        "POST /patients/{patient_id}/circumstances",
        {"reconciled_on": "2026-01-02"},
    ),
}
"""How the finer things are asked; a question to a pharmacist and reasons of reveals have tests of their own."""


@pytest.mark.parametrize("what", FINER_ASKED)
async def test_finer_things_are_for_the_roles_of_the_table_alone(
    what: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    name, route, body = FINER_ASKED[what]
    async with asked(name, fresh_database(name), tmp_path) as here:
        mine = here.known["patient_id"] + ",another"
        took = {
            role
            for role in here.rows[route].roles
            if (await here.ask(route, here.who(role, patients=mine), body)).json().get("code")
            not in ("not_allowed", "not_found")
        }
    assert took == FINER[what] & here.rows[route].roles


def test_a_route_without_a_row_keeps_a_service_from_starting() -> None:
    settings = ServiceSettings(
        database_url="postgres://nowhere", kafka_bootstrap="nowhere:1", sealing_key=SecretStr("5a" * 32)
    )
    router = APIRouter()
    router.get("/patients/{patient_id:id}/notes")(lambda patient_id: patient_id)
    parts = {"settings": settings, "handlers": Handlers(), "jobs": Jobs(), "routers": [router]}
    with pytest.raises(RuntimeError, match=r"no row .* GET /patients/\{patient_id\}/notes"):
        service_app(name="planner", **parts)
    service_app(name="planner", **parts, access={"GET /patients/{patient_id}/notes": STAFF_ALONE})


def test_every_row_of_the_table_has_a_route() -> None:
    for name in SERVICES:
        app = unstarted(name, "postgres://nowhere")
        found = {
            named(method, route.path) for route in _every_route(app.router) for method in route.methods or ()
        }
        assert found - {"HEAD /openapi.json", "GET /openapi.json"} == (ACCESS[name] | OF_EVERY_SERVICE).keys()


def _every_route(router: Any) -> Iterator[Any]:
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from _every_route(route.original_router)
        elif getattr(route, "methods", None):
            yield route


def test_a_bounded_reader_of_the_live_stream_gets_no_other_stores_lines() -> None:
    bounded = Filter(stores=frozenset({"s1"}))
    assert bounded.takes(_line("s1"))
    assert not bounded.takes(_line("s2")) and not bounded.takes(_line(None))


async def test_a_lease_gives_what_is_within_reach_and_belongs_to_who_took_it(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("outreach", fresh_database("outreach"), tmp_path) as here:
        wanted = {"worker": "w", "limit": 1}
        for stores, some in (("elsewhere", False), ("here", True)):
            dialer = here.who(Role.dialer, stores)
            next_due = (await here.ask("GET /contacts/next-due", dialer)).json()["next_due"]
            leased = (await here.ask("POST /contacts/lease", dialer, wanted)).json()["contacts"]
            assert (next_due is not None, bool(leased)) == (some, some), stores
        report = {"lease_id": leased[0]["lease_id"], "outcome": "no_answer"}
        path = f"POST /contacts/{leased[0]['contact_id']}/outcome"
        stranger = await here.ask(path, here.who(Role.clerk, "here"), report)
        assert (stranger.status_code, stranger.json()["code"]) == (403, "not_your_lease")
        assert (await here.ask(path, dialer, report)).status_code == 200


async def test_a_key_belongs_to_its_caller_and_its_answer_is_sealed(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("outreach", fresh_database("outreach"), tmp_path) as here:
        key, wanted = {"Idempotency-Key": "k-1"}, {"worker": "w", "limit": 1}
        first = await here.ask("POST /contacts/lease", here.who(Role.pharmacist) | key, wanted)
        assert first.json()["contacts"][0]["name"]
        again = await here.ask("POST /contacts/lease", here.who(Role.pharmacist) | key, wanted)
        stranger = await here.ask("POST /contacts/lease", here.who(Role.clerk) | key, wanted)
        assert (again.json(), stranger.status_code) == (first.json(), 200)
        assert first.json()["contacts"][0]["lease_id"] not in stranger.text
        async with here.app.state.work.read() as db:
            kept = await db.fetchval("select string_agg(a::text, ' ') from fabric.answers a")
        name, lease_id = (first.json()["contacts"][0][each] for each in ("name", "lease_id"))
        assert name not in kept and lease_id not in kept and "k-1" in kept


async def test_a_key_of_before_callers_were_told_apart_is_nobodys(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("outreach", fresh_database("outreach"), tmp_path) as here:
        async with here.app.state.work.connection() as db:
            await db.execute(
                "insert into fabric.answers (idempotency_key, fingerprint, answer) values ('old', 'f', '{}')"
            )
        key = {"Idempotency-Key": "old"}
        answer = await here.ask("POST /contacts/lease", here.who(Role.pharmacist) | key, {"worker": "w"})
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"family_name": "LOVELACE  "}, 200),
        ({"family_name": "Byron"}, 409),
        ({"birth_date": "1941-01-02"}, 409),
    ],
)
async def test_only_records_of_one_person_are_merged(
    other: dict[str, str], status: int, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("enrollment", fresh_database("enrollment"), tmp_path) as here:
        same = {name: feed.patient()[name] for name in ("family_name", "birth_date")}
        if other.get("family_name", "").strip() == "LOVELACE":
            other = {"family_name": f" {same['family_name'].upper()} "}
        record = feed.patient(patient_number="P2", **{**same, **other})
        sent = {"source": "chain", "records": [record]}
        await here.http.post("/imports/patients", json=sent, headers=here.who(Role.feed))
        ask = {"source": "chain", "number": "P2"}
        survivor = (await here.ask("POST /patients/lookup", here.who(Role.clerk), ask)).json()["patient_id"]
        merge = {"reason": "merged", "survivor_id": survivor}
        answer = await here.ask("POST /patients/{patient_id}/disenrolment", here.who(Role.pharmacist), merge)
        assert answer.status_code == status, answer.text
        assert status == 200 or answer.json()["code"] == "not_the_same_person"


@pytest.mark.parametrize("licence", [" ", "   ", ""])
async def test_a_blank_license_verifies_nothing(
    licence: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("fulfillment", fresh_database("fulfillment"), tmp_path) as here:
        path, said = "POST /packages/{package_id}/verification", {"licence": licence}
        assert (await here.ask(path, here.who(Role.pharmacist), said)).status_code == 400


async def test_why_a_name_was_revealed_is_for_auditors(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("console", fresh_database("console"), tmp_path) as here:
        await here.ask(
            "POST /patients/{patient_id}/reveal", here.who(Role.clerk), "because=curious%20about%20it"
        )
        seen = {
            role: (await here.ask("GET /patients/{patient_id}", here.who(role))).text
            for role in (Role.clerk, Role.pharmacist, Role.auditor)
        }
        address = f"/audit?patient={here.known['patient_id']}"
        audit = {role: await here.http.get(address, headers=here.who(role)) for role in seen}
    assert all("clerk-9" in page and "curious" not in page for page in seen.values())
    assert {role for role, page in audit.items() if "curious about it" in page.text} == {Role.auditor}
    assert {role for role, page in audit.items() if page.status_code == 403} == {Role.clerk, Role.pharmacist}


def _line(store_id: str | None) -> Line:
    values = {each.name: None for each in fields(Line)}
    return Line(**values | {"number": 1, "store_id": store_id})
