"""The planner against a real PostgreSQL: what is planned, published and kept, in whatever order events come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import pytest_asyncio
import uvicorn
from starlette.responses import JSONResponse
from typer.testing import CliRunner, Result

from cli.main import app as cli
from cli.plan import replan as replanning
from services.planner import commands, handlers, jobs, queries, recompute, store
from services.planner.app import create_app
from services.planner.domain.model import StaffDecisionKind
from services.planner.domain.progress import Status
from services.planner.publishing import REVISIONS
from services.planner.settings import Settings
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events import EVENTS, Event
from shared.events.enrollment import (
    Consent,
    DisenrolmentReason,
    Drug,
    Fill,
    OpenHours,
    PatientDisenrolled,
    PatientEnrolled,
    Prescription,
    Profile,
    ProfileChanged,
    StoreChanged,
)
from shared.events.fulfillment import FillRejected, FillResolved, Resolution
from shared.events.outreach import (
    AlignmentAgreed,
    ConfirmedItem,
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    RenewalAnswer,
    RenewalAnswered,
    RescheduleRequested,
)
from shared.events.planner import (
    TOPIC,
    ExclusionsChanged,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    RenewalNeeded,
    Visit,
    VisitKind,
)
from shared.messaging import Work, lives, patient, tables
from shared.messaging import store as store_key
from shared.messaging.bell import Bell
from shared.messaging.unit import Cause
from shared.problems import Invalid, NotAllowed, NotFound
from shared.sealing import Sealer
from tests.running import EVERYBODY, SEALING_KEY, until

TODAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)  # ten in the morning in New York, a Monday
E = TypeVar("E", bound=Event)


class Service:
    """The planner without its broker: handlers, jobs, HTTP, and the outbox to look into."""

    def __init__(self, work: Work, http: httpx.AsyncClient, clock: SteppedClock) -> None:
        self.work, self.http, self.clock = work, http, clock

    async def handle(self, *events: Event) -> list[Event]:
        """Take events of one type in one transaction; what was published."""
        key = store_key if events[0].KEYED_BY == "store" else patient
        async with self.work.begin([key(event.key) for event in events], cause=Cause("test", "test")) as unit:
            await handlers.on.by_type[events[0].TYPE](events, unit)
        return await self.published()

    async def on_day(self, days: int) -> list[Event]:
        """Move to noon of that day and do what falls due; what was published."""
        self.clock.set(NOW + timedelta(days=days))
        return await self.do_due()

    async def do_due(self) -> list[Event]:
        for view in jobs.due.by_view:
            async with self.work.begin((), cause=Cause("test", "test")) as unit:
                await jobs.due.by_view[view](
                    await self.work.free_owners(unit, view, 500, jobs.due.of(view)), unit
                )
            async with self.work.begin((), cause=Cause("test", "test")) as unit:
                assert await self.work.free_owners(unit, view, 500, jobs.due.of(view)) == [], (
                    "due work is done once"
                )
        return await self.published()

    async def published(self, topic: str = TOPIC) -> list[Event]:
        """What was published on a topic since the last look."""
        async with self.work.pool.acquire() as db:
            rows = await db.fetch(
                "delete from fabric.outbox where topic = $1 returning id, headers, payload", topic
            )
        return [
            EVENTS[row["headers"]["ce_type"]].model_validate_json(row["payload"])
            for row in sorted(rows, key=lambda row: row["id"])
        ]

    async def answers(self) -> list[tuple[str, bool]]:
        async with self.work.read() as db:
            rows = await db.fetch("select answer, stale from answers order by answer_id")
        return [(row["answer"].split(".")[2], row["stale"]) for row in rows]

    async def get(self, path: str, answered: int = 200, **query: Any) -> dict[str, Any]:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == answered, answer.text
        return dict(answer.json())


@pytest_asyncio.fixture
async def service(fresh_database: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Service]:
    async with unbrokered(fresh_database("planner"), tmp_path) as service:
        yield service


@asynccontextmanager
async def unbrokered(url: str, folder: Path) -> AsyncIterator[Service]:
    clock = SteppedClock(folder / "clock")
    clock.set(NOW)
    pool = await open_pool(url, size=4, name="test")
    app = create_app(Settings(database_url=url, kafka_bootstrap="unused", sealing_key=SEALING_KEY))
    work = Work(
        pool,
        service="planner",
        clock=clock,
        sealer=Sealer(SEALING_KEY, key_id="1"),
        bell=Bell(url, name="test"),
    )
    app.state.work = work
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://localhost", headers=EVERYBODY
    ) as http:
        yield Service(work, http, clock)
    await pool.close()


@pytest_asyncio.fixture
async def proposed(service: Service) -> Service:
    """One patient on two drugs, with a proposal."""
    await service.handle(store_changed())
    await service.handle(enrolled())
    return service


def in_days(days: int) -> date:
    return TODAY + timedelta(days=days)


def store_changed(revision: int = 1, **changes: Any) -> StoreChanged:
    fields = {
        "store_id": "s1",
        "revision": revision,
        "name": "Corner Pharmacy",
        "state": "NY",
        "time_zone": "America/New_York",
        "hours": tuple(OpenHours(weekday=day, opens=time(9), closes=time(18)) for day in range(7)),
    }
    return StoreChanged(**(fields | changes))


def prescription(name: str, **changes: Any) -> Prescription:
    fields = {
        "rx_id": f"rx-{name}",
        "drug": Drug(code="1", name=name, ingredient=name, strength="10 mg", form="tablet"),
        "units_per_day": Decimal(1),
        "usual_quantity": Decimal(30),
        "usual_days": 30,
        "quantity_left": Decimal(360),
        "written_on": in_days(-100),
        "expires_on": in_days(265),
        "prescriber_id": "dr-1",
    }
    return Prescription(**(fields | changes))


def fill(name: str, days: int, supply: int = 30) -> Fill:
    return Fill(
        fill_id=f"{name}{days}",
        rx_id=f"rx-{name}",
        filled_on=in_days(days),
        handed_over_on=in_days(days),
        quantity=Decimal(supply),
        days_supply=supply,
    )


def profile(*fills: Fill, **changes: Any) -> Profile:
    """a runs out in 8 days, b in 27: a short fill of a on the 7th, and both on the 27th."""
    fields = {
        "store_id": "s1",
        "prescriptions": (prescription("a"), prescription("b")),
        "fills": (fill("a", -22), fill("b", -3), *fills),
    }
    return Profile(**(fields | changes))


def enrolled(patient_id: str = "p1", revision: int = 1, **changes: Any) -> PatientEnrolled:
    return PatientEnrolled(
        patient_id=patient_id, revision=revision, consent=Consent(given_at=NOW), profile=profile(**changes)
    )


def changed(
    revision: int, *fills: Fill, changes: tuple[str, ...] = ("fed",), visit_id: str | None = None, **more: Any
) -> ProfileChanged:
    return ProfileChanged(
        patient_id="p1",
        revision=revision,
        profile=profile(*fills, **more),
        changes=changes,
        visit_id=visit_id,
    )


def agreed(plan: PlanComputed, **changes: Any) -> AlignmentAgreed:
    fields = {
        "patient_id": "p1",
        "plan_id": plan.plan_id,
        "plan_revision": plan.revision,
        "anchor_on": plan.anchor_on,
    }
    return AlignmentAgreed(**(fields | changes))


def confirmed(plan: PlanComputed, visit: Visit, *declined: str) -> PickupConfirmed:
    return PickupConfirmed(
        patient_id="p1",
        store_id="s1",
        plan_id=plan.plan_id,
        plan_revision=plan.revision,
        visit_id=visit.visit_id,
        visit_kind=visit.kind,
        on=visit.on,
        items=tuple(
            ConfirmedItem(
                rx_id=item.rx_id,
                drug_name=item.drug_name,
                quantity=item.quantity,
                days_supply=item.days_supply,
            )
            for item in visit.items
            if item.rx_id not in declined
        ),
        declined_rx_ids=declined,
    )


def only(events: Sequence[Event], kind: type[E]) -> E:
    """The one event there is, of that type."""
    assert [type(event) for event in events] == [kind]
    event = events[0]
    assert isinstance(event, kind)
    return event


def pickup(plan: PlanComputed) -> Visit:
    return next(visit for visit in plan.visits if visit.kind is VisitKind.synchronized)


async def test_the_first_plan_is_a_proposal_with_three_days(service: Service) -> None:
    await service.handle(store_changed())
    plan = only(await service.handle(enrolled()), PlanComputed)
    assert (plan.revision, plan.cycle, plan.agreed, plan.profile_revision) == (1, 1, False, 1)
    assert plan.computed_on == TODAY
    assert plan.offered[0].on == plan.anchor_on
    assert len(plan.offered) == 3
    assert [(visit.kind, [item.rx_id for item in visit.items]) for visit in plan.visits] == [
        (VisitKind.bridge, ["rx-a"]),
        (VisitKind.synchronized, ["rx-a", "rx-b"]),
    ]
    assert plan.extra_cost is None


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_whatever_comes_first_the_newest_profile_is_planned_with_the_newest_store(
    service: Service, order: tuple[int, ...]
) -> None:
    """Two revisions of a store and of a patient's profile."""
    newer = changed(2, prescriptions=(prescription("a"),))
    closed = tuple(in_days(day) for day in range(9, 15))
    events = [store_changed(), enrolled(), store_changed(2, closed_on=closed), newer]
    newest: Event | None = None
    for position in order:
        for event in [*await service.handle(events[position]), *await service.do_due()]:
            newest = event
    assert isinstance(newest, PlanComputed)
    assert newest.profile_revision == 2
    assert [drug.rx_id for drug in newest.drugs] == ["rx-a"]
    assert newest.anchor_on not in closed
    assert (await service.get("/plans/p1"))["revision"] == newest.revision


async def test_the_same_plan_is_not_published_again(proposed: Service) -> None:
    assert await proposed.handle(enrolled()) == []
    assert await proposed.handle(changed(2)) == []
    assert await proposed.handle(store_changed(2, phone="+12125550100")) == []
    assert await proposed.do_due() == []
    assert only(await proposed.handle(changed(3, fill("b", -1))), PlanComputed).revision == 2
    assert await proposed.handle(changed(2)) == [], "an older profile"


async def test_who_can_only_be_written_to_is_planned_for_days_that_the_post_can_confirm(
    proposed: Service,
) -> None:
    """And still when the profile changes meanwhile."""
    first = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    unreached = PatientUnreached(
        patient_id="p1",
        plan_id=first.plan_id,
        plan_revision=first.revision,
        visit_id=None,
        attempts=0,
        reachable_on=in_days(11),
        too_late=True,
    )
    plan = only(await proposed.handle(unreached), PlanComputed)
    assert plan.plan_id != first.plan_id
    assert min(visit.on for visit in plan.visits) == in_days(11)
    said = (await proposed.get("/plans/p1/explanation"))["sentences"]
    assert (
        "The patient can be reached only by mail: no visit before Fri Mar 13, 2026 can be confirmed." in said
    )
    again = only(await proposed.handle(changed(2, fill("b", -1))), PlanComputed)
    assert min(visit.on for visit in again.visits) == in_days(11)
    what_if = await proposed.http.post("/plans/what-if", json={"patient_id": "p1", "changes": {}})
    assert min(visit["on"] for visit in what_if.json()["plan"]["visits"]) == in_days(11).isoformat()


@pytest.mark.parametrize("changes", [("handed_over",), ("on_hand",), ("stopped",)])
async def test_who_comes_or_tells_of_a_drug_is_planned_as_one_who_needs_no_letter(
    proposed: Service, changes: tuple[str, ...]
) -> None:
    first = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    unreached = PatientUnreached(
        patient_id="p1",
        plan_id=first.plan_id,
        plan_revision=first.revision,
        visit_id=None,
        attempts=0,
        reachable_on=in_days(11),
        too_late=True,
    )
    waits = only(await proposed.handle(unreached), PlanComputed)
    assert "by_letter" in {reason.code for reason in waits.reasons}
    came = only(await proposed.handle(changed(2, changes=changes)), PlanComputed)
    assert "by_letter" not in {reason.code for reason in came.reasons}
    assert [visit.on for visit in came.visits] == [visit.on for visit in first.visits]


async def test_a_visit_planned_too_late_for_any_call_is_no_miss_of_the_patients(proposed: Service) -> None:
    plan = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(plan)), PlanComputed)
    for _ in range(3):
        late = PatientUnreached(
            patient_id="p1",
            plan_id=plan.plan_id,
            plan_revision=plan.revision,
            visit_id=pickup(plan).visit_id,
            attempts=0,
            planned_late=True,
        )
        plan = only(await proposed.handle(late), PlanComputed)


async def test_days_that_no_plan_reaches_plan_nobody_anew(proposed: Service) -> None:
    """As when a year begins, and the holidays of one more are told."""
    for revision, closed_on, planned_anew in (
        (2, in_days(-2), 0),
        (3, in_days(701), 0),
        (4, in_days(700), 1),
    ):
        await proposed.handle(store_changed(revision, closed_on=[closed_on]))
        async with proposed.work.read() as db:
            assert await db.fetchval("select count(*) from replans") == planned_anew, closed_on


@pytest.mark.parametrize("patient_first", [True, False])
async def test_who_is_planned_while_their_store_becomes_known_is_planned_by_its_days(
    service: Service, patient_first: bool
) -> None:
    """The two come from different partitions: in two transactions at once, of which neither sees the other."""
    first, second = (enrolled(), store_changed()) if patient_first else (store_changed(), enrolled())
    key = patient("p1") if patient_first else store_key("s1")
    async with service.work.begin([key], cause=Cause("test", "test")) as unit:
        await handlers.on.by_type[first.TYPE]([first], unit)
        other = asyncio.create_task(service.handle(second))
        await asyncio.wait([other], timeout=0.5)  # as far as it comes
    await other
    await service.do_due()
    assert (await service.get("/plans/p1"))["status"] == "planned"


async def test_from_the_proposal_to_the_next_cycle(proposed: Service) -> None:
    """The whole path: agreed, confirmed, handed over, planned again."""
    [offered] = (await proposed.get("/plans"))["items"]
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    assert offered["anchor_on"] == proposal.anchor_on.isoformat()

    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    assert (plan.agreed, plan.anchor_on, plan.offered) == (True, proposal.anchor_on, ())
    assert [visit.visit_id for visit in plan.visits] == [visit.visit_id for visit in proposal.visits]

    bridge, sync = plan.visits
    assert await proposed.handle(confirmed(plan, bridge)) == []
    days = (bridge.on - TODAY).days
    assert await proposed.on_day(days) == []
    taken = fill("a", days, bridge.items[0].days_supply)
    after = only(
        await proposed.handle(changed(2, taken, changes=("handed_over",), visit_id=bridge.visit_id)),
        PlanComputed,
    )
    assert [visit.visit_id for visit in after.visits] == [sync.visit_id]

    assert await proposed.handle(confirmed(after, sync)) == []
    days = (sync.on - TODAY).days
    assert await proposed.on_day(days) == []
    assert await proposed.handle(changed(3, taken, changes=("fed",))) == [], (
        "the visit's day has come: it is open"
    )
    fills = (taken, fill("a", days), fill("b", days))
    second = only(
        await proposed.handle(changed(4, *fills, changes=("handed_over",), visit_id=sync.visit_id)),
        PlanComputed,
    )
    assert (second.cycle, second.agreed, second.revision) == (2, True, 4)
    assert second.anchor_on == after.next_anchor_on
    assert second.plan_id != plan.plan_id
    assert [visit.kind for visit in second.visits] == [VisitKind.synchronized]
    assert [answer for answer, _ in await proposed.answers()] == [
        "alignment-agreed",
        "pickup-confirmed",
        "pickup-confirmed",
    ]


async def test_stale_answers_are_recorded_and_change_nothing(proposed: Service) -> None:
    plan = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    gone = plan.visits[0].model_copy(update={"visit_id": "of-another-plan"})
    for answer in (
        agreed(plan, plan_id="another"),
        agreed(plan, anchor_on=in_days(90)),
        confirmed(plan, gone),
        PickupDeclined(patient_id="p1", plan_id=plan.plan_id, plan_revision=0, visit_id="x", on=TODAY),
        PatientUnreached(patient_id="p1", plan_id="another", plan_revision=1, visit_id=None, attempts=3),
        RescheduleRequested(
            patient_id="p1", plan_id=plan.plan_id, plan_revision=1, visit_id="x", wanted_on=in_days(20)
        ),
        agreed(plan, patient_id="never heard of"),
    ):
        assert await proposed.handle(answer) == []
    assert [stale for _, stale in await proposed.answers()] == [True] * 7
    assert (await proposed.get("/plans/p1"))["revision"] == plan.revision


async def test_an_answer_to_an_older_revision_is_good_while_the_visit_stands(proposed: Service) -> None:
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    newer = only(
        await proposed.handle(changed(2, preferred_weekday=1, cycle_policy="day_of_month")), PlanComputed
    )
    assert newer.revision == plan.revision + 1
    assert await proposed.handle(confirmed(plan, pickup(plan), "rx-b")) != []
    assert (await proposed.answers())[-1] == ("pickup-confirmed", False)


async def test_unreached_twice_blocks_the_plan_until_the_patient_consents_anew(proposed: Service) -> None:
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    for _ in range(2):
        missed = PatientUnreached(
            patient_id="p1",
            plan_id=plan.plan_id,
            plan_revision=plan.revision,
            visit_id=pickup(plan).visit_id,
            attempts=3,
        )
        events = await proposed.handle(missed)
        if isinstance(events[0], PlanComputed):
            plan = events[0]
    cancelled, blocked = events
    assert isinstance(cancelled, PlanCancelled) and isinstance(blocked, PlanBlocked)
    assert (cancelled.plan_id, cancelled.revision) == (plan.plan_id, plan.revision + 1)
    assert (blocked.revision, [reason.code for reason in blocked.reasons]) == (
        plan.revision + 2,
        ["not_reached"],
    )
    assert [row["why"] for row in (await proposed.get("/plans", status="blocked"))["items"]] == [
        "not_reached"
    ]
    assert await proposed.on_day(30) == [], "staff act, not time"
    again = only(await proposed.handle(enrolled(revision=2)), PlanComputed)
    assert again.revision == blocked.revision + 1


async def test_a_pickup_that_passes_unconfirmed_begins_the_next_cycle(proposed: Service) -> None:
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    on = (plan.anchor_on - TODAY).days
    await proposed.on_day(on)
    second = only(await proposed.on_day(on + 1), PlanComputed)
    assert (second.cycle, second.agreed) == (2, True)
    assert second.anchor_on > plan.anchor_on


async def test_a_confirmed_pickup_that_nobody_reports_on_is_given_up_after_twelve_days(
    proposed: Service,
) -> None:
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    for visit in plan.visits:
        await proposed.handle(confirmed(plan, visit))
    on = (plan.anchor_on - TODAY).days
    assert await proposed.on_day(on + 11) == []
    assert only(await proposed.on_day(on + 12), PlanComputed).cycle == 2


async def test_a_store_that_closes_has_its_patients_planned_anew_batch_by_batch(service: Service) -> None:
    await service.handle(store_changed())
    plans = await service.handle(*[enrolled(f"p{number}") for number in range(30)])
    anchor = plans[0].anchor_on  # type: ignore[attr-defined]
    assert {plan.anchor_on for plan in plans} == {anchor}  # type: ignore[attr-defined]
    assert await service.handle(store_changed(2, closed_on=(anchor,))) == [], "as due work, not at once"
    again = await service.do_due()
    assert len(again) == 30
    assert anchor not in {plan.anchor_on for plan in again}  # type: ignore[attr-defined]


async def test_who_leaves_loses_the_plan_and_what_is_known_of_them(proposed: Service) -> None:
    left = PatientDisenrolled(patient_id="p1", revision=2, reason=DisenrolmentReason.revoked)
    cancelled = only(await proposed.handle(left), PlanCancelled)
    assert (cancelled.revision, cancelled.reason.code) == (2, "disenrolled")
    assert await proposed.handle(changed(3)) == [], "a change after leaving"
    assert await proposed.handle(enrolled()) == [], "an enrollment from before"
    async with proposed.work.read() as db:
        assert await db.fetchval("select profile from patients") == {}
        assert await db.fetchval("select count(*) from visits") == 0
    back = only(await proposed.handle(enrolled(revision=4)), PlanComputed)
    assert (back.cycle, back.revision, back.agreed) == (2, 3, False)


async def test_who_lacks_renewals_alone_has_a_plan_and_they_are_asked_for_once(service: Service) -> None:
    await service.handle(store_changed())
    scarce, taken = (prescription("a", quantity_left=Decimal(0)),), (fill("a", -17),)
    plan, renewal = await service.handle(enrolled(prescriptions=scarce, fills=taken))
    assert isinstance(plan, PlanComputed) and isinstance(renewal, RenewalNeeded)
    [item] = pickup(plan).items
    assert item.condition is not None
    assert (item.condition.kind, item.condition.by) == ("renewal", "prescriber")
    assert item.condition.needed_by < plan.anchor_on
    assert (renewal.rx_id, renewal.prescriber_id) == ("rx-a", "dr-1")
    assert renewal.needed_by < plan.anchor_on
    answer = RenewalAnswered(patient_id="p1", rx_id="rx-a", answer=RenewalAnswer.approved)
    assert await service.handle(answer) == []
    renewed = prescription("a", rx_id="rx-a2", renews="rx-a")
    after = only(
        await service.handle(changed(2, prescriptions=(*scarce, renewed), fills=taken)), PlanComputed
    )
    assert [drug.reasons[0].code for drug in after.drugs] == ["superseded_by", "maintenance"]
    [item] = pickup(after).items
    assert (item.rx_id, item.condition) == ("rx-a2", None)


async def test_a_confirmed_conditional_fill_is_filled_from_the_renewal_in_its_place(service: Service) -> None:
    await service.handle(store_changed())
    scarce, taken = (prescription("a", quantity_left=Decimal(0)),), (fill("a", -17),)
    plan, _ = await service.handle(enrolled(prescriptions=scarce, fills=taken))
    assert isinstance(plan, PlanComputed)
    await service.handle(confirmed(plan, pickup(plan)))
    renewed = prescription("a", rx_id="rx-a2", renews="rx-a")
    after = only(
        await service.handle(changed(2, prescriptions=(*scarce, renewed), fills=taken)), PlanComputed
    )
    [item] = pickup(after).items
    assert pickup(after).visit_id == pickup(plan).visit_id
    assert (item.rx_id, item.in_place_of, item.condition) == ("rx-a2", "rx-a", None)


async def test_a_payers_own_date_moves_the_plan(proposed: Service) -> None:
    refused = FillRejected(
        patient_id="p1", visit_id="v", rx_id="rx-b", reject_code="79", next_fill_on=in_days(28)
    )
    plan = only(await proposed.handle(refused), PlanComputed)
    assert plan.anchor_on >= in_days(28)
    assert [item.payable_from for item in pickup(plan).items if item.rx_id == "rx-b"] == [in_days(28)]


async def test_a_refused_drug_is_planned_again_on_the_day_that_the_plan_names(service: Service) -> None:
    await service.handle(store_changed())
    proposal = only(await service.handle(enrolled(fills=(fill("a", -5), fill("b", -2)))), PlanComputed)
    only(await service.handle(agreed(proposal)), PlanComputed)
    refused = FillRejected(patient_id="p1", visit_id="v", rx_id="rx-b", reject_code="76")
    plan = only(await service.handle(refused), PlanComputed)
    reason = next(drug.reasons[0] for drug in plan.drugs if drug.rx_id == "rx-b")
    assert (reason.code, reason.params["until"]) == ("payer_refused", in_days(14).isoformat())
    assert [await service.on_day(day) for day in range(1, 14)] == [[]] * 13
    again = only(await service.on_day(14), PlanComputed)
    assert {drug.rx_id: drug.participation for drug in again.drugs} == {"rx-a": "sync", "rx-b": "sync"}


async def with_confirmed_pickup(service: Service) -> PlanComputed:
    """A pickup of two drugs, agreed to and confirmed."""
    await service.handle(store_changed())
    proposal = only(await service.handle(enrolled(fills=(fill("a", -17), fill("b", -17)))), PlanComputed)
    plan = only(await service.handle(agreed(proposal)), PlanComputed)
    await service.handle(confirmed(plan, pickup(plan)))
    assert {item.rx_id for item in pickup(plan).items} == {"rx-a", "rx-b"}
    return plan


def refused(plan: PlanComputed, code: str = "76", **changes: Any) -> FillRejected:
    said = {"patient_id": "p1", "visit_id": pickup(plan).visit_id, "rx_id": "rx-b", "reject_code": code}
    return FillRejected.model_validate(said | changes)


def resolved(plan: PlanComputed, resolution: str) -> FillResolved:
    return FillResolved(
        patient_id="p1",
        visit_id=pickup(plan).visit_id,
        rx_id="rx-b",
        resolution=Resolution(resolution),
        try_number=1,
    )


async def reasons_for(service: Service, rx_id: str) -> list[str]:
    plan = PlanComputed.model_validate((await service.get("/plans/p1"))["plan"])
    return [reason.code for drug in plan.drugs if drug.rx_id == rx_id for reason in drug.reasons]


@pytest.mark.parametrize("code", ["75", "76", "79"])
async def test_a_refused_drug_stays_on_its_confirmed_visit_while_the_store_may_put_it_right(
    service: Service, code: str
) -> None:
    plan = await with_confirmed_pickup(service)
    later = in_days(40) if code == "79" else None
    assert await service.handle(refused(plan, code, next_fill_on=later)) == []
    assert await service.handle(resolved(plan, "resubmitted")) == []
    taken = (fill("a", -17), fill("b", -17), fill("a", 13), fill("b", 13))
    over = changed(2, fills=taken, changes=("handed_over",), visit_id=pickup(plan).visit_id)
    await service.on_day(13)
    await service.handle(over)
    assert "payer_refused" not in await reasons_for(service, "rx-b")


async def test_a_refused_drug_that_is_given_up_leaves_its_visit(service: Service) -> None:
    plan = await with_confirmed_pickup(service)
    await service.handle(refused(plan))
    after = only(await service.handle(resolved(plan, "given_up")), PlanComputed)
    assert pickup(after).visit_id == pickup(plan).visit_id
    assert [item.rx_id for item in pickup(after).items] == ["rx-a"]
    assert "payer_refused" in await reasons_for(service, "rx-b")


async def test_a_refused_drug_that_was_not_handed_over_is_out_once_its_visit_is_over(
    service: Service,
) -> None:
    plan = await with_confirmed_pickup(service)
    await service.handle(refused(plan))
    taken = (fill("a", -17), fill("b", -17), fill("a", 0))
    over = changed(2, fills=taken, changes=("handed_over",), visit_id=pickup(plan).visit_id)
    await service.handle(over)
    assert "payer_refused" in await reasons_for(service, "rx-b")


async def test_a_drug_that_is_tried_again_in_vain_is_planned_as_if_never_refused(service: Service) -> None:
    """The patient came before the second try was made: the payer pays by now, so nothing keeps the drug out."""
    plan = await with_confirmed_pickup(service)
    await service.handle(refused(plan))
    await service.handle(resolved(plan, "resubmitted"))
    taken = (fill("a", -17), fill("b", -17), fill("a", 0))
    over = changed(2, fills=taken, changes=("handed_over",), visit_id=pickup(plan).visit_id)
    after = only(await service.handle(over), PlanComputed)
    assert "payer_refused" not in await reasons_for(service, "rx-b")
    assert any(item.rx_id == "rx-b" for visit in after.visits for item in visit.items)


async def test_a_partial_fill_and_its_rest_count_as_the_whole(service: Service) -> None:
    """The days of both are on hand, and the payer counts one claim, from its own day."""
    last = (fill("a", -17), fill("b", -17))
    part = replace_fill(fill("b", -1, 20), days_supply_billed=30, quantity=Decimal(20))
    rest = replace_fill(
        fill("b", -1, 10),
        fill_id="rest",
        handed_over_on=in_days(0),
        days_supply_billed=0,
        quantity=Decimal(10),
    )
    await service.handle(store_changed())
    only(await service.handle(enrolled(fills=(*last, part, rest))), PlanComputed)
    in_one = changed(2, fills=(*last, fill("b", -1)), changes=("preferences",))
    assert await service.handle(in_one) == []  # the same plan is not published again


def replace_fill(taken: Fill, **changes: Any) -> Fill:
    return taken.model_copy(update=changes)


async def test_the_patient_moves_the_pickup(proposed: Service) -> None:
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    wish = RescheduleRequested(
        patient_id="p1",
        plan_id=plan.plan_id,
        plan_revision=plan.revision,
        visit_id=pickup(plan).visit_id,
        wanted_on=plan.anchor_on + timedelta(days=1),
    )
    moved = only(await proposed.handle(wish), PlanComputed)
    assert moved.anchor_on == plan.anchor_on + timedelta(days=1)
    assert moved.reasons[0].code == "rescheduled"
    assert pickup(moved).visit_id != pickup(plan).visit_id


async def test_plans_are_listed_explained_and_republished(service: Service) -> None:
    await service.handle(store_changed())
    await service.handle(*[enrolled(f"p{number}") for number in range(5)])
    first = await service.get("/plans", store="s1", status="planned", limit=3)
    rest = await service.get("/plans", limit=3, after=first["next"])
    assert [row["patient_id"] for row in first["items"] + rest["items"]] == [f"p{n}" for n in range(5)]
    assert rest["next"] is None
    explained = await service.get("/plans/p1/explanation")
    assert explained["year"] == {
        "cycle_days": 30,
        "day_of_month": None,
        "trips_a_year": 13,
        "trips_before": None,
        "short_fills": 1,
        "uncovered_days": 0,
        "words": "The next 365 days: 13 trips, 1 short fill in this plan, no gaps.",
    }
    assert explained["year"]["words"] in explained["sentences"]
    assert explained["sentences"][0].startswith("Sync date ")
    assert all(reason["words"].endswith(".") for drug in explained["drugs"] for reason in drug["reasons"])
    told = " ".join(explained["sentences"])
    assert "Not " in told, "why not the other best days"
    assert "Insurance pays on or after " in told and "cost did not decide" in told
    assert all(" ".join(drug["sentences"]) in told for drug in explained["drugs"])
    await service.get("/plans/nobody", 404)
    await service.get("/plans/nobody/explanation", 404)

    await service.handle(PatientDisenrolled(patient_id="p3", revision=2, reason=DisenrolmentReason.died))
    async with service.work.read() as db:
        events = await store.current_state(db, patient=None, store=None, after="p0", limit=3)
        [one] = await store.current_state(db, patient="p4", store="s1", after="", limit=10)
    assert [(event.key, type(event)) for event in events] == [
        ("p1", PlanComputed),
        ("p2", PlanComputed),
        ("p3", PlanCancelled),
    ]
    assert isinstance(one, PlanComputed)
    assert one.revision == 1


async def everything(service: Service) -> dict[str, list[Any]]:
    """Every row of every table, the fabric's too, with the transaction that wrote it; but the record of who asked."""
    async with service.work.read() as db:
        tables = await db.fetch(
            """
            select format('%I.%I', schemaname, tablename) as name
            from pg_tables
            where schemaname in ('public', 'fabric')
              and tablename not like 'audit%'
            """
        )
        return {
            row["name"]: sorted(map(repr, await db.fetch(f"select xmin, * from {row['name']}")))
            for row in tables
        }


async def what_if(service: Service, answered: int = 200, **question: Any) -> dict[str, Any]:
    answer = await service.http.post("/plans/what-if", json=question)
    assert answer.status_code == answered, answer.text
    if answered != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return dict(answer.json())


async def test_what_if_computes_and_changes_nothing(proposed: Service) -> None:
    before = await everything(proposed)
    assert before["public.plans"] and "fabric.outbox" in before
    held = (await proposed.get("/plans/p1"))["plan"]
    same = await what_if(proposed, patient_id="p1")
    assert same["stands"] == {"status": "planned", "revision": 1, "anchor_on": held["anchor_on"]}
    for field in ("anchor_on", "visits", "drugs", "offered", "reasons"):
        assert same["plan"][field] == held[field]
    assert same["sentences"] == (await proposed.get("/plans/p1/explanation"))["sentences"]

    only_on = await what_if(proposed, patient_id="p1", changes={"must_weekdays": [2]})
    assert date.fromisoformat(only_on["plan"]["anchor_on"]).weekday() == 2
    wanted = await what_if(proposed, patient_id="p1", changes={"wanted_on": in_days(15).isoformat()})
    assert wanted["plan"]["anchor_on"] == in_days(15).isoformat()
    payer = {"rx_id": "rx-a", "payer": "commercial"}
    paid = await what_if(proposed, patient_id="p1", changes={"prescriptions": [payer]})
    assert [each["code"] for each in paid["plan"]["drugs"][0]["reasons"]] != [
        each["code"] for each in held["drugs"][0]["reasons"]
    ]
    other = prescription("c").model_dump(mode="json")
    more = await what_if(
        proposed,
        patient_id="p1",
        changes={"prescriptions": [other], "fills": [fill("c", -5).model_dump(mode="json")]},
    )
    assert [drug["rx_id"] for drug in more["plan"]["drugs"]] == ["rx-a", "rx-b", "rx-c"]
    fewer = await what_if(proposed, patient_id="p1", changes={"without_rx_ids": ["rx-a"]})
    assert [drug["rx_id"] for drug in fewer["plan"]["drugs"]] == ["rx-b"]
    none = await what_if(proposed, patient_id="p1", changes={"without_rx_ids": ["rx-a", "rx-b"]})
    assert (none["status"], none["sentences"][0]) == ("blocked", "There is no plan.")
    assert await everything(proposed) == before
    assert await proposed.published() == []


async def test_what_if_keeps_to_what_the_patient_was_told(proposed: Service) -> None:
    proposal = PlanComputed.model_validate((await proposed.get("/plans/p1"))["plan"])
    plan = only(await proposed.handle(agreed(proposal)), PlanComputed)
    same = await what_if(proposed, patient_id="p1", changes={"preferred_weekday": 2})
    assert (same["plan"]["agreed"], same["plan"]["anchor_on"]) == (True, plan.anchor_on.isoformat())
    day = (plan.anchor_on + timedelta(days=1)).isoformat()
    moved = await what_if(proposed, patient_id="p1", changes={"wanted_on": day})
    assert (moved["plan"]["anchor_on"], moved["plan"]["reasons"][0]["code"]) == (day, "rescheduled")


async def test_what_if_of_a_whole_patient_needs_nobody_known(service: Service) -> None:
    document = {"patient_id": "new", **profile().model_dump(mode="json")}
    answer = await what_if(service, patient=document)
    assert answer["plan"]["computed_on"] == TODAY.isoformat()
    assert "stands" not in answer


@pytest.mark.parametrize(
    ("answered", "field", "question"),
    [
        (400, "", {}),
        (400, "", {"patient": {}, "patient_id": "p1"}),
        (400, "patient_id", {"patient": {"store_id": "s1"}}),
        (400, "payers", {"patient_id": "p1", "changes": {"payers": "acme"}}),
        (
            400,
            "prescriptions.2.drug",
            {"patient_id": "p1", "changes": {"prescriptions": [{"rx_id": "rx-c"}]}},
        ),
        (400, "changes.fills", {"patient_id": "p1", "changes": {"fills": "Jane Doe"}}),
        (400, "told.wanted_on", {"patient_id": "p1", "changes": {"wanted_on": "Jane Doe"}}),
        (400, "patient_id", {"patient_id": "p 1"}),
        (404, None, {"patient_id": "nobody"}),
        (409, None, {"patient_id": "left"}),
        (409, None, {"patient_id": "storeless"}),
    ],
)
async def test_a_bad_question_is_answered_with_the_field_and_the_way_out(
    proposed: Service, answered: int, field: str | None, question: dict[str, Any]
) -> None:
    await proposed.handle(enrolled("left"), enrolled("storeless", store_id="s9"))
    await proposed.handle(PatientDisenrolled(patient_id="left", revision=2, reason=DisenrolmentReason.died))
    problem = await what_if(proposed, answered, **question)
    assert "Jane" not in str(problem)
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]


# --- everybody anew ---

SYSTEM = {"Medsync-Actor": "test", "Medsync-Role": "system"}


async def replanned(service: Service, answered: int = 200, key: str = "", **wanted: Any) -> dict[str, Any]:
    headers = SYSTEM | ({"Idempotency-Key": key} if key else {})
    answer = await service.http.post("/plans/replan", json=wanted, headers=headers)
    assert answer.status_code == answered, answer.text
    return dict(answer.json())


@pytest_asyncio.fixture
async def other_rules(proposed: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Five patients p1 to p5, planned before the chain's policy changed: p4 of another store, p5 of another payer."""
    await proposed.handle(store_changed(store_id="s2"))
    paid = tuple(prescription(name, payer="acme") for name in ("a", "b"))
    await proposed.handle(
        enrolled("p2"), enrolled("p3"), enrolled("p4", store_id="s2"), enrolled("p5", prescriptions=paid)
    )
    monkeypatch.setattr(recompute, "RULES", replace(recompute.RULES, lead_days=30))
    return proposed


async def test_all_are_planned_anew_in_batches_and_only_what_changed_is_published(
    other_rules: Service,
) -> None:
    first = await replanned(other_rules, limit=2)
    assert (first["patients"], first["looked_at"], first["next"]) == (5, 2, "p2")
    assert [each["patient_id"] for each in first["changed"]] == ["p1", "p2"]
    events = await other_rules.published()
    assert [(event.key, type(event)) for event in events] == [("p1", PlanComputed), ("p2", PlanComputed)]
    rest = await replanned(other_rules, after=first["next"])
    assert (rest["patients"], rest["looked_at"], rest["next"]) == (None, 3, None)
    for each in rest["changed"]:
        assert each["is"]["revision"] == each["was"]["revision"] + 1
    assert {event.key for event in await other_rules.published()} == {"p3", "p4", "p5"}

    before = await everything(other_rules)
    again = await replanned(other_rules)
    assert (again["looked_at"], again["changed"]) == (5, [])
    assert await everything(other_rules) == before, "what did not change is not written"


async def test_a_dry_run_says_what_would_change_and_changes_nothing(other_rules: Service) -> None:
    before = await everything(other_rules)
    would = await replanned(other_rules, dry_run=True)
    assert await everything(other_rules) == before
    did = await replanned(other_rules)
    assert would == did and len(did["changed"]) == 5


async def test_some_are_planned_anew_by_store_or_payer(other_rules: Service) -> None:
    of_store = await replanned(other_rules, store="s2", dry_run=True)
    assert (of_store["patients"], [each["patient_id"] for each in of_store["changed"]]) == (1, ["p4"])
    of_payer = await replanned(other_rules, payer="acme", dry_run=True)
    assert [each["patient_id"] for each in of_payer["changed"]] == ["p5"]
    neither = await replanned(other_rules, payer="acme", store="s2", dry_run=True)
    assert (neither["patients"], neither["looked_at"], neither["next"]) == (0, 0, None)


async def test_where_some_are_to_be_planned_anew_is_told_store_by_store(other_rules: Service) -> None:
    async def where(**chosen: str) -> dict[str, int]:
        return dict((await other_rules.get("/plans/replan/stores", **chosen))["stores"])

    assert await where() == {"s1": 4, "s2": 1}
    assert await where(store="s2") == {"s2": 1}
    assert await where(payer="acme") == {"s1": 1}
    assert await where(payer="acme", store="s2") == {}
    await other_rules.handle(PatientDisenrolled(patient_id="p4", revision=2, reason=DisenrolmentReason.died))
    assert await where() == {"s1": 4}


async def test_whoever_is_parked_is_passed_over_and_named(other_rules: Service) -> None:
    async with other_rules.work.begin([patient("p2")], cause=Cause("test", "test")) as unit:
        letter = await tables.bury_due_work(
            unit.db, "due_looks", patient("p2"), attempts=1, reason="fault", message="test"
        )
        await tables.park(unit.db, patient("p2"), "fault", letter)
    answer = await replanned(other_rules)
    assert (answer["looked_at"], answer["parked"]) == (5, ["p2"])
    assert {event.key for event in await other_rules.published()} == {"p1", "p3", "p4", "p5"}
    assert (await other_rules.get("/plans/p2"))["revision"] == 1


@pytest.mark.parametrize("dry_run", [False, True])
async def test_whose_plan_the_broker_would_not_take_is_set_aside_and_the_others_are_planned(
    other_rules: Service, dry_run: bool
) -> None:
    async with other_rules.work.pool.acquire() as db:
        await db.execute(
            """
            update patients
            set profile = jsonb_set(profile, '{prescriptions,0,drug,name}', to_jsonb(repeat('x', 1100000)))
            where patient_id = 'p2'
            """
        )
    before = await other_rules.get("/plans/p2")
    answer = await replanned(other_rules, dry_run=dry_run)
    assert (answer["looked_at"], answer["set_aside"]) == (5, ["p2"])
    assert [each["patient_id"] for each in answer["changed"]] == ["p1", "p3", "p4", "p5"]
    told = {event.key for event in await other_rules.published()}
    assert told == (set() if dry_run else {"p1", "p3", "p4", "p5"})
    assert await other_rules.get("/plans/p2") == before, "the plan before stands"


async def test_a_batch_asked_for_twice_under_one_key_is_done_once(other_rules: Service) -> None:
    first = await replanned(other_rules, key="k1", limit=3)
    assert len(await other_rules.published()) == 3
    assert await replanned(other_rules, key="k1", limit=3) == first
    assert await other_rules.published() == []
    await replanned(other_rules, 422, key="k1", limit=4)


async def test_who_left_is_not_planned_and_staff_without_the_role_are_refused(other_rules: Service) -> None:
    await other_rules.handle(PatientDisenrolled(patient_id="p3", revision=2, reason=DisenrolmentReason.died))
    answer = await replanned(other_rules, dry_run=True)
    assert (answer["patients"], "p3" in str(answer["changed"])) == (4, False)
    clerk = {"Medsync-Actor": "test", "Medsync-Role": "clerk"}
    refused = await other_rules.http.post("/plans/replan", json={}, headers=clerk)
    assert (refused.status_code, refused.json()["title"]) == (403, "Not allowed")
    await replanned(other_rules, 400, limit=0)


async def test_the_demand_of_a_store_is_that_of_its_plans(service: Service) -> None:
    await service.handle(store_changed(closed_on=(in_days(3),), daily_cap=7), store_changed(store_id="s2"))
    plans = await service.handle(*[enrolled(f"p{n}") for n in range(1, 4)], enrolled("p4", store_id="s2"))
    proposal = next(plan for plan in plans if plan.key == "p1")
    assert isinstance(proposal, PlanComputed)
    agreement = agreed(proposal)
    await service.handle(agreement)
    demand = await service.get("/stores/s1/demand", days=30)
    assert (demand["store_id"], demand["daily_cap"]) == ("s1", 7)
    days = {day["on"]: day for day in demand["days"]}
    assert list(days) == [in_days(day).isoformat() for day in range(30)]
    assert [on for on, day in days.items() if not day["open"]] == [in_days(3).isoformat()]

    expected: dict[str, list[int]] = {}
    for patient_id in ("p1", "p2", "p3"):
        for visit in (await service.get(f"/plans/{patient_id}"))["plan"]["visits"]:
            pickups = visit["kind"] == "synchronized"
            row = expected.setdefault(visit["on"], [0, 0, 0])
            row[0], row[1], row[2] = row[0] + pickups, row[1] + (not pickups), row[2] + len(visit["items"])
    assert len(expected) > 1
    found = {on: [day["pickups"], day["other_visits"], day["fills"]] for on, day in days.items()}
    assert found == {on: expected.get(on, [0, 0, 0]) for on in days}
    assert sum(day["agreed"] for day in days.values()) == 1

    await service.handle(PatientDisenrolled(patient_id="p2", revision=2, reason=DisenrolmentReason.died))
    after = await service.get("/stores/s1/demand", days=30)
    assert sum(day["pickups"] for day in after["days"]) == 2
    assert len((await service.get("/stores/s2/demand"))["days"]) == 14
    await service.get("/stores/s9/demand", 404)
    await service.get("/stores/s1/demand", 400, days=0)


class CutOff:
    """The planner's application; from the given request on it fails, until it is mended."""

    def __init__(self, app: Any) -> None:
        self.app, self.left = app, 1_000_000

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.left -= 1
        answer = self.app if self.left >= 0 else JSONResponse({"detail": "broken"}, 500)
        await answer(scope, receive, send)


@pytest_asyncio.fixture
async def terminal(
    other_rules: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Callable[..., Awaitable[Result]], CutOff]]:
    """`medsync plan replan` against the planner on a port, two patients a request."""
    app = CutOff(other_rules.http._transport.app)  # type: ignore[attr-defined]
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await until(started, "the server starts")
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("MEDSYNC_PLANNER_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(replanning, "PATIENTS_A_REQUEST", 2)
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ["plan", "replan", *arguments])

    yield run, app
    server.should_exit = True
    await serving


async def test_from_the_terminal_first_dry_then_for_good(
    other_rules: Service, terminal: tuple[Callable[..., Awaitable[Result]], CutOff]
) -> None:
    run, _ = terminal
    dry = await run("--all", "--dry-run", "--json", "--side-by-side", "1")
    said = [json.loads(line)["patient_id"] for line in dry.stdout.splitlines()]
    assert said == ["p1", "p2", "p3", "p5", "p4"], "store by store"
    assert "5 patients replanned, 5 plans would change, 5 of them to another day." in dry.stderr
    assert await other_rules.published() == []
    assert (
        "1 patients replanned, 1 plans changed, 1 of them to another day."
        in (await run("--store", "s2")).stdout
    )
    assert "5 patients replanned, 4 plans changed, " in (await run("--all")).stdout
    assert len(await other_rules.published()) == 5
    assert (await run()).exit_code == 2, "whom is to be said"


async def test_a_run_that_was_cut_off_goes_on_where_it_was(
    other_rules: Service, terminal: tuple[Callable[..., Awaitable[Result]], CutOff]
) -> None:
    run, app = terminal
    app.left = 2
    cut_off = await run("--all", "--side-by-side", "1")
    assert cut_off.exit_code == 1 and "broken" in str(cut_off.exception)
    assert {event.key for event in await other_rules.published()} == {"p1", "p2"}
    app.left = 2
    other = await run("--store", "s2")
    assert "Resuming" not in other.stderr, "another selection is another run"
    assert len(await other_rules.published()) == 1
    app.left = 1_000_000
    rest = await run("--all")
    assert "Resuming after 2 of 5 patients" in rest.stderr
    assert "5 patients replanned, 4 plans changed, " in rest.stdout
    assert {event.key for event in await other_rules.published()} == {"p3", "p5"}
    assert "Resuming" not in (await run("--all")).stderr


@pytest.mark.parametrize("requests", [2, 3])
async def test_cut_off_with_two_stores_at_once_everybody_is_planned_anew_once(
    other_rules: Service, terminal: tuple[Callable[..., Awaitable[Result]], CutOff], requests: int
) -> None:
    run, app = terminal
    app.left = requests
    assert (await run("--all")).exit_code == 1
    before = [event.key for event in await other_rules.published()]
    assert 0 < len(before) < 5
    app.left = 1_000_000
    assert "5 patients replanned, 5 plans changed, " in (await run("--all")).stdout
    after = [event.key for event in await other_rules.published()]
    assert sorted(before + after) == ["p1", "p2", "p3", "p4", "p5"]


async def test_a_patient_without_a_store_waits(service: Service) -> None:
    assert await service.handle(enrolled()) == []
    found = await service.get("/plans/p1/explanation")
    assert (found["status"], found["sentences"]) == (
        "waiting",
        ["There is no plan yet: the store's calendar is awaited."],
    )
    assert await service.on_day(1) == []
    assert await service.handle(store_changed()) == []
    only(await service.do_due(), PlanComputed)


async def test_plans_of_one_moment_do_not_see_one_another(service: Service) -> None:
    """Else a plan would depend on whose event came first; the load counts from the next moment on."""
    await service.handle(store_changed())
    days = []
    for patient_id in ("p1", "p2"):
        plan = only(await service.handle(enrolled(patient_id)), PlanComputed)
        days.append([offer.on for offer in plan.offered])
    assert days[0] == days[1]
    assert await loads(service) == {}
    service.clock.set(service.clock.now() + timedelta(seconds=1))
    assert sum((await loads(service)).values()) == 2


async def test_a_full_day_of_the_store_is_left_to_those_who_have_it(service: Service) -> None:
    """A cap of one pickup a day; the cap is news of the store, and an agreed day stays."""
    await service.handle(store_changed())
    first = only(await service.handle(enrolled("p1")), PlanComputed)
    await service.handle(agreed(first))
    await service.handle(store_changed(2, daily_cap=1))
    await service.on_day(1)
    second = only(await service.handle(enrolled("p2")), PlanComputed)
    assert second.anchor_on != first.anchor_on
    assert "store_day_full" in [reason.code for reason in second.reasons]


async def test_staff_set_the_day_and_take_it_back(proposed: Service) -> None:
    free = await proposed.get("/plans/p1")
    day = in_days(14)
    assert day.isoformat() != free["plan"]["anchor_on"]
    said = {"kind": "day", "on": day.isoformat(), "why": "the daughter drives her that day"}
    answer = await command(proposed, "/plans/p1/rulings", said, role="clerk")
    plan = only(await proposed.published(), PlanComputed)
    assert (answer["status"], answer["revision"]) == ("planned", plan.revision)
    assert plan.anchor_on == day
    assert [offer.on for offer in plan.offered] == [day]
    assert plan.reasons[0].code == "staff_day" and plan.reasons[-1].code == "without_staff"
    assert "daughter" not in plan.model_dump_json()
    assert only(await proposed.handle(changed(2, preferred_weekday=1)), PlanComputed).anchor_on == day

    ruling_id = answer["ruling_id"]
    await command(proposed, f"/plans/p1/rulings/{ruling_id}/take-back", {}, role="technician")
    assert only(await proposed.published(), PlanComputed).reasons[0].code != "staff_day"
    [kept] = (await proposed.get("/plans/p1/rulings"))["rulings"]
    assert (kept["made_by"], kept["made_as"], kept["why"]) == ("someone", "clerk", said["why"])
    assert kept["taken_back_by"] == "someone"


async def test_a_drug_left_out_by_a_pharmacist_comes_back_when_that_is_taken_back(proposed: Service) -> None:
    said = {"kind": "exclude", "rx_id": "rx-b", "why": "to be discussed"}
    answer = await command(proposed, "/plans/p1/rulings", said)
    excluded, plan = await proposed.published()
    assert isinstance(excluded, ExclusionsChanged) and isinstance(plan, PlanComputed)
    assert {item.rx_id for visit in plan.visits for item in visit.items} == {"rx-a"}
    await command(proposed, f"/plans/p1/rulings/{answer['ruling_id']}/take-back", {})
    excluded, plan = await proposed.published()
    assert isinstance(excluded, ExclusionsChanged) and isinstance(plan, PlanComputed)
    assert {item.rx_id for visit in plan.visits for item in visit.items} == {"rx-a", "rx-b"}


@pytest.mark.parametrize(
    ("said", "role", "status", "detail"),
    [
        ({"kind": "exclude", "rx_id": "rx-b"}, "technician", 403, "only pharmacist"),
        ({"kind": "day", "on": "2026-03-20"}, "patient", 403, "only pharmacist or technician or clerk"),
        ({"kind": "day"}, "clerk", 422, "on: is missing"),
        (
            {"kind": "fill", "rx_id": "rx-b", "on": "2026-03-20"},
            "pharmacist",
            422,
            "on: is not for this kind",
        ),
        ({"kind": "quantity", "rx_id": "rx-b"}, "pharmacist", 422, "quantity: is missing"),
        ({"kind": "fill", "rx_id": "rx-z"}, "pharmacist", 422, "'rx-z' is not in the patient's profile"),
        ({"kind": "day", "on": "2026-03-01"}, "clerk", 422, "give 2026-03-02 or a later day"),
        ({"kind": "quantity", "rx_id": "rx-b", "quantity": 0}, "pharmacist", 400, "quantity"),
        ({"kind": "quantity", "rx_id": "rx-b", "quantity": 90000}, "pharmacist", 422, "still authorized"),
        ({"kind": "vote"}, "pharmacist", 400, "kind"),
    ],
)
async def test_a_ruling_that_cannot_be_says_what_is_wrong(
    proposed: Service, said: dict[str, Any], role: str, status: int, detail: str
) -> None:
    answer = await command(
        proposed, "/plans/p1/rulings", {"why": "because", **said}, role=role, answered=status
    )
    assert detail in answer["detail"]
    assert await proposed.published() == []


async def test_what_staff_wrote_is_forgotten_with_the_patient(proposed: Service) -> None:
    await command(proposed, "/plans/p1/rulings", {"kind": "day", "on": "2026-03-20", "why": "her words"})
    await proposed.handle(PatientDisenrolled(patient_id="p1", revision=9, reason=DisenrolmentReason.revoked))
    assert (await proposed.get("/plans/p1/rulings"))["rulings"] == []
    await command(
        proposed, "/plans/p1/rulings", {"kind": "day", "on": "2026-03-20", "why": "late"}, answered=404
    )


async def test_a_name_is_not_recorded_as_who_decided(proposed: Service) -> None:
    headers = {"Medsync-Actor": "Dr. John Smith", "Medsync-Role": "pharmacist"}
    said = {"kind": "day", "on": "2026-03-20", "why": "because"}
    answer = await proposed.http.post("/plans/p1/rulings", json=said, headers=headers)
    assert (answer.status_code, "is not a name" in answer.json()["detail"]) == (401, True)
    assert "Smith" not in answer.text
    assert (await proposed.get("/plans/p1/rulings"))["rulings"] == []


async def test_commands_need_no_http_and_say_what_is_wrong_by_a_code(proposed: Service) -> None:
    out = commands.DecisionWanted(kind=StaffDecisionKind.exclude, rx_id="rx-a", why="because")
    unknown = commands.DecisionWanted(kind=StaffDecisionKind.exclude, rx_id="rx-z", why="because")
    cause = Cause("test", "test")
    async with proposed.work.begin([patient("p1")], cause=cause, role="clerk") as unit:
        with pytest.raises(NotAllowed, match="only pharmacist may do this; you act as clerk"):
            await commands.decide(unit, "p1", out)
    async with proposed.work.begin([patient("p1")], cause=cause, role="pharmacist") as unit:
        with pytest.raises(Invalid, match="no_such_prescription"):
            await commands.decide(unit, "p1", unknown)
        with pytest.raises(NotFound, match="unknown_patient"):
            await commands.decide(unit, "p2", out)
        taken = await commands.decide(unit, "p1", out)
        assert (taken.status, taken.revision) == (Status.planned, 2)
        [made] = (await queries.staff_decisions(unit.db, "p1")).rulings
        assert (made.ruling_id, made.taken_back_at) == (taken.ruling_id, None)
        await commands.revoke(unit, "p1", taken.ruling_id)
        [made] = (await queries.staff_decisions(unit.db, "p1")).rulings
        assert made.taken_back_at == NOW
    assert [type(event) for event in await proposed.published()] == [
        ExclusionsChanged,
        PlanComputed,
        ExclusionsChanged,
        PlanComputed,
    ]


async def test_an_answer_is_given_again_as_it_was(other_rules: Service) -> None:
    """For the same key: also what is held of it meanwhile is typed."""
    headers = {"Medsync-Actor": "someone", "Medsync-Role": "pharmacist", "Idempotency-Key": "k1"}
    first, again = [
        await other_rules.http.post("/plans/replan", json={"limit": 1}, headers=headers) for _ in range(2)
    ]
    assert first.json() == again.json()
    [moved] = again.json()["changed"]
    assert moved.keys() == {"patient_id", "store_id", "was", "is", "published"}


async def test_what_stands_in_the_way_of_a_plan_is_answered_only_where_something_does(
    proposed: Service,
) -> None:
    await proposed.handle(enrolled("p2", prescriptions=(), fills=()))
    planned, blocked = [await proposed.get(f"/plans/{patient_id}") for patient_id in ("p1", "p2")]
    assert "blocked" not in planned and planned["plan"]["patient_id"] == "p1"
    assert blocked["plan"] is None and blocked["blocked"]["patient_id"] == "p2"
    words = await proposed.get("/plans/p2/explanation")
    assert (words["year"], words["steps"]) == (None, [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rulings": [{"kind": "day", "on": "2026-02-01"}]}, "rulings.0.on"),
        ({"rulings": [{"kind": "include", "rx_id": "rx-a", "by": "clerk"}]}, "rulings.0.by"),
        ({"rulings": [{"kind": "quantity", "rx_id": "rx-a", "quantity": 90000}]}, "rulings.0.quantity"),
        ({"away": [{"begins_on": "2026-03-20", "ends_on": "2026-03-10"}]}, "away.0.ends_on"),
        ({"calendar": {"state": "Oklahoma"}}, "calendar.state"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_if_is_read_as_strictly_as_a_file(
    proposed: Service, changes: dict[str, Any], field: str
) -> None:
    by = {"by": "pharmacist", "why": "because", "made_on": "2026-03-01"}
    if "rulings" in changes:
        changes = {"rulings": [{**by, **each} for each in changes["rulings"]]}
    question = {"patient_id": "p1", "changes": changes}
    answer = await command(proposed, "/plans/what-if", question, answered=400)
    assert [each["field"] for each in answer["errors"]] == [field]


async def command(
    service: Service, path: str, body: Mapping[str, Any], *, role: str = "pharmacist", answered: int = 0
) -> dict[str, Any]:
    """Send a command; with `answered` that status is expected, else success."""
    headers = {"Medsync-Actor": "someone", "Medsync-Role": role}
    answer = await service.http.post(path, json=body, headers=headers)
    assert answer.status_code in ([answered] if answered else [200, 201]), answer.text
    return dict(answer.json())


async def loads(service: Service) -> Mapping[date, int]:
    async with service.work.read() as db:
        return (await store.load_stores(db, ["s1"], service.clock.now()))["s1"].calendar.load


@pytest.mark.parametrize("held", ["confirmation", "store"])
async def test_an_event_held_back_for_an_hour_ends_in_the_same_plan(
    fresh_database: Callable[[str], str], tmp_path: Path, held: str
) -> None:
    """The pickup that followed from the confirmation, or the plan made before the store closed, is told of first."""
    ends = []
    for late in ("", held):
        async with unbrokered(fresh_database("planner"), tmp_path) as service:
            await service.handle(store_changed())
            plan = only(await service.handle(enrolled()), PlanComputed)
            plan = only(await service.handle(agreed(plan)), PlanComputed)
            bridge = plan.visits[0]
            days = (bridge.on - TODAY).days
            taken = fill("a", days, bridge.items[0].days_supply)
            handed_over = changed(2, taken, changes=("handed_over",), visit_id=bridge.visit_id)
            closed = store_changed(2, closed_on=[plan.anchor_on])
            story = {"confirmation": confirmed(plan, bridge), "store": closed, "profile": handed_over}
            await service.on_day(days)
            for name in [*(each for each in story if each != late), late]:
                if name == late:
                    service.clock.advance(timedelta(hours=1))
                if name:
                    await service.handle(story[name])
                await service.do_due()
            end = (await service.get("/plans/p1"))["plan"]
            ends.append((end["anchor_on"], end["agreed"], end["cycle"], end["visits"], end["drugs"]))
    assert ends[0] == ends[1]
    assert ends[0][0] != plan.anchor_on.isoformat(), "the store is closed on that day"


async def test_after_a_recovery_plans_old_and_new_go_before_all_that_was_lost(proposed: Service) -> None:
    life = 1 << lives.REVISION_BITS
    async with proposed.work.begin((), cause=Cause("test", "test")) as unit:
        await lives.begin_life(unit.db, tuple(REVISIONS), above=1, by="test", why="restored")
    async with proposed.work.read() as db:
        [told] = await store.current_state(db, patient="p1", store=None, after="", limit=10)
    assert told.model_dump()["revision"] == life + 1
    assert (await proposed.get("/plans/p1"))["plan"]["revision"] == life + 1
    assert await proposed.handle(enrolled(revision=life + 2)) == [], "it says nothing new"
    new = only(await proposed.handle(enrolled("p2")), PlanComputed)
    assert new.revision == life + 1, "of one whom readers may know"
    left = PatientDisenrolled(patient_id="p1", revision=life + 3, reason=DisenrolmentReason.died)
    assert only(await proposed.handle(left), PlanCancelled).revision == life + 2
