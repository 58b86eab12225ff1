"""The load of a run: seeded commands that are sent until they are answered, and who answers for what went wrong."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta
from itertools import count

from tests.faults.history import STRANGER, Command
from tests.faults.system import Member, System

CANARY = "Zebulon Quimby-Canary"
"""Stands for a person's name: in payloads, and nowhere else."""

SENDERS = 8
LOOKS_SECONDS = 2.0
HOT = 4
"""Patients of whom every command names one, so that commands meet at their locks."""


class Load:
    """Sends commands at a rate; each is repeated with the same key until an answer came, a few are given up.

    `commands` is how many at least, `rate` how many a second at most.
    """

    def __init__(
        self, system: System, rng: random.Random, *, commands: int, rate: float, patients: int = 200
    ) -> None:
        self.system = system
        self.answered: list[Command] = []
        self.unanswered: dict[str, str] = {}  # by key: whom it was sent to, and what came of it before
        self.repeats = 0
        self.enough = asyncio.Event()
        self._open: dict[str, Command] = {}
        self._goes = asyncio.Event()
        self._goes.set()
        self._rng, self._commands, self._rate, self._patients = rng, commands, rate, patients

    def _command(self, number: int) -> tuple[str, dict[str, object], bool]:
        rng = self._rng
        others = (f"p-{rng.randrange(self._patients)}" for _ in range(rng.randint(1, 14)))
        chosen = {f"hot-{rng.randrange(HOT)}", *others}
        body: dict[str, object] = {"patients": sorted(chosen), "note": CANARY}
        if rng.random() < 0.05:
            body["due_at"] = timedelta(minutes=rng.uniform(0, 3000))
        return f"c{number}", body, rng.random() < 0.03

    async def run(self) -> None:
        """Send so many, and more until it is `enough`; returns when all was answered or given up.

        Raises what a sender met that it did not expect: its command would be waited for in vain.
        """
        began, queue = time.monotonic(), asyncio.Queue[tuple[str, dict[str, object], bool]](SENDERS)

        async def work() -> None:
            while True:
                command = await queue.get()
                await self._send(*command)
                queue.task_done()

        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(SENDERS)]
            for number in count():
                if number >= self._commands and self.enough.is_set():
                    break
                await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
                await self._goes.wait()
                await queue.put(self._command(number))
            await queue.join()
            for worker in workers:
                worker.cancel()

    @property
    def sent(self) -> list[Command]:
        """All commands; without an answer those that were given up, or ended with the load."""
        return [*self.answered, *self._open.values()]

    def pause(self) -> None:
        """Send nothing, and repeat nothing, until told to go on."""
        self._goes.clear()

    def go_on(self) -> None:
        self._goes.set()

    async def _send(self, key: str, body: dict[str, object], impatient: bool) -> None:
        self.answered.append(await self._sent(key, body, impatient))
        del self._open[key], self.unanswered[key]

    async def _sent(self, key: str, body: dict[str, object], impatient: bool) -> Command:
        if isinstance(later := body.get("due_at"), timedelta):
            body = body | {"due_at": (self.system.clock.now() + later).isoformat()}
        command = Command(key, tuple(body["patients"]), None)  # type: ignore[arg-type]
        self._open[key] = command
        turn, before = int(key[1:]), ""
        while True:
            await self._goes.wait()
            member = self.system.of("sender")[turn % 2]
            self.unanswered[key] = f"sent to {member.name}{before}"
            answer = await self.system.post(member, "/count", body, **{"Idempotency-Key": key})
            numbers = answer.json() if answer is not None and answer.status_code == 200 else None
            if numbers is not None or impatient:
                return command._replace(answer=numbers)
            before = f"; before, {member.name}: {member.trouble}"
            turn += 1
            self.repeats += 1
            await asyncio.sleep(0.1)


class Operator:
    """The person behind the system: redrives dead letters, skips those of strangers, restarts who stopped consuming."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.redriven = self.skipped = self.restarted = 0

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOKS_SECONDS)

    async def look(self) -> list[str]:
        """Do what is to be done; says what was, a line for each process that had something."""
        found = {
            member.name: await self._tend(member)
            for service in ("sender", "ledger", "reader")
            for member in self.system.of(service)
        }
        return [f"{name}: {what}" for name, what in found.items() if what]

    async def _tend(self, member: Member) -> str:
        status = await self.system.get(member, "/ops/status")
        if status is None:
            return f"no status ({member.trouble})"
        if status["stopped_because"]:
            self.restarted += 1
            self.system.kill(member)
            return f"restarted, as it had stopped ({status['stopped_because']})"
        if not status["dead_letters"] and not status["parked"]:
            return ""
        letters = (await self.system.get(member, "/ops/deadletters") or {"items": ()})["items"]
        for letter in letters:
            at = f"/ops/deadletters/{letter['id']}"
            if (letter["key"] or f"patient:{STRANGER}").startswith(f"patient:{STRANGER}"):
                self.skipped += 1
                await self.system.post(member, f"{at}/skip", {"because": "it never was an event"})
            else:
                self.redriven += 1
                await self.system.post(member, f"{at}/redrive", {})
        return f"{len(letters)} open letters" if letters else ""
