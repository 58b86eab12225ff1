"""Working off what falls due: one loop per process, over the views that the service declared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import structlog

from shared.messaging import tables
from shared.messaging.bell import Bell
from shared.messaging.crashpoints import reach
from shared.messaging.intake import verdict
from shared.messaging.outages import is_outage
from shared.messaging.registry import Jobs
from shared.messaging.unit import Unit, Work, due_cause, patient

PATIENTS_A_TURN = 500
POLL_SECONDS = 1.0

log = structlog.get_logger()


class DueLoop:
    """Runs the due work of one service; several processes share it by trying the patients' locks."""

    def __init__(self, work: Work, jobs: Jobs, bell: Bell) -> None:
        self.work, self.jobs = work, jobs
        self.wake = bell.waiter()
        self.done = 0

    async def run(self) -> None:
        """Work until cancelled; wakes at each commit, when asked for its status, and once a second."""
        while True:
            self.wake.clear()
            try:
                for view in self.jobs.by_view:
                    while await self.turn(view):
                        pass
            except Exception as error:
                if not is_outage(error) and not isinstance(error, TimeoutError):
                    log.exception("due.fault")
                log.warning("due.waits", error=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
            try:
                await asyncio.wait_for(self.wake.wait(), timeout=POLL_SECONDS)
            except TimeoutError:
                continue

    async def turn(self, view: str) -> bool:
        """One transaction's worth; says whether there was any."""
        patients: list[str] = []
        try:
            async with self.work.begin((), cause=due_cause(view)) as unit:
                patients = await self.work.free_patients(unit, view, PATIENTS_A_TURN)
                reach("job.found")
                if not patients:
                    return False
                await self.jobs.by_view[view](patients, unit)
                reach("job.done")
        except Exception as error:
            if is_outage(error) or not patients:
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
            try:
                keys = [patient(patient_id) for patient_id in half]
                async with self.work.begin(keys, cause=due_cause(view)) as unit:
                    await self.jobs.by_view[view](half, unit)
            except Exception as again:
                if is_outage(again):
                    raise
                await self._halve(view, half, again)

    async def _blame(self, view: str, patient_id: str, error: Exception) -> None:
        reason, message = verdict(error)
        key = patient(patient_id)
        log.warning("due.buried", view=view, reason=reason, exc_info=error)
        async with self.work.begin([key], cause=due_cause(view)) as unit:
            await self._park(unit, view, key, reason, message)

    async def _park(self, unit: Unit, view: str, key: str, reason: str, message: str) -> None:
        letter = await tables.bury_due_work(unit.db, view, key, reason=reason, message=message)
        await tables.park(unit.db, key, reason, letter)

    async def due_now(self) -> tuple[int, datetime | None]:
        """How many patients have due work now (up to one turn a view), and when the next falls due."""
        count, moments = 0, []
        async with self.work.read() as db:
            for view in self.jobs.by_view:
                count += len(await tables.due_patients(db, view, self.work.now(), PATIENTS_A_TURN))
                if moment := await tables.next_due(db, view):
                    moments.append(moment)
        return count, min(moments, default=None)
