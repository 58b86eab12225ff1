"""The rules from confirmation to hand-over: what is filled and when, what the package holds, when it goes back.

A work order is the fills of one visit; what is filled of them is the visit's package. Its state follows from facts
that arrive in any order (the confirmation, the newest plan, whether the patient takes part, the store's calendar)
and from what people do (fill, verify, hand over).

- `work_order`: the values, and the two tables of moves that every change goes through;
- `facts`: what is known of patient, plan and store;
- `filling`: what is to be filled and when, concluded anew from the facts each time; leases and their results;
- `offers`: what became due since the confirmation, and is asked about at the counter;
- `counseling`: what a talk may be about;
- `identity`: who stands at the counter, and who may collect;
- `resolving`: what is done about a fill that was refused or short, and the owed rest of a partial one;
- `package`: verification, hand-over, missed pickups, return to stock; why an item is left out.
"""

from __future__ import annotations

from services.fulfillment.domain.counseling import TOPICS
from services.fulfillment.domain.facts import (
    Confirmation,
    ConfirmedItem,
    Contact,
    Exclusions,
    Facts,
    Patient,
    Plan,
    Store,
)
from services.fulfillment.domain.filling import (
    check_fill_id,
    confirm,
    expire_leases,
    lease,
    order_day,
    reconcile,
    report,
)
from services.fulfillment.domain.identity import (
    Compared,
    Proof,
    WrongTry,
    attest,
    check_collector,
    compare,
    judge,
)
from services.fulfillment.domain.offers import answer_offers
from services.fulfillment.domain.package import (
    bin_label,
    check_places,
    check_scanned,
    hand_over,
    kept_apart,
    miss,
    put,
    to_pay,
    verify,
    why_for_later,
    why_left_out,
    why_not_filled,
    withdraw,
)
from services.fulfillment.domain.resolving import (
    give_up,
    give_up_unsettled,
    owed_rest,
    resubmit,
)
from services.fulfillment.domain.work_order import (
    OWED,
    SETTLED,
    Change,
    Completes,
    Filled,
    FillOutcome,
    How,
    Item,
    ItemStatus,
    Lease,
    PackageStatus,
    Place,
    Rejected,
    Resolution,
    Short,
    Why,
    WorkOrder,
    changes,
    last_saleable_day,
    settle,
    short_id,
)

__all__ = [
    "OWED",
    "SETTLED",
    "TOPICS",
    "Change",
    "Compared",
    "Completes",
    "Confirmation",
    "ConfirmedItem",
    "Contact",
    "Exclusions",
    "Facts",
    "FillOutcome",
    "Filled",
    "How",
    "Item",
    "ItemStatus",
    "Lease",
    "PackageStatus",
    "Patient",
    "Place",
    "Plan",
    "Proof",
    "Rejected",
    "Resolution",
    "Short",
    "Store",
    "Why",
    "WorkOrder",
    "WrongTry",
    "answer_offers",
    "attest",
    "bin_label",
    "changes",
    "check_collector",
    "check_fill_id",
    "check_places",
    "check_scanned",
    "compare",
    "confirm",
    "expire_leases",
    "give_up",
    "give_up_unsettled",
    "hand_over",
    "judge",
    "kept_apart",
    "last_saleable_day",
    "lease",
    "miss",
    "order_day",
    "owed_rest",
    "put",
    "reconcile",
    "report",
    "resubmit",
    "settle",
    "short_id",
    "to_pay",
    "verify",
    "why_for_later",
    "why_left_out",
    "why_not_filled",
    "withdraw",
]
