"""Consent and its end, the channels that a patient stopped, and the circumstances that staff stated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.enrollment.domain.records import Wishes
from shared.database import Db
from shared.events.enrollment import (
    Channel,
    Consent,
    DisenrolmentReason,
)


async def load_consents(db: Db, patient_ids: Collection[str]) -> dict[str, Consent]:
    """The consents in force."""
    rows = await db.fetch(
        """
        select patient_id, given_at, scope, channels, language, caregiver, standing_instruction
        from consents
        where patient_id = any($1) and ended_at is null
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: Consent.model_validate(dict(row)) for row in rows}


async def enrol(
    db: Db, patient_id: str, consent: Consent, wishes: Wishes, *, recorded_by: str, recorded_as: str
) -> None:
    """Record a consent; the patient takes part. Contact details go out anew: they carry the agreed language."""
    await db.execute(
        """
        insert into consents (
            patient_id, given_at, recorded_by, recorded_as, scope, channels, language, caregiver,
            standing_instruction, cycle_policy, must_weekdays, preferred_weekday
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        patient_id,
        consent.given_at,
        recorded_by,
        recorded_as,
        list(consent.scope),
        [str(channel) for channel in consent.channels],
        consent.language,
        consent.caregiver,
        consent.standing_instruction,
        wishes.cycle_policy,
        list(wishes.must_weekdays),
        wishes.preferred_weekday,
    )
    await db.execute(
        """
        update patients
        set status = 'enrolled', disenrolled_for = null, revision = revision + 1, published_at = $2
        where patient_id = $1
        """,
        patient_id,
        consent.given_at,
    )
    await db.execute("update people set revision = revision + 1 where patient_id = $1", patient_id)
    await db.execute("delete from candidates where patient_id = $1", patient_id)


async def disenrol(
    db: Db,
    patient_id: str,
    reason: DisenrolmentReason,
    survivor_id: str | None,
    *,
    now: datetime,
    recorded_by: str,
) -> int:
    """End the consent and the part that the patient takes; answers the new revision."""
    await db.execute(
        """
        update consents
        set ended_at = $2, ended_for = $3, ended_by = $4
        where patient_id = $1 and ended_at is null
        """,
        patient_id,
        now,
        reason,
        recorded_by,
    )
    await db.execute("delete from candidates where patient_id = $1", patient_id)
    revision: int = await db.fetchval(
        """
        update patients
        set status = 'disenrolled', disenrolled_for = $2, survivor_id = $3, revision = revision + 1
        where patient_id = $1
        returning revision
        """,
        patient_id,
        reason,
        survivor_id,
    )
    return revision


async def move_history(db: Db, patient_id: str, survivor_id: str) -> None:
    """Two records were one patient: prescriptions, fills and reports go to the one that remains."""
    for table in ("prescriptions", "fills", "reported_changes"):
        await db.execute(f"update {table} set patient_id = $2 where patient_id = $1", patient_id, survivor_id)


async def opted_out_channels(db: Db, patient_id: str) -> list[Channel]:
    rows = await db.fetch("select channel from opt_outs where patient_id = $1", patient_id)
    return [Channel(row["channel"]) for row in rows]


async def save_opt_outs(db: Db, channels: Mapping[str, Channel], now: datetime) -> None:
    """Record that these patients said stop, and take the channel out of the consent in force."""
    patient_ids, stopped = list(channels.keys()), [str(channel) for channel in channels.values()]
    await db.execute(
        """
        insert into opt_outs (patient_id, channel, opted_out_at)
        select patient_id, channel, $3
        from unnest($1::text[], $2::text[]) as stop (patient_id, channel)
        on conflict (patient_id, channel) do update set
            opted_out_at = excluded.opted_out_at
        """,
        patient_ids,
        stopped,
        now,
    )
    await db.execute(
        """
        update consents c
        set channels = array_remove(c.channels, stop.channel)
        from unnest($1::text[], $2::text[]) as stop (patient_id, channel)
        where c.patient_id = stop.patient_id and c.ended_at is null
        """,
        patient_ids,
        stopped,
    )


async def stated_circumstances(db: Db, patient_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What staff stated of these patients and did not take back: it goes before the feed's. The cycle policy counts
    where the consent holds it."""
    rows = await db.fetch(
        """
        select patient_id, said
        from statements
        where patient_id = any($1)
        order by statement_id
        """,
        patient_ids,
    )
    stated: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        stated[row["patient_id"]] |= row["said"]
    return {
        patient_id: {
            name: value for name, value in said.items() if value is not None and name != "cycle_policy"
        }
        for patient_id, said in stated.items()
    }


async def state_circumstances(
    db: Db, patient_id: str, said: Mapping[str, Any], *, now: datetime, by: str, role: str
) -> None:
    """Keep what a member of staff stated; a null takes back what was stated before."""
    await db.execute(
        """
        insert into statements (patient_id, stated_at, recorded_by, recorded_as, said)
        values ($1, $2, $3, $4, $5)
        """,
        patient_id,
        now,
        by,
        role,
        said,
    )


async def change_rhythm(
    db: Db, patient_id: str, said: Mapping[str, Any], *, now: datetime, by: str, role: str
) -> None:
    """The cycle policy of the consent in force is another; what was said, and by whom, is kept with the statements."""
    await db.execute(
        "update consents set cycle_policy = $2 where patient_id = $1 and ended_at is null",
        patient_id,
        said["cycle_policy"],
    )
    await state_circumstances(db, patient_id, said, now=now, by=by, role=role)
