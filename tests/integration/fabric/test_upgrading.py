"""Old and new code of one service in one group: each event takes effect once, and the new one's own are not missed."""

from __future__ import annotations

import asyncio

from shared.events.enrollment import ProfileChanged
from shared.messaging import Handlers
from shared.service import service_app
from tests.integration.fabric.given import Ledger, changed, confirmed
from tests.ledger import app as ledger_app
from tests.running import at_rest, running

PATIENTS = [f"p{n}" for n in range(30)]

OLD = Handlers("ledger")
OLD(ProfileChanged)(ledger_app.changed)
"""As it was before the service heard of confirmations, which stand on a topic that it does not subscribe to."""


async def test_an_upgrade_under_load_loses_nothing_and_does_nothing_twice(ledger: Ledger) -> None:
    old = service_app(
        name="ledger", settings=ledger.settings(slot=0), handlers=OLD, jobs=ledger_app.due, routers=()
    )
    enough, published = asyncio.Event(), 0

    async def load() -> None:
        nonlocal published
        while not enough.is_set():
            published += 1
            both = [(changed(patient, published), confirmed(patient, published)) for patient in PATIENTS]
            await ledger.publish(*[event for pair in both for event in pair])

    loading = asyncio.create_task(load())
    async with running(old):
        await ledger.until_effects(10 * len(PATIENTS))
        assert {e.kind for e in await ledger.effects()} == {"changed"}
        async with ledger.running(slot=1):
            await ledger.until_effects(60 * len(PATIENTS))
    async with ledger.running(slot=1) as client:
        enough.set()
        await loading
        await at_rest(client)
    effects = await ledger.effects()
    for patient in PATIENTS:
        for kind in ("changed", "confirmed"):
            revisions = [e.revision for e in effects if (e.patient_id, e.kind) == (patient, kind)]
            assert revisions == [*range(1, published + 1)]
    assert await ledger.letters() == []
