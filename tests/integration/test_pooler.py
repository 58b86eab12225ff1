"""Behind a pooler, and by TLS: a service works as it does without, and speaks to no server that it cannot verify."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from deploy.local import Addresses
from deploy.local.sql import on_server
from shared.access import EVERYTHING, Reach
from shared.database import Database, DatabaseSettings, SettingsLost, connect, open_pool
from shared.messaging.unit import bound
from tests.certificates import Certificates, certificates
from tests.integration.fabric.conftest import ledger
from tests.integration.fabric.given import Ledger, changed
from tests.ledger.app import create_app
from tests.pooler import CONNECTIONS, pooled
from tests.running import at_rest, running
from tests.walled import behind_the_wall

__all__ = ["ledger"]

pytestmark = pytest.mark.needs("pooler")

COMMANDS, EVENTS = 200, 400


@pytest.fixture
def known(tmp_path: Path) -> Certificates:
    return certificates(tmp_path / "certificates")


@pytest.fixture
def through(ledger: Ledger, known: Certificates, tmp_path: Path) -> Iterator[str]:
    with pooled(ledger.database_url, tmp_path / "pooler", known) as url:
        yield url


async def test_commands_and_events_go_through_few_connections(ledger: Ledger, through: str) -> None:
    app = create_app(
        ledger.settings(
            database_url=f"{through}?sslmode=require",
            database_direct_url=ledger.database_url,
            database_pooled=True,
            max_in_flight=COMMANDS,
        )
    )
    async with running(app) as client:
        await ledger.publish(*(changed(f"p{n % 40}", n) for n in range(EVENTS)))

        async def command(number: int) -> int:
            headers = {"Idempotency-Key": f"c{number}"}
            answer = await client.post(
                f"/patients/c{number}/things", json={"revision": number}, headers=headers
            )
            return answer.status_code

        answers = await asyncio.gather(*(command(number) for number in range(COMMANDS)))
        assert answers == [200] * COMMANDS
        await at_rest(client)
        status = (await client.get("/ops/status")).json()
        assert status["leads_relay"] and status["published"] == COMMANDS + EVENTS
        used = await ledger.sql(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1",
            "medsync-ledger-0",
        )
        assert used[0][0] <= CONNECTIONS
    assert sorted(each.revision for each in await ledger.effects() if each.kind == "changed") == list(
        range(EVENTS)
    )
    assert await ledger.letters() == []


async def test_what_a_transaction_may_see_is_forgotten_with_it(
    stack: Addresses, fresh_database: Callable[[str], str], known: Certificates, tmp_path: Path
) -> None:
    owned = fresh_database("planner")
    db = await connect(owned, name="test")
    await db.execute(
        """
        insert into patients (patient_id, revision, enrolled, store_id, profile)
        select 'p' || n, 1, true, 's' || n % 4, '{}'
        from generate_series(1, 40) n
        """
    )
    await db.close()
    url = behind_the_wall(stack.postgres, owned)
    with pooled(url, tmp_path / "pooler", known) as through:
        reached = Database(f"{through}?sslmode=require", pooled=True)
        pool = await open_pool(reached, size=20, name="test")

        async def seen(reach: Reach) -> int:
            async with pool.acquire() as db, db.transaction():
                await bound(db, reach)
                await asyncio.sleep(0.01)
                return int(await db.fetchval("select count(*) from patients"))

        one, two = Reach(stores=frozenset({"s1"})), Reach(stores=frozenset({"s1", "s2"}))
        found = await asyncio.gather(*(seen(reach) for _ in range(20) for reach in (EVERYTHING, one, two)))
        await pool.close()
    assert found == [40, 10, 20] * 20


async def test_a_server_is_verified_and_its_name_with_it(
    through: str, known: Certificates, tmp_path: Path
) -> None:
    verified = Database(through, ca_file=known.authority, pooled=True)
    db = await connect(verified, name="test")
    await db.close()
    stranger = certificates(tmp_path / "stranger").authority
    for wrong in (
        replace(verified, ca_file=stranger),
        replace(verified, url=through.replace("127.0.0.1", "127.0.0.2")),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(wrong, name="test")


async def test_a_server_without_tls_is_not_spoken_to(ledger: Ledger, known: Certificates) -> None:
    in_the_clear = Database(ledger.database_url, ca_file=known.authority)
    with pytest.raises(ConnectionError, match="rejected SSL"):
        await connect(in_the_clear, name="test")


async def test_a_service_does_not_start_behind_a_pooler_that_loses_its_timeouts(
    stack: Addresses, ledger: Ledger, through: str
) -> None:
    reached = Database(f"{through}?sslmode=require", pooled=True)
    pool = await open_pool(reached, size=2, name="test")
    await pool.close()
    role, database = (await ledger.sql("select current_user, current_database()"))[0]
    forget = f"alter role {role} in database {database} set statement_timeout = 0"
    await asyncio.to_thread(on_server, stack.postgres, lambda admin: admin.execute(forget))
    end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()"
    await asyncio.to_thread(on_server, stack.postgres, lambda admin: admin.execute(end, database))
    with pytest.raises(SettingsLost, match="set statement_timeout = '15s'"):
        await open_pool(reached, size=2, name="test")


def test_a_pooler_needs_a_direct_address_beside_it() -> None:
    with pytest.raises(ValidationError, match="MEDSYNC_DATABASE_DIRECT_URL"):
        DatabaseSettings(database_url="postgres://pooler", database_pooled=True)
