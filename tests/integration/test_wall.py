"""The second wall: row-level security answers nothing of another store, though the service's own filter is gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import doctor
from deploy.local import Addresses
from shared.access import EVERYTHING, About, Reach, Role
from shared.database import open_pool
from shared.messaging import unit
from shared.messaging.unit import bound
from tests.integration import test_access
from tests.integration.test_access import ALL, NEVER_ENDS, asked, routes
from tests.integration.test_odd_input import SERVICES
from tests.walled import behind_the_wall

ROOT = Path(__file__).parents[2]

WALLED = {
    "enrollment": {"patients", "candidates", "people"},
    "planner": {"patients", "plans", "rulings"},
    "outreach": {"patients", "contacts", "renewals", "texts", "questions", "details"},
    "fulfillment": {"work_orders"},
    "console": {"patients", "visits", "sealed_details"},
}
COUNTS = frozenset({"GET /plans/replan/stores", "POST /plans/replan", "GET /"})
"""Answered with the figures of stores, or with who was planned."""

BY_VIEWS = frozenset(
    {f"GET /{kind}/next-due" for kind in ("contacts", "prescriber-contacts", "fill-orders")}
    | {f"POST /{kind}/lease" for kind in ("contacts", "prescriber-contacts", "fill-orders")}
)
"""Found by views, which are the owner's: a time without a name, and rows that are read behind the wall then."""


@pytest.fixture
def walled(stack: Addresses, fresh_database: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: behind_the_wall(stack.postgres, fresh_database(name))


@pytest.mark.parametrize("name", SERVICES)
async def test_a_list_whose_filter_is_gone_has_nothing_of_another_store(
    name: str, walled: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through, empty = [], []
    async with asked(name, walled(name), tmp_path) as here:
        monkeypatch.setattr(Reach, "narrowed", lambda self, store_id: None)
        for route, row in routes(here.rows, About.stores):
            if route in {NEVER_ENDS, "GET /stream"} | COUNTS | BY_VIEWS:
                continue
            role = sorted(row.roles)[0]
            alien = await here.ask(route, here.who(role, "elsewhere"))
            theirs = await here.ask(route, here.who(role, "here"))
            if any(known in alien.text for known in here.names()) or alien.is_error:
                through.append((route, alien.text[:300]))
            if route not in test_access.MAY_BE_EMPTY and here.names()[0] not in theirs.text:
                empty.append((route, theirs.text[:300]))
    assert (through, empty) == ([], [])


@pytest.mark.parametrize("name", SERVICES)
async def test_a_patient_of_another_store_is_not_read_though_nobody_asks_whose_they_are(
    name: str, walled: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def anybody(*_: Any) -> None: ...

    through = []
    async with asked(name, walled(name), tmp_path) as here:
        monkeypatch.setattr(unit, "require_reach", anybody)
        for route, row in routes(here.rows, About.patient):
            if route.startswith("GET "):
                staff = sorted(row.roles - {Role.patient, Role.caregiver})[0]
                answer = await here.ask(route, here.who(staff, "elsewhere"))
                if not answer.is_error and [] not in answer.json().values():
                    through.append((route, answer.text[:300]))
    assert through == []


@pytest.mark.parametrize("name", SERVICES)
async def test_who_is_within_reach_loses_nothing_behind_the_wall(
    name: str, walled: Callable[[str], str], tmp_path: Path
) -> None:
    lost = []
    async with asked(name, walled(name), tmp_path) as here:
        for route, row in routes(here.rows, About.patient, About.store):
            for role in row.roles:
                where = ALL if role is Role.caregiver else "here"
                answer = await here.ask(
                    route, here.who(role, where, patients=here.known.get("patient_id", ""))
                )
                if answer.status_code >= 500 or (
                    answer.status_code == 404 and answer.json()["code"] not in test_access.NOT_THERE
                ):
                    lost.append((route, role, answer.text[:300]))
    assert lost == []


@pytest.mark.parametrize("name", SERVICES)
async def test_each_walled_table_shows_what_the_transaction_said_and_no_more(
    name: str, walled: Callable[[str], str], tmp_path: Path
) -> None:
    async with asked(name, url := walled(name), tmp_path) as here:
        if name == "enrollment":
            await here.app.state.work.pool.execute(
                "insert into candidates select patient_id, store_id, '[]', now() from patients"
            )
        alien, theirs = (Reach(stores=frozenset(stores)) for stores in (["elsewhere"], ["s1", "S1"]))
        # One connection: what a transaction said ends with it.
        pool = await open_pool(url, size=1, name="test")
        for table in sorted(WALLED[name]):
            seen = []
            for reach in (EVERYTHING, alien, theirs, EVERYTHING):
                async with pool.acquire() as db, db.transaction():
                    await bound(db, reach)
                    seen.append(await db.fetchval(f"select count(*) from {table}"))
            everything, of_others, own, again = seen
            assert everything == again >= own > of_others == 0, (table, seen)
        assert await _walled(pool) == WALLED[name]
        await pool.close()


async def test_a_list_is_found_by_its_index_and_the_stores_are_asked_once(
    walled: Callable[[str], str], tmp_path: Path
) -> None:
    pool = await open_pool(walled("enrollment"), size=1, name="test")
    async with pool.acquire() as db, db.transaction():
        await db.execute(
            """
            insert into stores (store_id, revision, name, state, time_zone, hours, closed_on, daily_cap, phone,
                                published_revision)
            select 's' || n, 1, 'S', 'OK', 'UTC', '[]', '{}', 0, '', 1 from generate_series(1, 200) n
            """
        )
        await db.execute(
            """
            insert into patients (patient_id, fed_revision, store_id, must_weekdays)
            select 'p' || n, 1, 's' || (1 + n % 200), '{}' from generate_series(1, 20000) n
            """
        )
        await db.execute("analyze patients")
        await bound(db, Reach(stores=frozenset({"s7"})))
        for query, index in (
            (
                "select * from patients where store_id = any('{s7}') order by patient_id limit 50",
                "patients_by_store",
            ),
            ("select * from patients where patient_id = any('{p6}')", "patients_pkey"),
        ):
            plan = "\n".join(
                row[0] for row in await db.fetch(f"explain (analyze, costs off, timing off) {query}")
            )
            assert index in plan and "Seq Scan" not in plan, plan
            assert set(re.findall(r"InitPlan \d+\n.*loops=(\d+)", plan)) == {"1"}, plan
    await pool.close()


async def _walled(pool: Any) -> set[str]:
    rows = await pool.fetch(
        """
        select relname
        from pg_class
        where relkind = 'r'
          and relnamespace = 'public'::regnamespace
          and row_security_active(oid)
        """
    )
    return {row["relname"] for row in rows}


def test_no_route_reads_past_the_wall() -> None:
    """Whoever lists asks `read_as`; `GET /health` alone says nothing of patients."""
    found = {
        (file.parent.name, line.strip())
        for file in ROOT.glob("services/*/http.py")
        for line in file.read_text().splitlines()
        if re.search(r"work\.(read|connection)\(\)", line)
    }
    assert found == {("console", "async with work.read() as db:")}


async def test_the_doctor_says_where_the_wall_does_not_stand(
    stack: Addresses, fresh_database: Callable[[str], str]
) -> None:
    owned = fresh_database("planner")
    assert "medsync_planner owns" in str(await doctor.wall_lacking({"planner": owned}))
    assert await doctor.wall_lacking({"planner": behind_the_wall(stack.postgres, owned)}) is None
