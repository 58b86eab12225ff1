"""What a conditional fill depends on, and a visit that cannot wait, in words."""

from __future__ import annotations

from shared.events.planner import Condition, ConditionKind
from shared.words.formats import short_date

URGENT = "Urgent: a drug runs out before the store could have it ready the usual way. Call today, fill today."
"""Why a visit comes first."""

ALSO_DUE = "Also due now. Fill it while you wait?"
"""What the patient is asked at the counter."""

_ANOTHER_DAY = "The patient wants another day. Call to set one."
_UNREAD = "Read today: it may ask us to stop. No automated calls or texts until someone has read it."
_ESCALATED = "Overdue: read this first. No automated calls or texts until someone has; staff may call."

_WHO = {"prescriber": "the prescriber", "payer": "insurance", "pharmacist": "the pharmacist"}

_MET = {
    ConditionKind.renewal: "{who} renews it",
    ConditionKind.answer: "{who} answers the question about it",
    ConditionKind.other: "{who} clears it",
}


def of_condition(condition: Condition) -> str:
    """What has to happen by when, as it is read out to the patient: "if the prescriber renews it by Wed 6/17"."""
    return f"if {_met(condition)} by {short_date(condition.needed_by)}"


def _met(condition: Condition) -> str:
    who = _WHO.get(condition.by, f"the {condition.by.replace('_', ' ')}")
    if condition.kind is ConditionKind.authorization:
        approved = "insurance approves it" if condition.by == "payer" else f"{who} gets it approved"
        return f"{approved} (prior authorization)"
    return _MET[condition.kind].format(who=who)


def of_unread(seems: str | None, *, escalated: bool) -> str:
    """Why a patient's message waits for a person; `seems` is what it was taken for."""
    if escalated:
        return _ESCALATED
    return _ANOTHER_DAY if seems == "another_day" else _UNREAD
