"""Listens to the stream while the demo runs: counters for the screen, and the stories of some patients."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from cli.demo.actors import ZONE
from cli.demo.history import Supply, supplies_of
from cli.demo.moments import Moment, moment_of
from cli.demo.stores import Stores
from shared import words
from shared.events import Event
from shared.events.enrollment import PatientDisenrolled, PatientEnrolled
from shared.events.fulfillment import Consultation, ConsultationHeld, PackagePickedUp
from shared.events.planner import FillKind, PlanComputed, VisitKind
from shared.messaging.lag import Place
from shared.messaging.tail import Seen, tail

STORIES = 120
"""Patients whose events are kept, in short: enough to choose from, however many there are."""

WORTH_READING = frozenset(
    {
        "patient-enrolled",
        "patient-disenrolled",
        "alignment-agreed",
        "pickup-confirmed",
        "pickup-declined",
        "reschedule-requested",
        "contact-opted-out",
        "question-raised",
        "change-reported",
        "renewal-requested",
        "renewal-answered",
        "stock-short",
        "fill-rejected",
        "package-ready",
        "package-picked-up",
        "package-returned",
        "pickup-missed",
        "consultation-held",
    }
)
"""Kinds of events that are told as they come; plans, forecasts and what is fed are counted."""

LINES_A_DAY = 3


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """Something worth reading: when it happened, the how-manieth record told of it, of what kind it is, and of whom."""

    at: datetime
    number: int
    kind: str
    patient: str  # shortened
    sentence: str


@dataclass
class Day:
    """How many events of each kind a day brought, and the last line of each kind that is worth reading."""

    counts: Counter[str] = field(default_factory=Counter)
    latest: dict[str, Line] = field(default_factory=dict)


@dataclass
class Recorder:
    """What the stream told."""

    bootstrap: str
    records: int = 0
    positions: dict[Place, int] = field(default_factory=dict)  # how far each partition was seen
    # ids of events: after a kill a topic holds some of them twice
    known: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    days: defaultdict[date, Day] = field(default_factory=lambda: defaultdict(Day))  # not told yet
    fresh: dict[str, Line] = field(default_factory=dict)  # the last line of each kind since the board asked
    told: Counter[str] = field(default_factory=Counter)  # lines of each kind on the screen
    stores: Stores = field(default_factory=Stores)
    stories: dict[str, list[Moment]] = field(default_factory=dict)
    visit_kinds: dict[str, VisitKind] = field(default_factory=dict)  # of every planned visit
    short_fills: dict[str, frozenset[str]] = field(default_factory=dict)  # visit → rx ids filled short
    picked_up: list[tuple[str, str, date, frozenset[str]]] = field(default_factory=list)
    plans: dict[str, PlanComputed] = field(default_factory=dict)  # the latest of each patient
    first_plans: dict[str, PlanComputed] = field(default_factory=dict)
    enrolled_on: dict[str, date] = field(default_factory=dict)
    left_on: dict[str, date] = field(default_factory=dict)
    on_file: dict[str, tuple[Supply, ...]] = field(default_factory=dict)  # fills at enrollment
    talks: int = 0  # with the pharmacist, held

    async def listen(self) -> None:
        """Follow the stream until cancelled."""
        async for seen in tail(self.bootstrap, from_beginning=True, positions=self.positions):
            self.note(seen)

    async def caught_up(self, published: int) -> None:
        """Wait until the topics were seen up to the sum of their ends."""
        while sum(self.positions.values()) < published:  # noqa: ASYNC110 (the stream has no event to wait for)
            await asyncio.sleep(0.01)

    def note(self, seen: Seen) -> None:
        """Each event once, however often it stands on its topic."""
        self.records += 1
        if seen.event_id in self.known:
            return
        self.known.add(seen.event_id)
        kind = seen.event_type.removeprefix("medsync.").partition(".")[2].removesuffix(".v1")
        self.counts[kind] += 1
        if seen.at is None:
            return
        day = self.days[seen.at.astimezone(ZONE).date()]
        day.counts[kind] += 1
        event = seen.event
        if event is None:
            return
        self.stores.note(event)
        sentence = words.tell(event)
        if kind in WORTH_READING:
            line = Line(seen.at, self.records, kind, event.key[:8], sentence)
            day.latest[kind] = self.fresh[kind] = line
        if event.KEYED_BY != "patient":
            return
        self._note_moment(event, seen.at)
        match event:
            case PatientEnrolled():
                self.enrolled_on.setdefault(event.patient_id, seen.at.astimezone(ZONE).date())
                self.on_file.setdefault(event.patient_id, supplies_of(event.profile))
            case PatientDisenrolled():
                self.left_on[event.patient_id] = seen.at.astimezone(ZONE).date()
            case ConsultationHeld():
                self.talks += event.outcome == Consultation.held
            case PlanComputed():
                self._note_plan(event)
            case PackagePickedUp():
                taken = frozenset(item.rx_id for item in event.taken)
                self.picked_up.append((event.patient_id, event.visit_id, event.handed_over_on, taken))

    def before(self, day: date) -> tuple[Counter[str], list[Line]]:
        """What the days before this one leave to be told: the counts, and the lines worth reading."""
        counts: Counter[str] = Counter()
        latest: dict[str, Line] = {}
        for past in sorted(on for on in self.days if on < day):
            over = self.days.pop(past)
            counts += over.counts
            latest |= over.latest
        return counts, self._told_least(latest, LINES_A_DAY)

    def newest(self, limit: int) -> list[Line]:
        """So many of the lines worth reading since this was asked before."""
        lines = self._told_least(self.fresh, limit)
        self.fresh.clear()
        return lines

    def _note_moment(self, event: Event, at: datetime) -> None:
        """Of the patients with the smallest ids, which chance dealt out: the same ones whatever is heard first."""
        full = len(self.stories) >= STORIES
        if full and event.key not in self.stories and event.key > max(self.stories):
            return
        if moment := moment_of(event, at.astimezone(ZONE)):
            self.stories.setdefault(event.key, []).append(moment)
        if len(self.stories) > STORIES:
            del self.stories[max(self.stories)]

    def _told_least(self, latest: Mapping[str, Line], limit: int) -> list[Line]:
        """The lines of the kinds told least so far, in order."""
        kinds = sorted(latest, key=lambda kind: (self.told[kind], kind))[:limit]
        self.told.update(kinds)
        return sorted(latest[kind] for kind in kinds)

    def _note_plan(self, plan: PlanComputed) -> None:
        self.plans[plan.patient_id] = plan
        self.first_plans.setdefault(plan.patient_id, plan)
        for visit in plan.visits:
            self.visit_kinds[visit.visit_id] = visit.kind
            self.short_fills[visit.visit_id] = frozenset(
                item.rx_id for item in visit.items if item.kind == FillKind.bridge
            )
