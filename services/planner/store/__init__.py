"""Every SQL statement of the planner, by subject: where patients stand (`records`), what came in from others
(`inbound`), whom to plan anew (`due`), what it takes from a store (`demand`), what `staff` decide, and what is `reads`.

Statements are set-wise: one for a whole batch. Rows go in as one jsonb value and become records in the database
(`jsonb_populate_recordset`): names instead of positions.
"""

from services.planner.store.demand import (
    demand_of_drugs,
    due_forecasts,
    first_revision,
    load_forecasts,
    planned_by_day,
    save_forecasts,
)
from services.planner.store.due import (
    ask_for_replans,
    ask_households,
    count_enrolled,
    due_looks,
    enrolled_after,
    enrolled_by_store,
    take_replans,
)
from services.planner.store.inbound import (
    Answer,
    forget_rejections,
    record_answers,
    save_caregivers,
    save_disenrollments,
    save_profiles,
    save_rejections,
    save_renewal_answers,
    save_renewals,
    save_stores,
)
from services.planner.store.reads import current_state, list_plans, load_plan
from services.planner.store.records import (
    Record,
    StoreDays,
    hold_stores,
    load_records,
    load_stores,
    save_records,
)
from services.planner.store.staff import (
    add_staff_decision,
    list_staff_decisions,
    load_staff_decision,
    revoke_staff_decision,
    save_exclusions,
)

__all__ = [
    "Answer",
    "Record",
    "StoreDays",
    "add_staff_decision",
    "ask_for_replans",
    "ask_households",
    "count_enrolled",
    "current_state",
    "demand_of_drugs",
    "due_forecasts",
    "due_looks",
    "enrolled_after",
    "enrolled_by_store",
    "first_revision",
    "forget_rejections",
    "hold_stores",
    "list_plans",
    "list_staff_decisions",
    "load_forecasts",
    "load_plan",
    "load_records",
    "load_staff_decision",
    "load_stores",
    "planned_by_day",
    "record_answers",
    "revoke_staff_decision",
    "save_caregivers",
    "save_disenrollments",
    "save_exclusions",
    "save_forecasts",
    "save_profiles",
    "save_records",
    "save_rejections",
    "save_renewal_answers",
    "save_renewals",
    "save_stores",
    "take_replans",
]
