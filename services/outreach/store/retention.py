"""What outreach removes once its day is past, and what of it stays. A stop stays for as long as it counts."""

from __future__ import annotations

from shared.events.outreach import AlignmentAgreed
from shared.retention import DAY, Kind

CONTACTS = Kind(
    name="outreach.contacts",
    after="its visit, and the last attempt",
    least_days=400,  # a patient's ledger shows a year
    past=f"""
        select c.contact_id::text as id, c.patient_id
        from contacts c
        where c.status not in ('open', 'promised')
          and c.lease_id is null
          and c.opened_at < $1
          and coalesce(c.last_attempt_at < $1, true)
          and coalesce(c.visit_on < {DAY}, true)
          -- the newest about insurance says which lapse was spoken of
          and (
              c.kind <> 'insurance'
              or exists (
                  select
                  from contacts n
                  where n.patient_id = c.patient_id and n.kind = c.kind and n.opened_at > c.opened_at
              )
          )
    """,
    remove=("delete from contacts where contact_id = any($1::text[]::uuid[])",),
)

ATTEMPTS = Kind(
    name="outreach.attempts",
    after="it was made, and reported",
    least_days=400,
    past=f"""
        select a.lease_id::text as id, a.patient_id
        from attempts a
        where a.at < $1
          and coalesce(a.until < $1, true)
          and coalesce(a.reported_at < $1, true)
          and not exists (
              select from contacts c where c.contact_id = a.contact_id and c.status in ('open', 'promised')
          )
          and not exists (
              select from renewals r where r.contact_id = a.contact_id and r.status = 'open'
          )
          -- the agreement that visits of today may rest on
          and not (
              coalesce(a.reply -> 'events' ? '{AlignmentAgreed.TYPE}', false)
              and not exists (
                  select
                  from attempts n
                  where n.patient_id = a.patient_id
                    and n.at > a.at
                    and n.reported_at < $1
                    and n.reply -> 'events' ? '{AlignmentAgreed.TYPE}'
              )
          )
    """,
    remove=("delete from attempts where lease_id = any($1::text[]::uuid[])",),
)

TEXTS = Kind(
    name="outreach.texts",
    after="a person read it",
    least_days=30,
    past="select text_id::text as id, patient_id from texts where read_at < $1",
    remove=("delete from texts where text_id = any($1::text[]::uuid[])",),
)

QUESTIONS = Kind(
    name="outreach.questions",
    after="it was asked, and answered",
    least_days=30,
    past="""
        select q.question_id::text as id, q.patient_id
        from questions q
        where q.asked_at < $1
          and coalesce(q.answered_at < $1, true)
          and not exists (select from contacts c where c.contact_id = q.question_id and c.status = 'open')
    """,
    remove=("delete from questions where question_id = any($1::text[]::uuid[])",),
)

RENEWALS = Kind(
    name="outreach.renewals",
    after="it was needed, and last asked for",
    least_days=400,
    past=f"""
        select contact_id::text as id, patient_id
        from renewals
        where status <> 'open'
          and opened_at < $1
          and coalesce(asked_at < $1, true)
          and needed_by < {DAY}
    """,
    remove=("delete from renewals where contact_id = any($1::text[]::uuid[])",),
)

SHORT_ITEMS = Kind(
    name="outreach.short_items",
    after="the store had too little",
    least_days=120,  # a visit may be that far off
    past="""
        select i.patient_id || '/' || i.visit_id || '/' || i.rx_id as id, i.patient_id
        from short_items i
        where i.noted_at < $1
          and not exists (
              select
              from contacts c
              where c.patient_id = i.patient_id and c.visit_id = i.visit_id and c.status in ('open', 'promised')
          )
    """,
    remove=(
        """
        delete from short_items
        where patient_id = any($2)
          and patient_id || '/' || visit_id || '/' || rx_id = any($1)
        """,
    ),
)

KINDS = (CONTACTS, ATTEMPTS, TEXTS, QUESTIONS, RENEWALS, SHORT_ITEMS)
