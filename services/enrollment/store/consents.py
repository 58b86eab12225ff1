"""Consent, its changes and its end, the channels that a patient stopped, and the circumstances that staff stated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.enrollment.domain.consent import How, Terms
from shared.database import Db
from shared.events.enrollment import Channel, Consent, CyclePolicy
from shared.upsert import upsert

_TERMS = """
    scope, channels, language, caregiver, standing_instruction, cycle_policy, must_weekdays, preferred_weekday"""


@dataclass(frozen=True)
class Word:
    """Who recorded a consent or its change, in what role, and how the patient gave it."""

    at: datetime
    by: str
    role: str
    how: How | None = None
    document_id: str | None = None


@dataclass(frozen=True)
class Held:
    """The consent in force."""

    terms: Terms
    how: How | None
    document_id: str | None
    stopped: bool  # the patient opted out of a channel since contact was last agreed on


async def load_consents(db: Db, patient_ids: Collection[str]) -> dict[str, Consent]:
    """The consents in force, as they are published."""
    rows = await db.fetch(
        """
        select
            patient_id, given_at, scope, channels, language, caregiver, standing_instruction, amended_at,
            contact_agreed_at
        from consents
        where patient_id = any($1) and ended_at is null
        """,
        list(patient_ids),
    )
    return {row["patient_id"]: Consent.model_validate(dict(row)) for row in rows}


async def load_held(db: Db, patient_id: str) -> Held:
    """The consent in force of a patient who is enrolled."""
    row = await db.fetchrow(
        f"""
        select {_TERMS}, how, document_id, exists (
            select from opt_outs o
            where o.patient_id = c.patient_id and o.opted_out_at >= coalesce(c.contact_agreed_at, c.given_at)
        ) as stopped
        from consents c
        where patient_id = $1 and ended_at is null
        """,
        patient_id,
    )
    return Held(_terms(row), How(row["how"]) if row["how"] else None, row["document_id"], row["stopped"])


def _terms(row: Mapping[str, Any]) -> Terms:
    return Terms(
        scope=tuple(row["scope"]),
        channels=tuple(Channel(channel) for channel in row["channels"]),
        language=row["language"],
        caregiver=row["caregiver"],
        standing_instruction=row["standing_instruction"],
        cycle_policy=CyclePolicy(row["cycle_policy"]) if row["cycle_policy"] else None,
        must_weekdays=tuple(row["must_weekdays"]),
        preferred_weekday=row["preferred_weekday"],
    )


def _columns(terms: Terms) -> tuple[Any, ...]:
    """The values of `_TERMS`, in their order."""
    return (
        list(terms.scope),
        [str(channel) for channel in terms.channels],
        terms.language,
        terms.caregiver,
        terms.standing_instruction,
        terms.cycle_policy,
        list(terms.must_weekdays),
        terms.preferred_weekday,
    )


async def enrol(db: Db, patient_id: str, terms: Terms, word: Word) -> None:
    """Record a consent; the patient takes part. Contact details go out anew: they carry the agreed language."""
    await db.execute(
        f"""
        insert into consents (
            patient_id, given_at, recorded_by, recorded_as, how, document_id, {_TERMS}
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        """,
        patient_id,
        word.at,
        word.by,
        word.role,
        word.how,
        word.document_id,
        *_columns(terms),
    )
    await add_history(db, [patient_id], "given", word)
    await db.execute(
        """
        update patients
        set status = 'enrolled', disenrolled_for = null, revision = revision + 1, published_at = $2
        where patient_id = $1
        """,
        patient_id,
        word.at,
    )
    await raise_person_revision(db, patient_id)
    await _end_candidacy(db, patient_id)


async def amend(db: Db, patient_id: str, terms: Terms, word: Word, *, contact_agreed: bool) -> None:
    """Put other terms into force, or the same on another paper."""
    await db.execute(
        f"""
        update consents
        set
            ({_TERMS}) = ($6, $7, $8, $9, $10, $11, $12, $13),
            amended_at = $2,
            contact_agreed_at = case when $3 then $2 else contact_agreed_at end,
            how = $4,
            document_id = $5
        where patient_id = $1 and ended_at is null
        """,
        patient_id,
        word.at,
        contact_agreed,
        word.how,
        word.document_id,
        *_columns(terms),
    )
    await add_history(db, [patient_id], "amended", word)


async def raise_revision(db: Db, patient_id: str) -> tuple[int, str]:
    """The next revision of what is published about a patient, and the store."""
    row = await db.fetchrow(
        "update patients set revision = revision + 1 where patient_id = $1 returning revision, store_id",
        patient_id,
    )
    return row["revision"], row["store_id"]


async def raise_person_revision(db: Db, patient_id: str) -> None:
    """The next revision of a patient's contact details."""
    await db.execute("update people set revision = revision + 1 where patient_id = $1", patient_id)


async def add_history(db: Db, patient_ids: Collection[str], change: str, word: Word) -> None:
    """Note what the consents in force of these patients say from now on, and by whose word."""
    await db.execute(
        f"""
        insert into consent_history (
            patient_id, valid_from, change, recorded_by, recorded_as, how, document_id, {_TERMS}
        )
        select patient_id, $2, $3, $4, $5, $6, $7, {_TERMS}
        from consents
        where patient_id = any($1) and ended_at is null
        """,
        list(patient_ids),
        word.at,
        change,
        word.by,
        word.role,
        word.how,
        word.document_id,
    )


@dataclass(frozen=True)
class Entry:
    """What a consent said from a moment on."""

    change: str  # given, amended, opted_out, opted_in, ended
    word: Word
    terms: Terms


async def load_history(db: Db, patient_id: str) -> list[Entry]:
    """Every consent of a patient and each of its changes, oldest first."""
    rows = await db.fetch("select * from consent_history where patient_id = $1 order by entry_id", patient_id)
    return [
        Entry(
            row["change"],
            Word(
                row["valid_from"],
                row["recorded_by"],
                row["recorded_as"],
                How(row["how"]) if row["how"] else None,
                row["document_id"],
            ),
            _terms(row),
        )
        for row in rows
    ]


async def disenroll(
    db: Db,
    patient_id: str,
    reason: str,
    survivor_id: str | None,
    word: Word,
) -> int:
    """End the consent and the part that the patient takes; answers the new revision."""
    await add_history(db, [patient_id], "ended", word)
    await db.execute(
        """
        update consents
        set ended_at = $2, ended_for = $3, ended_by = $4
        where patient_id = $1 and ended_at is null
        """,
        patient_id,
        word.at,
        reason,
        word.by,
    )
    await _end_candidacy(db, patient_id)
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


async def _end_candidacy(db: Db, patient_id: str) -> None:
    """No candidate, and not to be looked at as one."""
    for table in ("candidates", "candidate_checks"):
        await db.execute(f"delete from {table} where patient_id = $1", patient_id)


async def move_history(db: Db, patient_id: str, survivor_id: str) -> None:
    """Two records were one patient: prescriptions, fills and reports go to the one that remains."""
    for table in ("prescriptions", "fills", "reported_changes"):
        await db.execute(f"update {table} set patient_id = $2 where patient_id = $1", patient_id, survivor_id)


async def opted_out_channels(db: Db, patient_id: str) -> list[Channel]:
    """The channels that the patient stopped and did not consent to again."""
    rows = await db.fetch(
        """
        select channel
        from opt_outs o
        where
            patient_id = $1
            and not exists (
                select from consents c
                where
                    c.patient_id = o.patient_id
                    and o.channel = any(c.channels)
                    and coalesce(c.contact_agreed_at, c.given_at) > o.opted_out_at
            )
        """,
        patient_id,
    )
    return [Channel(row["channel"]) for row in rows]


async def stops_heard(db: Db, patient_ids: Sequence[str]) -> set[tuple[str, Channel]]:
    """The stops of these patients that are on record, whether they count still or not."""
    rows = await db.fetch(
        "select patient_id, channel from opt_outs where patient_id = any($1)", list(patient_ids)
    )
    return {(row["patient_id"], Channel(row["channel"])) for row in rows}


_keep_opt_outs = upsert("opt_outs", "patient_id channel", "opted_out_at")


async def save_opt_outs(db: Db, channels: Mapping[str, Channel], word: Word) -> None:
    """Record that these patients said stop, and take the channel out of the consent in force."""
    await _keep_opt_outs(
        db,
        [
            {"patient_id": patient_id, "channel": channel, "opted_out_at": word.at}
            for patient_id, channel in channels.items()
        ],
    )
    patient_ids, stopped = list(channels.keys()), [str(channel) for channel in channels.values()]
    changed = await db.fetch(
        """
        update consents c
        set channels = array_remove(c.channels, stop.channel)
        from unnest($1::text[], $2::text[]) as stop (patient_id, channel)
        where c.patient_id = stop.patient_id and c.ended_at is null and stop.channel = any(c.channels)
        returning c.patient_id
        """,
        patient_ids,
        stopped,
    )
    await add_history(db, [row["patient_id"] for row in changed], "opted_out", word)


async def lift_opt_outs(db: Db, channels: Mapping[str, Channel], word: Word) -> None:
    """Record that these patients took their stop of a channel back; the consent in force has the channel again."""
    patient_ids, started = list(channels.keys()), [str(channel) for channel in channels.values()]
    await db.execute(
        """
        delete from opt_outs o
        using unnest($1::text[], $2::text[]) as start (patient_id, channel)
        where (o.patient_id, o.channel) = (start.patient_id, start.channel)
        """,
        patient_ids,
        started,
    )
    changed = await db.fetch(
        """
        update consents c
        set channels = array_append(c.channels, start.channel)
        from unnest($1::text[], $2::text[]) as start (patient_id, channel)
        where c.patient_id = start.patient_id
          and c.ended_at is null
          and 'contact' = any(c.scope)
          and start.channel <> all (c.channels)
        returning c.patient_id
        """,
        patient_ids,
        started,
    )
    await add_history(db, [row["patient_id"] for row in changed], "opted_in", word)


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


async def change_rhythm(db: Db, patient_id: str, said: Mapping[str, Any], word: Word) -> None:
    """The cycle policy of the consent in force is another; what was said, and by whom, is kept with the statements."""
    changed = await db.fetchval(
        """
        update consents
        set cycle_policy = $2
        where patient_id = $1 and ended_at is null and cycle_policy is distinct from $2
        returning patient_id
        """,
        patient_id,
        said["cycle_policy"],
    )
    if changed:
        await add_history(db, [patient_id], "amended", word)
    await state_circumstances(db, patient_id, said, now=word.at, by=word.by, role=word.role)
