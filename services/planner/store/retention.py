"""What the planner removes once its day is past. A plan is one row of its patient, written over by the next."""

from __future__ import annotations

from shared.retention import DAY, Kind

NOT_IN_PROFILE = """
    not exists (
        select
        from patients p
        where p.patient_id = x.patient_id
          and p.profile @> jsonb_build_object(
              'prescriptions', jsonb_build_array(jsonb_build_object('rx_id', x.rx_id))
          )
    )
"""
"""Of a row `x`: no plan is made with its prescription."""

ANSWERS = Kind(
    name="planner.answers",
    after="the patient answered",
    least_days=60,
    past="select answer_id::text as id, patient_id from answers where answered_at < $1",
    remove=("delete from answers where answer_id = any($1::text[]::bigint[])",),
)

RULINGS = Kind(
    name="planner.rulings",
    after="it was revoked, or made where its cycle is over",
    least_days=60,
    past="""
        select r.ruling_id::text as id, r.patient_id
        from rulings r
        where r.taken_back_at < $1
           or r.made_at < $1 and exists (
               select from plans p where p.patient_id = r.patient_id and p.cycle > r.cycle
           )
    """,
    remove=("delete from rulings where ruling_id = any($1::text[]::uuid[])",),
)

REJECTIONS = Kind(
    name="planner.rejections",
    after="the payer refused, and would pay again",
    least_days=400,  # a profile shows as much
    past=f"""
        select x.patient_id || '/' || x.rx_id as id, x.patient_id
        from rejections x
        where x.rejected_on < {DAY}
          and coalesce(x.next_fill_on < {DAY}, true)
          and {NOT_IN_PROFILE}
    """,
    remove=("delete from rejections where patient_id = any($2) and patient_id || '/' || rx_id = any($1)",),
)

RENEWALS = Kind(
    name="planner.renewals",
    after="it was needed, asked for and answered",
    least_days=400,
    past=f"""
        select x.patient_id || '/' || x.rx_id as id, x.patient_id
        from renewals x
        where x.needed_by < {DAY}
          and x.asked_at < $1
          and coalesce(x.answered_at < $1, true)
          and {NOT_IN_PROFILE}
    """,
    remove=("delete from renewals where patient_id = any($2) and patient_id || '/' || rx_id = any($1)",),
)

KINDS = (ANSWERS, RULINGS, REJECTIONS, RENEWALS)
