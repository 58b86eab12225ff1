"""What the proof knows of the system it judges, written down anew.

Nothing here is imported from the services: a mistake made there would be made here too. A test compares these tables
with the services' own.
"""

from __future__ import annotations

from collections.abc import Mapping

PATIENT_ENROLLED = "medsync.enrollment.patient-enrolled.v1"
CONSENT_CHANGED = "medsync.enrollment.consent-changed.v1"
PROFILE_CHANGED = "medsync.enrollment.profile-changed.v1"
PATIENT_DISENROLLED = "medsync.enrollment.patient-disenrolled.v1"
CANDIDATE_IDENTIFIED = "medsync.enrollment.candidate-identified.v1"
CANDIDATE_WITHDRAWN = "medsync.enrollment.candidate-withdrawn.v1"
CONTACT_DETAILS_CHANGED = "medsync.enrollment.contact-details-changed.v1"
CAREGIVERS_CHANGED = "medsync.enrollment.caregivers-changed.v1"
PATIENT_ERASED = "medsync.enrollment.patient-erased.v1"
STORE_CHANGED = "medsync.enrollment.store-changed.v1"

PLAN_COMPUTED = "medsync.planner.plan-computed.v1"
PLAN_BLOCKED = "medsync.planner.plan-blocked.v1"
PLAN_CANCELLED = "medsync.planner.plan-cancelled.v1"
RENEWAL_NEEDED = "medsync.planner.renewal-needed.v1"
EXCLUSIONS_CHANGED = "medsync.planner.exclusions-changed.v1"
DEMAND_FORECAST = "medsync.planner.demand-forecast.v1"

ALIGNMENT_AGREED = "medsync.outreach.alignment-agreed.v1"
PICKUP_CONFIRMED = "medsync.outreach.pickup-confirmed.v1"
PICKUP_DECLINED = "medsync.outreach.pickup-declined.v1"
RESCHEDULE_REQUESTED = "medsync.outreach.reschedule-requested.v1"
CHANGE_REPORTED = "medsync.outreach.change-reported.v1"
VISIT_ANNOUNCED = "medsync.outreach.visit-announced.v1"
QUESTION_RAISED = "medsync.outreach.question-raised.v1"
PATIENT_UNREACHED = "medsync.outreach.patient-unreached.v1"
CONTACT_OPTED_OUT = "medsync.outreach.contact-opted-out.v1"
CONTACT_OPTED_IN = "medsync.outreach.contact-opted-in.v1"
RENEWAL_REQUESTED = "medsync.outreach.renewal-requested.v1"
RENEWAL_ANSWERED = "medsync.outreach.renewal-answered.v1"

OVERTAKING = frozenset({PATIENT_DISENROLLED, PATIENT_ERASED, CONTACT_OPTED_IN, CONTACT_OPTED_OUT})
"""What leaves though an earlier event of its patient is held: the earlier one, once released, stands behind it."""

FILL_COMPLETED = "medsync.fulfillment.fill-completed.v1"
FILL_REJECTED = "medsync.fulfillment.fill-rejected.v1"
FILL_RESOLVED = "medsync.fulfillment.fill-resolved.v1"
STOCK_SHORT = "medsync.fulfillment.stock-short.v1"
PACKAGE_READY = "medsync.fulfillment.package-ready.v1"
PACKAGE_REOPENED = "medsync.fulfillment.package-reopened.v1"
PACKAGE_PICKED_UP = "medsync.fulfillment.package-picked-up.v1"
PICKUP_MISSED = "medsync.fulfillment.pickup-missed.v1"
PACKAGE_RETURNED = "medsync.fulfillment.package-returned.v1"
CONSULTATION_HELD = "medsync.fulfillment.consultation-held.v1"

TOPICS: Mapping[str, frozenset[str]] = {
    "medsync.enrollment.v1": frozenset(
        {
            PATIENT_ENROLLED,
            CONSENT_CHANGED,
            PROFILE_CHANGED,
            PATIENT_DISENROLLED,
            CANDIDATE_IDENTIFIED,
            CANDIDATE_WITHDRAWN,
            CAREGIVERS_CHANGED,
            PATIENT_ERASED,
        }
    ),
    "medsync.enrollment.contacts.v1": frozenset({CONTACT_DETAILS_CHANGED}),
    "medsync.enrollment.stores.v1": frozenset({STORE_CHANGED}),
    "medsync.planner.v1": frozenset(
        {PLAN_COMPUTED, PLAN_BLOCKED, PLAN_CANCELLED, RENEWAL_NEEDED, EXCLUSIONS_CHANGED}
    ),
    "medsync.planner.demand.v1": frozenset({DEMAND_FORECAST}),
    "medsync.outreach.v1": frozenset(
        {
            ALIGNMENT_AGREED,
            PICKUP_CONFIRMED,
            PICKUP_DECLINED,
            RESCHEDULE_REQUESTED,
            CHANGE_REPORTED,
            VISIT_ANNOUNCED,
            QUESTION_RAISED,
            PATIENT_UNREACHED,
            CONTACT_OPTED_OUT,
            CONTACT_OPTED_IN,
            RENEWAL_REQUESTED,
            RENEWAL_ANSWERED,
        }
    ),
    "medsync.fulfillment.v1": frozenset(
        {
            FILL_COMPLETED,
            FILL_REJECTED,
            FILL_RESOLVED,
            STOCK_SHORT,
            PACKAGE_READY,
            PACKAGE_REOPENED,
            PACKAGE_PICKED_UP,
            PICKUP_MISSED,
            PACKAGE_RETURNED,
            CONSULTATION_HELD,
        }
    ),
}
"""The types of each topic. The second part of a topic's name is the service that owns it: nobody else writes there."""

COUNTED_APART = frozenset({EXCLUSIONS_CHANGED})
"""The types whose revisions grow by themselves; those of all others on a topic grow together."""

SEALED = frozenset({CONTACT_DETAILS_CHANGED})
"""Encrypted: the proof has no key, and reads only the envelope."""

ATTRIBUTES = frozenset(
    {
        "ce_specversion",
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_subject",
        "ce_time",
        "ce_sequence",
        "ce_correlationid",
        "ce_causationid",
        "content-type",
    }
)
"""The headers of every record."""

TAKES: Mapping[str, frozenset[str]] = {
    "enrollment": frozenset(
        {PACKAGE_PICKED_UP, PACKAGE_RETURNED, CHANGE_REPORTED, CONTACT_OPTED_IN, CONTACT_OPTED_OUT}
    ),
    "planner": frozenset(
        {
            PATIENT_ENROLLED,
            PROFILE_CHANGED,
            PATIENT_DISENROLLED,
            CAREGIVERS_CHANGED,
            PATIENT_ERASED,
            STORE_CHANGED,
            ALIGNMENT_AGREED,
            PICKUP_CONFIRMED,
            PICKUP_DECLINED,
            RESCHEDULE_REQUESTED,
            PATIENT_UNREACHED,
            VISIT_ANNOUNCED,
            RENEWAL_ANSWERED,
            FILL_REJECTED,
            FILL_RESOLVED,
        }
    ),
    "outreach": frozenset(
        {
            PLAN_COMPUTED,
            PLAN_BLOCKED,
            PLAN_CANCELLED,
            PATIENT_ENROLLED,
            CONSENT_CHANGED,
            PATIENT_DISENROLLED,
            CAREGIVERS_CHANGED,
            PATIENT_ERASED,
            CONTACT_DETAILS_CHANGED,
            STORE_CHANGED,
            PACKAGE_READY,
            PACKAGE_REOPENED,
            PICKUP_MISSED,
            PACKAGE_PICKED_UP,
            STOCK_SHORT,
            RENEWAL_NEEDED,
        }
    ),
    "fulfillment": frozenset(
        {
            PICKUP_CONFIRMED,
            PLAN_COMPUTED,
            PLAN_BLOCKED,
            PLAN_CANCELLED,
            EXCLUSIONS_CHANGED,
            PATIENT_ENROLLED,
            CONSENT_CHANGED,
            PATIENT_DISENROLLED,
            CAREGIVERS_CHANGED,
            PATIENT_ERASED,
            CONTACT_DETAILS_CHANGED,
            STORE_CHANGED,
        }
    ),
    "console": frozenset().union(*TOPICS.values()),
}
"""The types that each service takes in."""

HOLDS: Mapping[tuple[str, str], frozenset[str]] = {
    ("planner", "patients"): frozenset({PATIENT_ENROLLED, PROFILE_CHANGED, PATIENT_DISENROLLED}),
    ("planner", "stores"): frozenset({STORE_CHANGED}),
    ("outreach", "patients"): frozenset({PATIENT_ENROLLED, CONSENT_CHANGED, PATIENT_DISENROLLED}),
    ("outreach", "plans"): frozenset({PLAN_COMPUTED, PLAN_BLOCKED, PLAN_CANCELLED}),
    ("outreach", "stores"): frozenset({STORE_CHANGED}),
    ("fulfillment", "patients"): frozenset({PATIENT_ENROLLED, CONSENT_CHANGED, PATIENT_DISENROLLED}),
    ("fulfillment", "plans"): frozenset({PLAN_COMPUTED, PLAN_BLOCKED, PLAN_CANCELLED}),
    ("fulfillment", "exclusions"): frozenset({EXCLUSIONS_CHANGED}),
    ("fulfillment", "stores"): frozenset({STORE_CHANGED}),
}
"""Service and table to the types whose newest revision the table holds: `revision` by `patient_id` or `store_id`."""

SEALED_HELD: Mapping[str, str] = {"outreach": "details", "fulfillment": "contacts"}
"""Where names and numbers are held, with their revision."""


def owner(topic: str) -> str:
    """The service that writes a topic, or an event of a type: the second part of either's name."""
    return topic.split(".")[1]


def name(event_type: str) -> str:
    """An event's name as the documentation has it.

    >>> name(PACKAGE_PICKED_UP)
    'PackagePickedUp'
    """
    return event_type.split(".")[2].title().replace("-", "") if event_type.count(".") == 3 else event_type
