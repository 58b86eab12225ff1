"""The promises to patients, from the events alone (and the ledger of contacts): the order is that of business time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from cli.proof.checks.fulfillment import filled_by
from cli.proof.contract import (
    CONSENT_CHANGED,
    CONTACT_OPTED_IN,
    CONTACT_OPTED_OUT,
    FILL_COMPLETED,
    PACKAGE_PICKED_UP,
    PACKAGE_READY,
    PACKAGE_RETURNED,
    PATIENT_DISENROLLED,
    PATIENT_ENROLLED,
    PATIENT_UNREACHED,
    PICKUP_CONFIRMED,
    PICKUP_DECLINED,
    PLAN_COMPUTED,
    RENEWAL_NEEDED,
    RESCHEDULE_REQUESTED,
    name,
)
from cli.proof.record import Event, Item, Record, grouped
from cli.proof.result import Found, check

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)


@check("answers are about a visit of a plan that was published", whole=True)
def answers_fit_a_plan(record: Record) -> Found:
    """What patients answered was planned: the plan, its revision, the visit; and what they confirmed, to the tablet."""
    plans = {
        (event.key, event.says.plan_id, event.says.revision): event for event in record.of(PLAN_COMPUTED)
    }
    looked_at, found = 0, []
    for event in record.of(PICKUP_CONFIRMED, PICKUP_DECLINED, RESCHEDULE_REQUESTED, PATIENT_UNREACHED):
        looked_at += 1
        plan = plans.get((event.key, event.says.plan_id, event.says.plan_revision))
        visit = event.says.visit_id
        if plan is None:
            found.append(
                f"{name(event.type)} {event.id} is about revision {event.says.plan_revision} of plan "
                f"{event.says.plan_id} of {event.key}, which was never published"
            )
        elif visit and visit not in plan.says.visits:
            found.append(
                f"{name(event.type)} {event.id} is about visit {visit}, which is not in PlanComputed {plan.id}"
            )
        elif event.type == PICKUP_CONFIRMED:
            planned = set(plan.says.visits[visit])
            found += [
                f"PickupConfirmed {event.id} has {item.rx_id} otherwise than PlanComputed {plan.id}"
                for item in event.says.items
                if item not in planned
            ]
    return Found(looked_at, found)


@check("nothing is filled before it was confirmed", whole=True)
def filled_as_confirmed(record: Record) -> Found:
    """A fill has, before it in business time, a confirmation of its visit with the drug, the quantity and the days; a
    part of one, or the rest, a confirmation of the whole. Or a plan has it to be asked about at the counter, and it
    says that the patient agreed there."""
    confirmed = grouped(record.of(PICKUP_CONFIRMED), "visit_id")
    offered = {
        (event.key, *offer): event
        for event in reversed(list(record.of(PLAN_COMPUTED)))
        for offer in event.says.offers
    }
    fills = {fill.says.fill_id: fill for fill in record.of(FILL_COMPLETED)}
    looked_at, found = 0, []
    for fill in record.of(FILL_COMPLETED):
        looked_at += 1
        item = filled_by(fill)
        assert item is not None
        first = fills.get(fill.says.completes, fill)
        quantity, days = fill.says.intended or (item.quantity, item.days_supply)
        confirmed_as = Item(first.says.in_place_of or item.rx_id, quantity, days)
        what = f"fill {item.fill_id} of {item.rx_id} for visit {fill.says.visit_id} (event {fill.id})"
        naming = [
            (event, wanted)
            for event in confirmed.get(first.says.visit_id, ())
            for wanted in event.says.items
            if wanted.rx_id == confirmed_as.rx_id and event.key == fill.key
        ]
        offer = offered.get((fill.key, fill.says.visit_id, item._replace(fill_id="")))
        if fill.says.at_counter and offer and _at(offer) <= _at(fill):
            continue
        if not naming:
            found.append(f"{what} was never confirmed")
        elif all(_at(event) > _at(fill) for event, _ in naming):
            found.append(f"{what} was confirmed only after it, by event {naming[0][0].id}")
        elif confirmed_as not in [wanted for event, wanted in naming if _at(event) <= _at(fill)]:
            found.append(f"{what} is {item.quantity} for {item.days_supply} days, which was not confirmed")
    return Found(looked_at, found)


@check("a standing instruction is used only where one was given", whole=True)
def standing_instructions_were_given(record: Record) -> Found:
    """A confirmation without a call belongs to a patient whose newest consent before it says that this is wanted."""
    consents = grouped(record.of(PATIENT_ENROLLED, CONSENT_CHANGED), "subject")
    confirmed = list(record.of(PICKUP_CONFIRMED))
    used = [event for event in confirmed if event.says.standing]

    def given(event: Event) -> bool:
        before = [each for each in consents.get(event.key, ()) if _consented(each) <= _at(event)]
        return bool(before) and max(before, key=_newest).says.standing

    def _newest(event: Event) -> tuple[datetime, int]:
        return _consented(event), event.says.revision

    return Found(
        len(confirmed),
        (
            f"{event.key}: event {event.id} uses a standing instruction that was not given"
            for event in used
            if not given(event)
        ),
        f"{len(used)} used one",
    )


def _filled(event: Event) -> int:
    """How many fills are in a package; what was rejected or short is listed too."""
    return sum(item.state == "filled" for item in event.says.items)


@check("one package per visit, in one hand", whole=True)
def one_package_per_visit(record: Record) -> Found:
    """A visit has one package, which is ready once, then picked up or returned, once, and never both.

    It is ready again only with more fills in it.
    """
    steps = (PACKAGE_READY, PACKAGE_PICKED_UP, PACKAGE_RETURNED)
    visits = grouped(record.of(*steps), "visit_id")
    packages = grouped(record.of(*steps), "package_id")

    def found() -> Iterator[str]:
        for package_id, events in packages.items():
            if len({(event.key, event.says.visit_id) for event in events}) > 1:
                yield f"package {package_id} belongs to several visits or patients"
        for visit_id, events in visits.items():
            if len({(event.key, event.says.package_id) for event in events}) > 1:
                yield f"visit {visit_id} has several packages or patients"
            of_type = {step: [event for event in events if event.type == step] for step in steps}
            for step, same in of_type.items():
                fuller = {_filled(event) for event in same} if step == PACKAGE_READY else ()
                if len(same) > max(1, len(fuller)):
                    yield f"{name(step)} of visit {visit_id} was published {len(same)} times"
            ready, picked_up, returned = (of_type[step] for step in steps)
            if picked_up and returned:
                yield f"the package of visit {visit_id} was picked up and returned"
            if picked_up and not ready:
                yield f"the package of visit {visit_id} was picked up and never ready"

    return Found(len(visits), found())


@check("what is handed over was filled for that visit, once", whole=True)
def handed_over_as_filled(record: Record) -> Found:
    """Each fill is of one visit and stands in one package; a package holds fills of its own visit, as filled."""
    completed: defaultdict[str, list[Event]] = defaultdict(list)
    for fill in record.of(FILL_COMPLETED):
        completed[fill.says.fill_id].append(fill)
    taken: dict[str, str] = {}

    def found() -> Iterator[str]:
        for fill_id, fills in completed.items():
            if len(fills) > 1:
                yield f"fill {fill_id} was completed by events {', '.join(fill.id for fill in fills)}"
        for event in record.of(PACKAGE_READY, PACKAGE_PICKED_UP):
            for item in event.says.items:
                if item.state != "filled":
                    continue
                what = f"fill {item.fill_id} of {item.rx_id} in {name(event.type)} {event.id}"
                fills = completed.get(item.fill_id, [])
                if not any(filled_by(fill) == item._replace(state="") for fill in fills):
                    yield f"{what} was never completed like that"
                elif all(fill.says.visit_id != event.says.visit_id for fill in fills):
                    yield f"{what} was completed for another visit"
                if event.type == PACKAGE_PICKED_UP and taken.setdefault(item.fill_id, event.id) != event.id:
                    yield f"{what} was handed over before, by event {taken[item.fill_id]}"

    return Found(len(completed), found())


@check("nothing is filled for who has left", whole=True)
def nothing_filled_after_leaving(record: Record) -> Found:
    """No fill between a disenrollment and a new consent; and a new consent needs a new confirmation."""
    absences = _absences(record)
    confirmed = grouped(record.of(PICKUP_CONFIRMED), "visit_id")
    looked_at, found = 0, []
    for fill in record.of(FILL_COMPLETED):
        if not (away := absences.get(fill.key)):
            continue
        looked_at += 1
        since = max(
            (_at(event) for event in confirmed.get(fill.says.visit_id, ()) if _at(event) <= _at(fill)),
            default=BEGINNING,
        )
        for left, _ in away:
            if since < left and left + record.hearing < _at(fill):
                found.append(
                    f"fill {fill.says.fill_id} of {fill.key} at {fill.at} (event {fill.id}): left at {left}, "
                    "not confirmed since"
                )
                break
    return Found(looked_at, found, f"{len(absences)} patients left")


@check("nobody is contacted who has left or said stop", reads="outreach", whole=True)
def nobody_called_in_vain(record: Record) -> Found:
    """No attempt between a disenrollment and a new consent; after a stop, and until then, no automated one."""
    absences, stopped = _absences(record), _stops(record)
    looked_at, found = 0, []
    for attempt in record.outreach.attempts:
        if attempt.made_by == "patient":
            continue
        looked_at += 1
        what = f"attempt {attempt.lease_id} to reach {attempt.patient_id} at {attempt.at}"
        for left, back in absences.get(attempt.patient_id, ()):
            if left + record.hearing < attempt.at < back:
                found.append(f"{what}: left at {left}")
        for stop, consent in stopped.get(attempt.patient_id, ()):
            if attempt.made_by == "dialler" and attempt.kind != "renewal" and stop < attempt.at < consent:
                found.append(f"{what}: said stop at {stop}")
    return Found(looked_at, found, f"{len(stopped)} patients said stop, {len(absences)} left")


@check("a renewal is asked for once per prescription", whole=True)
def renewals_needed_once(record: Record) -> Found:
    """The planner says once that a prescription will not last."""
    first: dict[tuple[str, str], str] = {}
    found = [
        f"RenewalNeeded {event.id} repeats {first[event.key, event.says.rx_id]} about {event.says.rx_id}"
        for event in record.of(RENEWAL_NEEDED)
        if first.setdefault((event.key, event.says.rx_id), event.id) != event.id
    ]
    return Found(len(first), found)


Spans = Mapping[str, list[tuple[datetime, datetime]]]


def _absences(record: Record) -> Spans:
    """By patient, each time from a disenrollment to the next consent."""
    consents = [(event.key, event.says.given_at or _at(event)) for event in record.of(PATIENT_ENROLLED)]
    return _spans(record, PATIENT_DISENROLLED, consents)


def _stops(record: Record) -> Spans:
    """By patient, each time from a stop until the patient agrees to be contacted again, or says start."""
    told = record.of(PATIENT_ENROLLED, CONSENT_CHANGED)
    consents = [
        (event.key, event.says.contact_agreed_at or event.says.given_at or _at(event)) for event in told
    ]
    started = [(event.key, _at(event)) for event in record.of(CONTACT_OPTED_IN)]
    return _spans(record, CONTACT_OPTED_OUT, [*consents, *started])


def _spans(record: Record, beginning: str, consented: Iterable[tuple[str, datetime]]) -> Spans:
    """From each event of a type to the next consent. An enrollment sent again names the consent that it was."""
    consents: defaultdict[str, set[datetime]] = defaultdict(set)
    for key, at in consented:
        consents[key].add(at)
    spans: defaultdict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for event in record.of(beginning):
        begun = _at(event)
        spans[event.key].append((begun, min((at for at in consents[event.key] if at >= begun), default=END)))
    return spans


def _consented(event: Event) -> datetime:
    """When what a consent says was agreed."""
    return event.says.amended_at or event.says.given_at or _at(event)


def _at(event: Event) -> datetime:
    return event.at or BEGINNING


PROMISES = (
    answers_fit_a_plan,
    filled_as_confirmed,
    standing_instructions_were_given,
    one_package_per_visit,
    handed_over_as_filled,
    nothing_filled_after_leaving,
    nobody_called_in_vain,
    renewals_needed_once,
)
