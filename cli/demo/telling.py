"""A patient's moments in a dozen lines: a line a day, and under a trouble what was done about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import Any, NamedTuple

from cli.demo.moments import Moment
from cli.demo.troubles import Drugs, Kind, Trouble
from shared.events import Event
from shared.events.enrollment import PatientDisenrolled, PatientEnrolled
from shared.events.fulfillment import (
    Consultation,
    ConsultationHeld,
    FillRejected,
    PackagePickedUp,
    PackageReady,
    PackageReturned,
    PickupMissed,
    StockShort,
)
from shared.events.outreach import (
    AlignmentAgreed,
    ChangeReported,
    ContactOptedOut,
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    QuestionRaised,
    RenewalAnswer,
    RenewalAnswered,
    RenewalRequested,
    ReportedChange,
    RescheduleRequested,
)
from shared.events.planner import PlanBlocked, PlanComputed
from shared.words.formats import counted, rejected, short_date

LINES = 10
"""At most."""


NAMED = 3
"""Drugs are named, where there are no more."""

SETTLED, TROUBLE, ANSWER = 13, 12, 11
"""Weights of the lines that a story of trouble is about."""


class Attempt(NamedTuple):
    """One try to reach the patient about a package that waits."""

    at: datetime
    visit_id: str
    channel: str
    outcome: str


def attempts(ledger: Sequence[Mapping[str, Any]], zone: tzinfo) -> list[Attempt]:
    """Those of outreach's ledger of a patient that were about a package that waited."""
    return [
        Attempt(
            datetime.fromisoformat(tried["at"]).astimezone(zone),
            contact["visit_id"],
            tried["channel"],
            tried["outcome"],
        )
        for contact in ledger
        if contact["kind"] == "missed"
        for tried in contact["tried"]
    ]


class Line(NamedTuple):
    at: datetime
    text: str
    weight: int  # what weighs least is left out first


class Today(NamedTuple):
    """One day of a patient's story."""

    moments: Sequence[Moment]
    drug: Drugs
    trouble: Trouble | None
    synchronized: Collection[str]  # ids of visits
    packed: Collection[str]  # ids of visits for which a package was ready

    def of(self, *kinds: type[Event]) -> list[Moment]:
        return [moment for moment in self.moments if moment.kind in kinds]


def tell(
    moments: Sequence[Moment],
    drug: Drugs,
    trouble: Trouble | None,
    calls: Sequence[Attempt],
    *,
    lines: int = LINES,
) -> list[str]:
    """The lines that weigh most, in order; moments in order as well."""
    days: defaultdict[date, list[Moment]] = defaultdict(list)
    for moment in moments:
        days[moment.at.date()].append(moment)
    synchronized = {visit.visit_id for each in moments for visit in each.visits if visit.synchronized}
    packed = {each.visit_id for each in moments if each.kind is PackageReady}
    found = [
        line for day in days.values() for line in _of_day(Today(day, drug, trouble, synchronized, packed))
    ]
    if trouble:
        found += _answers(moments, drug, trouble, calls)
    heaviest = sorted(found, key=lambda line: (-line.weight, line.at))[:lines]
    return [f"{_time(line.at)}  {line.text}" for line in sorted(heaviest, key=lambda line: line.at)]


def _time(at: datetime) -> str:
    return f"{short_date(at.date()):9} {at:%H:%M}"


# ---- a day ------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """A phrase of a day's line."""

    at: datetime
    text: str
    weight: int


def _of_day(today: Today) -> Iterator[Line]:
    """What happened, folded into a line, if a story tells of it; the trouble of the story in lines of its own."""
    said = [phrase for teller in TELLERS for phrase in teller(today)]
    yield from (_line([phrase]) for phrase in said if phrase.weight == TROUBLE)
    if rest := [phrase for phrase in said if phrase.weight != TROUBLE]:
        yield _line(rest)


def _line(said: Sequence[Said]) -> Line:
    text = "; ".join(phrase.text for phrase in said)
    return Line(
        min(phrase.at for phrase in said), text[0].upper() + text[1:], max(phrase.weight for phrase in said)
    )


def _enrolled(today: Today) -> Iterator[Said]:
    for moment in today.of(PatientEnrolled):
        first = min(today.of(PlanComputed), key=lambda plan: plan.revision, default=None)
        plan = (
            f"; first plan: sync date {_day(first.on)}, {counted(first.number, 'short fill')}"
            if first
            else ""
        )
        yield Said(moment.at, f"enrolls{plan}", 9)
    for moment in today.of(PatientDisenrolled):
        yield Said(moment.at, "leaves the program", 9)


def _agreed(today: Today) -> Iterator[Said]:
    proposed = {plan.on for plan in today.of(PlanComputed)} if today.of(PatientEnrolled) else set()
    for moment in today.of(AlignmentAgreed):
        if moment.on not in proposed:
            yield Said(moment.at, f"agrees to {_day(moment.on)}", 5)


def _renewals(today: Today) -> Iterator[Said]:
    """On a day of a pickup nobody asks for them."""
    asked = today.of(RenewalRequested)
    answered = today.of(RenewalAnswered)
    if today.of(PackagePickedUp) and not today.of(PatientEnrolled):
        return
    number = len({rx_id for moment in asked for rx_id in moment.rx_ids})
    answers = Counter(moment.detail for moment in answered)
    told = [words.format(answers[answer]) for answer, words in _ANSWERS.items() if answers[answer]]
    if asked:
        told = [f"prescriber asked for {counted(number, 'renewal')}", *told]
    elif told:
        told = [f"of the renewals {told[0]}", *told[1:]]
    if told:
        yield Said((asked or answered)[0].at, ", ".join(told), 1)


_ANSWERS = {
    RenewalAnswer.approved: "{} approved",
    RenewalAnswer.denied: "{} denied",
    RenewalAnswer.needs_visit: "{} only after an office visit",
}


def _upset(today: Today) -> Iterator[Said]:
    """What went wrong, the trouble of this story above all."""
    began = today.trouble.began if today.trouble else None
    for moment in today.of(*_WRONG):
        if moment.kind is PatientUnreached and not moment.number:
            continue  # no attempt could be made: the patient knows of nothing
        ours = began is not None and (moment is began or moment.visit_id == began.visit_id != "")
        yield Said(moment.at, _WRONG[moment.kind](moment, today.drug), TROUBLE if ours else 4)


_WRONG: Mapping[type[Event], Callable[[Moment, Drugs], str]] = {
    FillRejected: lambda moment, drug: f"insurance rejects {_named(moment, drug)}: {rejected(moment.detail)}",
    StockShort: lambda moment, drug: f"the store is short of {_named(moment, drug)}",
    PickupMissed: lambda moment, drug: f"not picked up, {counted(moment.number, 'day')} late",
    PackageReturned: lambda moment, drug: f"return to stock, claims reversed: {_named(moment, drug)}",
    PatientUnreached: lambda moment, drug: "not reached in time about a pickup",
    PickupDeclined: lambda moment, drug: f"declines the visit on {_day(moment.on)}",
    ContactOptedOut: lambda moment, drug: "opts out of automated calls and texts",
    PlanBlocked: lambda moment, drug: "no plan can be made now",
    RescheduleRequested: lambda moment, drug: f"asks for {_day(moment.on)} instead",
    QuestionRaised: lambda moment, drug: "has a question for the pharmacist",
    ChangeReported: lambda moment, drug: _reported(moment, drug),
}


def _reported(moment: Moment, drug: Drugs) -> str:
    name = _named(moment, drug)
    if moment.detail == ReportedChange.stopped:
        return f"says on the call: stopped taking {name}"
    if moment.detail == ReportedChange.on_hand:
        return f"says on the call: {counted(moment.number, 'day')} of {name} left"
    return f"says on the call: a different dose of {name}"


def _confirmed(today: Today) -> Iterator[Said]:
    """What is picked up on the same day needs no word, nor what came to nothing, as no renewal came."""
    told = set(today.packed) - {moment.visit_id for moment in today.of(PackagePickedUp)}
    confirmed = [moment for moment in today.of(PickupConfirmed) if moment.visit_id in told]
    visits = [
        f"{_day(moment.on)} ({counted(len(moment.rx_ids), 'fill')}"
        f"{f', {moment.number} if approved in time' if moment.number else ''})"
        for moment in confirmed
    ]
    if visits:
        ours = today.trouble is not None and today.trouble.began.visit_id in {
            each.visit_id for each in confirmed
        }
        yield Said(confirmed[0].at, f"confirms {' and '.join(visits)}", 8 if ours else 3)


def _picked_up(today: Today) -> Iterator[Said]:
    pickups = today.of(PackagePickedUp)
    if not pickups:
        return
    settled = today.trouble.settled if today.trouble else None
    synchronized = any(moment.visit_id in today.synchronized for moment in pickups)
    yield Said(pickups[0].at, f"picks up {_taken(pickups, today)}", SETTLED if settled in pickups else 6)
    if talks := [moment.detail for moment in today.of(ConsultationHeld)]:
        yield Said(pickups[0].at, "counseled" if Consultation.held in talks else "counseling declined", 0)
    if synchronized and (plans := today.of(PlanComputed)):
        yield Said(pickups[0].at, f"next sync date {_day(plans[-1].on)}", 0)


def _taken(pickups: Sequence[Moment], today: Today) -> str:
    """With names where the trouble is about them."""
    rx_ids = [rx_id for moment in pickups for rx_id in moment.rx_ids]
    fills = counted(len(rx_ids), "fill")
    if today.trouble is None or today.trouble.settled not in pickups:
        return fills
    names = _listed(today.trouble.drugs)
    if today.trouble.kind is Kind.stopped:
        return f"{fills}, no {names}"
    return names if len(rx_ids) == len(today.trouble.drugs) else f"{fills}, {names} among them"


TELLERS: Sequence[Callable[[Today], Iterator[Said]]] = (
    _enrolled,
    _upset,
    _agreed,
    _confirmed,
    _renewals,
    _picked_up,
)
"""What a day is told by, in this order."""


# ---- what was done about a trouble ------------------------------------------------------------------------------


def _answers(
    moments: Sequence[Moment], drug: Drugs, trouble: Trouble, calls: Sequence[Attempt]
) -> Iterator[Line]:
    """Plans and calls that follow from it."""
    plans = [each for each in moments if each.kind is PlanComputed and each.at >= trouble.began.at]
    aside = next(
        ((plan, why) for plan in plans for rx_id, why in plan.set_aside if drug.get(rx_id) in trouble.drugs),
        None,
    )
    if aside:
        plan, why = aside
        yield Line(plan.at, f"→ plans without {_listed(trouble.drugs)}: {_ASIDE[why]}", ANSWER)
    if trouble.kind is Kind.rejected:
        yield from _rest_of(trouble, moments)
    for call in calls:
        if call.visit_id == trouble.began.visit_id:
            how = _REACHES.get(call.channel, "contacts")
            yield Line(call.at, f"→ {how} the patient about it: {call.outcome.replace('_', ' ')}", ANSWER)
    yield from _planned_anew(trouble, plans, drug)


_REACHES = {"phone": "calls", "text": "texts", "letter": "writes to"}

_ASIDE = {
    "on_hold": "on hold until pharmacist and prescriber decide",
    "payer_refused": "set aside until the reject is settled or it is tried again",
}


def _rest_of(trouble: Trouble, moments: Sequence[Moment]) -> Iterator[Line]:
    """The other fills of a visit of which one was rejected."""
    for moment in moments:
        others = [rx_id for rx_id in moment.rx_ids if rx_id not in trouble.began.rx_ids]
        if moment.kind is PackageReady and moment.visit_id == trouble.began.visit_id and others:
            yield Line(moment.at, f"→ packs the rest: {counted(len(others), 'fill')} ready", ANSWER)
            return


def _planned_anew(trouble: Trouble, plans: Sequence[Moment], drug: Drugs) -> Iterator[Line]:
    """Each other day that plans give to what is left open, up to the pickup by which it was settled."""
    settled = trouble.settled
    if settled is None or settled.visit_id == trouble.began.visit_id or trouble.kind is Kind.stopped:
        return
    newest = {plan.at: plan for plan in plans if plan.at < settled.at}  # of one instant the last one stands
    told = trouble.began.on
    for plan in newest.values():
        days = [visit.on for visit in plan.visits if trouble.drugs <= {drug.get(rx) for rx in visit.rx_ids}]
        if days and days[0] not in (told, trouble.began.at.date()):
            told = days[0]
            keeps = "" if told == plan.on else f"; sync date {_day(plan.on)}"
            yield Line(plan.at, f"→ plans {_listed(trouble.drugs)} for {_day(told)}{keeps}", ANSWER)


# ---- words ------------------------------------------------------------------------------------------------------


def _day(on: date | None) -> str:
    return short_date(on) if on else "no day"


def _named(moment: Moment, drug: Drugs) -> str:
    return _listed({drug[rx_id] for rx_id in moment.rx_ids if rx_id in drug})


def _listed(names: Collection[str]) -> str:
    """
    >>> _listed({"losartan", "niacin", "atenolol"})
    'atenolol, losartan, and niacin'
    """
    if len(names) > NAMED or not names:
        return counted(len(names), "drug")
    *first, last = sorted(names)
    return f"{', '.join(first)}{',' if len(first) > 1 else ''}{' and ' if first else ''}{last}"
