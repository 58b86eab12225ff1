"""A slot is one process's: a second one with it does not start, and a successor does not wait for the dead."""

from __future__ import annotations

import time

import pytest

from shared import settings as set_from_outside
from shared.slots import LEASE_SECONDS, SlotTaken
from tests.integration.fabric.given import Ledger, changed


async def test_a_second_process_with_the_same_slot_says_why_it_does_not_start(ledger: Ledger) -> None:
    async with ledger.process(slot=1) as first:
        await first.ready()
        with pytest.raises(SlotTaken, match=r"slot 1 of ledger is held by process \d+ on .*MEDSYNC_SLOT"):
            async with ledger.running(slot=1, wait_ready=False):
                pass
        async with ledger.running(slot=2):
            await ledger.publish(*[changed(f"p{n}", 1) for n in range(10)])
            await ledger.until_effects(10)
        assert first.process.exit_code is None


async def test_the_slot_of_a_process_that_was_killed_is_free_at_once(ledger: Ledger) -> None:
    async with ledger.process(slot=1) as first:
        await first.ready()
        first.process.kill()
        began = time.monotonic()
        async with ledger.running(slot=1, wait_ready=False) as client:
            assert time.monotonic() - began < LEASE_SECONDS / 2
            await client.get("/ops/live")
    assert await ledger.count("fabric.slots") == 0  # given back


async def test_the_slot_of_a_host_that_was_lost_is_free_when_its_lease_ends(ledger: Ledger) -> None:
    await ledger.sql(
        "insert into fabric.slots values (1, 'elsewhere 7 7 a', now(), now() + make_interval(secs => 3))"
    )
    began = time.monotonic()
    async with ledger.running(slot=1, wait_ready=False) as client:
        await client.get("/ops/live")
        assert 2 < time.monotonic() - began < 10


async def test_a_process_that_wakes_up_after_its_slot_was_taken_ends(ledger: Ledger) -> None:
    async with ledger.process(slot=1) as late:
        await late.ready()
        late.freeze()
        async with ledger.running(slot=1, wait_ready=False):
            late.wake()
            await late.ended()
            assert "SlotTaken" in late.said()


@pytest.mark.parametrize(("host", "slot"), [("outreach-12", 12), ("laptop", 0), ("outreach-7d9f-x2x4z", 0)])
def test_the_slot_comes_from_the_host_where_none_is_set(
    host: str, slot: int, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_from_outside, "gethostname", lambda: host)
    assert ledger.settings().slot == slot
