"""Looking at dead letters, and letting parked patients go on: redrive, or skip with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from shared.messaging import intake, tables
from shared.messaging.envelope import Delivery, Invalid, Record, Unhandled, read
from shared.messaging.intake import DEADLY, KILLED, log_buried, run_handlers, understand, verdict
from shared.messaging.registry import Handlers
from shared.messaging.unit import Caller, Cause, Unit, Work

log = structlog.get_logger()


class NoSuchLetter(Exception):
    """There is no open dead letter of that number."""


class Parking:
    """The dead letters and parked patients of one service. Both ways out are audited on the letter."""

    def __init__(self, work: Work, handlers: Handlers) -> None:
        self.work, self.handlers = work, handlers

    async def redrive(self, caller: Caller, number: int) -> dict[str, Any]:
        """Run the letter and the events stored behind it through the same handlers, in order, each once.

        Stops at the first that fails: it becomes what the patient waits for.
        """
        letter = await self._open_letter(number)
        if letter["status"] != "open":
            return await self._go_on(caller, letter)

        async def close(unit: Unit) -> bool:
            return await tables.close_letter(
                unit.db, number, status="redriven", by=caller.actor, because="redriven"
            )

        if letter["topic"].startswith("due:"):
            return await self._close_and_go_on(caller, letter, close)  # the job itself finds the work again
        found = read(tables.record_of(letter), self.handlers.events, self.work.sealer)
        failure = await self._step(caller, letter["key"], found, close)
        if failure is None:
            return await self._go_on(caller, letter)
        async with self._unit(caller, letter["key"]) as unit:
            await tables.letter_failed_again(unit.db, number, *failure)
        return {"letter": number, "status": "open", "went_on": 0, "failed": failure[0]}

    async def skip(self, caller: Caller, number: int, because: str) -> dict[str, Any]:
        """Drop the letter, with a reason, and run the events stored behind it."""
        letter = await self._open_letter(number)

        async def close(unit: Unit) -> bool:
            return await tables.close_letter(
                unit.db, number, status="skipped", by=caller.actor, because=because
            )

        return await self._close_and_go_on(caller, letter, close)

    async def finish(self) -> None:
        """Go on where a redrive or a skip was cut off: its letter is closed, and its patient still parked."""
        async with self.work.read() as db:
            letters = await tables.cut_off(db)
        for letter in letters:
            log.warning("letter.cut_off", letter=letter["id"])
            await self._go_on(Caller("system", "system"), letter)

    async def _close_and_go_on(
        self, caller: Caller, letter: dict[str, Any], close: Callable[[Unit], Awaitable[bool]]
    ) -> dict[str, Any]:
        async with self._unit(caller, letter["key"]) as unit:
            await close(unit)
        return await self._go_on(caller, letter)

    async def _go_on(self, caller: Caller, letter: dict[str, Any]) -> dict[str, Any]:
        """Work off what waits behind the closed letter; unpark once nothing does."""
        number, key, went_on = letter["id"], letter["key"], 0
        answer = {"letter": number, "status": "closed"}
        while waiting := await self._next_behind(caller, letter):
            row_id, record, deaths = waiting
            found = understand(record, self.handlers, self.work)

            async def drop(unit: Unit, row_id: int = row_id) -> bool:
                return await tables.drop_behind(unit.db, row_id)

            failure = KILLED if deaths >= DEADLY else await self._step(caller, key, found, drop)
            if failure:
                await self._bury_behind(caller, key, found, row_id, failure)
                return answer | {"went_on": went_on, "failed": failure[0]}
            went_on += 1
        log.info("letter.closed", letter=number, by=caller.actor, went_on=went_on)
        return answer | {"went_on": went_on}

    async def _next_behind(self, caller: Caller, letter: dict[str, Any]) -> tuple[int, Record, int] | None:
        """The oldest record behind the letter, its row id, and how many processes died on it.

        None where the patient waits for another letter by now, or for nothing more: then it is parked no longer.
        """
        key, place = letter["key"], (f"parked:{letter['key']}", 0)
        async with self._unit(caller, key) as unit:
            if await tables.letter_that_parks(unit.db, key) != letter["id"]:
                return None
            waiting = await tables.first_behind(unit.db, key)
            if waiting is None:
                await tables.clear_suspects(unit.db, [place])
                await tables.unpark(unit.db, key)
                return None
            in_hand = tables.Hand(*place, offset=waiting[0], records=1)
            deaths = await tables.suspect(unit.db, self.work.process, [in_hand])
        return *waiting, deaths[place]

    async def _step(
        self,
        caller: Caller,
        key: str | None,
        found: Delivery | Invalid | Unhandled,
        settle: Callable[[Unit], Awaitable[bool]],
    ) -> tuple[str, str] | None:
        """Apply what was read of a stored record and settle it, in one transaction; answers why if it fails again.

        `settle` says whether the record was still there: two people may redrive at once.
        """
        if isinstance(found, Invalid):
            return found.reason, found.message
        if isinstance(found, Delivery):
            key = found.key
        try:
            async with asyncio.timeout(intake.BATCH_SECONDS), self._unit(caller, key) as unit:
                if await settle(unit) and not isinstance(found, Unhandled):
                    await run_handlers(unit, self.handlers, [found])
        except Exception as error:
            if await self.work.is_outage(error):
                raise
            log.warning("redrive.failed", error=type(error).__name__)
            return verdict(error)
        return None

    async def _bury_behind(
        self,
        caller: Caller,
        key: str,
        found: Delivery | Invalid | Unhandled,
        row_id: int,
        failure: tuple[str, str],
    ) -> None:
        """An event that waited behind is poison itself: the patient waits for that one now."""
        async with self._unit(caller, key) as unit:
            if isinstance(found, Unhandled) or not await tables.drop_behind(unit.db, row_id):
                return
            reason, message = failure
            letter = await tables.bury(unit.db, found, attempts=1, reason=reason, message=message)
            if letter:
                await tables.park_behind(unit.db, key, reason, letter)
        log_buried(found, reason)

    async def _open_letter(self, number: int) -> dict[str, Any]:
        """The letter, if it is open or its patient still waits for it."""
        async with self.work.read() as db:
            letter = await tables.dead_letter(db, number)
            if letter and letter["status"] == "open":
                return letter
            if letter and letter["key"] and await tables.letter_that_parks(db, letter["key"]) == number:
                return letter
        raise NoSuchLetter(f"no open dead letter {number}")

    def _unit(self, caller: Caller, key: str | None) -> Any:
        name = f"redrive:{caller.actor}"
        return self.work.begin(
            [key] if key else [],
            cause=Cause(name, name),
            actor=caller.actor,
            role=caller.role,
            asked=caller.asked,
        )
