"""Where a patient stands on the path, and how each answer, and each day that passes, moves it on.

Pure transitions; each takes where the patient stands and gives where they stand then. An answer about a plan or visit
that no longer stands is stale: the transition gives none (docs/explanation/path.md: state and answers).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from services.planner.domain.availability import halt, halt_ends_on, next_halt_on
from services.planner.domain.calendar import Calendar
from services.planner.domain.model import (
    Blocked,
    Commitments,
    Item,
    Plan,
    Profile,
    PromisedItem,
    PromisedRhythm,
    PromisedVisit,
    Rules,
    VisitKind,
    because,
)
from services.planner.domain.plan import plan_cycle


class Status(StrEnum):
    """What the patient has now."""

    waiting = "waiting"  # for the store's calendar
    planned = "planned"
    blocked = "blocked"
    gone = "gone"  # disenrolled


@dataclass(frozen=True, slots=True)
class OpenVisit:
    """A visit of the newest plan that has not come to an end."""

    visit_id: str
    kind: VisitKind
    on: date
    items: tuple[PromisedItem, ...]
    confirmed: bool = False
    promised: bool = False  # its day was said to the patient, or by the patient
    # rx_ids of fills that depend on what may come on the visit's own day
    wait_to_the_end: frozenset[str] = frozenset()
    at_counter: tuple[PromisedItem, ...] = ()  # to be asked about at the pickup: the next plan decides anew


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one patient stands. What was published is kept beside it."""

    patient_id: str
    status: Status = Status.waiting
    cycle: int = 1
    agreed: bool = False  # the patient accepted the alignment, in this cycle or before
    misses: int = 0  # cycles in a row in which the patient was not reached, or declined
    plan_id: str | None = None
    anchor_on: date | None = None  # none: the next plan chooses it
    next_anchor_on: date | None = None
    offered: tuple[date, ...] = ()
    visits: tuple[OpenVisit, ...] = ()
    declined_until: Mapping[str, date] = field(default_factory=dict)
    wanted_on: date | None = None  # asked for instead of a visit; until the next plan
    instead_of: date | None = None
    not_before: date | None = None  # only a letter reaches the patient, and none confirms an earlier visit
    unreached_for: date | None = (
        None  # nobody answered about a visit of that day; until the next plan, not kept
    )
    look_again_on: date | None = None  # when time alone calls for another look
    rhythm: PromisedRhythm | None = None  # of the newest plan, without the counts of its year
    # what was said of days to come; the newest plan may have others, and nobody may have said them yet
    promised_on: date | None = None  # of the pickup
    promised_next_on: date | None = None  # of the one after it
    # by rx_id: from when on it keeps the rhythm
    promised_joins: Mapping[str, date] = field(default_factory=dict)
    # by rx_id that a payer refused, the visit for which it was to be filled
    refused_for: Mapping[str, str] = field(default_factory=dict)

    def visit(self, visit_id: str | None) -> OpenVisit | None:
        """The open visit with this id."""
        return next((visit for visit in self.visits if visit.visit_id == visit_id), None)


# --- the patient comes and goes ---


def enrolled(progress: Progress) -> Progress:
    """Begin; who comes back, or gives consent anew after being out of reach, begins another cycle."""
    if progress.status is Status.gone:
        return Progress(progress.patient_id, cycle=progress.cycle + 1)
    return replace(reset_missed_cycles(progress), not_before=None)


def disenrolled(progress: Progress) -> Progress:
    """Nothing is planned any more."""
    return Progress(progress.patient_id, status=Status.gone, cycle=progress.cycle)


def answered(progress: Progress) -> Progress:
    """The patient came, or answered: nothing waits for the post any more."""
    return replace(progress, not_before=None)


def reset_missed_cycles(progress: Progress) -> Progress:
    """The patient came, or said how they want to be served: those not reached count anew."""
    return replace(progress, misses=0)


# --- answers ---


def alignment_agreed(
    progress: Progress, plan_id: str, anchor_on: date, *, read_out: bool = True
) -> Progress | None:
    """The day becomes a pin, and with the plan's own day the plan is promised as it was read out. Stale if it is no
    longer offered.

    `read_out`: the newest plan is the one that was read to the patient.
    """
    if progress.agreed or progress.plan_id != plan_id or anchor_on not in progress.offered:
        return None
    agreed = replace(answered(progress), agreed=True, misses=0)
    if anchor_on != progress.anchor_on:
        return replace(agreed, anchor_on=anchor_on, next_anchor_on=None, promised_on=anchor_on, visits=())
    return _promised_whole(agreed) if read_out else replace(agreed, promised_on=anchor_on)


def pickup_confirmed(
    progress: Progress,
    visit_id: str,
    wanted: Mapping[str, tuple[Decimal, int]],
    declined: Collection[str],
    *,
    read_out: bool = True,
    by_patient: bool = True,
) -> Progress | None:
    """The visit stands, with what is wanted (quantity and days by rx_id); what is declined waits.

    What a later plan had put into the visit was not asked about: it is neither, and planned anew. Who confirms a visit
    of a proposal agrees to the proposal. `read_out`: the newest plan is the one that was read to the patient.
    `by_patient`: it was the patient who said so, and not a standing instruction that stood in for the call.
    """
    visit = progress.visit(visit_id)
    if visit is None:
        return None
    items = tuple(
        replace(item, quantity=wanted[item.rx_id][0], days_supply=wanted[item.rx_id][1])
        for item in visit.items
        if item.rx_id in wanted and item.rx_id not in declined
    )
    kept = replace(visit, items=items, confirmed=True, promised=True)
    unwanted = {item.rx_id for item in visit.items} & set(declined)
    progress = answered(progress) if by_patient else progress
    if not items:
        return pickup_declined(progress, visit_id) if unwanted else None
    progress = _without(_promised_by_confirming(progress, kept, read_out=read_out and by_patient), visit)
    return replace(
        progress,
        agreed=True,
        misses=0 if visit.kind is VisitKind.synchronized else progress.misses,
        visits=(*progress.visits, kept),
        declined_until={**progress.declined_until, **_put_off(progress, visit, unwanted)},
    )


def pickup_declined(progress: Progress, visit_id: str) -> Progress | None:
    """Nothing of the visit is wanted: its drugs wait for the next synchronized pickup, or the next cycle begins."""
    visit = progress.visit(visit_id)
    if visit is None:
        return None
    progress = answered(progress)
    if visit.kind is VisitKind.synchronized:
        return _next_cycle(_without(progress, visit), missed=True)
    declined = _put_off(progress, visit, {item.rx_id for item in visit.items})
    return replace(_without(progress, visit), declined_until={**progress.declined_until, **declined})


def unreached(
    progress: Progress,
    plan_id: str,
    visit_id: str | None,
    reachable_on: date | None = None,
    *,
    too_late: bool = False,
    planned_late: bool = False,
) -> Progress | None:
    """Every attempt failed. About the synchronized pickup, or the alignment itself: the next cycle begins.

    Where a letter alone can reach the patient, the next plan leaves the post its time, until `reachable_on`. That this
    one left it none is no miss, unless it was to: then something else holds the day, and staff have to act.
    `planned_late`: nobody was called, for the visit was planned after the last hours for it: no miss of the patient's.
    """
    warned = progress.not_before and reachable_on and progress.not_before + timedelta(days=1) >= reachable_on
    missed = not (too_late or planned_late) or bool(warned)
    progress = replace(progress, not_before=reachable_on)
    if visit_id is None:
        waits = progress.plan_id == plan_id and not progress.agreed
        first = min((visit.on for visit in progress.visits), default=None)
        return _next_cycle(replace(progress, unreached_for=first), missed=missed) if waits else None
    visit = progress.visit(visit_id)
    if visit is None:
        return None
    progress = replace(progress, unreached_for=visit.on)
    if visit.kind is VisitKind.synchronized:
        return _next_cycle(_without(progress, visit), missed=missed)
    return _without(progress, visit)


def reschedule_requested(progress: Progress, visit_id: str, wanted_on: date) -> Progress | None:
    """The visit stands no longer where it was; the next plan finds the nearest day that can be."""
    visit = progress.visit(visit_id)
    if visit is None:
        return None
    moving = replace(visit, confirmed=False, promised=True)
    is_pickup = visit.kind is VisitKind.synchronized and visit.on == progress.anchor_on
    progress = _without(answered(progress), visit)
    return replace(
        progress,
        visits=(*progress.visits, moving),
        wanted_on=wanted_on,
        instead_of=visit.on,
        agreed=True,
        promised_on=visit.on if is_pickup else progress.promised_on,
    )


def visit_announced(progress: Progress, visit_id: str) -> Progress | None:
    """The patient was told the day of a visit, and said nothing yet: it is promised, and not confirmed."""
    visit = progress.visit(visit_id)
    if visit is None or not progress.agreed:
        return None
    is_pickup = visit.kind is VisitKind.synchronized and visit.on == progress.anchor_on
    return replace(
        progress,
        visits=tuple(replace(each, promised=True) if each is visit else each for each in progress.visits),
        promised_on=visit.on if is_pickup else progress.promised_on,
    )


def close_visit(progress: Progress, visit_id: str | None) -> Progress:
    """The visit was handed over or returned; after the synchronized one the next cycle begins."""
    visit = progress.visit(visit_id)
    if visit is None:
        return progress
    progress = _without(progress, visit)
    return _next_cycle(progress) if visit.kind is VisitKind.synchronized else progress


def given_up(progress: Progress, visit_id: str, rx_id: str) -> Progress:
    """The store does not fill a drug for this visit any more; one of which nothing is left does not take place."""
    visit = progress.visit(visit_id)
    if visit is None:
        return progress
    items = tuple(item for item in visit.items if item.rx_id != rx_id)
    if not items:
        return _without(progress, visit)
    kept = replace(visit, items=items)
    return replace(progress, visits=tuple(kept if each is visit else each for each in progress.visits))


def in_hand(progress: Progress) -> frozenset[str]:
    """The refused drugs (rx_ids) that the store may still fill for a visit that is confirmed: they stay on it."""
    return frozenset(
        item.rx_id
        for visit in progress.visits
        for item in visit.items
        if visit.confirmed and progress.refused_for.get(item.rx_id) == visit.visit_id
    )


# --- time passes ---


def as_of(progress: Progress, today: date, rules: Rules) -> Progress:
    """Where the patient stands once days that passed have had their effect.

    A visit whose day passed unconfirmed did not take place; a confirmed one that nobody reported on is given up after
    twelve days. With the synchronized pickup the cycle ends, but for a proposal that nobody answered yet. What passes
    while planning is halted is nobody's miss.
    """
    for visit in progress.visits:
        last = visit.on + timedelta(days=rules.open_visit_days - 1 if visit.confirmed else 0)
        if last < today:
            progress = _without(progress, visit)
            if visit.kind is VisitKind.synchronized and progress.agreed:
                counts = not visit.confirmed and progress.status is not Status.blocked
                progress = _next_cycle(progress, missed=counts)
    if progress.anchor_on and progress.anchor_on < today and not progress.agreed:
        progress = replace(progress, anchor_on=None)
    return progress


def waits_for_visit(progress: Progress, today: date) -> bool:
    """While a confirmed visit whose day is over is open, nothing is planned anew.

    On its day it is: what became fillable since is asked about at the pickup, and the store hears of that by a plan.
    """
    return any(visit.confirmed and visit.on < today for visit in progress.visits)


def _look_again_on(progress: Progress, rules: Rules, outcome: Plan | None = None) -> date | None:
    """The day on which the first open visit will have come to its end by time alone, or a refused drug may be tried
    again."""
    ends = [
        visit.on + timedelta(days=rules.open_visit_days if visit.confirmed else 1)
        for visit in progress.visits
    ]
    tried_again = [outcome.look_again_on] if outcome and outcome.look_again_on else []
    return min([*ends, *tried_again], default=None)


# --- planning ---


def plan_anew(
    progress: Progress, profile: Profile, calendar: Calendar | None, rules: Rules, today: date
) -> tuple[Progress, Plan | Blocked | None]:
    """Plan as of today, and where the patient stands with that plan; no plan where nothing is to be planned now.

    Without a calendar the patient waits for the store's.
    """
    progress = as_of(progress, today, rules)
    if calendar is None:
        return replace(progress, look_again_on=today + timedelta(days=1)), None
    halted = halt(profile, today)
    if halted:
        ends_on = halt_ends_on(profile, today)
        return replace(_halted(progress), look_again_on=ends_on), Blocked((halted,), look_again_on=ends_on)
    if waits_for_visit(progress, today):
        return replace(progress, look_again_on=_look_again_on(progress, rules)), None
    if open_refusals := in_hand(progress):
        refusals = tuple(each for each in profile.rejections if each.rx_id not in open_refusals)
        profile = replace(profile, rejections=refusals)
    if progress.misses >= rules.missed_cycles:
        outcome: Plan | Blocked = Blocked((because("not_reached", cycles=progress.misses),))
    else:
        outcome = plan_cycle(
            profile, calendar, rules, today, _commitments_today(progress, today), progress.cycle
        )
    if isinstance(outcome, Blocked):
        return _blocked(progress, outcome), outcome
    planned = _planned(progress, outcome)
    days = (_look_again_on(planned, rules, outcome), next_halt_on(profile, today))
    return replace(planned, look_again_on=min((day for day in days if day), default=None)), outcome


def commitments_of(progress: Progress) -> Commitments:
    """What the next plan has to keep to: what was said. A proposal that nobody agreed to binds nothing, and neither
    does a day of an agreed plan that nobody said."""
    rhythm = progress.rhythm
    return Commitments(
        agreed=progress.agreed,
        anchor_on=progress.promised_on if progress.agreed else None,
        visits=tuple(
            PromisedVisit(visit.kind, visit.on, visit.items, visit.confirmed)
            for visit in progress.visits
            if progress.agreed and visit.promised
        ),
        declined_until=progress.declined_until,
        wanted_on=progress.wanted_on,
        instead_of=progress.instead_of,
        not_before=progress.not_before,
        rhythm=replace(rhythm, joins=progress.promised_joins) if rhythm and progress.agreed else rhythm,
        next_anchor_on=progress.promised_next_on if progress.agreed else None,
    )


def _commitments_today(progress: Progress, today: date) -> Commitments:
    """Who was not reached about a visit of today is not planned for today again."""
    known, tomorrow = commitments_of(progress), today + timedelta(days=1)
    if progress.unreached_for != today or (known.not_before and known.not_before > tomorrow):
        return known
    return replace(known, not_before=tomorrow)


def _planned(progress: Progress, plan: Plan) -> Progress:
    confirmed = {visit.visit_id for visit in progress.visits if visit.confirmed}
    promised = {visit.visit_id for visit in progress.visits if visit.promised}
    asked_for = {visit.visit_id for visit in plan.visits if visit.on == progress.wanted_on}
    return replace(
        _pickup_moved(progress, plan),
        status=Status.planned,
        wanted_on=None,
        instead_of=None,
        unreached_for=None,
        plan_id=plan.plan_id,
        anchor_on=plan.anchor_on,
        next_anchor_on=plan.next_anchor_on,
        rhythm=plan.rhythm and replace(plan.rhythm, trips_a_year=0, trips_before=None),
        offered=tuple(offer.on for offer in plan.offered),
        visits=tuple(
            OpenVisit(
                visit.visit_id,
                visit.kind,
                visit.on,
                tuple(_promised(item) for item in visit.items if not item.at_counter),
                confirmed=visit.visit_id in confirmed,
                promised=visit.visit_id in promised | asked_for,
                wait_to_the_end=frozenset(
                    item.rx_id
                    for item in visit.items
                    if item.condition and item.condition.needed_by >= visit.on
                ),
                at_counter=tuple(_promised(item) for item in visit.items if item.at_counter),
            )
            for visit in plan.visits
        ),
    )


def _promised(item: Item) -> PromisedItem:
    return PromisedItem(item.rx_id, item.kind, item.quantity, item.days_supply, item.in_place_of)


def _pickup_moved(progress: Progress, plan: Plan) -> Progress:
    """The patient asked for another day of the pickup: that day, or the nearest that can be, takes its place."""
    if progress.wanted_on is None or progress.instead_of != progress.promised_on:
        return progress
    joining = plan.rhythm.joins.items() if plan.rhythm else ()
    joins = {rx_id: on for rx_id, on in joining if on == plan.anchor_on}
    return replace(progress, promised_on=plan.anchor_on, promised_joins={**progress.promised_joins, **joins})


def _halted(progress: Progress) -> Progress:
    """Nothing is called for or filled; what was told is kept, to be gone on with, and to be confirmed anew."""
    visits = tuple(replace(visit, confirmed=False) for visit in progress.visits)
    return replace(progress, status=Status.blocked, plan_id=None, offered=(), visits=visits)


def _blocked(progress: Progress, blocked: Blocked) -> Progress:
    return replace(
        progress,
        status=Status.blocked,
        wanted_on=None,
        instead_of=None,
        unreached_for=None,
        plan_id=None,
        anchor_on=None,
        next_anchor_on=None,
        promised_on=None,
        promised_next_on=None,
        promised_joins={},
        offered=(),
        visits=(),
        look_again_on=blocked.look_again_on,
    )


def _next_cycle(progress: Progress, *, missed: bool = False) -> Progress:
    """The pickup after it stays where it was promised, and so do the visits before that; after a miss nothing is pinned
    but visits that are confirmed, and the rhythm alone is kept, not when each drug was to join it."""
    rhythm = progress.rhythm
    return replace(
        progress,
        rhythm=replace(rhythm, joins={}) if rhythm and missed else rhythm,
        promised_on=None if missed else progress.promised_next_on,
        promised_next_on=None,
        promised_joins={} if missed else progress.promised_joins,
        cycle=progress.cycle + 1,
        misses=progress.misses + 1 if missed else progress.misses,
        anchor_on=None if missed else progress.next_anchor_on,
        next_anchor_on=None,
        offered=(),
        visits=tuple(visit for visit in progress.visits if visit.confirmed or not missed),
        declined_until={},
    )


def _promised_whole(progress: Progress) -> Progress:
    """The newest plan was read out: its pickup and the one after it, its visits, and when each drug joins."""
    return replace(
        progress,
        promised_on=progress.anchor_on,
        promised_next_on=progress.next_anchor_on,
        promised_joins=progress.rhythm.joins if progress.rhythm else {},
        visits=tuple(replace(visit, promised=True) for visit in progress.visits),
    )


def _promised_by_confirming(progress: Progress, visit: OpenVisit, *, read_out: bool) -> Progress:
    """What else is said where a visit is confirmed: with a visit of a proposal all of it; with the pickup, which one
    comes after it. The pickup rests on the visits before it, and on what joins at it."""
    if read_out and not progress.agreed:
        return _promised_whole(progress)
    if visit.kind is not VisitKind.synchronized or visit.on != progress.anchor_on:
        return progress
    joins = progress.rhythm.joins if progress.rhythm else {}
    at_it = {rx_id: on for rx_id, on in joins.items() if on <= visit.on}
    return replace(
        progress,
        promised_on=visit.on,
        promised_next_on=progress.next_anchor_on if read_out else progress.promised_next_on,
        promised_joins=joins if read_out else {**progress.promised_joins, **at_it},
        visits=tuple(replace(each, promised=each.promised or each.on < visit.on) for each in progress.visits),
    )


def _without(progress: Progress, visit: OpenVisit) -> Progress:
    others = tuple(each for each in progress.visits if each.visit_id != visit.visit_id)
    return replace(progress, visits=others)


def _put_off(progress: Progress, visit: OpenVisit, rx_ids: Collection[str]) -> dict[str, date]:
    """Declined before the synchronized pickup: until that; at it or later: until the one after."""
    before = progress.anchor_on is not None and visit.on < progress.anchor_on
    until = progress.anchor_on if before else progress.next_anchor_on
    return dict.fromkeys(rx_ids, until) if until else {}
