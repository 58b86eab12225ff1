"""One patient's event fails in mid-demo: nobody else notices, and redriving it completes that patient."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from cli.sign_in import signed_in
from deploy.local.databases import url_of
from shared import words
from shared.events.planner import PlanComputed
from shared.messaging.tail import tail
from tests.e2e.demo_process import DemoProcess
from tests.running import until

SMALL = ["--patients", "16", "--days", "12", "--keep"]
REDRIVEN_AFTER = "Sat Oct 10"

BREAK = """
    create function fail() returns trigger language plpgsql as $$ begin raise 'a fault of one release'; end $$;
    create trigger fails before insert or update on patients
    for each row when (new.patient_id = '{patient_id}') execute function fail();
"""
MEND = "drop trigger fails on patients; drop function fail"

Told = dict[str, list[str]]
"""What was said of each patient, in the order of business time."""


@pytest.mark.timeout(300)
async def test_a_poison_event_holds_up_one_patient_alone_and_redriving_it_completes_that_one(
    tmp_path: Path,
) -> None:
    async with demo(tmp_path / "calm") as calm:
        await calm.says("The system keeps running")
        expected = await calm.told()
    patient_id = next(
        each for each, lines in sorted(expected.items()) if any("Plan " in line for line in lines)
    )

    async with demo(tmp_path / "poisoned") as poisoned:
        await poisoned.says("stores.csv")
        await poisoned.sql(BREAK.format(patient_id=patient_id))
        await poisoned.says(REDRIVEN_AFTER)
        assert {letter["key"] for letter in await poisoned.letters()} == {f"patient:{patient_id}"}
        await poisoned.sql(MEND)
        await poisoned.redrive()
        await poisoned.says("The system keeps running")
        assert "checks hold" in poisoned.output
        told = await poisoned.told()

    of_patient = told.pop(patient_id)
    assert any("Plan " in line for line in of_patient), "redriven, and planned"
    expected.pop(patient_id)
    assert told == expected


class Running(DemoProcess):
    """A demo that stays alive, and what its planner says."""

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    async def says(self, text: str) -> None:
        async def said() -> bool:
            return text in self.output

        await until(said, f"it says {text!r}", seconds=150)

    async def sql(self, statements: str) -> None:
        """Straight into the planner's database, as the administrator: a service's role owns no table."""
        db = await asyncpg.connect(url_of(self._stack()["postgres"], "medsync_planner", None))
        try:
            await db.execute(statements)
        finally:
            await db.close()

    async def letters(self) -> list[dict[str, Any]]:
        return list((await self._ask("GET", "/ops/deadletters"))["items"])

    async def redrive(self) -> None:
        for letter in await self.letters():
            await self._ask("POST", f"/ops/deadletters/{letter['id']}/redrive")

    async def told(self) -> Told:
        told: Told = defaultdict(list)
        async for seen in tail(self._stack()["kafka"], from_beginning=True, follow=False):
            if seen.event is not None and seen.event.KEYED_BY == "patient":
                told[seen.event.key].append(f"{seen.at} {words.tell(seen.event)}")
                if isinstance(seen.event, PlanComputed):
                    told[seen.event.key].append(f"{seen.at} {seen.event.anchor_on}")
        return {patient_id: sorted(lines) for patient_id, lines in told.items()}

    async def _ask(self, method: str, path: str) -> Any:
        here = self._stack()["identity"]
        token = await asyncio.to_thread(signed_in, here["issuer"], here["client_id"], Path(here["key_file"]))
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": path}
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            answer = await client.request(method, self._stack()["services"]["planner"][0] + path)
        answer.raise_for_status()
        return answer.json()

    def _stack(self) -> dict[str, Any]:
        stack: dict[str, Any] = json.loads((self.directory / "demo" / "stack.json").read_text())
        return stack


@asynccontextmanager
async def demo(directory: Path) -> AsyncIterator[Running]:
    """Run `medsync demo --keep` in a directory of its own, and stop it."""
    running = Running(directory, *SMALL)
    try:
        yield running
    finally:
        await asyncio.to_thread(running.stop)
