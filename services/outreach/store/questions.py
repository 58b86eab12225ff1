"""Questions of patients to a pharmacist, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.access import Stores
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.sealing import SealBroken


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a patient asked; `words` are None where none were written down, or no key opens them."""

    question_id: UUID
    patient_id: str
    store_id: str
    visit_id: str | None
    asked_at: datetime
    due_at: datetime
    words: str | None
    status: str = "open"  # answered; closed: by staff, or with the patient's leaving
    answered_at: datetime | None = None
    answered_by: str | None = None
    outcome: str | None = None


_STATUS = """
    case
        when q.answered_at is not null or c.status = 'done' then 'answered'
        when c.status = 'open' then 'open'
        else 'closed'
    end
"""
"""A pharmacist may answer by a leased call too: the contact says so."""

_COLUMNS = [each.name for each in fields(Question) if each.name != "words"]


def _question(keys: DataKeys, row: Any) -> Question:
    try:
        words = keys.open(row)["words"] if row["sealed"] else None
    except SealBroken:
        words = None
    return Question(**{name: row[name] for name in _COLUMNS}, words=words)


async def add_question(db: Db, keys: DataKeys, question: Question) -> None:
    """Keep a question, once: what was asked, sealed."""
    sealed = await keys.seal(db, {question.patient_id: {"words": question.words}}) if question.words else {}
    await db.execute(
        """
        insert into questions (question_id, patient_id, store_id, visit_id, asked_at, due_at, sealed)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict do nothing
        """,
        question.question_id,
        question.patient_id,
        question.store_id,
        question.visit_id,
        question.asked_at,
        question.due_at,
        sealed.get(question.patient_id),
    )


async def load_question(db: Db, keys: DataKeys, question_id: UUID) -> Question | None:
    row = await db.fetchrow(
        f"""
        select q.*, {_STATUS} as status, {DATA_KEY}
        from questions q
        left join contacts c on c.contact_id = q.question_id
        left join fabric.data_keys k on k.patient_id = q.patient_id
        where q.question_id = $1
        """,
        question_id,
    )
    return _question(keys, row) if row else None


async def list_questions(
    db: Db, keys: DataKeys, stores: Stores, status: str, after: str, limit: int
) -> list[tuple[str, Question]]:
    """Questions of some stores or of all that stand so; what was to be answered first comes first. With places."""
    rows = await db.fetch(
        f"""
        select x.position, q.*, s.status, {DATA_KEY}
        from questions q
        left join contacts c on c.contact_id = q.question_id
        left join fabric.data_keys k on k.patient_id = q.patient_id
        cross join lateral (select {_STATUS} as status) s
        cross join lateral (
            select to_char(q.due_at at time zone 'UTC', 'YYYYMMDDHH24MISS')
                   || '.' || to_char(q.asked_at at time zone 'UTC', 'YYYYMMDDHH24MISS')
                   || '.' || q.question_id as position
        ) x
        where s.status = $2
          and ($1::text[] is null or q.store_id = any($1))
          and x.position > $3
        order by x.position
        limit $4
        """,
        stores,
        status,
        after,
        limit,
    )
    return [(row["position"], _question(keys, row)) for row in rows]


async def note_answered(
    db: Db, keys: DataKeys, question: Question, by: str, outcome: str, words: str, now: datetime
) -> None:
    """Keep what came of a question: what was said, sealed."""
    sealed = await keys.seal(db, {question.patient_id: {"words": words}}) if words else {}
    await db.execute(
        """
        update questions
        set answered_at = $2, answered_by = $3, outcome = $4, answer_sealed = $5
        where question_id = $1
        """,
        question.question_id,
        now,
        by,
        outcome,
        sealed.get(question.patient_id),
    )
