"""Outreach against a real PostgreSQL (and once against a real Kafka): who is contacted, when, and what follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
import pytest_asyncio

from deploy.local import Addresses
from services.outreach import handlers, jobs
from services.outreach.app import create_app
from services.outreach.commands import contacts
from services.outreach.commands.leasing import LeaseRequest
from services.outreach.domain.answers import Answer, Outcome
from services.outreach.settings import Settings
from shared.clock import SteppedClock
from shared.database import open_pool
from shared.events import EVENTS, Event, Reason
from shared.events.enrollment import (
    Channel,
    Consent,
    ContactDetailsChanged,
    DisenrolmentReason,
    OpenHours,
    PatientDisenrolled,
    PatientEnrolled,
    Phone,
    Profile,
    StoreChanged,
)
from shared.events.fulfillment import PackagePickedUp, PackageReady, PackageReopened, PickupMissed, StockShort
from shared.events.outreach import (
    AlignmentAgreed,
    ChangeReported,
    ContactOptedOut,
    PatientUnreached,
    PickupConfirmed,
    PickupDeclined,
    QuestionRaised,
    RenewalAnswered,
    RenewalRequested,
    RescheduleRequested,
    VisitAnnounced,
)
from shared.events.planner import (
    Condition,
    ConditionKind,
    DrugDecision,
    FillKind,
    OfferedDay,
    Participation,
    PlanBlocked,
    PlanCancelled,
    PlanComputed,
    PlannedItem,
    RenewalNeeded,
    Visit,
    VisitKind,
)
from shared.messaging import Work, patient
from shared.messaging.bell import Bell
from shared.messaging.envelope import payload_of
from shared.messaging.topics import create_topics
from shared.messaging.unit import Cause
from shared.problems import Conflict, NotFound
from shared.sealing import Sealer
from tests.running import (
    EVERYBODY,
    SEALING_KEY,
    at_rest,
    everything_on,
    producing,
    publish,
    record,
    running,
    tell,
)

DIALLER = {"Medsync-Actor": "dialler-1", "Medsync-Role": "system"}
CLERK = {"Medsync-Actor": "staff-2", "Medsync-Role": "clerk"}
PHARMACIST = {"Medsync-Actor": "staff-1", "Medsync-Role": "pharmacist"}
NOW = datetime(2026, 10, 1, 15, tzinfo=UTC)  # eleven in the morning in New York, a Thursday
BECAUSE = Reason(code="because")
NUMBER = "+12125550123"


class Service:
    """The service without its broker: HTTP, handlers and jobs, and the outbox to look into."""

    def __init__(self, works: Sequence[Work], http: Sequence[httpx.AsyncClient], clock: SteppedClock) -> None:
        self.work, self.http, self.other = works[0], http[0], http[1]
        self.clock = clock
        self.holders: dict[str, dict[str, str]] = {}  # of leases

    async def handle(self, *events: Event) -> None:
        keys = [patient(event.key) for event in events]
        async with self.work.begin(keys, cause=Cause("test", "test")) as unit:
            await handlers.on.by_type[events[0].TYPE](events, unit)

    async def at(self, moment: datetime) -> None:
        """Move the clock, and do what falls due."""
        self.clock.set(moment)
        await self.do_due()

    async def do_due(self) -> None:
        for view in jobs.due.by_view:
            async with self.work.begin((), cause=Cause("test", "test")) as unit:
                await jobs.due.by_view[view](
                    await self.work.free_owners(unit, view, 500, jobs.due.of(view)), unit
                )
            async with self.work.begin((), cause=Cause("test", "test")) as unit:
                assert await self.work.free_owners(unit, view, 500, jobs.due.of(view)) == []

    async def post(
        self, path: str, status: int = 200, by: dict[str, str] = DIALLER, **body: Any
    ) -> dict[str, Any]:
        answer = await self.http.post(path, json=body, headers=by)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def lease(self, limit: int = 20, by: dict[str, str] = DIALLER) -> list[dict[str, Any]]:
        leased = await self.post("/contacts/lease", by=by, worker="w", limit=limit, minutes=15)
        self.holders |= {each["lease_id"]: by for each in leased["contacts"]}
        return list(leased["contacts"])

    async def report(
        self, lent: dict[str, Any], outcome: str, status: int = 200, **answer: Any
    ) -> dict[str, Any]:
        return await self.post(
            f"/contacts/{lent['contact_id']}/outcome",
            status,
            by=self.holders.get(lent["lease_id"], DIALLER),
            lease_id=lent["lease_id"],
            outcome=outcome,
            answer=answer,
        )

    async def statuses(self, patient_id: str = "p1") -> dict[tuple[str, str | None], str]:
        items = (await self.get(f"/patients/{patient_id}/contacts"))["items"]
        return {(each["kind"], each["visit_id"]): each["status"] for each in items}

    async def published(self) -> list[Event]:
        """What was published since the last look."""
        async with self.work.pool.acquire() as db:
            rows = await db.fetch("delete from fabric.outbox returning id, headers, payload")
        return [
            EVENTS[row["headers"]["ce_type"]].model_validate_json(row["payload"])
            for row in sorted(rows, key=lambda row: row["id"])
        ]


@pytest_asyncio.fixture
async def service(fresh_database: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Service]:
    async with two_processes(fresh_database("outreach"), tmp_path) as service:
        yield service


@asynccontextmanager
async def two_processes(url: str, folder: Path) -> AsyncIterator[Service]:
    """Two processes of the service on one database."""
    clock = SteppedClock(folder / "clock")
    clock.set(NOW)
    works, clients = [], []
    for slot in range(2):
        pool = await open_pool(url, size=4, name=f"test-{slot}")
        settings = Settings(database_url=url, kafka_bootstrap="unused", sealing_key=SEALING_KEY, slot=slot)
        app = create_app(settings)
        sealer, bell = Sealer(SEALING_KEY, key_id="1"), Bell(url, name="test")
        app.state.work = Work(pool, service="outreach", clock=clock, sealer=sealer, bell=bell)
        works.append(app.state.work)
        transport = httpx.ASGITransport(app=app)
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=EVERYBODY))
    yield Service(works, clients, clock)
    for work, client in zip(works, clients, strict=True):
        await client.aclose()
        await work.pool.close()


@pytest_asyncio.fixture
async def known(service: Service) -> Service:
    """One patient, all known, without a plan."""
    await service.handle(store())
    await service.handle(enrolled())
    await service.handle(details())
    await service.do_due()
    return service


def store(store_id: str = "s1", **changes: Any) -> StoreChanged:
    fields = {
        "store_id": store_id,
        "revision": 1,
        "name": "Corner Pharmacy",
        "state": "NY",
        "time_zone": "America/New_York",
        "hours": tuple(OpenHours(weekday=day, opens=time(9), closes=time(18)) for day in range(7)),
        "phone": "+12125550100",
    }
    return StoreChanged(**(fields | changes))


def enrolled(patient_id: str = "p1", revision: int = 1, **consent: Any) -> PatientEnrolled:
    given = {"given_at": NOW - timedelta(hours=1), "channels": (Channel.phone,)} | consent
    return PatientEnrolled(
        patient_id=patient_id, revision=revision, consent=Consent(**given), profile=Profile(store_id="s1")
    )


def details(patient_id: str = "p1", revision: int = 1, **changes: Any) -> ContactDetailsChanged:
    fields = {
        "patient_id": patient_id,
        "revision": revision,
        "given_name": "Ada",
        "family_name": "Canary",
        "birth_date": date(1950, 3, 4),
        "phones": (Phone(number=NUMBER, kind="mobile"),),
    }
    return ContactDetailsChanged(**(fields | changes))


def visit(on: date, kind: VisitKind = VisitKind.synchronized, *rx_ids: str) -> Visit:
    items = tuple(
        PlannedItem(
            rx_id=rx_id,
            drug_name="Lisinopril",
            kind=FillKind.full,
            quantity=Decimal(30),
            days_supply=30,
            reason=BECAUSE,
        )
        for rx_id in rx_ids or ("rx1", "rx2")
    )
    return Visit(visit_id=f"{kind}-{on}", kind=kind, on=on, items=items)


BRIDGE = visit(date(2026, 10, 6), VisitKind.bridge, "rx1")
VISIT = visit(date(2026, 10, 20))


def plan(*visits: Visit, patient_id: str = "p1", revision: int = 1, agreed: bool = True) -> PlanComputed:
    return PlanComputed(
        patient_id=patient_id,
        plan_id=f"plan-{patient_id}",
        revision=revision,
        profile_revision=1,
        cycle=1,
        store_id="s1",
        computed_on=NOW.date(),
        anchor_on=VISIT.on,
        next_anchor_on=VISIT.on + timedelta(days=30),
        agreed=agreed,
        visits=visits or (BRIDGE, VISIT),
        drugs=(),
        offered=tuple(
            OfferedDay(on=on, visits_before=1, short_fills=1, uncovered_days=0, reason=BECAUSE)
            for on in (VISIT.on, date(2026, 10, 21))
        ),
    )


def package(kind: type[Event], about: Visit = VISIT, **more: Any) -> Any:
    fields = {
        "patient_id": "p1",
        "store_id": "s1",
        "package_id": "k1",
        "plan_id": "plan-p1",
        "visit_id": about.visit_id,
        "on": about.on,
        "items": (),
        "return_on": about.on + timedelta(days=7),
    }
    return kind(**(fields | more))


RENEWED = Condition(kind=ConditionKind.renewal, by="prescriber", needed_by=date(2026, 10, 16))
CONDITIONAL = VISIT.model_copy(
    update={"items": (VISIT.items[0], VISIT.items[1].model_copy(update={"condition": RENEWED}))}
)


def urgent(on: date) -> Visit:
    return visit(on, VisitKind.bridge, "rx1").model_copy(update={"urgent": True})


@pytest.mark.parametrize(
    ("planned_at", "late"),
    [(datetime(2026, 10, 2, 1, tzinfo=UTC), True), (datetime(2026, 10, 1, 19, tzinfo=UTC), False)],
    ids=["nine in the evening", "three in the afternoon"],
)
async def test_an_urgent_visit_planned_when_nobody_may_be_called_any_more_says_so(
    known: Service, planned_at: datetime, late: bool
) -> None:
    await known.at(planned_at)
    await known.handle(plan(urgent(NOW.date())))
    await known.do_due()
    unreached = await known.published()
    assert bool(await known.lease()) is not late
    if late:
        [event] = unreached
        assert isinstance(event, PatientUnreached)
        assert (event.attempts, event.planned_late) == (0, True)
    else:
        assert unreached == []
        await known.at(datetime(2026, 10, 2, 1, tzinfo=UTC))
        [event] = await known.published()
        assert isinstance(event, PatientUnreached)
        assert not event.planned_late


async def test_a_spanish_speaker_is_called_with_a_script_in_spanish(known: Service) -> None:
    await known.handle(enrolled(revision=2, language="es-MX"))
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    assert (lent["language"], lent["script_language"]) == ("es-MX", "es")
    assert lent["script"][0]["words"].startswith("Buenos días, le habla ___ de la farmacia ___.")


async def test_the_alignment_then_the_confirmations(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    assert (lent["kind"], lent["channel"], lent["attempt"]) == ("alignment", "phone", 1)
    assert (lent["name"], lent["phone"], lent["birth_date"]) == ("Ada Canary", NUMBER, "1950-03-04")
    assert [(each["visit_id"], each["confirm_now"]) for each in lent["visits"]] == [
        (BRIDGE.visit_id, True),
        (VISIT.visit_id, False),
    ]
    assert [day["on"] for day in lent["offered"]] == ["2026-10-20", "2026-10-21"]
    assert lent["visits"][0]["items"][0]["drug_name"] == "Lisinopril"
    assert "Lisinopril" not in lent["message"]

    await known.report(lent, "answered", anchor_on="2026-10-20", confirm_visits=[BRIDGE.visit_id])
    [agreed] = await known.published()
    assert agreed == AlignmentAgreed(
        patient_id="p1", plan_id="plan-p1", plan_revision=1, anchor_on=date(2026, 10, 20)
    )
    await known.handle(plan(revision=2))
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert (confirmed.visit_id, confirmed.plan_revision) == (BRIDGE.visit_id, 2)

    assert await known.lease() == []
    assert (await known.get("/contacts/next-due"))["next_due"] == "2026-10-13T14:00:00Z"
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    [lent] = await known.lease()
    assert (lent["kind"], lent["visit"]["visit_id"]) == ("confirmation", VISIT.visit_id)
    await known.report(lent, "answered", confirm=True, declined_rx_ids=["rx2"])
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert [each.rx_id for each in confirmed.items] == ["rx1"]
    assert await known.statuses() == {
        ("alignment", None): "answered",
        ("confirmation", BRIDGE.visit_id): "answered",
        ("confirmation", VISIT.visit_id): "answered",
    }


async def test_commands_need_no_http_and_say_what_is_wrong_by_a_code(known: Service) -> None:
    await known.handle(plan(agreed=False))
    begin, wanted = known.work.begin, LeaseRequest(worker="w")
    async with begin([patient("p1")], cause=Cause("test", "test"), role="clerk") as unit:
        [leased] = (await contacts.lease_due(unit, ["p1"], wanted)).contacts
        with pytest.raises(Conflict, match="leased: someone is speaking to the patient"):
            await contacts.lease_chosen(unit, leased.contact_id, wanted)
        said = contacts.Report(
            lease_id=leased.lease_id, outcome=Outcome.answered, answer=Answer(anchor_on=VISIT.on)
        )
        with pytest.raises(NotFound, match="unknown_contact"):
            await contacts.report(unit, uuid4(), said)
        reply = await contacts.report(unit, leased.contact_id, said)
    assert reply.written() == {
        "contacts": [
            {"contact_id": str(leased.contact_id), "kind": "alignment", "status": "answered"},
        ],
        "events": [AlignmentAgreed.TYPE],
        "stale": False,
    }
    assert [type(event) for event in await known.published()] == [AlignmentAgreed]
    problem = await known.post(f"/contacts/{uuid4()}/close", 404, by=CLERK, reason="moved away")
    assert (problem["title"], problem["code"]) == ("Unknown contact", "unknown_contact")


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_a_contact_waits_until_all_is_known_whatever_came_first(
    service: Service, order: tuple[int, ...]
) -> None:
    events: list[Event] = [store(), enrolled(), details(), plan(agreed=False)]
    for number, position in enumerate(order):
        assert await service.lease() == [], f"leased before event {number}"
        await service.handle(events[position])
        await service.do_due()
    assert [lent["kind"] for lent in await service.lease()] == ["alignment"]


async def test_the_patients_own_zone_wins_over_the_stores(known: Service) -> None:
    await known.handle(plan(VISIT))
    assert (await known.get("/contacts/next-due"))["next_due"] == "2026-10-13T14:00:00Z"
    await known.handle(details(revision=2, time_zone="Pacific/Honolulu"))
    assert (await known.get("/contacts/next-due"))["next_due"] == "2026-10-13T20:00:00Z"


async def test_older_revisions_are_ignored(known: Service) -> None:
    await known.handle(plan(VISIT, revision=3))
    await known.handle(plan(BRIDGE, revision=2))
    await known.handle(enrolled(revision=1, channels=()))
    await known.handle(details(phones=()))
    assert await known.statuses() == {("confirmation", VISIT.visit_id): "open"}
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    assert len(await known.lease()) == 1


async def test_a_lease_that_runs_out_goes_back_and_its_outcome_is_refused(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    assert await known.lease() == []
    await known.at(NOW + timedelta(minutes=15))
    late = await known.report(lent, "no_answer", status=409)
    assert late["code"] == "expired"
    [again] = await known.lease()
    assert (again["contact_id"], again["attempt"]) == (lent["contact_id"], 1)
    assert again["lease_id"] != lent["lease_id"]
    assert (await known.report(again | {"lease_id": str(uuid4())}, "no_answer", status=409))[
        "code"
    ] == "foreign"


# ---- conditional fills --------------------------------------------------------------------------------------


async def test_a_conditional_fill_is_read_out_with_its_condition_and_confirmed_with_the_rest(
    known: Service,
) -> None:
    await known.handle(plan(CONDITIONAL))
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    [lent] = await known.lease()
    assert [item["condition"] for item in lent["visit"]["items"]] == [
        None,
        {
            "kind": "renewal",
            "by": "prescriber",
            "needed_by": "2026-10-16",
            "words": "if the prescriber renews it by Fri 10/16",
        },
    ]
    codes = [line["code"] for line in lent["script"]]
    assert codes.index("conditional") == codes.index("each_item") + 1
    await known.report(lent, "answered", confirm=True)
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert [(item.rx_id, item.condition) for item in confirmed.items] == [("rx1", None), ("rx2", RENEWED)]

    met = plan(VISIT, revision=2)
    await known.handle(met)
    await known.handle(plan(visit(VISIT.on, VisitKind.synchronized, "rx1"), revision=3))
    await known.at(datetime(2026, 10, 17, 15, tzinfo=UTC))
    assert (await known.lease(), await known.published()) == ([], []), "met or not: no second call"


async def test_the_script_says_nothing_of_conditions_where_there_are_none(known: Service) -> None:
    await known.handle(plan(VISIT))
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    [lent] = await known.lease()
    assert "conditional" not in {line["code"] for line in lent["script"]}


async def test_a_standing_instruction_confirms_a_conditional_fill_with_its_condition(known: Service) -> None:
    await known.handle(enrolled(revision=2, standing_instruction=True))
    items = tuple(
        item.model_copy(update={"standing_instruction_allowed": True}) for item in CONDITIONAL.items
    )
    await known.handle(plan(CONDITIONAL.model_copy(update={"items": items})))
    await known.at(datetime(2026, 10, 18, 0, 0, tzinfo=UTC))
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert [item.condition for item in confirmed.items] == [None, RENEWED]


async def test_what_was_declined_is_not_wanted_of_its_renewal_either(known: Service) -> None:
    near = visit(date(2026, 10, 6), VisitKind.bridge, "rx1", "rx2")
    await known.handle(plan(near, VISIT, agreed=False))
    [lent] = await known.lease()
    await known.report(
        lent,
        "answered",
        anchor_on="2026-10-20",
        confirm_visits=[near.visit_id],
        declined_rx_ids=["rx2"],
        changes=[{"rx_id": "rx2", "change": "stopped"}],
    )
    await known.published()
    renewed = near.items[1].model_copy(update={"rx_id": "rx3", "in_place_of": "rx2"})
    after = near.model_copy(update={"items": (near.items[0], renewed)})
    await known.handle(plan(after, VISIT, revision=2))
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert ([item.rx_id for item in confirmed.items], confirmed.declined_rx_ids) == (["rx1"], ("rx3",))


# ---- urgent visits ------------------------------------------------------------------------------------------


async def test_an_urgent_visit_is_called_about_at_once_and_all_attempts_are_of_today(known: Service) -> None:
    await known.handle(plan(urgent(date(2026, 10, 2)), VISIT))
    [lent] = await known.lease()
    assert (lent["kind"], lent["urgent"], lent["visit"]["urgent"]) == ("confirmation", True, True)
    assert lent["script"][2]["code"] == "urgent"
    await known.report(lent, "no_answer")
    await known.at(NOW + timedelta(hours=1))
    assert await known.lease(by=CLERK) == [], "not twice within two hours"
    for hours in (2, 4):
        await known.at(NOW + timedelta(hours=hours))
        assert await known.lease() == [], "one automated contact a day"
        [lent] = await known.lease(by=CLERK)
        assert lent["channel"] == "phone"
        await known.report(lent, "no_answer")
    [unreached] = await known.published()
    assert isinstance(unreached, PatientUnreached)
    assert (unreached.attempts, unreached.visit_id) == (3, "bridge-2026-10-02")
    assert known.clock.now() == NOW + timedelta(hours=4)


async def test_an_urgent_visit_of_today_is_confirmed_today(known: Service) -> None:
    """Also in the evening in the west, where it is tomorrow in UTC already."""
    await known.handle(details(revision=2, time_zone="Pacific/Honolulu"))
    await known.at(datetime(2026, 10, 2, 2, tzinfo=UTC))  # four in the afternoon of the 1st
    await known.handle(plan(urgent(date(2026, 10, 1)), VISIT))
    [lent] = await known.lease()
    await known.report(lent, "answered", confirm=True)
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert (confirmed.on, [item.rx_id for item in confirmed.items]) == (date(2026, 10, 1), ["rx1"])


async def test_an_urgent_visit_of_a_proposal_is_confirmed_with_the_alignment_on_the_same_day(
    known: Service,
) -> None:
    today = urgent(NOW.date())
    await known.handle(plan(today, VISIT, agreed=False))
    [lent] = await known.lease()
    assert (lent["kind"], lent["urgent"]) == ("alignment", True)
    assert [each["confirm_now"] for each in lent["visits"]] == [True, False]
    await known.report(lent, "answered", anchor_on="2026-10-20", confirm_visits=[today.visit_id])
    await known.handle(plan(today, VISIT, revision=2))
    assert [type(event) for event in await known.published()] == [AlignmentAgreed, PickupConfirmed]


async def test_an_urgent_visit_stands_first_in_the_call_list_with_the_reason(known: Service) -> None:
    await known.handle(enrolled("p2"))
    await known.handle(details("p2"))
    await known.handle(plan(visit(date(2026, 10, 2)), VISIT))
    await known.handle(plan(urgent(date(2026, 10, 4)), patient_id="p2"))
    listed = (await known.get("/call-list?store=s1"))["items"]
    assert [(each["patient_id"], each["visit_on"], each["urgent"]) for each in listed] == [
        ("p2", "2026-10-04", True),
        ("p1", "2026-10-02", False),
    ]
    assert "runs out" in listed[0]["because"]
    assert listed[1]["because"] is None
    page = await known.get("/call-list?store=s1&limit=1")
    [second] = (await known.get(f"/call-list?store=s1&after={page['next']}"))["items"]
    assert second["patient_id"] == "p1"


async def test_what_a_pharmacist_keeps_out_of_a_visit_to_be_confirmed_is_said(known: Service) -> None:
    excluded = Reason(code="staff_excluded", params={"by": "pharmacist", "made_on": "2026-10-01"})
    left_out = DrugDecision(
        rx_id="rx2", drug_name="Simvastatin", participation=Participation.excluded, reasons=(excluded,)
    )
    without = plan(visit(date(2026, 10, 2), VisitKind.synchronized, "rx1"), revision=2)
    await known.handle(plan(visit(date(2026, 10, 2))))
    await known.handle(without.model_copy(update={"drugs": (left_out,)}))

    [listed] = (await known.get("/call-list?store=s1"))["items"]
    words = "The pharmacist left it out of the plan on Thu Oct 1, 2026."
    assert listed["left_out"] == [{"rx_id": "rx2", "words": words}]
    [lent] = await known.lease()
    assert lent["left_out"] == [{"rx_id": "rx2", "drug_name": "Simvastatin", "words": words}]
    assert [item["rx_id"] for item in lent["visit"]["items"]] == ["rx1"]
    assert [line["code"] for line in lent["script"]].count("left_out") == 1
    assert "Simvastatin" not in lent["message"]


async def test_who_said_stop_is_called_by_a_person_about_an_urgent_visit(known: Service) -> None:
    await known.post("/patients/p1/opt-out", channel="phone")
    await known.handle(plan(urgent(date(2026, 10, 2))))
    assert await known.lease() == []
    [lent] = await known.lease(by=CLERK)
    assert lent["visit"]["visit_id"] == "bridge-2026-10-02"


async def test_an_urgent_visit_known_in_the_night_is_called_about_when_quiet_hours_end(
    known: Service,
) -> None:
    await known.at(datetime(2026, 10, 2, 2, tzinfo=UTC))  # ten in the evening in New York
    await known.handle(plan(urgent(date(2026, 10, 2))))
    assert (await known.get("/contacts/next-due"))["next_due"] == "2026-10-02T13:00:00Z"
    await known.at(datetime(2026, 10, 2, 13, tzinfo=UTC))
    assert len(await known.lease()) == 1


async def test_a_visit_that_becomes_urgent_is_called_about_now(known: Service) -> None:
    later = visit(date(2026, 10, 14), VisitKind.bridge, "rx1")
    await known.handle(plan(later))
    assert await known.lease() == []
    await known.handle(plan(later.model_copy(update={"urgent": True}), revision=2))
    [lent] = await known.lease()
    assert lent["visit"]["visit_id"] == later.visit_id
    await known.report(lent, "no_answer")
    await known.handle(plan(later, revision=3))
    assert (await known.get("/contacts/next-due"))["next_due"] != "2026-10-01T17:00:00Z", "urgent no longer"


async def test_the_same_outcome_again_gets_the_same_answer_and_another_is_refused(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    first = await known.report(lent, "answered", anchor_on="2026-10-20")
    assert await known.report(lent, "answered", anchor_on="2026-10-20") == first
    assert (await known.report(lent, "no_answer", status=409))["code"] == "reported"
    assert [type(event) for event in await known.published()] == [AlignmentAgreed]


async def test_dialers_on_two_processes_share_the_work_and_repeat_no_call(service: Service) -> None:
    ids = [f"p{number}" for number in range(60)]
    await service.handle(store())
    await service.handle(*[enrolled(each) for each in ids])
    await service.handle(*[details(each) for each in ids])
    await service.do_due()
    await service.handle(*[plan(patient_id=each, agreed=False) for each in ids])
    called: list[str] = []

    async def dial(client: httpx.AsyncClient) -> None:
        idle = 0
        while idle < 3:
            body = {"worker": "w", "limit": 7, "minutes": 15}
            lent = (await client.post("/contacts/lease", json=body, headers=DIALLER)).json()["contacts"]
            idle = 0 if lent else idle + 1
            for each in lent:
                called.append(each["patient_id"])
                report = {
                    "lease_id": each["lease_id"],
                    "outcome": "answered",
                    "answer": {"anchor_on": "2026-10-20"},
                }
                done = await client.post(
                    f"/contacts/{each['contact_id']}/outcome", json=report, headers=DIALLER
                )
                assert done.status_code == 200, done.text

    await asyncio.gather(*[dial(client) for client in (service.http, service.other) * 2])
    assert sorted(called) == sorted(ids)
    assert len(await service.published()) == len(ids)


async def test_nobody_reached_by_three_days_before_the_visit(known: Service) -> None:
    await known.handle(plan(VISIT))
    moments = ["2026-10-13T14:00", "2026-10-15T17:30", "2026-10-17T21:30"]
    for number, moment in enumerate(moments, start=1):
        assert (await known.get("/contacts/next-due"))["next_due"] == f"{moment}:00Z"
        await known.at(datetime.fromisoformat(moment).replace(tzinfo=UTC))
        [lent] = await known.lease()
        assert lent["attempt"] == number
        await known.report(lent, "no_answer")
    [unreached] = await known.published()
    assert unreached == PatientUnreached(
        patient_id="p1", plan_id="plan-p1", plan_revision=1, visit_id=VISIT.visit_id, attempts=3
    )


async def test_without_a_dialer_the_deadline_passes_by_itself(known: Service) -> None:
    await known.handle(plan(VISIT))
    await known.at(datetime(2026, 10, 17, 23, 59, tzinfo=UTC))
    assert await known.published() == []
    await known.at(datetime(2026, 10, 18, 0, 0, tzinfo=UTC))
    assert [type(event) for event in await known.published()] == [PatientUnreached]


async def test_a_standing_instruction_stands_in_for_the_call(known: Service) -> None:
    item = VISIT.items[0].model_copy(update={"standing_instruction_allowed": True})
    await known.handle(enrolled(revision=2, standing_instruction=True))
    await known.handle(plan(VISIT.model_copy(update={"items": (item, VISIT.items[1])})))
    await known.at(datetime(2026, 10, 18, 0, 0, tzinfo=UTC))
    [confirmed] = await known.published()
    assert isinstance(confirmed, PickupConfirmed)
    assert (confirmed.standing_instruction, [each.rx_id for each in confirmed.items]) == (True, ["rx1"])


async def test_stop_ends_automated_contact_at_once_and_people_may_still_call(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    reply = await known.report(lent, "no_answer", text="STOP")
    assert "Corner Pharmacy" in reply["message"]
    assert await known.published() == [ContactOptedOut(patient_id="p1", channel=Channel.phone)]
    await known.at(NOW + timedelta(days=1))
    assert await known.lease() == []
    [listed] = (await known.get("/call-list?store=s1"))["items"]
    assert (listed["by_hand"], listed["tried"][0]["outcome"]) == (True, "stop")
    await known.at(datetime(2026, 10, 2, 17, 30, tzinfo=UTC))
    [by_hand] = await known.lease(by=CLERK)
    await known.report(by_hand, "answered", anchor_on="2026-10-20")
    assert [type(event) for event in await known.published()] == [AlignmentAgreed]
    await known.handle(enrolled(revision=2, given_at=NOW + timedelta(days=1)))
    await known.handle(plan(VISIT, revision=2))
    assert (await known.get("/contacts/next-due"))["next_due"] is not None


async def test_a_stop_counts_even_where_the_lease_ran_out(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    await known.at(NOW + timedelta(minutes=15))
    assert (await known.report(lent, "stop"))["stale"] is True
    assert [type(event) for event in await known.published()] == [ContactOptedOut]
    assert await known.lease() == []


async def test_opting_out_works_before_the_enrollment_is_known(service: Service) -> None:
    await service.post("/patients/p1/opt-out", 404, channel="text")
    await service.handle(details())
    await service.post("/patients/p1/opt-out", channel="text")
    assert await service.published() == [ContactOptedOut(patient_id="p1", channel=Channel.text)]
    for event in (store(), enrolled(), plan(agreed=False)):
        await service.handle(event)
    await service.do_due()
    assert await service.lease() == []


async def test_a_wrong_number_is_never_handed_out_again(known: Service) -> None:
    second = Phone(number="+12125550199", kind="home")
    await known.handle(details(revision=2, phones=(Phone(number=NUMBER, kind="mobile"), second)))
    await known.handle(details("p2"))
    await known.handle(enrolled("p2"))
    await known.do_due()
    await known.handle(plan(agreed=False), plan(patient_id="p2", agreed=False))
    lent = {each["patient_id"]: each for each in await known.lease()}
    assert {each["phone"] for each in lent.values()} == {NUMBER}
    await known.report(lent["p1"], "wrong_number")
    await known.report(lent["p2"], "no_answer")
    await known.at(datetime(2026, 10, 2, 17, 30, tzinfo=UTC))
    assert [(each["patient_id"], each["phone"]) for each in await known.lease()] == [("p1", second.number)]


async def test_a_disenrolment_closes_everything_at_once(known: Service) -> None:
    await known.handle(plan(VISIT))
    await known.handle(package(PackageReady, BRIDGE))
    await known.handle(renewal())
    gone = PatientDisenrolled(patient_id="p1", revision=2, reason=DisenrolmentReason.revoked)
    await known.handle(gone)
    assert set((await known.statuses()).values()) == {"withdrawn"}
    assert await known.lease() == []
    assert (await known.get("/prescriber-contacts/next-due"))["next_due"] is None


async def test_a_disenrolment_during_the_call_makes_the_answer_stale(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [lent] = await known.lease()
    await known.handle(PatientDisenrolled(patient_id="p1", revision=2, reason=DisenrolmentReason.revoked))
    assert (await known.report(lent, "answered", anchor_on="2026-10-20"))["stale"] is True
    assert await known.published() == []


@pytest.mark.parametrize("ended_by", [PlanBlocked, PlanCancelled])
async def test_a_plan_that_ends_takes_its_contacts_along(known: Service, ended_by: type[Event]) -> None:
    await known.handle(plan(VISIT))
    fields = {
        "patient_id": "p1",
        "revision": 2,
        "store_id": "s1",
        "profile_revision": 1,
        "plan_id": "plan-p1",
    }
    await known.handle(ended_by(**fields, reasons=(), reason=BECAUSE))
    assert await known.statuses() == {("confirmation", VISIT.visit_id): "withdrawn"}


async def test_in_hospital_nobody_is_contacted_and_after_the_discharge_what_is_open_goes_on(
    known: Service,
) -> None:
    await known.handle(enrolled(revision=2, channels=(Channel.text, Channel.phone)))
    await known.at(datetime(2026, 10, 18, 15, tzinfo=UTC))
    await known.handle(package(PackageReady))
    stay = Reason(code="in_hospital", params={"since": "2026-10-18"})
    fields = {"patient_id": "p1", "store_id": "s1", "profile_revision": 1}
    await known.handle(PlanBlocked(**fields, revision=2, reasons=(stay,)))
    assert await known.lease() == []
    await known.handle(plan(VISIT, revision=3))
    assert {each["kind"] for each in await known.lease()} == {"confirmation"}, (
        "it goes before the ready message"
    )
    assert (await known.statuses())["ready", VISIT.visit_id] == "open"


async def test_who_can_only_be_written_to_gets_a_letter_in_time_or_another_day(known: Service) -> None:
    await known.handle(enrolled(revision=2, channels=(Channel.phone, Channel.letter)))
    await known.handle(details(revision=2, phones=(), address="1 Elm Rd"))
    await known.handle(plan(BRIDGE, VISIT, agreed=False))
    [unreached] = await known.published()
    assert isinstance(unreached, PatientUnreached)
    assert (unreached.visit_id, unreached.attempts, unreached.too_late) == (None, 0, True)
    assert unreached.reachable_on == date(2026, 10, 11)
    assert await known.lease() == await known.lease(by=CLERK) == []

    another = plan(visit(date(2026, 10, 11)), VISIT, revision=2, agreed=False)
    await known.handle(another.model_copy(update={"plan_id": "plan-2"}))
    [lent] = await known.lease()
    assert (lent["kind"], lent["channel"], lent["address"]) == ("alignment", "letter", "1 Elm Rd")
    await known.report(lent, "voicemail")
    for day in range(2, 9):
        await known.at(datetime(2026, 10, day, 23, 59, tzinfo=UTC))
        assert await known.lease() == await known.lease(by=CLERK) == await known.published() == []
    await known.at(
        datetime(2026, 10, 9, 0, tzinfo=UTC)
    )  # eight in the evening, three days before the first visit
    [unreached] = await known.published()
    assert isinstance(unreached, PatientUnreached)
    assert (unreached.attempts, unreached.too_late) == (1, False)
    assert unreached.reachable_on == date(2026, 10, 19)


async def test_after_a_wrong_number_a_letter_is_written_where_the_post_has_time(known: Service) -> None:
    await known.handle(enrolled(revision=2, channels=(Channel.phone, Channel.letter)))
    await known.handle(details(revision=2, address="1 Elm Rd"))
    await known.handle(plan(VISIT, agreed=False))
    [lent] = await known.lease()
    assert lent["channel"] == "phone"
    await known.report(lent, "wrong_number")
    await known.at(datetime(2026, 10, 2, 20, tzinfo=UTC))
    [lent] = await known.lease()
    assert (lent["channel"], lent["attempt"]) == ("letter", 2)
    await known.report(lent, "answered", anchor_on="2026-10-20")
    assert [type(event) for event in await known.published()] == [AlignmentAgreed]


def uninsured(revision: int = 2, since: str = "2026-10-01") -> PlanBlocked:
    lapse = Reason(code="coverage_lapsed", params={"since": since})
    return PlanBlocked(
        patient_id="p1", revision=revision, profile_revision=1, store_id="s1", reasons=(lapse,)
    )


async def test_a_lapse_of_insurance_is_for_a_person_the_same_day_and_is_told_of_once(known: Service) -> None:
    """Not for the dialer: it is about money. A message left is not enough."""
    await known.handle(plan(VISIT))
    await known.handle(uninsured())
    assert await known.lease() == []
    [listed] = (await known.get("/call-list?store=s1"))["items"]
    assert (listed["kind"], listed["by_hand"]) == ("insurance", True)
    assert datetime.fromisoformat(listed["due_at"]) == NOW
    [lent] = await known.lease(by=CLERK)
    assert (lent["kind"], lent["channel"], lent["visits"]) == ("insurance", "phone", [])
    assert "lapsed" in [line["code"] for line in lent["script"]]
    assert lent["message"] == "This is Corner Pharmacy. Please call us. Our number is 212-555-0100."
    await known.report(lent, "voicemail")

    await known.at(datetime(2026, 10, 2, 18, tzinfo=UTC))
    [lent] = await known.lease(by=CLERK)
    await known.report(lent, "answered")
    assert await known.statuses() == {
        ("confirmation", VISIT.visit_id): "withdrawn",
        ("insurance", None): "done",
    }
    await known.handle(uninsured(revision=3))
    assert await known.lease(by=CLERK) == []
    await known.handle(uninsured(revision=4, since="2026-10-02"))
    assert [lent["kind"] for lent in await known.lease(by=CLERK)] == ["insurance"], "another lapse"


async def test_once_a_plan_comes_again_nobody_asks_about_insurance(known: Service) -> None:
    await known.handle(uninsured())
    await known.handle(plan(VISIT, revision=3))
    assert await known.lease(by=CLERK) == []
    assert (await known.statuses())["insurance", None] == "withdrawn"
    await known.handle(uninsured(revision=4))
    assert [lent["kind"] for lent in await known.lease(by=CLERK)] == ["insurance"], (
        "the same lapse, once more"
    )


async def test_who_calls_in_meanwhile_is_not_called_about_insurance_on_that_day(known: Service) -> None:
    await known.handle(uninsured())
    await known.post("/patients/p1/inbound", by=CLERK, answer={})
    assert await known.lease(by=CLERK) == []
    await known.at(datetime(2026, 10, 2, 18, tzinfo=UTC))
    assert [lent["kind"] for lent in await known.lease(by=CLERK)] == ["insurance"]


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_a_lapse_waits_until_all_is_known_whatever_came_first(
    service: Service, order: tuple[int, ...]
) -> None:
    events: list[Event] = [store(), enrolled(), details(), uninsured()]
    for position in order:
        assert await service.lease(by=CLERK) == []
        await service.handle(events[position])
        await service.do_due()
    assert [lent["kind"] for lent in await service.lease(by=CLERK)] == ["insurance"]


async def test_the_patient_is_told_that_what_was_owed_is_there_and_reminded(known: Service) -> None:
    """Its package is of a visit that no plan knows: it is announced, and missed, as any other."""
    await known.handle(enrolled(revision=2, channels=(Channel.text, Channel.phone)))
    await known.at(datetime(2026, 10, 18, 15, tzinfo=UTC))
    owed: dict[str, Any] = {"visit_id": "owed-of-rx2", "package_id": "k2", "on": date(2026, 10, 18)}
    await known.handle(package(PackageReady, return_on=date(2026, 10, 28), **owed))
    [lent] = [each for each in await known.lease() if each["kind"] == "ready"]
    assert "your order is ready" in lent["message"].lower()
    await known.handle(package(PickupMissed, days_late=1, **owed))
    assert (await known.statuses())["missed", "owed-of-rx2"] == "open"
    await known.handle(package(PackagePickedUp, handed_over_on=date(2026, 10, 20), taken=(), **owed))
    assert (await known.statuses())["missed", "owed-of-rx2"] == "done"


async def test_ready_reminder_missed_and_picked_up(known: Service) -> None:
    await known.handle(enrolled(revision=2, channels=(Channel.text, Channel.phone)))
    await known.handle(StockShort(patient_id="p1", visit_id=VISIT.visit_id, rx_id="rx2", missing=Decimal(5)))
    await known.at(datetime(2026, 10, 18, 15, tzinfo=UTC))
    await known.handle(package(PackageReady))
    [lent] = await known.lease()
    assert (lent["kind"], lent["channel"], lent["visit"]["items"]) == ("ready", "text", [])
    assert lent["message"].endswith("Reply STOP to opt out, HELP for help.")
    assert "short_items" in [line["code"] for line in lent["script"]]
    await known.report(lent, "voicemail")
    await known.at(datetime(2026, 10, 19, 14, tzinfo=UTC))
    [lent] = await known.lease()
    assert lent["kind"] == "reminder"
    await known.report(lent, "answered")
    await known.at(datetime(2026, 10, 21, 13, tzinfo=UTC))
    await known.handle(package(PickupMissed, days_late=1))
    await known.handle(package(PickupMissed, days_late=3))
    [lent] = await known.lease()
    assert (lent["kind"], lent["channel"]) == ("missed", "phone")
    await known.report(lent, "no_answer")
    await known.handle(package(PackagePickedUp, handed_over_on=date(2026, 10, 22), taken=()))
    await known.at(datetime(2026, 10, 22, 18, tzinfo=UTC))
    assert await known.lease() == []
    assert set((await known.statuses()).values()) == {"done"}
    assert await known.published() == []


@pytest.mark.parametrize(
    ("channel", "outcome", "told"),
    [
        ("text", "voicemail", True),
        ("text", "no_answer", False),
        ("phone", "voicemail", False),
        ("phone", "answered", True),
    ],
)
async def test_a_day_counts_as_told_once_it_was_read_out_or_a_text_that_names_it_is_out(
    known: Service, channel: str, outcome: str, told: bool
) -> None:
    await known.handle(enrolled(revision=2, channels=(Channel(channel),)))
    await known.handle(plan(VISIT))
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    [lent] = await known.lease()
    assert (lent["kind"], lent["channel"]) == ("confirmation", channel)
    await known.report(lent, outcome)
    published = await known.published()
    assert [type(event) for event in published] == [VisitAnnounced] * told
    for event in published:
        assert isinstance(event, VisitAnnounced)
        assert (event.visit_id, event.on) == (VISIT.visit_id, VISIT.on)


async def test_nobody_is_told_of_a_package_that_is_ready_no_longer(known: Service) -> None:
    await known.handle(enrolled(revision=2, channels=(Channel.text, Channel.phone)))
    await known.at(datetime(2026, 10, 18, 3, tzinfo=UTC))  # at night: nobody was told yet
    await known.handle(package(PackageReady))
    await known.handle(package(PackageReopened))
    await known.at(datetime(2026, 10, 18, 15, tzinfo=UTC))
    assert await known.lease() == await known.lease(by=CLERK) == []

    await known.handle(package(PackageReady, return_on=date(2026, 10, 29)))
    [lent] = await known.lease()
    assert (lent["kind"], lent["attempt"]) == ("ready", 1)
    await known.report(lent, "voicemail")
    await known.handle(package(PackageReopened))
    await known.at(datetime(2026, 10, 19, 18, tzinfo=UTC))
    assert await known.lease() == [], "nobody is reminded of what is not ready"
    await known.handle(package(PackageReady, return_on=date(2026, 10, 30)))
    assert [lent["kind"] for lent in await known.lease()] == ["reminder"], "who was told is not told again"


async def test_a_patient_who_calls_in_takes_the_dialers_lease_back(known: Service) -> None:
    await known.handle(plan(VISIT))
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    [lent] = await known.lease()
    await known.post("/patients/p1/inbound", by=CLERK, answer={"decline": True, "question": True})
    assert [type(event) for event in await known.published()] == [QuestionRaised, PickupDeclined]
    assert (await known.report(lent, "no_answer", status=409))["code"] == "taken_back"
    refused = await known.post("/patients/p1/inbound", 422, by=CLERK, answer={"anchor_on": "2026-10-20"})
    assert refused["code"] == "wrong_decision"


@pytest.mark.parametrize("role", ["clerk", "technician", "pharmacist"])
async def test_what_is_said_at_the_counter_counts_as_on_the_phone_and_nobody_calls_back(
    known: Service, role: str
) -> None:
    await known.handle(plan(VISIT))
    await known.at(datetime(2026, 10, 13, 14, tzinfo=UTC))
    [lent] = await known.lease()
    by = {"Medsync-Actor": f"{role}-1", "Medsync-Role": role}
    rx_id = VISIT.items[0].rx_id
    said = {
        "reschedule_to": "2026-10-22",
        "question": True,
        "changes": [
            {"rx_id": rx_id, "change": "stopped"},
            {"rx_id": rx_id, "change": "on_hand", "days_left": 9},
        ],
    }
    reply = await known.post("/patients/p1/inbound", by=by, channel="counter", answer=said)
    assert [(each["kind"], each["status"]) for each in reply["contacts"]] == [("confirmation", "rescheduled")]
    events = await known.published()
    assert [type(event) for event in events] == [
        ChangeReported,
        ChangeReported,
        QuestionRaised,
        RescheduleRequested,
    ]
    assert (await known.report(lent, "no_answer", status=409))["code"] == "taken_back"
    assert (await known.get("/call-list?store=s1"))["items"] == []
    await known.post("/patients/p1/inbound", by=by, channel="counter", answer={"question": True})
    assert (await known.get("/call-list?store=s1"))["items"] == []
    await known.post("/patients/p1/inbound", by=by, channel="phone", answer={"question": True})
    [waiting] = (await known.get("/call-list?store=s1"))["items"]
    assert waiting["kind"] == "question"


async def test_who_says_stop_at_the_counter_is_taken_at_their_word(known: Service) -> None:
    await known.post("/patients/p1/inbound", by=CLERK, channel="counter", answer={"text": "stop"})
    [event] = await known.published()
    assert isinstance(event, ContactOptedOut)
    assert event.channel is Channel.other


async def test_only_a_pharmacist_answers_questions(known: Service) -> None:
    await known.post("/patients/p1/inbound", by=CLERK, answer={"question": True})
    [listed] = (await known.get("/call-list?store=s1"))["items"]
    path = f"/contacts/{listed['contact_id']}"
    assert (listed["kind"], await known.lease()) == ("question", [])
    await known.post(f"{path}/lease", 403, by=CLERK, worker="w")
    await known.post(f"{path}/close", 403, by=CLERK, reason="answered at the counter")
    [lent] = (await known.post(f"{path}/lease", by=PHARMACIST, worker="w"))["contacts"]
    done = await known.post(
        f"{path}/outcome", by=PHARMACIST, lease_id=lent["lease_id"], outcome="answered", answer={}
    )
    assert done["contacts"] == [{"contact_id": listed["contact_id"], "kind": "question", "status": "done"}]


async def test_staff_overrule_with_a_reason(known: Service) -> None:
    await known.handle(plan(agreed=False))
    [listed] = (await known.get("/call-list?store=s1"))["items"]
    await known.post(f"/contacts/{listed['contact_id']}/close", 403, by=DIALLER, reason="no reason")
    await known.post(f"/contacts/{listed['contact_id']}/close", by=CLERK, reason="spoke at the counter")
    assert await known.lease() == []
    await known.handle(plan(agreed=False, revision=2))
    assert await known.lease() == []
    [item] = (await known.get("/patients/p1/contacts"))["items"]
    assert (item["status"], item["closed_by"], item["closed_because"]) == (
        "closed",
        "clerk/staff-2",
        "spoke at the counter",
    )
    await known.post(f"/contacts/{listed['contact_id']}/close", 409, by=CLERK, reason="once more")
    await known.post(f"/contacts/{uuid4()}/close", 404, by=CLERK, reason="never heard of")


def renewal(rx_id: str = "rx1", prescriber_id: str = "d1") -> RenewalNeeded:
    return RenewalNeeded(
        patient_id="p1",
        store_id="s1",
        rx_id=rx_id,
        drug_name="Lisinopril",
        prescriber_id=prescriber_id,
        needed_by=date(2026, 10, 20),
        reason=BECAUSE,
    )


async def test_prescribers_are_asked_until_they_answer_or_time_is_up(known: Service) -> None:
    await known.handle(renewal())
    await known.handle(renewal())
    await known.handle(renewal("rx2"))

    async def ask(answers: dict[str, str]) -> list[tuple[list[str], str]]:
        lent = await requests(known)
        for each in lent:
            path = f"/prescriber-contacts/{each['contact_id']}/outcome"
            report = {"lease_id": each["lease_id"], "answers": answers}
            first = await known.post(path, **report)
            assert await known.post(path, **report) == first
        return [(named(each), each["stage"]) for each in lent]

    assert await ask({"rx1": "no_answer", "rx2": "approved"}) == [(["rx1", "rx2"], "first")]
    assert await ask({}) == []
    await known.at(NOW + timedelta(days=4))
    assert await ask({"rx1": "no_answer"}) == [(["rx1"], "repeat")]
    await known.at(NOW + timedelta(days=7))
    assert await ask({"rx1": "no_answer"}) == [(["rx1"], "escalation")]
    await known.at(NOW + timedelta(days=11))
    events = await known.published()
    assert [(e.rx_id, e.attempt) for e in events if isinstance(e, RenewalRequested)] == [
        *sorted([("rx1", 1), ("rx2", 1)], key=lambda asked: [e.rx_id for e in events].index(asked[0])),
        ("rx1", 2),
        ("rx1", 3),
    ]
    assert [(e.rx_id, e.answer) for e in events if isinstance(e, RenewalAnswered)] == [
        ("rx2", "approved"),
        ("rx1", "no_answer"),
    ]


async def requests(service: Service) -> list[dict[str, Any]]:
    """The requests to prescribers that are leased now."""
    lent: list[dict[str, Any]] = (
        await service.post("/prescriber-contacts/lease", worker="fax", limit=10, minutes=15)
    )["contacts"]
    return sorted(lent, key=lambda each: each["prescriber_id"])


def named(request: dict[str, Any]) -> list[str]:
    return sorted(each["rx_id"] for each in request["renewals"])


async def answer(service: Service, request: dict[str, Any], status: int = 200, **said: Any) -> dict[str, Any]:
    path = f"/prescriber-contacts/{request['contact_id']}/outcome"
    return await service.post(path, status, lease_id=request["lease_id"], **said)


async def test_one_request_to_a_prescriber_holds_every_open_renewal_of_the_patient(known: Service) -> None:
    await known.handle(renewal())
    await known.handle(renewal("rx3", "d2"))
    await known.handle(renewal("rx2"))  # joins what is not sent yet
    first, second = await requests(known)
    assert (named(first), named(second)) == (["rx1", "rx2"], ["rx3"])
    asked = [event for event in await known.published() if isinstance(event, RenewalRequested)]
    assert sorted((event.rx_id, event.asked_with) for event in asked) == [
        ("rx1", ("rx2",)),
        ("rx2", ("rx1",)),
        ("rx3", ()),
    ]
    assert (await answer(known, first, 422, answers={"rx1": "approved"}))["code"] == "answer_missing"
    assert (await answer(known, first, 422, answer="denied", answers={"rx3": "approved"}))[
        "code"
    ] == "no_such_prescription"
    done = await answer(known, first, answer="denied", answers={"rx1": "approved"})
    assert {each["rx_id"]: each["status"] for each in done["renewals"]} == {
        "rx1": "answered",
        "rx2": "answered",
    }
    assert (await answer(known, first, 409, answer="approved"))["code"] == "reported"
    await answer(known, second, answer="needs_visit")
    told = [event for event in await known.published() if isinstance(event, RenewalAnswered)]
    assert sorted((event.rx_id, event.answer.value) for event in told) == [
        ("rx1", "approved"),
        ("rx2", "denied"),
        ("rx3", "needs_visit"),
    ]


async def test_a_renewal_that_comes_after_the_request_takes_along_what_is_still_open(known: Service) -> None:
    """The first one's repeat comes in its own time, unless the prescriber answers it now."""
    await known.handle(renewal())
    [request] = await requests(known)
    await known.handle(renewal("rx2"))
    assert await requests(known) == [], "someone is asking this prescriber"
    assert (await known.get("/prescriber-contacts/next-due"))["next_due"] is None
    await answer(known, request, answer="no_answer")

    await known.at(NOW + timedelta(days=1))
    [request] = await requests(known)
    assert (named(request), request["stage"]) == (["rx1", "rx2"], "first")
    await answer(known, request, answer="no_answer")
    asked = [event for event in await known.published() if isinstance(event, RenewalRequested)]
    assert [(event.rx_id, event.attempt, event.asked_with) for event in asked] == [
        ("rx1", 1, ()),
        ("rx2", 1, ("rx1",)),
    ]
    due = datetime.fromisoformat((await known.get("/prescriber-contacts/next-due"))["next_due"])
    assert due == NOW + timedelta(days=4)
    await known.at(due)
    [request] = await requests(known)
    assert (named(request), request["stage"]) == (["rx1", "rx2"], "repeat")
    await answer(known, request, answer="approved")
    assert await requests(known) == []


async def test_a_request_whose_lease_ran_out_is_made_again_whole(known: Service) -> None:
    await known.handle(renewal())
    await known.handle(renewal("rx2"))
    [request] = await requests(known)
    await known.at(NOW + timedelta(minutes=15))
    assert (await answer(known, request, 409, answer="approved"))["code"] == "expired"
    [again] = await requests(known)
    assert (named(again), again["attempt"]) == (["rx1", "rx2"], 1)


async def test_a_parked_patient_can_still_say_stop(known: Service) -> None:
    await known.handle(plan(agreed=False))
    async with known.work.pool.acquire() as db:
        letter = await db.fetchval(
            """
            insert into fabric.dead_letters (topic, attempts, reason, message, headers)
            values ('t', 1, 'refused', 'm', '[]')
            returning id
            """
        )
        await db.execute(
            "insert into fabric.parked (key, reason, dead_letter_id) values ('patient:p1', 'refused', $1)",
            letter,
        )
    assert await known.lease() == []
    assert (await known.get("/contacts/next-due"))["next_due"] is None
    await known.post("/patients/p1/opt-out", channel="phone")
    await known.post("/patients/p1/inbound", by=CLERK, answer={"text": "stop"})
    assert [type(event) for event in await known.published()] == [ContactOptedOut, ContactOptedOut]


async def test_handlers_take_hundreds_of_patients_at_once(service: Service) -> None:
    ids = [f"p{number}" for number in range(400)]
    await service.handle(store())
    await service.handle(*[enrolled(each) for each in ids])
    await service.handle(*[details(each) for each in ids])
    await service.do_due()
    await service.handle(*[plan(patient_id=each) for each in ids])
    await service.handle(*[plan(VISIT, patient_id=each, revision=2) for each in ids])
    assert await service.statuses("p399") == {
        ("confirmation", BRIDGE.visit_id): "withdrawn",
        ("confirmation", VISIT.visit_id): "open",
    }


async def test_over_kafka_from_plan_to_answer(
    stack: Addresses, fresh_database: Callable[[str], str], unique_name: str, tmp_path: Path
) -> None:
    clock = SteppedClock(tmp_path / "clock")
    clock.set(NOW)
    prefix = f"{unique_name}."
    await create_topics(stack.kafka, 2, prefix=prefix)
    settings = Settings(
        database_url=await asyncio.to_thread(fresh_database, "outreach"),
        kafka_bootstrap=stack.kafka,
        sealing_key=SEALING_KEY,
        clock_file=tmp_path / "clock",
        topic_prefix=prefix,
    )
    payload, seal = payload_of(details(), Sealer(SEALING_KEY, key_id="1"))
    sealed = record(details(), **seal) | {"value": payload}
    async with running(create_app(settings)) as http:
        await publish(stack.kafka, [plan(agreed=False), store(), enrolled()], prefix=prefix)
        async with producing(stack.kafka) as producer:
            await producer.send_and_wait(prefix + ContactDetailsChanged.TOPIC, **sealed)
        await at_rest(http)
        lease = {"worker": "w", "limit": 5, "minutes": 15}
        [lent] = (await http.post("/contacts/lease", json=lease, headers=DIALLER)).json()["contacts"]
        report = {"lease_id": lent["lease_id"], "outcome": "answered", "answer": {"anchor_on": "2026-10-20"}}
        await http.post(f"/contacts/{lent['contact_id']}/outcome", json=report, headers=DIALLER)
        await at_rest(http)
    published = await everything_on(stack.kafka, prefix + AlignmentAgreed.TOPIC)
    assert [dict(each.headers)["ce_type"].decode() for each in published] == [AlignmentAgreed.TYPE]
    assert b"Canary" not in b"".join(each.value for each in published)


# ---- an event held back, and clocks that change ----


@pytest.mark.parametrize("held", range(6))
async def test_an_event_held_back_for_an_hour_ends_in_the_same_state(
    fresh_database: Callable[[str], str], tmp_path: Path, held: int
) -> None:
    """It and those behind it on its topic come an hour after what follows from it on others."""
    story: list[Event] = [
        store(),
        enrolled(),
        details(),
        plan(VISIT),
        package(PackageReady),
        package(PickupMissed, days_late=1, final=False),
    ]
    ends = []
    for late in (None, held):
        async with two_processes(fresh_database("outreach"), tmp_path) as service:
            await tell(story, late, service)
            lent = await service.lease()
            ends.append((await service.statuses(), [(each["kind"], each["channel"]) for each in lent]))
    assert ends[0] == ends[1]
    assert ends[0][1]


@pytest.mark.parametrize("changes_on", [date(2026, 3, 8), date(2026, 11, 1), date(2028, 2, 29)])
async def test_over_a_change_of_clocks_each_visit_is_confirmed_once_at_ten_on_its_day(
    service: Service, changes_on: date
) -> None:
    """Seven days before the visit, in the store's time; hourly looks from the day before to the day after."""
    days = [changes_on + timedelta(days=n) for n in (-1, 0, 1)]
    patients = ("p1", "p2", "p3")
    midnight = datetime.combine(days[0] - timedelta(days=1), time(0), UTC)
    service.clock.set(midnight)
    await service.handle(store())
    for number, (patient_id, day) in enumerate(zip(patients, days, strict=True)):
        await service.handle(enrolled(patient_id, given_at=midnight))
        number_of_its_own = Phone(number=f"+1212555010{number}", kind="mobile")
        await service.handle(details(patient_id, phones=(number_of_its_own,)))
        on = day + timedelta(days=7)
        await service.handle(plan(visit(on), patient_id=patient_id))
    called: list[tuple[str, datetime]] = []
    for hours in range(4 * 24):
        await service.at(midnight + timedelta(hours=hours))
        for lent in await service.lease():
            called.append((lent["patient_id"], service.clock.now()))
            await service.report(lent, "answered", confirm=True)
    assert called == [
        (patient_id, datetime.combine(day, time(10), ZoneInfo("America/New_York")))
        for patient_id, day in zip(patients, days, strict=True)
    ]
