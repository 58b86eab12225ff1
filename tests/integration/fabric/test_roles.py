"""A service's role reads and writes, and owns nothing: whoever takes it over changes no table and no rule of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.local import Addresses
from deploy.local.databases import (
    create_databases,
    install,
    migrate,
    owner_of,
    role_of,
)
from deploy.local.sql import on_server
from shared.service import inbox_week
from tests.integration.fabric.conftest import MIGRATIONS, ledger
from tests.integration.fabric.given import Ledger, changed
from tests.running import at_rest, until

__all__ = ["ledger"]


@pytest.fixture
async def apart(stack: Addresses, ledger: Ledger) -> Ledger:
    """The same topics, and a database whose owner is not the service."""
    name = f"ledger_{uuid4().hex[:8]}"
    made = await asyncio.to_thread(create_databases, stack.postgres, [name])
    await asyncio.to_thread(install, stack.postgres, name, *MIGRATIONS)
    return Ledger(ledger.bootstrap, made[name], ledger.prefix, ledger.folder)


async def test_a_service_works_makes_its_partitions_and_begins_another_life(apart: Ledger) -> None:
    async with apart.running() as client:
        await apart.publish(*(changed(f"p{n}", 1) for n in range(20)))
        await apart.until_effects(20)
        week = inbox_week(datetime.now(UTC), 1).name

        async def made() -> bool:
            return bool((await apart.sql("select to_regclass($1)", f"fabric.{week}"))[0][0])

        await until(made, "next week's partition is there")
        await at_rest(client)
        answer = await client.post("/ops/recovered", json={"because": "only to see"})
        assert answer.status_code == 200, answer.text

        async def is_chained() -> bool:
            return bool(await apart.sql("select 1 from fabric.audit_chain where seal is not null"))

        await until(is_chained, "its commands are in the audit's chain")


@pytest.mark.parametrize(
    "forbidden",
    [
        "create table t ()",
        "create table fabric.t ()",
        "create schema s",
        "alter table effects add column c int",
        "drop table effects",
        "truncate effects",
        "create or replace function fabric.drop_partition(partition text) returns void language sql as ''",
        "alter function fabric.drop_partition(text) security invoker",
        "set role postgres",
        "update fabric.audit set actor = 'nobody'",
        "delete from fabric.audit",
        "truncate fabric.audit",
        "update fabric.audit_chain set hash = ''",
        "delete from fabric.audit_chain",
        "insert into fabric.audit (at, actor, kind, role, patients, route, outcome, times) "
        "values (now(), '', '', '', '{}', '', '', 1)",
    ],
)
async def test_its_role_changes_no_table(apart: Ledger, forbidden: str) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
        await apart.sql(forbidden)


@pytest.mark.parametrize("name", ["effects", "inbox_default", "outbox_default", "relay_lease"])
async def test_it_has_nothing_dropped_but_partitions(apart: Ledger, name: str) -> None:
    await apart.sql("select fabric.drop_partition($1)", name)
    assert await apart.sql(
        "select to_regclass($1) is not null or to_regclass($2) is not null", f"fabric.{name}", name
    )
    with pytest.raises(asyncpg.RaiseError):
        await apart.sql("select fabric.make_partition('relay_lease', 'epoch', 'relay_lease_x', '0', '1')")


async def test_what_a_service_owned_before_is_its_owners_after_an_upgrade(
    stack: Addresses, tmp_path: Path
) -> None:
    name = f"ledger_{uuid4().hex[:8]}"
    url = (await asyncio.to_thread(create_databases, stack.postgres, [name]))[name]

    async def as_before(admin: asyncpg.Connection) -> None:
        await admin.execute(f"alter database medsync_{name} owner to {role_of(name)}")

    await asyncio.to_thread(on_server, stack.postgres, as_before)
    await asyncio.to_thread(migrate, url, *MIGRATIONS)
    await asyncio.to_thread(install, stack.postgres, name, *MIGRATIONS)
    await asyncio.to_thread(install, stack.postgres, name, *MIGRATIONS)
    db = await asyncpg.connect(url)
    try:
        owners = await db.fetch(
            "select distinct relowner::regrole::text as owner from pg_class where relnamespace = 'fabric'::regnamespace"
        )
        assert [row["owner"] for row in owners] == [owner_of(name)]
        await db.execute("insert into effects (patient_id, kind, revision) values ('p', 'x', 1)")
    finally:
        await db.close()
