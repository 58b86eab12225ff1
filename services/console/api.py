"""The pages: a chain's stores, a store's day, patients, one patient, the stream, health."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from services.console.domain.ahead import is_soon, steps_ahead
from services.console.domain.brief import brief_of, chosen_in, drug_names
from services.console.domain.lines import Fold, Line, fold
from services.console.domain.month import weeks_of
from services.console.domain.story import chains_of
from services.console.domain.supply import What, is_replaced, picture_of
from services.console.domain.today import SOON, Part, Row, arrange
from services.console.domain.visits import CALLED_BEFORE, standing
from services.console.names import details_of
from services.console.pages import Viewing, in_zone, page
from services.console.services import look_at
from services.console.store import actions, ask
from services.console.store.ask import Filter
from shared.events import EVENTS
from shared.events.enrollment import Profile
from shared.events.planner import PlanBlocked, PlanComputed
from shared.http import Problem, Working
from shared.messaging import Work, tables
from shared.messaging import patient as patient_key
from shared.values import Day, RowNumber, Text

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

STORES_A_PAGE = 25
PATIENTS_A_PAGE = 50
ROWS_A_LIST = 25
"""Of each of a day's lists; the rest is counted, and a page further."""

ROWS_OF_ONE_LIST = 100

LINES_A_PAGE = 200
LINES_AT_A_GLANCE = 40
EVENTS_OF_A_PATIENT = 1000

KINDS = sorted(event_type.split(".")[2] for event_type in EVENTS)
SERVICES = ("enrollment", "planner", "outreach", "fulfillment")


# ---- stores ---------------------------------------------------------------------------------------------------


@router.get("/")
async def stores(request: Request, work: Working, q: Text = "", after: Text = "") -> HTMLResponse:
    """Every store with its day in figures."""
    async with work.read() as db:
        await ask.at_one_instant(db)
        found = await ask.stores_page(db, search=q.strip()[:80], after=after, limit=STORES_A_PAGE + 1)
        days = {each.store_id: _today(work, each.time_zone) for each in found}
        counts = await ask.day_counts(db, days)
        generation, newest = await ask.place(db)
        lines = await ask.lines_before(db, Filter(), newest + 1, LINES_AT_A_GLANCE)
        zones = await zones_of(db, lines)
    rows = [(each, days[each.store_id], counts[each.store_id]) for each in found[:STORES_A_PAGE]]
    more = found[STORES_A_PAGE - 1].store_id if len(found) > STORES_A_PAGE else None
    return page(
        request,
        "stores.html",
        rows=rows,
        q=q,
        more=more,
        folds=fold(lines),
        zones=zones,
        live=f"{generation}.{newest}",
    )


@router.get("/stores/{store_id}")
async def store_day(
    request: Request,
    work: Working,
    store_id: Text,
    on: Day | None = None,
    only: Annotated[Part | None, Query(alias="list")] = None,
    number: Annotated[int, Query(alias="page", ge=1, le=1000)] = 1,
) -> HTMLResponse:
    """A store's day: expected, ready, missing and why, who did not come, the calls; or one of its lists, by pages."""
    limit = ROWS_OF_ONE_LIST if only else ROWS_A_LIST
    skip = (number - 1) * limit if only else 0
    parts = (only,) if only else tuple(Part)
    async with work.read() as db:
        await ask.at_one_instant(db)
        store = await ask.store_of(db, store_id)
        if store is None:
            raise Problem(404, "No such store", "no event has named this store yet")
        today = _today(work, store.time_zone)
        shown = on or today
        groups = await ask.groups_around(
            db, store_id, shown, soon=SOON, later=CALLED_BEFORE, first=skip + limit
        )
        day = arrange(groups, shown)
        ids = {each: day.ids(each, limit, skip) for each in parts}
        visits = await ask.visits_named(db, {visit_id for some in ids.values() for visit_id in some})
        to_agree, proposals = await ask.to_agree(db, store_id, limit, skip)
        demand = [] if only else await ask.demand_of_day(db, store_id, shown)
        calls = await ask.calls_of_day(db, store_id, *_bounds(shown, store.time_zone))
        generation, newest = await ask.place(db)
    totals = {each: day.count(each) for each in Part} | {Part.to_agree: to_agree}
    return page(
        request,
        "store.html",
        store=store,
        zone=store.time_zone,
        today=today,
        on=shown,
        totals=totals,
        picked_up=day.picked_up,
        rows={each: [Row(visits[visit_id], shown) for visit_id in some] for each, some in ids.items()},
        proposals=proposals if Part.to_agree in parts else [],
        calls=calls,
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


@router.get("/stream")
async def stream(
    request: Request,
    work: Working,
    service: Text = "",
    kind: Text = "",
    store: Text = "",
    patient: Text = "",
    first: RowNumber | None = None,
    last: RowNumber | None = None,
    before: RowNumber | None = None,
) -> HTMLResponse:
    """Every event, newest first; the live part goes on from here where a script runs.

    Of a patient the first characters are enough, where they fit one alone.
    """
    async with work.read() as db:
        await ask.at_one_instant(db)
        patient = await ask.whole_id(db, patient.strip()) if patient else ""
        which = Filter(service or None, kind or None, store or None, patient or None, first, last)
        generation, newest = await ask.place(db)
        bound = before if before is not None else newest + 1
        lines = await ask.lines_before(db, which, bound, LINES_A_PAGE)
        zones = await zones_of(db, lines)
    whole = first is not None
    return page(
        request,
        "stream.html",
        folds=[Fold((line,)) for line in lines] if whole else fold(lines),
        zones=zones,
        which=asdict(which),
        kinds=KINDS,
        services=SERVICES,
        live=None if before is not None or whole else f"{generation}.{newest}",
        older=lines[-1].number if len(lines) == LINES_A_PAGE else None,
    )


async def zones_of(db: Any, lines: Iterable[Line]) -> dict[str, str]:
    """The time zone of each line's store."""
    return await ask.zones(db, {line.store_id for line in lines if line.store_id})


# ---- patients -------------------------------------------------------------------------------------------------


@router.get("/patients")
async def patients(
    request: Request, work: Working, store: Text = "", status: Text = "", q: Text = "", after: Text = ""
) -> HTMLResponse:
    """Patients by their pseudonyms."""
    async with work.read() as db:
        found = await ask.patients_page(
            db,
            store=store or None,
            status=status or None,
            prefix=q.strip()[:64],
            after=after,
            limit=PATIENTS_A_PAGE + 1,
        )
    more = found[PATIENTS_A_PAGE - 1].patient_id if len(found) > PATIENTS_A_PAGE else None
    rows = found[:PATIENTS_A_PAGE]
    return page(request, "patients.html", rows=rows, store=store, status=status, q=q, more=more)


@router.get("/patients/{patient_id}")
async def patient(
    request: Request,
    work: Working,
    viewer: Viewing,
    patient_id: Text,
    revision: RowNumber | None = None,
    order: Annotated[str, Query(pattern="^(newest|oldest)$")] = "newest",
) -> HTMLResponse:
    """One patient: the plan drawn and in words, what happens next, and the story of cause and effect."""
    async with work.read() as db:
        await ask.at_one_instant(db)
        found = await ask.patient_of(db, patient_id)
        if found is None:
            raise Problem(404, "No such patient", "no event has named this patient yet")
        store = await ask.store_of(db, found.store_id) if found.store_id else None
        shown = revision or found.plan_revision
        plans = await ask.plans_of(db, patient_id, {shown, found.plan_revision})
        visits = await ask.visits_of(db, patient_id)
        renewals = await ask.renewals_of(db, patient_id)
        generation, newest = await ask.place(db)
        lines = await ask.lines_before(db, Filter(patient=patient_id), newest + 1, EVENTS_OF_A_PATIENT)
        reveals = await actions.reveals_of(db, patient_id)
        details = await details_of(db, work, patient_id, viewer)
        parked = await tables.parked_among(db, [patient_key(patient_id)])
    zone = store.time_zone if store else "UTC"
    today = _today(work, zone)
    by_revision = {each.revision: each for each in plans.values()}
    plan = by_revision.get(shown)
    if revision and plan is None:
        raise Problem(404, "No such plan", "this patient has no plan of that revision")
    said = _said(plan.content) if plan else None
    computed = said if isinstance(said, PlanComputed) else None
    standings = {visit.visit_id: standing(visit.facts, today) for visit in visits}
    open_visits = [visit for visit in visits if visit.in_plan or visit.package == "ready"]
    current = by_revision.get(found.plan_revision)
    steps = (
        steps_ahead(
            open_visits,
            renewals,
            current.status if current else None,
            today,
            date.fromisoformat(current.content["next_anchor_on"])
            if current and "visits" in current.content
            else None,
            _planned_steps(current.content) if current else {},
        )
        if found.status in ("enrolled", "candidate")
        else []
    )
    profile = Profile.model_validate(found.profile) if found.profile else None
    picture = picture_of(profile, computed, standings, today) if profile else None
    chains = chains_of(lines)
    return page(
        request,
        "patient.html",
        zone=zone,
        patient=found,
        store=store,
        today=today,
        details=details,
        parked=bool(parked),
        reveals=reveals,
        plan=plan,
        plans=plans,
        plan_is_current=shown == found.plan_revision,
        said=said,
        chose=by_revision.get(
            chosen_in({number: each.content for number, each in by_revision.items()}, shown) or 0
        )
        if plan
        else None,
        computed=computed,
        profile=profile,
        picture=picture,
        brief=brief_of(
            found.status,
            in_zone(found.since, zone).date() if found.since else None,
            [(visit, standings[visit.visit_id]) for visit in visits],
            picture,
            lines,
            steps,
            computed if shown == found.plan_revision else None,
        ),
        drug_names=drug_names(
            computed, {each.rx_id: each.drug.name for each in profile.prescriptions} if profile else {}
        ),
        What=What,
        replaced=[drug for drug in said.drugs if is_replaced(drug)] if said else [],
        visits=[Row(visit, today) for visit in visits if visit.on],
        weeks=weeks_of(
            visits,
            steps,
            today,
            picture.running_out() if picture else {},
            open_weekdays=store.open_weekdays if store else range(7),
            closed_on=store.closed_on if store else (),
        ),
        steps=steps,
        is_soon=is_soon,
        renewals=renewals,
        chains=chains if order == "oldest" else chains[::-1],
        order=order,
        cut=len(lines) == EVENTS_OF_A_PATIENT,
        live=f"{generation}.{newest}",
    )


# ---- health ---------------------------------------------------------------------------------------------------


@router.get("/health")
async def health(request: Request, work: Working) -> HTMLResponse:
    """How far each service is, what waits for a person, and the ways out."""
    states, done = await asyncio.gather(look_at(request.app), _latest_actions(work))
    waiting = any(state.letters or state.held for state in states)
    return page(request, "health.html", states=states, actions=done, waiting=waiting)


async def _latest_actions(work: Work) -> list[actions.Action]:
    async with work.read() as db:
        return await actions.latest_actions(db, 30)


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


# ---- days -----------------------------------------------------------------------------------------------------


def _today(work: Work, zone: str) -> date:
    return in_zone(work.now(), zone).date()


def _bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """The instants at which a local day begins and ends."""
    start = datetime.combine(day, time(), ZoneInfo(zone))
    return start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC)
