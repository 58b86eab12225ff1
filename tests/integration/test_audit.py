"""Every route of every service leaves its row in the audit, and names nobody without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from shared.access import About, Role
from shared.messaging import Work
from tests.integration.test_access import NEED_A_BROKER, Asked, asked, routes
from tests.integration.test_odd_input import SERVICES
from tests.running import until

Rows = list[asyncpg.Record]


NOT_ASKED_WELL = {"POST /imports/{kind}"}
"""Its kind is none: the pharmacy of this test came by it, and left rows."""


async def rows_after(work: Work, last: int = 0) -> Rows:
    async with work.read() as db:
        return await db.fetch("select * from fabric.audit where id > $1 order by id", last)


async def last_of(work: Work) -> int:
    rows = await rows_after(work)
    return rows[-1]["id"] if rows else 0


async def left_by(
    here: Asked, route: str, who: Mapping[str, str], body: Any = None
) -> tuple[httpx.Response, Rows]:
    """The answer to a request, and the rows that it left."""
    before = await last_of(here.app.state.work)
    answer = await here.ask(route, who, body)
    return answer, await rows_after(here.app.state.work, before)


@pytest.mark.parametrize("name", SERVICES)
async def test_every_command_and_every_answer_that_names_a_patient_has_its_row(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    wrong = []
    async with asked(name, fresh_database(name), tmp_path) as here:
        patient = here.known.get("patient_id", "nobody")
        for route, row in routes(here.rows):
            if route in NEED_A_BROKER:
                continue
            role = sorted(row.roles)[0]
            answer, rows = await left_by(here, route, here.who(role, patients=patient))
            if answer.status_code == 400 or answer.status_code >= 500:
                if route not in NOT_ASKED_WELL:
                    wrong.append((route, "not asked well", answer.text))
                continue
            changes = not route.startswith("GET")
            if bool(rows) != (row.personal or changes or answer.is_error):
                wrong.append((route, "rows", len(rows), answer.status_code))
            named = patient in answer.text and answer.status_code < 400 and "/audit" not in route
            if named and not any(patient in each["patients"] for each in rows):
                wrong.append((route, "names a patient", answer.text[:200]))
            said = {(each["route"], each["actor"].partition("-")[0], each["role"]) for each in rows}
            if said - {(route, role, role)}:
                wrong.append((route, "says another", said))
    assert wrong == []


@pytest.mark.parametrize("name", SERVICES)
async def test_every_refusal_has_its_row(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    wrong = []
    async with asked(name, fresh_database(name), tmp_path) as here:
        for route, row in routes(here.rows):
            stranger = next(iter(sorted(set(Role) - row.roles)), None)
            if stranger:
                _, rows = await left_by(here, route, here.who(stranger))
                if [(each["outcome"], each["actor"]) for each in rows] != [("not_allowed", rows[0]["actor"])]:
                    wrong.append((route, stranger, rows))
        for route, row in routes(here.rows, About.patient, About.store):
            role = sorted(row.roles)[0]
            _, rows = await left_by(here, route, here.who(role, "elsewhere", patients="somebody-else"))
            if [each["outcome"] for each in rows] != ["not_found"]:
                wrong.append((route, "out of reach", rows))
    assert wrong == []


async def test_who_is_not_signed_in_is_counted_and_not_kept_waiting(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("enrollment", fresh_database("enrollment"), tmp_path) as here:
        work = here.app.state.work
        before = await last_of(work)
        for _ in range(50):
            assert (await here.ask("GET /patients", {})).status_code == 401
        await here.ask("POST /patients/lookup", {})

        async def written() -> Rows:
            rows = await rows_after(work, before)
            return rows if sum(each["times"] for each in rows) == 51 else []

        rows = await until(written, "both routes are counted")
    assert {each["route"]: each["outcome"] for each in rows} == {
        "GET /patients": "not_signed_in",
        "POST /patients/lookup": "not_signed_in",
    }
    assert len(rows) <= 6 and {each["actor"] for each in rows} == {""}


async def test_a_command_that_is_refused_leaves_one_row_and_a_repeated_one_says_so(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    path = "POST /patients/{patient_id}/disenrolment"
    async with asked("enrollment", fresh_database("enrollment"), tmp_path) as here:
        clerk = here.who(Role.clerk)
        _, refused = await left_by(here, path, clerk, {"reason": "merged", "survivor_id": "another"})
        assert [each["outcome"] for each in refused] == ["not_allowed"]
        key = {"Idempotency-Key": "once"}
        outcomes = []
        for _ in range(2):
            _, rows = await left_by(here, path, clerk | key, {"reason": "moved_away"})
            outcomes += [each["outcome"] for each in rows]
    assert outcomes == ["done", "repeated"]


async def test_a_row_says_who_in_which_role_about_whom_and_in_which_trace(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with asked("enrollment", fresh_database("enrollment"), tmp_path) as here:
        who = here.who(Role.pharmacist, "here") | {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        _, (saw,) = await left_by(here, "GET /patients/{patient_id}", who)
        _, (did,) = await left_by(here, "POST /patients/{patient_id}/consent", who)
        _, (closed,) = await left_by(here, "POST /stores/{store_id}/closures", who)
        patient, store = here.known["patient_id"], here.known["store_id"]
    for row in (saw, did, closed):
        assert (row["actor"], row["kind"], row["role"]) == ("pharmacist-9", "person", "pharmacist")
        assert row["trace"] == trace
    assert saw["patients"] == did["patients"] == [patient]
    assert (closed["patients"], closed["store_id"]) == ([], store)
    assert did["correlation"] and not saw["correlation"]


async def test_nobody_sees_an_answer_whose_row_cannot_be_written(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("enrollment", fresh_database("enrollment"), tmp_path) as here:
        async with here.app.state.work.connection() as db:
            await db.execute("alter table fabric.audit add constraint full_disk check (times < 1) not valid")
        read = await here.ask("GET /patients/{patient_id}", here.who(Role.clerk))
        command = await here.ask("POST /patients/{patient_id}/consent", here.who(Role.clerk))
        async with here.app.state.work.read() as db:
            consents = await db.fetchval("select count(*) from consents")
    assert (read.status_code, command.status_code, consents) == (500, 500, 0)
    assert here.known["patient_id"] not in read.text


async def test_an_auditor_finds_who_looked_and_others_do_not(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("enrollment", fresh_database("enrollment"), tmp_path) as here:
        patient = here.known["patient_id"]
        await here.ask("GET /patients/{patient_id}", here.who(Role.clerk, "here"))
        auditor = here.who(Role.auditor)
        found = await here.http.get(f"/ops/audit?patient={patient}&limit=1", headers=auditor)
        assert found.json()["items"][0]["actor"] == "clerk-9"
        more = await here.http.get(f"/ops/audit?before={found.json()['next'] or 0}", headers=auditor)
        assert all(each["id"] < found.json()["items"][0]["id"] for each in more.json()["items"])
        of_one_store = await here.ask("GET /ops/audit", here.who(Role.auditor, "here"))
        assert of_one_store.status_code == 403
        looked = await here.http.get(f"/ops/audit?patient={patient}&actor=auditor-9", headers=auditor)
        assert looked.json()["items"], "who looks at the audit is in it"


async def test_the_auditors_page_says_who_looked_and_which_service_is_not_in_it(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("console", fresh_database("console"), tmp_path) as here:
        patient, auditor = here.known["patient_id"], here.who(Role.auditor)
        asking = await here.http.get("/audit", headers=auditor)
        nobody = await here.http.get("/audit?patient=somebody", headers=auditor)
        again = await here.http.get("/audit?patient=somebody", headers=auditor)
        await here.ask("GET /patients/{patient_id}", here.who(Role.clerk))
        page = (await here.http.get(f"/audit?patient={patient}", headers=auditor)).text
        linked = (await here.ask("GET /patients/{patient_id}", auditor)).text
        unlinked = (await here.ask("GET /patients/{patient_id}", here.who(Role.clerk))).text
    assert "Name a patient" in asking.text
    assert "Nobody looked at this patient" in nobody.text
    assert "auditor-9" in again.text, "who looked is the one who asked before"
    assert "clerk-9" in page and "GET /patients/{patient_id}" in page
    assert "is not in this list: its address is not given" in page
    assert f"/audit?patient={patient}" in linked
    assert "/audit" not in unlinked, "it is in nobody else's way"


async def test_a_reason_is_sealed_and_told_to_auditors_alone(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked("console", fresh_database("console"), tmp_path) as here:
        await here.ask(
            "POST /patients/{patient_id}/reveal", here.who(Role.clerk), "because=curious%20about%20it"
        )
        async with here.app.state.work.read() as db:
            kept = await db.fetchval(
                """
                select (select string_agg(a::text, ' ') from fabric.audit a)
                    || (select string_agg(r::text, ' ') from fabric.audit_reasons r)
                    || (select string_agg(a::text, ' ') from actions a)
                """
            )
        found = await here.http.get("/ops/audit", headers=here.who(Role.auditor))
    assert "curious" not in kept
    assert "curious about it" in [each["because"] for each in found.json()["items"]]
