"""Processes of a service share its partitions out among them, and come to an end with that."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import CommitFailedError

from shared.messaging import internals
from tests.integration.fabric.given import Ledger
from tests.ledger.app import create_app
from tests.running import running, until

PARTITIONS = 12
"""Of all topics that the ledger reads."""


@pytest.mark.slow
async def test_a_commit_that_waited_behind_a_join_is_the_last_one_refused(ledger: Ledger) -> None:
    """The leader joins anew, which waits for the other's next heartbeat. What it commits meanwhile is refused, and has
    it join once more. If it committed again during that, partitions would be shared out every two seconds for ever."""
    app = create_app(ledger.settings(slot=0))
    async with running(app), ledger.process(slot=1) as other:
        await other.ready()
        consumer = internals.consumer_of(app.state.machinery.consumer._subscriber)
        assert consumer is not None

        async def both_have_some() -> bool:
            return len(consumer.assignment()) == PARTITIONS // 2

        await until(both_have_some, "the partitions are shared out")
        held = dict.fromkeys(consumer.assignment(), 0)
        await internals.rejoin(consumer)
        await asyncio.sleep(0.1)  # it has asked to join by now
        with pytest.raises(CommitFailedError):
            await consumer.commit(held)
        await asyncio.sleep(8)
        before = other.said().count("consumer.assigned")
        await asyncio.sleep(5)
        assert other.said().count("consumer.assigned") == before
