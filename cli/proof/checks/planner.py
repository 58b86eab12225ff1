"""The planner's tables against the topics: the plan that stands is the one published, and every answer is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from cli.proof.checks.state import newest_of
from cli.proof.contract import (
    ALIGNMENT_AGREED,
    FILL_REJECTED,
    FILL_RESOLVED,
    PATIENT_UNREACHED,
    PICKUP_CONFIRMED,
    PICKUP_DECLINED,
    PLAN_BLOCKED,
    PLAN_CANCELLED,
    PLAN_COMPUTED,
    RENEWAL_NEEDED,
    RESCHEDULE_REQUESTED,
    VISIT_ANNOUNCED,
    name,
)
from cli.proof.record import Plan, Record
from cli.proof.result import Found, check

PUBLISHED_AS: Mapping[str, str] = {"planned": PLAN_COMPUTED, "blocked": PLAN_BLOCKED}
"""What was published last of a patient with a status; of the other statuses it may be anything."""


PUT_RIGHT = frozenset({"resubmitted", "partial"})
"""How a refusal is resolved so that it stands no more."""


@check("I2 the plan that stands is the one published", reads="planner", whole=True)
def standing_plan_is_published(record: Record) -> Found:
    """Each patient's plan has the revision, and the status, of the last event about it."""
    newest = newest_of(record, PLAN_COMPUTED, PLAN_BLOCKED, PLAN_CANCELLED)
    plans = record.planner.plans

    def found() -> Iterator[str]:
        for key, event in newest.items():
            plan = plans.get(key, Plan(0, "missing", ""))
            if plan.revision != event.says.revision:
                yield (
                    f"the plan of {key} has revision {plan.revision}; {name(event.type)} {event.id} has "
                    f"{event.says.revision}"
                )
            elif PUBLISHED_AS.get(plan.status, event.type) != event.type:
                yield f"the plan of {key} is {plan.status}; last published was {name(event.type)} {event.id}"
            elif plan.status == "planned" and plan.plan_id != event.says.plan_id:
                yield f"plan {plan.plan_id} of {key} stands; last published was {event.says.plan_id} ({event.id})"
        for key, plan in plans.items():
            if plan.revision and key not in newest:
                yield f"the plan of {key} has revision {plan.revision}, and none was published"

    return Found(len(newest), found())


@check("I5 every answer is recorded by the planner, once", reads="planner", whole=True)
def answers_are_recorded(record: Record) -> Found:
    """One row per answer, whether it was stale or not; and a refusal of the payer is heeded, until it is put right."""
    types = (
        *(ALIGNMENT_AGREED, PICKUP_CONFIRMED, PICKUP_DECLINED, RESCHEDULE_REQUESTED, PATIENT_UNREACHED),
        VISIT_ANNOUNCED,  # no answer, and recorded as one: what the planner counts as said
    )
    said = Counter(
        (event.key, event.type, event.says.plan_id, event.says.plan_revision, event.says.visit_id)
        for event in record.took("planner", *types)
    )
    kept = record.planner.answers
    refused = _refusals(record)

    def found() -> Iterator[str]:
        for each in sorted(said.keys() | kept.keys()):
            patient, event_type, plan_id, revision, visit_id = each
            if said[each] != kept[each]:
                yield (
                    f"{name(event_type)} of {patient} about plan {plan_id} (revision {revision}), visit "
                    f"{visit_id or 'none'}: {said[each]} published, {kept[each]} recorded"
                )
        for patient, rx_id in sorted(refused ^ record.planner.rejections):
            yield f"the refusal of {rx_id} of {patient} is not both published and recorded"

    return Found(said.total() + len(refused), found())


def _refusals(record: Record) -> frozenset[tuple[str, str]]:
    """Patient and prescription of each refusal after which the fill was not tried again for its visit."""
    refused: dict[tuple[str, str], str] = {}
    for event in record.took("planner", FILL_REJECTED, FILL_RESOLVED):
        drug, visit_id = (event.key, event.says.rx_id), event.says.visit_id
        if event.type == FILL_REJECTED:
            refused[drug] = visit_id
        elif event.says.detail in PUT_RIGHT and refused.get(drug) == visit_id:
            del refused[drug]
    return frozenset(refused)


@check("I2 a renewal is noted where it was said to be needed", reads="planner", whole=True)
def renewals_are_told(record: Record) -> Found:
    """The prescriptions that the planner notes as running out are those that it published."""
    told = {(event.key, event.says.rx_id) for event in record.of(RENEWAL_NEEDED)}
    return Found(
        len(told),
        (
            f"the renewal of {rx_id} of {patient} is not both published and noted"
            for patient, rx_id in sorted(told ^ record.planner.renewals)
        ),
    )


PLANNER = (standing_plan_is_published, answers_are_recorded, renewals_are_told)
