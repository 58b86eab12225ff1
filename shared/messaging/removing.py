"""Records whose day is past, removed a few at a time: by one process of a service, once a day of its clock.

Nothing of a patient is removed but under the patient's lock, and what may go is asked again under it: so what is open,
or just came to be, stays. Each batch is a transaction of its own; whoever is cut off goes on where things stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import structlog

from shared.database import Db
from shared.messaging import tables
from shared.messaging.outages import is_outage, is_timeout
from shared.messaging.unit import LOCKS_A_TRANSACTION, Cause, Unit, Work, lock_key, patient
from shared.retention import Kind, Policy, Rule, kept_from

BATCH = 500
LOOK_SECONDS = 600.0
PAUSE_SECONDS = 0.05
"""Between two batches: others work here too."""

LATE_DAYS = 2
"""A day may pass while a patient is locked, or a process stands still."""

OF_THE_FABRIC: Sequence[Kind] = (
    Kind(
        name="messaging.dead_letters",
        after="it was redriven or skipped",
        least_days=60,  # the inbox, and the journal, know their events no longer
        of_patients=False,
        by_machine_time=True,
        past="""
            select d.id::text as id, null::text as patient_id
            from fabric.dead_letters d
            where d.status <> 'open'
              and d.closed_at < $1
              and not exists (select from fabric.parked p where p.dead_letter_id = d.id)
        """,
        remove=("delete from fabric.dead_letters where id = any($1::text[]::bigint[])",),
    ),
)
"""What every service keeps; inbox, journal and answers have days of their own (`shared.service`)."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KindKept:
    """How it stands with one kind. `past` is counted up to a bound."""

    kind: str
    after: str
    days: int | None  # None: no rule holds, so it is kept
    source: str
    past: int
    removed: int  # since the service began
    done_on: date | None  # when nothing was past its day any more
    late: bool  # it should have been removed by now


class Removing:
    """Removes what is past its day, by the policy; nothing where nobody has signed that off."""

    def __init__(self, work: Work, kinds: Sequence[Kind], policy: Policy) -> None:
        self.work, self.policy = work, policy
        self.kinds = {kind.name: kind for kind in kinds}

    async def run(self) -> None:
        """Remove until cancelled what each day brings."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Remove what is past its day; a kind that fails keeps no other."""
        for kind in self.kinds.values():
            try:
                await self.work_off(kind)
            except Exception as error:
                if is_outage(error) or is_timeout(error):
                    log.warning("retention.waits", kind=kind.name, error=type(error).__name__)
                else:
                    log.exception("retention.fault", kind=kind.name)

    async def work_off(self, kind: Kind) -> None:
        """Remove what is past its day, unless that was done today."""
        async with self.work.connection() as db:
            state = await _state(db, kind.name)
        if state.get("done_on") == self.work.now().date():
            return
        while True:
            async with self.work.begin((), cause=Cause(str(uuid4()), f"retention:{kind.name}")) as unit:
                unit.idle = True
                removed = await self.batch(unit, kind)
            if not removed:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def batch(self, unit: Unit, kind: Kind) -> int:
        """Remove some in this unit; says how many. With none, how it stands now is noted."""
        rule = self._rule(kind, unit.now)
        if not await _is_ours(unit.db):
            return 0  # another process is at it
        removed = 0
        if rule and self.policy.signed_off:
            removed = await self._remove(unit, kind, _before(kind, rule, unit.now))
        await _note(unit.db, kind.name, removed)
        if not removed:
            left = await _count(unit.db, kind, _before(kind, rule, unit.now)) if rule else 0
            await _note_looked(unit.db, kind.name, left, unit.now.date())
        return removed

    async def _remove(self, unit: Unit, kind: Kind, before: datetime) -> int:
        found = await unit.db.fetch(
            f"""
            select id, patient_id
            from ({kind.past}) past
            where not exists (select from fabric.parked p where p.key = 'patient:' || past.patient_id)
            limit {BATCH}
            """,
            before,
        )
        if kind.of_patients:
            patients = await self._lock(unit, {row["patient_id"] for row in found})
            found = await unit.db.fetch(
                f"select id, patient_id from ({kind.past}) past where patient_id = any($2) limit {BATCH}",
                before,
                patients,
            )
        return await _delete(unit.db, kind, found)

    async def _lock(self, unit: Unit, patient_ids: set[str]) -> list[str]:
        """Those of them whom nobody works on now, and who are not parked."""
        lock_of = {each: lock_key(patient(each)) for each in sorted(patient_ids)[:LOCKS_A_TRANSACTION]}
        got = await tables.try_lock(unit.db, sorted(lock_of.values()))
        return await self.work.unparked(unit, [each for each, lock in lock_of.items() if lock in got])

    async def kept(self, db: Db) -> list[KindKept]:
        """How it stands with every kind; nothing is changed."""
        now, found = self.work.now(), []
        for kind in self.kinds.values():
            rule, state = self._rule(kind, now), await _state(db, kind.name)
            past = await _count(db, kind, _before(kind, rule, now)) if rule else 0
            done_on = state.get("done_on")
            found.append(
                KindKept(
                    kind=kind.name,
                    after=kind.after,
                    days=rule.days if rule else None,
                    source=rule.source if rule else "",
                    past=past,
                    removed=state.get("removed", 0),
                    done_on=done_on,
                    late=past > 0 and _behind(done_on, now) >= LATE_DAYS,
                )
            )
        return found

    async def noted(self, db: Db) -> list[tuple[str, int, int]]:
        """Of each kind: how much was past its day at the last look, and how much was removed so far."""
        rows = await db.fetch("select kind, left_rows, removed from fabric.retention order by kind")
        return [(row["kind"], row["left_rows"], row["removed"]) for row in rows if row["kind"] in self.kinds]

    def _rule(self, kind: Kind, now: datetime) -> Rule | None:
        return self.policy.rule(kind, now.date())


def _before(kind: Kind, rule: Rule, now: datetime) -> datetime:
    return kept_from((datetime.now(UTC) if kind.by_machine_time else now).date(), rule.days)


def _behind(done_on: date | None, now: datetime) -> int:
    """For how many days something past its day has stayed; never done is late at once."""
    return (now.date() - done_on).days if done_on else LATE_DAYS


# ---- statements -----------------------------------------------------------------------------------------------


async def _is_ours(db: Db) -> bool:
    """Whether this transaction is the one that removes now."""
    ours: bool = await db.fetchval(
        "select pg_try_advisory_xact_lock(hashtextextended('fabric.retention', 0))"
    )
    return ours


async def _state(db: Db, kind: str) -> dict[str, Any]:
    row = await db.fetchrow("select done_on, left_rows, removed from fabric.retention where kind = $1", kind)
    return dict(row) if row else {}


async def _count(db: Db, kind: Kind, before: datetime) -> int:
    """How many are past their day, counted up to a bound."""
    found: int = await db.fetchval(
        f"select count(*) from (select from ({kind.past}) past limit {tables.COUNTED}) counted", before
    )
    return found


async def _delete(db: Db, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> int:
    """Remove these; says how many were there."""
    ids, patients, done = [row["id"] for row in rows], [row["patient_id"] for row in rows], "DELETE 0"
    for statement in kind.remove if rows else ():
        done = await db.execute(statement, *((ids, patients) if "$2" in statement else (ids,)))
    return int(done.removeprefix("DELETE "))


async def _note(db: Db, kind: str, removed: int) -> None:
    await db.execute(
        """
        insert into fabric.retention as held (kind, removed)
        values ($1, $2)
        on conflict (kind) do update
        set removed = held.removed + excluded.removed
        """,
        kind,
        removed,
    )


async def _note_looked(db: Db, kind: str, left: int, today: date) -> None:
    """Done where nothing is left; else it is looked at again soon."""
    await db.execute(
        """
        update fabric.retention
        set left_rows = $2::bigint,
            done_on = case when $2::bigint = 0 then $3 else done_on end
        where kind = $1
        """,
        kind,
        left,
        today,
    )
