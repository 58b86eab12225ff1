"""What people did here: who, when and why. No part of the read model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from shared.database import Db


@dataclass(frozen=True, slots=True)
class Action:
    """Who did what, when and why."""

    at: datetime
    actor: str
    role: str
    what: str
    patient_id: str | None
    service: str | None
    letter: int | None
    because: str
    came_of_it: str | None


async def record_reveal(db: Db, *, patient_id: str, actor: str, role: str, minutes: int) -> None:
    """Why is in the audit."""
    await db.execute(
        """
        insert into actions (actor, role, what, patient_id, because, until)
        values ($1, $2, 'reveal', $3, '', clock_timestamp() + make_interval(mins => $4))
        """,
        actor,
        role,
        patient_id,
        minutes,
    )


async def record_command(
    db: Db,
    *,
    what: str,
    actor: str,
    role: str,
    because: str,
    service: str,
    letter: int | None,
    came_of_it: str,
) -> None:
    await db.execute(
        """
        insert into actions (actor, role, what, because, service, letter, came_of_it)
        values ($1, $2, $3, $4, $5, $6, $7)
        """,
        actor,
        role,
        what,
        because,
        service,
        letter,
        came_of_it,
    )


async def revealed_until(db: Db, patient_id: str, actor: str) -> datetime | None:
    """Until when this person may see this patient's name; none where nothing is revealed now."""
    until: datetime | None = await db.fetchval(
        """
        select max(until)
        from actions
        where what = 'reveal'
          and patient_id = $1
          and actor = $2
          and until > clock_timestamp()
        """,
        patient_id,
        actor,
    )
    return until


_ACTION = """at, actor, role, what, patient_id, service, letter,
               case when what = 'reveal' and not $1 then '' else because end as because, came_of_it"""
"""Why a name was revealed is for who may read `reasons` ($1)."""


async def latest_actions(
    db: Db, limit: int, stores: Collection[str] | None, *, reasons: bool
) -> list[Action]:
    """With patients of these stores alone, where some are given."""
    rows = await db.fetch(
        f"""
        select {_ACTION}
        from actions
        where $3::text[] is null
           or patient_id is null
           or patient_id in (select patient_id from places where store_id = any($3))
        order by action_id desc
        limit $2
        """,
        reasons,
        limit,
        None if stores is None else sorted(stores),
    )
    return [Action(*row.values()) for row in rows]


async def reveals_of(db: Db, patient_id: str, *, reasons: bool) -> list[Action]:
    """Who looked at this patient's name."""
    rows = await db.fetch(
        f"""
        select {_ACTION}
        from actions
        where what = 'reveal'
          and patient_id = $2
        order by action_id desc
        """,
        reasons,
        patient_id,
    )
    return [Action(*row.values()) for row in rows]
