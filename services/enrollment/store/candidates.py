"""Who would benefit: whom to look at, what decides it, and what was found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.enrollment.domain.candidates import ANSWERS, Answer, Answered, History
from services.enrollment.domain.profile import HISTORY
from services.enrollment.store.people import opened
from services.enrollment.store.profiles import fills_of, prescriptions_of
from shared.access import Stores
from shared.database import Db
from shared.datakeys import DATA_KEY, DataKeys
from shared.events import Reason
from shared.upsert import row, upsert


async def plan_checks(db: Db, patient_ids: Collection[str], due_at: datetime) -> None:
    """Have these patients looked at, if they do not take part yet; who waits already keeps the earlier moment."""
    await db.execute(
        """
        insert into candidate_checks as planned (patient_id, due_at)
        select patient_id, $2
        from patients
        where patient_id = any($1) and status = 'known'
        order by patient_id
        on conflict (patient_id) do update set
            due_at = excluded.due_at
        where excluded.due_at < planned.due_at
        """,
        list(patient_ids),
        due_at,
    )


async def end_wait(db: Db, now: datetime, patient_ids: Collection[str] | None = None) -> None:
    """The feed of these patients is through, or of all: whoever waits for its end is to be looked at now.

    Whoever is looked at, or fed, at this very moment is passed over: nobody waits for another's lock. Who declined
    waits for the day to ask again, and for no feed.
    """
    await db.execute(
        """
        with waiting as (
            select patient_id
            from candidate_checks
            join patients using (patient_id)
            where due_at > $1 and ($2::text[] is null or patient_id = any($2)) and status = 'known'
            for update of candidate_checks skip locked
        )
        update candidate_checks c
        set due_at = $1
        from waiting w
        where c.patient_id = w.patient_id
        """,
        now,
        None if patient_ids is None else list(patient_ids),
    )


async def take_due_checks(db: Db, patient_ids: Collection[str], now: datetime) -> list[str]:
    """Of these patients, those who are due to be looked at and do not take part; their checks are done with."""
    rows = await db.fetch(
        """
        with done as (
            delete from candidate_checks
            where patient_id = any($1) and due_at <= $2
            returning patient_id
        )
        select patient_id
        from done
        join patients using (patient_id)
        where status = 'known'
        order by patient_id
        """,
        list(patient_ids),
        now,
    )
    return [row["patient_id"] for row in rows]


async def load_histories(
    db: Db, keys: DataKeys, patient_ids: Sequence[str], now: datetime
) -> list[tuple[History, str]]:
    """What decides whether these patients would benefit, each with the time zone of the store."""
    rows = await db.fetch(
        f"""
        select
            p.patient_id,
            p.store_id,
            s.time_zone,
            coalesce(p.long_term_care, false) as long_term_care,
            w.sealed,
            {DATA_KEY}
        from patients p
        join people w using (patient_id)
        left join fabric.data_keys k using (patient_id)
        join stores s using (store_id)
        where p.patient_id = any($1)
        order by p.patient_id
        """,
        patient_ids,
    )
    prescriptions = await prescriptions_of(db, patient_ids)
    fills = await fills_of(db, patient_ids, since=now.date() - HISTORY)
    return [
        (
            History(
                row["patient_id"],
                row["store_id"],
                opened(keys, row).birth_date,
                prescriptions[row["patient_id"]],
                fills[row["patient_id"]],
                row["long_term_care"],
            ),
            row["time_zone"],
        )
        for row in rows
    ]


async def load_candidate_reasons(db: Db, patient_ids: Sequence[str]) -> dict[str, list[Reason]]:
    """Why each of these patients is a candidate already."""
    rows = await db.fetch(
        "select patient_id, reasons from candidates where patient_id = any($1)", patient_ids
    )
    return {row["patient_id"]: [Reason.model_validate(reason) for reason in row["reasons"]] for row in rows}


@dataclass(frozen=True)
class Candidate:
    patient_id: str
    store_id: str
    reasons: tuple[Reason, ...]
    since: datetime | None = None  # none: about to be saved


_keep_candidates = upsert("candidates", "patient_id", "store_id reasons since", first="since")


async def save_candidates(
    db: Db, candidates: Iterable[Candidate], gone: Collection[str], now: datetime
) -> None:
    """Save who would benefit; those in `gone` would not, or not any more."""
    await db.execute("delete from candidates where patient_id = any($1)", list(gone))
    await _keep_candidates(db, [row(each, "patient_id store_id reasons", since=now) for each in candidates])


async def list_candidates(db: Db, *, stores: Stores, after: str, limit: int) -> list[Candidate]:
    """Who would benefit, by patient id."""
    rows = await db.fetch(
        """
        select patient_id, store_id, reasons, since
        from candidates
        where patient_id > $1 and ($2::text[] is null or store_id = any($2))
        order by patient_id
        limit $3
        """,
        after,
        stores,
        limit,
    )
    return [
        Candidate(
            row["patient_id"],
            row["store_id"],
            tuple(Reason.model_validate(reason) for reason in row["reasons"]),
            row["since"],
        )
        for row in rows
    ]


async def save_answer(
    db: Db, patient_id: str, answered: Answered, *, now: datetime, by: str, role: str
) -> None:
    """Keep what a candidate answered, beside the answers before."""
    await db.execute(
        """
        insert into candidate_answers (
            patient_id, answer, answered_on, ask_again_on, recorded_at, recorded_by, recorded_as
        )
        values ($1, $2, $3, $4, $5, $6, $7)
        """,
        patient_id,
        answered.answer,
        answered.on,
        answered.ask_again_on,
        now,
        by,
        role,
    )


async def load_answers(db: Db, patient_ids: Collection[str]) -> dict[str, Answered]:
    """The newest answer of each of these patients who gave one."""
    rows = await db.fetch(
        """
        select distinct on (patient_id) patient_id, answer, answered_on, ask_again_on
        from candidate_answers
        where patient_id = any($1)
        order by patient_id, answer_id desc
        """,
        list(patient_ids),
    )
    return {
        row["patient_id"]: Answered(Answer(row["answer"]), row["answered_on"], row["ask_again_on"])
        for row in rows
    }


_keep_check = upsert("candidate_checks", "patient_id", "due_at")


async def plan_asking(db: Db, patient_id: str, due_at: datetime) -> None:
    """Have a patient who is no candidate for a while looked at again, and not before."""
    await _keep_check(db, [{"patient_id": patient_id, "due_at": due_at}])


async def end_waiting(db: Db, patient_ids: Collection[str], now: datetime) -> None:
    """Of these patients, those who are due to be asked again may be candidates again."""
    await db.execute(
        """
        update patients p
        set status = 'known', disenrolled_for = null
        from candidate_checks c
        where
            p.patient_id = c.patient_id
            and p.patient_id = any($1)
            and c.due_at <= $2
            and p.status = 'disenrolled'
            and p.disenrolled_for = any($3)
        """,
        list(patient_ids),
        now,
        sorted(ANSWERS),
    )
