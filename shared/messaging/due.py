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
from shared.messaging.registry import Jobs
from shared.messaging.unit import Work, due_cause, patient

PATIENTS_A_TURN = 500
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
        self.done = 0
        self.stopped_because: str | None = None

    async def run(self) -> None:
        """Work until cancelled; wakes at a commit, when asked for its status, and once a second."""
        while True:
            self.wake.clear()
            due = await self._or_pause(self._with_due_work(), [])
            if any([await self._or_pause(self.turn(view), False) for view in due]):
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
            states = await tables.due_states(db, list(self.jobs.by_view), self.work.now(), 1)
        return [state.view for state in states if state.patients]

    async def _or_pause(self, doing: Awaitable[T], otherwise: T) -> T:
        """The outcome; what fails keeps no other view from its work, and is tried again after a while."""
        try:
            return await doing
        except BadRelease as bad:
            log.critical("due.bad_release", reason=str(bad))
            self.stopped_because = str(bad)
        except Exception as error:
            if is_outage(error) or is_timeout(error):
                log.warning("due.waits", error=type(error).__name__)
            else:
                log.exception("due.fault")
            await asyncio.sleep(POLL_SECONDS)
        return otherwise

    async def turn(self, view: str) -> bool:
        """One transaction's worth; says whether there was any."""
        patients: list[str] = []
        try:
            async with (
                asyncio.timeout(intake.BATCH_SECONDS),
                self.work.begin((), cause=due_cause(view)) as unit,
            ):
                patients = await self.work.free_patients(unit, view, PATIENTS_A_TURN)
                reach("job.found")
                if not patients:
                    unit.idle = True  # else it would wake itself, and the other processes, for ever
                    return False
                await self.jobs.by_view[view](patients, unit)
                reach("job.done")
        except Exception as error:
            if not patients or await self.work.is_outage(error):
                raise
            await self._halve(view, patients, error)
        self.done += len(patients)
        return True

    async def _halve(self, view: str, patients: Sequence[str], error: Exception) -> None:
        """Find the patient whose work fails; the others' goes through."""
        if len(patients) == 1:
            await self._blame(view, patients[0], error)
            return
        middle = len(patients) // 2
        for half in (patients[:middle], patients[middle:]):
            if again := await self._failure(view, half):
                await self._halve(view, half, again)

    async def _failure(self, view: str, patients: Sequence[str]) -> Exception | None:
        """Do the work of these patients; answers why it failed. An outage is raised: it is nobody's failure."""
        keys = [patient(patient_id) for patient_id in patients]
        try:
            async with (
                asyncio.timeout(intake.BATCH_SECONDS),
                self.work.begin(keys, cause=due_cause(view)) as unit,
            ):
                if free := await self.work.unparked(unit, patients):
                    await self.jobs.by_view[view](free, unit)
        except Exception as error:
            if await self.work.is_outage(error):
                raise
            return error
        return None

    async def _blame(self, view: str, patient_id: str, error: Exception) -> None:
        """A patient's work fails alone: a dead letter and parked, once a timeout has had three tries."""
        attempts = 1
        while is_timeout(error) and attempts < intake.TIMEOUTS_ALONE:
            attempts += 1
            again = await self._failure(view, [patient_id])
            if again is None:
                return
            error = again
        reason, message = verdict(error)
        key = patient(patient_id)
        async with self.work.begin([key], cause=due_cause(view)) as unit:
            if not await self.work.unparked(unit, [patient_id]):
                return
            await check_release(unit, reason)
            letter = await tables.bury_due_work(
                unit.db, view, key, attempts=attempts, reason=reason, message=message
            )
            await tables.park(unit.db, key, reason, letter)
        log.warning("due.buried", view=view, reason=reason, exc_info=error)

    async def due_now(self, db: Db) -> tuple[int, datetime | None]:
        """How many patients have due work now (up to one turn a view), and when the next falls due."""
        states = await tables.due_states(db, list(self.jobs.by_view), self.work.now(), PATIENTS_A_TURN)
        moments = [state.next_at for state in states if state.next_at]
        return sum(state.patients for state in states), min(moments, default=None)
