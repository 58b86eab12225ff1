"""A patient's supply of each drug against the pickups: what the picture of a plan draws.

Stock runs from the hand-over: it rolls forward a day at a time, and what the patient reports replaces the estimate
(R3.1, R3.3). Prescriptions of one ingredient and strength are one drug: a renewal goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.console.domain.visits import Standing
from shared.events.enrollment import Prescription, PrescriptionStatus, Profile
from shared.events.planner import DrugDecision, Participation, PlanComputed, VisitKind

BACK = timedelta(days=28)
"""How far back the picture begins."""

AT_LEAST = timedelta(days=7)
LONGEST = timedelta(days=120)
"""How far ahead it goes: to the pickup after the next, for what comes then is not planned yet."""

COMES_TO_NOTHING = frozenset(
    {Standing.declined, Standing.unreached, Standing.withdrawn, Standing.returned, Standing.picked_up}
)
"""Visits that will bring no more: what was picked up is in the history already."""

Drug = tuple[str, str]
"""Ingredient and strength."""


class What(StrEnum):
    """Where a stretch of days has its supply from."""

    had = "picked up"
    reported = "reported by the patient"
    full = "planned: usual fill"
    bridge = "planned: short fill"
    long = "planned: long fill"
    gap = "none on hand"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days from `start` up to but not including `end`."""

    start: date
    end: date
    what: What

    @property
    def days(self) -> int:
        return (self.end - self.start).days


@dataclass(frozen=True, slots=True)
class Pickup:
    """A day on which something is to be picked up."""

    on: date
    kind: VisitKind
    standing: Standing


@dataclass(frozen=True, slots=True)
class Row:
    """One drug: its stretches within the picture, and its stock at the start of each of the picture's days of note."""

    name: str
    rx_ids: tuple[str, ...]
    participation: Participation | None
    stretches: tuple[Stretch, ...]
    stock: tuple[tuple[int, int], ...]  # at the start of each noted day, and after its pickup
    run_out_on: date | None  # as stock stands now, nothing more being picked up


@dataclass(frozen=True, slots=True)
class Picture:
    """Every drug that takes part or is refused, over the same days."""

    start: date
    end: date
    today: date
    pickups: tuple[Pickup, ...]
    noted: tuple[date, ...]  # today, the Mondays and the pickups to come
    rows: tuple[Row, ...]

    def day(self, day: date) -> int:
        """Days from the left edge."""
        return (day - self.start).days

    def pickups_on(self, day: date) -> list[Pickup]:
        return [each for each in self.pickups if each.on == day]

    def running_out(self) -> dict[date, list[str]]:
        """The drugs of which nothing is on hand from a day on, what is planned being picked up."""
        days: dict[date, list[str]] = {}
        for row in self.rows:
            for stretch in row.stretches:
                if stretch.what is What.gap and self.start < stretch.start:
                    days.setdefault(stretch.start, []).append(row.name)
        return days


@dataclass(frozen=True, slots=True)
class _Supply:
    """Something that changes the stock of a drug."""

    on: date
    days: int
    what: What


def picture_of(
    profile: Profile, plan: PlanComputed | None, standings: Mapping[str, Standing], today: date
) -> Picture:
    """Draw the profile's history and the plan's visits. `standings` says how each of the plan's visits stands."""
    pickups = _pickups(plan, standings, today)
    last = max([each.on for each in pickups], default=today)
    last = max(last, plan.next_anchor_on if plan else today + BACK)
    start, end = today - BACK, min(max(last, today + AT_LEAST), today + LONGEST)
    noted = tuple(sorted({today, *_mondays(today, end), *(each.on for each in pickups if each.on >= today)}))
    rows = [
        _row(
            name,
            rx_ids,
            decision,
            _supplies(profile, plan, standings, rx_ids, today),
            (start, end),
            noted,
            today,
        )
        for name, rx_ids, decision in _drugs(profile, plan)
    ]
    return Picture(start, end, today, tuple(pickups), noted, tuple(rows))


def _mondays(after: date, until: date) -> Iterator[date]:
    monday = after + timedelta(days=7 - after.weekday())
    while monday < until:
        yield monday
        monday += timedelta(days=7)


def _pickups(plan: PlanComputed | None, standings: Mapping[str, Standing], today: date) -> list[Pickup]:
    found = [
        Pickup(visit.on, visit.kind, standings.get(visit.visit_id, Standing.proposed))
        for visit in (plan.visits if plan else ())
    ]
    return [each for each in found if each.on >= today - BACK]


def _drugs(
    profile: Profile, plan: PlanComputed | None
) -> list[tuple[str, tuple[str, ...], DrugDecision | None]]:
    """Name, prescriptions and decision of each drug to draw: what the plan lets take part, or what is active.

    A drug that the payer refuses takes part in no plan, and is drawn: the patient runs out of it.
    """
    by_rx = {each.rx_id: each for each in profile.prescriptions}
    family: dict[Drug, list[str]] = {}
    for each in profile.prescriptions:
        family.setdefault(_drug(each), []).append(each.rx_id)
    if plan is None:
        active = [each for each in profile.prescriptions if each.status is PrescriptionStatus.active]
        return [
            (name, tuple(family[drug]), None)
            for drug, name in {_drug(each): each.drug.name for each in active}.items()
        ]
    drawn: dict[tuple[str, ...], tuple[str, DrugDecision]] = {}
    for decision in plan.drugs:
        if decision.participation is not Participation.excluded or _refused(decision):
            known = by_rx.get(decision.rx_id)
            rx_ids = tuple(family[_drug(known)]) if known else (decision.rx_id,)
            drawn.setdefault(rx_ids, (decision.drug_name, decision))
    return [(name, rx_ids, decision) for rx_ids, (name, decision) in drawn.items()]


def is_replaced(decision: DrugDecision) -> bool:
    """Whether another prescription goes on in its place."""
    return any(reason.code == "superseded" for reason in decision.reasons)


def _refused(decision: DrugDecision) -> bool:
    return any(reason.code == "payer_refused" for reason in decision.reasons)


def _drug(prescription: Prescription) -> Drug:
    return prescription.drug.ingredient, prescription.drug.strength


def _supplies(
    profile: Profile,
    plan: PlanComputed | None,
    standings: Mapping[str, Standing],
    rx_ids: Sequence[str],
    today: date,
) -> list[_Supply]:
    """What came and what is planned, in order; on one day a report counts before a fill."""
    came = [
        _Supply(fill.handed_over_on, fill.days_supply, What.had)
        for fill in profile.fills
        if fill.rx_id in rx_ids and not fill.elsewhere  # that another pharmacy billed: unknown what is left
    ]
    said = [
        _Supply(report.reported_on, report.days_left, What.reported)
        for report in profile.stock_reports
        if report.rx_id in rx_ids
    ]
    planned = [
        _Supply(max(visit.on, today), item.days_supply, What.__members__.get(item.kind.value, What.full))
        for visit in (plan.visits if plan else ())
        if standings.get(visit.visit_id) not in COMES_TO_NOTHING
        for item in visit.items
        if item.rx_id in rx_ids
    ]
    return sorted([*said, *came, *planned], key=lambda each: each.on)


def _row(
    name: str,
    rx_ids: tuple[str, ...],
    decision: DrugDecision | None,
    supplies: Sequence[_Supply],
    window: tuple[date, date],
    noted: Sequence[date],
    today: date,
) -> Row:
    start, end = window
    stretches = _rolled(supplies)
    if stretches and stretches[-1].end < end:
        stretches.append(Stretch(stretches[-1].end, end, What.gap))
    seen = [
        Stretch(max(each.start, start), min(each.end, end), each.what)
        for each in stretches
        if each.start < end and each.end > start and each.days
    ]
    stock = tuple((_stock(supplies, day, before=True), _stock(supplies, day, before=False)) for day in noted)
    had = [each for each in supplies if each.what in (What.had, What.reported)]
    out = _covered_until(_rolled(had))
    return Row(name, rx_ids, decision.participation if decision else None, tuple(seen), stock, out)


def _rolled(supplies: Iterable[_Supply]) -> list[Stretch]:
    """Stretch after stretch, with the gaps between; a report cuts off what was estimated beyond its day."""
    stretches: list[Stretch] = []
    for supply in supplies:
        if supply.what is What.reported:
            stretches = [
                Stretch(each.start, min(each.end, supply.on), each.what)
                for each in stretches
                if each.start < supply.on
            ]
        until = _covered_until(stretches)
        if until and until < supply.on:
            stretches.append(Stretch(until, supply.on, What.gap))
        begin = max(until or supply.on, supply.on)
        stretches.append(Stretch(begin, begin + timedelta(days=supply.days), supply.what))
    return stretches


def _covered_until(stretches: Sequence[Stretch]) -> date | None:
    return stretches[-1].end if stretches else None


def _stock(supplies: Sequence[_Supply], day: date, *, before: bool) -> int:
    """Days on hand at the start of the day, or after what is picked up on it."""
    known = [each for each in supplies if each.on < day or (each.on == day and not before)]
    until = _covered_until(_rolled(known))
    return max(0, (until - day).days) if until else 0
