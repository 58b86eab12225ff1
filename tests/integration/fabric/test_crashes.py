"""A process killed at any step: the next one brings every effect, once, and everything leaves."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import httpx
import pytest

from shared.events.planner import TOPIC as PLANNER
from shared.messaging.crashpoints import POINTS
from tests.integration.fabric.given import Ledger, changed, enrolled, first_appearances
from tests.running import at_rest

PATIENTS = [f"p{n}" for n in range(30)]
DONE_LATER = {
    "relay.ticked": 2,
    "relay.fetched": 2,
    "relay.sent": 2,
    "relay.committed": 2,
    "unit.outbox_written": 3,
    "unit.committed": 3,
}
"""Not at the first time: until then, nothing but the start of the service has been there."""


async def command(client: httpx.AsyncClient, number: int) -> bool:
    """A command with a key of its own; says whether it was accepted."""
    try:
        answer = await client.post(
            "/patients/commanded/things",
            json={"revision": number},
            headers={"Idempotency-Key": f"command-{number}"},
        )
    except httpx.TransportError:
        return False
    assert answer.status_code == 200, answer.text
    return True


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(ledger: Ledger, point: str) -> None:
    await ledger.sql(
        "insert into things (patient_id, due_at) select p, now() from unnest($1::text[]) p", PATIENTS
    )
    await ledger.publish(*[enrolled(p, 1) for p in PATIENTS], changed("poison", 1, "refuse"))

    number = 0  # of commands that were accepted
    async with ledger.process(crash_at=f"{point}:{DONE_LATER.get(point, 1)}") as process:
        while process.process.exit_code is None:
            number += await command(process.client, number)
            await asyncio.sleep(0.02)
        assert await process.ended() == -9  # it was there
    async with ledger.running() as client:
        await ledger.publish(*[changed(p, 2) for p in PATIENTS])
        for repeated in range(number + 1):
            assert await command(client, repeated)
        await at_rest(client)

    effects = await ledger.effects()
    assert Counter((e.patient_id, e.kind, e.revision) for e in effects) == Counter(
        [(p, "enrolled", 1) for p in PATIENTS]
        + [(p, "changed", 2) for p in PATIENTS]
        + [(p, "thing", 0) for p in PATIENTS]
        + [("commanded", "command", n) for n in range(number + 1)]
    )
    for patient in PATIENTS:
        assert [k for k, _ in await ledger.effects_of(patient) if k != "thing"] == ["enrolled", "changed"]
    (letter,) = await ledger.letters()
    assert (letter["key"], letter["reason"]) == ("patient:poison", "refused:told_to")

    records = await ledger.topic(PLANNER)
    by_id = {dict(one.headers)["ce_id"]: json.loads(one.value or b"") for one in records}
    assert Counter((body["patient_id"], body["revision"]) for body in by_id.values()) == Counter(
        (e.patient_id, e.revision) for e in effects if e.kind != "thing"
    )
    for sequence in first_appearances(records).values():
        assert sequence == sorted(sequence)
    assert await ledger.count("fabric.unpublished") == 0
