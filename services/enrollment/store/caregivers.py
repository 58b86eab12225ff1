"""Who acts for whom: rows are ended, and never removed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from services.enrollment.domain.consent import How
from services.enrollment.store.consents import Word
from shared.database import Db
from shared.events.enrollment import CaregiversChanged


async def in_force(db: Db, patient_id: str, *, since: datetime | None = None) -> list[str]:
    """The ids of a patient's caregivers; with `since`, of those who have been it since then."""
    rows = await db.fetch(
        """
        select caregiver_id
        from caregivers
        where patient_id = $1
          and ended_at is null
          and ($2::timestamptz is null or recorded_at <= $2)
        """,
        patient_id,
        since,
    )
    return [row["caregiver_id"] for row in rows]


async def record(db: Db, patient_id: str, caregiver_id: str, word: Word) -> None:
    """This person is a caregiver from now on; who is one already, since when they are."""
    await db.execute(
        """
        insert into caregivers (
            patient_id, caregiver_id, recorded_at, recorded_by, recorded_as, how, document_id
        )
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (patient_id, caregiver_id) where ended_at is null do nothing
        """,
        patient_id,
        caregiver_id,
        word.at,
        word.by,
        word.role,
        word.how,
        word.document_id,
    )


async def end(db: Db, patient_id: str, caregiver_id: str, word: Word) -> bool:
    """This person is no caregiver any more; answers whether they were one."""
    ended = await db.fetchval(
        """
        update caregivers
        set ended_at = $3, ended_by = $4, ended_as = $5
        where patient_id = $1 and caregiver_id = $2 and ended_at is null
        returning true
        """,
        patient_id,
        caregiver_id,
        word.at,
        word.by,
        word.role,
    )
    return bool(ended)


@dataclass(frozen=True)
class Entry:
    """One person who is, or was, a patient's caregiver."""

    caregiver_id: str
    recorded_at: datetime
    recorded_by: str
    recorded_as: str
    how: How | None
    document_id: str | None
    ended_at: datetime | None
    ended_by: str | None


async def load_history(db: Db, patient_id: str) -> list[Entry]:
    """Everybody who is or was a caregiver of the patient, oldest first."""
    rows = await db.fetch(
        """
        select caregiver_id, recorded_at, recorded_by, recorded_as, how, document_id, ended_at, ended_by
        from caregivers
        where patient_id = $1
        order by entry_id
        """,
        patient_id,
    )
    return [Entry(**row) for row in rows]


async def told(db: Db, patient_ids: Collection[str]) -> list[CaregiversChanged]:
    """Who may act for each of these patients, of whom anybody ever could, under the revision that stands."""
    rows = await db.fetch(
        """
        select
            p.patient_id, p.revision, p.store_id,
            array(
                select caregiver_id from caregiving v where v.patient_id = p.patient_id order by caregiver_id
            ) as caregiver_ids
        from patients p
        where p.patient_id = any($1)
          and exists (select from caregivers c where c.patient_id = p.patient_id)
        order by p.patient_id
        """,
        list(patient_ids),
    )
    return [CaregiversChanged.model_validate(dict(row)) for row in rows]
