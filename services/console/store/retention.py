"""What the console removes once its day is past. A rebuild takes what the topics keep, two weeks: older days are gone
with it."""

from __future__ import annotations

from shared.retention import DAY, Kind

LINES = Kind(
    name="console.stream",
    after="it happened",
    least_days=60,
    of_patients=False,  # a line never changes, but for the store where its patient is now
    past="""
        select event_id::text as id, patient_id
        from stream
        where coalesce(at, uuid_extract_timestamp(event_id)) < $1
          and number < (select max(number) from stream) -- readers go on after the newest
    """,
    remove=("delete from stream where event_id = any($1::text[]::uuid[])",),
)

PLANS = Kind(
    name="console.plans",
    after="it was made, where a newer one stands",
    least_days=60,
    past="""
        select l.patient_id || '/' || l.revision as id, l.patient_id
        from plans l
        join patients p using (patient_id)
        where coalesce(l.at, uuid_extract_timestamp(l.event_id)) < $1
          and l.revision < p.plan_revision
    """,
    remove=("delete from plans where patient_id = any($2) and patient_id || '/' || revision = any($1)",),
)

VISITS = Kind(
    name="console.visits",
    after="its day, its answer and its package",
    least_days=60,
    past=f"""
        select v.visit_id as id, v.patient_id
        from visits v
        left join patients p using (patient_id)
        where v."on" < {DAY}
          and coalesce(v.answered_at < $1, true)
          and coalesce(v.package_at < $1, true)
          and coalesce(v.package not in ('ready', 'to_verify'), true)
          and v.plan_revision is distinct from p.plan_revision
    """,
    remove=(
        "delete from fills where visit_id = any($1)",
        "delete from visits where visit_id = any($1)",
    ),
)

RENEWALS = Kind(
    name="console.renewals",
    after="it was needed",
    least_days=400,
    past=f"select patient_id || '/' || rx_id as id, patient_id from renewals where needed_by < {DAY}",
    remove=("delete from renewals where patient_id = any($2) and patient_id || '/' || rx_id = any($1)",),
)

ACTIONS = Kind(
    name="console.actions",
    after="it was done",
    least_days=60,
    of_patients=False,
    by_machine_time=True,
    past="""
        select action_id::text as id, patient_id
        from actions
        where at < $1
          and coalesce(until < $1, true)
    """,
    remove=("delete from actions where action_id = any($1::text[]::bigint[])",),
)

KINDS = (LINES, PLANS, VISITS, RENEWALS, ACTIONS)
