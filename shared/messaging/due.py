"""Working off what falls due: one loop per process, over the views that the service declared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from shared.messaging import intake, tables
from shared.messaging.bell import Bell
from shared.messaging.crashpoints import reach
from shared.messaging.intake import BadRelease, check_release, verdict
from shared.messaging.outages import is_outage, is_timeout
from shared.messaging.registry import Jobs
from shared.messaging.unit import Work, due_cause, patient

PATIENTS_A_TURN = 500
POLL_SECONDS = 1.0

log = structlog.get_logger()


class DueLoop:
    """Runs the due work of one service; several processes share it by trying the patients' locks."""

    def __init__(self, work: Work, jobs: Jobs, bell: Bell) -> None:
        self.work, self.jobs = work, jobs
        self.wake = bell.waiter()
        self.done = 0
        self.stopped_because: str | None = None

    async def run(self) -> None:
        """Work until cancelled; wakes at each commit, when asked for its status, and once a second."""
        while True:
            self.wake.clear()
            while any([await self._turn_or_pause(view) for view in self.jobs.by_view]):
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.wake.wait()

    async def _turn_or_pause(self, view: str) -> bool:
        """A turn of one view; what fails here keeps no other view from its work."""
        try:
            return self.stopped_because is None and await self.turn(view)
        except BadRelease as bad:
            log.critical("due.bad_release", reason=str(bad))
            self.stopped_because = str(bad)
        except Exception as error:
            if is_outage(error) or is_timeout(error):
                log.warning("due.waits", error=type(error).__name__)
            else:
                log.exception("due.fault", view=view)
            await asyncio.sleep(POLL_SECONDS)
        return False

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

    async def due_now(self) -> tuple[int, datetime | None]:
        """How many patients have due work now (up to one turn a view), and when the next falls due."""
        count, moments = 0, []
        async with self.work.read() as db:
            for view in self.jobs.by_view:
                count += len(await tables.due_patients(db, view, self.work.now(), PATIENTS_A_TURN))
                if moment := await tables.next_due(db, view):
                    moments.append(moment)
        return count, min(moments, default=None)
