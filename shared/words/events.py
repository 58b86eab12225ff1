"""One sentence for each event, for people who watch the stream: no names, no numbers, no drugs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.events import Event, enrollment, fulfillment, outreach, planner
from shared.events.tombstones import ContactDetailsForgotten
from shared.words.formats import counted, rejected, sentence, short_date, without
from shared.words.reasons import render


def tell(event: Event) -> str:
    """What happened, in one sentence. Patients and prescriptions are not named."""
    say = _WORDS.get(type(event).TYPE)
    return say(event) if say else f"{type(event).__name__}."


def _plan_computed(event: planner.PlanComputed) -> str:
    before = sum(visit.on < event.anchor_on for visit in event.visits)
    kind = "Plan" if event.agreed else "Proposal"
    urgent = next((visit.on for visit in event.visits if visit.urgent), None)
    hurry = f" The visit on {short_date(urgent)} is urgent: a drug cannot wait." if urgent else ""
    return (
        f"{kind} {event.revision}, cycle {event.cycle}: sync date {short_date(event.anchor_on)}, "
        f"{counted(before, 'visit')} before it, {counted(event.short_fills, 'short fill')}, "
        f"{without(event.uncovered_days)}.{hurry}"
    )


def _plan_blocked(event: planner.PlanBlocked) -> str:
    return " ".join(["No plan can be made now.", *map(render, event.reasons)])


def _demand(event: planner.DemandForecast) -> str:
    fills = sum(day.fills for drug in event.drugs for day in drug.days)
    return (
        f"Store {event.store_id} needs {counted(len(event.drugs), 'drug')} on hand for {counted(fills, 'fill')} "
        f"through {short_date(event.last_on)}."
    )


def _no_candidate(event: enrollment.CandidateWithdrawn) -> str:
    why = _NO_CANDIDATE.get(event.reason, "No longer a candidate for med sync")
    again = f"; ask again on {short_date(event.ask_again_on)}" if event.ask_again_on else ""
    return f"{why}{again}."


_NO_CANDIDATE = {
    "declined": "The patient declined med sync",
    "not_now": 'The patient said "not now" to med sync',
    "no_benefit": "No longer a candidate: med sync would not help now",
}


def _candidate(event: enrollment.CandidateIdentified) -> str:
    return f"Candidate for med sync ({_codes(event.reasons)})."


def _codes(reasons: tuple[Any, ...]) -> str:
    return ", ".join(reason.code.replace("_", " ") for reason in reasons) or "no reason given"


def _profile_changed(event: enrollment.ProfileChanged) -> str:
    what = " and ".join(_CHANGED.get(change, change.replace("_", " ")) for change in event.changes)
    return f"Medication profile updated: {what or 'sent again, unchanged'}."


_CHANGED = {
    "fed": "new records from the chain",
    "handed_over": "drugs were picked up",
    "returned": "fills went back to stock",
    "stopped": "the patient stopped taking a drug",
    "on_hand": "the patient said how much is left",
    "preferences": "the patient's preferences",
    "circumstances": "which days the patient can come",
}


def _consent_changed(event: enrollment.ConsentChanged) -> str:
    what = " and ".join(_AGREED.get(change, change.replace("_", " ")) for change in event.changes)
    return f"Consent updated: {what or 'sent again, unchanged'}."


_AGREED = {
    "scope": "what it covers",
    "channels": "how to contact the patient",
    "caregiver": "whether a caregiver may answer and pick up",
    "standing_instruction": "the standing instruction to fill",
}


def _caregivers(event: enrollment.CaregiversChanged) -> str:
    count = len(event.caregiver_ids)
    return (
        f"{counted(count, 'caregiver')} may act for the patient."
        if count
        else "No caregiver acts for the patient."
    )


def _picked_up(event: fulfillment.PackagePickedUp) -> str:
    left = f", {counted(len(event.left), 'fill')} left behind" if event.left else ""
    return (
        f"Package picked up on {short_date(event.handed_over_on)}: "
        f"{counted(len(event.taken), 'fill')}{left}.{_left_out(event)}"
    )


def _ready(event: fulfillment.PackageReady) -> str:
    return f"Package for {short_date(event.on)} verified and ready.{_left_out(event)}"


def _left_out(event: fulfillment.PackageReady | fulfillment.PackagePickedUp) -> str:
    """What was confirmed on a condition that was not met."""
    number = len(event.not_filled)
    waited = "it was" if number == 1 else "they were"
    return (
        f" {counted(number, 'fill')} left out: what {waited} waiting for did not come in time."
        if number
        else ""
    )


def _confirmed(event: outreach.PickupConfirmed) -> str:
    how = "under the standing instruction" if event.standing_instruction else "by the patient"
    conditional = sum(item.condition is not None for item in event.items)
    some = f", {conditional} of them only if what is missing comes in time" if conditional else ""
    return f"Visit on {short_date(event.on)} confirmed {how}: {counted(len(event.items), 'fill')}{some}."


def _exclusions(event: planner.ExclusionsChanged) -> str:
    number = len(event.excluded)
    if not number:
        return "No prescription is excluded by a pharmacist any longer."
    return f"A pharmacist excluded {counted(number, 'prescription')} from every visit, confirmed ones too."


def _unreached(event: outreach.PatientUnreached) -> str:
    about = "a visit" if event.visit_id else "the first plan"
    if event.planned_late:
        return f"Nobody was called about {about}: it was planned after the last hours for calls before it."
    tried = f"after {counted(event.attempts, 'attempt')}" if event.attempts else "no attempt was made in time"
    if event.too_late and event.reachable_on:
        tried = f"by mail only, and no answer can come before {short_date(event.reachable_on)}"
    return f"Patient not reached about {about}: {tried}."


def _disenrolled(event: enrollment.PatientDisenrolled) -> str:
    return f"No longer enrolled ({str(event.reason).replace('_', ' ')})."


def _change_reported(event: outreach.ChangeReported) -> str:
    left = counted(event.days_left or 0, "day")
    what = {
        "stopped": "stopped taking a drug",
        "dose_changed": "takes a different dose of a drug",
        "on_hand": f"has {left} of a drug left",
    }
    return f"The patient reports: {what.get(event.change, 'something changed about a drug')}."


def _renewal_answered(event: outreach.RenewalAnswered) -> str:
    what = {
        "approved": "approved a renewal",
        "denied": "denied a renewal",
        "needs_visit": "needs to see the patient before renewing",
        "no_answer": "did not answer about a renewal",
    }
    return f"The prescriber {what.get(event.answer, 'answered about a renewal')}."


def _talked(event: fulfillment.ConsultationHeld) -> str:
    how = {"held": "The pharmacist counseled the patient.", "declined": "Counseling declined."}
    return how.get(event.outcome, "Counseling was offered.")


def _refused(event: fulfillment.FillRejected) -> str:
    payable = f" Payable on or after {short_date(event.next_fill_on)}." if event.next_fill_on else ""
    return f"Insurance rejected a fill: {rejected(event.reject_code)}.{payable}"


def _resolution(event: fulfillment.FillResolved) -> str:
    if event.resolution == "resubmitted":
        ways = {
            "override": "override obtained",
            "corrected_days": "days' supply corrected",
            "other_plan": "billed to another plan",
            "cash_price": "cash price agreed",
            "prior_authorization": "prior authorization obtained",
            "stock_arrived": "stock arrived",
            "other_manufacturer": "another manufacturer",
        }
        return f"A fill is tried again: {ways.get(event.how or '', 'resolved')}."
    what = {
        "partial": "A fill is made in part; the rest is owed.",
        "given_up": "A fill that was rejected or short is not made for this visit.",
        "other_store": "A fill is made by another store.",
    }
    return what.get(event.resolution, "A rejected or short fill was resolved.")


def _template(text: str) -> Callable[[Event], str]:
    return lambda event: sentence(text, dict(event))


_WORDS: dict[str, Callable[[Any], str]] = {
    enrollment.PatientEnrolled.TYPE: _template("Patient enrolled, with consent."),
    enrollment.ConsentChanged.TYPE: _consent_changed,
    enrollment.CaregiversChanged.TYPE: _caregivers,
    enrollment.ProfileChanged.TYPE: _profile_changed,
    enrollment.PatientDisenrolled.TYPE: _disenrolled,
    enrollment.CandidateIdentified.TYPE: _candidate,
    enrollment.CandidateWithdrawn.TYPE: _no_candidate,
    enrollment.ContactDetailsChanged.TYPE: _template("Contact details updated."),
    enrollment.PatientErased.TYPE: _template(
        "The patient was forgotten on request: name and numbers were destroyed."
    ),
    ContactDetailsForgotten.TYPE: _template("Contact details destroyed."),
    enrollment.StoreChanged.TYPE: _template("Store {store_id} updated its hours, closures or details."),
    planner.PlanComputed.TYPE: _plan_computed,
    planner.PlanBlocked.TYPE: _plan_blocked,
    planner.PlanCancelled.TYPE: _template("Plan withdrawn."),
    planner.ExclusionsChanged.TYPE: _exclusions,
    planner.RenewalNeeded.TYPE: _template(
        "A prescription is running out: renewal needed by {needed_by:short_date}."
    ),
    planner.DemandForecast.TYPE: _demand,
    outreach.AlignmentAgreed.TYPE: _template("The patient agreed to the sync date {anchor_on:short_date}."),
    outreach.PickupConfirmed.TYPE: _confirmed,
    outreach.VisitAnnounced.TYPE: _template("The patient was told of the visit on {on:short_date}."),
    outreach.PickupDeclined.TYPE: _template("The patient declined the visit on {on:short_date}."),
    outreach.RescheduleRequested.TYPE: _template("The patient asked for {wanted_on:short_date} instead."),
    outreach.ChangeReported.TYPE: _change_reported,
    outreach.QuestionRaised.TYPE: _template("The patient has a question for the pharmacist."),
    outreach.PatientUnreached.TYPE: _unreached,
    outreach.ContactOptedOut.TYPE: _template(
        "The patient opted out of automated calls and texts, by {channel}."
    ),
    outreach.ContactOptedIn.TYPE: _template("The patient opted in to automated calls and texts again."),
    outreach.RenewalRequested.TYPE: _template("Renewal requested from the prescriber, attempt {attempt}."),
    outreach.RenewalAnswered.TYPE: _renewal_answered,
    fulfillment.FillCompleted.TYPE: _template(
        "Fill completed on {filled_on:short_date}: {days_supply}-day supply."
    ),
    fulfillment.FillRejected.TYPE: _refused,
    fulfillment.FillResolved.TYPE: _resolution,
    fulfillment.StockShort.TYPE: _template("The store is short of a drug."),
    fulfillment.PackageReady.TYPE: _ready,
    fulfillment.PackageReopened.TYPE: _template(
        "Package for {on:short_date} back to verification: what is in it changed."
    ),
    fulfillment.PackagePickedUp.TYPE: _picked_up,
    fulfillment.PickupMissed.TYPE: _template(
        "Not picked up: package for {on:short_date}, {days_late:day} late."
    ),
    fulfillment.PackageReturned.TYPE: _template("Package returned to stock."),
    fulfillment.ConsultationHeld.TYPE: _talked,
}
