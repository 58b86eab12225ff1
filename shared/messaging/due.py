"""Working off what falls due: one loop per process, over the views that the service declared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

import structlog

from shared.database import Db
from shared.messaging import intake, tables
from shared.messaging.bell import Bell
from shared.messaging.crashpoints import reach
from shared.messaging.intake import BadRelease, check_release, verdict
from shared.messaging.outages import is_outage, is_timeout
from shared.messaging.registry import Jobs, Owner
from shared.messaging.unit import KEY, Work, due_cause
from shared.messaging.waits import Wait

OWNERS_A_TURN = 500
POLL_SECONDS = 1.0
QUIET_SECONDS = 0.05
"""After a look that found nothing: commits come by the hundred, and few of them make work due at once."""

T = TypeVar("T")

log = structlog.get_logger()


class DueLoop:
    """Runs the due work of one service; several processes share it by trying the patients' locks."""

    def __init__(self, work: Work, jobs: Jobs, bell: Bell) -> None:
        self.work, self.jobs = work, jobs
        self.wake = bell.committed
        self.done = self.buried = 0
        self.wait = Wait()  # begun when one view fails, over when none does
        self._failed = False
        self.stopped_because: str | None = None

    async def run(self) -> None:
        """Work until cancelled; wakes at a commit, when asked for its status, and once a second."""
        while True:
            self.wake.clear()
            self._failed = False
            due = await self._or_pause(self._with_due_work(), [])
            went_on = any([await self._or_pause(self.turn(view), False) for view in due])
            if not self._failed:
                self.wait.over()
            if went_on:
                continue
            await asyncio.sleep(QUIET_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.wake.wait()

    async def _with_due_work(self) -> list[str]:
        """The views that have due work now; none after a bad release was found."""
        if self.stopped_because is not None or not self.jobs.by_view:
            return []
        async with self.work.connection() as db:
            states = await tables.due_states(db, self._views(), self.work.now(), 1)
        return [state.view for state in states if state.owners]

    def _views(self) -> dict[str, Owner]:
        return {view: self.jobs.of(view) for view in self.jobs.by_view}

    async def _or_pause(self, doing: Awaitable[T], otherwise: T) -> T:
        """The outcome; what fails keeps no other view from its work, and is tried again after a while."""
        try:
            return await doing
        except BadRelease as bad:
            log.critical("due.bad_release", reason=str(bad))
            self.stopped_because = str(bad)
        except Exception as error:
            self._failed = True
            self.wait.failed(error)
            if is_outage(error) or is_timeout(error):
                log.warning("due.waits", error=type(error).__name__)
            else:
                log.exception("due.fault")
            await asyncio.sleep(POLL_SECONDS)
        return otherwise

    async def turn(self, view: str) -> bool:
        """One transaction's worth; says whether there was any."""
        owners: list[str] = []
        try:
            async with (
                asyncio.timeout(intake.BATCH_SECONDS),
                self.work.begin((), cause=due_cause(view)) as unit,
            ):
                owners = await self.work.free_owners(unit, view, OWNERS_A_TURN, self.jobs.of(view))
                reach("job.found")
                if not owners:
                    unit.idle = True  # else it would wake itself, and the other processes, for ever
                    return False
                await self.jobs.by_view[view](owners, unit)
                reach("job.done")
        except Exception as error:
            if not owners or await self.work.is_outage(error):
                raise
            await self._halve(view, owners, error)
        self.done += len(owners)
        return True

    async def _halve(self, view: str, owners: Sequence[str], error: Exception) -> None:
        """Find the patient, or store, whose work fails; the others' goes through."""
        if len(owners) == 1:
            await self._blame(view, owners[0], error)
            return
        middle = len(owners) // 2
        for half in (owners[:middle], owners[middle:]):
            if again := await self._failure(view, half):
                await self._halve(view, half, again)

    async def _failure(self, view: str, owners: Sequence[str]) -> Exception | None:
        """Do their work; answers why it failed. An outage is raised: it is nobody's failure."""
        of = self.jobs.of(view)
        keys = [KEY[of](each) for each in owners]
        try:
            async with (
                asyncio.timeout(intake.BATCH_SECONDS),
                self.work.begin(keys, cause=due_cause(view)) as unit,
            ):
                if free := await self.work.unparked(unit, owners, of):
                    await self.jobs.by_view[view](free, unit)
        except Exception as error:
            if await self.work.is_outage(error):
                raise
            return error
        return None

    async def _blame(self, view: str, owner: str, error: Exception) -> None:
        """Someone's work fails alone: a dead letter and parked, once a timeout has had three tries."""
        attempts = 1
        while is_timeout(error) and attempts < intake.TIMEOUTS_ALONE:
            attempts += 1
            again = await self._failure(view, [owner])
            if again is None:
                return
            error = again
        reason, message = verdict(error)
        of = self.jobs.of(view)
        key = KEY[of](owner)
        async with self.work.begin([key], cause=due_cause(view)) as unit:
            if not await self.work.unparked(unit, [owner], of):
                return
            await check_release(unit, reason)
            letter = await tables.bury_due_work(
                unit.db, view, key, attempts=attempts, reason=reason, message=message
            )
            await tables.park(unit.db, key, reason, letter)
        self.buried += 1
        log.warning("due.buried", view=view, reason=reason, exc_info=error)

    async def states(self, db: Db) -> list[tables.DueState]:
        """How it stands with each view, counted up to one turn."""
        return await tables.due_states(db, self._views(), self.work.now(), OWNERS_A_TURN)

    async def due_now(self, db: Db) -> tuple[int, datetime | None]:
        """How many patients and stores have due work now (up to one turn a view), and when the next falls due."""
        states = await self.states(db)
        moments = [state.next_at for state in states if state.next_at]
        return sum(state.owners for state in states), min(moments, default=None)
