"""What the pages show: each page is one value, read at one instant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.console.domain.ahead import Renewal, Step, steps_ahead
from services.console.domain.brief import Brief, brief_of, chosen_in, drug_names
from services.console.domain.lines import Fold, Line, fold
from services.console.domain.month import Cell, weeks_of
from services.console.domain.story import Chain, chains_of
from services.console.domain.supply import Picture, is_replaced, picture_of
from services.console.domain.today import SOON, Part, Row, arrange
from services.console.domain.visits import CALLED_BEFORE, Standing, Visit, standing
from services.console.domain.zones import in_zone
from services.console.names import Revealed, details_of
from services.console.store import actions, reads
from services.console.store.reads import Filter
from shared.access import Stores
from shared.database import Db
from shared.events.enrollment import Profile
from shared.events.planner import DrugDecision, PlanBlocked, PlanComputed
from shared.messaging import Work, tables
from shared.messaging import patient as patient_key
from shared.problems import NotFound

STORES_A_PAGE = 25
PATIENTS_A_PAGE = 50
ROWS_A_LIST = 25
"""Of each of a day's lists; the rest is counted, and a page further."""

ROWS_OF_ONE_LIST = 100

LINES_A_PAGE = 200
LINES_AT_A_GLANCE = 40
EVENTS_OF_A_PATIENT = 1000
ACTIONS_SHOWN = 30


# ---- stores ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoresPage:
    """Stores, each with its local day and that day in figures, and the newest lines of the stream."""

    rows: list[tuple[reads.Store, date, reads.DayCounts]]
    more: str | None  # the store after which the next page begins
    folds: list[Fold]
    zones: dict[str, str]
    live: str


async def stores_page(
    db: Db, now: datetime, stores: Collection[str] | None, search: str, after: str
) -> StoresPage:
    """The stores whose id or name holds the text, in order of their ids: of these, or of all."""
    await reads.at_one_instant(db)
    found = await reads.stores_page(db, stores=stores, search=search, after=after, limit=STORES_A_PAGE + 1)
    days = {each.store_id: _today(now, each.time_zone) for each in found}
    counts = await reads.day_counts(db, days)
    generation, newest = await reads.place(db)
    lines = await reads.lines_before(
        db, Filter(stores=None if stores is None else frozenset(stores)), newest + 1, LINES_AT_A_GLANCE
    )
    return StoresPage(
        rows=[(each, days[each.store_id], counts[each.store_id]) for each in found[:STORES_A_PAGE]],
        more=found[STORES_A_PAGE - 1].store_id if len(found) > STORES_A_PAGE else None,
        folds=fold(lines),
        zones=await zones_of(db, lines),
        live=f"{generation}.{newest}",
    )


@dataclass(frozen=True, slots=True)
class StoreDay:
    """A store's day: who is expected, ready, missing and why, who did not come, the calls, what is needed on hand."""

    store: reads.Store
    zone: str
    today: date  # at the store
    on: date  # the day shown
    totals: dict[Part, int]
    picked_up: int
    rows: dict[Part, list[Row]]
    proposals: list[reads.PatientRow]
    calls: dict[str, int]
    demand: list[reads.Demand]
    more_drugs: int
    only: Part | None
    number: int
    pages: int
    before: date
    after: date
    live: str | None


async def store_day(
    db: Db, now: datetime, store_id: str, on: date | None, only: Part | None, number: int
) -> StoreDay:
    """The beginning of each of a day's lists, or one of them by pages.

    Raises:
        NotFound: no event has named the store yet.
    """
    limit = ROWS_OF_ONE_LIST if only else ROWS_A_LIST
    skip = (number - 1) * limit if only else 0
    parts = (only,) if only else tuple(Part)
    await reads.at_one_instant(db)
    store = await reads.store_of(db, store_id)
    if store is None:
        raise NotFound("unknown_store", "no event has named this store yet")
    today = _today(now, store.time_zone)
    shown = on or today
    groups = await reads.groups_around(
        db, store_id, shown, soon=SOON, later=CALLED_BEFORE, first=skip + limit
    )
    day = arrange(groups, shown)
    ids = {each: day.ids(each, limit, skip) for each in parts}
    visits = await reads.visits_named(db, {visit_id for some in ids.values() for visit_id in some})
    to_agree, proposals = await reads.to_agree(db, store_id, limit, skip)
    demand = [] if only else await reads.demand_of_day(db, store_id, shown)
    generation, newest = await reads.place(db)
    totals = {each: day.count(each) for each in Part} | {Part.to_agree: to_agree}
    return StoreDay(
        store=store,
        zone=store.time_zone,
        today=today,
        on=shown,
        totals=totals,
        picked_up=day.picked_up,
        rows={each: [Row(visits[visit_id], shown) for visit_id in some] for each, some in ids.items()},
        proposals=proposals if Part.to_agree in parts else [],
        calls=await reads.calls_of_day(db, store_id, *_bounds(shown, store.time_zone)),
        demand=demand[:ROWS_A_LIST],
        more_drugs=len(demand[ROWS_A_LIST:]),
        only=only,
        number=number,
        pages=-(-totals[only] // limit) if only else 1,
        before=shown - timedelta(days=1),
        after=shown + timedelta(days=1),
        live=f"{generation}.{newest}" if shown == today else None,
    )


# ---- the stream -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A page of the stream, newest first, and where it goes on."""

    which: Filter
    folds: list[Fold]
    zones: dict[str, str]
    live: str | None
    older: int | None  # the number before which the next page begins


async def stream_page(db: Db, which: Filter, before: int | None) -> StreamPage:
    """The newest lines, or those before a number; of a patient's id its beginning is enough.

    Bursts are folded, except where numbers were asked for.
    """
    await reads.at_one_instant(db)
    if which.patient:
        which = replace(which, patient=await reads.whole_id(db, which.patient, which.stores))
    generation, newest = await reads.place(db)
    lines = await reads.lines_before(db, which, newest + 1 if before is None else before, LINES_A_PAGE)
    whole = which.first is not None
    return StreamPage(
        which=which,
        folds=[Fold((line,)) for line in lines] if whole else fold(lines),
        zones=await zones_of(db, lines),
        live=None if before is not None or whole else f"{generation}.{newest}",
        older=lines[-1].number if len(lines) == LINES_A_PAGE else None,
    )


async def zones_of(db: Db, lines: Iterable[Line]) -> dict[str, str]:
    """The time zone of each line's store."""
    return await reads.zones(db, {line.store_id for line in lines if line.store_id})


# ---- patients -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PatientsPage:
    """Patients by their pseudonyms."""

    rows: list[reads.PatientRow]
    more: str | None  # the patient after whom the next page begins


async def patients_page(db: Db, *, stores: Stores, status: str, prefix: str, after: str) -> PatientsPage:
    """Patients of some stores, in a status, whose pseudonym begins with some characters; empty: all."""
    found = await reads.patients_page(
        db,
        stores=stores,
        status=status or None,
        prefix=prefix,
        after=after,
        limit=PATIENTS_A_PAGE + 1,
    )
    more = found[PATIENTS_A_PAGE - 1].patient_id if len(found) > PATIENTS_A_PAGE else None
    return PatientsPage(found[:PATIENTS_A_PAGE], more)


@dataclass(frozen=True, slots=True)
class PatientPage:
    """One patient: the plan drawn and in words, what happens next, and the story of cause and effect."""

    patient: reads.Patient
    store: reads.Store | None
    zone: str
    today: date  # at the store
    details: Revealed | None  # the name, where this viewer has revealed it
    reveals: list[actions.Action]
    parked: bool
    plan: reads.Plan | None  # the one shown
    plan_is_current: bool
    plans: dict[UUID, reads.Plan]
    chose: reads.Plan | None  # the plan that chose the day of the one shown
    said: PlanComputed | PlanBlocked | None
    computed: PlanComputed | None
    profile: Profile | None
    picture: Picture | None
    brief: Brief
    drug_names: dict[str, str]
    replaced: list[DrugDecision]
    visits: list[Row]
    weeks: list[list[Cell]]
    steps: list[Step]
    renewals: list[Renewal]
    chains: list[Chain]  # oldest first
    cut: bool  # there are more events than were read
    live: str


@dataclass(frozen=True, slots=True)
class _Held:
    """What is held about a patient, as it was read."""

    patient: reads.Patient
    store: reads.Store | None
    plans: dict[UUID, reads.Plan]
    visits: list[Visit]
    renewals: list[Renewal]
    lines: list[Line]

    def plan(self, revision: int) -> reads.Plan | None:
        return next((each for each in self.plans.values() if each.revision == revision), None)


async def patient_page(
    db: Db, work: Work, patient_id: str, viewer: str, revision: int | None, *, reasons: bool
) -> PatientPage:
    """The page of a patient with the plan that stands, or an earlier revision of it; `viewer` is who looks, with
    `reasons` also at why names were revealed.

    Raises:
        NotFound: no event has named the patient, or there is no plan of that revision.
    """
    await reads.at_one_instant(db)
    patient = await reads.patient_of(db, patient_id)
    if patient is None:
        raise NotFound("unknown_patient", "no event has named this patient yet")
    shown = revision or patient.plan_revision
    generation, newest = await reads.place(db)
    held = _Held(
        patient,
        await reads.store_of(db, patient.store_id) if patient.store_id else None,
        await reads.plans_of(db, patient_id, {shown, patient.plan_revision}),
        await reads.visits_of(db, patient_id),
        await reads.renewals_of(db, patient_id),
        await reads.lines_before(db, Filter(patient=patient_id), newest + 1, EVENTS_OF_A_PATIENT),
    )
    if revision and held.plan(revision) is None:
        raise NotFound("unknown_plan", "this patient has no plan of that revision")
    zone = held.store.time_zone if held.store else "UTC"
    today = _today(work.now(), zone)
    plan = held.plan(shown)
    said = _said(plan.content) if plan else None
    computed = said if isinstance(said, PlanComputed) else None
    standings = {visit.visit_id: standing(visit.facts, today) for visit in held.visits}
    profile = Profile.model_validate(patient.profile) if patient.profile else None
    picture = picture_of(profile, computed, standings, today) if profile else None
    steps = _steps_ahead(held, today)
    return PatientPage(
        patient=patient,
        store=held.store,
        zone=zone,
        today=today,
        details=await details_of(db, work, patient_id, viewer),
        reveals=await actions.reveals_of(db, patient_id, reasons=reasons),
        parked=bool(await tables.parked_among(db, [patient_key(patient_id)])),
        plan=plan,
        plan_is_current=shown == patient.plan_revision,
        plans=held.plans,
        chose=_chose(held, shown) if plan else None,
        said=said,
        computed=computed,
        profile=profile,
        picture=picture,
        brief=_brief(held, zone, standings, picture, steps, computed, shown),
        drug_names=drug_names(computed, _names(profile)),
        replaced=[drug for drug in said.drugs if is_replaced(drug)] if said else [],
        visits=[Row(visit, today) for visit in held.visits if visit.on],
        weeks=_weeks(held, steps, today, picture),
        steps=steps,
        renewals=held.renewals,
        chains=chains_of(held.lines),
        cut=len(held.lines) == EVENTS_OF_A_PATIENT,
        live=f"{generation}.{newest}",
    )


def _steps_ahead(held: _Held, today: date) -> list[Step]:
    """What happens next; nothing for those who left."""
    if held.patient.status not in ("enrolled", "candidate"):
        return []
    current = held.plan(held.patient.plan_revision)
    content: Mapping[str, Any] = current.content if current else {}
    return steps_ahead(
        [visit for visit in held.visits if visit.in_plan or visit.package in ("ready", "to_verify")],
        held.renewals,
        current.status if current else None,
        today,
        date.fromisoformat(content["next_anchor_on"]) if "visits" in content else None,
        _planned_steps(content),
    )


def _planned_steps(content: Mapping[str, Any]) -> dict[tuple[str, str], date]:
    """The days that a plan gives, by visit and step; of several days of one step the first."""
    return {
        (visit["visit_id"], step["code"]): date.fromisoformat(step["on"])
        for visit in content.get("visits", ())
        for step in reversed(visit.get("steps", ()))
    }


def _said(content: Mapping[str, Any]) -> PlanComputed | PlanBlocked | None:
    """A plan as it was published; none for a withdrawal."""
    if "visits" in content:
        return PlanComputed.model_validate(content)
    return PlanBlocked.model_validate(content) if "reasons" in content else None


def _chose(held: _Held, shown: int) -> reads.Plan | None:
    chosen = chosen_in({each.revision: each.content for each in held.plans.values()}, shown)
    return held.plan(chosen) if chosen else None


def _brief(
    held: _Held,
    zone: str,
    standings: Mapping[str, Standing],
    picture: Picture | None,
    steps: Sequence[Step],
    computed: PlanComputed | None,
    shown: int,
) -> Brief:
    since = held.patient.since
    return brief_of(
        held.patient.status,
        in_zone(since, zone).date() if since else None,
        [(visit, standings[visit.visit_id]) for visit in held.visits],
        picture,
        held.lines,
        steps,
        computed if shown == held.patient.plan_revision else None,
    )


def _names(profile: Profile | None) -> dict[str, str]:
    return {each.rx_id: each.drug.name for each in profile.prescriptions} if profile else {}


def _weeks(held: _Held, steps: Sequence[Step], today: date, picture: Picture | None) -> list[list[Cell]]:
    open_weekdays: Collection[int] = held.store.open_weekdays if held.store else range(7)
    return weeks_of(
        held.visits,
        steps,
        today,
        picture.running_out() if picture else {},
        open_weekdays=open_weekdays,
        closed_on=held.store.closed_on if held.store else (),
    )


# ---- health ---------------------------------------------------------------------------------------------------


async def latest_actions(db: Db, stores: Collection[str] | None, *, reasons: bool) -> list[actions.Action]:
    """What people did here last, with patients of these stores or of all; why a name was revealed with `reasons`."""
    return await actions.latest_actions(db, ACTIONS_SHOWN, stores, reasons=reasons)


# ---- days -----------------------------------------------------------------------------------------------------


def _today(now: datetime, zone: str) -> date:
    return in_zone(now, zone).date()


def _bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """The instants at which a local day begins and ends."""
    start = datetime.combine(day, time(), ZoneInfo(zone))
    return start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC)
