"""Effects happen once, in the order of each patient, whatever is delivered again."""

from __future__ import annotations

from uuid import uuid4

from shared.events.planner import TOPIC as PLANNER
from tests.integration.fabric.given import Effect, Ledger, changed, confirmed, disenrolled, enrolled
from tests.running import at_rest


async def test_an_event_sent_again_has_no_second_effect(ledger: Ledger) -> None:
    once = [(enrolled(f"p{n}"), uuid4()) for n in range(50)]
    async with ledger.running() as client:
        await ledger.publish_with_ids(once)
        await ledger.publish_with_ids(once)
        await at_rest(client)
    assert sorted(e.patient_id for e in await ledger.effects()) == sorted(f"p{n}" for n in range(50))
    assert len(await ledger.topic(PLANNER)) == 50
