"""What fulfillment removes once its day is past: a package whole, with all that was done to it."""

from __future__ import annotations

from shared.retention import DAY, Kind

PACKAGES = Kind(
    name="fulfillment.packages",
    after="the day of its visit, its hand-over and its return",
    least_days=400,
    past=f"""
        select w.visit_id as id, w.patient_id
        from work_orders w
        where w.status in ('picked_up', 'returned', 'cancelled')
          and w.visit_on < {DAY}
          and coalesce(w.handed_over_on < {DAY}, true)
          and coalesce(w.return_on < {DAY}, true)
          and w.missed_at is null
          and w.return_at is null
          and w.bin is null
          and not exists (
              select from items i where i.visit_id = w.visit_id and i.status in ('to_fill', 'leased')
          )
    """,
    remove=(
        "delete from counter_notes where visit_id = any($1)",
        "delete from consultations where visit_id = any($1)",
        "delete from actions where visit_id = any($1)",
        "delete from tries where order_id in (select order_id from items where visit_id = any($1))",
        "delete from items where visit_id = any($1)",
        "delete from confirmations where visit_id = any($1)",
        "delete from work_orders where visit_id = any($1)",
    ),
)

CONFIRMATIONS = Kind(
    name="fulfillment.confirmations",
    after="it came, where no package is left of it",
    least_days=400,
    past="""
        select c.confirmation_id::text as id, c.patient_id
        from confirmations c
        where c.received_at < $1
          and not exists (select from work_orders w where w.visit_id = c.visit_id)
    """,
    remove=("delete from confirmations where confirmation_id = any($1::text[]::bigint[])",),
)

KINDS = (PACKAGES, CONFIRMATIONS)
