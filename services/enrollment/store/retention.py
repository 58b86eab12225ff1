"""What enrollment removes once its day is past. What is in force, and the last word of each patient, stays: the newest
consent, the newest answer, a stop that counts."""

from __future__ import annotations

from shared.retention import DAY, Kind

FILLS = Kind(
    name="enrollment.fills",
    after="it was filled, and handed over",
    least_days=800,  # profiles show 400 days, and candidates are looked for in as many
    past=f"""
        select fill_id as id, patient_id
        from fills
        where handed_over_on < {DAY}
          and filled_on < {DAY}
    """,
    remove=("delete from fills where fill_id = any($1)",),
)

REPORTED_CHANGES = Kind(
    name="enrollment.reported_changes",
    after="the patient said it, and the prescription expired",
    least_days=800,
    past=f"""
        select c.patient_id || '/' || c.rx_id || '/' || c.change || '/' || c.reported_on as id, c.patient_id
        from reported_changes c
        join prescriptions r using (rx_id)
        where c.reported_on < {DAY}
          and r.expires_on < {DAY}
    """,
    remove=(
        """
        delete from reported_changes
        where patient_id = any($2)
          and patient_id || '/' || rx_id || '/' || change || '/' || reported_on = any($1)
        """,
    ),
)

PRESCRIPTIONS = Kind(
    name="enrollment.prescriptions",
    after="it expired, where neither fills nor words of the patient are left of it",
    least_days=800,
    past=f"""
        select r.rx_id as id, r.patient_id
        from prescriptions r
        where r.expires_on < {DAY}
          -- else it is part of the profile
          and (r.superseded_by is not null or r.status in ('discontinued', 'superseded'))
          and not exists (select from fills f where f.rx_id = r.rx_id)
          and not exists (select from reported_changes c where c.rx_id = r.rx_id)
    """,
    remove=("delete from prescriptions where rx_id = any($1)",),
)

CONSENTS = Kind(
    name="enrollment.consents",
    after="it ended, where a newer one was given",
    least_days=60,
    past="""
        select c.consent_id::text as id, c.patient_id
        from consents c
        where c.ended_at < $1
          and exists (
              select from consents n where n.patient_id = c.patient_id and n.consent_id > c.consent_id
          )
    """,
    remove=("delete from consents where consent_id = any($1::text[]::bigint[])",),
)

CONSENT_HISTORY = Kind(
    name="enrollment.consent_history",
    after="the patient's next word took its place",
    least_days=60,
    past="""
        select h.entry_id::text as id, h.patient_id
        from consent_history h
        where exists (
            select
            from consent_history n
            where n.patient_id = h.patient_id and n.entry_id > h.entry_id and n.valid_from < $1
        )
    """,
    remove=("delete from consent_history where entry_id = any($1::text[]::bigint[])",),
)

STATEMENTS = Kind(
    name="enrollment.statements",
    after="later ones had said all of it anew",
    least_days=60,
    past="""
        select s.statement_id::text as id, s.patient_id
        from statements s
        where s.stated_at < $1
          and not exists (
              select
              from jsonb_object_keys(s.said) field
              where not exists (
                  select
                  from statements n
                  where n.patient_id = s.patient_id
                    and n.statement_id > s.statement_id
                    and n.stated_at < $1
                    and n.said ? field
              )
          )
    """,
    remove=("delete from statements where statement_id = any($1::text[]::bigint[])",),
)

CANDIDATE_ANSWERS = Kind(
    name="enrollment.candidate_answers",
    after="the patient's next answer took its place",
    least_days=60,
    past="""
        select a.answer_id::text as id, a.patient_id
        from candidate_answers a
        where exists (
            select
            from candidate_answers n
            where n.patient_id = a.patient_id and n.answer_id > a.answer_id and n.recorded_at < $1
        )
    """,
    remove=("delete from candidate_answers where answer_id = any($1::text[]::bigint[])",),
)

KINDS = (
    FILLS,
    REPORTED_CHANGES,
    PRESCRIPTIONS,
    CONSENTS,
    CONSENT_HISTORY,
    STATEMENTS,
    CANDIDATE_ANSWERS,
)
