"""The machine's own time is set an hour or a day ahead or back: nothing stops, and nobody is stopped for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.database import connect
from shared.events.planner import TOPIC as PLANNER
from shared.messaging import journal, tables
from tests.integration.fabric.given import Ledger, changed, status
from tests.running import record, until

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OTHER = (
    "update fabric.relay_lease set holder = 'dead', renewed = now() + $1, until = now() + $1 + interval '5 s'"
)


@pytest.mark.parametrize("back", [HOUR, DAY])
async def test_a_lease_of_a_time_that_was_taken_back_is_nobodys(ledger: Ledger, back: timedelta) -> None:
    await ledger.sql(OTHER, back)
    async with ledger.running() as client:
        assert (await client.post("/patients/p/things", json={})).status_code == 200

        async def published() -> bool:
            return bool((await status(client))["published"])

        await until(published, "the outbox leaves", seconds=10)


async def test_a_lease_that_runs_is_left_to_its_holder(ledger: Ledger) -> None:
    await ledger.sql(OTHER, timedelta(seconds=-1))
    db = await connect(ledger.database_url, name="test")
    assert await journal.acquire_lease(db, "another", 5) is None
    await db.close()


@pytest.mark.parametrize(("parked", "counted"), [(timedelta(seconds=-30), 1), (-HOUR, 0), (HOUR, 0)])
async def test_only_whoever_was_parked_within_the_minute_makes_a_bad_release(
    ledger: Ledger, parked: timedelta, counted: int
) -> None:
    await ledger.sql(
        """
        with letter as (
            insert into fabric.dead_letters (topic, key, attempts, reason, message, headers)
            values ('t', 'patient:p', 1, 'r', 'm', '[]')
            returning id
        )
        insert into fabric.parked (key, reason, dead_letter_id, parked_at)
        select 'patient:p', 'r', id, now() + $1
        from letter
        """,
        parked,
    )
    db = await connect(ledger.database_url, name="test")
    assert await tables.parked_since(db, "r", 60) == counted
    await db.close()


@pytest.mark.parametrize("off", [HOUR * 2, DAY, -HOUR * 2, -DAY])
async def test_a_record_from_a_machine_whose_time_is_off_is_taken_by_the_broker(
    ledger: Ledger, off: timedelta
) -> None:
    stamped: dict[str, Any] = {"timestamp_ms": int((datetime.now().astimezone() + off).timestamp() * 1000)}
    await ledger.publish_raw([(PLANNER, record(changed("p", 1)) | stamped)])
    [one] = await ledger.topic(PLANNER)
    assert abs(one.timestamp / 1000 - datetime.now().timestamp()) < 60
